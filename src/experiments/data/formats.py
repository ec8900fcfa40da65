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
        start = file.read(16)
    if not start:
        raise WinbackError(f"{called} is empty. Export it again, with a header and rows.")
    ending = Path(path.name.lower().removesuffix(".gz")).suffix
    if start.startswith(b"PAR1"):
        return _engine(con, f"read_parquet({literal(path)})")
    if start[8:12] == b"DUCK":
        con.execute(f"ATTACH IF NOT EXISTS {literal(path)} AS {quote(f'file_{key}')} (READ_ONLY)")
        return _engine(con, f"{quote(f'file_{key}')}.{quote(source.table or key)}")
    if start.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")) or ending in workbooks.ENDINGS:
        if start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<table", b"<meta")):
            raise WinbackError(f"{called} is a web page with the name of a spreadsheet. Open it and save it as XLSX.")
        return _workbook(con, key, path, source, called=called, needed=needed)
    if ending in TEXTS or ending == "":
        return _texts(con, key, path, source, called=called, needed=needed)
    raise WinbackError(f"{called} is no {FORMATS}. Export it as one.")


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
    longest = 16 * text_files.LONGEST
    return (
        f"read_csv({literal(path)}, auto_detect = false, header = false, skip = {skip}, delim = {literal(delimiter)}, "
        f"quote = '\"', escape = '\"', nullstr = '', max_line_size = {longest}, columns = {{{columns}}})"
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
            text_files.plain_copy(path, copy, how)
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
