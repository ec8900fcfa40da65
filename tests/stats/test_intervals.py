"""Intervals: against published numbers, against statsmodels and scipy, and against laws they must obey."""

import math
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from welch import relative_welch, welch, welch_df

from experiments.common.estimate import Estimate
from experiments.readout.checks import sample_ratio_p
from experiments.stats.intervals import (
    fieller,
    holm,
    jackknife_covariance,
    newcombe,
    proportion,
    root_of,
    simultaneous_quantile,
    t_interval,
    t_quantile,
    wilson,
)

LEVELS = st.sampled_from([0.8, 0.9, 0.95, 0.99])


@st.composite
def cells(draw, largest=20_000):
    """Return (successes, n): also nobody and everybody."""
    n = draw(st.integers(1, largest))
    return draw(st.one_of(st.integers(0, n), st.sampled_from([0, n]))), n


def sums(n, total, squares):
    """Return (n, mean, variance) from sufficient statistics."""
    return n, total / n, (squares - total**2 / n) / (n - 1)


# O1. Source: gbstats 0.8.0, tests/frequentist/test_tests.py (TestTwoSidedTTest), printed to five digits.
A, B = sums(3407, 1396.87, 52377.9767), sums(3461, 2422.7, 134698.29)


def test_welch_of_a_difference_is_that_of_gbstats():
    low, high, p = welch(*B, *A)
    assert B[1] - A[1] == pytest.approx(0.29, abs=5e-6)
    assert (low, high, p) == pytest.approx((0.04538, 0.53462, 0.02016), abs=5e-6)


def test_welch_of_a_relative_difference_is_that_of_gbstats():
    low, high, p = relative_welch(*B, *A)
    assert B[1] / A[1] - 1 == pytest.approx(0.70732, abs=5e-6)
    assert (low, high, p) == pytest.approx((-0.03526, 1.44989, 0.06191), abs=5e-6)


def test_welch_of_a_relative_difference_of_proportions_is_that_of_gbstats():
    control, offer = (28, 14 / 28, 14 / 28 * (1 - 14 / 28)), (30, 16 / 30, 16 / 30 * (1 - 16 / 30))
    assert relative_welch(*offer, *control) == pytest.approx((-0.47767, 0.61101, 0.80707), abs=5e-6)


def test_an_absolute_and_a_relative_difference_may_disagree_on_significance():
    assert welch(*B, *A)[2] < 0.05 < relative_welch(*B, *A)[2]


# O3. Source: tea-tasting, tests/test_multiplicity.py.
def test_holm_is_that_of_tea_tasting():
    adjusted = holm([0.005, 0.06, 0.007, 0.04, 0.01, 0.03])
    assert adjusted == pytest.approx([0.03, 0.09, 0.035, 0.09, 0.04, 0.09], abs=1e-12)
    assert [p <= 0.05 for p in adjusted] == [True, False, True, False, True, False]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_that_of_statsmodels(p_values):
    from statsmodels.stats.multitest import multipletests

    with mock.patch("gc.collect"):  # which statsmodels calls each time
        theirs = multipletests(p_values, method="holm")[1]
    assert holm(p_values) == pytest.approx(theirs, abs=1e-12)


def test_holm_of_the_donor_test_is_the_reference(reference):
    against_control = {name: row["gave"]["p_z_pooled"] for name, row in reference["all"]["vs_control"].items()}
    wanted = reference["all"]["holm_gave_vs_control"]
    assert dict(zip(against_control, holm(list(against_control.values())), strict=True)) == pytest.approx(wanted)
    pairs, wanted = reference["all"]["all_pairs_p"], reference["all"]["all_pairs_holm"]
    assert dict(zip(pairs, holm(list(pairs.values())), strict=True)) == pytest.approx(wanted)


# O9. Source: gbstats repository, tests/test_ssrm.py (commit c76a1b14).
def test_the_sample_ratio_is_that_of_gbstats():
    assert sample_ratio_p([500, 600], [1, 1]) == pytest.approx(0.002569, abs=5e-7)
    assert sample_ratio_p([500, 500], [1, 1]) > 0.05
    assert sample_ratio_p([100, 900], [1, 1]) < 0.05


def test_the_sample_ratio_of_two_days_is_that_of_their_sum():
    days = np.array([[250, 300], [250, 300]])
    assert sample_ratio_p(days.sum(axis=0).tolist(), [1, 1]) == sample_ratio_p([500, 600], [1, 1])


def test_nobody_at_all_fits_every_plan():
    assert sample_ratio_p([0, 0], [1, 1]) == 1
    assert sample_ratio_p([], []) == 1


