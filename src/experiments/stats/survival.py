"""How long they stayed: retained months per assigned customer, and the second lifetimes of those who accepted.

Only the first ranks offers. Who accepts an offer is chosen by the offer, so whatever is said of acceptors describes.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from experiments.common.errors import WinbackError, did_you_mean
from experiments.common.estimate import Estimate, missing
from experiments.stats.intervals import normal_quantile, wilson

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

AT_LEAST = 10  # customers at risk that carry a common horizon; below it Greenwood's formula is too sure of itself
FEW_EXPECTED = 5  # leavers in a cell that a chi-square needs (Cochran 1954)
ENDLESS = 10.0  # standard error of a log hazard ratio that only the end of the iteration stopped; one leaver has 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """How many are still customers after so many months: Kaplan-Meier, one place a duration.

    A curve starts at 1 and drops at each of `months`. None in `error` and the bounds stands for "not estimable".
    Where the curve is standardised, `at_risk` and `ended` are effective numbers: they carry the same variance.
    """

    n: int  # customers behind the curve
    level: float
    until: float | None  # months to which the curve is known; None: nobody is left, so for ever
    months: tuple[float, ...]  # durations, rising
    at_risk: tuple[float, ...]  # those who may leave after exactly so long
    ended: tuple[float, ...]  # those who did
    survival: tuple[float, ...]  # share who stay longer
    error: tuple[float | None, ...]  # standard error (Greenwood 1926)
    low: tuple[float | None, ...]  # log-log interval (Kalbfleisch & Prentice 2002, 1.4)
    high: tuple[float | None, ...]

    @classmethod
    def of_counts(cls, at_risk: Sequence[float], ended: Sequence[float], *, n: int, level: float = 0.95) -> Curve:
        """Return the curve of whole months: place d - 1 counts those who may leave, and who left, after d months.

        >>> Curve.of_counts([4, 2], [1, 1], n=5).survival
        (0.75, 0.375)
        """
        risk, gone = np.asarray(at_risk, float), np.asarray(ended, float)
        seen = risk > 0
        months = np.arange(1, len(risk) + 1)[seen]
        # Nothing can happen between whole months, so the last one is known to its end.
        until = 0.0 if n == 0 else float(months.max(initial=0) + 1)
        return kaplan_meier(months, risk[seen], gone[seen], n=n, until=until, level=level)

    def place(self, month: float) -> int | None:
        """Return the place of the last duration up to this one; None before the first, where all are there."""
        place = int(np.searchsorted(self.months, month, side="right")) - 1
        return place if place >= 0 else None


def kaplan_meier(
    months: ArrayLike, at_risk: ArrayLike, ended: ArrayLike, *, n: int, until: float, level: float
) -> Curve:
    """Return the curve of durations that rise: how many were at risk, and how many left (Kaplan-Meier)."""
    times, risk, gone = (np.asarray(column, float) for column in (months, at_risk, ended))
    survival = np.cumprod(1 - np.divide(gone, risk, out=np.zeros_like(risk), where=risk > 0))
    left = survival > 0
    variance = np.cumsum(_greenwood(risk, gone))
    low, high = _log_log(survival, variance, risk, level=level)
    return Curve(
        n=n,
        level=level,
        until=None if len(survival) and not left[-1] else until,
        months=floats(times),
        at_risk=floats(risk),
        ended=floats(gone),
        survival=floats(survival),
        error=tuple(float(s * math.sqrt(v)) if s > 0 else None for s, v in zip(survival, variance, strict=True)),
        low=low,
        high=high,
    )


def floats(values: Floats) -> tuple[float, ...]:
    """Return the numbers of an array as a tuple."""
    return tuple(map(float, values))


def _greenwood(at_risk: Floats, ended: Floats) -> Floats:
    """Return what each duration adds to the relative variance: d / (Y (Y - d)); 0 where the last one left."""
    stayed = at_risk - ended
    return np.divide(ended, at_risk * stayed, out=np.zeros_like(at_risk), where=stayed > 0)


def _log_log(
    survival: Floats, variance: Floats, at_risk: Floats, *, level: float
) -> tuple[tuple[float | None, ...], tuple[float | None, ...]]:
    """Return the bounds S ** exp(-+z se / log S).

    There are none at 1 and 0. At 1: Clopper-Pearson's of nobody gone. At 0: the upper bound of the time before.
    """
    z = normal_quantile(level)
    lows: list[float | None] = []
    highs: list[float | None] = []
    for s, v, y in zip(survival, variance, at_risk, strict=True):
        if s <= 0:
            low, high = 0.0, highs[-1] if highs else None
        elif s >= 1:
            low, high = ((1 - level) / 2) ** (1 / y) if y else 0.0, 1.0
        else:
            width = math.exp(z * math.sqrt(v) / abs(math.log(s)))
            low, high = s**width, s ** (1 / width)
        lows.append(float(low))
        highs.append(None if high is None else float(high))
    return tuple(lows), tuple(highs)


def risk_sets(ended: NDArray[np.int64], stayed: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many may leave after each duration, along the last axis: place d - 1 is d months.

    Who was still buying when last seen, after d months, tells about the months before only: to count them at risk
    of leaving after d (the naive coding) makes lifetimes too long.

    >>> risk_sets(np.array([1, 1, 0]), np.array([1, 0, 2])).tolist()
    [4, 3, 0]
    """
    at_least = (ended + stayed)[..., ::-1].cumsum(axis=-1)[..., ::-1]
    return np.asarray(at_least - stayed)


