"""Second lifetimes: against R's numbers, published tables and greenwood; laws; and the truth of the simulator."""

import dataclasses
import math

import greenwood
import numpy as np
import pandas as pd
import pytest
from cubes import folded, full_sums
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from scipy.special import hyp2f1
from survival_oracles import LogRank, curve_of, log_rank, paid_months, restricted_mean_difference
from telecom_truth import draw_cube

from experiments.common.errors import WinbackError
from experiments.common.estimate import Estimate
from experiments.metrics.retention import Mix, curve_of_acceptors, life_table, mix_of_assigned
from experiments.simulate import telecom
from experiments.stats.intervals import proportion
from experiments.stats.projection import (
    BETA_GEOMETRIC,
    MODELS,
    Projection,
    _fit,
    _log_likelihood,
    project,
    residual_lifetime,
)
from experiments.stats.survival import (
    Curve,
    HazardRatios,
    common_horizon,
    early_loss,
    hazard_ratios,
    hazards,
    restricted_mean,
    risk_sets,
)

BASE = telecom.WORLDS["base"]
OFFERS = [telecom.ARMS.index(name) for name in telecom.OFFERS]


def at(curve, month):
    """Return the share still there after a month."""
    place = curve.place(month)
    return 1.0 if place is None else curve.survival[place]


def row(curve, month):
    """Return (at risk, ended, survival, error, low, high) of a duration."""
    place = curve.months.index(month)
    columns = (curve.at_risk, curve.ended, curve.survival, curve.error, curve.low, curve.high)
    return tuple(column[place] for column in columns)


def error_of(estimate):
    return (estimate.high - estimate.low) / 2 / 1.959963984540054


# Freireich et al. 1963, the trial of 6-MP in every textbook (S1 of the project's oracles).
SIX_MP = curve_of(
    durations=[6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35],
    event_observed=[1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0],
)
PLACEBO = curve_of(
    durations=[1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23], event_observed=[True] * 21
)


@pytest.mark.parametrize(
    ("month", "expected"),  # at risk, ended, survival, error, low, high
    [
        (6, (21, 3, 0.8571, 0.0764, 0.6197, 0.9516)),
        (7, (17, 1, 0.8067, 0.0869, 0.5631, 0.9228)),
        (10, (15, 1, 0.7529, 0.0963, 0.5032, 0.8894)),
        (13, (12, 1, 0.6902, 0.1068, 0.4316, 0.8491)),
        (16, (11, 1, 0.6275, 0.1141, 0.3675, 0.8049)),
        (22, (7, 1, 0.5378, 0.1282, 0.2678, 0.7468)),
        (23, (6, 1, 0.4482, 0.1346, 0.1881, 0.6801)),
    ],
)
def test_a_curve_is_the_table_of_the_6mp_trial(month, expected):
    assert row(SIX_MP, month) == pytest.approx(expected, abs=6e-5)


def test_restricted_means_and_log_rank_of_the_6mp_trial():
    treated, placebo = (restricted_mean(curve, horizon_months=20) for curve in (SIX_MP, PLACEBO))
    assert (treated.value, placebo.value) == pytest.approx((16.11653, 8.42857), abs=1e-5)
    assert error_of(placebo) == pytest.approx(1.26808, abs=1e-5)
    difference = restricted_mean_difference(SIX_MP, PLACEBO, horizon_months=20)
    told = (difference.value, difference.low, difference.high, error_of(difference))
    assert told == pytest.approx((7.68796, 4.1959, 11.1800, 1.78169), abs=1e-4)
    test = log_rank([SIX_MP, PLACEBO])
    assert (test.statistic, test.df, test.p) == pytest.approx((16.792941, 1, 4.1688e-05), rel=1e-4)


def of_frame(frame, *, scale=1.0):
    return curve_of(durations=frame["time"] / scale, event_observed=frame["status"] == 2)


def test_restricted_means_of_the_lung_data_are_those_of_r():
    # S2: R survival, fixtures of rich-iannone/greenwood.
    lung = greenwood.load_dataset("lung", backend="pandas")
    men, women, everyone = of_frame(lung[lung["sex"] == 1]), of_frame(lung[lung["sex"] == 2]), of_frame(lung)
    for curve, value, error in (
        (men, 241.495085192057, 10.358226491097),
        (women, 297.465409532037, 10.7913239788),
        (everyone, 263.221866482007, 7.798859086314),
    ):
        found = restricted_mean(curve, horizon_months=365)
        assert (found.value, error_of(found)) == pytest.approx((value, error), abs=1e-8)
    difference = restricted_mean_difference(men, women, horizon_months=365)
    told = difference.value, error_of(difference)
    assert told == pytest.approx((-55.97032433998, 14.958125860424), abs=1e-8)
    test = log_rank([men, women])
    assert (test.statistic, test.p) == pytest.approx((10.326741954886, 0.001311164520355), abs=1e-8)


def test_restricted_means_of_the_pbc_trial_are_those_of_survrm2():
    # S3: survRM2 vignette 3, first 312 patients, tau = 10 years; and our own recomputation to six digits.
    pbc = greenwood.load_dataset("pbc", backend="pandas").head(312)
    arm1, arm0 = (of_frame(pbc[pbc["trt"] == arm], scale=365.25) for arm in (1, 2))
    means = [restricted_mean(curve, horizon_months=10) for curve in (arm1, arm0)]
    assert [(m.value, m.low, m.high) for m in means] == [
        pytest.approx((7.146, 6.592, 7.701), abs=6e-4),
        pytest.approx((7.283, 6.704, 7.863), abs=6e-4),
    ]
    difference = restricted_mean_difference(arm1, arm0, horizon_months=10)
    told = difference.value, error_of(difference), difference.low, difference.high
    assert told == pytest.approx((-0.1369228, 0.4089852, -0.938519, 0.664674), abs=1e-6)


