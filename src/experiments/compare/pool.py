"""From readouts to what they know together: which tests may be pooled on which metric, and why others not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.common.errors import WinbackError
from experiments.common.formatting import listed, share
from experiments.common.language import later, plural, say
from experiments.metrics.estimates import METRICS
from experiments.metrics.objectives import OBJECTIVES
from experiments.stats.meta_analysis import ANYWHERE, Knowledge, Pooled, pool

if TYPE_CHECKING:
    from experiments.readout.readout import Arm, Readout


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooling:
    """What must be the same in all tests before a metric can be pooled, and what the metric can be."""

    alike: tuple[str, ...]
    within: tuple[float, float] = ANYWHERE


NAMED = 3  # tests; more than so many are counted in a note, not named
ANY = "any "  # before the name of a kind
MONEY = ("dated", "horizon_months", "discount_rate")
POOLED = {
    "returned": Pooling(alike=("dated", "window_months"), within=(0.0, 1.0)),
    "lift": Pooling(alike=("dated", "window_months"), within=(-1.0, 1.0)),
    "months_gained": Pooling(alike=("horizon_months",)),
    "net": Pooling(alike=(*MONEY, "currency")),
    "roi": Pooling(alike=MONEY),
}
SETTINGS: dict[
    str, tuple[str, Callable[[Readout], str]]
] = {  # of a readout: its name in a sentence, and its value in words
    "objective": (later("Objective"), lambda readout: say(OBJECTIVES[readout.objective].goal)),
    "currency": (later("Currency"), lambda readout: readout.currency),
    "dated": (later("Results with dates"), lambda readout: say("yes") if readout.dated else say("no")),
    "horizon_months": (later("Horizon"), lambda readout: _months(readout, readout.horizon_months)),
    "window_months": (later("Return window"), lambda readout: _months(readout, readout.window_months)),
    "discount_rate": (
        later("Discount rate"),
        lambda readout: say("{share} a year", share=share(readout.discount_rate)),
    ),
    "level": (later("Confidence"), lambda readout: share(readout.level, digits=0)),
}
CURES = {  # settings that another readout of the same data can change
    "horizon_months": "-p horizon_months={}",
    "window_months": "-p window_months={}",
    "discount_rate": "-p discount_rate={}",
}


def pool_readouts(readouts: Sequence[Readout], *, level: float = 0.95) -> Knowledge:
    """Pool what the readouts say of each offer, by its name in the sheets, on each metric of POOLED.

    Where the sheets name kinds, also of each kind, as the offer "any discount", if no test has two offers of it.
    Offers of one test share its holdout: they are never pooled with each other. Left out, each with a note: a test
    that a check stopped, a second readout of the same test, tests read with other settings than most; where no two
    tests were read alike, the metric.
    """
    if not readouts:
        raise WinbackError("There is nothing to pool. Name readouts, such as reports/telecom/3-readout/readout.json.")
    if not 0 < level < 1:
        raise WinbackError(f"level is {level:g}: it must lie between 0 and 1, such as 0.95.")
    usable, notes = _usable(readouts)
    pooled: list[Pooled] = []
    refused: dict[tuple[str, str], dict[str, list[str]]] = {}  # (tests left out, reason) -> offer -> metrics
    offers = _offers(usable)
    labels = _labels(offers)
    for offer, found in (offers | _kinds(offers)).items():
        label = labels[offer] if offer in offers else say("Any {kind}", kind=offer.removeprefix(ANY))
        for metric in POOLED:
            told, out, reason = _pool(offer, metric, found, label=label, level=level)
            pooled += [told] if told else []
            if reason:
                refused.setdefault((listed(out), reason), {}).setdefault(label, []).append(say(METRICS[metric].label))
    for (tests, reason), by in refused.items():
        left = say("Left out: {tests} in {metrics}, since {reason}", tests=tests, metrics=_what(by), reason=reason)
        none = say("Not pooled: {metrics}, since {reason}", metrics=_what(by), reason=reason)
        notes.append(left if tests else none)
    notes += list(_absent(usable))
    names = tuple(readout.experiment for readout in usable)
    return Knowledge(experiments=names, level=level, pooled=tuple(pooled), notes=tuple(notes))


def _usable(readouts: Sequence[Readout]) -> tuple[list[Readout], list[str]]:
    """Return the readouts that may count, each experiment once, and why others may not."""
    usable: list[Readout] = []
    notes: list[str] = []
    for readout in readouts:
        stops = [check for check in readout.checks if check.state == "stop"]
        if stops:
            left_out = later("{experiment} does not count: {check}. {reason}")
            notes.append(say(left_out, experiment=readout.experiment, check=stops[0].key, reason=str(stops[0].facts)))
        elif readout.experiment in {other.experiment for other in usable}:
            twice = later("{experiment} is there more than once: its first readout counts, customers only once.")
            notes.append(say(twice, experiment=readout.experiment))
        else:
            usable.append(readout)
    return usable, notes


def _offers(readouts: Sequence[Readout]) -> dict[str, list[tuple[Readout, Arm]]]:
    """Return each offer with the tests that tried it, in the order of the tests."""
    found: dict[str, list[tuple[Readout, Arm]]] = {}
    for readout in readouts:
        for arm in readout.offers:
            found.setdefault(arm.name, []).append((readout, arm))
    return found


def _labels(offers: Mapping[str, Sequence[tuple[Readout, Arm]]]) -> dict[str, str]:
    """Return the label of each offer in its first test, its name behind it where another offer has the same."""
    labels = {offer: found[0][1].label for offer, found in offers.items()}
    often = Counter(labels.values())
    return {offer: f"{label} ({offer})" if often[label] > 1 else label for offer, label in labels.items()}


def _kinds(offers: Mapping[str, Sequence[tuple[Readout, Arm]]]) -> dict[str, list[tuple[Readout, Arm]]]:
    """Return each kind that has several names and of which no test has two offers, with the tests that tried it."""
    found: dict[str, list[tuple[Readout, Arm]]] = {}
    for readout, arm in (one for tests in offers.values() for one in tests if one[1].kind):
        found.setdefault(f"{ANY}{arm.kind}".replace("_", " "), []).append((readout, arm))
    return {
        kind: tests
        for kind, tests in found.items()
        if len({arm.name for _, arm in tests}) > 1 and len({r.experiment for r, _ in tests}) == len(tests)
    }


def _pool(
    offer: str, metric: str, found: Sequence[tuple[Readout, Arm]], *, label: str, level: float
) -> tuple[Pooled | None, Sequence[str], str]:
    """Return what most tests say together, which tests were read otherwise, and why some or all are left out.

    Where no two of several tests were read alike nothing is pooled; where as many were read in two ways, the first.
    """
    known = [(readout, arm) for readout, arm in found if metric in arm.estimates]
    blind = [readout.experiment for readout, arm in known if not _known(arm, metric)]
    if blind:
        why = later("in {tests} it has no bounds, no spread, or was read by an older version.")
        return None, (), say(why, tests=listed(blind))
    if not known:
        return None, (), ""
    names = POOLED[metric].alike
    ways: dict[tuple[object, ...], list[tuple[Readout, Arm]]] = {}
    for readout, arm in known:
        ways.setdefault(tuple(getattr(readout, name) for name in names), []).append((readout, arm))
    alike, reason = max(ways.values(), key=len), ""
    if len(ways) > 1:
        reason = _differ([name for name, *values in zip(names, *ways, strict=True) if len(set(values)) > 1],
                         [readout for readout, _ in known])  # fmt: skip
        if len(alike) == 1:
            return None, (), reason
    told = pool(
        [arm.estimates[metric] for _, arm in alike],
        offer=offer,
        label=label,
        metric=metric,
        experiments=[readout.experiment for readout, _ in alike],
        level=level,
        within=POOLED[metric].within,
        alike={name: getattr(alike[0][0], name) for name in names},
    )
    return told, [readout.experiment for readout, _ in known if readout.experiment not in told.experiments], reason


def _absent(readouts: Sequence[Readout]) -> Iterator[str]:
    """Yield which metrics a test does not have, where another test of the same offer does."""
    has = {readout.experiment: {metric for arm in readout.offers for metric in arm.estimates} for readout in readouts}
    for readout in readouts:
        offers = {arm.name for arm in readout.offers}
        others = [other for other in readouts if offers & {arm.name for arm in other.offers}]
        told = {metric for other in others for metric in has[other.experiment]}
        absent = [say(METRICS[metric].label) for metric in POOLED if metric in told - has[readout.experiment]]
        if absent:
            why = later("{experiment} had no dates: it does not count in {metrics}.")
            if not any(arm.holdout for arm in readout.arms):
                why = later("{experiment} had no holdout: it does not count in {metrics}.")
            yield say(why, experiment=readout.experiment, metrics=listed(absent))


def _known(arm: Arm, metric: str) -> bool:
    estimate = arm.estimates[metric]
    return None not in (estimate.value, estimate.low, estimate.high) and bool(estimate.se)


def _differ(names: Sequence[str], readouts: Sequence[Readout]) -> str:
    told = [f"{say(SETTINGS[name][0]).lower()} ({', '.join(_by_value(name, readouts))})" for name in names]
    cures = [CURES[name].format(min(getattr(r, name) for r in readouts)) for name in names if name in CURES]
    said = say("the tests differ in {settings}.", settings=listed(told))
    if len(cures) < len(names):
        return said
    todo = say("Read them out alike: {parameters}.", parameters=" ".join(cures))
    return f"{said} {todo}"


def _by_value(name: str, readouts: Sequence[Readout]) -> Iterator[str]:
    """Yield each value of a setting with the tests that have it, how many where they are many."""
    tests: dict[str, list[str]] = {}
    for readout in readouts:
        tests.setdefault(SETTINGS[name][1](readout), []).append(readout.experiment)
    for value, found in tests.items():
        many = plural("{n} test", "{n} tests", len(found))
        yield f"{many if len(found) > NAMED else listed(found)} {value}"


def _what(refused: dict[str, list[str]]) -> str:
    """Return which metrics of which offers were not pooled: offers with the same metrics in one breath."""
    by: dict[tuple[str, ...], list[str]] = {}
    for offer, metrics in refused.items():
        by.setdefault(tuple(metrics), []).append(offer)
    one = later("{metrics} of {offers}")
    return "; ".join(say(one, metrics=listed(metrics), offers=listed(offers)) for metrics, offers in by.items())


def differences(readouts: Sequence[Readout]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each setting in words and its value in every readout."""
    for label, shown in SETTINGS.values():
        yield say(label), tuple(shown(readout) for readout in readouts)


def _months(readout: Readout, months: int) -> str:
    return plural("{n} month", "{n} months", months) if readout.dated else say("none")
