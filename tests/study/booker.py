"""A process that books what it is told, one line each, until it is told nothing more or is killed.

    python booker.py ADDRESS

A line is JSON: experiment, customers (first and last number), polite (whether it asks who is assignable), limit (bytes
a file may have; none if left out). The answer is a line too: `ready`, then what came of each line.
"""

import contextlib
import datetime as dt
import json
import sys

from experiments.campaign.ledger import open_ledger
from experiments.common.errors import WinbackError
from experiments.data.randomise import assign
from experiments.data.tables import connect

SEED = 20_161


def book(address, *, experiment, customers, polite=True, limit=None):
    """Draw and book a test; return what came of it."""
    with connect() as con, limited(limit):
        pool = f"SELECT 'c' || i AS customer_id, 'all' AS stratum FROM range({customers[0]}, {customers[1]}) AS t(i)"
        con.execute(f"CREATE TABLE pool AS {pool}")
        with open_ledger(address, con, wait_seconds=300) as ledger:
            if polite:
                ledger.assignable("pool", experiment=experiment)
            else:
                con.execute("CREATE VIEW to_assign AS FROM pool")
            assign(con, shares={"hold": 1, "A": 1, "B": 2}, seed=SEED)
            booking = ledger.record(experiment=experiment, seed=SEED, plan_hash="", at=dt.date(2026, 1, 1))
        return {"booked": booking.customers, "new": booking.new, "chain": booking.chain}


@contextlib.contextmanager
def limited(size):
    """Let no file grow beyond a size: what a full disk says to a process."""
    import resource

    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size or usual[0], usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)


def say(text):
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    say("ready")
    for line in sys.stdin:
        try:
            answer = book(sys.argv[1], **json.loads(line))
        except WinbackError as error:
            answer = {"refused": str(error)}
        say(json.dumps(answer))