def test_who_leaves_in_month_0_counts():
    # S4; the trap: survrm2py drops events at time 0 and says 2.9714.
    curve = curve_of(durations=[0, 0, 1, 2, 3, 3, 4], event_observed=[1, 0, 1, 0, 1, 1, 0])
    assert curve.at_risk == (7, 5, 4, 3, 1)
    assert curve.survival == pytest.approx((6 / 7, 0.685714, 0.685714, 0.228571, 0.228571), abs=1e-6)
    for horizon, value, error in ((3.5, 2.342857142857143, 0.4997647648782374), (3, 2.228571428571429, 0.4607510664)):
        found = restricted_mean(curve, horizon_months=horizon)
        area = restricted_mean_difference(curve, curve, horizon_months=horizon)
        assert found.value == pytest.approx(value, abs=1e-12)
        assert error_of(area) / math.sqrt(2) == pytest.approx(error, abs=1e-9)
    paid = paid_months(curve, factors=[1.01**-month for month in range(3)])
    assert paid.value == pytest.approx(2.2082708978, abs=1e-9)
    assert paid.value - paid.low == pytest.approx(1.959963984540054 * 0.4553938385, abs=1e-8)


def test_who_is_watched_from_later_on_is_at_risk_from_then_on():
    # S5: R fixture counting_truncation (greenwood); statsmodels, scikit-survival and lifelines agree.
    curve = curve_of(
        entry=[0, 2, 1, 3, 0, 4, 1, 2], durations=[5, 6, 4, 8, 7, 9, 6, 5], event_observed=[1, 0, 1, 1, 0, 1, 1, 0]
    )
    late = slice(curve.months.index(4), None)
    assert curve.months[late] == (4, 5, 6, 7, 8, 9)
    assert curve.at_risk[late] == (7, 7, 5, 3, 2, 1)
    assert curve.ended[late] == (1, 1, 1, 0, 1, 1)
    assert curve.survival[late] == pytest.approx((0.85714, 0.73469, 0.58776, 0.58776, 0.29388, 0), abs=1e-5)
    assert hazards(curve)[0].rate.n > 0  # a duration at which nobody is watched has no hazard


def test_the_error_of_a_restricted_mean_is_that_of_the_mean():
    # N1: lifelines 0.30.3 gives the variance of a fly, .51644. R survRM2: 9.794, se .123 (waltons, miR-137, tau 10:
    # of 34 flies one died on day 6, three on day 9, the others after day 10).
    found = restricted_mean(curve_of(durations=[6, 9, 9, 9, *[13] * 30], event_observed=[True] * 34), horizon_months=10)
    assert found.value == pytest.approx(9.7941, abs=5e-5)
    whole = restricted_mean_difference(
        curve_of(durations=[6, 9, 9, 9, *[13] * 30], event_observed=[True] * 34),
        curve_of(durations=[10], event_observed=[False]),
        horizon_months=10,
    )
    assert error_of(whole) == pytest.approx(0.1232, abs=1e-3)
    assert error_of(whole) ** 2 == pytest.approx(0.0152, abs=1e-4)


def test_counts_have_the_errors_of_the_rows_they_count():
    # N2: statsmodels 0.15 with freq_weights gives .1250 .1898 .2757 .5461 for the same data.
    months, left = [1, 2, 2, 3, 4, 5, 5, 6], [1, 1, 0, 1, 0, 1, 1, 0]
    rows = curve_of(durations=months, event_observed=left)
    right = [0.1169, 0.1531, 0.1817, 0.1742]
    assert [rows.error[rows.months.index(month)] for month in (1, 2, 3, 5)] == pytest.approx(right, abs=5e-5)
    counts = Curve.of_counts(rows.at_risk, rows.ended, n=8)
    assert (counts.months, counts.survival, counts.error) == (rows.months, rows.survival, rows.error)


@st.composite
def lives(draw, *, smallest=2):
    """Return (months, left) of customers, with ties."""
    n = draw(st.integers(smallest, 40))
    months = draw(st.lists(st.integers(1, 12) | st.floats(0.5, 12, width=32), min_size=n, max_size=n))
    return months, draw(st.lists(st.booleans(), min_size=n, max_size=n))


