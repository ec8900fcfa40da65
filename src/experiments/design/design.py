"""What a planned test can tell, what it costs, when it ends, and what can go wrong: before anybody is contacted."""

from __future__ import annotations

import math
from calendar import monthrange
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from experiments.common.errors import WinbackError
from experiments.common.finding import Fact, Finding, State, of_state
from experiments.common.results import Result
from experiments.design.prior import Known, Source, known_before
from experiments.design.sizing import Asked, Difference, Largest, Limits, PlannedArm, Size, Sizing, counts_of, fewest
from experiments.lost.results import Cohort
from experiments.sheet.locked_plan import Deviation, deviations, read_plan
from experiments.sheet.offer_checks import check_offers
from experiments.sheet.offers import costs_of
from experiments.sheet.sheet import Sheet, loaded
from experiments.stats.power import FEWEST

if TYPE_CHECKING:
    import pandas as pd

ROUGH = 0.25  # relative error of a variance above which a size is only a rough one
WEEK = 7  # days


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A day of the test.

    `what`: first_contact, last_contact, offers_end, horizon_over or readout; of an earlier version, its name in words.
    """

    what: str
    day: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """The locked plan of the test, and what is not as locked."""

    sha256: str
    locked_on: date
    deviations: tuple[Deviation, ...]
    amended: tuple[str, ...] = ()  # the sha256 of each amendment


@dataclass(frozen=True, slots=True, kw_only=True)
class Design(Result):
    """A planned test. Money in currency, shares 0 to 1; `report.design` shows it."""

    what: ClassVar[str] = "design"
    command: ClassVar[str] = "winback design <sheet>"
    page: ClassVar[str] = "design"

    experiment: str
    question: str
    currency: str
    objective: str
    horizon_months: int
    customers: int
    contactable: int | None
    cohort: str = ""  # where the lost come from: read, of a finished look at them; found, for this; empty: not known
    arms: tuple[PlannedArm, ...]
    source: Source
    prices: bool  # whether the source knows how much the objective varies
    power: float
    level: float
    correction: str
    asked: tuple[Finding, ...]  # what the test should tell: pass, it can
    too_small: Finding | None  # why it cannot tell anything; None where it can
    differences: tuple[Difference, ...]
    sizes: tuple[Size, ...]
    bound: str  # what limits the test: customers, budget or calls
    possible: int  # customers that it allows
    weeks: float | None  # of calls
    calendar: tuple[Event, ...]
    risks: tuple[Finding, ...]  # what can go wrong, the worst first
    plan: Locked | None

    @property
    def answers(self) -> tuple[bool, ...]:
        """Of what is asked, which the test can tell."""
        return tuple(one.state == "pass" for one in self.asked)

    @property
    def decides(self) -> bool:
        """Whether the test can tell all that is asked."""
        return all(self.answers)

    @property
    def stops(self) -> list[Finding]:
        """The risks with which no plan is locked."""
        return of_state(self.risks, "stop")

    @property
    def smallest_arm(self) -> int:
        """Customers in the smallest arm."""
        return min(arm.customers for arm in self.arms)

    @property
    def expected(self) -> float:
        """What the test is expected to cost."""
        return sum(arm.expected for arm in self.arms)

    @property
    def worst(self) -> float:
        """What the test costs if everybody accepts and stays through every promotion."""
        return sum(arm.worst for arm in self.arms)

    def frame(self) -> pd.DataFrame:
        """Return every difference between two arms that the test should tell, a row each."""
        import pandas as pd

        columns = ("metric", "unit", "first", "second", "hoped", "detectable", "power", "needed")
        return pd.DataFrame([{name: getattr(one, name) for name in columns} for one in self.differences])

    @classmethod
    def upgraded(cls, content: dict[str, Any]) -> dict[str, Any]:
        """Return what a program of format 1 wrote, in sentences, as this one writes it."""
        said, states = content.pop("said"), {True: "pass", False: "stop"}
        asked = zip(content.pop("asked"), content.pop("answers"), strict=True)
        content["asked"] = [_said("said", states[answer], said=text) for text, answer in asked]
        content["too_small"] = _said("too_small", "stop", said=content["too_small"]) if content["too_small"] else None
        content["source"] = {"kind": "said", "name": content["source"]}
        if content["plan"]:  # what deviates stands in the sentence of the risk
            others = content["plan"]["deviations"]
            content["plan"]["deviations"] = [{"setting": text, "planned": "", "now": ""} for text in others]
        content["risks"] = [
            _said("size" if risk["reason"] == said else "said", risk["state"], name=risk["name"], said=risk["reason"],
                  cure=risk["todo"])
            for risk in content["risks"]
        ]  # fmt: skip
        return content


def _said(key: str, state: str, **facts: str) -> dict[str, Any]:
    """Return the finding of an earlier version, which was a sentence."""
    return {"key": key, "state": state, "facts": facts}


def design_test(
    sheet: str | Path | Sheet,
    *,
    cohort: Cohort | str | Path | None = None,
    customers: int | None = None,
    expected_returned: float = 0.45,
    power: float | None = None,
) -> Design:
    """Plan a test: what it can tell on returns and on the sheet's objective, what it costs, when it ends.

    `cohort`: the lost customers, or the lost.json of a finished look at them, which is read instead of finding them
    again. `customers` to assign: by default the sheet's, else all of the `cohort` who can be contacted. What is known
    before the test comes from the sheet's `design:`, a past test, the simulated telecom or stated rates; without any
    the best offer is taken to bring back the share `expected_returned`, the next 4 points fewer, and nothing is known
    of money. `power`: chance to tell a difference that is there. Raises WinbackError.
    """
    content = loaded(sheet)
    content.need_arms()
    lost = cohort if isinstance(cohort, Cohort | None) else _read(cohort, content)
    wanted = customers or content.customers or (lost.contactable if lost else 0)
    power = power or content.design.power
    if not 0 < expected_returned < 1 or not 1 - content.level < power < 1:
        raise WinbackError(f"expected_returned is {expected_returned}, power {power}: both are shares, such as 0.45 "
                           "and 0.8.")  # fmt: skip
    if wanted < fewest(content):
        raise WinbackError(f"{wanted} customers are too few for {len(content.arms)} arms of these shares: take "
                           f"{fewest(content):,} or more, `customers:` in the sheet.")  # fmt: skip
    counts = counts_of(content, wanted)
    known = known_before(content, content.folder, counts=counts, expected_returned=expected_returned)
    sizing = Sizing(sheet=content, known=known, power=power, counts=counts)
    design = replace(_sized(sizing, lost), plan=_plan(content))
    if cohort is not None:
        design = replace(design, cohort="found" if isinstance(cohort, Cohort) else "read")
    design = replace(design, calendar=_calendar(content, design))
    return replace(design, risks=tuple(_risks(sizing, design, cohort=lost)))


def _sized(sizing: Sizing, cohort: Cohort | None) -> Design:
    """Return what the test can tell and costs; its days and risks are still to come."""
    sheet, counts, arms, asked = sizing.sheet, sizing.counts, sizing.arms(), sizing.asked()
    limits = _limits(sheet, arms, cohort)
    largest = limits.largest(counts)
    return Design(
        experiment=sheet.experiment,
        question=sheet.question,
        currency=sheet.currency,
        objective=sheet.objective,
        horizon_months=sheet.horizon_months,
        customers=sum(counts.values()),
        contactable=cohort.contactable if cohort else None,
        arms=arms,
        source=sizing.known.source,
        prices=sizing.known.evidence is not None,
        power=sizing.power,
        level=sheet.level,
        correction=sheet.design.correction,
        asked=tuple(one.finding(counts) for one in asked),
        too_small=_too_small(asked, largest, limits),
        differences=sizing.differences(),
        sizes=sizing.sizes(limits),
        bound=largest.bound,
        possible=sum(largest.customers.values()),
        weeks=limits.duration(counts),
        calendar=(),
        risks=(),
        plan=None,
    )


def _read(path: str | Path, sheet: Sheet) -> Cohort:
    """Return the lost customers of a finished look at them. Raises WinbackError."""
    cohort = Cohort.load(path)
    if cohort.experiment != sheet.experiment:
        raise WinbackError(f"{path} holds the lost customers of {cohort.experiment!r}, the sheet plans "
                           f"{sheet.experiment!r}. Name the lost.json of this sheet, or leave it out.")  # fmt: skip
    return cohort


def _too_small(asked: Sequence[Asked], largest: Largest, limits: Limits) -> Finding | None:
    """Return that the customers, the budget or the calls there are cannot tell anything, and what the easiest takes."""
    smallest = min(largest.customers.values())
    if smallest >= FEWEST and any(one.answered(largest.customers) for one in asked):
        return None
    sized = [(place, one.needs) for place, one in enumerate(asked) if one.needs]
    easiest, needs = min(sized, key=lambda pair: sum(pair[1].values()))
    weeks = limits.duration(needs)
    facts: dict[str, Fact] = {
        "customers": smallest,
        "cohort": limits.customers,
        "budget": limits.budget,
        "calls": limits.calls_a_week,
        "weeks": limits.weeks,
        "easiest": easiest,  # place in `asked`, and what it needs:
        "needs": min(needs.values()),
        "cost": None if limits.budget is None else limits.cost(needs),
        "calling": None if weeks is None or math.isinf(weeks) else max(1, math.ceil(weeks)),  # weeks
    }
    return Finding(key="too_small", state="stop", case=largest.bound, facts=facts)


# ---- money, calls, days


def _limits(sheet: Sheet, arms: Sequence[PlannedArm], cohort: Cohort | None) -> Limits:
    """Return the customers, the money and the calls there are for the test."""
    rules, contacts = sheet.design, sheet.contacts
    calls = sum(contacts.capacity_of(caller) for caller in contacts.callers) * len(contacts.working_days)
    deadline = None if contacts.deadline_days is None else contacts.deadline_days / WEEK
    return Limits(
        customers=cohort.contactable if cohort else sheet.customers or sum(arm.customers for arm in arms),
        budget=rules.budget,
        calls_a_week=calls or None,
        weeks=rules.weeks or deadline,
        costs={arm.name: arm.expected_cost for arm in arms},
        calls={arm.name: rules.calls_each for arm in arms if not arm.holdout},
        fixed=sum(arm.fixed for arm in arms),
    )


def _plan(sheet: Sheet) -> Locked | None:
    plan = read_plan(sheet)
    if plan is None:
        return None
    first, *later = plan.sha256s
    return Locked(sha256=first, amended=tuple(later), locked_on=plan.locked_on, deviations=deviations(plan, sheet))


def _calendar(sheet: Sheet, design: Design) -> tuple[Event, ...]:
    """Return the days of the test from the first call to the readout; empty where nobody knows the first."""
    contacts = sheet.contacts
    known = contacts.first_day or (design.plan.locked_on if design.plan else None) or (sheet.lost and sheet.lost.as_of)
    if not known:
        return ()
    first = known if contacts.first_day else known + timedelta(days=1)
    events = [Event(what="first_contact", day=first)]
    if design.weeks and math.isfinite(design.weeks):
        events.append(Event(what="last_contact", day=first + timedelta(days=math.ceil(WEEK * design.weeks) - 1)))
    if contacts.deadline_days is not None:
        events.append(Event(what="offers_end", day=first + timedelta(days=contacts.deadline_days)))
    events.append(Event(what="horizon_over", day=_later(first, sheet.horizon_months)))
    if sheet.read_date:
        events.append(Event(what="readout", day=sheet.read_date))
    return tuple(sorted(events, key=lambda event: event.day))


def _later(day: date, months: int) -> date:
    """Return the same day so many months later, the last of a shorter month."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    if year >= date.max.year:
        raise WinbackError(f"`first_day` is {day}: the test would end after the year {date.max.year}. Write the "
                           "day of the first contact.")  # fmt: skip
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


