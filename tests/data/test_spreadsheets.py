"""Lists for spreadsheets: nothing in them runs, and what goes in comes out again."""

import csv
import datetime as dt
import hashlib
import io
import re
import zipfile

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from experiments.common.errors import WinbackError
from experiments.data import spreadsheets
from experiments.data.spreadsheets import Column, plain, read_list, safe, write_list

COLUMNS = (
    Column(name="caller"), Column(name="day", kind="date"), Column(name="customer_id"),
    Column(name="words", kind="words"), Column(name="reached", kind="flag", fill_in=True),
    Column(name="accepted_at", kind="date", fill_in=True),
)  # fmt: skip
DAY = dt.date(2026, 3, 2)
# What names of customers and reasons may hold; most of it has run on somebody's machine.
NASTY = [
    '=HYPERLINK("http://evil","click")', "=cmd|'/C calc'!A0", "+1+1", "-5", "@SUM(1)", "\t=1", "\r=1", "\n=1", "  =1",
    '"=1"', '""=1', "'=1", "''=1", "'t Hooft", "a;=1+1", 'a,"=1', "a\t=1", "a|@x", "x\n=1", "x\r\n-1", ";+1",
    "\uff1d1+1", "\ufeff=1", "\u00a0=1", "{=1+1}", "http://evil", "mailto:x@y", "007", "1e5", "TRUE", "2026-01-01", "=",
    "-", "", 'O"Neill', "a\x01b", "_x0041_", "Ü 🙂", "NULL", "\\N", "=1'", "';=1", "0", " lead", "trail ", "%s {x}",
]  # fmt: skip
RUNS = re.compile(r"[ \"\u00a0\ufeff]*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n\0]")  # how a cell must not begin


def rows_of(texts, caller="Ann"):
    return [(caller, DAY, text, text, None, None) for text in texts]


def write(path, texts, **more):
    return write_list(path, rows_of(texts), columns=COLUMNS, sheet_by="caller", **more)


def ids(path):
    return [row["customer_id"] for row in read_list(path, wanted=["customer_id", "reached"], needed="customer_id")]


def begins_as_formula(cell):
    return bool(RUNS.match(cell))


# ---- no formula


@example(text=';"=1')
@example(text="'=1")
@given(text=st.text(alphabet=st.sampled_from(list("=+-@\t\r\n\0,;|'\" aé\uff1d\u00a0\ufeff")), max_size=12))
def test_what_is_made_safe_is_no_formula_and_can_be_made_plain_again(text):
    assert not begins_as_formula(safe(text))
    assert plain(safe(text)) == text
    assert safe(text).replace("'", "") == text.replace("'", "")  # nothing but apostrophes is added


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("opened_as", [",", ";", "\t", "|"])
def test_no_cell_of_a_csv_is_a_formula_whatever_it_is_opened_as(tmp_path, separator, opened_as):
    write(tmp_path / "list.csv", NASTY, separator=separator)
    text = (tmp_path / "list.csv").read_bytes().decode("utf-8-sig")
    found = [cell for row in csv.reader(io.StringIO(text, newline=""), delimiter=opened_as) for cell in row]
    assert [cell for cell in found if begins_as_formula(cell)] == []


def test_the_naive_way_an_apostrophe_before_the_first_sign_runs_where_semicolons_separate():
    naive = csv.writer(out := io.StringIO(), quoting=csv.QUOTE_ALL)
    naive.writerow(["'=first", "a;=1+1"])
    found = [cell for row in csv.reader(io.StringIO(out.getvalue()), delimiter=";") for cell in row]
    assert [cell for cell in found if begins_as_formula(cell)]