def restricted_mean(curve: Curve, *, horizon_months: float) -> Estimate:
    """Return the mean months retained up to the horizon.

    Area under the Kaplan-Meier curve; Greenwood-type variance. Months beyond
    the horizon count as the horizon. Unit: months, 0 to `horizon_months`. Not estimable beyond `curve.until`.

    >>> restricted_mean(Curve.of_counts([2, 2, 1], [0, 1, 1], n=2), horizon_months=12).value
    2.5
    """
    found = _area(curve, *_steps(curve, horizon_months), horizon=horizon_months)
    return _normal(found, level=curve.level, n=curve.n, most=horizon_months)


def _steps(curve: Curve, horizon: float) -> tuple[Floats, Floats]:
    """Return where the steps of a curve begin, and how long they are, up to the horizon."""
    inside = [month for month in curve.months if 0 < month < horizon]
    starts = np.array([0.0, *inside])
    return starts, np.diff([*starts, horizon])


def _area(curve: Curve, starts: Floats, weights: Floats, *, horizon: float) -> tuple[float, float] | None:
    """Return the sum of weights x survival at `starts` and its variance; None beyond what the curve knows.

    Variance: each duration's Greenwood term times the square of the area behind it (Klein & Moeschberger, 4.5).
    """
    if curve.n == 0 or (curve.until is not None and horizon > curve.until):
        return None
    survival = np.concatenate(([1.0], curve.survival))[np.searchsorted(curve.months, starts, side="right")]
    behind = np.concatenate((np.cumsum((survival * weights)[::-1])[::-1], [0.0]))
    area = behind[np.searchsorted(starts, curve.months)]
    terms = _greenwood(np.array(curve.at_risk), np.array(curve.ended))
    return float(behind[0]), float((area**2 * terms).sum())


def _normal(found: tuple[float, float] | None, *, level: float, n: int, most: float | None = None) -> Estimate:
    """Return an estimate from (value, variance), between 0 and `most`; without variance nobody left: no bounds."""
    if found is None:
        return missing(level=level, n=n, unit="months")
    value, half = found[0], normal_quantile(level) * math.sqrt(found[1])
    low: float | None = value - half
    high: float | None = value + half
    if half <= 0:
        low, high = None, None
    elif most is not None:
        low, high = max(0.0, value - half), min(float(most), value + half)
    return Estimate(value=value, low=low, high=high, level=level, n=n, unit="months")


def common_horizon(curves: Sequence[Curve], *, at_least: float = AT_LEAST) -> int:
    """Return the largest whole month (tau) to which every curve is supported; 0 where one has no customers.

    Supported: at least so many at risk (effective ones, if standardised) at each duration before it.
    """
    ends = [_supported(curve, at_least) for curve in curves]
    limits = [end for end in ends if end is not None]
    return math.floor(min(limits) if limits else max((curve.months[-1] for curve in curves), default=0.0))