# ---- what can go wrong


def _risks(sizing: Sizing, design: Design, *, cohort: Cohort | None) -> list[Finding]:
    """Return what was looked at, the worst first."""
    limits = _limits(sizing.sheet, design.arms, cohort)
    found = [
        _holdout_risk(sizing.sheet),
        _size_risk(design),
        _source_risk(sizing.known),
        *([_risk("past_tests", "pass")] if any(arm.prior for arm in design.arms) else []),
        _budget_risk(design, limits),
        _calls_risk(design, limits),
        _day_risk(sizing.sheet, design),
        *_strata_risk(sizing.sheet, cohort),
        _plan_risk(design),
        *_percent_risk(sizing.sheet, sizing.known),
        *_offer_risks(sizing),
    ]
    order = ("stop", "warn", "pass")
    return sorted(found, key=lambda risk: order.index(risk.state))


def _risk(key: str, state: State, case: str = "", **facts: Fact) -> Finding:
    return Finding(key=key, state=state, case=case, facts=facts)


def _enough(design: Design) -> int | None:
    """Return the customers of the largest test there may be, where that is worth a test."""
    return None if design.too_small else design.possible


def _holdout_risk(sheet: Sheet) -> Finding:
    if sheet.holdout is None:
        return _risk("holdout", "stop")
    return _risk("holdout", "pass", holdout=sheet.arms[sheet.holdout].label or sheet.holdout)


