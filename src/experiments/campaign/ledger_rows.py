"""Rows that are to be booked: refused where nobody could be assigned by them; and values as SQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from experiments.common.errors import WinbackError, did_you_mean, short
from experiments.data.columns import literal
from experiments.data.tables import refuse_duplicates

if TYPE_CHECKING:
    import duckdb


def refuse_rows(con: duckdb.DuckDBPyConnection, table: str, *, holdout: str | None) -> int:
    """Refuse rows that nobody could be assigned by; return their number."""
    fields = ("customer_id", "arm", "stratum", "bucket")
    with reading(table):
        counted = ", ".join(f"count({name})" for name in fields)
        ((rows, *filled, blank, customers),) = con.execute(
            f"SELECT count(*), {counted}, count(CASE WHEN customer_id = '' THEN 1 END), "
            "count(DISTINCT customer_id) FROM winback_incoming"
        ).fetchall()
        arms = [row[0] for row in con.execute("SELECT DISTINCT arm FROM winback_incoming ORDER BY 1").fetchall()]
    if not rows:
        raise WinbackError(f"Table {table} has no rows, so there is nobody to book. Assign customers first.")
    for name, number in zip(fields, filled, strict=True):
        empty = rows - number + (blank if name == "customer_id" else 0)
        if empty:
            raise WinbackError(f"Table {table}: {empty:,} of {rows:,} rows have no {name}. Fill them.")
    if customers < rows:
        refuse_duplicates(con, "winback_incoming", called=f"Table {table}", cure="remove the others.")
    if holdout is not None and holdout not in arms:
        raise WinbackError(f"Table {table} has no arm {holdout!r}. {did_you_mean(holdout, arms)}")
    return int(rows)


@contextmanager
def reading(table: str) -> Iterator[None]:
    """Tell what the engine says of a table in a line."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        told = next(iter(str(error).strip().splitlines()), "")
        raise WinbackError(
            f"Table {table} cannot be read: {short(told, 300)} Give the name of a table of the engine "
            "that the ledger was opened with."
        ) from None


def value_sql(value: object) -> str:
    """Return a value as SQL."""
    if value is None:
        return "NULL"
    if isinstance(value, datetime):
        return f"TIMESTAMP {literal(value)}"
    if isinstance(value, date):
        return f"DATE {literal(value)}"
    return str(value) if isinstance(value, int) else literal(value)


def now() -> datetime:
    """Return the moment, in UTC, without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)
