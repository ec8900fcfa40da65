"""Rules of contact: who may be called by whom, when and how. The sources disagree, so every rule is a setting."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from experiments.scripts import VARIABLES

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Factor = Literal["channel", "caller"]

WEEK: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
TOP_CLASS = "A"  # whom the head calls
# The columns of the list: what the caller needs to know, then what the caller fills in.
KNOWN = ("day", "caller", "channel", "customer_id", "reason", "complaint", "offer", "words", "deadline")
SPOKEN = VARIABLES.keys() - {"name", "line"}  # of scripts: no column of customers may take their place
FILLED_IN = ("called_on", "reached", "accepted_at", "refused_at", "refusal")


class Caller(BaseModel):
    """Who calls, and whom. A list that is left out means: anybody."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    capacity: int | None = Field(
        default=None, ge=1, description="contacts a working day; left out: that of all callers"
    )
    lines: tuple[str, ...] = Field(default=(), description="lines of business the caller serves")
    managers: tuple[str, ...] = Field(default=(), description="managers whose former customers the caller serves")
    tiers: tuple[str, ...] = Field(default=(), description="classes by revenue the caller serves: A, B, C")
    head: bool = Field(default=False, description="is the head of sales: calls class A, and only it unless `tiers` "
                       "says more")  # fmt: skip


class Channel(BaseModel):
    """How a customer is contacted who has been lost for so long."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    channel: str = Field(min_length=1, description="call, visit, letter: any word")
    up_to_days: int | None = Field(default=None, ge=0, description="days since the loss up to which it is used; the "
                                   "last entry has none")  # fmt: skip


class ContactRules(BaseModel):
    """The rules of contact of a test: `contacts:` in the sheet. Nobody who asked not to be contacted ever is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    callers: dict[str, Caller] = Field(default_factory=dict, description="name: whom the caller serves")
    capacity: int = Field(default=20, ge=1, description="contacts a working day of a caller who has no own number")
    first_day: dt.date | None = Field(default=None, description="no contact before it; left out: the day after the "
                                      "assignment")  # fmt: skip
    working_days: tuple[Day, ...] = Field(default=WEEK[:5], min_length=1, description="days of the week with contacts")
    holidays: tuple[dt.date, ...] = Field(default=(), description="days without contacts")
    waiting_days: int = Field(default=0, ge=0, description="days after the loss before anybody contacts; 0: none")
    deadline_days: int | None = Field(default=30, ge=0, description="the last day to contact and to accept, in days "
                                      "after the assignment; null: none")  # fmt: skip
    channels: tuple[Channel, ...] = Field(
        default=(Channel(channel="call", up_to_days=90), Channel(channel="visit")), min_length=1,
        description="how to contact, by days since the loss, shortest first",
    )  # fmt: skip
    attempts: int | None = Field(default=3, ge=1, description="tries to reach a customer; unreachable is no refusal; "
                                 "null: no limit")  # fmt: skip
    not_own_manager: bool = Field(default=True, description="nobody calls a customer whom they lost")
    head_calls: bool = Field(default=True, description="customers of class A are called by a head")
    fixed_first: bool = Field(default=True, description="no contact before a cause that the company can remove is "
                              "removed")  # fmt: skip
    contactable_only: bool = Field(default=True, description="no contact with deliberate, natural and loss-making "
                                   "losses, nor with customers who cannot be reached")  # fmt: skip
    apology_with_offer: bool = Field(default=True, description="no apology without an offer")
    apology_for: tuple[str, ...] = Field(default=("service",), description="reasons for which the caller apologises; "
                                         "always for an unresolved complaint")  # fmt: skip
    vary: tuple[Factor, ...] = Field(default=(), description="test factors: channel or caller drawn by chance, half of "
                                     "each arm each (of two), instead of by rule")  # fmt: skip
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
            raise ValueError("channels: give `up_to_days` to all but the last, shortest first, such as "
                             "[{channel: call, up_to_days: 90}, {channel: visit}].")  # fmt: skip
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


