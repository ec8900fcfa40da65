"""The estimands of a readout, from the cube to estimates with intervals: one row an offer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from experiments.common.estimate import Estimate, missing
from experiments.common.language import later
from experiments.data.randomise import BUCKETS
from experiments.metrics import money as payoff
from experiments.metrics import retention
from experiments.metrics.cube import Cube
from experiments.sheet.sheet import Sheet
from experiments.stats.intervals import (
    fieller,
    jackknife_covariance,
    newcombe,
    proportion,
    share_variance,
    simultaneous_quantile,
    t_quantile,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Replicates = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A column of the readout; in English, `report.wording.metrics` says it in the language of a page."""

    label: str
    unit: str
    meaning: str  # with the method of its interval


METRICS = {
    "reached": Metric(
        label=later("Reached"), unit="share",
        meaning=later("Share of assigned customers a contact reached. Wilson.")),
    "accepted": Metric(
        label=later("Accepted"), unit="share",
        meaning=later("Share of assigned customers who said yes. Wilson.")),
    "returned": Metric(
        label=later("Returned"), unit="share",
        meaning=later("Share who bought again within the return window, of those watched to its end. Wilson.")),
    "lift": Metric(
        label=later("Lift"), unit="points",
        meaning=later("Returned minus returned in the holdout. Newcombe, simultaneous over offers.")),
    "incremental": Metric(
        label=later("Incremental share"), unit="share",
        meaning=later("Part of the returned who would not have come back without the offer: 1 - p0 / p. "
                      "Fieller.")),
    "months": Metric(
        label=later("Months retained"), unit="months",
        meaning=later("Months with a purchase per assigned customer up to the horizon: the sum over months of "
                      "the share active among those watched. Jackknife.")),
    "months_gained": Metric(
        label=later("Months gained"), unit="months",
        meaning=later("Months retained minus those of the holdout. Jackknife, simultaneous.")),
    "active": Metric(
        label=later("Active at the horizon"), unit="share",
        meaning=later("Share of assigned customers active in the last month of the horizon: market share. "
                      "Jackknife.")),
    "active_gained": Metric(
        label=later("Active gained"), unit="points",
        meaning=later("Active at the horizon minus that of the holdout. Jackknife, simultaneous.")),
    "value": Metric(
        label=later("Value"), unit="money",
        meaning=later("Discounted margin per assigned customer. Jackknife.")),
    "value_gained": Metric(
        label=later("Value gained"), unit="money",
        meaning=later("Value minus that of the holdout. Jackknife, simultaneous.")),
    "cost": Metric(
        label=later("Cost"), unit="money",
        meaning=later("All costs per assigned customer, discounted. Jackknife.")),
    "cost_added": Metric(
        label=later("Cost added"), unit="money",
        meaning=later("Cost minus that of the holdout. Jackknife, simultaneous.")),
    "net": Metric(
        label=later("Net"), unit="money",
        meaning=later("Value gained minus cost added, per assigned customer. Jackknife, simultaneous.")),
    "net_winsorised": Metric(
        label=later("Net, winsorised"), unit="money",
        meaning=later("Net with the value of each customer capped at the 99 % quantile of all assigned: less "
                      "noise, another question. Jackknife.")),
    "net_adjusted": Metric(
        label=later("Net, adjusted"), unit="money",
        meaning=later("Net adjusted for what was known before the assignment (value of the first lifetime, "
                      "strata): the same question, less noise. Jackknife.")),
    "roi": Metric(
        label=later("Incremental ROI"), unit="ratio",
        meaning=later("Net divided by cost added: ratio of sums. Fieller; open where the cost may be zero.")),
    "gross_roi": Metric(
        label=later("Gross ROI"), unit="ratio",
        meaning=later("What acceptors brought minus the cost, divided by the cost. Not incremental: it counts "
                      "customers who would have come back anyway. Fieller.")),
    "cost_per_return": Metric(
        label=later("Cost of one more return"), unit="money",
        meaning=later("Cost added divided by lift. Fieller.")),
    "break_even": Metric(
        label=later("Break-even"), unit="months",
        meaning=later("Months from the assignment until the value gained so far reaches the cost added so far. "
                      "Jackknife; none where it does not within the horizon.")),
}  # fmt: skip
GAINED = {
    "returned": "lift",
    "months": "months_gained",
    "active": "active_gained",
    "value": "value_gained",
    "cost": "cost_added",
}
VALUES = ("value", "value_capped", "value_accepted")
SIMULTANEOUS = ("lift", "months_gained", "active_gained", "value_gained", "cost_added", "net")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A cube read under a sheet: replicates of every metric, computed once."""

    cube: Cube
    sheet: Sheet

    @property
    def horizon(self) -> int:
        """Months that count."""
        return min(self.sheet.horizon_months, self.cube.months)

    @property
    def holdout(self) -> int | None:
        """Place of the holdout among the arms."""
        return None if self.sheet.holdout is None else self.cube.arms.index(self.sheet.holdout)

    @property
    def offers(self) -> list[int]:
        """Places of the offers among the arms."""
        return [a for a in range(len(self.cube.arms)) if a != self.holdout]

    @property
    def df(self) -> int:
        """Degrees of freedom of the jackknife: buckets, or customers where an arm has fewer, less one."""
        return max(1, min(BUCKETS, int(self.assigned.min())) - 1)

    @cached_property
    def assigned(self) -> NDArray[np.int64]:
        """Customers of each arm: (arms,)."""
        return self.cube.by_arm("assigned")

    @cached_property
    def money(self) -> dict[str, Replicates]:
        """Value and cost by month in currency, discounted: name -> (1 + buckets, arms, months)."""
        cube, sheet = self.cube, self.sheet
        factors = payoff.discount_factors(self.horizon, rate=sheet.discount_rate, dated=cube.dated)
        monthly = {name: payoff.value_by_month(cube, factors=factors, part=name) for name in VALUES}
        monthly["cost"] = payoff.cost_by_month(cube, self.ledger, factors=factors)
        return {name: part / 10.0**sheet.decimals for name, part in monthly.items()}

    @cached_property
    def ledger(self) -> payoff.Ledger:
        """What the arms cost."""
        return payoff.ledger_of(self.cube, self.sheet)

    @cached_property
    def numbers(self) -> dict[str, Replicates]:
        """Every jackknifed metric: name -> (1 + buckets, arms). Money in currency."""
        numbers = {name: monthly.sum(axis=-1) for name, monthly in self.money.items()}
        numbers["returned"] = returned_replicates(self.cube, window_months=self.sheet.window_months)
        if self.cube.dated:
            shares = retention.active_share(self.cube)[..., : self.horizon]
            numbers |= {"months": shares.sum(axis=-1), "active": shares[..., -1]}
        return numbers if self.holdout is None else numbers | self._against_holdout(numbers)

    def _against_holdout(self, numbers: Mapping[str, Replicates]) -> dict[str, Replicates]:
        base = [self.holdout or 0]
        gains = {gain: numbers[name] - numbers[name][:, base] for name, gain in GAINED.items() if name in numbers}
        gains["net"] = gains["value_gained"] - gains["cost_added"]
        gains["roi"] = ratio(gains["net"], gains["cost_added"])
        net = {"net_winsorised": numbers["value_capped"] - numbers["cost"]} if self.sheet.winsorise else {}
        net |= {"net_adjusted": self._adjusted(numbers)} if self.sheet.adjust else {}
        gains |= {name: values - values[:, base] for name, values in net.items()}
        if self.cube.dated:
            value, cost = (self.money[name] - self.money[name][:, base] for name in ("value", "cost"))
            start = payoff.cost_at_start(self.cube, self.ledger) / 10.0**self.sheet.decimals
            gains["break_even"] = payoff.break_even_months(value, cost, at_start=start - start[:, base])
        return gains

    def _adjusted(self, numbers: Mapping[str, Replicates]) -> Replicates:
        return payoff.adjusted(numbers["value"] - numbers["cost"], payoff.covariates(self.cube))

    @cached_property
    def critical(self) -> dict[str, float]:
        """The critical value that holds for all offers at once, for each gain."""
        found = {}
        for name in SIMULTANEOUS:
            if name in self.numbers:
                covariance = jackknife_covariance(self.numbers[name][1:, self.offers])
                df = math.inf if name == "lift" else float(self.df)
                found[name] = simultaneous_quantile(covariance, df=df, level=self.sheet.level, seed=self.sheet.seed)
        return found

    @property
    def variance_saved(self) -> float | None:
        """Share of the variance of the net that the adjustment saves, mean over offers; None without it."""
        if "net_adjusted" not in self.numbers:
            return None
        raw, adjusted = (jackknife_covariance(self.numbers[name][1:, self.offers]) for name in ("net", "net_adjusted"))
        before = float(np.diag(raw).sum())
        return 1 - float(np.diag(adjusted).sum()) / before if before > 0 else None

    def estimates(self, a: int) -> dict[str, Estimate]:
        """Return the estimates of an arm, each with its interval alone, in the order of METRICS."""
        found = self._shares(a) | {
            name: self.jackknifed(name, a) for name in ("months", "active", "value", "cost") if name in self.numbers
        }
        if a != self.holdout:
            found["gross_roi"] = self.ratio_of("value_accepted", "cost", a, minus_one=True)
        if self.holdout is not None and a != self.holdout:
            found |= self._gains(a)
        return {name: found[name] for name in METRICS if name in found}

    def _shares(self, a: int) -> dict[str, Estimate]:
        level, n = self.sheet.level, self._n(a)
        x, watched = returned_counts(self.cube, arms=[a], window_months=self.sheet.window_months)
        se = math.sqrt(share_variance(x, watched) / watched) if watched else None
        found = {"returned": replace(proportion(x, watched, level=level), se=se)}
        if self.cube.contacts_known:  # unreachable is not a refusal, a yes is not yet a purchase
            found |= {
                name: proportion(int(self.cube.by_arm(name)[a]), n, level=level) for name in ("reached", "accepted")
            }
        return found

    def _gains(self, a: int) -> dict[str, Estimate]:
        alone = (
            "months_gained",
            "active_gained",
            "value_gained",
            "cost_added",
            "net",
            "net_winsorised",
            "net_adjusted",
            "break_even",
        )
        found = {name: self.jackknifed(name, a) for name in alone if name in self.numbers}
        found["lift"] = self.lift([a])
        found["roi"] = self.ratio_of("value_gained", "cost_added", a, minus_one=True)
        found["cost_per_return"] = self.ratio_of("cost_added", "lift", a, unit="money")
        found["incremental"] = self.ratio_of("lift", "returned", a, unit="share")
        return found

    def simultaneous(self, a: int) -> dict[str, Estimate]:
        """Return the gains of an offer with intervals that hold for all offers at once."""
        if self.holdout is None or a == self.holdout:
            return {}
        found = {name: self.jackknifed(name, a, critical=q) for name, q in self.critical.items() if name != "lift"}
        return {"lift": self.lift([a], z=self.critical["lift"])} | found

    def lift(self, arms: list[int], *, z: float | None = None) -> Estimate:
        """Return the returned share of arms together less the holdout's, by Newcombe's interval.

        There must be a holdout. `z` replaces the normal quantile, for intervals that hold for all offers at once.
        """
        level, window = self.sheet.level, self.sheet.window_months
        x1, n1 = returned_counts(self.cube, arms=arms, window_months=window)
        x0, n0 = returned_counts(self.cube, arms=[self.holdout or 0], window_months=window)
        if n1 == 0 or n0 == 0:
            return missing(level=level, n=n1, unit="points")
        low, high = newcombe(x1, n1, x0, n0, level=level, z=z)
        se = math.sqrt(share_variance(x1, n1) / n1 + share_variance(x0, n0) / n0)
        return Estimate(value=x1 / n1 - x0 / n0, low=low, high=high, level=level, n=n1, unit="points", se=se)

    def jackknifed(self, name: str, a: int, *, critical: float | None = None) -> Estimate:
        """Return an estimate from its replicates: row 0 the value, the rest its jackknife."""
        column, unit, n = self.numbers[name][:, a], METRICS[name].unit, self._n(a)
        if not np.isfinite(column).all():
            return missing(level=self.sheet.level, n=n, unit=unit)
        value, se = float(column[0]), math.sqrt(jackknife_covariance(column[1:, None])[0, 0])
        half = (critical or t_quantile(self.sheet.level, df=self.df)) * se
        low, high = value - half, value + half
        return Estimate(value=value, low=low, high=high, level=self.sheet.level, n=n, unit=unit, se=se)

    def ratio_of(self, above: str, below: str, a: int, *, unit: str = "ratio", minus_one: bool = False) -> Estimate:
        """Return a ratio of sums with Fieller's interval; not estimable where the lower sum is zero or less."""
        top, bottom, less = self.numbers[above][:, a], self.numbers[below][:, a], 1.0 if minus_one else 0.0
        level, n = self.sheet.level, self._n(a)
        if bottom[0] <= 0:
            return missing(level=level, n=n, unit=unit)
        covariance = jackknife_covariance(np.stack((top[1:], bottom[1:]), axis=1))
        variances = float(covariance[0, 0]), float(covariance[1, 1]), float(covariance[0, 1])
        value = float(top[0] / bottom[0])
        low, high = fieller(float(top[0]), float(bottom[0]), variances=variances, df=self.df, level=level)
        variance = variances[0] - 2 * value * variances[2] + value**2 * variances[1]
        return Estimate(
            value=value - less,
            low=None if low is None else low - less,
            high=None if high is None else high - less,
            level=level,
            n=n,
            unit=unit,
            se=math.sqrt(max(0.0, variance)) / float(bottom[0]),  # delta method: for pooling, not for this interval
        )

    def _n(self, a: int) -> int:
        return int(self.assigned[a])


def ratio(numerator: Replicates, denominator: Replicates) -> Replicates:
    """Return a ratio of sums; nan where the denominator is zero."""
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator != 0)


def returned_counts(cube: Cube, *, arms: list[int], window_months: int) -> tuple[int, int]:
    """Return (returned, watched): who bought again within the window, of those watched to its end."""
    month = min(window_months, cube.months) - 1
    returned, watched = (int(cube.by_arm(cube.sums[name][:, month])[arms].sum()) for name in ("returned", "followed"))
    return returned, watched


def returned_replicates(cube: Cube, *, window_months: int) -> Replicates:
    """Return the returned share of every arm, with every bucket left out in turn: shape (1 + buckets, arms)."""
    month = min(window_months, cube.months) - 1
    return cube.left_out(cube.sums["returned"][:, month]) / cube.left_out(cube.sums["followed"][:, month])
