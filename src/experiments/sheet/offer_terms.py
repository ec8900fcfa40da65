"""What an offer says to a customer: its name, its terms in words, until when."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import reduce

from experiments.common.formatting import money
from experiments.common.language import rendered
from experiments.sheet.offers import KINDS, Offer, chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An offer as a caller tells it."""

    label: str
    terms: str = ""  # in words: "$20 off a month, for 6 months"
    until: dt.date | None = None  # the last day to accept
    days: int | None = None  # to accept, after the assignment
    gives: bool = True  # False: words alone, such as an apology

    def __add__(self, other: Told) -> Told:
        """Return both together: told one after the other, until the first expires."""
        return Told(
            label=" and ".join(filter(None, (self.label, other.label))),
            terms="; ".join(filter(None, (self.terms, other.terms))),
            until=min(filter(None, (self.until, other.until)), default=None),
            days=min((days for days in (self.days, other.days) if days is not None), default=None),
            gives=self.gives or other.gives,
        )


@rendered
def tell(
    name: str,
    offers: Mapping[str, Offer],
    *,
    factors: Mapping[str, str],
    currency: str,
    told: Mapping[str, Told] | None = None,
    language: str | None = None,  # noqa: ARG001  # of `rendered`
) -> tuple[str, Told]:
    """Return the offer that customers with these factors hear of, and its words.

    Of a tailored offer, or a bundle of one, the part's name and label; the terms and the last day are those of all.
    `told`: words that stand for the catalogue's. `language`: in which amounts are written; without it, that of the
    list they stand in.
    """
    offer, other = offers[name], told or {}
    if name in other:
        return name, other[name]
    parts = [*offer.bundle, *([chosen(name, offer, factors)] if offer.choose else [])]
    own = in_words(name, offer, currency=currency)
    if not parts:
        return name, own
    found = [tell(part, offers, factors=factors, currency=currency, told=told) for part in parts]
    words = reduce(Told.__add__, [*(part for _, part in found), replace(own, label="", gives=False)])
    if len(found) == 1:
        return found[0][0], words
    return name, replace(words, label=offer.label) if offer.label and not offer.choose else words


def in_words(name: str, offer: Offer, *, currency: str) -> Told:
    """Return an offer as told, without its parts.

    >>> offer = Offer(kind="discount", worth=20, months=6, lock_in_months=12, terms="new contracts only")
    >>> in_words("discount", offer, currency="USD").terms
    '$20 off a month, for 6 months; binds for 12 months; new contracts only'
    """
    bound = f"binds for {_months(offer.lock_in_months)}" if offer.lock_in_months else ""
    said = (_gift(offer, currency=currency), bound, offer.terms.rstrip("."))
    gives = offer.kind != "apology" or offer.has("worth")
    return Told(label=offer.label or name, terms="; ".join(filter(None, said)), days=offer.expires_days, gives=gives)


def _gift(offer: Offer, *, currency: str) -> str:
    """Return what a kind gives, in words; nothing without a kind, or where it gives nothing by itself."""
    if offer.kind is None or (offer.worth is None and offer.percent is None):
        return ""
    per_month = " a month" if offer.given_per == "month" and offer.worth is not None else ""
    span = f"{per_month}, for {_months(offer.months)}" if offer.months else ""
    return KINDS[offer.kind].tells.format(amount=_amount(offer, currency=currency), span=span)


def _amount(offer: Offer, *, currency: str) -> str:
    if offer.percent is not None:
        return f"{offer.percent.normalize():f} %"
    worth = offer.worth or 0
    return money(float(worth), currency, digits=0 if worth == int(worth) else 2)


def _months(number: int) -> str:
    return f"{number} month{'' if number == 1 else 's'}"
