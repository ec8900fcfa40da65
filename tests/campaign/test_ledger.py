"""The ledger: one chance a customer, whoever asks, however often, on a file and in Postgres."""

import datetime as dt
import hashlib
import logging
import re
import signal
import subprocess
import sys
import time

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from notebooks import HANGS

from experiments.campaign import ledger_store
from experiments.campaign.ledger import open_ledger
from experiments.common import locks
from experiments.common.errors import WinbackError
from experiments.data.randomise import assign
from experiments.data.tables import connect
from experiments.report.wording.accounts import account as said_of

DAY = dt.date(2026, 3, 1)
NASTY = ["007", "7", "Ü", "o'clock", 'say "x"', "a,b", "a;b", "tab\tb", "line\nend", "cr\rend", "\\N", "\\.",
         "NULL", "None", "{x}", "%s", "🙂", "\x1f", "\u00e9"]  # fmt: skip


@pytest.fixture(params=["file", "server"])
def address(request, tmp_path):
    """Return where a new ledger is to lie: in a file, in Postgres."""
    if request.param == "file":
        return str(tmp_path / "ledger.duckdb")
    found = request.getfixturevalue("server")
    clear(found)
    return found


def clear(server):
    import psycopg

    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS winback_ledger CASCADE")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "ledger.duckdb"


@pytest.fixture
def con():
    with connect() as con:
        yield con


@pytest.fixture
def ledger(address, con):
    with open_ledger(address, con, create=True) as ledger:
        yield ledger


def put(con, ids, *, table="assigned", arms=("hold", "A")):
    """Make a table of assigned customers, the arms in turn."""
    con.execute(f"CREATE OR REPLACE TABLE {table} (customer_id VARCHAR, arm VARCHAR, stratum VARCHAR, bucket INTEGER)")
    rows = [(str(one), arms[place % len(arms)], "price", place % 200) for place, one in enumerate(ids)]
    if rows:
        con.executemany(f"INSERT INTO {table} VALUES (?, ?, ?, ?)", rows)


def book(ledger, ids, experiment="spring", **changes):
    put(ledger._con, ids)
    day = max([DAY, *(booking.at for booking in ledger.bookings())])  # nothing is booked before what is booked
    usual = {"seed": 1, "plan_hash": "abc", "at": day, "holdout": "hold" if ids else None, "by": "ann"}
    return ledger.record(experiment=experiment, **usual | changes)


def free(ledger, ids, **others):
    put(ledger._con, ids, table="pool")
    ledger.assignable("pool", **others)
    return [row[0] for row in ledger._con.execute("SELECT customer_id FROM to_assign ORDER BY 1").fetchall()]


def let_go(ledger, ids, reason="wrong list"):
    return ledger.release(list(ids), reason=reason, by="ann", at=DAY + dt.timedelta(days=9))


# One chance.
def test_a_customer_once_assigned_is_not_assignable_again(ledger):
    assert free(ledger, "abc") == ["a", "b", "c"]
    booking = book(ledger, "ab")
    assert (booking.booking, booking.kind, booking.customers, booking.new) == (1, "assigned", 2, True)
    assert free(ledger, "abc") == ["c"]


def test_who_is_left_out_of_what_is_assignable_is_told(ledger, con):
    book(ledger, "ab")
    book(ledger, "c", "autumn", holdout=None)
    put(con, "abcd", table="pool")
    told = said_of(ledger.assignable("pool"))
    assert told == "to_assign: kept 1 of 4 rows; 3 left out: they had their chance in spring (2), autumn (1)"


def test_the_columns_of_what_is_assignable_stay(ledger, con):
    con.execute("CREATE TABLE lost AS SELECT 7 AS customer_id, 'price' AS stratum, DATE '2026-01-01' AS last")
    ledger.assignable("lost", into="mine")
    assert con.execute("SELECT * FROM mine").fetchall() == [(7, "price", dt.date(2026, 1, 1))]


def test_what_is_assignable_may_take_the_name_of_its_table(ledger, con):
    book(ledger, "ab")
    put(con, "abcd", table="to_assign")
    assert [ledger.assignable("to_assign").kept for _ in range(2)] == [2, 2]
    assert con.execute("SELECT count(*) FROM to_assign").fetchall() == [(2,)]


def test_one_customer_with_a_chance_and_nobody_is_booked(ledger, names):
    book(ledger, "ab")
    with pytest.raises(WinbackError, match=names("1 of 3 customers had their chance in spring (1, such as 'b')",
                                                 "Nobody was booked", "ledger.assignable")):  # fmt: skip
        book(ledger, "bcd", "autumn")
    assert free(ledger, "bcd") == ["c", "d"]
    assert [booking.experiment for booking in ledger.bookings()] == ["spring"]


