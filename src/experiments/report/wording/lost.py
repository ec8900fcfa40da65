"""The words of the lost customers: rules, flags, classes and groups, and the signs that a loss is managed."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from experiments.common.finding import Finding
from experiments.common.formatting import date_told, share, short
from experiments.common.language import later, plural, say
from experiments.lost.results import LostRule, SilenceTrial
from experiments.sheet.lost_rules import Limit, Lost

RULES = {
    "silence": later("Silent for too long"),
    "cancelled": later("Cancelled the contract"),
    "nps": later("Would not recommend"),
    "asked": later("Asked, never ordered"),
    "unreachable": later("Cannot be reached"),
    "conflict": later("Unresolved complaint"),
}
FLAGS = {
    "natural": later("Moved, died or bankrupt"),
    "deliberate": later("Let go on purpose"),
    "loss_making": later("Cost more than they bring"),
    "do_not_contact": later("Do not want to be contacted"),
    "no_consent": later("Gave no consent, or withdrew it"),
    "expired": later("Own last contact too long ago"),
    "unreachable": later("Cannot be reached"),
    "not_fixed": later("Cause not removed yet"),
}
PRIORITIES = {
    "first": later("First"),
    "must": later("Must"),
    "possible": later("If possible"),
    "let_go": later("Let go"),
}
FAMILIES = {"company": later("Company"), "competitor": later("Competitor"), "customer": later("Customer")}
GROUPS = {  # kind of groups: the names that are not from the data
    "stage": {
        "asked": later("Asked, never bought"),
        "one": later("Bought once"),
        "two": later("Bought twice"),
        "regular": later("Bought three times or more"),
    },
    "complaint": {
        "none": later("No complaint"),
        "resolved": later("Complaint resolved"),
        "unresolved": later("Complaint not resolved"),
    },
    "referrer": {"yes": later("Recommended us"), "no": later("Recommended us to nobody")},
    "reason": {
        "both": later("Two reasons"),
        "several": later("Three reasons or more"),
        "unknown": later("Nobody knows why"),
    },
}
SILENCE = later("no purchase for more than {limit}")  # every rule of silence begins so

# ---- rules


def rule(of: LostRule, settings: Lost | None) -> str:
    """Return a rule with its numbers, such as "contract cancelled by 2024-01-01"."""
    return of.said if settings is None else _RULES[of.name](settings)


def trial(of: SilenceTrial, settings: Lost | None) -> str:
    """Return a rule of silence that was tried; without a limit of its own, the one in use."""
    if settings is None:
        return of.said
    if of.limit is None:
        return _silence(settings)
    return _limit(of.limit, settings.model_copy(update={"minimum_days": 0}))


def _silence(settings: Lost) -> str:
    """Return the silence rule, with the own limits of parts of the customers."""
    own = [f"{value}: {_limit(limit, settings)}" for value, limit in settings.each.items()]
    return "; ".join((_limit(settings.limit, settings), *own))


def _limit(limit: Limit, settings: Lost) -> str:
    days = limit.silent_days or 0
    if limit.times is None:
        return say(SILENCE, limit=plural("{n} day", "{n} days", days))
    own = later("{times} times the customer's own mean interval")
    if settings.interval == "median":
        own = later("{times} times the customer's own median interval")
    text = say(SILENCE, limit=say(own, times=short(limit.times, digits=3)))
    if settings.minimum_days:
        text += plural(", {n} day at least", ", {n} days at least", settings.minimum_days)
    few = plural("for more than {n} day", "for more than {n} days", days) if days else say("not judged")
    fewer = later("with fewer than {purchases} purchase days {few}")
    return f"{text}; {say(fewer, purchases=settings.minimum_purchases, few=few)}"


def _asked_often(settings: Lost) -> str:
    asked = settings.asked or 0
    return plural("asked {n} time or more, never ordered", "asked {n} times or more, never ordered", asked)


_RULES: dict[str, Callable[[Lost], str]] = {
    "silence": _silence,
    "cancelled": lambda settings: say("contract cancelled by {day}", day=date_told(settings.as_of)),
    "nps": lambda settings: say("would recommend with {score} of 10 or less", score=settings.nps or 0),
    "asked": _asked_often,
    "unreachable": lambda _: say("cannot be reached"),
    "conflict": lambda _: say("complaint not resolved"),
}

# ---- the seven signs

Sign = tuple[str, str, str]  # name, reason, what to do
# What the sheet is asked, by its setting: the sign, and the cure where it is missing.
ASKED = {
    "script": (later("Callers have a script"), later("Write what to say for each reason and offer.")),
    "head_knows": (later("The head of sales knows the reasons"), later("Show this page to the head of sales.")),
    "regular": (later("Lost customers are looked at regularly"), later("Run this report every month.")),
    "technology": (later("There is a way to win customers back"), later("Plan a test: `winback run 2-design`.")),
}


def sign(finding: Finding) -> Sign:
    """Return the name of a sign, what is known of it, and what to do."""
    return WORDING[finding.key](finding)


def _reasons(finding: Finding) -> Sign:
    known = share(cast("float", finding.facts["known"]), digits=0)
    cure = say("Ask the lost why, and keep the answers in the table `reasons`.")
    return (
        say("Reasons are reported"),
        say("A reason is known for {share} of the lost.", share=known),
        "" if finding.state == "pass" else cure,
    )


def _refusals(finding: Finding) -> Sign:
    refused, why = (cast("int", finding.facts[name]) for name in ("refused", "why"))
    none, some = say("No refusal is recorded."), later("{why} of {refused} refusals say why.")
    cure = say("Fill the column `refusal` of the table contacts.")
    return (
        say("Refusals are recorded"),
        say(some, why=why, refused=refused) if refused else none,
        "" if finding.state == "pass" else cure,
    )


def _ranked(_: Finding) -> Sign:
    return (say("Customers are ranked by importance and regularity"), say("This page has the ABC x XYZ matrix."), "")


def _asked(finding: Finding) -> Sign:
    name, cure = map(say, ASKED[finding.key])
    answer = later("Answer in the sheet: `lost: {{audit: {{{setting}: yes or no}}}}`.")
    states = {
        "pass": (say("So the sheet says."), ""),
        "warn": (say("Nobody said."), say(answer, setting=finding.key)),
        "stop": (say("The sheet says no."), cure),
    }
    return name, *states[finding.state]


def _said(finding: Finding) -> Sign:
    """Return a sign of format 1: its sentences as they stand."""
    return str(finding.facts["name"]), str(finding.facts["said"]), str(finding.facts["cure"])


WORDING: dict[str, Callable[[Finding], Sign]] = {
    "reasons": _reasons,
    "refusals": _refusals,
    "ranked": _ranked,
    **dict.fromkeys(ASKED, _asked),
    "said": _said,
}
