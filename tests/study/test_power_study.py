"""Sizes for money against a thousand drawn tests of the size they name: minutes."""

import math

import numpy as np
import pytest
from simulated_power import ALONE, drawn_power, size_for, watched_throughout
from telecom_truth import draw_cube

from experiments.design.evidence import question_of
from experiments.design.simulated import simulated_evidence
from experiments.metrics.estimates import Reading
from experiments.simulate.telecom import ARMS, WORLDS, world
from experiments.stats.intervals import jackknife_covariance
from experiments.stats.power import Rule, even_follow_up, power_of

pytestmark = pytest.mark.slow

REPETITIONS = 1_000
PAIR = ("discount", "upgrade")
WITHIN = 2.6  # Monte Carlo errors: one in a hundred sound formulas falls outside


@pytest.fixture(scope="module")
def evidence():
    return simulated_evidence()


@pytest.fixture(scope="module")
def size(evidence):
    return size_for(question_of(evidence, pairs=[PAIR], as_read=False), rule=ALONE).smallest


@pytest.fixture(scope="module")
def drawn(telecom_sheet, size):
    """Return net of every arm, its value and its jackknife covariance, in tests of the size for net."""
    sheet = telecom_sheet.model_copy(update={"winsorise": False, "adjust": False})
    variant, nets, covariances = watched_throughout(WORLDS["base"]), [], []
    for repetition in range(REPETITIONS):
        cube = draw_cube(variant, size, rng=np.random.default_rng([39, repetition]), factors=("reason",))
        numbers = Reading(cube=cube, sheet=sheet).numbers["net"]
        nets.append(numbers[0])
        covariances.append(jackknife_covariance(numbers[1:]))
    return np.array(nets), np.array(covariances)


def gap(drawn, first, second):
    """Return the differences of two arms and what the jackknife takes for their standard errors."""
    nets, covariances = drawn
    a, b = ARMS.index(first), ARMS.index(second)
    variance = covariances[:, a, a] + covariances[:, b, b] - 2 * covariances[:, a, b]
    return nets[:, a] - nets[:, b], np.sqrt(variance)


def agrees(hits, wanted):
    return abs(np.mean(hits) - wanted) < WITHIN * math.sqrt(wanted * (1 - wanted) / len(hits))


@pytest.mark.parametrize("pair", [PAIR, ("discount", "bundle"), ("upgrade", "bundle"), ("tailored", "discount")])
def test_the_difference_in_net_varies_as_the_exact_sums_say(drawn, evidence, size, pair):
    question = question_of(evidence, pairs=[pair])
    found, believed = gap(drawn, *pair)
    exact, total = (math.sqrt(noise[:, 0, 0].sum() / size) for noise in (question.noise, question.believed))
    assert abs(found.mean() - question.effects[0]) < WITHIN * exact / math.sqrt(REPETITIONS)
    assert found.std(ddof=1) / exact == pytest.approx(1, abs=WITHIN / math.sqrt(2 * REPETITIONS))
    assert np.mean(believed**2) / total**2 == pytest.approx(1, abs=0.01)


def test_the_size_for_net_has_the_power_it_names(drawn, evidence, size):
    question = question_of(evidence, pairs=[PAIR], as_read=False)
    found, _ = gap(drawn, *PAIR)
    error = math.sqrt(question.noise[:, 0, 0].sum() / size)
    assert size == pytest.approx(39_413, rel=0.005)  # section 5 of the design
    assert agrees(np.abs(found) > 1.959964 * error, 0.8)


@pytest.mark.parametrize("pair", [PAIR, ("discount", "bundle"), ("upgrade", "bundle"), ("tailored", "discount")])
def test_the_readouts_own_test_has_the_power_foretold(drawn, evidence, size, pair):
    power = power_of(question_of(evidence, pairs=[pair]), 5 * size, rule=ALONE)
    found, believed = gap(drawn, *pair)
    assert agrees(np.abs(found) > power.critical[0] * believed, power.smallest)


def test_a_staggered_test_read_as_a_readout_does(telecom_sheet, evidence):
    pairs, rule = [PAIR, ("discount", "bundle"), ("tailored", "bundle")], Rule()
    power = power_of(question_of(evidence, pairs=pairs, followed=even_follow_up(6, 30)), 5 * 20_000, rule=rule)
    found = drawn_power(WORLDS["base"], telecom_sheet, customers_per_arm=20_000, pairs=pairs, repetitions=400, seed=5)
    for told, wanted in zip(found.each, power.each, strict=True):
        assert abs(told.value - wanted) < WITHIN * math.sqrt(wanted * (1 - wanted) / told.n)


def test_equal_offers_are_rarely_told_apart(telecom_sheet):
    arms = telecom_sheet.model_dump()["arms"]
    equal = {arm: arms["holdout" if arm == "holdout" else "discount"] for arm in arms}
    sheet = type(telecom_sheet).model_validate(telecom_sheet.model_dump() | {"arms": equal})
    found = drawn_power(world("equal"), sheet, customers_per_arm=3_000, rule=Rule(), repetitions=1_000, seed=6)
    assert found.some.value <= 0.05 + WITHIN * math.sqrt(0.05 * 0.95 / 1_000)
