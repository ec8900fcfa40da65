"""The register of runs: what is reused, what differs, what can be had again."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from notebooks import leftovers, make

from experiments.cli import commands
from experiments.common import run_records
from experiments.common.errors import WinbackError
from experiments.common.files import workshop
from experiments.common.run_records import Run, chosen, differences, find_run, runs
from experiments.runner.notebooks import run
from experiments.runner.verify import records_to_verify, verify
from experiments.sheet.locked_plan import inputs_of

WRITE = """
import json
import os
import time
from pathlib import Path
number = len(Path(data).read_text()) * n
arms = [{'name': 'gift', 'net': number}, {'name': 'call', 'net': 1}]
Path(out, 'numbers.json').write_text(json.dumps({'arms': arms}))
with Path('times').open('a') as times:
    times.write('x')
"""


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.csv").write_text("four")
    make(tmp_path / "n.ipynb", "data: str = 'in.csv'\nn: int = 1\nout: str = ''", WRITE)


def times():
    """Return how many times the notebook ran."""
    return len(Path("times").read_text())


def record(out, **told):
    told = {"notebook": "3-readout", "parameters": {}, "inputs": {"a": "1"}, "code": {}, "versions": {}} | told
    return Run(out=Path(out), commit=None, started="2026-01-31T00:00:00+00:00", **told)


# What is not run again


def test_a_run_is_reused_until_something_it_is_made_from_changes(tmp_path, monkeypatch):
    first = run("n.ipynb", {}, out=Path("o"))
    assert (first.reused, list(first.inputs)) == (False, ["in.csv"])  # the file a parameter names is an input
    again = run("n.ipynb", {"n": 1}, out=Path("o"))
    assert (again.reused, times()) == (True, 1)
    assert replace(again, reused=False) == first

    run("n.ipynb", {}, out=Path("o"), fresh=True)
    run("n.ipynb", {"n": 2}, out=Path("o"))
    Path("in.csv").write_text("five5")
    run("n.ipynb", {"n": 2}, out=Path("o"))
    Path("o/numbers.json").write_text("{}")  # not as the run left it
    assert find_run("o").changed_files() == ["numbers.json"]
    run("n.ipynb", {"n": 2}, out=Path("o"))
    assert times() == 5
    assert run("n.ipynb", {"n": 2}, out=Path("o")).reused
    monkeypatch.setattr("experiments.runner.notebooks.package_sha256", lambda: "another")
    assert not run("n.ipynb", {"n": 2}, out=Path("o")).reused
    make(tmp_path / "n.ipynb", "data: str = 'in.csv'\nn: int = 1\nout: str = ''", WRITE + "# a comment")
    assert not run("n.ipynb", {"n": 2}, out=Path("o")).reused
    assert times() == 7


def test_a_run_of_which_no_input_is_known_is_never_reused(tmp_path):
    make(tmp_path / "blind.ipynb", "n: int = 1", "open('times', 'a').write('x')")
    for _ in range(2):
        assert not run("blind.ipynb", {}, out=Path("o")).reused
    assert times() == 2


def test_the_inputs_of_a_sheet_are_its_tables_the_locked_plan_and_the_past_test(by_hand):
    sheet, folder = by_hand(purchases="customer_id,at,amount\n1,2026-01-01,5\n")
    text = "experiment: toy\ntables:\n  purchases: {file: purchases.csv}\n"
    (folder / "sheet.yml").write_text(text + "lost: {as_of: 2026-01-02, learn_from: readout.json}\n")
    assert [path.name for path in inputs_of(folder / "sheet.yml")] == ["sheet.yml", "purchases.csv"]
    for name in ("plan.yml", "readout.json"):
        (folder / name).write_text("{}")
    assert [path.name for path in inputs_of(folder / "sheet.yml")][2:] == ["plan.yml", "readout.json"]
    assert sheet.experiment == "toy"


# The list, and how two runs differ


def test_runs_are_chosen_by_experiment_notebook_status_and_parameters():
    found = [
        record("reports/a/3-readout", parameters={"rate": 0.1, "sheet": "a.yml", "over": None}),
        record("reports/b/3-readout", parameters={"rate": 0.2, "over": ["x", "y"]}, status="failed"),
        record("reports/b/1-lost", notebook="1-lost"),
    ]
    assert chosen(found) == found
    assert chosen(found, experiment="b") == found[1:]
    assert chosen(found, experiment="a.yml") == found[:1]
    assert chosen(found, notebook="lost") == chosen(found, notebook="1-lost") == found[2:]
    assert chosen(found, status="failed") == chosen(found, parameters={"rate": "0.20"}) == found[1:2]
    assert chosen(found, parameters={"over": "x,y"}) == found[1:2]
    assert chosen(found, parameters={"rate": "0.1", "over": "none"}) == found[:1]
    with pytest.raises(WinbackError, match=r"No run has a parameter 'rat'\. Did you mean 'rate'"):
        chosen(found, parameters={"rat": "1"})


def test_two_runs_differ_in_parameters_inputs_code_and_numbers(capsys):
    run("n.ipynb", {}, out=Path("reports/a/x"))
    Path("in.csv").write_text("five5")
    run("n.ipynb", {"n": 2}, out=Path("reports/a/y"))
    one, other = find_run("reports/a/x"), find_run("reports/a/y/page.html")
    assert differences(one, one) == {}
    assert differences(one, replace(other, code={"package": "1"}, versions={})) == {
        "parameters": ["n: 1 | 2"],
        "inputs": ["in.csv: changed"],
        "code": ["notebook: only in the first", "package: changed"]
        + [f"{name}: {number} | nothing" for name, number in one.versions.items()],
        "numbers": ["numbers arms.gift.net: 4 | 10"],
    }
    assert commands.main(["runs", "reports/a/x", "reports/a/y"]) == 0
    told = capsys.readouterr().out
    assert "  parameters\n    n: 1 | 2\n" in told
    assert commands.main(["runs", "-p", "n=2"]) == 0
    assert "done    reports/a/y\n    data=in.csv, n=2\n" in capsys.readouterr().out
    assert commands.main(["runs", "reports/a/x"]) == 1
    assert "Name two runs" in capsys.readouterr().err
    assert commands.main(["runs", "reports/a/x", "reports/a/z"]) == 1
    assert "no run in 'reports/a/z'" in capsys.readouterr().err


@pytest.mark.parametrize("text", ['{"arms": [', "", "\x80"])
def test_a_result_that_was_cut_off_is_told_with_what_to_do(tmp_path, text):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "readout.json").write_text(text, encoding="latin-1")
    with pytest.raises(WinbackError, match=r"a/readout\.json' is no JSON .* Run the notebook again"):
        differences(record(tmp_path / "a"), record(tmp_path / "b"))


def test_a_failed_run_is_on_the_list_with_its_reason(tmp_path):
    make(tmp_path / "bad.ipynb", "n: int = 0", "1 / n")
    with pytest.raises(WinbackError):
        run("bad.ipynb", {}, out=Path("reports/a/bad"))
    (found,) = runs(Path("reports"))
    assert (found.status, found.headline) == ("failed", "ZeroDivisionError: division by zero")


# Computed again


def test_a_report_is_verified_from_its_record(monkeypatch, capsys):
    done = run("n.ipynb", {"n": 3}, out=Path("reports/a/x"))
    found = verify(done)
    assert (found.is_equal, found.causes, found.effects) == (True, {}, {})
    monkeypatch.setattr("experiments.runner.verify.package_sha256", lambda: "another")
    monkeypatch.setattr(run_records, "PACKAGES", ("papermill",))
    (there,) = records_to_verify("reports")
    found = verify(Run.read(there))
    assert (found.is_equal, [*found.causes], found.causes["code"][0]) == (True, ["code"], "package: changed")

    Path("in.csv").write_text("five5")
    Path("reports/a/x/page.html").write_text("better")
    for name, lost in {"broken": "run.json", "gone": "notebook.ipynb"}.items():
        Path("reports/a", name).mkdir()
        record(f"reports/a/{name}").write(Path("reports/a", name, "run.json"))
        Path("reports/a", name, lost).write_text("{")
    Path("reports/a/gone/notebook.ipynb").unlink()
    assert commands.main(["verify", "reports"]) == 1
    told, complaint = capsys.readouterr()
    assert "reports/a/broken: NOT computed\n  'reports/a/broken/run.json' is no run.json" in told
    assert "NOT computed\n  'reports/a/gone/notebook.ipynb', from which it is computed again, is gone. Run" in told
    assert "reports/a/x: NOT equal\n  inputs\n    in.csv: changed\n" in told
    assert "  files\n    page.html: changed after the run\n" in told
    assert "  numbers\n    numbers arms.gift.net: 12 | 15\n" in told
    assert "  page\n    page.html: another one\n" in told
    assert complaint == "winback: 3 of these reports cannot be had again from the same inputs.\n"
    assert leftovers(Path("reports")) == []
    assert Path("reports/a/x/page.html").read_text() == "better"  # it only looks

    Path("in.csv").unlink()
    with pytest.raises(WinbackError, match=r"x' cannot be computed again: in\.csv: deleted\. Put back"):
        verify(done)
    with pytest.raises(WinbackError, match="no run in 'reports/b/x'"):
        records_to_verify("reports/b/x")


def test_a_record_that_is_none_is_refused_with_what_to_do(tmp_path):
    record(tmp_path).write(tmp_path / "run.json")
    good = json.loads((tmp_path / "run.json").read_text())
    nulls = ("notebook", "parameters", "inputs", "code", "versions", "started", "files", "headline")
    wrong = [good | change for change in [*({name: None} for name in nulls), {"files": ["a"]}, {"more": 1}]]
    for text in ("{", "[]", "{}", *map(json.dumps, wrong)):
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(WinbackError, match=r"is no run\.json .* Run the notebook again"):
            Run.read(tmp_path / "run.json")


def test_what_a_killed_run_left_goes_at_the_next_run(tmp_path):
    for name, age in ((".3-readout-old", 90_000), (".3-readout-now", 5), (".4-compare-old", 90_000)):
        (tmp_path / name / "reports").mkdir(parents=True)
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    with workshop(tmp_path / "3-readout") as work:
        assert work.is_dir()
    assert {path.name for path in tmp_path.glob(".*")} == {".3-readout-now", ".4-compare-old"}