def _supported(curve: Curve, at_least: float) -> float | None:
    if curve.n == 0:
        return 0.0
    thin = [month for month, risk in zip(curve.months, curve.at_risk, strict=True) if risk < at_least]
    return thin[0] if thin else curve.until


def early_loss(curve: Curve, *, within_months: float) -> Estimate:
    """Return the share gone within so many months of their first purchase: 1 - S. Log-log interval. Unit: share."""
    place = curve.place(within_months)
    known = curve.n > 0 and (curve.until is None or within_months < curve.until)
    if place is None or not known:
        return missing(level=curve.level, n=curve.n, unit="share")
    low, high = curve.low[place], curve.high[place]
    return Estimate(value=1 - curve.survival[place], low=None if high is None else 1 - high,
                    high=None if low is None else 1 - low, level=curve.level, n=curve.n, unit="share")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Hazard:
    """Of those who stayed so long, the share that leaves after exactly so many months."""

    months: float
    rate: Estimate
    promotion_ends: bool


def hazards(curve: Curve, *, promotion_months: Sequence[int] = ()) -> tuple[Hazard, ...]:
    """Return the hazard of each duration with Wilson's interval, and where a promotion of so many months ends."""
    rows = zip(curve.months, curve.at_risk, curve.ended, strict=True)
    return tuple(
        Hazard(months=month, rate=_rate(ended, risk, level=curve.level), promotion_ends=month in promotion_months)
        for month, risk, ended in rows
        if risk > 0
    )


def _rate(ended: float, at_risk: float, *, level: float) -> Estimate:
    # Effective numbers are no integers, and Wilson's formula does not ask for any.
    low, high = wilson(cast("int", ended), cast("int", at_risk), level=level)
    return Estimate(value=ended / at_risk, low=low, high=high, level=level, n=round(at_risk), unit="share")


@dataclass(frozen=True, slots=True, kw_only=True)
class HazardRatios:
    """How much faster the acceptors of each offer leave than those of the reference."""

    reference: str
    offers: tuple[str, ...]
    ratios: tuple[Estimate, ...]  # one an offer, unit "hazard ratio"
    proportional_p: float | None  # of "the same ratio in every month"; small: read no ratio, compare restricted means


def hazard_ratios(
    at_risk: ArrayLike, ended: ArrayLike, *, offers: Sequence[str], reference: str | None = None, level: float = 0.95
) -> HazardRatios:
    """Return hazard ratios of offers from counts: shape (offers, months) or (offers, strata, months).

    Binomial regression with complementary log-log link on offer, month and, where given, stratum: the
    proportional hazards model for grouped time (Prentice & Gloeckler 1978), Cox's to four digits. `reference`: an
    offer, by default the first. An offer from which nobody left has no ratio. A promotion that ends breaks
    proportional hazards: `proportional_p` says whether (likelihood ratio; None where too few left to tell).
    """
    base = offers[0] if reference is None else reference
    if base not in offers:
        raise WinbackError(f"There is no offer {base!r} to compare with. {did_you_mean(base, offers)}")
    names = [base, *(offer for offer in offers if offer != base)]
    places = [offers.index(name) for name in names]
    risk, gone = (np.asarray(counts, float)[places] for counts in (at_risk, ended))
    n = risk[..., 0].reshape(len(names), -1).sum(axis=1)
    logs, errors, p = _fitted(*_informative(risk, gone))
    return HazardRatios(
        reference=base,
        offers=tuple(names[1:]),
        ratios=tuple(_ratio(*row, level=level) for row in zip(logs[1:], errors[1:], n[1:], strict=True)),
        proportional_p=p,
    )


def _ratio(log: float, error: float, n: float, *, level: float) -> Estimate:
    if not error < ENDLESS:
        return missing(level=level, n=round(n), unit="hazard ratio")
    half = normal_quantile(level) * error
    value, low, high = (math.exp(bound) for bound in (log, log - half, log + half))
    return Estimate(value=value, low=low, high=high, level=level, n=round(n), unit="hazard ratio")


