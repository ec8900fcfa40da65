"""The sums of the judged customers, from the engine to a `Cohort`: every number of the page of the lost."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterable, Sequence
from datetime import date

from experiments.common.errors import WinbackError
from experiments.common.estimate import Estimate
from experiments.common.finding import Finding, State
from experiments.data.columns import literal
from experiments.data.tables import Account, noted
from experiments.lost.look import Look, Row
from experiments.lost.results import (
    FLAGS,
    PRIORITIES,
    RULES,
    STAGES,
    UNSETTLED,
    Accuracy,
    Change,
    Cohort,
    CustomerGroup,
    Effort,
    LostRule,
    MatrixCell,
    Month,
    Opinion,
    Pace,
    Priority,
    Reason,
    SilenceTrial,
    Triangle,
    WaterfallStep,
    pace_of,
)
from experiments.readout.lessons import Learned
from experiments.sheet.locked_plan import column_of, stratum_of
from experiments.sheet.lost_rules import Limit

GROUPS = {  # of customers: the table and column without which there are none
    "manager": ("customers", "manager"),
    "line": ("customers", "line"),
    "stage": ("purchases", "at"),
    "reason": ("reasons", "reason"),
    "complaint": ("customers", "complaint"),
    "referrer": ("customers", "referrals"),
}
OTHER_LIMITS = (  # other silence rules, for comparison
    Limit(silent_days=60), Limit(silent_days=90), Limit(silent_days=120), Limit(times=4 / 3), Limit(times=2),
    Limit(times=3),
)  # fmt: skip
OLDEST = 60  # months before that of the day: a customer's history remembers them one by one
ENOUGH = 0.5  # share of the lost whose reason is known, from which on reasons are reported
REFUSALS = 0.5  # share of refusals with a reason, from which on refusals are recorded
HALF = 0.5  # P(alive) from which on a customer is more likely one than not
FEW_LOST = 10  # lost customers: fewer may well have left on one day


def _pace(look: Look, months: Sequence[Month]) -> Pace:
    """Return how fast customers are lost; where all of them were on one day, as in a snapshot, no pace follows."""
    level, unsettled = look.sheet.level, 0 if look.rule.contractual else UNSETTLED
    ((lost, first, last),) = look.con.execute("SELECT count(*), min(lost_at), max(lost_at) FROM cohort").fetchall()
    if lost < FEW_LOST or first != last:
        return pace_of(months, level=level, unsettled=unsettled)
    unknown = Estimate(value=None, low=None, high=None, level=level, n=lost, unit="share")
    return Pace(months=len(months), one_day=first, monthly=unknown, yearly=unknown)


def summarise(look: Look, *, sheet: str, learned: Learned | None, accounts: Sequence[Account]) -> Cohort:
    """Return all that the page says of the judged customers; `sheet` is the path of the look's sheet."""
    content, rule, totals = look.sheet, look.rule, look.row("totals")
    customers, lost = totals["customers"], int(totals["lost"])
    months, triangle = _courses(look)
    steps = _waterfall(look, lost)
    known = look.value("SELECT count(*) FROM judged WHERE lost AND reason IS NOT NULL")
    return Cohort(
        experiment=content.experiment,
        currency=content.currency,
        sheet=sheet,
        as_of=rule.as_of,
        start=rule.start,
        settings=rule,
        level=content.level,
        last_day=look.last_day or rule.as_of,
        customers=customers,
        never_bought=look.value("SELECT count(*) FROM people") - customers,
        lost=lost,
        lost_share=look.share(lost, customers),
        contactable=steps[-1].left,
        contact_basis=look.sheet.contact_basis,
        asks_consent="consents" in look.sheet.tables,
        strata=_strata(look),
        **{name: look.money(totals[name]) for name in ("revenue", "revenue_lost", "worth", "worth_lost", "missed")},
        rules=_rules(look),
        steps=steps,
        months=months,
        pace=_pace(look, months),
        triangle=triangle,
        changes=_changes(look),
        groups={name: found for name, home in GROUPS.items() if look.knows(*home) and (found := _groups(look, name))},
        reasons=_reasons(look, known),
        without_reason=lost - known,
        trials=_trials(look),
        accuracy=_accuracy(look),
        opinion=None if rule.contractual else _opinion(look),
        matrix=_matrix(look),
        priorities=_priorities(look, learned),
        efforts=_efforts(look),
        learned=learned,
        signs=signs_of(look, lost=lost, known=known),
        accounts=(*accounts, *_oddities(look, totals["too_early"])),
    )


