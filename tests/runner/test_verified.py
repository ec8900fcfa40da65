"""Verified means verified: what was typed into a result is not believed, and a run knows all that it was made from."""

import json
import logging
import os
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from notebooks import make

from experiments.cli import commands
from experiments.common import run_records
from experiments.common.errors import WinbackError
from experiments.common.run_records import Run, believe, differences, find_run
from experiments.compare.pool import pool_readouts
from experiments.compare.sweep import Sweep
from experiments.design.prior import _expected
from experiments.lost.find import find_lost
from experiments.readout.readout import Readout, read_out
from experiments.report import compare as page
from experiments.runner.local_modules import modules_of
from experiments.runner.notebooks import run
from experiments.runner.verify import verify
from experiments.sheet.locked_plan import lock
from experiments.sheet.sheet import Sheet
from experiments.stats.meta_analysis import Knowledge

CHANGED = r"was changed after its run \(sha256 \w{12}, not \w{12}\)\. Run it again, or verify: `winback verify "
PARAMETERS = "data: str = 'in.csv'\nout: str = ''"
WRITE = """import json
from pathlib import Path
Path(out, 'numbers.json').write_text(json.dumps({'n': number}))"""


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("in.csv").write_text("four")


@pytest.fixture(scope="module")
def readout(tmp_path_factory):
    """Return the readout of 400 customers: half an offer at 5 a contact, half nothing."""
    folder = tmp_path_factory.mktemp("toy")
    arms = "".join(f"c{i},{('hold', 'A')[i % 2]}\n" for i in range(400))
    back = [100 * (i % 20 in (0, 1, 3, 5)) for i in range(400)]
    outcomes = "".join(f"c{i},{int(value > 0)},{value}\n" for i, value in enumerate(back))
    (folder / "assignments.csv").write_text(f"customer_id,arm\n{arms}")
    (folder / "outcomes.csv").write_text(f"customer_id,returned,value\n{outcomes}")
    content = {
        "experiment": "toy", "question": "Which offer?", "objective": "returned", "holdout": "hold",
        "arms": {"hold": {"share": 1}, "A": {"share": 1, "contact": 5}},
        "tables": {name: {"file": f"{name}.csv"} for name in ("assignments", "outcomes")},
    }  # fmt: skip
    return read_out(Sheet.model_validate(content), folder)


def registered(folder, **told):
    """Write the run.json of a run that left in the folder what lies there."""
    files = {path.name: sha256(path.read_bytes()).hexdigest() for path in Path(folder).iterdir()}
    about = {"notebook": "3-readout", "parameters": {}, "inputs": {"a": "1"}, "code": {}, "versions": {}} | told
    done = Run(out=Path(folder), commit=None, started="2026-01-31T00:00:00+00:00", files=files, **about)
    done.write(Path(folder, "run.json"))
    return done


@pytest.fixture
def kept(readout):
    """Return the readout.json of a registered run."""
    path = Path("reports/toy/3-readout/readout.json")
    readout.write(path)
    registered(path.parent)
    return path


def type_in(path, value=9_999.0):
    """Type a net into a result, and set the file's time back."""
    before, content = path.stat(), json.loads(path.read_text(encoding="utf-8"))
    if "arms" in content:
        content["arms"][1]["estimates"]["net"]["value"] = value
    else:
        content["pooled"][0]["mean"]["value"] = value
    path.write_text(json.dumps(content), encoding="utf-8")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


# A result that is built on


def test_a_result_is_believed_as_its_run_left_it(kept, readout):
    assert believe(kept)
    assert Readout.load(kept) == readout
    type_in(kept)
    with pytest.raises(WinbackError, match=CHANGED + "reports/toy/3-readout`"):
        believe(kept)
    with pytest.raises(WinbackError, match=CHANGED):
        Readout.load(kept)
    kept.unlink()
    with pytest.raises(WinbackError, match=r"readout\.json', which its run wrote, cannot be read: No such file"):
        believe(kept)
    (kept.parent / "run.json").write_text("{")
    with pytest.raises(WinbackError, match=r"is no run\.json"):
        believe(kept)


