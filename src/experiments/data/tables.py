"""The door: what a table must look like, how it is read, what is refused, and where each row went."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from experiments.common.errors import WinbackError, did_you_mean
from experiments.common.files import whole_file
from experiments.common.finding import Fact, Finding
from experiments.data.columns import CURES, Cell, literal, quote, readable, typed, without_missing

if TYPE_CHECKING:
    import duckdb

MEMORY = "WINBACK_MEMORY"  # of the environment
Kind = Literal["id", "text", "date", "money", "cost", "flag", "integer"]

# Section 3 of the design. A column marked with ! is required.
CONTRACTS: dict[str, dict[str, str]] = {
    "customers": {"customer_id": "id!", "name": "text", "phone": "text", "since": "date", "manager": "text",
                  "line": "text", "nps": "integer",
                  "referrals": "integer", "complaint": "text", "unreachable": "flag", "important": "flag",
                  "do_not_contact": "flag", "natural_loss": "flag", "deliberate_loss": "flag", "hours": "integer",
                  "cancelled_at": "date"},
    "purchases": {"customer_id": "id!", "at": "date!", "amount": "money!", "margin": "money", "line": "text"},
    "inquiries": {"customer_id": "id!", "at": "date", "ordered": "flag"},
    "reasons": {"customer_id": "id!", "reason": "text!", "source": "text", "verified": "flag", "fixed_at": "date"},
    "assignments": {"experiment": "text", "customer_id": "id!", "arm": "text!", "at": "date", "stratum": "text",
                    "bucket": "integer"},
    "outcomes": {"customer_id": "id!", "returned": "flag!", "value": "money!", "cost": "cost"},
    "contacts": {"experiment": "text", "customer_id": "id!", "arm": "text", "at": "date", "channel": "text",
                 "caller": "text", "reached": "flag", "accepted_at": "date", "refused_at": "date", "refusal": "text"},
    "changes": {"at": "date!", "what": "text!"},
    "known_lost": {"customer_id": "id!", "at": "date"},
}  # fmt: skip


class Source(BaseModel):
    """Where a table lies and what its columns are called there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str = Field(description="CSV, CSV.gz, Parquet or DuckDB file, relative to the sheet")
    table: str | None = Field(default=None, description="name of the table in a DuckDB file")
    columns: dict[str, str] = Field(default_factory=dict, description="our name: name in the file")
    dates: str | None = Field(default=None, description="format of dates, for example '%d.%m.%Y' or '%Y%m%d'")
    fill: dict[str, str] = Field(default_factory=dict, description="our name: what an empty cell stands for; stated")
    missing: list[str] = Field(default_factory=list, description="texts that mean a missing value, for example '-999'")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Where the rows of a table went, in facts; `report.wording.accounts` makes its sentence.

    Without `rows` it counts nothing: its notes are about the table.
    """

    table: str
    rows: int = 0
    kept: int = 0
    why: tuple[Finding, ...] = ()  # what the rows left out have in common
    notes: tuple[Finding, ...] = ()  # what else is to know of the rows that were kept
    last: date | None = None  # latest day of its rows


def noted(key: str, /, **facts: Fact) -> Finding:
    """Return why rows were left out, or what else is to know of them: part of an account."""
    return Finding(key=key, state="pass", facts=facts)


def upgraded_account(sentence: str) -> dict[str, object]:
    """Return, as JSON, an account that a program of format 1 wrote as a sentence: it is shown as it stands."""
    return {"table": "", "notes": [{"key": "said", "state": "pass", "facts": {"said": sentence}}]}


@contextmanager
def connect(*, threads: int | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open an embedded engine in memory; close it afterwards. The variable WINBACK_MEMORY limits it, such as 2GB."""
    import duckdb

    con = duckdb.connect()
    try:
        with suppress(duckdb.InvalidInputException):  # a kernel without ipywidgets has no bar to switch off
            con.execute("SET enable_progress_bar = false")
        con.execute("SET preserve_insertion_order = false")
        if limit := os.environ.get(MEMORY):
            con.execute(f"SET memory_limit = {literal(limit)}")
        if threads:
            con.execute(f"SET threads = {int(threads)}")
        yield con
    except RuntimeError as error:
        if "interrupt" in str(error).lower():  # Ctrl-C, as the engine tells it
            raise KeyboardInterrupt from None
        raise
    finally:
        con.close()


