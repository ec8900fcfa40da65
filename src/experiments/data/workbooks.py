"""A spreadsheet as people have it: its cells as texts, with the type of a column where all its cells are alike."""

from __future__ import annotations

import csv
import datetime as dt
import re
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from experiments.common.errors import WinbackError, did_you_mean
from experiments.data.identity import BLANKS
from experiments.data.text_files import header_place

if TYPE_CHECKING:
    from python_calamine import CalamineWorkbook

ENDINGS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
MOST_BYTES = 2 << 30  # of a workbook's parts, unzipped
MOST_CELLS = 50_000_000  # of the area that its cells span: 1.2 GB in the reader
MOST_REPEATED = 100_000  # cells of ODS that repeat a few; no table holds so many rows alike
SPARSE = 50  # cells of the area for each one that is there, from which the area is a slip of the hand
LONGEST = 32_767  # letters of a cell
CHUNK = 1 << 20  # bytes
# Where a cell of XLSX says that it lies, however the tag is written; <row r="5"> has no letters.
PLACE = re.compile(rb"\br\s*=\s*[\"']([A-Za-z]{1,4})([0-9]{1,10})[\"']")
ODS_TAG = re.compile(rb"<(?:\w+:)?table-(row|cell)\b([^>]*)>|</(?:\w+:)?table-row>")
HEADER = 20  # rows among which the header is
CLASSES: dict[type, str] = {
    bool: "BOOLEAN",
    int: "DOUBLE",
    float: "DOUBLE",
    dt.datetime: "TIMESTAMP",
    dt.date: "TIMESTAMP",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What was taken from a spreadsheet: its columns with their types, the row of its header, which sheet it was."""

    names: tuple[str, ...]
    types: tuple[str, ...]
    header_row: int  # from 1, as the spreadsheet numbers it
    worksheet: str
    others: tuple[str, ...]  # sheets that were not read


def sheets_of(path: Path, *, called: str) -> Iterator[tuple[str, Iterator[list[object]]]]:
    """Yield the sheets of a workbook with their rows. Raises WinbackError for a file that is none, or is too large."""
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        _refuse_huge(path, called)
        with closing(CalamineWorkbook.from_path(str(path))) as book:
            for name in book.sheet_names:
                yield name, _rows(book, name)
    except (CalamineError, OSError, ValueError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        if isinstance(error, WinbackError):
            raise
        raise WinbackError(f"{called} is no spreadsheet that can be read{_why(error)}. Save it as XLSX without a "
                           "password, or as CSV UTF-8.") from None  # fmt: skip


def _why(error: Exception) -> str:
    """Return what is known of an error; its own words may quote what stands in the file."""
    return ": it has a password" if re.search("password|encrypt", str(error), re.IGNORECASE) else ""


def _rows(book: CalamineWorkbook, name: str) -> Iterator[list[object]]:
    sheet = book.get_sheet_by_name(name)
    # What lies above and left of the first cell is not given: rows are numbered as the spreadsheet does.
    above = sheet.start[0] if sheet.start else 0
    for _ in range(above):
        yield []
    yield from map(list, sheet.iter_rows())


def taken(path: Path, into: Path, *, called: str, worksheet: str | None, needed: Collection[str]) -> Taken:
    """Write a sheet of a workbook as plain CSV without its header, and return its columns."""
    others: list[str] = []
    found: Taken | None = None
    for name, rows in sheets_of(path, called=called):
        if found is None and (worksheet is None or name == worksheet):
            found = _written(name, rows, into, needed)
        if found is None or found.worksheet != name:
            others.append(name)
    if found is None and worksheet is not None:
        raise WinbackError(f"{called} has no sheet {worksheet!r}. {did_you_mean(worksheet, others)}")
    if found is None:
        raise WinbackError(f"{called} is empty: none of its sheets has a row. Export it again.")
    return Taken(names=found.names, types=found.types, header_row=found.header_row, worksheet=found.worksheet,
                 others=tuple(others))  # fmt: skip


def _written(name: str, rows: Iterator[list[object]], into: Path, needed: Collection[str]) -> Taken | None:
    """Write the rows below the header; None for a sheet without any."""
    first: list[tuple[int, list[object]]] = []
    numbered = enumerate(rows, 1)
    for number, row in numbered:
        if any(cell not in ("", None) for cell in row):
            first.append((number, row))
        if len(first) == HEADER:
            break
    if not first:
        return None
    place = header_place([row for _, row in first], needed)
    header_row, header = first[place]
    kinds: list[set[str]] = [set() for _ in header]
    with into.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
        at = header_row
        for number, row in (*first[place + 1 :], *numbered):
            writer.writerows([[""] * len(header)] * (number - at - 1))  # an empty row keeps its number
            writer.writerow([_cell(cell, seen) for cell, seen in zip(row, kinds, strict=False)])
            at = number
    types = tuple(next(iter(seen)) if len(seen) == 1 else "VARCHAR" for seen in kinds)
    return Taken(names=tuple(map(_name, header)), types=types, header_row=header_row, worksheet=name, others=())


def _name(cell: object) -> str:
    return text_of(cell).strip(BLANKS)


def _cell(cell: object, seen: set[str]) -> str:
    if cell in ("", None):
        return ""
    seen.add(CLASSES.get(type(cell), "VARCHAR"))
    text = text_of(cell)
    # Among texts 1.234 could be a thousand; 1.2340 cannot.
    return f"{text}0" if isinstance(cell, float) and re.fullmatch(r"-?[0-9]+\.[0-9]{3}", text) else text


def text_of(cell: object) -> str:
    """Return a cell as text: 7 for a number 7.0, yes for true, a day as 2026-01-31.

    >>> text_of(7.0), text_of(True), text_of(1234.5)
    ('7', 'yes', '1234.5')
    """
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < 1e15 else repr(cell)  # noqa: PLR2004  exact
    if isinstance(cell, dt.datetime):
        return cell.date().isoformat() if cell.time() == dt.time() else cell.isoformat(sep=" ", timespec="seconds")
    return cell.isoformat() if isinstance(cell, dt.date) else str(cell)


# ---- what would exhaust the machine


def _refuse_huge(path: Path, called: str) -> None:
    """Refuse a workbook whose reader would ask for more memory than there is: one cell far away, or one without end."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as book:
        parts = book.infolist()
        if sum(part.file_size for part in parts) > MOST_BYTES:
            raise WinbackError(f"{called} holds more than {MOST_BYTES >> 30} GB. Save it as CSV UTF-8.")
        for part in parts:  # to the end of each: what it says of its size is compared with what it holds
            with book.open(part) as file:
                tags = _tags(file, called)
                if part.filename == "content.xml":
                    _refuse_area(_repeated(tags), called, sparse_from=MOST_REPEATED)
                else:
                    _refuse_area(_area(tags), called, sparse_from=MOST_CELLS // 10)


def _tags(file: IO[bytes], called: str) -> Iterator[bytes]:
    """Yield the text of a part in pieces of whole tags; of what is no XML, nothing that matters."""
    rest, without = b"", 0
    while chunk := file.read(CHUNK):
        without = 0 if b"<" in chunk else without + 1
        if without > 1:
            raise WinbackError(f"{called}: a cell holds more than a million letters. Shorten it.")
        text = rest + chunk
        end = max(text.rfind(b">"), text.rfind(b"<") - 1) + 1
        yield text[:end]
        rest = text[end:][:CHUNK]
    yield rest


def _refuse_area(area: tuple[int, int], called: str, *, sparse_from: int) -> None:
    cells, there = area
    if cells > MOST_CELLS or (cells > sparse_from and cells > SPARSE * max(1, there)):
        raise WinbackError(
            f"{called}: a cell lies far from all others, or is repeated without end: the sheet spans {cells:,} cells. "
            "Delete it, or save the table as CSV UTF-8."
        )


def _area(tags: Iterator[bytes]) -> tuple[int, int]:
    """Return how many cells a sheet of XLSX spans, and how many there are."""
    rows = columns = there = 0
    for text in tags:
        for column, row in PLACE.findall(text):
            there += 1
            rows, columns = max(rows, int(row)), max(columns, _number(column.upper()))
    return rows * columns, there


def _number(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = 26 * number + letter - 64
    return number


def _repeated(tags: Iterator[bytes]) -> tuple[int, int]:
    """Return how many cells a sheet of ODS spans by its repetitions of filled ones, and how many there are."""
    rows = columns = there = 0
    row_times, row_columns, filled = 1, 0, False
    for text in tags:
        for found in ODS_TAG.finditer(text):
            kind, about = found[1], found[2] or b""
            often = re.search(rb"repeated\s*=\s*[\"']([0-9]{1,12})[\"']", about)
            times = int(often[1]) if often else 1
            if kind == b"row":
                row_times, row_columns, filled = times, 0, False
            elif kind == b"cell":
                row_columns += times
                if b"value-type" in about:
                    filled, there = True, there + 1
                    columns = max(columns, row_columns)
            elif filled:
                rows += row_times
    return rows * max(1, columns), there
