"""How many customers a test needs, how sure it is, what it can tell, and the best shares of its arms.

Formulas of questions (room `question`), whatever decides; the room `trials` checks them by drawing experiments.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import numpy as np

from experiments.common.errors import WinbackError, did_you_mean
from experiments.stats.intervals import normal_quantile, simultaneous_quantile, t_quantile
from experiments.stats.shares import FEWEST, Contrast, Question, ask, fractions, share_group, sizes_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


NO_EFFECT = 1e-9  # standard deviations of a customer; to tell less takes 10^19 of them

# How sure the test must be.
Critical = Callable[["Floats", "Floats", float, int], "Floats"]


def _alone(_covariance: Floats, df: Floats, level: float, _family: int) -> Floats:
    return np.array([t_quantile(level, df=each) for each in df])


def _bonferroni(covariance: Floats, df: Floats, level: float, family: int) -> Floats:
    return _alone(covariance, df, 1 - (1 - level) / family, family)


def _simultaneous(covariance: Floats, df: Floats, level: float, _family: int) -> Floats:
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

    `level`: 1 minus the false alarms allowed, two-sided unless `one_sided`. `correction` for several differences:
    none, bonferroni, holm (its first step, the surest) or simultaneous (max |Z| with the differences' correlation,
    as the readout). `family`: how many differences are tested, where more than the question names.
    """

    level: float = 0.95
    correction: str = "simultaneous"
    family: int | None = None
    one_sided: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            raise WinbackError(f"level is {self.level}. It is a share between 0 and 1, such as 0.95.")
        if self.correction not in CORRECTIONS:
            raise WinbackError(f"There is no correction {self.correction!r}. "
                               f"{did_you_mean(self.correction, CORRECTIONS)}")  # fmt: skip
        if self.correction == "simultaneous" and (self.one_sided or self.family is not None):
            raise WinbackError("The simultaneous correction is two-sided and knows its family from the question. "
                               "Use correction='holm', or name every difference.")  # fmt: skip

    def tests(self, question: Question) -> int:
        """Return how many differences are tested; refuse a family smaller than the question."""
        named = len(question.contrasts)
        if self.family is not None and self.family < named:
            raise WinbackError(f"The family is {self.family}, but the question has {named} differences. Leave family "
                               "out, or count them all.")  # fmt: skip
        return self.family or named


PLAIN = Rule()
ALONE = Rule(correction="none")


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
    df = _degrees(question, sizes)
    return _Errors(
        true=np.sqrt(np.diag(covariance)),
        believed=_pooled_errors(question, sizes) if question.pooled else np.sqrt(np.diag(taken)),
        critical=critical_of(question, taken, df, rule=rule),
        df=df,
    )


def critical_values(question: Question, sizes: Floats, *, rule: Rule) -> Floats:
    """Return how many standard errors each difference must exceed, with `sizes` customers an arm."""
    return _errors(question, sizes, rule=rule).critical


def critical_of(question: Question, covariance: Floats, df: Floats, *, rule: Rule) -> Floats:
    """Return how many standard errors each difference must exceed, by their covariance and degrees of freedom."""
    level = 2 * rule.level - 1 if rule.one_sided else rule.level
    return CORRECTIONS[rule.correction](covariance, df, level, rule.tests(question))


def _degrees(question: Question, sizes: Floats) -> Floats:
    """Return the degrees of freedom of each difference (Welch 1947 where the question asks for them)."""
    if question.df is not None:
        return np.full(len(question.contrasts), float(question.df))
    parts = np.einsum("aii->ai", question.noise) / sizes[:, None]
    below = (parts**2 / np.maximum(sizes - 1, 1e-9)[:, None]).sum(axis=0)
    endless = np.full(len(below), math.inf)
    return np.asarray(np.divide(parts.sum(axis=0) ** 2, below, out=endless, where=below > 0))


def _pooled_errors(question: Question, sizes: Floats) -> Floats:
    """Return the standard errors of differences of shares as the pooled z test has them."""
    place = {name: i for i, name in enumerate(question.arms)}
    rates = np.array([group.mean for group in question.groups])
    watched = sizes * np.array([group.followed for group in question.groups])
    a, b = (np.array([place[getattr(c, end)] for c in question.contrasts]) for end in ("first", "second"))
    pool = (watched[a] * rates[a] + watched[b] * rates[b]) / (watched[a] + watched[b])
    return np.asarray(np.sqrt(pool * (1 - pool) * (1 / watched[a] + 1 / watched[b])))


