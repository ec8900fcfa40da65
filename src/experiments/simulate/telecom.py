"""A telecom with known truth: raw tables of any size, cubes by the thousand, and the exact value of every estimand.

The world is a finite set of customer kinds, so the truth is a sum, not a simulation.
Source: section 9 of the design, after Kumar, Bhagwat & Zhang, Journal of Marketing 79(4), 2015.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments.common.errors import WinbackError, did_you_mean
from experiments.data.randomise import assign
from experiments.data.tables import connect, sql, write_parquet
from experiments.sheet.sheet import SEPARATOR

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Counts = NDArray[np.int64]
    Floats = NDArray[np.float64]

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
RHYTHMS = {1: 0.60, 2: 0.25, 3: 0.15}  # months from bill to bill in the first lifetime, share of customers
SKIPPED = 0.08  # chance that a bill between the first and the last does not come
LOST_MONTHS = (3, 24)  # the last bill before a loss came so many months before the company looks at its customers
SHORTEST = 8  # months of the shortest first lifetime, the longest has 30 more
CHANGES = (  # months before the look, what the company changed, losses in the two months after relative to others
    (19, "new assortment", 1.0),
    (14, "call centre outsourced", 1.5),
    (9, "price +8 %", 2.0),
    (4, "open on Saturdays", 1.0),
)
LEAST_LOGIT = -700  # below it exp() overflows and the chance is 0
TABLES = ("customers", "reasons", "assignments", "contacts", "purchases")
HISTORY_TABLES = ("changes", "inquiries", "known_lost")


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedOffer:
    """What an offer does to a simulated customer; money in currency, churn relative to no offer."""

    accept: float
    by_reason: dict[str, float]
    churn: float
    promotion_ends: int
    drop_at_end: float
    monthly_costs: tuple[tuple[float, int], ...]  # (cost a month, months) while active
    turn: tuple[int, float, float] = (0, 1.0, 1.0)  # churn of the first so many months times this, later times that


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
PROMOTIONS = (3, 6)  # the different lengths in months
TAILORED = {"price": "discount", "service": "upgrade", "both": "bundle", "other": "discount"}
ARMS = ("holdout", "discount", "upgrade", "bundle", "tailored")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One variant of the telecom. The defaults are the base world of section 9."""

    offers: Mapping[str, SimulatedOffer] = field(default_factory=lambda: OFFERS, hash=False)
    spontaneous: float = -3.3  # logit of returning without an offer; -inf: nobody does
    effect: bool = True  # False: only those who return anyway accept, so an offer gives money away
    whale: float = 8.0  # how many times the others a whale is worth
    follow_up_by_goodwill: bool = False  # loyal customers were assigned earlier: informative follow-up
    follow_up: Mapping[str, float] = field(default_factory=dict, hash=False)  # by arm, power of u: above 1 is shorter
    cure: float = 0.0  # share of those who return that never leaves again
    mislabelled: float = 0.0  # share whose recorded reason is one of the three others


WORLDS = {
    "base": World(),
    "no_effect": World(effect=False),
    "no_spontaneous": World(spontaneous=-math.inf),
    "heavy_tail": World(whale=50.0),
    "informative_follow_up": World(follow_up_by_goodwill=True),
    "follow_up_by_arm": World(follow_up={"discount": 0.5, "bundle": 2.0}),
    "many_spontaneous": World(spontaneous=-1.006),  # 30 % of the holdout return
    "crossing": World(offers=OFFERS | {"upgrade": replace(OFFERS["upgrade"], turn=(8, 0.4, 2.0))}),
    "cure": World(cure=0.3),
    "no_cliff": World(offers={name: replace(offer, drop_at_end=0.0) for name, offer in OFFERS.items()}),
    "mislabelled": World(mislabelled=0.2),
    "zero_acceptances": World(offers={name: replace(offer, accept=-math.inf) for name, offer in OFFERS.items()}),
    "equal": World(offers=dict.fromkeys(OFFERS, OFFERS["discount"])),  # four names of one offer
}


def world(name: str) -> World:
    """Return a variant of the telecom by name."""
    if name not in WORLDS:
        raise WinbackError(f"There is no simulated world {name!r}. {did_you_mean(name, WORLDS)}")
    return WORLDS[name]


