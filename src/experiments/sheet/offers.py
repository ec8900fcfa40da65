"""The offers of a test and what each costs: a few cost shapes, added up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import reduce
from graphlib import CycleError, TopologicalSorter
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from experiments.common.errors import WinbackError, did_you_mean
from experiments.sheet.strict import Strict

Money = Decimal
Share = Decimal
Per = Literal["acceptor", "month", "contact", "campaign"]

PRICED = ("worth", "percent", "months", "per", "marginal_share", "take_up")  # what a kind is priced by
LOW_LEVEL = ("gift", "monthly", "value_share")  # cost shapes written out, instead of a kind
PARTS = ("bundle", "by", "choose")
MOST_PARTS, DEEPEST = 1_000, 10  # of an offer made of offers, each as often as it is named
NO_END = 0  # months of a percentage that runs as long as the customer buys


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


class Monthly(Strict):
    """A running cost: paid each month the customer is active, for so many months from the first purchase."""

    cost: Money = Field(ge=0, description="cost a month, at marginal cost")
    months: int = Field(ge=1, le=60, description="how many months the promotion runs")


class Offer(Strict):
    """An arm of the test: its share of customers, and what it is: a kind and its worth, or cost shapes written out."""

    share: float = Field(default=1.0, allow_inf_nan=False, description="planned share; any unit, for example 3 : 2 : 2")
    label: str = Field(default="", description="name on the page")
    kind: str | None = Field(default=None, description="what it is, such as discount or gift")
    worth: Money | None = Field(default=None, ge=0, description="list price or face value of what the customer gets")
    percent: Share | None = Field(default=None, ge=0, le=100, description="instead of worth: of what the customer pays")
    months: int | None = Field(default=None, ge=1, le=60, description="how many months it runs")
    per: Per | None = Field(default=None, description="what the worth is given by: acceptor, month, contact, campaign")
    marginal_share: Share | None = Field(default=None, ge=0, le=1, description="what it costs, as a share of its worth")
    take_up: Share = Field(default=Share(1), ge=0, le=1, description="share of those who accept who make use of it")
    expires_days: int | None = Field(default=None, ge=1, description="days after the assignment to accept and use it")
    lock_in_months: int | None = Field(default=None, ge=1, description="how long the customer is bound")
    terms: str = Field(default="", description="further terms, in words the caller says")
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

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str | None) -> str | None:
        if kind is not None and kind not in KINDS:
            raise ValueError(f"There is no kind {kind!r}. {did_you_mean(kind, KINDS)}")
        return kind

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        """Refuse settings that make no sense together; a message begins with the setting it is about."""
        refused = next(_refusals(self, KINDS[self.kind]) if self.kind else _without_kind(self), None)
        if refused:
            raise ValueError(refused)
        return self

    @property
    def given_per(self) -> Per | None:
        """What the worth is given by: as said, or as usual for the kind; None without a kind."""
        return self.per or (KINDS[self.kind].per if self.kind else None)

    def has(self, setting: str) -> bool:
        """Tell whether a setting says something."""
        return bool(getattr(self, setting) != type(self).model_fields[setting].get_default(call_default_factory=True))

    def price(self, *, full: bool = False) -> Money:
        """Return what its worth costs, each time it is given; `full`: if everybody makes use of it."""
        return self._costing(self.worth or Money(0), full=full)

    def price_share(self, *, full: bool = False) -> Share:
        """Return what it costs as a share of what the customer pays."""
        return self._costing((self.percent or Share(0)) / 100, full=full)

    def _costing(self, worth: Decimal, *, full: bool) -> Decimal:
        used = Share(1) if full else self.take_up
        return worth * (Share(1) if self.marginal_share is None else self.marginal_share) * used


def _without_kind(offer: Offer) -> Iterator[str]:
    for name in filter(offer.has, PRICED):
        yield f"{name}: only an offer with a `kind` has it. Write for example `kind: discount`, or leave `{name}` out."


def _refusals(offer: Offer, kind: Kind) -> Iterator[str]:
    """Tell what makes no sense for an offer of this kind."""
    yield from _foreign(offer, kind)
    yield from _missing(offer, kind)
    yield from _percentage(offer, kind)
    yield from _shape(offer)


def _foreign(offer: Offer, kind: Kind) -> Iterator[str]:
    cure = "it costs what its parts cost" if kind.made_of else "say what it is `worth`"
    for name in filter(offer.has, (*LOW_LEVEL, *(PRICED if kind.made_of else PARTS))):
        if name not in kind.made_of:
            yield f"{name}: an offer of kind {offer.kind!r} has no `{name}`: {cure}. Leave it out, or `kind`."


def _missing(offer: Offer, kind: Kind) -> Iterator[str]:
    for name in kind.needs:
        if not offer.has(name) and not (name == "worth" and offer.has("percent")):
            either = " or `percent`" if name == "worth" and kind.percent else ""
            yield f"{name}: the kind {offer.kind!r} needs `{name}`{either}: {Offer.model_fields[name].description}."


def _percentage(offer: Offer, kind: Kind) -> Iterator[str]:
    if not offer.has("percent"):
        return
    if not kind.percent:
        rated = ", ".join(name for name, other in KINDS.items() if other.percent)
        yield f"percent: the kind {offer.kind!r} is worth money. Write `worth: 20`; in percent may be: {rated}."
    if offer.has("worth"):
        yield "percent: there is `worth` too. Keep one: money, or percent of what the customer pays."
    if offer.has("per"):
        yield "per: a percentage is of what the customer pays, month by month. Leave `per` out."


def _shape(offer: Offer) -> Iterator[str]:
    """Tell what does not go with what the worth is given by."""
    if not offer.has("worth"):
        for name in () if offer.has("percent") else filter(offer.has, PRICED):
            yield f"{name}: there is nothing it could be about. Say what the offer is `worth`."
        return
    per = offer.given_per
    if per == "month" and not offer.has("months"):
        yield "months: what is given by the month needs `months`: for how many?"
    if per != "month" and offer.has("months"):
        yield f"months: it is given once for each {per}. Leave `months` out, or write `per: month`."
    if per == "campaign" and offer.has("take_up"):
        yield "take_up: a campaign is paid for whoever makes use of it. Leave `take_up` out."


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What an offer costs, in minor units; a letter may cost a part of one."""

    contact: float = 0
    enclosed: float = 0  # given with each contact
    gift: float = 0
    monthly: tuple[tuple[float, int], ...] = ()  # (cost a month, months)
    value_share: float = 0.0  # of the margin that acceptors bring
    price_shares: tuple[tuple[float, int], ...] = ()  # (share of what acceptors pay, months or NO_END)

    def __add__(self, other: Costs) -> Costs:
        """Return both offers together: one contact (the dearer), everything else added."""
        return Costs(
            contact=max(self.contact, other.contact),
            enclosed=self.enclosed + other.enclosed,
            gift=self.gift + other.gift,
            monthly=self.monthly + other.monthly,
            value_share=self.value_share + other.value_share,
            price_shares=self.price_shares + other.price_shares,
        )

    @property
    def attempt(self) -> float:
        """Cost of one contact, with what is given at it."""
        return self.contact + self.enclosed

    @property
    def head(self) -> float:
        """Cost of a customer who is contacted once, accepts and stays through every promotion; without shares."""
        return self.attempt + self.gift + sum(cost * months for cost, months in self.monthly)

    @property
    def shares(self) -> float:
        """Share of what a customer brings or pays that it costs."""
        return self.value_share + sum(part for part, _ in self.price_shares)

    @property
    def months(self) -> tuple[int, ...]:
        """The lengths of its promotions."""
        return tuple(months for _, months in (*self.monthly, *self.price_shares) if months != NO_END)

    @property
    def by_acceptors(self) -> bool:
        """Whether who accepts matters for the cost."""
        return bool(self.gift or self.monthly or self.value_share or self.price_shares)