@given(lives())
def test_curves_are_greenwoods(life):
    months, left = life
    curve = curve_of(durations=months, event_observed=left)
    peer = greenwood.KaplanMeier(conf_type="log-log").fit(greenwood.Surv(time=months, event=np.array(left, int)))
    assert curve.months == pytest.approx(tuple(peer.time_))
    assert curve.survival == pytest.approx(tuple(peer.survival_), abs=1e-12)
    for ours, theirs, s in zip(
        zip(curve.error, curve.low, curve.high, strict=True),
        zip(peer.std_error_, peer.conf_low_, peer.conf_high_, strict=True),
        curve.survival,
        strict=True,
    ):
        if 0 < s < 1:
            assert ours == pytest.approx(tuple(theirs), abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_tests_between_curves_are_greenwoods(seed):
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 3, size=120)
    life, seen = rng.exponential(8 + 2 * group).round(seed % 2), rng.uniform(2, 20, size=120).round(seed % 2)
    months, left = np.minimum(life, seen) + 0.5, life <= seen
    curves = [curve_of(durations=months[group == g], event_observed=left[group == g]) for g in range(3)]
    peer = greenwood.logrank_test(greenwood.Surv(time=months, event=left.astype(int)), group)
    ours = log_rank(curves)
    assert (ours.statistic, ours.df, ours.p) == pytest.approx((peer.statistic, 2, peer.p_value), rel=1e-9)
    two = group < 2
    surv = greenwood.Surv(time=months[two], event=left[two].astype(int))
    mean = greenwood.rmst_test(surv, 8.0, group[two])
    difference = restricted_mean_difference(curves[0], curves[1], horizon_months=8)
    assert (abs(difference.value), error_of(difference)) == pytest.approx((abs(mean.estimate), mean.se), rel=1e-9)


@given(lives(), st.randoms(use_true_random=False))
def test_the_order_of_customers_is_irrelevant(life, random):
    rows = list(zip(*life, strict=True))
    shuffled = random.sample(rows, len(rows))
    again = curve_of(durations=[m for m, _ in shuffled], event_observed=[gone for _, gone in shuffled])
    assert again == curve_of(durations=life[0], event_observed=life[1])


@given(lives(), st.floats(0.5, 12))
def test_a_restricted_mean_lies_in_its_interval_and_below_the_horizon(life, horizon):
    curve = curve_of(durations=life[0], event_observed=life[1])
    found = restricted_mean(curve, horizon_months=horizon)
    if curve.until is not None and horizon > curve.until:
        assert found.value is None
    else:
        assert 0 <= found.value <= horizon + 1e-9
        assert found.low is None or found.low <= found.value <= found.high
    assert all(low is None or low <= s for low, s in zip(curve.low, curve.survival, strict=True))
    assert all(high is None or high >= s for high, s in zip(curve.high, curve.survival, strict=True))


@given(lives(), st.floats(0.1, 1000))
def test_months_have_no_preferred_unit(life, unit):
    curve = curve_of(durations=life[0], event_observed=life[1])
    other = curve_of(durations=[m * unit for m in life[0]], event_observed=life[1])
    assert other.survival == curve.survival
    first, second = restricted_mean(curve, horizon_months=0.5), restricted_mean(other, horizon_months=0.5 * unit)
    assert second.value == pytest.approx(first.value * unit)


def test_two_halves_of_the_customers_differ_by_nothing():
    assert log_rank([SIX_MP, SIX_MP]).statistic == pytest.approx(0, abs=1e-12)
    assert restricted_mean_difference(SIX_MP, SIX_MP, horizon_months=20).value == 0


def test_without_a_leaver_there_are_no_bounds_to_a_mean():
    loyal = curve_of(durations=[5, 6, 7], event_observed=[False] * 3)
    found = restricted_mean(loyal, horizon_months=5)
    assert (found.value, found.low, found.high) == (5, None, None)
    assert loyal.low[0] == pytest.approx(0.025 ** (1 / 3))  # Clopper-Pearson of 3 of 3
    assert log_rank([loyal, loyal]) is None


def test_beyond_the_last_customer_seen_nothing_is_estimated():
    curve = curve_of(durations=[3, 6], event_observed=[True, False])
    assert restricted_mean(curve, horizon_months=6).value == 4.5
    assert restricted_mean(curve, horizon_months=6.1).value is None
    assert early_loss(curve, within_months=7).value is None
    assert restricted_mean(curve_of(durations=[], event_observed=[]), horizon_months=1).value is None
    assert restricted_mean_difference(curve, SIX_MP, horizon_months=20).value is None


# Whole months, counted.


def counted(life, seen, *, naive=False):
    """Return a curve of customers who stay `life` months and were watched for `seen` months.

    `naive` codes who was last seen buying as at risk of leaving at the end of that month.
    """
    months = int(seen.max())
    ended = np.bincount(life[life < seen], minlength=months + 1)[1:]
    stayed = np.bincount(seen[life >= seen], minlength=months + 1)[1:]
    at_risk = risk_sets(ended, stayed) + (stayed if naive else 0)
    return Curve.of_counts(at_risk, ended, n=len(life))


def test_who_is_still_buying_tells_about_the_months_before_only():
    # Lives of 1, 1, 2 months, and two customers watched for 3 months and buying in the third.
    assert risk_sets(np.array([2, 1, 0]), np.array([0, 0, 2])).tolist() == [5, 3, 0]
    curve = counted(np.array([1, 1, 2, 9, 9]), np.array([3, 3, 3, 3, 3]))
    assert (curve.months, curve.at_risk, curve.ended) == ((1, 2), (5, 3), (2, 1))
    assert curve.until == 3
    assert restricted_mean(curve, horizon_months=3).value == pytest.approx(1 + 3 / 5 + 2 / 5)
    assert restricted_mean(curve, horizon_months=4).value is None