def _chances(effects: Floats, errors: _Errors, *, one_sided: bool) -> Floats:
    """Return P(|estimate| > critical x believed error) for each difference, by the noncentral t.

    The effect is taken in its own direction; `one_sided` counts that direction only.
    """
    from scipy.special import nctdtr, ndtr

    some = errors.true > 0
    true = np.where(some, errors.true, 1.0)
    shift, bound = np.abs(effects) / true, errors.critical * errors.believed / true
    endless = ~np.isfinite(errors.df)
    df = np.where(endless, 1.0, errors.df)
    near = np.where(endless, ndtr(shift - bound), 1 - nctdtr(df, shift, bound))
    far = np.where(endless, ndtr(-shift - bound), np.nan_to_num(nctdtr(df, shift, -bound)))  # nan: below 1e-80
    sure = np.abs(effects) > errors.critical * errors.believed
    return np.where(some, near if one_sided else near + far, sure.astype(float))


# Power, size, what can be told.
@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """The chance that each difference is told, with so many customers."""

    contrasts: tuple[Contrast, ...]
    each: tuple[float, ...]
    critical: tuple[float, ...]  # standard errors that a difference must exceed

    @property
    def smallest(self) -> float:
        """The chance of the difference that is hardest to tell."""
        return min(self.each)


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


def power_of(
    question: Question, customers: int | Mapping[str, int], *, shares: Mapping[str, float] | None = None,
    rule: Rule = PLAIN,
) -> Power:  # fmt: skip
    """Return the chance to tell each difference with so many customers, in all by `shares` or for each arm."""
    errors = _errors(question, sizes_of(question, customers, shares=shares), rule=rule)
    each = _chances(question.effects, errors, one_sided=rule.one_sided)
    return Power(
        contrasts=question.contrasts, each=tuple(map(float, each)), critical=tuple(map(float, errors.critical))
    )


def size_for(
    question: Question, *, power: float = 0.8, shares: Mapping[str, float] | None = None, rule: Rule = PLAIN
) -> Sizes:
    """Return the customers that tell every difference, each with the chance `power` or more.

    >>> shares = [share_group("discount", 0.45), share_group("upgrade", 0.41)]
    >>> size_for(ask(shares)).customers
    {'discount': 2404, 'upgrade': 2404}

    Holm over four, such as four offers against a holdout: the first of four must pass at .05 / 4, two-sided.

    >>> size_for(ask(shares), rule=Rule(correction="holm", family=4)).smallest
    3416
    """
    _refuse_equal(question)
    totals = totals_for(question, power=power, shares=shares, rule=rule)
    return Sizes(customers=divided(max(totals), question, shares=shares), contrasts=question.contrasts, totals=totals)


def totals_for(
    question: Question, *, power: float = 0.8, shares: Mapping[str, float] | None = None, rule: Rule = PLAIN
) -> tuple[float, ...]:
    """Return the customers of all arms that each difference takes by itself; infinite where arms are taken as equal."""
    parts = fractions(question.arms, shares)
    _refuse_no_power(power, rule)
    one = _errors(replace(question, df=math.inf) if question.df is None else question, parts, rule=rule)
    return tuple(math.inf if equal else _total(question, parts, place, power=power, rule=rule, one=one)
                 for place, equal in enumerate(_equal(question)))  # fmt: skip


def _equal(question: Question) -> NDArray[np.bool_]:
    """Return of which differences the arms are taken to be equal."""
    return np.asarray(np.abs(question.effects) <= NO_EFFECT * np.sqrt(np.einsum("aii->i", question.noise)))


def _refuse_equal(question: Question) -> None:
    if (equal := _equal(question)).any():
        contrast = question.contrasts[int(equal.argmax())]
        raise WinbackError(f"{contrast.first!r} and {contrast.second!r} are taken to be equal: no number of customers "
                           "tells them apart. State the smallest difference that matters.")  # fmt: skip


def divided(total: float, question: Question, *, shares: Mapping[str, float] | None = None) -> dict[str, int]:
    """Return the customers of each arm in a test of so many; a part of one counts as one."""
    parts = fractions(question.arms, shares)
    return {name: max(FEWEST, math.ceil(total * part - 1e-6)) for name, part in zip(question.arms, parts, strict=True)}


def _refuse_no_power(power: float, rule: Rule) -> None:
    if not 1 - rule.level < power < 1:
        raise WinbackError(f"power is {power}. It is a chance between the false alarms allowed ({1 - rule.level:g}) "
                           "and 1, such as 0.8.")  # fmt: skip


