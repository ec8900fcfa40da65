"""The door: what comes in, what is refused and with which words, and where every row went."""

import datetime as dt
import gzip
import subprocess
import sys

import duckdb
import pytest
from pydantic import TypeAdapter

from experiments.common.errors import WinbackError
from experiments.common.formatting import money_decimals
from experiments.common.language import speaking
from experiments.data.columns import literal, quote, shape
from experiments.data.contracts import Conventions, Source
from experiments.data.tables import Account, connect, noted, read, upgraded_account
from experiments.report.wording.accounts import account as said_of

OUTCOMES = "customer_id,returned,value\na,1,1.50\nb,0,0\n"
PARQUET = "SELECT 'a' AS customer_id, {} AS returned, {} AS value UNION ALL SELECT 'b', {}, {}"


@pytest.fixture
def door(tmp_path):
    """Return a function that writes a file and reads it through the door: (account, rows)."""

    def enter(content, *, table="outcomes", name="export.csv", decimals=2, source_table=None, **source):
        path = tmp_path / name
        if name.endswith(".parquet") and isinstance(content, str):
            duckdb.sql(f"COPY ({content}) TO {literal(path)} (FORMAT parquet)")
        elif content is not None:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with connect() as con:
            where = Source(file=name, table=source_table, **source)
            account = read(con, table, where, folder=tmp_path, conventions=Conventions(decimals=decimals))
            return account, con.execute(f"SELECT * FROM {table} ORDER BY ALL").fetchall()

    return enter


# What is read.
@pytest.mark.parametrize(
    ("content", "name"),
    [
        (OUTCOMES, "plain.csv"),
        ("\ufeff" + OUTCOMES, "with_a_bom.csv"),
        (OUTCOMES.replace("\n", "\r\n"), "with_windows_line_ends.csv"),
        ("\ufeff" + OUTCOMES.replace("\n", "\r\n").replace(",", ";"), "from_excel_with_semicolons.csv"),
        (OUTCOMES.replace(",", "\t"), "with_tabs.tsv"),
        (OUTCOMES.rstrip("\n"), "without_a_last_line_end.csv"),
        (OUTCOMES.replace("1.50", '"1.50"'), "quoted.csv"),
        (gzip.compress(OUTCOMES.encode()), "zipped.csv.gz"),
        (gzip.compress(("\ufeff" + OUTCOMES).encode()), "zipped_with_a_bom.csv.gz"),
        (PARQUET.format("true", "1.5::DOUBLE", "false", "0"), "with_doubles.parquet"),
        (PARQUET.format("1", "1.5::DECIMAL(9, 4)", "0", "0"), "with_decimals.parquet"),
        (PARQUET.format("'yes'", "'1.5'", "'no'", "'0'"), "with_texts.parquet"),
    ],
    ids=lambda value: value if str(value).startswith(("plain", "with", "from", "quoted", "zipped")) else "",
)
def test_the_same_rows_come_from_every_kind_of_file(door, content, name):
    account, rows = door(content, name=name)
    assert rows == [("a", True, 150), ("b", False, 0)]
    assert said_of(account) == "outcomes: kept all 2 rows"


def test_a_duckdb_file_is_read_by_the_name_of_its_table(door, tmp_path):
    with duckdb.connect(tmp_path / "company.duckdb") as con:
        con.execute("CREATE TABLE answers AS SELECT 'a' AS customer_id, true AS returned, 1.5 AS value")
    assert door(None, name="company.duckdb", source_table="answers")[1] == [("a", True, 150)]


def test_foreign_column_names_are_mapped_and_other_columns_left_behind(door):
    content = "Kunde,zurück,Umsatz EUR,note\na,yes,12,hello\n"
    columns = {"customer_id": "Kunde", "returned": "zurück", "value": "Umsatz EUR"}
    assert door(content, columns=columns)[1] == [("a", True, 1200)]


@pytest.mark.parametrize("name", ["None", "NULL", "NA", "nan", "n/a", "true", "007", "1e3"])
def test_an_offer_may_have_any_name_and_stays_text(door, name):
    content = f"customer_id,arm\nc1,{name}\nc2,discount\n"
    assert sorted(row[1] for row in door(content, table="assignments")[1]) == sorted([name, "discount"])


def test_a_customer_with_leading_zeros_keeps_them(door):
    assert [row[0] for row in door(OUTCOMES.replace("a,", "007,").replace("b,", "07,"))[1]] == ["007", "07"]


