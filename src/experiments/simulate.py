"""A telecom with known truth: raw tables of any size, and the exact value of every estimand.

The world is a finite set of customer kinds, so the truth is a sum, not a simulation.
Source: section 9 of the design, after Kumar, Bhagwat & Zhang, Journal of Marketing 79(4), 2015.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments.assign import assign
from experiments.errors import WinbackError, did_you_mean
from experiments.tables import connect, sql, write_parquet

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

MONTHS = 30  # the longest follow-up a simulated customer can have
REASONS = {"price": 0.40, "service": 0.30, "both": 0.12, "other": 0.18}
REFERRAL = {1: 0.2, 0: 0.8}  # 1: came by another customer's recommendation
COMPLAINT = {"none": (0.60, 0.0), "resolved": (0.22, 0.10), "unresolved": (0.18, -0.60)}  # share, logit of accepting
TIERS = {"A": (0.2, 2.2), "B": (0.3, 1.1), "C": (0.5, 0.46)}  # share, margin relative to the mean
GOODWILL = (1, -1)  # hidden, half each
CHURN = 0.07  # mean share leaving a month in the second lifetime
CHURN_BY_REASON = {"price": 0.85, "service": 1.10, "both": 1.45, "other": 1.0}
CHURN_BY_GOODWILL = {1: 0.75, -1: 1.25}
PRECISION = 200  # alpha + beta of the beta-geometric
MARGIN = 79.864  # a month, in currency
MARGIN_BY_REASON = {"price": 0.95, "service": 1.10, "both": 1.0, "other": 1.0}
SPONTANEOUS_BY_REASON = {"price": 0.25, "service": -0.15, "both": -0.5, "other": 0.3}
RETURN_DELAY: tuple[float, ...] = (0.7, 0.2, 0.1)  # months from acceptance to the first bill
SPONTANEOUS_DELAY = tuple(0.8**k / sum(0.8**j for j in range(12)) for k in range(12))
WHALES = 0.01  # share of customers worth many times the others
CONTACT_COST = 5.0
LEAST_LOGIT = -700  # below it exp() overflows and the chance is 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedOffer:
    """What an offer does to a simulated customer; money in currency, churn relative to no offer."""

    accept: float
    by_reason: dict[str, float]
    churn: float
    promotion_ends: int
    drop_at_end: float
    monthly_costs: tuple[tuple[float, int], ...]  # (cost a month, months) while active


OFFERS = {
    "discount": SimulatedOffer(
        accept=-0.1753,
        by_reason={"price": 0.45, "service": -0.25, "both": -1.3, "other": -0.1},
        churn=0.9754,
        promotion_ends=6,
        drop_at_end=0.08,
        monthly_costs=((20.0, 6),),
    ),
    "upgrade": SimulatedOffer(
        accept=-0.2732,
        by_reason={"price": -0.05, "service": 0.15, "both": -1.3, "other": -0.1},
        churn=0.9962,
        promotion_ends=3,
        drop_at_end=0.03,
        monthly_costs=((35.0, 3),),
    ),
    "bundle": SimulatedOffer(
        accept=-0.1786,
        by_reason={"price": 0.35, "service": 0.10, "both": -1.0, "other": -0.1},
        churn=0.9841,
        promotion_ends=6,
        drop_at_end=0.10,
        monthly_costs=((20.0, 6), (35.0, 3)),
    ),
}
TAILORED = {"price": "discount", "service": "upgrade", "both": "bundle", "other": "discount"}
ARMS = ("holdout", "discount", "upgrade", "bundle", "tailored")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One variant of the telecom. The defaults are the base world of section 9."""

    spontaneous: float = -3.3  # logit of returning without an offer; -inf: nobody does
    effect: bool = True  # False: only those who return anyway accept, so an offer gives money away
    whale: float = 8.0  # how many times the others a whale is worth
    follow_up_by_goodwill: bool = False  # loyal customers were assigned earlier: informative follow-up


