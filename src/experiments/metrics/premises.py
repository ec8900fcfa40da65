"""What must hold before any number does: tables that speak of the same customers, and of each purchase once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.common.finding import Finding, State
from experiments.data.columns import WHOLE, literal
from experiments.data.identity import DIGITS, alike_sql
from experiments.data.tables import columns_of, statements
from experiments.sheet.sheet import Sheet

if TYPE_CHECKING:
    import duckdb

SUSPECT, BROKEN = 0.01, 0.1  # shares of rows that match only by a doubtful spelling, or nobody: warn, stop


def match(con: duckdb.DuckDBPyConnection, table: str, *, own: str = "TRUE", all_ours: bool = False) -> Finding:
    """Return how many rows of a table are of customers of the test.

    `own`: SQL that keeps this test's rows; `all_ours`: whether every row must be of somebody assigned. Stops where no
    row matches; rows that match only after a doubtful respelling (zeros, letter case, digits a spreadsheet cut), and
    where `all_ours` those of nobody assigned, warn from 1 % and stop from a tenth of the rows that concern the test.
    """
    steps = statements("premises")
    rows, matched = con.execute(steps["matched"].format(table=table, own=own)).fetchall()[0]
    doubtful, ours, theirs = _alike(con, table, own) if matched < rows else (0, None, None)
    strangers = 0
    if all_ours and matched < rows:
        strangers = con.execute(steps["strangers"].format(table=table, own=own)).fetchall()[0][0]
    if rows and not matched:
        theirs, ours = con.execute(steps["examples"].format(table=table)).fetchall()[0]
    odd = max(doubtful / max(1, matched + doubtful), strangers / max(1, rows))
    state: State = "stop" if (rows and not matched) or odd >= BROKEN else "warn" if odd >= SUSPECT else "pass"
    case = "none" if rows and not matched else "doubtful" if doubtful else "strangers" if strangers else ""
    facts = {"table": table, "rows": rows, "matched": matched, "doubtful": int(doubtful), "strangers": strangers}
    facts |= {"theirs": theirs or "", "ours": ours or ""}
    return Finding(key="match", state=state, case=case, facts=facts)


def _alike(con: duckdb.DuckDBPyConnection, table: str, own: str) -> tuple[int, str | None, str | None]:
    """Return how many rows match only by a doubtful spelling, with one customer of each side."""
    kinds = {columns_of(con, name)["customer_id"] for name in (table, "assigned")}
    if kinds <= WHOLE and not _long(con):
        return 0, None, None  # whole numbers have one spelling
    query = statements("premises")["alike"]
    texts = {"alike_a": alike_sql("a.customer_id"), "alike_s": alike_sql("s.customer_id")}
    doubtful, ours, theirs = con.execute(query.format(table=table, own=own, **texts)).fetchall()[0]
    return doubtful, ours, theirs


def _long(con: duckdb.DuckDBPyConnection) -> bool:
    longest = con.execute("SELECT max(customer_id) FROM assigned").fetchall()[0][0]
    return longest is not None and int(longest) >= 10**DIGITS


def repeats(con: duckdb.DuckDBPyConnection, sheet: Sheet) -> Finding:
    """Count the purchases of the test's customers that repeat another one, with their money. Any warns.

    Two files that overlap book a bill twice; two equal purchases on one day do the same. Which it is, only the company
    knows: `repeats: drop` or `repeats: keep` of the table settles it.
    """
    settled = sheet.tables["purchases"].repeats
    order = ", p.order_id" if "order_id" in columns_of(con, "purchases") else ""
    number, money = con.execute(statements("premises")["repeats"].format(order=order)).fetchall()[0]
    facts = {"n": int(number), "money": int(money) / 10**sheet.decimals, "currency": sheet.currency}
    state: State = "warn" if number and settled is None else "pass"
    return Finding(key="repeats", state=state, case=settled or ("some" if number else "none"), facts=facts)


def own_rows(con: duckdb.DuckDBPyConnection, sheet: Sheet, table: str) -> str:
    """Return the SQL that keeps the rows of this test, where the table says of which test they are."""
    return f"experiment = {literal(sheet.experiment)}" if "experiment" in columns_of(con, table) else "TRUE"
