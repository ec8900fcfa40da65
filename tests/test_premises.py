"""Small inputs like those real people have: the right numbers where they can be told, else a stop; no other verdict.

Three arms of 40: .10, .40, .60 return; net of the offers 12.50 and 21.40, by hand.
"""

import datetime as dt
import subprocess
import sys
import unicodedata

import duckdb
import pytest

from experiments import read_out
from experiments.common.errors import WinbackError
from experiments.common.today import today

ARMS, TEN = ("nothing", "voucher", "discount"), {"nothing": 1, "voucher": 4, "discount": 6}
SHEET = """experiment: clean
currency: EUR
horizon_months: 6
window_months: 6
discount_rate: 0
read_date: 2025-07-15
followed_until: {until}
holdout: nothing
{sheet}arms:
  nothing: {{share: 1}}
  voucher: {{share: 1, contact: 1.20, gift: 5}}
  discount: {{share: 1, contact: 1.20, gift: 6}}
tables:
  assignments: {{file: letters.csv}}
  purchases: {{file: {bills}{more}}}
  contacts: {{file: contacts.csv}}
"""
CLEAN = {"returned": [0.1, 0.4, 0.6], "net": [12.5, 21.4]}


def bills(ident=str, *, amount=None, again=False):
    """Return the purchases: one before the test, one of those who come back; `again`: the year of the test twice."""
    rows = []
    for i in range(120):
        rows.append((ident(1000 + i), "2024-12-01", amount or f"{30 + i % 7}.00"))
        if i // 3 % 10 < TEN[ARMS[i % 3]]:
            rows.append((ident(1000 + i), "2025-02-20", amount or f"{50 + i % 5}.00"))
    return rows + [row for row in rows if again and row[1] > "2025"]


