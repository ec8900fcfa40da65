"""Looking while a test runs: the sequence against gbstats, against laws, and against 20 looks at nothing."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from welch import welch

from experiments.common.errors import WinbackError
from experiments.stats.intervals import normal_quantile, pooled_z
from experiments.stats.sequential import anytime_interval, anytime_lift, anytime_means, anytime_shares, mixture_rate


def sums(n, total, squares):
    """Return (n, mean, variance) from sufficient statistics."""
    return n, total / n, (squares - total**2 / n) / (n - 1)


# O2. Source: gbstats 0.8.0, tests/frequentist/test_tests.py (TestSequentialTTest), printed to five digits.
A, B = sums(3000, 1396.87, 52377.9767), sums(3461, 2422.7, 134698.29)


def test_the_sequence_of_a_relative_difference_of_means_is_that_of_gbstats():
    low, high, p = anytime_means(*B, *A, tuning=1000, relative=True)
    assert B[1] / A[1] - 1 == pytest.approx(0.50336, abs=5e-6)
    assert (low, high, p) == pytest.approx((-0.55844, 1.56516, 1), abs=5e-6)


def test_the_sequence_of_a_relative_difference_of_shares_is_that_of_gbstats():
    low, high, p = anytime_shares(2422, 3461, 1396, 3000, tuning=5000, relative=True)
    assert (low, high, p) == pytest.approx((0.40098, 0.60675, 0), abs=5e-6)


# Laws.
COUNTS = st.tuples(st.integers(1, 999), st.integers(1, 999), st.integers(1_000, 50_000))


@given(COUNTS)
def test_p_is_the_level_at_which_the_interval_touches_zero(cell):
    x1, x0, n = cell
    low, high, p = anytime_shares(x1, n, x0, n, planned=20_000)
    assert (low > 0 or high < 0) == (p < 0.05)
    assert low <= x1 / n - x0 / n <= high


@given(COUNTS)
def test_swapping_the_groups_turns_the_sequence_around(cell):
    x1, x0, n = cell
    low, high, p = anytime_shares(x1, n, x0, 2 * n, planned=20_000)
    assert anytime_shares(x0, 2 * n, x1, n, planned=20_000) == pytest.approx((-high, -low, p))


def test_money_in_another_unit_has_the_same_sequence_in_that_unit():
    (n1, m1, v1), (n0, m0, v0) = B, A
    low, high, p = anytime_means(*B, *A, planned=6000)
    scaled = anytime_means(n1, 1000 * m1, 1e6 * v1, n0, 1000 * m0, 1e6 * v0, planned=6000)
    assert scaled == pytest.approx((1000 * low, 1000 * high, p), rel=1e-12)
    relative = anytime_means(*B, *A, planned=6000, relative=True)
    assert anytime_means(n1, 1000 * m1, 1e6 * v1, n0, 1000 * m0, 1e6 * v0, planned=6000, relative=True) == (
        pytest.approx(relative, rel=1e-12)
    )


def test_the_sequence_is_narrowest_for_its_time_at_the_planned_number_of_customers():
    widths = {tuning: anytime_interval(0.0, 1e-4, n=10_000, tuning=tuning)[1] for tuning in range(1_000, 40_000, 500)}
    assert min(widths, key=widths.get) == pytest.approx(10_000, rel=0.15)  # rho is an approximation to the optimum


def test_at_the_planned_read_date_looking_at_any_time_costs_half_as_much_again():
    half = anytime_interval(0.0, 1.0, n=10_000, tuning=10_000)[1]
    # By hand: g = 5.9915 + ln 6.9915 = 7.9362, sqrt(2 * 8.9362 / 7.9362 * ln(2.98935 / .05)) = 3.0353.
    assert half == pytest.approx(3.0353, abs=2e-4)
    assert half / normal_quantile(0.95) == pytest.approx(1.549, abs=1e-3)


def test_an_interval_at_any_time_is_wider_than_one_at_the_read_date():
    low, high, p = welch(*B, *A)
    first, last, anytime_p = anytime_means(*B, *A, planned=6000)
    assert first < low < high < last
    assert p < anytime_p


def test_the_sequence_of_a_higher_level_is_wider():
    low, high, _ = anytime_shares(60, 1000, 40, 1000, planned=2000)
    first, last, _ = anytime_shares(60, 1000, 40, 1000, planned=2000, level=0.99)
    assert first < low < high < last


def test_a_sequence_that_was_not_tuned_before_the_first_look_is_refused(names):
    for wrong in ({}, {"planned": 0}, {"tuning": -5.0}):
        with pytest.raises(WinbackError, match=names("tuned before the first look", "planned=")):
            anytime_shares(60, 1000, 40, 1000, **wrong)


def test_a_relative_difference_to_nothing_is_refused(names):
    with pytest.raises(WinbackError, match=names("mean of 0", "absolute")):
        anytime_means(100, 1.0, 1.0, 100, 0.0, 1.0, planned=200, relative=True)


# The lift of one offer over the holdout.
def test_the_lift_at_any_time_carries_its_interval_level_number_and_unit():
    found = anytime_lift(235, 500, 22, 500, planned=4000)
    low, high, _ = anytime_shares(235, 500, 22, 500, planned=4000)
    assert (found.value, found.low, found.high) == (pytest.approx(0.426), low, high)
    assert (found.level, found.n, found.unit) == (0.95, 500, "points")


def test_a_lift_over_nobody_is_not_known():
    assert anytime_lift(0, 0, 1, 10, planned=100).value is None
    assert anytime_lift(1, 10, 0, 0, planned=100).value is None


def test_two_groups_of_which_nobody_returned_are_still_uncertain():
    found = anytime_lift(0, 500, 0, 500, planned=4000)
    assert found.low < 0 < found.high
    assert found.value == 0


def test_a_lift_stays_between_minus_one_and_one():
    found = anytime_lift(4, 4, 0, 4, planned=1000)
    assert (found.value, found.high) == (1, 1)


@given(COUNTS)
def test_pooled_z_is_that_of_statsmodels(cell):
    from statsmodels.stats.proportion import proportions_ztest

    x1, x0, n = cell
    assert pooled_z(x1, n, x0, 2 * n) == pytest.approx(proportions_ztest([x1, x0], [n, 2 * n])[1], rel=1e-9, abs=1e-300)
    assert pooled_z(0, n, 0, n) == 1


# Looking 20 times at a test of nothing.
LOOKS, TESTS, STEP = 20, 8_000, 500  # customers a group and look


def shares_so_far(share, *, seed, lift=0.0):
    """Return the running shares of offer and holdout at each look: two arrays (tests, looks)."""
    rng = np.random.default_rng(seed)
    n = STEP * np.arange(1, LOOKS + 1)
    return tuple(rng.binomial(STEP, p, size=(TESTS, LOOKS)).cumsum(axis=1) / n for p in (share + lift, share)), n


def critical_at_any_time(n):
    """Return how many standard errors the sequence reaches at each look of n customers a group."""
    return np.array([anytime_interval(0.0, 1.0, n=2 * look, tuning=2 * STEP * LOOKS)[1] for look in n])


def z_of(offer, holdout, n):
    error = np.sqrt((offer * (1 - offer) + holdout * (1 - holdout)) / n)
    return np.abs(offer - holdout) / error


def monte_carlo_error(share):
    return math.sqrt(share * (1 - share) / TESTS)


@pytest.mark.parametrize("share", [0.044, 0.45])
def test_twenty_looks_with_fixed_intervals_turn_five_percent_false_alarms_into_twenty_five(share):
    (offer, holdout), n = shares_so_far(share, seed=1)
    alarms = z_of(offer, holdout, n) > normal_quantile(0.95)
    # Armitage, McPherson & Rowe (JRSS A, 1969, table 2): .248 after 20 looks at known variance.
    assert alarms.any(axis=1).mean() == pytest.approx(0.248, abs=4 * monte_carlo_error(0.248))
    assert alarms[:, -1].mean() == pytest.approx(0.05, abs=4 * monte_carlo_error(0.05))


@pytest.mark.parametrize("share", [0.044, 0.45])
def test_twenty_looks_with_the_sequence_raise_at_most_five_percent_false_alarms(share):
    (offer, holdout), n = shares_so_far(share, seed=1)
    alarms = (z_of(offer, holdout, n) > critical_at_any_time(n)).any(axis=1).mean()
    assert alarms < 0.05 - 4 * monte_carlo_error(0.05)  # 20 looks are fewer than infinitely many: about .02


def test_the_sequence_covers_the_true_lift_at_all_looks_together():
    (offer, holdout), n = shares_so_far(0.044, seed=2, lift=0.40)
    error = np.sqrt((offer * (1 - offer) + holdout * (1 - holdout)) / n)
    missed = (np.abs(offer - holdout - 0.40) > critical_at_any_time(n) * error).any(axis=1).mean()
    assert missed < 0.05 - 4 * monte_carlo_error(0.05)


def test_the_simulation_looks_as_the_product_does():
    (offer, holdout), n = shares_so_far(0.044, seed=1)
    half = critical_at_any_time(n)
    for look in (0, 9, 19):
        x1, x0 = round(offer[5, look] * n[look]), round(holdout[5, look] * n[look])
        low, high, _ = anytime_shares(x1, n[look], x0, n[look], planned=2 * STEP * LOOKS)
        error = math.sqrt((offer[5, look] * (1 - offer[5, look]) + holdout[5, look] * (1 - holdout[5, look])) / n[look])
        assert (high - low) / 2 == pytest.approx(half[look] * error)


def test_the_sequence_still_finds_a_real_lift_early():
    (offer, holdout), n = shares_so_far(0.044, seed=3, lift=0.02)
    found = z_of(offer, holdout, n) > critical_at_any_time(n)
    assert found.any(axis=1).mean() > 0.9
    assert stats.norm.sf(3.0353 - 0.02 / math.sqrt((0.064 * 0.936 + 0.044 * 0.956) / n[-1])) > 0.9  # by hand


def test_the_rate_of_the_mixture_does_not_depend_on_the_data():
    assert mixture_rate(1000) == pytest.approx(math.sqrt((5.991465 + math.log(6.991465)) / 1000), rel=1e-6)