def test_a_customer_whose_number_begins_with_a_hash_is_no_comment(door):
    account, rows = door("customer_id,returned,value\n" + "b,0,0\n" * 50 + "#1,1,2\n")
    assert account.rows == 51
    assert ("#1", True, 200) in rows


@pytest.mark.parametrize(
    ("written", "cents"),
    [("0.29", 29), ("1.1", 110), ("-4.35", -435), ("1234567890123.45", 123456789012345), ("1e3", 100_000), ("7", 700)],
)
def test_money_is_exact_to_the_cent(door, written, cents):
    assert door(f"customer_id,returned,value\na,1,{written}\n")[1] == [("a", True, cents)]
    as_double = f"SELECT 'a' AS customer_id, true AS returned, {written}::DOUBLE AS value"
    assert door(as_double, name="double.parquet")[1] == [("a", True, cents)]


def test_money_knows_the_minor_unit_of_its_currency(door):
    assert [money_decimals(code) for code in ("USD", "JPY", "KWD")] == [2, 0, 3]
    assert door("customer_id,returned,value\na,1,1500\n", decimals=0)[1] == [("a", True, 1500)]
    assert door("customer_id,returned,value\na,1,1.234\nb,1,1.25\n", decimals=3)[1][:1] == [("a", True, 1234)]
    assert door("customer_id,returned,value\na,1,1.234\n", decimals=3, decimal=".")[1] == [("a", True, 1234)]


@pytest.mark.parametrize(
    ("written", "fmt"),
    [("2026-01-31", None), ("2026-01-31 23:59:59", None), ("31.01.2026", "%d.%m.%Y"), ("20260131", "%Y%m%d")],
)
def test_dates_are_read_as_written_or_by_the_format_of_the_sheet(door, written, fmt):
    rows = door(f"customer_id,at,amount\na,{written},5\n", table="purchases", dates=fmt)[1]
    assert rows == [("a", dt.date(2026, 1, 31), 500)]


def test_dates_kept_as_integers_are_read_when_the_sheet_tells_their_format(door):
    query = "SELECT 'a' AS customer_id, 20260131 AS at, 5.0 AS amount"
    rows = door(query, table="purchases", name="bills.parquet", dates="%Y%m%d")[1]
    assert rows == [("a", dt.date(2026, 1, 31), 500)]


@pytest.mark.parametrize(
    ("number", "cents"),
    [
        ("2::TINYINT", 200),
        ("400::SMALLINT", 40_000),
        ("30000000::INTEGER", 3_000_000_000),
        ("30000000::UINTEGER", 3_000_000_000),
        ("7::HUGEINT", 700),
        ("99.99::DECIMAL(4, 2)", 9_999),
        ("1234567.8::DECIMAL(8, 1)", 123_456_780),
        ("0.1::FLOAT", 10),
    ],
)
def test_money_of_every_numeric_type_is_exact(door, number, cents):
    query = f"SELECT 'a' AS customer_id, true AS returned, {number} AS value"
    assert door(query, name="export.parquet")[1] == [("a", True, cents)]


# What an empty cell and a missing value become: nothing in silence.
def test_an_empty_cell_of_an_optional_column_stays_empty(door):
    content = "customer_id,arm,stratum\nc1,A,x\nc2,B,\n"
    assert door(content, table="assignments")[1] == [("c1", "A", "x"), ("c2", "B", None)]


def test_an_empty_cell_is_filled_only_where_the_sheet_says_so_and_that_is_told(door, names):
    content = "customer_id,returned,value\na,1,\nb,0,0\nc,1,\n"
    account, rows = door(content, fill={"value": "29.38"})
    assert rows == [("a", True, 2938), ("b", False, 0), ("c", True, 2938)]
    assert said_of(account) == "outcomes: kept all 3 rows; 2 empty value filled with 29.38"


def test_a_text_that_means_missing_is_missing(door, names):
    content = "customer_id,returned,value\na,1,-999\nb,0,0\n"
    assert door(content)[1][0] == ("a", True, -99_900)  # a refund of 999 is a number like any other
    assert door(content, missing=["-999"])[1][0] == ("a", True, None)
    assert door(content, missing=["-999"], fill={"value": "5"})[1][0] == ("a", True, 500)