def test_the_sample_ratio_judges_against_the_planned_shares_in_any_unit():
    observed = [16_687, 11_133, 11_134, 11_129]  # the donor test, planned 3 : 2 : 2 : 2
    assert sample_ratio_p(observed, [3, 2, 2, 2]) == pytest.approx(0.9998738347481793, rel=1e-9)
    assert sample_ratio_p(observed, [3 / 9, 2 / 9, 2 / 9, 2 / 9]) == pytest.approx(0.9998738347481793, rel=1e-9)
    assert sample_ratio_p(observed, [1, 1, 1, 1]) < 1e-300


@given(st.lists(st.tuples(st.integers(1, 5_000), st.floats(0.1, 5)), min_size=2, max_size=6))
def test_the_sample_ratio_is_the_chi_square_of_scipy(arms):
    observed, planned = np.array([n for n, _ in arms]), np.array([share for _, share in arms])
    wanted = stats.chisquare(observed, planned / planned.sum() * observed.sum()).pvalue
    assert sample_ratio_p(observed.tolist(), planned.tolist()) == pytest.approx(wanted, rel=1e-7, abs=1e-300)


# Shares: statsmodels is the reference on random cells, zero and everybody included.
@given(cells(), LEVELS)
def test_wilson_is_that_of_statsmodels(cell, level):
    from statsmodels.stats.proportion import proportion_confint

    wanted = proportion_confint(*cell, alpha=1 - level, method="wilson")
    assert wilson(*cell, level=level) == pytest.approx(wanted, abs=1e-12)


@given(cells(), cells(), LEVELS)
def test_newcombe_is_that_of_statsmodels(first, second, level):
    from statsmodels.stats.proportion import confint_proportions_2indep

    wanted = confint_proportions_2indep(*first, *second, compare="diff", method="newcomb", alpha=1 - level)
    assert newcombe(*first, *second, level=level) == pytest.approx(wanted, abs=1e-12)


@given(cells(), cells())
def test_swapping_the_groups_turns_newcombe_around(first, second):
    low, high = newcombe(*first, *second)
    assert newcombe(*second, *first) == pytest.approx((-high, -low), abs=1e-12)


@given(cells(), cells())
def test_an_interval_for_all_offers_at_once_holds_the_one_for_a_single_offer(first, second):
    low, high = newcombe(*first, *second)
    wide_low, wide_high = newcombe(*first, *second, z=2.44)
    assert wide_low <= low <= high <= wide_high
    assert newcombe(*first, *second, z=stats.norm.ppf(0.975)) == pytest.approx((low, high), abs=1e-12)


@given(cells(), LEVELS)
def test_a_share_stays_between_nobody_and_everybody(cell, level):
    found = proportion(*cell, level=level)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert (found.n, found.unit, found.level) == (cell[1], "share", level)


def test_a_share_of_nobody_is_not_known():
    assert proportion(0, 0, level=0.95) == Estimate(value=None, low=None, high=None, level=0.95, n=0, unit="share")


# Means: scipy is the reference.
MEANS = st.tuples(st.integers(2, 100_000), st.floats(-1e3, 1e3), st.floats(1e-3, 1e6))


@given(MEANS, MEANS)
def test_welch_is_that_of_scipy(first, second):
    (n1, mean1, var1), (n0, mean0, var0) = first, second
    wanted = stats.ttest_ind_from_stats(mean1, math.sqrt(var1), n1, mean0, math.sqrt(var0), n0, equal_var=False)
    low, high, p = welch(*first, *second)
    assert p == pytest.approx(wanted.pvalue, rel=1e-6, abs=1e-12)
    assert low + high == pytest.approx(2 * (mean1 - mean0), abs=1e-9)
    half = stats.t.ppf(0.975, welch_df(var1 / n1, n1, var0 / n0, n0)) * math.sqrt(var1 / n1 + var0 / n0)
    assert high - low == pytest.approx(2 * half, rel=1e-9)


# N1 of the oracles: Ambrosia 0.5.3 takes the wrong power in Welch's df, so its interval depends on the unit.
@given(MEANS, MEANS)
def test_money_in_another_unit_has_the_same_interval_in_that_unit(first, second):
    low, high, p = welch(*first, *second)
    n1, n0 = first[0], second[0]
    scaled = welch(n1, first[1] * 1000, first[2] * 1000**2, n0, second[1] * 1000, second[2] * 1000**2)
    assert scaled == pytest.approx((1000 * low, 1000 * high, p), rel=1e-9, abs=1e-9)
    doubled = welch(n1, first[1] * 1024, first[2] * 1024**2, n0, second[1] * 1024, second[2] * 1024**2)
    assert doubled == (1024 * low, 1024 * high, p)  # a power of two: not one bit may differ


