"""Customers who were forgotten: what numbers need of their rows is kept without a name, and stands in their place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.data.columns import literal, quote
from experiments.data.contracts import CONTRACTS, Conventions, Source
from experiments.data.pseudonyms import Pseudonyms, pseudonyms
from experiments.data.tables import Account, Table, columns_of, read, write_parquet

if TYPE_CHECKING:
    import duckdb

PERSONAL = ("name", "phone")  # columns of the contracts that nothing computes with


def with_kept(con: duckdb.DuckDBPyConnection, name: str, folder: Path, account: Account) -> Account:
    """Make the view of a table from <name>_as_read, with what is kept of customers who were forgotten.

    It stands in the place of their own rows, if those are still there: so no number changes, whether the company has
    removed its rows or not. Return the account of the table.
    """
    kept, words = folder / f"{name}.parquet", pseudonyms()
    rows = f"SELECT * REPLACE (CAST(customer_id AS VARCHAR) AS customer_id) FROM {name}_as_read"
    gone, more, last = 0, 0, account.last
    if words is not None:
        con.execute(
            "CREATE OR REPLACE TEMP TABLE known_forgotten AS SELECT DISTINCT customer_id FROM "
            f"read_parquet({literal(folder / '*.parquet')}, union_by_name = true)"
        )
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE {name}_forgotten AS SELECT customer_id FROM (SELECT DISTINCT "
            f"CAST(customer_id AS VARCHAR) AS customer_id FROM {name}_as_read) AS customers WHERE "
            f"{words.sql('customer_id')} IN (SELECT customer_id FROM known_forgotten)"
        )
        own = f"CAST(customer_id AS VARCHAR) IN (SELECT customer_id FROM {name}_forgotten)"
        gone = con.execute(f"SELECT count(*) FROM {name}_as_read WHERE {own}").fetchall()[0][0]
        rows += f" WHERE CAST(customer_id AS VARCHAR) NOT IN (SELECT customer_id FROM {name}_forgotten)" if gone else ""
    if kept.is_file():
        columns = columns_of(con, f"{name}_as_read")
        there = columns_of(con, f"SELECT * FROM read_parquet({literal(kept)})")
        cells = ", ".join(
            f"CAST({quote(column) if column in there else 'NULL'} AS {'VARCHAR' if column == 'customer_id' else kind}) "
            f"AS {quote(column)}"
            for column, kind in columns.items()
        )
        rows += f" UNION ALL SELECT {cells} FROM read_parquet({literal(kept)})"
        day = 'max("at")' if "at" in there else "NULL"
        more, latest = con.execute(f"SELECT count(*), {day} FROM read_parquet({literal(kept)})").fetchall()[0]
        last = max(filter(None, (last, latest)), default=None)
    con.execute(f"CREATE OR REPLACE VIEW {name} AS {rows}")
    return replace(account, rows=account.rows - gone + more, kept=account.kept - gone + more, last=last)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A customer in a table of the company."""

    con: duckdb.DuckDBPyConnection
    name: str  # of the table
    source: Source
    folder: Path
    conventions: Conventions
    customer: str  # as every table writes it

    def rows(self) -> Iterator[tuple[Path, list[int]]]:
        """Yield the files that hold the customer, with the rows, as a spreadsheet counts them."""
        table = Table.opened(self.con, self.name, self.source, self.folder, self.conventions)
        table.understand()
        test = f"CAST({table.cells['customer_id'].typed} AS VARCHAR) = {literal(self.customer)}"
        return ((path, rows) for path, rows in table.numbered(test) if rows)

    def keep(self, words: Pseudonyms, *, into: Path) -> None:
        """Keep what numbers need of the customer's rows in the table's file in the folder `into`; once."""
        read(self.con, self.name, self.source, folder=self.folder, conventions=self.conventions)
        cells = ", ".join(
            f"{literal(words.of(self.customer))} AS customer_id" if column == "customer_id" else quote(column)
            for column in columns_of(self.con, self.name)
            if column not in PERSONAL
        )
        self.con.execute(
            f"CREATE OR REPLACE TEMP TABLE to_keep AS SELECT {cells} FROM {self.name} "
            f"WHERE CAST(customer_id AS VARCHAR) = {literal(self.customer)}"
        )
        file = into / f"{self.name}.parquet"
        earlier = f"read_parquet({literal(file)})" if file.is_file() else "(FROM to_keep WHERE FALSE)"
        self.con.execute(
            f"CREATE OR REPLACE TEMP TABLE all_kept AS FROM {earlier} UNION ALL BY NAME SELECT * FROM to_keep "
            f"WHERE customer_id NOT IN (SELECT customer_id FROM {earlier})"
        )
        if self.con.execute("SELECT count(*) FROM to_keep").fetchall()[0][0]:
            write_parquet(self.con, "all_kept", file, private=True)


def is_of_customers(name: str) -> bool:
    """Tell whether a table of the contracts is about customers."""
    return "customer_id" in CONTRACTS[name]
