"""The study of several tests: the intervals of the mean, of the next test and of each test hold the truth. Minutes."""

from itertools import product

import pooling
import pytest

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("cell", list(product(pooling.COUNTS, pooling.SPREADS)), ids=str)
def test_intervals_over_tests_hold_the_truth_as_often_as_they_say(cell):
    found = pooling.coverage(cell)
    for name in ("mean", "shrunken", *(("next",) if cell[0] >= pooling.FOR_THE_NEXT else ())):
        assert found[name] >= 0.92, name


def test_the_usual_prediction_interval_does_not():
    assert pooling.coverage((8, 0.5))["next_usual"] < 0.92
