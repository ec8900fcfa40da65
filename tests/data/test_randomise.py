"""The randomisation written a second time, in plain Python: on every engine the same customers get the same offers."""

import hashlib
from collections import Counter, defaultdict
from itertools import accumulate

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from experiments.common.errors import WinbackError
from experiments.data.randomise import BUCKETS, assign
from experiments.data.tables import connect, sql

TRICKY = ["007", "07", "7", " 7", "7 ", "o'clock", 'say "x"', "a,b", "{seed}", "%s", "Ü", "e\u0301", "\u00e9", "🙂", "",
          "line\nend", "\\N", "NULL", "\x1f"]  # fmt: skip
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=6)
NAMES = st.lists(st.sampled_from(TRICKY) | TEXT, min_size=1, max_size=40, unique=True)
SHARES = st.lists(st.integers(1, 5) | st.floats(0.05, 3), min_size=2, max_size=5)
SEEDS = st.integers(0, 10**9)


def md5(text):
    return hashlib.md5(text.encode()).hexdigest()


def by_hand(stratum_of, *, shares, seed):
    """Return customer -> (stratum, arm, bucket), by the words of sql/assign.sql and nothing of it."""
    members, arms, found = defaultdict(list), defaultdict(list), {}
    *ends, _ = (end / sum(shares.values()) for end in accumulate(shares.values()))
    for customer, stratum in stratum_of.items():
        members[stratum].append(customer)
    for stratum, customers in members.items():
        start = int(md5(f"{seed}:start:{stratum}")[:13], 16) / 16**13
        for place, customer in enumerate(sorted(customers, key=lambda one: md5(f"{seed}:arm:{one}")), start=1):
            position = (place - start) / len(customers)
            arms[next(arm for arm, end in zip(shares, [*ends, 1.0], strict=True) if position <= end)].append(customer)
    for arm, customers in arms.items():
        for place, customer in enumerate(sorted(customers, key=lambda one: md5(f"{seed}:bucket:{one}"))):
            found[customer] = (stratum_of[customer], arm, place % BUCKETS)
    return found


def by_engine(rows, *, shares, seed):
    """Return what the engine makes of rows (customer_id, stratum): customer -> (stratum, arm, bucket)."""
    with connect() as con:
        con.register("to_assign", pd.DataFrame(rows, columns=["customer_id", "stratum"]))
        assign(con, shares=shares, seed=seed)
        found = con.execute("SELECT customer_id, stratum, arm, bucket FROM assigned").fetchall()
    assert len(found) == len(rows)  # each customer once: in one arm, whatever its name
    return {customer: tuple(rest) for customer, *rest in found}


def planned(shares):
    return {f"arm {place}": share for place, share in enumerate(shares)}


@given(names=NAMES, strata=st.lists(st.sampled_from(TRICKY), min_size=1, max_size=4), shares=SHARES, seed=SEEDS,
       order=st.randoms(use_true_random=False))  # fmt: skip
@example(names=TRICKY, strata=["o'clock / Ü"], shares=[1, 1], seed=7, order=None)
@settings(max_examples=25)
def test_whatever_the_names_the_seed_and_the_order_python_gives_every_customer_the_same_offer(
    names, strata, shares, seed, order
):
    stratum_of = {name: strata[place % len(strata)] for place, name in enumerate(names)}
    rows, arms = list(stratum_of.items()), planned(shares)
    if order:
        order.shuffle(rows)
    assert by_engine(rows, shares=arms, seed=seed) == by_hand(stratum_of, shares=arms, seed=seed)


@given(sizes=st.lists(st.integers(1, 300), min_size=1, max_size=6), shares=SHARES, seed=SEEDS)
@settings(max_examples=15)
def test_the_shares_are_exact_inside_each_stratum_and_over_all_and_buckets_are_even(sizes, shares, seed):
    rows = [(f"{stratum}:{one}", f"s{stratum}") for stratum, size in enumerate(sizes) for one in range(size)]
    arms = planned(shares)
    found = by_engine(rows, shares=arms, seed=seed)
    inside = Counter((stratum, arm) for stratum, arm, _ in found.values())
    overall = Counter(arm for _, arm, _ in found.values())
    for arm, share in arms.items():
        part = share / sum(shares)
        assert all(abs(inside[f"s{stratum}", arm] - part * size) < 1 for stratum, size in enumerate(sizes))
        assert abs(overall[arm] - part * len(rows)) < len(sizes)
        buckets = Counter(bucket for _, name, bucket in found.values() if name == arm)
        assert max(buckets.values(), default=0) - min(buckets[bucket] for bucket in range(BUCKETS)) <= 1


def test_numbers_and_their_texts_are_drawn_alike():
    numbers = [(one, "all") for one in range(300)]
    as_text = {str(one): told for one, told in by_engine(numbers, shares=planned([1, 2]), seed=3).items()}
    assert as_text == by_hand({str(one): "all" for one, _ in numbers}, shares=planned([1, 2]), seed=3)


def test_postgres_gives_every_customer_the_same_offer_by_the_same_text(server):
    import psycopg

    names = [*TRICKY, *map(str, range(500))]
    stratum_of = {name: ("price / A", "o'clock", "Ü")[place % 3] for place, name in enumerate(names)}
    arms = planned([3, 2, 2])
    text = sql("assign", seed=5, bucket=sql("bucket", seed=5, buckets=BUCKETS))
    intervals = zip(arms, [0.0, 3 / 7, 5 / 7], [3 / 7, 5 / 7, 1.0], strict=True)
    starts = [(stratum, int(md5(f"5:start:{stratum}")[:13], 16) / 16**13) for stratum in set(stratum_of.values())]
    with psycopg.connect(server) as connection, connection.cursor() as cursor:
        for table, columns, rows in (
            ("to_assign", "customer_id TEXT, stratum TEXT", stratum_of.items()),
            ("starts", "stratum TEXT, start DOUBLE PRECISION", starts),
            ("arm_shares", "arm TEXT, above DOUBLE PRECISION, upto DOUBLE PRECISION", intervals),
        ):
            cursor.execute(f"CREATE TEMP TABLE {table} ({columns})")
            cursor.executemany(f"INSERT INTO {table} VALUES ({', '.join(['%s'] * columns.count(',') + ['%s'])})", rows)
        cursor.execute(text.replace("CREATE TABLE", "CREATE TEMP TABLE").replace("DOUBLE", "DOUBLE PRECISION").encode())
        cursor.execute("SELECT customer_id, stratum, arm, bucket FROM assigned")
        found = {customer: tuple(rest) for customer, *rest in cursor.fetchall()}
    assert found == by_hand(stratum_of, shares=arms, seed=5)


@pytest.mark.parametrize(
    ("rows", "parts"),
    [
        ([("c1", "a"), ("c1", "b"), ("c2", "a")], ("1 of 3 rows", "'c1'", "One customer, one arm")),
        ([("c1", "a"), ("c2", None)], ("1 of 2 customers", "no stratum", "'unknown'")),
    ],
)
def test_a_customer_that_is_there_twice_or_has_no_stratum_is_refused_with_the_cure(names, rows, parts):
    with pytest.raises(WinbackError, match=names(*parts)):
        by_engine(rows, shares={"a": 1, "b": 1}, seed=1)
