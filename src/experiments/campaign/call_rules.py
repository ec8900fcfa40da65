"""Why an assigned customer is not on the call list, and what is wrong before anybody calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