# What a worth costs, by what it is given by: (minor units, months). What a campaign costs: `fixed_of`.
SHAPES: dict[Per, Callable[[float, int], Costs]] = {
    "acceptor": lambda cost, _: Costs(gift=cost),
    "month": lambda cost, months: Costs(monthly=((cost, months),)),
    "contact": lambda cost, _: Costs(enclosed=cost),
    "campaign": lambda _, __: Costs(),
}


def own_costs(offer: Offer, *, decimals: int, full: bool = False) -> Costs:
    """Return what an offer costs by itself, without its parts; `full`: if everybody makes use of it."""
    minor, months = 10**decimals, offer.months or NO_END
    written = Costs(
        contact=float(offer.contact * minor),
        gift=float(offer.gift * minor),
        monthly=tuple((float(term.cost * minor), term.months) for term in offer.monthly),
        value_share=offer.value_share,
    )
    if offer.percent is not None:
        return written + Costs(price_shares=((float(offer.price_share(full=full)), months),))
    if offer.worth is not None and offer.given_per is not None:
        return written + SHAPES[offer.given_per](float(offer.price(full=full) * minor), months)
    return written


def costs_of(
    name: str,
    offers: Mapping[str, Offer],
    *,
    factors: Mapping[str, str] | None,
    decimals: int,
    full: bool = False,
    dearest: Callable[[Costs], float] = lambda costs: costs.head,
) -> Costs:
    """Return what `name` costs for customers of a stratum, what it is made of included.

    `factors`: the stratum, for example {"reason": "price", "tier": "A"}; None: of the offers it may choose, the
    `dearest`. `full`: the worst case, everybody who accepts makes use of it, whatever `take_up` says.
    """
    offer = offers[name]

    def cost(part: str) -> Costs:
        return costs_of(part, offers, factors=factors, decimals=decimals, full=full, dearest=dearest)

    parts = [cost(part) for part in offer.bundle]
    if offer.choose and factors is None:
        parts.append(max(map(cost, offer.choose.values()), key=dearest))
    elif offer.choose and factors is not None:
        parts.append(cost(chosen(name, offer, factors)))
    return reduce(Costs.__add__, parts, own_costs(offer, decimals=decimals, full=full))


