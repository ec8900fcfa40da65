"""A sweep: every setting checked before any begins, failures left out, an interruption without loss."""

import csv
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pytest
from notebooks import HANGS, alive, leftovers, make, wait_until

from experiments.cli import commands as cli
from experiments.common.errors import WinbackError
from experiments.common.files import alone
from experiments.common.formatting import told
from experiments.common.language import speaking
from experiments.common.run_records import Run, find_run
from experiments.compare.sweep import Change, Setting, Sweep
from experiments.metrics.cube import make_cube
from experiments.readout.readout import read_cube
from experiments.readout.verdict import Verdict
from experiments.report import sweep as report
from experiments.report.wording.verdict import headline
from experiments.runner import sweeps
from experiments.runner.sweeps import SETTINGS, sweep
from experiments.runner.verify import verify
from experiments.sheet.sheet import changed, read_sheet

ROOT = Path(__file__).parents[2]
OVER = {"horizon_months": [3, 24], "objective": ["profit", "roi"]}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def found(small_telecom):
    """Return the sweep of a small telecom over horizon and objective, read without notebooks."""
    sheet = read_sheet(ROOT / "data/telecom/sheet.yml")
    settings = []
    for months in OVER["horizon_months"]:
        cube = make_cube(changed(sheet, {"horizon_months": months}), small_telecom)
        for objective in OVER["objective"]:
            parameters = {"horizon_months": months, "objective": objective}
            settings.append(Setting(parameters=parameters, readout=read_cube(cube, changed(sheet, parameters))))
    return Sweep(over=tuple(OVER), settings=tuple(settings), failed=("horizon_months=99: too long",))


def leading(sweep, *names, clear=()):
    """Return the sweep with other leaders, setting by setting; `clear`: the places where the verdict is to choose."""
    settings = []
    for place, (setting, name) in enumerate(zip(sweep.settings, names, strict=True)):
        ranking = setting.readout.ranking
        offers = (name, *(offer for offer in ranking.offers if offer != name))
        verdict = replace(setting.readout.verdict, tone="go" if place in clear else "wait")
        readout = replace(setting.readout, ranking=replace(ranking, offers=offers), verdict=verdict)
        settings.append(replace(setting, readout=readout))
    return replace(sweep, settings=tuple(settings))


def change(parameter, value, following, before, after):
    return Change(parameter=parameter, value=value, following=following, before=before, after=after)


# What a sweep says


def test_a_sweep_counts_who_leads_and_finds_where_that_changes(found):
    swept = leading(found, "discount", "discount", "upgrade", "discount")
    assert swept.leads.most_common() == [("Discount", 3), ("Upgrade", 1)]
    assert list(swept.changes()) == [
        change("horizon_months", 3, 24, "Discount", "Upgrade"),  # with the objective profit
        change("objective", "profit", "roi", "Upgrade", "Discount"),  # at 24 months
    ]
    assert swept.metrics == ("net", "roi")
    same = replace(found, settings=found.settings[1::2])
    assert same.metrics == ("roi",)


def test_the_page_says_in_how_many_settings_the_leader_leads_and_the_test_can_tell(found):
    told = report.verdict(leading(found, "discount", "discount", "upgrade", "discount", clear={1})).text
    assert "Discount leads in 3 of 4 settings" in told
    assert "Discount leads in 3 of 4 settings, Upgrade in 1. In 1 of them the test is large enough to choose." in told
    assert "The leader changes with horizon months from 3 to 24 (Discount to Upgrade); with objective" in told
    assert "Settings that failed and are left out: 1" in told
    assert "<dt>horizon_months=99</dt><dd>too long</dd>" in told
    assert 'class="verdict wait"' in told
    told = report.verdict(leading(found, *["bundle"] * 4, clear={0, 1, 2, 3})).text
    assert "Bundle leads in every setting" in told
    assert "No setting changes who leads." in told
    assert 'class="verdict go"' in told


def test_settings_without_a_ranking_have_no_leader(found):
    unranked = Verdict(kind="no_ranking", tone="wait")
    bare = [replace(s, readout=replace(s.readout, ranking=None, verdict=unranked)) for s in found.settings]
    told = (
        report.verdict(replace(found, settings=tuple(bare))).text
        + report.table(replace(found, settings=tuple(bare))).text
    )
    assert "No offer leads" in told


def test_the_picture_and_the_table_show_every_setting(found):
    drawn = report.picture(found).text
    goals = {"profit": "net profit per customer", "roi": "return on investment"}
    for setting in found.settings:
        shown = told(setting.readout.arm("discount").estimates[setting.metric], currency="USD")
        about = setting.parameters
        named = f"horizon months {about['horizon_months']}, objective {goals[about['objective']]}"
        assert f"{named}: Discount {shown} (" in drawn
    table = report.table(found).text
    assert [table.count(f"<td>{label}: ") for label in ("Net", "Incremental ROI")] == [2, 2]
    assert table.count("<tr>") == 5
    for setting in found.settings:
        assert headline(setting.readout).replace("'", "&#x27;") in table


