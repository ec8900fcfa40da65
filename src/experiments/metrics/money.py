"""What it brought and what it cost, per assigned customer, discounted mid-month."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from experiments.metrics.cube import Cube
from experiments.sheet.offers import Costs, costs_of, fixed_of
from experiments.sheet.sheet import SEPARATOR, Sheet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Counts = NDArray[np.int64]
    Floats = NDArray[np.float64]


def discount_factors(months: int, *, rate: float, dated: bool = True) -> Floats:
    """Return the present value of 1 paid in the middle of each month: (1 + rate/12) ** -(t + 1/2).

    `rate` is nominal a year. Results without dates are not discounted.
    """
    return np.asarray((1 + rate / 12) ** -(np.arange(months) + 0.5)) if dated else np.ones(months)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """What the arms of a test cost, in minor units, not discounted."""

    fixed: Floats  # (arms,): the arm as a whole, at the assignment
    start: Floats  # (cells,): contacts and gifts, at the assignment
    running: Floats  # (cells, months): promotions, shares of value and of the price, costs found in the data


def ledger_of(cube: Cube, sheet: Sheet) -> Ledger:
    """Return the full ledger of costs, by the cells of the cube.

    Contact: every attempt. Gift: every acceptor. Running costs: while an acceptor is active and in the
    promotion. Share of value: of what acceptors bring; of the price: of what they pay, in the promotion. Fixed: once
    an arm. Costs found in the data are added.
    """
    sums, known = cube.sums, sheet.every_offer
    arm, stratum, _ = cube.places
    factors = [dict(zip(sheet.strata, label.split(SEPARATOR), strict=False)) for label in cube.strata]
    costs = [[costs_of(name, known, factors=each, decimals=sheet.decimals) for each in factors] for name in cube.arms]

    def rate(of: Callable[[Costs], float]) -> Floats:
        return np.array([[of(cost) for cost in row] for row in costs], dtype=float)[arm, stratum]

    def during(shape: str, length: int) -> Floats:
        return rate(lambda cost: sum(each for each, months in getattr(cost, shape) if months == length))[:, None]

    running = sums["cost"] + cube.margin_share * sums["value_accepted"] * rate(lambda cost: cost.value_share)[:, None]
    for name, shape in (("promoted", "monthly"), ("paid", "price_shares")):
        for length in cube.lengths(name):
            running = running + sums[f"{name}_{length}"] * during(shape, length)
    fixed = [0.0 if name == sheet.holdout else float(fixed_of(name, known)) for name in cube.arms]
    return Ledger(
        fixed=np.array(fixed) * 10**sheet.decimals,
        start=sums["attempts"] * rate(lambda cost: cost.attempt) + sums["accepted"] * rate(lambda cost: cost.gift),
        running=running,
    )


def by_month(sums: Counts | Floats, cube: Cube, *, factors: Floats) -> Floats:
    """Return discounted sums (cells, months) per assigned customer, each month among those watched to its end.

    Shape (1 + buckets, arms, months); `factors` sets the horizon.
    """
    horizon = len(factors)
    followed = cube.left_out("followed")[..., :horizon]
    return np.asarray(cube.left_out(sums[:, :horizon]) / followed * factors)


def value_by_month(cube: Cube, *, factors: Floats, part: str = "value") -> Floats:
    """Return margin per assigned customer by month, in minor units: (1 + buckets, arms, months).

    `part`: "value", "value_capped" (winsorised) or "value_accepted" (what acceptors brought).
    """
    return cube.margin_share * by_month(cube.sums[part], cube, factors=factors)


def cost_at_start(cube: Cube, ledger: Ledger) -> Floats:
    """Return what is paid once, at the assignment, per assigned customer, in minor units: (1 + buckets, arms)."""
    assigned = cube.left_out("assigned")
    # The whole arm bears the fixed cost, whichever bucket is left out.
    return np.asarray(cube.left_out(ledger.start) / assigned + ledger.fixed / assigned[:1])


def cost_by_month(cube: Cube, ledger: Ledger, *, factors: Floats) -> Floats:
    """Return all costs per assigned customer by month, in minor units: (1 + buckets, arms, months).

    What is paid once stands in month 0, not discounted.
    """
    paid = by_month(ledger.running, cube, factors=factors)
    paid[..., 0] += cost_at_start(cube, ledger)
    return paid


def break_even_months(value_gained: Floats, cost_added: Floats, *, at_start: Floats) -> Floats:
    """Return the months from the assignment to the first time t at which value gained so far >= cost added so far.

    `value_gained` and `cost_added` (1 + buckets, arms, months), of which `at_start` (1 + buckets, arms) is paid at
    t = 0; all else comes evenly within its month, value and cost alike. Without a cost at the start an offer that
    gains at once breaks even at 0. nan where it does not within the horizon. Unit: months, 0 to the horizon.

    >>> break_even_months(np.array([[[30.0, 30.0]]]), np.array([[[50.0, 0.0]]]), at_start=np.array([[40.0]])).item()
    1.6666666666666665
    """
    ends = np.cumsum(value_gained - cost_added, axis=-1)
    balance = np.concatenate((-at_start[..., None], ends), axis=-1)  # at the start of each month, and at the end
    reached = ends >= 0
    reached[..., 0] |= at_start < 0
    month = reached.argmax(axis=-1)[..., None]
    before, after = (np.take_along_axis(balance, month + step, axis=-1)[..., 0] for step in (0, 1))
    known = reached.any(axis=-1)
    inside = np.divide(-before, after - before, out=np.zeros_like(before), where=known & (before < 0))
    return np.where(known, month[..., 0] + inside, np.nan)


def adjusted(outcome: Floats, covariates: Floats) -> Floats:
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


def covariates(cube: Cube) -> Floats:
    """Return what was known of customers before the test, per assigned customer: shape (1 + buckets, arms, k).

    Value of the first lifetime, and the share of each level of each stratum factor but the first.
    """
    assigned = cube.left_out("assigned")
    columns = [cube.left_out("before") / assigned]
    labels, (_, stratum, _) = [label.split(SEPARATOR) for label in cube.strata], cube.places
    for place in range(min(map(len, labels))):
        levels = sorted({label[place] for label in labels})
        for level in levels[1:]:
            inside = np.array([label[place] == level for label in labels])
            columns.append(cube.left_out(cube.sums["assigned"] * inside[stratum]) / assigned)
    return np.stack(columns, axis=-1)
