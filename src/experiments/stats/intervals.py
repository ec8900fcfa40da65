"""A number with its uncertainty, and the ways to get an interval.

Everything that is not a plain proportion has one mechanism: leave one bucket of customers out,
recompute, and take the grouped-jackknife covariance (Efron & Stein 1981; Wolter 2007, ch. 4).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from experiments.common.estimate import Estimate, missing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DRAWS = 100_000  # of the joint distribution, for simultaneous intervals and P(best): Monte Carlo error .0007 at .05


def normal_quantile(level: float) -> float:
    """Return the two-sided standard normal quantile of a confidence level.

    >>> round(normal_quantile(0.95), 4)
    1.96
    """
    from scipy.special import ndtri

    return float(ndtri(0.5 + level / 2))


def t_quantile(level: float, *, df: float) -> float:
    """Return the two-sided t quantile of a confidence level.

    >>> round(t_quantile(0.95, df=199), 3)
    1.972
    """
    from scipy.special import stdtrit

    return float(stdtrit(df, 0.5 + level / 2)) if math.isfinite(df) else normal_quantile(level)


def wilson(successes: int, n: int, *, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval of a proportion (Wilson 1927).

    >>> [round(bound, 4) for bound in wilson(0, 50)]
    [0.0, 0.0713]
    """
    z = normal_quantile(level)
    rate, z2 = successes / n, z * z
    middle = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = z / (1 + z2 / n) * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n))
    return (0.0 if successes == 0 else max(0.0, middle - half)), (1.0 if successes == n else min(1.0, middle + half))


def proportion(successes: int, n: int, *, level: float) -> Estimate:
    """Return a share with Wilson's interval. Unit: share, 0 to 1."""
    if n == 0:
        return missing(level=level, n=0, unit="share")
    low, high = wilson(successes, n, level=level)
    return Estimate(value=successes / n, low=low, high=high, level=level, n=n, unit="share")


def newcombe(x1: int, n1: int, x0: int, n0: int, *, level: float = 0.95, z: float | None = None) -> tuple[float, float]:
    """Return Newcombe's hybrid score interval of p1 - p0 (Newcombe 1998, method 10).

    `z` replaces the normal quantile, for simultaneous intervals.
    """
    if z is not None:
        from scipy.special import ndtr

        level = 2 * float(ndtr(z)) - 1
    (l1, u1), (l0, u0) = wilson(x1, n1, level=level), wilson(x0, n0, level=level)
    p1, p0 = x1 / n1, x0 / n0
    difference = p1 - p0
    return difference - math.hypot(p1 - l1, u0 - p0), difference + math.hypot(u1 - p1, p0 - l0)


def t_interval(value: float, variance: float, *, df: float, level: float = 0.95) -> tuple[float, float, float]:
    """Return (low, high, p) of a value with a known variance by Student's t."""
    from scipy.special import stdtr

    if variance <= 0:
        return value, value, float(value == 0)
    error = math.sqrt(variance)
    half = t_quantile(level, df=df) * error
    return value - half, value + half, float(2 * stdtr(df, -abs(value) / error))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's step-down adjusted p values, in the given order (Holm 1979).

    >>> [round(p, 3) for p in holm([0.005, 0.06, 0.007, 0.04, 0.01, 0.03])]
    [0.03, 0.09, 0.035, 0.09, 0.04, 0.09]
    """
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def jackknife_covariance(replicates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the covariance of estimates from their leave-one-bucket-out replicates.

    `replicates` has shape (buckets, estimates); the result (estimates, estimates).
    (B - 1)/B times the sum of squares about the mean replicate.
    """
    import numpy as np

    buckets = len(replicates)
    centred = replicates - replicates.mean(axis=0)
    # einsum, not BLAS: the same bits whatever the number of threads.
    return np.asarray((buckets - 1) / buckets * np.einsum("bi,bj->ij", centred, centred))


def fieller(
    numerator: float, denominator: float, *, variances: tuple[float, float, float], df: float, level: float = 0.95
) -> tuple[float | None, float | None]:
    """Return Fieller's interval of numerator / denominator (Fieller 1954).

    `variances`: of the numerator, of the denominator, and their covariance. (None, None) where the
    denominator may be zero: then the data set no bounds.

    >>> fieller(2.0, 1.0, variances=(0.0, 0.0, 0.0), df=199)
    (2.0, 2.0)
    >>> fieller(2.0, 1.0, variances=(1.0, 1.0, 0.0), df=199)
    (None, None)
    """
    v_n, v_d, cov = variances
    t2 = t_quantile(level, df=df) ** 2
    a = denominator**2 - t2 * v_d
    if a <= 0:
        return None, None
    b = numerator * denominator - t2 * cov
    c = numerator**2 - t2 * v_n
    root = math.sqrt(max(0.0, b * b - a * c))
    return (b - root) / a, (b + root) / a


def simultaneous_quantile(covariance: NDArray[np.float64], *, df: float, level: float = 0.95, seed: int = 0) -> float:
    """Return the critical value of max |Z| over estimates with this covariance (Hothorn, Bretz & Westfall 2008).

    By DRAWS multivariate t draws; never below the t quantile of one estimate. Estimates without
    variance do not count.
    """
    import numpy as np

    scale = np.sqrt(np.diag(covariance))
    free = scale > 0
    if free.sum() <= 1:
        return t_quantile(level, df=df)
    correlation = covariance[np.ix_(free, free)] / np.outer(scale[free], scale[free])
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((DRAWS, int(free.sum())))
    draws = np.einsum("ij,kj->ik", noise, root_of(correlation))
    if math.isfinite(df):
        draws /= np.sqrt(rng.chisquare(df, size=(DRAWS, 1)) / df)
    return max(t_quantile(level, df=df), float(np.quantile(np.abs(draws).max(axis=1), level)))


def root_of(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return R with R @ R.T = covariance, also where the covariance is singular."""
    import numpy as np

    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.clip(values, 0, None)))


def pooled_z(x1: int, n1: int, x0: int, n0: int) -> float:
    """Return the two-sided p value of two equal shares: z with the pooled variance.

    >>> round(pooled_z(253, 11129, 298, 16687), 6)
    0.004253
    """
    from scipy.special import ndtr

    pooled = (x1 + x0) / (n1 + n0)
    variance = pooled * (1 - pooled) * (1 / n1 + 1 / n0)
    return 1.0 if variance == 0 else float(2 * ndtr(-abs(x1 / n1 - x0 / n0) / math.sqrt(variance)))


def jackknife_ratio(
    numerator: NDArray[np.float64], denominator: NDArray[np.float64], *, df: float, level: float, n: int, unit: str
) -> Estimate:
    """Return a ratio of two jackknifed estimates with Fieller's interval; both of shape (1 + buckets,).

    Not estimable where the denominator is zero; without bounds where it may be.
    """
    import numpy as np

    top, bottom = float(numerator[0]), float(denominator[0])
    if bottom == 0 or not math.isfinite(top / bottom):
        return missing(level=level, n=n, unit=unit)
    covariance = jackknife_covariance(np.stack((numerator[1:], denominator[1:]), axis=1))
    variances = float(covariance[0, 0]), float(covariance[1, 1]), float(covariance[0, 1])
    low, high = fieller(top, bottom, variances=variances, df=df, level=level)
    return Estimate(value=top / bottom, low=low, high=high, level=level, n=n, unit=unit)


def share_variance(successes: int, n: int) -> float:
    """Return p (1 - p) of a share; of nobody or everybody with half a customer more on either side: never 0."""
    share = successes / n if 0 < successes < n else (successes + 0.5) / (n + 1)
    return share * (1 - share)
