"""Power counted on simulated experiments: what every formula of `stats.power` and `design.evidence` is held against.

`simulated_power` draws estimates, thousands a second; `drawn_power` draws whole tests and reads them as a readout does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from telecom_truth import draw_cube

from experiments.common.estimate import Estimate
from experiments.design.evidence import question_of
from experiments.design.simulated import simulated_evidence
from experiments.metrics.estimates import Reading
from experiments.metrics.objectives import OBJECTIVES, terms_of
from experiments.simulate.telecom import ARMS
from experiments.stats.intervals import jackknife_covariance, proportion, root_of
from experiments.stats.power import (
    CORRECTIONS,
    PLAIN,
    Contrast,
    Question,
    Rule,
    divided,
    power_of,
    sizes_of,
    totals_for,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from experiments.sheet.sheet import Sheet
    from experiments.simulate.telecom import World
    from experiments.stats.power import Pair

    Floats = NDArray[np.float64]

ALONE = Rule(correction="none")
BATCH = 500  # repetitions simulated at once: 200 buckets of ten contrasts take 8 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The customers that a question needs."""

    customers: dict[str, int]  # arm: how many
    contrasts: tuple[Contrast, ...]
    totals: tuple[float, ...]  # customers of all arms that each difference needs by itself

    @property
    def total(self) -> int:
        """Customers of all arms."""
        return sum(self.customers.values())

    @property
    def smallest(self) -> int:
        """Customers of the smallest arm."""
        return min(self.customers.values())

    @property
    def hardest(self) -> Contrast:
        """The difference that needs most."""
        return self.contrasts[int(np.argmax(self.totals))]


def size_for(
    question: Question, *, power: float = 0.8, shares: Mapping[str, float] | None = None, rule: Rule = PLAIN
) -> Sizes:
    """Return the customers that tell every difference, each with the chance `power` or more."""
    totals = totals_for(question, power=power, shares=shares, rule=rule)
    return Sizes(customers=divided(max(totals), question, shares=shares), contrasts=question.contrasts, totals=totals)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedPower:
    """The share of simulated experiments that tell a difference; the intervals are the Monte Carlo error."""

    contrasts: tuple[Contrast, ...]
    each: tuple[Estimate, ...]
    every: Estimate  # all of them in one experiment
    some: Estimate  # at least one
    repetitions: int
    seed: int


Draw = Callable[[np.random.Generator, int], tuple["Floats", "Floats", "Floats"]]


def simulated_power(
    question: Question,
    customers: int | Mapping[str, int],
    *,
    shares: Mapping[str, float] | None = None,
    rule: Rule = PLAIN,
    repetitions: int = 10_000,
    seed: int = 0,
    buckets: int = 200,
) -> SimulatedPower:
    """Return the power counted on simulated experiments, thousands a second.

    Shares are drawn as binomial counts, means as normal sums of known variance, a question from a past
    test or the simulator as normal sums of `buckets` that are then jackknifed. Holm is carried to its last step.
    Monte Carlo error of a power of .8: .004 with 10,000 repetitions.
    """
    sizes = sizes_of(question, customers, shares=shares)
    critical = np.array(power_of(question, customers, shares=shares, rule=rule).critical)
    rng, rounds = np.random.default_rng(seed), []
    draw = _draw_of(question, sizes, buckets=buckets)
    for start in range(0, repetitions, BATCH):
        values, errors, df = draw(rng, min(BATCH, repetitions - start))
        rounds.append(told(values, errors, df=df, critical=critical, rule=rule))
    return counted(question, np.concatenate(rounds), seed=seed)


def counted(question: Question, found: NDArray[np.bool_], *, seed: int) -> SimulatedPower:
    """Return the power counted on experiments: `found`, (repetitions, contrasts), says which told what."""

    def share(hits: NDArray[np.bool_]) -> Estimate:
        return proportion(int(hits.sum()), len(hits), level=0.95)

    return SimulatedPower(
        contrasts=question.contrasts,
        each=tuple(share(column) for column in found.T),
        every=share(np.asarray(found.all(axis=1))),
        some=share(np.asarray(found.any(axis=1))),
        repetitions=len(found),
        seed=seed,
    )


def told(values: Floats, errors: Floats, *, df: Floats, critical: Floats, rule: Rule) -> NDArray[np.bool_]:
    """Return which differences each experiment tells: (repetitions, contrasts)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.nan_to_num(np.abs(values) / errors, nan=0.0, posinf=np.inf, neginf=-np.inf)
    if rule.correction != "holm":
        return np.asarray(z > critical)
    return holm_told(z, df, false=1 - rule.level)


def holm_told(z: Floats, df: Floats, *, false: float) -> NDArray[np.bool_]:
    """Return which of the differences Holm's step-down rejects."""
    from scipy.special import ndtr, stdtr

    endless = ~np.isfinite(df)
    p = 2 * np.where(endless, ndtr(-z), stdtr(np.where(endless, 1.0, df), -z))
    order = np.argsort(p, axis=1)
    passed = np.take_along_axis(p, order, axis=1) * np.arange(p.shape[1], 0, -1) <= false
    told = np.empty_like(passed)
    np.put_along_axis(told, order, np.logical_and.accumulate(passed, axis=1), axis=1)
    return told


