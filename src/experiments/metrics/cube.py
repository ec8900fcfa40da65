"""From tables to the cube: customers stay in the engine, sums come out."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments.common.errors import WinbackError
from experiments.common.finding import Finding
from experiments.data.tables import Account, columns_of, connect, noted, read, refuse_duplicates, statements
from experiments.metrics.clock import follow_contacts, put_on_clock, take_assignments
from experiments.metrics.premises import match, own_rows, repeats
from experiments.metrics.sums import Cube
from experiments.sheet.offers import NO_END, durations, percentages
from experiments.sheet.sheet import Sheet, loaded

if TYPE_CHECKING:
    import duckdb
    from numpy.typing import NDArray

    Counts = NDArray[np.int64]

__all__ = ["Cube", "make_cube"]

Rows = dict[str, "Counts"]
WINSORISED = 0.99  # quantile of customers' value above which the winsorised rows stop counting
NO_CAP = 2**62
ONE_TICK = date(2000, 2, 1)  # results without dates have a clock of one month, from 2000-01-01


def make_cube(
    sheet: str | Path | Sheet, folder: Path | None = None, *, months: int | None = None, threads: int | None = None
) -> Cube:
    """Read the tables of a sheet and fold them into the cube: one pass over the purchases.

    `sheet` is a Sheet or its path; `folder`: of its tables, where they do not lie beside it. `months` is the length of
    the month axis; by default the longer of horizon and window. `threads` of the engine; by default all. The sums
    are the same whatever the order of the rows and the number of threads. Raises WinbackError for tables that are
    not what they must be.
    """
    sheet = loaded(sheet, folder)
    sheet.need_arms()
    months = months or max(sheet.horizon_months, sheet.window_months)
    with connect(threads=threads) as con:
        if sheet.dated:
            return _dated(con, sheet, sheet.folder, months=months)
        if "outcomes" in sheet.tables:
            return _undated(con, sheet, sheet.folder)
    raise WinbackError(
        "The sheet names neither `purchases` nor `outcomes`: without results there is no readout. "
        "Add one of them under `tables`."
    )


def _dated(con: duckdb.DuckDBPyConnection, sheet: Sheet, folder: Path, *, months: int) -> Cube:
    clocked = put_on_clock(con, sheet, folder, months=months, totals=sheet.winsorise)
    steps, contacts = statements("cube"), clocked.contacts
    assigned = _rows(con, steps["assigned_sums"])
    con.execute("DROP TABLE followed")
    values = _rows(con, steps["value_sums"])
    grid = _Grid(cells=np.unique(assigned["lane"] // 2), months=months)
    customers, known = int(assigned["assigned"].sum()), contacts is not None
    return Cube(
        arms=tuple(sheet.arms),
        strata=clocked.strata,
        dated=True,
        contacts_known=known,
        margin_share=1.0 if clocked.value == "margin" else sheet.margin_share,
        cells=grid.cells,
        sums={name: grid.total(assigned, name) for name in ("assigned", "attempts", "reached")}
        | _lives(con, sheet, grid, assigned, known=known)
        | _money(con, sheet, grid, values, customers=customers, price=clocked.price, known=known),
        accounts=(
            *clocked.others,
            _purchases_account(clocked.purchases, values, months),
            *([contacts] if contacts else []),
        ),
        premises=_premises(con, sheet, "purchases"),
        last_purchase=clocked.purchases.last,
    )


def _premises(con: duckdb.DuckDBPyConnection, sheet: Sheet, results: str) -> tuple[Finding, ...]:
    """Return whether the tables of the test speak of the same customers, and of each purchase once."""
    found = [match(con, results, all_ours=results == "outcomes")]
    if "contacts" in sheet.tables:
        own = own_rows(con, sheet, "contacts")
        found.append(match(con, "contacts", own=own, all_ours=own != "TRUE"))
    return (*found, repeats(con, sheet)) if results == "purchases" else tuple(found)


def _lives(
    con: duckdb.DuckDBPyConnection, sheet: Sheet, grid: _Grid, assigned: Rows, *, known: bool
) -> dict[str, Counts]:
    """Return the sums of customers: watched, returned, active, and how long acceptors stayed.

    `known`: contacts tell who accepted; else everybody who returned counts as having accepted.
    """
    steps, took = statements("cube"), _accepted if known else dict
    life_columns = ", ".join(f"sum((life >> {k}) & 1) AS life_{k}" for k in range(grid.months))
    lives = _rows(con, steps["life_sums"].format(life_columns=life_columns))
    left = _rows(con, steps["left_sums"])
    lengths = took(_rows(con, steps["duration_sums"]))
    lengths["place"] = lengths["months"] - 1
    ended, stayed = (_where(lengths, lengths["stayed"] == still) for still in (0, 1))
    accepted = grid.total(_accepted(assigned), "assigned") if known else grid.total(lives, "customers")
    return {
        "accepted": accepted,
        "followed": grid.total(assigned, "assigned")[:, None] - grid.so_far(assigned, "assigned", month="months"),
        "active": grid.active(lives),
        "returned": grid.so_far(lives, "customers", month="first") - grid.so_far(left, "customers", month="months"),
        "ended": grid.by_month(ended, "customers", month="place"),
        "stayed": grid.by_month(stayed, "customers", month="place"),
    } | {f"promoted_{length}": grid.active(took(lives), upto=length) for length in durations(sheet.every_offer)}


def _money(
    con: duckdb.DuckDBPyConnection, sheet: Sheet, grid: _Grid, values: Rows, *, customers: int, price: str, known: bool
) -> dict[str, Counts]:
    """Return the sums of money: value before and after the assignment, winsorised, of acceptors, and what they paid."""
    steps, months, took = statements("cube"), grid.months, _accepted if known else dict
    inside = _where(values, (values["month"] >= 0) & (values["month"] < months))
    value = capped = grid.by_month(inside, "value")
    if sheet.winsorise:
        cap = _cap(con, steps["cap"], customers=customers)
        capped = value - grid.by_month(_rows(con, steps["excess_sums"].format(cap=cap, outside=months)), "excess")
    paid = {
        f"paid_{length}": steps["paid_sums"].format(price=price, upto=length or months, outside=months)
        for length in percentages(sheet.every_offer)
    }
    return {
        "value": value,
        "value_capped": capped,
        "value_accepted": grid.by_month(took(inside), "value"),
        "cost": np.zeros_like(value),
        "before": grid.total(_where(values, values["month"] < 0), "value"),
    } | {name: grid.by_month(took(_rows(con, query)), "paid") for name, query in paid.items()}


def _undated(con: duckdb.DuckDBPyConnection, sheet: Sheet, folder: Path) -> Cube:
    offers = sheet.every_offer
    if durations(offers) or any(length != NO_END for length in percentages(offers)):
        raise WinbackError(
            "The sheet has offers with costs for some months (`monthly`, `months`), but results without dates do not "
            "tell how many months were paid. Give the cost of each customer as the column `cost` of outcomes."
        )
    outcomes = read(con, "outcomes", sheet.tables["outcomes"], folder=folder, conventions=sheet.conventions)
    if "returned" in columns_of(con, "outcomes"):
        refuse_duplicates(con, "outcomes")
    strata, accounts = take_assignments(con, sheet, folder, results="outcomes")
    transactions = _fold_transactions(con)
    contacts = follow_contacts(con, sheet, folder, months=1, until=ONE_TICK)
    assigned = _rows(con, statements("cube")["assigned_sums"])
    grid = _Grid(cells=np.unique(assigned["lane"] // 2), months=1)
    total, none = grid.total(assigned, "assigned"), np.zeros((len(grid.cells), 1), np.int64)
    sums = _outcome_sums(con, sheet, customers=int(total.sum()), contacts_known=contacts is not None)
    known = int(sums["known"].sum())
    silent = int(total.sum()) - known
    account = Account(
        table="outcomes",
        rows=outcomes.rows,
        kept=known if transactions is None else transactions,
        why=(noted("not_assigned"),),
        notes=(*outcomes.notes, *((noted("no_outcome", n=silent),) if silent else ())),
    )
    found = {name: grid.total(sums, name) for name in sums if name not in ("lane", "known", "accepted")}
    found |= {f"paid_{length}": found["value_accepted"] for length in percentages(offers)}
    once = {"assigned": total, "accepted": grid.total(sums, "accepted"), "before": np.zeros_like(total)}
    once |= {name: grid.total(assigned, name) for name in ("attempts", "reached")}
    return Cube(
        arms=tuple(sheet.arms),
        strata=strata,
        dated=False,
        contacts_known=contacts is not None,
        margin_share=sheet.margin_share,
        cells=grid.cells,
        sums=once
        | {name: part[:, None] for name, part in (found | {"followed": total}).items()}
        | dict.fromkeys(("active", "ended", "stayed"), none),
        accounts=(*accounts, account, *([contacts] if contacts else [])),
        premises=_premises(con, sheet, "outcomes"),
    )


def _outcome_sums(con: duckdb.DuckDBPyConnection, sheet: Sheet, *, customers: int, contacts_known: bool) -> Rows:
    """Return the sums of results without dates, by lane; where nobody knows who accepted, who returned did."""
    steps, columns = statements("cube"), columns_of(con, "outcomes")
    value = _value_of_outcomes(sheet, columns)
    cost = "coalesce(o.cost, 0)" if "cost" in columns else "0"
    cap = _cap(con, steps["outcome_cap"].format(value=value, passing="{passing}"), customers=customers)
    took = "f.lane % 2 = 1" if contacts_known else "o.returned"
    return _rows(con, steps["outcome_sums"].format(took=took, cost=cost, cap=cap, value=value))


def _fold_transactions(con: duckdb.DuckDBPyConnection) -> int | None:
    """Make one row a customer of outcomes that do not say who returned: transactions, of which any is a return.

    Return how many of them are of customers of the test; None of outcomes that are no transactions.
    """
    columns = columns_of(con, "outcomes")
    if "returned" in columns:
        return None
    if "value" not in columns:
        raise WinbackError(
            "Table outcomes has neither a column 'returned' nor 'value': who came back? Map one of them: `columns: "
            "{returned: <name in the file>}`."
        )
    ours = con.execute("SELECT count(*) FROM outcomes AS o JOIN assigned AS a ON o.customer_id = a.customer_id")
    ((known,),) = ours.fetchall()
    cost = ", CAST(sum(cost) AS BIGINT) AS cost" if "cost" in columns else ""
    con.execute(
        "CREATE TEMP TABLE folded AS SELECT customer_id, coalesce(max(value), 0) > 0 AS returned, "
        f"CAST(sum(value) AS BIGINT) AS value{cost} FROM outcomes GROUP BY customer_id"
    )
    con.execute("CREATE OR REPLACE TEMP VIEW outcomes AS SELECT * FROM folded")
    return int(known)


def _value_of_outcomes(sheet: Sheet, columns: Collection[str]) -> str:
    """Return the SQL of what a customer brought: the column `value`, or what the sheet says a return is worth."""
    if sheet.value_of_return is not None and "value" in columns:
        raise WinbackError(
            "Table outcomes has a column 'value', and the sheet says `value_of_return`: keep one of them."
        )
    if sheet.value_of_return is not None:
        worth = round(sheet.value_of_return * 10**sheet.decimals)
        return f"CASE WHEN o.returned THEN {worth} ELSE 0 END"
    if "value" in columns:
        return "coalesce(o.value, 0)"
    if sheet.objective == "returned":
        return "0"
    raise WinbackError(
        f"Table outcomes has no column 'value', and {sheet.objective} needs what customers brought. Map it: `columns: "
        "{value: <name in the file>}`; or say what a return is worth, `value_of_return: 10`; or `objective: returned`."
    )


def _rows(con: duckdb.DuckDBPyConnection, query: str) -> Rows:
    """Return a small result as integer columns."""
    return {name: np.asarray(column, dtype=np.int64) for name, column in con.execute(query).fetchnumpy().items()}


def _cap(con: duckdb.DuckDBPyConnection, query: str, *, customers: int) -> int:
    """Return the value that the share 1 - WINSORISED of all customers passes; no cap where fewer brought any."""
    passing = int((1 - WINSORISED) * customers)
    found = con.execute(query.format(passing=passing)).fetchall()
    return int(found[0][0]) if found and found[0][0] > 0 else NO_CAP


def _where(rows: Rows, chosen: NDArray[np.bool_]) -> Rows:
    return {name: column[chosen] for name, column in rows.items()}


def _accepted(rows: Rows) -> Rows:
    """Return the rows of customers who accepted: odd lanes."""
    return _where(rows, rows["lane"] % 2 == 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grid:
    """The cells that have customers, and how rows of the engine are added up into them."""

    cells: Counts
    months: int

    def total(self, rows: Rows, name: str) -> Counts:
        """Return a column of rows by cell: (cells,)."""
        found = np.zeros(len(self.cells), np.int64)
        np.add.at(found, self._place(rows), rows[name])
        return found

    def by_month(self, rows: Rows, name: str, *, month: str = "month") -> Counts:
        """Return a column of rows by cell and month: (cells, months); a month beyond them does not count."""
        found = np.zeros((len(self.cells), self.months + 1), np.int64)
        np.add.at(found.reshape(-1), self._place(rows) * (self.months + 1) + rows[month], rows[name])
        return np.ascontiguousarray(found[:, :-1])

    def so_far(self, rows: Rows, name: str, *, month: str) -> Counts:
        """Return how many by the end of each month: (cells, months)."""
        return self.by_month(rows, name, month=month).cumsum(axis=-1)

    def active(self, lives: Rows, *, upto: int | None = None) -> Counts:
        """Return how many customers bought in each month since assignment, from months since their first purchase."""
        active = np.zeros((len(self.cells), self.months), np.int64)
        place = self._place(lives) * self.months
        for k in range(min(upto or self.months, self.months)):
            month = lives["first"] + k
            seen = month < self.months
            np.add.at(active.reshape(-1), (place + month)[seen], lives[f"life_{k}"][seen])
        return active

    def _place(self, rows: Rows) -> NDArray[np.intp]:
        return np.searchsorted(self.cells, rows["lane"] // 2)


def _purchases_account(purchases: Account, values: Rows, months: int) -> Account:
    """Return where the purchases went: outside the test, before it, after its last month."""
    count, month = values["purchases"], values["month"]
    matched, before, after = (int(rows.sum()) for rows in (count, count[month < 0], count[month >= months]))
    why = noted("purchases_outside", outside=purchases.rows - matched, before=before, after=after)
    return replace(purchases, kept=matched - before - after, why=(why,))