def _kinds(variant: World) -> pd.DataFrame:
    """Return the kinds of customers with their shares and margin a month: 144 rows, 576 where reasons are confused."""
    import pandas as pd

    rows = [
        {
            "reason": reason,
            "recorded": recorded,
            "referral": referral,
            "complaint": complaint,
            "tier": tier,
            "goodwill": goodwill,
            "share": share_r * share_f * share_c * share_t / len(GOODWILL) * _label_share(variant, reason, recorded),
            "margin": MARGIN * margin * MARGIN_BY_REASON[reason],
        }
        for (reason, share_r), (referral, share_f), (complaint, (share_c, _)), (tier, (share_t, margin)), goodwill in (
            product(REASONS.items(), REFERRAL.items(), COMPLAINT.items(), TIERS.items(), GOODWILL)
        )
        for recorded in (REASONS if variant.mislabelled else (reason,))
    ]
    kinds = pd.DataFrame(rows).rename_axis("kind").reset_index()
    return kinds.assign(upto=kinds["share"].cumsum().clip(upper=1.0).mask(kinds.index == len(kinds) - 1, 1.0))


def _label_share(variant: World, reason: str, recorded: str) -> float:
    """Return the chance that a reason is recorded as `recorded`."""
    return 1 - variant.mislabelled if recorded == reason else variant.mislabelled / (len(REASONS) - 1)


def _curve_keys() -> list[tuple[str | None, str, int]]:
    return list(product((None, *OFFERS), REASONS, GOODWILL))


def _odds(variant: World) -> pd.DataFrame:
    """Return, for each kind and arm, the chances to accept and to return alone, the curves after it, the follow-up."""
    import pandas as pd

    keys = {key: number for number, key in enumerate(_curve_keys())}
    rows = []
    for kind, arm in product(_kinds(variant).to_dict("records"), ARMS):
        reason, goodwill = kind["reason"], kind["goodwill"]
        name = None if arm == "holdout" else TAILORED[kind["recorded"]] if arm == "tailored" else arm
        logit = 0.45 * kind["referral"] + COMPLAINT[kind["complaint"]][1] + 0.5 * goodwill
        alone = variant.spontaneous + SPONTANEOUS_BY_REASON[reason] + 0.3 * kind["referral"] + 0.4 * goodwill
        offer = variant.offers[name] if name else None
        power = (0.5 if goodwill > 0 else 2.0) if variant.follow_up_by_goodwill else variant.follow_up.get(arm, 1.0)
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
                "power": power,
            }
        )
    return pd.DataFrame(rows)


