"""What the tests share: simulated companies, the real donor test, and small tests written by hand."""

import os

# Before numpy is loaded: matrices here are small, and two workers share the cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import importlib.util
import json
import re
import signal
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from uuid import uuid4

import duckdb
import psutil
import pytest
import servers
from hypothesis import HealthCheck, settings
from sharing import once

from experiments.sheet.sheet import Sheet, read_sheet
from experiments.simulate.telecom import simulate

ROOT = Path(__file__).parents[1]
SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"

# In the background of a shell Ctrl-C is ignored, and so it would be by what a test starts, to wait for it for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# As many threads of the engine as tests/study/environments.sh says, where a test does not.
if threads := os.environ.get("TEST_DUCKDB_THREADS"):
    duckdb.connect = partial(duckdb.connect, config={"threads": int(threads)})

# The same examples on every machine, however busy: a red test is a defect, never luck.
settings.register_profile("winback", deadline=None, derandomize=True, database=None,
                          suppress_health_check=[HealthCheck.too_slow])  # fmt: skip
settings.load_profile("winback")


@pytest.fixture(scope="session")
def shared_data():
    """Return the folder of real data and reference answers, which is no part of the repository."""
    if not (SHARED_DATA / "reference.json").is_file():
        pytest.skip("the donor test and its reference answers are not beside the repository: shared/data")
    return SHARED_DATA


@pytest.fixture(scope="session")
def reference(shared_data):
    return json.loads((shared_data / "reference.json").read_text())["donor_match_offers"]


def pytest_collection_modifyitems(items):
    """Begin with what takes longest: the other worker has the rest meanwhile, and neither waits at the end."""
    items.sort(key=lambda item: item.path.name != "test_demo.py")


@pytest.fixture(scope="session")
def telecom(tmp_path_factory):
    """Return the folder of a simulated telecom: 40,000 lost in the test, 4,000 beside it, 80,000 who stayed."""
    return once(tmp_path_factory, "telecom", lambda folder: simulate(folder, customers=40_000, seed=7, history=True))


@pytest.fixture(scope="session")
def small_telecom(tmp_path_factory):
    return once(tmp_path_factory, "small", lambda folder: simulate(folder, customers=3_000, seed=7, history=True))


@pytest.fixture(scope="session")
def telecom_sheet():
    return read_sheet(ROOT / "data/telecom/sheet.yml")


@pytest.fixture(scope="session")
def donor_sheet():
    return read_sheet(ROOT / "data/donors/sheet.yml")


@pytest.fixture(scope="session")
def server():
    """Return the address of a private Postgres, where there are Postgres and psycopg."""
    if servers.program("initdb") is None or importlib.util.find_spec("psycopg") is None:
        pytest.skip("there is no Postgres here, or no psycopg")
    with servers.postgres() as address:
        yield address


@pytest.fixture
def start():
    """Return a function that starts a process as Popen does. Whatever becomes of the test, nothing of it is left."""
    mark, started = uuid4().hex, []

    def begin(command, *, env=None, **about):
        env = (env or os.environ) | {"WINBACK_TEST": mark}  # what it starts has it too, in whatever session
        started.append(subprocess.Popen(command, env=env, text=True, **about))
        return started[-1]

    yield begin
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("WINBACK_TEST") == mark:
                process.kill()
    for process in started:
        process.wait()
        for pipe in filter(None, (process.stdin, process.stdout, process.stderr)):
            pipe.close()


@pytest.fixture
def tell(capsys):
    """Return a function that shows counts, whatever pytest does with the output."""

    def show(what, counts):
        with capsys.disabled():
            told = ", ".join(f"{name} {number:,}" for name, number in sorted(counts.items()))
            sys.stdout.write(f"\n{what}: {told}\n")

    return show


@pytest.fixture
def by_hand(tmp_path):
    """Return a function that writes tables given as CSV text and returns (sheet, folder) of the test "toy".

    Two arms, `hold` and `A`, unless `arms` says otherwise; every other keyword is a setting of the sheet.
    """

    def write(*, holdout="hold", arms=None, sources=None, settings=None, **tables):
        for name, text in tables.items():
            (tmp_path / f"{name}.csv").write_text(text, encoding="utf-8")
        files = {name: {"file": f"{name}.csv"} | (sources or {}).get(name, {}) for name in tables}
        content = {
            "experiment": "toy",
            "question": "Which offer?",
            "objective": "returned",
            "holdout": holdout,
            "arms": arms or {"hold": {"share": 1}, "A": {"share": 1, "contact": 5}},
            "tables": files,
        }
        return Sheet.model_validate(content | (settings or {})), tmp_path

    return write


@pytest.fixture(scope="session")
def names():
    """Return a function that makes a pattern for `match`: every part stands in the message, in any order."""

    def pattern(*parts):
        return "(?s)" + "".join(f"(?=.*{re.escape(part)})" for part in parts)

    return pattern
