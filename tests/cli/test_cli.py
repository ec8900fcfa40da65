"""The command: help that is read at once, errors that say what, where and the cure, a check of a sheet."""

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from notebooks import make

from experiments.cli import commands as cli
from experiments.common.run_records import Run
from experiments.simulate.telecom import simulate

ROOT = Path(__file__).parents[2]
SHEET = (ROOT / "data/telecom/sheet.yml").read_text(encoding="utf-8")
COMMANDS = {
    "demo": ["--customers N", "--reports DIR"],
    "check": ["SHEET"],
    "lost": ["SHEET", "-p NAME=VALUE", "--fresh", "--reports DIR"],
    "design": ["SHEET", "-p NAME=VALUE", "--fresh", "--lock", "--anyway", "--reports DIR"],
    "assign": ["SHEET", "--new-ledger", "--reports DIR"],
    "contacts": ["SHEET", "--out FILE", "--answers FILE", "--replace", "--reports DIR"],
    "ledger": ["SHEET", "--customer ID"],
    "release": ["SHEET", "--customer ID", "--file FILE", "--reason TEXT", "--by NAME"],
    "amend": ["SHEET", "--reason TEXT", "--by NAME", "--stop ARM", "--pause", "--resume"],
    "forget": ["SHEET", "--customer ID", "--reason TEXT", "--by NAME"],
    "expire": ["SHEET", "--forget", "--by NAME"],
    "run": ["NOTEBOOK", "-p NAME=VALUE", "--fresh", "--list", "--name NAME", "--reports DIR"],
    "sweep": ["SHEET", "--over NAME=VALUES", "-p NAME=VALUE", "--fresh", "--notebook NOTEBOOK", "--workers N"],
    "runs": ["RUN", "--experiment NAME", "--notebook NOTEBOOK", "--status {done,failed}", "-p NAME=VALUE"],
    "verify": ["FOLDER"],
    "readout": ["SHEET", "-p NAME=VALUE", "--fresh", "--reports DIR"],
    "compare": ["READOUT", "-p NAME=VALUE", "--fresh", "--reports DIR"],
    "page": ["FOLDER", "--lang {en,fr,ru}", "--out FILE"],
    "pdf": ["PAGE", "--out FILE"],
    "init": ["DIR", "--customers N", "--empty"],
    "lab": ["OPTION"],
}
HEAVY = {"pandas", "numpy", "duckdb", "pydantic", "matplotlib", "papermill", "yaml", "jinja2", "nbformat"}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Stand in an empty folder with the sheet of the telecom, without its tables."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/telecom").mkdir(parents=True)
    (tmp_path / "data/telecom/sheet.yml").write_text(SHEET, encoding="utf-8")
    return tmp_path


@pytest.fixture
def winback(capsys):
    """Return exit code, output and errors of a command."""

    def call(*words):
        try:
            code = cli.main(words)
        except SystemExit as left:
            code = left.code
        return (code, *capsys.readouterr())

    return call


# Help


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_that_names_its_arguments(winback, command):
    code, told, complaint = winback(command, "--help")
    assert (code, complaint) == (0, "")
    about = " ".join(told.split())
    assert cli.COMMANDS[command].help in about
    for argument in COMMANDS[command]:
        assert argument in told


def test_no_argument_is_left_unexplained():
    (commands,) = cli.parser()._subparsers._group_actions
    assert set(commands.choices) == set(COMMANDS)
    for parser in commands.choices.values():
        assert [action.dest for action in parser._actions if not action.help] == []


def test_the_help_lists_every_command_and_shows_examples(winback):
    code, told, complaint = winback("--help")
    assert (code, complaint) == (0, "")
    for command in COMMANDS:
        assert f"\n    {command} " in told
    assert "winback readout data/telecom/sheet.yml" in told


def test_no_command_at_all_tells_how_to_use_it(winback):
    code, _, complaint = winback()
    assert code == 2
    assert complaint.startswith("usage: winback")


def test_help_loads_nothing_heavy():
    script = f"""
import sys
from experiments.cli.commands import main
try:
    main(["--help"])
finally:
    print("loaded:", sorted({HEAVY!r} & set(sys.modules)))
"""
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.endswith("loaded: []\n")


def test_the_parameters_of_a_notebook_are_listed_with_their_help(winback):
    code, told, _ = winback("run", "3-readout", "--list")
    assert code == 0
    assert "  horizon_months: int | None = None\n      1 to 60; months after assignment that count" in told
    assert "  objective: Literal['profit', 'roi', 'returned', 'months', " in told
    code, helped, _ = winback("run", "3-readout", "--help")
    assert code == 0
    assert helped.startswith("usage: winback run")
    assert helped.endswith(f"parameters of 3-readout:\n{told}")
    code, _, complaint = winback("run", "3-redout", "--help")
    assert code == 2
    assert "Did you mean '3-readout'?" in complaint


# Errors


