"""Does an offer fit? What a head of marketing would want to be warned about before anybody is called."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from experiments.common.finding import Fact, Finding
from experiments.sheet.offers import KINDS, NO_END, Offer, costs_of

LEAST_DISCOUNT = 0.05  # of what a customer pays; for 2 % nobody comes back
LEAST_DAYS = 7  # to accept: a week, so that a caller can try again


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An offer, and what it is judged by."""

    name: str
    offer: Offer
    offers: Mapping[str, Offer]
    second_value: float | None
    monthly_value: float | None

    @property
    def most(self) -> float:
        """Cost of a customer at full take-up who stays through every promotion and brings the second value."""
        costs = costs_of(self.name, self.offers, factors=None, decimals=0, full=True)
        endless = sum(part for part, months in costs.price_shares if months == NO_END)
        return costs.head + (costs.value_share + endless) * (self.second_value or 0)


def check_offers(
    offers: Mapping[str, Offer], *, second_value: float | None, monthly_value: float | None = None
) -> tuple[Finding, ...]:
    """Return what may be wrong with the offers of a sheet (`Sheet.every_offer`), in their order: warnings.

    `second_value`: what a returned customer brings, in currency, before costs; `monthly_value`: a month. None where
    nobody knows: then what rests on it is not judged. Each finding's facts name the `offer` and its `label`; its
    sentences are those of `report.wording.offers`.
    """
    return tuple(
        Finding(key=key, state="warn", case=case, facts={"offer": name, "label": offer.label or name, **facts})
        for name, offer in offers.items()
        for key, check in OFFER_CHECKS.items()
        for case, facts in check(
            Case(name=name, offer=offer, offers=offers, second_value=second_value, monthly_value=monthly_value)
        )
    )


Warned = Iterator[tuple[str, dict[str, Fact]]]  # the case of the finding, its facts


def bare_apology(case: Case) -> Warned:
    """Warn of words alone; an apology bundled with an offer is not alone."""
    company = {part for other in case.offers.values() if case.name in other.bundle for part in other.bundle}
    alone = all(case.offers[part].kind == "apology" for part in company)
    if case.offer.kind == "apology" and not case.offer.worth and alone:
        yield "", {}


def small_discount(case: Case) -> Warned:
    """Warn of a discount that nobody notices."""
    offer, part = case.offer, 0.0
    if offer.percent is not None:
        part = float(offer.percent) / 100
    elif offer.kind in ("discount", "subscription") and offer.given_per == "month" and case.monthly_value:
        part = float(offer.worth or 0) / case.monthly_value
    if 0 < part < LEAST_DISCOUNT:
        yield "", {"share": part, "least": LEAST_DISCOUNT}


def nothing_given(case: Case) -> Warned:
    """Warn of a worth, a cost or a use of zero."""
    for setting in ("worth", "percent", "take_up", "marginal_share"):
        if getattr(case.offer, setting) == 0:
            yield "", {"setting": setting}


def too_dear(case: Case) -> Warned:
    """Warn of an offer that costs more than the customer brings, if it is used in full."""
    if case.second_value is not None and case.most > case.second_value:
        yield "", {"cost": case.most, "brings": case.second_value}


def dear_month(case: Case) -> Warned:
    """Warn of an offer that takes more a month than the customer brings in it."""
    costs = costs_of(case.name, case.offers, factors=None, decimals=0, full=True)
    monthly = sum(cost for cost, _ in costs.monthly)
    if case.monthly_value is not None and monthly > case.monthly_value:
        yield "", {"cost": monthly, "brings": case.monthly_value}


def no_expiry(case: Case) -> Warned:
    """Warn of a paper or code without a last day."""
    bundled = any(case.name in other.bundle and other.expires_days for other in case.offers.values())
    kind = case.offer.kind
    if kind and KINDS[kind].expires and case.offer.expires_days is None and not bundled:
        yield "", {}


def short_expiry(case: Case) -> Warned:
    """Warn of a last day that comes before a caller could try again."""
    days = case.offer.expires_days
    if days is not None and days < LEAST_DAYS:
        yield "", {"days": days, "least": LEAST_DAYS}


def bound_for_nothing(case: Case) -> Warned:
    """Warn of a lock-in without anything given in return."""
    gives = ("worth", "percent", "gift", "monthly", "value_share", "bundle", "choose")
    if case.offer.lock_in_months and not any(getattr(case.offer, setting) for setting in gives):
        yield "", {}


def bound_longer(case: Case) -> Warned:
    """Warn of a lock-in that outlasts what is given for it."""
    bound, given = case.offer.lock_in_months, case.offer.months
    if bound and given and bound > given:
        yield "", {"bound": bound, "given": given}


def bundle_of_one(case: Case) -> Warned:
    """Warn of a bundle that bundles nothing, or one thing twice."""
    parts = case.offer.bundle
    if len(parts) == 1:
        yield "alone", {"part": parts[0]}
    for part in dict.fromkeys(part for part in parts if parts.count(part) > 1):
        yield "twice", {"part": part, "times": parts.count(part)}


def one_target(case: Case) -> Warned:
    """Warn of a tailored rule that gives everybody the same."""
    targets = set(case.offer.choose.values())
    if len(targets) == 1:
        yield "", {"target": targets.pop(), "factor": case.offer.by}


def at_list_price(case: Case) -> Warned:
    """Warn where nobody said what the company's own goods cost it."""
    offer = case.offer
    if offer.kind and not KINDS[offer.kind].full_cost and offer.worth and offer.marginal_share is None:
        yield "", {"price": float(offer.worth)}


def everybody_claims(case: Case) -> Warned:
    """Warn of a guarantee that is counted as if everybody claimed it."""
    if case.offer.kind == "guarantee" and case.offer.take_up == 1:
        yield "", {}


def without_end(case: Case) -> Warned:
    """Warn of a percentage that never ends."""
    if case.offer.percent and case.offer.months is None:
        yield "", {}


OFFER_CHECKS: dict[str, Callable[[Case], Warned]] = {
    check.__name__: check
    for check in (
        bare_apology, small_discount, nothing_given, too_dear, dear_month, no_expiry, short_expiry, bound_for_nothing,
        bound_longer, bundle_of_one, one_target, at_list_price, everybody_claims, without_end,
    )
}  # fmt: skip
