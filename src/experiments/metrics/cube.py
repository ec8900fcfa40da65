"""The cube: customers stay in the engine, sums come out.

Every estimate is a function of these sums: arm x stratum x bucket x month since assignment.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments.common.errors import WinbackError, did_you_mean
from experiments.data.columns import literal
from experiments.data.randomise import BUCKETS
from experiments.data.tables import (
    Account,
    columns_of,
    connect,
    noted,
    read,
    refuse_duplicates,
    same_ids,
    sql,
    statements,
)
from experiments.sheet.offers import NO_END, durations, percentages
from experiments.sheet.sheet import SEPARATOR, Sheet

if TYPE_CHECKING:
    import duckdb
    from numpy.typing import NDArray

    Counts = NDArray[np.int64]

Rows = dict[str, "Counts"]
WINSORISED = 0.99  # quantile of customers' value above which the winsorised rows stop counting
NO_CAP = 2**62
ONE_TICK = date(2000, 2, 1)  # results without dates have a clock of one month, from 2000-01-01


@dataclass(frozen=True, slots=True, kw_only=True)
class Cube:
    """Sums of a test. Money in minor units.

    Shapes: `assigned`, `attempts`, `reached`, `accepted` (arms, strata, buckets); all others have months
    as a fourth axis. Month t is the t-th whole month since assignment; without dates there is one month
    and no lifetime (`dated` is False).
    """

    arms: tuple[str, ...]
    strata: tuple[str, ...]
    dated: bool
    contacts_known: bool
    margin_share: float  # value counts margin; where the data have only revenue, this share of it
    assigned: Counts
    attempts: Counts
    reached: Counts
    accepted: Counts
    followed: Counts  # customers watched to the end of month t
    active: Counts  # of them, bought in month t
    returned: Counts  # of them, bought by the end of month t
    value: Counts  # margin in month t of customers watched to its end
    value_capped: Counts  # the same, customers above the WINSORISED quantile of all assigned counting with it
    value_accepted: Counts  # the part that acceptors brought
    cost: Counts  # costs found in the data
    promoted: dict[int, Counts]  # promotion months: acceptors active in month t, within so many months of return
    ended: Counts  # acceptors who bought for t + 1 months from their first purchase and then no more
    stayed: Counts  # acceptors who bought for t + 1 months and were still buying when last seen
    before: Counts  # (arms, strata, buckets): value before the assignment, the covariate of the first lifetime
    accounts: tuple[Account, ...] = ()
    last_purchase: date | None = None  # of anybody, in the test or not
    # Promotion months, or NO_END: what acceptors paid in month t, within so many months of return. For percentages.
    paid: dict[int, Counts] = field(default_factory=dict)

    @property
    def months(self) -> int:
        """Length of the month axis."""
        return int(self.followed.shape[-1])


def leave_one_out(sums: Counts | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sums over strata with every bucket left out in turn.

    `sums` has shape (arms, strata, buckets, ...); the result (1 + buckets, arms, ...). Row 0 is everything,
    row 1 + b everything but bucket b: the replicates of the jackknife.
    """
    by_bucket = np.moveaxis(sums.sum(axis=1), 1, 0)
    total = by_bucket.sum(axis=0)
    return np.concatenate((total[None], total - by_bucket)).astype(float)


def make_cube(sheet: Sheet, folder: Path, *, months: int | None = None, threads: int | None = None) -> Cube:
    """Read the tables of a sheet and fold them into the cube: one pass over the purchases.

    `months` is the length of the month axis; by default the longer of horizon and window.
    Raises WinbackError for tables that are not what they must be.
    """
    sheet.need_arms()
    months = months or max(sheet.horizon_months, sheet.window_months)
    with connect(threads=threads) as con:
        if sheet.dated:
            return _dated(con, sheet, folder, months=months)
        if "outcomes" in sheet.tables:
            return _undated(con, sheet, folder)
    raise WinbackError("The sheet names neither `purchases` nor `outcomes`: without results there is no readout. "
                       "Add one of them under `tables`.")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocked:
    """Tables on the clock of the test: the engine now has `assigned`, `followed`, `activity` and `lives`."""

    strata: tuple[str, ...]
    months: int
    value: str  # the column of purchases that is value: margin, or amount where there is none
    price: str  # the column of `activity` that percentages are of
    purchases: Account
    contacts: Account | None
    others: tuple[Account, ...]