def chosen(name: str, offer: Offer, factors: Mapping[str, str]) -> str:
    """Return the offer that customers with these factors get; refuse a value nobody thought of."""
    value = factors.get(offer.by, "")
    if value not in offer.choose:
        raise WinbackError(
            f"Offer {name!r} chooses by {offer.by!r}, but says nothing about {value!r}. "
            f"{did_you_mean(value, offer.choose)} Or add it to `choose`."
        )
    return offer.choose[value]


def made_of(name: str, offers: Mapping[str, Offer]) -> set[str]:
    """Return an offer and all that it is made of, itself again where it goes in a circle."""
    found, open_ends = set(), [name]
    while open_ends:
        part = open_ends.pop()
        if part in offers and part not in found:
            found.add(part)
            open_ends += parts_of(offers[part])
    return found


def parts_of(offer: Offer) -> tuple[str, ...]:
    """Return the offers that an offer names as its parts."""
    return (*offer.bundle, *offer.choose.values())


def tangled(offers: Mapping[str, Offer]) -> tuple[str, str] | None:
    """Return an offer made of itself, or of more parts than anybody means, and what to say behind its name."""
    size, levels = dict.fromkeys(offers, 1), dict.fromkeys(offers, 1)
    try:
        order = [*TopologicalSorter({name: parts_of(offer) for name, offer in offers.items()}).static_order()]
    except CycleError as error:
        part, name = error.args[1][:2]
        setting = "bundle" if part in offers[name].bundle else "choose"
        return name, f".{setting}: {name!r} is made of {part!r}, which is made of {name!r}. Break the circle."
    for name in order:
        for part in parts_of(offers[name]):
            size[name] += size[part]
            levels[name] = max(levels[name], levels[part] + 1)
        if size[name] > MOST_PARTS or levels[name] > DEEPEST:
            return name, f": {name!r} is made of too many offers, one in the other. Name fewer parts."
    return None


def fixed_of(name: str, offers: Mapping[str, Offer]) -> Money:
    """Return the campaign cost of an offer and of all that it is made of, each once."""
    parts = [offers[part] for part in made_of(name, offers)]
    given = (offer.price(full=True) for offer in parts if offer.given_per == "campaign")
    return sum((offer.fixed for offer in parts), start=sum(given, start=Money(0)))


def durations(offers: Mapping[str, Offer]) -> tuple[int, ...]:
    """Return the different promotion lengths of a catalogue, in months."""
    costs = (own_costs(offer, decimals=0) for offer in offers.values())
    return tuple(sorted({months for cost in costs for _, months in cost.monthly}))


def percentages(offers: Mapping[str, Offer]) -> tuple[int, ...]:
    """Return for how many months, or NO_END, the offers of a catalogue give a part of what customers pay."""
    costs = (own_costs(offer, decimals=0) for offer in offers.values())
    return tuple(sorted({months for cost in costs for _, months in cost.price_shares}))
