"""What a planned test must tell: differences between arms, and the noise one customer leaves in them.

With n customers an arm the estimates of the differences have the covariance: sum over arms of noise / n. Every
formula of the room `power` follows from it. The noise comes from a textbook (here), or from a past test or the
simulator (room `evidence`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from experiments.common.errors import WinbackError, did_you_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Pair = tuple[str, str]
FEWEST = 2  # customers of an arm below which there is no variance
ROUNDED = 0.011  # fractions such as .33, .33, .33 need not sum to 1 to the last digit


# What one customer brings.
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

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mean) and math.isfinite(self.variance) and self.variance >= 0):
            raise WinbackError(f"Arm {self.name!r}: mean {self.mean}, variance {self.variance}. Give finite numbers, "
                               "the variance 0 or more.")  # fmt: skip
        refuse_no_share("followed", self.followed)

    @property
    def noise(self) -> float:
        """Variance that one assigned customer leaves in the mean."""
        return self.variance / self.followed


def share_group(name: str, rate: float, *, followed: float = 1.0) -> Group:
    """Return the outcome of customers of whom a share says yes, or returns.

    >>> share_group("discount", 0.45).variance
    0.2475
    """
    if not 0 <= rate <= 1:
        raise WinbackError(f"Arm {name!r} has a rate of {rate}. A rate is a share from 0 to 1: 45 % is 0.45.")
    return Group(name=name, mean=rate, variance=rate * (1 - rate), binary=True, followed=followed)


def months_group(name: str, active: Sequence[float], *, followed: Sequence[float] | None = None) -> Group:
    """Return the retained months of a customer from the share active in each month.

    Who is active in a month was so in every month before: Cov(A_t, A_s) = min(S_t, S_s) - S_t S_s, an upper bound
    where some return later. `followed`: share watched to the end of each month; a month counts for those watched
    to its end, so a covariance is divided by the share watched to the earlier of its two months. Unit: months.

    >>> round(months_group("discount", [0.4, 0.2]).variance, 2)
    0.64
    """
    stays = np.asarray(active, float)
    if not len(stays) or not ((stays >= 0) & (stays <= 1)).all():
        raise WinbackError(f"Arm {name!r}: the shares active by month are {active!r}. Give one a month, from 0 to 1.")
    covariance = np.minimum.outer(stays, stays) - np.outer(stays, stays)
    noise = (covariance * inflation(followed, np.arange(len(stays)))).sum()
    return Group(name=name, mean=float(stays.sum()), variance=float(noise))


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


def even_follow_up(shortest: int, longest: int) -> tuple[float, ...]:
    """Return the share followed to the end of each month where customers are assigned evenly over time.

    Everybody is watched `shortest` months, the first assigned `longest`.

    >>> even_follow_up(1, 3)
    (1.0, 0.667, 0.333)
    """
    return tuple(min(1.0, (longest - month) / (longest - shortest + 1)) for month in range(longest))


def diluted(group: Group, nothing: Group, *, reached: float) -> Group:
    """Return the outcome of all assigned where only the share `reached` gets the offer (intention to treat).

    The others behave like those who get nothing. They are not dropped: the effect shrinks to reached x effect.
    """
    refuse_no_share("reached", reached)
    gap, lost = group.mean - nothing.mean, 1 - reached
    mean = nothing.mean + reached * gap
    variance = reached * group.variance + lost * nothing.variance + reached * lost * gap**2
    both = group.binary and nothing.binary
    return replace(group, mean=mean, variance=mean * (1 - mean) if both else variance)


def refuse_no_share(name: str, value: float) -> None:
    """Refuse what is no share of customers."""
    if not 0 < value <= 1:
        raise WinbackError(f"{name} is {value}. It is a share, above 0 and at most 1, such as 0.8.")


# What is asked.
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
    `df`: degrees of freedom of the test's variance; None: Welch's, from the size of the arms.
    """

    arms: tuple[str, ...]
    contrasts: tuple[Contrast, ...]
    noise: Floats
    believed: Floats | None = None
    groups: tuple[Group, ...] = ()  # where it comes from a textbook
    pooled: bool = False  # shares: the test pools both arms, as if they were equal
    df: float | None = math.inf

    @property
    def effects(self) -> Floats:
        """The differences hoped for."""
        return np.array([contrast.effect for contrast in self.contrasts])


def ask(
    groups: Sequence[Group],
    pairs: Sequence[Pair] | str | None = None,
    *,
    effect: float | None = None,
    pooled: bool = True,
    welch: bool = False,
) -> Question:
    """Return the question whether arms differ.

    `pairs`: which with which; an arm's name: all others against it; None: all pairs. `effect`: the difference that
    matters, the same for all pairs; by default that of the means. Shares are tested with their `pooled` variance
    (z of two proportions), means with a known one, or by Welch's t.
    """
    names = tuple(group.name for group in groups)
    if len(names) < 2 or len(set(names)) < len(names):  # noqa: PLR2004  a difference has two ends
        raise WinbackError(f"The arms are {list(names)}. A comparison needs two or more with different names.")
    chosen = paired(names, pairs)
    means = {group.name: group.mean for group in groups}
    contrasts = tuple(Contrast(first=a, second=b, effect=means[a] - means[b] if effect is None else effect)
                      for a, b in chosen)  # fmt: skip
    sign = np.array([[(name == a) - (name == b) for a, b in chosen] for name in names], float)
    variances = np.array([group.noise for group in groups])
    return Question(
        arms=names,
        contrasts=contrasts,
        noise=np.einsum("a,ai,aj->aij", variances, sign, sign),
        groups=tuple(groups),
        pooled=pooled and not welch and all(group.binary for group in groups),
        df=None if welch else math.inf,
    )


def paired(names: Sequence[str], pairs: Sequence[Pair] | str | None) -> tuple[Pair, ...]:
    """Return the pairs of arms to compare, checked; see `ask`."""
    if isinstance(pairs, str):
        refuse_unknown(pairs, names)
        return tuple((name, pairs) for name in names if name != pairs)
    found = tuple(combinations(names, 2)) if pairs is None else tuple(pairs)
    for pair in found:
        for name in pair:
            refuse_unknown(name, names)
    if not found or any(first == second for first, second in found):
        raise WinbackError(f"The pairs to compare are {list(found)}. Name two different arms each.")
    return found


def refuse_unknown(name: str, names: Sequence[str]) -> None:
    """Refuse an arm that is not there."""
    if name not in names:
        raise WinbackError(f"There is no arm {name!r}. {did_you_mean(name, names)}")


def fractions(arms: Sequence[str], shares: Mapping[str, float] | None) -> Floats:
    """Return the share of each arm, sum 1. Given in any unit, such as 2 : 1 : 1; None: equal."""
    if shares is None:
        return np.full(len(arms), 1 / len(arms))
    for name in shares:
        refuse_unknown(name, arms)
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
        for name in question.arms:
            refuse_unknown(name, list(customers))
        sizes = np.array([float(customers[name]) for name in question.arms])
    else:
        sizes = fractions(question.arms, shares) * customers
    if (few := sizes < FEWEST).any():
        name, size = question.arms[int(few.argmax())], sizes[few.argmax()]
        raise WinbackError(f"Arm {name!r} would have {size:g} customers: too few for any answer. Take {FEWEST} an arm "
                           "or more, or drop arms.")  # fmt: skip
    return sizes