State = Literal["account", "warn", "stop"]  # account: as it should be; warn and stop: a violation


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Why an assigned customer is not on the list, or what is wrong before anybody calls."""

    label: str  # as it stands in the account of the list
    told: str  # of so many customers, in one sentence
    cure: str
    state: State


# In this order: the first that fits is why a customer is not on the list.
RULES: dict[str, Rule] = {
    "holdout": Rule(
        label="holdout", told="are held out", cure="Leave them alone: that is what a holdout is.", state="account",
    ),
    "duplicate": Rule(
        label="assigned more than once", told="stand more than once in the assignments",
        cure="One customer, one arm, one row: remove the others at the source.", state="stop",
    ),
    "not_lost": Rule(
        label="not in the cohort", told="are not in the cohort: nobody says that they are lost",
        cure="Take the cohort from which they were assigned, or make it again: `winback lost SHEET`.", state="stop",
    ),
    "do_not_contact": Rule(
        label="do not contact", told="must not be contacted",
        cure="Leave them alone, and keep them out of the next assignment: they count as assigned.", state="warn",
    ),
    "not_contactable": Rule(
        label="not to be contacted", told="are deliberate, natural or loss-making losses, or cannot be reached",
        cure="Assign only customers who are contactable, or set `contactable_only: false`.", state="warn",
    ),
    "contacted_before": Rule(
        label="contacted before the test", told="were contacted by another test, or before they were assigned",
        cure="One chance a customer: keep them out of the assignment; the ledger does.", state="stop",
    ),
    "contacted": Rule(
        label="contacted", told="were contacted", cure="Nothing: they had their call.", state="account",
    ),
    "tried": Rule(
        label="not reached in all tries", told="were not reached in all tries",
        cure="Nothing, or raise `attempts`: unreachable is not a refusal.", state="account",
    ),
    "not_fixed": Rule(
        label="cause not removed", told="left for a cause that the company can remove and has not, by their deadline",
        cure="Remove it and write its day into `fixed_at` of reasons, or set `fixed_first: false`.", state="stop",
    ),
    "no_offer": Rule(
        label="apology without an offer", told="are owed an apology, and their arm has nothing to offer with it",
        cure="Give the arm a gesture, or set `apology_with_offer: false`.", state="stop",
    ),
    "waiting": Rule(
        label="the wait ends after the deadline", told="may be contacted only after their deadline",
        cure="Shorten `waiting_days`, or lengthen `deadline_days` or the offer's expiry.", state="warn",
    ),
    "late": Rule(
        label="deadline over", told="had their deadline before the first day of contacts",
        cure="Begin earlier (`first_day`), or lengthen `deadline_days` or the offer's expiry.", state="warn",
    ),
    "no_head": Rule(
        label="class A without a head", told="are of class A, and no head may call them",
        cure="Mark a caller `head: true` who serves them, or set `head_calls: false`.", state="stop",
    ),
    "own_manager": Rule(
        label="only their own manager could call", told="could be called only by the manager who lost them",
        cure="Name another caller for them, or set `not_own_manager: false`.", state="stop",
    ),
    "no_caller": Rule(
        label="nobody serves them", told="are of a line, manager or class that no caller serves",
        cure="Add them to `lines`, `managers` or `tiers` of a caller.", state="stop",
    ),
    "no_capacity": Rule(
        label="no capacity before the deadline", told="cannot be contacted before their deadline: the callers are full",
        cure="Add a caller, raise `capacity`, begin earlier, lengthen `deadline_days`, or assign fewer.", state="warn",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A rule that the plan of contacts breaks, before anybody calls. Names no customer."""

    rule: str
    state: State  # warn or stop
    customers: int
    message: str
    cure: str

    def __str__(self) -> str:
        return f"{self.message} {self.cure}"
