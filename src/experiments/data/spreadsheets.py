"""Lists that people open in a spreadsheet: written as CSV and XLSX that cannot run anything, and read back as text."""

from __future__ import annotations

import csv
import datetime as dt
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from experiments.common.errors import WinbackError, did_you_mean, short
from experiments.common.files import whole_file
from experiments.data import text_files, workbooks

if TYPE_CHECKING:
    from xlsxwriter.format import Format
    from xlsxwriter.workbook import Workbook
    from xlsxwriter.worksheet import Worksheet

Row = Sequence[object]
Kind = Literal["text", "words", "date", "flag"]

# A spreadsheet takes a cell that begins so for a formula, some after blanks, some in full width. A file separated by
# commas may be opened as one separated by semicolons, so a cell may begin after any separator, and then quotes.
BLANK = r"[^\S\t\r\n]|[\"\u200b-\u200f\u2060\ufeff]"
FORMULA = rf"(?:{BLANK})*[=+\-@\uff1d\uff0b\uff0d\uff20]"
DANGER = re.compile(rf"(?:\A(?='*(?:{FORMULA}|[\t\r\n\0]))|(?<=[,;|\t\r\n])(?='*{FORMULA}))")
ESCAPED = re.compile(rf"(?:\A'(?='*(?:{FORMULA}|[\t\r\n\0]))|(?<=[,;|\t\r\n])'(?='*{FORMULA}))")
SIGN = re.compile(r"[=+\-@\uff1d\uff0b\uff0d\uff20\t\r\n\0]")  # without one of them there is no danger
LONGEST = 32_767  # characters in a cell of XLSX
MOST_ROWS = 1_048_575  # rows of a sheet of XLSX, below its header
WIDTHS = {"text": 24, "words": 60, "date": 11, "flag": 9}  # characters, at most
LINE = 15  # points: the height of a line
MOST_LINES = 27  # that a row can be high
MARGIN = 0.4  # inches of the paper
SHEET_NAME = 31  # characters of a sheet's name
SAMPLE = 200  # rows that tell how wide a column must be
A4 = 9  # as XLSX counts paper


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a list."""

    name: str
    kind: Kind = "text"
    fill_in: bool = False  # for the reader to write into


def list_separator(language: str) -> str:
    """Return what separates cells in a CSV for spreadsheets of a language: where the comma is decimal, a semicolon.

    >>> list_separator("en"), list_separator("fr")
    (',', ';')
    """
    from babel import Locale

    return ";" if Locale.parse(language).number_symbols["latn"]["decimal"] == "," else ","


def safe(text: str) -> str:
    r"""Return a text that no spreadsheet takes for a formula, whatever it takes for a separator.

    An apostrophe goes before what would begin a formula; `plain` takes it off again.

    >>> safe('=HYPERLINK("x")'), safe("-5"), safe("Ann;=1+1"), safe("'t Hooft")
    ('\'=HYPERLINK("x")', "'-5", "Ann;'=1+1", "'t Hooft")
    """
    return DANGER.sub("'", text) if SIGN.search(text) else text


def plain(text: str) -> str:
    """Return the text that `safe` was given.

    >>> plain("'-5"), plain("'t Hooft")
    ('-5', "'t Hooft")
    """
    return ESCAPED.sub("", text)


def write_list(
    path: Path,
    rows: Iterable[Row],
    *,
    columns: Sequence[Column],
    sheet_by: str,
    separator: str = ",",
    about: str = "",
    replace: bool = False,
) -> int:
    """Write rows as CSV or XLSX, by the ending of the path; return how many. Whole or not at all, in a row at a time.

    CSV: UTF-8 with a mark so that spreadsheets know it, every cell in quotes. XLSX: every text is text, one sheet for
    each value of the column `sheet_by`, by which the rows must be ordered. A file that is there is not overwritten
    unless `replace`: somebody may have written into it. Raises WinbackError.
    """
    write = WRITERS.get(path.suffix.lower())
    if write is None:
        raise WinbackError(f"{path.name!r} is neither .csv nor .xlsx. {did_you_mean(path.suffix, WRITERS)}")
    if separator not in (",", ";", "\t"):
        raise WinbackError(f"The separator is {separator!r}. Use a comma, a semicolon or a tab.")
    if path.exists() and not replace:
        raise WinbackError(f"{path.name} is there already, and somebody may have written into it. Import it first, "
                           "then give another name, or `--replace`.")  # fmt: skip
    try:
        with whole_file(path, private=True) as part:
            written = write(part, rows, columns, columns.index(_named(columns, sheet_by)), separator, about)
    except OSError as error:
        raise WinbackError(f"{path.name} cannot be written: {error.strerror or error}. Close it where it is open, and "
                           "see that the disk has room.") from None  # fmt: skip
    return written


def _named(columns: Sequence[Column], name: str) -> Column:
    return next(column for column in columns if column.name == name)


def _write_csv(
    path: Path, rows: Iterable[Row], columns: Sequence[Column], _by: int, separator: str, _about: str
) -> int:
    written = 0
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file, delimiter=separator, quoting=csv.QUOTE_ALL)
        writer.writerow([safe(column.name) for column in columns])
        for row in rows:
            writer.writerow([safe(cell) if isinstance(cell, str) else _text(cell) for cell in row])
            written += 1
    return written


def _text(cell: object) -> str:
    return "" if cell is None else cell.isoformat() if isinstance(cell, dt.date) else str(cell)


# ---- XLSX


def _write_xlsx(
    path: Path, rows: Iterable[Row], columns: Sequence[Column], by: int, _separator: str, about: str
) -> int:
    from xlsxwriter import Workbook
    from xlsxwriter.exceptions import XlsxWriterException

    written, names = 0, _Names()
    try:
        with Workbook(str(path), {"constant_memory": True}) as book:  # rows go to the disk as they come
            # A fixed day: the same list is the same file, to the byte.
            book.set_properties({"title": about, "created": dt.datetime(2000, 1, 1)})  # noqa: DTZ001  no zone in XLSX
            page = _Page(book, columns)
            for key, group in groupby(rows, key=lambda row: row[by]):
                written += page.write(names.sheet(_text(key)), group, _text(key) or about)
            if not written:
                page.write(names.sheet("empty"), (), about)
    except XlsxWriterException as error:
        raise OSError(str(error).splitlines()[0]) from None
    return written


class _Names:
    """Names of sheets: at most 31 characters, some signs forbidden, none twice whatever the case."""

    def __init__(self) -> None:
        self._taken = {"history"}  # Excel keeps it for itself

    def sheet(self, text: str) -> str:
        clean = " ".join(re.sub(r"[\[\]:*?/\\\x00-\x1f]", " ", text).split()).strip("'") or "list"
        name, number = clean[:SHEET_NAME].rstrip("'"), 1
        while name.casefold() in self._taken:
            number += 1
            name = f"{clean[: SHEET_NAME - 6]} {number}"
        self._taken.add(name.casefold())
        return name


class _Page:
    """A workbook whose sheets all look alike."""

    def __init__(self, book: Workbook, columns: Sequence[Column]) -> None:
        self._book, self._columns = book, columns
        # Format 49 is text; it and the quote keep a text a text even after somebody edits the cell.
        text = {"num_format": 49, "quote_prefix": True, "valign": "top", "text_wrap": True}
        self._head = book.add_format({"bold": True, "bottom": 1, "valign": "top", "text_wrap": True})
        self._formats: dict[Kind, Format] = {
            "text": book.add_format(text),
            "words": book.add_format(text),
            "date": book.add_format({"num_format": "yyyy-mm-dd", "align": "left", "valign": "top"}),
            "flag": book.add_format({"valign": "top"}),
        }

    def write(self, name: str, rows: Iterable[Row], about: str) -> int:
        """Write a sheet; return its number of rows."""
        sheet = self._book.add_worksheet(name)
        for place, column in enumerate(self._columns):
            sheet.write_string(0, place, column.name, self._head)
        widths, written = [len(column.name) for column in self._columns], 0
        for row in rows:
            written += 1
            self._refuse(written, row)
            sheet.set_row(written, LINE * self._lines(row))
            for place, (cell, column) in enumerate(zip(row, self._columns, strict=True)):
                self._cell(sheet, (written, place), cell, column)
            if written <= SAMPLE:
                widths = [max(width, len(_text(cell))) for width, cell in zip(widths, row, strict=True)]
        self._shape(sheet, written, widths, about)
        return written

    def _lines(self, row: Row) -> int:
        """Return how many lines a row needs; not every spreadsheet finds out by itself."""
        # A tenth less than fits: words break lines early.
        needed = (
            ceil(len(cell) / (0.9 * WIDTHS[column.kind]))
            for cell, column in zip(row, self._columns, strict=True)
            if isinstance(cell, str)
        )
        return min(MOST_LINES, max(needed, default=1) or 1)

    def _cell(self, sheet: Worksheet, at: tuple[int, int], cell: object, column: Column) -> None:
        if isinstance(cell, dt.date):
            sheet.write_datetime(*at, cell, self._formats["date"])
        elif cell is not None:  # as a text: nothing is guessed, no formula, no link, no number
            sheet.write_string(*at, str(cell), self._formats["text" if column.kind == "date" else column.kind])

    def _refuse(self, number: int, row: Row) -> None:
        if number > MOST_ROWS:
            raise WinbackError(f"A sheet holds {MOST_ROWS:,} rows, and a caller has more. Write the list as CSV.")
        for cell, column in zip(row, self._columns, strict=True):
            if isinstance(cell, str) and len(cell) > LONGEST:
                raise WinbackError(
                    f"Row {number}, column {column.name!r} has {len(cell):,} characters, a cell holds "
                    f"{LONGEST:,}: {short(cell, 40)!r}. Shorten it, or write CSV."
                )

    def _shape(self, sheet: Worksheet, rows: int, widths: Sequence[int], about: str) -> None:
        """Set widths, what may be filled in, what stays in sight, how it prints."""
        for place, (column, width) in enumerate(zip(self._columns, widths, strict=True)):
            measured = column.kind == "text" and not column.fill_in
            fit = min(width + 2, WIDTHS["text"]) if measured else WIDTHS[column.kind]
            # The format of the column is that of what will be written into its empty cells.
            sheet.set_column(place, place, max(fit, len(column.name) + 2), self._formats[column.kind])
            if column.fill_in and rows and column.kind in CHECKED:
                sheet.data_validation(1, place, rows, place, dict(CHECKED[column.kind]))
        sheet.freeze_panes(1, 0)
        sheet.autofilter(0, 0, rows, len(self._columns) - 1)
        sheet.ignore_errors({"number_stored_as_text": f"A1:XFD{MOST_ROWS}"})
        sheet.set_landscape()
        sheet.set_paper(A4)
        sheet.set_margins(left=MARGIN, right=MARGIN)
        sheet.fit_to_pages(1, 0)
        sheet.hide_gridlines(0)  # printed too: a caller writes into cells
        sheet.repeat_rows(0)
        sheet.set_header(f"&L{short(about, 100).replace('&', '&&')}&R&P / &N")


CHECKED: Mapping[Kind, Mapping[str, Any]] = {
    "flag": {"validate": "list", "source": ["yes", "no"], "error_title": "yes or no",
             "error_message": "Write yes or no."},
    "date": {"validate": "date", "criteria": ">=", "value": dt.date(2000, 1, 1), "error_title": "A date",
             "error_message": "Write a date, such as 2026-01-31."},
}  # fmt: skip
WRITERS: dict[str, Callable[[Path, Iterable[Row], Sequence[Column], int, str, str], int]] = {
    ".csv": _write_csv,
    ".xlsx": _write_xlsx,
}


# ---- reading


def read_list(path: Path, *, wanted: Collection[str], needed: str) -> Iterator[dict[str, str | None]]:
    """Return the rows of a filled list as texts, the wanted columns of each; an empty cell is None.

    CSV, whose apostrophes that `safe` wrote are taken off, or a spreadsheet (XLSX, XLS, ODS), of which every sheet
    with the column `needed` is read. Raises WinbackError for a file that cannot be read.
    """
    if not path.is_file():
        raise WinbackError(f"There is no list {str(path)!r}. Give the file that the callers filled in.")
    is_text = path.suffix.lower() in (".csv", ".tsv", ".txt")
    read, told = (_read_csv(path, needed), plain) if is_text else (_read_book(path), str)
    found = False
    for _, sheet in groupby(read, key=lambda row: row[0]):
        places: list[tuple[str, int]] = []
        for _, row in sheet:
            if places and any(cell not in ("", None) for cell in row):
                cells = [(name, str(row[place]) if place < len(row) else "") for name, place in places]
                yield {name: told(cell) or None for name, cell in cells}
            elif not places:  # the header is the first row that names a customer
                names = [told(str(name)).strip() for name in row]
                places = [(name, names.index(name)) for name in wanted if needed in names and name in names]
                _refuse_twice(path, names, [name for name, _ in places])
        found = found or bool(places)
    if not found:
        raise WinbackError(f"{path.name} has no column {needed!r}. Give the list that was written, with its header.")


def _refuse_twice(path: Path, names: Sequence[str], wanted: Collection[str]) -> None:
    for name in wanted:
        if names.count(name) > 1:
            raise WinbackError(f"{path.name} has two columns called {name!r}. Remove one.")


def _read_csv(path: Path, needed: str) -> Iterator[tuple[str, Row]]:
    how = text_files.layout(path, called=path.name, encoding=None, delimiter=None, needed=[needed])
    for row in text_files.rows(path, how, called=path.name):
        yield "", row


def _read_book(path: Path) -> Iterator[tuple[str, Row]]:
    for name, rows in workbooks.sheets_of(path, called=path.name):
        for row in rows:
            yield name, [workbooks.text_of(cell) for cell in row]
