"""What is known of customers before a test, by a past test, the simulated telecom or stated rates; what they cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from experiments.common.errors import WinbackError, did_you_mean
from experiments.common.estimate import Estimate
from experiments.common.run_records import warn_of_unregistered
from experiments.design.evidence import NUMBERS, Evidence, diluted_evidence, evidence_of, question_of
from experiments.design.simulated import calibrate, simulated_evidence
from experiments.metrics.cube import make_cube
from experiments.metrics.objectives import terms_of
from experiments.sheet.offers import NO_END, Costs, Offer, costs_of, fixed_of
from experiments.sheet.sheet import Sheet, changed, read_sheet
from experiments.simulate.telecom import CONTACT_COST, TAILORED
from experiments.stats.meta_analysis import Knowledge, prior_of
from experiments.stats.power import Group, Pair, Question, ask, even_follow_up, inflation, share_group

POOLED = {"profit": "net", "roi": "roi", "returned": "lift", "months": "months_gained"}  # objective: metric of readouts
GAP = 0.04  # between offers of whom nobody knows more: the Harvard Business Review case, 45 against 41 % accepted


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How the customers of an arm are expected to go; numbers of one assigned customer, money in currency."""

    returned: float  # share
    active: tuple[float, ...] | None = None  # share active in a month, the fullest first; None: all who returned stay
    value: float = 0.0  # what a customer brings up to the horizon
    monthly: float | None = None  # what a returned one brings a month; None: nobody knows

    def promoted(self, months: int) -> float:
        """Return the months of a promotion that a customer takes.

        The fullest months stand for the first of each customer, as if all returned at once: 2.25 of six months where
        the simulated telecom's discount has 2.26.
        """
        return self.returned * months if self.active is None else sum(self.active[:months])

    def paid(self, months: int) -> float:
        """Return the value of which a percentage for so many months is taken; where nobody knows a month, all."""
        if months == NO_END or self.monthly is None:
            return self.value
        return min(self.value, self.monthly * self.promoted(months))


def stated_cost(sheet: Sheet, name: str, course: Course, *, full: bool = False) -> float:
    """Return what a customer of an arm costs by the sheet, in currency: the contact, and all else of who returned.

    A percentage is of what customers pay: of the value over the margin's share. `full`: whatever the take-up. Of the
    offers that an arm may choose, the dearest.
    """

    def cost(costs: Costs) -> float:
        gifts = course.returned * costs.gift + sum(part * course.promoted(months) for part, months in costs.monthly)
        paid = sum(part * course.paid(months) for part, months in costs.price_shares) / sheet.margin_share
        minor: int = 10**sheet.decimals
        return (costs.attempt + gifts) / minor + costs.value_share * course.value + paid

    return cost(costs_of(name, sheet.every_offer, factors=None, decimals=sheet.decimals, full=full, dearest=cost))


def fixed_a_head(sheet: Sheet, name: str, customers: int) -> float:
    """Return what is paid once for an arm, spread over its customers."""
    return 0.0 if name == sheet.holdout else float(fixed_of(name, sheet.every_offer)) / customers