def test_an_integer_and_its_text_are_one_customer_and_leading_zeros_another(ledger, con):
    book(ledger, ["7"], holdout="hold")
    con.execute("CREATE TABLE numbers AS SELECT unnest([7, 8]) AS customer_id")
    assert ledger.assignable("numbers").kept == 1
    assert free(ledger, ["007", "07", "7"]) == ["007", "07"]


@pytest.mark.parametrize(
    ("booked", "again"), [("7", " 7"), ("7\u00a0", "7"), ("e\u0301", "\u00e9"), ("Ann", "Ann\u200b")]
)
def test_a_customer_spelt_with_blanks_or_another_accent_has_no_second_chance(ledger, booked, again):
    book(ledger, [booked], holdout="hold")
    assert free(ledger, [again, "other"]) == ["other"]
    with pytest.raises(WinbackError, match="had their chance in spring"):
        book(ledger, [again], "autumn", holdout="hold")
    assert len(ledger.history(again)) == 1
    assert let_go(ledger, [again]).released == 1


def test_capital_letters_are_a_difference_unless_the_sheet_says_otherwise(ledger, con):
    book(ledger, ["Ann@example.com"], holdout="hold")
    con.execute("CREATE TABLE mails AS SELECT 'ann@example.com' AS customer_id")
    assert ledger.assignable("mails").kept == 1
    assert ledger.assignable("mails", ignore_case=True).kept == 0


def test_any_text_is_a_customer(ledger, con):
    book(ledger, NASTY, 'it\'s; {a} "test" %s')
    ledger.assigned('it\'s; {a} "test" %s')
    assert sorted(row[0] for row in con.execute("SELECT customer_id FROM booked").fetchall()) == sorted(NASTY)
    assert free(ledger, [*NASTY, "x"]) == ["x"]
    assert let_go(ledger, NASTY).released == len(NASTY)
    assert [len(ledger.history(one)) for one in NASTY] == [2] * len(NASTY)
    assert ledger.audit() == ()


def test_the_booked_customers_come_back_as_a_table_of_assignments(ledger, con):
    booking = book(ledger, "ab")
    book(ledger, "xyz", "autumn")
    let_go(ledger, "b")
    assert ledger.assigned("spring") == booking
    rows = con.execute("SELECT * FROM booked ORDER BY customer_id").fetchall()
    assert [column[0] for column in con.description] == ["experiment", "customer_id", "arm", "at", "stratum", "bucket",
                                                         "released_at"]  # fmt: skip
    assert rows == [("spring", "a", "hold", DAY, "price", 0, None),
                    ("spring", "b", "A", DAY, "price", 1, dt.date(2026, 3, 10))]  # fmt: skip


def test_a_ledger_of_many_answers_for_many_at_once(ledger, con):
    # A planner of Postgres that expects one open chance would compare each with each: minutes.
    con.execute("CREATE TABLE many AS SELECT i AS customer_id, 'A' AS arm, 'all' AS stratum, i % 200 AS bucket "
                "FROM range(40000) AS t(i)")  # fmt: skip
    begun = time.monotonic()
    ledger.record("many", experiment="spring", seed=1, plan_hash="abc", at=DAY)
    assert ledger.assignable("many").kept == 0
    assert ledger.assignable("many", experiment="spring").kept == 40_000
    assert time.monotonic() - begun < 120


# Twice is once.
def test_the_same_rows_again_change_nothing(ledger):
    first = book(ledger, "abc")
    again = book(ledger, "abc", at=DAY + dt.timedelta(days=1))
    assert (again.new, again.at, again.chain, again.booked_at) == (False, DAY, first.chain, first.booked_at)
    assert len(ledger.bookings()) == 1
    assert len(ledger.history("a")) == 1


def test_the_order_of_the_rows_is_irrelevant(ledger, con):
    book(ledger, "abcd")
    turned = "SELECT bucket, customer_id, stratum, arm FROM assigned ORDER BY customer_id DESC"
    con.execute(f"CREATE OR REPLACE TABLE assigned AS {turned}")
    assert not ledger.record(experiment="spring", seed=1, plan_hash="abc", at=DAY, holdout="hold").new


def test_a_test_drawn_again_from_the_same_customers_gets_the_same_offers(address):
    arms = []
    for _ in range(2):
        with connect() as con, open_ledger(address, con, create=True) as ledger:
            con.execute("CREATE TABLE lost AS SELECT i AS customer_id, 'price' AS stratum FROM range(500) AS t(i)")
            assert ledger.assignable("lost", experiment="spring").kept == 500
            assign(con, shares={"hold": 1, "A": 2}, seed=3)
            new = ledger.record(experiment="spring", seed=3, plan_hash="abc", at=DAY, holdout="hold").new
            assert new == (not arms)
            ledger.assigned("spring")
            arms.append(con.execute("SELECT customer_id, arm, bucket FROM booked ORDER BY 1").fetchall())
    assert arms[0] == arms[1]