def test_the_rows_are_the_same_in_both_files_and_lose_nothing(found, tmp_path):
    first = found.settings[0].readout
    open_ended = {"net": replace(first.arms[1].estimates["net"], high=None)}
    arms = (replace(first.arms[1], estimates=open_ended), *first.arms[2:])
    found = replace(
        found, settings=(replace(found.settings[0], readout=replace(first, arms=arms)), *found.settings[1:])
    )
    found.write(tmp_path)
    with duckdb.connect() as con:
        rows = con.execute("SELECT * FROM 'sweep.parquet'").fetchall()
        names = [column[0] for column in con.description]
    told = list(csv.DictReader((tmp_path / "sweep.csv").read_text(encoding="utf-8").splitlines()))
    assert names == [*OVER, "verdict", "leads", "arm", "metric", "value", "low", "high", "level", "n", "unit"]
    expected = [
        (*s.parameters.values(), s.readout.verdict.tone, s.leader.name, arm.name, metric, e.value, e.low, e.high,
         e.level, e.n, e.unit)
        for s in found.settings
        for arm in s.readout.arms
        for metric, e in arm.estimates.items()
    ]  # fmt: skip
    assert rows == expected
    assert rows[0][8] is None  # no bound is no number, and not a NaN
    assert [tuple(row.values()) for row in told] == [
        tuple("" if value is None else str(value) for value in row) for row in expected
    ]


def test_a_sweep_comes_back_from_its_folder_as_it_was(found, tmp_path):
    found.write(tmp_path / "sweep.json")
    assert Sweep.load(tmp_path) == Sweep.load(tmp_path / "sweep.json") == found
    assert "Settings that failed" in Sweep.load(tmp_path)._repr_html_()
    with pytest.raises(WinbackError, match=r"no sweep .*winback sweep <sheet> --over"):
        Sweep.load(tmp_path / "elsewhere")


def test_the_page_of_a_sweep_can_be_had_in_another_language_from_its_file(found, tmp_path):
    found.write(tmp_path)
    known, parts = Sweep.load(tmp_path), (report.question, report.verdict, report.picture, report.table)
    french = [str(part(known, language="fr")) for part in parts]
    with speaking("fr"):
        assert [str(part(found)) for part in parts] == french
    assert french != [str(part(found)) for part in parts]
    assert "Choose" not in report.table(known, language="fr").text


def test_a_sweep_of_nothing_is_refused():
    with pytest.raises(WinbackError, match="winback sweep <sheet> --over"):
        Sweep.of_runs([], over=["a"])


# Before anything begins


class Uncountable:
    """Two million values that nobody may go through one by one."""

    __iter__ = None

    def __len__(self):
        return 2_000_000


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ({"mnths": ["1"]}, "no parameter 'mnths'. Did you mean 'months'"),
        ({"months": ["6", "x"]}, "Parameter 'months' is 'x': it must be a whole number"),
        ({"months": ["6", "99"]}, "Parameter 'months' is '99': it must be 1 to 60"),
        ({"months); import os; os._exit(1)": ["1"]}, "has no parameter 'months\\); import os"),
        ({"months": []}, "needs values"),
        ({}, "needs values"),
        ({"n": ["1"]}, "'n' is given as one value too"),
        ({"out": ["1"]}, "'out' is the same in all settings"),
        ({"months": Uncountable(), "m": Uncountable()}, "4,000,000,000,000 settings, and 1,000 is the most"),
    ],
)
def test_a_sweep_that_cannot_be_run_is_refused_before_anything_begins(tmp_path, over, message):
    header = 'from typing import Annotated\nmonths: Annotated[int, "1 to 60"] = 24\nm: int = 1\nn: int = 1'
    make(tmp_path / "n.ipynb", header, "open('ran', 'w')")
    with pytest.raises(WinbackError, match=message):
        sweep("n.ipynb", {"n": 2}, over=over, out=Path("reports/a/sweep"))
    assert [path.name for path in tmp_path.iterdir()] == ["n.ipynb"]


def test_two_sweeps_do_not_write_into_one_folder(tmp_path):
    make(tmp_path / "n.ipynb", "n: int = 1", "open('ran', 'w')")
    with alone(Path("o") / SETTINGS), pytest.raises(WinbackError, match="Another sweep writes into 'o'"):
        sweep("n.ipynb", {}, over={"n": [1, 2]}, out=Path("o"))
    assert not Path("ran").exists()


# Run


