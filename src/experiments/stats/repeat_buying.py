"""Is a silent customer still a customer? A second opinion to a rule of silence, from purchase histories.

A history is that of a customer, or of one who left after the last purchase: all answers follow from the odds between
the two. Nobody's leaving is seen; the models learn it from those who came back after a silence and those who did not.
Histories come as arrays, one place a history, with the number of customers who share it: what a million customers
cost depends on how many different histories they have.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from experiments.common.errors import WinbackError, short

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Matrix = tuple[tuple[float, ...], ...]
    Score = Callable[[Floats], tuple[float, Floats]]  # log parameters -> log likelihood of all customers, its gradient

FEW = 10_000  # histories find the neighbourhood of the maximum; all of them find the maximum
WIDE = 9.0  # a log parameter stays so near to its origin: at e^9 = 8,103 all customers are as good as alike
EDGE = WIDE - 0.001  # so near to its end a step does not go on
ARRIVED, NEAR = 1e-4, 1e-3  # a search that ends on a steeper slope, a customer, and may gain more has found no maximum
NUDGE = 1e-4  # of a log parameter, for a slope by differences
MOST_STEPS, MOST_HALVES, LONGEST, FLAT = 100, 12, 2.0, 1e-12  # of a search, which takes about ten steps
CLOSE = 1e-11  # relative gain a step promises: after that one a search has arrived
PAIRS = ((1, 1, 0, 0), (0, 1, 0, 0), (0, 0, 1, 1), (0, 0, 0, 1))  # of four log parameters: 1, 2 - 1, 3, 4 - 3
STARTS = ((0, 0, -1, -1), (0, 0, -1, 3))  # most leave, few leave: each alone ends on a side hill now and then


# Purchases at any time.
@dataclass(frozen=True, slots=True, kw_only=True)
class Alive:
    """Customers who buy at a rate of their own and, after a purchase, leave with a chance of their own.

    Rates a unit of time are gamma distributed (r, alpha), chances beta distributed (a, b). `modified`: the first
    purchase may be the last (MBG/NBD; Batislam, Denizel & Filiztekin 2007, Wagner & Hoppe 2008). Else (BG/NBD; Fader,
    Hardie & Lee 2005) whoever bought once is surely still a customer: no model for lost ones.

    A history: `frequency` x, the purchases after the first; `recency` t_x, the time from the first to the last, 0
    without a second; `age` T, the time from the first until today. Any unit of time, the same for all.
    """

    r: float
    alpha: float  # in units of time
    a: float
    b: float
    modified: bool = True
    log_likelihood: float | None = None  # of the fit; None for parameters from elsewhere
    covariance: Matrix | None = None  # of the four logarithms, in their order

    def p_alive(self, frequency: ArrayLike, recency: ArrayLike, *, age: ArrayLike) -> Floats:
        """Return the probability that a customer with this history is still one.

        >>> cdnow = Alive(r=0.243, alpha=4.414, a=0.793, b=2.426, modified=False)
        >>> round(float(cdnow.p_alive(2, 30.43, age=38.86)), 4)
        0.7266
        """
        from scipy.special import expit

        return np.asarray(expit(-self._odds_gone(*_histories(frequency, recency, age))))

    def _chances(self, x: Floats) -> Floats:
        """Return how often a customer could have left: after each purchase that counts."""
        return x + self.modified

    def _odds_gone(self, x: Floats, last: Floats, age: Floats) -> Floats:
        """Return the log odds of having left: a / (b + k - 1) * ((alpha + T) / (alpha + t_x)) ** (r + x)."""
        return self._odds_at_last(x) + (self.r + x) * np.log((self.alpha + age) / (self.alpha + last))

    def _odds_at_last(self, x: Floats) -> Floats:
        """Return the log odds of having left right after the last of k chances; without one nobody leaves."""
        k = self._chances(x)
        return np.where(k > 0, math.log(self.a) - np.log(self.b + np.maximum(k, 1) - 1), -np.inf)


def fit_alive(
    frequency: ArrayLike, recency: ArrayLike, *, age: ArrayLike, customers: ArrayLike = 1, modified: bool = True
) -> Alive:
    """Return the model of highest likelihood; `customers` share each history.

    Two purchases in one unit of time are one: count the days, weeks or months with a purchase after the first.
    """
    table = _counted(_histories(frequency, recency, age, customers=customers))
    if not (table[0].any() and table[2].any()):
        raise WinbackError("Nobody bought twice, so nothing tells a silence from a loss. Give a longer history, or let "
                           "the rule for one-time buyers decide.")  # fmt: skip
    # Time is measured in mean intervals: what the unit is changes nothing.
    interval = _sum(table[3], table[2]) / _sum(table[3], table[0])
    score_of = partial(_alive_score, modified=modified)
    fit = _highest(score_of, table, origin=np.array([0, math.log(interval), 0, 0]))
    r, alpha, a, b = map(float, np.exp(fit.logs))
    return Alive(
        r=r, alpha=alpha, a=a, b=b, modified=modified,
        log_likelihood=fit.log_likelihood, covariance=fit.covariance,
    )  # fmt: skip


def _alive_score(x: Floats, last: Floats, age: Floats, counts: Floats, *, modified: bool) -> Score:
    """Return the score of the BG/NBD: what depends on one of x, t_x and T is computed once a value, not a history."""
    from scipy.special import betaln, digamma, gammaln

    (x, at_x), (last, at_last), (age, at_age) = (np.unique(values, return_inverse=True) for values in (x, last, age))
    k, bought = x + modified, x[at_x]
    n, of_x, of_age = counts.sum(), _totals(at_x, counts), _totals(at_age, counts)
    bought_of_age = _totals(at_age, counts * bought)

    def score(logs: Floats) -> tuple[float, Floats]:
        r, alpha, a, b = np.exp(logs)
        until, since, others = alpha + age, alpha + last, b + np.maximum(k, 1) - 1
        stretch = np.log(until)[at_age] - np.log(since)[at_last]
        odds = np.where(k > 0, logs[2] - np.log(others), -np.inf)[at_x] + (r + bought) * stretch
        small = np.exp(-np.abs(odds))
        gone = counts * np.where(odds > 0, 1, small) / (1 + small)
        value = (
            _sum(of_x, gammaln(r + x) - gammaln(r) + r * logs[1] + betaln(a, b + k) - betaln(a, b))
            - _sum(r * of_age + bought_of_age, np.log(until))
            + _sum(counts, np.maximum(odds, 0) + np.log1p(small))
        )
        power, gone_of_x = gone * (r + bought), _totals(at_x, gone)
        alive_of_age = r * of_age + bought_of_age - _totals(at_age, power)
        both = digamma(a + b) - digamma(a + b + k)
        slopes = (
            _sum(of_x, digamma(r + x) - digamma(r) + logs[1]) - _sum(of_age, np.log(until)) + _sum(gone, stretch),
            n * r / alpha - _sum(alive_of_age, 1 / until) - _sum(_totals(at_last, power), 1 / since),
            _sum(of_x, both) + gone.sum() / a,
            _sum(of_x, both + digamma(b + k) - digamma(b)) - _sum(gone_of_x, 1 / others),
        )
        return value, np.array(slopes) * (r, alpha, a, b)

    return score


# The search for the highest likelihood, the same for all.
@dataclass(frozen=True, slots=True, kw_only=True)
class _Fit:
    logs: Floats  # of the parameters
    log_likelihood: float
    covariance: Matrix  # of the logs


def _highest(
    score_of: Callable[..., Score],
    table: Floats,
    *,
    origin: Floats,
    pairs: Sequence[Sequence[float]] = PAIRS,
    starts: Sequence[Sequence[float]] = STARTS,
) -> _Fit:
    """Return the log parameters of highest likelihood. `table`: a row for x, ..., customers each.

    From every start on some of the histories, then from the best end on all of them. Log parameters are
    origin + steps @ pairs: a step goes along what the data know well, such as the ratio of two parameters.
    """
    if table.shape[1] < len(origin):
        raise WinbackError(f"There are {table.shape[1]} different histories, but {len(origin)} parameters need "
                           "at least as many. Give more customers.")  # fmt: skip
    ways = np.array(pairs, float)
    some, customers = table[:, :: -(-table.shape[1] // FEW)], table[-1].sum()
    rehearsal, down = (_downhill(score_of(*rows), origin, ways, rows[-1].sum()) for rows in (some, table))
    ends = [_search(rehearsal, np.array(start, float)) for start in starts]
    steps = _search(down, min(ends, key=lambda end: down(end)[0]))
    value, slope = down(steps)
    return _Fit(
        logs=origin + steps @ ways,
        log_likelihood=-float(value * customers),
        covariance=_covariance(down, steps, slope * customers, ways=ways, customers=customers),
    )


def _downhill(score: Score, origin: Floats, ways: Floats, customers: float) -> Score:
    """Return what a search takes: the negative log likelihood a customer, and its slope, by steps from the origin."""

    def down(steps: Floats) -> tuple[float, Floats]:
        value, slope = score(origin + steps @ ways)
        return -value / customers, -(ways @ slope) / customers

    return down


def _search(down: Score, start: Floats) -> Floats:
    """Return where the way down ends: Newton's steps, and away from a saddle, each coordinate at most WIDE.

    Not scipy's: with four parameters its linear algebra costs little, but where BLAS has threads they wait for each
    other longer than all the rest takes.
    """
    steps, (value, slope) = start, down(start)
    for _ in range(MOST_STEPS):
        free = (np.abs(steps) < EDGE) | (steps * slope > 0)
        values, vectors = np.linalg.eigh(_curvature(down, steps, slope)[np.ix_(free, free)])
        move = np.zeros(len(steps))
        move[free] = -vectors @ ((vectors.T @ slope[free]) / np.maximum(np.abs(values), FLAT))
        move *= min(1, LONGEST / max(LONGEST, np.abs(move).max()))
        last = -slope @ move <= CLOSE * abs(value)
        for _ in range(MOST_HALVES):
            tried = np.clip(steps + move, -WIDE, WIDE)
            found, there = down(tried)
            if found <= value + CLOSE * abs(value):
                break
            move /= 2
        else:
            break
        steps, value, slope = tried, found, there
        if last:
            break
    return steps


def _curvature(down: Score, steps: Floats, slope: Floats) -> Floats:
    """Return the second derivatives, by differences of the slope."""
    found = np.array([down(steps + nudge)[1] - slope for nudge in NUDGE * np.eye(len(steps))]) / NUDGE
    return np.asarray((found + found.T) / 2)


def _covariance(down: Score, steps: Floats, slope: Floats, *, ways: Floats, customers: float) -> Matrix:
    """Return the inverse of the observed information on log parameters; an error where the search has not arrived.

    What the data do not tell is known to WIDE, and a parameter that went as far as it may is taken for known.
    """
    inside = np.abs(steps) < EDGE
    information = customers * _curvature(down, steps, slope / customers)[np.ix_(inside, inside)]
    values, vectors = np.linalg.eigh(information)
    spread = 1 / np.maximum(values, WIDE**-2)
    to_gain = np.sum((vectors.T @ slope[inside]) ** 2 * spread) / 2
    if to_gain > NEAR and np.any(np.abs(slope[inside]) > ARRIVED * customers):
        raise WinbackError(f"The search for the highest likelihood did not arrive within {MOST_STEPS} steps. Give more "
                           "customers or longer histories.")  # fmt: skip
    found = ways[inside].T @ (vectors * spread) @ vectors.T @ ways[inside]
    return tuple(tuple(map(float, row)) for row in found)


def _sum(weights: Floats, values: Floats) -> float:
    # Not BLAS: the same bits whatever the number of threads, and none of them spins.
    return float((weights * values).sum())


def _totals(place: NDArray[np.intp], weights: Floats) -> Floats:
    return np.bincount(place, weights).astype(float)


# What a history may be.
def _columns(whole: Sequence[str], **given: ArrayLike) -> dict[str, Floats]:
    """Return numbers as floats of one shape: none missing or negative, those named in `whole` whole."""
    numbers = {}
    for name, values in given.items():
        try:
            numbers[name] = np.asarray(values, float)
        except (TypeError, ValueError) as error:
            raise WinbackError(f"{name} must be numbers, not {short(repr(values), 40)}.") from error
    try:
        columns = dict(zip(numbers, np.broadcast_arrays(*numbers.values()), strict=True))
    except ValueError as error:
        shapes = ", ".join(f"{name} {values.shape}" for name, values in numbers.items())
        raise WinbackError(f"These arrays do not fit together: {shapes}. Give one place a history.") from error
    for name, values in columns.items():
        _refuse(~np.isfinite(values), f"{name} is missing or infinite", "Leave these out.", **columns)
        _refuse(values < 0, f"{name} is negative", "Give 0 or more.", **columns)
        if name in whole:
            _refuse(values % 1 != 0, f"{name} is no whole number", "It counts: give 0, 1, 2, ...", **columns)
    return columns


def _histories(frequency: ArrayLike, recency: ArrayLike, age: ArrayLike, **more: ArrayLike) -> list[Floats]:
    """Return possible histories as floats of one shape."""
    columns = _columns(("frequency",), frequency=frequency, recency=recency, age=age, **more)
    x, last, today, *_ = columns.values()
    _refuse(last > today, "the last purchase (recency) comes after today (age)",
            "Measure both from the first purchase, and leave out what comes after today.", **columns)  # fmt: skip
    _refuse((x == 0) & (last > 0), "a repeat purchase has a time (recency), but there was none (frequency)",
            "Give recency 0 where frequency is 0, and do not count the first purchase.", **columns)  # fmt: skip
    return list(columns.values())


def _refuse(bad: NDArray[np.bool_], what: str, cure: str, **columns: Floats) -> None:
    """Raise an error where a history is bad: how many are, the first of them, and the cure."""
    if bad.any():
        place = np.unravel_index(np.argmax(bad), bad.shape)
        example = ", ".join(f"{name} {values[place]:g}" for name, values in columns.items())
        raise WinbackError(f"{bad.sum():,} of {bad.size:,} histories: {what}. The first has {example}. {cure}")


def _counted(histories: Sequence[Floats]) -> Floats:
    """Return a table of the different histories: a row for each of their numbers, the last one for customers.

    In an order of its own, so neither the order of what was given nor how it was summed before changes a bit.
    """
    kept = histories[-1] > 0
    if not kept.any():
        raise WinbackError("There are no customers to learn from. Give at least one history.")
    *numbers, customers = (values[kept] for values in histories)
    first, place = np.zeros(1, int), np.zeros(len(customers), int)
    for values in numbers:
        known, code = np.unique(values, return_inverse=True)
        _, first, place = np.unique(place * len(known) + code, return_index=True, return_inverse=True)
    return np.stack([*(values[first] for values in numbers), _totals(place, customers)])