def _strata(look: Look) -> tuple[tuple[str, int], ...]:
    """Return the contactable by stratum of the test, none where a factor is no column of the cohort."""
    factors = look.sheet.strata
    columns = {row["column_name"] for row in look.query("DESCRIBE cohort")}
    if not factors or not {column_of(factor) for factor in factors} <= columns:
        return ()
    found = look.query(f"SELECT {stratum_of(factors)} AS stratum, count(*) AS customers FROM cohort WHERE contactable "
                       "GROUP BY 1 ORDER BY 1")  # fmt: skip
    return tuple((row["stratum"], row["customers"]) for row in found)


def _rules(look: Look) -> tuple[LostRule, ...]:
    """Return the rules in use, with how many customers they call lost."""
    rule = look.rule
    tests = {
        "silence": ("silence", not rule.contractual),
        "cancelled": ("cancelled IS NOT NULL", rule.cancelled and look.knows("customers", "cancelled_at")),
        "nps": ("nps_low", rule.nps is not None),
        "asked": ("asks", rule.asked is not None),
        "unreachable": ("gone", rule.unreachable),
        "conflict": ("conflict", rule.conflict),
    }
    found = {name: look.row("rule", rule=tests[name][0]) for name in RULES if tests[name][1]}
    return tuple(LostRule(name=name, fired=int(row["fired"]), alone=int(row["alone"])) for name, row in found.items())


def _waterfall(look: Look, lost: int) -> tuple[WaterfallStep, ...]:
    """Return the steps from lost to contactable: everyone leaves at the first flag that holds."""
    counts, left, found = {row["step"]: row["customers"] for row in look.rows("steps")}, lost, []
    unasked = {"no_consent": "consents" not in look.sheet.tables, "expired": look.sheet.keep_months is None}
    for name in FLAGS:
        if unasked.get(name):
            continue
        left -= counts.get(name, 0)
        found.append(WaterfallStep(name=name, customers=counts.get(name, 0), left=left))
    return tuple(found)


# ---- when


def _courses(look: Look) -> tuple[tuple[Month, ...], Triangle]:
    """Return the months of the company, and the survival of those who began together; whole months only.

    Months are counted back from that of the day.
    """
    day = look.rule.as_of
    newest = 0 if day.day == monthrange(day.year, day.month)[1] else 1  # that of the day has not ended
    rows = [
        (int(row["began"]), None if row["lost"] is None else int(row["lost"]), int(row["customers"]))
        for row in look.rows("courses")
    ]
    backs = range(min(OLDEST, max((began for began, _, _ in rows), default=0)), newest - 1, -1)
    months = [
        Month(
            month=month_before(day, back),
            at_risk=sum(n for began, left, n in rows if began >= back and (left is None or left <= back)),
            lost=sum(n for began, left, n in rows if left == back),
        )
        for back in backs
    ]
    starts = [back for back in backs if any(began == back for began, _, _ in rows)]
    triangle = Triangle(
        starts=tuple(month_before(day, start) for start in starts),
        customers=tuple(sum(n for began, _, n in rows if began == start) for start in starts),
        staying=tuple(
            tuple(
                sum(n for began, left, n in rows if began == start and (left is None or left < start - since))
                for since in range(start - newest + 1)
            )
            for start in starts
        ),
    )
    return tuple(months), triangle


def month_before(day: date, back: int) -> str:
    """Return the month so many months before that of a day.

    >>> month_before(date(2024, 2, 9), 0), month_before(date(2024, 2, 9), 2)
    ('2024-02', '2023-12')
    """
    import numpy as np

    return str(np.datetime64(day, "M") - back)


