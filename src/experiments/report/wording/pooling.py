"""What was not pooled, and why: the notes of pooled.json as sentences; the settings of tests, and offers, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from experiments.common.finding import Fact, Finding
from experiments.common.formatting import listed, share
from experiments.common.language import later, plural, say
from experiments.metrics.objectives import OBJECTIVES
from experiments.report.wording.checks import worded
from experiments.report.wording.metrics import METRICS
from experiments.stats.meta_analysis import Knowledge, Pooled, Value

Settings = Mapping[str, Value]  # of one test, by name
NAMED = 3  # tests; more than so many are counted in a note, not named
SETTINGS: dict[str, tuple[str, Callable[[Settings], str]]] = {  # what it is called, and its value in words
    "objective": (later("Objective"), lambda test: say(OBJECTIVES[str(test["objective"])].goal)),
    "currency": (later("Currency"), lambda test: str(test["currency"])),
    "dated": (later("Results with dates"), lambda test: say("yes") if test["dated"] else say("no")),
    "horizon_months": (later("Horizon"), lambda test: _months(test, "horizon_months")),
    "window_months": (later("Return window"), lambda test: _months(test, "window_months")),
    "discount_rate": (
        later("Discount rate"),
        lambda test: say("{share} a year", share=share(float(test["discount_rate"]))),
    ),
    "level": (later("Confidence"), lambda test: share(float(test["level"]), digits=0)),
}
TEXTS = {  # of notes that stand alone, by key and case
    "twice": later("{experiment} is there more than once: its first readout counts, customers only once."),
    "absent dates": later("{experiment} had no dates: it does not count in {metrics}."),
    "absent holdout": later("{experiment} had no holdout: it does not count in {metrics}."),
}
CURABLE = {"horizon_months", "window_months", "discount_rate"}  # another readout of the same data can change them


def label_of(offer: Pooled) -> str:
    """Return what an offer, or a kind of offers, is called on a page."""
    return _label(offer.label, is_kind=offer.is_kind)


def _label(label: str, *, is_kind: bool) -> str:
    return say("Any {kind}", kind=label) if is_kind else label


def setting_label(name: str) -> str:
    """Return what a setting is called, as a heading."""
    return say(SETTINGS[name][0])


def setting_value(name: str, test: Settings) -> str:
    """Return the value of a setting of a test in words."""
    return SETTINGS[name][1](test)


def _months(test: Settings, name: str) -> str:
    return plural("{n} month", "{n} months", int(test[name])) if test["dated"] else say("none")


def sentences(known: Knowledge) -> list[str]:
    """Return the notes as sentences: offers and metrics left out for the same reason stand in one."""
    groups: dict[tuple[object, ...], list[Finding]] = {}
    for place, note in enumerate(known.notes):
        refused = note.key in {"left_out", "not_pooled"}
        same = (note.key, note.facts.get("out"), _reason(note, known.settings)) if refused else (place, None, "")
        groups.setdefault(same, []).append(note)
    return [_refused(notes, str(reason)) if reason else _alone(notes[0]) for (_, _, reason), notes in groups.items()]


def _refused(notes: Sequence[Finding], reason: str) -> str:
    """Return what was not pooled for one reason, and which tests were left out where the others were."""
    first, metrics = notes[0], _metrics_of_offers(notes)
    if first.key == "not_pooled":
        return say("Not pooled: {metrics}, since {reason}", metrics=metrics, reason=reason)
    out = listed(_names(first.facts["out"]))
    return say("Left out: {tests} in {metrics}, since {reason}", tests=out, metrics=metrics, reason=reason)


def _alone(note: Finding) -> str:
    facts = {name: str(fact) for name, fact in note.facts.items()}
    if note.key == "note":  # of a file of format 1
        return facts["said"]
    if note.key == "stopped":
        rest = {name: fact for name, fact in note.facts.items() if name not in ("experiment", "check", "check_case")}
        stop = worded(Finding(key=facts["check"], state="stop", case=facts["check_case"], facts=rest))
        text = later("{experiment} does not count: {check}. {reason}")
        return say(text, experiment=facts["experiment"], check=stop.name, reason=stop.reason)
    metrics = listed([METRICS[metric].label for metric in _names(note.facts.get("metrics", ()))])
    return say(TEXTS[f"{note.key} {note.case}".rstrip()], **facts | {"metrics": metrics})


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
    return tuple(map(str, fact)) if isinstance(fact, tuple) else (str(fact),)


def _reason(note: Finding, settings: Mapping[str, Settings]) -> str:
    """Return why an offer was not pooled: in which settings tests differ, and which parameters read them alike."""
    experiments = _names(note.facts["tests"])
    if note.case == "unknown":
        why = later("in {tests} it has no bounds, no spread, or was read by an older version.")
        return say(why, tests=listed(experiments))
    names, tests = _names(note.facts["settings"]), {name: settings[name] for name in experiments}
    values = [f"{setting_label(name).lower()} ({_by_value(name, tests)})" for name in names]
    least = {name: min((test[name] for test in tests.values()), key=float) for name in CURABLE.intersection(names)}
    differ = say("the tests differ in {settings}.", settings=listed(values))
    if not CURABLE.issuperset(names):
        return differ
    parameters = " ".join(f"-p {name}={least[name]}" for name in names)
    todo = say("Read them out alike: {parameters}.", parameters=parameters)
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
