"""Intervals that hold at every look: asymptotic confidence sequences (Waudby-Smith et al. 2023)."""

from __future__ import annotations

import math

from experiments.common.errors import WinbackError
from experiments.common.estimate import Estimate, missing
from experiments.stats.intervals import share_variance


# While a test runs: intervals that hold at every look.
def mixture_rate(tuning: float, *, level: float = 0.95) -> float:
    """Return rho of the normal mixture whose confidence sequence is narrowest, for its time, at n = `tuning`.

    sqrt((-2 ln a + ln(-2 ln a + 1)) / tuning), a = 1 - level. Fixed before the first look: a rho chosen from the
    customers seen so far gives no guarantee. Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas (Annals of Statistics
    2024, arXiv 2103.06476), appendix on the choice of rho.
    """
    odds = -2 * math.log(1 - level)
    return math.sqrt((odds + math.log(odds + 1)) / tuning)


def anytime_interval(
    value: float, variance: float, *, n: int, tuning: float, level: float = 0.95
) -> tuple[float, float, float]:
    """Return (low, high, p) of an estimate that may be looked at after every customer.

    Asymptotic confidence sequence with a normal mixture (Waudby-Smith et al., Theorem 2.2): over all looks together
    it misses the truth with probability 1 - level at most, once each arm has a few hundred customers.
    `variance` is that of the estimate from `n` customers in all; with rho = mixture_rate(tuning), g = n rho**2:
    half width sqrt(variance) * sqrt(2 (g + 1) / g * ln(sqrt(g + 1) / a)). p is the level at which it touches zero.
    """
    if variance <= 0:
        return value, value, float(value == 0)
    g = n * mixture_rate(tuning, level=level) ** 2
    half = math.sqrt(variance * 2 * (g + 1) / g * math.log(math.sqrt(g + 1) / (1 - level)))
    p = math.sqrt(g + 1) * math.exp(-(value**2) / variance * g / (2 * (g + 1)))
    return value - half, value + half, min(1.0, p)


def anytime_means(  # noqa: PLR0917  # as welch
    n1: int, mean1: float, var1: float, n0: int, mean0: float, var0: float, *,
    planned: int | None = None, tuning: float | None = None, level: float = 0.95, relative: bool = False,
) -> tuple[float, float, float]:  # fmt: skip
    """Return (low, high, p) of mean1 - mean0, or of mean1 / mean0 - 1, valid at every look.

    `planned`: customers of both groups at the registered read date; the sequence is tuned to be narrowest there,
    unless `tuning` names another number of customers.
    """
    if relative and mean0 == 0:
        raise WinbackError("A relative difference to a mean of 0 does not exist. Ask for the absolute one.")
    v1, v0 = var1 / n1, var0 / n0
    value, variance = mean1 - mean0, v1 + v0
    if relative:
        value, variance = mean1 / mean0 - 1, v1 / mean0**2 + v0 * mean1**2 / mean0**4
    return anytime_interval(value, variance, n=n1 + n0, tuning=_tuning(planned, tuning), level=level)


def anytime_shares(
    x1: int, n1: int, x0: int, n0: int, *,
    planned: int | None = None, tuning: float | None = None, level: float = 0.95, relative: bool = False,
) -> tuple[float, float, float]:  # fmt: skip
    """Return (low, high, p) of p1 - p0, or of p1 / p0 - 1, valid at every look; as anytime_means.

    A group of which nobody or everybody returned has the variance of half a customer more on either side.
    """
    cells = [(x1 / n1, share_variance(x1, n1)), (x0 / n0, share_variance(x0, n0))]
    (p1, v1), (p0, v0) = cells
    return anytime_means(n1, p1, v1, n0, p0, v0, planned=planned, tuning=tuning, level=level, relative=relative)


def anytime_lift(x1: int, n1: int, x0: int, n0: int, *, planned: int, level: float = 0.95) -> Estimate:
    """Return the lift of an offer over the holdout while the test runs, valid at every look. Unit: points.

    For several offers at once give level 1 - (1 - level) / offers.
    """
    if n1 == 0 or n0 == 0:
        return missing(level=level, n=n1, unit="points")
    low, high, _ = anytime_shares(x1, n1, x0, n0, planned=planned, level=level)
    return Estimate(value=x1 / n1 - x0 / n0, low=max(-1.0, low), high=min(1.0, high), level=level, n=n1, unit="points")


def _tuning(planned: int | None, tuning: float | None) -> float:
    chosen = tuning if tuning is not None else planned
    if chosen is None or chosen <= 0:
        raise WinbackError(
            f"A confidence sequence is tuned before the first look, but planned is {planned!r} and tuning {tuning!r}. "
            "Give `planned=`, the customers of both groups at the read date."
        )
    return chosen
