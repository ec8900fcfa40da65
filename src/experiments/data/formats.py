"""Files of every format become relations of the engine: what a file is, its bytes tell, not its name."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.common.errors import WinbackError
from experiments.common.finding import Finding
from experiments.data import text_files, workbooks
from experiments.data.columns import literal, quote
from experiments.data.contracts import Source

if TYPE_CHECKING:
    import duckdb

FORMATS = "CSV, CSV.gz, XLSX, XLS, ODS, Parquet or DuckDB file"
TEXTS = (".csv", ".tsv", ".txt")
MARKS_AND_BLANKS = b"\xef\xbb\xbf\xff\xfe \t\r\n"
PAGES = (b"<!doctype", b"<html", b"<table", b"<meta", b"<head", b"<body", b"<?xml", b"<workbook")

# What the engine says, without the cells that it quotes: what it means.
ENGINE = {
    "UTF8": "a text in it is no Unicode",
    "magic bytes": "it is not whole",
    "GZIP": "it is damaged or not whole",
    "arquet": "it is damaged",
}
ENGINE_NAMES = ("Catalog Error", "Binder Error")


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A file that the engine can read."""

    relation: str  # SQL
    columns: dict[str, tuple[str, str]]  # name in the file: SQL of the column, its type
    header_row: int = 0  # rows, or lines, up to the end of the header
    all_texts: bool = False  # whether every cell is a text, so that a row may be empty
    notes: tuple[Finding, ...] = ()


