"""The door: what a table must look like, how it is read, what is refused, and where each row went."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from experiments.errors import WinbackError, did_you_mean

if TYPE_CHECKING:
    import duckdb

Kind = Literal["id", "text", "date", "money", "cost", "flag", "integer"]

# Section 3 of the design. A column marked with ! is required.
CONTRACTS: dict[str, dict[str, str]] = {
    "customers": {"customer_id": "id!", "since": "date", "manager": "text", "line": "text", "nps": "integer",
                  "referrals": "integer", "complaint": "text", "unreachable": "flag", "important": "flag",
                  "do_not_contact": "flag", "natural_loss": "flag", "cancelled_at": "date"},
    "purchases": {"customer_id": "id!", "at": "date!", "amount": "money!", "margin": "money", "line": "text"},
    "inquiries": {"customer_id": "id", "at": "date", "ordered": "flag"},
    "reasons": {"customer_id": "id", "reason": "text", "source": "text", "verified": "flag", "fixed_at": "date"},
    "assignments": {"experiment": "text", "customer_id": "id!", "arm": "text!", "at": "date", "stratum": "text",
                    "bucket": "integer"},
    "outcomes": {"customer_id": "id!", "returned": "flag!", "value": "money!", "cost": "cost"},
    "contacts": {"experiment": "text", "customer_id": "id!", "arm": "text", "at": "date", "channel": "text",
                 "caller": "text", "reached": "flag", "accepted_at": "date", "refused_at": "date", "refusal": "text"},
    "changes": {"at": "date", "what": "text"},
}  # fmt: skip
WHOLE = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"}
DIGITS = 18  # that always fit into BIGINT
CURES = {
    "id": "Give every row a customer_id.",
    "text": "Give every row a text.",
    "date": "Write dates as 2026-01-31, or tell the format in the sheet, for example `dates: '%d.%m.%Y'`.",
    "money": "Write money as plain numbers with a point, for example 1234.50.",
    "cost": "Write costs as plain numbers with a point, zero or more, for example 12.50.",
    "flag": "Write yes or no, true or false, 1 or 0.",
    "integer": "Write whole numbers.",
}


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
    """Where the rows of a table went."""

    table: str
    rows: int
    kept: int
    why: str = ""
    filled: str = ""

    def __str__(self) -> str:
        if self.kept == self.rows:
            return f"{self.table}: kept all {self.rows:,} rows{self.filled}"
        left = self.rows - self.kept
        return f"{self.table}: kept {self.kept:,} of {self.rows:,} rows; {left:,} left out: {self.why}{self.filled}"


@contextmanager
def connect(*, threads: int | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open an embedded engine in memory; close it afterwards."""
    import duckdb

    con = duckdb.connect()
    try:
        con.execute("SET preserve_insertion_order = false")
        if threads:
            con.execute(f"SET threads = {int(threads)}")
        yield con
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
    """Write a table to a Parquet file."""
    con.execute(f"COPY (SELECT * FROM {table}) TO {literal(path)} (FORMAT parquet, COMPRESSION zstd)")


def read(
    con: duckdb.DuckDBPyConnection, name: str, source: Source, *, folder: Path, decimals: int = 2
) -> Account:
    """Make the view `name` with the typed columns of its contract, after one check of every row.

    Money becomes BIGINT minor units (`decimals` digits); dates DATE; flags BOOLEAN. Columns outside the
    contract are dropped. Raises WinbackError naming table, column, rows, an example and the cure.
    """
    contract, path = CONTRACTS[name], folder / source.file
    found = _columns(con, name, source, path)
    names = {column: source.columns.get(column, column) for column in contract}
    for column in source.columns:
        if column not in contract:
            raise WinbackError(f"Table {name}: there is no column {column!r} in its contract. "
                               f"{did_you_mean(column, contract)}")  # fmt: skip
    for column, foreign in names.items():
        if foreign not in found and (contract[column].endswith("!") or column in source.columns):
            raise WinbackError(
                f"Table {name} ({source.file}) has no column {foreign!r}. {did_you_mean(foreign, found)} "
                f"Tell its name in the sheet: `columns: {{{column}: <name in the file>}}`."
            )
    kept = {column: foreign for column, foreign in names.items() if foreign in found}
    typed = {
        column: _typed(_cell(column, foreign, source), contract[column].rstrip("!"), found[foreign], source.dates, decimals)
        for column, foreign in kept.items()
    }
    rows, filled = _check(con, name, source, typed=typed, names=kept)
    select = ", ".join(f"{expression} AS {quote(column)}" for column, (expression, _) in typed.items())
    con.execute(f"CREATE OR REPLACE VIEW {name} AS SELECT {select} FROM raw_{name}")
    return Account(table=name, rows=rows, kept=rows, filled=filled)