@pytest.mark.parametrize(
    ("ids", "changes", "told"),
    [
        ("abc", {"seed": 2}, "seed 2, not 1"),
        ("abc", {"plan_hash": "abd"}, "plan_hash 'abd', not 'abc'"),
        ("abc", {"holdout": None}, "holdout None, not 'hold'"),
        ("abcd", {}, "customers 4, not 3"),
        ("abx", {}, "the customers, arms or strata"),
        ("acb", {}, "the customers, arms or strata"),
    ],
)
def test_a_booked_experiment_cannot_be_drawn_anew(ledger, names, ids, changes, told):
    book(ledger, "abc")
    with pytest.raises(
        WinbackError, match=names("'spring' was booked on 2026-03-01", told, "ledger.assigned('spring')")
    ):
        book(ledger, ids, **changes)
    assert len(ledger.bookings()) == 1


# Released.
def test_a_released_customer_is_assignable_and_its_history_stays(ledger):
    book(ledger, "ab")
    told = let_go(ledger, "b", reason="asked for it")
    assert (str(told), told.booking.reason) == ("released 1 of 1 customers", "asked for it")
    assert free(ledger, "ab") == ["b"]
    book(ledger, "b", "autumn")
    assert free(ledger, "ab") == []
    told = [(one.step, one.kind, one.experiment, one.arm, one.reason, one.by) for one in ledger.history("b")]
    assert told == [(1, "assigned", "spring", "A", None, "ann"), (2, "released", "spring", "A", "asked for it", "ann"),
                    (3, "assigned", "autumn", "hold", None, "ann")]  # fmt: skip
    assert ledger.history("nobody") == ()
    assert ledger.audit() == ()


def test_a_release_can_be_run_again(ledger):
    book(ledger, "abc")
    let_go(ledger, "ab")
    assert str(let_go(ledger, "abc")) == "released 1 of 3 customers; 2 were free"
    assert let_go(ledger, ["a", "b", "c", "c"]).booking is None
    assert [len(ledger.history(one)) for one in "abc"] == [2, 2, 2]


def test_a_single_text_is_a_single_customer(ledger):
    book(ledger, ["c17", "c", "1", "7"])
    assert ledger.release("c17", reason="r", by="ann", at=DAY).released == 1
    assert free(ledger, ["c17", "c", "1", "7"]) == ["c17"]


def test_a_table_or_an_experiment_is_released_as_a_whole(ledger, con):
    book(ledger, "abc")
    book(ledger, "xyz", "autumn")
    con.execute("CREATE TABLE gone AS SELECT 'a' AS customer_id, 1 AS bucket")
    assert ledger.release(table="gone", reason="r", by="ann", at=DAY).released == 1
    assert ledger.release(experiment="spring", reason="r", by="ann", at=DAY).released == 2
    assert free(ledger, "abcxyz") == ["a", "b", "c"]


def test_an_experiment_of_which_all_were_released_needs_another_name(ledger):
    book(ledger, "ab")
    let_go(ledger, "a")
    assert not book(ledger, "ab").new
    let_go(ledger, "b")
    with pytest.raises(WinbackError, match=r"all its customers were released since. Give the new test another name"):
        book(ledger, "ab")
    assert book(ledger, "ab", "spring-2").new


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ({"customers": ["a", "x", "y"]}, "2 of 3 customers to release were never assigned, such as 'x'. Nobody was"),
        ({"customers": ["a", None, ""]}, "2 of 3 customers to release were never assigned, such as ''. Nobody was"),
        ({"customers": ["a"], "reason": " "}, "reason is ' '. The history must tell it"),
        ({"customers": ["a"], "by": ""}, "by is ''"),
        ({}, "Give either customers, or table"),
        ({"customers": ["a"], "experiment": "spring"}, "Give either customers, or table"),
        ({"experiment": "sprung"}, "no experiment 'sprung'. Did you mean 'spring'"),
        ({"table": "nowhere"}, "Table nowhere cannot be read"),
    ],
)
def test_a_release_without_who_why_or_by_whom_is_refused(ledger, what, told):
    book(ledger, "ab")
    with pytest.raises(WinbackError, match=told):
        ledger.release(**{"reason": "r", "by": "ann", "at": DAY} | what)
    assert free(ledger, "ab") == []


# What stands.
def test_the_experiments_are_summed_up(ledger):
    assert ledger.experiments() == ()
    book(ledger, "abcde")
    book(ledger, "xy", "autumn")
    let_go(ledger, "ax")
    spring, autumn = ledger.experiments()
    assert (spring.booking.experiment, spring.arms, spring.released, spring.open) == (
        "spring",
        (("A", 2), ("hold", 3)),
        1,
        4,
    )
    assert (autumn.booking.at, autumn.released, autumn.open) == (DAY, 1, 1)