def test_a_result_that_a_person_wrote_is_accepted_and_the_page_says_so(kept, readout, caplog):
    readout.write("mine.json")
    readout.write(kept.with_name("mine.json"))  # beside a run, but not of it
    assert [believe("mine.json"), believe(kept.with_name("mine.json"))] == [False, False]
    assert Readout.load("mine.json") == readout
    told = str(page.provenance([kept.as_posix(), "mine.json"]))
    assert f"{kept.as_posix()}; mine.json (not from a registered run)" in told
    run_records.warn_of_unregistered(kept)
    assert caplog.messages == []
    run_records.warn_of_unregistered("mine.json")
    assert "'mine.json' is not from a registered run" in caplog.text


def test_compare_refuses_a_net_that_was_typed_in(kept, capsys):
    assert pool_readouts(page.read_all([kept])).of("net")[0].mean.value == pytest.approx(15)
    type_in(kept)
    assert commands.main(["compare", str(kept)]) == 1
    assert "readout.json' was changed after its run (sha256 " in capsys.readouterr().err
    with pytest.raises(WinbackError, match=CHANGED):
        page.read_all([kept])
    assert not Path("reports/compare").exists()


def test_learn_from_refuses_a_net_that_was_typed_in(kept, by_hand, caplog):
    purchases = "customer_id,at,amount\na,2023-12-01,300\nb,2023-12-01,90\nhere,2024-03-30,1\n"
    lost = {"as_of": "2024-03-31", "silent_days": 60, "learn_from": kept.as_posix()}
    sheet, folder = by_hand(purchases=purchases, settings={"lost": lost})
    assert find_lost(sheet, folder=folder).learned.lessons[0].gain.value == pytest.approx(15)
    assert caplog.messages == []
    type_in(kept)
    with pytest.raises(WinbackError, match=CHANGED):
        find_lost(sheet, folder=folder)
    (kept.parent / "run.json").unlink()
    with caplog.at_level(logging.WARNING):
        find_lost(sheet, folder=folder)
    assert "is not from a registered run" in caplog.text


def test_pooled_refuses_a_net_that_was_typed_in(readout, by_hand):
    path = Path("reports/compare/4-compare/pooled.json")
    pool_readouts([readout]).write(path)
    registered(path.parent, notebook="4-compare")
    design = {"accepted": {"A": 0.3, "hold": 0.1}, "pooled": path.as_posix()}
    sheet, folder = by_hand(purchases="customer_id,at,amount\n", settings={"design": design})
    assert _expected(sheet, folder)["profit"]["A"].value == pytest.approx(15)
    type_in(path)
    for read in (lambda: _expected(sheet, folder), lambda: Knowledge.load(path)):
        with pytest.raises(WinbackError, match=CHANGED):
            read()


def test_a_sweep_and_a_comparison_of_runs_refuse_what_was_typed_in(kept, readout):
    other = Path("other/readout.json")
    readout.write(other)
    registered("other", parameters={"level": 0.9})
    assert len(Sweep.of_runs(["other"], over=["level"]).settings) == 1
    runs = find_run(kept), find_run(other)
    assert [*differences(*runs)] == ["parameters"]
    type_in(other)
    for read in (lambda: Sweep.of_runs(["other"], over=["level"]), lambda: differences(*runs)):
        with pytest.raises(WinbackError, match=CHANGED + "other`"):
            read()


def test_a_plan_is_locked_on_no_cohort_that_was_changed(by_hand):
    sheet, _ = by_hand(purchases="customer_id,at,amount\n")
    Path("reports").mkdir()
    cohort = Path("reports/cohort.parquet")
    cohort.write_bytes(b"1")
    registered("reports", notebook="1-lost")
    cohort.write_bytes(b"2")
    with pytest.raises(WinbackError, match=CHANGED):
        lock(sheet, cohort=cohort, today=None)


# What a run was made from


