"""Several tests of one offer: their mean, how far they differ, the next one, each in the light of the others."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats
from statsmodels.stats.meta_analysis import combine_effects

from experiments.common.errors import WinbackError
from experiments.common.estimate import Estimate
from experiments.common.finding import Finding
from experiments.stats.meta_analysis import Knowledge, moment_variance, pool, prior_of, spreads

# The BCG vaccine against tuberculosis, 13 trials: log relative risks and their variances (R metafor 4, dat.bcg).
BCG = np.array([-0.8893, -1.5854, -1.3481, -1.4416, -0.2175, -0.7861, -1.6209, 0.0120, -0.4694, -1.3713, -0.3394,
                0.4459, -0.0173])  # fmt: skip
BCG_NOISE = np.array([0.3256, 0.1946, 0.4154, 0.0200, 0.0512, 0.0069, 0.2230, 0.0040, 0.0564, 0.0730, 0.0124, 0.5325,
                      0.0714])  # fmt: skip
HOMOGENEOUS = np.array([300.0, 320.0, 310.0, 315.0]), np.array([900.0, 400.0, 1600.0, 2500.0])
HETEROGENEOUS = np.array([120.0, 410.0, 260.0, 505.0, 330.0]), np.array([900.0, 400.0, 1600.0, 2500.0, 30.0])
tests = st.lists(
    st.tuples(st.floats(-1000, 1000), st.floats(1, 300)).map(lambda pair: (round(pair[0], 3), round(pair[1], 3))),
    min_size=2,
    max_size=7,
)


def estimates(values, noise, *, unit="money"):
    return [
        Estimate(value=float(y), low=float(y - 2 * s), high=float(y + 2 * s), level=0.95, n=100, unit=unit, se=float(s))
        for y, s in zip(values, np.sqrt(noise), strict=True)
    ]


def pooled(values, noise, **about):
    told = {"offer": "discount", "metric": "net", "experiments": [f"test {i}" for i in range(len(values))]} | about
    return pool(estimates(values, noise), **told)


def half(estimate):
    return (estimate.high - estimate.low) / 2


def between_variance(y, noise):
    """Return the tau^2 >= 0 at which sum w (y - mean)^2 is k - 1, w = 1 / (tau^2 + noise): Paule & Mandel 1982.

    Not what statsmodels iterates to: where the last bit of a processor keeps it from its tolerance it gives 0.
    """

    def excess(tau2):
        weights = 1 / (tau2 + noise)
        return weights @ (y - (weights @ y) / weights.sum()) ** 2 - (len(y) - 1)

    if excess(0) <= 0:
        return 0.0
    return optimize.brentq(excess, 0, ((y - y.mean()) ** 2).sum(), rtol=1e-12)


# Oracles
@pytest.mark.parametrize("data", [HOMOGENEOUS, HETEROGENEOUS, (BCG, BCG_NOISE)])
def test_the_mean_is_that_of_statsmodels(data):
    """tau^2: root of the equation of Paule & Mandel. Q, I^2: statsmodels, combine_effects, where nothing iterates."""
    oracle, found, (y, noise) = combine_effects(*data), pooled(*data), data
    df = len(y) - 1
    tau2 = between_variance(y, noise)
    weights = 1 / (tau2 + noise)
    mean = (weights @ y) / weights.sum()
    half = stats.t.ppf(0.975, df) / np.sqrt(weights.sum())  # Knapp & Hartung: their max(1, scale) is 1 at this tau^2
    assert found.tau**2 == pytest.approx(tau2, rel=1e-6)
    assert found.weights == pytest.approx(weights / weights.sum())
    assert found.i2 == pytest.approx(max(0.0, oracle.i2))
    assert found.p == pytest.approx(oracle.test_homogeneity().pvalue)
    assert (found.mean.value, found.mean.low, found.mean.high) == pytest.approx((mean, mean - half, mean + half))


def test_tests_that_differ_by_chance_only_have_the_fixed_effects_mean():
    oracle, found = combine_effects(*HOMOGENEOUS), pooled(*HOMOGENEOUS)
    assert found.tau == 0
    assert found.mean.value == pytest.approx(oracle.mean_effect_fe)
    assert found.mean.se == pytest.approx(oracle.sd_eff_w_fe)
    assert half(found.mean) == pytest.approx(oracle.sd_eff_w_fe * stats.t.ppf(0.975, 3))


def test_the_spread_between_tests_and_its_interval_are_those_of_metafor():
    """R metafor 4, dat.bcg: tau^2 .3181 by "PM" ("DLIT" in test_misc_rma_uni.r), .1197 to 1.1115 by confint()."""
    assert between_variance(BCG, BCG_NOISE) == pytest.approx(0.3181, abs=5e-5)
    assert moment_variance(BCG[:, None], noise=BCG_NOISE, dimensions=1) == pytest.approx(0.3181, abs=5e-5)
    ends = np.quantile(spreads(BCG, BCG_NOISE), [0.025, 0.975], method="hazen")
    assert ends == pytest.approx([0.1197, 1.1115], rel=0.003)


@pytest.mark.parametrize("k", [3, 4, 8])
def test_without_noise_the_next_test_has_the_textbook_prediction_interval(k):
    """Mean +- t(k - 1) s sqrt(1 + 1/k), of the next of k normal draws."""
    values = np.random.default_rng(k).normal(300, 50, k)
    wanted = stats.t.ppf(0.975, k - 1) * values.std(ddof=1) * np.sqrt(1 + 1 / k)
    found = pooled(values, np.full(k, 1e-6))
    assert half(found.next) == pytest.approx(wanted, rel=1e-3)
    assert [one.value for one in found.shrunken] == pytest.approx(values)


def test_the_usual_prediction_interval_is_too_narrow_and_ours_is_not():
    """Higgins, Thompson & Spiegelhalter 2009 eq. 12, where tests differ as much as their noise."""
    rng, k, holds, usual = np.random.default_rng(8), 8, [], []
    for _ in range(120):
        noise = np.exp(rng.normal(0, 0.7, k))
        values, following = rng.normal(0, 1, k) + rng.normal(0, np.sqrt(noise)), rng.normal()
        found = pooled(values, noise)
        holds.append(found.next.low <= following <= found.next.high)
        error = np.hypot(found.tau, found.mean.se) * stats.t.ppf(0.975, k - 2)
        usual.append(abs(following - found.mean.value) <= error)
    assert 0.92 <= np.mean(holds) <= 0.985
    assert np.mean(usual) < np.mean(holds)


# Laws
@settings(max_examples=40)
@given(tests, st.sampled_from([0.25, 8.0, 1024.0]), st.randoms(use_true_random=False))
def test_unit_and_order_of_the_tests_are_irrelevant(drawn, scale, random):
    values, noise = np.array(drawn).T
    order = random.sample(range(len(drawn)), len(drawn))
    found, other = pooled(values, noise), pooled(scale * values[order], scale**2 * noise[order])
    assert [found.k, other.i2, other.p] == pytest.approx([other.k, found.i2, found.p], abs=1e-9)
    for a, b in ((found.mean, other.mean), (found.next, other.next), (found.shrunken[order[0]], other.shrunken[0])):
        if a is not None:
            wanted = [scale * bound for bound in (a.value, a.low, a.high)]
            assert [b.value, b.low, b.high] == pytest.approx(wanted, rel=1e-7, abs=1e-7 * scale)


@settings(max_examples=40)
@given(tests)
def test_every_test_is_drawn_towards_the_others_never_beyond_them(drawn):
    values, noise = np.array(drawn).T
    found = pooled(values, noise)
    assert sum(found.weights) == pytest.approx(1)
    for one in (found.mean, *found.shrunken):
        assert values.min() - 1e-6 <= one.value <= values.max() + 1e-6
        assert one.low <= one.value <= one.high
    if found.next:
        assert found.next.low <= found.mean.value <= found.next.high


def test_a_share_never_leaves_its_range():
    values, noise = np.array([0.9, 0.2]), np.array([0.0004, 0.0004])
    found = pool(
        estimates(values, noise, unit="share"), offer="a", metric="lift", experiments=["x", "y"], within=(-1, 1)
    )
    assert (found.mean.low, found.mean.high) == (-1, 1)


# What few tests cannot tell
def test_one_test_is_not_pooled():
    found = pooled([300.0], [400.0])
    assert found.k == 1
    assert found.mean is found.estimates[0]
    assert (found.next, found.tau, found.i2, found.p) == (None, None, None, None)


def test_two_tests_have_a_mean_but_nothing_to_expect_of_the_next():
    found = pooled([300.0, 310.0], [400.0, 400.0])
    assert found.next is None
    assert half(found.mean) == pytest.approx(stats.t.ppf(0.975, 1) * np.sqrt(200))


@pytest.mark.parametrize("broken", [{"se": None}, {"se": 0.0}, {"value": None}])
def test_an_estimate_without_spread_is_refused(broken, names):
    good = estimates([300.0, 310.0], [400.0, 400.0])
    with pytest.raises(WinbackError, match=names("north", "cannot be pooled", "read the test out again")):
        pool([good[0], replace(good[1], **broken)], offer="a", metric="net", experiments=["south", "north"])


# The file
def kept(tmp_path, *found):
    path = tmp_path / "pooled.json"
    note = Finding(key="not_pooled", state="warn", case="differ", facts={"offer": "B", "metric": "net"})
    known = Knowledge(experiments=("a",), level=0.95, pooled=found, notes=(note,))
    known.write(path)
    assert Knowledge.load(path) == known
    return path


def test_a_prior_is_the_mean_and_the_prediction_of_past_tests(tmp_path):
    found = pooled(*HETEROGENEOUS, alike={"dated": True, "horizon_months": 24, "discount_rate": 0.1, "currency": "EUR"})
    prior = prior_of(kept(tmp_path, found), "discount", "net")
    assert prior == found.next
    assert (prior.value, found.currency) == (found.mean.value, "EUR")


def test_a_prior_of_two_tests_has_no_bounds(tmp_path):
    found = pooled([300.0, 340.0], [400.0, 400.0])
    prior = prior_of(kept(tmp_path, found), "discount", "net")
    assert (prior.value, prior.low, prior.high, prior.se) == (pytest.approx(320), None, None, None)


def test_a_prior_that_is_not_there_says_what_is(tmp_path, names):
    path = kept(tmp_path, pooled(*HOMOGENEOUS))
    with pytest.raises(WinbackError, match=names("knows nothing of", "discont", "Did you mean 'discount'")):
        prior_of(path, "discont", "net")
    with pytest.raises(WinbackError, match=names("'roi'", "net of 'discount'", "page says what was not pooled")):
        prior_of(path, "discount", "roi")
    with pytest.raises(WinbackError, match=names("gone.json", "winback compare")):
        prior_of(tmp_path / "gone.json", "discount", "net")