# Holdouts are left alone.
@pytest.mark.parametrize(
    ("customer", "day", "spoils"),
    [
        ("held", "2026-03-01", True),  # the day of assignment
        ("held", "2026-12-24", True),
        ("held", "2026-02-28", False),  # before the test
        ("held", None, True),  # nobody knows when
        ("freed", "2026-03-09", True),  # the day before the release
        ("freed", "2026-03-12", True),  # and after it, until another test has them
        ("again", "2026-03-09", True),
        ("again", "2026-03-12", False),
        ("freed", None, False),
        ("offered", "2026-03-02", False),
        ("stranger", "2026-03-02", False),
    ],
)
def test_a_contact_spoils_a_holdout_while_it_is_one(ledger, con, customer, day, spoils):
    book(ledger, ["held", "offered", "freed", "x", "again"])
    let_go(ledger, ["freed", "again"])
    book(ledger, ["y", "again"], "autumn")
    con.execute(
        "CREATE TABLE contacts AS SELECT ? AS customer_id, CAST(? AS DATE) AS at, 'call' AS channel", [customer, day]
    )
    found = ledger.holdout_contacted("contacts")
    assert (found.checked, found.contacts) == (1, int(spoils))
    assert con.execute("SELECT held_out_in, customer_id, channel FROM holdout_contacts").fetchall() == (
        [("spring", customer, "call")] if spoils else []
    )


def test_a_call_list_with_holdout_customers_is_refused(ledger, con, names):
    book(ledger, range(6))
    book(ledger, range(10, 13), "autumn")
    con.execute("CREATE TABLE calls AS SELECT unnest([1, 3, 5]) AS customer_id")
    ledger.refuse_holdout("calls")
    con.execute("INSERT INTO calls VALUES (0), (4), (12)")
    told = names("Table calls: 3 of 6 contacts", "spring (2), autumn (1)", "such as '0'", "remove them")
    with pytest.raises(WinbackError, match=told):
        ledger.refuse_holdout("calls")


def test_no_contact_with_a_holdout_is_said_too(ledger, con):
    con.execute("CREATE TABLE calls AS SELECT 'a' AS customer_id")
    assert str(ledger.holdout_contacted("calls")) == "none of 1 contacts is with a holdout customer"


# What is refused at the door.
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("DELETE FROM assigned", "has no rows"),
        ("UPDATE assigned SET customer_id = NULL WHERE customer_id = 'b'", "1 of 3 rows have no customer_id"),
        ("UPDATE assigned SET customer_id = '' WHERE customer_id = 'b'", "1 of 3 rows have no customer_id"),
        ("UPDATE assigned SET arm = NULL", "3 of 3 rows have no arm"),
        ("UPDATE assigned SET stratum = NULL", "3 of 3 rows have no stratum. Fill them"),
        ("UPDATE assigned SET bucket = NULL", "3 of 3 rows have no bucket"),
        ("UPDATE assigned SET customer_id = 'a'", "2 of 3 rows repeat a customer; 'a' is there 3 times"),
        ("UPDATE assigned SET arm = 'holds' WHERE arm = 'hold'", "no arm 'hold'. Did you mean 'holds'"),
        ("ALTER TABLE assigned RENAME arm TO arms", "no column 'arm'. Did you mean 'arms'"),
        ("DROP TABLE assigned", "Table assigned cannot be read.*Give the name of a table"),
        (
            "ALTER TABLE assigned ALTER customer_id TYPE DOUBLE USING 7.0",
            "holds DOUBLE, which writes 7 as 7.0. Cast it",
        ),
        ("ALTER TABLE assigned ALTER bucket TYPE VARCHAR USING 'x'", "Table assigned cannot be read.*x"),
    ],
)
def test_rows_that_cannot_be_booked_are_refused_with_the_cure(ledger, con, change, told):
    put(con, "abc")
    con.execute(change)
    with pytest.raises(WinbackError, match=told):
        ledger.record(experiment="spring", seed=1, plan_hash="abc", at=DAY, holdout="hold")
    assert ledger.bookings() == ()


def test_an_experiment_without_a_name_is_refused(ledger):
    with pytest.raises(WinbackError, match=r"experiment is ''. The history must tell it"):
        book(ledger, "ab", "")


def test_an_unknown_experiment_is_answered_with_the_nearest(ledger):
    book(ledger, "ab")
    with pytest.raises(WinbackError, match=r"no experiment 'sprnig'. Did you mean 'spring'"):
        ledger.assigned("sprnig")


