"""The offers of a test and what each costs: a few cost shapes, added up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import reduce

from pydantic import BaseModel, ConfigDict, Field

from experiments.errors import WinbackError, did_you_mean

Money = Decimal


class Monthly(BaseModel):
    """A running cost: paid each month the customer is active, for so many months from the first purchase."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cost: Money = Field(ge=0, description="cost a month, at marginal cost")
    months: int = Field(ge=1, le=60, description="how many months the promotion runs")


class Offer(BaseModel):
    """An arm of the test: its share of customers and its cost shapes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    share: float = Field(gt=0, allow_inf_nan=False, description="planned share; any unit, for example 3 : 2 : 2")
    label: str = Field(default="", description="name on the page")
    contact: Money = Field(default=Money(0), ge=0, description="cost of one contact attempt")
    gift: Money = Field(default=Money(0), ge=0, description="cost once for each customer who accepts")
    monthly: tuple[Monthly, ...] = Field(default=(), description="running costs for customers who accepted")
    value_share: float = Field(
        default=0.0, ge=0, allow_inf_nan=False, description="cost as a multiple of what acceptors bring"
    )
    fixed: Money = Field(default=Money(0), ge=0, description="campaign cost, once")
    bundle: tuple[str, ...] = Field(default=(), description="other offers whose costs this one adds up")
    by: str = Field(default="", description="stratum factor that chooses the offer")
    choose: dict[str, str] = Field(default_factory=dict, description="factor value: offer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What an offer costs, in minor units; a letter may cost a part of one."""

    contact: float = 0
    gift: float = 0
    monthly: tuple[tuple[float, int], ...] = ()  # (cost a month, months)
    value_share: float = 0.0

    def __add__(self, other: Costs) -> Costs:
        """Return both offers together: one contact (the dearer), everything else added."""
        return Costs(
            contact=max(self.contact, other.contact),
            gift=self.gift + other.gift,
            monthly=self.monthly + other.monthly,
            value_share=self.value_share + other.value_share,
        )


def costs_of(name: str, offers: Mapping[str, Offer], *, factors: Mapping[str, str], decimals: int) -> Costs:
    """Return what `name` costs for customers of a stratum.

    `factors`: the stratum, for example {"reason": "price", "tier": "A"}. Resolves bundles and
    offers chosen by a factor.
    """
    offer = offers[name]
    minor = 10**decimals
    own = Costs(
        contact=float(offer.contact * minor),
        gift=float(offer.gift * minor),
        monthly=tuple((float(term.cost * minor), term.months) for term in offer.monthly),
        value_share=offer.value_share,
    )
    parts = list(offer.bundle)
    if offer.choose:
        value = factors.get(offer.by, "")
        if value not in offer.choose:
            raise WinbackError(
                f"Offer {name!r} chooses by {offer.by!r}, but says nothing about {value!r}. "
                f"{did_you_mean(value, offer.choose)} Or add it to `choose`."
            )
        parts.append(offer.choose[value])
    return reduce(Costs.__add__, (costs_of(part, offers, factors=factors, decimals=decimals) for part in parts), own)


def made_of(name: str, offers: Mapping[str, Offer]) -> set[str]:
    """Return an offer and all that it is made of, itself again where it goes in a circle."""
    found, open_ends = set(), [name]
    while open_ends:
        part = open_ends.pop()
        if part in offers and part not in found:
            found.add(part)
            open_ends += [*offers[part].bundle, *offers[part].choose.values()]
    return found


def fixed_of(name: str, offers: Mapping[str, Offer]) -> Money:
    """Return the campaign cost of an offer and of all that it is made of, each once."""
    return sum((offers[part].fixed for part in made_of(name, offers)), start=Money(0))


def durations(offers: Mapping[str, Offer]) -> tuple[int, ...]:
    """Return the different promotion lengths of a catalogue, in months."""
    return tuple(sorted({term.months for offer in offers.values() for term in offer.monthly}))