def test_welch_of_the_donor_test_is_the_reference(reference):
    arms = reference["all"]["arms"]
    control = arms["control"]["amount_per_letter"]
    for name, row in reference["all"]["vs_control"].items():
        offer = arms[name]["amount_per_letter"]
        low, high, p = welch(
            offer["n"], offer["mean"], offer["sd"] ** 2, control["n"], control["mean"], control["sd"] ** 2
        )
        assert (low, high) == pytest.approx(row["amount"]["welch95"], rel=1e-9)
        assert p == pytest.approx(row["amount"]["p_welch"], rel=1e-9)


def test_a_value_without_variance_is_its_own_interval():
    assert t_interval(2.0, 0.0, df=9) == (2.0, 2.0, 0.0)
    assert t_interval(0.0, 0.0, df=9) == (0.0, 0.0, 1.0)


def test_the_t_quantile_of_endless_data_is_the_normal_one():
    assert t_quantile(0.95, df=10) == pytest.approx(2.228139, abs=1e-6)  # any table of Student's t
    assert t_quantile(0.95, df=math.inf) == pytest.approx(1.959964, abs=1e-6)


@pytest.mark.parametrize(
    ("low", "high", "excluded"),
    [(0.1, 2.0, True), (-2.0, -0.1, True), (-1.0, 1.0, False), (None, None, False), (0.0, 1.0, False)],
)
def test_an_interval_excludes_zero_only_from_one_side(low, high, excluded):
    found = Estimate(value=0.5, low=low, high=high, level=0.95, n=10, unit="money")
    assert found.excludes_zero is excluded


# The jackknife.
SAMPLE = st.lists(st.floats(-1e4, 1e4), min_size=2, max_size=60)


@given(SAMPLE)
def test_the_jackknife_of_a_mean_with_one_customer_a_bucket_is_the_textbook_variance(sample):
    values = np.array(sample)
    without = (values.sum() - values) / (len(values) - 1)
    wanted = values.var(ddof=1) / len(values)
    assert jackknife_covariance(without[:, None])[0, 0] == pytest.approx(wanted, rel=1e-6, abs=1e-9)


@given(SAMPLE, st.randoms(use_true_random=False))
def test_the_jackknife_does_not_know_the_order_of_the_buckets(sample, random):
    shuffled = random.sample(sample, k=len(sample))
    first, second = (jackknife_covariance(np.array(values)[:, None]) for values in (sample, shuffled))
    assert first == pytest.approx(second, rel=1e-9, abs=1e-9)


@given(SAMPLE)
def test_the_jackknife_gives_the_joint_covariance(sample):
    values = np.array(sample)
    joint = jackknife_covariance(np.stack((values, 2 * values, -values), axis=1))
    one = joint[0, 0]
    wanted = np.array([[1, 2, -1], [2, 4, -2], [-1, -2, 1]]) * one
    assert joint == pytest.approx(wanted, rel=1e-9, abs=1e-9)


def test_the_jackknife_of_a_ratio_agrees_with_the_delta_method():
    rng = np.random.default_rng(1)
    cost = rng.gamma(5, 1, size=4_000)
    gain = 3 * cost + rng.normal(0, 2, size=4_000)
    by_bucket = np.stack((gain, cost), axis=1).reshape(200, 20, 2).sum(axis=1)
    without = by_bucket.sum(axis=0) - by_bucket
    found = jackknife_covariance((without[:, 0] / without[:, 1])[:, None])[0, 0]
    ratio = gain.sum() / cost.sum()
    wanted = np.var(gain - ratio * cost, ddof=1) / len(cost) / cost.mean() ** 2
    assert found == pytest.approx(wanted, rel=0.2)  # 199 degrees of freedom: a variance is known to 10 %


# Fieller.
UNSURE = [[1.0, 0.2], [0.2, 1 / 9]]  # of a gain of 6 and a cost of 2


def test_fieller_is_the_percentile_interval_of_a_big_parametric_bootstrap():
    # P(N - rD <= 0) = 2.5 % defines both, up to P(D < 0): with the denominator 10 errors from zero they agree.
    rng = np.random.default_rng(2)
    mean, covariance = np.array([2.0, 1.0]), np.array([[0.04, 0.01], [0.01, 0.01]])
    ratios = []
    for _ in range(4):
        draws = rng.multivariate_normal(mean, covariance, size=1_000_000)
        ratios.append(draws[:, 0] / draws[:, 1])
    wanted = np.quantile(np.concatenate(ratios), [0.025, 0.975])
    found = fieller(*mean, variances=(0.04, 0.01, 0.01), df=math.inf)
    assert found == pytest.approx(tuple(wanted), abs=0.002)


