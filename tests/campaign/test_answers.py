"""What came of the calls: a filled list goes back into the contacts, each attempt once, every row accounted for."""

import csv
import datetime as dt

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from experiments.campaign.answers import import_contacts
from experiments.campaign.call_list import keep_calls, plan_calls, write_calls
from experiments.common.errors import WinbackError
from experiments.data.contracts import CONTRACTS, Source
from experiments.data.tables import connect, read
from experiments.sheet.contact_rules import ContactRules
from experiments.sheet.sheet import Sheet

DAY = dt.date(2026, 3, 2)
TODAY = dt.date(2026, 3, 20)
RULES = ContactRules.model_validate({"callers": {"Ann": {}, "Bob": {}}, "capacity": 2, "first_day": DAY})
SHEET = Sheet.model_validate({"experiment": "toy", "question": "?", "holdout": "hold", "tables": {},
                              "arms": {"hold": {"share": 1}, "gift": {"share": 1}}})  # fmt: skip
CUSTOMERS = ["1", "2", "=3", "007", "5", "6"]  # and 7, held out; 8, assigned after the list


@pytest.fixture(scope="module")
def con():
    with connect(threads=1) as con:
        con.execute('CREATE TABLE assigned (customer_id VARCHAR, arm VARCHAR, "at" DATE)')
        arms = [(name, "gift") for name in CUSTOMERS] + [("7", "hold")]
        con.executemany("INSERT INTO assigned VALUES (?, ?, ?)", [(*row, DAY) for row in arms])
        con.execute("CREATE TABLE cohort AS SELECT customer_id, DATE '2026-01-01' AS lost_at, 'contactable' AS step, "
                    "'price' AS reason, 'Dan' AS manager, 'x' AS line, 'none' AS complaint, 'C' AS abc, 'must' AS "
                    "priority, row_number() OVER (ORDER BY 1) AS expected, 1 AS worth FROM assigned")  # fmt: skip
        plan_calls(con, SHEET, rules=RULES)
        con.execute("INSERT INTO assigned VALUES ('8', 'gift', ?)", [DAY])
        yield con


@pytest.fixture
def desk(con, tmp_path):
    """Return a function that fills in a list and imports it: customer -> what the caller wrote."""
    keep_calls(con, tmp_path / "calls.parquet")

    def bring(filled, *, name="list.csv", extra=(), into="contacts.parquet", **more):
        write_calls(con, tmp_path / name, rules=RULES, replace=True)
        fill(tmp_path / name, filled, extra)
        given_ = {"experiment": "toy", "holdout": "hold", "register": tmp_path / "calls.parquet",
                  "into": tmp_path / into, "today": TODAY}  # fmt: skip
        return import_contacts(con, tmp_path / name, **(given_ | more))

    def again(name, *, into):
        register = tmp_path / "calls.parquet"
        return import_contacts(con, tmp_path / name, experiment="toy", holdout="hold", register=register,
                               into=tmp_path / into, today=TODAY)  # fmt: skip

    bring.folder, bring.again = tmp_path, again
    return bring


