"""From readouts to what they know together: which tests may be pooled on which metric, and why others not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.common.errors import WinbackError
from experiments.common.finding import Fact, Finding
from experiments.stats.meta_analysis import ANYWHERE, Knowledge, Pooled, Value, pool

if TYPE_CHECKING:
    from experiments.readout.readout import Arm, Readout


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooling:
    """What must be the same in all tests before a metric can be pooled, and what the metric can be."""

    alike: tuple[str, ...]
    within: tuple[float, float] = ANYWHERE


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """An offer in one test."""

    readout: Readout
    arm: Arm

    @property
    def experiment(self) -> str:
        """The name of the test."""
        return self.readout.experiment


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """An offer, or a kind of offers, with the tests that tried it."""

    name: str
    label: str
    trials: tuple[Trial, ...]
    is_kind: bool = False


MONEY = ("dated", "horizon_months", "discount_rate")
POOLED = {
    "returned": Pooling(alike=("dated", "window_months"), within=(0.0, 1.0)),
    "lift": Pooling(alike=("dated", "window_months"), within=(-1.0, 1.0)),
    "months_gained": Pooling(alike=("horizon_months",)),
    "net": Pooling(alike=(*MONEY, "currency")),
    "roi": Pooling(alike=MONEY),
}
SETTINGS = ("objective", "currency", "dated", "horizon_months", "window_months", "discount_rate", "level")


def settings_of(readout: Readout) -> dict[str, Value]:
    """Return how a test was read: what must be alike in tests that are pooled, and what else is compared."""
    return {name: getattr(readout, name) for name in SETTINGS}


def pool_readouts(readouts: Sequence[Readout], *, level: float = 0.95) -> Knowledge:
    """Pool what the readouts say of each offer, by its name in the sheets, on each metric of POOLED.

    Where the sheets name kinds, also of each kind, as the offer "any discount", if no test has two offers of it.
    Offers of one test share its holdout: they are never pooled with each other. Left out, each with a note: a test
    that a check stopped, a second readout of the same test, tests read with other settings than most; where no two
    tests were read alike, the metric. `level`: confidence of the intervals, 0 to 1. Raises WinbackError.
    """
    if not readouts:
        raise WinbackError("There is nothing to pool. Name readouts, such as reports/telecom/3-readout/readout.json.")
    if not 0 < level < 1:
        raise WinbackError(f"level is {level:g}: it must lie between 0 and 1, such as 0.95.")
    usable, notes = _usable(readouts)
    pooled: list[Pooled] = []
    offers = _offers(usable)
    for treatment in (*offers, *_kinds(offers)):
        for metric in POOLED:
            together, note = _pool(treatment, metric, level=level)
            pooled += [together] if together else []
            notes += [note] if note else []
    return Knowledge(
        experiments=tuple(readout.experiment for readout in usable),
        level=level,
        pooled=tuple(pooled),
        notes=(*notes, *_absent(usable)),
        settings={one.experiment: settings_of(one) for one in usable},
    )


def _usable(readouts: Sequence[Readout]) -> tuple[list[Readout], list[Finding]]:
    """Return the readouts that may count, each experiment once, and why others may not."""
    usable: list[Readout] = []
    notes: list[Finding] = []
    for readout in readouts:
        stops = [check for check in readout.checks if check.state == "stop"]
        if stops:
            stop = stops[0]
            facts = {"experiment": readout.experiment, "check": stop.key, "check_case": stop.case, **stop.facts}
            notes.append(_note("stopped", facts))
        elif readout.experiment in {other.experiment for other in usable}:
            notes.append(_note("twice", {"experiment": readout.experiment}))
        else:
            usable.append(readout)
    return usable, notes


def _offers(readouts: Sequence[Readout]) -> list[Treatment]:
    """Return each offer in the order of the tests.

    Its label is that of its first test, its name behind it where another offer has the same.
    """
    found: dict[str, list[Trial]] = {}
    for readout in readouts:
        for arm in readout.offers:
            found.setdefault(arm.name, []).append(Trial(readout=readout, arm=arm))
    often = Counter(trials[0].arm.label for trials in found.values())
    return [
        Treatment(name=name, label=f"{label} ({name})" if often[label] > 1 else label, trials=tuple(trials))
        for name, trials in found.items()
        for label in [trials[0].arm.label]
    ]


def _kinds(offers: Sequence[Treatment]) -> Iterator[Treatment]:
    """Yield each kind that has several names and of which no test has two offers."""
    found: dict[str, list[Trial]] = {}
    for trial in (trial for offer in offers for trial in offer.trials if trial.arm.kind):
        found.setdefault(str(trial.arm.kind).replace("_", " "), []).append(trial)
    for kind, trials in found.items():
        names, tests = {trial.arm.name for trial in trials}, {trial.experiment for trial in trials}
        if len(names) > 1 and len(tests) == len(trials):
            yield Treatment(name=f"any {kind}", label=kind, trials=tuple(trials), is_kind=True)


def _pool(treatment: Treatment, metric: str, *, level: float) -> tuple[Pooled | None, Finding | None]:
    """Return what most tests say together, and why some or all are left out.

    Where no two of several tests were read alike nothing is pooled; where as many were read in two ways, the first.
    """
    trials = [trial for trial in treatment.trials if metric in trial.arm.estimates]
    about: dict[str, Fact] = {"offer": treatment.label, "is_kind": treatment.is_kind, "metric": metric}
    if not trials:
        return None, None
    if unknown := tuple(trial.experiment for trial in trials if not _is_known(trial.arm, metric)):
        return None, _note("not_pooled", about | {"tests": unknown}, case="unknown")
    names = POOLED[metric].alike
    ways: dict[tuple[Value, ...], list[Trial]] = {}
    for trial in trials:
        ways.setdefault(tuple(getattr(trial.readout, name) for name in names), []).append(trial)
    settings, alike = max(ways.items(), key=lambda way: len(way[1]))
    differ = tuple(name for name, *values in zip(names, *ways, strict=True) if len(set(values)) > 1)
    about |= {"tests": tuple(trial.experiment for trial in trials), "settings": differ}
    if len(ways) > 1 and len(alike) == 1:
        return None, _note("not_pooled", about, case="differ")
    together = pool(
        [trial.arm.estimates[metric] for trial in alike],
        offer=treatment.name,
        label=treatment.label,
        is_kind=treatment.is_kind,
        metric=metric,
        experiments=[trial.experiment for trial in alike],
        level=level,
        within=POOLED[metric].within,
        alike=dict(zip(names, settings, strict=True)),
    )
    out = tuple(trial.experiment for trial in trials if trial.experiment not in together.experiments)
    return together, _note("left_out", about | {"out": out}, case="differ") if out else None


def _absent(readouts: Sequence[Readout]) -> Iterator[Finding]:
    """Yield which metrics a test does not have, where another test of the same offer does."""
    has = {readout.experiment: {metric for arm in readout.offers for metric in arm.estimates} for readout in readouts}
    for readout in readouts:
        offers = {arm.name for arm in readout.offers}
        others = [other for other in readouts if offers & {arm.name for arm in other.offers}]
        known = {metric for other in others for metric in has[other.experiment]}
        absent = tuple(metric for metric in POOLED if metric in known - has[readout.experiment])
        if absent:
            case = "dates" if any(arm.holdout for arm in readout.arms) else "holdout"
            yield _note("absent", {"experiment": readout.experiment, "metrics": absent}, case=case)


def _note(key: str, facts: Mapping[str, Fact], *, case: str = "") -> Finding:
    return Finding(key=key, state="warn", case=case, facts=facts)


def _is_known(arm: Arm, metric: str) -> bool:
    estimate = arm.estimates[metric]
    return None not in (estimate.value, estimate.low, estimate.high) and bool(estimate.se)
