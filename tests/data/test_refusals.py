"""What no table may hold is refused in words that show no cell: a poisoned name and phone stand in every one."""

import datetime as dt
import gzip
import itertools
import struct
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from xlsxwriter import Workbook

from experiments.common.errors import Ambiguous, WinbackError
from experiments.data.contracts import Source
from experiments.data.spreadsheets import read_list
from experiments.data.tables import connect, read

NAME, PHONE = "Zebulon Quark", "+49 171 5550199"
PRIVATE = ("Zebulon", "Quark", "5550199")
HEADER = "customer_id,at,amount,order_id\n"
POISON = f"{NAME},2025-01-30,1.50,{PHONE}\n"
ROWS = POISON + "".join(f"c{n},2025-01-{n:02d},{n}.50,o{n}\n" for n in range(1, 12))
PLACE = "row 14"  # of a row added to these


@pytest.fixture
def refused(tmp_path):
    """Return a function that reads a file and returns its error, in which nothing private stands."""

    def why(content, name="t.csv", table="purchases", **source):
        if content is not None:
            (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        with connect(threads=1) as con, pytest.raises(WinbackError) as error:
            read(con, table, Source(file=name, **source), folder=tmp_path)
        told = str(error.value)
        assert not [part for part in PRIVATE if part in told]
        assert str(tmp_path) not in told
        assert len(told) < 500
        return error.value

    return why


# ---- cells


@pytest.mark.parametrize(
    ("added", "told"),
    [
        ("x,31.01.2025,5,o\n", f"'at': 1 of 13 rows are no date, such as 99.99.9999, the first in {PLACE}"),
        ("x,01/31/2025,5,o\n", "are no date"),
        (f"x,{NAME},5,o\n", "are no date, such as Aaaaaaa Aaaaa"),
        (f"x,2025-01-31 10:00 {NAME},5,o\n", "are no date"),
        (f"x,2025-01-31,{PHONE},o\n", f"no money, such as +99 999 9999999, the first in {PLACE}"),
        ("x,2025-01-31,1e13,o\nx,2025-01-31,1e15,o\n", "1 of 14 rows are no money"),
        ("x,2025-01-31,$5,o\nx,2025-01-31,5 €,o\n", "several currencies: EUR, USD"),
        ("1.23457E+11,2025-01-31,5,o\n", f"no customer, such as 9.99999A+99, the first in {PLACE}"),
        (",c5,2025-01-31,5\n", "an empty cell"),
        ("2025-01-31,5,o,c5\n", "are no date"),
        ("x,2025-01-31,5,o,y\n", "line 14: more cells than the header has names"),
        ("x,2025-01-31,5\n", "line 14: 3 cells where the header has 4"),
        (f'x,2025-01-31,5,"{NAME}\n' + POISON, "line 14: a quote is opened and not closed"),
        (f'"x,2025-01-31,5,{NAME}\n' + POISON, "line 14: a quote is opened and not closed"),
        (HEADER, f"{PLACE} is no customer but a line of totals or a second header"),
    ],
)  # fmt: skip
def test_a_row_that_does_not_fit_is_refused_with_its_place(refused, added, told):
    assert told in str(refused(HEADER + ROWS + added))


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("added", ["x,2025-01-31,5,o,Zebulon\n", "x,2025-01-31,5\n", '"x,2025-01-31,5,o\n'])
def test_a_row_far_below_is_refused_like_one_above(refused, added, zipped):
    content = (HEADER + ROWS * 60 + added + POISON).encode()
    told = str(refused(gzip.compress(content) if zipped else content, "t.csv.gz" if zipped else "t.csv"))
    assert "line 722" in told


@pytest.mark.parametrize(
    "dates", [("03/04/2025", "05/06/2025"), ("03-04-2025", "01-02-2025"), ("03/04/25", "05/06/25")]
)
def test_days_that_read_with_the_day_and_the_month_first_are_asked(refused, dates):
    error = refused(HEADER + "".join(f"{NAME},{day},5,{PHONE}\n" for day in dates))
    assert isinstance(error, Ambiguous)
    assert error.setting == "dates"
    assert len(error.choices) == 2


@pytest.mark.parametrize("number", ["1.234", "-1.234", "+1.234", "(1.234)", "$1.234", "1.234 EUR", '"1,234"'])
def test_a_thousand_or_a_fraction_is_asked(refused, number):
    error = refused(HEADER + f"{NAME},2025-01-31,{number},{PHONE}\nb,2025-01-31,5,o\n")
    assert isinstance(error, Ambiguous)
    assert error.setting == "decimal"


TOTALS = ["Total", "TOTAL:", "Grand total", "Subtotal", "Sub-total", "Total 2025", "Gesamt", "Summe", "Sous-total",
          "Total général", "Итого:", "Общий итог", "Промежуточный итог"]  # fmt: skip
KINDS = {
    "purchases": ("customer_id,at,amount", "c1,2025-01-30,5", "2025-01-31,5"),
    "customers": ("customer_id,name,nps", f"c1,{NAME},5", f"{NAME},5"),
    "outcomes": ("customer_id,returned,value", "c1,yes,5", "yes,5"),
    "contacts": ("customer_id,at,reached", "c1,2025-01-30,yes", "2025-01-31,yes"),
    "reasons": ("customer_id,reason", "c1,price", "price"),
    "assignments": ("customer_id,arm", "c1,A", "A"),
    "known_lost": ("customer_id,at", "c1,2025-01-30", "2025-01-31"),
}


@pytest.mark.parametrize("table", KINDS)
def test_a_line_of_totals_and_a_second_header_are_no_customers_of_any_table(refused, tmp_path, table):
    header, row, rest = KINDS[table]
    for word in TOTALS if table == "purchases" else ["Total", "Итого"]:
        assert "row 3 is no customer" in str(refused(f"{header}\n{row}\n{word},{rest}\n", table=table))
    assert "row 3 is no customer" in str(refused(f"{header}\n{row}\n{header}\n", table=table))
    (tmp_path / "t.csv").write_text(f"{header}\n{row}\nTotal Energies,{rest}\n", encoding="utf-8")
    with connect() as con:
        assert read(con, table, Source(file="t.csv"), folder=tmp_path).rows == 2


# ---- bytes


def _members(megabytes):
    return gzip.compress(f"{HEADER}{ROWS}a,2025-01-01,5,".encode()) + gzip.compress(b"x" * (1 << 20)) * megabytes


@pytest.mark.parametrize(
    ("content", "name", "told"),
    [
        (HEADER + ROWS + "c\0x,2025-01-01,5,o\n", "t.csv", "bytes of zero"),
        (HEADER + ROWS * 2_000 + "c\0x,2025-01-01,5,o\n", "t.csv", "bytes of zero"),
        ((HEADER + ROWS).encode("utf-32"), "t.csv", "bytes of zero"),
        ((HEADER + ROWS).encode("utf-16") + b"x", "t.csv", "not written in utf-16"),
        ((HEADER + ROWS).encode("utf-16") + b"\0\xd8", "t.csv", "not written in utf-16"),
        ((HEADER + ROWS + "é\n").encode() + "ü,".encode("latin-1"), "t.csv", "two encodings"),
        (gzip.compress((HEADER + ROWS).encode())[:-9], "t.csv.gz", "damaged or not whole"),
        (gzip.compress((HEADER + ROWS * 50).encode())[:60] + b"junk" * 9, "t.csv.gz", "damaged or not whole"),
        (gzip.compress((HEADER + ROWS).encode()) + NAME.encode(), "t.csv.gz", "damaged or not whole"),
        (gzip.compress(gzip.compress((HEADER + ROWS).encode())), "t.csv.gz", "bytes of zero"),
        (HEADER + ROWS + "a,2025-01-01,5," + "x" * 17_000_000, "t.csv", "a line is longer than"),
        (_members(20), "t.csv.gz", "a line is longer than"),
        (NAME * 60 + "\n" + ROWS, "t.csv", "has no header"),
        ("<html><body>" + NAME, "t.xls", "is a web page"),
        ("\ufeff\n<table><tr><td>" + NAME, "t.xls", "is a web page"),
        (f"<?xml version='1.0'?><Workbook>{NAME}</Workbook>", "t.xls", "is a web page"),
        ("<!DOCTYPE html>\n<html>" + NAME, "t.csv", "is a web page"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + NAME.encode() * 60, "t.xls", "no spreadsheet that can be read"),
        (b"PK\x03\x04" + NAME.encode() * 60, "t.xlsx", "no spreadsheet that can be read"),
        (NAME.encode() * 60, "t.xlsx", "no spreadsheet that can be read"),
        (b"PAR1" + NAME.encode() * 60, "t.parquet", "it is not whole"),
    ],
    ids=itertools.count(),  # bytes are no name: gzip's hold the second
)  # fmt: skip
def test_bytes_that_are_no_table_are_refused(refused, content, name, told):
    assert told in str(refused(content, name))


@pytest.mark.parametrize(
    ("written", "said", "told"),
    [
        ("utf-8", "cp1251", "but in utf-8"), ("utf-8-sig", "latin-1", "but in utf-8"),
        ("utf-8", "utf-16-le", "utf-16-le"), ("utf-16", "cp1251", "bytes of zero"),
        ("cp1251", "utf-8", "not written in utf-8"), ("cp1251", "utf-16", "not written in utf-16"),
        ("utf-8", "rot13", "nobody knows"), ("utf-8", "base64", "nobody knows"),
        ("utf-8", "unicode_escape", "nobody knows"), ("utf-8", "utf-7", "nobody knows"),
    ],
)  # fmt: skip
def test_an_encoding_that_lies_is_refused(refused, written, said, told):
    content = (HEADER + ROWS + "Клиент,2025-01-31,5,o\n").encode(written)
    assert told in str(refused(content, encoding=said))


def test_text_is_read_whatever_the_file_is_called(tmp_path):
    content = (HEADER + ROWS).encode()
    for name, data in {
        "a.xls": content.replace(b",", b"\t"), "b.csv": gzip.compress(content), "c.csv.gz": content,
        "d.csv.gz": gzip.compress(content[:200]) + gzip.compress(content[200:]),
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(data)
        with connect() as con:
            assert read(con, "purchases", Source(file=name), folder=tmp_path).rows == 12


# ---- workbooks

NAMESPACE = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
FAR = {
    "plain": '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>',
    "another order": '<row r="1048576"><c t="n" r="XFD1048576"><v>1</v></c></row>',
    "other quotes": "<row r='1048576'><c r='XFD1048576'><v>1</v></c></row>",
    "blanks": '<row r="1048576"><c  r = "XFD1048576"><v>1</v></c></row>',
    "small letters": '<row r="1048576"><c r="xfd1048576"><v>1</v></c></row>',
    "beyond": '<row r="9999999"><c r="ZZZ9999999"><v>1</v></c></row>',
}


def rewritten(folder, change, *, part="xl/worksheets/sheet1.xml", rename=None):
    """Write a workbook by a real writer, and one part of it anew: bytes, or pieces of them."""
    with Workbook(str(folder / "real.xlsx")) as book:
        sheet = book.add_worksheet("Orders")
        for place, row in enumerate([["customer_id", "at", "amount"], [NAME, "2025-01-31", PHONE]]):
            sheet.write_row(place, 0, row)
    with zipfile.ZipFile(folder / "real.xlsx") as real, zipfile.ZipFile(folder / "t.xlsx", "w", 8) as made:
        for one in real.infolist():
            content = real.read(one)
            if one.filename == part:
                content = change(content)
            elif rename and one.filename.endswith("workbook.xml.rels"):
                content = content.replace(part.removeprefix("xl/").encode(), rename.removeprefix("xl/").encode())
            name = rename if rename and one.filename == part else one.filename
            with made.open(name, "w") as file:
                for piece in [content] if isinstance(content, bytes) else content:
                    file.write(piece)
    return folder / "t.xlsx"


@pytest.mark.parametrize("written", FAR)
@pytest.mark.parametrize("rename", [None, "xl/elsewhere.xml"])
def test_a_cell_at_the_end_of_the_world_is_refused_however_its_tag_is_written(refused, tmp_path, written, rename):
    path = rewritten(tmp_path, lambda sheet: sheet.replace(b"</sheetData>", FAR[written].encode() + b"</sheetData>"),
                     rename=rename)  # fmt: skip
    assert "a cell lies far from all others" in str(refused(None, "t.xlsx"))
    with pytest.raises(WinbackError, match="a cell lies far from all others"):
        list(read_list(path, wanted=["amount"], needed="customer_id"))


def test_a_cell_of_a_gigabyte_is_refused_before_it_is_in_memory(refused, tmp_path):
    def endless(sheet):
        before, after = sheet.split(b"</sheetData>")
        yield before + b'<row r="3"><c r="A3" t="inlineStr"><is><t>'
        yield from (b"x" * (1 << 20) for _ in range(40))  # as a gigabyte would be: it is not read to its end
        yield b"</t></is></c></row></sheetData>" + after

    rewritten(tmp_path, endless)
    assert "more than a million letters" in str(refused(None, "t.xlsx"))


@pytest.mark.parametrize(
    ("says", "told"), [(10, "no spreadsheet that can be read"), (0xFFFF_FFF0, "holds more than 2 GB")]
)
def test_a_part_that_lies_about_its_size_is_refused(refused, tmp_path, says, told):
    content = bytearray(rewritten(tmp_path, lambda sheet: sheet).read_bytes())
    entry = content.rfind(b"xl/worksheets/sheet1.xml") - 46  # of the directory at the end
    content[entry + 24 : entry + 28] = struct.pack("<I", says)
    assert told in str(refused(bytes(content), "t.xlsx"))


def test_a_workbook_cut_in_half_is_refused(refused, tmp_path):
    content = rewritten(tmp_path, lambda sheet: sheet).read_bytes()
    assert "no spreadsheet that can be read" in str(refused(content[: len(content) // 2], "t.xlsx"))


def _ods(folder, rows):
    """Write the smallest ODS by hand: no library here writes one."""
    kinds = 'xmlns:{0}="urn:oasis:names:tc:opendocument:xmlns:{0}:1.0"'
    names = " ".join(kinds.format(kind) for kind in ("office", "table", "text"))
    manifest = '<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>'
    with zipfile.ZipFile(folder / "t.ods", "w", 8) as made:
        made.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        made.writestr("META-INF/manifest.xml", manifest)
        made.writestr(
            "content.xml",
            f"<office:document-content {names}><office:body><office:spreadsheet><table:table "
            f'table:name="S">{rows}</table:table></office:spreadsheet></office:body></office:document-content>',
        )


def _row(*cells, more=""):
    inside = "".join(
        f'<table:table-cell office:value-type="string"><text:p>{cell}</text:p></table:table-cell>' for cell in cells
    )
    return f"<table:table-row{more}>{inside}</table:table-row>"


def test_a_row_of_ods_that_is_repeated_without_end_is_refused(refused, tmp_path):
    head = _row("customer_id", "at", "amount") + _row("a", "2025-01-31", "5.50")
    for times in (1_000_000, 1_000_000_000):
        _ods(tmp_path, head + _row(NAME, "2025-01-31", "5", more=f' table:number-rows-repeated="{times}"'))
        assert "repeated without end" in str(refused(None, "t.ods"))
    empty = '<table:table-cell table:number-columns-repeated="16384"/>'
    _ods(tmp_path, f'{head}<table:table-row table:number-rows-repeated="1048570">{empty}</table:table-row>')
    with connect() as con:
        assert read(con, "purchases", Source(file="t.ods"), folder=tmp_path).rows == 1


def test_a_workbook_with_a_password_is_told(refused):
    # The directory of an OLE file that holds an encrypted package, as office programs write it.
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16) + struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6) + bytes(6)
    header += struct.pack("<IIIIIIIII", 0, 1, 1, 0, 4096, 0xFFFFFFFE, 0, 0xFFFFFFFE, 0)
    header += struct.pack("<I", 0) + b"\xff" * (512 - len(header) - 4)
    fat = struct.pack("<III", 0xFFFFFFFD, 0xFFFFFFFE, 0xFFFFFFFE) + b"\xff" * 500

    def entry(name, kind, child, start=0xFFFFFFFE, size=0):
        text = (name + "\0").encode("utf-16-le")
        return (text.ljust(64, b"\0") + struct.pack("<HBBIII", len(text), kind, 1, 0xFFFFFFFF, 0xFFFFFFFF, child)
                + bytes(36) + struct.pack("<IQ", start, size))  # fmt: skip

    folder = entry("Root Entry", 5, 1) + entry("EncryptedPackage", 2, 0xFFFFFFFF, 2, 512) + bytes(256)
    told = str(refused(header + fat + folder + NAME.encode().ljust(512, b"\0"), "t.xlsx"))
    assert "no spreadsheet that can be read" in told
    assert "password" in told


# ---- Parquet


def parquet(folder, **columns):
    given = {
        "customer_id": pa.array(["a", NAME]),
        "at": pa.array([dt.date(2025, 1, 31)] * 2),
        "amount": pa.array([5.5, 6.5]),
    }
    pq.write_table(pa.table(given | columns), folder / "t.parquet")


def no_unicode():
    text = f"{NAME}\ud800{PHONE}".encode("utf-8", "surrogatepass")
    ends = pa.py_buffer(struct.pack("<3i", 0, len(text), len(text) + 2))
    return pa.Array.from_buffers(pa.string(), 2, [None, ends, pa.py_buffer(text + b"ok")])


@pytest.mark.parametrize("column", ["customer_id", "amount", "order_id", "line"])
def test_what_is_no_unicode_is_refused_in_every_column_that_is_read(refused, tmp_path, column):
    parquet(tmp_path, **{column: no_unicode()})
    assert "no Unicode" in str(refused(None, "t.parquet"))


@pytest.mark.parametrize(
    ("column", "values", "told"),
    [
        ("customer_id", pa.array([1.0, 2.0**53]), "no customer"),
        ("customer_id", pa.array([1.0, 2.0**24 + 2], pa.float32()), "no customer"),
        ("customer_id", pa.array([1.0, float("nan")]), "no customer"),
        ("customer_id", pa.array([1.0, 2.5]), "no customer"),
        ("customer_id", pa.array(["", "b"]), "an empty cell"),
        ("customer_id", pa.array(["Total", "b"]), "line of totals"),
        ("customer_id", pa.array([{"a": 1}, {"a": 2}]), "holds STRUCT"),
        ("customer_id", pa.array([b"Zebulon", b"b"]), "holds BLOB"),
        ("amount", pa.array([[1], [2]]), "holds BIGINT[]"),
        ("amount", pa.array(["5", NAME]), "no money, such as Aaaaaaa Aaaaa, the first in row 2"),
        ("amount", pa.array(["5", "1e15"]), "no money"),
        ("at", pa.array([dt.time(1), dt.time(2)]), "holds TIME"),
    ],
)  # fmt: skip
def test_a_column_of_parquet_that_cannot_be_its_kind_is_refused(refused, tmp_path, column, values, told):
    parquet(tmp_path, **{column: values})
    assert told in str(refused(None, "t.parquet"))


def test_whole_numbers_are_customers_as_far_as_their_type_is_exact(tmp_path):
    parquet(tmp_path, customer_id=pa.array([1, 9_007_199_254_740_993], pa.decimal128(20, 0)))
    with connect() as con:
        read(con, "purchases", Source(file="t.parquet"), folder=tmp_path)
        assert con.execute("SELECT max(customer_id) FROM purchases").fetchall() == [(9_007_199_254_740_993,)]


def test_a_word_is_proposed_only_where_several_rows_have_it(refused):
    header = "customer_id,complaint\n"
    told = str(refused(f"{header}a,offen\nb,offen\nc,{NAME}\n", table="customers"))
    assert "{complaint: {offen: ...}}" in told
