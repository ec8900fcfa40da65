"""Which offer for whom: learn it, keep it within a budget, and say honestly what it is worth.

A policy gives every segment one arm, or no offer. Its worth on the data it was learned from is too high (the best
of several noisy figures is partly noise); therefore its value is always cross-fitted: learned on some buckets of
customers, valued on the others, with the planned shares of the arms as known propensities.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from experiments.common.errors import WinbackError
from experiments.common.estimate import Estimate, missing
from experiments.readout.segments import EVERYONE, LEAST, Effects, Outcome, effects, grouped, segments_of
from experiments.sheet.sheet import Sheet
from experiments.stats.intervals import jackknife_covariance, t_quantile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Places = NDArray[np.intp]

FOLDS = 5  # more of them learn from more customers, but from ever the same ones: see `instability`
DRAWS_OF_LEARNING = 2_000
REGRET_DRAWS = 20_000  # Monte Carlo error of the bound: a hundredth of it
MOST_DRAWN = 5_000_000  # numbers held at once, 40 MB: with hundreds of segments there are fewer draws
SPENT_ON_DROPPING = 0.1  # share of the error probability that goes into leaving out hopeless arms


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a campaign may use, for each customer on the list; None: no limit."""

    budget: float | None = None  # currency per customer on the list
    contacted: float | None = None  # share of the list that can be called, 0 to 1

    @property
    def none(self) -> bool:
        """Whether nothing limits."""
        return self.budget is None and self.contacted is None

    @classmethod
    def of(cls, customers: int, *, budget: float | None = None, calls: int | None = None) -> Limits:
        """Return the limits of a campaign: money and calls in total, for a list of so many customers."""
        if customers < 1 or (budget or 0) < 0 or (calls or 0) < 0:
            raise WinbackError(
                f"A campaign of {customers} customers with a budget of {budget} and {calls} calls "
                "cannot be planned: give at least one customer and no negative limit."
            )
        return cls(
            budget=None if budget is None else budget / customers,
            contacted=None if calls is None else calls / customers,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Who gets what."""

    factor: str
    segments: tuple[str, ...]
    shares: tuple[float, ...]  # of all customers
    arms: tuple[str, ...]  # the first is "no offer"
    given: tuple[tuple[float, ...], ...]  # for each segment the share of its customers that gets each arm; adds to 1
    limits: Limits

    @property
    def contacted(self) -> float:
        """Share of all customers that gets an offer."""
        return sum(share * (1 - row[0]) for share, row in zip(self.shares, self.given, strict=True))

    def offer(self, segment: str) -> str | None:
        """Return what most of a segment gets; None for no offer."""
        row = self.given[self.segments.index(segment)]
        best = max(range(len(row)), key=row.__getitem__)
        return self.arms[best] if best else None


def learn(outcome: Outcome, *, factor: str, cost: Outcome | None = None, limits: Limits | None = None) -> Policy:
    """Return the policy with the highest shrunken gain: an offer of `outcome.single` in each segment, or none.

    `outcome` is what to maximise, net of cost. With `limits` it is the optimum of a linear programme (HiGHS);
    a budget needs the `cost`, another outcome of the same test.
    """
    limits = limits or Limits()
    if not outcome.single:
        raise WinbackError(
            "Every offer of the test is tailored, so a policy has none to choose from. Test the single offers too."
        )
    found = effects(outcome, factor=factor, offers=outcome.single)
    gain = np.vstack((np.zeros(len(found.segments)), np.nan_to_num(found.shrunk)))  # nothing known: no offer
    if limits.none:
        given = np.eye(len(gain))[gain.argmax(axis=0)]
    else:
        if limits.budget is not None and cost is None:
            raise WinbackError(
                'A budget needs the cost of the offers: learn(..., cost=outcome_of(cube, sheet, name="cost")).'
            )
        spend = None if cost is None else np.nan_to_num(effects(cost, factor=factor, offers=cost.single).shrunk)
        given = allocate(gain[1:].T, share=found.share, cost=None if spend is None else spend.T, limits=limits)
    return Policy(
        factor=factor,
        segments=found.segments,
        shares=tuple(map(float, found.share)),
        arms=(outcome.arms[outcome.holdout], *outcome.single),
        given=tuple(tuple(map(float, row)) for row in given),
        limits=limits,
    )


def allocate(gain: Floats, *, share: Floats, cost: Floats | None, limits: Limits) -> Floats:
    """Return the best shares of each segment for no offer and each offer: (segments, 1 + offers), rows add up to 1.

    Maximises sum share x gain given under the limits; `gain` and `cost` (segments, offers) per customer. At most one
    segment for each limit is divided: some of its customers, at random, get another arm.
    """
    from scipy.optimize import linprog

    segments, offers = gain.shape
    weight = np.repeat(share, offers)
    rows, most = [*np.kron(np.eye(segments), np.ones(offers))], [1.0] * segments
    if limits.budget is not None and cost is not None:
        scale = max(limits.budget, float(np.abs(cost).max()), np.finfo(float).tiny)  # in every currency the same plan
        rows, most = [*rows, weight * cost.ravel() / scale], [*most, limits.budget / scale]
    if limits.contacted is not None:
        rows, most = [*rows, weight], [*most, limits.contacted]
    worth = weight * gain.ravel()
    found = linprog(
        -worth / max(float(np.abs(worth).max()), np.finfo(float).tiny),
        A_ub=np.array(rows),
        b_ub=np.array(most),
        bounds=(0, 1),
        method="highs",
    )
    if found.x is None:
        raise WinbackError(f"No plan keeps a budget of {limits.budget} per customer ({found.message}). Raise it.")
    given = np.clip(found.x.reshape(segments, offers), 0, 1)
    return np.column_stack((np.maximum(0, 1 - given.sum(axis=1)), given)) + 0.0  # no minus zero


def _mean_of(total: Floats, count: Floats, *, level: float, unit: str, wider: float = 1.0) -> Estimate:
    """Return sum of totals / sum of counts over independent groups, by their influence values."""
    groups, n = len(total), float(count.sum())
    value = float(total.sum()) / n
    influence = (total - value * count) / n
    error = math.sqrt(groups / (groups - 1) * float(((influence - influence.mean()) ** 2).sum()))
    half = wider * t_quantile(level, df=groups - 1) * error
    return Estimate(value=value, low=value - half, high=value + half, level=level, n=round(n), unit=unit)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyValue:
    """A policy and what it is worth, per customer on the list."""

    policy: Policy  # learned from everybody: the one to use
    gain: Estimate  # over leaving everybody alone; cross-fitted
    over_one_offer: Estimate  # over the best single offer for everybody under the same limits; cross-fitted
    cost: Estimate | None  # spent more than on the holdout; cross-fitted
    regret: Estimate | None  # how much the best policy on these segments may be better; None under limits


def value_of_learning(
    outcome: Outcome,
    *,
    factor: str,
    level: float,
    cost: Outcome | None = None,
    limits: Limits | None = None,
    seed: int = 0,
) -> PolicyValue:
    """Learn the best offer by segment and return it with its cross-fitted value.

    The value is that of the rule "learn on four fifths of the customers", valued on the fifth left out, each in
    turn: augmented inverse propensity weighting with the planned shares; the outcome model is the mean of arm and
    stratum on the four fifths. The interval comes from the influence values of the buckets, widened by `instability`.
    """
    fold = np.arange(outcome.buckets) % FOLDS
    gain, single, spent = (np.zeros(outcome.buckets) for _ in range(3))
    for f in range(FOLDS):
        rest, here = fold != f, fold == f
        known, known_cost = outcome.of(rest), None if cost is None else cost.of(rest)
        policy = learn(known, factor=factor, cost=known_cost, limits=limits)
        best = learn(known, factor=EVERYONE, cost=known_cost, limits=limits)
        gain[here] = scores(outcome, policy, rest=rest)[here]
        single[here] = scores(outcome, best, rest=rest)[here]
        if cost is not None:
            spent[here] = scores(cost, policy, rest=rest)[here]
    count = outcome.count.sum(axis=(0, 1))
    policy = learn(outcome, factor=factor, cost=cost, limits=limits)
    found = effects(outcome, factor=factor, offers=outcome.single)
    wider = instability(found, folds=FOLDS, seed=seed)
    return PolicyValue(
        policy=policy,
        gain=_mean_of(gain, count, level=level, unit=outcome.unit, wider=wider[0]),
        over_one_offer=_mean_of(gain - single, count, level=level, unit=outcome.unit, wider=wider[1]),
        cost=None if cost is None else _mean_of(spent, count, level=level, unit=cost.unit),
        regret=regret(outcome, policy, level=level, seed=seed) if policy.limits.none else None,
    )


def instability(found: Effects, *, folds: int, seed: int = 0) -> tuple[float, float]:
    """Return how much wider than their influence values say the intervals of cross-fitted values are, at least 1.

    For the gain of the learned policy, and for its gain over the best single offer. Where two arms are close,
    whatever makes one look better in most folds makes every fold choose it and value it so: the folds' errors are
    not independent (there is no unbiased variance of cross-validation, Bengio & Grandvalet 2004). Measured with
    tied arms: 1.3 times at 5 folds, 1.5 at 10, 1.9 at 50. The ratio of the standard deviation of the error in
    DRAWS_OF_LEARNING experiments with the shrunken gains for truth to the one their influence values would give.
    """
    arms = [found.holdout, *found.offers]
    gain = np.vstack((np.zeros(len(found.share)), np.nan_to_num(found.shrunk)))
    variance = np.nan_to_num(found.variance[arms, :]).T
    draws = min(DRAWS_OF_LEARNING, MOST_DRAWN // (folds * variance.size))
    noise = np.random.default_rng(seed).standard_normal((folds, draws, *variance.shape))
    noise *= np.sqrt(folds * variance)
    seen = gain.T + (noise.sum(axis=0) - noise) / (folds - 1)
    best = np.einsum("g,fdga->fda", found.share, seen).argmax(axis=-1)[..., None]
    chosen = seen.argmax(axis=-1)
    rivals = np.zeros_like(chosen), np.broadcast_to(best, chosen.shape)
    over_nothing, over_one = (
        _times_wider(noise, variance, found.share, chosen=chosen, instead=rival) for rival in rivals
    )
    return over_nothing, over_one


def _times_wider(noise: Floats, variance: Floats, share: Floats, *, chosen: Places, instead: Places) -> float:
    errors, told = np.zeros(noise.shape[:-1]), np.zeros(noise.shape[:-1])
    every = np.arange(len(share))
    for arm, sign in ((chosen, 1), (instead, -1)):
        errors += sign * np.take_along_axis(noise, arm[..., None], axis=-1)[..., 0]
        told += np.where(chosen == instead, 0.0, variance[every, arm])
    expected = float((told.mean(axis=(0, 1)) * share**2).sum())
    return max(1.0, math.sqrt(float((errors.mean(axis=0) @ share).var()) / expected)) if expected > 0 else 1.0


def scores(outcome: Outcome, policy: Policy, *, rest: NDArray[np.bool_]) -> Floats:
    """Return the sum of every bucket's scores for the gain of a policy over no offer: shape (buckets).

    sum over strata of sum_a d_a (n q_a + (y_a - n_a q_a) / e_a), d the policy's share of arm a less the holdout's 1, n
    the bucket's customers in all arms, q_a the mean of arm and stratum in the buckets `rest`, e the planned share.
    """
    _, strata = segments_of(outcome, factor=policy.factor)
    change = np.zeros(outcome.count.shape[:2])
    for arm, given in zip(policy.arms, np.array(policy.given).T, strict=True):
        change[outcome.arms.index(arm)] = given[strata]
    change[outcome.holdout] -= 1
    model = _model(outcome.of(rest))
    everybody = outcome.count.sum(axis=0)
    planned = np.array(outcome.planned)[:, None, None]
    surprise = (outcome.total - outcome.count * model[..., None]) / planned
    return np.asarray(np.einsum("as,asb->b", change, everybody * model[..., None] + surprise))


def _model(outcome: Outcome) -> Floats:
    """Return the mean of every arm and stratum; that of the arm where the stratum has fewer than LEAST."""
    total, count = outcome.total.sum(axis=2), outcome.count.sum(axis=2)
    arm = total.sum(axis=1, keepdims=True) / np.maximum(1, count.sum(axis=1, keepdims=True))
    return np.asarray(np.where(count >= LEAST, total / np.maximum(1, count), arm))


def regret(outcome: Outcome, policy: Policy, *, level: float, seed: int = 0) -> Estimate:
    """Return how much the best policy on the policy's segments may gain more than the policy itself.

    Among all policies that give each segment one arm, no offer included. The upper bound holds for all of them at once
    with probability `level`: what the estimates say (`value`) + the quantile of the largest error sum_g share_g max_a
    (Z_ga - Z_gb), Z the errors of the cells' means, b in each segment the arm that makes it largest: the truly best
    arm is unknown. Arms that are worse than the chosen one beyond doubt (Bonferroni, a tenth of 1 - level) cannot be
    best and are left out first. Low is 0 by definition.
    """
    found = effects(outcome, factor=policy.factor, offers=outcome.single)
    arms = [found.holdout, *found.offers]
    mean, variance, share = found.mean[arms, :], found.variance[arms, :], found.share
    none = missing(level=level, n=round(float(found.customers.sum())), unit=outcome.unit)
    if not np.isfinite(mean).all():
        return none
    chosen, every = np.array(policy.given).argmax(axis=1), np.arange(len(share))
    behind = mean[chosen, every] - mean
    dropping = SPENT_ON_DROPPING * (1 - level)
    least = t_quantile(1 - 2 * dropping / (mean.size * (len(arms) - 1)), df=outcome.buckets - 1)
    kept = behind <= least * np.sqrt(variance + variance[chosen, every])
    draws = min(REGRET_DRAWS, MOST_DRAWN // mean.size)
    noise = np.random.default_rng(seed).standard_normal((draws, *mean.shape)) * np.sqrt(variance)
    highest = np.where(kept, noise, -np.inf).max(axis=1)
    base = np.where(kept, (highest[:, None] - noise).mean(axis=0), -np.inf).argmax(axis=0)
    largest = (highest - noise[:, base, every]) @ share
    value = float(share @ np.where(kept, -behind, -np.inf).max(axis=0))
    bound = value + float(np.quantile(largest, level + dropping))
    return Estimate(value=value, low=0.0, high=bound, level=level, n=none.n, unit=outcome.unit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tailored:
    """A tailored arm run directly, and the same rule put together from the other arms."""

    arm: str
    by: str
    choose: tuple[tuple[str, str], ...]  # (segment, offer)
    direct: Estimate  # gain over the holdout
    from_others: Estimate
    difference: Estimate  # direct less from others: not zero, and the rule works other than its parts


def tailored(outcome: Outcome, sheet: Sheet, *, level: float) -> tuple[Tailored, ...]:
    """Return, for every arm that chooses by a factor of the strata, its gain run directly and put together.

    Both are means of segments weighted by their shares among all customers; one jackknife leaves a bucket out of
    everything, so that the difference has its own interval. Not estimable where a chosen offer is no arm.
    """
    return tuple(
        _tailored(outcome, arm, sheet.arms[arm].by, sheet.arms[arm].choose, level=level)
        for arm in outcome.arms
        if sheet.arms[arm].choose and sheet.arms[arm].by in outcome.factors
    )


def _tailored(outcome: Outcome, arm: str, by: str, choose: Mapping[str, str], *, level: float) -> Tailored:
    found = effects(outcome, factor=by)
    pairs = tuple((segment, choose[segment]) for segment in found.segments)
    a, every = outcome.arms.index(arm), np.arange(len(pairs))
    n = int(found.customers[a].sum())
    none = missing(level=level, n=n, unit=outcome.unit)
    estimates = [none, none, none]
    places = [outcome.arms.index(offer) for _, offer in pairs if offer in outcome.arms]
    if len(places) == len(pairs):
        mean, share = _left_out(outcome, found)
        cells = mean[:, a], mean[:, places, every], mean[:, outcome.holdout]
        direct, others, nothing = ((cell * share).sum(axis=1) for cell in cells)
        columns = np.stack((direct - nothing, others - nothing, direct - others), axis=1)
        if np.isfinite(columns).all():
            half = t_quantile(level, df=outcome.buckets - 1) * np.sqrt(jackknife_covariance(columns[1:]).diagonal())
            estimates = [
                Estimate(value=float(v), low=float(v - h), high=float(v + h), level=level, n=n, unit=outcome.unit)
                for v, h in zip(columns[0], half, strict=True)
            ]
    return Tailored(
        arm=arm, by=by, choose=pairs, direct=estimates[0], from_others=estimates[1], difference=estimates[2]
    )


def _left_out(outcome: Outcome, found: Effects) -> tuple[Floats, Floats]:
    """Return means (1 + buckets, arms, segments) and shares of segments, row 0 of everybody; nan in small cells."""
    by_segment = (grouped(part, found.strata) for part in (outcome.total, outcome.count))
    whole = ((part.sum(axis=-1), np.moveaxis(part, -1, 0)) for part in by_segment)
    total, count = (np.concatenate((everybody[None], everybody - bucket)) for everybody, bucket in whole)
    mean = np.divide(total, count, out=np.full_like(total, np.nan), where=(count > 0) & (count[0] >= LEAST))
    customers = count.sum(axis=1)
    return mean, customers / customers.sum(axis=1, keepdims=True)
