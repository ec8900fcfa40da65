"""What a customer of an arm is expected to cost by the sheet, and at most, before anybody is contacted."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.sheet.offers import NO_END, Costs, Offer, costs_of, fixed_of
from experiments.sheet.sheet import Sheet


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How the customers of an arm are expected to go; numbers of one assigned customer, money in currency."""

    returned: float  # share
    active: tuple[float, ...] | None = None  # share active in a month, the fullest first; None: all who returned stay
    value: float = 0.0  # what a customer brings up to the horizon
    monthly: float | None = None  # what a returned one brings a month; None: nobody knows

    def promoted(self, months: int) -> float:
        """Return the months of a promotion that a customer takes.

        The fullest months stand for the first of each customer, as if all returned at once: 2.25 of six months where
        the simulated telecom's discount has 2.26.
        """
        return self.returned * months if self.active is None else sum(self.active[:months])

    def paid(self, months: int) -> float:
        """Return the value of which a percentage for so many months is taken; where nobody knows a month, all."""
        if months == NO_END or self.monthly is None:
            return self.value
        return min(self.value, self.monthly * self.promoted(months))


def stated_cost(sheet: Sheet, name: str, course: Course, *, full: bool = False) -> float:
    """Return what a customer of an arm costs by the sheet, in currency: the contact, and all else of who returned.

    A percentage is of what customers pay: of the value over the margin's share. `full`: whatever the take-up. Of the
    offers that an arm may choose, the dearest.
    """

    def cost(costs: Costs) -> float:
        gifts = course.returned * costs.gift + sum(part * course.promoted(months) for part, months in costs.monthly)
        paid = sum(part * course.paid(months) for part, months in costs.price_shares) / sheet.margin_share
        minor: int = 10**sheet.decimals
        return (costs.attempt + gifts) / minor + costs.value_share * course.value + paid

    return cost(costs_of(name, sheet.every_offer, factors=None, decimals=sheet.decimals, full=full, dearest=cost))


def fixed_a_head(sheet: Sheet, name: str, customers: int) -> float:
    """Return what is paid once for an arm, spread over its customers."""
    return 0.0 if name == sheet.holdout else float(fixed_of(name, sheet.every_offer)) / customers


def without_fixed(sheet: Sheet) -> Sheet:
    """Return a sheet whose offers cost nothing that is paid once."""

    def running(offer: Offer) -> Offer:
        return offer.model_copy(update={"fixed": 0} | ({"worth": 0} if offer.given_per == "campaign" else {}))

    homes = {"arms": sheet.arms, "catalogue": sheet.catalogue}
    return sheet.model_copy(update={home: {name: running(offer) for name, offer in offers.items()}
                                    for home, offers in homes.items()})  # fmt: skip