def _draw_of(question: Question, sizes: Floats, *, buckets: int) -> Draw:
    if not question.groups:
        return partial(_draw_buckets, question, sizes, buckets)
    binary = all(group.binary for group in question.groups)
    return partial(_draw_shares if binary else _draw_means, question, sizes)


def _signs(question: Question) -> Floats:
    """Return +1, -1 or 0 of each arm in each difference: (arms, contrasts)."""
    return np.array(
        [[(arm == c.first) - (arm == c.second) for c in question.contrasts] for arm in question.arms], float
    )


def _draw_shares(
    question: Question, sizes: Floats, rng: np.random.Generator, times: int
) -> tuple[Floats, Floats, Floats]:
    watched = np.maximum(1, np.rint(sizes * [group.followed for group in question.groups]))
    counts = rng.binomial(watched.astype(np.int64), [group.mean for group in question.groups], (times, len(sizes)))
    rates, signs = counts / watched, _signs(question)
    variances = (rates * (1 - rates) / watched) @ signs**2
    if question.pooled:
        both = np.abs(signs)
        pool = counts @ both / (watched @ both)
        variances = pool * (1 - pool) * ((1 / watched) @ both)
    return rates @ signs, np.sqrt(variances), np.full(variances.shape, math.inf)


def _draw_means(
    question: Question, sizes: Floats, rng: np.random.Generator, times: int
) -> tuple[Floats, Floats, Floats]:
    noise, signs = np.array([group.noise for group in question.groups]), _signs(question)
    drawn = rng.standard_normal((times, len(sizes))) * np.sqrt(noise / sizes)
    values = question.effects + drawn @ signs
    parts = np.broadcast_to(noise / sizes, drawn.shape)
    return values, np.sqrt(parts @ signs**2), np.full((times, len(question.contrasts)), math.inf)


def _draw_buckets(
    question: Question, sizes: Floats, buckets: int, rng: np.random.Generator, times: int
) -> tuple[Floats, Floats, Floats]:
    covariance = np.einsum("a,aij->ij", 1 / sizes, question.noise)
    believed = covariance if question.believed is None else np.einsum("a,aij->ij", 1 / sizes, question.believed)
    noise = rng.standard_normal((times, buckets, len(covariance)))
    sums = np.einsum("rbj,ij->rbi", noise, root_of(covariance * buckets))
    true = np.diag(covariance)
    ratio = np.divide(np.diag(believed), true, out=np.ones_like(true), where=true > 0)
    variances = sums.var(axis=1, ddof=1) / buckets * ratio
    return question.effects + sums.mean(axis=1), np.sqrt(variances), np.full(variances.shape, buckets - 1.0)


# The whole way, experiment by experiment: the readout's own test on drawn cubes.
def drawn_power(
    variant: World,
    sheet: Sheet,
    *,
    customers_per_arm: int,
    pairs: Sequence[Pair] | str | None = None,
    rule: Rule = PLAIN,
    repetitions: int = 100,
    seed: int = 0,
) -> SimulatedPower:
    """Return the power counted on simulated tests, each drawn, read and tested as a readout does. Slow.

    The question of the sheet's objective between `pairs` of arms, in a test of equal arms.
    """
    evidence = simulated_evidence(variant, horizon_months=sheet.horizon_months, window_months=sheet.window_months,
                                  discount_rate=sheet.discount_rate)  # fmt: skip
    question = question_of(evidence, objective=sheet.objective, pairs=pairs, terms=terms_of(sheet))
    plain = sheet.model_copy(update={"winsorise": False, "adjust": False})
    months, found = max(sheet.horizon_months, sheet.window_months), []
    for repetition in range(repetitions):
        rng = np.random.default_rng([seed, repetition])
        cube = draw_cube(variant, customers_per_arm, rng=rng, months=months, factors=("reason",))
        reading = Reading(cube=cube, sheet=plain)
        found.append(_read(reading, question, rule=rule))
    return counted(question, np.concatenate(found), seed=seed)


def _read(reading: Reading, question: Question, *, rule: Rule) -> NDArray[np.bool_]:
    """Return which differences a test tells, as the readout tells them: (1, contrasts)."""
    objective = OBJECTIVES[reading.sheet.objective]
    scores = np.zeros((len(reading.numbers["value"]), len(question.arms)))
    numbers = {name: values[:, reading.offers] for name, values in reading.numbers.items()}
    scores[:, reading.offers] = objective.score(numbers, terms_of(reading.sheet))
    first, second = ([question.arms.index(getattr(c, end)) for c in question.contrasts] for end in ("first", "second"))
    gaps = scores[:, first] - scores[:, second]
    covariance, df = jackknife_covariance(gaps[1:]), np.full(len(first), float(reading.df))
    critical = CORRECTIONS[rule.correction](covariance, df, rule.level)
    return told(gaps[:1], np.sqrt(np.diag(covariance))[None], df=df, critical=critical, rule=rule)


def watched_throughout(variant: World) -> World:
    """Return the world in which every customer is watched for the whole horizon."""
    return replace(variant, follow_up=dict.fromkeys(ARMS, 0.0), follow_up_by_goodwill=False)
