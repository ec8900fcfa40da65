"""What stands behind the table: lifetimes of acceptors, pairs of offers, frontier, segments and who should get what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.common.estimate import Estimate
from experiments.metrics import objectives, retention
from experiments.metrics.estimates import Reading, returned_counts
from experiments.readout import segments, verdict
from experiments.readout import targeting as policy
from experiments.sheet.offers import costs_of
from experiments.sheet.sheet import SEPARATOR
from experiments.stats import survival
from experiments.stats.projection import Projection, project
from experiments.stats.sequential import anytime_lift

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Counts = NDArray[np.int64]

BY_SEGMENT = {"returned": "returned", "months": "months"}  # objective: outcome; of all others the net
EARLY_MONTHS = 3  # re-loss within so many months of the return is early


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """How long the acceptors of an offer stayed. Descriptive: acceptors chose themselves."""

    offer: str
    curve: survival.Curve  # standardised to the mix of all assigned
    months: Estimate  # restricted mean to the common horizon
    early_loss: Estimate
    hazards: tuple[survival.Hazard, ...]
    projection: Projection | None  # beyond the horizon
    all_left: bool = False  # nobody was still buying when last seen: then nothing lies beyond it


@dataclass(frozen=True, slots=True, kw_only=True)
class Lives:
    """Second lifetimes of the acceptors of all offers, on one clock: months from the first purchase."""

    horizon_months: int  # to which every curve is supported
    offers: tuple[Life, ...]
    hazard_ratios: survival.HazardRatios | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Offers against each other."""

    pairs_returned: tuple[verdict.Pair, ...]  # every two arms, holdout included
    pairs_net: tuple[verdict.Pair, ...]  # every two offers
    steps: tuple[objectives.Step, ...]  # from cheap to dear: what one more returned customer costs
    sweep: objectives.Sweep | None  # whom to choose, whatever a retained customer is worth
    shrunken: verdict.Shrunken  # the winner's curse answered


@dataclass(frozen=True, slots=True, kw_only=True)
class Targeting:
    """Which offer for whom: on net money, or on the objective where that is no money."""

    tables: tuple[segments.Segments, ...]
    value: policy.PolicyValue | None
    tailored: tuple[policy.Tailored, ...]


def lives(reading: Reading) -> Lives | None:
    """Return the second lifetimes of acceptors; None without dates or where nobody came back."""
    cube, sheet = reading.cube, reading.sheet
    back = (cube.by_arm("ended") + cube.by_arm("stayed")).sum(axis=1)
    chosen = [a for a in reading.offers if back[a] > 0]
    if not cube.dated or not chosen:
        return None
    mix = retention.mix_of_assigned(cube, arms=chosen)
    curves = [retention.curve_of_acceptors(cube, arm=a, mix=mix, level=sheet.level) for a in chosen]
    horizon = survival.common_horizon(curves)
    tables = [retention.life_table(cube, arm=a) for a in chosen]
    names = [cube.arms[a] for a in chosen]
    ratios = None
    if len(chosen) > 1:
        at_risk, ended = ([table[place] for table in tables] for place in (0, 1))
        ratios = survival.hazard_ratios(at_risk, ended, offers=names, level=sheet.level)
    return Lives(
        horizon_months=horizon,
        offers=tuple(
            _life(reading, a, curve, table, horizon) for a, curve, table in zip(chosen, curves, tables, strict=True)
        ),
        hazard_ratios=ratios,
    )


def _life(reading: Reading, a: int, curve: survival.Curve, table: Sequence[Counts], horizon: int) -> Life:
    sheet, promotion = reading.sheet, _promotion(reading, a)
    at_risk, ended = (counts.sum(axis=0) for counts in table)
    last = min(horizon, reading.horizon - 1)
    left = not reading.cube.by_arm("stayed")[a].sum()
    return Life(
        offer=reading.cube.arms[a],
        curve=curve,
        months=survival.restricted_mean(curve, horizon_months=horizon),
        early_loss=survival.early_loss(curve, within_months=EARLY_MONTHS),
        hazards=survival.hazards(curve, promotion_months=(promotion,) if promotion else ()),
        projection=project(
            at_risk.tolist(), ended.tolist(), active_months=last, discount_rate=sheet.discount_rate,
            promotion_months=promotion, level=sheet.level, seed=sheet.seed)
        if last > promotion and not left else None,
        all_left=left,
    )  # fmt: skip


