"""What a planned test can tell, what it costs, when it ends, and what can go wrong: before anybody is contacted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

from experiments.errors import WinbackError
from experiments.fits import fits
from experiments.keep import keep, kept
from experiments.limits import Asked, Largest, Limits, largest, refuse_too_small, sentence
from experiments.lock import deviations, read_plan
from experiments.losses import Cohort
from experiments.objectives import OBJECTIVES
from experiments.plan import Sheet, read_sheet
from experiments.prospects import Known, known_before
from experiments.sizing import MOST, Difference, PlannedArm, Size, Sizing, counts_of
from experiments.words import interval, listed, money, share, told

ROUGH = 0.25  # relative error of a variance above which a size is only a rough one
WEEK = 7  # days


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A day of the test."""

    what: str
    day: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """Something that can go wrong; state pass, warn or stop."""

    name: str
    state: str
    reason: str
    todo: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """The locked plan beside the sheet, and what is not as locked."""

    sha256: str
    locked_on: date
    deviations: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """A planned test."""

    experiment: str
    question: str
    currency: str
    objective: str
    horizon_months: int
    customers: int
    contactable: int | None
    arms: tuple[PlannedArm, ...]
    source: str  # of what is known before the test, in words
    prices: bool  # whether the source knows how much the objective varies
    power: float
    level: float
    correction: str
    said: str  # what the test can tell, in a sentence
    asked: tuple[str, ...]
    answers: tuple[bool, ...]  # of what is asked, which it can tell
    too_small: str  # why it cannot tell anything, and the cure; "" where it can
    differences: tuple[Difference, ...]
    sizes: tuple[Size, ...]
    bound: str  # what limits the test: customers, budget or calls
    possible: int  # customers that it allows
    weeks: float | None  # of calls
    calendar: tuple[Event, ...]
    risks: tuple[Risk, ...]
    plan: Locked | None

    @property
    def decides(self) -> bool:
        """Whether the test can tell all that is asked."""
        return all(self.answers)

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

    def write(self, path: str | Path) -> None:
        """Write the plan as JSON, whole or not at all."""
        keep(self, path)


def read_design(path: str | Path) -> Design:
    """Return a design written by `Design.write`: equal to it, to the last digit."""
    return kept(Design, path, what="design", command="winback design <sheet>")


def design_test(
    sheet: str | Path,
    *,
    cohort: Cohort | None = None,
    customers: int | None = None,
    expected_returned: float = 0.45,
    power: float | None = None,
) -> Design:
    """Plan a test: what it can tell on returns and on the sheet's objective, what it costs, when it ends.

    `customers` to assign: by default the sheet's, else all of the `cohort` who can be contacted. What is known before
    the test comes from the sheet's `design:`, a past test, the simulated telecom or stated rates; without any the
    best offer is taken to bring back the share `expected_returned`, the next 4 points fewer, and nothing is known of
    money. `power`: chance to tell a difference that is there. Raises WinbackError.
    """
    content, folder = read_sheet(sheet)
    content.need_arms()
    wanted = customers or content.customers or (cohort.contactable if cohort else 0)
    power = power or content.design.power
    if not 0 < expected_returned < 1 or not 1 - content.level < power < 1:
        raise WinbackError(f"expected_returned is {expected_returned}, power {power}: both are shares, such as 0.45 "
                           "and 0.8.")  # fmt: skip
    if wanted < 2 * len(content.arms):
        raise WinbackError(f"{wanted} customers are too few for {len(content.arms)} arms: take two an arm or more, "
                           "`customers:` in the sheet.")  # fmt: skip
    known = known_before(content, folder, expected_returned=expected_returned)
    sizing = Sizing(sheet=content, known=known, power=power, counts=counts_of(content, wanted))
    arms = sizing.arms()
    limits = _limits(content, arms, cohort)
    largest_test = largest(tuple(content.arms), limits, shares=sizing.counts)
    asked = sizing.asked()
    design = Design(
        experiment=content.experiment,
        question=content.question,
        currency=content.currency,
        objective=content.objective,
        horizon_months=content.horizon_months,
        customers=wanted,
        contactable=cohort.contactable if cohort else None,
        arms=arms,
        source=known.source,
        prices=known.evidence is not None,
        power=power,
        level=content.level,
        correction=content.design.correction,
        said=sentence(asked, sizing.counts) + sizing.unknown,
        asked=(*(one.tells for one in asked), *([MOST[content.objective]] if sizing.unknown else [])),
        answers=(*(one.answered(sizing.counts) for one in asked), *([False] if sizing.unknown else [])),
        too_small=_too_small(asked, largest_test, limits),
        differences=sizing.differences(),
        sizes=sizing.sizes(limits),
        bound=largest_test.bound,
        possible=sum(largest_test.customers.values()),
        weeks=limits.duration(sizing.counts),
        calendar=(),
        risks=(),
        plan=_plan(content, folder),
    )
    design = replace(design, calendar=_calendar(content, design))
    return replace(design, risks=tuple(_risks(content, design, known, limits=limits, cohort=cohort)))


