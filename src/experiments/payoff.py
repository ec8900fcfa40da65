"""What it brought and what it cost, per assigned customer, discounted mid-month."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from experiments.cube import Cube, leave_one_out
from experiments.offers import Costs, costs_of
from experiments.plan import SEPARATOR, Sheet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Replicates = NDArray[np.float64]


def discount_factors(months: int, *, rate: float, dated: bool = True) -> NDArray[np.float64]:
    """Return the present value of 1 paid in the middle of each month: (1 + rate/12) ** -(t + 1/2).

    `rate` is nominal a year. Results without dates are not discounted.
    """
    return np.asarray((1 + rate / 12) ** -(np.arange(months) + 0.5)) if dated else np.ones(months)


def per_assigned(sums: NDArray[np.int64] | Replicates, cube: Cube, *, factors: NDArray[np.float64]) -> Replicates:
    """Return discounted sums per assigned customer, each month among those watched: shape (1 + buckets, arms)."""
    horizon = len(factors)
    monthly = leave_one_out(sums[..., :horizon]) / leave_one_out(cube.followed[..., :horizon])
    return np.asarray((monthly * factors).sum(axis=-1))


def value_replicates(cube: Cube, *, factors: NDArray[np.float64], of_acceptors: bool = False) -> Replicates:
    """Return margin per assigned customer, in minor units; with `of_acceptors` only what they brought."""
    sums = cube.value_accepted if of_acceptors else cube.value
    return cube.margin_share * per_assigned(sums, cube, factors=factors)


def cost_replicates(cube: Cube, sheet: Sheet, *, factors: NDArray[np.float64]) -> Replicates:
    """Return the full ledger of costs per assigned customer, in minor units.

    Contact: every attempt. Gift: every acceptor. Running costs: while an acceptor is active and in the
    promotion. Share of value: of what acceptors bring. Fixed: once an arm. Costs found in the data are added.
    """
    assigned = leave_one_out(cube.assigned)
    costs = _costs(cube, sheet)
    once = cube.attempts * _grid(costs, "contact")[..., None] + cube.accepted * _grid(costs, "gift")[..., None]
    fixed = np.array([0.0 if arm == sheet.holdout else float(sheet.arms[arm].fixed) for arm in cube.arms])
    running = cube.cost + cube.margin_share * cube.value_accepted * _grid(costs, "value_share")[..., None, None]
    for length, active in cube.promoted.items():
        monthly = [[sum(cost for cost, months in cell.monthly if months == length) for cell in row] for row in costs]
        running = running + active * np.array(monthly)[..., None, None]
    spread = fixed * 10**sheet.decimals / assigned[:1]  # the whole arm bears it, whichever bucket is left out
    return np.asarray(leave_one_out(once) / assigned + spread + per_assigned(running, cube, factors=factors))


def _costs(cube: Cube, sheet: Sheet) -> list[list[Costs]]:
    """Return what each arm costs in each stratum."""
    known = {**sheet.catalogue, **sheet.arms}
    factors = [dict(zip(sheet.strata, stratum.split(SEPARATOR), strict=False)) for stratum in cube.strata]
    return [
        [costs_of(arm, known, factors=stratum, decimals=sheet.decimals) for stratum in factors] for arm in cube.arms
    ]


def _grid(costs: list[list[Costs]], name: str) -> NDArray[np.float64]:
    """Return one cost shape as an array (arms, strata)."""
    return np.array([[getattr(cell, name) for cell in row] for row in costs], dtype=float)
