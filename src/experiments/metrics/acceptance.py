"""Who came back: accepted, returned, and the lift against the holdout."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from experiments.common.estimate import Estimate, missing
from experiments.metrics.cube import Cube, leave_one_out
from experiments.stats.intervals import newcombe, proportion, share_variance

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def reached(cube: Cube, *, arm: int, level: float) -> Estimate:
    """Return the share of assigned customers that a contact reached. Unreachable is not a refusal."""
    return proportion(int(cube.reached[arm].sum()), int(cube.assigned[arm].sum()), level=level)


def accepted(cube: Cube, *, arm: int, level: float) -> Estimate:
    """Return the share of assigned customers who said yes; a yes is not yet a purchase."""
    return proportion(int(cube.accepted[arm].sum()), int(cube.assigned[arm].sum()), level=level)


def returned(cube: Cube, *, arm: int, window_months: int, level: float) -> Estimate:
    """Return the share that bought again within the window, of those watched to its end."""
    x, n = returned_counts(cube, arms=[arm], window_months=window_months)
    return replace(proportion(x, n, level=level), se=math.sqrt(share_variance(x, n) / n) if n else None)


def lift(
    cube: Cube, *, arms: list[int], holdout: int, window_months: int, level: float, z: float | None = None
) -> Estimate:
    """Return the difference of returned shares, arms together against the holdout, by Newcombe's interval.

    `z` replaces the normal quantile, for intervals that hold for all offers at once.
    """
    x1, n1 = returned_counts(cube, arms=arms, window_months=window_months)
    x0, n0 = returned_counts(cube, arms=[holdout], window_months=window_months)
    if n1 == 0 or n0 == 0:
        return missing(level=level, n=n1, unit="points")
    low, high = newcombe(x1, n1, x0, n0, level=level, z=z)
    se = math.sqrt(share_variance(x1, n1) / n1 + share_variance(x0, n0) / n0)
    return Estimate(value=x1 / n1 - x0 / n0, low=low, high=high, level=level, n=n1, unit="points", se=se)


def returned_counts(cube: Cube, *, arms: list[int], window_months: int) -> tuple[int, int]:
    """Return (returned, watched) within the window."""
    month = min(window_months, cube.months) - 1
    return int(cube.returned[arms, ..., month].sum()), int(cube.followed[arms, ..., month].sum())


def returned_replicates(cube: Cube, *, window_months: int) -> NDArray[np.float64]:
    """Return the returned share of every arm, with every bucket left out in turn: shape (1 + buckets, arms)."""
    month = min(window_months, cube.months) - 1
    return leave_one_out(cube.returned[..., month]) / leave_one_out(cube.followed[..., month])
