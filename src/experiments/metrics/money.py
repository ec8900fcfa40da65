"""What it brought and what it cost, per assigned customer, discounted mid-month."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from experiments.metrics.cube import Cube, leave_one_out
from experiments.sheet.offers import Costs, costs_of, fixed_of
from experiments.sheet.sheet import SEPARATOR, Sheet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Replicates = NDArray[np.float64]


def discount_factors(months: int, *, rate: float, dated: bool = True) -> NDArray[np.float64]:
    """Return the present value of 1 paid in the middle of each month: (1 + rate/12) ** -(t + 1/2).

    `rate` is nominal a year. Results without dates are not discounted.
    """
    return np.asarray((1 + rate / 12) ** -(np.arange(months) + 0.5)) if dated else np.ones(months)


def by_month(sums: NDArray[np.int64] | Replicates, cube: Cube, *, factors: NDArray[np.float64]) -> Replicates:
    """Return discounted sums per assigned customer, each month among those watched to its end.

    Shape (1 + buckets, arms, months); `factors` sets the horizon.
    """
    horizon = len(factors)
    return np.asarray(leave_one_out(sums[..., :horizon]) / leave_one_out(cube.followed[..., :horizon]) * factors)


def value_by_month(cube: Cube, *, factors: NDArray[np.float64], part: str = "value") -> Replicates:
    """Return margin per assigned customer by month, in minor units.

    `part`: "value", "value_capped" (winsorised) or "value_accepted" (what acceptors brought).
    """
    return cube.margin_share * by_month(getattr(cube, part), cube, factors=factors)


def cost_by_month(cube: Cube, sheet: Sheet, *, factors: NDArray[np.float64]) -> Replicates:
    """Return the full ledger of costs per assigned customer by month, in minor units.

    Contact: every attempt. Gift: every acceptor. Running costs: while an acceptor is active and in the
    promotion. Share of value: of what acceptors bring; of the price: of what they pay, in the promotion. Fixed: once
    an arm. Costs found in the data are added.
    What is paid once is paid at the assignment, undiscounted.
    """
    assigned = leave_one_out(cube.assigned)
    costs = _costs(cube, sheet)
    once = cube.attempts * _grid(costs, "attempt")[..., None] + cube.accepted * _grid(costs, "gift")[..., None]
    known = sheet.every_offer
    fixed = np.array([0.0 if arm == sheet.holdout else float(fixed_of(arm, known)) for arm in cube.arms])
    running = cube.cost + cube.margin_share * cube.value_accepted * _grid(costs, "value_share")[..., None, None]
    for length, active in cube.promoted.items():
        monthly = [[sum(cost for cost, months in cell.monthly if months == length) for cell in row] for row in costs]
        running = running + active * np.array(monthly)[..., None, None]
    for length in sorted({months for row in costs for cell in row for _, months in cell.price_shares}):
        rates = [[sum(part for part, months in cell.price_shares if months == length) for cell in row] for row in costs]
        running = running + cube.paid[length] * np.array(rates)[..., None, None]
    paid = by_month(running, cube, factors=factors)
    # The whole arm bears the fixed cost, whichever bucket is left out.
    paid[..., 0] += leave_one_out(once) / assigned + fixed * 10**sheet.decimals / assigned[:1]
    return paid


def break_even_month(value_gained: Replicates, cost_added: Replicates) -> Replicates:
    """Return the month in which cumulated value gained reaches cumulated cost added, counted from 1.

    Both (1 + buckets, arms, months). Linear inside the month, so that the jackknife has a slope; nan where it
    is not reached within the horizon. Unit: months.
    """
    balance = np.cumsum(value_gained - cost_added, axis=-1)
    reached = balance >= 0
    month = reached.argmax(axis=-1)[..., None]
    now = np.take_along_axis(balance, month, axis=-1)
    before = np.where(month > 0, np.take_along_axis(balance, np.maximum(month - 1, 0), axis=-1),
                      -np.take_along_axis(cost_added, month, axis=-1))  # fmt: skip
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = month + np.clip(-before / (now - before), 0, 1)
    return np.asarray(np.where(reached.any(axis=-1), crossing[..., 0], np.nan))


def adjusted(outcome: Replicates, covariates: Replicates) -> Replicates:
    """Return an outcome adjusted for covariates known before the assignment (CUPED, Deng et al. 2013).

    `outcome` (1 + buckets, arms), `covariates` (1 + buckets, arms, k) means per assigned customer. One theta is
    fitted for all arms, from the jackknife deviations inside the arms, so that no arm's adjustment depends on what
    it is compared with; the pooled covariate mean is that of all arms. Rescaling a covariate changes nothing.
    """
    y = outcome[1:] - outcome[1:].mean(axis=0)
    x = covariates[1:] - covariates[1:].mean(axis=0)
    scale = x.reshape(-1, x.shape[-1]).std(axis=0)
    known = scale > 0
    x, spread = x[..., known] / scale[known], covariates[..., known] / scale[known]
    gram = np.einsum("bac,bad->cd", x, x)
    theta = np.linalg.pinv(gram, hermitian=True) @ np.einsum("bac,ba->c", x, y)
    pooled = spread.mean(axis=1, keepdims=True)
    return np.asarray(outcome - np.einsum("bac,c->ba", spread - pooled, theta))


def covariates(cube: Cube) -> Replicates:
    """Return what was known of customers before the test, per assigned customer: shape (1 + buckets, arms, k).

    Value of the first lifetime, and the share of each level of each stratum factor but the first.
    """
    assigned = leave_one_out(cube.assigned)
    columns = [leave_one_out(cube.before) / assigned]
    labels = [stratum.split(SEPARATOR) for stratum in cube.strata]
    for place in range(min(map(len, labels))):
        levels = sorted({label[place] for label in labels})
        for level in levels[1:]:
            inside = np.array([label[place] == level for label in labels])
            columns.append(leave_one_out(cube.assigned * inside[None, :, None]) / assigned)
    return np.stack(columns, axis=-1)


def _costs(cube: Cube, sheet: Sheet) -> list[list[Costs]]:
    """Return what each arm costs in each stratum."""
    known = sheet.every_offer
    factors = [dict(zip(sheet.strata, stratum.split(SEPARATOR), strict=False)) for stratum in cube.strata]
    return [
        [costs_of(arm, known, factors=stratum, decimals=sheet.decimals) for stratum in factors] for arm in cube.arms
    ]


def _grid(costs: list[list[Costs]], name: str) -> NDArray[np.float64]:
    """Return one cost shape as an array (arms, strata)."""
    return np.array([[getattr(cell, name) for cell in row] for row in costs], dtype=float)