def put_on_clock(
    con: duckdb.DuckDBPyConnection, sheet: Sheet, folder: Path, *, months: int, totals: bool = True
) -> Clocked:
    """Read assignments, contacts and purchases, and count each customer's months from its assignment."""
    until = sheet.followed_until
    purchases = read(con, "purchases", sheet.tables["purchases"], folder=folder, decimals=sheet.decimals,
                     needed=["margin"])  # fmt: skip
    if until is None:
        raise WinbackError(
            "The sheet does not say how far the data reach. Write `followed_until:` with the first day they know "
            f"nothing about; the last purchase is of {purchases.last}."
        )
    strata, accounts = _assigned(con, sheet, folder, results="purchases")
    contacts = _follow(con, sheet, folder, months=months, until=until)
    value = "margin" if "margin" in columns_of(con, "purchases") else "amount"
    # A percentage is of the price: where an offer asks for it, the amount is kept beside the margin.
    beside = value == "margin" and bool(percentages(sheet.every_offer))
    kept, amount = (", amount", ", p.amount AS amount") if beside else ("", "")
    con.execute(statements("cube")["activity"].format(value=value, kept=kept, amount=amount, outside=months))
    total = "sum(value)" if totals else "0"  # of a customer: winsorising and the drivers ask for it
    con.execute(statements("cube")["lives"].format(outside=months, total=total))
    return Clocked(
        strata=strata, months=months, value=value, price="amount" if beside else "value", purchases=purchases,
        contacts=contacts, others=tuple(accounts),
    )  # fmt: skip


def _dated(con: duckdb.DuckDBPyConnection, sheet: Sheet, folder: Path, *, months: int) -> Cube:
    clocked = put_on_clock(con, sheet, folder, months=months, totals=sheet.winsorise)
    steps = statements("cube")
    strata, contacts = clocked.strata, clocked.contacts
    assigned = _rows(con, steps["assigned_sums"])
    con.execute("DROP TABLE followed")
    values = _rows(con, steps["value_sums"])
    life_columns = ", ".join(f"sum((life >> {k}) & 1) AS life_{k}" for k in range(months))
    lives = _rows(con, steps["life_sums"].format(life_columns=life_columns))
    left = _rows(con, steps["left_sums"])
    took = _accepted if contacts else dict  # without contacts everybody who returned counts as having accepted
    lengths = took(_rows(con, steps["duration_sums"]))
    lengths["place"] = lengths["months"] - 1

    shape = (len(sheet.arms), len(strata), BUCKETS)
    by_month, ends = (*shape, months), (*shape, months + 1)
    total = _spread(shape, assigned, "assigned")
    inside = _where(values, (values["month"] >= 0) & (values["month"] < months))
    value, excess = _spread(by_month, inside, "value", month="month"), np.zeros(by_month, np.int64)
    if sheet.winsorise:
        cap = _cap(con, steps["cap"], customers=int(total.sum()))
        above = _rows(con, steps["excess_sums"].format(cap=cap, outside=months))
        excess = _spread(by_month, above, "excess", month="month")
    paid = {length: _rows(con, steps["paid_sums"].format(price=clocked.price, upto=length or months, outside=months))
            for length in percentages(sheet.every_offer)}  # fmt: skip
    return Cube(
        arms=tuple(sheet.arms),
        strata=strata,
        dated=True,
        contacts_known=contacts is not None,
        margin_share=1.0 if clocked.value == "margin" else sheet.margin_share,
        assigned=total,
        attempts=_spread(shape, assigned, "attempts"),
        reached=_spread(shape, assigned, "reached"),
        accepted=_spread(shape, _accepted(assigned), "assigned") if contacts else _spread(shape, lives, "customers"),
        followed=total[..., None] - _so_far(_spread(ends, assigned, "assigned", month="months")),
        active=_active(lives, by_month),
        returned=_so_far(_spread(ends, lives, "customers", month="first"))
        - _so_far(_spread(ends, left, "customers", month="months")),
        value=value,
        value_capped=value - excess,
        value_accepted=_spread(by_month, took(inside), "value", month="month"),
        cost=np.zeros(by_month, np.int64),
        promoted={length: _active(took(lives), by_month, upto=length) for length in durations(sheet.every_offer)},
        ended=_spread(by_month, _where(lengths, lengths["stayed"] == 0), "customers", month="place"),
        stayed=_spread(by_month, _where(lengths, lengths["stayed"] == 1), "customers", month="place"),
        before=_spread(shape, _where(values, values["month"] < 0), "value"),
        accounts=(*clocked.others, _purchases_account(clocked.purchases, values, months),
                  *([contacts] if contacts else [])),
        last_purchase=clocked.purchases.last,
        paid={length: _spread(by_month, took(rows), "paid", month="month") for length, rows in paid.items()},
    )  # fmt: skip