def _too_small(asked: Sequence[Asked], found: Largest, limits: Limits) -> str:
    """Return why the customers, the budget or the calls there are cannot tell anything; "" where they can."""
    try:
        refuse_too_small(asked, found, limits=limits)
    except WinbackError as error:
        return str(error)
    return ""


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
        currency=sheet.currency,
    )


def _plan(sheet: Sheet, folder: Path) -> Locked | None:
    plan = read_plan(folder, sheet.experiment)
    if plan is None:
        return None
    return Locked(sha256=plan.sha256, locked_on=plan.locked_on, deviations=tuple(deviations(plan, sheet)))


def _calendar(sheet: Sheet, design: Design) -> tuple[Event, ...]:
    """Return the days of the test from the first call to the readout; empty where nobody knows the first."""
    contacts = sheet.contacts
    known = contacts.first_day or (design.plan.locked_on if design.plan else None) or (sheet.lost and sheet.lost.as_of)
    if not known:
        return ()
    first = known if contacts.first_day else known + timedelta(days=1)
    events = [Event(what="First contact", day=first)]
    if design.weeks and math.isfinite(design.weeks):
        events.append(Event(what="Last contact", day=first + timedelta(days=math.ceil(WEEK * design.weeks) - 1)))
    if contacts.deadline_days is not None:
        events.append(Event(what="Offers end", day=first + timedelta(days=contacts.deadline_days)))
    events.append(Event(what=f"{sheet.horizon_months} months are over", day=_later(first, sheet.horizon_months)))
    if sheet.read_date:
        events.append(Event(what="Registered readout", day=sheet.read_date))
    return tuple(sorted(events, key=lambda event: event.day))