def test_every_cell_of_a_workbook_is_text_and_stays_text_when_edited(tmp_path):
    write(tmp_path / "list.xlsx", NASTY)
    with zipfile.ZipFile(tmp_path / "list.xlsx") as book:
        parts = {name: book.read(name).decode() for name in book.namelist()}
    (sheet,) = (text for name, text in parts.items() if "worksheets/sheet" in name)
    rows = sheet[sheet.index("<sheetData>") : sheet.index("</sheetData>")]
    assert not re.search(r"<f[ >]|<hyperlink", rows)
    assert set(re.findall(r'<c r="[CD]\d+"[^>]* t="(\w+)"', rows)) == {"inlineStr"}
    assert not [name for name in parts if "rels" in name and "hyperlink" in parts[name]]
    assert 'quotePrefix="1"' in parts["xl/styles.xml"]
    assert 'numFmtId="49"' in parts["xl/styles.xml"]  # text


# ---- and back


@pytest.mark.parametrize("name", ["list.csv", "list.xlsx"])
def test_what_goes_in_comes_out(tmp_path, name):
    texts = [text for text in NASTY if text]
    assert write(tmp_path / name, texts) == len(texts)
    assert ids(tmp_path / name) == texts


@pytest.mark.parametrize("name", ["list.csv", "list.xlsx"])
def test_the_same_list_is_the_same_file_to_the_byte(tmp_path, name):
    digests = set()
    for _ in range(2):
        write(tmp_path / name, NASTY, replace=True)
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert len(digests) == 1


def test_a_csv_tells_spreadsheets_that_it_is_utf_8(tmp_path):
    write(tmp_path / "list.csv", ["Ü"])
    assert (tmp_path / "list.csv").read_bytes().startswith(b"\xef\xbb\xbf")


def test_a_workbook_has_a_sheet_a_caller_a_header_in_sight_widths_and_prints_on_pages(tmp_path):
    from python_calamine import CalamineWorkbook

    callers = ["Ann", "ann ", "A/B: [x]", "Z" * 40, "Z" * 40 + "2", "History", "'quoted'", "B & Co"]
    rows = [row for caller in callers for row in rows_of(["1", "2"], caller)]
    write_list(tmp_path / "list.xlsx", rows, columns=COLUMNS, sheet_by="caller")
    names = CalamineWorkbook.from_path(str(tmp_path / "list.xlsx")).sheet_names
    assert names == ["Ann", "ann 2", "A B x", "Z" * 31, "Z" * 25 + " 2", "History 2", "quoted", "B & Co"]
    with zipfile.ZipFile(tmp_path / "list.xlsx") as book:
        sheet = book.read("xl/worksheets/sheet8.xml").decode()
    for part in ('state="frozen"', 'orientation="landscape"', 'fitToHeight="0"', 'gridLines="1"', "<autoFilter",
                 "<dataValidation ", "B &amp;&amp; Co", 'width="60.7109375"'):  # fmt: skip
        assert part in sheet
    assert ids(tmp_path / "list.xlsx") == ["1", "2"] * len(callers)


def test_a_row_is_as_high_as_its_words_are_long(tmp_path):
    write(tmp_path / "list.xlsx", ["short", "word " * 40, "x" * 20_000])
    with zipfile.ZipFile(tmp_path / "list.xlsx") as book:
        sheet = book.read("xl/worksheets/sheet1.xml").decode()
    heights = dict(re.findall(r'<row r="(\d+)" ht="([\d.]+)"', sheet))
    assert heights == {"3": "150", "4": "405"}  # 200 letters in 24 a line, some left over; at most 409; row 2: as usual


def test_an_empty_list_is_a_header(tmp_path):
    for name in ("list.csv", "list.xlsx"):
        assert write(tmp_path / name, []) == 0
        assert ids(tmp_path / name) == []