def without_fixed(sheet: Sheet) -> Sheet:
    """Return a sheet whose offers cost nothing that is paid once."""

    def running(offer: Offer) -> Offer:
        return offer.model_copy(update={"fixed": 0} | ({"worth": 0} if offer.given_per == "campaign" else {}))

    homes = {"arms": sheet.arms, "catalogue": sheet.catalogue}
    return sheet.model_copy(update={home: {name: running(offer) for name, offer in offers.items()}
                                    for home, offers in homes.items()})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where it is known from: a past test, the simulated telecom, the rates of the sheet, or a guess."""

    kind: str  # past, simulated, rates, guess; said: as an earlier version wrote it
    name: str = ""  # of the past test


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known of a customer's outcomes: evidence of every number, or shares returned alone."""

    sheet: Sheet
    source: Source
    evidence: Evidence | None = None
    groups: tuple[Group, ...] = ()
    expected: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)  # objective: arm: by pooled tests

    @property
    def rates(self) -> dict[str, float]:
        """Share returned of each arm, as far as it is known."""
        if self.evidence is None:
            return {group.name: group.mean for group in self.groups}
        return self._means("returned")

    @property
    def costs(self) -> dict[str, float]:
        """Expected cost of a customer assigned to each arm, as far as it was seen; in currency."""
        return self._means("cost")

    def _effects(self, metric: str, pairs: Sequence[Pair]) -> dict[Pair, float]:
        """Return the differences that pooled tests let expect, of pairs of which they know both arms."""
        known = {name: one.value for name, one in self.expected.get(metric, {}).items() if one.value is not None}
        known |= {self.sheet.holdout: 0.0} if self.sheet.holdout else {}
        return {(a, b): known[a] - known[b] for a, b in pairs if a in known and b in known}

    @property
    def second_value(self) -> float | None:
        """What a returned customer brings up to the horizon, by the offer with the most; None where nobody knows."""
        value, returned = self._means("value"), self._means("returned")
        found = [value[name] / returned[name] for name in value if name in self.sheet.offers and returned[name] > 0]
        return max(found, default=None)

    @property
    def monthly_value(self) -> float | None:
        """What a returned customer brings a month; None where nobody knows."""
        value, months = self._means("value"), self._means("months")
        found = [value[name] / months[name] for name in value if name in self.sheet.offers and months[name] > 0]
        return max(found, default=None)

    def _means(self, number: str) -> dict[str, float]:
        if self.evidence is None:
            return {}
        means = self.evidence.numbers()[:, NUMBERS.index(number)]
        return dict(zip(self.evidence.arms, map(float, means), strict=True))

    def ask(self, metric: str, pairs: Sequence[Pair]) -> Question | None:
        """Return the question whether arms differ on an objective; None where nobody knows how it varies."""
        if self.evidence is None:
            return ask(self.groups, pairs) if metric == "returned" else None
        months = self.sheet.design.follow_up
        return question_of(
            self.evidence,
            objective=metric,
            pairs=pairs,
            effects=self._effects(metric, pairs),
            arms=tuple(self.sheet.arms),
            terms=terms_of(self.sheet),
            followed=even_follow_up(*months) if months else None,
        )


def known_before(sheet: Sheet, folder: Path, *, counts: Mapping[str, int], expected_returned: float) -> Known:
    """Return what `design:` of the sheet says is known; where it says nothing, a guess from `expected_returned`.

    `counts`: planned customers of each arm, over whom it spreads what is paid once.
    """
    rules = sheet.design
    if rules.past is not None:
        found, source = _past(sheet, folder / rules.past, counts)
    elif rules.accepted:
        found, source = _simulated(sheet, counts), Source(kind="simulated")
    else:
        rates = rules.rates or _guess(sheet, expected_returned)
        groups = tuple(share_group(name, rate, followed=_followed(sheet)) for name, rate in rates.items())
        return Known(sheet=sheet, source=Source(kind="rates" if rules.rates else "guess"), groups=groups)
    if rules.reached < 1:
        contact = {name: float(offer.contact) for name, offer in sheet.arms.items()}
        found = diluted_evidence(found, reached=rules.reached, contact=max(contact.values()))
    return Known(sheet=sheet, source=source, evidence=found, expected=_expected(sheet, folder))


def _expected(sheet: Sheet, folder: Path) -> dict[str, dict[str, Estimate]]:
    """Return what pooled tests let expect of each offer they know, on each objective that they know it on."""
    if sheet.design.pooled is None:
        return {}
    known = Knowledge.load(folder / sheet.design.pooled)
    warn_of_unregistered(folder / sheet.design.pooled)
    found: dict[str, dict[str, Estimate]] = {}
    for objective, metric in POOLED.items():
        of = {pooled.offer: pooled for pooled in known.of(metric)}
        names = {name: sheet.design.like.get(name, name) for name in sheet.offers}
        found[objective] = {name: prior_of(folder / sheet.design.pooled, like, metric)
                            for name, like in names.items() if like in of}  # fmt: skip
    if not any(found.values()):
        raise WinbackError(f"{sheet.design.pooled} knows none of the offers {', '.join(sheet.offers)}. Say which each "
                           "is like: `design: {like: {...}}`.")  # fmt: skip
    return found


def _followed(sheet: Sheet) -> float:
    """Return the share of customers whom the plan watches to the end of the window."""
    months = sheet.design.follow_up
    return 1 / float(inflation(even_follow_up(*months) if months else None, np.array([sheet.window_months - 1]))[0, 0])


def _guess(sheet: Sheet, expected_returned: float) -> dict[str, float]:
    """Return the shares of an offer and of the next, or of the holdout, where nobody knows any."""
    lower = expected_returned - min(GAP, expected_returned / 2)
    offers = sheet.offers[:1] if sheet.design.compare == "holdout" else sheet.offers
    pair = [*offers, *([sheet.holdout] if sheet.holdout else [])][:2]
    return dict(zip(pair, (expected_returned, lower), strict=False))


