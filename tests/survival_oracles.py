"""What a curve of survival can be held against: the log-rank test, differences of restricted means, months paid for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from experiments.common.estimate import Estimate
from experiments.stats.survival import Curve, _area, _normal, _steps, kaplan_meier

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def restricted_mean_difference(curve: Curve, other: Curve, *, horizon_months: float) -> Estimate:
    """Return how many months more the customers of a curve stay than those of another. Unit: months."""
    first, second = (_area(c, *_steps(c, horizon_months), horizon=horizon_months) for c in (curve, other))
    found = None if first is None or second is None else (first[0] - second[0], first[1] + second[1])
    return _normal(found, level=curve.level, n=curve.n + other.n)


def paid_months(curve: Curve, *, factors: Sequence[float]) -> Estimate:
    """Return months paid for, each at its present value: the sum of factors[k] S(k). Unit: months of today.

    Month k is paid at its start by who is still a customer then; `factors` sets the horizon.
    """
    starts = np.arange(len(factors), dtype=float)
    found = _area(curve, starts, np.asarray(factors, float), horizon=len(factors))
    return _normal(found, level=curve.level, n=curve.n, most=float(np.sum(factors)))


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRank:
    """A test that all curves are the same: chi-square with so many degrees of freedom, and its p value."""

    statistic: float
    df: int
    p: float


def log_rank(curves: Sequence[Curve]) -> LogRank | None:
    """Test whether curves differ anywhere (Mantel 1966), from their counts; None where nobody left or one is empty.

    Not for standardised curves: their numbers are no counts.
    """
    from scipy.special import chdtrc

    if len(curves) < 2 or any(not curve.months for curve in curves):  # a comparison has two sides
        return None
    times = np.unique([month for curve in curves for month in curve.months])
    risk = np.array([_at(curve, curve.at_risk, times) for curve in curves])
    gone = np.array([_at(curve, curve.ended, times, exact=True) for curve in curves])
    all_risk, all_gone = risk.sum(axis=0), gone.sum(axis=0)
    share = risk / all_risk
    spread = all_gone * (all_risk - all_gone) / np.maximum(all_risk - 1, 1)
    excess = (gone - share * all_gone).sum(axis=1)[1:]
    covariance = (np.einsum("it,ij->ijt", share, np.eye(len(curves))) - share[:, None] * share) @ spread
    if not np.diag(covariance).all():
        return None
    statistic = float(excess @ np.linalg.solve(covariance[1:, 1:], excess))
    df = len(curves) - 1
    return LogRank(statistic=statistic, df=df, p=float(chdtrc(df, statistic)))


def _at(curve: Curve, counts: Sequence[float], times: Floats, *, exact: bool = False) -> Floats:
    """Return a curve's counts at other times: at the next of its own, or `exact`ly there; 0 after its last."""
    place = np.searchsorted(curve.months, times)
    found = np.array([*counts, 0.0])[place]
    return np.where(np.array([*curve.months, np.nan])[place] == times, found, 0.0) if exact else found


def curve_of(*, durations, event_observed, entry=None, level=0.95):
    """Return the curve of customers one by one, as lifelines takes them; `entry`: since when each was watched."""
    end, gone = np.asarray(durations, float), np.asarray(event_observed, bool)
    start = np.full(len(end), -np.inf) if entry is None else np.asarray(entry, float)
    times = np.union1d(end, start[np.isfinite(start)])
    at_risk = np.searchsorted(np.sort(start), times) - np.searchsorted(np.sort(end), times)
    ended = np.bincount(np.searchsorted(times, end[gone]), minlength=len(times))
    return kaplan_meier(times, at_risk, ended, n=len(end), until=float(end.max(initial=0)), level=level)