def test_the_naive_coding_of_censoring_makes_lifetimes_too_long_and_ours_covers():
    # TRAPS: coding the censoring at m biases RMST by +.12 month and drops coverage to .91-.93.
    rng = np.random.default_rng(11)
    hazard, horizon, repetitions = 0.07, 24, 400
    truth = sum((1 - hazard) ** month for month in range(horizon))
    covered, errors = {False: 0, True: 0}, {False: [], True: []}
    for _ in range(repetitions):
        life, seen = rng.geometric(hazard, size=1000), np.minimum(rng.integers(6, 31, size=1000), horizon)
        for naive in covered:
            found = restricted_mean(counted(life, seen, naive=naive), horizon_months=horizon)
            covered[naive] += found.low <= truth <= found.high
            errors[naive].append(found.value - truth)
    bias = {naive: float(np.mean(e)) for naive, e in errors.items()}
    monte_carlo = float(np.std(errors[False])) / math.sqrt(repetitions)
    assert abs(bias[False]) < 3 * monte_carlo
    assert bias[True] > 0.08 > 3 * monte_carlo
    assert 0.93 <= covered[False] / repetitions <= 0.97
    assert covered[True] < covered[False]


def test_early_loss_is_what_the_curve_has_lost():
    curve = counted(np.array([1, 1, 2, 9, 9, 9, 9, 9]), np.full(8, 4))
    found = early_loss(curve, within_months=2)
    assert (found.value, found.n, found.unit) == (3 / 8, 8, "share")
    assert (found.low, found.high) == (1 - curve.high[1], 1 - curve.low[1])
    assert early_loss(curve, within_months=0.5).value is None


def test_hazards_are_shares_of_those_at_risk_and_mark_the_end_of_the_promotion():
    found = hazards(Curve.of_counts([100, 80, 40], [4, 8, 6], n=110), promotion_months=(2,))
    assert [h.rate for h in found] == [proportion(d, y, level=0.95) for d, y in ((4, 100), (8, 80), (6, 40))]
    assert [(h.months, h.promotion_ends) for h in found] == [(1, False), (2, True), (3, False)]


def test_the_common_horizon_is_the_longest_that_every_curve_carries():
    long = Curve.of_counts([100, 80, 60, 40], [5, 5, 5, 5], n=100)
    short = Curve.of_counts([50, 9, 4], [2, 1, 0], n=50)
    assert common_horizon([long]) == 5
    assert common_horizon([long, short]) == 2  # after 2 months 9 are at risk
    assert common_horizon([long, short], at_least=5) == 3
    assert common_horizon([long, short], at_least=1) == 4
    assert common_horizon([long, Curve.of_counts([], [], n=0)]) == 0
    assert common_horizon([Curve.of_counts([30, 20], [10, 20], n=30)]) == 2  # nobody is left
    assert restricted_mean(short, horizon_months=4).value is not None


# The cube and the truth of the simulator.


@pytest.fixture(scope="module")
def cube():
    return draw_cube(BASE, 10_000, rng=np.random.default_rng(3))


@pytest.fixture(scope="module")
def true_curves():
    """Return, for each arm, the survival of acceptors by stratum, and how many acceptors a stratum has."""
    cells = telecom._kinds(BASE).merge(telecom._odds(BASE), on="kind")
    curves, found = telecom._curves(BASE), {}
    for arm, rows in cells.assign(stratum=cells["reason"] + " / " + cells["tier"]).groupby("arm"):
        weights = (rows["share"] * rows["p_accept"]).to_numpy()
        taking = pd.DataFrame(curves[rows["curve_offer"]] * weights[:, None]).groupby(rows["stratum"].to_numpy()).sum()
        share = pd.Series(weights).groupby(rows["stratum"].to_numpy()).sum()
        found[arm] = taking.div(share, axis=0), share
    return found


def within(curve, truth, *, errors):
    """Tell whether a curve is everywhere within so many standard errors of the truth (by month from 0)."""
    return all(
        abs(s - truth[int(month)]) <= errors * error
        for month, s, error in zip(curve.months, curve.survival, curve.error, strict=True)
    )


@pytest.mark.parametrize("arm", [*telecom.OFFERS, "tailored"])
def test_acceptors_stay_as_long_as_the_simulator_says(cube, true_curves, arm):
    curves, share = true_curves[arm]
    found = curve_of_acceptors(cube, arm=cube.arms.index(arm))
    assert within(found, share.to_numpy() @ curves.to_numpy() / share.sum(), errors=4)
    assert found.months == tuple(range(1, 24))
    assert found.until == 24


@pytest.mark.parametrize("arm", [*telecom.OFFERS, "tailored"])
def test_standardised_curves_are_of_the_mix_of_all_assigned(cube, true_curves, arm):
    mix = mix_of_assigned(cube, arms=OFFERS)
    assert mix.covered == 1
    assert sum(mix.weights) == pytest.approx(1)
    truth = np.array(mix.weights) @ true_curves[arm][0].loc[list(cube.strata)].to_numpy()
    found, raw = (curve_of_acceptors(cube, arm=cube.arms.index(arm), mix=m) for m in (mix, None))
    assert within(found, truth, errors=4)
    mean, naive = (restricted_mean(curve, horizon_months=24) for curve in (found, raw))
    assert abs(mean.value - truth[:24].sum()) < 3 * error_of(mean)
    assert naive.value > mean.value  # those left over price accept most, and stay longest
    assert error_of(mean) > 0.9 * error_of(naive)


def test_a_mix_of_one_stratum_changes_nothing():
    whole = draw_cube(BASE, 500, rng=np.random.default_rng(1))
    merged = {name: full.sum(axis=1, keepdims=True) for name, full in full_sums(whole).items()}
    one = folded(dataclasses.replace(whole, strata=("all",)), merged)
    mix = mix_of_assigned(one, arms=OFFERS)
    assert mix == Mix(weights=(1.0,), covered=1.0)
    plain, standardised = (curve_of_acceptors(one, arm=1, mix=m) for m in (None, mix))
    assert standardised.survival == pytest.approx(plain.survival)
    assert standardised.high == pytest.approx(plain.high)


