"""From joint estimates to a verdict that can also be "not separable"; `report.wording.verdict` words it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import numpy as np

from experiments.common.estimate import Estimate
from experiments.common.finding import Fact, Finding, of_state
from experiments.metrics.objectives import OBJECTIVES, terms_of
from experiments.sheet.sheet import Sheet
from experiments.stats.intervals import (
    DRAWS,
    holm,
    jackknife_covariance,
    newcombe,
    pooled_z,
    root_of,
    simultaneous_quantile,
    t_interval,
    t_quantile,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Replicates = NDArray[np.float64]

Tone = Literal["go", "wait", "stop"]
Kind = Literal[
    "interim",
    "stopped",
    "gross",
    "no_ranking",
    "no_offer_better",
    "none_looks_better",
    "not_enough_data",
    "choose",
    "equivalent",
    "not_separable",
    "as_written",
]
TONES: dict[Kind, Tone] = {
    "interim": "stop",  # read before the registered day
    "stopped": "stop",  # by a check
    "gross": "wait",  # no holdout
    "no_ranking": "wait",  # the objective cannot be estimated for every offer
    "no_offer_better": "stop",  # each is worse than doing nothing
    "none_looks_better": "wait",  # the best does not even look better than doing nothing
    "not_enough_data": "wait",  # doing nothing is not ruled out
    "choose": "go",  # one offer is ahead of all others
    "equivalent": "go",  # those tied differ by less than the tolerance
    "not_separable": "wait",
    "as_written": "wait",  # by an earlier version, in sentences
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a test decides: a kind, as TONES has them, and what to read with it."""

    kind: Kind
    tone: Tone
    remarks: tuple[Finding, ...] = ()  # in the order they are read


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A difference with the bounds that hold for all pairs of offers at once."""

    difference: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Offers on one objective, best first, with what separates them.

    Intervals hold for all offers and pairs at once.
    """

    offers: tuple[str, ...]
    values: tuple[float, ...]
    worth_it: tuple[bool | None, ...]  # better than doing nothing, worse, or open
    behind: tuple[Gap, ...]  # of each offer to the best; the first is zero
    tied: tuple[str, ...]  # the best and all that cannot be told from it
    p_best: tuple[float, ...]
    expected_loss: tuple[float, ...]  # of choosing the offer, in the objective's unit
    more: float | None  # how many times the customers that would separate the second from the best
    more_than_nothing: float | None = None  # how many times those that would separate the best from doing nothing
    equivalent: bool = False  # all tied offers differ by less than the tolerance, whichever is better
    left_out: tuple[str, ...] = ()  # not eligible on this objective
    tolerance: float = 0.0  # in the objective's unit; of equivalent offers


def rank(
    replicates: Replicates,
    offers: tuple[str, ...],
    *,
    df: float,
    level: float,
    tolerance: float = 0.0,
    seed: int = 0,
    left_out: tuple[str, ...] = (),
) -> Ranking:
    """Rank offers on an objective by its jackknife replicates: shape (1 + buckets, offers), row 0 the estimate.

    The objective's value of doing nothing is 0. Offers that may be nearer than `tolerance` to the best are tied with
    it; they are equivalent when for all pairs of them at once the whole interval of the difference lies inside the
    tolerance (two one-sided tests, Schuirmann 1987, here with the wider two-sided simultaneous interval).
    """
    order = np.argsort(-replicates[0], kind="stable")
    replicates, names = replicates[:, order], tuple(offers[i] for i in order)
    values, covariance = replicates[0], jackknife_covariance(replicates[1:])
    half = simultaneous_quantile(covariance, df=df, level=level, seed=seed) * np.sqrt(np.diag(covariance))
    low, high = values - half, values + half
    low_pair, difference, high_pair = _pairwise(replicates, df=df, level=level, seed=seed)
    behind = tuple(
        Gap(difference=float(difference[0, i]), low=float(low_pair[0, i]), high=float(high_pair[0, i]))
        for i in range(len(names))
    )
    p_best, loss = _joint(values, covariance, seed=seed)
    near = [i for i, gap in enumerate(behind) if gap.low <= tolerance]
    inside = (low_pair >= -tolerance) & (high_pair <= tolerance)
    return Ranking(
        offers=names,
        values=tuple(map(float, values)),
        worth_it=tuple(True if a > 0 else False if b < 0 else None for a, b in zip(low, high, strict=True)),
        behind=behind,
        tied=tuple(names[i] for i in near),
        p_best=p_best,
        expected_loss=loss,
        more=_times_more(behind[1].difference, behind[1].low) if len(near) > 1 else None,
        more_than_nothing=None if low[0] > 0 else _times_more(float(values[0]), float(low[0])),
        equivalent=len(near) > 1 and tolerance > 0 and bool(inside[np.ix_(near, near)].all()),
        left_out=left_out,
        tolerance=tolerance,
    )


