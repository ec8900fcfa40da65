"""What one customer of each arm brings in the simulated telecom, exactly, its world calibrated to stated rates.

The numbers of every kind of customer are summed, nobody is drawn; so an `Evidence` from here has no error of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from experiments.common.errors import WinbackError, did_you_mean
from experiments.data.randomise import BUCKETS
from experiments.design.evidence import Evidence
from experiments.metrics import money
from experiments.simulate.telecom import (
    ARMS,
    CONTACT_COST,
    MONTHS,
    PROMOTIONS,
    RETURN_DELAY,
    SPONTANEOUS_DELAY,
    TAILORED,
    WHALES,
    WORLDS,
    World,
    chances_of,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

CENTS = 100  # the simulator counts money in cents
MARGIN_SIGMA = 0.6  # of the lognormal margin in the simulator


def calibrate(
    variant: World = WORLDS["base"], *, accepted: Mapping[str, float], returning: float | None = None
) -> World:
    """Return the world in which each offer is accepted by the share stated.

    The logit of accepting is moved by the same amount for all customers of an offer: who liked it more still does.
    `returning`: share of the holdout that returns by itself, within a year.
    """
    for name in accepted:
        if name not in variant.offers:
            raise WinbackError(f"The simulated telecom has no offer {name!r} of its own. "
                               f"{did_you_mean(name, variant.offers)}")  # fmt: skip
    level = replace(
        variant, offers={name: replace(offer, accept=0.0) for name, offer in variant.offers.items()}, spontaneous=0.0
    )
    share, even = np.diff(chances_of(level).upto, prepend=0.0), chances_of(level)
    alone = variant.spontaneous if returning is None else _intercept("holdout", returning, share, even.alone)
    # Where offers change nothing, only those who return by themselves accept.
    may = share if variant.effect else share * chances_of(replace(level, spontaneous=alone)).alone
    offers = {name: replace(variant.offers[name],
                            accept=_intercept(name, rate, may, even.accept[:, ARMS.index(name)]))
              for name, rate in accepted.items()}  # fmt: skip
    return replace(variant, offers={**variant.offers, **offers}, spontaneous=alone)


def _intercept(arm: str, rate: float, weights: Floats, even: Floats) -> float:
    """Return the logit that makes the weighted mean of chances `rate`; `even` are the chances at logit 0."""
    from scipy.optimize import brentq
    from scipy.special import expit, logit

    most = float(weights.sum())
    if not 0 <= rate <= most + 1e-12:
        raise WinbackError(f"Arm {arm!r} has a rate of {rate}. Give a share from 0 to {min(1.0, most):.3g}, such as "
                           f"{0.45 * most:.2g}.")  # fmt: skip
    if rate in {0.0, 1.0} or rate >= most:
        return math.inf if rate else -math.inf
    return float(brentq(lambda shift: float(weights @ expit(logit(even) + shift)) - rate, -100, 100, xtol=1e-12))


def simulated_evidence(
    variant: World = WORLDS["base"],
    *,
    horizon_months: int = 24,
    window_months: int = 12,
    discount_rate: float = 0.10,
    reached: float = 1.0,
) -> Evidence:
    """Return the exact means and covariances of one customer of the simulated telecom, as `truth` its means.

    Stratified by recorded reason and tier, as the assignment: `noise` is that within strata, `believed` that of all.
    `reached`: share of the offers' customers whom a contact reaches; the others behave like the holdout.
    Follow-up is complete whatever that of the world.
    """
    if not 1 <= max(horizon_months, window_months) <= MONTHS:
        raise WinbackError(f"horizon_months is {horizon_months}, window_months {window_months}; the simulated telecom "
                           f"is known for 1 to {MONTHS}.")  # fmt: skip
    paths = _Paths(horizon=horizon_months, window=window_months, rate=discount_rate)
    found = [_moments(variant, arm, paths=paths, reached=reached) for arm in ARMS]
    mean, noise, believed = (np.stack(part) for part in zip(*found, strict=True))
    return Evidence(arms=ARMS, holdout=ARMS[0], columns=paths.columns, mean=mean, noise=noise, believed=believed,
                    df=BUCKETS - 1.0)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Paths:
    """The ways a second life can go: return after so many months, stay for so many."""

    horizon: int
    window: int
    rate: float

    @property
    def columns(self) -> tuple[tuple[str, int], ...]:
        """The columns of the evidence."""
        months = range(self.horizon)
        return (*((name, month) for name in ("value", "cost", "active") for month in months),
                ("returned", self.window - 1))  # fmt: skip

    def of(self, delay: tuple[float, ...]) -> Floats:
        """Return what each path adds to the columns: (paths, parts, columns).

        Paths run over months to return and months of life. Parts: margin; a cost a month for each promotion's
        length; being active or returned at all.
        """
        start = np.repeat(np.arange(len(delay)), MONTHS)
        life = np.tile(np.arange(1, MONTHS + 1), len(delay))
        month = np.arange(self.horizon)
        discount = money.discount_factors(self.horizon, rate=self.rate)
        parts = np.zeros((len(start), 2 + len(PROMOTIONS), len(self.columns)))
        stays = (month >= start[:, None]) & (month < (start + life)[:, None])
        parts[:, 0, : self.horizon] = stays * discount
        for place, length in enumerate(PROMOTIONS, start=1):
            promoted = stays & (month < (start + length)[:, None])
            parts[:, place, self.horizon : 2 * self.horizon] = promoted * discount
        parts[:, -1, 2 * self.horizon : 3 * self.horizon] = stays
        parts[:, -1, -1] = start < self.window
        return parts


def _moments(variant: World, arm: str, *, paths: _Paths, reached: float) -> tuple[Floats, Floats, Floats]:
    """Return (mean, covariance within strata, covariance) of one customer of an arm."""
    chances, columns = chances_of(variant), paths.columns
    share, stratum = np.diff(chances.upto, prepend=0.0), np.eye(len(chances.strata))[chances.stratum]
    by_stratum, second = np.zeros((len(chances.strata), len(columns))), np.zeros((len(columns), len(columns)))
    for way in _ways(variant, arm, reached=reached):
        lives = -np.diff(way.survival, append=0.0)  # P(life = l months); what is longer counts as the longest
        weight = np.einsum("k,d,kl->kdl", share * way.chance, way.delay, lives).reshape(len(share), -1)
        size = np.column_stack((chances.margin / CENTS, way.costs, np.ones(len(share))))
        square = np.einsum("ki,kj->kij", size, size)
        square[:, 0, 0] *= _uneven(variant)
        part = paths.of(way.delay)
        # einsum, not BLAS: the same bits whatever the number of threads.
        by_stratum += np.einsum("psi,pic->sc", np.einsum("kp,ki,ks->psi", weight, size, stratum), part)
        half = np.einsum("pij,pic->pjc", np.einsum("kp,kij->pij", weight, square), part)
        second += np.einsum("pjc,pjd->cd", half, part)
    mean = by_stratum.sum(axis=0)
    within = second - np.einsum("sc,sd->cd", by_stratum / (share @ stratum)[:, None], by_stratum)
    contact = np.array([CONTACT_COST * (arm != ARMS[0] and column == ("cost", 0)) for column in columns])
    return mean + contact, within, second - np.outer(mean, mean)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """One of the ways to come back: by the offer, or alone; arrays over kinds of customers."""

    chance: Floats
    survival: Floats  # (kinds, months): P(life > t months)
    delay: tuple[float, ...]
    costs: Floats  # (kinds, promotions): a month


def _ways(variant: World, arm: str, *, reached: float) -> tuple[_Way, _Way]:
    """Return who takes the offer, and who returns without: nobody does both."""
    chances, a = chances_of(variant), ARMS.index(arm)
    alone, accept = chances.survival[chances.curve_alone], chances.accept[:, a] * reached
    if variant.effect:
        taken, lives, delay = accept, chances.survival[chances.curve_offer[:, a]], RETURN_DELAY
    else:
        taken, lives, delay = accept * chances.alone, alone, SPONTANEOUS_DELAY
    costs = _costs(variant, arm)
    return (
        _Way(chance=taken, survival=lives, delay=delay, costs=costs),
        _Way(chance=(1 - accept) * chances.alone, survival=alone, delay=SPONTANEOUS_DELAY, costs=np.zeros_like(costs)),
    )


def _costs(variant: World, arm: str) -> Floats:
    """Return what a month of each promotion costs for each kind of customer: (kinds, promotions)."""
    chances = chances_of(variant)
    if arm == ARMS[0]:
        return np.zeros((len(chances.stratum), len(PROMOTIONS)))
    offers = [variant.offers[TAILORED[reason] if arm == "tailored" else arm] for reason, _ in chances.strata]
    monthly = [{months: cost for cost, months in offer.monthly_costs} for offer in offers]
    return np.array([[paid.get(length, 0.0) for length in PROMOTIONS] for paid in monthly])[chances.stratum]


def _uneven(variant: World) -> float:
    """Return the mean square of a customer's margin relative to its mean: lognormal, and whales."""
    few, whale = WHALES, variant.whale
    return math.exp(MARGIN_SIGMA**2) * (1 - few + few * whale**2) / (1 - few + few * whale) ** 2