def _past(sheet: Sheet, path: Path, counts: Mapping[str, int]) -> tuple[Evidence, Source]:
    past = read_sheet(path)
    if past.currency != sheet.currency:
        raise WinbackError(f"The past test {past.experiment!r} is in {past.currency}, this one in {sheet.currency}. "
                           "Name a past test in the same currency.")  # fmt: skip
    same = {name: getattr(sheet, name) for name in ("horizon_months", "window_months", "discount_rate", "level")}
    past = changed(past, same)
    found = evidence_of(make_cube(past), without_fixed(past))
    return _as_planned(found, sheet, stated=partial(stated_cost, past), counts=counts), Source(
        kind="past", name=past.experiment
    )


def _simulated(sheet: Sheet, counts: Mapping[str, int]) -> Evidence:
    rules = sheet.design
    world = calibrate(accepted=rules.accepted, returning=rules.returning)
    same = {name: getattr(sheet, name) for name in ("horizon_months", "window_months", "discount_rate")}

    def stated(name: str, course: Course) -> float:
        offers = [world.offers[part] for part in (TAILORED.values() if name == "tailored" else [name])]
        return CONTACT_COST + max(sum(cost * course.promoted(months) for cost, months in offer.monthly_costs)
                                  for offer in offers)  # fmt: skip

    return _as_planned(simulated_evidence(world, **same), sheet, stated=stated, counts=counts)


def _as_planned(
    evidence: Evidence, sheet: Sheet, *, stated: Callable[[str, Course], float], counts: Mapping[str, int]
) -> Evidence:
    """Return the evidence with the arms of the sheet, each as the arm that it is like, at its own costs.

    `stated`: what an arm of the source should have cost, as `stated_cost`.
    """
    holdout = evidence.holdout if sheet.holdout is None else sheet.holdout
    names = [*sheet.arms, *([] if holdout in sheet.arms else [holdout])]
    like = {name: sheet.design.like.get(name, evidence.holdout if name == holdout else name) for name in names}
    for name, model in like.items():
        if model not in evidence.arms:
            raise WinbackError(f"Nothing is known of the arm {name!r}: `design:` names a source without {model!r}. Say "
                               f"which it is like: `like: {{{name}: {evidence.offers[0]}}}`. "
                               f"{did_you_mean(model, evidence.arms)}")  # fmt: skip
    rows = [evidence.arms.index(like[name]) for name in names]
    found = replace(evidence, arms=tuple(names), holdout=holdout, mean=evidence.mean[rows], noise=evidence.noise[rows],
                    believed=evidence.believed[rows])  # fmt: skip
    return _at_own_costs(found, sheet, stated, counts)


def _at_own_costs(
    evidence: Evidence, sheet: Sheet, stated: Callable[[str, Course], float], counts: Mapping[str, int]
) -> Evidence:
    """Return the evidence in which every offer costs what the sheet says, with its part of what is paid once.

    An offer of the source that costs more or less now than then: what was seen, in that proportion.
    """
    mean, noise, believed = evidence.mean.copy(), evidence.noise.copy(), evidence.believed.copy()
    costs = np.array([series == "cost" for series, _ in evidence.columns])
    for name in sheet.offers:
        arm, course = evidence.arms.index(name), _course(evidence, name)
        cost, seen = stated_cost(sheet, name, course), float(mean[arm, costs].sum())
        if name not in sheet.design.like and (then := stated(name, course)):
            cost *= seen / then
        cost += fixed_a_head(sheet, name, counts[name])
        mean[arm, evidence.columns.index(("cost", 0))] += cost - seen
        if cost == 0:  # exactly: what is free has no return on its cost
            mean[arm, costs] = 0.0
            for covariance in (noise[arm], believed[arm]):
                covariance[costs], covariance[:, costs] = 0.0, 0.0
    return replace(evidence, mean=mean, noise=noise, believed=believed)


def _course(evidence: Evidence, name: str) -> Course:
    """Return how the customers of an arm went."""
    arm = evidence.arms.index(name)
    value, _, months, _, returned = map(float, evidence.numbers()[arm])
    active = evidence.mean[arm, [series == "active" for series, _ in evidence.columns]].tolist()
    if not active:
        return Course(returned=returned, value=value)
    return Course(returned=returned, value=value, active=tuple(sorted(active, reverse=True)),
                  monthly=value / months if months > 0 else None)  # fmt: skip
