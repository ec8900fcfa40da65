"""Customers on the clock of their test: assignments, contacts and purchases become months since each assignment."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.common.errors import WinbackError, did_you_mean
from experiments.common.finding import Finding
from experiments.data.columns import literal, quote
from experiments.data.randomise import BUCKETS
from experiments.data.tables import Account, columns_of, noted, read, refuse_duplicates, same_ids, sql, statements
from experiments.metrics.premises import own_rows
from experiments.sheet.offers import percentages
from experiments.sheet.sheet import SEPARATOR, Sheet

if TYPE_CHECKING:
    import duckdb

MOST_GROUPS = 5_000  # arms x strata; the tables of a factor with so many levels grow with their square


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
    purchases = read(
        con, "purchases", sheet.tables["purchases"], folder=folder, conventions=sheet.conventions, needed=["margin"]
    )
    if until is None:
        raise WinbackError(
            "The sheet does not say how far the data reach. Write `followed_until:` with the first day they know "
            f"nothing about; the last purchase is of {purchases.last}."
        )
    strata, accounts = take_assignments(con, sheet, folder, results="purchases")
    contacts = follow_contacts(con, sheet, folder, months=months, until=until)
    value = "margin" if "margin" in columns_of(con, "purchases") else "amount"
    # A percentage is of the price: where an offer asks for it, the amount is kept beside the margin.
    beside = value == "margin" and bool(percentages(sheet.every_offer))
    kept, amount = (", amount", ", p.amount AS amount") if beside else ("", "")
    con.execute(statements("cube")["activity"].format(value=value, kept=kept, amount=amount, outside=months))
    total = "sum(value)" if totals else "0"  # of a customer: winsorising and the drivers ask for it
    con.execute(statements("cube")["lives"].format(outside=months, total=total))
    return Clocked(
        strata=strata,
        months=months,
        value=value,
        price="amount" if beside else "value",
        purchases=purchases,
        contacts=contacts,
        others=tuple(accounts),
    )


def take_assignments(
    con: duckdb.DuckDBPyConnection, sheet: Sheet, folder: Path, *, results: str
) -> tuple[tuple[str, ...], list[Account]]:
    """Make the view `assigned` and the table `cells`; return the strata and where the rows went."""
    if "assignments" not in sheet.tables:
        raise WinbackError("The sheet names no table `assignments`: who was in which arm? Add it under `tables`.")
    needed = ("at", "stratum", "bucket") if sheet.dated else ("stratum", "bucket")
    account = read(
        con, "assignments", sheet.tables["assignments"], folder=folder, conventions=sheet.conventions, needed=needed
    )
    columns = columns_of(con, "assignments")
    if sheet.dated and "at" not in columns:
        raise WinbackError(
            "Table assignments has no column 'at': the clock of a customer starts at its assignment. "
            "Map it: `columns: {at: <name in the file>}`."
        )
    same_ids(con, "assignments", results)
    where = f"experiment = {literal(sheet.experiment)}" if "experiment" in columns else "TRUE"
    kept = con.execute(f"SELECT count(*) FROM assignments WHERE {where}").fetchall()[0][0]
    if kept == 0:
        raise WinbackError(
            f"Table assignments has no row of experiment {sheet.experiment!r}. "
            "Check `experiment:` in the sheet against the column experiment."
        )
    bucket = "bucket" if "bucket" in columns else sql("bucket", seed=sheet.seed, buckets=BUCKETS)
    con.execute(
        f"CREATE TEMP VIEW assigned AS SELECT customer_id, arm, {bucket} AS bucket, "
        f"{'stratum' if 'stratum' in columns else literal('all')} AS stratum, "
        f"""{'"at"' if sheet.dated else "DATE '2000-01-01'"} AS "at" FROM assignments WHERE {where}"""
    )
    refuse_duplicates(con, "assigned", called="Table assignments")
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
        raise WinbackError(
            f"Table assignments, column 'arm': {rows:,} of {total:,} rows are in an arm {arm!r} that is "
            f"not in the sheet. {did_you_mean(arm, sheet.arms)}"
        )
    for arm in sorted(set(sheet.arms) - {pair[0] for pair in pairs}):
        raise WinbackError(
            f"Arm {arm!r} of the sheet has no customers in the table assignments. "
            "Remove it from `arms`, or check its spelling there."
        )
    if any(pair[2] < 0 or pair[3] >= BUCKETS for pair in pairs):
        raise WinbackError(
            f"Table assignments has values of bucket outside 0 to {BUCKETS - 1}. Leave the column out: "
            "buckets are then made from the seed."
        )
    strata = tuple(sorted({pair[1] for pair in pairs}))
    odd = [label for label in strata if sheet.strata and len(label.split(SEPARATOR)) != len(sheet.strata)]
    if odd:
        raise WinbackError(
            f"The sheet's strata are {SEPARATOR.join(sheet.strata)!r}, but table assignments has a stratum "
            f"{odd[0]!r}. Map the column: `columns: {{stratum: <name in the file>}}`, with a value for each factor, or "
            "drop `strata`."
        )
    if len(sheet.arms) * len(strata) > MOST_GROUPS:
        raise WinbackError(
            f"Table assignments has {len(strata):,} strata, such as {strata[0]!r}: with {len(sheet.arms)} arms more "
            f"than {MOST_GROUPS:,} groups, of which none says anything. Drop factors from `strata`, or map the column "
            "stratum to a coarser one."
        )
    pairs = list(product(sheet.arms, strata))
    con.execute("CREATE TEMP TABLE cells (arm VARCHAR, stratum VARCHAR, cell INTEGER)")
    con.execute(
        "INSERT INTO cells SELECT unnest(?), unnest(?), unnest(?)",
        [[arm for arm, _ in pairs], [stratum for _, stratum in pairs], list(range(len(pairs)))],
    )
    return strata


def follow_contacts(
    con: duckdb.DuckDBPyConnection, sheet: Sheet, folder: Path, *, months: int, until: date
) -> Account | None:
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
        else f"CASE WHEN a.arm = {literal(sheet.holdout)} THEN {int(_is_contacted(sheet))} ELSE 1 END",
    }
    if not known:
        con.execute(
            "CREATE TEMP VIEW nobody AS SELECT customer_id, 0 AS attempts, 0 AS reached, 0 AS accepted "
            "FROM assigned WHERE FALSE"
        )
        con.execute(steps["followed"].format(attempts="nobody", **settings))
        return None
    account = read(con, "contacts", sheet.tables["contacts"], folder=folder, conventions=sheet.conventions)
    same_ids(con, "contacts", "assignments")
    columns = columns_of(con, "contacts")
    if "accepted_at" not in columns:
        raise WinbackError(
            "Table contacts has no column 'accepted_at': who said yes? Map it in the sheet: "
            "`columns: {accepted_at: <name in the file>}`."
        )
    contacts, left = _in_time(con, sheet, months=months)
    for attempts in ("once", "several"):
        con.execute(steps[attempts].format(reached="reached" if "reached" in columns else "TRUE", contacts=contacts))
        con.execute(steps["followed"].format(attempts=attempts, **settings))
        rows, assigned = con.execute("SELECT count(*), (SELECT count(*) FROM assigned) FROM followed").fetchall()[0]
        if rows == assigned:  # else somebody was contacted twice, and stands there twice
            break
    kept = con.execute("SELECT sum(attempts) FROM followed").fetchall()[0][0]
    others = account.rows - int(kept) - sum(int(str(note.facts["n"])) for note in left)
    return replace(account, kept=int(kept), why=(*left, noted("not_in_test")) if others else left)


def _in_time(con: duckdb.DuckDBPyConnection, sheet: Sheet, *, months: int) -> tuple[str, tuple[Finding, ...]]:
    """Return the SQL of the contacts that belong to the test, and which ones of its customers do not.

    Before the assignment they are history; one that is booked under this experiment cannot have been then.
    """
    steps, own = statements("cube"), own_rows(con, sheet, "contacts")
    days = [f"c.{quote(name)}" for name in ("at", "accepted_at", "refused_at") if name in columns_of(con, "contacts")]
    day = f'coalesce({", ".join(days)}, a."at")' if sheet.dated else 'a."at"'
    counted = steps["counted"].format(day=day, this_experiment=own.replace("experiment =", "c.experiment ="))
    before, after = con.execute(steps["earlier"].format(months=months, counted=counted)).fetchall()[0]
    if before and own != "TRUE":
        raise WinbackError(
            f"Table contacts: {before:,} rows of experiment {sheet.experiment!r} are of a day before the customer's "
            "assignment. Nobody was contacted for a test before it: correct the days, or the experiment of these rows."
        )
    left = [noted("contacts_before", n=before)] if before else []
    left += [noted("contacts_after", n=after)] if after else []
    return f"({counted}) AS counted WHERE month >= 0 AND month < {months}", tuple(left)


def _is_contacted(sheet: Sheet) -> bool:
    """Tell whether the holdout is contacted too, without an offer: then its contacts cost what the sheet says."""
    return sheet.holdout is not None and sheet.arms[sheet.holdout].contact > 0
