"""The sums of the judged customers, from the engine to a `Cohort`: every number of the page of the lost."""

from __future__ import annotations

import calendar
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from experiments.common.errors import WinbackError
from experiments.common.estimate import Estimate
from experiments.common.formatting import date_told, short
from experiments.common.language import later, plural, say
from experiments.data.columns import literal
from experiments.data.tables import Account, columns_of, noted
from experiments.lost.audit import signs_of
from experiments.lost.results import (
    FLAGS,
    PRIORITIES,
    RULES,
    STAGES,
    UNSETTLED,
    YEAR,
    Accuracy,
    Cell,
    Change,
    Cohort,
    Effort,
    Group,
    Month,
    Opinion,
    Priority,
    Reason,
    Rule,
    Step,
    Trial,
    Triangle,
    pace_of,
)
from experiments.readout.lessons import Learned
from experiments.sheet.locked_plan import column_of, stratum_of
from experiments.sheet.sheet import Limit, Lost, Sheet
from experiments.stats.intervals import proportion

if TYPE_CHECKING:
    import duckdb

GROUPS = {  # of customers: the table and column without which there are none
    "manager": ("customers", "manager"),
    "line": ("customers", "line"),
    "stage": ("purchases", "at"),
    "reason": ("reasons", "reason"),
    "complaint": ("customers", "complaint"),
    "referrer": ("customers", "referrals"),
}
SILENCE = later("no purchase for more than {limit}")  # every rule of silence begins so
OTHER_LIMITS = (  # other silence rules, for comparison
    Limit(silent_days=60), Limit(silent_days=90), Limit(silent_days=120), Limit(times=4 / 3), Limit(times=2),
    Limit(times=3),
)  # fmt: skip
BITS = 61  # months that a customer's history remembers one by one


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """The engine with the judged customers, and the rules they were judged by."""

    con: duckdb.DuckDBPyConnection
    sheet: Sheet
    rule: Lost
    steps: dict[str, str]
    last_day: date  # of any purchase there is

    def rows(self, step: str, **values: object) -> list[tuple[Any, ...]]:
        """Return the rows of one sum of lost.sql."""
        month = _number(self.rule.as_of)
        text = self.steps[step].format(as_of=self.rule.as_of.isoformat(), month=month, **values)
        return self.con.execute(text).fetchall()

    def money(self, minor: float | None) -> float:
        """Return minor units in currency."""
        units: int = 10**self.sheet.decimals
        return int(minor or 0) / units

    def share(self, part: int, whole: int) -> Estimate:
        """Return a share with its interval."""
        return proportion(int(part), int(whole), level=self.sheet.level)

    def knows(self, table: str, column: str) -> bool:
        """Tell whether the file of a table has a column."""
        return table in self.sheet.tables and column in columns_of(self.con, table)

    @property
    def knows_later(self) -> bool:
        """Whether the data reach beyond the day: only then is it known who bought again."""
        return self.last_day > self.rule.as_of


def tally(
    con: duckdb.DuckDBPyConnection,
    *,
    sheet: Sheet,
    rule: Lost,
    steps: dict[str, str],
    learned: Learned | None,
    accounts: Sequence[Account],
) -> Cohort:
    """Return all that the page says of the judged customers."""
    last_day = con.execute('SELECT max("at") FROM purchases').fetchall()[0][0]
    of = Tally(con=con, sheet=sheet, rule=rule, steps=steps, last_day=last_day)
    customers, lost, revenue, revenue_lost, worth, worth_lost, missed, too_early = of.rows("totals")[0]
    lost = int(lost or 0)
    months, triangle = _courses(of)
    steps_down, reasons = _waterfall(of, lost), _reasons(of)
    known = con.execute("SELECT count(*) FROM people").fetchall()[0][0]
    groups = {column: found for column, home in GROUPS.items() if of.knows(*home) and (found := _groups(of, column))}
    unknown = lost - con.execute("SELECT count(*) FROM judged WHERE lost AND reason IS NOT NULL").fetchall()[0][0]
    return Cohort(
        experiment=sheet.experiment,
        question=sheet.question,
        currency=sheet.currency,
        as_of=rule.as_of,
        start=rule.start,
        level=sheet.level,
        last_day=last_day,
        customers=customers,
        never_bought=known - customers,
        lost=lost,
        lost_share=of.share(lost, customers),
        contactable=steps_down[-1].left,
        strata=_strata(of),
        revenue=of.money(revenue),
        revenue_lost=of.money(revenue_lost),
        worth=of.money(worth),
        worth_lost=of.money(worth_lost),
        missed=of.money(missed),
        rules=_rules(of),
        steps=steps_down,
        months=months,
        pace=pace_of(months, level=sheet.level, unsettled=0 if rule.contractual else UNSETTLED),
        triangle=triangle,
        changes=_changes(of),
        groups=groups,
        reasons=reasons,
        without_reason=unknown,
        trials=_trials(of),
        accuracy=_accuracy(of),
        opinion=None if rule.contractual else _opinion(of),
        matrix=_matrix(of),
        priorities=_priorities(of, learned),
        efforts=_efforts(of),
        learned=learned,
        signs=signs_of(con, sheet, lost=lost, without_reason=unknown),
        accounts=(*accounts, *_oddities(of, too_early)),
    )