def test_a_stratum_without_acceptors_leaves_the_mix_and_says_so():
    small = draw_cube(BASE, 40, rng=np.random.default_rng(5))
    mix = mix_of_assigned(small, arms=OFFERS)
    back = (small.ended + small.stayed)[OFFERS].sum(axis=(2, 3)).min(axis=0)
    assert [w > 0 for w in mix.weights] == (back > 0).tolist()
    assert 0 < mix.covered < 1
    curve = curve_of_acceptors(small, arm=1, mix=mix)
    assert 0 < curve.n < curve_of_acceptors(small, arm=1).n
    assert restricted_mean(curve, horizon_months=6).value is not None
    nothing = Mix(weights=(0.0,) * len(small.strata), covered=0.0)
    assert restricted_mean(curve_of_acceptors(small, arm=1, mix=nothing), horizon_months=1).value is None


def test_nobody_accepting_is_not_a_crash():
    nobody = draw_cube(telecom.WORLDS["zero_acceptances"], 50, rng=np.random.default_rng(5))
    mix = mix_of_assigned(nobody, arms=OFFERS)
    curve = curve_of_acceptors(nobody, arm=1, mix=mix)
    assert (mix.covered, curve.n, curve.months, hazards(curve)) == (0, 0, (), ())
    assert restricted_mean(curve, horizon_months=6).value is None
    assert common_horizon([curve]) == 0


def test_renaming_and_reordering_arms_changes_names_and_order_only(cube):
    order = [3, 0, 4, 1, 2]
    moved = {name: full[order] for name, full in full_sums(cube).items()}
    other = folded(dataclasses.replace(cube, arms=("a", "b", "c", "d", "e")), moved)
    first = mix_of_assigned(cube, arms=OFFERS)
    second = mix_of_assigned(other, arms=[order.index(arm) for arm in OFFERS])
    assert first == second
    for place, arm in enumerate(order[:1] + order[2:]):
        new = order.index(arm)
        assert curve_of_acceptors(other, arm=new, mix=second) == curve_of_acceptors(cube, arm=arm, mix=first), place


def test_the_order_of_strata_is_irrelevant_to_the_last_digit(cube):
    shuffled = np.random.default_rng(1).permutation(len(cube.strata))
    moved = {name: full[:, shuffled] for name, full in full_sums(cube).items()}
    other = folded(dataclasses.replace(cube, strata=tuple(cube.strata[s] for s in shuffled)), moved)
    mixes = [mix_of_assigned(c, arms=OFFERS) for c in (cube, other)]
    assert mixes[0].covered == mixes[1].covered == 1
    curves = [curve_of_acceptors(c, arm=1, mix=mix) for c, mix in zip((cube, other), mixes, strict=True)]
    assert curves[0] == curves[1]
    tables = [[life_table(c, arm=arm) for arm in OFFERS] for c in (cube, other)]
    first, second = (
        hazard_ratios([y for y, _ in table], [d for _, d in table], offers=list(telecom.OFFERS)) for table in tables
    )
    assert first == second


@pytest.mark.slow
@pytest.mark.parametrize("customers", [300, 1000])
def test_intervals_of_standardised_curves_cover_the_truth(true_curves, customers):
    rng, repetitions, hits = np.random.default_rng(8), 400, np.zeros(3)
    for _ in range(repetitions):
        drawn = draw_cube(BASE, customers, rng=rng)
        mix = mix_of_assigned(drawn, arms=OFFERS)
        truth = np.array(mix.weights) @ true_curves["discount"][0].loc[list(drawn.strata)].to_numpy()
        curve = curve_of_acceptors(drawn, arm=1, mix=mix)
        mean = restricted_mean(curve, horizon_months=18)
        places = [curve.place(month) for month in (6, 17)]
        hits += [
            mean.low <= truth[:18].sum() <= mean.high,
            *(curve.low[p] <= truth[m] <= curve.high[p] for p, m in zip(places, (6, 17), strict=True)),
        ]
    assert (hits / repetitions).min() >= 0.92


# Hazard ratios.


def rows_of(rng, *, customers, ratios=(1.0, 0.7), months=24, hazard=0.07):
    """Return (arm, months, left) of customers whose hazard, in continuous time, is in proportion; months whole."""
    arm = rng.integers(0, len(ratios), size=customers)
    life = np.ceil(rng.exponential(1 / (-math.log(1 - hazard) * np.array(ratios)[arm]))).astype(int)
    seen = np.minimum(rng.integers(6, 31, size=customers), months)
    return arm, np.where(life < seen, life, seen - 1), life < seen


def counts_of(arm, months, left, *, arms):
    """Return (at risk, ended) by arm and month from rows: last seen after m months is at risk of leaving at m."""
    length = months.max()
    ended, stayed = (
        np.array([np.bincount(months[(arm == a) & chosen], minlength=length + 1)[1:] for a in range(arms)])
        for chosen in (left, ~left)
    )
    return (ended + stayed)[:, ::-1].cumsum(axis=1)[:, ::-1], ended


