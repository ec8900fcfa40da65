"""The sentences of the verdict of a readout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from experiments.common.finding import of_state
from experiments.common.formatting import amount, interval, listed, named, share, told
from experiments.common.language import later, plural, say
from experiments.metrics.objectives import OBJECTIVES
from experiments.readout.readout import Readout
from experiments.readout.verdict import Kind, Ranking, kind_of
from experiments.report.wording.checks import Facts, worded

MOST_TIMES = 1000  # beyond it "so many more customers" is no advice


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """A verdict in the language spoken."""

    word: str  # the verdict in a few words
    sentence: str
    detail: str = ""


def worded_verdict(readout: Readout) -> Wording:
    """Return the sentences of a verdict; those that an earlier version wrote stand as they are."""
    verdict, ranking = readout.verdict, readout.ranking
    if verdict.kind == "as_written":
        (remark,) = verdict.remarks
        return Wording(**{name: str(text) for name, text in remark.facts.items()})
    if verdict.kind in ("interim", "stopped"):
        stop = worded(of_state(readout.checks, "stop")[0])
        return Wording(word=headline(readout), sentence=stop.reason, detail=stop.todo)
    if verdict.kind == "gross":
        return Wording(
            word=headline(readout),
            sentence=say("There was no holdout, so nobody knows who would have come back without an offer."),
            detail=say("Keep a holdout in the next test. The figures below are gross, not incremental."),
        )
    if ranking is None:
        objective = OBJECTIVES[readout.objective]
        return Wording(
            word=headline(readout),
            sentence=say("The offers cannot be ranked on {goal}: {reason}.", goal=say(objective.goal),
                         reason=say(objective.unknown)),
            detail=say("Declare another objective."),
        )  # fmt: skip
    now = _if_you_must(readout, ranking) if verdict.kind == "not_separable" else ""
    remarks = [REMARKS[remark.key](readout, remark.facts) for remark in verdict.remarks]
    sentence = SENTENCES[verdict.kind](readout, ranking)
    return Wording(word=headline(readout), sentence=sentence, detail=" ".join(filter(None, [now, *remarks])))


def headline(readout: Readout) -> str:
    """Return the verdict of a readout in a few words; what an earlier version wrote, from its ranking if it can."""
    kind, ranking = readout.verdict.kind, readout.ranking
    if kind == "as_written":
        kept_no_tolerance = ranking is not None and ranking.equivalent and not ranking.tolerance
        if ranking is None or kept_no_tolerance or of_state(readout.checks, "stop"):
            return say(str(readout.verdict.remarks[0].facts["word"]))
        kind = kind_of(ranking)
    if ranking is None or kind in WORDS:
        return say(WORDS[kind])
    return _headline(readout, ranking, kind)


WORDS: dict[Kind, str] = {  # verdicts that name nothing
    "interim": later("Interim: do not decide"),
    "stopped": later("Do not use these numbers"),
    "gross": later("Gross figures, no verdict"),
    "no_ranking": later("No verdict"),
    "no_offer_better": later("No offer beats doing nothing"),
    "none_looks_better": later("No offer looks better than doing nothing"),
}


def _headline(readout: Readout, ranking: Ranking, kind: Kind) -> str:
    if kind == "not_enough_data":
        more = _more(ranking.more_than_nothing, readout.assigned)
        return say("Not enough data: {more}", more=more) if more else say("Not enough data")
    tied = _labels(readout, ranking.tied)
    if kind == "choose":
        return say("Choose {leader}", leader=tied[0])
    if kind == "equivalent":
        within = _amount(readout, ranking.tolerance)
        return say("{offers}, equivalent within {within}", offers=listed(tied, last="or"), within=within)
    return say("{offers}: not separable", offers=listed(tied, last="or"))


def _labels(readout: Readout, names: Sequence[str]) -> list[str]:
    return [readout.arm(name).label for name in names]


def _amount(readout: Readout, value: float) -> str:
    unit = OBJECTIVES[readout.objective].unit
    shown = amount(value, unit, currency=readout.currency)
    return say("{value} months", value=shown) if unit == "months" else shown


def _more(times: float | None, customers: int) -> str:
    """Return how many more customers it takes, to two digits; "" where nobody can say."""
    if times is None or not 1 < times < MOST_TIMES:
        return ""
    more = round(float(f"{(times - 1) * customers:.2g}"))
    return plural("about {n} more customer", "about {n} more customers", more)


# The sentence of each kind of verdict that a ranking gives
def _first(readout: Readout, ranking: Ranking) -> dict[str, str]:
    return {"leader": readout.arm(ranking.offers[0]).label, "goal": say(OBJECTIVES[readout.objective].goal),
            "value": _amount(readout, ranking.values[0])}  # fmt: skip


def _no_offer_better(readout: Readout, ranking: Ranking) -> str:
    return say(
        "Every offer is worse than leaving customers alone; the least bad is {leader} with {value} ({goal}).",
        **_first(readout, ranking),
    )


def _none_looks_better(readout: Readout, ranking: Ranking) -> str:
    return say(
        "The highest on {goal} is {leader} with {value}. That it does better than leaving customers alone is not ruled "
        "out, but nothing speaks for it.",
        **_first(readout, ranking),
    )


def _not_enough_data(readout: Readout, ranking: Ranking) -> str:
    best = say(
        "{leader} looks best on {goal} with {value}, but that may be chance: doing nothing is not ruled out.",
        **_first(readout, ranking),
    )
    more = _more(ranking.more_than_nothing, readout.assigned)
    chance = say("At today's figure {more} would give an even chance to tell.", more=more) if more else ""
    return f"{best} {chance}".rstrip()


def _choose(readout: Readout, ranking: Ranking) -> str:
    first = _first(readout, ranking)
    if len(ranking.offers) == 1:
        return say("{leader} is best on {goal}: {value}.", **first)
    gap = ranking.behind[1]
    return say(
        "{leader} is best on {goal}: {value}, {ahead} ahead of {second} ({bounds}).",
        ahead=_amount(readout, gap.difference),
        second=readout.arm(ranking.offers[1]).label,
        bounds=say("{low} to {high}", low=_amount(readout, gap.low), high=_amount(readout, gap.high)),
        **first,
    )


def _equivalent(readout: Readout, ranking: Ranking) -> str:
    first = _first(readout, ranking)
    alike = say(
        "On {goal}, {offers} differ by less than {within}, whichever is better: take the one that is easier to run. "
        "{first} is nominally first with {value}.",
        goal=first["goal"],
        offers=listed(_labels(readout, ranking.tied)),
        within=_amount(readout, ranking.tolerance),
        first=first["leader"],
        value=first["value"],
    )
    return f"{alike} {_behind(readout, ranking)}".rstrip()


def _not_separable(readout: Readout, ranking: Ranking) -> str:
    first, tied = _first(readout, ranking), _labels(readout, ranking.tied)
    open_ = say(
        "On {goal} this test cannot tell {offers} apart; {first} is nominally first with {value}.",
        goal=first["goal"],
        offers=listed(tied),
        first=first["leader"],
        value=first["value"],
    )
    more, chance = _more(ranking.more, readout.assigned), ""
    if more:
        even = later("At today's difference {more} would give an even chance to tell {first} from {second}.")
        chance = say(even, more=more, first=tied[0], second=tied[1])
    return " ".join(filter(None, (open_, _behind(readout, ranking), chance)))


def _behind(readout: Readout, ranking: Ranking) -> str:
    rest = _labels(readout, [name for name in ranking.offers if name not in ranking.tied])
    return plural("{offers} is behind.", "{offers} are behind.", len(rest), offers=listed(rest)) if rest else ""


def _if_you_must(readout: Readout, ranking: Ranking) -> str:
    return say(
        "If you must choose now: {first}, the best with a chance of {chance}; against the truly best it costs {loss} "
        "on average.",
        first=readout.arm(ranking.offers[0]).label,
        chance=share(ranking.p_best[0], digits=0),
        loss=_amount(readout, ranking.expected_loss[0]),
    )


SENTENCES: dict[Kind, Callable[[Readout, Ranking], str]] = {
    "no_offer_better": _no_offer_better,
    "none_looks_better": _none_looks_better,
    "not_enough_data": _not_enough_data,
    "choose": _choose,
    "equivalent": _equivalent,
    "not_separable": _not_separable,
}


# What is to be read with it
def _doubts(readout: Readout, facts: Facts) -> str:
    doubts = [worded(check) for check in readout.checks if check.key in facts["checks"]]
    return say("Read it with care. {warnings}", warnings=" ".join(named(one.name, one.reason) for one in doubts))


def _left_out(readout: Readout, facts: Facts) -> str:
    least = amount(facts["minimum_returned"], "points", currency=readout.currency)
    small = listed(_labels(readout, facts["offers"]))
    return say("Left out for bringing back fewer than {least} more customers: {offers}.", least=least, offers=small)


def _together(readout: Readout, _facts: Facts) -> str:
    if readout.any_offer is None:
        return ""
    return say(
        "Any offer beats none: together they raise the share who returned by {lift} ({bounds}).",
        lift=told(readout.any_offer, currency=readout.currency),
        bounds=interval(readout.any_offer, currency=readout.currency),
    )


def _all_lose(readout: Readout, facts: Facts) -> str:
    least = readout.arm(facts["offer"])
    net = least.estimates["net"]
    return say(
        "Every offer loses money: the least bad is {offer} with a net per customer of {net} ({bounds}).",
        offer=least.label,
        net=told(net, currency=readout.currency),
        bounds=interval(net, currency=readout.currency),
    )


def _faces(readout: Readout, facts: Facts) -> str:
    third = ""
    if facts["efficient"] is not None:
        third = say(", and {offer} the highest return on its cost", offer=readout.arm(facts["efficient"]).label)
    by_contacts = later(
        "{among} the most accepted one is not the most profitable one: {liked} is accepted most, {earns} nominally has "
        "the highest net{third}."
    )
    by_returns = later(
        "{among} the most answered one is not the most profitable one: {liked} is answered most, {earns} nominally has "
        "the highest net{third}."
    )
    among = say("Of the offers") if facts["among"] == "all" else say("Of the offers made to everyone")
    text = by_contacts if facts["on"] == "accepted" else by_returns
    liked, earns = _labels(readout, [facts["liked"], facts["earns"]])
    return say(text, among=among, liked=liked, earns=earns, third=third)


REMARKS: dict[str, Callable[[Readout, Facts], str]] = {
    "doubts": _doubts,
    "left_out": _left_out,
    "together": _together,
    "all_lose": _all_lose,
    "faces": _faces,
}