WORLDS = {
    "base": World(),
    "no_effect": World(effect=False),
    "no_spontaneous": World(spontaneous=-math.inf),
    "heavy_tail": World(whale=50.0),
    "informative_follow_up": World(follow_up_by_goodwill=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """The exact estimands of one arm, per assigned customer; value and cost discounted, in currency."""

    accepted: float
    returned: float
    months: float
    value: float
    cost: float


def world(name: str) -> World:
    """Return a variant of the telecom by name."""
    if name not in WORLDS:
        raise WinbackError(f"There is no simulated world {name!r}. {did_you_mean(name, WORLDS)}")
    return WORLDS[name]


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
    `reason` restricts to customers lost for it. Reproduces the table of section 9.
    """
    if not 1 <= horizon_months <= MONTHS:
        raise WinbackError(f"horizon_months is {horizon_months}; the simulated telecom is known for 1 to {MONTHS}.")
    kinds, odds, curves = _kinds(), _odds(variant), _curves()
    cells = kinds.merge(odds, on="kind", validate="one_to_many")
    if reason is not None:
        cells = cells[cells["reason"] == reason].assign(share=lambda frame: frame["share"] / REASONS[reason])
    discount = np.asarray((1 + discount_rate / 12) ** -(np.arange(horizon_months) + 0.5))
    return {
        str(arm): _arm_truth(rows, variant, curves=curves, discount=discount, window=window_months)
        for arm, rows in cells.groupby("arm", sort=False)
    }


def _arm_truth(
    rows: pd.DataFrame,
    variant: World,
    *,
    curves: NDArray[np.float64],
    discount: NDArray[np.float64],
    window: int,
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
    running = sum(
        (_delayed(np.where(np.arange(MONTHS) < months, lives, 0), delay)[:, :horizon] @ discount)
        * rows[f"cost_{months}"].to_numpy()
        for months in (3, 6)
    )
    contacted = CONTACT_COST if rows["arm"].iloc[0] != "holdout" else 0.0
    by_window = by_offer * sum(RETURN_DELAY[:window]) + alone * sum(SPONTANEOUS_DELAY[:window])
    return Truth(
        accepted=float(share @ taking),
        returned=float(share @ by_window),
        months=float(share @ active.sum(axis=1)),
        value=float((share * rows["margin"]) @ (active @ discount)),
        cost=contacted + float(share @ (taking * running)),
    )


def _delayed(curves: NDArray[np.float64], delay: tuple[float, ...]) -> NDArray[np.float64]:
    """Return P(active in month t) for lives that begin after a random delay."""
    active = np.zeros_like(curves)
    for months, weight in enumerate(delay):
        active[:, months:] += weight * curves[:, : curves.shape[1] - months]
    return active


def _kinds() -> pd.DataFrame:
    """Return the kinds of customers with their shares and margin a month: 144 rows."""
    import pandas as pd

    rows = [
        {
            "reason": reason,
            "referral": referral,
            "complaint": complaint,
            "tier": tier,
            "goodwill": goodwill,
            "share": share_r * share_f * share_c * share_t / len(GOODWILL),
            "margin": MARGIN * margin * MARGIN_BY_REASON[reason],
        }
        for (reason, share_r), (referral, share_f), (complaint, (share_c, _)), (tier, (share_t, margin)), goodwill in (
            product(REASONS.items(), REFERRAL.items(), COMPLAINT.items(), TIERS.items(), GOODWILL)
        )
    ]
    kinds = pd.DataFrame(rows).rename_axis("kind").reset_index()
    return kinds.assign(upto=kinds["share"].cumsum().clip(upper=1.0).mask(kinds.index == len(kinds) - 1, 1.0))


def _curve_keys() -> list[tuple[str | None, str, int]]:
    return list(product((None, *OFFERS), REASONS, GOODWILL))


def _odds(variant: World) -> pd.DataFrame:
    """Return, for each kind and arm, the chances to accept and to return alone, and the curves after it."""
    import pandas as pd

    keys = {key: number for number, key in enumerate(_curve_keys())}
    rows = []
    for kind, arm in product(_kinds().to_dict("records"), ARMS):
        reason, goodwill = kind["reason"], kind["goodwill"]
        name = None if arm == "holdout" else TAILORED[reason] if arm == "tailored" else arm
        logit = 0.45 * kind["referral"] + COMPLAINT[kind["complaint"]][1] + 0.5 * goodwill
        alone = variant.spontaneous + SPONTANEOUS_BY_REASON[reason] + 0.3 * kind["referral"] + 0.4 * goodwill
        offer = OFFERS[name] if name else None
        monthly = {months: cost for cost, months in offer.monthly_costs} if offer else {}
        rows.append(
            {
                "kind": kind["kind"],
                "arm": arm,
                "p_accept": _expit(offer.accept + offer.by_reason[reason] + logit) if offer else 0.0,
                "p_spontaneous": _expit(alone),
                "curve_offer": keys[name, reason, goodwill],
                "curve_alone": keys[None, reason, goodwill],
                "cost_3": monthly.get(3, 0.0),
                "cost_6": monthly.get(6, 0.0),
            }
        )
    return pd.DataFrame(rows)


def _curves() -> NDArray[np.float64]:
    """Return P(second lifetime > t months) for each offer, reason and goodwill: shape (curves, MONTHS)."""
    curves = []
    for name, reason, goodwill in _curve_keys():
        offer = OFFERS[name] if name else None
        churn = CHURN * (offer.churn if offer else 1.0) * CHURN_BY_REASON[reason] * CHURN_BY_GOODWILL[goodwill]
        alpha = PRECISION * churn
        beta = PRECISION - alpha
        stay = (beta + np.arange(MONTHS - 1)) / (PRECISION + np.arange(MONTHS - 1))  # Fader & Hardie 2007, eq. 8
        if offer:
            stay[offer.promotion_ends - 1] *= 1 - offer.drop_at_end
        curves.append(np.concatenate(([1.0], np.cumprod(stay))))
    return np.array(curves)


def _expit(logit: float) -> float:
    return 1 / (1 + math.exp(-logit)) if logit > LEAST_LOGIT else 0.0


def simulate(
    folder: Path,
    *,
    customers: int,
    seed: int,
    variant: World = WORLDS["base"],
    shares: dict[str, float] | None = None,
    history: bool = True,
    until: str = "2026-07-01",
    experiment: str = "telecom",
) -> None:
    """Write the raw tables of a simulated company to `folder` as Parquet.

    `customers` lost customers are assigned to the arms by `shares` (equal by default). With
    `history` there are also the bills before the loss and twice as many customers who stayed.
    The engine draws everything from md5 of seed and customer: the same on any machine and thread count.
    Tables: customers, purchases, reasons, assignments, contacts (section 3). Money has two decimals.
    """
    if customers < 1:
        raise WinbackError(f"customers is {customers}; a simulated company needs at least 1 lost customer.")
    import pandas as pd

    shares = shares or dict.fromkeys(ARMS, 1 / len(ARMS))
    if unknown := [arm for arm in shares if arm not in ARMS]:
        raise WinbackError(f"The simulated telecom has no arm {unknown[0]!r}. {did_you_mean(unknown[0], ARMS)}")
    folder.mkdir(parents=True, exist_ok=True)
    small = {
        "kinds": _kinds(),
        "odds": _odds(variant),
        "survival": pd.DataFrame(_curves()).melt(ignore_index=False, var_name="month", value_name="survival")
        .rename_axis("curve").reset_index(),
        "delays": _delays(),
    }  # fmt: skip
    with connect() as con:
        for name, frame in small.items():
            con.register(name, frame)
        settings = {
            "seed": str(seed),
            "customers": customers,
            "stayed": 2 * customers if history else 0,
            "effect": variant.effect,
            "whale": variant.whale,
            "goodwill_follow_up": variant.follow_up_by_goodwill,
            "until": until,
            "max_months": MONTHS,
            "history": history,
            "experiment": experiment,
        }
        for name, value in settings.items():
            con.execute(f"SET VARIABLE {name} = ?", [value])
        con.execute(sql("simulate"))
        assign(con, shares=shares, seed=seed)
        con.execute(sql("simulate_outcomes"))
        for table in ("customers", "reasons", "assignments", "contacts", "purchases"):
            write_parquet(con, table, folder / f"{table}.parquet")


def _delays() -> pd.DataFrame:
    """Return the intervals of a uniform number that stand for each delay of return in months."""
    import pandas as pd

    parts = []
    for by_offer, weights in ((True, RETURN_DELAY), (False, SPONTANEOUS_DELAY)):
        upto = np.cumsum(weights)
        upto[-1] = 1.0
        above = np.concatenate(([0.0], upto[:-1]))
        parts.append(pd.DataFrame({"by_offer": by_offer, "delay": range(len(weights)), "above": above, "upto": upto}))
    return pd.concat(parts)
