"""The ledger under fire: writers killed at random points, two at once, full disks. No customer twice, none lost."""

import collections
import contextlib
import importlib.util
import itertools
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import booker
import pytest
import servers

from experiments.campaign.ledger import open_ledger

pytestmark = pytest.mark.slow

WORKER = Path(__file__).with_name("booker.py")
TIMES = {"file": 200, "server": 60}
SIZE, STEP = 8_000, 6_000  # customers of a test; how far its pool reaches beyond that of the test before


class Worker(subprocess.Popen):
    """A process that books, ready to be told what."""

    def __init__(self, address):
        super().__init__(
            [sys.executable, str(WORKER), address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.stdout.readline() == "ready\n"

    def tell(self, **what):
        self.stdin.write(json.dumps(what) + "\n")
        self.stdin.flush()

    def answer(self):
        """Return what came of a line; nothing if the process died before."""
        line = self.stdout.readline()
        return json.loads(line) if line.endswith("\n") else {}

    def kill_now(self):
        self.send_signal(signal.SIGKILL)
        self.wait()
        said = self.answer()
        self.stdin.close()
        self.stdout.close()
        return said


@pytest.fixture(params=TIMES)
def place(request, tmp_path):
    """Return the kind of a new ledger and its address."""
    if request.param == "file":
        address = str(tmp_path / "ledger.duckdb")
        with open_ledger(address, create=True):
            pass
        yield request.param, address
        return
    if servers.program("initdb") is None or importlib.util.find_spec("psycopg") is None:
        pytest.skip("there is no Postgres here, or no psycopg")
    with servers.postgres() as address:
        with open_ledger(address, create=True):
            pass
        yield request.param, address


def state(address):
    """Return what stands, after an audit: the chain of each experiment, customers booked, customers with a chance."""
    with open_ledger(address, read_only=True) as ledger:
        assert ledger.audit() == ()
        rows = ledger._store.rows("SELECT count(*), count(DISTINCT customer_id) FROM winback_ledger.open_chances")
        return {one.booking.experiment: one.booking for one in ledger.experiments()}, *rows[0]


def pool(number):
    return number * STEP, number * STEP + SIZE


def seconds(address):
    """Return how long a booking takes, from the first line to the answer, at most."""
    worker, spent = Worker(address), []
    for experiment in ("first", "second", "third"):
        begun = time.perf_counter()
        worker.tell(experiment=experiment, customers=pool(len(spent)))
        assert worker.answer()["new"]
        spent.append(time.perf_counter() - begun)
    worker.kill_now()
    return max(spent)


@contextlib.contextmanager
def watched(kind, address):
    """Yield a function that tells whether a booking is being written."""
    if kind == "file":
        yield lambda: any(Path(address).parent.glob(".*part"))
        return
    import psycopg

    held = "mode = 'ExclusiveLock' AND relation = 'winback_ledger.bookings'::regclass"
    with psycopg.connect(address, autocommit=True) as connection:
        yield lambda: connection.execute(f"SELECT count(*) FROM pg_locks WHERE {held}").fetchone()[0]


def wait_for(happens, *, seconds):
    until = time.perf_counter() + seconds
    while not happens() and time.perf_counter() < until:
        time.sleep(0.0005)


def test_writers_killed_at_random_points_lose_nobody_and_book_nobody_twice(place, tell):
    kind, address = place
    chance, counts = random.Random(booker.SEED), collections.Counter()
    long, acknowledged = seconds(address), {}
    for number in range(3, 3 + TIMES[kind]):
        what = {"experiment": f"test {number}", "customers": pool(number)}
        worker = Worker(address)
        with watched(kind, address) as writing:
            worker.tell(**what)
            if number % 2:
                time.sleep(chance.uniform(0, 1.1 * long))
            else:  # where it hurts most: while the booking is written
                wait_for(writing, seconds=3 * long)
                time.sleep(chance.uniform(0, 0.4 * long))
        said = worker.kill_now()
        counts["next file left behind"] += kind == "file" and any(Path(address).parent.glob(".*part"))
        stands, rows, customers = state(address)
        booked = what["experiment"] in stands
        assert rows == customers
        assert len(stands) == number + booked
        assert booked or not said  # what was acknowledged stands
        counts["killed: booked and said so" if said else "killed: booked" if booked else "killed: nothing booked"] += 1
        again = booker.book(address, **what)
        assert again["new"] == (not booked)
        assert booked == (again["chain"] == getattr(stands.get(what["experiment"]), "chain", None))
        acknowledged[what["experiment"]] = again["chain"]
        assert all(stands[name].chain == chain for name, chain in acknowledged.items() if name in stands)
    stands, rows, customers = state(address)
    found = {"customers": customers, "twice": rows - customers, "lost": pool(number)[1] - customers}
    tell(f"{kind}: writers killed", dict(counts) | found)
    assert (found["twice"], found["lost"]) == (0, 0)
    assert {name: stands[name].chain for name in acknowledged} == acknowledged


@pytest.mark.parametrize("manner", ["polite", "rude", "same"])
def test_of_two_writers_at_once_each_customer_goes_to_one(place, tell, manner):
    """Polite: both ask who is assignable. Rude: neither does. Same: both book one and the same test."""
    kind, address = place
    counts, workers = collections.Counter(), (Worker(address), Worker(address))
    times = TIMES[kind] if manner == "rude" else TIMES[kind] // 2
    for number in range(times):
        pools = [(number * 1000, number * 1000 + 600), (number * 1000 + 400, number * 1000 + 1000)]
        for place_, worker in enumerate(workers):
            name = f"{manner} {number}" if manner == "same" else f"{manner} {number} {place_}"
            pool_ = pools[0] if manner == "same" else pools[place_]
            worker.tell(experiment=name, customers=pool_, polite=manner != "rude")
        answers = [worker.answer() for worker in workers]
        news = sum(answer.get("new", False) for answer in answers)
        refused = sum("200 of 600 customers had their chance" in answer.get("refused", "") for answer in answers)
        assert (news, refused) == {"polite": (2, 0), "rude": (1, 1), "same": (1, 0)}[manner]
        counts["booked"] += news
        counts["refused"] += refused
        counts["stood already"] += 2 - news - refused
    for worker in workers:
        worker.kill_now()
    stands, rows, customers = state(address)
    expected = {"polite": 1000, "rude": 600, "same": 600}[manner]
    assert rows == customers == times * expected
    assert len(stands) == counts["booked"]
    tell(
        f"{kind}: two at once, {manner}, {times} times",
        dict(counts) | {"customers": customers, "twice": rows - customers},
    )


def test_a_disk_that_fills_at_any_byte_leaves_the_ledger_as_it_was(tmp_path, tell):
    address = str(tmp_path / "ledger.duckdb")
    with open_ledger(address, create=True):
        pass
    counts = collections.Counter()
    booker.book(address, experiment="before", customers=pool(0))
    worker, number = Worker(address), 1
    for limit in itertools.count(4096, 12_288):
        before = Path(address).read_bytes()
        worker.tell(experiment=f"test {number}", customers=pool(number), limit=limit)
        answer = worker.answer()
        counts["refused" if "refused" in answer else "booked"] += 1
        if "refused" in answer:
            assert "Run it again: what was booked stays booked, once." in answer["refused"]
            assert Path(address).read_bytes() == before
        else:
            number += 1
        stands, rows, customers = state(address)
        assert (len(stands), rows, customers) == (number, pool(number - 1)[1], pool(number - 1)[1])
        if number > 5:
            break
    worker.kill_now()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ledger.duckdb", "ledger.duckdb.lock"]
    tell("file: full disks", counts)
