"""What was not pooled, and why: the notes of pooled.json as sentences; the settings of tests, and offers, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from experiments.common.finding import Fact, Finding
from experiments.common.formatting import listed, share
from experiments.common.language import later, plural, say
from experiments.metrics.estimates import METRICS
from experiments.metrics.objectives import OBJECTIVES
from experiments.readout.readout import Readout
from experiments.readout.verdict import headline
from experiments.stats.meta_analysis import Knowledge, Pooled, Value

Settings = Mapping[str, Value]  # of one test, by name
NAMED = 3  # tests; more than so many are counted in a note, not named
LABELS = {
    "objective": later("Objective"),
    "currency": later("Currency"),
    "dated": later("Results with dates"),
    "horizon_months": later("Horizon"),
    "window_months": later("Return window"),
    "discount_rate": later("Discount rate"),
    "level": later("Confidence"),
}
VALUES: dict[str, Callable[[Settings], str]] = {
    "objective": lambda test: say(OBJECTIVES[str(test["objective"])].goal),
    "currency": lambda test: str(test["currency"]),
    "dated": lambda test: say("yes") if test["dated"] else say("no"),
    "horizon_months": lambda test: _months(test, "horizon_months"),
    "window_months": lambda test: _months(test, "window_months"),
    "discount_rate": lambda test: say("{share} a year", share=share(float(test["discount_rate"]))),
    "level": lambda test: share(float(test["level"]), digits=0),
}
CURES = {  # settings that another readout of the same data can change
    "horizon_months": "-p horizon_months={}",
    "window_months": "-p window_months={}",
    "discount_rate": "-p discount_rate={}",
}


def label_of(offer: Pooled) -> str:
    """Return what an offer, or a kind of offers, is called on a page."""
    return _label(offer.label, is_kind=offer.is_kind)


def _label(label: str, *, is_kind: bool) -> str:
    return say("Any {kind}", kind=label) if is_kind else label


def setting_label(name: str) -> str:
    """Return what a setting is called, as a heading."""
    return say(LABELS[name])


def setting_value(name: str, test: Settings) -> str:
    """Return the value of a setting of a test in words."""
    return VALUES[name](test)


def _months(test: Settings, name: str) -> str:
    return plural("{n} month", "{n} months", int(test[name])) if test["dated"] else say("none")


def verdict_word(readout: Readout) -> str:
    """Return the verdict of a test in a few words."""
    ranking, stopped = readout.ranking, any(check.state == "stop" for check in readout.checks)
    if stopped or ranking is None or (ranking.equivalent and not ranking.tolerance):  # of a version that kept none
        return say(readout.verdict.word)
    return headline(
        ranking,
        {arm.name: arm.label for arm in readout.arms},
        objective=readout.objective,
        currency=readout.currency,
        customers=sum(arm.assigned for arm in readout.arms),
    )


def sentences(known: Knowledge) -> list[str]:
    """Return the notes as sentences: offers and metrics left out for the same reason stand in one."""
    groups: dict[tuple[object, ...], list[Finding]] = {}
    for place, note in enumerate(known.notes):
        alone = note.key not in REFUSED
        reason = "" if alone else REASONS[note.case](note.facts, known.settings)
        groups.setdefault((place, "") if alone else (note.key, note.facts.get("out"), reason), []).append(note)
    return [
        REFUSED[notes[0].key](notes[0].facts, _metrics_of_offers(notes), str(reason))
        if reason
        else ALONE[notes[0].key](notes[0])
        for (*_, reason), notes in groups.items()
    ]


def _metrics_of_offers(notes: Sequence[Finding]) -> str:
    """Return which metrics of which offers were not pooled: offers with the same metrics in one breath."""
    metrics: dict[str, list[str]] = {}
    for note in notes:
        offer = _label(str(note.facts["offer"]), is_kind=bool(note.facts["is_kind"]))
        metrics.setdefault(offer, []).append(METRICS[str(note.facts["metric"])].label)
    offers: dict[tuple[str, ...], list[str]] = {}
    for offer, names in metrics.items():
        offers.setdefault(tuple(names), []).append(offer)
    one = later("{metrics} of {offers}")
    return "; ".join(say(one, metrics=listed(names), offers=listed(same)) for names, same in offers.items())


def _names(fact: Fact) -> tuple[str, ...]:
    """Return a fact that holds names."""
    return fact if isinstance(fact, tuple) else (str(fact),)


def _differ(facts: Mapping[str, Fact], settings: Mapping[str, Settings]) -> str:
    """Return in which settings tests differ, and which parameters read them alike."""
    names, tests = _names(facts["settings"]), {name: settings[name] for name in _names(facts["tests"])}
    values = [f"{setting_label(name).lower()} ({_by_value(name, tests)})" for name in names]
    cures = [
        CURES[name].format(min((test[name] for test in tests.values()), key=float)) for name in names if name in CURES
    ]
    differ = say("the tests differ in {settings}.", settings=listed(values))
    if len(cures) < len(names):
        return differ
    todo = say("Read them out alike: {parameters}.", parameters=" ".join(cures))
    return f"{differ} {todo}"


def _by_value(name: str, tests: Mapping[str, Settings]) -> str:
    """Return each value of a setting with the tests that have it, how many where they are many."""
    having: dict[str, list[str]] = {}
    for experiment, test in tests.items():
        having.setdefault(setting_value(name, test), []).append(experiment)
    shown = []
    for value, names in having.items():
        many = plural("{n} test", "{n} tests", len(names))
        shown.append(f"{many if len(names) > NAMED else listed(names)} {value}")
    return ", ".join(shown)


def _unknown(facts: Mapping[str, Fact], _: Mapping[str, Settings]) -> str:
    why = later("in {tests} it has no bounds, no spread, or was read by an older version.")
    return say(why, tests=listed(_names(facts["tests"])))


def _left_out(facts: Mapping[str, Fact], metrics: str, reason: str) -> str:
    out = listed(_names(facts["out"]))
    return say("Left out: {tests} in {metrics}, since {reason}", tests=out, metrics=metrics, reason=reason)


def _not_pooled(_: Mapping[str, Fact], metrics: str, reason: str) -> str:
    return say("Not pooled: {metrics}, since {reason}", metrics=metrics, reason=reason)


def _stopped(note: Finding) -> str:
    facts = {name: str(note.facts[name]) for name in ("experiment", "check")}
    return say("{experiment} does not count: {check}. {reason}", **facts, reason=str(note.facts["why"]))


def _twice(note: Finding) -> str:
    twice = later("{experiment} is there more than once: its first readout counts, customers only once.")
    return say(twice, experiment=str(note.facts["experiment"]))


def _absent(note: Finding) -> str:
    why = later("{experiment} had no dates: it does not count in {metrics}.")
    if note.case == "holdout":
        why = later("{experiment} had no holdout: it does not count in {metrics}.")
    metrics = listed([METRICS[metric].label for metric in _names(note.facts["metrics"])])
    return say(why, experiment=str(note.facts["experiment"]), metrics=metrics)


REASONS = {"unknown": _unknown, "differ": _differ}  # case of a metric that was not pooled
REFUSED = {"left_out": _left_out, "not_pooled": _not_pooled}
ALONE: dict[str, Callable[[Finding], str]] = {  # a note of its own
    "stopped": _stopped,
    "twice": _twice,
    "absent": _absent,
    "note": lambda note: str(note.facts["said"]),  # of a file of format 1
}