def _later(day: date, months: int) -> date:
    """Return the same day so many months later, the last of a shorter month."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    end = (date(year + (month == 11), (month + 1) % 12 + 1, 1) - timedelta(days=1)).day  # noqa: PLR2004  December
    return date(year, month + 1, min(day.day, end))


# ---- what can go wrong


def _risks(sheet: Sheet, design: Design, known: Known, *, limits: Limits, cohort: Cohort | None) -> list[Risk]:
    """Return what was looked at, the worst first."""
    found = [
        _holdout_risk(sheet),
        _size_risk(design),
        _source_risk(design, known),
        _past_risk(design, known),
        _budget_risk(design, limits),
        _calls_risk(design, limits),
        _day_risk(sheet, design),
        _strata_risk(sheet, cohort),
        _plan_risk(design),
        *_offer_risks(sheet, known),
    ]
    order = ("stop", "warn", "pass")
    return sorted((risk for risk in found if risk), key=lambda risk: order.index(risk.state))


def _holdout_risk(sheet: Sheet) -> Risk:
    if sheet.holdout is None:
        return Risk(name="Holdout", state="stop", reason="No arm is left alone, so nobody will know who had come back "
                    "without an offer: no net, no return on investment, no verdict.",
                    todo="Add an arm without an offer and name it `holdout:`.")  # fmt: skip
    return Risk(name="Holdout", state="pass", reason=f"{sheet.arms[sheet.holdout].label or sheet.holdout} gets "
                "nothing: what would have happened anyway is known.")  # fmt: skip


def _size_risk(design: Design) -> Risk:
    if design.decides:
        return Risk(name="Size", state="pass", reason=design.said)
    todo = design.too_small or "Assign more, drop an arm, or be content with “not separable” among the nearest offers."
    return Risk(name="Size", state="warn" if any(design.answers) else "stop", reason=design.said, todo=todo)


def _source_risk(design: Design, known: Known) -> Risk:
    if known.evidence is None:
        more = (
            " Money and months vary far more than responses, so a test that tells responses apart is many times too "
            "small to rank offers on them."
        )
        money_too = "" if design.objective == "returned" else more
        return Risk(name="What is known", state="warn", reason=f"The sizes rest on {known.source}.{money_too}",
                    todo="Name a past test (`design: {past: sheet.yml}`), or state `accepted:` rates.")  # fmt: skip
    error = known.evidence.error
    if error > ROUGH:
        return Risk(name="What is known", state="warn", reason=f"The sizes rest on {known.source}, few of whom bring "
                    f"much of the money: they may easily be {share(error, digits=0)} off.",
                    todo="Plan more customers than needed, or name a larger past test.")  # fmt: skip
    return Risk(name="What is known", state="pass", reason=f"The sizes rest on {known.source}.")


def _past_risk(design: Design, known: Known) -> Risk | None:
    """Return how widely the true effect of each offer differs from test to test."""
    expected = known.expected.get(design.objective, {})
    labels = {arm.name: arm.label for arm in design.arms}
    goal, told_of = OBJECTIVES[design.objective].goal, []
    for name, one in expected.items():
        bounds = f" ({interval(one, currency=design.currency)} in the next test)" if one.low is not None else ""
        told_of.append(f"{labels[name]} {told(one, currency=design.currency)}{bounds}")
    if not told_of:
        return None
    return Risk(name="Past tests", state="pass", reason=f"Expected by all tests so far, on {goal}: {listed(told_of)}.")


def _budget_risk(design: Design, limits: Limits) -> Risk:
    words = [money(amount, design.currency, digits=0) for amount in (design.expected, design.worst)]
    said = f"The test is expected to cost {words[0]} and costs {words[1]} at most."
    if limits.budget is None:
        return Risk(name="Budget", state="pass", reason=f"{said} The sheet sets no limit (`design: {{budget: ...}}`).")
    budget = money(limits.budget, design.currency, digits=0)
    if design.expected > limits.budget:
        paid = f" It pays for {design.possible:,} customers." if design.bound == "budget" else ""
        return Risk(name="Budget", state="stop", reason=f"{said} The budget is {budget}.{paid}",
                    todo=f"Set `customers: {design.possible}`, or raise the budget.")  # fmt: skip
    if design.worst > limits.budget:
        return Risk(name="Budget", state="warn", reason=f"{said} The budget is {budget}.",
                    todo="Keep the difference in reserve: if everybody accepts, it is short.")  # fmt: skip
    return Risk(name="Budget", state="pass", reason=f"{said} The budget is {budget}.")


def _calls_risk(design: Design, limits: Limits) -> Risk | None:
    if design.weeks is None:
        return Risk(name="Calls", state="warn", reason="The sheet names no callers, so nobody knows how long the calls "
                    "take.", todo="Name them: `contacts: {callers: {Ann: {}}}`.")  # fmt: skip
    said = f"The calls take {design.weeks:,.1f} weeks at {limits.calls_a_week:,.0f} a week"
    if limits.weeks is not None and design.weeks > limits.weeks:
        return Risk(name="Calls", state="stop", reason=f"{said}; there are {limits.weeks:,.1f}.",
                    todo=f"Add callers, lengthen `deadline_days`, or set `customers: {design.possible}`.")  # fmt: skip
    return Risk(name="Calls", state="pass", reason=f"{said}.")


def _day_risk(sheet: Sheet, design: Design) -> Risk:
    if sheet.read_date is None:
        return Risk(name="Day of the readout", state="warn", reason="No day is registered. Whoever looks again and "
                    "again until it pleases finds a winner among equal offers in one test of four.",
                    todo="Set `read_date:`.")  # fmt: skip
    whole = next((event.day for event in design.calendar if event.what.endswith("are over")), None)
    if whole and sheet.read_date < whole:
        return Risk(name="Day of the readout", state="warn", reason=f"On {sheet.read_date} the {sheet.horizon_months} "
                    f"months of the horizon are not over; they are on {whole}.",
                    todo="Register a later day, or a shorter horizon.")  # fmt: skip
    return Risk(name="Day of the readout", state="pass", reason=f"Registered: {sheet.read_date}.")


def _offer_risks(sheet: Sheet, known: Known) -> list[Risk]:
    """Return what may be wrong with the offers themselves."""
    found = fits(sheet.every_offer, second_value=known.second_value, monthly_value=known.monthly_value,
                 currency=sheet.currency)  # fmt: skip
    labels = {name: offer.label or name for name, offer in sheet.every_offer.items()}
    risks = [Risk(name=f"Offer {labels[fit.offer]}", state="warn", reason=fit.what[:1].upper() + fit.what[1:],
                  todo=fit.cure) for fit in found]  # fmt: skip
    return risks or [
        Risk(name="Offers", state="pass", reason="Each gives something, and costs less than it may bring.")
    ]


def _strata_risk(sheet: Sheet, cohort: Cohort | None) -> Risk | None:
    if cohort is None or not cohort.strata:
        return None
    small = [name for name, customers in cohort.strata if customers < len(sheet.arms)]
    if small:
        return Risk(name="Strata", state="warn", reason=f"{len(small)} of {len(cohort.strata)} strata have fewer "
                    f"customers than the test has arms, such as {listed(small[:3])}: not every offer is given there.",
                    todo="Use fewer or coarser `strata`.")  # fmt: skip
    return Risk(
        name="Strata", state="pass", reason=f"Each of {len(cohort.strata)} strata has a customer for every arm."
    )


def _plan_risk(design: Design) -> Risk:
    plan = design.plan
    if plan is None:
        return Risk(
            name="Plan",
            state="warn",
            reason="The plan is not locked: what was meant can be changed later without a trace.",
            todo="Lock it before anybody is assigned: `winback design <sheet> --lock`.",
        )
    if plan.deviations:
        return Risk(name="Plan", state="stop", reason=f"The sheet is not as locked on {plan.locked_on}: "
                    f"{'; '.join(plan.deviations)}.", todo="Put it back, or choose another name.")  # fmt: skip
    return Risk(name="Plan", state="pass", reason=f"Locked on {plan.locked_on}, sha256 {plan.sha256[:12]}….")