def test_hazard_ratios_from_counts_are_those_of_cox_on_rows():
    # S13's law: its data are not shipped, so Cox (Efron's ties) on rows of our own.
    from statsmodels.duration.hazard_regression import PHReg

    arm, months, left = rows_of(np.random.default_rng(4), customers=4000, ratios=(1.0, 0.9, 0.7))
    at_risk, ended = counts_of(arm, months, left, arms=3)
    found = hazard_ratios(at_risk, ended, offers=["a", "b", "c"])
    dummies = np.stack((arm == 1, arm == 2), axis=1).astype(float)
    cox = PHReg(months.astype(float), dummies, status=left.astype(int), ties="efron").fit()
    logs = [(math.log(r.value), math.log(r.high / r.low) / 2 / 1.959963984540054) for r in found.ratios]
    assert [log for log, _ in logs] == pytest.approx(cox.params.tolist(), abs=1e-3)
    assert [error for _, error in logs] == pytest.approx(cox.bse.tolist(), rel=1e-2)
    assert (found.reference, found.offers) == ("a", ("b", "c"))
    assert found.proportional_p > 0.01


def test_another_reference_turns_the_ratio_over():
    at_risk, ended = counts_of(*rows_of(np.random.default_rng(6), customers=1500), arms=2)
    one = hazard_ratios(at_risk, ended, offers=["a", "b"]).ratios[0]
    other = hazard_ratios(at_risk, ended, offers=["a", "b"], reference="b").ratios[0]
    turned = 1 / other.value, 1 / other.high, 1 / other.low
    assert (one.value, one.low, one.high) == pytest.approx(turned, rel=1e-6)
    assert one.unit == "hazard ratio"


def test_strata_take_out_who_accepts():
    # Stratum 1 leaves at half the hazard and takes offer b more often; the offers do not differ.
    rng = np.random.default_rng(2)
    counts = [
        counts_of(*rows_of(rng, customers=n, ratios=(ratio,)), arms=1)
        for n, ratio in ((3000, 1.0), (1000, 0.5), (1000, 1.0), (3000, 0.5))
    ]
    at_risk, ended = (np.stack([c[part][0][:23] for c in counts]).reshape(2, 2, -1) for part in (0, 1))
    raw = hazard_ratios(at_risk.sum(axis=1), ended.sum(axis=1), offers=["a", "b"]).ratios[0]
    within_strata = hazard_ratios(at_risk, ended, offers=["a", "b"]).ratios[0]
    assert raw.high < 1
    assert within_strata.low < 1 < within_strata.high


def test_a_promotion_that_ends_breaks_proportional_hazards(cube):
    tables = [life_table(cube, arm=arm) for arm in OFFERS]
    at_risk, ended = (np.array([table[part].sum(axis=0) for table in tables]) for part in (0, 1))
    assert hazard_ratios(at_risk, ended, offers=list(telecom.OFFERS)).proportional_p < 0.001
    calm = draw_cube(telecom.WORLDS["no_cliff"], 10_000, rng=np.random.default_rng(3))
    tables = [life_table(calm, arm=arm) for arm in OFFERS]
    at_risk, ended = (np.array([table[part].sum(axis=0) for table in tables]) for part in (0, 1))
    assert hazard_ratios(at_risk, ended, offers=list(telecom.OFFERS)).proportional_p > 0.01


def test_an_offer_nobody_left_has_no_hazard_ratio():
    at_risk = [[20, 15, 10], [20, 15, 10], [20, 16, 10]]
    found = hazard_ratios(at_risk, [[3, 2, 1], [0, 0, 0], [2, 2, 2]], offers=["a", "b", "c"])
    assert [ratio.value is None for ratio in found.ratios] == [True, False]
    assert found.ratios[0].n == 20
    assert found.proportional_p is None  # too few leavers to tell
    nobody = hazard_ratios(at_risk, np.zeros((3, 3)), offers=["a", "b", "c"])
    assert [ratio.value for ratio in nobody.ratios] == [None, None]
    leaver_free_reference = hazard_ratios(at_risk, [[0, 0, 0], [1, 1, 1], [1, 2, 1]], offers=["a", "b", "c"])
    assert [ratio.value for ratio in leaver_free_reference.ratios] == [None, None]


def test_offers_with_the_same_counts_have_the_ratio_one():
    ratio = hazard_ratios([[50, 40, 30]] * 2, [[5, 5, 5]] * 2, offers=["a", "b"]).ratios[0]
    assert ratio.value == pytest.approx(1)
    assert ratio.low < 1 < ratio.high


def test_offers_that_separate_perfectly_have_no_hazard_ratio():
    # From a everybody leaves in the first month, from b nobody before the second.
    found = hazard_ratios([[5, 0], [9, 8]], [[5, 0], [0, 4]], offers=["a", "b"])
    assert found.ratios[0].value is None


def test_an_unknown_reference_is_named_with_the_cure(names):
    with pytest.raises(WinbackError, match=names("'discont'", "Did you mean 'discount'?")):
        hazard_ratios([[5], [5]], [[1], [1]], offers=["discount", "upgrade"], reference="discont")


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=8, max_size=8))
def test_hazard_ratios_of_few_customers_never_crash(cells):
    # Two offers, four months: leavers and stayers of each month, down to nobody.
    ended = np.array([d for d, _ in cells]).reshape(2, 4)
    stayed = np.array([c for _, c in cells]).reshape(2, 4)
    ratio = hazard_ratios(risk_sets(ended, stayed), ended, offers=["a", "b"]).ratios[0]
    assert ratio.value is None or ratio.low <= ratio.value <= ratio.high