def _total(question: Question, parts: Floats, place: int, *, power: float, rule: Rule, one: _Errors) -> float:
    """Return the customers of all arms for one difference: the root of its power, near the normal's closed form.

    `one`: the errors with one customer in all.
    """
    effect, fewest = abs(question.contrasts[place].effect), FEWEST / float(parts.min())
    guess = (
        (one.critical[place] * one.believed[place] + normal_quantile(2 * power - 1) * one.true[place]) / effect
    ) ** 2

    def short_of(total: float) -> float:
        root = math.sqrt(total)  # the correlation of the differences, so the critical value, is that of the shares
        errors = replace(one, true=one.true / root, believed=one.believed / root)
        if question.df is None:
            errors = _errors(question, parts * total, rule=rule)
        return float(_chances(question.effects, errors, one_sided=rule.one_sided)[place]) - power

    least = fewest if question.df is None else 1e-3 * guess
    return least if guess == 0 or short_of(least) >= 0 else _root(short_of, least, 2 * max(guess, least))


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
    """Return the size of each difference that so many customers tell, with the noise the question has.

    The noise of a share depends on the share: see detectable_share.
    """
    _refuse_no_power(power, rule)
    errors = _errors(replace(question, pooled=False), sizes_of(question, customers, shares=shares), rule=rule)

    def short_of(effect: float, *, place: int) -> float:
        return float(_chances(np.full(len(errors.df), effect), errors, one_sided=rule.one_sided)[place]) - power

    guess = 2 * (errors.critical * errors.believed + 4 * errors.true)
    return tuple(_root(partial(short_of, place=place), 0.0, top) if top > 0 else 0.0 for place, top in enumerate(guess))


def detectable_share(
    customers: int, *, base: float, other: int | None = None, power: float = 0.8, rule: Rule = ALONE
) -> float:
    """Return the smallest shortfall from the share `base` that `customers` an arm tell; at most `base`.

    `other`: customers of the arm that is behind, where it has not as many.
    """
    from scipy.optimize import brentq

    _refuse_no_power(power, rule)
    first = share_group("first", base)

    def short_of(gap: float) -> float:
        question = ask([first, share_group("second", base - gap)])
        return power_of(question, {"first": customers, "second": other or customers}, rule=rule).smallest - power

    if base == 0 or short_of(base) < 0:
        return base
    return float(brentq(short_of, 0, base, xtol=1e-12))


# Shares.
def optimal_shares(question: Question, *, costs: Mapping[str, float] | None = None) -> dict[str, float]:
    """Return the shares with which the fewest customers tell every difference, or the least money by `costs`.

    `costs`: of a customer of each arm. Minimises the largest variance / effect^2, all critical values taken as equal;
    so the smallest power is the greatest. With a weight for each difference the share of an arm is
    sqrt(sum of weight x noise / effect^2 / cost). A weight is multiplied by its variance until those that count are
    equal (Silvey, Titterington & Torsney 1978). All against a holdout, equal variances: it gets sqrt(offers) shares.

    >>> from experiments.stats.shares import Group
    >>> arms = [Group(name=name, mean=0, variance=1) for name in ("holdout", "a", "b", "c", "d")]
    >>> optimal_shares(ask(arms, "holdout", effect=0.1))
    {'holdout': 0.333, 'a': 0.167, 'b': 0.167, 'c': 0.167, 'd': 0.167}
    """
    price = np.array([_price(costs, name) for name in question.arms])
    _refuse_equal(question)
    load = np.einsum("aii->ai", question.noise) / question.effects**2
    if (idle := load.sum(axis=1) == 0).any():
        raise WinbackError(f"Arm {question.arms[int(idle.argmax())]!r} adds no noise to any difference, so its best "
                           "share is 0. Leave it out, or compare it with another.")  # fmt: skip
    weights = np.full(load.shape[1], 1 / load.shape[1])
    shares = np.sqrt(load @ weights / price)
    for _ in range(20_000):
        shares = np.sqrt(load @ weights / price)
        shares /= shares @ price
        variances = (load / shares[:, None]).sum(axis=0)
        if variances.max() <= (1 + 1e-10) * float(weights @ variances):  # no better shares: the duality gap
            break
        weights *= variances / float(weights @ variances)
    return dict(zip(question.arms, map(float, shares / shares.sum()), strict=True))


def _price(costs: Mapping[str, float] | None, name: str) -> float:
    price = 1.0 if costs is None else costs.get(name, 0.0)
    if not price > 0:
        raise WinbackError(f"A customer of arm {name!r} costs {price:g}: then it has no best share. Give a small cost, "
                           "such as that of losing the sale.")  # fmt: skip
    return price
