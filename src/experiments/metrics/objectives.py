"""What decides: objectives as functions of joint replicates, and what they cost each other.

The frontier weighs returned customers against their cost, the sweep profit against market share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from experiments.common.estimate import Estimate, missing
from experiments.common.language import later
from experiments.sheet.sheet import Sheet
from experiments.stats.intervals import jackknife_ratio

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Replicates = NDArray[np.float64]
    Numbers = Mapping[str, Replicates]

NOTHING = later("doing nothing")  # stands where an offer could: no cost, no lift
IN_LINE = 1e-12  # share; offers on one line do not dominate each other, whatever the last bit says


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What an objective may need to know besides the data."""

    minimum_returned: float = 0.0  # lift below which an offer is too small to be chosen on its ROI; share, 0 to 1
    retained_value: float = 0.0  # w: what a customer still active at the horizon is worth, in currency


NO_TERMS = Terms()


def terms_of(sheet: Sheet) -> Terms:
    """Return the terms a sheet sets."""
    return Terms(minimum_returned=sheet.minimum_returned, retained_value=sheet.retained_value)


def everyone(numbers: Numbers, _terms: Terms) -> NDArray[np.bool_]:
    """Return that every offer may win."""
    return np.ones(next(iter(numbers.values())).shape[1], dtype=bool)