def _promotion(reading: Reading, a: int) -> int:
    """Return the longest promotion an arm may give, in months; 0 without one."""
    sheet, known = reading.sheet, reading.sheet.every_offer
    factors = [dict(zip(sheet.strata, label.split(SEPARATOR), strict=False)) for label in reading.cube.strata]
    costs = [costs_of(reading.cube.arms[a], known, factors=factor, decimals=sheet.decimals) for factor in factors]
    return max((months for cost in costs for months in cost.months), default=0)


def comparison(reading: Reading) -> Comparison | None:
    """Compare the offers with each other; None without a holdout."""
    if reading.holdout is None:
        return None
    cube, sheet, numbers, offers = reading.cube, reading.sheet, reading.numbers, reading.offers
    names, sizes = [cube.arms[a] for a in offers], [int(cube.assigned[a].sum()) for a in offers]
    df, level = float(reading.df), sheet.level
    net, cost, lift = (numbers[name][:, offers] for name in ("net", "cost_added", "lift"))
    counts = [returned_counts(cube, arms=[a], window_months=sheet.window_months)
              for a in range(len(cube.arms))]  # fmt: skip
    sweep = None
    if "active_gained" in numbers:
        active = numbers["active_gained"][:, offers]
        sweep = objectives.sweep(net, active, offers=names, n=sizes, df=df, level=level)
    return Comparison(
        pairs_returned=verdict.share_pairs(counts, names=cube.arms, level=level),
        pairs_net=verdict.mean_pairs(net, names=names, n=sizes, df=df, unit="money", level=level),
        steps=objectives.frontier(cost, lift, offers=names, n=sizes, df=df, level=level),
        sweep=sweep,
        shrunken=verdict.shrunken(net, offers=names, n=sizes, df=df, unit="money", level=level),
    )


def targeting(reading: Reading) -> Targeting | None:
    """Return which offer gains most in which segment; None without a holdout or without registered segments."""
    cube, sheet = reading.cube, reading.sheet
    if reading.holdout is None:
        return None
    gain = segments.outcome_of(cube, sheet, name=BY_SEGMENT.get(sheet.objective, "net"))
    factors = sheet.segments if sheet.segments is not None else gain.factors
    if not factors:
        return None
    value = None
    if gain.single:
        limits = policy.Limits.of(int(cube.sums["assigned"].sum()), budget=sheet.budget, calls=sheet.calls)
        value = policy.value_of_learning(
            gain,
            factor=factors[0],
            level=sheet.level,
            cost=segments.outcome_of(cube, sheet, name="cost"),
            limits=limits,
            seed=sheet.seed,
        )
    return Targeting(
        tables=segments.segment_table(gain, level=sheet.level, factors=factors),
        value=value,
        tailored=policy.tailored(gain, sheet, level=sheet.level),
    )


def anytime(reading: Reading) -> dict[str, Estimate]:
    """Return the lift of every offer by a confidence sequence: valid at every look, while the test runs."""
    if reading.holdout is None:
        return {}
    cube, sheet = reading.cube, reading.sheet
    month, level = sheet.window_months, 1 - (1 - sheet.level) / len(reading.offers)
    base = returned_counts(cube, arms=[reading.holdout], window_months=month)
    found = {}
    for a in reading.offers:
        planned = int(cube.assigned[[a, reading.holdout]].sum())
        counts = returned_counts(cube, arms=[a], window_months=month)
        found[cube.arms[a]] = anytime_lift(*counts, *base, planned=planned, level=level)
    return found