def _strata(of: Tally) -> tuple[tuple[str, int], ...]:
    """Return how many can be contacted in each stratum of the test."""
    factors = of.sheet.strata
    if not factors or not {column_of(factor) for factor in factors} <= set(columns_of(of.con, "cohort")):
        return ()
    rows = of.con.execute(f"SELECT {stratum_of(factors)}, count(*) FROM cohort WHERE contactable GROUP BY 1 ORDER BY 1")
    return tuple(rows.fetchall())


def _rules(of: Tally) -> tuple[Rule, ...]:
    """Return the rules in use, in words, with how many customers they call lost."""
    rule = of.rule
    used = {
        "silence": ("silence", silence_in_words(rule)) if not rule.contractual else None,
        "cancelled": ("cancelled IS NOT NULL", say("contract cancelled by {day}", day=date_told(of.rule.as_of)))
        if rule.cancelled and of.knows("customers", "cancelled_at")
        else None,
        "nps": ("nps_low", say("would recommend with {score} of 10 or less", score=rule.nps))
        if rule.nps is not None
        else None,
        "asked": (
            "asks",
            plural("asked {n} time or more, never ordered", "asked {n} times or more, never ordered", rule.asked),
        )
        if rule.asked
        else None,
        "unreachable": ("gone", say("cannot be reached")) if rule.unreachable else None,
        "conflict": ("conflict", say("complaint not resolved")) if rule.conflict else None,
    }
    found = []
    for name in RULES:
        if test := used[name]:
            fired, alone = of.rows("rule", rule=test[0])[0]
            found.append(Rule(name=name, told=test[1], fired=int(fired or 0), alone=int(alone or 0)))
    return tuple(found)


def silence_in_words(rule: Lost) -> str:
    """Return the silence rule in words, with the own limits of parts of the customers."""
    own = [f"{value}: {_limit_in_words(rule.limit_of(value), rule)}" for value in rule.each]
    return "; ".join((_limit_in_words(rule.limit, rule), *own))


def _limit_in_words(limit: Limit, rule: Lost) -> str:
    if limit.times is None:
        days = plural("{n} day", "{n} days", limit.silent_days or 0)
        return say(SILENCE, limit=days)
    own = later("{times} times the customer's own mean interval")
    own = later("{times} times the customer's own median interval") if rule.interval == "median" else own
    told = say(SILENCE, limit=say(own, times=short(limit.times, digits=3)))
    if rule.minimum_days:
        told += plural(", {n} day at least", ", {n} days at least", rule.minimum_days)
    few = say("not judged")
    if limit.silent_days:
        few = plural("for more than {n} day", "for more than {n} days", limit.silent_days)
    with_few = say("with fewer than {purchases} purchase days {few}", purchases=rule.minimum_purchases, few=few)
    return f"{told}; {with_few}"


def _waterfall(of: Tally, lost: int) -> tuple[Step, ...]:
    """Return the steps from lost to contactable: everyone leaves at the first flag that holds."""
    counts, left, found = dict(of.rows("steps")), lost, []
    for name in FLAGS:
        left -= counts.get(name, 0)
        found.append(Step(name=name, customers=counts.get(name, 0), left=left))
    return tuple(found)


