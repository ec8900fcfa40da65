"""Why an assigned customer is not on the call list, and what is wrong before anybody calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.common.finding import Finding, State
from experiments.common.formatting import listed

GENERAL = "default"  # the script for whom there is no other


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRule:
    """Why an assigned customer is not on the list; `warn` and `stop`: what is wrong before anybody calls."""

    label: str  # as it stands in the account of the list
    what: str  # of so many customers, in one sentence
    cure: str
    state: State  # pass: as it should be


# In this order: the first that fits is why a customer is not on the list.
RULES: dict[str, CallRule] = {
    "holdout": CallRule(
        label="holdout", what="are held out", cure="Leave them alone: that is what a holdout is.", state="pass",
    ),
    "duplicate": CallRule(
        label="assigned more than once", what="stand more than once in the assignments",
        cure="One customer, one arm, one row: remove the others at the source.", state="stop",
    ),
    "not_lost": CallRule(
        label="not in the cohort", what="are not in the cohort: nobody says that they are lost",
        cure="Take the cohort from which they were assigned, or make it again: `winback lost SHEET`.", state="stop",
    ),
    "forgotten": CallRule(
        label="forgotten", what="asked to be forgotten", cure="Nothing: they count as assigned.", state="pass",
    ),
    "do_not_contact": CallRule(
        label="do not contact", what="must not be contacted",
        cure="Leave them alone, and keep them out of the next assignment: they count as assigned.", state="warn",
    ),
    "no_consent": CallRule(
        label="no consent", what="gave no consent for any channel of the test, or withdrew it",
        cure="Leave them alone: they count as assigned.", state="warn",
    ),
    "expired": CallRule(
        label="own last contact too long ago", what="had their own last contact longer ago than `keep_months`",
        cure="Leave them alone, and let `winback expire` forget them.", state="warn",
    ),
    "stopped": CallRule(
        label="arm stopped", what="are in an arm that was stopped",
        cure="Nothing: they count as assigned.", state="pass",
    ),
    "not_contactable": CallRule(
        label="not to be contacted", what="are deliberate, natural or loss-making losses, or cannot be reached",
        cure="Assign only customers who are contactable, or set `contactable_only: false`.", state="warn",
    ),
    "contacted_before": CallRule(
        label="contacted before the test", what="were contacted by another test, or before they were assigned",
        cure="One chance a customer: keep them out of the assignment; the ledger does.", state="stop",
    ),
    "contacted": CallRule(
        label="contacted", what="were contacted", cure="Nothing: they had their call.", state="pass",
    ),
    "tried": CallRule(
        label="not reached in all tries", what="were not reached in all tries",
        cure="Nothing, or raise `attempts`: unreachable is not a refusal.", state="pass",
    ),
    "not_fixed": CallRule(
        label="cause not removed", what="left for a cause that the company can remove and has not, by their deadline",
        cure="Remove it and write its day into `fixed_at` of reasons, or set `fixed_first: false`.", state="stop",
    ),
    "no_offer": CallRule(
        label="apology without an offer", what="are owed an apology, and their arm has nothing to offer with it",
        cure="Give the arm a gesture, or set `apology_with_offer: false`.", state="stop",
    ),
    "waiting": CallRule(
        label="the wait ends after the deadline", what="may be contacted only after their deadline",
        cure="Shorten `waiting_days`, or lengthen `deadline_days` or the offer's expiry.", state="warn",
    ),
    "late": CallRule(
        label="deadline over", what="had their deadline before the first day of contacts",
        cure="Begin earlier (`first_day`), or lengthen `deadline_days` or the offer's expiry.", state="warn",
    ),
    "no_head": CallRule(
        label="class A without a head", what="are of class A, and no head may call them",
        cure="Mark a caller `head: true` who serves them, or set `head_calls: false`.", state="stop",
    ),
    "own_manager": CallRule(
        label="only their own manager could call", what="could be called only by the manager who lost them",
        cure="Name another caller for them, or set `not_own_manager: false`.", state="stop",
    ),
    "no_caller": CallRule(
        label="nobody serves them", what="are of a line, manager or class that no caller serves",
        cure="Add them to `lines`, `managers` or `tiers` of a caller.", state="stop",
    ),
    "no_capacity": CallRule(
        label="no capacity before the deadline", what="cannot be contacted before their deadline: the callers are full",
        cure="Add a caller, raise `capacity`, begin earlier, lengthen `deadline_days`, or assign fewer.", state="warn",
    ),
}  # fmt: skip


def sentence(violation: Finding) -> str:
    """Return which rule a plan of contacts breaks, and the cure, in English as commands are. Names no customer."""
    facts = violation.facts
    if violation.key == "no_script":
        offers = listed([repr(offer) for offer in _names(facts["offers"])], last="or")
        return (f"{facts['customers']:,} of {facts['listed']:,} customers on the list hear the general script: there "
                f"is none for their reason, nor for the offer {offers}. Write {facts['script']}.j2 into a folder of "
                f"your own and name it in `scripts`, or a {GENERAL}.j2 for all.")  # fmt: skip
    if violation.key == "unused_script":
        scripts = listed([f"{name}.j2" for name in _names(facts["scripts"])])
        return (f"Nobody on the list hears {scripts}. Correct the name: reason-<reason>.offer-<offer>.j2, "
                "reason-<reason>.j2, offer-<offer>.j2 or default.j2.")  # fmt: skip
    rule = RULES[violation.key]
    return f"{facts['customers']:,} of {facts['asked']:,} customers with an offer {rule.what}. {rule.cure}"


def _names(fact: object) -> Sequence[str]:
    return fact if isinstance(fact, tuple) else ()