def with_a_tab(folder):
    path = folder / "data/telecom/tab.yml"
    path.write_text(SHEET.replace("  as_of:", "\tas_of:"), encoding="utf-8")
    line = next(number for number, row in enumerate(SHEET.splitlines(), 1) if "  as_of:" in row)
    return line, "data/telecom/tab.yml"


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["readout", "data/telecom/sheet.yml", "-p", "horizon_month=12"], ["Did you mean 'horizon_months'?"]),
        (["readout", "data/telecom/sheet.yml", "-p", "horizon_months=twelve"], ["'twelve'", "must be a whole number"]),
        (["readout", "data/telecom/sheet.yml", "-p", "level=2"], ["'level'", "'2'", "above 0.5, below 1"]),
        (["run", "lost", "-p", "silent_days=0"], ["'silent_days'", "1 or more"]),
        (["sweep", "data/telecom/sheet.yml", "--over", "horizn_months=6"], ["Did you mean 'horizon_months'?"]),
        (["sweep", "data/telecom/sheet.yml", "--over", "level=0.9,1"], ["'level'", "'1'", "above 0.5, below 1"]),
        (["sweep", "data/telecom/sheet.yml"], ["needs values", "--over horizon_months=6,12,24"]),
        (["verify", "reports/telecom"], ["no run in 'reports/telecom'", "winback runs"]),
        (["readout", "data/telecom/sheet.yml", "-p", "objective=porfit"], ["'porfit'", "Did you mean 'profit'?"]),
        (["readout", "data/telecom/shet.yml"], ["'data/telecom/shet.yml'", "Did you mean 'data/telecom/sheet.yml'?"]),
        (["check", "data/telecom/shet.yml"], ["'data/telecom/shet.yml'", "Did you mean 'data/telecom/sheet.yml'?"]),
        (["readout", "data/telecom/sheet.yml", "-p", "x"], ["-p 'x' has no value", "-p x=value"]),
        (["run", "3-redout"], ["no notebook '3-redout'", "Did you mean '3-readout'?"]),
        (["run", "readout", "-p", "sheet=data/telecom/shet.yml"], ["Did you mean 'data/telecom/sheet.yml'?"]),
        (["run", "design", "-p", "power=0,8"], ["'power'", "'0,8'", "decimal point"]),
        (["compare"], ["no readout in reports", "winback readout"]),
        (["compare", "gone/readout.json"], ["gone/readout.json", "Check its path"]),
        (["compare", "a", "-p", "readouts=b"], ["readouts before the parameters", "winback compare b"]),
        (["compare", "a", "-p", "fresh=1"], ["no parameter 'fresh'", "Use one of"]),
        (["compare", "a", "-p", "reports=b"], ["no parameter 'reports'", "Did you mean 'readouts'?"]),
        (["compare", "gone", "-p", "language=fr", "--lang", "en"], ["'gone'", "Check its path"]),
        (["sweep", "data/telecom/sheet.yml", "-p", "sheet=b"], ["sheet before the parameters", "winback sweep b"]),
        (["sweep", "data/telecom/sheet.yml", "--over", "level"], ["--over 'level' has no value", "--over level=value"]),
        (
            ["sweep", "data/telecom/sheet.yml", "--over", "level=0.8", "--over", "level=0.9,0.99"],
            ["stands there twice", "--over level=0.8,0.9,0.99"],
        ),
        (["verify", "nowhere"], ["no run in 'nowhere'", "winback runs"]),
        (["pdf", "data/telecom/sheet.yml"], ["sheet.yml is no page", "Name a page.html"]),
        (["init", "data/telecom/sheet.yml"], ["sheet.yml is a file", "Name a new folder"]),
    ],
)
def test_an_error_is_one_message_with_its_cure(winback, folder, words, parts):
    code, told, complaint = winback(*words)
    assert (code, told) == (1, "")
    for part in parts:
        assert part in complaint
    assert is_one_message(complaint)
    assert not (folder / "reports").exists()


def test_a_tab_in_a_sheet_is_shown_with_its_line(winback, folder):
    line, sheet = with_a_tab(folder)
    for command in ("check", "readout"):
        code, _, complaint = winback(command, sheet)
        assert code == 1
        assert f"tab.yml, line {line}" in complaint
        assert "Replace the tab by spaces." in complaint
        assert is_one_message(complaint)


def test_a_missing_table_is_named(winback):
    code, _, complaint = winback("check", "data/telecom/sheet.yml")
    assert code == 1
    assert "customers.parquet" in complaint
    assert is_one_message(complaint)


@pytest.mark.parametrize(("number", "why"), [("many", "is no number of customers"), ("7", "is too few")])
def test_a_demo_of_no_customers_is_refused(winback, number, why):
    code, _, complaint = winback("demo", "--customers", number)
    assert code == 2
    assert why in complaint
    assert "Traceback" not in complaint