def test_a_missing_value_that_was_filled_is_counted_as_filled(door):
    account, _ = door("customer_id,returned,value\na,1,-999\nb,0,\n", missing=["-999"], fill={"value": "5"})
    assert said_of(account) == "outcomes: kept all 2 rows; 2 empty value filled with 5"


def test_a_number_that_means_missing_is_missing_in_parquet_too(door):
    query = "SELECT 'a' AS customer_id, true AS returned, -999.0::DOUBLE AS value"
    assert door(query, name="d.parquet", missing=["-999"], fill={"value": "5"})[1] == [("a", True, 500)]


@pytest.mark.parametrize("name", ["export.csv", "export.parquet"])
def test_a_fill_that_is_no_value_of_its_column_is_refused(door, names, name):
    query = "SELECT 'a' AS customer_id, true AS returned, NULL::DOUBLE AS value"
    content = query if name.endswith("parquet") else "customer_id,returned,value\na,1,\n"
    with pytest.raises(WinbackError, match=names("outcomes", "value", "none")):
        door(content, name=name, fill={"value": "none"})


def test_a_fill_for_a_misspelt_column_is_refused(door, names):
    with pytest.raises(WinbackError, match=names("outcomes", "'valu'", "Did you mean 'value'?")):
        door(OUTCOMES, fill={"valu": "0"})


# What is refused: table, column, rows, an example, the cure.
def test_a_missing_column_is_refused(door, names):
    parts = ("outcomes", "export.csv", "'customer_id'", "Did you mean 'custmer_id'?", "columns:")
    with pytest.raises(WinbackError, match=names(*parts)):
        door(OUTCOMES.replace("customer_id", "custmer_id"))


def test_a_mapped_column_that_is_not_in_the_file_is_refused(door, names):
    with pytest.raises(WinbackError, match=names("outcomes", "'amuont'", "Did you mean 'amount'?")):
        door(OUTCOMES.replace("value", "amount"), columns={"value": "amuont"})


def test_a_mapping_of_a_column_that_no_table_has_is_refused(door, names):
    with pytest.raises(WinbackError, match=names("outcomes", "'vallue'", "Did you mean 'value'?")):
        door(OUTCOMES, columns={"vallue": "value"})


def test_an_empty_file_is_refused(door, names):
    with pytest.raises(WinbackError, match=names("outcomes", "export.csv is empty", "header and rows")):
        door("")


@pytest.mark.parametrize("name", ["header.csv", "header.parquet"])
def test_a_file_with_a_header_and_no_rows_is_refused(door, names, name):
    query = "SELECT 'a' AS customer_id, true AS returned, 1.5 AS value WHERE false"
    with pytest.raises(WinbackError, match=names("outcomes", name, "no rows")):
        door(query if name.endswith("parquet") else "customer_id,returned,value\n", name=name)


def test_a_file_that_is_not_there_is_refused(door, names):
    with pytest.raises(WinbackError, match=names("outcomes", "nowhere.csv", "relative to the sheet")):
        door(None, name="nowhere.csv")


def test_a_file_of_another_kind_is_refused(door, names):
    with pytest.raises(WinbackError, match=names("outcomes", "export.json", "CSV", "Parquet", "DuckDB")):
        door(OUTCOMES, name="export.json")


def test_a_file_that_is_not_what_its_ending_says_is_refused(door, names):
    with pytest.raises(WinbackError, match=names("outcomes", "export.xlsx", "no spreadsheet that can be read")):
        door(OUTCOMES, name="export.xlsx")
    with pytest.raises(WinbackError, match=names("outcomes", "export.parquet", "cannot be read")):
        door(b"PAR1" + b"customer_id,returned,value\n" * 5, name="export.parquet")


def test_a_table_that_is_not_in_its_duckdb_file_is_refused(tmp_path, names):
    with duckdb.connect(tmp_path / "company.duckdb") as con:
        con.execute("CREATE TABLE answers AS SELECT 'a' AS customer_id")
    with connect() as con, pytest.raises(WinbackError, match=names("outcomes", "company.duckdb", "answres")):
        read(con, "outcomes", Source(file="company.duckdb", table="answres"), folder=tmp_path)


@pytest.mark.parametrize(
    "written", ["abc", "12 pieces", "nan", "inf", "0x10", "1e30", "12.5.0", '"1,50,000"', "1 23", "--5", "5-", "1e"]
)
def test_money_that_is_not_a_number_is_refused(door, names, written):
    parts = (
        "outcomes",
        "'value'",
        "1 of 3 rows",
        f"such as {shape(written.strip(chr(34)))}, the first in row 4",
        "1234.50",
    )
    with pytest.raises(WinbackError, match=names(*parts)):
        door(OUTCOMES + f"c,1,{written}\n")