def _pairwise(replicates: Replicates, *, df: float, level: float, seed: int) -> tuple[Replicates, ...]:
    """Return (low, difference, high) of offer i minus offer j, (offers, offers) each, for all pairs at once."""
    count = replicates.shape[1]
    first, second = np.triu_indices(count, 1)
    difference, half = np.zeros((count, count)), np.zeros((count, count))
    if count > 1:
        covariance = jackknife_covariance(replicates[1:, first] - replicates[1:, second])
        q = simultaneous_quantile(covariance, df=df, level=level, seed=seed)
        difference[first, second] = replicates[0, first] - replicates[0, second]
        half[first, second] = q * np.sqrt(np.diag(covariance))
    difference, half = difference - difference.T, half + half.T
    return difference - half, difference, difference + half


def _joint(values: Replicates, covariance: Replicates, *, seed: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return P(best) and the expected loss of each offer by joint draws, flat prior."""
    noise = np.random.default_rng(seed).standard_normal((DRAWS, len(values)))
    draws = values + np.einsum("ij,kj->ik", noise, root_of(covariance))
    best = draws.max(axis=1)
    p_best = np.bincount(draws.argmax(axis=1), minlength=len(values)) / DRAWS
    return tuple(map(float, p_best)), tuple(float(np.mean(best - draws[:, i])) for i in range(len(values)))


def _times_more(difference: float, low: float) -> float | None:
    """Return how many times the customers make an interval just miss zero, at today's difference."""
    return None if difference <= 0 else ((difference - low) / difference) ** 2


def verdict(
    sheet: Sheet, *, ranking: Ranking | None, checks: Sequence[Finding], remarks: tuple[Finding, ...] = ()
) -> Verdict:
    """Return the verdict on the declared objective; `remarks`: what else is to be read with a ranking."""
    kind = _kind(sheet, ranking, checks)
    if ranking is None or kind in ("interim", "stopped", "gross"):
        return Verdict(kind=kind, tone=TONES[kind])
    found = list(remarks)
    if ranking.left_out:
        facts: dict[str, Fact] = {"offers": ranking.left_out, "minimum_returned": terms_of(sheet).minimum_returned}
        found.insert(0, Finding(key="left_out", state="pass", facts=facts))
    doubts = doubts_of(checks, objective=sheet.objective)
    if TONES[kind] == "go" and doubts:
        found.insert(0, Finding(key="doubts", state="warn", facts={"checks": doubts}))
    return Verdict(kind=kind, tone=TONES[kind], remarks=tuple(found))


def _kind(sheet: Sheet, ranking: Ranking | None, checks: Sequence[Finding]) -> Kind:
    stops = of_state(checks, "stop")
    if stops:
        return "interim" if stops[0].key == "read_date" else "stopped"
    if sheet.holdout is None:
        return "gross"
    return "no_ranking" if ranking is None else kind_of(ranking)


def kind_of(ranking: Ranking) -> Kind:
    """Return the verdict that a ranking gives by itself."""
    if all(worth is False for worth in ranking.worth_it):
        return "no_offer_better"
    if ranking.worth_it[0] is not True:
        return "none_looks_better" if ranking.values[0] <= 0 else "not_enough_data"
    if len(ranking.tied) == 1:
        return "choose"
    return "equivalent" if ranking.equivalent else "not_separable"


MONEY = {"net", "roi"}
BEARS_ON: dict[str, set[str]] = {  # what a check casts doubt on; one that is not here casts it on everything
    "follow_up": {*MONEY, "months_gained", "active_gained"},
    "small_arm": MONEY,
    "acceptances": MONEY,
    "enough_returned": MONEY,
    "power": set(),  # what was found in spite of it is found
    "tail": MONEY,
}


def doubts_of(checks: Sequence[Finding], *, objective: str) -> tuple[str, ...]:
    """Return the keys of the checks that warn and bear on an objective."""
    needs = set(OBJECTIVES[objective].needs)
    return tuple(check.key for check in of_state(checks, "warn") if needs & BEARS_ON.get(check.key, needs))


# Pairs: is there any difference between two offers?
@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """What offer b has more than offer a. The interval is that of the pair alone, p_holm is for all pairs."""

    a: str
    b: str
    difference: Estimate
    p: float
    p_holm: float


def share_pairs(counts: Sequence[tuple[int, int]], *, names: Sequence[str], level: float = 0.95) -> tuple[Pair, ...]:
    """Compare all pairs of shares by z with the pooled variance, Holm's step-down over all of them.

    `counts`: (successes, n) of each arm, n > 0. Newcombe's interval.
    """
    compared = []
    for (x0, n0), (x1, n1) in combinations(counts, 2):
        low, high = newcombe(x1, n1, x0, n0, level=level)
        value = x1 / n1 - x0 / n0
        difference = Estimate(value=value, low=low, high=high, level=level, n=n1 + n0, unit="points")
        compared.append((difference, pooled_z(x1, n1, x0, n0)))
    return _corrected(names, compared)


def mean_pairs(
    replicates: Replicates, *, names: Sequence[str], n: Sequence[int], df: float, unit: str, level: float = 0.95
) -> tuple[Pair, ...]:
    """Compare all pairs of jackknifed means by Student's t, Holm's step-down over all of them.

    `replicates` (1 + buckets, arms), `n` the customers of each arm.
    """
    compared = []
    for i, j in combinations(range(replicates.shape[1]), 2):
        gap = replicates[:, j] - replicates[:, i]
        variance = float(jackknife_covariance(gap[1:, None])[0, 0])
        low, high, p = t_interval(float(gap[0]), variance, df=df, level=level)
        compared.append((Estimate(value=float(gap[0]), low=low, high=high, level=level, n=n[i] + n[j], unit=unit), p))
    return _corrected(names, compared)


def _corrected(names: Sequence[str], compared: Sequence[tuple[Estimate, float]]) -> tuple[Pair, ...]:
    """Return all pairs of names with their difference, p and Holm's p."""
    adjusted = holm([p for _, p in compared])
    return tuple(
        Pair(a=a, b=b, difference=difference, p=p, p_holm=p_holm)
        for (a, b), (difference, p), p_holm in zip(combinations(names, 2), compared, adjusted, strict=True)
    )


# The winner's curse: the best of several estimates is too high on average.
@dataclass(frozen=True, slots=True, kw_only=True)
class Shrunken:
    """Offers pulled towards their common mean, each by its own noise."""

    offers: tuple[str, ...]
    estimates: tuple[Estimate, ...]
    winner: str  # the offer with the highest estimate before shrinking
    raw: float  # its estimate before shrinking

    @property
    def estimate(self) -> Estimate:
        """The winner's shrunken estimate."""
        return self.estimates[self.offers.index(self.winner)]


SPREADS = 400  # points of the prior of the spread
PRIOR_SPREAD = 2  # its median, in units of the noise between offers: halves the curse, and far winners stay covered


def shrunken(
    replicates: Replicates, *, offers: Sequence[str], n: Sequence[int], df: float, unit: str, level: float = 0.95
) -> Shrunken:
    """Shrink the offers' estimates x ~ N(theta, S) with theta ~ N(mu, tau**2), to answer the winner's curse.

    S is the joint jackknife covariance, shared holdout included. Given tau, with V = S + tau**2 I:
    theta = x - S V^-1 (x - mu), mu by generalised least squares (the James-Stein form, Efron & Morris 1973). tau is
    averaged over its posterior, so that the intervals know it is not known (Morris 1983); prior half-Cauchy (Gelman
    2006) in units of the noise between offers, so that the unit of money is irrelevant. A single offer far ahead of
    many equal ones is pulled back too far: the offers are taken for draws of one normal distribution.
    """
    x, noise = replicates[0], jackknife_covariance(replicates[1:])
    count = len(x)
    centring = np.eye(count) - 1 / count
    scale = math.sqrt(max(0.0, float(np.trace(centring @ noise)) / max(1, count - 1)))
    if count == 1 or scale == 0:
        mean, covariance = x, noise
    else:
        mean, covariance = _posterior(x, noise, PRIOR_SPREAD * scale)
    half = t_quantile(level, df=df) * np.sqrt(np.diag(covariance))
    best = int(x.argmax())
    return Shrunken(
        offers=tuple(offers),
        estimates=tuple(
            Estimate(value=float(m), low=float(m - h), high=float(m + h), level=level, n=size, unit=unit)
            for m, h, size in zip(mean, half, n, strict=True)
        ),
        winner=offers[best],
        raw=float(x[best]),
    )


def _posterior(x: Replicates, noise: Replicates, scale: float) -> tuple[Replicates, Replicates]:
    """Return mean and covariance of the offers' true values, averaged over the spread tau."""
    tau = scale * np.tan(math.pi / 2 * (np.arange(SPREADS) + 0.5) / SPREADS)  # quantiles of the half-Cauchy
    values, vectors = np.linalg.eigh(noise)
    wide = np.clip(values, 0, None) + tau[:, None] ** 2
    inverse = np.einsum("ij,tj,kj->tik", vectors, 1 / wide, vectors)  # V^-1 for each tau
    weight = inverse.sum(axis=(1, 2))
    centre = inverse.sum(axis=1) @ x / weight
    rest = x - centre[:, None]
    fit = np.einsum("ti,tij,tj->t", rest, inverse, rest)
    log_likelihood = -0.5 * (np.log(wide).sum(axis=1) + np.log(weight) + fit)
    chance = np.exp(log_likelihood - log_likelihood.max())
    chance /= chance.sum()
    pull = np.einsum("ij,tjk->tik", noise, inverse)  # S V^-1
    means = x - np.einsum("tij,tj->ti", pull, rest)
    to_centre = pull.sum(axis=2)
    of_centre = np.einsum("ti,tj->tij", to_centre, to_centre) / weight[:, None, None]
    within = noise - np.einsum("tij,jk->tik", pull, noise) + of_centre
    mean = chance @ means
    between = np.einsum("t,ti,tj->ij", chance, means - mean, means - mean)
    return mean, np.einsum("t,tij->ij", chance, within) + between
