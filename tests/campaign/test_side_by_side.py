"""Tests of one company in one folder: each has its own plan, customers, lists and answers; and who is forgotten."""

import csv
import datetime as dt
import os
import shutil
import stat
from pathlib import Path

import duckdb
import pytest
import yaml

from experiments import find_lost, read_out
from experiments.campaign.assign import assign_test
from experiments.campaign.forget import forget
from experiments.campaign.ledger import open_ledger
from experiments.campaign.workflow import amend_plan, lock_plan, read_books, read_responses, release, write_call_list
from experiments.common.errors import WinbackError
from experiments.data.pseudonyms import VARIABLE, pseudonyms
from experiments.report.wording.checks import worded
from experiments.sheet.sheet import read_sheet
from experiments.simulate.telecom import simulate

DAY = dt.date(2024, 1, 2)
CALLS = {"callers": {"Ann": {}, "Bob": {"head": True}}, "capacity": 200, "deadline_days": 60, "show": ["name"]}


@pytest.fixture(scope="module")
def telecom_tables(tmp_path_factory):
    """Return the folder of a telecom that is as small as its tests need."""
    folder = tmp_path_factory.mktemp("telecom")
    simulate(folder, customers=900, seed=7, history=True)
    return folder


@pytest.fixture
def company(telecom_tables, telecom_sheet, tmp_path, monkeypatch):
    """Return a function that writes the sheet of one more test into one folder, whose tables are those of a telecom."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "elsewhere/forget.key"))
    home = tmp_path / "des clients à nous/Компания"
    shutil.copytree(telecom_tables, home)
    for table in ("assignments", "contacts"):
        (home / f"{table}.parquet").unlink()
    con = duckdb.connect()
    con.execute(
        f"CREATE TABLE people AS SELECT *, 'Mr ' || customer_id || ' Zebulon' AS name FROM '{home}/customers.parquet'"
    )
    con.execute(f"COPY people TO '{home}/customers.parquet' (FORMAT parquet)")

    def write(name, **settings):
        content = telecom_sheet.model_dump(mode="json", exclude_unset=True)
        content["arms"]["tailored"]["choose"]["unknown"] = "discount"
        for table in ("assignments", "contacts"):
            content["tables"].pop(table, None)
        content |= {"experiment": name, "customers": 200, "contacts": CALLS, **settings}
        path = home / f"{name}.yml"
        path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
        return path

    return write


def planned(sheet, *, day=DAY):
    private = read_sheet(sheet).private.make()
    find_lost(sheet, out=private.folder)
    return lock_plan(sheet, today=day)


def drawn(sheet, *, day=DAY):
    return assign_test(sheet, today=day, new_ledger=True)


def called(sheet, *, day=DAY, rows=20, name="filled.csv"):
    """Make the call list and read it back, its first rows filled in."""
    private = read_sheet(sheet).private
    write_call_list(sheet, out=private.folder / "calls.csv", replace=True)
    with (private.folder / "calls.csv").open(encoding="utf-8-sig", newline="") as file:
        listed = list(csv.DictReader(file))
    for place, row in enumerate(listed[:rows]):
        row |= {"called_on": day.isoformat(), "reached": "yes", "accepted_at": day.isoformat() if place % 2 else ""}
        row["refusal"] = "" if place % 2 else "no, said Zebulon"
    filled = sheet.with_name(name)
    with filled.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, listed[0])
        writer.writeheader()
        writer.writerows(listed)
    told = read_responses(sheet, filled)
    filled.unlink()
    return listed, told


def ids(file):
    return {row[0] for row in duckdb.sql(f"SELECT customer_id FROM '{file}'").fetchall()}


def test_two_tests_of_one_folder_run_beside_each_other_and_neither_touches_the_other(company):
    one, two = company("one"), company("two")
    planned(one)
    planned(two, day=DAY)
    first = drawn(one)
    with pytest.raises(WinbackError, match=r"The ledger has no experiment 'two'"):
        write_call_list(two)
    drawn(two)
    called(one)
    before = read_out(one)
    called(two, rows=30)
    private = [read_sheet(sheet).private for sheet in (one, two)]
    assert [place.folder.parent for place in private] == [one.parent / "private"] * 2
    assert ids(private[0].assignments) & ids(private[1].assignments) == set()
    assert [len(ids(place.assignments)) for place in private] == [200, 200]
    assert len(ids(private[0].contacts)), len(ids(private[1].contacts)) == (20, 30)
    again = read_out(one)
    assert again == before
    assert [check.state for check in again.checks if check.key == "as_planned"] == ["pass"]
    assert read_out(two).experiment == "two"
    assert not drawn(one).booking.new
    assert first.file == private[0].assignments


def test_a_file_that_two_sheets_name_never_loses_the_customers_of_the_other(company):
    tables = {"purchases": {"file": "purchases.parquet"}, "customers": {"file": "customers.parquet"},
              "reasons": {"file": "reasons.parquet"}, "assignments": {"file": "who.parquet"}}  # fmt: skip
    one, two = company("one", tables=tables), company("two", tables=tables)
    planned(one)
    planned(two)
    drawn(one)
    before = (one.parent / "who.parquet").read_bytes()
    with pytest.raises(
        WinbackError, match=r"who.parquet holds the customers of the test 'one'. Leave `assignments` out"
    ):
        drawn(two)
    assert (one.parent / "who.parquet").read_bytes() == before


def test_a_plan_that_vanished_or_is_another_one_stops_the_readout(company):
    sheet = company("one")
    planned(sheet)
    drawn(sheet)
    called(sheet)
    plan = read_sheet(sheet).private.plan
    kept = plan.read_bytes()
    plan.unlink()
    (found,) = [check for check in read_out(sheet).checks if check.key == "as_planned"]
    assert (found.state, found.case) == ("stop", "gone")
    assert read_out(sheet).verdict.kind == "stopped"
    with pytest.raises(WinbackError, match=r"was locked and booked before, and its plan is gone"):
        lock_plan(sheet, today=DAY)
    plan.write_bytes(kept.replace(b"customers: 200", b"customers: 201"))
    with pytest.raises(WinbackError, match="was edited after it was locked"):
        read_out(sheet)
    plan.write_bytes(kept)
    assert [check.state for check in read_out(sheet).checks if check.key == "as_planned"] == ["pass"]


def test_a_running_test_is_changed_on_record(company):
    sheet = company("one")
    first = planned(sheet)
    drawn(sheet)
    called(sheet)
    about = {"reason": "no stock", "by": "Ann", "today": DAY}
    with pytest.raises(WinbackError, match="Nothing differs from the plan"):
        amend_plan(sheet, **about)
    with pytest.raises(WinbackError, match=r"no arm 'bundel' to stop. Did you mean 'bundle'"):
        amend_plan(sheet, stop=["bundel"], **about)
    stopped = amend_plan(sheet, stop=["bundle"], **about)
    assert (stopped.stopped, stopped.sha256s[0], len(stopped.sha256s)) == (("bundle",), first.sha256, 2)
    calls = write_call_list(sheet, out=sheet.with_name("next.csv"))
    assert {left.rule: left.customers for left in calls.not_listed}["stopped"] > 0
    with sheet.with_name("next.csv").open(encoding="utf-8-sig", newline="") as file:
        listed = {row["customer_id"] for row in csv.DictReader(file)}
    arms = dict(duckdb.sql(f"SELECT customer_id, arm FROM '{read_sheet(sheet).private.assignments}'").fetchall())
    assert {arms[name] for name in listed} == {"discount", "upgrade", "tailored"}
    assert amend_plan(sheet, paused=True, **about).paused
    with pytest.raises(WinbackError, match=r"The test is paused since 2024-01-02: no stock\. Nobody is called"):
        write_call_list(sheet, out=sheet.with_name("third.csv"))
    text = sheet.read_text(encoding="utf-8")
    sheet.write_text(text.replace("horizon_months: 24", "horizon_months: 12"), encoding="utf-8")
    with pytest.raises(
        WinbackError, match=r"not as locked on 2024-01-02: horizon_months 12 instead of 24.*winback amend"
    ):
        write_call_list(sheet, out=sheet.with_name("third.csv"))
    plan = amend_plan(sheet, **about)
    assert (plan.paused, plan.stopped, len(plan.sha256s)) == (False, ("bundle",), 4)
    (found,) = [check for check in read_out(sheet).checks if check.key == "as_planned"]
    assert (found.state, len(found.facts["amended"]), found.facts["hash"]) == ("warn", 3, first.sha256[:12])
    assert (found.facts["setting"], found.facts["planned"], found.facts["now"]) == (
        ("horizon_months",),
        ("24",),
        ("12",),
    )
    said = worded(found).reason
    assert "amended on 2024-01-02 (no stock), sha256" in said
    assert "horizon_months 12 instead of 24" in said
    sheet.write_text(text.replace("seed: 7", "seed: 8"), encoding="utf-8")
    with pytest.raises(WinbackError, match=r"What customers were drawn by cannot change: .*seed 8 instead of 7"):
        amend_plan(sheet, **about)


def test_an_amendment_that_was_killed_before_it_was_booked_is_booked_by_the_next(company, monkeypatch):
    sheet = company("one")
    planned(sheet)
    drawn(sheet)

    def killed(*_, **__):
        raise KeyboardInterrupt

    about = {"reason": "no stock", "by": "Ann", "today": DAY}
    with monkeypatch.context() as broken:
        broken.setattr("experiments.campaign.ledger.Ledger.amend", killed)
        with pytest.raises(KeyboardInterrupt):
            amend_plan(sheet, stop=["bundle"], **about)
    with pytest.raises(WinbackError, match="is not the one that was booked"):
        drawn(sheet)
    assert amend_plan(sheet, stop=["bundle"], **about).stopped == ("bundle",)
    assert not drawn(sheet).booking.new


def test_who_was_released_leaves_the_assignments_at_once(company):
    sheet = company("one")
    planned(sheet)
    file = drawn(sheet).file
    some = sorted(ids(file))[:3]
    release(sheet, some, reason="wrong list", by="Ann", today=DAY)
    assert ids(file) & set(some) == set()
    assert len(ids(file)) == 197
    with pytest.raises(WinbackError, match="nothing is booked before it"):
        release(sheet, sorted(ids(file))[:1], reason="wrong list", by="Ann", today=DAY - dt.timedelta(1))


# ---- what earlier versions wrote


def test_a_workspace_of_an_earlier_version_is_moved_with_a_word(company, caplog):
    sheet = company("one")
    planned(sheet)
    drawn(sheet)
    called(sheet)
    before, private = read_out(sheet), read_sheet(sheet).private
    home = sheet.parent
    old = {private.plan: home / "plan.yml", private.register: home / "calls.parquet",
           private.contacts: home / "contacts.parquet", private.assignments: home / "assignments.parquet",
           private.folder.with_name("ledger.duckdb"): home.parent / "ledger.duckdb"}  # fmt: skip
    for new, place in old.items():
        new.rename(place)
    shutil.rmtree(home / "private" / "one" / "trial", ignore_errors=True)
    lost = private.cohort.read_bytes()
    shutil.rmtree(home / "private")
    private = read_sheet(sheet).private
    assert private.folder == home.parent / "private/one"  # where the ledger was, for the tests of every folder there
    private.make()
    private.cohort.write_bytes(lost)
    duckdb.sql(f"COPY (FROM '{home}/contacts.parquet' UNION ALL SELECT * REPLACE ('two' AS experiment) FROM "
               f"'{home}/contacts.parquet') TO '{home}/contacts.parquet' (FORMAT parquet)")  # fmt: skip
    assert not drawn(sheet).booking.new
    assert not [place.name for place in old.values() if place.exists() and place.name != "contacts.parquet"]
    assert duckdb.sql(f"SELECT DISTINCT experiment FROM '{home}/contacts.parquet'").fetchall() == [("two",)]
    assert "The ledger moved" in caplog.text
    assert "plan.yml" in caplog.text
    assert read_out(sheet).arms == before.arms


def test_a_workspace_that_was_copied_or_moved_goes_on(company, tmp_path):
    sheet = company("one")
    planned(sheet)
    drawn(sheet)
    called(sheet)
    before = read_out(sheet)
    copied = Path(shutil.copytree(sheet.parent, tmp_path / "backup of März")) / sheet.name
    shutil.rmtree(sheet.parent)
    assert read_out(copied) == before
    assert not drawn(copied).booking.new
    assert read_books(copied).wrong == ()
    assert write_call_list(copied, out=copied.with_name("next.csv")).listed > 0


# ---- whom nobody but the owner sees


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
@pytest.mark.parametrize("mask", [0o022, 0o000])
def test_what_is_about_customers_is_its_owners_alone(company, mask):
    before = os.umask(mask)
    try:
        sheet = company("one")
        planned(sheet)
        drawn(sheet)
        called(sheet)
        forget(sheet, sorted(ids(read_sheet(sheet).private.assignments))[:1], reason="asked", by="Ann", today=DAY)
    finally:
        os.umask(before)
    root = sheet.parent / "private"
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (root, *root.rglob("*"))}
    open_to_others = {path.relative_to(root).as_posix(): oct(mode) for path, mode in modes.items() if mode & 0o077
                      and path.name not in (".gitignore", ".winback") and not path.name.endswith(".lock")}  # fmt: skip
    assert open_to_others == {}
    assert (root / ".gitignore").read_text(encoding="utf-8") == "*\n"


# ---- who asks to be forgotten


def everything_in(folder):
    """Return all that the files of a folder hold, as text: Parquet and DuckDB too."""
    told = []
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".parquet":
            told.append(str(duckdb.sql(f"FROM '{path}'").fetchall()))
        elif path.suffix == ".duckdb":
            with duckdb.connect(str(path), read_only=True) as con:
                told += [str(con.sql(f"FROM {table}").fetchall()) for table in ("events", "bookings")]
        if path.is_file():
            told.append(path.read_bytes().decode("utf-8", "replace"))
    return "\n".join(told)


def test_who_is_forgotten_stands_nowhere_is_never_assigned_again_and_no_number_changes(company, tmp_path):
    one, two = company("one"), company("two")
    planned(one)
    planned(two)
    drawn(one)
    drawn(two)
    listed, _ = called(one)
    called(two)
    chosen = [listed[0]["customer_id"], listed[1]["customer_id"]]
    lost, before = find_lost(one), [read_out(one), read_out(two)]
    done = forget(one, [f" {chosen[0]} ", chosen[1]], reason="asked for it", by="Ann", today=DAY)
    assert (done.asked, done.found, done.booked) == (2, 2, 2)
    assert {path.name for path, _ in done.sources} >= {"customers.parquet", "purchases.parquet"}
    told = everything_in(one.parent / "private")
    assert not [name for name in chosen if f"'{name}'" in told or f"Mr {name} Zebulon" in told]
    assert "said Zebulon" not in str(duckdb.sql(f"FROM '{read_sheet(one).private.contacts}' WHERE customer_id LIKE "
                                                "'forgotten%'").fetchall())  # fmt: skip
    assert [read_out(one), read_out(two)] == before
    assert find_lost(one).lost == lost.lost
    key = tmp_path / "elsewhere/forget.key"
    assert key.read_text(encoding="utf-8").strip() not in told
    books = read_books(one, customer=chosen[0])
    assert (books.wrong, [event.kind for event in books.history]) == ((), ["assigned"])

    # The company removes its rows: no number changes.
    for name in ("customers", "purchases", "reasons", "inquiries"):
        file = one.parent / f"{name}.parquet"
        rows = f"FROM '{file}' WHERE CAST(customer_id AS VARCHAR) NOT IN ('{chosen[0]}', '{chosen[1]}')"
        duckdb.sql(f"COPY ({rows}) TO '{file}.new' (FORMAT parquet)")
        Path(f"{file}.new").replace(file)
    assert [read_out(one), read_out(two)] == before
    assert find_lost(one).lost == lost.lost

    # Run again, nothing is left to do; and the calls go on without them.
    again = forget(one, chosen, reason="asked for it", by="Ann", today=DAY)
    assert (again.found, again.booked, again.files) == (0, 0, ())
    calls = write_call_list(one, out=one.with_name("next.csv"))
    assert {left.rule: left.customers for left in calls.not_listed}["forgotten"] == 2


def test_who_is_forgotten_keeps_the_one_chance(company, tmp_path):
    one, three = company("one"), company("three", customers=150)
    planned(one)
    drawn(one)
    chosen = sorted(ids(read_sheet(one).private.assignments))[:5]
    planned(three)
    forget(one, chosen, reason="asked", by="Ann", today=DAY)
    assert ids(drawn(three).file) & set(chosen) == set()
    with open_ledger(one.parent / "private/ledger.duckdb", read_only=True) as ledger:
        words = pseudonyms()
        assert len([one for one in ledger.forgotten() if one.startswith(words.prefix)]) == 5
        assert [event.kind for event in ledger.history(words.of(chosen[0]))] == ["assigned"]
        assert ledger.audit() == ()
    four = company("four", customers=100)
    planned(four)
    (tmp_path / "elsewhere/forget.key").write_text("another", encoding="utf-8")
    with pytest.raises(WinbackError, match=r"5 customers who were forgotten, and the key .* is not on this machine"):
        drawn(four)


def test_answers_that_nobody_has_read_back_keep_a_customer_from_being_forgotten(company):
    sheet = company("one")
    planned(sheet)
    drawn(sheet)
    listed, _ = called(sheet)
    file = read_sheet(sheet).private.folder / "calls.csv"
    listed[0] |= {"called_on": DAY.isoformat(), "reached": "no"}
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, listed[0])
        writer.writeheader()
        writer.writerows(listed)
    before = everything_in(sheet.parent / "private")
    with pytest.raises(WinbackError, match=r"holds answers of somebody to forget. Read it back first"):
        forget(sheet, [listed[0]["customer_id"]], reason="asked", by="Ann", today=DAY)
    assert everything_in(sheet.parent / "private") == before
