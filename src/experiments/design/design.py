"""What a planned test can tell, what it costs, when it ends, and what can go wrong: before anybody is contacted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

from experiments.common.errors import WinbackError
from experiments.common.formatting import count, date_told, interval, listed, money, number, share, told
from experiments.common.language import later, plural, say
from experiments.common.results import keep, kept
from experiments.design.limits import Asked, Largest, Limits, largest, refuse_too_small, sentence
from experiments.design.prior import Known, known_before
from experiments.design.sizing import NAME_A_SOURCE, Difference, PlannedArm, Size, Sizing, Unknown, counts_of, fewest
from experiments.lost.results import Cohort
from experiments.metrics.objectives import OBJECTIVES
from experiments.readout.readout import deviation_said
from experiments.sheet.locked_plan import Deviation, deviations, read_plan
from experiments.sheet.offer_checks import fits
from experiments.sheet.offers import costs_of
from experiments.sheet.sheet import Sheet, read_sheet

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
    deviations: tuple[Deviation, ...]


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
    if wanted < fewest(content):
        raise WinbackError(f"{wanted} customers are too few for {len(content.arms)} arms of these shares: take "
                           f"{fewest(content):,} or more, `customers:` in the sheet.")  # fmt: skip
    counts = counts_of(content, wanted)
    known = known_before(content, folder, counts=counts, expected_returned=expected_returned)
    sizing = Sizing(sheet=content, known=known, power=power, counts=counts)
    arms = sizing.arms()
    limits = _limits(content, arms, cohort)
    largest_test = largest(tuple(content.arms), limits, shares=sizing.counts)
    asked, unknown = sizing.asked(), sizing.unknown
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
        said=f"{sentence(asked, sizing.counts)} {unknown.reason if unknown else ''}".rstrip(),
        asked=(*(one.tells for one in asked), *([unknown.tells] if unknown else [])),
        answers=(*(one.answered(sizing.counts) for one in asked), *([False] if unknown else [])),
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
    return replace(design, risks=tuple(_risks(sizing, design, limits=limits, cohort=cohort)))


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
    return Locked(sha256=plan.sha256, locked_on=plan.locked_on, deviations=deviations(plan, sheet))


def _calendar(sheet: Sheet, design: Design) -> tuple[Event, ...]:
    """Return the days of the test from the first call to the readout; empty where nobody knows the first."""
    contacts = sheet.contacts
    known = contacts.first_day or (design.plan.locked_on if design.plan else None) or (sheet.lost and sheet.lost.as_of)
    if not known:
        return ()
    first = known if contacts.first_day else known + timedelta(days=1)
    events = [Event(what=say("First contact"), day=first)]
    if design.weeks and math.isfinite(design.weeks):
        last = first + timedelta(days=math.ceil(WEEK * design.weeks) - 1)
        events.append(Event(what=say("Last contact"), day=last))
    if contacts.deadline_days is not None:
        events.append(Event(what=say("Offers end"), day=first + timedelta(days=contacts.deadline_days)))
    events.append(Event(what=_over(sheet), day=_later(first, sheet.horizon_months)))
    if sheet.read_date:
        events.append(Event(what=say("Registered readout"), day=sheet.read_date))
    return tuple(sorted(events, key=lambda event: event.day))


def _over(sheet: Sheet) -> str:
    """Return what the day is called on which the horizon ends."""
    return plural("{n} month is over", "{n} months are over", sheet.horizon_months)


def _later(day: date, months: int) -> date:
    """Return the same day so many months later, the last of a shorter month."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    if year >= date.max.year:
        raise WinbackError(f"`first_day` is {day}: the test would end after the year {date.max.year}. Write the "
                           "day of the first contact.")  # fmt: skip
    end = (date(year + (month == 11), (month + 1) % 12 + 1, 1) - timedelta(days=1)).day  # noqa: PLR2004  December
    return date(year, month + 1, min(day.day, end))


# ---- what can go wrong


def _risks(sizing: Sizing, design: Design, *, limits: Limits, cohort: Cohort | None) -> list[Risk]:
    """Return what was looked at, the worst first."""
    sheet, known = sizing.sheet, sizing.known
    enough = None if design.too_small else design.possible  # a size worth a test
    found = [
        _holdout_risk(sheet),
        _size_risk(design, sizing.unknown),
        _source_risk(design, known),
        _past_risk(design, known),
        _budget_risk(design, limits, enough),
        _calls_risk(design, limits, enough),
        _day_risk(sheet, design),
        _strata_risk(sheet, cohort),
        _plan_risk(design),
        _percent_risk(sheet, known),
        *_offer_risks(sizing),
    ]
    order = ("stop", "warn", "pass")
    return sorted((risk for risk in found if risk), key=lambda risk: order.index(risk.state))