def test_the_modules_that_cells_import_are_found_below_their_folder():
    for name, text in {
        "notebooks/helpers.py": "from rates import monthly\nimport json",
        "rates/__init__.py": "",
        "rates/monthly.py": "from . import shares\nfrom ..above import x",
        "rates/shares.py": "import helpers",
        "rates/other.py": "",
        "bare/inner.py": "",
        "broken.py": "import rates.other\n(",
        "experiments/report.py": "",
    }.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text)
    cells = ["%matplotlib inline\nimport helpers", "def f():\n    from bare import inner", "import broken", "a b"]
    found = modules_of([*cells, "from experiments import report"], Path("notebooks/n.ipynb"))
    assert list(found) == [
        f"module {name}"
        for name in ("bare/inner.py", "broken.py", "notebooks/helpers.py", "rates/__init__.py", "rates/monthly.py",
                     "rates/shares.py")
    ]  # fmt: skip
    assert found["module rates/shares.py"] == sha256(b"import helpers").hexdigest()


def test_a_run_is_made_again_when_a_helper_its_zone_or_a_version_changes(monkeypatch, capsys):
    Path("helpers.py").write_text("number = 1")
    make(Path("n.ipynb"), PARAMETERS, "from helpers import number", WRITE)
    first = run("n.ipynb", {}, out=Path("o"))
    assert first.modules == {"helpers.py": sha256(b"number = 1").hexdigest()}
    assert run("n.ipynb", {}, out=Path("o")).reused
    Path("helpers.py").write_text("number = 2")
    again = run("n.ipynb", {}, out=Path("o"))
    assert (again.reused, again.because) == (False, ("module helpers.py: changed",))
    assert json.loads(Path("o/numbers.json").read_text()) == {"n": 2}

    record = json.loads(Path("o/run.json").read_text())
    del record["time_zone"], record["versions"]["scipy"]  # as an earlier version wrote it
    Path("o/run.json").write_text(json.dumps(record))
    now = again.versions["scipy"]
    again = run("n.ipynb", {}, out=Path("o"))
    assert again.because == (f"scipy: nothing | {now}", f"time zone: nothing | {again.time_zone}")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert commands.main(["run", "n.ipynb", "--name", "toy"]) == 0
    monkeypatch.setenv("TZ", "Europe/Berlin")
    capsys.readouterr()
    assert commands.main(["run", "n.ipynb", "--name", "toy"]) == 0
    assert "    since the run before: time zone: Asia/Tokyo | Europe/Berlin\n" in capsys.readouterr().out
    assert not replace(again, time_zone="UTC").is_made_from_the_same_as(again)


# Computed again


def test_verify_tells_a_deleted_input_from_a_changed_one_and_goes_on(capsys):
    Path("helpers.py").write_text("number = 1")
    make(Path("n.ipynb"), PARAMETERS, "from helpers import number", WRITE)
    for name in ("gone", "kept"):
        Path(f"{name}.csv").write_text("four")
    done = run("n.ipynb", {"data": "gone.csv"}, out=Path("reports/a"), inputs=[Path("in.csv")])
    run("n.ipynb", {"data": "kept.csv"}, out=Path("reports/b"))
    Path("gone.csv").unlink()
    Path("in.csv").write_text("five5")
    Path("reports/b/numbers.json").unlink()
    Path("helpers.py").write_text("number = 1  # one")
    assert commands.main(["verify", "reports"]) == 1
    told, complaint = capsys.readouterr()
    assert "reports/a: NOT computed\n  'reports/a' cannot be computed again: gone.csv: deleted; in.csv: changed" in told
    assert "reports/b: NOT equal\n  code\n    helpers.py: changed\n" in told
    assert "  files\n    numbers.json: deleted after the run\n" in told
    assert complaint == "winback: 2 of these reports cannot be had again from the same inputs.\n"

    Path("gone.csv").mkdir()
    with pytest.raises(WinbackError, match=r"gone\.csv: cannot be read \(Is a directory\); in\.csv: changed"):
        verify(done)
    Path("helpers.py").unlink()
    with pytest.raises(WinbackError, match=r"helpers\.py: deleted; in\.csv: changed\. Put back what is gone"):
        verify(done)