def test_a_ledger_opened_to_read_is_not_written_to(address, con):
    with open_ledger(address, con, create=True) as ledger:
        book(ledger, "ab")
    with open_ledger(address, con, read_only=True) as ledger:
        for write in (lambda: book(ledger, "c", "autumn"), lambda: let_go(ledger, "a")):
            with pytest.raises(WinbackError, match="opened to read"):
                write()
        assert free(ledger, "abc") == ["c"]


def test_a_ledger_that_is_not_there_is_not_made_by_a_slip(address, con):
    for read_only in (False, True):
        with (
            pytest.raises(WinbackError, match=r"There is no ledger at.*second chance.*create=True"),
            open_ledger(address, con, read_only=read_only),
        ):
            pass
    with pytest.raises(WinbackError, match="no ledger"), open_ledger(address, con, create=True, read_only=True):
        pass


def test_create_keeps_the_ledger_that_is_there(address, con):
    for experiment, customer in (("spring", "a"), ("autumn", "b")):
        with open_ledger(address, con, create=True) as ledger:
            book(ledger, customer, experiment)
    with open_ledger(address, con, read_only=True) as ledger:
        assert [one.booking.experiment for one in ledger.experiments()] == ["spring", "autumn"]


def test_a_ledger_is_read_without_tables(address, con):
    with open_ledger(address, con, create=True) as ledger:
        book(ledger, "a")
    with open_ledger(address, read_only=True) as ledger:
        assert ledger.history("a")[0].arm == "hold"


def test_a_ledger_of_another_version_is_refused(address, con, monkeypatch):
    with open_ledger(address, con, create=True):
        pass
    monkeypatch.setattr(ledger_store, "VERSION", 3)
    with pytest.raises(WinbackError, match=r"version 2, this program knows 3. Update"), open_ledger(address, con):
        pass


def test_readers_wait_for_nobody(address, con):
    with open_ledger(address, con, create=True) as ledger:
        book(ledger, "a")
        with open_ledger(address, read_only=True) as reader:
            assert len(reader.bookings()) == 1
            book(ledger, "b", "autumn")
        with open_ledger(address, read_only=True) as reader:
            assert len(reader.bookings()) == 2


# The history.
def test_the_digest_is_a_sum_of_md5_of_the_rows(ledger):
    rows = [("a", "spring", "hold", "price", "0"), ("b", "spring", "A", "price", "1")]
    codes = [int(hashlib.md5("\x1f".join(row).encode()).hexdigest()[:15], 16) for row in rows]
    assert book(ledger, "ab").digest == str(sum(codes))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE {0}events SET arm = 'A' WHERE customer_id = 'a'", "the events of booking 1 were changed"),
        ("DELETE FROM {0}events WHERE customer_id = 'b'", "the events of booking 1 were changed"),
        ("INSERT INTO {0}events VALUES (1, 'z', 1, 'spring', 'A', 'price', 1)", "the events of booking 1 were changed"),
        ("INSERT INTO {0}events VALUES (9, 'a', 5, 'x', 'A', 'price', 1)", "1 customers have events out of order.*'a'"),
        ("UPDATE {0}events SET step = 3 WHERE customer_id = 'b'", "events out of order, such as 'b'"),
        ("UPDATE {0}bookings SET \"by\" = 'bob' WHERE booking = 1", "booking 1 was changed"),
        ("UPDATE {0}bookings SET reason = 'other' WHERE booking = 2", "booking 2 was changed, or one before it"),
        ("DELETE FROM {0}bookings WHERE booking = 1", "booking 1 is missing"),
    ],
)
def test_an_audit_finds_what_was_changed(address, con, change, told):
    with open_ledger(address, con, create=True) as ledger:
        book(ledger, "ab")
        let_go(ledger, "a")
        assert ledger.audit() == ()
    by_hand(address, change)
    with open_ledger(address, con) as ledger:
        assert re.search(told, "; ".join(ledger.audit()))


def by_hand(address, change):
    """Change a ledger as its owner can: with another program, and in Postgres after the guard is taken away."""
    if address.startswith("postgresql"):
        import psycopg

        with psycopg.connect(address) as connection:
            for table in ("events", "bookings"):
                connection.execute(f"ALTER TABLE winback_ledger.{table} DISABLE TRIGGER only_added")
            connection.execute(change.format("winback_ledger."))
    else:
        with duckdb.connect(address) as other:
            other.execute(change.format(""))


STEP = st.tuples(st.sampled_from(["book", "again", "release"]), st.sets(st.sampled_from("abcdef"), min_size=1))