def opened(
    con: duckdb.DuckDBPyConnection, key: str, path: Path, source: Source, *, called: str, needed: Collection[str]
) -> Opened:
    """Open a file by what it is. `key`: a name for what the engine keeps; `needed`: columns its header must have.

    Raises WinbackError for a file that cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(512)
    if not start:
        raise WinbackError(f"{called} is empty. Export it again, with a header and rows.")
    ending = Path(path.name.lower().removesuffix(".gz")).suffix
    if start.startswith(b"PAR1"):
        return _engine(con, f"read_parquet({literal(path)})")
    if start[8:12] == b"DUCK":
        con.execute(f"ATTACH IF NOT EXISTS {literal(path)} AS {quote(f'file_{key}')} (READ_ONLY)")
        return _engine(con, f"{quote(f'file_{key}')}.{quote(source.table or key)}")
    if start.replace(b"\0", b"").lstrip(MARKS_AND_BLANKS).lower().startswith(PAGES):
        raise WinbackError(f"{called} is a web page with the name of a table. Open it and save it as XLSX.")
    is_book = start.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0"))
    if is_book or (ending in workbooks.ENDINGS and not _is_text_export(ending, start)):
        return _workbook(con, key, path, source, called=called, needed=needed)
    if ending in (*TEXTS, "", ".xls"):
        return _texts(con, key, path, source, called=called, needed=needed)
    raise WinbackError(f"{called} is no {FORMATS}. Export it as one.")


def _is_text_export(ending: str, start: bytes) -> bool:
    """Tell whether a file called .xls is text, as many programs write it: a workbook of that time begins otherwise."""
    head = start.split(b"\n")[0]
    return ending == ".xls" and any(sign in head for sign in (b",", b";", b"\t")) and min(head) >= ord("\t")


def looks_like_a_row(names: Collection[str]) -> bool:
    """Tell whether names of columns are cells of a row: a number, a day or an address is no name.

    >>> looks_like_a_row(["Client", "Date", "Amount 2025"]), looks_like_a_row(["Ann", "2025-01-31", "12.50"])
    (False, True)
    """
    return any(re.fullmatch(r"[\d.,:/+() '€$-]*\d[\d.,:/+() '€$-]*|\S+@\S+", name) for name in names)


def _engine(con: duckdb.DuckDBPyConnection, relation: str) -> Opened:
    columns = {row[0]: (quote(row[0]), row[1]) for row in con.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()}
    return Opened(relation=relation, columns=columns)


def _csv(path: Path, count: int, *, delimiter: str = ",", skip: int = 0) -> str:
    """Return the SQL that reads a CSV in UTF-8; every cell is a text, so that a code 007 stays what it is."""
    columns = ", ".join(f"'c{place}': 'VARCHAR'" for place in range(count))
    longest = text_files.LONGEST_LINE
    zipped = "gzip" if text_files.is_zipped(path) else "none"
    return (
        f"read_csv({literal(path)}, auto_detect = false, header = false, skip = {skip}, delim = {literal(delimiter)}, "
        f"quote = '\"', escape = '\"', nullstr = '', compression = '{zipped}', "
        f"max_line_size = {longest}, columns = {{{columns}}})"
    )


def _texts(
    con: duckdb.DuckDBPyConnection, key: str, path: Path, source: Source, *, called: str, needed: Collection[str]
) -> Opened:
    how = text_files.layout(path, called=called, encoding=source.encoding, delimiter=source.delimiter, needed=needed)
    _refuse_twice(how.names, needed, called)
    columns: dict[str, tuple[str, str]] = {}
    for place, name in enumerate(how.names):
        columns.setdefault(name, (f"c{place}", "VARCHAR"))
    columns.pop("", None)
    notes = (Finding(key="encoding", state="pass", facts={"encoding": how.encoding}),) if how.inferred else ()
    relation = _csv(path, len(how.names), delimiter=how.delimiter, skip=how.header_line)
    if how.rewrite:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "copy.csv"
            text_files.plain_copy(path, copy, how, called=called)
            scan = _csv(copy, len(how.names), delimiter=how.delimiter, skip=how.header_line)
            relation = _kept(con, key, f"SELECT * FROM {scan}")
    return Opened(relation=relation, columns=columns, header_row=how.header_line, all_texts=True, notes=notes)


def _workbook(
    con: duckdb.DuckDBPyConnection, key: str, path: Path, source: Source, *, called: str, needed: Collection[str]
) -> Opened:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.csv"
        found = workbooks.taken(path, copy, called=called, worksheet=source.worksheet, needed=needed)
        _refuse_twice(found.names, needed, called)
        cells = ", ".join(
            f"c{place}" if kind == "VARCHAR" else f"CAST(c{place} AS {kind}) AS c{place}"
            for place, kind in enumerate(found.types)
        )
        relation = _kept(con, key, f"SELECT {cells} FROM {_csv(copy, len(found.names))}")
    columns: dict[str, tuple[str, str]] = {}
    for place, (name, kind) in enumerate(zip(found.names, found.types, strict=True)):
        columns.setdefault(name, (f"c{place}", kind))
    columns.pop("", None)
    note = Finding(key="worksheet", state="pass", facts={"worksheet": found.worksheet, "others": len(found.others)})
    return Opened(relation=relation, columns=columns, header_row=found.header_row, all_texts=True,
                  notes=(note,) if found.others else ())  # fmt: skip


def _kept(con: duckdb.DuckDBPyConnection, key: str, select: str) -> str:
    """Keep rows in the engine, in their order; return the table."""
    name = quote(f"kept_{key}")
    con.execute("SET preserve_insertion_order = true")
    con.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {select}")
    con.execute("SET preserve_insertion_order = false")
    return name


def _refuse_twice(names: Collection[str], needed: Collection[str], called: str) -> None:
    for name in needed:
        if [*names].count(name) > 1:
            raise WinbackError(f"{called} has two columns called {name!r}. Rename one.")


def unreadable(file: str, error: Exception) -> str:
    """Return what the engine says of a file, with the line it stopped at and the cure, never with what stands there."""
    text = str(error)
    line = re.search(r"CSV Error on Line: (\d+)", text)
    where = f"{file}, line {line[1]}" if line else file
    if cells := re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", text):
        return (
            f"{where}: {cells[2]} cells where the header has {cells[1]}. Put cells that hold the separator into quotes."
        )
    if re.search("maximum line size|buffer", text, re.IGNORECASE):
        return f"{where}: a cell is longer than a million letters. Export it again."
    if line and "quote" in text.lower():
        return f"{where}: a quote is opened and not closed. Export it again."
    kind, _, first = text.splitlines()[0].partition(": ")
    why = next((told for sign, told in ENGINE.items() if sign in text), "")
    if kind in ENGINE_NAMES or "format specifier" in first:  # about names and settings, never about cells
        why = f"{kind}: {first[:200]}"
    return f"{where} cannot be read ({why or kind[:40]}). Export it again."
