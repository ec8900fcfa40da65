"""The page of a planned test: what it can tell, what it costs, when it ends, what can go wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.common.formatting import (
    NO_NUMBER,
    amount,
    count,
    date_told,
    day,
    large,
    listed,
    money,
    number,
    points,
    share,
)
from experiments.common.language import later, plural, rendered, say
from experiments.metrics.objectives import OBJECTIVES
from experiments.report import html, shared
from experiments.report.figures import design as figures
from experiments.report.html import Html
from experiments.report.wording import design as words

if TYPE_CHECKING:
    from experiments.design.design import Design
    from experiments.design.sizing import Difference, Size

STATES = {"pass": later("Fine"), "warn": later("Mind"), "stop": later("Stop")}
RULES = {  # correction: what is said of it; of none nothing
    "simultaneous": later(", simultaneous correction over the pairs of a question"),
    "holm": later(", holm correction over the pairs of a question"),
    "bonferroni": later(", bonferroni correction over the pairs of a question"),
}
PERCENTAGES = {  # whether the source knows what customers pay
    True: later("Of what the customers of the source bring, over the margin's share; with an end, of so many months."),
    False: later("Not included: nobody knows what customers pay before a first test."),
}
SHOWN = 5  # sizes in the table, around the planned one
LARGEST = {
    "customers": later("The largest test possible has {n} customers: no more lost customers can be contacted."),
    "budget": later("The largest test possible has {n} customers: the budget pays for no more."),
    "calls": later("The largest test possible has {n} customers: there are no more calls before the offers end."),
}


@rendered
def question(design: Design, *, language: str | None = None) -> Html:
    """Return the title of the page and what the test asks."""
    return html.heading(say("What can the test tell, and what does it cost?"), shared.asked(design.question))


@rendered
def verdict(design: Design, *, language: str | None = None) -> Html:
    """Return what the planned test can tell and what it costs."""
    told = sum(design.answers)
    stops = [words.risk(design, risk)[0] for risk in design.stops]
    word = say("Enough for {told} of {all} questions", told=told, all=len(design.asked))
    word = say("Large enough") if design.decides else word
    word = say("Not as it stands: {risks}", risks=listed(stops).lower()) if stops else word
    tone = "stop" if stops else "go" if design.decides else "wait"
    card = html.verdict(words.sentence(design), word=word, tone=tone, detail=words.too_small(design))
    return card + html.facts(_facts(design))


def _facts(design: Design) -> list[tuple[str, str, str]]:
    """Return the few numbers that a marketer takes along."""
    found = [
        (say("Customers"), count(design.customers), _whom(design)),
        (say("Expected cost"), large(design.expected, design.currency).replace(" ", "\n", 1),
         say("at most {cost}", cost=large(design.worst, design.currency))),
    ]  # fmt: skip
    now = next(size for size in design.sizes if size.customers == design.customers)
    if now.objective is not None:
        unit = OBJECTIVES[design.objective].unit
        found.append((say("Tells apart"), amount(now.objective, unit, currency=design.currency),
                      say("or more, on {goal}", goal=_goal(design.objective))))  # fmt: skip
    else:
        found.append((say("Tells apart"), points(now.returned), say("or more of customers returned")))
    if design.calendar:
        last = design.calendar[-1]
        found.append((words.event(design, last), day(last.day, short=True), say("the last day of the calendar")))
    return found


def _whom(design: Design) -> str:
    arms = plural("in {n} arm", "in {n} arms", len(design.arms))
    if design.contactable is None:
        return arms
    if design.contactable == design.customers:
        return say("all who can be contacted, {arms}", arms=arms)
    return say("of {n} who can be contacted, {arms}", n=design.contactable, arms=arms)


def _goal(objective: str) -> str:
    return say(OBJECTIVES[objective].goal)


@rendered
def told(design: Design, *, language: str | None = None) -> Html:
    """Return what the test can tell: every difference, and the curve of what tests of other sizes can."""
    import pandas as pd

    rows = [
        [_goal(one.metric), _amount(one, one.hoped, design), _amount(one, one.detectable, design),
         share(one.power, digits=0), NO_NUMBER if one.needed is None else count(one.needed)]
        for one in design.differences
    ]  # fmt: skip
    columns = [say("On"), say("Hoped difference"), say("Smallest it tells"), say("Chance to tell"),
               say("Needs, in the smallest arm")]  # fmt: skip
    index = [say("{one} less {other}", one=one.first, other=one.second) for one in design.differences]
    frame = pd.DataFrame(rows, columns=columns, index=index)
    frame.index.name = say("Pair")
    known = say("Hoped differences and their noise come from {source}.", source=words.source(design.source))
    smallest = say("Smallest: told with a chance of {power} at level {level}{rule}.", rule=_rule(design),
                   power=share(design.power, digits=0), level=share(design.level, digits=0))  # fmt: skip
    table = html.table(frame, caption=say("Pair by pair"), notes=[f"{known} {smallest}"])
    every = html.section(say("Every difference"), table, open=False)
    return html.section(say("What the test can tell"), shared.picture(figures.tell_apart(design))) + every


def _rule(design: Design) -> str:
    return say(RULES[design.correction]) if design.correction in RULES else ""


def _amount(one: Difference, value: float, design: Design) -> str:
    return amount(value, one.unit, currency=design.currency)


@rendered
def arms(design: Design, *, language: str | None = None) -> Html:
    """Return the arms, their sizes and costs."""
    import pandas as pd

    best = any(arm.best_share is not None for arm in design.arms)
    rows = [
        [share(arm.share), *([share(arm.best_share)] if arm.best_share is not None else [NO_NUMBER] * best),
         count(arm.customers), money(arm.expected_cost, design.currency), money(arm.worst_cost, design.currency),
         money(arm.expected, design.currency, digits=0), money(arm.worst, design.currency, digits=0)]
        for arm in design.arms
    ]  # fmt: skip
    columns = [say("Share"), *([say("Best share")] * best), say("Customers"), say("Cost a head, expected"),
               say("Cost a head, at most"), say("Expected"), say("At most")]  # fmt: skip
    frame = pd.DataFrame(rows, columns=columns, index=[arm.label for arm in design.arms])
    frame.index.name = say("Arm")
    expected, worst = (money(cost, design.currency, digits=0) for cost in (design.expected, design.worst))
    sums = later("At most: everybody accepts and stays to the end. All arms: expected {expected}, at most {worst}.")
    about = later("Best share: tells every offer from the holdout, equal differences, with the fewest customers.")
    notes = [say(sums, expected=expected, worst=worst), *([say(about)] * best),
             say(LARGEST[design.bound], n=design.possible)]  # fmt: skip
    table = html.table(frame, caption=say("The plan, arm by arm"), notes=notes)
    return html.section(say("Arms and budget"), table)


@rendered
def sizes(design: Design, *, language: str | None = None) -> Html:
    """Return what tests of other sizes cost, take and tell."""
    import pandas as pd

    unit = OBJECTIVES[design.objective].unit
    place = next(i for i, size in enumerate(design.sizes) if size.customers == design.customers)
    around = [design.sizes[i] for i in range(place - 2 * SHOWN, place + 2 * SHOWN + 1, 2) if 0 <= i < len(design.sizes)]

    def row(size: Size) -> list[str]:
        weeks = [] if size.weeks is None else [number(size.weeks, digits=1)]
        worth = [] if size.objective is None else [amount(size.objective, unit, currency=design.currency)]
        return [count(size.smallest), large(size.cost, design.currency), *weeks, points(size.returned), *worth]

    weeks = [say("Weeks of calls")] if around[0].weeks is not None else []
    worth = []
    if around[0].objective is not None:
        worth = [say("Tells apart on {goal}", goal=_goal(design.objective))]
    columns = [say("In the smallest arm"), say("Expected cost"), *weeks, say("Tells apart on returns"), *worth]
    index = [
        say("{n} (this test)", n=size.customers) if size.customers == design.customers else count(size.customers)
        for size in around
    ]
    frame = pd.DataFrame([row(size) for size in around], columns=columns, index=index)
    frame.index.name = say("Customers")
    note = say("The nearest pair of arms decides. Four times the customers tell half the difference.")
    table = html.table(frame, caption=say("Tests of other sizes, same shares"), notes=[note])
    return html.section(say("Larger or smaller?"), table, open=False)


@rendered
def calendar(design: Design, *, language: str | None = None) -> Html:
    """Return the days of the test."""
    if not design.calendar:
        return html.section(
            say("Calendar"), say("The sheet has no first day. Write `contacts: {first_day: 2026-01-31}`.")
        )
    start = design.calendar[0].day
    clock = say("the clock of every customer starts at the assignment")
    days = [
        (
            words.event(design, one),
            day(one.day, short=True),
            _after((one.day - start).days) if one.day > start else clock,
        )
        for one in design.calendar
    ]
    return html.section(say("Calendar"), html.facts(days))


def _after(days: int) -> str:
    return plural("{n} week after the first contact", "{n} weeks after the first contact", round(days / 7))


@rendered
def risks(design: Design, *, language: str | None = None) -> Html:
    """Return what can go wrong, the worst first."""
    told = [(risk.state, *words.risk(design, risk)) for risk in design.risks]
    items = [(name, state, reason, todo) for state, name, reason, todo in told]
    return html.section(say("What can go wrong"), html.check_list(items, words=STATES))


@rendered
def method(design: Design, *, language: str | None = None) -> Html:
    """Return how the sizes were computed, and what is locked."""
    plan = design.plan
    locked = say("not locked")
    if plan is not None:
        locked = say("locked on {day}, sha256 {hash}", day=date_told(plan.locked_on), hash=plan.sha256)
        locked += "".join(say("; amended, sha256 {hash}", hash=sha256) for sha256 in plan.amended)
    rows = {
        say("Plan"): locked,
        say("Known before"): say("Means and covariances of one customer of each arm come from {source}.",
                                 source=words.source(design.source)),
        say("Sizes"): say(
            "Two-sided tests of differences between arms, as the readout makes them: the covariance of the "
            "differences is the sum over arms of the noise of one customer over the customers of the arm; the noise "
            "of a ratio such as return on investment by the delta method. Shares from stated rates: z test of two "
            "proportions."
        ),
        say("Best shares"): say(
            "Minimise the largest variance of offer less holdout; sqrt(k) : 1 : ... : 1 where all vary alike (Silvey, "
            "Titterington & Torsney 1978)."
        ),
        say("Cost expected"): say(
            "Contact and gifts of who returns, and each month of a promotion for who is active in it, the fullest "
            "months of the source taken as the first; in proportion to what its offer of the same name was seen to "
            "cost. From stated rates: all who return stay through every promotion."
        ),
        say("Cost at most"): say(
            "Contact, gifts and every month of every promotion for every customer, whatever the take-up; the dearest "
            "offer where an arm chooses by segment."
        ),
        say("Percentages"): say(PERCENTAGES[design.prices]),
    }  # fmt: skip
    return html.section(say("Method"), html.definitions(rows), open=False)
