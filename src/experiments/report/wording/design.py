"""A planned test in words: what it can tell, what it takes, what can go wrong."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING, Any

from experiments.common.finding import Finding
from experiments.common.formatting import count, date_told, interval, listed, money, number, share, told
from experiments.common.language import later, numerals, plural, say
from experiments.metrics.objectives import OBJECTIVES
from experiments.report.wording.accounts import deviation
from experiments.report.wording.offers import OFFER_KEYS, offer_warning

if TYPE_CHECKING:
    from experiments.design.design import Design, Event
    from experiments.design.prior import Source

Words = tuple[str, str, str]  # name, reason, what to do
UNKNOWN = ("no_source", "no_rates")  # cases of what is asked and nobody knows the size of
BEST = {  # objective: what it is to be the best offer, after "you can tell"
    "profit": later("which offer earns most"),
    "roi": later("which offer earns most on its cost"),
    "returned": later("which offer brings most back"),
    "months": later("which offer keeps customers longest"),
    "market_share": later("which offer keeps most customers to the horizon"),
    "profit_and_share": later("which offer is worth most"),
}
NAME_A_SOURCE = later("Name a past test (`design: {past: sheet.yml}`), or state `accepted:` rates.")
STATE_ALL = later("State the rate of every arm (`design: {rates: ...}`).")
SOURCES = {
    "simulated": later("the simulated telecom, calibrated to the rates of the sheet"),
    "rates": later("the rates of the sheet"),
    "guess": later("a guess: nothing is known before this test"),
}
EVENTS = {
    "first_contact": later("First contact"),
    "last_contact": later("Last contact"),
    "offers_end": later("Offers end"),
    "readout": later("Registered readout"),
}
SIZES = {True: later("With {n} a group"), False: later("With {n} in the smallest group")}  # whether groups are equal
TOO_FEW = {
    "customers": later("A cohort of {cohort} makes {n} customers in the smallest group: too few to tell anything that "
                       "is asked."),
    "budget": later("A budget of {budget} pays for {n} customers in the smallest group: too few to tell anything that "
                    "is asked."),
    "calls": later("{calls} calls a week for {weeks} weeks reach {n} customers in the smallest group: too few to tell "
                   "anything that is asked."),
}  # fmt: skip
CURES = {
    "customers": later("Widen the cohort, drop an arm, or ask for a larger difference."),
    "budget": later("Raise the budget, drop an arm, or ask for a larger difference."),
    "calls": later("Add callers or weeks, drop an arm, or ask for a larger difference."),
}


def source(known: Source) -> str:
    """Return where it is known from what customers bring and cost."""
    if known.kind == "past":
        return say("the customers of the test {experiment}", experiment=known.name)
    return say(SOURCES[known.kind]) if known.kind in SOURCES else known.name


def event(design: Design, one: Event) -> str:
    """Return what a day of the test is called."""
    if one.what == "horizon_over":
        return plural("{n} month is over", "{n} months are over", design.horizon_months)
    return say(EVENTS[one.what]) if one.what in EVENTS else one.what


# What it can tell.
def asked(design: Design, one: Finding) -> str:
    """Return what a test should tell, after "you can tell"."""
    return ASKED[one.key](design, dict(one.facts))


ASKED: dict[str, Callable[[Design, dict[str, Any]], str]] = {
    "offer": lambda _, facts: say("{offer} from doing nothing", offer=facts["offer"]),
    "returned": lambda _, facts: say("{high} from {low} returned", high=_rate(facts["high"]), low=_rate(facts["low"])),
    "best": lambda design, _: say(BEST[design.objective]),
    "every": lambda *_: say("every offer from doing nothing"),
    "said": lambda _, facts: str(facts["said"]),
}


def _rate(rate: float) -> str:
    return share(rate, digits=0 if abs(100 * rate - round(100 * rate)) <= 1e-6 else 1)  # noqa: PLR2004  of a percent


def sentence(design: Design) -> str:
    """Return in plain words what a test can tell and what it cannot, and what that would take."""
    said = next((risk.facts["said"] for risk in design.risks if risk.key == "size" and "said" in risk.facts), None)
    if said is not None:  # by an earlier version
        return str(said)
    unknown = [_nobody_knows(design, one) for one in design.asked if one.case in UNKNOWN]
    able = [asked(design, one) for one in design.asked if one.state == "pass"]
    unable = [one for one in design.asked if one.state != "pass" and one.case not in UNKNOWN]
    return " ".join([_told(design, able, unable), *unknown])


def _told(design: Design, able: list[str], unable: list[Finding]) -> str:
    sizes = [arm.customers for arm in design.arms]
    start = say(SIZES[max(sizes) - min(sizes) <= 1], n=min(sizes))
    if not unable:
        return say("{start} you can tell {able}.", start=start, able=listed(able))
    if len(unable) == 1:
        missing = say("{tells}: {takes}", tells=asked(design, unable[0]), takes=_takes(unable[0]))
    else:
        missing = listed([f"{asked(design, one)} ({_takes(one)})" for one in unable], last="or")
    if not able:
        return say("{start} you cannot tell {missing}.", start=start, missing=missing)
    return say("{start} you can tell {able} but not {missing}.", start=start, able=listed(able), missing=missing)


def _takes(one: Finding) -> str:
    """Return what it takes to tell something."""
    if one.case == "equal":
        return say("no size tells equal offers apart")
    return say("for that {n}", n=_int(one.facts["needs"]))


def _nobody_knows(design: Design, one: Finding) -> str:
    goal = asked(design, one)
    if one.case == "no_source":
        return say("Which size tells {most} nobody knows before a first test.", most=goal)
    return say("Which size tells {most} nobody knows: no rate is stated of {offers}.", most=goal,
               offers=listed(one.facts["silent"]))  # type: ignore[arg-type]  # fmt: skip


def _int(fact: object) -> int:
    return int(fact)  # type: ignore[call-overload, no-any-return]


def too_small(design: Design) -> str:
    """Return why the customers, the budget or the calls there are can tell nothing, and the cure; "" if they can."""
    if design.too_small is None:
        return ""
    facts: dict[str, Any] = dict(design.too_small.facts)
    if "said" in facts:
        return str(facts["said"])
    bound, currency = design.too_small.case, design.currency
    calls, weeks = (numerals(f"{facts[name] or 0:,.1f}".removesuffix(".0")) for name in ("calls", "weeks"))
    few = say(TOO_FEW[bound], n=facts["customers"], cohort=facts["cohort"], calls=calls, weeks=weeks,
              budget=money(facts["budget"] or 0, currency, digits=0))  # fmt: skip
    takes = [say("{n} in the smallest group", n=facts["needs"])]
    if facts["cost"] is not None:
        takes.append(money(facts["cost"], currency, digits=0))
    if facts["calling"] is not None:
        takes.append(plural("{n} week of calls", "{n} weeks of calls", facts["calling"]))
    tells = asked(design, design.asked[facts["easiest"]])
    easiest = say("To tell {tells} takes {needs}.", tells=tells, needs=listed(takes))
    return f"{few} {easiest} {say(CURES[bound])}"


# What can go wrong.
def risk(design: Design, finding: Finding) -> Words:
    """Return a risk of a planned test in words: its name, the reason, what to do."""
    facts: dict[str, Any] = {**finding.facts, "case": finding.case, "state": finding.state}
    if "said" in facts:
        return facts["name"], facts["said"], facts["cure"]
    if finding.key in OFFER_KEYS:
        what, cure = offer_warning(finding, currency=design.currency)
        return say("Offer {offer}", offer=facts["label"]), what[:1].upper() + what[1:], cure
    return RISKS[finding.key](design, facts)


def _holdout(_design: Design, facts: dict[str, Any]) -> Words:
    name = say("Holdout")
    if facts["state"] == "stop":
        alone = say("No arm is left alone, so nobody will know who had come back without an offer: no net, "
                    "no return on investment, no verdict.")  # fmt: skip
        return name, alone, say("Add an arm without an offer and name it `holdout:`.")
    known = later("{holdout} gets nothing: what would have happened anyway is known.")
    return name, say(known, holdout=facts["holdout"]), ""


def _size(design: Design, facts: dict[str, Any]) -> Words:
    if facts["state"] == "pass":
        return say("Size"), sentence(design), ""
    few = say("Assign more, drop an arm, or be content with “not separable” among the nearest offers.")
    cures = {"no_source": say(NAME_A_SOURCE), "no_rates": say(STATE_ALL), "too_small": too_small(design)}
    return say("Size"), sentence(design), cures.get(facts["case"], few)


def _source(design: Design, facts: dict[str, Any]) -> Words:
    name, known = say("What is known"), source(design.source)
    rests = say("The sizes rest on {source}.", source=known)
    if facts["case"] == "no_money":
        more = say("Money and months vary far more than responses, so a test that tells responses apart is many times "
                   "too small to rank offers on them.")  # fmt: skip
        return name, rests if design.objective == "returned" else f"{rests} {more}", say(NAME_A_SOURCE)
    if facts["case"] == "rough":
        few = later("The sizes rest on {source}, few of whom bring much of the money: they may easily be {error} off.")
        reason = say(few, source=known, error=share(facts["error"], digits=0))
        return name, reason, say("Plan more customers than needed, or name a larger past test.")
    return name, rests, ""


def _past_tests(design: Design, _facts: dict[str, Any]) -> Words:
    """Return how widely the true effect of each offer differs from test to test."""
    found = []
    for arm in (arm for arm in design.arms if arm.prior):
        said = f"{arm.label} {told(arm.prior, currency=design.currency)}"  # type: ignore[arg-type]
        if arm.prior.low is not None:  # type: ignore[union-attr]
            bounds = interval(arm.prior, currency=design.currency)  # type: ignore[arg-type]
            said = say("{expected} ({bounds} in the next test)", expected=said, bounds=bounds)
        found.append(said)
    reason = say("Expected by all tests so far, on {goal}: {offers}.", goal=say(OBJECTIVES[design.objective].goal),
                 offers=listed(found))  # fmt: skip
    return say("Past tests"), reason, ""


def _budget(design: Design, facts: dict[str, Any]) -> Words:
    name = say("Budget")
    expected, worst = (money(amount, design.currency, digits=0) for amount in (design.expected, design.worst))
    costs = say("The test is expected to cost {expected} and costs {worst} at most.", expected=expected, worst=worst)
    if facts["case"] == "unlimited":
        unlimited = say("The sheet sets no limit (`design: {budget: ...}`).")
        return name, f"{costs} {unlimited}", ""
    budget = say("The budget is {budget}.", budget=money(facts["budget"], design.currency, digits=0))
    said = f"{costs} {budget}"
    if facts["case"] == "short":
        paid = plural("It pays for {n} customer.", "It pays for {n} customers.", design.possible)
        todo = say("Raise the budget.")
        if facts["customers"]:
            todo = say("Set `customers: {customers}`, or raise the budget.", customers=str(facts["customers"]))
        return name, f"{said} {paid}" if design.bound == "budget" else said, todo
    reserve = say("Keep the difference in reserve: if everybody accepts, it is short.")
    return name, said, reserve if facts["case"] == "at_most" else ""


def _calls(design: Design, facts: dict[str, Any]) -> Words:
    name = say("Calls")
    if facts["case"] == "nobody":
        reason = say("The sheet names no callers, so nobody knows how long the calls take.")
        return name, reason, say("Name them: `contacts: {callers: {Ann: {}}}`.")
    takes = {"weeks": number(design.weeks or 0, digits=1), "calls": count(facts["calls"])}
    if facts["case"] == "short":
        short = later("The calls take {weeks} weeks at {calls} a week; there are {there}.")
        todo = say("Add callers, or lengthen `deadline_days`.")
        if facts["customers"]:
            some = later("Add callers, lengthen `deadline_days`, or set `customers: {customers}`.")
            todo = say(some, customers=str(facts["customers"]))
        return name, say(short, there=number(facts["there"], digits=1), **takes), todo
    return name, say("The calls take {weeks} weeks at {calls} a week.", **takes), ""


def _day(design: Design, facts: dict[str, Any]) -> Words:
    name = say("Day of the readout")
    if facts["case"] == "none":
        reason = say("No day is registered. Whoever looks again and again until it pleases finds a winner "
                     "among equal offers in one test of four.")  # fmt: skip
        return name, reason, say("Set `read_date:`.")
    day = date_told(date.fromisoformat(facts["day"]))
    if facts["case"] == "early":
        reason = plural(
            "On {day} the {n} month of the horizon is not over; it is on {whole}.",
            "On {day} the {n} months of the horizon are not over; they are on {whole}.",
            design.horizon_months, day=day, whole=date_told(date.fromisoformat(facts["over"])),
        )  # fmt: skip
        return name, reason, say("Register a later day, or a shorter horizon.")
    return name, say("Registered: {day}.", day=day), ""


def _strata(_design: Design, facts: dict[str, Any]) -> Words:
    if facts["state"] == "pass":
        return say("Strata"), say("Each of {n} strata has a customer for every arm.", n=facts["strata"]), ""
    reason = say(
        "{small} of {all} strata have fewer customers than the test has arms, such as {names}: not every offer is "
        "given there.", small=facts["small"], all=facts["strata"], names=listed(facts["such_as"]),
    )  # fmt: skip
    return say("Strata"), reason, say("Use fewer or coarser `strata`.")


def _plan(design: Design, _facts: dict[str, Any]) -> Words:
    name, plan = say("Plan"), design.plan
    if plan is None:
        reason = say("The plan is not locked: what was meant can be changed later without a trace.")
        return name, reason, say("Lock it before anybody is assigned: `winback design <sheet> --lock`.")
    if plan.deviations:
        reason = say("The sheet is not as locked on {day}: {settings}.", day=date_told(plan.locked_on),
                     settings="; ".join(map(deviation, plan.deviations)))  # fmt: skip
        return name, reason, say("Put it back, or choose another name.")
    return name, say("Locked on {day}, sha256 {hash}….", day=date_told(plan.locked_on), hash=plan.sha256[:12]), ""


def _percentages(_design: Design, facts: dict[str, Any]) -> Words:
    reason = say("Nobody knows what customers pay before a first test, so the costs leave out the percentages of "
                 "{offers}.", offers=listed(facts["offers"]))  # fmt: skip
    return say("Percentages"), reason, say(NAME_A_SOURCE)


def _losing(design: Design, facts: dict[str, Any]) -> Words:
    objective = OBJECTIVES[facts["metric"]]
    reason = say("Expected to do worse than doing nothing, on {goal}, by {source}.", source=source(design.source),
                 goal=say(objective.goal))  # fmt: skip
    name = say("Offer {offer}", offer=facts["label"])
    return name, reason, say("Give less, give it to others, or test another offer.")


def _offers(*_: object) -> Words:
    return say("Offers"), say("Each gives something, and costs less than it may bring."), ""


RISKS: dict[str, Callable[[Design, dict[str, Any]], Words]] = {
    "holdout": _holdout,
    "size": _size,
    "source": _source,
    "past_tests": _past_tests,
    "budget": _budget,
    "calls": _calls,
    "day": _day,
    "strata": _strata,
    "plan": _plan,
    "percentages": _percentages,
    "losing": _losing,
    "offers": _offers,
}
