"""From a company's files to its first page: what was recognised is told, a sheet is written, its tables are shown."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.cli.options import name_and_value, pairs
from experiments.cli.questions import settled
from experiments.common.errors import WinbackError

if TYPE_CHECKING:
    import duckdb

    from experiments.sheet.draft import Draft
    from experiments.sheet.sheet import Sheet

SAID = pairs("--set", help="what the files do not tell, such as currency=EUR, amount='Net amount' or dates=%%d/%%m/%%Y")
SHEETS = (".yml", ".yaml")
HIDDEN = ("name", "phone")  # columns whose values nobody shows
FIRST = 3  # values of a column that a preview shows


def said(args: argparse.Namespace) -> dict[str, str]:
    """Return what --set says."""
    return dict(name_and_value(text, option="--set") for text in args.set)


def sheet_of(files: Sequence[str], given: Mapping[str, str], *, language: str | None = None) -> str:
    """Return the sheet that was named, or that is written for the files that were."""
    if any(Path(file).suffix.lower() in SHEETS for file in files):
        if len(files) > 1 or given:
            raise WinbackError("Give one sheet, which says all; or the company's files, and no sheet.")
        return files[0]
    from experiments.sheet.sheet import read_sheet

    path = Path(files[0])
    sheet = path.with_name(f"{path.name.partition('.')[0]}.winback.yml")
    if sheet.is_file():
        if given:
            raise WinbackError(f"{sheet} is there already: correct it, or take it away; --set would change nothing.")
        named = {path.resolve() for source in read_sheet(sheet).tables.values() for path in source.paths(sheet.parent)}
        for file in files:
            if Path(file).resolve() not in named:
                raise WinbackError(f"{sheet} is there already and does not name {file}: correct it, or take it away.")
        print(f"{sheet} is there already and is used as it stands.")
        return sheet.as_posix()
    draft = draft_of(files, {**given, **({"language": language} if language else {})})
    return write_draft(draft, sheet).as_posix()


def draft_of(files: Sequence[str], given: Mapping[str, str]) -> Draft:
    """Return the sheet of a company's files, told at the terminal and asked for where nobody else knows."""
    from experiments.sheet.draft import drafted

    for file in files:
        if not Path(file).is_file():
            raise WinbackError(
                f"There is no file {file!r}. Give a sheet (.yml), or an export: CSV, XLSX, ODS, Parquet."
            )
    draft = settled(lambda answers: drafted([*map(Path, files)], given=answers), given)
    for line in _told(draft):
        print(line)
    return draft


def write_draft(draft: Draft, sheet: Path) -> Path:
    """Write a sheet; return where."""
    from experiments.common.files import write_text

    sheet.parent.mkdir(parents=True, exist_ok=True)
    write_text(sheet, draft.text(sheet.parent))
    print(f"The sheet: {sheet}")
    return sheet


def _told(draft: Draft) -> Iterator[str]:
    from experiments.sheet.draft import TOLD

    for table, parts in draft.tables.items():
        for part in parts:
            yield f"{part.path.name}: {part.rows:,} rows of {table}"
            width = max(map(len, part.columns))
            for role, name in part.columns.items():
                yield f"  {role:<{width}}  {name}  ({TOLD[part.told_by[role]]})"
            if part.unused:
                yield f"  not used: {', '.join(part.unused)}"
        for setting, value in draft.settings[table].items():
            yield f"  {setting}: {value}  (as you said)"
    yield f"currency: {draft.currency}; looked at on {draft.as_of}, the last day of the purchases"


def previewed(sheet: Sheet) -> Iterator[str]:
    """Yield what `winback check` shows of every table: rows, period, the first values as understood, who matches."""
    from experiments.data.tables import connect, read
    from experiments.lost.find import MADE
    from experiments.report.wording.accounts import account as account_of

    with connect() as con:
        con.execute("SET preserve_insertion_order = true")  # the first rows are those of the file
        there = []
        for name, source in sheet.tables.items():
            if name in MADE and not source.there(sheet.folder):
                yield f"  {name}: not there yet; the test makes it"
                continue
            yield f"  {account_of(read(con, name, source, folder=sheet.folder, conventions=sheet.conventions))}"
            yield from _columns(con, sheet, name)
            there.append(name)
        yield from _matches(con, there)


def _columns(con: duckdb.DuckDBPyConnection, sheet: Sheet, name: str) -> Iterator[str]:
    """Yield a line for each column of a table: its first values as understood, and its period."""
    from experiments.data.columns import quote, shape
    from experiments.data.contracts import CONTRACTS
    from experiments.data.tables import columns_of

    columns = [*columns_of(con, name)]
    rows = con.execute(f"SELECT {', '.join(map(quote, columns))} FROM {name} LIMIT {FIRST}").fetchall()
    for place, column in enumerate(columns):
        kind = CONTRACTS[name][column].rstrip("!")
        shown = []
        for value in (row[place] for row in rows):
            text = "-" if value is None else str(value)
            if value is not None and kind in ("money", "cost"):
                text = f"{value / 10**sheet.decimals:.{sheet.decimals}f} {sheet.currency}"
            private = column in HIDDEN or "@" in text
            shown.append(shape(text) if private and value is not None else text)
        period = ""
        if kind in ("date", "past"):
            first, last = con.execute(f"SELECT min({quote(column)}), max({quote(column)}) FROM {name}").fetchall()[0]
            period = f"; from {first} to {last}" if first else ""
        yield f"    {column}: {', '.join(shown)}{period}"


def _matches(con: duckdb.DuckDBPyConnection, tables: Sequence[str]) -> Iterator[str]:
    """Yield how many customers of each table are in the first of them."""
    from experiments.data.tables import columns_of

    known = [name for name in tables if "customer_id" in columns_of(con, name)]
    base = "purchases" if "purchases" in known else next(iter(known), None)
    for name in known:
        if name != base:
            inside = f"CAST(customer_id AS VARCHAR) IN (SELECT CAST(customer_id AS VARCHAR) FROM {base})"
            people = f"(SELECT DISTINCT customer_id FROM {name}) AS people"
            counted = f"SELECT count(CASE WHEN {inside} THEN 1 END), count(*) FROM {people}"
            matched, customers = con.execute(counted).fetchall()[0]
            yield f"  {matched:,} of {customers:,} customers of {name} are in {base}"