def _fitted(at_risk: Floats, ended: Floats) -> tuple[Floats, Floats, float | None]:
    """Return log hazard ratios and errors of offers against the first, nan where there is none, and p of the same."""
    left = ended.sum(axis=(1, 2))
    some = (left > 0) & (left < at_risk.sum(axis=(1, 2)))
    logs, errors = np.full((2, len(some)), np.nan)
    fit = _cloglog(at_risk[some], ended[some]) if some[0] and some.sum() > 1 else None
    if fit is None:
        return logs, errors, None
    others = np.nonzero(some)[0][1:]
    logs[others], errors[others] = fit.params[: len(others)], fit.bse[: len(others)]
    return logs, errors, _same_always(*(counts[some].sum(axis=1, keepdims=True) for counts in (at_risk, ended)))


def _informative(at_risk: Floats, ended: Floats) -> tuple[Floats, Floats]:
    """Return counts (offers, strata, months) without months and strata from which nobody or everybody left.

    They fit themselves and say nothing of offers, but their coefficients have no end.
    """
    if at_risk.ndim == 2:  # noqa: PLR2004  # no strata: one for all
        at_risk, ended = at_risk[:, None], ended[:, None]
    for others in ((0, 1), (0, 2)):
        left = ended.sum(axis=others, keepdims=True)
        kept = (left > 0) & (left < at_risk.sum(axis=others, keepdims=True))
        at_risk, ended = at_risk * kept, ended * kept
    # In an order of their own: the same bits whatever the order of the strata.
    order = np.lexsort(np.moveaxis(np.concatenate((at_risk, ended)), 1, -1).reshape(-1, at_risk.shape[1]))
    return at_risk[:, order], ended[:, order]


def _cloglog(at_risk: Floats, ended: Floats, *, periods: NDArray[np.intp] | None = None) -> Any:  # noqa: ANN401
    """Fit offers against the first: counts (offers, strata, months) to a fit of statsmodels; None if it has no ends.

    `periods`: the period of each month, each with ratios of its own. The offers' coefficients come first.
    """
    from statsmodels.genmod.families import Binomial
    from statsmodels.genmod.families.links import CLogLog
    from statsmodels.genmod.generalized_linear_model import GLM
    from statsmodels.tools.sm_exceptions import PerfectSeparationWarning

    rows = at_risk > 0
    places = np.nonzero(rows)
    offer, stratum, month = map(_indicators, places)
    columns = [offer[:, 1:], stratum[:, 1:], month]
    if periods is not None:
        period = _indicators(periods[places[2]])[:, 1:]
        columns.append(np.einsum("ij,ik->ijk", offer[:, 1:], period).reshape(len(offer), -1))
    counts, design = np.stack((ended[rows], (at_risk - ended)[rows]), axis=1), np.hstack(columns)
    model = GLM(counts, design, family=Binomial(link=CLogLog()))
    if model.df_resid < 1 or model.df_resid > len(design) - design.shape[1]:
        return None  # as many numbers as counts, or offers that share no month: nothing left to compare by
    with warnings.catch_warnings():
        # Two offers with the same counts are no "perfect separation"; where there is one, the errors are endless.
        warnings.simplefilter("ignore", PerfectSeparationWarning)
        return model.fit()


def _indicators(places: NDArray[np.intp]) -> Floats:
    return np.asarray(places[:, None] == np.unique(places), float)


def _same_always(at_risk: Floats, ended: Floats) -> float | None:
    """Return p of the likelihood ratio test of one ratio an offer against one in each period.

    Periods are as short as they can be with FEW_EXPECTED leavers expected of every offer; None where there is one.
    """
    from scipy.special import chdtrc

    expected = at_risk * ended.sum(axis=0) / np.maximum(at_risk.sum(axis=0), 1)
    periods = _periods(expected[:, 0])
    one = _cloglog(at_risk, ended)
    if one is None or periods.max() == 0:
        return None
    each = _cloglog(at_risk, ended, periods=periods)
    gain = one.deviance - (each.deviance if each is not None else 0.0)  # each month its own period: a perfect fit
    return float(chdtrc((len(ended) - 1) * periods.max(), max(0.0, gain)))


def _periods(expected: Floats) -> NDArray[np.intp]:
    """Return the period of each month from expected leavers (offers, months)."""
    found, so_far, period = [], np.zeros(len(expected)), 0
    for month in expected.T:
        found.append(period)
        so_far += month
        if so_far.min() >= FEW_EXPECTED:
            so_far, period = np.zeros(len(expected)), period + 1
    # What is left over at the end joins the period before.
    return np.minimum(found, max(period - 1, 0))