def fill(path, filled, extra=(), separator=","):
    """Write into a list as a caller does."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row.update(filled.get(row["customer_id"], {}))
    rows += [dict.fromkeys(rows[0], "") | row for row in extra]
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)), delimiter=separator)
        writer.writeheader()
        writer.writerows(rows)


def contacts(path):
    return duckdb.execute(f"SELECT * FROM '{path}' ORDER BY customer_id, 4").fetchall()


FILLED = {"1": {"reached": "no"}, "2": {"reached": "yes", "accepted_at": "2026-03-04", "called_on": "2026-03-03"},
          "'=3": {"refusal": "too dear"}, "007": {"refused_at": "2026-03-05", "refusal": "moved"}}  # fmt: skip


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_from_the_list_to_the_contacts_and_back_every_row_is_accounted_for(desk, con, kind):
    stranger = [{"customer_id": "no such", "reached": "yes"}]
    made = desk(FILLED, extra=stranger) if kind == "csv" else _by_workbook(desk, con)
    planned = dict(con.execute("SELECT customer_id, day FROM calls").fetchall())
    who = dict(con.execute("SELECT customer_id, caller FROM calls").fetchall())
    assert contacts(desk.folder / "contacts.parquet") == [
        ("toy", "007", "gift", planned["007"], "call", who["007"], True, None, dt.date(2026, 3, 5), "moved"),
        ("toy", "1", "gift", planned["1"], "call", who["1"], False, None, None, None),
        ("toy", "2", "gift", dt.date(2026, 3, 3), "call", who["2"], True, dt.date(2026, 3, 4), None, None),
        ("toy", "=3", "gift", planned["=3"], "call", who["=3"], True, None, planned["=3"], "too dear"),
    ]
    assert str(made) == (f"list.{kind}: kept 4 of 7: 2 not filled in, 1 have no such customer; 4 new, 0 completed, 0 "
                         "known already; 3 without a day of contact have the day of the list")  # fmt: skip
    assert (made.attempts, made.reached, made.accepted, made.refused) == (4, 3, 1, 2)


def _by_workbook(desk, con):
    """Fill in the XLSX: read it, write it again with what the callers wrote."""
    from python_calamine import CalamineWorkbook
    from xlsxwriter import Workbook

    path = desk.folder / "list.xlsx"
    write_calls(con, path, rules=RULES)
    sheets = CalamineWorkbook.from_path(str(path))
    plain = {name.removeprefix("'"): about for name, about in FILLED.items()} | {"no such": {"reached": "yes"}}
    with Workbook(str(path), {"strings_to_formulas": False}) as book:
        day = book.add_format({"num_format": "dd/mm/yyyy"})
        for name in sheets.sheet_names:
            header, *rows = sheets.get_sheet_by_name(name).to_python()
            if name == "Bob":
                rows.append(["no such" if column == "customer_id" else "" for column in header])
            sheet = book.add_worksheet(name)
            for place, row in enumerate([header, *rows]):
                about = dict(zip(header, row, strict=True))
                about |= plain.get(about["customer_id"], {})
                for column, cell in enumerate(about.values()):
                    if isinstance(cell, dt.date) or (place and str(cell).startswith("2026")):
                        sheet.write_datetime(place, column, dt.datetime.fromisoformat(str(cell)), day)
                    elif cell != "":
                        sheet.write_string(place, column, cell)
    return import_contacts(con, path, experiment="toy", holdout="hold", register=desk.folder / "calls.parquet",
                           into=desk.folder / "contacts.parquet", today=TODAY)  # fmt: skip


def test_what_is_written_is_the_table_contacts(desk, con):
    desk(FILLED)
    account = read(con, "contacts", Source(file="contacts.parquet"), folder=desk.folder)
    assert account.kept == 4
    assert [row[0] for row in con.execute("DESCRIBE contacts").fetchall()] == list(CONTRACTS["contacts"])


def test_the_same_list_twice_adds_nothing_and_a_list_with_more_completes(desk):
    desk(FILLED)
    before = (desk.folder / "contacts.parquet").read_bytes()
    again = desk(FILLED)
    assert (again.new, again.completed, again.repeated) == (0, 0, 4)
    assert (desk.folder / "contacts.parquet").read_bytes() == before
    later = FILLED | {"1": {"reached": "yes", "accepted_at": "2026-03-09"}, "5": {"reached": "no"}}
    more = desk(later)
    assert (more.new, more.completed, more.repeated, more.accepted) == (1, 1, 3, 2)
    older = desk(FILLED)  # an older file brings nothing back
    assert (older.new, older.completed, older.accepted) == (0, 0, 2)


def test_another_day_is_another_try(desk):
    desk({"1": {"reached": "no", "called_on": "2026-03-02"}})
    made = desk({"1": {"reached": "yes", "called_on": "2026-03-06", "caller": "Eve"}})
    assert (made.new, made.attempts, made.reached) == (1, 2, 1)
    assert [(row[3], row[5], row[6]) for row in contacts(desk.folder / "contacts.parquet")][1] == (
        dt.date(2026, 3, 6),
        "Eve",
        True,
    )


def test_two_lines_of_one_contact_are_one_contact(desk):
    line = {"customer_id": "1", "day": "2026-03-05", "caller": "Ann", "channel": "call"}
    made = desk({}, extra=[line | {"reached": "no"}, line | {"reached": "yes"}, line | {"refusal": "dear"}])
    assert (made.new, made.repeated, made.attempts, made.reached, made.refused) == (1, 2, 1, 1, 1)


def test_what_contradicts_is_refused_unless_it_shall_replace(desk):
    yes, no = {"1": {"accepted_at": "2026-03-04"}}, {"1": {"refused_at": "2026-03-05"}}
    desk(yes)
    before = (desk.folder / "contacts.parquet").read_bytes()
    with pytest.raises(
        WinbackError, match=r"1 rows contradict what was imported before, for example customer '1'.*replace"
    ):
        desk({"1": {"accepted_at": "2026-03-05"}})
    with pytest.raises(WinbackError, match="1 customers accepted on one line, or before, and refused on another"):
        desk(no)
    assert (desk.folder / "contacts.parquet").read_bytes() == before
    made = desk(no, replace=True)
    assert (made.completed, made.accepted, made.refused) == (1, 0, 1)
    assert desk(no, replace=True).completed == 0


def test_other_tests_and_other_columns_of_the_contacts_stay(desk):
    target = desk.folder / "contacts.parquet"
    desk(FILLED | {"1": {"reached": "yes", "called_on": "2026-03-04"}}, into="like.parquet")
    like = desk.folder / "like.parquet"
    duckdb.execute(f"COPY (SELECT * REPLACE ('old' AS experiment, NULL AS reached), 'x' AS note FROM '{like}' "
                   f"WHERE customer_id = '1') TO '{target}'")  # fmt: skip
    for more in ({}, {"refusal": "dear"}):
        desk(FILLED | {"1": {"reached": "yes", "called_on": "2026-03-04"} | more})
    rows = duckdb.execute(f"SELECT experiment, customer_id, reached, note FROM '{target}' ORDER BY 1, 2").fetchall()
    assert rows == [("old", "1", None, "x"), *[("toy", name, True, None) for name in ("007", "1", "2", "=3")]]


def test_contacts_that_do_not_say_of_which_test_they_are_are_refused(desk):
    duckdb.execute(f"COPY (SELECT '1' AS customer_id) TO '{desk.folder / 'contacts.parquet'}'")
    with pytest.raises(WinbackError, match=r"contacts.parquet: 1 contacts do not say of which `experiment`"):
        desk(FILLED)


def test_a_file_that_changed_meanwhile_is_not_written_over(desk, con, monkeypatch):
    from experiments.campaign import answers

    desk(FILLED)
    stamps = iter([(1, 1), (2, 2)])
    monkeypatch.setattr(answers, "_stamp", lambda _: next(stamps))
    with pytest.raises(WinbackError, match=r"was changed while the list was read. Nothing was imported: run it again"):
        desk({"5": {"reached": "no"}})


def test_columns_and_dates_of_other_names_and_formats(desk, con):
    path = desk.folder / "antworten.csv"
    path.write_text("Kunde;Erreicht;Ja am\n1;yes;04.03.2026\n\n2; NO ;\n", encoding="utf-8")
    made = import_contacts(con, path, experiment="toy", holdout="hold", register=desk.folder / "calls.parquet",
                           into=desk.folder / "new" / "contacts.parquet", today=TODAY, dates="%d.%m.%Y",
                           columns={"customer_id": "Kunde", "reached": "Erreicht", "accepted_at": "Ja am"})  # fmt: skip
    assert (made.rows, made.kept, made.accepted, made.reached) == (2, 2, 1, 1)


@pytest.mark.parametrize(("filled", "extra", "told"), [
    ({}, [{"customer_id": "7", "reached": "yes"}], "1 rows are of customers who are held out, .* customer '7'"),
    ({}, [{"customer_id": "8", "reached": "yes"}], "are of customers who are on no list of this test, for"),
    ({"1": {"reached": "yes", "arm": "hold"}}, [], "have another arm than was assigned, for example customer '1'"),
    ({"1": {"called_on": "2026-03-01"}}, [], "have a day before the customer was assigned"),
    ({"1": {"accepted_at": "2026-02-27"}}, [], "have a day before the customer was assigned"),
    ({"1": {"refused_at": "2026-03-21"}}, [], "have a day in the future.*called_on"),
    ({"1": {"accepted_at": "2026-03-03", "refused_at": "2026-03-03"}}, [], "say both that the customer accepted"),
    ({"1": {"accepted_at": "2026-03-03", "refusal": "no"}}, [], "say both"),
    ({"1": {"accepted_at": "2026-03-03", "reached": "no"}}, [], "was not reached, and answered"),
    ({"1": {"reached": "perhaps"}}, [], "'reached': 1 of 6 rows are no flag, such as aaaaaaa. Write yes or no"),
    ({"1": {"accepted_at": "4.3."}}, [], r"column 'accepted_at': 1 of 6 rows are no date, such as 9.9.."),
    ({}, [{"customer_id": "1", "refusal": text, "day": "2026-03-02", "caller": "Ann"} for text in "ab"],
     "tell one contact in two ways"),
    ({}, [{"customer_id": "", "reached": "yes"}], "column 'customer_id': 1 of 7 rows are empty"),
    ({}, [{"customer_id": "nobody", "reached": "yes"}], "none of 1 filled rows has a customer.*makes 7 of 007"),
])  # fmt: skip
def test_what_cannot_be_is_refused_and_nothing_is_written(desk, filled, extra, told):
    with pytest.raises(WinbackError, match=told):
        desk(filled, extra=extra)
    assert not (desk.folder / "contacts.parquet").exists()


def test_lists_that_say_nothing_and_lists_of_nobody_are_refused(desk, con):
    path = desk.folder / "bare.csv"
    known = {"experiment": "toy", "holdout": "hold", "register": desk.folder / "calls.parquet", "today": TODAY,
             "into": desk.folder / "contacts.parquet"}  # fmt: skip
    path.write_text("customer_id,note\n1,x\n")
    with pytest.raises(
        WinbackError, match="says nothing of what happened: it has none of the columns called_on, reached"
    ):
        import_contacts(con, path, **known)
    path.write_text("customer_id,reached\n")
    with pytest.raises(WinbackError, match="has a header but no rows"):
        import_contacts(con, path, **known)
    path.write_text("customer_id,reached\n1,yes\n")
    with pytest.raises(WinbackError, match=r"A list has no column 'reach'. Did you mean 'reached'"):
        import_contacts(con, path, **known, columns={"reach": "r"})
    with pytest.raises(WinbackError, match=r"There is no none.parquet: no list of this test was made"):
        import_contacts(con, path, **(known | {"register": desk.folder / "none.parquet"}))
    con.execute("CREATE OR REPLACE TABLE timeless AS SELECT customer_id, arm FROM assigned")
    with pytest.raises(WinbackError, match="Table timeless has no column 'at'"):
        import_contacts(con, path, **known, assigned="timeless")


ANSWERS = st.fixed_dictionaries({
    "called_on": st.sampled_from(["", "2026-03-05", "2026-03-06"]),
    "reached": st.sampled_from(["", "yes", "no"]),
    "refusal": st.sampled_from(["", "dear"]),
}).map(lambda row: row | ({"refusal": ""} if row["reached"] == "no" else {}))  # fmt: skip


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(first=st.dictionaries(st.sampled_from(["1", "2", "5", "6"]), ANSWERS, min_size=1),
       second=st.dictionaries(st.sampled_from(["1", "2", "5", "6"]), ANSWERS, min_size=1))  # fmt: skip
def test_the_order_in_which_lists_come_back_is_irrelevant_and_so_is_how_often(desk, first, second):
    for name, lists in (("one", (first, second)), ("two", (second, first, second))):
        (desk.folder / f"{name}.parquet").unlink(missing_ok=True)
        for filled in lists:
            if any(any(row.values()) for row in filled.values()):
                made = desk(filled, into=f"{name}.parquet")
                assert made.rows == 6 == made.empty + made.kept
                assert made.kept == made.new + made.completed + made.repeated
    one, two = (desk.folder / f"{name}.parquet" for name in ("one", "two"))
    assert (contacts(one) if one.exists() else []) == (contacts(two) if two.exists() else [])


@pytest.mark.parametrize(
    ("encoding", "day", "words"),
    [
        ("cp1251", "%d.%m.%Y", ("да", "нет")),
        ("cp1252", "%d/%m/%Y", ("oui", "non")),
        ("utf-8-sig", "%m/%d/%Y", ("yes", "no")),
    ],
    ids=["Russian", "French", "American"],
)
def test_a_list_that_a_spreadsheet_saved_back_in_its_own_way_reads_without_a_word(desk, encoding, day, words):
    filled = {"1": {"reached": "no"}, "2": {"reached": "yes", "accepted_at": "2026-03-04", "called_on": "2026-03-03"}}
    desk(filled, into="plain.parquet")
    path = desk.folder / "list.csv"
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        for name, cell in row.items():
            if name in ("day", "called_on", "accepted_at", "refused_at", "lost_at", "deadline") and cell:
                row[name] = dt.date.fromisoformat(cell).strftime(day)
            row[name] = dict(zip(("yes", "no"), words, strict=True)).get(row[name], row[name])
        row["refusal"] = row["refusal"].replace(
            "too dear", "trop cher, d\u00e9j\u00e0 vu" if encoding == "cp1252" else "дорого"
        )
    for_excel = [";".join(f'"{cell}"' for cell in cells) for cells in ([*rows[0]], *([*row.values()] for row in rows))]
    (desk.folder / "back.csv").write_bytes("\r\n".join(for_excel).encode(encoding, "replace"))
    desk.again("back.csv", into="saved.parquet")
    assert contacts(desk.folder / "saved.parquet") == contacts(desk.folder / "plain.parquet")
