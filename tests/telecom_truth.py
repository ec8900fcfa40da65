"""The truth of the simulated telecom, summed exactly; and its cubes drawn in numpy, for studies of thousands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from experiments.common.errors import WinbackError
from experiments.data.randomise import BUCKETS
from experiments.metrics.cube import NO_CAP, WINSORISED, Cube
from experiments.sheet.sheet import SEPARATOR
from experiments.simulate.telecom import (
    ARMS,
    CONTACT_COST,
    MONTHS,
    PROMOTIONS,
    RETURN_DELAY,
    RHYTHMS,
    SHORTEST,
    SKIPPED,
    SPONTANEOUS_DELAY,
    WHALES,
    WORLDS,
    World,
    _Chances,
    _curves,
    _kinds,
    _odds,
    chances_of,
)

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Counts = NDArray[np.int64]
    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """The exact estimands of one arm, per assigned customer; value and cost discounted, in currency."""

    accepted: float
    returned: float
    months: float
    value: float
    cost: float
    value_accepted: float = 0.0  # the part that acceptors brought
    active_by_month: tuple[float, ...] = field(default=(), compare=False)
    value_by_month: tuple[float, ...] = field(default=(), compare=False)
    cost_by_month: tuple[float, ...] = field(default=(), compare=False)


def truth(
    variant: World = WORLDS["base"],
    *,
    horizon_months: int = 24,
    window_months: int = 12,
    discount_rate: float = 0.10,
    reason: str | None = None,
) -> dict[str, Truth]:
    """Return the exact estimands of every arm, as sums over the kinds of customers.

    `discount_rate` is nominal a year, applied mid-month: (1 + rate/12) ** -(t + 1/2).
    `reason` restricts to customers recorded as lost for it. Reproduces the table of section 9.
    """
    if not 1 <= horizon_months <= MONTHS:
        raise WinbackError(f"horizon_months is {horizon_months}; the simulated telecom is known for 1 to {MONTHS}.")
    kinds, odds, curves = _kinds(variant), _odds(variant), _curves(variant)
    cells = kinds.merge(odds, on="kind", validate="one_to_many")
    if reason is not None:
        recorded = float(kinds.loc[kinds["recorded"] == reason, "share"].sum())
        cells = cells[cells["recorded"] == reason].assign(share=lambda frame: frame["share"] / recorded)
    discount = np.asarray((1 + discount_rate / 12) ** -(np.arange(horizon_months) + 0.5))
    return {
        str(arm): _arm_truth(rows, variant, curves=curves, discount=discount, window=window_months)
        for arm, rows in cells.groupby("arm", sort=False)
    }


def _arm_truth(
    rows: pd.DataFrame, variant: World, *, curves: NDArray[np.float64], discount: NDArray[np.float64], window: int
) -> Truth:
    horizon = len(discount)
    accept, spontaneous = rows["p_accept"].to_numpy(), rows["p_spontaneous"].to_numpy()
    free_rider = accept * spontaneous  # where offers have no effect, these alone accept
    by_offer = accept if variant.effect else np.zeros_like(accept)
    alone = (1 - by_offer) * spontaneous
    active_offer = _delayed(curves[rows["curve_offer"]], RETURN_DELAY)[:, :horizon]
    active_alone = _delayed(curves[rows["curve_alone"]], SPONTANEOUS_DELAY)[:, :horizon]
    active = by_offer[:, None] * active_offer + alone[:, None] * active_alone
    if variant.effect:
        taking, lives, delay = by_offer, curves[rows["curve_offer"]], RETURN_DELAY
    else:
        taking, lives, delay = free_rider, curves[rows["curve_alone"]], SPONTANEOUS_DELAY
    share = rows["share"].to_numpy()
    earning = share * rows["margin"].to_numpy()
    promoted = {
        months: _delayed(np.where(np.arange(MONTHS) < months, lives, 0), delay)[:, :horizon] for months in PROMOTIONS
    }
    running = sum((promoted[months] @ discount) * rows[f"cost_{months}"].to_numpy() for months in PROMOTIONS)
    contacted = CONTACT_COST if rows["arm"].iloc[0] != "holdout" else 0.0
    spent = sum((share * taking * rows[f"cost_{months}"].to_numpy()) @ promoted[months] for months in PROMOTIONS)
    by_window = by_offer * sum(RETURN_DELAY[:window]) + alone * sum(SPONTANEOUS_DELAY[:window])
    return Truth(
        accepted=float(share @ taking),
        returned=float(share @ by_window),
        months=float(share @ active.sum(axis=1)),
        value=float(earning @ (active @ discount)),
        cost=contacted + float(share @ (taking * running)),
        value_accepted=float((earning * taking) @ (_delayed(lives, delay)[:, :horizon] @ discount)),
        active_by_month=tuple(map(float, share @ active)),
        value_by_month=tuple(map(float, earning @ active * discount)),
        cost_by_month=tuple(map(float, spent * discount + contacted * (np.arange(horizon) == 0))),
    )


def _delayed(curves: NDArray[np.float64], delay: tuple[float, ...]) -> NDArray[np.float64]:
    """Return P(active in month t) for lives that begin after a random delay."""
    active = np.zeros_like(curves)
    for months, weight in enumerate(delay):
        active[:, months:] += weight * curves[:, : curves.shape[1] - months]
    return active


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawn:
    """The customers of one experiment; money in cents. Who has `first` >= `watched` was not seen to return."""

    arm: Counts
    stratum: Counts
    bucket: Counts
    accepted: NDArray[np.bool_]
    watched: Counts  # months of follow-up, capped
    first: Counts  # month of the first purchase
    after: Counts  # the month after the last purchase seen
    margin: Floats  # a month
    before: Floats  # value before the assignment


def draw_cube(
    variant: World,
    customers_per_arm: int,
    *,
    rng: np.random.Generator,
    months: int = 24,
    factors: tuple[str, ...] = ("reason", "tier"),
) -> Cube:
    """Return the cube of one experiment, drawn in numpy: same distribution as `simulate` and `make_cube`.

    Milliseconds, where the engine needs a second: for studies of thousands of experiments. The assignment is
    stratified by recorded reason and tier like the engine's, so an arm may be a few customers off
    `customers_per_arm`. `factors`: those of the cube's strata, ("reason",) or ("reason", "tier").
    """
    if customers_per_arm < 1:
        raise WinbackError(f"customers_per_arm is {customers_per_arm}; an experiment needs at least 1 an arm.")
    chances = chances_of(variant)
    drawn = _draw(variant, chances, customers_per_arm * len(ARMS), rng=rng, months=months)
    labels = [SEPARATOR.join(label[: len(factors)]) for label in chances.strata]
    strata = tuple(dict.fromkeys(labels))
    lane = np.array([strata.index(label) for label in labels])[drawn.stratum]
    return _fold(drawn, (drawn.arm * len(strata) + lane) * BUCKETS + drawn.bucket, strata=strata, months=months)


def _draw(variant: World, chances: _Chances, customers: int, *, rng: np.random.Generator, months: int) -> _Drawn:
    """Draw customers, their offers and their second lifetimes."""
    kind = np.searchsorted(chances.upto, rng.random(customers), side="right")
    kind = kind[np.argsort(chances.stratum[kind], kind="stable")]
    stratum = chances.stratum[kind]
    arm, bucket = _randomise(stratum, rng=rng)
    u_accept, u_alone, u_follow, u_delay, u_life, u_whale, u_history = rng.random((7, customers))
    alone = u_alone < chances.alone[kind]
    accepted = (u_accept < chances.accept[kind, arm]) & (alone | variant.effect)
    by_offer = accepted & variant.effect
    watched = np.minimum(6 + (25 * u_follow ** chances.power[kind, arm]).astype(np.int64), months)
    delays = [np.searchsorted(np.cumsum(d)[:-1], u_delay, side="right") for d in (RETURN_DELAY, SPONTANEOUS_DELAY)]
    first = np.where(by_offer, *delays)
    back = np.flatnonzero((by_offer | alone) & (first < watched))
    curve = np.where(by_offer, chances.curve_offer[kind, arm], chances.curve_alone[kind])[back]
    life = (chances.survival[curve] > u_life[back, None]).sum(axis=1)
    after = np.zeros(customers, np.int64)
    after[back] = np.minimum(first[back] + life, watched[back])
    whale = np.where(u_whale < WHALES, variant.whale, 1.0) / (1 - WHALES + WHALES * variant.whale)
    margin = np.rint(chances.margin[kind] * np.exp(0.6 * rng.standard_normal(customers) - 0.18) * whale)
    rhythm = rng.choice(list(RHYTHMS), size=customers, p=list(RHYTHMS.values()))
    due = 1 + (SHORTEST - 1 + (31 * u_history).astype(np.int64)) // rhythm
    bills = 2 + rng.binomial(due - 2, 1 - SKIPPED)  # the first and the last always come
    return _Drawn(
        arm=arm,
        stratum=stratum,
        bucket=bucket,
        accepted=accepted,
        watched=watched,
        first=np.where(after > 0, first, months),
        after=after,
        margin=margin,
        before=margin * bills,
    )


def _randomise(stratum: Counts, *, rng: np.random.Generator) -> tuple[Counts, Counts]:
    """Return arm and bucket of customers sorted by stratum, as assign.sql and bucket.sql share them out."""
    sizes = np.bincount(stratum)
    place = 1 + np.arange(len(stratum)) - (np.cumsum(sizes) - sizes)[stratum]
    position = (place - rng.random(len(sizes))[stratum]) / sizes[stratum]
    arm = np.clip(np.ceil(position * len(ARMS)).astype(np.int64) - 1, 0, len(ARMS) - 1)
    shuffled = rng.permutation(len(arm))
    order = shuffled[np.argsort(arm[shuffled], kind="stable")]
    counts = np.bincount(arm, minlength=len(ARMS))
    bucket = np.empty_like(arm)
    bucket[order] = (np.arange(len(arm)) - (np.cumsum(counts) - counts)[arm[order]]) % BUCKETS
    return arm, bucket


def _fold(drawn: _Drawn, cell: Counts, *, strata: tuple[str, ...], months: int) -> Cube:
    """Add customers up by cell, like sql/cube.sql; `cell` is the place among arms x strata x buckets."""
    filled, cell = np.unique(cell, return_inverse=True)
    cells = len(filled)

    def total(weights: NDArray[np.generic] | None = None) -> Counts:
        return np.bincount(cell, weights, cells).astype(np.int64)

    def monthly(who: Counts, start: Counts, stop: Counts, weights: Floats | None = None) -> Counts:
        """Add `weights` to the months start <= t < stop of each customer."""
        row, size = cell[who] * (months + 1), cells * (months + 1)
        steps = np.bincount(row + start, weights, size) - np.bincount(row + stop, weights, size)
        return steps.reshape(cells, months + 1).cumsum(axis=-1)[..., :-1].astype(np.int64)

    back = np.flatnonzero(drawn.after > 0)
    took = back[drawn.accepted[back]]
    first, after, margin = drawn.first, drawn.after, drawn.margin
    length = after[took] - first[took]
    stays = after[took] == drawn.watched[took]
    everyone, contacted = np.arange(len(cell)), (drawn.arm != ARMS.index("holdout")).astype(float)
    sums = {
        "assigned": total(),
        "attempts": total(contacted),
        "reached": total(contacted),
        "accepted": total(drawn.accepted.astype(float)),
        "followed": monthly(everyone, np.zeros_like(cell), drawn.watched),
        "active": monthly(back, first[back], after[back]),
        "returned": monthly(back, first[back], drawn.watched[back]),
        "value": monthly(back, first[back], after[back], margin[back]),
        "value_capped": monthly(back, first[back], after[back], _capped(drawn, back)),
        "value_accepted": monthly(took, first[took], after[took], margin[took]),
        "cost": np.zeros((cells, months), np.int64),
        "ended": monthly(took[~stays], length[~stays] - 1, length[~stays]),
        "stayed": monthly(took[stays], length[stays] - 1, length[stays]),
        "before": total(drawn.before),
    }
    for long in PROMOTIONS:
        sums[f"promoted_{long}"] = monthly(took, first[took], np.minimum(after, first + long)[took])
    return Cube(arms=ARMS, strata=strata, dated=True, contacts_known=True, margin_share=1.0, cells=filled, sums=sums)


def _capped(drawn: _Drawn, back: Counts) -> Floats:
    """Return the monthly margin of the returned, winsorised by what one in a hundred of all customers passes."""
    margin = drawn.margin[back]
    value = margin * (drawn.after - drawn.first)[back]
    passing = int((1 - WINSORISED) * len(drawn.arm))
    cap = np.partition(value, -passing - 1)[-passing - 1] if passing < len(value) else NO_CAP
    return np.asarray(np.where(value > cap, np.floor(margin * cap / np.maximum(value, 1)), margin))
