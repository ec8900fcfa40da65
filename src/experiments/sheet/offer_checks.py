"""Does an offer fit? What a head of marketing would want to be warned about before anybody is called."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from experiments.common.formatting import money, share
from experiments.common.language import later, say
from experiments.sheet.offer_kinds import KINDS
from experiments.sheet.offers import NO_END, Offer, costs_of

LEAST_DISCOUNT = 0.05  # of what a customer pays; for 2 % nobody comes back
LEAST_DAYS = 7  # to accept: a week, so that a caller can try again
EXPIRES = later("Give the customer a month: `expires_days: 30`.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What may be wrong with an offer; a warning, the test goes on."""

    offer: str
    check: str  # of FITS
    what: str
    cure: str

    def __str__(self) -> str:
        return f"{self.offer}: {self.what} {self.cure}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An offer, and what it is judged by."""

    name: str
    offer: Offer
    offers: Mapping[str, Offer]
    currency: str
    second_value: float | None
    monthly_value: float | None

    @property
    def most(self) -> float:
        """Cost of a customer at full take-up who stays through every promotion and brings the second value."""
        costs = costs_of(self.name, self.offers, factors=None, decimals=0, full=True)
        endless = sum(part for part, months in costs.price_shares if months == NO_END)
        return costs.head + (costs.value_share + endless) * (self.second_value or 0)

    def money(self, value: float) -> str:
        """Return an amount as it is read."""
        return money(value, self.currency)


def fits(
    offers: Mapping[str, Offer], *, second_value: float | None, currency: str, monthly_value: float | None = None
) -> tuple[Fit, ...]:
    """Return what may be wrong with the offers of a sheet (`Sheet.every_offer`), in their order.

    `second_value`: what a returned customer brings, in currency, before costs; `monthly_value`: a month. None where
    nobody knows: then what rests on it is not judged.
    """
    known = {"offers": offers, "currency": currency, "second_value": second_value, "monthly_value": monthly_value}
    cases = [Case(name=name, offer=offer, **known) for name, offer in offers.items()]  # type: ignore[arg-type]
    return tuple(
        Fit(offer=case.name, check=check, what=what, cure=cure)
        for case in cases
        for check, judge in FITS.items()
        for what, cure in judge(case)
    )


Warnings = Iterator[tuple[str, str]]  # what, cure


def bare_apology(case: Case) -> Warnings:
    """Warn of words alone; an apology bundled with an offer is not alone."""
    company = {part for other in case.offers.values() if case.name in other.bundle for part in other.bundle}
    alone = all(case.offers[part].kind == "apology" for part in company)
    if case.offer.kind == "apology" and not case.offer.worth and alone:
        what = say("an apology that gives nothing is words, and may anger once more.")
        yield what, say("Add a gesture, such as `worth: 15`, or bundle it with an offer.")


def small_discount(case: Case) -> Warnings:
    """Warn of a discount that nobody notices."""
    offer, part = case.offer, 0.0
    if offer.percent is not None:
        part = float(offer.percent) / 100
    elif offer.kind in ("discount", "subscription") and offer.given_per == "month" and case.monthly_value:
        part = float(offer.worth or 0) / case.monthly_value
    if 0 < part < LEAST_DISCOUNT:
        what = say("it takes off {share} of what the customer pays: nobody comes back for that.", share=share(part))
        cure = later("Give {least} or more, for fewer months if it must not cost more.")
        yield what, say(cure, least=share(LEAST_DISCOUNT, digits=0))


def nothing_given(case: Case) -> Warnings:
    """Warn of a worth, a cost or a use of zero."""
    for setting in ("worth", "percent", "take_up", "marginal_share"):
        if getattr(case.offer, setting) == 0:
            what = later("with `{setting}: 0` it is worth nothing, is never used, or is free for the company.")
            yield say(what, setting=setting), say("Correct `{setting}`, or leave the offer out.", setting=setting)


def too_dear(case: Case) -> Warnings:
    """Warn of an offer that costs more than the customer brings, if it is used in full."""
    if case.second_value is not None and case.most > case.second_value:
        what = say("at full take-up it costs {cost} a customer; a returned customer brings {brings}.",
                   cost=case.money(case.most), brings=case.money(case.second_value))  # fmt: skip
        yield what, say("Give less, or for fewer months, or only to those who bring more (`kind: tailored`).")


def dear_month(case: Case) -> Warnings:
    """Warn of an offer that takes more a month than the customer brings in it."""
    costs = costs_of(case.name, case.offers, factors=None, decimals=0, full=True)
    monthly = sum(cost for cost, _ in costs.monthly)
    if case.monthly_value is not None and monthly > case.monthly_value:
        what = say("it costs {cost} a month, and a customer brings {brings}: every month of it is a loss.",
                   cost=case.money(monthly), brings=case.money(case.monthly_value))  # fmt: skip
        yield what, say("Give less a month, for longer.")