def _undated(con: duckdb.DuckDBPyConnection, sheet: Sheet, folder: Path) -> Cube:
    offers = sheet.every_offer
    if durations(offers) or any(length != NO_END for length in percentages(offers)):
        raise WinbackError(
            "The sheet has offers with costs for some months (`monthly`, `months`), but results without dates do not "
            "tell how many months were paid. Give the cost of each customer as the column `cost` of outcomes."
        )
    outcomes = read(con, "outcomes", sheet.tables["outcomes"], folder=folder, decimals=sheet.decimals)
    refuse_duplicates(con, "outcomes")
    strata, accounts = _assigned(con, sheet, folder, results="outcomes")
    contacts = _follow(con, sheet, folder, months=1, until=ONE_TICK)
    took = "o.returned" if contacts is None else "f.lane % 2 = 1"
    cost = "coalesce(o.cost, 0)" if "cost" in columns_of(con, "outcomes") else "0"
    steps = statements("cube")
    assigned = _rows(con, steps["assigned_sums"])
    cap = _cap(con, steps["outcome_cap"], customers=int(assigned["assigned"].sum()))
    sums = _rows(con, steps["outcome_sums"].format(took=took, cost=cost, cap=cap))
    shape = (len(sheet.arms), len(strata), BUCKETS)
    cells = {name: _spread(shape, sums, name) for name in sums if name != "lane"}
    total = _spread(shape, assigned, "assigned")
    known, silent = int(sums["known"].sum()), int(total.sum() - sums["known"].sum())
    unknown = (noted("no_outcome", n=silent),) if silent else ()
    account = Account(table="outcomes", rows=outcomes.rows, kept=known, why=(noted("not_assigned"),),
                      notes=(*outcomes.notes, *unknown))  # fmt: skip
    return Cube(
        arms=tuple(sheet.arms),
        strata=strata,
        dated=False,
        contacts_known=contacts is not None,
        margin_share=sheet.margin_share,
        assigned=total,
        attempts=_spread(shape, assigned, "attempts"),
        reached=_spread(shape, assigned, "reached"),
        accepted=cells["accepted"],
        followed=total[..., None],
        active=np.zeros((*shape, 1), np.int64),
        returned=cells["returned"][..., None],
        value=cells["value"][..., None],
        value_capped=cells["capped"][..., None],
        value_accepted=cells["value_accepted"][..., None],
        cost=cells["cost"][..., None],
        promoted={},
        ended=np.zeros((*shape, 1), np.int64),
        stayed=np.zeros((*shape, 1), np.int64),
        before=np.zeros(shape, np.int64),
        accounts=(*accounts, account, *([contacts] if contacts else [])),
        paid=dict.fromkeys(percentages(offers), cells["value_accepted"][..., None]),
    )