@given(st.lists(STEP, max_size=8))
@settings(max_examples=12)
def test_whatever_is_done_the_ledger_agrees_with_a_list_kept_by_hand(tmp_path_factory, steps):
    open_chances, seen, booked, number = {}, set(), {}, 0
    with connect() as con, open_ledger(tmp_path_factory.mktemp("l") / "l.duckdb", con, create=True) as ledger:
        for what, ids in steps:
            if what == "release":
                known = sorted(ids & seen)
                if known:
                    assert let_go(ledger, known).released == len(open_chances.keys() & set(known))
                open_chances = {one: name for one, name in open_chances.items() if one not in known}
            elif what == "again" and booked:
                name = max(booked)
                if name in open_chances.values():
                    assert not book(ledger, booked[name], name).new
            elif what == "book" and not ids & open_chances.keys():
                number += 1
                booked[f"e{number}"] = sorted(ids)
                assert book(ledger, sorted(ids), f"e{number}").booking == len(ledger.bookings())
                open_chances |= dict.fromkeys(ids, f"e{number}")
                seen |= ids
            elif what == "book":
                with pytest.raises(WinbackError, match="Nobody was booked"):
                    book(ledger, sorted(ids), "refused")
            assert free(ledger, "abcdef") == sorted(set("abcdef") - open_chances.keys())
            assert ledger.audit() == ()
            for one in "abcdef":
                kinds = [event.kind for event in ledger.history(one)]
                assert kinds == (["assigned", "released"] * len(kinds))[: len(kinds)]
                assert len(kinds) % 2 == (one in open_chances)


# Alone.
def test_a_second_writer_waits_says_so_and_gives_up_with_the_name_of_the_first(address, con, caplog, monkeypatch):
    monkeypatch.setattr(locks, "TELL_AFTER", 0.0)
    with (
        open_ledger(address, con, create=True),
        caplog.at_level(logging.WARNING),
        pytest.raises(WinbackError, match=r"in use for \d+ s by (process \d+ on|winback, session \d+).*wait longer"),
        open_ledger(address, wait_seconds=1.0),
    ):
        pass
    assert [record for record in caplog.records if "waiting for up to" in record.getMessage()]
    with open_ledger(address, con, wait_seconds=0):
        pass


HOLD = """
import sys, time
from experiments.campaign.ledger import open_ledger
with open_ledger(sys.argv[1]):
    print("open", flush=True)
    time.sleep(3600)
"""


def test_a_killed_writer_leaves_no_lock(address, con, start):
    with open_ledger(address, con, create=True):
        pass
    process = start([sys.executable, "-c", HOLD, address], stdout=subprocess.PIPE)
    assert process.stdout.readline() == "open\n"
    with pytest.raises(WinbackError, match="in use"), open_ledger(address, con, wait_seconds=0):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    with open_ledger(address, con, wait_seconds=HANGS) as ledger:
        book(ledger, "ab")


def test_a_transaction_of_the_caller_is_refused_and_left_as_it_is(file, con):
    with open_ledger(file, con, create=True) as ledger:
        con.execute("BEGIN")
        with pytest.raises(WinbackError, match=r"in the middle of a transaction.*con.commit"):
            book(ledger, "ab")
        assert con.execute("SELECT count(*) FROM assigned").fetchall() == [(2,)]
        con.execute("COMMIT")
        assert book(ledger, "ab").new


# A file: the old one or the new one.
def left(file):
    return sorted(path.name for path in file.parent.iterdir())


def test_beside_a_ledger_lies_nothing_but_its_lock(file, con):
    with open_ledger(file, con, create=True) as ledger:
        book(ledger, "ab")
        with pytest.raises(WinbackError):
            book(ledger, "bc", "autumn")
    assert left(file) == ["ledger.duckdb", "ledger.duckdb.lock"]


LIMITED = """
import resource, sys
from experiments.common.errors import WinbackError
from experiments.campaign.ledger import open_ledger
from experiments.data.tables import connect
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
with connect() as con, open_ledger(sys.argv[1], con) as ledger:
    con.execute("CREATE TABLE assigned AS SELECT md5(CAST(i AS VARCHAR)) AS customer_id, 'A' AS arm, 's' AS stratum, "
                "1 AS bucket FROM range(50000) AS t(i)")
    try:
        ledger.record(experiment="autumn", seed=1, plan_hash="abc", at=__import__("datetime").date(2026, 3, 2))
    except WinbackError as error:
        print(error)
    print(len(ledger.bookings()), con.execute("SELECT count(*) FROM assigned").fetchall()[0][0])
"""


def test_a_full_disk_leaves_the_ledger_as_it_was_and_the_engine_usable(file, con):
    with open_ledger(file, con, create=True) as ledger:
        book(ledger, "ab")
    before = file.read_bytes()
    limit = str(file.stat().st_size + 300_000)
    done = subprocess.run([sys.executable, "-c", LIMITED, str(file), limit], capture_output=True, text=True, check=True)
    told, counts = done.stdout.splitlines()
    assert told.startswith("The ledger ledger.duckdb cannot be written: ")
    assert told.endswith("Its disk needs room for it twice. Run it again: what was booked stays booked, once.")
    assert counts == "1 50000"
    assert file.read_bytes() == before
    assert left(file) == ["ledger.duckdb", "ledger.duckdb.lock"]


