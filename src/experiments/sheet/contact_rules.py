"""Rules of contact: who may be called by whom, when and how. The sources disagree, so every rule is a setting."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from experiments.sheet.strict import Strict

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Factor = Literal["channel", "caller"]

WEEK: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
TOP_CLASS = "A"  # whom the head calls
# The columns of the list: what the caller needs to know, then what the caller fills in.
KNOWN = ("day", "caller", "channel", "customer_id", "reason", "complaint", "offer", "words", "deadline")
# What a script may use, beside the columns of customers that the rules `show`.
VARIABLES = {
    "caller": "who calls",
    "channel": "how: call, visit",
    "name": "the customer's name; none unless the rules show it",
    "line": "line of business; none where unknown",
    "reason": "the reason for leaving, as in the cohort; 'both' for two, 'several' for more; none where unknown",
    "reasons": "all stated reasons, a list",
    "complaint": "none, resolved or unresolved, as the table customers has it",
    "apology": "true where the caller apologises",
    "offer": "name of the offer, as in the sheet; none where there is nothing to offer",
    "label": "the offer in words",
    "terms": "its terms in words; empty without",
    "deadline": "the last day to accept, a date with .day, .month, .year; none without",
    "attempt": "which try this is, from 1",
}
SPOKEN = VARIABLES.keys() - {"name", "line"}  # of scripts: no column of customers may take their place
FILLED_IN = ("called_on", "reached", "accepted_at", "refused_at", "refusal")


class Caller(Strict):
    """Who calls, and whom. A list that is left out means: anybody."""

    capacity: int | None = Field(
        default=None, ge=1, description="contacts a working day; left out: that of all callers"
    )
    lines: tuple[str, ...] = Field(default=(), description="lines of business the caller serves")
    managers: tuple[str, ...] = Field(default=(), description="managers whose former customers the caller serves")
    tiers: tuple[str, ...] = Field(default=(), description="classes by revenue the caller serves: A, B, C")
    head: bool = Field(
        default=False, description="is the head of sales: calls class A, and only it unless `tiers` says more"
    )


class Channel(Strict):
    """How a customer is contacted who has been lost for so long."""

    channel: str = Field(min_length=1, description="call, visit, letter: any word")
    up_to_days: int | None = Field(
        default=None, ge=0, description="days since the loss up to which it is used; the last entry has none"
    )


class ContactRules(Strict):
    """The rules of contact of a test: `contacts:` in the sheet. Nobody who asked not to be contacted ever is."""

    callers: dict[str, Caller] = Field(default_factory=dict, description="name: whom the caller serves")
    capacity: int = Field(default=20, ge=1, description="contacts a working day of a caller who has no own number")
    first_day: dt.date | None = Field(
        default=None, description="no contact before it; left out: the day after the assignment"
    )
    working_days: tuple[Day, ...] = Field(default=WEEK[:5], min_length=1, description="days of the week with contacts")
    holidays: tuple[dt.date, ...] = Field(default=(), description="days without contacts")
    waiting_days: int = Field(default=0, ge=0, description="days after the loss before anybody contacts; 0: none")
    deadline_days: int | None = Field(
        default=30, ge=0, description="the last day to contact and to accept, in days after the assignment; null: none"
    )
    channels: tuple[Channel, ...] = Field(
        default=(Channel(channel="call", up_to_days=90), Channel(channel="visit")),
        min_length=1,
        description="how to contact, by days since the loss, shortest first",
    )
    attempts: int | None = Field(
        default=3, ge=1, description="tries to reach a customer; unreachable is no refusal; null: no limit"
    )
    not_own_manager: bool = Field(default=True, description="nobody calls a customer whom they lost")
    head_calls: bool = Field(default=True, description="customers of class A are called by a head")
    fixed_first: bool = Field(
        default=True, description="no contact before a cause that the company can remove is removed"
    )
    contactable_only: bool = Field(
        default=True,
        description="no contact with deliberate, natural and loss-making "
        "losses, nor with customers who cannot be reached",
    )
    apology_with_offer: bool = Field(default=True, description="no apology without an offer")
    apology_for: tuple[str, ...] = Field(
        default=("service",), description="reasons for which the caller apologises; always for an unresolved complaint"
    )
    vary: tuple[Factor, ...] = Field(
        default=(),
        description="test factors: channel or caller drawn by chance, half of "
        "each arm each (of two), instead of by rule",
    )
    show: tuple[str, ...] = Field(default=(), description="columns of customers the caller needs, such as name, phone")
    scripts: str | None = Field(default=None, description="folder with scripts of your own, relative to the sheet")
    language: str = Field(
        default="en", pattern="^[a-z]{2,3}$", description="of the scripts: en, or the suffix of yours"
    )

    def capacity_of(self, caller: str) -> int:
        """Return how many contacts a caller makes a working day."""
        return self.callers[caller].capacity or self.capacity

    def tiers_of(self, caller: str) -> tuple[str, ...]:
        """Return the classes a caller serves; empty: all."""
        about = self.callers[caller]
        return (TOP_CLASS,) if about.head and self.head_calls and not about.tiers else about.tiers

    def is_working(self, day: dt.date) -> bool:
        """Tell whether anybody is contacted on a day."""
        return WEEK[day.weekday()] in self.working_days and day not in self.holidays

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        _refuse_repeated("callers", [same_name(caller) for caller in self.callers])
        _refuse_repeated("show", self.show)
        _refuse_repeated("vary", self.vary)
        if taken := [name for name in self.show if name in (*KNOWN, *FILLED_IN, *SPOKEN)]:
            raise ValueError(f"show: the list or the scripts have a {taken[0]!r} already. Leave it out.")
        *early, last = (channel.up_to_days for channel in self.channels)
        ends = [days for days in early if days is not None]
        if len(ends) < len(early) or last is not None or ends != sorted(set(ends)):
            raise ValueError(
                "channels: give `up_to_days` to all but the last, shortest first, such as "
                "[{channel: call, up_to_days: 90}, {channel: visit}]."
            )
        if "channel" in self.vary and len(self.channel_names) == 1:
            raise ValueError("vary: there is one channel, so nothing to vary. Add one to `channels`.")
        if "caller" in self.vary and len(self.callers) == 1:
            raise ValueError("vary: there is one caller, so nothing to vary. Add one to `callers`.")
        return self

    @property
    def channel_names(self) -> tuple[str, ...]:
        """The different channels, in their order."""
        return tuple(dict.fromkeys(channel.channel for channel in self.channels))


def same_name(name: str) -> str:
    """Return what two ways to write a person's name have in common.

    >>> same_name(" Ann  LEE") == same_name("Ann Lee")
    True
    """
    return " ".join(name.split()).casefold()


def _refuse_repeated(setting: str, names: Sequence[str]) -> None:
    for name, times in Counter(names).items():
        if times > 1:
            raise ValueError(f"{setting}: {name!r} is there {times} times. Keep one.")
