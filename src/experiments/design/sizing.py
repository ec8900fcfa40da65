"""What a test of so many customers can tell: every difference, tests of other sizes, and a sentence."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from experiments.common.errors import WinbackError
from experiments.common.formatting import listed, share
from experiments.common.language import later, say
from experiments.design.limits import GRID, Asked, Limits, curve
from experiments.design.outlays import Course, fixed_a_head, stated_cost
from experiments.design.prior import Known
from experiments.metrics.objectives import OBJECTIVES
from experiments.sheet.offers import fixed_of
from experiments.sheet.sheet import Sheet
from experiments.stats.power import Rule, detectable, divided, optimal_shares, power_of, totals_for
from experiments.stats.shares import FEWEST, Question

MOST = {  # objective: what it is to be the best offer
    "profit": later("which offer earns most"),
    "roi": later("which offer earns most on its cost"),
    "returned": later("which offer brings most back"),
    "months": later("which offer keeps customers longest"),
    "market_share": later("which offer keeps most customers to the horizon"),
    "profit_and_share": later("which offer is worth most"),
}
EVERY = later("every offer from doing nothing")
NAME_A_SOURCE = later("Name a past test (`design: {past: sheet.yml}`), or state `accepted:` rates.")
STATE_ALL = later("State the rate of every arm (`design: {rates: ...}`).")
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
class Unknown:
    """What the test should tell, and nobody knows the size of."""

    tells: str
    reason: str
    cure: str


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
    def _goal(self) -> str:
        """What the test is made for, after "you can tell"."""
        sheet = self.sheet
        if len(sheet.offers) == 1:
            return say("{offer} from doing nothing", offer=self._label(sheet.offers[0]))
        ranked = sheet.design.compare == "offers"
        return say(MOST[sheet.objective] if ranked else EVERY)

    @property
    def unknown(self) -> Unknown | None:
        """What decides, where nobody knows how much it varies or what to hope of an offer; else None."""
        if self.known.evidence is None and self.sheet.objective != "returned":
            reason = say("Which size tells {most} nobody knows before a first test.", most=self._goal)
            return Unknown(tells=self._goal, reason=reason, cure=say(NAME_A_SOURCE))
        silent = [self._label(name) for name in self.sheet.offers if name not in self.known.rates]
        if not silent:
            return None
        reason = say("Which size tells {most} nobody knows: no rate is stated of {offers}.", most=self._goal,
                     offers=listed(silent))  # fmt: skip
        return Unknown(tells=self._goal, reason=reason, cure=say(STATE_ALL))

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
            raise WinbackError(f"`rates:` names {listed(list(self.known.rates))} alone: there is nothing to compare. "
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
        """Return what the test should tell, the easiest first: an effect, returns, the best offer."""
        objective, whole = self.sheet.objective, self.unknown is None and len(self.sheet.offers) > 1
        against, found = self.sheet.design.compare == "holdout", []
        gains = self.ask(objective, holdout=True)
        if gains is not None:
            sign = np.array([1 if contrast.second == self.sheet.holdout else -1 for contrast in gains.contrasts])
            best = int(np.argmax(sign * gains.effects))
            offer = gains.contrasts[best].first if sign[best] > 0 else gains.contrasts[best].second
            found.append((say("{offer} from doing nothing", offer=self._label(offer)), gains, [best]))
        returned = self.returned
        widest = int(np.argmax(returned.effects))
        high, low = (self.known.rates[getattr(returned.contrasts[widest], end)] for end in ("first", "second"))
        returns = say("{high} from {low} returned", high=_percent(high), low=_percent(low))
        found.append((returns, returned, [widest]))
        if whole and against and gains is not None:
            found.append((self._goal, gains, list(range(len(gains.contrasts)))))
        ranking = self.ask(objective, holdout=False) if whole and not against else None
        if ranking is not None:
            firsts = [contrast.first for contrast in ranking.contrasts]
            top = max(set(firsts), key=lambda name: (firsts.count(name), name))
            beside = [place for place, one in enumerate(ranking.contrasts) if top in (one.first, one.second)]
            found.append((self._goal, ranking, beside))
        asked = []
        for tells, question, places in found:
            needed = self._needed(question)
            wanted = [needs for place in places if (needs := needed[place])]
            told = len(wanted) == len(places)
            asked.append(Asked(tells=tells, needs=max(wanted, key=lambda needs: sum(needs.values())) if told else None))
        if not any(one.needs for one in asked):
            raise WinbackError("All arms are taken to be equal: no number of customers tells them apart. Write "
                               "different `rates:`, or the smallest difference that matters.")  # fmt: skip
        return asked

    def sizes(self, limits: Limits) -> tuple[Size, ...]:
        """Return what tests of other sizes can tell: the planned one among them."""
        counts, smallest = self.counts, min(self.counts.values())
        each = sum(counts.values()) / smallest
        totals = sorted({sum(counts.values()), *(round(each * size) for size in GRID)})
        returned = self.returned
        objective = None if self.sheet.objective == "returned" else self.ask(self.sheet.objective)

        def points(question: Question) -> list[tuple[float, ...]]:
            shares = {arm: counts[arm] for arm in question.arms}
            part = sum(shares.values()) / sum(counts.values())
            found = curve(question, shares=shares, totals=[round(part * total) for total in totals], power=self.power,
                          rule=self.rule)  # fmt: skip
            return [point.detectable for point in found]

        told = points(returned)
        decides = [None] * len(totals) if objective is None else [min(point) for point in points(objective)]
        return tuple(
            Size(customers=total, smallest=round(total / each), cost=limits.cost(sizes),
                 weeks=limits.duration(sizes), returned=min(shares), objective=worth)
            for total, shares, worth in zip(totals, told, decides, strict=True)
            for sizes in [{arm: count * total / sum(counts.values()) for arm, count in counts.items()}]
        )  # fmt: skip


def _percent(rate: float) -> str:
    return share(rate, digits=0 if math.isclose(100 * rate, round(100 * rate), abs_tol=1e-6) else 1)