def _holdout_risk(sheet: Sheet) -> Risk:
    if sheet.holdout is None:
        return Risk(name=say("Holdout"), state="stop", todo=say("Add an arm without an offer and name it `holdout:`."),
                    reason=say("No arm is left alone, so nobody will know who had come back without an offer: no net, "
                               "no return on investment, no verdict."))  # fmt: skip
    reason = say("{holdout} gets nothing: what would have happened anyway is known.",
                 holdout=sheet.arms[sheet.holdout].label or sheet.holdout)  # fmt: skip
    return Risk(name=say("Holdout"), state="pass", reason=reason)


def _size_risk(design: Design, unknown: Unknown | None) -> Risk:
    name = say("Size")
    if design.decides:
        return Risk(name=name, state="pass", reason=design.said)
    todo = say("Assign more, drop an arm, or be content with “not separable” among the nearest offers.")
    if unknown and all(design.answers[:-1]):  # what is known of, the test tells
        todo = unknown.cure
    todo = design.too_small or todo
    state = "warn" if any(design.answers) and not design.too_small else "stop"
    return Risk(name=name, state=state, reason=design.said, todo=todo)


def _source_risk(design: Design, known: Known) -> Risk:
    name, rests = say("What is known"), say("The sizes rest on {source}.", source=known.source)
    if known.evidence is None:
        more = say("Money and months vary far more than responses, so a test that tells responses apart is many times "
                   "too small to rank offers on them.")  # fmt: skip
        todo = say(NAME_A_SOURCE)
        reason = rests if design.objective == "returned" else f"{rests} {more}"
        return Risk(name=name, state="warn", reason=reason, todo=todo)
    error = known.evidence.error
    if error > ROUGH:
        few = later("The sizes rest on {source}, few of whom bring much of the money: they may easily be {error} off.")
        return Risk(name=name, state="warn", reason=say(few, source=known.source, error=share(error, digits=0)),
                    todo=say("Plan more customers than needed, or name a larger past test."))  # fmt: skip
    return Risk(name=name, state="pass", reason=rests)


def _past_risk(design: Design, known: Known) -> Risk | None:
    """Return how widely the true effect of each offer differs from test to test."""
    labels, told_of = {arm.name: arm.label for arm in design.arms}, []
    for name, one in known.expected.get(design.objective, {}).items():
        said = f"{labels[name]} {told(one, currency=design.currency)}"
        if one.low is not None:
            bounds = interval(one, currency=design.currency)
            said = say("{expected} ({bounds} in the next test)", expected=said, bounds=bounds)
        told_of.append(said)
    if not told_of:
        return None
    reason = say("Expected by all tests so far, on {goal}: {offers}.", goal=say(OBJECTIVES[design.objective].goal),
                 offers=listed(told_of))  # fmt: skip
    return Risk(name=say("Past tests"), state="pass", reason=reason)


def _budget_risk(design: Design, limits: Limits, enough: int | None) -> Risk:
    name = say("Budget")
    expected, worst = (money(amount, design.currency, digits=0) for amount in (design.expected, design.worst))
    costs = say("The test is expected to cost {expected} and costs {worst} at most.", expected=expected, worst=worst)
    if limits.budget is None:
        unlimited = say("The sheet sets no limit (`design: {budget: ...}`).")
        return Risk(name=name, state="pass", reason=f"{costs} {unlimited}")
    budget = say("The budget is {budget}.", budget=money(limits.budget, design.currency, digits=0))
    said = f"{costs} {budget}"
    if design.expected > limits.budget:
        paid = plural("It pays for {n} customer.", "It pays for {n} customers.", design.possible)
        todo = say("Raise the budget.")
        if enough:
            todo = say("Set `customers: {customers}`, or raise the budget.", customers=str(enough))
        return Risk(name=name, state="stop", reason=f"{said} {paid}" if design.bound == "budget" else said, todo=todo)
    if design.worst > limits.budget:
        todo = say("Keep the difference in reserve: if everybody accepts, it is short.")
        return Risk(name=name, state="warn", reason=said, todo=todo)
    return Risk(name=name, state="pass", reason=said)


def _calls_risk(design: Design, limits: Limits, enough: int | None) -> Risk | None:
    name = say("Calls")
    if design.weeks is None:
        return Risk(name=name, state="warn",
                    reason=say("The sheet names no callers, so nobody knows how long the calls take."),
                    todo=say("Name them: `contacts: {callers: {Ann: {}}}`."))  # fmt: skip
    takes = {"weeks": number(design.weeks, digits=1), "calls": count(limits.calls_a_week or 0)}
    if limits.weeks is not None and design.weeks > limits.weeks:
        short = later("The calls take {weeks} weeks at {calls} a week; there are {there}.")
        todo = say("Add callers, or lengthen `deadline_days`.")
        if enough:
            some = later("Add callers, lengthen `deadline_days`, or set `customers: {customers}`.")
            todo = say(some, customers=str(enough))
        reason = say(short, there=number(limits.weeks, digits=1), **takes)
        return Risk(name=name, state="stop", reason=reason, todo=todo)
    return Risk(name=name, state="pass", reason=say("The calls take {weeks} weeks at {calls} a week.", **takes))