# Beyond the horizon.

# Fader & Hardie 2007, "How to Project Customer Retention": survivors of 1,000 in years 0 to 7 (S6).
COHORTS = {"High End": [1000, 869, 743, 653, 593, 551, 517, 491], "Regular": [1000, 631, 468, 382, 326, 289, 262, 241]}
ONE_IN_TEN = 1.2  # nominal a year: .10 a period


def cohort(name):
    survivors = np.array(COHORTS[name])
    return survivors[:-1], -np.diff(survivors)


@pytest.mark.parametrize(
    ("name", "fitted", "survival", "retention"),  # fitted: alpha, beta, log-likelihood
    [
        ("High End", (0.668088, 3.806095, -1611.158147), (0.4604, 0.4358, 0.4142, 0.3951, 0.3780),
         (0.8507, 0.8780, 0.8968, 0.9106, 0.9212, 0.9295, 0.9362)),
        ("Regular", (0.704077, 1.182044, -1680.265188), (0.2201, 0.2044, 0.1912, 0.1799, 0.1700),
         (0.6267, 0.7561, 0.8188, 0.8559, 0.8804, 0.8978, 0.9107)),
    ],
)  # fmt: skip
def test_the_beta_geometric_is_fader_and_hardies(name, fitted, survival, retention):
    tail = project(*cohort(name), active_months=1, discount_rate=ONE_IN_TEN, draws=20).tails[0]
    assert (*tail.parameters.values(), tail.log_likelihood) == pytest.approx(fitted, abs=5e-6)
    assert tail.survival[7:12] == pytest.approx(survival, abs=5e-5)
    path = np.array([1.0, *tail.survival])
    assert tuple(path[1:8] / path[:7]) == pytest.approx(retention, abs=6e-5)


@pytest.mark.parametrize(
    ("name", "months"),
    [
        ("High End", {1: 5.4145, 2: 5.9014, 3: 6.2939, 4: 6.6199, 5: 6.8967, 8: 7.5296}),
        ("Regular", {1: 2.9644, 2: 4.1031, 3: 4.8698, 4: 5.4421, 5: 5.8941}),
    ],
)
def test_discounted_residual_lifetimes_are_fader_and_hardies(name, months):
    # Fader & Hardie 2010, eq. 6.
    for active, value in months.items():
        found = project(*cohort(name), active_months=active, discount_rate=ONE_IN_TEN, draws=100)
        assert found.residual.value == pytest.approx(value, abs=6e-5)
        assert found.residual.low < value < found.residual.high


@given(st.floats(0.05, 30), st.floats(0.05, 30), st.integers(1, 20), st.sampled_from([0.5, 0.9, 0.992]))
def test_residual_lifetimes_are_scipys_hypergeometric_function(alpha, beta, active, discount):
    b = beta + active
    scipys = (b - 1) / (alpha + b - 1) * hyp2f1(1, b, alpha + b, discount)
    ours = float(residual_lifetime(alpha, beta, active_months=active, discount=discount))
    assert ours == pytest.approx(scipys, rel=1e-8)


@pytest.mark.parametrize(("alpha", "beta"), [(14, 186), (140, 1860), (0.01, 500), (7000, 22_000), (55, 45)])
def test_residual_lifetimes_are_sums_also_where_scipys_function_is_nan_or_infinite(alpha, beta):
    active, discount = 24, 1 / (1 + 0.1 / 12)
    month = np.arange(active, active + 10_000)
    paid = np.cumprod((beta + month - 1) / (alpha + beta + month - 1)) * discount ** np.arange(len(month))
    ours = float(residual_lifetime(alpha, beta, active_months=active, discount=discount))
    assert ours == pytest.approx(paid.sum(), rel=1e-9)


def test_without_discount_a_long_tail_has_no_end():
    assert residual_lifetime(3.0, 7.0, active_months=1, discount=1) == pytest.approx(
        3.5
    )  # (beta + n - 1) / (alpha - 1)
    assert residual_lifetime(0.9, 7.0, active_months=1, discount=1) == math.inf
    found = project(*cohort("High End"), active_months=8, discount_rate=0.0, draws=50)
    assert found.residual.value is None
    assert found.spread is None


@pytest.mark.parametrize("seed", range(4))
def test_no_point_of_a_grid_is_likelier_than_the_fit(seed):
    rng = np.random.default_rng(seed)
    at_risk = np.sort(rng.integers(5, 400, size=12))[::-1].astype(float)
    ended = rng.binomial(at_risk.astype(int), rng.uniform(0.01, 0.3)).astype(float)[None]
    _, best = _fit(BETA_GEOMETRIC, at_risk, ended)
    (u0, b0), (u1, b1) = BETA_GEOMETRIC.low, BETA_GEOMETRIC.high
    grid = np.stack(np.meshgrid(np.linspace(max(u0, -8), min(u1, 4), 121), np.linspace(b0, b1, 81)), axis=-1)
    months = np.arange(1, 13, dtype=float)
    found = _log_likelihood(BETA_GEOMETRIC, grid.reshape(-1, 2), months, at_risk, ended)
    assert best[0] >= found.max() - 1e-9