def _changes(look: Look) -> tuple[Change, ...]:
    rows = look.query(
        f"""SELECT "at", what FROM full_changes WHERE "at" <= DATE {literal(look.rule.as_of)} ORDER BY 1, 2"""
    )
    return tuple(Change(at=row["at"], what=row["what"]) for row in rows)


# ---- who and why


def _groups(look: Look, column: str) -> tuple[CustomerGroup, ...]:
    """Return the customers by one column; empty where nobody knows it."""
    rows = look.rows("groups", column=column)
    if {row["name"] for row in rows} <= {"unknown"}:
        return ()
    rows.sort(key=lambda row: STAGES.index(row["name"]) if column == "stage" else row["name"])
    return tuple(
        CustomerGroup(
            name=str(row["name"]),
            customers=row["customers"],
            lost=int(row["lost"]),
            ratio=look.share(row["lost"], row["customers"]),
            contactable=int(row["contactable"]),
            worth=look.money(row["worth"]),
            watched=int(row["watched"]),
            returned=look.returned(row["returned"]),
        )
        for row in rows
    )


def _reasons(look: Look, known: int) -> tuple[Reason, ...]:
    """Return the reasons of the lost, of whom `known` have any."""
    sources: dict[str, list[tuple[str, int]]] = {}
    for row in look.rows("sources"):
        sources.setdefault(row["reason"], []).append((row["source"], row["customers"]))
    counts = ("fixed", "complained", "referrers", "watched")
    return tuple(
        Reason(
            name=row["reason"],
            family=row["family"],
            ours=row["ours"],
            customers=row["customers"],
            share=look.share(row["customers"], known),
            worth=look.money(row["worth"]),
            verified=int(row["verified"] or 0) if row["checked"] else None,
            **{name: int(row[name]) for name in counts},
            returned=look.returned(row["returned"]),
            sources=tuple(sources.get(row["reason"], ())),
        )
        for row in look.rows("reasons")
    )


def _matrix(look: Look) -> tuple[MatrixCell, ...]:
    rows = {(row["abc"], row["xyz"]): row for row in look.rows("matrix")}
    nobody: Row = {"customers": 0, "lost": 0, "worth": 0}
    return tuple(
        MatrixCell(abc=abc, xyz=xyz, customers=row["customers"], lost=int(row["lost"]), worth=look.money(row["worth"]))
        for abc in "ABC"
        for xyz in "XYZ"
        for row in [rows.get((abc, xyz), nobody)]
    )


def _priorities(look: Look, learned: Learned | None) -> tuple[Priority, ...]:
    rows = {row["priority"]: row for row in look.rows("priorities")}
    nobody: Row = {"lost": 0, "contactable": 0, "worth": 0, "expected": 0, "hopeless": 0}
    return tuple(
        Priority(
            name=name,
            lost=row["lost"],
            contactable=int(row["contactable"]),
            worth=look.money(row["worth"]),
            expected=look.money(row["expected"]) if learned else None,
            hopeless=int(row["hopeless"] or 0) if learned else None,
        )
        for name in PRIORITIES
        for row in [rows.get(name, nobody)]
    )


def _efforts(look: Look) -> tuple[Effort, ...]:
    """Return where the hours go and where the profit comes from; empty where nobody wrote hours down."""
    rows = look.rows("efforts", hour_cost=look.hour_cost)
    hours, profit = (sum(int(row[name]) for row in rows) for name in ("hours", "profit"))
    if not hours or profit <= 0:
        return ()
    return tuple(
        Effort(abc=row["abc"], customers=row["customers"], hours=int(row["hours"]) / hours,
               profit=int(row["profit"]) / profit, loses=int(row["loses"]))
        for row in rows
    )  # fmt: skip


# ---- how good the rule is


def _trials(look: Look) -> tuple[SilenceTrial, ...]:
    """Return what other silence rules would say of the same customers; the one in use first."""
    rule = look.rule
    if rule.contractual:
        return ()
    others = [limit for limit in OTHER_LIMITS if limit != rule.limit or rule.by]
    return (_trial(look, None), *(_trial(look, limit) for limit in others))


