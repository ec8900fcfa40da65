"""Other ways to the worth of a policy: the budget frontier, Qini curves, and policy values from rows."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from experiments.common.errors import WinbackError
from experiments.common.estimate import Estimate, missing
from experiments.readout.segments import Outcome, effects
from experiments.readout.targeting import _mean_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontier:
    """What each further unit of money gains at best, from nothing to all: the multi-armed Qini curve."""

    spend: tuple[float, ...]  # begins at 0
    gain: tuple[float, ...]
    steps: tuple[tuple[int, int], ...]  # (unit, offer) taken at each step

    def at(self, spend: float) -> float:
        """Return the gain of a budget: linear between steps, where a part of a unit gets the next offer."""
        return float(np.interp(spend, self.spend, self.gain))


def frontier_of(outcome: Outcome, cost: Outcome, *, factor: str) -> Frontier:
    """Return the budget frontier of the segments, per customer on the list; units are the segments, offers `single`.

    From shrunken gains: where it leads, not what it will bring. For that value a policy under a budget by
    `value_of_learning`.
    """
    gain, spend = (effects(part, factor=factor, offers=part.single) for part in (outcome, cost))
    return frontier(np.nan_to_num(gain.shrunk * gain.share).T, np.nan_to_num(spend.shrunk * gain.share).T)


def frontier(gain: ArrayLike, cost: ArrayLike) -> Frontier:
    """Return the budget frontier: each unit moves along the upper convex hull of its offers, steepest step first.

    `gain` and `cost` (units, offers) in total of each unit (a customer, or a segment): costs below 0 count as 0.
    Source: Sverdrup, Wu, Athey & Wager 2025, "Qini curves for multi-armed treatment rules".
    """
    gains, costs = np.asarray(gain, dtype=float), np.maximum(np.asarray(cost, dtype=float), 0)
    steps = [
        (_slope(after, before), after[0] - before[0], after[1] - before[1], unit, after[2])
        for unit in range(len(gains))
        for before, after in _steps(costs[unit], gains[unit])
    ]
    steps.sort(key=lambda step: -step[0])  # stable: a unit's own steps keep their order
    return Frontier(
        spend=tuple(np.cumsum([0.0, *(step[1] for step in steps)]).tolist()),
        gain=tuple(np.cumsum([0.0, *(step[2] for step in steps)]).tolist()),
        steps=tuple((step[3], step[4]) for step in steps),
    )


Point = tuple[float, float, int]  # cost, gain, offer


def _steps(costs: NDArray[np.float64], gains: NDArray[np.float64]) -> list[tuple[Point, Point]]:
    """Return the edges of the upper convex hull of a unit's offers, from doing nothing upwards."""
    hull = [(0.0, 0.0, -1)]
    for offer in sorted(range(len(costs)), key=lambda k: (costs[k], -gains[k])):
        point = (float(costs[offer]), float(gains[offer]), offer)
        if not point[1] > hull[-1][1]:
            continue
        while len(hull) > 1 and _slope(point, hull[-1]) > _slope(hull[-1], hull[-2]):
            hull.pop()
        hull.append(point)
    return list(pairwise(hull))


def _slope(after: Point, before: Point) -> float:
    rise, run = after[1] - before[1], after[0] - before[0]
    return rise / run if run > 0 else math.inf


def qini_curve(total: ArrayLike, count: ArrayLike) -> tuple[float, ...]:
    """Return Radcliffe's Qini curve: extra outcome in the first k groups, k = 0, 1, ...

    `total` and `count` (2, groups): outcome and customers without and with the offer, groups (customers, segments)
    in the order in which a policy would take them. Treated outcome - control outcome x treated / control; nothing
    is taken off while there is no control. Source: Radcliffe 2007.
    """
    outcome, customers = (np.cumsum(np.asarray(part, dtype=float), axis=1) for part in (total, count))
    ratio = np.divide(customers[1], customers[0], out=np.zeros_like(customers[0]), where=customers[0] > 0)
    return 0.0, *map(float, outcome[1] - outcome[0] * ratio)


def qini_area(curve: tuple[float, ...]) -> float:
    """Return the mean height of a Qini curve over the straight line to its end: the order's worth against chance.

    In units of the outcome, not normalised by the whole effect, which may be zero.
    """
    height = np.array(curve) - np.linspace(curve[0], curve[-1], len(curve))
    return float(np.trapezoid(height) / (len(curve) - 1))


def policy_value(
    outcome: ArrayLike,
    arm: ArrayLike,
    *,
    policy: ArrayLike,
    propensity: ArrayLike,
    q: ArrayLike,
    level: float = 0.95,
    unit: str = "money",
) -> dict[str, Estimate]:
    """Return the value of a policy from rows by three estimators: "ipw", "self_normalised", "aipw".

    `outcome`, `arm` given and arm of the `policy` of each customer; `propensity` of each arm, shape (arms) or
    (customers, arms); `q` (customers, arms) predicts the outcome, from other customers.
    aipw: mean of q_policy + 1[arm = policy] / propensity x (outcome - q_policy) (Dudik, Langford & Li 2011).
    """
    y, given, wanted = np.asarray(outcome, dtype=float), np.asarray(arm), np.asarray(policy)
    rows, model = np.arange(len(y)), np.asarray(q, dtype=float)
    chance = np.broadcast_to(np.asarray(propensity, dtype=float), model.shape)[rows, wanted]
    if not (chance > 0).all():
        raise WinbackError("The policy gives an arm that some customers could not get (propensity 0): its value is not "
                           "in these data. Leave the arm out of the policy.")  # fmt: skip
    weight = (given == wanted) / chance
    expected = model[rows, wanted]
    everybody = np.ones(len(y))
    sums = {"ipw": (weight * y, everybody), "self_normalised": (weight * y, weight)}
    sums["aipw"] = expected + weight * (y - expected), everybody
    return {
        name: replace(_mean_of(total, count, level=level, unit=unit), n=len(y)) if count.any()
        else missing(level=level, n=len(y), unit=unit)  # nobody got what the policy gives
        for name, (total, count) in sums.items()
    }  # fmt: skip