def enough_lift(numbers: Numbers, terms: Terms) -> NDArray[np.bool_]:
    """Return the offers whose lift reaches the minimum; without a minimum every offer does."""
    return np.asarray(numbers["lift"][0] >= terms.minimum_returned) | (terms.minimum_returned <= 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What decides between offers: more is better, doing nothing is 0.

    `score` maps gains against the holdout, name -> (1 + buckets, offers), to one such array.
    """

    goal: str  # after "best on"
    unit: str
    needs: tuple[str, ...]
    score: Callable[[Numbers, Terms], Replicates]
    unknown: str = later("it cannot be estimated for every offer")  # why there may be no ranking
    eligible: Callable[[Numbers, Terms], NDArray[np.bool_]] = everyone


def _gain(name: str) -> Callable[[Numbers, Terms], Replicates]:
    return lambda numbers, _: numbers[name]


def profit_and_share(numbers: Numbers, terms: Terms) -> Replicates:
    """Return net plus w for each customer still active at the horizon."""
    return np.asarray(numbers["net"] + terms.retained_value * numbers["active_gained"])


OBJECTIVES: dict[str, Objective] = {
    "profit": Objective(
        goal=later("net profit per customer"), unit="money", needs=("net",), score=_gain("net")),
    "roi": Objective(
        goal=later("return on investment"), unit="ratio", needs=("roi", "lift"), score=_gain("roi"),
        eligible=enough_lift,
        unknown=later("an offer without cost has no return on investment, and one may be too small to count")),
    "returned": Objective(
        goal=later("the extra share who returned"), unit="points", needs=("lift",), score=_gain("lift")),
    "months": Objective(
        goal=later("months gained"), unit="months", needs=("months_gained",), score=_gain("months_gained")),
    "market_share": Objective(
        goal=later("the extra share active at the horizon"), unit="points", needs=("active_gained",),
        score=_gain("active_gained")),
    "profit_and_share": Objective(
        goal=later("net profit plus the value of customers still active"), unit="money", needs=("net", "active_gained"),
        score=profit_and_share),
}  # fmt: skip


def scores(
    objective: str, numbers: Numbers, *, offers: Sequence[str], terms: Terms = NO_TERMS
) -> tuple[Replicates, tuple[str, ...], tuple[str, ...]] | None:
    """Return (replicates, offers, left out): who competes on an objective, and who is not eligible.

    `numbers`: name -> (1 + buckets, offers), gains against the holdout. None where the objective cannot be
    estimated for every eligible offer (no holdout, no dates, an offer without cost) or nobody is eligible.
    """
    chosen = OBJECTIVES[objective]
    if any(name not in numbers for name in chosen.needs):
        return None
    may = chosen.eligible(numbers, terms)
    replicates = chosen.score(numbers, terms)[:, may]
    if not may.any() or not np.isfinite(replicates).all():
        return None
    names = [tuple(offer for offer, ok in zip(offers, may, strict=True) if ok == wanted) for wanted in (True, False)]
    return replicates, names[0], names[1]


# The frontier: what one more returned customer costs.
@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """An offer on the way from cheap to dear; cost and lift per assigned customer, against the holdout."""

    offer: str
    cost: Estimate
    lift: Estimate
    cost_per_return: Estimate  # cost / lift
    previous: str | None  # the undominated offer before it, or doing nothing; None: there is none
    marginal: Estimate  # (cost - previous cost) / (lift - previous lift); not estimable where it brings no more
    dominated_by: tuple[str, ...]  # one that brings more for less, or two that do when mixed; () on the frontier

    @property
    def dominated(self) -> bool:
        """Whether another offer, or a mix of two, brings as many back for less."""
        return bool(self.dominated_by)


def frontier(
    cost: Replicates, lift: Replicates, *, offers: Sequence[str], n: Sequence[int], df: float, level: float = 0.95
) -> tuple[Step, ...]:
    """Return the offers by cost, each with the marginal cost of one more returned customer.

    `cost` and `lift`: (1 + buckets, offers) per assigned customer, against the holdout. The marginal cost is
    (C - C_previous) / (p - p_previous) with Fieller's interval; an offer is dominated when another brings as many
    for less, by extension when a mix of a cheaper and a dearer one does (Drummond et al. 2015, ch. 4). Doing nothing
    stands at 0, 0.
    """
    points = np.stack([np.pad(sums, ((0, 0), (1, 0))) for sums in (cost, lift)])  # the first point is doing nothing
    by = [dominators(points[0, 0], points[1, 0], i) for i in range(len(offers) + 1)]
    cheap_to_dear = sorted(range(1, len(offers) + 1), key=lambda i: (points[0, 0, i], -points[1, 0, i]))
    names, sizes = (NOTHING, *offers), (0, *n)

    def ratio(above: Replicates, below: Replicates, size: int, unit: str = "money") -> Estimate:
        return jackknife_ratio(above, below, df=df, level=level, n=size, unit=unit)

    def step(i: int) -> Step:
        (own_cost, own_lift), one = points[:, :, i], np.ones(len(cost))
        before = _previous(points[0, 0], by, i)
        further, gap = points[:, :, i] - (0 if before is None else points[:, :, before])
        size = sizes[i] + (0 if before is None else sizes[before])
        more = before is not None and gap[0] > 0
        return Step(
            offer=names[i],
            cost=ratio(own_cost, one, sizes[i]),
            lift=ratio(own_lift, one, sizes[i], "points"),
            cost_per_return=ratio(own_cost, own_lift, sizes[i]),
            previous=None if before is None else names[before],
            marginal=ratio(further, gap, size) if more else missing(level=level, n=size, unit="money"),
            dominated_by=tuple(names[j] for j in by[i]),
        )

    return tuple(map(step, cheap_to_dear))


def _previous(costs: Replicates, by: Sequence[tuple[int, ...]], i: int) -> int | None:
    """Return the dearest undominated point that is cheaper than point i."""
    cheaper = [j for j in range(len(costs)) if not by[j] and costs[j] < costs[i]]
    return max(cheaper, key=lambda j: costs[j], default=None)


def dominators(costs: Replicates, lifts: Replicates, i: int) -> tuple[int, ...]:
    """Return the point, or else the two points of the best mix, that dominate point i; () on the frontier.

    `costs`, `lifts`: (points,), doing nothing among them; a lift is a share, or any gain of the size of 1.
    """
    better = (costs <= costs[i]) & (lifts >= lifts[i]) & ((costs < costs[i]) | (lifts > lifts[i]))
    if better.any():
        return (max(np.flatnonzero(better).tolist(), key=lambda j: (lifts[j], -costs[j])),)
    mixed = _mixed(costs, lifts, i)
    best = np.unravel_index(mixed.argmax(), mixed.shape)
    return tuple(map(int, best)) if mixed[best] > lifts[i] + IN_LINE else ()


def _mixed(costs: Replicates, lifts: Replicates, i: int) -> Replicates:
    """Return the lift of each mix of two points that costs what point i does: (..., cheaper, dearer); else -inf."""
    cheap, dear, own = costs[..., :, None], costs[..., None, :], costs[..., i, None, None]
    between = (cheap < own) & (own < dear)
    weight = np.divide(own - cheap, dear - cheap, out=np.zeros(between.shape), where=between)
    return np.where(between, lifts[..., :, None] + weight * (lifts[..., None, :] - lifts[..., :, None]), -np.inf)


# The sweep: whom to choose, whatever a customer who is still there at the horizon is worth.
@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """The value of a retained customer at which one offer takes over from another."""

    before: str
    after: str
    at: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Who has the highest net + w x active at the horizon, for every value w of a retained customer from 0 up."""

    winners: tuple[str, ...]  # from w = 0 up
    crossings: tuple[Crossing, ...]  # between the winners, one fewer


def sweep(
    net: Replicates, active: Replicates, *, offers: Sequence[str], n: Sequence[int], df: float, level: float = 0.95
) -> Sweep:
    """Return who wins at which value of a retained customer.

    `net` and `active`: (1 + buckets, offers). Two scores cross at w* = (net_a - net_b) / (active_b - active_a), with
    Fieller's interval.
    """
    place = _top(net[0], active[0])
    winners, crossings = [place], []
    while (after := _overtaken(net[0], active[0], place)) is not None:
        less, more = net[:, place] - net[:, after], active[:, after] - active[:, place]
        at = jackknife_ratio(less, more, df=df, level=level, n=n[place] + n[after], unit="money")
        crossings.append(Crossing(before=offers[place], after=offers[after], at=at))
        place = after
        winners.append(place)
    return Sweep(winners=tuple(offers[i] for i in winners), crossings=tuple(crossings))


def _top(net: Replicates, active: Replicates) -> int:
    """Return the winner at w = 0; of equals the one that more customers stay with."""
    return int(np.lexsort((active, net))[-1])


def _overtaken(net: Replicates, active: Replicates, place: int) -> int | None:
    """Return which offer takes over next as w grows; of those at the same w the steepest."""
    gain = active - active[place]
    at = np.divide(net[place] - net, gain, out=np.full_like(net, np.inf), where=gain > 0)
    return int(np.lexsort((-gain, at))[0]) if np.isfinite(at).any() else None