def _size_risk(design: Design) -> Finding:
    if design.decides:
        return _risk("size", "pass")
    # What is known of, the test tells.
    unknown = design.asked[-1].case if all(design.answers[:-1]) else ""
    case = "too_small" if design.too_small else unknown if unknown in ("no_source", "no_rates") else ""
    return _risk("size", "warn" if any(design.answers) and not design.too_small else "stop", case)


def _source_risk(known: Known) -> Finding:
    if known.evidence is None:
        return _risk("source", "warn", "no_money")
    if known.evidence.error > ROUGH:
        return _risk("source", "warn", "rough", error=known.evidence.error)
    return _risk("source", "pass")


def _budget_risk(design: Design, limits: Limits) -> Finding:
    budget = limits.budget
    if budget is None:
        return _risk("budget", "pass", "unlimited")
    if design.expected > budget:
        return _risk("budget", "stop", "short", budget=budget, customers=_enough(design))
    if design.worst > budget:
        return _risk("budget", "warn", "at_most", budget=budget)
    return _risk("budget", "pass", budget=budget)


def _calls_risk(design: Design, limits: Limits) -> Finding:
    if design.weeks is None:
        return _risk("calls", "warn", "nobody")
    if limits.weeks is not None and design.weeks > limits.weeks:
        there, enough = limits.weeks, _enough(design)
        return _risk("calls", "stop", "short", calls=limits.calls_a_week, there=there, customers=enough)
    return _risk("calls", "pass", calls=limits.calls_a_week)