def _day_risk(sheet: Sheet, design: Design) -> Risk:
    name = say("Day of the readout")
    if sheet.read_date is None:
        return Risk(name=name, state="warn", todo=say("Set `read_date:`."),
                    reason=say("No day is registered. Whoever looks again and again until it pleases finds a winner "
                               "among equal offers in one test of four."))  # fmt: skip
    whole = next((event.day for event in design.calendar if event.what == _over(sheet)), None)
    if whole and sheet.read_date < whole:
        reason = plural(
            "On {day} the {n} month of the horizon is not over; it is on {whole}.",
            "On {day} the {n} months of the horizon are not over; they are on {whole}.",
            sheet.horizon_months, day=date_told(sheet.read_date), whole=date_told(whole),
        )  # fmt: skip
        return Risk(name=name, state="warn", reason=reason, todo=say("Register a later day, or a shorter horizon."))
    return Risk(name=name, state="pass", reason=say("Registered: {day}.", day=date_told(sheet.read_date)))


def _percent_risk(sheet: Sheet, known: Known) -> Risk | None:
    """Return that percentages cannot be counted, where nobody knows what they are of."""
    shares = {name: costs_of(name, sheet.every_offer, factors=None, decimals=0).shares for name in sheet.offers}
    uncounted = [sheet.arms[name].label or name for name, share in shares.items() if share]
    if known.evidence is not None or not uncounted:
        return None
    reason = say("Nobody knows what customers pay before a first test, so the costs leave out the percentages of "
                 "{offers}.", offers=listed(uncounted))  # fmt: skip
    return Risk(name=say("Percentages"), state="warn", reason=reason, todo=say(NAME_A_SOURCE))


def _offer_risks(sizing: Sizing) -> list[Risk]:
    """Return what may be wrong with the offers themselves."""
    sheet, known = sizing.sheet, sizing.known
    labels = {name: offer.label or name for name, offer in sheet.every_offer.items()}
    unfit = fits(sheet.every_offer, second_value=known.second_value, monthly_value=known.monthly_value,
                 currency=sheet.currency)  # fmt: skip
    found = [(fit.offer, fit.what[:1].upper() + fit.what[1:], fit.cure) for fit in unfit]
    for offer, metric in sizing.losing:
        reason = say("Expected to do worse than doing nothing, on {goal}, by {source}.", source=known.source,
                     goal=say(OBJECTIVES[metric].goal))  # fmt: skip
        found.append((offer, reason, say("Give less, give it to others, or test another offer.")))
    if not found:
        fine = say("Each gives something, and costs less than it may bring.")
        return [Risk(name=say("Offers"), state="pass", reason=fine)]
    return [Risk(name=say("Offer {offer}", offer=labels[offer]), state="warn", reason=reason, todo=todo)
            for offer, reason, todo in found]  # fmt: skip


def _strata_risk(sheet: Sheet, cohort: Cohort | None) -> Risk | None:
    if cohort is None or not cohort.strata:
        return None
    small = [name for name, customers in cohort.strata if customers < len(sheet.arms)]
    if small:
        reason = say(
            "{small} of {all} strata have fewer customers than the test has arms, such as {names}: not every offer is "
            "given there.", small=len(small), all=len(cohort.strata), names=listed(small[:3]),
        )  # fmt: skip
        return Risk(name=say("Strata"), state="warn", reason=reason, todo=say("Use fewer or coarser `strata`."))
    each = later("Each of {n} strata has a customer for every arm.")
    return Risk(name=say("Strata"), state="pass", reason=say(each, n=len(cohort.strata)))


def _plan_risk(design: Design) -> Risk:
    name, plan = say("Plan"), design.plan
    if plan is None:
        return Risk(name=name, state="warn",
                    reason=say("The plan is not locked: what was meant can be changed later without a trace."),
                    todo=say("Lock it before anybody is assigned: `winback design <sheet> --lock`."))  # fmt: skip
    if plan.deviations:
        reason = say("The sheet is not as locked on {day}: {settings}.", day=date_told(plan.locked_on),
                     settings="; ".join(map(deviation_said, plan.deviations)))  # fmt: skip
        return Risk(name=name, state="stop", reason=reason, todo=say("Put it back, or choose another name."))
    reason = say("Locked on {day}, sha256 {hash}….", day=date_told(plan.locked_on), hash=plan.sha256[:12])
    return Risk(name=name, state="pass", reason=reason)