@pytest.mark.parametrize("command", [["run", "3-readout"], ["sweep", "data/telecom/sheet.yml"]])
@pytest.mark.parametrize("name", ["", " ", ".", "..", "../up", "a/b", "a\\b", ".hidden"])
def test_a_name_that_is_no_folder_inside_the_reports_is_refused(winback, command, name):
    code, _, complaint = winback(*command, "--name", name)
    assert code == 2
    assert "is no name of a folder: write for example try-1" in complaint


@pytest.mark.parametrize("command", [["readout"], ["sweep", "--over", "level=0.8"]])
def test_reports_that_cannot_be_written_are_told_with_the_cure(winback, monkeypatch, command):
    def refuse(path, *_):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("os.mkdir", refuse)
    code, _, complaint = winback(*command, "data/telecom/sheet.yml")
    assert code == 1
    assert "Folder 'reports/telecom" in complaint
    assert "cannot be written: Permission denied. Finished reports are as they were." in complaint
    assert "give another folder" in complaint
    assert is_one_message(complaint)


def test_the_command_itself_ends_with_the_exit_code_and_no_traceback():
    command = [Path(sys.executable).with_name("winback"), "check", "shet.yml"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout) == (1, "")
    assert is_one_message(answer.stderr)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize(("number", "exit_code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_what_stops_a_command_is_told_in_a_line(winback, monkeypatch, number, exit_code):
    stop, usual = signal.Signals[number], signal.default_int_handler if number == "SIGINT" else signal.SIG_DFL
    monkeypatch.setattr("experiments.sheet.sheet.read_sheet", lambda _: signal.raise_signal(stop))
    before = signal.signal(stop, usual)  # the tests themselves may run under nohup
    try:
        code, _, complaint = winback("check", "data/telecom/sheet.yml")
        assert signal.getsignal(stop) is usual
    finally:
        signal.signal(stop, before)
    assert code == exit_code
    assert complaint == "winback: stopped. Finished reports are as they were.\n"


def test_what_the_system_refuses_is_told_in_a_line(winback, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "reports/index.html")

    monkeypatch.setattr("experiments.sheet.sheet.read_sheet", full)
    code, _, complaint = winback("check", "data/telecom/sheet.yml")
    assert code == 1
    assert complaint == ("winback: 'reports/index.html': No space left on device. Finished reports are as they were.\n")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_under_nohup_a_closed_terminal_stops_nothing(winback, monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        monkeypatch.setattr(
            "experiments.simulate.telecom.simulate", lambda *_, **__: signal.raise_signal(signal.SIGHUP)
        )
        assert winback("init", "mine")[0] == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def is_one_message(complaint):
    return complaint.startswith("winback: ") and complaint.count("winback: ") == 1 and "Traceback" not in complaint


# What is run


@pytest.fixture
def ran(monkeypatch):
    """Stand in for the runs of notebooks: return where they were to go."""
    asked = []

    def run(notebook, parameters, *, out, **_):
        asked.append(out)
        return Run(out=out, notebook=str(notebook), parameters={}, inputs={}, code={}, versions={}, commit=None,
                   started="")  # fmt: skip

    monkeypatch.setattr("experiments.runner.notebooks.run", run)
    return asked


@pytest.mark.parametrize(
    ("line", "told", "out"),
    [("sheet: str | None = None", [], "own/n"), ("sheet: str = ''", [], "own/n"), ("n: int = 1", [], "own/n"),
     ("sheet: str | None = None", ["-p", "sheet=data/telecom/sheet.yml"], "telecom/n"),
     ("sheet: str | None = 'data/telecom/sheet.yml'", ["-p", "sheet=none"], "own/n")],
)  # fmt: skip
def test_a_notebook_of_ones_own_may_have_a_sheet_or_none(winback, ran, line, told, out):
    code, _, complaint = winback("run", str(make(Path("n.ipynb"), line)), *told)
    assert (code, complaint, ran) == (0, "", [Path("reports", out)])


def test_a_sweep_tells_the_page_of_every_setting(winback, folder, monkeypatch):
    make(folder / "n.ipynb", "sheet: str = ''\nn: int = 1")
    monkeypatch.setattr("experiments.runner.sweeps.run_job", lambda job, **_: replace(job.record, headline="Choose"))
    code, told, _ = winback("sweep", "data/telecom/sheet.yml", "--notebook", "n.ipynb", "--over", "n=1,2")
    assert code == 0
    for n in (1, 2):
        assert f"n={n}: Choose; reports/telecom/sweep/settings/n={n}/page.html\n" in told


# A check


def test_a_check_accounts_for_every_table(winback, folder):
    simulate(folder / "data/telecom", customers=300, seed=1)
    code, told, complaint = winback("check", "data/telecom/sheet.yml")
    assert (code, complaint) == (0, "")
    assert "a correct sheet. Which offer brings lost customers back" in told
    for table in ("customers", "purchases", "assignments", "contacts"):
        assert table in told.partition("The readout will use:")[0]
    assert "The readout will use:" in told
