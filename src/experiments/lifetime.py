"""How long they stayed: retained months per assigned customer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.cube import Cube, leave_one_out

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def active_share(cube: Cube) -> NDArray[np.float64]:
    """Return the share active in each month, of those watched to its end: shape (1 + buckets, arms, months).

    Staggered follow-up costs nothing but precision: each month has its own denominator, so nobody's
    unseen months count as lost ones (the naive "months so far" is biased).
    """
    return leave_one_out(cube.active) / leave_one_out(cube.followed)


def months_replicates(cube: Cube, *, horizon_months: int) -> NDArray[np.float64]:
    """Return retained months per assigned customer up to the horizon: shape (1 + buckets, arms).

    The sum over months t < horizon of the mean of active_t among those followed to t. Unit: months.
    """
    months: NDArray[np.float64] = active_share(cube)[..., :horizon_months].sum(axis=-1)
    return months
