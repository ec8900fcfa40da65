"""What a spreadsheet may hold, what would exhaust the machine, and that no error shows what a cell says."""

import zipfile

import pytest
from xlsxwriter import Workbook

from experiments.common.errors import WinbackError
from experiments.data.contracts import Source
from experiments.data.spreadsheets import list_separator, read_list
from experiments.data.tables import connect, read

NAME, PHONE = "Zebulon Quark", "+49 171 5550199"


def book(path, rows, *, far=None, sheets=()):
    with Workbook(str(path)) as made:
        sheet = made.add_worksheet("Orders")
        for place, row in enumerate(rows):
            sheet.write_row(place, 0, row)
        if far:
            sheet.write(far, 1)
        for name in sheets:
            made.add_worksheet(name).write_row(0, 0, ["customer_id", "at", "amount"])
    return path


ROWS = [["customer_id", "at", "amount"], ["7", "2025-01-31", 5.5], ["8", "2025-02-01", 1234.5]]


def read_back(folder, name="b.xlsx", table="purchases", **source):
    with connect() as con:
        account = read(con, table, Source(file=name, **source), folder=folder)
        return account, con.execute(f"SELECT * FROM {table} ORDER BY ALL").fetchall()


def test_the_first_sheet_is_read_and_another_by_its_name(tmp_path):
    book(tmp_path / "b.xlsx", ROWS, sheets=["Old"])
    account, rows = read_back(tmp_path)
    assert [row[2] for row in rows] == [550, 123_450]
    assert [(note.key, note.facts["worksheet"]) for note in account.notes] == [("worksheet", "Orders")]
    with pytest.raises(WinbackError, match="has a header but no rows"):
        read_back(tmp_path, worksheet="Old")
    with pytest.raises(WinbackError, match=r"no sheet 'Odl'. Did you mean 'Old'"):
        read_back(tmp_path, worksheet="Odl")


def test_a_cell_far_from_all_others_is_refused_not_read_into_memory(tmp_path):
    book(tmp_path / "b.xlsx", ROWS, far="XFD1048576")
    with pytest.raises(WinbackError, match="a cell lies far from all others"):
        read_back(tmp_path)
    with pytest.raises(WinbackError, match="a cell lies far from all others"):
        list(read_list(tmp_path / "b.xlsx", wanted=["amount"], needed="customer_id"))


def test_a_workbook_that_unpacks_to_gigabytes_is_refused_unread(tmp_path):
    book(tmp_path / "small.xlsx", ROWS)
    with zipfile.ZipFile(tmp_path / "small.xlsx") as small, zipfile.ZipFile(tmp_path / "b.xlsx", "w") as large:
        for part in small.infolist():
            large.writestr(part, small.read(part))
        with large.open(zipfile.ZipInfo("xl/media/zeros.bin"), "w", force_zip64=True) as zeros:
            zeros.write(b"\0")
        large.infolist()[-1].file_size = 3 << 30  # as its directory says
    with pytest.raises(WinbackError, match="holds more than 2 GB"):
        read_back(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [("b.xlsx", b"customer_id\n1\n", "no spreadsheet"), ("b.xls", b"<html><table><tr><td>1", "is a web page"),
     ("b.xlsx", b"PK\x03\x04 broken", "no spreadsheet"), ("b.json", b"{}", "Export it as one"),
     ("b.csv", b"a,b\0,c\n1,2,3\n", "bytes of zero")],
)  # fmt: skip
def test_what_is_no_spreadsheet_is_told(tmp_path, name, content, told):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WinbackError, match=told):
        read_back(tmp_path, name)


SPOILT = {
    "no date": ["1", NAME, "5"],
    "no amount": ["1", "2025-01-31", PHONE],
    "an old day": ["1", "1925-01-31", "5"],
    "a later day": ["1", "2999-01-31", "5"],
    "several currencies": ["1", "2025-01-31", f"5 EUR {NAME}"],
    "more cells": ["1", "2025-01-31", "5", NAME, PHONE],
    "no customer": ["", "2025-01-31", "5"],
    "a quote": ["1", f'"{NAME}', "5"],
    "no flag": ["1", "2025-01-31", "5"],
}


@pytest.mark.parametrize("kind", SPOILT)
@pytest.mark.parametrize("header", [True, False], ids=["header", "headless"])
def test_no_error_shows_what_a_cell_says(tmp_path, kind, header):
    lines = [["customer_id", "at", "amount"]] if header else [[NAME, "2025-01-31", PHONE]]
    lines += [["0", "2025-01-30", "7"], SPOILT[kind], [NAME, "2025-02-01", "8 USD"]]
    (tmp_path / "b.csv").write_text("\n".join(map(",".join, lines)) + "\n", encoding="utf-8")
    for table in ("purchases", "outcomes", "contacts"):
        try:
            told = str(read_back(tmp_path, "b.csv", table)[0])
        except WinbackError as error:
            told = str(error)
        assert not any(part in told for part in ("Zebulon", "Quark", "5550199"))


def test_a_csv_for_spreadsheets_has_the_separator_of_its_language():
    assert [list_separator(language) for language in ("en", "fr", "ru")] == [",", ";", ";"]
