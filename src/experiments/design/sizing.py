"""What a test of so many customers can tell: every difference, tests of other sizes, and what is asked of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np

from experiments.common.errors import WinbackError
from experiments.common.estimate import Estimate
from experiments.common.finding import Fact, Finding
from experiments.design.prior import Course, Known, fixed_a_head, stated_cost
from experiments.metrics.objectives import OBJECTIVES
from experiments.sheet.offers import fixed_of
from experiments.sheet.sheet import Sheet
from experiments.stats.power import (
    FEWEST,
    Question,
    Rule,
    detectable,
    divided,
    fractions,
    optimal_shares,
    power_of,
    totals_for,
)

GRID = tuple(round(10 ** (2 + step / 4)) for step in range(17))  # customers of the smallest arm: 100 to 1,000,000
ROUNDING = 1e-6  # of a customer, above a whole one


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedArm:
    """An arm of the plan; money in currency, of a customer assigned."""

    name: str
    label: str
    holdout: bool
    share: float
    best_share: float | None  # to tell every offer from the holdout with the fewest customers
    customers: int
    expected_cost: float
    worst_cost: float  # if everybody accepts and stays through every promotion
    fixed: float  # once
    prior: Estimate | None = None  # the effect on the objective that tests so far let expect of the next one

    @property
    def expected(self) -> float:
        """What the arm is expected to cost."""
        return self.customers * self.expected_cost + self.fixed

    @property
    def worst(self) -> float:
        """What the arm can cost at most."""
        return self.customers * self.worst_cost + self.fixed


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A difference between two arms that the test should tell: first minus second, in `unit`."""

    metric: str  # an objective
    unit: str
    first: str
    second: str
    hoped: float
    detectable: float  # with the planned customers
    power: float  # chance to tell the hoped difference
    needed: int | None  # customers in the smallest arm; None: nothing to tell


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A test of another size, with the same shares."""

    customers: int  # of all arms
    smallest: int  # of the smallest arm
    cost: float  # expected
    weeks: float | None  # of calls; None: nobody knows who calls
    returned: float  # smallest difference of returned shares it can tell
    objective: float | None  # smallest difference on what decides; None: nobody knows how much it varies


@dataclass(frozen=True, slots=True, kw_only=True)
class Largest:
    """The largest test that the limits allow."""

    customers: dict[str, int]  # arm: how many
    bound: str  # the limit that binds: customers, budget or calls


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What there is for a test: customers, money in currency, and calls. None: no limit.

    `costs`: of an assigned customer of each arm, expected; `fixed`: once. `calls`: attempts an assigned customer of
    each arm takes. An arm not named costs nothing and is not called: the holdout.
    """

    customers: int
    budget: float | None = None
    calls_a_week: float | None = None
    weeks: float | None = None
    costs: Mapping[str, float] = field(default_factory=dict)
    calls: Mapping[str, float] = field(default_factory=dict)
    fixed: float = 0.0

    def cost(self, customers: Mapping[str, float]) -> float:
        """Return what a test of so many customers costs. Unit: currency."""
        return self.fixed + sum(size * self.costs.get(arm, 0.0) for arm, size in customers.items())

    def duration(self, customers: Mapping[str, float]) -> float | None:
        """Return the weeks that the calls of a test take; None without a call capacity."""
        if self.calls_a_week is None:
            return None
        calls = sum(size * self.calls.get(arm, 0.0) for arm, size in customers.items())
        return calls / self.calls_a_week if self.calls_a_week > 0 else math.inf if calls else 0.0

    def largest(self, shares: Mapping[str, float]) -> Largest:
        """Return the largest test of these shares within the customers, the budget and the calls there are."""
        part = dict(zip(shares, map(float, fractions(tuple(shares), shares)), strict=True))
        each, calls = self.cost(part) - self.fixed, sum(part[arm] * self.calls.get(arm, 0.0) for arm in part)
        totals = {"customers": float(self.customers)}
        if self.budget is not None and (each > 0 or self.budget < self.fixed):
            totals["budget"] = max(0.0, self.budget - self.fixed) / each if each > 0 else 0.0
        if self.calls_a_week is not None and self.weeks is not None and calls > 0:
            totals["calls"] = self.calls_a_week * self.weeks / calls
        bound = min(totals, key=lambda name: totals[name])
        customers = {arm: math.floor(totals[bound] * share + 1e-9) for arm, share in part.items()}
        return Largest(customers=customers, bound=bound)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Something a test should tell, and the customers of each arm that takes.

    `key`: offer, one from doing nothing; returned, two shares; best, which offer; every, each from doing nothing.
    """

    key: str
    needs: Mapping[str, int] | None  # None: arms are taken to be equal, which no size tells apart
    unknown: str = ""  # why nobody knows what it takes: no_source of money and months, no_rates of some arms
    facts: Mapping[str, Fact] = field(default_factory=dict)

    def answered(self, customers: Mapping[str, int]) -> bool:
        """Tell whether so many customers of each arm are enough."""
        return self.needs is not None and all(customers.get(arm, 0) >= n for arm, n in self.needs.items())

    def finding(self, customers: Mapping[str, int]) -> Finding:
        """Return whether so many customers tell it, with the fact `needs`: customers in the smallest arm."""
        case = self.unknown or ("equal" if self.needs is None else "")
        needs = {} if self.needs is None else {"needs": min(self.needs.values())}
        state = "pass" if self.answered(customers) else "stop"
        return Finding(key=self.key, state=state, case=case, facts={**self.facts, **needs})  # type: ignore[arg-type]


def counts_of(sheet: Sheet, customers: int) -> dict[str, int]:
    """Return the customers of each arm: their sum is `customers`, each within one of its share."""
    shares = np.array([offer.share for offer in sheet.arms.values()])
    upto = np.rint(np.cumsum(shares) / shares.sum() * customers).astype(int)
    return dict(zip(sheet.arms, map(int, np.diff(upto, prepend=0)), strict=True))


def fewest(sheet: Sheet) -> int:
    """Return the customers of the smallest test that has a variance in every arm."""
    shares = [offer.share for offer in sheet.arms.values()]
    customers = math.ceil(FEWEST * sum(shares) / min(shares) - ROUNDING)
    while min(counts_of(sheet, customers).values()) < FEWEST:
        customers += 1
    return customers


@dataclass(frozen=True, kw_only=True)
class Sizing:
    """The questions of a test, and what so many customers an arm can tell."""

    sheet: Sheet
    known: Known
    power: float
    counts: dict[str, int]

    @property
    def rule(self) -> Rule:
        """When a difference counts as told."""
        return Rule(level=self.sheet.level, correction=self.sheet.design.correction)

    @property
    def metrics(self) -> tuple[str, ...]:
        """What is asked on: the objective, and returns."""
        return tuple(dict.fromkeys((self.sheet.objective, "returned")))

    @property
    def returned(self) -> Question:
        """The question whether arms bring back different shares."""
        question = self.ask("returned")
        if question is not None:
            return question
        if self.sheet.design.compare == "holdout" and self.sheet.holdout is None:
            raise WinbackError("`compare: holdout` is asked of a test without a holdout. Name the arm that gets "
                               "nothing, `holdout:`, or write `compare: offers`.")  # fmt: skip
        if len(self.sheet.arms) > 1:
            raise WinbackError(f"`rates:` names {', '.join(self.known.rates)} alone: there is nothing to compare. "
                               "State the share hoped to return of every arm.")  # fmt: skip
        raise WinbackError("The test has one arm only: there is nothing to compare. Add an offer or a holdout.")

    def ask(self, metric: str, *, holdout: bool | None = None) -> Question | None:
        """Return the question on a metric, the greater arm of each pair first; None where nothing is known.

        `holdout`: every offer against it, instead of every pair of offers; by default as the sheet says.
        """
        against = self.sheet.design.compare == "holdout" if holdout is None else holdout
        known = [name for name in self.known.rates if name in self.sheet.arms]
        offers = [name for name in known if name != self.sheet.holdout]
        pairs = list(combinations(offers, 2))
        if against or not pairs:
            pairs = [(name, holdout) for holdout in known if holdout == self.sheet.holdout for name in offers]
        question = self.known.ask(metric, pairs) if pairs else None
        if question is None:
            return None
        sides = [(c.first, c.second) if c.effect >= 0 else (c.second, c.first) for c in question.contrasts]
        return self.known.ask(metric, sides)

    def arms(self) -> tuple[PlannedArm, ...]:
        """Return the arms with their costs and best shares."""
        sheet, best = self.sheet, self._best_shares()
        total = sum(offer.share for offer in sheet.arms.values())
        monthly = self.known.monthly_value
        most = self.known.second_value or 0.0 if monthly is None else monthly * sheet.horizon_months
        everybody = Course(returned=1.0, value=most, monthly=monthly)
        return tuple(
            PlannedArm(
                name=name,
                label=offer.label or name,
                holdout=name == sheet.holdout,
                share=offer.share / total,
                best_share=best.get(name),
                customers=self.counts[name],
                expected_cost=self._expected(name),
                worst_cost=stated_cost(sheet, name, everybody, full=True),
                fixed=0.0 if name == sheet.holdout else float(fixed_of(name, sheet.every_offer)),
                prior=self.known.expected.get(sheet.objective, {}).get(name),
            )
            for name, offer in sheet.arms.items()
        )

    def _expected(self, name: str) -> float:
        """Return what a further customer is expected to cost: as seen before, or by the rate that is hoped for."""
        if name == self.sheet.holdout:
            return 0.0
        rates = self.known.rates
        hoped = max((rate for arm, rate in rates.items() if arm != self.sheet.holdout), default=1.0)
        if name in self.known.costs:
            return self.known.costs[name] - fixed_a_head(self.sheet, name, self.counts[name])
        return stated_cost(self.sheet, name, Course(returned=rates.get(name, hoped)))

    def _best_shares(self) -> dict[str, float]:
        """Return the shares that tell every offer from the holdout with the fewest customers; sqrt(offers) : 1 : 1."""
        question = next((question for _, question in self._gains()), None)
        if question is None or len(question.arms) < len(self.sheet.arms) or not question.noise.any(axis=(1, 2)).all():
            return {}
        alike = tuple(replace(contrast, effect=1.0) for contrast in question.contrasts)
        return optimal_shares(replace(question, contrasts=alike, pooled=False))

    def _gains(self) -> Iterator[tuple[str, Question]]:
        """Yield the questions of every offer against the holdout, on what is known of: the objective's first."""
        for metric in self.metrics if self.sheet.holdout in self.known.rates else ():
            question = self.ask(metric, holdout=True)
            if question is not None:
                yield metric, question

    @property
    def losing(self) -> list[tuple[str, str]]:
        """The offers that are expected to do worse than nothing, each with the metric."""
        metric, question = next(self._gains(), ("", None))
        contrasts = question.contrasts if question else ()
        return [(one.second, metric) for one in contrasts if one.first == self.sheet.holdout]

    def differences(self) -> tuple[Difference, ...]:
        """Return every difference: the objective's first, the easiest to tell first."""
        found = []
        for metric in self.metrics:
            for holdout in (True, False) if self.sheet.holdout and metric == self.sheet.objective else (False,):
                question = self.ask(metric, holdout=holdout)
                found += [] if question is None else sorted(self._told(metric, question), key=lambda one: -one.power)
        return tuple(dict.fromkeys(found))

    def _told(self, metric: str, question: Question) -> list[Difference]:
        counts = {arm: self.counts[arm] for arm in question.arms}
        chances = power_of(question, counts, rule=self.rule).each
        smallest = detectable(question, counts, power=self.power, rule=self.rule)
        needed = self._needed(question)
        return [
            Difference(metric=metric, unit=OBJECTIVES[metric].unit, first=self._label(contrast.first),
                       second=self._label(contrast.second), hoped=contrast.effect, detectable=smallest[place],
                       power=chances[place], needed=min(needs.values()) if needs else None)
            for place, (contrast, needs) in enumerate(zip(question.contrasts, needed, strict=True))
        ]  # fmt: skip

    def _label(self, name: str) -> str:
        return self.sheet.arms[name].label or name

    def _needed(self, question: Question) -> list[dict[str, int] | None]:
        """Return the customers of each arm that each difference takes by itself; None: equal arms."""
        shares = {arm: self.counts[arm] for arm in question.arms}
        totals = totals_for(question, power=self.power, shares=shares, rule=self.rule)
        return [None if math.isinf(total) else divided(total, question, shares=shares) for total in totals]

    def asked(self) -> list[Asked]:
        """Return what the test should tell, the easiest first: an effect, returns, the goal; what is unknown last."""
        unknown = self._unknown()
        found = [*self._asked_gain(), self._asked_returned(), *(() if unknown else self._asked_goal())]
        if not any(one.needs for one in found):
            raise WinbackError("All arms are taken to be equal: no number of customers tells them apart. Write "
                               "different `rates:`, or the smallest difference that matters.")  # fmt: skip
        return [*found, *([unknown] if unknown else [])]

    def _unknown(self) -> Asked | None:
        """Return the goal, where nobody knows how much it varies or what to hope of an offer; else None."""
        key, facts = self._goal()
        if self.known.evidence is None and self.sheet.objective != "returned":
            return Asked(key=key, needs=None, unknown="no_source", facts=facts)
        silent = tuple(self._label(name) for name in self.sheet.offers if name not in self.known.rates)
        return Asked(key=key, needs=None, unknown="no_rates", facts={**facts, "silent": silent}) if silent else None

    def _goal(self) -> tuple[str, dict[str, Fact]]:
        """Return key and facts of what the test is made for."""
        if len(self.sheet.offers) == 1:
            return "offer", {"offer": self._label(self.sheet.offers[0])}
        return ("best" if self.sheet.design.compare == "offers" else "every"), {}

    def _asked_gain(self) -> Iterator[Asked]:
        """Yield the question whether the best offer differs from doing nothing."""
        gains = self.ask(self.sheet.objective, holdout=True)
        if gains is not None:
            sign = np.array([1 if contrast.second == self.sheet.holdout else -1 for contrast in gains.contrasts])
            best = int(np.argmax(sign * gains.effects))
            offer = gains.contrasts[best].first if sign[best] > 0 else gains.contrasts[best].second
            yield Asked(key="offer", needs=self._most(gains, [best]), facts={"offer": self._label(offer)})

    def _asked_returned(self) -> Asked:
        """Return the question whether the arms of the widest hoped difference bring back different shares."""
        question = self.returned
        widest = int(np.argmax(question.effects))
        high, low = (self.known.rates[getattr(question.contrasts[widest], end)] for end in ("first", "second"))
        return Asked(key="returned", needs=self._most(question, [widest]), facts={"high": high, "low": low})

    def _asked_goal(self) -> Iterator[Asked]:
        """Yield the question of which the test is made: every offer from doing nothing, or the best from the others."""
        against = self.sheet.design.compare == "holdout"
        question = self.ask(self.sheet.objective, holdout=against)
        if len(self.sheet.offers) == 1 or question is None:
            return
        places = list(range(len(question.contrasts)))
        if not against:
            firsts = [contrast.first for contrast in question.contrasts]
            top = max(set(firsts), key=lambda name: (firsts.count(name), name))
            places = [place for place, one in enumerate(question.contrasts) if top in (one.first, one.second)]
        yield Asked(key=self._goal()[0], needs=self._most(question, places))

    def _most(self, question: Question, places: list[int]) -> dict[str, int] | None:
        """Return the customers of each arm that the hardest of some differences takes; None: one is of equal arms."""
        needed = self._needed(question)
        wanted = [needs for place in places if (needs := needed[place])]
        return max(wanted, key=lambda needs: sum(needs.values())) if len(wanted) == len(places) else None

    def sizes(self, limits: Limits) -> tuple[Size, ...]:
        """Return what tests of other sizes can tell: the planned one among them."""
        planned, smallest = sum(self.counts.values()), min(self.counts.values())
        each, returned = planned / smallest, self.returned
        objective = None if self.sheet.objective == "returned" else self.ask(self.sheet.objective)
        found = []
        for total in sorted({planned, *(round(each * size) for size in GRID)}):
            sizes = {arm: count * total / planned for arm, count in self.counts.items()}
            decides = None if objective is None else self._smallest(objective, total)
            found.append(Size(customers=total, smallest=round(total / each), cost=limits.cost(sizes),
                              weeks=limits.duration(sizes), returned=self._smallest(returned, total),
                              objective=decides))  # fmt: skip
        return tuple(found)

    def _smallest(self, question: Question, total: int) -> float:
        """Return the smallest difference that a test of so many customers in all, of the planned shares, tells."""
        shares = {arm: self.counts[arm] for arm in question.arms}
        part = sum(shares.values()) / sum(self.counts.values())
        return min(detectable(question, round(part * total), power=self.power, shares=shares, rule=self.rule))
