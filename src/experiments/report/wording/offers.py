"""What may be wrong with an offer, in words: what it is, and the cure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from experiments.common.finding import Finding
from experiments.common.formatting import money, share
from experiments.common.language import later, say

EXPIRES = later("Give the customer a month: `expires_days: 30`.")
WORDING: dict[tuple[str, str], tuple[str, str]] = {  # key and case: what is wrong, after the offer's name; the cure
    ("bare_apology", ""): (
        later("an apology that gives nothing is words, and may anger once more."),
        later("Add a gesture, such as `worth: 15`, or bundle it with an offer."),
    ),
    ("small_discount", ""): (
        later("it takes off {share} of what the customer pays: nobody comes back for that."),
        later("Give {least} or more, for fewer months if it must not cost more."),
    ),
    ("nothing_given", ""): (
        later("with `{setting}: 0` it is worth nothing, is never used, or is free for the company."),
        later("Correct `{setting}`, or leave the offer out."),
    ),
    ("too_dear", ""): (
        later("at full take-up it costs {cost} a customer; a returned customer brings {brings}."),
        later("Give less, or for fewer months, or only to those who bring more (`kind: tailored`)."),
    ),
    ("dear_month", ""): (
        later("it costs {cost} a month, and a customer brings {brings}: every month of it is a loss."),
        later("Give less a month, for longer."),
    ),
    ("no_expiry", ""): (
        later("it has no last day: nothing hurries the customer, and it may be used years later."),
        EXPIRES,
    ),
    ("short_expiry", ""): (
        later("it expires within a week ({days} of {least} days): many hear of it too late."),
        EXPIRES,
    ),
    ("bound_for_nothing", ""): (
        later("it binds the customer and gives nothing for it."),
        later("Say what it is `worth`, or drop `lock_in_months`."),
    ),
    ("bound_longer", ""): (
        later("it binds for {bound} months and gives for {given}: the customer finds out, and tells others."),
        later("Set `months: {bound}` at a smaller worth, or `lock_in_months: {given}`."),
    ),
    ("bundle_of_one", "alone"): (
        later("it is a bundle of {part} alone."),
        later("Add a second offer, or use {part} itself."),
    ),
    ("bundle_of_one", "twice"): (later("it has {part} {times} times, and costs it as often."), later("Keep one.")),
    ("one_target", ""): (
        later("it gives {target} whatever the {factor} is: nothing is tailored."),
        later("Choose at least two offers, or use {target} itself."),
    ),
    ("at_list_price", ""): (
        later("it is counted at its list price, {price}; your own goods cost you less."),
        later("Say what part of it you pay: `marginal_share: 0.4`, or `marginal_share: 1` if it is all."),
    ),
    ("everybody_claims", ""): (
        later("it is counted as if every customer claimed it."),
        later("Say how many will, such as `take_up: 0.05`."),
    ),
    ("without_end", ""): (
        later("the percentage has no end: it is given as long as the customer buys."),
        later("Say for how long, such as `months: 6`."),
    ),
}
OFFER_KEYS = frozenset(key for key, _ in WORDING)


def offer_warning(finding: Finding, *, currency: str) -> tuple[str, str]:
    """Return what may be wrong with an offer, and the cure: clauses that follow the name of the offer."""
    facts: dict[str, Any] = dict(finding.facts)
    shown = {name: FORMATS[name](value, currency) if name in FORMATS else value for name, value in facts.items()}
    what, cure = (say(text, **shown) for text in WORDING[finding.key, finding.case])
    return what, cure


FORMATS: dict[str, Callable[[Any, str], str | int]] = {  # of facts that are not shown as they are
    "cost": money,
    "brings": money,
    "price": money,
    "share": lambda value, _: share(value),
    "least": lambda value, _: value if isinstance(value, int) else share(value, digits=0),
    "part": lambda value, _: repr(value),
    "target": lambda value, _: repr(value),
}