def _courses(of: Tally) -> tuple[tuple[Month, ...], Triangle]:
    """Return the months of the company, and the survival of those who began together; whole months only."""
    day = of.rule.as_of
    open_month = 0 if day.day == calendar.monthrange(day.year, day.month)[1] else 1  # 1: has not ended on the day
    rows = [(int(began), None if left is None else int(left), int(n)) for began, left, n in of.rows("courses")]
    oldest = min(BITS - 1, max((began for began, _, _ in rows), default=0))
    columns = ", ".join(f"sum((months >> {back}) & 1) AS bought_{back}" for back in range(oldest + 1))
    bought = of.rows("bought", columns=columns)[0]
    months = []
    for back in range(oldest, open_month - 1, -1):
        at_risk = sum(n for began, left, n in rows if began >= back and (left is None or left <= back))
        lost = sum(n for began, left, n in rows if left == back)
        months.append(Month(month=_label(day, back), at_risk=at_risk, lost=lost, bought=int(bought[back] or 0)))
    return tuple(months), _triangle(rows, day, open_month, oldest)


def _triangle(rows: Sequence[tuple[int, int | None, int]], day: date, newest: int, oldest: int) -> Triangle:
    starts = [back for back in range(oldest, newest - 1, -1) if any(began == back for began, _, _ in rows)]
    staying = [
        tuple(
            sum(n for began, left, n in rows if began == start and (left is None or left < start - since))
            for since in range(start - newest + 1)
        )
        for start in starts
    ]
    return Triangle(
        starts=tuple(_label(day, start) for start in starts),
        customers=tuple(sum(n for began, _, n in rows if began == start) for start in starts),
        staying=tuple(staying),
    )


def _number(day: date) -> int:
    return day.year * YEAR + day.month


def _label(day: date, back: int) -> str:
    """Return the month so many months before that of the day, as 2023-05."""
    year, month = divmod(_number(day) - 1 - back, YEAR)
    return f"{year}-{month + 1:02d}"


def _groups(of: Tally, column: str) -> tuple[Group, ...]:
    """Return the customers by one column; empty where nobody knows it."""
    rows = of.rows("groups", column=column, measures=of.steps["measures"])
    if {row[0] for row in rows} <= {"unknown"}:
        return ()
    order = list(STAGES) if column == "stage" else sorted(row[0] for row in rows)
    rows.sort(key=lambda row: order.index(row[0]))
    return tuple(
        Group(
            name=str(name),
            customers=customers,
            lost=int(lost),
            ratio=of.share(lost, customers),
            contactable=int(contactable),
            revenue=of.money(revenue),
            worth=of.money(worth),
            watched=int(watched),
            returned=int(returned) if of.knows_later else None,
        )
        for name, customers, lost, contactable, revenue, worth, watched, returned in rows
    )


def _trials(of: Tally) -> tuple[Trial, ...]:
    """Return what other silence rules would say of the same customers; the sheet's own first."""
    if of.rule.contractual:
        return ()
    bare = of.rule.model_copy(update={"minimum_days": 0, "by": None, "each": {}})
    tried = [(silence_in_words(of.rule), "days_allowed", True)]
    for limit in OTHER_LIMITS:
        if limit != of.rule.limit or of.rule.by:
            enough = f"CASE WHEN purchases >= {of.rule.minimum_purchases} THEN"
            text = f"{enough} {limit.times!r} * gap END" if limit.times else str(limit.silent_days)
            tried.append((_limit_in_words(limit, bare), text, False))
    return tuple(_trial(of, *trial) for trial in tried)


def _trial(of: Tally, told: str, limit: str, used: bool) -> Trial:  # noqa: FBT001
    judged, lost, watched, returned, again = of.rows("trial", limit=limit)[0]
    return Trial(
        told=told,
        used=used,
        judged=int(judged or 0),
        lost=int(lost or 0),
        watched=int(watched or 0),
        returned=int(returned or 0) if of.knows_later else None,
        returned_revenue=of.money(again) if of.knows_later else None,
    )


def _accuracy(of: Tally) -> Accuracy | None:
    """Return the rules against those truly known to be lost."""
    known, called, right, late = of.rows("known")[0]
    if not known:
        return None
    right = int(right or 0)
    return Accuracy(known=known, precision=of.share(right, called or 0), recall=of.share(right, known), late_days=late)


