"""Who counts as lost: `lost:` in the sheet; rules combined with OR, then whom nobody contacts, and whom first."""

from __future__ import annotations

from datetime import date
from typing import Literal, Self

from pydantic import Field, model_validator

from experiments.sheet.strict import Strict

TIMES = 4 / 3  # buys every 3 months: lost after 4
SILENT_DAYS = 90  # for customers whose interval is not known yet


class Limit(Strict):
    """How long a customer may be silent."""

    silent_days: int | None = Field(
        default=None,
        ge=1,
        description="lost after more days than this without a "
        "purchase; beside `times` only where the interval is not known",
    )
    times: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="lost after more than so many of the customer's own purchase intervals",
    )


class Cause(Strict):
    """What the company knows of a reason for leaving."""

    family: Literal["competitor", "company", "customer"] = Field(
        description="whose doing: competitor, company, customer"
    )
    controllable: bool | None = Field(default=None, description="whether the company can remove it; empty: if its own")
    fixed: date | None = Field(default=None, description="the day it was removed for everybody")

    @property
    def ours(self) -> bool:
        """Whether the company can remove it."""
        return self.family == "company" if self.controllable is None else self.controllable


class Audit(Strict):
    """What no table can tell: the company's answers to four of the seven signs."""

    script: bool | None = Field(default=None, description="callers have a script by reason")
    head_knows: bool | None = Field(default=None, description="the head of sales knows the three most frequent reasons")
    regular: bool | None = Field(default=None, description="lost customers are looked at every month")
    technology: bool | None = Field(default=None, description="there is a written way to win customers back")


class Lost(Limit):
    """Who counts as lost: rules combined with OR; then whom nobody contacts, and whom first."""

    as_of: date = Field(description="the day on which the company looks at its customers")
    start: date | None = Field(default=None, description="purchases before this day are not looked at")
    interval: Literal["mean", "median"] = Field(
        default="mean", description="of the days between a customer's purchases"
    )
    minimum_days: int = Field(default=30, ge=0, description="with `times`: nobody is lost earlier than this")
    minimum_purchases: int = Field(default=3, ge=2, description="purchase days from which on an interval is known")
    by: Literal["line", "manager"] | None = Field(default=None, description="column of customers that `each` is about")
    each: dict[str, Limit] = Field(default_factory=dict, description="value of `by`: its own `silent_days`, `times`")
    contractual: bool = Field(default=False, description="customers have contracts: silence alone loses nobody")
    cancelled: bool = Field(default=True, description="lost who cancelled the contract (`cancelled_at`)")
    nps: int | None = Field(default=None, ge=0, le=10, description="lost who would recommend at most so much")
    asked: int | None = Field(default=None, ge=1, description="lost who asked so often and never ordered")
    unreachable: bool = Field(default=False, description="lost who cannot be reached")
    conflict: bool = Field(default=False, description="lost who have an unresolved complaint")
    reasons: dict[str, Cause] = Field(default_factory=dict, description="reason: whose doing, can it be removed")
    fixed_first: bool = Field(default=True, description="no contact before a controllable cause is removed")
    hour_cost: float | None = Field(default=None, ge=0, allow_inf_nan=False, description="money for an hour of work")
    abc: tuple[float, float] = Field(default=(0.80, 0.95), description="share of revenue where A and B end")
    xyz: tuple[float, float] = Field(
        default=(0.80, 0.50), description="share of months with a purchase where X and Y end"
    )
    learn_from: str | None = Field(default=None, description="readout.json of a past test, relative to the sheet")
    audit: Audit = Field(default_factory=Audit)

    @property
    def limit(self) -> Limit:
        """The limit for everybody; without any, 4/3 of the own interval, 90 days where it is not known."""
        given = Limit(silent_days=self.silent_days, times=self.times)
        return given if given != Limit() else Limit(silent_days=SILENT_DAYS, times=TIMES)

    def limit_of(self, value: str) -> Limit:
        """Return the limit for one value of `by`: its own settings before those for everybody."""
        return self.limit.model_copy(update=self.each[value].model_dump(exclude_unset=True))

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.start and self.start >= self.as_of:
            raise ValueError(f"start {self.start} is not before as_of {self.as_of}.")
        if bool(self.by) != bool(self.each):
            raise ValueError("`by` says what `each` is about: give both or none.")
        for name, ends in (("abc", self.abc), ("xyz", self.xyz)):
            if not 0 < min(ends) < max(ends) < 1 or (ends[0] > ends[1]) != (name == "xyz"):
                order = "falling" if name == "xyz" else "rising"
                raise ValueError(f"{name} is {list(ends)}: two shares between 0 and 1, {order}.")
        if self.contractual and not self.cancelled:
            raise ValueError("contractual customers are lost when they cancel: do not set `cancelled: false`.")
        return self
