"""What a past test teaches about the next lost customers."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.readout.readout import Arm, Readout


def learned_from(readout: Readout) -> Learned | None:
    """Return what a test teaches about the next customers: the best offer, by reason where the test can tell.

    P(return) is the offer's lift, cost its cost added per contacted customer; the second value is what makes
    P(return) x second value - cost the offer's gain there: the shrunken gain by reason, else the net. None where no
    offer has a net and a positive lift.
    """
    known = {arm.name: arm for arm in readout.offers if _taught(arm)}
    if not known:
        return None
    best = max(known.values(), key=lambda arm: _value(arm, "net"))
    lessons = [_lesson("", best, _value(best, "net"))]
    tables = [table for table in (readout.targeting.tables if readout.targeting else ()) if table.factor == "reason"]
    for table in tables:
        for segment in table.segments:
            cells = [cell for cell in table.cells if cell.segment == segment and cell.offer in known
                     and cell.shrunk.unit == "money" and cell.shrunk.value is not None]  # fmt: skip
            if cells:
                top = max(cells, key=lambda cell: cell.shrunk.value or 0.0)
                lessons.append(_lesson(segment, known[top.offer], top.shrunk.value or 0.0))
    return Learned(source=readout.experiment, lessons=tuple(lessons))


def _taught(arm: Arm) -> bool:
    values = [arm.estimates[name].value for name in ("net", "cost_added", "lift") if name in arm.estimates]
    return len(values) == 3 and None not in values and (arm.estimates["lift"].value or 0.0) > 0  # noqa: PLR2004


def _value(arm: Arm, metric: str) -> float:
    return arm.estimates[metric].value or 0.0


def _lesson(segment: str, arm: Arm, gain: float) -> Lesson:
    p, cost = _value(arm, "lift"), _value(arm, "cost_added")
    return Lesson(segment=segment, offer=arm.label, p_return=p, second_value=(gain + cost) / p, cost=cost)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What a past test teaches of one segment, per contacted customer. Money in currency."""

    segment: str  # a reason; empty: everybody else
    offer: str  # the best one there
    p_return: float  # share it brought back more than would have come anyway
    second_value: float  # value of one more return
    cost: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What a past test teaches."""

    source: str  # the experiment
    lessons: tuple[Lesson, ...]
