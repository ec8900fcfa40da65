"""The power of a design, counted on drawn experiments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from telecom_truth import draw_cube

from experiments.design.evidence import question_of, simulated_evidence
from experiments.design.trials import SimulatedPower, counted, told
from experiments.metrics.estimates import Reading
from experiments.metrics.objectives import OBJECTIVES, terms_of
from experiments.sheet.sheet import Sheet
from experiments.simulate.telecom import ARMS, World
from experiments.stats.intervals import jackknife_covariance
from experiments.stats.power import PLAIN, Rule, critical_of
from experiments.stats.shares import Pair, Question

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def watched_throughout(variant: World) -> World:
    """Return the world in which every customer is watched for the whole horizon."""
    return replace(variant, follow_up=dict.fromkeys(ARMS, 0.0), follow_up_by_goodwill=False)


def drawn_power(
    variant: World,
    sheet: Sheet,
    *,
    customers_per_arm: int,
    pairs: Sequence[Pair] | str | None = None,
    rule: Rule = PLAIN,
    repetitions: int = 100,
    seed: int = 0,
) -> SimulatedPower:
    """Return the power counted on simulated tests, each drawn, read and tested as a readout does. Slow.

    The question of the sheet's objective between `pairs` of arms, in a test of equal arms.
    """
    evidence = simulated_evidence(variant, horizon_months=sheet.horizon_months, window_months=sheet.window_months,
                                  discount_rate=sheet.discount_rate)  # fmt: skip
    question = question_of(evidence, objective=sheet.objective, pairs=pairs, terms=terms_of(sheet))
    plain = sheet.model_copy(update={"winsorise": False, "adjust": False})
    months, found = max(sheet.horizon_months, sheet.window_months), []
    for repetition in range(repetitions):
        rng = np.random.default_rng([seed, repetition])
        cube = draw_cube(variant, customers_per_arm, rng=rng, months=months, factors=("reason",))
        reading = Reading(cube=cube, sheet=plain)
        found.append(_read(reading, question, rule=rule))
    return counted(question, np.concatenate(found), seed=seed)


def _read(reading: Reading, question: Question, *, rule: Rule) -> NDArray[np.bool_]:
    """Return which differences a test tells, as the readout tells them: (1, contrasts)."""
    objective = OBJECTIVES[reading.sheet.objective]
    scores = np.zeros((len(reading.numbers["value"]), len(question.arms)))
    numbers = {name: values[:, reading.offers] for name, values in reading.numbers.items()}
    scores[:, reading.offers] = objective.score(numbers, terms_of(reading.sheet))
    first, second = ([question.arms.index(getattr(c, end)) for c in question.contrasts] for end in ("first", "second"))
    gaps = scores[:, first] - scores[:, second]
    covariance, df = jackknife_covariance(gaps[1:]), np.full(len(first), float(reading.df))
    critical = critical_of(question, covariance, df, rule=rule)
    return told(question, gaps[:1], np.sqrt(np.diag(covariance))[None], df=df, critical=critical, rule=rule)