def _opinion(of: Tally) -> Opinion | None:
    """Return P(alive) beside the silence rule; None where nobody buys twice."""
    import numpy as np

    from experiments.stats.repeat_buying import fit_alive

    columns = of.con.execute(of.steps["repeats"].format(as_of=of.rule.as_of.isoformat())).fetchnumpy().values()
    repeats, recency, age, lost, customers = (np.asarray(column, dtype=np.int64) for column in columns)
    try:
        model = fit_alive(repeats, recency, age=age, customers=customers)
    except WinbackError:
        return None
    alive = model.p_alive(repeats, recency, age=age)
    kept, here = customers - lost, alive >= 0.5  # noqa: PLR2004  more likely a customer than not
    return Opinion(
        lost_alive=int(lost[here].sum()),
        lost_gone=int(lost[~here].sum()),
        kept_alive=int(kept[here].sum()),
        kept_gone=int(kept[~here].sum()),
        lost_mean=float(lost @ alive / max(1, lost.sum())),
        kept_mean=float(kept @ alive / max(1, kept.sum())),
        parameters=(model.r, model.alpha, model.a, model.b),
    )


def _reasons(of: Tally) -> tuple[Reason, ...]:
    sources: dict[str, list[tuple[str, int]]] = {}
    for reason, source, customers in of.rows("sources"):
        sources.setdefault(reason, []).append((source, customers))
    told = of.con.execute("SELECT count(*) FROM judged WHERE lost AND reason IS NOT NULL").fetchall()[0][0]
    return tuple(
        Reason(
            name=name,
            family=family,
            ours=ours,
            customers=customers,
            share=of.share(customers, told),
            worth=of.money(worth),
            verified=int(verified or 0) if checked else None,
            fixed=int(fixed),
            complained=int(complained),
            referrers=int(referrers),
            watched=int(watched),
            returned=int(returned) if of.knows_later else None,
            sources=tuple(sources.get(name, ())),
        )
        for (
            name,
            family,
            ours,
            customers,
            worth,
            verified,
            checked,
            fixed,
            complained,
            referrers,
            watched,
            returned,
        ) in of.rows("reasons")
    )


def _matrix(of: Tally) -> tuple[Cell, ...]:
    rows = {(abc, xyz): rest for abc, xyz, *rest in of.rows("matrix")}
    return tuple(
        Cell(abc=abc, xyz=xyz, customers=customers, lost=int(lost), worth=of.money(worth))
        for abc in "ABC"
        for xyz in "XYZ"
        for customers, lost, worth in [rows.get((abc, xyz), (0, 0, 0))]
    )


def _priorities(of: Tally, learned: Learned | None) -> tuple[Priority, ...]:
    rows = {name: rest for name, *rest in of.rows("priorities")}
    return tuple(
        Priority(
            name=name,
            lost=lost,
            contactable=int(contactable),
            worth=of.money(worth),
            expected=of.money(expected) if learned else None,
            hopeless=int(hopeless or 0) if learned else None,
        )
        for name in PRIORITIES
        for lost, contactable, worth, expected, hopeless in [rows.get(name, (0, 0, 0, 0, 0))]
    )


def _efforts(of: Tally) -> tuple[Effort, ...]:
    """Return where the hours go and where the profit comes from; empty where nobody wrote hours down."""
    rows = of.rows("efforts", hour_cost=round((of.rule.hour_cost or 0) * 10**of.sheet.decimals))
    hours, profit = sum(int(row[2]) for row in rows), sum(int(row[3]) for row in rows)
    if not hours or profit <= 0:
        return ()
    return tuple(
        Effort(abc=abc, customers=customers, hours=int(spent) / hours, profit=int(earned) / profit, loses=int(loses))
        for abc, customers, spent, earned, loses in rows
    )


def _changes(of: Tally) -> tuple[Change, ...]:
    rows = of.con.execute(
        f"""SELECT "at", what FROM full_changes WHERE "at" <= DATE {literal(of.rule.as_of)} ORDER BY 1, 2"""
    ).fetchall()
    return tuple(Change(at=at, what=what) for at, what in rows)


def _oddities(of: Tally, too_early: int | None) -> Iterable[Account]:
    """Yield what is odd about customers, though nothing is left out for it."""
    if too_early:
        yield Account(table="customers", notes=(noted("bought_before_since", n=int(too_early)),))
    strangers, never = of.con.execute(
        "SELECT count(*) - count(c.customer_id), (SELECT count(*) FROM full_customers AS f WHERE NOT EXISTS "
        "(SELECT 1 FROM history AS h WHERE h.customer_id = f.customer_id)) FROM history AS h "
        "LEFT JOIN full_customers AS c ON h.customer_id = c.customer_id"
    ).fetchall()[0]
    if "customers" in of.sheet.tables and strangers:
        yield Account(table="purchases", notes=(noted("not_in_customers", n=strangers),))
    if never:
        yield Account(table="customers", notes=(noted("never_bought", n=never, day=str(of.rule.as_of)),))
