"""What a test must tell, how sure it is of it, how many customers that takes, and the best shares of its arms.

A question is a set of differences between arms, and the noise that one customer leaves in them: with n customers an
arm the estimates of the differences have the covariance sum over arms of noise / n. Every formula follows from it.
The noise of a share comes from a textbook (`ask`), that of money from a past test or the simulator (`design.evidence`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from experiments.common.errors import WinbackError, did_you_mean
from experiments.stats.intervals import normal_quantile, simultaneous_quantile, t_quantile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Pair = tuple[str, str]
FEWEST = 2  # customers of an arm below which there is no variance
ROUNDED = 0.011  # fractions such as .33, .33, .33 need not sum to 1 to the last digit
NO_EFFECT = 1e-9  # standard deviations of a customer; to tell less takes 10^19 of them


# What is asked.
@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The outcome of one customer of an arm: its mean and variance.

    `followed`: share of the assigned who are watched long enough to count. The others add nothing, so the
    variance is divided by it.
    """

    name: str
    mean: float
    variance: float
    binary: bool = False
    followed: float = 1.0

    @property
    def noise(self) -> float:
        """Variance that one assigned customer leaves in the mean."""
        return self.variance / self.followed


def share_group(name: str, rate: float, *, followed: float = 1.0) -> Group:
    """Return the outcome of customers of whom a share, 0 to 1, says yes, or returns.

    >>> share_group("discount", 0.45).variance
    0.2475
    """
    return Group(name=name, mean=rate, variance=rate * (1 - rate), binary=True, followed=followed)


def even_follow_up(shortest: int, longest: int) -> tuple[float, ...]:
    """Return the share followed to the end of each month where customers are assigned evenly over time.

    Everybody is watched `shortest` months, the first assigned `longest`.

    >>> even_follow_up(1, 3)
    (1.0, 0.667, 0.333)
    """
    return tuple(min(1.0, (longest - month) / (longest - shortest + 1)) for month in range(longest))