def test_a_column_that_mixes_decimal_signs_is_refused(door, names):
    content = "customer_id;returned;value\na;1;1,5\nb;0;1.5\n"
    with pytest.raises(WinbackError, match=names("outcomes", "'value'", "1 of 2 rows", "9,9", "in one way")):
        door(content)


@pytest.mark.parametrize("value", ["'nan'::DOUBLE", "'inf'::DOUBLE", "'-inf'::FLOAT", "1e300::DOUBLE"])
def test_money_that_no_account_can_hold_is_refused_in_parquet_too(door, names, value):
    query = f"SELECT 'a' AS customer_id, true AS returned, {value} AS value UNION ALL SELECT 'b', false, 1.0"
    with pytest.raises(WinbackError, match=names("outcomes", "'value'", "1 of 2 rows")):
        door(query, name="export.parquet")


@pytest.mark.parametrize("value", ["true", "DATE '2026-01-01'", "[1, 2]"])
def test_a_column_of_parquet_with_the_wrong_type_is_refused(door, names, value):
    with pytest.raises(WinbackError, match=names("outcomes", "value")):
        door(f"SELECT 'a' AS customer_id, true AS returned, {value} AS value", name="export.parquet")


def test_a_date_where_yes_or_no_is_needed_is_refused(door, names):
    query = "SELECT 'a' AS customer_id, DATE '2026-01-01' AS returned, 1.0 AS value"
    with pytest.raises(WinbackError, match=names("outcomes", "returned")):
        door(query, name="export.parquet")


@pytest.mark.parametrize(("written", "cents"), [("1.0061", 101), ("1.0041", 100), ("-1.0061", -101)])
def test_money_with_more_digits_than_its_currency_is_rounded_to_the_nearest(door, written, cents):
    assert door(f"customer_id,returned,value\na,1,{written}\n")[1] == [("a", True, cents)]
    as_double = f"SELECT 'a' AS customer_id, true AS returned, {written}::DOUBLE AS value"
    assert door(as_double, name="double.parquet")[1] == [("a", True, cents)]


def test_a_negative_cost_is_refused(door, names):
    content = "customer_id,returned,value,cost\na,1,5,-3\nb,1,5,2\n"
    with pytest.raises(WinbackError, match=names("outcomes", "'cost'", "1 of 2 rows", "-9", "zero or more")):
        door(content)


def test_a_negative_value_is_a_refund_and_is_kept(door):
    assert door("customer_id,returned,value\na,1,-3\n")[1] == [("a", True, -300)]


@pytest.mark.parametrize("written", ["2026-02-30", "tomorrow", "", "infinity", "31.01.", "202601", "1769817600"])
def test_a_date_that_is_none_is_refused(door, names, written):
    example = f"such as {shape(written)}" if written else "an empty cell"
    content = f"customer_id,at,amount\na,{written},5\nb,2026-01-31,5\n"
    with pytest.raises(WinbackError, match=names("purchases", "'at'", "1 of 2 rows", example, "row 2", "dates:")):
        door(content, table="purchases")


@pytest.mark.parametrize(("written", "style"), [("20260131", "20251231"), ("46053", "46022"),
                                                ("31.01.2026", "31.12.2025")])  # fmt: skip
def test_a_date_that_fits_one_style_is_read_and_told(door, written, style):
    account, rows = door(f"customer_id,at,amount\na,{written},5\nb,{written},6\n", table="purchases")
    assert {row[1] for row in rows} == {dt.date(2026, 1, 31)}
    assert f"at is read as in {style}, which fits every row" in said_of(account)


def test_dates_as_integers_are_read_in_parquet_too(door):
    query = "SELECT 'a' AS customer_id, 20260131 AS at, 5.0 AS amount"
    assert door(query, table="purchases", name="bills.parquet")[1] == [("a", dt.date(2026, 1, 31), 500)]


def test_a_format_of_dates_that_does_not_exist_is_refused(door, names):
    with pytest.raises(WinbackError, match=names("purchases", "%Q")):
        door("customer_id,at,amount\na,2026-01-31,5\n", table="purchases", dates="%Q")