def test_fieller_covers_the_true_ratio_as_often_as_it_says():
    rng, times = np.random.default_rng(3), 20_000
    draws = rng.multivariate_normal([6.0, 2.0], UNSURE, size=times)  # a denominator only 6 errors from zero
    bounds = [fieller(n, d, variances=(UNSURE[0][0], UNSURE[1][1], UNSURE[0][1]), df=math.inf) for n, d in draws]
    hits = sum(low is None or low <= 3.0 <= high for low, high in bounds)
    assert hits / times == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / times))


def test_the_naive_delta_method_for_a_ratio_covers_too_little_on_one_side():
    # The test above needs Fieller: with the same draws a symmetric interval misses almost only from below.
    rng = np.random.default_rng(3)
    draws = rng.multivariate_normal([6.0, 2.0], UNSURE, size=20_000)
    ratio = draws[:, 0] / draws[:, 1]
    error = np.sqrt(UNSURE[0][0] - 2 * ratio * UNSURE[0][1] + ratio**2 * UNSURE[1][1]) / draws[:, 1]
    above, below = np.mean(ratio - 1.96 * error > 3), np.mean(ratio + 1.96 * error < 3)
    assert below > 5 * above


@given(st.floats(-50, 50), st.floats(0.5, 50), st.floats(0, 3), st.floats(0, 3), st.floats(-0.9, 0.9))
def test_fieller_scales_with_money(numerator, denominator, error_n, error_d, correlation):
    variances = (error_n**2, error_d**2, correlation * error_n * error_d)
    both = tuple(1024**2 * variance for variance in variances)
    found = fieller(numerator, denominator, variances=variances, df=199)
    assert fieller(1024 * numerator, 1024 * denominator, variances=both, df=199) == found  # ROI has no unit
    above = (1024**2 * variances[0], variances[1], 1024 * variances[2])
    scaled = fieller(1024 * numerator, denominator, variances=above, df=199)
    assert scaled == ((None, None) if found[0] is None else (1024 * found[0], 1024 * found[1]))


@given(st.floats(-50, 50), st.floats(0.5, 50), st.floats(0.01, 3), st.floats(0.01, 3), st.floats(-0.9, 0.9))
def test_fieller_holds_the_ratio_or_has_no_bounds(numerator, denominator, error_n, error_d, correlation):
    variances = (error_n**2, error_d**2, correlation * error_n * error_d)
    low, high = fieller(numerator, denominator, variances=variances, df=199)
    if abs(denominator) / error_d < t_quantile(0.95, df=199):
        assert (low, high) == (None, None)
    else:
        assert low <= numerator / denominator + 1e-9
        assert numerator / denominator - 1e-9 <= high


# Intervals for all offers at once.
def test_the_simultaneous_quantile_of_independent_offers_is_that_of_sidak():
    for offers in (2, 4):
        wanted = stats.norm.ppf(0.5 + 0.95 ** (1 / offers) / 2)
        assert simultaneous_quantile(np.eye(offers), df=math.inf) == pytest.approx(wanted, abs=0.02)


@pytest.mark.parametrize(("offers", "wanted"), [(2, 2.21), (3, 2.35), (4, 2.44)])
def test_the_simultaneous_quantile_against_a_shared_holdout_is_that_of_dunnett(offers, wanted):
    # Source: Dunnett 1964, table II, two-sided, .95, infinite degrees of freedom; equal arms correlate by one half.
    covariance = 0.5 * (np.eye(offers) + np.ones((offers, offers)))
    assert simultaneous_quantile(covariance, df=math.inf) == pytest.approx(wanted, abs=0.02)


def test_the_simultaneous_quantile_of_one_offer_is_its_own():
    assert simultaneous_quantile(np.array([[4.0]]), df=199) == t_quantile(0.95, df=199)
    assert simultaneous_quantile(np.diag([4.0, 0.0]), df=199) == t_quantile(0.95, df=199)
    same = np.full((3, 3), 2.0)  # three names for one offer
    assert simultaneous_quantile(same, df=math.inf) == pytest.approx(1.96, abs=0.02)


def test_the_simultaneous_quantile_has_no_unit():
    covariance = np.array([[1.0, 0.4], [0.4, 2.0]])
    scaled = simultaneous_quantile(1024**2 * covariance, df=199)
    assert scaled == simultaneous_quantile(covariance, df=199)


def test_the_root_of_a_covariance_gives_it_back_also_when_it_is_singular():
    covariance = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 3.0]])
    root = root_of(covariance)
    assert root @ root.T == pytest.approx(covariance, abs=1e-12)
