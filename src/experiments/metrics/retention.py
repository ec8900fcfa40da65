"""Months retained, from the cube: the active share, life tables and curves of acceptors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from experiments.metrics.cube import Cube
from experiments.stats.survival import Curve, floats, risk_sets

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def active_share(cube: Cube) -> Floats:
    """Return the share active in each month, of those watched to its end: shape (1 + buckets, arms, months).

    Staggered follow-up costs nothing but precision: each month has its own denominator, so nobody's
    unseen months count as lost ones (the naive "months so far" is biased). nan where nobody was watched.
    """
    active, followed = cube.left_out("active"), cube.left_out("followed")
    return np.divide(active, followed, out=np.full_like(active, np.nan), where=followed > 0)


def life_table(cube: Cube, *, arm: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (at risk, ended) of an arm's acceptors from their first purchase: shape (strata, months)."""
    ended, stayed = cube.by_stratum("ended")[arm], cube.by_stratum("stayed")[arm]
    return risk_sets(ended, stayed), ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """The covariate mix to which curves are standardised."""

    weights: tuple[float, ...]  # one a stratum, sum 1
    covered: float  # share of all assigned customers whose stratum has acceptors in every offer


def mix_of_assigned(cube: Cube, *, arms: Sequence[int]) -> Mix:
    """Return the strata's shares of all assigned customers, over strata with acceptors in each of these arms."""
    assigned = cube.by_stratum("assigned").sum(axis=0)
    back = (cube.by_stratum("ended") + cube.by_stratum("stayed"))[list(arms)].sum(axis=2)
    kept = np.where((back > 0).all(axis=0), assigned, 0)
    return Mix(weights=floats(kept / max(1, kept.sum())), covered=float(kept.sum() / assigned.sum()))


def curve_of_acceptors(cube: Cube, *, arm: int, mix: Mix | None = None, level: float = 0.95) -> Curve:
    """Return how long an arm's acceptors stayed, in months from their first purchase.

    With a `mix` standardised to it: the weighted mean of the strata's Kaplan-Meier curves. A stratum of which nobody
    is at risk any more goes on with the hazard of the others. Variance: Greenwood's at the effective number at
    risk, (sum w)**2 / sum(w**2 / Y). The plain weighted mean of Greenwood variances takes a stratum of two
    for certain: on the simulator, 300 an arm, its intervals of survival at 23 months cover .80, these .93.
    """
    at_risk, ended = life_table(cube, arm=arm)
    customers = (cube.by_stratum("ended") + cube.by_stratum("stayed"))[arm].sum(axis=1)
    if mix is None:
        risk, gone = at_risk.sum(axis=0).astype(float), ended.sum(axis=0).astype(float)
    else:
        weights = np.array(mix.weights)
        customers = customers[weights > 0]
        risk, gone = _standardised(at_risk, ended, weights=weights)
    return Curve.of_counts(floats(risk), floats(gone), n=int(customers.sum()), level=level)


def _standardised(at_risk: NDArray[np.int64], ended: NDArray[np.int64], *, weights: Floats) -> tuple[Floats, Floats]:
    """Return effective (at risk, ended) by month of strata with these weights: shapes (strata, months)."""
    months = at_risk.shape[1]
    risk, gone, still = np.zeros(months), np.zeros(months), weights.copy()
    for t in range(months):
        seen = (at_risk[:, t] > 0) & (still > 0)
        if not seen.any():
            break
        hazard, share = ended[seen, t] / at_risk[seen, t], still[seen]
        # fsum: the same bits whatever the order of the strata.
        everybody = math.fsum(share)
        pooled = math.fsum(share * hazard) / everybody
        risk[t] = everybody**2 / math.fsum(share**2 / at_risk[seen, t])
        gone[t] = pooled * risk[t]
        still[~seen] *= 1 - pooled
        still[seen] *= 1 - hazard
    return risk, gone