def test_the_alternatives_agree_with_it_where_nobody_differs():
    # One hazard for all: the three models are the same, and the answer is that of a geometric life.
    at_risk = np.round(1e6 * 0.93 ** np.arange(20))
    found = project(at_risk, np.round(0.07 * at_risk), active_months=20, discount_rate=0.10, draws=50)
    right = 0.93 / (1 - 0.93 / (1 + 0.1 / 12))
    assert [tail.model for tail in found.tails] == list(MODELS)
    assert [tail.residual for tail in found.tails] == pytest.approx([right] * 3, rel=2e-3)
    assert found.tails[2].parameters["c"] == pytest.approx(1, abs=1e-3)
    assert found.spread == pytest.approx((right, right), rel=2e-3)


def test_a_constant_hazard_looks_back_until_it_has_seen_leavers():
    at_risk, ended = [200, 150, 100, 90, 85, 80, 75, 70, 65], [40, 30, 6, 4, 0, 0, 0, 0, 0]
    tail = project(at_risk, ended, active_months=9, discount_rate=0.1, draws=20).tails[1]
    assert tail.parameters["hazard"] == pytest.approx(10 / (100 + 90 + 85 + 80 + 75 + 70 + 65))


def test_a_discrete_weibull_is_found_again():
    q, c, months = 0.9, 0.8, np.arange(1, 25)
    survival = q ** (np.arange(25) ** c)
    at_risk = 1e7 * survival[:-1]
    found = project(at_risk, at_risk - 1e7 * survival[1:], active_months=24, discount_rate=0.1, draws=20).tails[2]
    assert (found.parameters["q"], found.parameters["c"]) == pytest.approx((q, c), abs=1e-6)
    assert found.survival[:3] == pytest.approx(q ** ((months[:3] + 23) ** c - 23**c))


def test_the_months_of_the_promotion_are_left_out_of_the_fit(cube):
    at_risk, ended = (counts.sum(axis=0) for counts in life_table(cube, arm=cube.arms.index("bundle")))
    after = project(at_risk, ended, active_months=24, discount_rate=0.1, promotion_months=6)
    shifted = project(at_risk[6:], ended[6:], active_months=18, discount_rate=0.1)
    assert after.tails == shifted.tails
    assert (after.residual, after.promotion_months) == (shifted.residual, 6)
    through = project(at_risk, ended, active_months=24, discount_rate=0.1)
    month = np.array([7, 12, 18])
    hazard = ended[month - 1] / at_risk[month - 1]
    misfit = [
        np.abs(np.array([_sbg_hazard(p.tails[0], m - p.promotion_months) for m in month]) - hazard).sum()
        for p in (after, through)
    ]
    assert misfit[0] < misfit[1]


def _sbg_hazard(tail, month):
    alpha, beta = tail.parameters["alpha"], tail.parameters["beta"]
    return alpha / (alpha + beta + month - 1)


def test_nobody_gone_or_everybody_gone_is_not_projected():
    for ended in ([0, 0, 0], [30, 20, 10]):
        found = project([30, 20, 10], ended, active_months=3, discount_rate=0.1)
        assert (found.residual.value, found.tails, found.spread) == (None, (), None)
    assert project([], [], active_months=3, discount_rate=0.1).residual.n == 0
    assert project([30, 20], [3, 2], active_months=3, discount_rate=0.1, promotion_months=1).tails == ()


def test_a_projection_from_within_the_promotion_is_refused(names):
    with pytest.raises(WinbackError, match=names("active_months is 6", "runs 6 months", "7 or more")):
        project([30] * 8, [3] * 8, active_months=6, discount_rate=0.1, promotion_months=6)


def test_the_same_seed_gives_the_same_interval():
    one, two, other = (
        project(*cohort("Regular"), active_months=8, discount_rate=0.1, seed=seed, draws=50) for seed in (1, 1, 2)
    )
    assert one == two
    assert one.residual.value == other.residual.value
    assert one.residual != other.residual


@pytest.mark.slow
@pytest.mark.parametrize(("alpha", "beta"), [(2.0, 26.0), (14.0, 186.0)])
def test_the_interval_of_the_beta_geometric_covers_where_the_model_is_right(alpha, beta):
    rng, repetitions, covered = np.random.default_rng(3), 300, 0
    truth = float(residual_lifetime(alpha, beta, active_months=24, discount=1 / (1 + 0.1 / 12)))
    for seed in range(repetitions):
        life, seen = rng.geometric(rng.beta(alpha, beta, size=450)), np.minimum(rng.integers(6, 31, size=450), 24)
        curve = counted(life, seen)
        found = project(curve.at_risk, curve.ended, active_months=24, discount_rate=0.1, seed=seed).residual
        covered += found.low <= truth <= found.high
    assert 0.91 <= covered / repetitions <= 0.99


def test_results_are_the_same_after_json(cube):
    at_risk, ended = (counts.sum(axis=0) for counts in life_table(cube, arm=1))
    values = {
        Curve: curve_of_acceptors(cube, arm=1, mix=mix_of_assigned(cube, arms=OFFERS)),
        Estimate: early_loss(SIX_MP, within_months=10),
        HazardRatios: hazard_ratios([at_risk, at_risk], [ended, ended], offers=["a", "b"]),
        LogRank: log_rank([SIX_MP, PLACEBO]),
        Mix: mix_of_assigned(cube, arms=OFFERS),
        Projection: project(at_risk, ended, active_months=24, discount_rate=0.1, draws=20),
    }
    for kind, value in values.items():
        adapter = TypeAdapter(kind)
        assert adapter.validate_json(adapter.dump_json(value)) == value
