"""The sentences behind the table of a readout: rules by segment, what a retained customer must be worth, p values."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.common.estimate import Estimate
from experiments.common.formatting import NO_NUMBER, amount, listed, money, named, number
from experiments.common.language import later, plural, say
from experiments.metrics.objectives import NOTHING, Sweep
from experiments.readout.readout import Readout
from experiments.readout.secondary import Comparison
from experiments.readout.segments import Segments
from experiments.readout.targeting import PolicyValue
from experiments.report import shared


def labels(readout: Readout, names: Sequence[str]) -> str:
    """Return the labels of arms as a list in a sentence."""
    known = {NOTHING: say(NOTHING)} | {arm.name: arm.label for arm in readout.arms}
    return listed([known.get(name, name) for name in names])


def inline(estimate: Estimate, readout: Readout) -> str:
    """Return a value and, in brackets behind it, its interval."""
    return shared.inline(estimate, readout.currency)


def p_value(value: float | None) -> str:
    """Return a p value to four digits."""
    if value is None:
        return NO_NUMBER
    return say("< .0001") if value < 0.0001 else number(value, digits=4)  # noqa: PLR2004


def policy_words(readout: Readout, found: PolicyValue) -> str:
    """Return which offer each segment should get, what the rule gains, and how much a better one could."""
    rule = found.policy
    best = [
        labels(readout, [offer]) if (offer := rule.offer(segment)) else say("no offer") for segment in rule.segments
    ]
    gain, bound = inline(found.gain, readout), ""
    if found.regret and found.regret.high:
        most = later("The best possible rule on these segments is at most {regret} better.")
        bound = say(most, regret=amount(found.regret.high, found.gain.unit, currency=readout.currency))
    if len(set(best)) == 1:
        rule_words = say(
            "Best single offer by {factor}: {offer} in every segment, so the rule is one offer for everybody and gains "
            "nothing over it. Its {gain} per customer is cross-fitted: learned on four fifths of the customers and "
            "valued on the rest, each fifth in turn, so it need not be the offer's own figure in the table.",
            factor=rule.factor,
            offer=best[0],
            gain=gain,
        )
    else:
        rule_words = say(
            "Best single offer by {factor}: {offers}. Learned on four fifths of the customers and valued on the rest, "
            "the rule gains {gain} per customer, {over} more than the best one offer for everybody.",
            factor=rule.factor,
            offers="; ".join(map(named, rule.segments, best)),
            gain=gain,
            over=inline(found.over_one_offer, readout),
        )
    return f"{rule_words} {bound}".rstrip()


def segment_words(readout: Readout, table: Segments) -> str:
    """Return what the segments of a factor say, every cell corrected for all others."""
    held = [cell for cell in table.cells if cell.p_holm is not None and cell.p_holm < 1 - readout.level]
    known = [cell for cell in table.cells if cell.p_holm is not None]
    which = listed([say("{offer} in {segment}", offer=labels(readout, [cell.offer]), segment=cell.segment)
                    for cell in held])  # fmt: skip
    if not known:
        cells = say("In no cell are there enough customers to tell a gain.")
    elif len(held) == len(known):
        cells = say("All gains hold after Holm's correction.")
    elif held:
        cells = plural("Of {all} gains {n} holds after Holm's correction: {cells}.",
                       "Of {all} gains {n} hold after Holm's correction: {cells}.",
                       len(held), all=len(known), cells=which)  # fmt: skip
    else:
        cells = say("Of {all} gains none hold after Holm's correction.", all=len(known))
    p = table.choice_differs.p_holm
    if p is None:
        few = later("Too few customers to tell whether the best offer depends on {factor}.")
        return f"{say(few, factor=table.factor)} {cells}"
    test = (
        later("The difference between offers depends on {factor} (interaction test, p = {p} after Holm).")
        if p < 1 - readout.level
        else later("The difference between offers is not shown to depend on {factor} (interaction test, p = {p} after "
                   "Holm).")
    )  # fmt: skip
    return f"{say(test, factor=table.factor, p=p_value(p))} {cells}"


def sweep_words(readout: Readout, sweep: Sweep) -> str:
    """Return which offer has the highest total, whatever a customer still active at the horizon is worth."""
    first = labels(readout, sweep.winners[:1])
    if not sweep.crossings:
        always = later("Whatever a customer still active at the horizon is worth, {first} has the highest total.")
        return say(always, first=first)
    steps = [
        say("{offer} from {worth}", offer=labels(readout, [crossing.after]), worth=inline(crossing.at, readout))
        for crossing in sweep.crossings
    ]
    nothing = later(
        "If a customer still active at the horizon is worth nothing more, {first} has the highest total; {steps}."
    )
    return say(nothing, first=first, steps=listed(steps))


def curse_words(readout: Readout, comparison: Comparison) -> str:
    """Return what becomes of the highest net when it is shrunken; "" of a single offer."""
    if len(readout.offers) < 2:  # noqa: PLR2004  one offer has no winner
        return ""
    shrunken = comparison.shrunken
    return say(
        "The highest of several estimates is too high on average: {winner}'s net of {raw} becomes {shrunken} when "
        "shrunken to the others.",
        winner=labels(readout, [shrunken.winner]),
        raw=money(shrunken.raw, readout.currency),
        shrunken=inline(shrunken.estimate, readout),
    )
