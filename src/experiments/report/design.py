"""The page of a planned test: what it can tell, what it costs, when it ends, what can go wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments import parts
from experiments.figures import design as figures
from experiments.objectives import OBJECTIVES
from experiments.parts import Html
from experiments.report import shared
from experiments.words import NO_NUMBER, amount, day, large, listed, money, share

if TYPE_CHECKING:
    from experiments.design import Design
    from experiments.sizing import Difference, Size

STATES = {"pass": "Fine", "warn": "Mind", "stop": "Stop"}
SHOWN = 5  # sizes in the table, around the planned one
BOUNDS = {
    "customers": "no more lost customers can be contacted",
    "budget": "the budget pays for no more",
    "calls": "there are no more calls before the offers end",
}


def question(design: Design) -> Html:
    """Return the title of the page and what the test asks."""
    return parts.heading("What can the test tell, and what does it cost?", design.question)


def verdict(design: Design) -> Html:
    """Return what the planned test can tell and what it costs."""
    told = sum(design.answers)
    stops = [risk.name for risk in design.risks if risk.state == "stop"]
    word = "Large enough" if design.decides else f"Enough for {told} of {len(design.asked)} questions"
    word = f"Not as it stands: {listed(stops).lower()}" if stops else word
    tone = "stop" if stops else "go" if design.decides else "wait"
    card = parts.verdict(design.said, word=word, tone=tone, detail=design.too_small)
    return card + parts.facts(_facts(design))


def _facts(design: Design) -> list[tuple[str, str, str]]:
    """Return the few numbers that a marketer takes along."""
    whom = "all" if design.contactable == design.customers else f"of {design.contactable or 0:,}"
    of = "" if design.contactable is None else f"{whom} who can be contacted, "
    found = [
        ("Customers", f"{design.customers:,}", f"{of}in {len(design.arms)} arms"),
        ("Expected cost", large(design.expected, design.currency).replace(" ", "\n", 1),
         f"at most {large(design.worst, design.currency)}"),
    ]  # fmt: skip
    now = next(size for size in design.sizes if size.customers == design.customers)
    if now.objective is not None:
        unit = OBJECTIVES[design.objective].unit
        found.append(("Tells apart", amount(now.objective, unit, currency=design.currency),
                      f"or more, on {OBJECTIVES[design.objective].goal}"))  # fmt: skip
    else:
        found.append(("Tells apart", share(now.returned), "or more of customers returned"))
    if design.calendar:
        found.append(
            (design.calendar[-1].what, day(design.calendar[-1].day, short=True), "the last day of the calendar")
        )
    return found


def told(design: Design) -> Html:
    """Return what the test can tell: every difference, and the curve of what tests of other sizes can."""
    import pandas as pd

    rows = [
        [OBJECTIVES[one.metric].goal, _amount(one, one.hoped, design), _amount(one, one.detectable, design),
         share(one.power, digits=0), NO_NUMBER if one.needed is None else f"{one.needed:,}"]
        for one in design.differences
    ]  # fmt: skip
    columns = ["On", "Hoped difference", "Smallest it tells", "Chance to tell", "Needs, in the smallest arm"]
    index = [f"{one.first} less {one.second}" for one in design.differences]
    frame = pd.DataFrame(rows, columns=columns, index=index)
    frame.index.name = "Pair"
    rule = "" if design.correction == "none" else f", {design.correction} correction over the pairs of a question"
    note = (
        f"Hoped differences and their noise come from {design.source}. Smallest: told with a chance of "
        f"{share(design.power, digits=0)} at level {share(design.level, digits=0)}{rule}."
    )
    every = parts.section("Every difference", parts.table(frame, caption="Pair by pair", notes=[note]), open=False)
    return parts.section("What the test can tell", shared.picture(figures.tell_apart(design))) + every


def _amount(one: Difference, value: float, design: Design) -> str:
    return amount(value, one.unit, currency=design.currency)


def arms(design: Design) -> Html:
    """Return the arms, their sizes and costs."""
    import pandas as pd

    best = any(arm.best_share is not None for arm in design.arms)
    rows = [
        [share(arm.share), *([share(arm.best_share)] if arm.best_share is not None else [NO_NUMBER] * best),
         f"{arm.customers:,}", money(arm.expected_cost, design.currency), money(arm.worst_cost, design.currency),
         money(arm.expected, design.currency, digits=0), money(arm.worst, design.currency, digits=0)]
        for arm in design.arms
    ]  # fmt: skip
    columns = ["Share", *(["Best share"] * best), "Customers", "Cost a head, expected", "Cost a head, at most",
               "Expected", "At most"]  # fmt: skip
    frame = pd.DataFrame(rows, columns=columns, index=[arm.label for arm in design.arms])
    frame.index.name = "Arm"
    sums = [money(cost, design.currency, digits=0) for cost in (design.expected, design.worst)]
    notes = [f"At most: everybody accepts and stays to the end. All arms: expected {sums[0]}, at most {sums[1]}."]
    if best:
        notes.append("Best share: tells every offer from the holdout, equal differences, with the fewest customers.")
    limit = f"The largest test possible has {design.possible:,} customers: {BOUNDS[design.bound]}."
    return parts.section("Arms and budget", parts.table(frame, caption="The plan, arm by arm", notes=[*notes, limit]))


def sizes(design: Design) -> Html:
    """Return what tests of other sizes cost, take and tell."""
    import pandas as pd

    unit = OBJECTIVES[design.objective].unit
    place = next(i for i, size in enumerate(design.sizes) if size.customers == design.customers)
    around = [design.sizes[i] for i in range(place - 2 * SHOWN, place + 2 * SHOWN + 1, 2) if 0 <= i < len(design.sizes)]

    def row(size: Size) -> list[str]:
        weeks = [] if size.weeks is None else [f"{size.weeks:,.1f}"]
        worth = [] if size.objective is None else [amount(size.objective, unit, currency=design.currency)]
        return [f"{size.smallest:,}", large(size.cost, design.currency), *weeks, share(size.returned), *worth]

    weeks = ["Weeks of calls"] if around[0].weeks is not None else []
    worth = [f"Tells apart on {OBJECTIVES[design.objective].goal}"] if around[0].objective is not None else []
    columns = ["In the smallest arm", "Expected cost", *weeks, "Tells apart on returns", *worth]
    index = [f"{size.customers:,}{' (this test)' if size.customers == design.customers else ''}" for size in around]
    frame = pd.DataFrame([row(size) for size in around], columns=columns, index=index)
    frame.index.name = "Customers"
    note = "The nearest pair of arms decides. Four times the customers tell half the difference."
    table = parts.table(frame, caption="Tests of other sizes, same shares", notes=[note])
    return parts.section("Larger or smaller?", table, open=False)


def calendar(design: Design) -> Html:
    """Return the days of the test."""
    if not design.calendar:
        return parts.section("Calendar", "The sheet has no first day. Write `contacts: {first_day: 2026-01-31}`.")
    start = design.calendar[0].day
    clock = "the clock of every customer starts at the assignment"
    days = [
        (event.what, day(event.day, short=True),
         f"{(event.day - start).days / 7:,.0f} weeks after the first contact" if event.day > start else clock)
        for event in design.calendar
    ]  # fmt: skip
    return parts.section("Calendar", parts.facts(days))


def risks(design: Design) -> Html:
    """Return what can go wrong, the worst first."""
    items = [(risk.name, risk.state, risk.reason, risk.todo) for risk in design.risks]
    return parts.section("What can go wrong", parts.check_list(items, words=STATES))


def method(design: Design) -> Html:
    """Return how the sizes were computed, and what is locked."""
    plan = design.plan
    rows = {
        "Plan": "not locked" if plan is None else f"locked on {plan.locked_on}, sha256 {plan.sha256}",
        "Known before": f"Means and covariances of one customer of each arm come from {design.source}.",
        "Sizes": "Two-sided tests of differences between arms, as the readout makes them: the covariance of the "
        "differences is the sum over arms of the noise of one customer over the customers of the arm; the noise of a "
        "ratio such as return on investment by the delta method. Shares from stated rates: z test of two proportions.",
        "Best shares": "Minimise the largest variance of offer less holdout; sqrt(k) : 1 : ... : 1 where all vary "
        "alike (Silvey, Titterington & Torsney 1978).",
        "Cost at most": "Contact, gifts and every month of every promotion for every customer, whatever the take-up; "
        "the dearest offer where an arm chooses by segment. Percentages of what customers pay are not included.",
    }
    return parts.section("Method", parts.definitions(rows), open=False)