def columns_of(con: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    """Return the columns of a table with their types."""
    return {row[0]: row[1] for row in con.execute(f"DESCRIBE {table}").fetchall()}


def quote(name: str) -> str:
    """Return a name as an SQL identifier.

    >>> quote("at")
    '"at"'
    """
    return '"' + name.replace('"', '""') + '"'


def literal(value: object) -> str:
    """Return a value as an SQL text literal.

    >>> literal("o'clock")
    "'o''clock'"
    """
    return "'" + str(value).replace("'", "''") + "'"


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
        first = str(error).splitlines()[0]
        raise WinbackError(f"Table {name}: {source.file} cannot be read: {first}") from error


def _scan(con: duckdb.DuckDBPyConnection, name: str, source: Source, path: Path) -> str:
    """Return the SQL that scans a file, by its ending."""
    ending = path.name.lower().removesuffix(".gz").rsplit(".", 1)[-1]
    if ending in ("csv", "tsv", "txt"):
        # Everything as text: an offer called "None" and a code 007 stay what they are; types come from the contract.
        return f"read_csv({literal(path)}, header = true, all_varchar = true, nullstr = '')"
    if ending == "parquet":
        return f"read_parquet({literal(path)})"
    if ending in ("duckdb", "db"):
        con.execute(f"ATTACH IF NOT EXISTS {literal(path)} AS file_{name} (READ_ONLY)")
        return f"file_{name}.{quote(source.table or name)}"
    raise WinbackError(f"Table {name}: {source.file} is no CSV, CSV.gz, Parquet or DuckDB file. Export it as one.")


def _cell(column: str, foreign: str, source: Source) -> str:
    """Return the SQL of a raw cell: texts that mean missing made NULL, empty cells filled where the sheet says so."""
    cell = quote(foreign)
    if source.missing:
        texts = ", ".join(map(literal, source.missing))
        cell = f"CASE WHEN CAST({cell} AS VARCHAR) IN ({texts}) THEN NULL ELSE {cell} END"
    return f"coalesce({cell}, {literal(source.fill[column])})" if column in source.fill else cell


def _typed(cell: str, kind: str, found: str, dates: str | None, decimals: int) -> tuple[str, bool]:
    """Return the SQL that gives a raw cell its contract type, NULL where it does not fit; and whether it may not fit."""
    text, minor = found == "VARCHAR", 10**decimals
    if kind == "id":
        return (cell if found in WHOLE else f"CAST({cell} AS VARCHAR)"), False
    if kind == "text":
        return f"CAST({cell} AS VARCHAR)", False
    if kind == "date":
        return _date(cell, found, dates)
    if kind in ("money", "cost"):
        if text:
            return f"CAST(TRY_CAST({cell} AS DECIMAL(18, {decimals})) * {minor} AS BIGINT)", True
        if found in ("DOUBLE", "FLOAT"):
            return f"CASE WHEN isfinite({cell}) THEN TRY_CAST(round({cell} * {minor}) AS BIGINT) END", True
        scale = re.fullmatch(r"DECIMAL\((\d+),(\d+)\)", found)
        if kind == "money" and scale and int(scale[2]) <= decimals and int(scale[1]) - int(scale[2]) + decimals <= DIGITS:
            return f"CAST({cell} * {minor} AS BIGINT)", False  # whole minor units already
        return f"TRY_CAST({cell} * {minor} AS BIGINT)", True
    if kind == "flag" and text:
        return (f"CASE lower(trim({cell})) WHEN 'yes' THEN TRUE WHEN 'true' THEN TRUE WHEN '1' THEN TRUE "
                f"WHEN 'no' THEN FALSE WHEN 'false' THEN FALSE WHEN '0' THEN FALSE END"), True  # fmt: skip
    if kind == "flag":
        return (cell, False) if found == "BOOLEAN" else (f"CASE {cell} WHEN 1 THEN TRUE WHEN 0 THEN FALSE END", True)
    return f"TRY_CAST({cell} AS BIGINT)", True


def _date(cell: str, found: str, dates: str | None) -> tuple[str, bool]:
    if dates:
        return f"CAST(try_strptime(CAST({cell} AS VARCHAR), {literal(dates)}) AS DATE)", True
    if found == "DATE" or found.startswith("TIMESTAMP"):
        return (cell if found == "DATE" else f"CAST({cell} AS DATE)"), False
    # A date kept as a number (20260131, 45678) is refused: it could mean three things.
    return (f"TRY_CAST({cell} AS DATE)" if found == "VARCHAR" else "CAST(NULL AS DATE)"), True


def _check(
    con: duckdb.DuckDBPyConnection,
    name: str,
    source: Source,
    *,
    typed: Mapping[str, tuple[str, bool]],
    names: Mapping[str, str],
) -> tuple[int, str]:
    """Refuse cells that do not fit their contract; return the rows and what was filled in."""
    kinds = {column: CONTRACTS[name][column] for column in typed}
    wrong, counts = {}, []
    for column, (expression, may_fail) in typed.items():
        cell, required = _cell(column, names[column], source), kinds[column].endswith("!")
        if may_fail:
            wrong[column] = f"({expression} IS NULL" + (")" if required else f" AND {cell} IS NOT NULL)")
            wrong[column] += f" OR {expression} < 0" if kinds[column] == "cost" else ""
            counts.append(f"count(CASE WHEN {wrong[column]} THEN 1 END)")
        elif required:
            wrong[column] = f"{cell} IS NULL"
            counts.append(f"count(*) - count({cell})")  # from the statistics of a Parquet file, without a scan
    empty = [f"count(*) - count({quote(names[column])})" for column in source.fill]
    rows, *bad = con.execute(f"SELECT {', '.join(['count(*)', *counts, *empty])} FROM raw_{name}").fetchall()[0]
    if rows == 0:
        raise WinbackError(f"Table {name}: {source.file} has a header but no rows. Export it again.")
    for (column, test), number in zip(wrong.items(), bad, strict=False):
        if number:
            raise WinbackError(_complaint(con, name, source, test=test, column=names[column], rows=rows, bad=number,
                                          kind=kinds[column].rstrip("!")))  # fmt: skip
    filled = zip(source.fill.items(), bad[len(wrong) :], strict=True)
    return rows, "".join(f"; {number:,} empty {column} filled with {text}" for (column, text), number in filled)


def _complaint(
    con: duckdb.DuckDBPyConnection, name: str, source: Source, *, test: str, column: str, rows: int, bad: int, kind: str
) -> str:
    cell = f"CAST({quote(column)} AS VARCHAR)"
    example = con.execute(f"SELECT {cell} FROM raw_{name} WHERE {test} ORDER BY 1 LIMIT 1").fetchall()[0][0]
    what = "an empty cell" if example is None else f"for example {example!r}"
    return (
        f"Table {name} ({source.file}), column {column!r}: {bad:,} of {rows:,} rows are no {kind}, {what}. {CURES[kind]}"
    )


def money_decimals(currency: str) -> int:
    """Return the digits after the point of a currency's minor unit (ISO 4217).

    >>> money_decimals("USD"), money_decimals("JPY"), money_decimals("KWD")
    (2, 0, 3)
    """
    if not re.fullmatch("[A-Z]{3}", currency):
        raise WinbackError(f"Currency {currency!r} is no three-letter code. Write one of ISO 4217, such as USD.")
    zero = {"BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF"}
    three = {"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"}
    return 0 if currency in zero else 3 if currency in three else 2
