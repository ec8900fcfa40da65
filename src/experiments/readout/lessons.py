"""What a past test teaches about the next lost customers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from experiments.common.estimate import Estimate
from experiments.readout.readout import Arm, Readout

NEEDED = ("net", "cost_added", "lift")  # estimates of an offer that teaches
REASON = "reason"  # the factor of the strata that the lost are known by


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What a past test teaches of the best offer for one reason, per contacted customer. Money in currency.

    The gain is lift x value of one more return - cost. A readout holds these three only of all customers together: of
    one reason it holds the gain alone, shrunken, and lift and value there are not told (they are not those of all).
    """

    segment: str  # a reason; empty: everybody else
    offer: str  # the best one there
    gain: Estimate  # net over the holdout
    cost: float  # added by the offer, mean of all customers of the test
    p_return: float | None = None  # lift: share it brought back more than would have come anyway
    second_value: float | None = None  # value of one more return


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What a past test teaches."""

    source: str  # the experiment
    lessons: tuple[Lesson, ...]  # that of everybody first


def learned_from(readout: Readout) -> Learned | None:
    """Return what a test teaches about the next customers: the best offer, by reason where the test can tell.

    Best for all: the highest net of those with a positive lift, and one more return is worth (net + cost) / lift. By
    reason: the highest shrunken gain. None where no offer has a net and a positive lift.
    """
    known = {arm.name: arm for arm in readout.offers if _teaches(arm)}
    if not known:
        return None
    lessons = [_of_all(max(known.values(), key=lambda arm: _value(arm, "net")))]
    tables = readout.targeting.tables if readout.targeting else ()
    for table in (table for table in tables if table.factor == REASON):
        for segment in table.segments:
            gains = {cell.offer: cell.shrunk for cell in table.cells
                     if (cell.segment, cell.shrunk.unit) == (segment, "money") and cell.shrunk.value is not None
                     and cell.offer in known}  # fmt: skip
            if gains:
                arm = known[max(gains, key=lambda offer: gains[offer].value or 0.0)]
                cost = _value(arm, "cost_added")
                lessons.append(Lesson(segment=segment, offer=arm.label, gain=gains[arm.name], cost=cost))
    return Learned(source=readout.experiment, lessons=tuple(lessons))


def _teaches(arm: Arm) -> bool:
    known = all(name in arm.estimates and arm.estimates[name].value is not None for name in NEEDED)
    return known and _value(arm, "lift") > 0


def _value(arm: Arm, metric: str) -> float:
    return arm.estimates[metric].value or 0.0


def _of_all(arm: Arm) -> Lesson:
    lift, cost, net = _value(arm, "lift"), _value(arm, "cost_added"), arm.estimates["net"]
    worth = ((net.value or 0.0) + cost) / lift
    return Lesson(segment="", offer=arm.label, gain=net, cost=cost, p_return=lift, second_value=worth)


def upgraded_lesson(lesson: dict[str, Any], *, level: float) -> dict[str, Any]:
    """Return, as JSON, a lesson of format 1: of a reason it told the lift of all customers, which goes."""
    gain = lesson["p_return"] * lesson["second_value"] - lesson["cost"]
    told = lesson | {"gain": {"value": gain, "low": None, "high": None, "level": level, "n": 0, "unit": "money"}}
    return told | {"p_return": None, "second_value": None} if lesson["segment"] else told
