"""The study: every interval against the truth, in every world and size. Minutes; what is done is kept and resumed."""

import numpy as np
import pytest
import study
import table

from experiments.readout.readout import read_cube
from experiments.simulate.telecom import ARMS

pytestmark = pytest.mark.slow

# Where an interval is known to hold the truth less often than .93 at 1,000 and up; docs/study.md says why.
FEW_RETURNED = {f"{metric}{table.HOLDOUT}" for metric in ("value", "active", "months")}
SKEW = {f"{metric}{table.ALL}" for metric in ("value_gained", "net")}
KNOWN = {
    "no_effect": {"active", "value", "gross_roi"},
    "zero_acceptances": {"active", "value"},
    "heavy_tail": {"value", "value_gained", "net", "net_adjusted", "roi", "gross_roi", "break_even"},
}
BIASED = "informative_follow_up"


@pytest.mark.parametrize("name", study.VARIANTS)
@pytest.mark.parametrize("size", [300, 10_000])
def test_what_the_study_counts_is_what_the_readout_says(name, size):
    sheet, cube = study.sheet_of(name), study.draw(name, size, repetition=3)
    alone, together, word = study.one(cube, sheet, size=size)
    readout = read_cube(cube, sheet)
    assert readout.verdict.kind == word.split()[0] or readout.verdict.tone == "stop"
    for a, arm in enumerate(readout.arms):
        assert arm.name == ARMS[a]
        for place, rows, found in ((tuple(study.METRICS), alone, arm.estimates),
                                   (study.SIMULTANEOUS, together, arm.simultaneous)):  # fmt: skip
            for metric, told in found.items():
                if metric in place and told.value is not None:
                    low, high = (bound if bound is not None else np.nan for bound in (told.low, told.high))
                    seen = np.where(np.isinf(row := rows[a, place.index(metric)]), np.nan, row)
                    np.testing.assert_allclose(seen, [told.value, low, high], rtol=1e-12)


@pytest.mark.parametrize(("name", "size"), list(study.cells()), ids=str)
def test_the_intervals_hold_the_truth_as_often_as_they_say(name, size):
    cell = study.run(name, size)
    table.write_page()
    missed = {metric for metric, found in table.coverages(name, cell) if found.too_low}
    if size >= 1_000:
        assert name == BIASED or missed <= FEW_RETURNED | SKEW | KNOWN.get(name, set())
        assert name != BIASED or "months" in missed  # should it ever be right, the page must say so


@pytest.mark.parametrize("size", study.SIZES)
def test_of_equal_offers_none_is_called_best(size):
    chosen = np.mean([word.startswith("choose ") for word in study.run("equal", size).words])
    assert chosen <= 0.05 + 2.6 * np.sqrt(0.05 * 0.95 / study.REPETITIONS)