@pytest.mark.parametrize("written", ["maybe", "2", "ja"])
def test_a_flag_that_is_neither_yes_nor_no_is_refused(door, names, written):
    parts = ("outcomes", "'returned'", "1 of 3 rows", f"such as {shape(written)}", "row 4", "yes or no")
    with pytest.raises(WinbackError, match=names(*parts)):
        door(OUTCOMES + f"c,{written},1\n")


def test_a_row_without_a_customer_is_refused(door, names):
    with pytest.raises(WinbackError, match=names("outcomes", "'customer_id'", "1 of 3 rows", "empty cell")):
        door(OUTCOMES + ",1,1\n")


@pytest.mark.parametrize("row", ["c,1,1,9\n", "c,1\n"], ids=["too many cells", "too few cells"])
@pytest.mark.parametrize("before", [50, 60_000], ids=["early", "late"])
def test_a_row_with_another_number_of_cells_is_refused_and_its_line_named(door, names, row, before):
    content = "customer_id,returned,value\n" + "a,1,1.5\n" * before + row + "b,0,0\n" * 50
    with pytest.raises(WinbackError, match=names("outcomes", "export.csv", str(before + 2))):
        door(content)


@pytest.mark.parametrize("before", [0, 300_000], ids=["early", "late"])
def test_text_that_is_not_utf_8_is_refused(door, names, before):
    content = ("customer_id,returned,value\n" + "a,1,1.5\n" * before).encode() + "é,0,0\n".encode("latin-1")
    with pytest.raises(WinbackError, match=names("outcomes", "export.csv", "UTF-8")):
        door(content)


# Small things.
def test_the_engine_draws_no_progress_bar_into_a_notebook():
    # DuckDB takes a process without a script, such as a kernel, for a person at a terminal.
    code = (
        "from experiments.data.tables import connect\n"
        "with connect() as con:\n    print(con.execute(%r).fetchall()[0][0])"
    )
    setting = "SELECT current_setting('enable_progress_bar')"
    done = subprocess.run([sys.executable, "-c", code % setting], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_an_account_tells_where_every_row_went():
    account = Account(table="contacts", rows=966, kept=940, why=(noted("not_in_test"),))
    assert said_of(account) == "contacts: kept 940 of 966 rows; 26 left out: no such customer in this test"
    assert said_of(Account(table="contacts", rows=1_000, kept=1_000)) == "contacts: kept all 1,000 rows"


def test_an_account_is_facts_and_its_sentence_follows_the_language():
    account = Account(table="contacts", rows=1_966, kept=940, why=(noted("after", n=1_026, day="2026-03-01"),))
    with speaking("fr"):
        told = " ".join(said_of(account).split())  # without spaces that may not break
    assert told == "contacts: 940 lignes gardées sur 1 966 ; 1 026 écartées : 1 026 après le 2026-03-01"
    assert said_of(account) == "contacts: kept 940 of 1,966 rows; 1,026 left out: 1,026 after 2026-03-01"


def test_an_account_comes_back_from_json_and_one_of_an_earlier_version_is_shown_as_it_stands():
    kind = TypeAdapter(Account)
    notes = (noted("filled", n=2, column="value", text="5"), noted("future", n=1))
    account = Account(table="outcomes", rows=3, kept=2, notes=notes, last=dt.date(2026, 3, 1))
    assert kind.validate_json(kind.dump_json(account)) == account
    old = kind.validate_python(upgraded_account("contacts: kept 940 of 966 rows; 26 left out: no such customer"))
    assert said_of(old) == "contacts: kept 940 of 966 rows; 26 left out: no such customer"


def test_names_and_texts_cannot_break_out_of_their_quotes():
    with connect() as con:
        evil = """x' "); DROP TABLE y; --"""
        assert con.execute(f"SELECT {literal(evil)} AS {quote(evil)}").fetchall() == [(evil,)]


def test_a_column_name_with_quotes_and_spaces_is_only_a_name(door):
    content = 'customer_id,returned,"value ""net"" of tax"\na,1,2\n'
    assert door(content, columns={"value": 'value "net" of tax'})[1] == [("a", True, 200)]


@pytest.mark.parametrize("currency", ["dollars", "usd", "$", ""])
def test_a_currency_is_a_code_of_three_letters(names, currency):
    with pytest.raises(WinbackError, match=names(repr(currency), "ISO 4217")):
        money_decimals(currency)