def test_a_failure_is_told_at_the_end_and_the_others_are_done_and_reused(tmp_path, capsys):
    (tmp_path / "data/telecom").mkdir(parents=True)
    sheet = (ROOT / "data/telecom/sheet.yml").read_text(encoding="utf-8") + "\nsweep: {n: [2, 0], word: [a/b, c]}\n"
    (tmp_path / "data/telecom/sheet.yml").write_text(sheet, encoding="utf-8")
    write = "with open('times', 'a') as times:\n    times.write('x')\n1 / n"
    make(tmp_path / "own.ipynb", "sheet: str = ''\nn: int = 1\nword: str = ''\nout: str = ''", write)
    command = ["sweep", "data/telecom/sheet.yml", "--notebook", "own.ipynb", "--name", "try"]

    assert cli.main(command) == 1
    told, complaint = capsys.readouterr()
    assert "2 of 4 settings failed.\nn=0,word=" in complaint
    assert "ZeroDivisionError: division by zero" in complaint
    names = sorted(path.name for path in Path("reports/telecom/try/settings").iterdir())
    assert len(names) == 4
    assert "n=2,word=c" in names  # a name that is none for a file gets another
    assert find_run("reports/telecom/try/settings/n=2,word=c").parameters["word"] == "c"
    assert told.count("n=2") == 4  # its name, and its page
    assert leftovers(Path("reports")) == []

    assert cli.main(command) == 1
    assert capsys.readouterr().out.count("(reused)") == 2
    assert len(Path("times").read_text()) == 6
    assert cli.main([*command, "--over", "n=1,3", "--over", "word=c", "--fresh"]) == 0
    assert len(Path("times").read_text()) == 8


@pytest.mark.skipif(sys.platform == "win32", reason="no signals between processes")
def test_what_stops_a_sweep_keeps_what_is_finished_and_the_next_goes_on(tmp_path, start):
    """By `kill`: Ctrl-C takes the same way."""
    (tmp_path / "sheet.yml").write_text((ROOT / "data/telecom/sheet.yml").read_text(encoding="utf-8"))
    wait = "import os, time\nfrom pathlib import Path\nPath(f'new{n}').write_text(f'{os.getpid()} {os.getppid()}')\n"
    wait += "Path(f'new{n}').rename(f'pid{n}')\ntime.sleep(0 if n < 2 or Path('go').exists() else 3600)"
    make(tmp_path / "n.ipynb", "sheet: str = ''\nn: int = 0\nout: str = ''", wait)
    command = [sys.executable, "-m", "experiments", "sweep", "sheet.yml", "--notebook", "n.ipynb"]
    command += ["--over", "n=0,1,2,3,4"]
    with TemporaryDirectory(prefix="w") as temporary:  # short: sockets lie in it
        environment = os.environ | {"TMPDIR": temporary}
        caller = start(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wait_until(lambda: (tmp_path / "pid3").exists() and (tmp_path / "pid2").exists(), caller)
        caller.send_signal(signal.SIGTERM)
        assert caller.communicate(timeout=HANGS) == ("", "winback: stopped. Finished reports are as they were.\n")
        assert caller.returncode == 143
        assert [*Path(temporary).iterdir()] == []
    processes = {int(number) for path in tmp_path.glob("pid*") for number in path.read_text().split()}
    assert len(processes) == 5  # four kernels and what forked them
    wait_until(lambda: not any(map(alive, processes)))
    assert leftovers(tmp_path) == []
    settings = Path("reports/telecom/sweep/settings")
    assert sorted(path.name for path in settings.iterdir()) == ["n=0", "n=1"]
    assert Run.read(settings / "n=1/run.json").changed_files() == []

    Path("go").write_text("")
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ["(reused)" in line for line in told.stdout.splitlines()] == [True, True, False, False, False]
    assert told.stderr == ""


def test_a_sweep_of_readouts_makes_a_page_that_can_be_had_again(small_telecom, tmp_path, monkeypatch):
    """The real notebooks, forked; then computed again by kernels that are started: every byte is the same."""
    (tmp_path / "data").symlink_to(small_telecom)
    (tmp_path / "data/sheet.yml").write_text((ROOT / "data/telecom/sheet.yml").read_text(encoding="utf-8"))
    assert cli.main(["sweep", "data/sheet.yml", "--over", "horizon_months=6", "-p", "winsorise=no"]) == 0
    page = find_run("reports/telecom/sweep")
    assert page.headline in page.page.read_text(encoding="utf-8")
    assert list(page.inputs) == ["reports/telecom/sweep/settings/horizon_months=6/readout.json"]
    assert {"sweep.json", "sweep.csv", "sweep.parquet"} <= set(page.files)
    monkeypatch.setenv("WINBACK_SPAWN", "1")
    again = verify(find_run("reports/telecom/sweep/settings/horizon_months=6"))
    assert (again.causes, again.effects) == ({}, {})


def test_a_sweep_of_other_values_under_the_same_name_is_told(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "o").mkdir()
    record = {"notebook": "5-sweep", "parameters": {"settings": ["o/settings/n=1", "o/settings/n=2"]}, "inputs": {},
              "code": {}, "versions": {}, "commit": None, "started": "2026-01-01T00:00:00+00:00", "headline": "",
              "status": "done", "files": {}}  # fmt: skip
    (tmp_path / "o/run.json").write_text(json.dumps(record), encoding="utf-8")
    sweeps._say_other_values({"n=1": None, "n=2": None, "n=3": None}, tmp_path / "o")
    assert caplog.text == ""
    sweeps._say_other_values({"n=2": None, "n=3": None}, tmp_path / "o")
    assert "was a sweep of other settings, such as n=1" in caplog.text
