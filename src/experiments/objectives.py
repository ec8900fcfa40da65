"""What decides: each objective is a function of the joint replicates of an offer's gains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Replicates = NDArray[np.float64]
    Numbers = Mapping[str, Replicates]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What an objective may need to know besides the data."""

    minimum_returned: float = 0.0  # lift below which an offer is too small to be chosen on its ROI; share, 0 to 1
    retained_value: float = 0.0  # w: what a customer still active at the horizon is worth, in currency


NO_TERMS = Terms()


def terms_of(sheet: object) -> Terms:
    """Return the terms a sheet sets; those it does not know are zero."""
    return Terms(
        minimum_returned=getattr(sheet, "minimum_returned", 0.0), retained_value=getattr(sheet, "retained_value", 0.0)
    )


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
    eligible: Callable[[Numbers, Terms], NDArray[np.bool_]] = everyone


def _gain(name: str) -> Callable[[Numbers, Terms], Replicates]:
    return lambda numbers, _: numbers[name]


def profit_and_share(numbers: Numbers, terms: Terms) -> Replicates:
    """Return net plus w for each customer still active at the horizon."""
    return np.asarray(numbers["net"] + terms.retained_value * numbers["active_gained"])


OBJECTIVES: dict[str, Objective] = {
    "profit": Objective(
        goal="net profit per customer contacted", unit="money", needs=("net",), score=_gain("net")),
    "roi": Objective(
        goal="return on investment", unit="ratio", needs=("roi", "lift"), score=_gain("roi"), eligible=enough_lift),
    "returned": Objective(
        goal="the share who returned", unit="share", needs=("lift",), score=_gain("lift")),
    "months": Objective(
        goal="months retained", unit="months", needs=("months_gained",), score=_gain("months_gained")),
    "market_share": Objective(
        goal="the share active at the horizon", unit="share", needs=("active_gained",), score=_gain("active_gained")),
    "profit_and_share": Objective(
        goal="net profit plus the value of customers still active", unit="money", needs=("net", "active_gained"),
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