def _curves(variant: World) -> NDArray[np.float64]:
    """Return P(second lifetime > t months) for each offer, reason and goodwill: shape (curves, MONTHS)."""
    curves = []
    for name, reason, goodwill in _curve_keys():
        offer = variant.offers[name] if name else None
        churn = CHURN * (offer.churn if offer else 1.0) * CHURN_BY_REASON[reason] * CHURN_BY_GOODWILL[goodwill]
        alpha = PRECISION * churn
        beta = PRECISION - alpha
        stay = (beta + np.arange(MONTHS - 1)) / (PRECISION + np.arange(MONTHS - 1))  # Fader & Hardie 2007, eq. 8
        if offer:
            stay[offer.promotion_ends - 1] *= 1 - offer.drop_at_end
            until, early, late = offer.turn
            times = np.where(np.arange(MONTHS - 1) < until, early, late)
            stay = np.where(times == 1, stay, 1 - (1 - stay) * times)
        curves.append(np.concatenate(([1.0], np.cumprod(stay))))
    return variant.cure + (1 - variant.cure) * np.array(curves) if variant.cure else np.array(curves)


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

    `customers` lost customers are assigned to the arms by `shares` (equal by default). With `history` there are
    also the bills before the loss, twice as many customers who stayed, a tenth as many lost whom nobody assigns,
    and the tables of what the company knew: changes, inquiries, known_lost. The test itself is the same.
    The engine draws everything from md5 of seed and customer: the same on any machine and thread count.
    Tables: customers, purchases, reasons, assignments, contacts (section 3). Money has two decimals.
    """
    if customers < 1:
        raise WinbackError(f"customers is {customers}; a simulated company needs at least 1 lost customer.")
    shares = shares or dict.fromkeys(ARMS, 1 / len(ARMS))
    if unknown := [arm for arm in shares if arm not in ARMS]:
        raise WinbackError(f"The simulated telecom has no arm {unknown[0]!r}. {did_you_mean(unknown[0], ARMS)}")
    folder.mkdir(parents=True, exist_ok=True)
    with connect() as con:
        for name, frame in _small_tables(variant).items():
            con.register(name, frame)
        settings = {
            "seed": str(seed),
            "customers": customers,
            "stayed": 2 * customers if history else 0,
            "others": customers // 10 if history else 0,
            "effect": variant.effect,
            "whale": variant.whale,
            "until": until,
            "max_months": MONTHS,
            "skipped": SKIPPED,
            "shortest": SHORTEST,
            "experiment": experiment,
        }
        for name, value in settings.items():
            con.execute(f"SET VARIABLE {name} = ?", [value])
        con.execute(sql("simulate"))
        assign(con, shares=shares, seed=seed)
        con.execute(sql("simulate_outcomes"))
        if history:
            con.execute(sql("simulate_history"))
        con.execute("SET preserve_insertion_order = true")
        for table in TABLES + (HISTORY_TABLES if history else ()):  # sorted: the same bytes from any number of cores
            write_parquet(con, f"(FROM {table} ORDER BY ALL)", folder / f"{table}.parquet")


def _small_tables(variant: World) -> dict[str, pd.DataFrame]:
    """Return what the engine draws customers from."""
    import pandas as pd

    return {
        "kinds": _kinds(variant),
        "odds": _odds(variant),
        "survival": pd.DataFrame(_curves(variant)).melt(ignore_index=False, var_name="month", value_name="survival")
        .rename_axis("curve").reset_index(),
        "delays": _delays(),
        "losses": _losses(),
        "company_changes": pd.DataFrame(CHANGES, columns=["month", "what", "times"]),
    }  # fmt: skip


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


def _losses() -> pd.DataFrame:
    """Return the intervals of a uniform number that stand for each rhythm and month of the last bill.

    A customer is lost when the next bill should have come. Months count backwards from the look, and nobody is lost
    after it; losses are even but for the two months after a change that drives customers away.
    """
    import pandas as pd

    rows = []
    for rhythm, share in RHYTHMS.items():
        last = np.arange(max(LOST_MONTHS[0], rhythm + 1), LOST_MONTHS[1] + 1)
        weights = np.ones(len(last))
        for month, _, times in CHANGES:
            weights[np.isin(last - rhythm, (month, month - 1))] *= times
        rows.append(pd.DataFrame({"rhythm": rhythm, "month": last, "share": share * weights / weights.sum()}))
    losses = pd.concat(rows, ignore_index=True)
    return losses.assign(above=losses["share"].cumsum().shift(fill_value=0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chances:
    """What the telecom draws from, as arrays over kinds (K) and arms (A)."""

    upto: Floats  # (K,) cumulated shares of the kinds
    strata: tuple[tuple[str, str], ...]  # (recorded reason, tier)
    stratum: Counts  # (K,) place in `strata`
    margin: Floats  # (K,) mean cents a month
    accept: Floats  # (K, A)
    alone: Floats  # (K,)
    power: Floats  # (K, A) of the uniform number behind the follow-up
    curve_offer: Counts  # (K, A)
    curve_alone: Counts  # (K,)
    survival: Floats  # (curves, MONTHS)


@lru_cache(maxsize=32)
def chances_of(variant: World) -> _Chances:
    """Return the chances of every kind of customer: whether they accept, return alone, and how long they stay."""
    kinds, odds = _kinds(variant), _odds(variant)
    grid = {name: odds[name].to_numpy().reshape(len(kinds), len(ARMS)) for name in odds.columns}
    labels = list(zip(kinds["recorded"], kinds["tier"], strict=True))
    strata = tuple(sorted(set(labels), key=SEPARATOR.join))
    return _Chances(
        upto=kinds["upto"].to_numpy(),
        strata=strata,
        stratum=np.array([strata.index(label) for label in labels]),
        margin=100 * kinds["margin"].to_numpy(),
        accept=grid["p_accept"],
        alone=grid["p_spontaneous"][:, 0],
        power=grid["power"],
        curve_offer=grid["curve_offer"],
        curve_alone=grid["curve_alone"][:, 0],
        survival=_curves(variant),
    )