def test_cells_of_a_filled_workbook_become_plain_texts(tmp_path):
    from xlsxwriter import Workbook

    with Workbook(str(tmp_path / "filled.xlsx")) as book:
        date = book.add_format({"num_format": "dd.mm.yy"})
        sheet = book.add_worksheet()
        for place, name in enumerate(("note", "customer_id", "reached", "accepted_at")):
            sheet.write(2, 3 + place, name)  # not at the top left
        sheet.write_row(3, 3, ["x", 7, True])
        sheet.write_datetime(3, 6, dt.datetime.fromisoformat("2026-03-02T14:30"), date)
        sheet.write_row(4, 3, ["x", 1.5, "no"])
        book.add_worksheet("notes").write(0, 0, "nothing to read here")
    rows = list(
        read_list(tmp_path / "filled.xlsx", wanted=["customer_id", "reached", "accepted_at"], needed="customer_id")
    )
    assert rows == [{"customer_id": "7", "reached": "yes", "accepted_at": "2026-03-02 14:30:00"},
                    {"customer_id": "1.5", "reached": "no", "accepted_at": None}]  # fmt: skip


# ---- refused


def test_a_list_that_somebody_may_have_written_into_is_not_overwritten(tmp_path):
    write(tmp_path / "list.csv", ["1"])
    with pytest.raises(
        WinbackError, match=r"list.csv is there already, and somebody may have written into it. Import it"
    ):
        write(tmp_path / "list.csv", ["2"])
    assert ids(tmp_path / "list.csv") == ["1"]


@pytest.mark.parametrize("name", ["list.csv", "list.xlsx"])
def test_a_list_is_written_whole_or_not_at_all(tmp_path, name):
    def breaks():
        yield from rows_of(["1", "2"])
        raise KeyboardInterrupt

    write(tmp_path / name, ["old"])
    with pytest.raises(KeyboardInterrupt):
        write_list(tmp_path / name, breaks(), columns=COLUMNS, sheet_by="caller", replace=True)
    assert ids(tmp_path / name) == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_what_does_not_fit_into_a_workbook_is_refused(tmp_path, monkeypatch):
    with pytest.raises(
        WinbackError, match="Row 2, column 'customer_id' has 32,768 characters, a cell holds 32,767: 'xxx"
    ):
        write(tmp_path / "list.xlsx", ["1", "x" * 32_768])
    monkeypatch.setattr(spreadsheets, "MOST_ROWS", 3)
    with pytest.raises(WinbackError, match=r"A sheet holds 3 rows, and a caller has more. Write the list as CSV"):
        write(tmp_path / "list.xlsx", list("1234"))
    assert list(tmp_path.iterdir()) == []


def test_other_endings_and_separators_are_refused(tmp_path):
    with pytest.raises(WinbackError, match=r"'list.xls' is neither .csv nor .xlsx. Did you mean '.xlsx'"):
        write(tmp_path / "list.xls", ["1"])
    with pytest.raises(WinbackError, match="separator is ' '"):
        write(tmp_path / "list.csv", ["1"], separator=" ")
    (tmp_path / "file").write_text("")
    with pytest.raises(WinbackError, match=r"list.csv cannot be written: File exists"):
        write(tmp_path / "file" / "list.csv", ["1"])


@pytest.mark.parametrize(("name", "content", "told"), [
    ("a.csv", b"", "a.csv is empty"),
    ("a.csv", b"customer_id;reached\n\xfc;yes\n", "is not UTF-8 text, and nobody can tell what it is"),
    ("a.csv", b'customer_id;reached\n"1"x;"yes\n', "line 2: .* Export it again"),
    ("a.csv", b"client;reached\n1;yes\n", "has no column 'customer_id'"),
    ("a.csv", b"customer_id;reached;reached\n1;yes;no\n", "two columns called 'reached'"),
    ("a.xlsx", b"PK no book", "is no spreadsheet that can be read"),
    ("a.xlsx", b"", "is no spreadsheet that can be read"),
    ("a.csv", None, "There is no list"),
])  # fmt: skip
def test_what_cannot_be_read_is_told_with_the_cure(tmp_path, name, content, told):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(WinbackError, match=told):
        ids(tmp_path / name)
