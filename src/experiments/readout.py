"""Everything a test says, as one frozen value that writes and reads JSON exactly."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments import acceptance, lifetime, payoff
from experiments.checks import CHECKS, Check
from experiments.cube import Cube, make_cube
from experiments.decide import Ranking, Verdict, faces, rank, verdict
from experiments.errors import WinbackError
from experiments.estimate import (
    Estimate,
    fieller,
    jackknife_covariance,
    missing,
    simultaneous_quantile,
    t_quantile,
)
from experiments.plan import Sheet, read_sheet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Replicates = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A column of the readout: its name on the page, its unit, what it means."""

    label: str
    unit: str
    help: str


METRICS = {
    "reached": Metric(label="Reached", unit="share", help="Share of assigned customers a contact reached. Wilson."),
    "accepted": Metric(label="Accepted", unit="share", help="Share of assigned customers who said yes. Wilson."),
    "returned": Metric(label="Returned", unit="share", help="Share who bought again within the return window, of "
                       "those watched to its end. Wilson."),
    "lift": Metric(label="Lift", unit="share", help="Returned minus returned in the holdout. Newcombe, simultaneous "
                   "over offers."),
    "months": Metric(label="Months retained", unit="months", help="Months with a purchase per assigned customer up "
                     "to the horizon: the sum over months of the share active among those watched. Jackknife."),
    "months_gained": Metric(label="Months gained", unit="months", help="Months retained minus those of the holdout. "
                            "Jackknife, simultaneous."),
    "value": Metric(label="Value", unit="money", help="Discounted margin per assigned customer. Jackknife."),
    "value_gained": Metric(label="Value gained", unit="money", help="Value minus that of the holdout. Jackknife, "
                           "simultaneous."),
    "cost": Metric(label="Cost", unit="money", help="All costs per assigned customer, discounted. Jackknife."),
    "cost_added": Metric(label="Cost added", unit="money", help="Cost minus that of the holdout. Jackknife, "
                         "simultaneous."),
    "net": Metric(label="Net", unit="money", help="Value gained minus cost added, per assigned customer. Jackknife, "
                  "simultaneous."),
    "roi": Metric(label="Incremental ROI", unit="ratio", help="Net divided by cost added: ratio of sums. Fieller; "
                  "open where the cost may be zero."),
    "gross_roi": Metric(label="Gross ROI", unit="ratio", help="What acceptors brought minus the cost, divided by the "
                        "cost. Not incremental: it counts customers who would have come back anyway. Fieller."),
}  # fmt: skip
GAINS = ("lift", "months_gained", "value_gained", "cost_added", "net")
OBJECTIVES = {"profit": "net", "roi": "roi", "returned": "lift", "months": "months_gained"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One row of the readout: an offer or the holdout."""

    name: str
    label: str
    holdout: bool
    assigned: int
    estimates: dict[str, Estimate]
    simultaneous: dict[str, Estimate]  # the same, with intervals that hold for all offers at once
    active: tuple[float, ...]  # share active in each month up to the horizon


@dataclass(frozen=True, slots=True, kw_only=True)
class Readout:
    """What a test says. `write` and `read_readout` keep every digit."""

    experiment: str
    question: str
    currency: str
    objective: str
    horizon_months: int
    window_months: int
    discount_rate: float
    level: float
    dated: bool
    arms: tuple[Arm, ...]
    any_offer: Estimate | None  # lift of all offers together
    ranking: Ranking | None
    checks: tuple[Check, ...]
    verdict: Verdict
    accounts: tuple[str, ...]

    @property
    def offers(self) -> tuple[Arm, ...]:
        """The arms without the holdout."""
        return tuple(arm for arm in self.arms if not arm.holdout)

    def arm(self, name: str) -> Arm:
        """Return an arm by name."""
        return next(arm for arm in self.arms if arm.name == name)

    def write(self, path: str | Path) -> None:
        """Write the readout as JSON, whole or not at all."""
        from pydantic import TypeAdapter

        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.{os.getpid()}")
        part.write_bytes(TypeAdapter(Readout).dump_json(self, indent=1) + b"\n")
        part.replace(target)


def read_readout(path: str | Path) -> Readout:
    """Return a readout written by `Readout.write`: equal to it, to the last digit."""
    from pydantic import TypeAdapter, ValidationError

    if not Path(path).is_file():
        raise WinbackError(f"There is no readout {str(path)!r}. Make it: `winback readout <sheet>`.")
    try:
        return TypeAdapter(Readout).validate_json(Path(path).read_bytes())
    except ValidationError as error:
        raise WinbackError(f"{path} is no readout of this version: {error.errors()[0]['msg']}. "
                           "Make it again: `winback readout <sheet>`.") from None  # fmt: skip


def read_out(sheet: str | Path | Sheet, folder: Path | None = None, **changes: object) -> Readout:
    """Read a test: tables to cube, cube to estimates, estimates to a verdict.

    `sheet` is a path or a Sheet with the folder of its tables. `changes` replace settings of the sheet,
    such as horizon_months=12; None keeps the sheet's.
    """
    if not isinstance(sheet, Sheet):
        sheet, folder = read_sheet(sheet)
    sheet = changed(sheet, changes)
    return read_cube(make_cube(sheet, folder or Path()), sheet)


def changed(sheet: Sheet, changes: Mapping[str, object]) -> Sheet:
    """Return the sheet with other settings, checked like the sheet itself."""
    from pydantic import ValidationError

    wanted = {name: value for name, value in changes.items() if value is not None}
    try:
        return Sheet.model_validate(sheet.model_dump() | wanted)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise WinbackError(f"{where} is {problem.get('input')!r}. {problem['msg']}.") from None


def read_cube(cube: Cube, sheet: Sheet) -> Readout:
    """Estimate everything from a cube. Milliseconds, whatever the number of customers."""
    _refuse_unseen(cube, sheet)
    numbers = _replicates(cube, sheet)
    checks = tuple(check(sheet, cube) for check in CHECKS.values())
    critical = _critical(cube, sheet, numbers)
    arms = tuple(_arm(cube, sheet, numbers, a, critical=critical) for a in range(len(cube.arms)))
    ranking = _rank(cube, sheet, numbers)
    holdout = None if sheet.holdout is None else cube.arms.index(sheet.holdout)
    everyone = [a for a in range(len(cube.arms)) if a != holdout]
    return Readout(
        experiment=sheet.experiment,
        question=sheet.question,
        currency=sheet.currency,
        objective=sheet.objective,
        horizon_months=min(sheet.horizon_months, cube.months),
        window_months=min(sheet.window_months, cube.months),
        discount_rate=sheet.discount_rate,
        level=sheet.level,
        dated=cube.dated,
        arms=arms,
        any_offer=None if holdout is None else acceptance.lift(
            cube, arms=everyone, holdout=holdout, window_months=sheet.window_months, level=sheet.level),
        ranking=ranking,
        checks=checks,
        verdict=verdict(sheet, ranking=ranking, checks=checks, detail=_faces(sheet, arms)),
        accounts=tuple(map(str, cube.accounts)),
    )  # fmt: skip


def _faces(sheet: Sheet, arms: tuple[Arm, ...]) -> str:
    """Say where the most accepted offer is not the most profitable one: of all, or of those given to everyone."""
    offers = [arm for arm in arms if not arm.holdout]
    uniform = [arm for arm in offers if not sheet.arms[arm.name].choose]
    return faces(_best(offers), among="Of the offers") or faces(_best(uniform), among="Of the offers made to everyone")


def _best(arms: Sequence[Arm]) -> dict[str, str]:
    """Return, for each metric that may be taken for success, the label of the offer with the highest value."""
    best = {}
    for metric in ("accepted", "returned", "net", "roi"):
        values = {arm.label: arm.estimates[metric].value for arm in arms if metric in arm.estimates}
        known = {label: value for label, value in values.items() if value is not None}
        if known:
            best[metric] = max(known, key=lambda label: known[label])
    return best


def _replicates(cube: Cube, sheet: Sheet) -> dict[str, Replicates]:
    """Return every jackknifed metric: name -> (1 + buckets, arms). Money in currency."""
    horizon = min(sheet.horizon_months, cube.months)
    factors = payoff.discount_factors(horizon, rate=sheet.discount_rate, dated=cube.dated)
    minor = 10.0**sheet.decimals
    numbers = {
        "returned": acceptance.returned_replicates(cube, window_months=sheet.window_months),
        "value": payoff.value_replicates(cube, factors=factors) / minor,
        "cost": payoff.cost_replicates(cube, sheet, factors=factors) / minor,
        "value_accepted": payoff.value_replicates(cube, factors=factors, of_acceptors=True) / minor,
    }
    if cube.dated:
        numbers["months"] = lifetime.months_replicates(cube, horizon_months=horizon)
    numbers["gross_roi"] = _ratio(numbers["value_accepted"] - numbers["cost"], numbers["cost"])
    if sheet.holdout is None:
        return numbers
    base = [cube.arms.index(sheet.holdout)]
    gained = {"returned": "lift", "months": "months_gained", "value": "value_gained", "cost": "cost_added"}
    for name, gain in gained.items():
        if name in numbers:
            numbers[gain] = numbers[name] - numbers[name][:, base]
    numbers["net"] = numbers["value_gained"] - numbers["cost_added"]
    numbers["roi"] = _ratio(numbers["net"], numbers["cost_added"])
    return numbers


def _ratio(numerator: Replicates, denominator: Replicates) -> Replicates:
    """Return a ratio of sums; nan where the denominator is zero."""
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator != 0)


def _degrees(cube: Cube) -> float:
    """Return the degrees of freedom of the jackknife: buckets, or customers where an arm has fewer, less one."""
    smallest, buckets = int(cube.assigned.sum(axis=(1, 2)).min()), int(cube.assigned.shape[2])
    return max(1, min(buckets, smallest) - 1)


def _arm(cube: Cube, sheet: Sheet, numbers: Mapping[str, Replicates], a: int, *, critical: Mapping[str, float]) -> Arm:
    name, level = cube.arms[a], sheet.level
    window = sheet.window_months
    assigned = int(cube.assigned[a].sum())
    estimates = {"returned": acceptance.returned(cube, arm=a, window_months=window, level=level)}
    if cube.contacts_known:
        estimates["reached"] = acceptance.reached(cube, arm=a, level=level)
        estimates["accepted"] = acceptance.accepted(cube, arm=a, level=level)
    for metric in ("months", "value", "cost"):
        if metric in numbers:
            estimates[metric] = _jackknifed(numbers[metric][:, a], metric, cube=cube, sheet=sheet, n=assigned)
    if name != sheet.holdout:
        pair = numbers["value_accepted"], numbers["cost"]
        estimates["gross_roi"] = _roi(*pair, a, cube=cube, sheet=sheet, n=assigned)
    simultaneous: dict[str, Estimate] = {}
    if sheet.holdout is not None and name != sheet.holdout:
        holdout = cube.arms.index(sheet.holdout)
        estimates["lift"] = acceptance.lift(cube, arms=[a], holdout=holdout, window_months=window, level=level)
        simultaneous["lift"] = acceptance.lift(
            cube, arms=[a], holdout=holdout, window_months=window, level=level,
            z=critical["lift"])  # fmt: skip
        for metric in GAINS[1:]:
            if metric in numbers:
                column = numbers[metric][:, a]
                estimates[metric] = _jackknifed(column, metric, cube=cube, sheet=sheet, n=assigned)
                simultaneous[metric] = _jackknifed(
                    column, metric, cube=cube, sheet=sheet, n=assigned, critical=critical[metric]
                )
        gains = numbers["value_gained"], numbers["cost_added"]
        estimates["roi"] = _roi(*gains, a, cube=cube, sheet=sheet, n=assigned)
    horizon = min(sheet.horizon_months, cube.months)
    return Arm(
        name=name,
        label=sheet.arms[name].label or name,
        holdout=name == sheet.holdout,
        assigned=assigned,
        estimates={metric: estimates[metric] for metric in METRICS if metric in estimates},
        simultaneous=simultaneous,
        active=tuple(map(float, lifetime.active_share(cube)[0, a, :horizon])) if cube.dated else (),
    )


def _jackknifed(
    column: Replicates, metric: str, *, cube: Cube, sheet: Sheet, n: int, critical: float | None = None
) -> Estimate:
    """Return an estimate from its replicates: row 0 the value, the rest its jackknife."""
    half = (critical or t_quantile(sheet.level, df=_degrees(cube))) * math.sqrt(
        jackknife_covariance(column[1:, None])[0, 0]
    )
    value = float(column[0])
    return Estimate(value=value, low=value - half, high=value + half, level=sheet.level, n=n, unit=METRICS[metric].unit)


def _critical(cube: Cube, sheet: Sheet, numbers: Mapping[str, Replicates]) -> dict[str, float]:
    """Return, for each gain, the critical value that holds for all offers at once."""
    offers = [a for a, arm in enumerate(cube.arms) if arm != sheet.holdout]
    degrees = {metric: math.inf if metric == "lift" else _degrees(cube) for metric in GAINS if metric in numbers}
    return {
        metric: simultaneous_quantile(
            jackknife_covariance(numbers[metric][1:, offers]), df=df, level=sheet.level, seed=sheet.seed
        )
        for metric, df in degrees.items()
    }


def _roi(gained: Replicates, spent: Replicates, a: int, *, cube: Cube, sheet: Sheet, n: int) -> Estimate:
    """Return gained / spent - 1 with Fieller's interval; not estimable where nothing was spent."""
    value, cost = float(gained[0, a]), float(spent[0, a])
    if cost <= 0:
        return missing(level=sheet.level, n=n, unit="ratio")
    covariance = jackknife_covariance(np.stack((gained[1:, a], spent[1:, a]), axis=1))
    variances = float(covariance[0, 0]), float(covariance[1, 1]), float(covariance[0, 1])
    low, high = fieller(value, cost, variances=variances, df=_degrees(cube), level=sheet.level)
    bounds = (None, None) if low is None or high is None else (low - 1, high - 1)
    return Estimate(value=value / cost - 1, low=bounds[0], high=bounds[1], level=sheet.level, n=n, unit="ratio")


def _rank(cube: Cube, sheet: Sheet, numbers: Mapping[str, Replicates]) -> Ranking | None:
    """Rank the offers on the objective; None where there is no holdout or the objective cannot be estimated."""
    metric = OBJECTIVES[sheet.objective]
    offers = [a for a, arm in enumerate(cube.arms) if arm != sheet.holdout]
    if metric not in numbers or not np.isfinite(numbers[metric][:, offers]).all():
        return None
    return rank(
        numbers[metric][:, offers],
        tuple(cube.arms[a] for a in offers),
        df=_degrees(cube),
        level=sheet.level,
        tolerance=sheet.tolerance,
        seed=sheet.seed,
    )


def _refuse_unseen(cube: Cube, sheet: Sheet) -> None:
    """Refuse a horizon or window that no customer of some arm was watched to."""
    if sheet.objective == "months" and not cube.dated:
        raise WinbackError("The objective is 'months', but the results have no dates. Choose returned, profit or roi.")
    watched = (cube.followed.sum(axis=(1, 2)) > 1).all(axis=0)
    longest = int(watched.argmin()) if not watched.all() else cube.months
    for name in ("horizon_months", "window_months"):
        wanted = min(getattr(sheet, name), cube.months)
        if wanted > longest:
            raise WinbackError(
                f"{name} is {wanted}, but in some arm nobody was watched that long: "
                + (f"choose {longest} or less." if longest else "no customer has a whole month of follow-up yet.")
            )