def test_what_a_killed_writer_left_is_removed(file, con):
    with open_ledger(file, con, create=True) as ledger:
        for part in (".ledger.duckdb.part", ".ledger.duckdb.part.wal"):
            (file.parent / part).write_bytes(b"half")
        book(ledger, "ab")
    assert left(file) == ["ledger.duckdb", "ledger.duckdb.lock"]


def test_a_ledger_changed_behind_the_lock_is_not_overwritten(file, con, monkeypatch):
    with open_ledger(file, con, create=True) as ledger:
        seen = iter([(1, 1, 1), (1, 1, 2)])
        monkeypatch.setattr(ledger_store, "_identity", lambda path: next(seen))
        with pytest.raises(WinbackError, match=r"changed by something that ignores its lock. Nothing was booked"):
            book(ledger, "ab")
        assert ledger.bookings() == ()


def test_what_does_not_come_back_from_the_disk_takes_no_place(file, con, monkeypatch):
    with open_ledger(file, con, create=True) as ledger:
        answers = iter([[(1, 1, "x", 2, 1)], [(0, None, None, 0, None)]])
        monkeypatch.setattr(ledger_store.File, "_counted", lambda self: next(answers))
        with pytest.raises(WinbackError, match="what was written does not come back"):
            book(ledger, "ab")
        assert ledger.bookings() == ()


def test_the_folder_and_the_link_to_a_ledger_may_have_any_name(tmp_path, con):
    folder = tmp_path / "it's a {folder}"
    folder.mkdir()
    with open_ledger(folder / "ledger.duckdb", con, create=True):
        pass
    (tmp_path / "link.duckdb").symlink_to(folder / "ledger.duckdb")
    with open_ledger(tmp_path / "link.duckdb", con) as ledger:
        book(ledger, "ab")
    assert (tmp_path / "link.duckdb").is_symlink()
    with open_ledger(folder / "ledger.duckdb", con) as ledger:
        assert len(ledger.bookings()) == 1


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"no database" * 999, "cannot be opened as a ledger"), (b"", "cannot be opened as a ledger"),
     ("tables", "cannot be opened as a ledger.*about"), ("log", "lies ledger.duckdb.wal.*Open and close it there")],
)  # fmt: skip
def test_another_file_is_no_ledger(file, con, content, told):
    if content == "tables":
        duckdb.connect(file).close()
    elif content == "log":
        duckdb.connect(file).close()
        file.with_name("ledger.duckdb.wal").write_bytes(b"x")
    else:
        file.write_bytes(content)
    with pytest.raises(WinbackError, match=told), open_ledger(file, con, create=True):
        pass


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("mysql://host/db", "no address of a server that can be read.*postgresql://"),
        ("nowhere/ledger.duckdb", "There is no ledger at"),
        ("postgresql://ann@127.0.0.1:1/crm", r"127.0.0.1:1/crm cannot be reached|needs psycopg"),
        ("postgresql://ann:hidden@127.0.0.1:1/crm", "A password does not belong here"),
    ],
)
def test_an_address_without_a_ledger_is_told_without_its_password(address, told):
    with pytest.raises(WinbackError, match=told) as error, open_ledger(address):
        pass
    assert "hidden" not in str(error.value)


def test_a_ledger_in_a_folder_that_is_not_there_is_refused(tmp_path):
    with (
        pytest.raises(WinbackError, match="cannot be locked: No such file"),
        open_ledger(tmp_path / "x/y", create=True),
    ):
        pass