def inflation(followed: Sequence[float] | None, months: NDArray[np.int64]) -> Floats:
    """Return by how much staggered follow-up inflates the covariance of two months' means: 1 / share followed.

    Of two months the share watched to the earlier one counts: pi_max / (pi_t pi_s) = 1 / pi_min. `months`: of each
    row and column. Everybody watched to the end (None): 1.
    """
    if followed is None:
        return np.ones((len(months), len(months)))
    shares = np.asarray(followed, float)
    if len(shares) <= months.max():
        raise WinbackError(f"The follow-up is known for {len(shares)} months, the outcome takes {months.max() + 1}. "
                           "Give the share followed to the end of each.")  # fmt: skip
    shares = shares[: months.max() + 1]
    if not ((shares > 0) & (shares <= 1)).all() or (np.diff(shares) > 0).any():
        raise WinbackError(f"The shares followed by month are {shares.round(3).tolist()}: each must be above 0 and at "
                           "most 1, none above the one before. Read a shorter horizon, or wait longer.")  # fmt: skip
    return np.asarray(1 / shares[np.minimum.outer(months, months)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """A difference that the test must tell: first minus second."""

    first: str
    second: str
    effect: float


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a test must tell.

    `noise`: (arms, contrasts, contrasts), covariance of the differences that one customer of an arm leaves.
    `believed`: the same as the test will estimate it, where that is not the truth (None: it is).
    `df`: degrees of freedom of the test's variance.
    """

    arms: tuple[str, ...]
    contrasts: tuple[Contrast, ...]
    noise: Floats
    believed: Floats | None = None
    groups: tuple[Group, ...] = ()  # where it comes from a textbook
    pooled: bool = False  # shares: the test pools both arms, as if they were equal
    df: float = math.inf

    @property
    def effects(self) -> Floats:
        """The differences hoped for."""
        return np.array([contrast.effect for contrast in self.contrasts])


def ask(groups: Sequence[Group], pairs: Sequence[Pair] | str | None = None, *, pooled: bool = True) -> Question:
    """Return the question whether arms differ, as their means do.

    `pairs`: which with which; an arm's name: all others against it; None: all pairs. Shares are tested with their
    `pooled` variance (z of two proportions), means with a known one.
    """
    names, means = tuple(group.name for group in groups), {group.name: group.mean for group in groups}
    chosen = paired(names, pairs)
    sign = np.array([[(name == a) - (name == b) for a, b in chosen] for name in names], float)
    return Question(
        arms=names,
        contrasts=tuple(Contrast(first=a, second=b, effect=means[a] - means[b]) for a, b in chosen),
        noise=np.einsum("a,ai,aj->aij", np.array([group.noise for group in groups]), sign, sign),
        groups=tuple(groups),
        pooled=pooled and all(group.binary for group in groups),
    )


def paired(names: Sequence[str], pairs: Sequence[Pair] | str | None) -> tuple[Pair, ...]:
    """Return the pairs of arms to compare; see `ask`."""
    if isinstance(pairs, str):
        return tuple((name, pairs) for name in names if name != pairs)
    return tuple(combinations(names, 2)) if pairs is None else tuple(pairs)


# Customers of each arm.
def fractions(arms: Sequence[str], shares: Mapping[str, float] | None) -> Floats:
    """Return the share of each arm, sum 1. Given in any unit, such as 2 : 1 : 1; None: equal."""
    if shares is None:
        return np.full(len(arms), 1 / len(arms))
    for name in (name for name in shares if name not in arms):
        raise WinbackError(f"There is no arm {name!r}. {did_you_mean(name, arms)}")
    for name in arms:
        share = shares.get(name, 0.0)
        if not (math.isfinite(share) and share > 0):
            raise WinbackError(f"Arm {name!r} has a share of {share:g}: nobody would be assigned to it. Give it a "
                               "share above 0, or leave the arm out.")  # fmt: skip
    parts = np.array([shares[name] for name in arms])
    if (parts < 1).all() and abs(parts.sum() - 1) > ROUNDED:
        raise WinbackError(f"The shares sum to {parts.sum():g}. Fractions must sum to 1; or write whole parts, such as "
                           "2 : 1 : 1.")  # fmt: skip
    return np.asarray(parts / parts.sum())


def sizes_of(
    question: Question, customers: int | Mapping[str, int], *, shares: Mapping[str, float] | None = None
) -> Floats:
    """Return the customers of each arm, two or more in each."""
    if isinstance(customers, Mapping):
        sizes = np.array([float(customers[name]) for name in question.arms])
    else:
        sizes = fractions(question.arms, shares) * customers
    if (few := sizes < FEWEST).any():
        name, size = question.arms[int(few.argmax())], sizes[few.argmax()]
        raise WinbackError(f"Arm {name!r} would have {size:g} customers: too few for any answer. Take {FEWEST} an arm "
                           "or more, or drop arms.")  # fmt: skip
    return sizes


def divided(total: float, question: Question, *, shares: Mapping[str, float] | None = None) -> dict[str, int]:
    """Return the customers of each arm in a test of so many; a part of one counts as one."""
    parts = fractions(question.arms, shares)
    return {name: max(FEWEST, math.ceil(total * part - 1e-6)) for name, part in zip(question.arms, parts, strict=True)}


# How sure the test must be.
Critical = Callable[["Floats", "Floats", float], "Floats"]  # covariance, degrees of freedom, level


def _alone(_covariance: Floats, df: Floats, level: float) -> Floats:
    return np.array([t_quantile(level, df=each) for each in df])


def _bonferroni(covariance: Floats, df: Floats, level: float) -> Floats:
    return _alone(covariance, df, 1 - (1 - level) / len(df))


def _simultaneous(covariance: Floats, df: Floats, level: float) -> Floats:
    scale = np.sqrt(np.diag(covariance))
    both = np.outer(scale, scale)
    # Rounded, so that the draws behind the quantile do not hang on the unit of the metric; + 0: no negative zero.
    correlation = np.divide(covariance, both, out=np.zeros_like(both), where=both > 0).round(9) + 0.0
    return np.full(len(df), _quantile(correlation.tobytes(), len(df), df=float(df.min()), level=level))


@lru_cache(maxsize=64)
def _quantile(correlation: bytes, differences: int, *, df: float, level: float) -> float:
    """Return the critical value of a correlation: tests of all sizes with the same shares have the same."""
    square = np.frombuffer(correlation).reshape(differences, differences)
    return simultaneous_quantile(square, df=df, level=level)


CORRECTIONS: dict[str, Critical] = {
    "none": _alone,
    "bonferroni": _bonferroni,
    "holm": _bonferroni,  # its first step: whoever passes it is told apart whatever the others do
    "simultaneous": _simultaneous,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """When a difference counts as told.

    `level`: 1 minus the false alarms allowed, two-sided. `correction` for several differences: none, bonferroni,
    holm (its first step, the surest) or simultaneous (max |Z| with the differences' correlation, as the readout).
    """

    level: float = 0.95
    correction: str = "simultaneous"


PLAIN = Rule()


@dataclass(frozen=True, kw_only=True)
class _Errors:
    """A test of N customers: what its estimates vary by, what it believes they do, and what it compares with."""

    true: Floats
    believed: Floats
    critical: Floats
    df: Floats


def _errors(question: Question, sizes: Floats, *, rule: Rule) -> _Errors:
    """Return the standard errors of the differences with `sizes` customers an arm, and the critical values."""
    covariance = np.einsum("a,aij->ij", 1 / sizes, question.noise)
    taken = covariance if question.believed is None else np.einsum("a,aij->ij", 1 / sizes, question.believed)
    df = np.full(len(question.contrasts), float(question.df))
    return _Errors(
        true=np.sqrt(np.diag(covariance)),
        believed=_pooled_errors(question, sizes) if question.pooled else np.sqrt(np.diag(taken)),
        critical=CORRECTIONS[rule.correction](taken, df, rule.level),
        df=df,
    )


def _pooled_errors(question: Question, sizes: Floats) -> Floats:
    """Return the standard errors of differences of shares as the pooled z test has them."""
    place = {name: i for i, name in enumerate(question.arms)}
    rates = np.array([group.mean for group in question.groups])
    watched = sizes * np.array([group.followed for group in question.groups])
    a, b = (np.array([place[getattr(c, end)] for c in question.contrasts]) for end in ("first", "second"))
    pool = (watched[a] * rates[a] + watched[b] * rates[b]) / (watched[a] + watched[b])
    return np.asarray(np.sqrt(pool * (1 - pool) * (1 / watched[a] + 1 / watched[b])))


def _chances(effects: Floats, errors: _Errors) -> Floats:
    """Return P(|estimate| > critical x believed error) for each difference, by the noncentral t."""
    from scipy.special import nctdtr, ndtr

    some = errors.true > 0
    true = np.where(some, errors.true, 1.0)
    shift, bound = np.abs(effects) / true, errors.critical * errors.believed / true
    endless = ~np.isfinite(errors.df)
    df = np.where(endless, 1.0, errors.df)
    near = np.where(endless, ndtr(shift - bound), 1 - nctdtr(df, shift, bound))
    far = np.where(endless, ndtr(-shift - bound), np.nan_to_num(nctdtr(df, shift, -bound)))  # nan: below 1e-80
    sure = np.abs(effects) > errors.critical * errors.believed
    return np.where(some, near + far, sure.astype(float))


# Power, size, what can be told.
@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """The chance that each difference is told, with so many customers."""

    each: tuple[float, ...]
    critical: tuple[float, ...]  # standard errors that a difference must exceed

    @property
    def smallest(self) -> float:
        """The chance of the difference that is hardest to tell."""
        return min(self.each)


def power_of(
    question: Question, customers: int | Mapping[str, int], *, shares: Mapping[str, float] | None = None,
    rule: Rule = PLAIN,
) -> Power:  # fmt: skip
    """Return the chance to tell each difference with so many customers, in all by `shares` or for each arm."""
    errors = _errors(question, sizes_of(question, customers, shares=shares), rule=rule)
    each = _chances(question.effects, errors)
    return Power(each=tuple(map(float, each)), critical=tuple(map(float, errors.critical)))


def totals_for(
    question: Question, *, power: float = 0.8, shares: Mapping[str, float] | None = None, rule: Rule = PLAIN
) -> tuple[float, ...]:
    """Return the customers of all arms that each difference takes by itself; infinite where arms are taken as equal."""
    parts = fractions(question.arms, shares)
    _refuse_no_power(power, rule)
    one = _errors(question, parts, rule=rule)
    return tuple(math.inf if equal else _total(question, place, power=power, one=one)
                 for place, equal in enumerate(_equal(question)))  # fmt: skip


def _equal(question: Question) -> NDArray[np.bool_]:
    """Return of which differences the arms are taken to be equal."""
    return np.asarray(np.abs(question.effects) <= NO_EFFECT * np.sqrt(np.einsum("aii->i", question.noise)))


def _refuse_no_power(power: float, rule: Rule) -> None:
    if not 1 - rule.level < power < 1:
        raise WinbackError(f"power is {power}. It is a chance between the false alarms allowed ({1 - rule.level:g}) "
                           "and 1, such as 0.8.")  # fmt: skip


def _total(question: Question, place: int, *, power: float, one: _Errors) -> float:
    """Return the customers of all arms for one difference: the root of its power, near the normal's closed form.

    `one`: the errors with one customer in all.
    """
    effect = abs(question.contrasts[place].effect)
    guess = (
        (one.critical[place] * one.believed[place] + normal_quantile(2 * power - 1) * one.true[place]) / effect
    ) ** 2

    def short_of(total: float) -> float:
        root = math.sqrt(total)  # the correlation of the differences, so the critical value, is that of the shares
        errors = replace(one, true=one.true / root, believed=one.believed / root)
        return float(_chances(question.effects, errors)[place]) - power

    lower = 1e-3 * guess
    return lower if guess == 0 or short_of(lower) >= 0 else _root(short_of, lower, 2 * max(guess, lower))


def _root(short_of: Callable[[float], float], low: float, high: float) -> float:
    """Return where a rising function passes zero, above `low`; `high` is a guess of what lies beyond."""
    from scipy.optimize import brentq

    while short_of(high) < 0:
        high *= 2
    return float(brentq(short_of, low, high, xtol=1e-14 * high, rtol=1e-13))


def detectable(
    question: Question, customers: int | Mapping[str, int], *, power: float = 0.8,
    shares: Mapping[str, float] | None = None, rule: Rule = PLAIN,
) -> tuple[float, ...]:  # fmt: skip
    """Return the size of each difference that so many customers tell, with the noise the question has."""
    _refuse_no_power(power, rule)
    errors = _errors(replace(question, pooled=False), sizes_of(question, customers, shares=shares), rule=rule)

    def short_of(effect: float, *, place: int) -> float:
        return float(_chances(np.full(len(errors.df), effect), errors)[place]) - power

    guess = 2 * (errors.critical * errors.believed + 4 * errors.true)
    return tuple(_root(partial(short_of, place=place), 0.0, top) if top > 0 else 0.0 for place, top in enumerate(guess))


# Shares.
def optimal_shares(question: Question) -> dict[str, float]:
    """Return the shares with which the fewest customers tell every difference.

    Minimises the largest variance / effect^2, all critical values taken as equal; so the smallest power is the
    greatest. With a weight for each difference the share of an arm is sqrt(sum of weight x noise / effect^2). A weight
    is multiplied by its variance until those that count are equal (Silvey, Titterington & Torsney 1978). All against
    a holdout, equal variances: it gets sqrt(offers) shares.

    >>> arms = [Group(name=name, mean=name != "holdout", variance=1) for name in ("holdout", "a", "b", "c", "d")]
    >>> optimal_shares(ask(arms, "holdout"))
    {'holdout': 0.333, 'a': 0.167, 'b': 0.167, 'c': 0.167, 'd': 0.167}
    """
    load = np.einsum("aii->ai", question.noise) / question.effects**2
    weights = np.full(load.shape[1], 1 / load.shape[1])
    for _ in range(20_000):
        shares = np.sqrt(load @ weights)
        shares /= shares.sum()
        variances = (load / shares[:, None]).sum(axis=0)
        if variances.max() <= (1 + 1e-10) * float(weights @ variances):  # no better shares: the duality gap
            break
        weights *= variances / float(weights @ variances)
    return dict(zip(question.arms, map(float, shares / shares.sum()), strict=True))
