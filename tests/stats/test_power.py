"""How many customers a test needs: sizes others published, laws, and formulas against drawn experiments."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, optimize, stats
from simulated_power import ALONE, drawn_power, holm_told, simulated_power, size_for, watched_throughout
from statsmodels.stats.power import TTestIndPower
from statsmodels.stats.proportion import samplesize_proportions_2indep_onetail
from telecom_truth import draw_cube, truth

from experiments.common.errors import WinbackError
from experiments.design.evidence import diluted_evidence, evidence_of, question_of
from experiments.design.simulated import _uneven, calibrate, simulated_evidence
from experiments.design.sizing import Limits
from experiments.metrics.estimates import GAINED, Reading
from experiments.metrics.objectives import NO_TERMS, OBJECTIVES
from experiments.simulate.telecom import ARMS, OFFERS, WORLDS, world
from experiments.stats import intervals
from experiments.stats.power import (
    CORRECTIONS,
    Group,
    Rule,
    ask,
    detectable,
    even_follow_up,
    fractions,
    inflation,
    optimal_shares,
    power_of,
    share_group,
)

HOLM_OF_FOUR = Rule(level=1 - 0.05 / 4, correction="none")  # its first step: the smallest of four p values
OFFER_RATES = {"discount": 0.45, "upgrade": 0.41, "bundle": 0.47, "tailored": 0.476}


def means(effect=0.3, offers=1, variance=100.0):
    """Return a holdout and offers that differ from it by `effect`."""
    return [Group(name=f"{place}", mean=effect * (place > 0), variance=variance) for place in range(offers + 1)]


def of_effect(question, effect):
    """Return the question with the same difference for every pair."""
    return replace(question, contrasts=tuple(replace(one, effect=effect) for one in question.contrasts))


def rates(*shares):
    return [share_group(f"{place}", share) for place, share in enumerate(shares)]


CALM = replace(WORLDS["base"], whale=1.0)  # a variance is itself uncertain, with whales too much for a quick test


@pytest.fixture(scope="module")
def telecom_evidence():
    return simulated_evidence()


@pytest.fixture(scope="module")
def calm_evidence():
    return simulated_evidence(CALM)


# Oracle: spotify/confidence tests/samplesize/test_samplesizecalculator.py, values of G*Power, tolerance .5 % (O4).
@pytest.mark.parametrize(
    ("groups", "rule", "power", "total"),
    [
        (means(), ALONE, 0.85, 39_906),
        (rates(0.34, 0.343), ALONE, 0.85, 897_348),
        (rates(0.34, 0.343), Rule(level=0.86, correction="none"), 0.85, 630_710),
        (rates(0.34, 0.343), Rule(level=0.86, correction="none"), 0.67, 366_424),
    ],
)
def test_two_arms_against_gpower(groups, rule, power, total):
    assert size_for(ask(groups), power=power, rule=rule).total == pytest.approx(total, rel=0.005)


@pytest.mark.parametrize(
    ("groups", "pairs", "effect", "shares", "sizes"),
    [
        (means(offers=2), "0", None, {"0": 0.5, "1": 0.25, "2": 0.25}, (29_929, 14_965, 14_965)),
        (rates(0.34, 0.343, 0.343), "0", None, {"0": 2, "1": 1, "2": 1}, (673_157, 336_578, 336_578)),
        (rates(0.34, 0.343, 0.343), None, 0.003, None, (448_674,) * 3),
    ],
    ids=["means", "shares", "all against all"],
)
def test_three_arms_against_gpower(groups, pairs, effect, shares, sizes):
    question = ask(groups, pairs) if effect is None else of_effect(ask(groups, pairs), effect)
    found = size_for(question, power=0.85, shares=shares, rule=ALONE)
    assert tuple(found.customers.values()) == pytest.approx(sizes, rel=0.005)


def test_root_of_k_shares_save_a_tenth():  # O4: the theory's total, where equal shares need 99,760
    question = ask(means(offers=4), "0")
    best = optimal_shares(question)
    assert best["0"] / best["1"] == pytest.approx(2)  # sqrt(4) shares
    assert size_for(question, power=0.85, shares=best, rule=ALONE).total == 89_784
    assert size_for(question, power=0.85, rule=ALONE).total == 99_760


# Oracle: tea-tasting tests/metrics/test_mean.py, power from a sample, to the last digit given (O10). Welch's degrees of
# freedom are those of both arms together where they are alike.
def sampled(effect, customers):
    alike = [Group(name=name, mean=0.47, variance=0.6556565656565659) for name in "ab"]
    return replace(of_effect(ask(alike), effect), df=customers - 2)


def test_size_against_tea_tasting():
    found = size_for(sampled(0.05, 8236), rule=ALONE)
    assert math.ceil(found.totals[0]) == found.total == 8236


def test_power_against_tea_tasting():
    one_sided = Rule(level=0.90, correction="none")  # the other side adds 2e-5
    found = power_of(sampled(0.047, 10_000), 10_000, rule=one_sided)
    assert found.smallest == pytest.approx(0.895653144822902, rel=1e-4)


def test_detectable_against_tea_tasting():
    question = sampled(0.05, 10_000)
    assert detectable(question, 10_000, rule=ALONE)[0] == pytest.approx(0.04537464375458489, rel=1e-10)
    one_sided = Rule(level=0.90, correction="none")
    assert detectable(question, 10_000, rule=one_sided)[0] == pytest.approx(0.04027000268908317, rel=1e-4)


# Oracle: statsmodels.
@given(st.floats(0.02, 0.9), st.floats(0.005, 0.09), st.sampled_from([0.7, 0.8, 0.95]), st.floats(0.2, 5))
def test_sizes_of_shares_are_those_of_statsmodels(base, gap, power, ratio):
    wanted = samplesize_proportions_2indep_onetail(gap, base, power, ratio=ratio, alpha=0.05)
    rates_of, sizes = (base + gap, base), (wanted, ratio * wanted)
    question, shares = ask(rates(*rates_of)), {"0": 1, "1": ratio}
    variance = sum(rate * (1 - rate) / n for rate, n in zip(rates_of, sizes, strict=True))
    pool = np.average(rates_of, weights=sizes)
    bound = stats.norm.isf(0.025) * math.sqrt(pool * (1 - pool) * sum(1 / n for n in sizes))
    far = stats.norm.sf((bound + gap) / math.sqrt(variance))  # ours counts the far tail too
    found = power_of(question, dict(zip("01", sizes, strict=True)), rule=ALONE).smallest
    assert found == pytest.approx(power + far, abs=1e-9)
    assert (
        0.995 * wanted
        < size_for(question, power=power, shares=shares, rule=ALONE).totals[0] / (1 + ratio)
        <= (wanted * (1 + 1e-9))
    )


@pytest.mark.parametrize("ratio", [0.5, 1.0, 3.0])
def test_power_of_small_groups_is_that_of_statsmodels(ratio):
    groups, n = means(effect=0.7, variance=1.0), 24
    theirs = TTestIndPower().power(0.7, nobs1=n, ratio=ratio, alpha=0.05, df=n + ratio * n - 2)
    ours = power_of(replace(ask(groups), df=n + ratio * n - 2), {"0": n, "1": int(ratio * n)}, rule=ALONE)
    assert ours.smallest == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize(("one", "other", "alone", "of_four"), [(0.45, 0.41, 2404, 3416), (0.47, 0.45, 9748, 13_849)])
def test_the_shares_of_the_case_need_what_was_published(one, other, alone, of_four):
    question = ask(rates(one, other))
    assert size_for(question, rule=ALONE).customers == {"0": alone, "1": alone}
    # Holm over four: the smallest of four p values must be below .05 / 4, two-sided.
    assert size_for(question, rule=HOLM_OF_FOUR).smallest == of_four


@given(st.floats(0.05, 0.95), st.floats(0.01, 0.04), st.sampled_from([0.8, 0.9]), st.sampled_from([0.9, 0.95]))
def test_statsmodels_says_the_same(base, gap, power, level):
    rule, alpha = Rule(level=level, correction="none"), (1 - level) / 2
    theirs = math.ceil(samplesize_proportions_2indep_onetail(gap, base - gap, power, alpha=alpha, alternative="larger"))
    both = size_for(ask(rates(base, base - gap)), power=power, rule=rule).smallest  # and the far tail
    assert both == pytest.approx(theirs, rel=1e-4, abs=1)


# Several differences at once.
@pytest.mark.parametrize(("offers", "published"), [(2, 2.21), (3, 2.35), (4, 2.44), (5, 2.51)])
def test_the_simultaneous_quantile_is_dunnetts(offers, published):  # Dunnett 1964, table of two-sided 5 %, equal arms
    found = power_of(ask(means(offers=offers), "0"), 1000 * (offers + 1)).critical[0]
    assert found == pytest.approx(published, abs=0.015)


@pytest.mark.parametrize("holdout", [0.25, 1.0, 4.0])
def test_the_simultaneous_quantile_follows_the_share_of_the_holdout(holdout):
    offers, rho = 4, 1 / (1 + holdout)  # correlation of two differences to a holdout of `holdout` shares
    lam, rest = math.sqrt(rho), math.sqrt(1 - rho)

    def inside(q):
        def density(u):
            each = stats.norm.cdf((q + lam * u) / rest) - stats.norm.cdf((-q + lam * u) / rest)
            return stats.norm.pdf(u) * each**offers

        return integrate.quad(density, -9, 9, epsabs=1e-10)[0]

    exact = optimize.brentq(lambda q: inside(q) - 0.95, 1.9, 3)
    shares = {"0": holdout} | dict.fromkeys("1234", 1.0)
    found = power_of(ask(means(offers=offers), "0"), 10_000, shares=shares).critical[0]
    assert found == pytest.approx(exact, abs=0.02)  # three Monte Carlo errors of estimate.DRAWS draws


def test_corrections_stand_in_their_order():
    question = ask(means(offers=4), "0")
    sizes = {name: size_for(question, rule=Rule(correction=name)).total for name in CORRECTIONS}
    assert sizes["none"] < sizes["simultaneous"] < sizes["bonferroni"] == sizes["holm"]


def test_one_difference_needs_no_correction():
    sizes = {size_for(ask(rates(0.45, 0.41)), rule=Rule(correction=name)).smallest for name in CORRECTIONS}
    assert sizes == {2404}


def test_a_question_is_sized_by_its_hardest_difference():
    groups = [share_group("holdout", 0.044), *(share_group(name, rate) for name, rate in OFFER_RATES.items())]
    found = size_for(ask(groups), rule=ALONE)
    assert (found.hardest.first, found.hardest.second) == ("bundle", "tailored")
    each = power_of(ask(groups), found.customers, rule=ALONE)
    assert each.smallest == pytest.approx(0.8, abs=1e-4)
    assert each.each[found.contrasts.index(found.hardest)] == each.smallest


# Laws.
@given(st.floats(0.05, 5), st.floats(0.1, 50), st.floats(0.2, 5), st.sampled_from(list(CORRECTIONS)))
def test_a_size_has_the_power_asked_for(effect, variance, share, correction):
    question = ask(means(effect=effect, offers=2, variance=variance), "0")
    rule, shares = Rule(correction=correction), {"0": share, "1": 1.0, "2": 1.0}
    found = size_for(question, power=0.9, shares=shares, rule=rule)
    # As many customers as it asked for, before they were rounded up.
    exact = replace(question, noise=question.noise * 1e6 / max(found.totals))
    assert power_of(exact, 1_000_000, shares=shares, rule=rule).smallest == pytest.approx(0.9, abs=1e-6)
    assert power_of(question, found.customers, rule=rule).smallest > 0.9 - 1e-3  # q of other shares, rounded


@settings(max_examples=20)
@given(st.floats(1e-3, 1e3))
def test_a_size_does_not_depend_on_the_unit(unit):
    groups = means(offers=3)
    scaled = [replace(group, mean=unit * group.mean, variance=unit**2 * group.variance) for group in groups]
    sizes = [size_for(ask(found, "0")).total for found in (groups, scaled)]
    assert abs(sizes[0] - sizes[1]) <= 4  # whole customers
    ratio = [optimal_shares(ask(found, "0"))["0"] for found in (groups, scaled)]
    assert ratio[0] == pytest.approx(ratio[1])


def test_four_times_the_customers_tell_half_the_difference():
    question = ask(means(offers=3))
    assert np.array(detectable(question, 4_000)) / detectable(question, 16_000) == pytest.approx(2)


def test_a_share_followed_divides_the_variance():
    whole, half = (ask([share_group("a", 0.45, followed=f), share_group("b", 0.41, followed=f)]) for f in (1.0, 0.5))
    assert size_for(half, rule=ALONE).totals[0] == pytest.approx(2 * size_for(whole, rule=ALONE).totals[0])


# Best shares.
def test_two_arms_share_by_their_spread():  # Neyman 1934
    groups = [Group(name="a", mean=0, variance=9), Group(name="b", mean=1, variance=1)]
    assert optimal_shares(ask(groups)) == pytest.approx({"a": 0.75, "b": 0.25})


@pytest.mark.parametrize("pairs", ["0", None, [("0", "1"), ("1", "2"), ("3", "4")]], ids=str)
def test_no_other_shares_are_better(pairs):
    rng = np.random.default_rng(1)
    groups = [Group(name=str(a), mean=mean, variance=v) for a, (mean, v) in enumerate(zip(
        (0.0, 1.0, 1.5, 1.2, 0.4), (1.0, 4.0, 2.0, 9.0, 3.0), strict=True))]  # fmt: skip
    question = ask(groups, pairs)

    def total(shares):
        parts = fractions(question.arms, dict(zip("01234", shares, strict=True)))
        needed = np.einsum("a,aii->i", 1 / parts, question.noise) / question.effects**2
        return float(needed.max())

    best = np.array(list(optimal_shares(question).values()))
    assert best.sum() == pytest.approx(1)
    least = total(best)
    near = (best * np.exp(scale * rng.standard_normal(5)) for scale in (0.01, 0.1, 1.0) for _ in range(300))
    assert all(total(parts / parts.sum()) >= least * (1 - 1e-8) for parts in near)
    sizes = [power_of(question, 400, shares=dict(zip("01234", parts, strict=True)), rule=ALONE).smallest
             for parts in (best, np.full(5, 0.2))]  # fmt: skip
    assert sizes[0] > sizes[1]


# Formulas against drawn experiments: within 4.5 Monte Carlo errors.
def near(found, wanted):
    error = math.sqrt(max(wanted * (1 - wanted), 1e-3) / found.n)
    return abs(found.value - wanted) < 4.5 * error


@pytest.mark.parametrize("correction", ["none", "bonferroni", "simultaneous"])
@pytest.mark.parametrize(
    ("question", "shares"),
    [
        (ask(rates(0.41, 0.45, 0.44, 0.43, 0.47), "0"), None),
        (ask(rates(0.41, 0.45, 0.44, 0.43, 0.47), "0"), {"0": 2, "1": 1, "2": 1, "3": 1, "4": 1}),
        (ask(rates(0.41, 0.45, 0.47)), {"0": 1, "1": 2, "2": 3}),
        (ask(rates(0.30, 0.34, 0.33), pooled=False), None),
        (ask(rates(0.20, 0.22)), {"0": 1, "1": 30}),
        (ask([share_group("0", 0.41, followed=0.8), share_group("1", 0.45, followed=0.8)]), None),
        (ask(means(effect=0.6, offers=3)), {"0": 3, "1": 1, "2": 2, "3": 1}),
    ],
    ids=["shares", "larger holdout", "all pairs", "unpooled", "few and many", "followed", "means"],
)
def test_formulas_agree_with_drawn_experiments(question, shares, correction):
    rule, total = Rule(correction=correction), 2_000 * len(question.arms)
    power = power_of(question, total, shares=shares, rule=rule)
    drawn = simulated_power(question, total, shares=shares, rule=rule, repetitions=10_000, seed=5)
    assert all(near(found, wanted) for found, wanted in zip(drawn.each, power.each, strict=True)), (drawn, power)


def test_the_first_step_of_holm_is_the_least_it_finds():
    question, rule = ask(rates(0.41, 0.45, 0.44, 0.43, 0.47), "0"), Rule(correction="holm")
    power = power_of(question, 10_000, rule=rule)
    drawn = simulated_power(question, 10_000, rule=rule)
    assert all(found.high > wanted for found, wanted in zip(drawn.each, power.each, strict=True))
    first = simulated_power(question, 10_000, rule=Rule(correction="bonferroni"))
    assert drawn.some == first.some  # whoever is first is first in both
    assert drawn.each[2].value > first.each[2].value


@given(st.lists(st.floats(0, 6), min_size=1, max_size=6))
def test_holm_steps_down_as_its_p_values_do(z):
    p = [float(2 * stats.norm.sf(one)) for one in z]
    told = holm_told(np.array([z]), np.full((1, len(z)), math.inf), false=0.05)[0]
    assert told.tolist() == [adjusted <= 0.05 for adjusted in intervals.holm(p)]


@pytest.mark.parametrize("correction", ["bonferroni", "holm", "simultaneous"])
def test_of_equal_arms_one_in_twenty_tests_tells_something(correction):
    for groups in (rates(*[0.4] * 5), means(effect=0.0, offers=4)):
        drawn = simulated_power(ask(groups, "0"), 10_000, rule=Rule(correction=correction), repetitions=20_000)
        assert drawn.some.value < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 20_000)
        assert drawn.some.value > 0.035  # and a correction is no more careful than it must be


def test_the_seed_is_the_one_source_of_chance():
    question = ask(rates(0.45, 0.41))
    one, same, other = (simulated_power(question, 4_000, repetitions=700, seed=seed) for seed in (1, 1, 2))
    assert one == same
    assert one.each != other.each
    assert one.each[0].low < one.each[0].value < one.each[0].high


# From the simulator.
@pytest.mark.parametrize("name", ["base", "no_effect", "many_spontaneous", "crossing", "cure", "mislabelled"])
def test_the_means_are_the_truth(name):
    evidence, true = simulated_evidence(world(name), horizon_months=18, window_months=6), truth(
        world(name), horizon_months=18, window_months=6)  # fmt: skip
    for arm, row in zip(evidence.arms, evidence.numbers(), strict=True):
        told = true[arm]
        wanted = (told.value, told.cost, told.months, told.active_by_month[-1], told.returned)
        assert row == pytest.approx(wanted, rel=1e-12)


def test_net_needs_what_the_design_says(telecom_evidence):
    """Section 5 of the design: 39,413 and 86,332 an arm, counted on simulated customers; here by exact sums."""
    net = {pair: size_for(question_of(telecom_evidence, pairs=[pair], as_read=False), rule=ALONE).smallest
           for pair in (("discount", "upgrade"), ("upgrade", "bundle"))}  # fmt: skip
    assert net["discount", "upgrade"] == pytest.approx(39_413, rel=0.005)
    assert net["upgrade", "bundle"] == pytest.approx(86_332, rel=0.03)
    accepted = {pair: size_for(ask(rates(*(truth()[arm].accepted for arm in pair))), rule=ALONE).smallest
                for pair in net}  # fmt: skip
    times = [net[pair] / accepted[pair] for pair in net]
    assert times[0] == pytest.approx(16, abs=0.6)  # 45 against 41 %
    assert times[1] == pytest.approx(80, abs=3)  # 47 against 41 %


def test_the_readout_compares_with_a_t_of_its_buckets(telecom_evidence):
    read, exact = (question_of(telecom_evidence, as_read=as_read) for as_read in (True, False))
    assert power_of(read, 500_000, rule=ALONE).critical[0] == pytest.approx(1.971957, abs=1e-6)  # t, 199 df
    assert power_of(exact, 500_000, rule=ALONE).critical[0] == pytest.approx(1.959964, abs=1e-6)


def test_what_adds_to_the_size_of_net(telecom_evidence):
    def size(**changes):
        return size_for(question_of(telecom_evidence, pairs=[("discount", "upgrade")], **changes), rule=ALONE).smallest

    exact, read = size(as_read=False), size()
    assert 1.04 < read / exact < 1.08  # the jackknife does not see the strata
    late = size(as_read=False, followed=even_follow_up(6, 30))
    assert 1.15 < late / exact < 1.25
    everyone = simulated_evidence(reached=0.8)
    few = size_for(question_of(everyone, pairs=[("discount", "upgrade")], as_read=False), rule=ALONE).smallest
    assert few / exact == pytest.approx(1 / 0.8, rel=0.06)  # between offers unreachable customers add no noise


def test_diluting_afterwards_is_reaching_fewer(telecom_evidence):
    exact = simulated_evidence(reached=0.7)
    found = diluted_evidence(telecom_evidence, reached=0.7, contact=5)
    np.testing.assert_allclose(found.mean, exact.mean, atol=1e-12)
    np.testing.assert_allclose(found.believed, exact.believed, atol=1e-9)
    total = [part.folded(part.noise, None)[1:, 0, 0] for part in (found, exact)]
    assert total[0] == pytest.approx(total[1], rel=0.03)  # within strata the gap is not the same everywhere


@pytest.mark.parametrize("follow_up", ["complete", "staggered"])
def test_the_noise_is_that_of_drawn_tests(telecom_sheet, calm_evidence, follow_up):
    variant = watched_throughout(CALM) if follow_up == "complete" else CALM
    followed = None if follow_up == "complete" else even_follow_up(6, 30)
    sheet = telecom_sheet.model_copy(update={"winsorise": False, "adjust": False})
    rng, size, times = np.random.default_rng(8), 1_000, 400
    cubes = (draw_cube(variant, size, rng=rng, factors=("reason",)) for _ in range(times))
    rows, believed = [], []
    for cube in cubes:
        numbers = Reading(cube=cube, sheet=sheet).numbers
        found = np.stack([numbers[name] for name in ("value", "cost", "months", "active", "returned")], axis=-1)
        rows.append(found[0])
        believed.append(size * (len(found) - 2) * found[1:].var(axis=0))
    exact, total = (np.einsum("aff->af", calm_evidence.folded(noise, followed))[1:]
                    for noise in (calm_evidence.noise, calm_evidence.believed))  # fmt: skip
    drawn = np.var(rows, axis=0, ddof=1)[1:] * size / exact
    assert np.abs(drawn - 1).max() < 4.5 * math.sqrt(2 / times), drawn
    # What the jackknife believes is the variance without strata.
    kurtosis = 60  # of value, about
    assert np.mean(believed, axis=0)[1:] / total == pytest.approx(1, rel=4.5 * math.sqrt(kurtosis / (size * times)))
    assert (total[:, 0] / exact[:, 0] > 1.06).all()


def test_whales_make_money_as_uneven_as_they_are():
    rng, size = np.random.default_rng(6), 2_000_000
    whale = np.where(rng.random(size) < 0.01, 8.0, 1.0)
    margin = np.exp(0.6 * rng.standard_normal(size)) * whale
    uneven = (margin**2).mean() / margin.mean() ** 2
    assert _uneven(WORLDS["base"]) == pytest.approx(uneven, rel=0.02)
    assert _uneven(CALM) == pytest.approx(math.exp(0.36))


@pytest.mark.parametrize("correction", ["none", "simultaneous"])
@pytest.mark.parametrize("objective", ["profit", "roi", "months"])
def test_objectives_agree_with_drawn_buckets(telecom_evidence, objective, correction):
    question, rule = question_of(telecom_evidence, objective=objective), Rule(correction=correction)
    power = power_of(question, 200_000, rule=rule)
    drawn = simulated_power(question, 200_000, rule=rule, repetitions=4_000)
    assert all(near(found, wanted) for found, wanted in zip(drawn.each, power.each, strict=True)), (drawn, power)


def test_drawn_tests_agree_with_the_formula(telecom_sheet, telecom_evidence):
    sheet = telecom_sheet.model_copy(update={"objective": "returned"})
    pairs = [("discount", "upgrade"), ("bundle", "upgrade"), ("upgrade", "holdout")]
    drawn = drawn_power(WORLDS["base"], sheet, customers_per_arm=1_500, pairs=pairs, repetitions=150)
    question = question_of(telecom_evidence, objective="returned", pairs=pairs, followed=even_follow_up(6, 30))
    power = power_of(question, 1_500 * 5)
    assert all(near(found, wanted) for found, wanted in zip(drawn.each, power.each, strict=True)), (drawn, power)
    assert drawn.each[2].value == 1


# Calibrated to what is stated.
def test_a_world_accepts_what_is_stated():
    stated = {"discount": 0.30, "upgrade": 0.12, "bundle": 0.66}
    found = truth(calibrate(accepted=stated, returning=0.08))
    assert {name: found[name].accepted for name in stated} == pytest.approx(stated, abs=1e-12)
    assert found["holdout"].returned == pytest.approx(0.08, abs=1e-12)


def test_stating_what_is_so_changes_nothing():
    world_of = calibrate(accepted={name: truth()[name].accepted for name in OFFERS})
    assert [world_of.offers[name].accept for name in OFFERS] == pytest.approx([o.accept for o in OFFERS.values()])


def test_nobody_and_everybody_may_accept():
    found = truth(calibrate(accepted={"discount": 0.0, "upgrade": 1.0}))
    assert (found["discount"].accepted, found["upgrade"].accepted) == (0.0, 1.0)
    assert found["discount"].returned == pytest.approx(found["holdout"].returned)


def test_where_offers_change_nothing_only_those_who_return_can_accept():
    variant = calibrate(WORLDS["no_effect"], accepted={"discount": 0.02})
    assert truth(variant)["discount"].accepted == pytest.approx(0.02)
    with pytest.raises(WinbackError, match=r"'discount' has a rate of 0.45. Give a share from 0 to 0.04"):
        calibrate(WORLDS["no_effect"], accepted={"discount": 0.45})


def test_a_smaller_rate_makes_a_smaller_value():
    low = simulated_evidence(calibrate(accepted={"discount": 0.15, "upgrade": 0.12}))
    question = question_of(low, pairs=[("discount", "upgrade")])
    true = truth(calibrate(accepted={"discount": 0.15, "upgrade": 0.12}))
    net = [true[arm].value - true[arm].cost for arm in ("discount", "upgrade")]
    assert question.effects[0] == pytest.approx(net[0] - net[1])


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"accepted": {"tailored": 0.4}}, ("no offer 'tailored' of its own", "'discount'")),
        ({"accepted": {"discuont": 0.4}}, ("Did you mean 'discount'?",)),
        ({"accepted": {"discount": 45}}, ("rate of 45", "from 0 to 1")),
        ({"accepted": {}, "returning": -0.1}, ("'holdout' has a rate of -0.1",)),
    ],
)
def test_a_rate_that_cannot_be_is_refused(changes, parts, names):
    with pytest.raises(WinbackError, match=names(*parts)):
        calibrate(**changes)


# From a past test.
@pytest.fixture(scope="module")
def past(telecom_sheet):
    """Return ten staggered tests without whales, and the evidence of each."""
    rng = np.random.default_rng(4)
    cubes = [draw_cube(CALM, 6_000, rng=rng) for _ in range(10)]
    return cubes, [evidence_of(cube, telecom_sheet) for cube in cubes]


def test_a_past_test_tells_what_the_simulator_knows(past, calm_evidence):
    found, followed = past[1], even_follow_up(6, 30)
    assert found[0].columns == calm_evidence.columns
    spread = np.array([np.einsum("aff->af", one.folded(one.believed, None))[1:, 0] for one in found])  # of the value
    actual = (spread.std(axis=0, ddof=1) / spread.mean(axis=0)).mean()
    assert np.mean([one.error for one in found]) == pytest.approx(actual, rel=0.6)  # ten tests know their spread to .24
    assert min(one.error for one in found) > 0.1  # 200 buckets of normal sums
    errors = np.sqrt(
        np.einsum("aff->af", calm_evidence.folded(calm_evidence.believed, followed)) / (6_000 * len(found))
    )
    away = (np.mean([one.numbers() for one in found], axis=0) - calm_evidence.numbers())[1:] / errors[1:]
    assert np.abs(away).max() < 4.5
    for planned in (None, followed):
        exact = calm_evidence.folded(calm_evidence.believed, planned)[1:]
        mean = np.mean([one.folded(one.noise, planned) for one in found], axis=0)[1:]
        spread = np.sqrt(np.einsum("aff,agg->afg", exact, exact))
        # Ten times 200 buckets; to take the follow-up out again costs a little more.
        assert np.abs((mean - exact) / spread).max() < 4.5 * math.sqrt(2 / 1990) * 1.2


def test_the_noise_as_it_was_is_the_readouts_own(past, telecom_sheet):
    cube, evidence = past[0][0], past[1][0]
    reading = Reading(cube=cube, sheet=telecom_sheet)
    followed = cube.followed.sum(axis=(0, 1, 2)) / cube.assigned.sum()
    question = question_of(evidence, pairs="holdout", followed=followed)
    for place, contrast in enumerate(question.contrasts):
        a = cube.arms.index(contrast.first)
        assert contrast.effect == pytest.approx(reading.numbers["net"][0, a])
        n = cube.assigned.sum(axis=(1, 2))
        ours = math.sqrt(float(question.noise[:, place, place] @ (1 / n)))
        told = reading.jackknifed("net", a)
        theirs = (told.high - told.low) / 2 / intervals.t_quantile(0.95, df=reading.df)
        # Buckets of two arms meet by chance in the readout, and each arm was followed a little otherwise.
        assert ours == pytest.approx(theirs, rel=0.1)


@pytest.mark.parametrize("objective", ["roi", "profit", "returned", "months", "market_share"])
def test_the_delta_method_is_the_jackknife_of_each_arm(past, telecom_sheet, objective):
    cube, evidence = past[0][1], past[1][1]
    numbers = Reading(cube=cube, sheet=telecom_sheet).numbers
    followed = cube.followed.sum(axis=(1, 2)) / cube.assigned.sum(axis=(1, 2))[:, None]
    question = question_of(
        evidence, objective=objective, pairs=[("discount", "bundle")], followed=followed.mean(axis=0)
    )
    for a, arm in enumerate(cube.arms):
        # The buckets of one arm left out, the others whole.
        only = {name: np.where(np.arange(5) == a, numbers[name], numbers[name][:1]) for name in GAINED}
        gains = {gain: only[name][:, 1:] - only[name][:, :1] for name, gain in GAINED.items()}
        gains["net"] = gains["value_gained"] - gains["cost_added"]
        gains["roi"] = gains["net"] / gains["cost_added"]
        score = OBJECTIVES[objective].score(gains, NO_TERMS)
        gap = score[1:, ARMS.index("discount") - 1] - score[1:, ARMS.index("bundle") - 1]
        theirs = intervals.jackknife_covariance(gap[:, None])[0, 0] * cube.assigned[a].sum()
        assert question.noise[a, 0, 0] == pytest.approx(theirs, rel=0.03, abs=1e-9), arm


def test_a_size_from_a_past_test_is_near_the_exact_one(past, calm_evidence):
    effects = {("discount", "upgrade"): 22.5}
    sizes = [size_for(question_of(one, pairs=list(effects), effects=effects), rule=ALONE).smallest for one in past[1]]
    exact = question_of(replace(calm_evidence, noise=calm_evidence.believed), pairs=list(effects), effects=effects)
    # The mean of two variances from ten times 200 buckets.
    assert np.mean(sizes) == pytest.approx(size_for(exact, rule=ALONE).smallest, rel=4.5 * math.sqrt(1 / 1990))


def test_results_without_dates_are_sized_too(by_hand):
    sheet, folder = by_hand(
        settings={"objective": "profit"},
        assignments="experiment,customer_id,arm\n" + "".join(f"toy,{i},{('A', 'hold')[i % 2]}\n" for i in range(40)),
        outcomes="customer_id,returned,value,cost\n" + "".join(
            f"{i},{(i % 8 == 0) + 0},{9 * (i % 8 == 0)}.50,{(i % 2 == 0) + 0}.00\n" for i in range(40)),
    )  # fmt: skip
    from experiments.metrics.cube import make_cube

    evidence = evidence_of(make_cube(sheet, folder), sheet)
    assert size_for(question_of(evidence, pairs="hold"), rule=ALONE).total > 0
    with pytest.raises(WinbackError, match=r"no dates, so no 'months'. Size it on profit, roi or returned"):
        question_of(evidence, objective="months", pairs="hold")


def test_a_horizon_that_nobody_was_watched_to_is_refused(telecom_sheet):
    cube = draw_cube(WORLDS["base"], 20, rng=np.random.default_rng(0), months=30)
    with pytest.raises(WinbackError, match=r"were watched for \d+ months\. Read a shorter"):
        evidence_of(cube, telecom_sheet.model_copy(update={"horizon_months": 30, "window_months": 12}))


def test_a_past_test_without_a_holdout_is_refused(telecom_sheet, past):
    with pytest.raises(WinbackError, match=r"no holdout, so nobody knows what its offers gained. Size on shares"):
        evidence_of(past[0][0], telecom_sheet.model_copy(update={"holdout": None}))


# What money, weeks and a cohort allow.
COSTS = {"discount": 50.0, "upgrade": 45.0}
CALLS = {"discount": 2.0, "upgrade": 2.0}
EVEN = {"holdout": 1, "discount": 1, "upgrade": 1}


@pytest.mark.parametrize(
    ("limits", "wanted"),
    [
        ({"customers": 3_001}, ("customers", 1_000, 95_000, None)),
        ({"budget": 95_050, "customers": 40_000}, ("budget", 1_000, 95_000, None)),
        ({"budget": 95_050, "fixed": 9_500, "customers": 40_000}, ("budget", 900, 95_000, None)),
        ({"budget": 95_000, "calls_a_week": 300, "weeks": 4}, ("calls", 300, 28_500, 4.0)),
        ({"budget": 95_000, "calls_a_week": 300}, ("budget", 1_000, 95_000, pytest.approx(13.333, abs=0.001))),
    ],
)
def test_the_largest_test_within_limits(limits, wanted):
    known = Limits(costs=COSTS, calls=CALLS, **{"customers": 40_000} | limits)
    found = known.largest(EVEN)
    cost = known.cost(found.customers)
    assert (found.bound, min(found.customers.values()), cost, known.duration(found.customers)) == wanted
    assert cost <= limits.get("budget", math.inf)


def test_shares_change_what_a_budget_pays_for():
    more = Limits(customers=40_000, budget=95_000, costs=COSTS).largest({"holdout": 2, "discount": 1, "upgrade": 1})
    assert more.customers == {"holdout": 2_000, "discount": 1_000, "upgrade": 1_000}


# What is refused.
@pytest.mark.parametrize(
    ("call", "parts"),
    [
        (lambda: inflation([1.0], np.arange(2)), ("1 months", "takes 2")),
        (lambda: inflation([0.5, 0.6], np.arange(2)), ("none above the one before",)),
        (lambda: inflation([0.5, 0.0], np.arange(2)), ("Read a shorter horizon",)),
        (lambda: size_for(ask(rates(0.4, 0.5)), power=1.0), ("power is 1.0", "such as 0.8")),
        (lambda: size_for(ask(rates(0.4, 0.5)), power=0.04), ("power is 0.04",)),
        (lambda: size_for(ask(rates(0.4, 0.5)), shares={"0": 1}), ("'1' has a share of 0", "leave the arm out")),
        (lambda: size_for(ask(rates(0.4, 0.5)), shares={"0": 1, "1": -2}), ("share of -2",)),
        (lambda: size_for(ask(rates(0.4, 0.5)), shares={"0": 1, "2": 1}), ("no arm '2'",)),
        (lambda: size_for(ask(rates(0.4, 0.5)), shares={"0": 0.5, "1": 0.4}), ("sum to 0.9", "2 : 1 : 1")),
        (lambda: power_of(ask(rates(0.4, 0.5)), 3), ("'0' would have 1.5 customers", "too few for any answer")),
        (lambda: simulated_evidence(horizon_months=31), ("horizon_months is 31", "1 to 30")),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(call, parts, names):
    with pytest.raises(WinbackError, match=names(*parts)):
        call()


def test_questions_to_the_evidence_that_cannot_be_are_refused(telecom_evidence, names):
    for changes, parts in (
        ({"arms": ["discount", "upgrade"], "pairs": [("discount", "upgrade")], "objective": "roi"},
         ("needs the arm 'holdout'",)),
        ({"followed": [1.0] * 12}, ("known for 12 months, the outcome takes 24",)),
    ):  # fmt: skip
        with pytest.raises(WinbackError, match=names(*parts)):
            question_of(telecom_evidence, **changes)


def test_an_offer_without_cost_has_no_return_on_investment(telecom_evidence):
    mean = telecom_evidence.mean.copy()
    mean[1, [name == "cost" for name, _ in telecom_evidence.columns]] = 0
    with pytest.raises(WinbackError, match=r"'roi' cannot be told for every offer: one costs nothing"):
        question_of(replace(telecom_evidence, mean=mean), objective="roi")


# At the edge.
def test_nobody_against_somebody_can_be_sized():
    assert size_for(ask(rates(0.0, 0.05)), rule=ALONE).smallest == math.ceil(
        samplesize_proportions_2indep_onetail(0.05, 0.0, 0.8, alpha=0.05))  # fmt: skip
    assert size_for(ask(rates(0.95, 1.0)), rule=ALONE).smallest == size_for(ask(rates(0.0, 0.05)), rule=ALONE).smallest


def test_nobody_against_everybody_needs_two_each():
    assert size_for(ask(rates(0.0, 1.0), pooled=False), rule=ALONE).customers == {"0": 2, "1": 2}
    assert power_of(ask(rates(0.0, 1.0), pooled=False), 4, rule=ALONE).smallest == 1
    assert power_of(ask(rates(0.0, 0.0)), 400, rule=ALONE).smallest == 0
    assert simulated_power(ask(rates(0.0, 0.0)), 400, repetitions=10).each[0].value == 0
    assert simulated_power(ask(rates(0.0, 1.0), pooled=False), 400, repetitions=10).each[0].value == 1