def no_expiry(case: Case) -> Warnings:
    """Warn of a paper or code without a last day."""
    bundled = any(case.name in other.bundle and other.expires_days for other in case.offers.values())
    kind = case.offer.kind
    if kind and KINDS[kind].expires and case.offer.expires_days is None and not bundled:
        what = say("it has no last day: nothing hurries the customer, and it may be used years later.")
        yield what, say(EXPIRES)


def short_expiry(case: Case) -> Warnings:
    """Warn of a last day that comes before a caller could try again."""
    days = case.offer.expires_days
    if days is not None and days < LEAST_DAYS:
        what = say("it expires within a week ({days} of {least} days): many hear of it too late.", days=days,
                   least=LEAST_DAYS)  # fmt: skip
        yield what, say(EXPIRES)


def bound_for_nothing(case: Case) -> Warnings:
    """Warn of a lock-in without anything given in return."""
    gives = ("worth", "percent", "gift", "monthly", "value_share", "bundle", "choose")
    if case.offer.lock_in_months and not any(getattr(case.offer, setting) for setting in gives):
        what = say("it binds the customer and gives nothing for it.")
        yield what, say("Say what it is `worth`, or drop `lock_in_months`.")


def bound_longer(case: Case) -> Warnings:
    """Warn of a lock-in that outlasts what is given for it."""
    bound, given = case.offer.lock_in_months, case.offer.months
    if bound and given and bound > given:
        what = say("it binds for {bound} months and gives for {given}: the customer finds out, and tells others.",
                   bound=bound, given=given)  # fmt: skip
        cure = later("Set `months: {bound}` at a smaller worth, or `lock_in_months: {given}`.")
        yield what, say(cure, bound=bound, given=given)


def bundle_of_one(case: Case) -> Warnings:
    """Warn of a bundle that bundles nothing, or one thing twice."""
    parts = case.offer.bundle
    if len(parts) == 1:
        only = repr(parts[0])
        yield (
            say("it is a bundle of {part} alone.", part=only),
            say("Add a second offer, or use {part} itself.", part=only),
        )
    for part in dict.fromkeys(part for part in parts if parts.count(part) > 1):
        what = later("it has {part} {times} times, and costs it as often.")
        yield say(what, part=repr(part), times=parts.count(part)), say("Keep one.")


def one_target(case: Case) -> Warnings:
    """Warn of a tailored rule that gives everybody the same."""
    targets = set(case.offer.choose.values())
    if len(targets) == 1:
        (target,) = targets
        what = later("it gives {target} whatever the {factor} is: nothing is tailored.")
        cure = say("Choose at least two offers, or use {target} itself.", target=repr(target))
        yield say(what, target=repr(target), factor=str(case.offer.by)), cure


def at_list_price(case: Case) -> Warnings:
    """Warn where nobody said what the company's own goods cost it."""
    offer = case.offer
    if offer.kind and not KINDS[offer.kind].full_cost and offer.worth and offer.marginal_share is None:
        what = say("it is counted at its list price, {price}; your own goods cost you less.",
                   price=case.money(float(offer.worth)))  # fmt: skip
        yield what, say("Say what part of it you pay: `marginal_share: 0.4`, or `marginal_share: 1` if it is all.")


def everybody_claims(case: Case) -> Warnings:
    """Warn of a guarantee that is counted as if everybody claimed it."""
    if case.offer.kind == "guarantee" and case.offer.take_up == 1:
        what = say("it is counted as if every customer claimed it.")
        yield what, say("Say how many will, such as `take_up: 0.05`.")


def without_end(case: Case) -> Warnings:
    """Warn of a percentage that never ends."""
    if case.offer.percent and case.offer.months is None:
        what = say("the percentage has no end: it is given as long as the customer buys.")
        yield what, say("Say for how long, such as `months: 6`.")


FITS: dict[str, Callable[[Case], Warnings]] = {
    "bare_apology": bare_apology,
    "small_discount": small_discount,
    "nothing_given": nothing_given,
    "too_dear": too_dear,
    "dear_month": dear_month,
    "no_expiry": no_expiry,
    "short_expiry": short_expiry,
    "bound_for_nothing": bound_for_nothing,
    "bound_longer": bound_longer,
    "bundle_of_one": bundle_of_one,
    "one_target": one_target,
    "at_list_price": at_list_price,
    "everybody_claims": everybody_claims,
    "without_end": without_end,
}
