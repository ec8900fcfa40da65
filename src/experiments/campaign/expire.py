"""Whose time is over: nobody's data are kept longer than the sheet's `keep_months` after their own last contact."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.common.errors import WinbackError
from experiments.data.columns import literal, quote
from experiments.data.pseudonyms import MARK
from experiments.data.tables import columns_of, connect, read
from experiments.sheet.places import tests_in
from experiments.sheet.sheet import Sheet, loaded

if TYPE_CHECKING:
    import duckdb

# What a customer does, by table: its days. What the company does, such as a call that reached nobody, is not theirs.
OWN_DAYS = {"purchases": ("at",), "inquiries": ("at",), "contacts": ("accepted_at", "refused_at"),
            "consents": ("given_at",), "customers": ("cancelled_at", "since")}  # fmt: skip


def find_expired(sheet: Sheet | str | Path, *, today: date) -> tuple[str, ...]:
    """Return the customers in the private folder of a workspace whose own last contact is too long ago, in order.

    Of whom no day of their own is known, nothing is said. Raises WinbackError where the sheet has no `keep_months`.
    """
    content = loaded(sheet)
    if content.keep_months is None:
        raise WinbackError("The sheet does not say how long data are kept. Add `keep_months: 36`, as your law has it.")
    with connect() as con:
        con.execute("CREATE TEMP TABLE own_days (customer_id VARCHAR, day DATE)")
        for table, columns in OWN_DAYS.items():
            source = content.tables.get(table)
            if source is not None and source.there(content.folder):
                read(con, table, source, folder=content.folder, conventions=content.conventions)
                _add(con, table, columns)
        con.execute("CREATE TEMP TABLE there (customer_id VARCHAR)")
        for private in tests_in(content.private.folder.parent):
            for file in private.files():
                if file.suffix == ".parquet":
                    rows = f"read_parquet({literal(file)})"
                    con.execute(f"INSERT INTO there SELECT DISTINCT CAST(customer_id AS VARCHAR) FROM {rows}")
        found = con.execute(
            "SELECT customer_id FROM own_days SEMI JOIN there USING (customer_id) "
            f"WHERE customer_id NOT LIKE '{MARK}%' GROUP BY customer_id "
            f"HAVING max(day) < DATE '{today}' - INTERVAL {content.keep_months} MONTH ORDER BY 1"
        )
        return tuple(row[0] for row in found.fetchall())


def _add(con: duckdb.DuckDBPyConnection, table: str, columns: tuple[str, ...]) -> None:
    there = columns_of(con, table)
    for column in columns:
        if column in there:
            last = f"max({quote(column)})"
            con.execute(f"INSERT INTO own_days SELECT CAST(customer_id AS VARCHAR), {last} FROM {table} GROUP BY 1")
