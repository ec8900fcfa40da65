"""What a cohort, a budget and a call capacity allow: the largest test, what it can tell, and what it cannot.

A test is known by the customers of its arms; its money and its weeks follow from them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from experiments.common.errors import WinbackError
from experiments.common.formatting import listed, money
from experiments.common.language import later, numerals, plural, say
from experiments.stats.power import PLAIN, Rule, detectable
from experiments.stats.shares import FEWEST, Question, fractions

GRID = tuple(round(10 ** (2 + step / 4)) for step in range(17))  # customers an arm of a curve: 100 to 1,000,000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What there is for a test. None: no limit.

    `costs`: in currency, of an assigned customer of each arm, expected or at most; `fixed`: once. `calls`: attempts
    an assigned customer of each arm takes. An arm not named costs nothing and is not called: the holdout.
    """

    customers: int | None = None
    budget: float | None = None
    calls_a_week: float | None = None
    weeks: float | None = None
    costs: Mapping[str, float] = field(default_factory=dict)
    calls: Mapping[str, float] = field(default_factory=dict)
    fixed: float = 0.0
    currency: str = "USD"

    def __post_init__(self) -> None:
        for name in ("customers", "budget", "calls_a_week", "weeks", "fixed"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise WinbackError(f"{name} is {value}. Give 0 or more, or leave it out where there is no limit.")
        for name, amounts in (("costs", self.costs), ("calls", self.calls)):
            for arm, value in amounts.items():
                if not (math.isfinite(value) and value >= 0):
                    raise WinbackError(f"{name} of arm {arm!r} are {value}. Give 0 or more a customer.")

    def cost(self, customers: Mapping[str, float]) -> float:
        """Return what a test of so many customers costs. Unit: currency."""
        return self.fixed + sum(size * self.costs.get(arm, 0.0) for arm, size in customers.items())

    def duration(self, customers: Mapping[str, float]) -> float | None:
        """Return the weeks that the calls of a test take; None without a call capacity."""
        wanted = sum(size * self.calls.get(arm, 0.0) for arm, size in customers.items())
        if self.calls_a_week is None:
            return None
        return wanted / self.calls_a_week if self.calls_a_week > 0 else math.inf if wanted else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Largest:
    """The largest test that the limits allow."""

    customers: dict[str, int]  # arm: how many
    bound: str  # the limit that binds: customers, budget or calls
    cost: float
    weeks: float | None

    @property
    def smallest(self) -> int:
        """Customers of the smallest arm."""
        return min(self.customers.values())


def largest(arms: Sequence[str], limits: Limits, *, shares: Mapping[str, float] | None = None) -> Largest:
    """Return the largest test within a cohort, a budget and a call capacity."""
    part = dict(zip(arms, map(float, fractions(arms, shares)), strict=True))
    each, calls = limits.cost(part) - limits.fixed, sum(part[arm] * limits.calls.get(arm, 0.0) for arm in part)
    totals = {"customers": math.inf if limits.customers is None else float(limits.customers)}
    if limits.budget is not None and (each > 0 or limits.budget < limits.fixed):
        totals["budget"] = max(0.0, limits.budget - limits.fixed) / each if each > 0 else 0.0
    if limits.calls_a_week is not None and limits.weeks is not None and calls > 0:
        totals["calls"] = limits.calls_a_week * limits.weeks / calls
    bound = min(totals, key=lambda name: totals[name])
    if math.isinf(totals[bound]):
        raise WinbackError("Nothing limits the test. Give the customers of the cohort, a budget with the costs of the "
                           "arms, or calls_a_week with weeks and the calls of the arms.")  # fmt: skip
    customers = {arm: math.floor(totals[bound] * share + 1e-9) for arm, share in part.items()}
    return Largest(customers=customers, bound=bound, cost=limits.cost(customers), weeks=limits.duration(customers))


# What can be told apart.
@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A test on the curve: its customers, money and weeks, and the differences that it tells."""

    customers: int  # of all arms
    smallest: int  # of the smallest arm
    cost: float
    weeks: float | None
    detectable: tuple[float, ...]  # of each difference of the question


def curve(
    question: Question,
    *,
    limits: Limits | None = None,
    shares: Mapping[str, float] | None = None,
    totals: Sequence[int] | None = None,
    power: float = 0.8,
    rule: Rule = PLAIN,
) -> tuple[Point, ...]:
    """Return what can be told against customers, money and weeks.

    `totals`: customers of all arms, by default 100 to a million an arm. Four times the customers tell half the
    difference.
    """
    part, known = fractions(question.arms, shares), limits or Limits()
    chosen = [len(part) * size for size in GRID] if totals is None else totals
    points = []
    for total in chosen:
        sizes = dict(zip(question.arms, map(float, part * total), strict=True))
        found = detectable(question, total, power=power, shares=shares, rule=rule)
        points.append(Point(customers=total, smallest=int(min(sizes.values())), cost=known.cost(sizes),
                            weeks=known.duration(sizes), detectable=found))  # fmt: skip
    return tuple(points)


# The sentence.
@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Something a test should tell, after "you can tell": "45 % from 41 %", and the customers that takes."""

    tells: str
    needs: Mapping[str, int] | None  # arm: customers; None: arms are taken to be equal, which no size tells apart

    def answered(self, customers: Mapping[str, int]) -> bool:
        """Tell whether so many customers of each arm are enough."""
        return self.needs is not None and all(customers.get(arm, 0) >= n for arm, n in self.needs.items())

    @property
    def takes(self) -> str:
        """What it takes, in words."""
        if self.needs is None:
            return say("no size tells equal offers apart")
        return say("for that {n}", n=min(self.needs.values()))


def sentence(asked: Sequence[Asked], customers: Mapping[str, int]) -> str:
    """Return in plain words what a test can tell and what it cannot, and what that would take."""
    able = [one.tells for one in asked if one.answered(customers)]
    unable = [one for one in asked if not one.answered(customers)]
    even = max(customers.values()) - min(customers.values()) <= 1
    start = say(SIZES[even], n=min(customers.values()))
    if not unable:
        return say("{start} you can tell {able}.", start=start, able=listed(able))
    if len(unable) == 1:
        missing = say("{tells}: {takes}", tells=unable[0].tells, takes=unable[0].takes)
    else:
        missing = listed([f"{one.tells} ({one.takes})" for one in unable], last="or")
    if not able:
        return say("{start} you cannot tell {missing}.", start=start, missing=missing)
    return say("{start} you can tell {able} but not {missing}.", start=start, able=listed(able), missing=missing)


SIZES = {True: later("With {n} a group"), False: later("With {n} in the smallest group")}  # whether groups are equal
CURES = {
    "customers": later("Widen the cohort, drop an arm, or ask for a larger difference."),
    "budget": later("Raise the budget, drop an arm, or ask for a larger difference."),
    "calls": later("Add callers or weeks, drop an arm, or ask for a larger difference."),
}


def refuse_too_small(asked: Sequence[Asked], found: Largest, *, limits: Limits) -> None:
    """Refuse limits within which nothing that is asked can be told; say what the easiest answer takes."""
    if found.smallest >= FEWEST and any(one.answered(found.customers) for one in asked):
        return
    needs, tells = min(((one.needs, one.tells) for one in asked if one.needs), key=lambda one: sum(one[0].values()))
    takes = [say("{n} in the smallest group", n=min(needs.values()))]
    weeks = limits.duration(needs)
    if limits.budget is not None:
        takes.append(money(limits.cost(needs), limits.currency, digits=0))
    if weeks is not None and math.isfinite(weeks):
        takes.append(plural("{n} week of calls", "{n} weeks of calls", max(1, math.ceil(weeks))))
    easiest = say("To tell {tells} takes {needs}.", tells=tells, needs=listed(takes))
    raise WinbackError(f"{_too_few(found, limits)} {easiest} {say(CURES[found.bound])}")


TOO_FEW = {
    "customers": later("A cohort of {cohort} makes {n} customers in the smallest group: too few to tell anything that "
                       "is asked."),
    "budget": later("A budget of {budget} pays for {n} customers in the smallest group: too few to tell anything that "
                    "is asked."),
    "calls": later("{calls} calls a week for {weeks} weeks reach {n} customers in the smallest group: too few to tell "
                   "anything that is asked."),
}  # fmt: skip


def _too_few(found: Largest, limits: Limits) -> str:
    calls, weeks = (numerals(f"{value or 0:,.1f}".removesuffix(".0")) for value in (limits.calls_a_week, limits.weeks))
    return say(TOO_FEW[found.bound], n=found.smallest, cohort=limits.customers or 0, calls=calls, weeks=weeks,
               budget=money(limits.budget or 0, limits.currency, digits=0))  # fmt: skip