def _trial(look: Look, limit: Limit | None) -> SilenceTrial:
    """Return what a rule of silence says: another limit, or, without one, the rule in use."""
    allowed = "days_allowed"
    if limit is not None:
        own = f"CASE WHEN purchases >= {look.rule.minimum_purchases} THEN {limit.times!r} * gap END"
        allowed = own if limit.times else str(limit.silent_days)
    row = look.row("trial", limit=allowed)
    returned = look.returned(row["returned"])
    return SilenceTrial(
        limit=limit,
        used=limit is None,
        judged=int(row["judged"]),
        lost=int(row["lost"]),
        watched=int(row["watched"]),
        returned=returned,
        returned_revenue=None if returned is None else look.money(row["again"]),
    )


def _accuracy(look: Look) -> Accuracy | None:
    """Return the rules against those truly known to be lost."""
    found = look.rows("known")[0]
    known, right = found["known"], int(found["right"] or 0)
    if not known:
        return None
    return Accuracy(
        known=known,
        precision=look.share(right, found["called"] or 0),
        recall=look.share(right, known),
        late_days=found["late"],
    )


def _opinion(look: Look) -> Opinion | None:
    """Return P(alive) beside the silence rule; None where nobody buys twice."""
    import numpy as np

    from experiments.stats.repeat_buying import fit_alive

    columns = look.con.execute(look.text("repeats")).fetchnumpy().values()
    repeats, recency, age, lost, customers = (np.asarray(column, dtype=np.int64) for column in columns)
    try:
        model = fit_alive(repeats, recency, age=age, customers=customers)
    except WinbackError:
        return None
    alive = model.p_alive(repeats, recency, age=age)
    kept, here = customers - lost, alive >= HALF
    return Opinion(
        lost_alive=int(lost[here].sum()),
        lost_gone=int(lost[~here].sum()),
        kept_alive=int(kept[here].sum()),
        kept_gone=int(kept[~here].sum()),
        lost_mean=float(lost @ alive / max(1, lost.sum())),
        kept_mean=float(kept @ alive / max(1, kept.sum())),
        r=model.r,
        alpha=model.alpha,
        a=model.a,
        b=model.b,
    )


# ---- is the loss managed


def signs_of(look: Look, *, lost: int, known: int) -> tuple[Finding, ...]:
    """Return seven signs that a company manages its losses, from the data where they can tell, else from the sheet.

    A sign is there (pass), missing (stop), or nobody said (warn). `known`: lost customers with a reason.
    """
    audit = look.rule.audit
    refused, why = look.con.execute("SELECT count(refused_at), count(refusal) FROM full_contacts").fetchall()[0]
    share = known / lost if lost else 1.0
    recorded = refused and why >= REFUSALS * refused
    return (
        Finding(key="reasons", state="pass" if share >= ENOUGH else "stop", facts={"known": share}),
        Finding(key="refusals", state="pass" if recorded else "stop", facts={"refused": refused, "why": why}),
        Finding(key="script", state=_answer(audit.script)),
        Finding(key="head_knows", state=_answer(audit.head_knows)),
        Finding(key="regular", state=_answer(audit.regular)),
        Finding(key="ranked", state="pass"),
        Finding(key="technology", state=_answer(audit.technology)),
    )


def _answer(answer: bool | None) -> State:  # noqa: FBT001  of the sheet
    return "warn" if answer is None else "pass" if answer else "stop"


# ---- where each row went


def _oddities(look: Look, too_early: int) -> Iterable[Account]:
    """Yield what is odd about customers, though nothing is left out for it."""
    if too_early:
        yield Account(table="customers", notes=(noted("bought_before_since", n=int(too_early)),))
    strangers, never = look.con.execute(
        "SELECT count(*) - count(c.customer_id), (SELECT count(*) FROM full_customers AS f WHERE NOT EXISTS "
        "(SELECT 1 FROM history AS h WHERE h.customer_id = f.customer_id)) FROM history AS h "
        "LEFT JOIN full_customers AS c ON h.customer_id = c.customer_id"
    ).fetchall()[0]
    if "customers" in look.sheet.tables and strangers:
        yield Account(table="purchases", notes=(noted("not_in_customers", n=strangers),))
    if never:
        yield Account(table="customers", notes=(noted("never_bought", n=never, day=str(look.rule.as_of)),))