def _assigned(
    con: duckdb.DuckDBPyConnection, sheet: Sheet, folder: Path, *, results: str
) -> tuple[tuple[str, ...], list[Account]]:
    """Make the view `assigned` and the table `cells`; return the strata and where the rows went."""
    if "assignments" not in sheet.tables:
        raise WinbackError("The sheet names no table `assignments`: who was in which arm? Add it under `tables`.")
    needed = ("at", "stratum", "bucket") if sheet.dated else ("stratum", "bucket")
    account = read(con, "assignments", sheet.tables["assignments"], folder=folder, needed=needed)
    columns = columns_of(con, "assignments")
    if sheet.dated and "at" not in columns:
        raise WinbackError("Table assignments has no column 'at': the clock of a customer starts at its assignment. "
                           "Map it: `columns: {at: <name in the file>}`.")  # fmt: skip
    same_ids(con, "assignments", results)
    where = f"experiment = {literal(sheet.experiment)}" if "experiment" in columns else "TRUE"
    kept = con.execute(f"SELECT count(*) FROM assignments WHERE {where}").fetchall()[0][0]
    if kept == 0:
        raise WinbackError(f"Table assignments has no row of experiment {sheet.experiment!r}. "
                           "Check `experiment:` in the sheet against the column experiment.")  # fmt: skip
    bucket = "bucket" if "bucket" in columns else sql("bucket", seed=sheet.seed, buckets=BUCKETS)
    con.execute(
        f"CREATE TEMP VIEW assigned AS SELECT customer_id, arm, {bucket} AS bucket, "
        f"{'stratum' if 'stratum' in columns else literal('all')} AS stratum, "
        f"""{'"at"' if sheet.dated else "DATE '2000-01-01'"} AS "at" FROM assignments WHERE {where}"""
    )
    refuse_duplicates(con, "assigned")
    accounts = [
        Account(
            table="assignments", rows=account.rows, kept=kept, why=(noted("other_experiments"),), notes=account.notes
        )
    ]
    return _cells(con, sheet), accounts


def _cells(con: duckdb.DuckDBPyConnection, sheet: Sheet) -> tuple[str, ...]:
    """Make the table cells(arm, stratum, cell) after checking arms, strata and buckets."""
    pairs = con.execute(
        "SELECT arm, stratum, min(bucket), max(bucket), count(*) FROM assigned GROUP BY 1, 2"
    ).fetchall()
    total = sum(pair[4] for pair in pairs)
    for arm in sorted({pair[0] for pair in pairs} - set(sheet.arms)):
        rows = sum(pair[4] for pair in pairs if pair[0] == arm)
        raise WinbackError(f"Table assignments, column 'arm': {rows:,} of {total:,} rows are in an arm {arm!r} that is "
                           f"not in the sheet. {did_you_mean(arm, sheet.arms)}")  # fmt: skip
    for arm in sorted(set(sheet.arms) - {pair[0] for pair in pairs}):
        raise WinbackError(f"Arm {arm!r} of the sheet has no customers in the table assignments. "
                           "Remove it from `arms`, or check its spelling there.")  # fmt: skip
    if any(pair[2] < 0 or pair[3] >= BUCKETS for pair in pairs):
        raise WinbackError(f"Table assignments has values of bucket outside 0 to {BUCKETS - 1}. Leave the column out: "
                           "buckets are then made from the seed.")  # fmt: skip
    strata = tuple(sorted({pair[1] for pair in pairs}))
    odd = [label for label in strata if sheet.strata and len(label.split(SEPARATOR)) != len(sheet.strata)]
    if odd:
        raise WinbackError(
            f"The sheet's strata are {SEPARATOR.join(sheet.strata)!r}, but table assignments has a stratum "
            f"{odd[0]!r}. Map the column: `columns: {{stratum: <name in the file>}}`, with a value for each factor, or "
            "drop `strata`."
        )
    con.execute("CREATE TEMP TABLE cells (arm VARCHAR, stratum VARCHAR, cell INTEGER)")
    for cell, pair in enumerate(product(sheet.arms, strata)):
        con.execute("INSERT INTO cells VALUES (?, ?, ?)", [*pair, cell])
    return strata


