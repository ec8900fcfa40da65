"""A small company whose campaign is carried out by processes that are killed, or run at once; what must then stand."""

import csv
import datetime as dt
import os
import random
import signal
import time
import traceback
from pathlib import Path

import yaml

DAY = dt.date(2024, 3, 1)
CUSTOMERS, ASSIGNED = 90, 60
SHEET = {
    "holdout": "hold",
    "customers": ASSIGNED // 2,
    "arms": {"hold": {"share": 1}, "gift": {"share": 2, "gift": 5, "contact": 1}},
    "lost": {"as_of": "2024-02-28", "silent_days": 60},
    "contacts": {"callers": {"Ann": {}}, "capacity": 500, "deadline_days": 300, "head_calls": False},
    "tables": {"purchases": {"file": "sales.csv"}},
}
STEPS = ("lock", "assign", "contacts", "answers", "amend", "release", "forget")


def make(folder):
    """Write the tables and two sheets of a company into an empty folder."""
    rows = [f"k{n:03},2023-0{1 + n % 9}-1{n % 9},{10 + n % 7}.50\n" for n in range(CUSTOMERS)]
    rows += [f"k{n:03},2023-0{1 + n % 5}-2{n % 8},{12 + n % 5}.00\n" for n in range(CUSTOMERS)]
    rows.append("z,2024-02-27,1.00\n")
    (folder / "sales.csv").write_text("customer_id,at,amount\n" + "".join(rows), encoding="utf-8")
    for name in ("one", "two"):
        (folder / f"{name}.yml").write_text(yaml.safe_dump({"experiment": name} | SHEET), encoding="utf-8")
    return folder


def do(step, folder, *, test="one", lists=("a",)):
    """Carry out one step of a test, as its command does."""
    from experiments import find_lost
    from experiments.campaign import workflow
    from experiments.campaign.assign import assign_test
    from experiments.campaign.forget import forget
    from experiments.sheet.sheet import read_sheet

    sheet = folder / f"{test}.yml"
    private = read_sheet(sheet).private
    if step == "lock":
        find_lost(sheet, out=private.make().folder)
        workflow.lock_plan(sheet, today=DAY)
    if step == "assign":
        assign_test(sheet, today=DAY, new_ledger=True)
    if step == "contacts":
        workflow.write_call_list(sheet, out=private.call_list.with_suffix(".csv"), replace=True)
    if step == "answers":
        for name in lists:
            workflow.read_responses(sheet, folder / f"{test}-{name}.csv", today=DAY + dt.timedelta(9))
    if step == "amend":
        workflow.amend_plan(sheet, reason="no stock", by="Ann", stop=["gift"], today=DAY)
    if step == "release":
        workflow.release(sheet, chosen(folder, test)[:3], reason="wrong list", by="Ann", today=DAY)
    if step == "forget":
        forget(sheet, chosen(folder, test)[-3:], reason="asked", by="Ann", today=DAY)


def chosen(folder, test):
    """Return the customers whom a list of the test was made of, in order, as the lists to read back have them."""
    return (folder / f"{test}-chosen.txt").read_text(encoding="utf-8").split()


def answer(folder, *, test="one", lists=("a",)):
    """Fill the call list of a test in, divided into lists; each customer stands on one of them."""
    from experiments.sheet.sheet import read_sheet

    private = read_sheet(folder / f"{test}.yml").private
    with private.call_list.with_suffix(".csv").open(encoding="utf-8-sig", newline="") as file:
        listed = list(csv.DictReader(file))
    (folder / f"{test}-chosen.txt").write_text("\n".join(row["customer_id"] for row in listed), encoding="utf-8")
    for place, name in enumerate(lists):
        mine = [row | {"called_on": DAY.isoformat(), "reached": "yes"} for row in listed[place :: len(lists)]]
        with (folder / f"{test}-{name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, listed[0])
            writer.writeheader()
            writer.writerows(mine)


def state(folder):
    """Return all that stands: the plans, the ledger after an audit, and the rows of every file of customers."""
    import duckdb

    from experiments.campaign.ledger import open_ledger
    from experiments.sheet.locked_plan import read_plan
    from experiments.sheet.sheet import read_sheet

    found = {}
    ledger = folder / "private/ledger.duckdb"
    if ledger.is_file():
        with open_ledger(ledger, read_only=True) as books:
            assert books.audit() == ()
            rows = books._store.rows("SELECT customer_id, count(*) FROM winback_ledger.open_chances GROUP BY 1")
            assert all(number == 1 for _, number in rows)
            found["ledger"] = sorted(books._store.rows("SELECT customer_id, step, arm FROM winback_ledger.events"))
            found["kinds"] = sorted(booking.kind for booking in books.bookings())
            found["plans"] = {name: books.plan_hash(name) for name in ("one", "two")}
    for name in ("one", "two"):
        plan = read_plan(read_sheet(folder / f"{name}.yml"))
        found[name] = plan and plan.sha256
        for file in sorted((folder / "private" / name).glob("*.parquet")):
            found[f"{name}/{file.name}"] = sorted(duckdb.sql(f"SELECT * FROM '{file}'").fetchall(), key=str)
    return found


def in_a_child(work):
    """Start a piece of work in a process of its own; return its number."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    except BaseException:  # noqa: BLE001  # the parent is told
        traceback.print_exc()
    finally:
        os._exit(code)


def ended(child):
    """Wait for a process; return whether it did its work."""
    return os.waitpid(child, 0)[1] == 0


def kill_at(step, folder, seconds):
    """Carry out a step in a process, and kill it after a time if it is not done; return whether it was killed."""
    child = in_a_child(lambda: do(step, folder))
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return not ended(child)


def seconds(step, before, folder):
    """Return how long a step takes when nobody kills it."""
    import shutil

    shutil.copytree(before, folder)
    begun = time.perf_counter()
    assert ended(in_a_child(lambda: do(step, folder)))
    return time.perf_counter() - begun


def chance(seed):
    """Return where random numbers come from."""
    return random.Random(seed)


def prepared(folder):
    """Return, for each step, a folder in which all before it is done, and the one after it: {step: (before, after)}."""
    import shutil

    now = folder / "begin"
    now.mkdir()
    make(now)
    places = {}
    for step in STEPS:
        after = Path(shutil.copytree(now, folder / step))
        assert ended(in_a_child(lambda step=step, after=after: do(step, after)))
        if step == "contacts":
            answer(after)
        places[step] = (now, after)
        now = after
    return places