# Postgres: what its own rules refuse.
@pytest.fixture
def raw(server):
    import psycopg

    clear(server)
    with connect() as con, open_ledger(server, con, create=True) as ledger:
        book(ledger, "ab")
    with psycopg.connect(server, autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize("change", ["UPDATE {} SET booking = 1", "DELETE FROM {}", "TRUNCATE {}"])
@pytest.mark.parametrize("table", ["events", "bookings"])
def test_postgres_refuses_to_change_history(raw, change, table):
    import psycopg

    with pytest.raises(psycopg.errors.RaiseException, match="only added to"):
        raw.execute(change.format(f"winback_ledger.{table}"))


def test_postgres_refuses_a_second_chance_whoever_writes_it(raw):
    import psycopg

    with pytest.raises(psycopg.errors.UniqueViolation):
        raw.execute("INSERT INTO winback_ledger.events VALUES (1, 'a', 1, 'x', 'A', 's', 1)")


def test_a_character_that_postgres_cannot_hold_is_told(server, con):
    clear(server)
    with open_ledger(server, con, create=True) as ledger:
        with pytest.raises(WinbackError, match=r"cannot be used: .*0x00"):
            book(ledger, ["a\0b"])
        assert book(ledger, ["ab"], "autumn").new


# The clock may lie.
def test_nothing_is_booked_before_what_is_booked(ledger):
    book(ledger, "ab")
    let_go(ledger, "a")
    for write in (lambda: book(ledger, "c", "autumn", at=DAY), lambda: ledger.release("b", reason="x", by="y", at=DAY)):
        with pytest.raises(WinbackError, match=r"last booking is of 2026-03-10: nothing is booked before it\. Set the"):
            write()
    assert [booking.booking for booking in ledger.bookings()] == [1, 2]  # the order, beside the day
    assert ledger.audit() == ()


# A plan is amended on record.
def test_the_ledger_knows_the_plan_as_it_was_amended(ledger):
    book(ledger, "ab")
    assert (ledger.plan_hash("spring"), ledger.plan_hash("autumn")) == ("abc", None)
    about = {"before": "abc", "plan_hash": "def", "reason": "no stock", "by": "ann", "at": DAY}
    assert ledger.amend("spring", **about).new
    assert not ledger.amend("spring", **about).new
    assert ledger.plan_hash("spring") == "def"
    assert not ledger.standing("spring", seed=1, plan_hash="def", holdout="hold").new
    with pytest.raises(WinbackError, match="is not the one that was booked: its sha256 is abc, the ledger has def"):
        ledger.standing("spring", seed=1, plan_hash="abc", holdout="hold")
    with pytest.raises(WinbackError, match="knows another plan"):
        ledger.amend("spring", **about | {"plan_hash": "ghi"})
    assert ledger.audit() == ()
    book(ledger, "xy", "autumn")  # an experiment is in several bookings, and is assigned once
    assert [booking.kind for booking in ledger.bookings()] == ["assigned", "amended", "assigned"]


FIRST_VERSION = """
CREATE TABLE about (version INTEGER NOT NULL); INSERT INTO about VALUES (1);
CREATE TABLE bookings (
    booking INTEGER PRIMARY KEY, kind VARCHAR NOT NULL CHECK (kind IN ('assigned', 'released')), "at" DATE NOT NULL,
    booked_at TIMESTAMP NOT NULL, customers BIGINT NOT NULL CHECK (customers > 0),
    experiment VARCHAR UNIQUE, seed BIGINT, plan_hash VARCHAR, holdout VARCHAR,
    reason VARCHAR, "by" VARCHAR NOT NULL, digest VARCHAR NOT NULL, chain VARCHAR NOT NULL);
"""


def as_first_version(address, con):
    """Give the tables of a ledger the constraints of version 1."""
    if address.startswith("postgres"):
        import psycopg

        with psycopg.connect(address) as server:
            server.execute("SET search_path = winback_ledger")
            server.execute("DROP INDEX assigned_once")
            server.execute("ALTER TABLE bookings ADD CONSTRAINT bookings_experiment_key UNIQUE (experiment)")
            server.execute("ALTER TABLE bookings DROP CONSTRAINT bookings_customers_check")
            server.execute("ALTER TABLE bookings ADD CONSTRAINT bookings_customers_check CHECK (customers > 0)")
            server.execute("ALTER TABLE bookings ADD CONSTRAINT bookings_kind_check CHECK (kind IN ('assigned', "
                           "'released'))")  # fmt: skip
            server.execute("UPDATE about SET version = 1")
        return
    with duckdb.connect(address) as file:
        rows = file.sql("FROM bookings").fetchall()
        file.execute("DROP TABLE about; DROP TABLE bookings")
        file.execute(FIRST_VERSION)
        file.executemany(f"INSERT INTO bookings VALUES ({', '.join('?' * 13)})", rows)


def test_a_ledger_of_the_first_version_is_read_and_written_anew_before_anything_is_booked(address, con):
    with open_ledger(address, con, create=True) as ledger:
        book(ledger, "abc")
        let_go(ledger, "a")
        before = ledger.bookings()
    as_first_version(address, con)
    with open_ledger(address, read_only=True) as ledger:
        assert (ledger.bookings(), ledger.audit()) == (before, ())
    with open_ledger(address, con) as ledger:
        assert (ledger.bookings(), ledger.audit()) == (before, ())
        about = {"before": "abc", "plan_hash": "def", "reason": "no stock", "by": "ann", "at": before[-1].at}
        ledger.amend("spring", **about)
        assert book(ledger, "a", "autumn").booking == 4
        with pytest.raises(WinbackError, match="b"):
            book(ledger, "b", "winter")
        assert ledger.audit() == ()