def sql(name: str, **values: object) -> str:
    """Return the text of `sql/<name>.sql` with its {placeholders} filled; values must be trusted, never foreign."""
    text = files("experiments").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
    return text.format(**values) if values else text


def statements(name: str) -> dict[str, str]:
    """Return the named parts of `sql/<name>.sql`, in their order."""
    parts = re.split(r"^-- name: (\w+)\n", sql(name), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def write_parquet(con: duckdb.DuckDBPyConnection, table: str, path: Path) -> None:
    """Write a table to a Parquet file, whole or not at all."""
    with whole_file(path) as part:
        con.execute(f"COPY (SELECT * FROM {table}) TO {literal(part)} (FORMAT parquet, COMPRESSION zstd)")


def read(
    con: duckdb.DuckDBPyConnection,
    name: str,
    source: Source,
    *,
    folder: Path,
    decimals: int = 2,
    needed: Iterable[str] = (),
) -> Account:
    """Make the view `name` with the typed columns of its contract, after one check of every row.

    Money becomes BIGINT minor units (`decimals` digits); dates DATE; flags BOOLEAN. Columns outside the
    contract are dropped. `needed` columns may not be empty where the file has them, like the required ones.
    Raises WinbackError naming table, column, rows, an example and the cure.
    """
    import duckdb

    contract = CONTRACTS[name]
    _refuse_unknown(name, source, contract)
    found = _columns(con, name, source, folder / source.file)
    names = {column: source.columns.get(column, column) for column in contract}
    for column, foreign in names.items():
        if foreign not in found and (contract[column].endswith("!") or column in source.columns):
            raise WinbackError(
                f"Table {name} ({source.file}) has no column {foreign!r}. {did_you_mean(foreign, found)} "
                f"Tell its name in the sheet: `columns: {{{column}: <name in the file>}}`."
            )
    kept = {column: foreign for column, foreign in names.items() if foreign in found}
    try:
        cells = {
            column: _cell(
                name, source, column=foreign, kind=contract[column].rstrip("!"), found=found[foreign], decimals=decimals
            )
            for column, foreign in kept.items()
        }
        fills = {column: _fill(con, name, source, column=column, decimals=decimals) for column in source.fill}
        required = {column for column in kept if contract[column].endswith("!") or column in needed} - set(fills)
        rows, last, notes = _check(con, name, source, cells=cells, names=kept, required=required)
    except duckdb.Error as error:
        raise WinbackError(_unreadable(name, source, error)) from None
    select = ", ".join(f"{cell.filled(fills.get(column))} AS {quote(column)}" for column, cell in cells.items())
    con.execute(f"CREATE OR REPLACE VIEW {name} AS SELECT {select} FROM raw_{name}")
    return Account(table=name, rows=rows, kept=rows, notes=notes, last=last)


TYPES = {"id": "VARCHAR", "text": "VARCHAR", "date": "DATE", "money": "BIGINT", "cost": "BIGINT", "flag": "BOOLEAN",
         "integer": "BIGINT"}  # fmt: skip


def complete(con: duckdb.DuckDBPyConnection, name: str, *, like: str, known: bool) -> None:
    """Make the view full_<name> with every column of the contract, NULL where the file has none.

    Where the table is not `known` the view has no rows, and customers of the type that the table `like` has.
    """
    found = columns_of(con, name) if known else {}
    kinds = {column: TYPES[kind.rstrip("!")] for column, kind in CONTRACTS[name].items()}
    if "customer_id" in kinds:
        kinds["customer_id"] = columns_of(con, like)["customer_id"]
    cells = [
        quote(column) if column in found else f"CAST(NULL AS {kinds[column]}) AS {quote(column)}"
        for column in CONTRACTS[name]
    ]
    con.execute(
        f"CREATE OR REPLACE TEMP VIEW full_{name} AS SELECT {', '.join(cells)} "
        f"FROM {name if known else '(SELECT 1) AS nothing WHERE FALSE'}"
    )


def same_ids(con: duckdb.DuckDBPyConnection, *names: str) -> None:
    """Compare customers as text where one table has them as numbers and the other as text."""
    types = [columns_of(con, table)["customer_id"] for table in names]
    if len(set(types)) > 1 and "VARCHAR" in types:
        for table in names:
            con.execute(
                f"CREATE OR REPLACE TEMP VIEW {table} AS SELECT * REPLACE (CAST(customer_id AS VARCHAR) AS "
                f"customer_id) FROM memory.main.{table}"
            )


def refuse_duplicates(
    con: duckdb.DuckDBPyConnection, table: str, *, called: str = "", cure: str = "remove the others at the source."
) -> None:
    """Refuse a table in which a customer stands twice, or a row has none. `called`: what its maker calls it."""
    rows, customers = con.execute(f"SELECT count(*), count(DISTINCT customer_id) FROM {table}").fetchall()[0]
    if rows == customers:
        return
    arms = "count(DISTINCT arm)" if "arm" in columns_of(con, table) else "1"
    name, times, different = con.execute(
        f"SELECT customer_id, count(*), {arms} FROM {table} GROUP BY 1 HAVING count(*) > 1 OR customer_id IS NULL "
        "ORDER BY 3 DESC, 1 LIMIT 1"
    ).fetchall()[0]
    what = "a row has no customer" if name is None else f"{name!r} is there {times} times"
    what += f", in {different} arms" if different > 1 else ""
    called = called or f"Table {table}"
    raise WinbackError(
        f"{called}: {rows - customers:,} of {rows:,} rows repeat a customer; {what}. One customer, one "
        f"arm, one row: {cure}"
    )


def _refuse_unknown(name: str, source: Source, contract: Mapping[str, str]) -> None:
    for column in (*source.columns, *source.fill):
        if column not in contract:
            raise WinbackError(
                f"Table {name}: there is no column {column!r} in its contract. {did_you_mean(column, contract)}"
            )


def _cell(name: str, source: Source, *, column: str, kind: str, found: str, decimals: int) -> Cell:
    if not readable(kind, found):
        raise WinbackError(f"Table {name} ({source.file}), column {column!r} holds {found}, no {kind}. {CURES[kind]}")
    raw = without_missing(quote(column), found, source.missing)
    return typed(raw, kind, found=found, dates=source.dates, decimals=decimals)


def _fill(con: duckdb.DuckDBPyConnection, name: str, source: Source, *, column: str, decimals: int) -> str:
    """Return the SQL of what fills empty cells of a column; refuse what is no value of it."""
    kind = CONTRACTS[name][column].rstrip("!")
    cell = typed(literal(source.fill[column]), kind, found="VARCHAR", dates=source.dates, decimals=decimals)
    if con.execute(f"SELECT {cell.typed}").fetchall()[0][0] is None:
        raise WinbackError(
            f"Table {name}: the fill {source.fill[column]!r} of column {column!r} is no {kind}. {CURES[kind]}"
        )
    return cell.typed


def columns_of(con: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    """Return the columns of a table with their types."""
    return {row[0]: row[1] for row in con.execute(f"DESCRIBE {table}").fetchall()}


def _columns(con: duckdb.DuckDBPyConnection, name: str, source: Source, path: Path) -> dict[str, str]:
    """Make the view raw_<name> over the file and return its columns with their types."""
    import duckdb

    if not path.is_file():
        raise WinbackError(f"Table {name}: there is no file {source.file!r}. Paths are relative to the sheet.")
    if path.stat().st_size == 0:
        raise WinbackError(f"Table {name}: {source.file} is empty. Export it again, with a header and rows.")
    try:
        con.execute(f"CREATE OR REPLACE VIEW raw_{name} AS SELECT * FROM {_scan(con, name, source, path)}")
        return columns_of(con, f"raw_{name}")
    except duckdb.Error as error:
        raise WinbackError(_unreadable(name, source, error)) from None


def _unreadable(name: str, source: Source, error: Exception) -> str:
    """Return what the engine said of a file, in a line or two, with the cure where it is known."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = " ".join(lines[:2])
    if re.search("utf-?8|unicode|encod", str(error), re.IGNORECASE):
        return f"Table {name}: {source.file} is not UTF-8 text: {said} Save it as UTF-8."
    return f"Table {name}: {source.file} cannot be read: {said}"


def _scan(con: duckdb.DuckDBPyConnection, name: str, source: Source, path: Path) -> str:
    """Return the SQL that scans a file, by its ending."""
    ending = path.name.lower().removesuffix(".gz").rsplit(".", 1)[-1]
    if ending in ("csv", "tsv", "txt"):
        # Everything as text: an offer called "None" and a code 007 stay what they are; types come from the contract.
        delimiter, names = _header(name, path)
        columns = ", ".join(f"{literal(column)}: 'VARCHAR'" for column in names)
        return (
            f"read_csv({literal(path)}, auto_detect = false, header = true, delim = {literal(delimiter)}, "
            f"quote = '\"', escape = '\"', nullstr = '', columns = {{{columns}}})"
        )
    if ending == "parquet":
        return f"read_parquet({literal(path)})"
    if ending in ("duckdb", "db"):
        con.execute(f"ATTACH IF NOT EXISTS {literal(path)} AS file_{name} (READ_ONLY)")
        return f"file_{name}.{quote(source.table or name)}"
    raise WinbackError(f"Table {name}: {source.file} is no CSV, CSV.gz, Parquet or DuckDB file. Export it as one.")


def _header(name: str, path: Path) -> tuple[str, list[str]]:
    """Return what separates the cells of a CSV and its column names, from the first line: nothing is guessed later."""
    import csv
    import gzip

    with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
        line = file.readline().decode("utf-8-sig", errors="replace")
    delimiter = max(",;\t|", key=line.count)
    names = next(csv.reader([line], delimiter=delimiter), [])
    for column in names:
        if names.count(column) > 1:
            raise WinbackError(f"Table {name}: {path.name} has two columns called {column!r}. Rename one.")
    return delimiter, names


def _check(
    con: duckdb.DuckDBPyConnection,
    name: str,
    source: Source,
    *,
    cells: Mapping[str, Cell],
    names: Mapping[str, str],
    required: Collection[str],
) -> tuple[int, date | None, tuple[Finding, ...]]:
    """Refuse cells that do not fit their contract; return the rows, the latest day and what was filled in."""
    kinds = {column: CONTRACTS[name][column].rstrip("!") for column in cells}
    wrong, counts = {}, []
    for column, cell in cells.items():
        tests = [f"{cell.typed} IS NULL AND {cell.raw} IS NOT NULL"] if cell.may_fail else []
        tests += [f"{cell.typed} < 0"] if kinds[column] == "cost" else []
        tests += [f"{cell.raw} IS NULL"] if column in required else []
        if tests:
            wrong[column] = " OR ".join(f"({test})" for test in tests)
            # Counted from the statistics of a Parquet file, without a scan, where only emptiness can be wrong.
            only_empty = column in required and len(tests) == 1
            counts.append(
                f"count(*) - count({cell.raw})" if only_empty else f"count(CASE WHEN {wrong[column]} THEN 1 END)"
            )
    empty = [f"count(*) - count({cells[column].raw})" for column in source.fill]
    last = f"max(CAST({cells['at'].typed} AS DATE))" if "at" in cells else "NULL"
    asked = ", ".join(["count(*)", last, *counts, *empty])
    rows, latest, *bad = con.execute(f"SELECT {asked} FROM raw_{name}").fetchall()[0]
    if rows == 0:
        raise WinbackError(f"Table {name}: {source.file} has a header but no rows. Export it again.")
    for (column, test), number in zip(wrong.items(), bad, strict=False):
        if number:
            example = _example(con, name, column=names[column], test=test)
            raise WinbackError(
                f"Table {name} ({source.file}), column {names[column]!r}: {number:,} of {rows:,} rows are no "
                f"{kinds[column]}, {example}. {CURES[kinds[column]]}"
            )
    filled = zip(source.fill.items(), bad[len(wrong) :], strict=True)
    return rows, latest, tuple(noted("filled", n=number, column=column, text=text) for (column, text), number in filled)


def _example(con: duckdb.DuckDBPyConnection, name: str, *, column: str, test: str) -> str:
    cell = f"CAST({quote(column)} AS VARCHAR)"
    value = con.execute(f"SELECT {cell} FROM raw_{name} WHERE {test} ORDER BY 1 LIMIT 1").fetchall()[0][0]
    return "an empty cell" if value is None else f"for example {value!r}"