def _day_risk(sheet: Sheet, design: Design) -> Finding:
    if sheet.read_date is None:
        return _risk("day", "warn", "none")
    over = next((event.day for event in design.calendar if event.what == "horizon_over"), None)
    if over and sheet.read_date < over:
        return _risk("day", "warn", "early", day=sheet.read_date.isoformat(), over=over.isoformat())
    return _risk("day", "pass", day=sheet.read_date.isoformat())


def _strata_risk(sheet: Sheet, cohort: Cohort | None) -> Iterator[Finding]:
    if cohort and cohort.strata:
        small = tuple(name for name, customers in cohort.strata if customers < len(sheet.arms))
        yield _risk(
            "strata", "warn" if small else "pass", strata=len(cohort.strata), small=len(small), such_as=small[:3]
        )


def _plan_risk(design: Design) -> Finding:
    if design.plan is None:
        return _risk("plan", "warn", "open")
    return _risk("plan", "stop", "changed") if design.plan.deviations else _risk("plan", "pass")


def _percent_risk(sheet: Sheet, known: Known) -> Iterator[Finding]:
    """Yield that percentages cannot be counted, where nobody knows what they are of."""
    shares = {name: costs_of(name, sheet.every_offer, factors=None, decimals=0).shares for name in sheet.offers}
    uncounted = tuple(sheet.arms[name].label or name for name, share in shares.items() if share)
    if known.evidence is None and uncounted:
        yield _risk("percentages", "warn", offers=uncounted)


def _offer_risks(sizing: Sizing) -> list[Finding]:
    """Return what may be wrong with the offers themselves."""
    sheet, known = sizing.sheet, sizing.known
    found = [*check_offers(sheet.every_offer, second_value=known.second_value, monthly_value=known.monthly_value)]
    for name, metric in sizing.losing:
        found.append(_risk("losing", "warn", offer=name, label=sheet.arms[name].label or name, metric=metric))
    return found or [_risk("offers", "pass")]
