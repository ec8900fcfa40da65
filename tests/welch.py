"""Welch's test from sufficient statistics: what intervals of the product are held against."""

from __future__ import annotations

from experiments.stats.intervals import t_interval


def welch_df(v1: float, n1: int, v0: float, n0: int) -> float:
    """Return Welch's degrees of freedom from the variances of two means (Welch 1947)."""
    return (v1 + v0) ** 2 / (v1**2 / (n1 - 1) + v0**2 / (n0 - 1))


def welch(  # noqa: PLR0917  # n, mean and variance of two groups: the order every textbook has
    n1: int, mean1: float, var1: float, n0: int, mean0: float, var0: float, *, level: float = 0.95
) -> tuple[float, float, float]:
    """Return (low, high, p) of mean1 - mean0 from sufficient statistics."""
    v1, v0 = var1 / n1, var0 / n0
    return t_interval(mean1 - mean0, v1 + v0, df=welch_df(v1, n1, v0, n0), level=level)


def relative_welch(  # noqa: PLR0917  # as welch
    n1: int, mean1: float, var1: float, n0: int, mean0: float, var0: float, *, level: float = 0.95
) -> tuple[float, float, float]:
    """Return (low, high, p) of mean1 / mean0 - 1 by the delta method.

    It can disagree with the absolute difference on significance: a report must say which one it uses.
    """
    v1, v0 = var1 / n1, var0 / n0
    variance = v1 / mean0**2 + v0 * mean1**2 / mean0**4
    return t_interval(mean1 / mean0 - 1, variance, df=welch_df(v1, n1, v0, n0), level=level)