def calls():
    """Return the contacts: a letter to whoever has an offer."""
    back = {i: i // 3 % 10 < TEN[ARMS[i % 3]] for i in range(120) if i % 3}
    return [(str(1000 + i), "2025-01-17", "2025-01-18" if came else "") for i, came in back.items()]


@pytest.fixture
def test_of(tmp_path):
    """Return a function that writes a test and reads it out."""

    def make(rows=None, *, contacts=None, ident=str, name="bills.csv", more="", sheet="", until="2025-07-15"):
        tables = {"letters.csv": [("customer_id", "arm", "at"), *((ident(1000 + i), ARMS[i % 3], "2025-01-15")
                                                                  for i in range(120))],
                  "contacts.csv": [("customer_id", "at", "accepted_at"), *(contacts or calls())]}  # fmt: skip
        tables |= {name: [("customer_id", "at", "amount"), *rows]} if rows is not None else {}
        for file, lines in tables.items():
            text = "\n".join(",".join(map(str, line)) for line in lines)
            (tmp_path / file).write_text(text + "\n", encoding="utf-8")
        text = SHEET.format(bills=name, more=more, sheet=sheet, until=until)
        (tmp_path / "sheet.yml").write_text(text, encoding="utf-8")
        return read_out(tmp_path / "sheet.yml")

    return make


def numbers(readout):
    found = {
        name: [round(arm.estimates[name].value, 2) for arm in readout.arms if name in arm.estimates] for name in CLEAN
    }
    return {"returned": found["returned"], "net": found["net"][-2:]}


def state(readout, key):
    return next(check.state for check in readout.checks if check.key == key)


def test_the_control_is_as_by_hand(test_of):
    readout = test_of(bills())
    assert numbers(readout) == CLEAN
    assert (state(readout, "match"), state(readout, "repeats")) == ("pass", "pass")


@pytest.mark.parametrize(
    "ident",
    [lambda c: f"{c} ", lambda c: f"\u00a0{c}", lambda c: f"{c}.0", lambda c: f"{c}.0" if c % 5 == 0 else str(c)],
    ids=["a blank behind", "a hard blank before", "a float", "some floats"],
)
def test_a_spelling_that_is_told_without_doubt_is_the_same_customer(test_of, ident):
    readout = test_of(bills(ident))
    assert (numbers(readout), state(readout, "match")) == (CLEAN, "pass")
    assert any(note.key == "respelt" for account in readout.accounts for note in account.notes)


def test_accents_composed_or_not_are_the_same_customer(test_of):
    names = {c: unicodedata.normalize("NFC", f"é{c}") for c in range(1000, 1120)}
    readout = test_of(
        bills(lambda c: unicodedata.normalize("NFD", names[c])), ident=names.get,
        contacts=[(names[int(row[0])], *row[1:]) for row in calls()],
    )  # fmt: skip
    assert (numbers(readout), state(readout, "match")) == (CLEAN, "pass")


@pytest.mark.parametrize("kind", ["DOUBLE", "INTEGER", "VARCHAR", "DECIMAL(9, 1)"])
def test_the_type_of_a_column_is_no_spelling(test_of, tmp_path, kind):
    query = " UNION ALL ".join(f"SELECT CAST({c} AS {kind}) AS customer_id, DATE '{at}' AS at, {a} AS amount"
                               for c, at, a in bills())  # fmt: skip
    duckdb.sql(query).write_parquet(str(tmp_path / "bills.parquet"))
    assert numbers(test_of(name="bills.parquet")) == CLEAN


@pytest.mark.parametrize(
    ("ident", "theirs"), [(lambda c: f"0{c}", "01000"), (lambda c: f"X{c}", "X1000"), (lambda c: str(c + 5000), "6000")]
)
def test_customers_that_are_nobody_of_the_test_stop_it_with_one_of_each_side(test_of, ident, theirs):
    readout = test_of(bills(ident))
    found = next(check for check in readout.checks if check.key == "match")
    assert (found.state, found.facts["theirs"], found.facts["ours"]) == ("stop", theirs, "1000")
    assert readout.verdict.kind == "stopped"


@pytest.mark.parametrize(("part", "expected"), [(2, "stop"), (5, "stop"), (40, "warn"), (1013, "pass")])
def test_rows_that_match_only_after_a_doubtful_respelling_are_counted(test_of, part, expected):
    readout = test_of(bills(lambda c: f"0{c}" if c % part == 0 else str(c)))
    assert state(readout, "match") == expected


def test_capital_letters_are_no_difference_where_the_sheet_says_so(test_of):
    def mail(c):
        return f"Ann{c}@example.com"

    rows = bills(lambda c: mail(c).upper())
    contacts = [(mail(int(row[0])), *row[1:]) for row in calls()]
    assert state(test_of(rows, ident=mail, contacts=contacts), "match") == "stop"
    readout = test_of(rows, ident=mail, contacts=contacts, sheet="identity: {case: ignore}\n")
    assert (numbers(readout), state(readout, "match")) == (CLEAN, "pass")


def test_a_whole_crm_of_contacts_and_purchases_of_others_are_no_fault(test_of):
    others = [(str(9000 + i), "2025-02-01", "5.00") for i in range(900)]
    readout = test_of(bills() + others, contacts=calls() + [(str(7000 + i), "2025-02-01", "") for i in range(900)])
    assert (numbers(readout), state(readout, "match")) == (CLEAN, "pass")


def test_contacts_before_the_assignment_are_history(test_of):
    earlier = [(str(1000 + i), "2024-10-01", "") for i in range(120)]
    readout = test_of(bills(), contacts=calls() + earlier)
    assert (numbers(readout), state(readout, "contamination")) == (CLEAN, "pass")
    assert any(why.key == "contacts_before" and why.facts["n"] == 120 for one in readout.accounts for why in one.why)


def test_contacts_of_the_holdout_after_the_assignment_count(test_of):
    readout = test_of(bills(), contacts=[*calls(), ("1000", "2025-02-01", "")])
    assert state(readout, "contamination") == "stop"


def test_a_bill_that_is_there_twice_is_told_with_its_money_and_settled_in_the_sheet(test_of):
    rows = bills(again=True)
    readout = test_of(rows)
    found = next(check for check in readout.checks if check.key == "repeats")
    assert (found.state, found.facts["n"], found.facts["money"]) == ("warn", 44, 2276.0)
    assert numbers(readout)["net"] == [28.2, 47.6]
    dropped = test_of(rows, more=", repeats: drop")
    assert (numbers(dropped), state(dropped, "repeats")) == (CLEAN, "pass")
    assert state(test_of(rows, more=", repeats: keep"), "repeats") == "pass"


def test_overlapping_files_are_one_table(test_of, tmp_path):
    rows = bills()
    for name, part in (("2024.csv", rows[:90]), ("2025.csv", rows[70:])):
        text = "\n".join(map(",".join, [("customer_id", "at", "amount"), *part]))
        (tmp_path / f"bills-{name}").write_text(text + "\n", encoding="utf-8")
    assert numbers(test_of(name='"bills-*.csv"', more=", repeats: drop")) == CLEAN


def test_two_digits_of_a_year_among_four_are_refused(test_of):
    def mixed(day, c):
        return f"{day[8:]}.{day[5:7]}.{day[:4] if c % 3 else day[2:4]}"

    rows = [(c, mixed(at, int(c)), a) for c, at, a in bills()]
    with pytest.raises(WinbackError, match="before 1970"):
        test_of(rows, more=', dates: "%d.%m.%Y"')
    with pytest.raises(WinbackError, match="64 of 164 rows are dates before 1970"):
        test_of(rows)


@pytest.mark.parametrize(("column", "name"), [(1, "bills.csv"), (2, "contacts.csv")])
def test_a_day_after_today_is_refused_where_it_has_happened(test_of, column, name):
    late = (today() + dt.timedelta(days=40)).isoformat()
    rows, contacts = bills(), calls()
    if name == "bills.csv":
        rows[5] = (rows[5][0], late, rows[5][2])
    else:
        contacts[5] = (contacts[5][0], contacts[5][1], late)
    with pytest.raises(WinbackError, match=r"1 of .* rows are dates after today"):
        test_of(rows, contacts=contacts)


def test_a_readout_whose_data_are_said_to_reach_beyond_today_is_stopped(test_of):
    late = (today() + dt.timedelta(days=40)).isoformat()
    readout = test_of(bills(), until=late)
    found = next(check for check in readout.checks if check.key == "read_date")
    assert (found.state, found.case, found.facts["until"]) == ("stop", "future", late)
    assert readout.verdict.kind in ("interim", "stopped")


INSTANTS = """
import sys
from experiments import read_out
readout = read_out(sys.argv[1])
print([round(arm.estimates["returned"].value, 3) for arm in readout.arms])
"""


@pytest.mark.parametrize(("zone", "returned"), [("UTC", "[1.0, 1.0, 1.0]"), ("Europe/Berlin", "[0.1, 0.4, 0.6]")])
def test_an_instant_is_a_day_in_the_zone_of_the_sheet_whatever_the_machines(test_of, tmp_path, zone, returned):
    rows = bills() + [(str(1000 + i), "2025-07-14", "10.00") for i in range(120)]
    instant = "SELECT '{}' AS customer_id, CAST('{} 23:30:00+00' AS TIMESTAMPTZ) AS at, {} AS amount"
    query = " UNION ALL ".join(instant.format(*row) for row in rows)
    duckdb.sql(query).write_parquet(str(tmp_path / "bills.parquet"))
    with pytest.raises(WinbackError, match="time_zone: Europe/Berlin"):
        test_of(name="bills.parquet")
    test_of(name="bills.parquet", sheet=f"time_zone: {zone}\n")
    for machine in ("Asia/Tokyo", "America/New_York"):
        line = [sys.executable, "-c", INSTANTS, str(tmp_path / "sheet.yml")]
        told = subprocess.run(line, env={"TZ": machine, "PATH": ""}, capture_output=True, text=True, check=True).stdout
        assert told.strip() == returned


def undated(folder, arms, rows, header="customer_id,arm,returned,value", more=""):
    (folder / "all.csv").write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    (folder / "sheet.yml").write_text(
        f"experiment: undated\nholdout: none\n{more}arms: {arms}\n"
        "tables: {assignments: {file: all.csv}, outcomes: {file: all.csv}}\n", encoding="utf-8")  # fmt: skip
    return read_out(folder / "sheet.yml")


def test_a_holdout_that_is_contacted_pays_for_it(tmp_path):
    rows = [f"{i},{'b' if i <= 1000 else 'none'},{int(i % 2 == 0)},{100 * (i % 2 == 0)}" for i in range(1, 2001)]
    arms = "{none: {share: 1, contact: 5, gift: 20}, b: {share: 1, contact: 5, gift: 20}}"
    assert undated(tmp_path, arms, rows).arms[1].estimates["net"].value == pytest.approx(0, abs=1e-9)


def test_returns_need_no_value_and_a_value_of_a_return_stands_for_the_column(tmp_path):
    rows = [f"{i},{'b' if i % 2 else 'none'},{int(i % (3 if i % 2 else 9) == 0)}" for i in range(900)]
    arms, header = "{none: {share: 1}, b: {share: 1, contact: 1}}", "customer_id,arm,returned"
    assert undated(tmp_path, arms, rows, header, "objective: returned\n").verdict.kind == "choose"
    worth = undated(tmp_path, arms, rows, header, "value_of_return: 10\n").arms[1].estimates
    assert worth["net"].value == pytest.approx(10 * worth["lift"].value - 1)
    with pytest.raises(WinbackError, match=r"no column 'value'.*value_of_return: 10"):
        undated(tmp_path, arms, rows, header)


def test_transactions_without_dates_are_folded_by_customer(tmp_path):
    people = [f"{i},{'b' if i % 2 else 'none'}" for i in range(200)]
    (tmp_path / "a.csv").write_text("\n".join(["customer_id,arm", *people, ""]), encoding="utf-8")
    bought = [f"{i},{5 + k}.00" for i in range(200) for k in range(3) if i % (2 if i % 2 else 6) == i % 2]
    (tmp_path / "o.csv").write_text("\n".join(["customer_id,value", *bought, ""]), encoding="utf-8")
    (tmp_path / "sheet.yml").write_text(
        "experiment: folded\nholdout: none\narms: {none: {share: 1}, b: {share: 1}}\n"
        "tables: {assignments: {file: a.csv}, outcomes: {file: o.csv}}\n", encoding="utf-8")  # fmt: skip
    readout = read_out(tmp_path / "sheet.yml")
    assert [round(arm.estimates["returned"].value, 2) for arm in readout.arms] == [0.34, 1.0]
    assert readout.arms[1].estimates["value_gained"].value == pytest.approx(18 - 0.34 * 18, abs=0.01)
