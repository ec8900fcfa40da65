"""From joint estimates to a verdict that can also say "not separable"."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import numpy as np

from experiments.common.estimate import Estimate
from experiments.common.formatting import amount, listed, named, number, share
from experiments.common.language import later, plural, say
from experiments.metrics.objectives import OBJECTIVES, Objective, terms_of
from experiments.readout.checks import Check
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The first thing an executive reads."""

    word: str
    tone: Tone
    sentence: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Offers on one objective, best first, with what separates them.

    Intervals hold for all offers and pairs at once.
    """

    offers: tuple[str, ...]
    values: tuple[float, ...]
    worth_it: tuple[bool | None, ...]  # better than doing nothing, worse, or open
    behind: tuple[tuple[float, float, float], ...]  # difference to the best with bounds; first is zero
    tied: tuple[str, ...]  # the best and all that cannot be told from it
    p_best: tuple[float, ...]
    expected_loss: tuple[float, ...]  # of choosing the offer, in the objective's unit
    more: float | None  # how many times the customers that would separate the second from the best
    more_than_nothing: float | None = None  # how many times those that would separate the best from doing nothing
    equivalent: bool = False  # all tied offers differ by less than the tolerance, whichever is better
    left_out: tuple[str, ...] = ()  # not eligible on this objective
    tolerance: float = 0.0  # in the objective's unit; of equivalent offers


def rank(
    replicates: NDArray[np.float64],
    offers: tuple[str, ...],
    *,
    df: float,
    level: float,
    tolerance: float = 0.0,
    nothing: float = 0.0,
    seed: int = 0,
    left_out: tuple[str, ...] = (),
) -> Ranking:
    """Rank offers on an objective by its jackknife replicates: shape (1 + buckets, offers), row 0 the estimate.

    `nothing` is the objective's value of doing nothing. Offers that may be nearer than `tolerance` to the best are
    tied with it; they are equivalent when for all pairs of them at once the whole interval of the difference lies
    inside the tolerance (two one-sided tests, Schuirmann 1987, here with the wider two-sided simultaneous interval).
    """
    order = np.argsort(-replicates[0], kind="stable")
    sorted_replicates = replicates[:, order]
    values, covariance = sorted_replicates[0], jackknife_covariance(sorted_replicates[1:])
    error = np.sqrt(np.diag(covariance))
    q = simultaneous_quantile(covariance, df=df, level=level, seed=seed)
    low, high = values - nothing - q * error, values - nothing + q * error
    low_pair, difference, high_pair = _pairwise(sorted_replicates, df=df, level=level, seed=seed)
    behind = tuple((float(difference[0, i]), float(low_pair[0, i]), float(high_pair[0, i])) for i in range(len(order)))
    p_best, loss = _joint(values, covariance, seed=seed)
    names = tuple(offers[i] for i in order)
    near = [i for i, (_, bound, _) in enumerate(behind) if bound <= tolerance]
    inside = (low_pair >= -tolerance) & (high_pair <= tolerance)
    return Ranking(
        offers=names,
        values=tuple(map(float, values)),
        worth_it=tuple(True if a > 0 else False if b < 0 else None for a, b in zip(low, high, strict=True)),
        behind=behind,
        tied=tuple(names[i] for i in near),
        p_best=p_best,
        expected_loss=loss,
        more=_times_more(*behind[1][:2]) if len(near) > 1 else None,
        more_than_nothing=None if low[0] > 0 else _times_more(float(values[0] - nothing), float(low[0])),
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


def _joint(
    values: NDArray[np.float64], covariance: NDArray[np.float64], *, seed: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
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
    sheet: Sheet, *, ranking: Ranking | None, checks: Sequence[Check], detail: str = "", customers: int | None = None
) -> Verdict:
    """Return the verdict on the declared objective, in plain words with numbers.

    `customers`: how many were assigned, to say how many more would tell; without it "so many times as many".
    """
    stops = [check for check in checks if check.state == "stop"]
    if stops:
        early = stops[0].name == "Read date"
        word = say("Interim: do not decide") if early else say("Do not use these numbers")
        return Verdict(word=word, tone="stop", sentence=stops[0].reason, detail=stops[0].todo)
    if sheet.holdout is None:
        return Verdict(
            word=say("Gross figures, no verdict"),
            tone="wait",
            sentence=say("There was no holdout, so nobody knows who would have come back without an offer."),
            detail=say("Keep a holdout in the next test. The figures below are gross, not incremental."),
        )
    objective = OBJECTIVES[sheet.objective]
    if ranking is None:
        why = say("The offers cannot be ranked on {goal}: {reason}.", goal=say(objective.goal),
                  reason=say(objective.unknown))  # fmt: skip
        return Verdict(word=say("No verdict"), tone="wait", sentence=why, detail=say("Declare another objective."))
    labels = {arm: offer.label or arm for arm, offer in sheet.arms.items()}
    if ranking.left_out:
        small = listed([labels[name] for name in ranking.left_out])
        least = amount(terms_of(sheet).minimum_returned, "points", currency=sheet.currency)
        out = say("Left out for bringing back fewer than {least} more customers: {offers}.", least=least, offers=small)
        detail = f"{out} {detail}".rstrip()
    found = _choice(sheet, ranking, labels, detail=detail, customers=customers)
    care = _warned(objective, checks) if found.tone == "go" else ""
    return replace(found, detail=f"{care} {found.detail}".strip())


MONEY = {"net", "roi"}
BEARS_ON = {  # what an objective needs that a check casts doubt on; a check that is not here does on everything
    "Follow-up": {*MONEY, "months_gained", "active_gained"},
    "Size of the arms": MONEY,
    "Acceptances": MONEY,
    "Enough customers": MONEY,
    "Power": set[str](),  # what was found in spite of it is found
    "Tail": MONEY,
}


def _warned(objective: Objective, checks: Sequence[Check]) -> str:
    """Return what the checks warn of that bears on the verdict; "" where nothing does."""
    needs = set(objective.needs)
    doubts = [named(say(check.name), check.reason) for check in checks
              if check.state == "warn" and needs & BEARS_ON.get(check.name, needs)]  # fmt: skip
    return say("Read it with care. {warnings}", warnings=" ".join(doubts)) if doubts else ""


def headline(
    ranking: Ranking, labels: Mapping[str, str], *, objective: str, currency: str, customers: int | None = None
) -> str:
    """Return the verdict of a ranking in a few words. `labels`: of each offer; `customers`: see `verdict`."""
    best, tied = ranking.worth_it[0], [labels[name] for name in ranking.tied]
    if all(worth is False for worth in ranking.worth_it):
        return say("No offer beats doing nothing")
    if best is not True and ranking.values[0] <= 0:
        return say("No offer looks better than doing nothing")
    if best is not True:
        more = _more(ranking.more_than_nothing, customers)
        return say("Not enough data: {more}", more=more) if more else say("Not enough data")
    if len(tied) == 1:
        return say("Choose {leader}", leader=tied[0])
    if ranking.equivalent:
        within = _amount(ranking.tolerance, objective=objective, currency=currency)
        return say("{offers}, equivalent within {within}", offers=listed(tied, last="or"), within=within)
    return say("{offers}: not separable", offers=listed(tied, last="or"))


def _choice(
    sheet: Sheet, ranking: Ranking, labels: Mapping[str, str], *, detail: str, customers: int | None
) -> Verdict:
    found = {"leader": labels[ranking.offers[0]], "goal": say(OBJECTIVES[sheet.objective].goal),
             "value": _shown(sheet, ranking.values[0])}  # fmt: skip
    word = headline(ranking, labels, objective=sheet.objective, currency=sheet.currency, customers=customers)
    if all(worth is False for worth in ranking.worth_it):
        return Verdict(
            word=word,
            tone="stop",
            sentence=say("Every offer is worse than leaving customers alone; the least bad is {leader} with {value} "
                         "({goal}).", **found),
            detail=detail,
        )  # fmt: skip
    if ranking.worth_it[0] is not True and ranking.values[0] <= 0:
        return Verdict(
            word=word,
            tone="wait",
            sentence=say("The highest on {goal} is {leader} with {value}. That it does better than leaving customers "
                         "alone is not ruled out, but nothing speaks for it.", **found),
            detail=detail,
        )  # fmt: skip
    if ranking.worth_it[0] is not True:
        more = _more(ranking.more_than_nothing, customers)
        chance = " " + say("At today's figure {more} would give an even chance to tell.", more=more) if more else ""
        said = say("{leader} looks best on {goal} with {value}, but that may be chance: doing nothing is not ruled "
                   "out.", **found)  # fmt: skip
        return Verdict(word=word, tone="wait", sentence=f"{said}{chance}", detail=detail)
    if len(ranking.tied) == 1:
        return Verdict(word=word, tone="go", sentence=_best(sheet, ranking, labels, found), detail=detail)
    return _draw(sheet, ranking, labels, word=word, detail=detail, customers=customers)


def _draw(
    sheet: Sheet, ranking: Ranking, labels: Mapping[str, str], *, word: str, detail: str, customers: int | None
) -> Verdict:
    """Return the verdict on offers tied with the best: known to be as good, or not known to be worse."""
    goal, tied = say(OBJECTIVES[sheet.objective].goal), [labels[name] for name in ranking.tied]
    rest = [labels[name] for name in ranking.offers if name not in ranking.tied]
    behind = " " + plural("{offers} is behind.", "{offers} are behind.", len(rest), offers=listed(rest)) if rest else ""
    first = {"first": tied[0], "value": _shown(sheet, ranking.values[0])}
    if ranking.equivalent:
        within = _shown(sheet, sheet.tolerance)
        alike = say(
            "On {goal}, {offers} differ by less than {within}, whichever is better: take the one that is easier to "
            "run. {first} is nominally first with {value}.",
            goal=goal, offers=listed(tied), within=within, **first,
        )  # fmt: skip
        return Verdict(word=word, tone="go", sentence=f"{alike}{behind}", detail=detail)
    more, chance = _more(ranking.more, customers), ""
    if more:
        even = later("At today's difference {more} would give an even chance to tell {first} from {second}.")
        chance = " " + say(even, more=more, first=tied[0], second=tied[1])
    open_ = say(
        "On {goal} this test cannot tell {offers} apart; {first} is nominally first with {value}.",
        goal=goal, offers=listed(tied), **first,
    )  # fmt: skip
    now = say(
        "If you must choose now: {first}, the best with a chance of {chance}; against the truly best it costs {loss} "
        "on average.",
        first=tied[0], chance=share(ranking.p_best[0], digits=0), loss=_shown(sheet, ranking.expected_loss[0]),
    )  # fmt: skip
    return Verdict(word=word, tone="wait", sentence=f"{open_}{behind}{chance}", detail=f"{now} {detail}".strip())


MOST_TIMES = 1000  # beyond it "so many more customers" is no advice


def _more(times: float | None, customers: int | None) -> str:
    """Return how many more customers it takes, to two digits; "" where nobody can say."""
    if times is None or not 1 < times < MOST_TIMES:
        return ""
    if customers is None:
        return say("about {times} times as many customers", times=number(times, digits=1 if times < MANY_TIMES else 0))
    more = round(float(f"{(times - 1) * customers:.2g}"))
    return plural("about {n} more customer", "about {n} more customers", more)


MANY_TIMES = 10


def _best(sheet: Sheet, ranking: Ranking, labels: Mapping[str, str], found: Mapping[str, str]) -> str:
    if len(ranking.offers) == 1:
        return say("{leader} is best on {goal}: {value}.", **found)
    difference, low, high = ranking.behind[1]
    bounds = say("{low} to {high}", low=_shown(sheet, low), high=_shown(sheet, high))
    return say(
        "{leader} is best on {goal}: {value}, {ahead} ahead of {second} ({bounds}).",
        ahead=_shown(sheet, difference), second=labels[ranking.offers[1]], bounds=bounds, **found,
    )  # fmt: skip


def _shown(sheet: Sheet, value: float) -> str:
    return _amount(value, objective=sheet.objective, currency=sheet.currency)


def _amount(value: float, *, objective: str, currency: str) -> str:
    unit = OBJECTIVES[objective].unit
    told = amount(value, unit, currency=currency)
    return say("{value} months", value=told) if unit == "months" else told


def faces(best: Mapping[str, str], *, among: str) -> str:
    """Say so where the most accepted offer is not the one that earns most; "" where it is.

    `best`: the label of the best offer on accepted or returned, net and roi. `among`: which offers, as it is said.
    """
    liked = best.get("accepted", best.get("returned"))
    earns, efficient = best.get("net"), best.get("roi")
    if liked is None or earns is None or liked == earns:
        return ""
    third = ""
    if efficient is not None and efficient != earns:
        third = say(", and {offer} the highest return on its cost", offer=efficient)
    said = (
        later("{among} the most accepted one is not the most profitable one: {liked} is accepted most, {earns} "
              "nominally has the highest net{third}.")
        if "accepted" in best
        else later("{among} the most answered one is not the most profitable one: {liked} is answered most, {earns} "
                   "nominally has the highest net{third}.")
    )  # fmt: skip
    return say(said, among=among, liked=liked, earns=earns, third=third)


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
    found = []
    for i, j in combinations(range(len(counts)), 2):
        (x0, n0), (x1, n1) = counts[i], counts[j]
        low, high = newcombe(x1, n1, x0, n0, level=level)
        value = x1 / n1 - x0 / n0
        difference = Estimate(value=value, low=low, high=high, level=level, n=n1 + n0, unit="points")
        found.append((i, j, difference, pooled_z(x1, n1, x0, n0)))
    return _corrected(found, names)


def mean_pairs(
    replicates: Replicates, *, names: Sequence[str], n: Sequence[int], df: float, unit: str, level: float = 0.95
) -> tuple[Pair, ...]:
    """Compare all pairs of jackknifed means by Student's t, Holm's step-down over all of them.

    `replicates` (1 + buckets, arms), `n` the customers of each arm.
    """
    found = []
    for i, j in combinations(range(replicates.shape[1]), 2):
        gap = replicates[:, j] - replicates[:, i]
        variance = float(jackknife_covariance(gap[1:, None])[0, 0])
        low, high, p = t_interval(float(gap[0]), variance, df=df, level=level)
        difference = Estimate(value=float(gap[0]), low=low, high=high, level=level, n=n[i] + n[j], unit=unit)
        found.append((i, j, difference, p))
    return _corrected(found, names)


def _corrected(found: Sequence[tuple[int, int, Estimate, float]], names: Sequence[str]) -> tuple[Pair, ...]:
    adjusted = holm([p for *_, p in found])
    return tuple(
        Pair(a=names[i], b=names[j], difference=difference, p=p, p_holm=p_holm)
        for (i, j, difference, p), p_holm in zip(found, adjusted, strict=True)
    )


# The winner's curse: the best of several estimates is too high on average.
@dataclass(frozen=True, slots=True, kw_only=True)
class Shrunken:
    """Offers pulled towards their common mean, each by its own noise."""

    offers: tuple[str, ...]
    estimates: tuple[Estimate, ...]
    centre: float  # the common mean
    spread: float  # posterior mean of the true standard deviation between offers
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
        mean, covariance, centre, spread = x, noise, float(x.mean()), float(x.std())
    else:
        mean, covariance, centre, spread = _posterior(x, noise, PRIOR_SPREAD * scale)
    half = t_quantile(level, df=df) * np.sqrt(np.diag(covariance))
    best = int(x.argmax())
    return Shrunken(
        offers=tuple(offers),
        estimates=tuple(
            Estimate(value=float(m), low=float(m - h), high=float(m + h), level=level, n=size, unit=unit)
            for m, h, size in zip(mean, half, n, strict=True)),
        centre=centre,
        spread=spread,
        winner=offers[best],
        raw=float(x[best]),
    )  # fmt: skip


def _posterior(x: Replicates, noise: Replicates, scale: float) -> tuple[Replicates, Replicates, float, float]:
    """Return (mean, covariance, centre, spread) of the offers' true values, averaged over the spread tau."""
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
    within = noise - np.einsum("tij,jk->tik", pull, noise) + np.einsum(
        "ti,tj->tij", to_centre, to_centre) / weight[:, None, None]  # fmt: skip
    mean = chance @ means
    between = np.einsum("t,ti,tj->ij", chance, means - mean, means - mean)
    return mean, np.einsum("t,tij->ij", chance, within) + between, float(chance @ centre), float(chance @ tau)
