"""The kinds of offers a win-back team uses: what each costs by default, what it needs, what it says to a customer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Per = Literal["acceptor", "month", "contact", "campaign"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of offer. Who adds one adds an entry to KINDS, and a row to docs/sheet.md."""

    tells: str  # to the customer: {amount} is its worth, {span} " a month, for 6 months" where it runs
    per: Per = "acceptor"  # what its cost is counted by
    full_cost: bool = True  # costs its face value; False: own goods cost less, by a `marginal_share` to be given
    needs: tuple[str, ...] = ("worth",)  # settings of the sheet
    percent: bool = False  # may be given in percent of what the customer pays
    expires: bool = False  # a paper or code, which needs a last day
    made_of: tuple[str, ...] = ()  # the settings that name its parts, whose costs it has instead of its own


KINDS: dict[str, Kind] = {
    "discount": Kind(tells="{amount} off{span}", per="month", percent=True),
    "coupon": Kind(tells="a coupon of {amount}{span}", percent=True, expires=True),
    "promo_code": Kind(tells="a promo code of {amount}{span}", percent=True, expires=True),
    "certificate": Kind(tells="a certificate of {amount}", expires=True),
    "gift": Kind(tells="a gift worth {amount}{span}", full_cost=False),
    "upgrade": Kind(tells="an upgrade worth {amount}{span}", per="month", full_cost=False),
    "free_period": Kind(tells="free of charge, worth {amount}{span}", per="month", full_cost=False),
    "extra_service": Kind(tells="a free extra service worth {amount}{span}", per="month", full_cost=False),
    "status": Kind(tells="a status with advantages worth {amount}{span}", per="month", full_cost=False),
    "partnership": Kind(tells="a gift of a partner worth {amount}{span}", full_cost=False),
    "bonus": Kind(tells="a bonus of {amount}{span}", per="month", percent=True),
    "subscription": Kind(tells="a subscription with {amount} off{span}", per="month", percent=True,
                         needs=("worth", "lock_in_months")),
    "guarantee": Kind(tells="{amount} back if we do not keep our word"),
    "fee_borne": Kind(tells="we bear your fee of {amount}"),
    "apology": Kind(tells="{amount} to say sorry", needs=()),
    "event": Kind(tells="an invitation to an event", per="campaign"),
    "bundle": Kind(tells="", needs=("bundle",), made_of=("bundle",)),
    "tailored": Kind(tells="", needs=("by", "choose"), made_of=("by", "choose")),
}  # fmt: skip