def _follow(con: duckdb.DuckDBPyConnection, sheet: Sheet, folder: Path, *, months: int, until: date) -> Account | None:
    """Make the table `followed` from assignments and contacts; return where the contacts went."""
    steps, known = statements("cube"), "contacts" in sheet.tables
    settings = {
        "buckets": BUCKETS,
        "months": months,
        "until_month": until.year * 12 + until.month,
        "until_day": until.day,
        "unasked": "0"
        if known
        else "1"
        if sheet.holdout is None
        else f"CASE WHEN a.arm = {literal(sheet.holdout)} THEN 0 ELSE 1 END",
    }
    if not known:
        con.execute("CREATE TEMP VIEW nobody AS SELECT customer_id, 0 AS attempts, 0 AS reached, 0 AS accepted "
                    "FROM assigned WHERE FALSE")  # fmt: skip
        con.execute(steps["followed"].format(attempts="nobody", **settings))
        return None
    account = read(con, "contacts", sheet.tables["contacts"], folder=folder)
    same_ids(con, "contacts", "assignments")
    columns = columns_of(con, "contacts")
    if "accepted_at" not in columns:
        raise WinbackError("Table contacts has no column 'accepted_at': who said yes? Map it in the sheet: "
                           "`columns: {accepted_at: <name in the file>}`.")  # fmt: skip
    this = f"experiment = {literal(sheet.experiment)}" if "experiment" in columns else "TRUE"
    for attempts in ("once", "several"):
        reached = "reached" if "reached" in columns else "TRUE"
        con.execute(steps[attempts].format(reached=reached, this_experiment=this))
        con.execute(steps["followed"].format(attempts=attempts, **settings))
        rows, assigned = con.execute("SELECT count(*), (SELECT count(*) FROM assigned) FROM followed").fetchall()[0]
        if rows == assigned:  # else somebody was contacted twice, and stands there twice
            break
    kept = con.execute("SELECT sum(attempts) FROM followed").fetchall()[0][0]
    return Account(table="contacts", rows=account.rows, kept=int(kept), why=(noted("not_in_test"),),
                   notes=account.notes)  # fmt: skip


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


def _spread(shape: tuple[int, ...], rows: Rows, name: str, *, month: str | None = None) -> Counts:
    """Add a column of rows into a dense array: arms, strata, buckets and, where named, months."""
    cell = rows["lane"] // 2
    place = cell if month is None else cell * shape[-1] + rows[month]
    flat = np.zeros(int(np.prod(shape)), np.int64)
    np.add.at(flat, place, rows[name])
    return flat.reshape(shape)


def _so_far(by_month: Counts) -> Counts:
    """Return how many by the end of each month; the last column is "never within the clock"."""
    return np.asarray(by_month.cumsum(axis=-1)[..., :-1])


def _active(lives: Rows, shape: tuple[int, ...], *, upto: int | None = None) -> Counts:
    """Return how many customers bought in each month since assignment, from months since their first purchase."""
    active = np.zeros(int(np.prod(shape)), np.int64)
    for k in range(min(upto or shape[-1], shape[-1])):
        month = lives["first"] + k
        seen = month < shape[-1]
        np.add.at(active, (lives["lane"] // 2 * shape[-1] + month)[seen], lives[f"life_{k}"][seen])
    return active.reshape(shape)


def _purchases_account(purchases: Account, values: Rows, months: int) -> Account:
    """Return where the purchases went: outside the test, before it, after its last month."""
    count, month = values["purchases"], values["month"]
    matched, before, after = (int(rows.sum()) for rows in (count, count[month < 0], count[month >= months]))
    why = noted("purchases_outside", outside=purchases.rows - matched, before=before, after=after)
    return replace(purchases, kept=matched - before - after, why=(why,))
