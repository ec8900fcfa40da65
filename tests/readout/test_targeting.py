"""Policies: oracles S10 to S12, linear programmes, and how much a naive figure promises too much."""

import math
import time
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles_targeting import frontier, frontier_of, policy_value, qini_area, qini_curve
from pydantic import TypeAdapter
from telecom_truth import truth
from test_segments import BUCKETS, SAME_EVERYWHERE, SHARES, TAILORED_WORLD, draw

from experiments.common.errors import WinbackError
from experiments.metrics.cube import make_cube
from experiments.readout.segments import EVERYONE, effects, outcome_of, segment_table, segments_of
from experiments.readout.targeting import (
    FOLDS,
    Limits,
    Policy,
    PolicyValue,
    Tailored,
    allocate,
    instability,
    learn,
    regret,
    scores,
    tailored,
    value_of_learning,
)
from experiments.simulate.telecom import TAILORED
from experiments.stats.intervals import t_quantile


@pytest.fixture(scope="module")
def cube(telecom, telecom_sheet):
    return make_cube(telecom_sheet, telecom)


@pytest.fixture(scope="module")
def net(cube, telecom_sheet):
    return outcome_of(cube, telecom_sheet)


@pytest.fixture(scope="module")
def cost(cube, telecom_sheet):
    return outcome_of(cube, telecom_sheet, name="cost")


def error_of(estimate):
    return (estimate.high - estimate.low) / 2 / t_quantile(estimate.level, df=estimate.n - 1)


def true_gain(means, policy, outcome):
    """Return what a policy gains in the discrete world, per customer."""
    _, strata = segments_of(outcome, factor=policy.factor)
    return float(SHARES @ (np.array(policy.given)[strata].T * (means - means[0])).sum(axis=0))


def true_gain_of_learning(means, outcome, *, factor):
    """Return the mean of what the policies of all folds gain: what cross-fitting estimates."""
    fold = np.arange(BUCKETS) % FOLDS
    learned = [learn(outcome.of(fold != f), factor=factor) for f in range(FOLDS)]
    return float(np.mean([true_gain(means, policy, outcome) for policy in learned]))


# S10, by hand. Source: ../shared/oracles.md.
S10 = {
    "outcome": [10, 0, 4, 0, 6, 2],
    "arm": [0, 1, 0, 1, 1, 0],
    "policy": [1, 1, 0, 0, 1, 0],
    "propensity": [0.5, 0.5],
    "q": [[4, 5], [3, 2], [4, 6], [1, 2], [5, 6], [2, 3]],
}


def test_the_value_of_a_policy_by_hand():
    found = policy_value(**S10)
    assert found["ipw"].value == pytest.approx(4.0, abs=1e-12)
    assert found["self_normalised"].value == pytest.approx(3.0, abs=1e-12)
    assert found["aipw"].value == pytest.approx(2.6666667, abs=5e-8)
    assert error_of(found["ipw"]) == pytest.approx(2.0655911, abs=5e-8)
    assert error_of(found["aipw"]) == pytest.approx(1.2018504, abs=5e-8)


def test_propensities_may_differ_from_customer_to_customer():
    rows = policy_value(**S10 | {"propensity": [[0.5, 0.5]] * 6})
    assert rows == policy_value(**S10)


def test_a_policy_that_nobody_got_has_no_self_normalised_value():
    found = policy_value([1, 2], [0, 0], policy=[1, 1], propensity=[0.5, 0.5], q=[[1, 1], [1, 1]])
    assert found["self_normalised"].value is None


def test_an_arm_that_nobody_could_get_is_refused():
    with pytest.raises(WinbackError, match=r"propensity 0.*Leave the arm out"):
        policy_value(**S10 | {"propensity": [1.0, 0.0]})


# S11. Source: grf-labs/maq 0.2.2, and by hand.
GAIN, COST = [[10, 14], [6, 9], [4, 4.5]], [[2, 5], [2, 3], [1, 3]]


def test_the_budget_frontier_is_that_of_maq():
    found = frontier(GAIN, COST)
    assert found.spend == (0, 2, 3, 5, 6, 9, 11)
    assert found.gain == (0, 10, 14, 20, 23, 27, 27.5)
    assert found.steps == ((0, 0), (2, 0), (1, 0), (1, 1), (0, 1), (2, 1))
    assert found.at(8) == pytest.approx(23 + 2 / 3 * 4, abs=1e-12)
    assert found.at(100) == 27.5


def test_the_frontier_leaves_out_what_is_dominated_or_loses_and_takes_what_is_free_first():
    found = frontier([[5, 4, -1], [3, 8, 6]], [[2, 3, 1], [0, 4, 4]])
    assert found.steps == ((1, 0), (0, 0), (1, 1))
    assert found.spend == (0, 0, 2, 6)


AMOUNTS = st.lists(st.integers(-20, 60), min_size=6, max_size=6)


@given(AMOUNTS, st.lists(st.integers(1, 30), min_size=6, max_size=6), st.floats(0, 60))
def test_the_frontier_is_the_optimum_of_the_linear_programme(gains, costs, budget):
    gain, cost = np.reshape(gains, (3, 2)).astype(float), np.reshape(costs, (3, 2)).astype(float)
    share = np.array([0.5, 0.3, 0.2])
    given_to = allocate(gain, share=share, cost=cost, limits=Limits(budget=budget))
    best = (given_to[:, 1:] * gain * share[:, None]).sum()
    assert frontier(gain * share[:, None], cost * share[:, None]).at(budget) == pytest.approx(best, abs=1e-6)


@given(AMOUNTS, st.floats(0, 5), st.floats(0, 1))
def test_a_plan_keeps_both_limits_and_beats_every_plan_of_whole_segments(gains, budget, contacted):
    gain, cost, share = np.reshape(gains, (3, 2)).astype(float), np.array(COST, float), np.array([0.5, 0.3, 0.2])
    given_to = allocate(gain, share=share, cost=cost, limits=Limits(budget=budget, contacted=contacted))
    assert given_to.sum(axis=1) == pytest.approx(1)
    assert (given_to[:, 1:] * cost * share[:, None]).sum() <= budget + 1e-6
    assert (given_to[:, 1:] * share[:, None]).sum() <= contacted + 1e-6
    divided = ((given_to > 1e-6) & (given_to < 1 - 1e-6)).any(axis=1)
    assert divided.sum() <= 2
    best = 0.0
    for picks in product(range(-1, 2), repeat=3):
        chosen = [(g, k) for g, k in enumerate(picks) if k >= 0]
        if (sum(share[g] for g, _ in chosen) <= contacted
                and sum(share[g] * cost[g, k] for g, k in chosen) <= budget):  # fmt: skip
            best = max(best, sum(share[g] * gain[g, k] for g, k in chosen))
    assert (given_to[:, 1:] * gain * share[:, None]).sum() >= best - 1e-5


# S12. Source: by hand and scikit-uplift 0.5.1.
Y, T = np.array([1, 0, 1, 1, 0, 0, 1, 0]), np.array([1, 0, 1, 0, 1, 0, 0, 1])


def test_the_qini_curve_is_that_of_scikit_uplift():
    curve = qini_curve([Y * (1 - T), Y * T], [1 - T, T])
    assert curve == (0, 1, 1, 2, 1, 0.5, 1, 0.5, 0)


def test_the_qini_area_is_a_number_where_the_whole_effect_is_zero():
    """causalml's is NaN and scikit-uplift's raises ZeroDivisionError."""
    assert qini_area((0, 1, 1, 2, 1, 0.5, 1, 0.5, 0)) == pytest.approx(7 / 8)
    assert qini_area((0, 1, 2, 3)) == 0


# Rows and sums agree
def test_scores_of_buckets_are_the_doubly_robust_scores_of_rows():
    rng = np.random.default_rng(1)
    outcome = draw(rng, TAILORED_WORLD, customers=600)
    rest = np.arange(BUCKETS) % 2 == 0
    policy = learn(outcome.of(rest), factor="reason")
    _, strata = segments_of(outcome, factor="reason")
    model = outcome.of(rest).total.sum(axis=2) / np.maximum(1, outcome.of(rest).count.sum(axis=2))
    whole = outcome.of(rest).total.sum(axis=(1, 2)) / outcome.of(rest).count.sum(axis=(1, 2))
    model = np.where(outcome.of(rest).count.sum(axis=2) >= 10, model, whole[:, None])
    # Rows: every customer of a cell is given the mean of its cell, which changes no sum.
    count = outcome.count[..., ~rest].astype(int)
    arm, stratum, _ = (np.repeat(place.ravel(), count.ravel()) for place in np.indices(count.shape))
    money = np.repeat((outcome.total[..., ~rest] / np.maximum(1, count)).ravel(), count.ravel())
    wanted = np.array(policy.given).argmax(axis=1)[strata][stratum]
    given_rows = {"propensity": outcome.planned, "q": model[:, stratum].T}
    value = policy_value(money, arm, policy=wanted, **given_rows)["aipw"].value
    nothing = policy_value(money, arm, policy=np.zeros_like(arm), **given_rows)["aipw"].value
    sums = scores(outcome, policy, rest=rest)[~rest].sum() / count.sum()
    assert sums == pytest.approx(value - nothing, rel=1e-9)


# The naive figure and the honest one
@pytest.fixture(scope="module", params=["TAILORED_WORLD", pytest.param("SAME_EVERYWHERE", marks=pytest.mark.slow)])
def studied(request):
    """Return errors of sixty experiments of 1,000 customers an arm; money log-normal."""
    means = {"TAILORED_WORLD": TAILORED_WORLD, "SAME_EVERYWHERE": SAME_EVERYWHERE}[request.param]
    rng, rows = np.random.default_rng(3), []
    for _ in range(60):
        outcome = draw(rng, means, customers=1000)
        found = value_of_learning(outcome, factor="reason / tier", level=0.95)
        cells = effects(outcome, factor="reason / tier")
        raw = np.vstack((np.zeros(12), np.nan_to_num(cells.gain)))
        picked, given_to = raw.argmax(axis=0), np.array(found.policy.given)
        aim = true_gain_of_learning(means, outcome, factor="reason / tier")
        wider, _ = instability(cells, folds=FOLDS)
        half = (found.gain.high - found.gain.low) / 2
        best = float(SHARES @ (means.max(axis=0) - means[0]))
        rows.append({
            "naive": raw.max(axis=0) @ cells.share - SHARES @ (means[picked, np.arange(12)] - means[0]),
            "shrunken": (given_to * raw.T).sum(axis=1) @ cells.share - true_gain(means, found.policy, outcome),
            "cross_fitted": found.gain.value - aim,
            "covered": abs(found.gain.value - aim) <= half,
            "covered_as_told": abs(found.gain.value - aim) <= half / wider,
            "bounded": np.nan if found.regret.high is None
            else best - true_gain(means, found.policy, outcome) <= found.regret.high,
        })  # fmt: skip
    return {name: np.array([row[name] for row in rows], dtype=float) for name in rows[0]}


def mean_and_error(values):
    return values.mean(), values.std(ddof=1) / math.sqrt(len(values))


def test_the_value_on_the_same_data_promises_too_much_and_the_cross_fitted_does_not(studied):
    naive, error = mean_and_error(studied["naive"])
    assert naive > 52  # dollars a customer, of about 350
    assert naive > 10 * error
    shrunken, error = mean_and_error(studied["shrunken"])
    assert shrunken > 4 * error
    assert shrunken < naive  # shrinking takes part of it
    honest, error = mean_and_error(studied["cross_fitted"])
    assert abs(honest) < 3 * error


def test_cross_fitted_intervals_cover_and_those_of_the_influence_values_alone_do_not(studied):
    assert 0.91 <= studied["covered"].mean() <= 1
    assert studied["covered_as_told"].mean() < studied["covered"].mean()


def test_the_best_policy_is_not_further_than_the_regret_bound(studied):
    assert np.nanmean(studied["bounded"]) >= 0.93


def test_folds_are_alike_where_arms_are_tied_and_independent_where_one_is_best():
    rng = np.random.default_rng(4)
    clear = np.repeat([[0.0], [900.0], [1.0], [2.0]], 12, axis=1)
    wider = [instability(effects(draw(rng, means, customers=4000, spread=0.3), factor="reason"), folds=FOLDS)[0]
             for means in (clear, np.repeat([[0.0], [400.0], [400.0], [400.0]], 12, axis=1))]  # fmt: skip
    assert wider[0] < 1.1
    assert wider[1] > 1.15


def test_the_regret_of_a_clear_choice_is_small_and_that_of_a_wrong_one_is_seen():
    outcome = draw(np.random.default_rng(4), np.repeat([[0.0], [900.0], [1.0], [2.0]], 12, axis=1), customers=4000)
    policy = learn(outcome, factor="reason")
    assert regret(outcome, policy, level=0.95).high == pytest.approx(0)
    nobody = replace(policy, given=((1.0, 0.0, 0.0, 0.0),) * 4)
    found = regret(outcome, nobody, level=0.95)
    assert found.value == pytest.approx(900, rel=0.1)
    assert found.high > found.value


# Recovery: the telecom
def test_the_policy_of_the_telecom_is_found_and_its_value_recovered(net, cost):
    found = value_of_learning(net, factor="reason", level=0.95, cost=cost)
    assert found.policy.offer("price") == "discount"
    assert found.policy.offer("service") == "upgrade"
    assert found.policy.contacted == pytest.approx(1)
    gain, spent = 0.0, 0.0
    for reason, share in zip(found.policy.segments, found.policy.shares, strict=True):
        true = truth(reason=reason)
        arm, nothing = true[found.policy.offer(reason)], true["holdout"]
        gain += share * (arm.value - arm.cost - nothing.value)
        spent += share * arm.cost
    assert found.gain.low < gain < found.gain.high
    assert found.cost.value == pytest.approx(spent, rel=0.05)
    assert found.over_one_offer.low > 0


def test_a_budget_and_calls_are_kept_by_plan_and_by_value(net, cost):
    limits = Limits.of(40_000, budget=800_000, calls=16_000)
    found = value_of_learning(net, factor="reason / tier", level=0.95, cost=cost, limits=limits)
    assert found.policy.contacted <= 0.4 + 1e-9
    assert found.cost.low < 20
    assert found.regret is None
    free = value_of_learning(net, factor="reason / tier", level=0.95)
    assert 0 < found.gain.value < free.gain.value
    # The calls go to the tier that is worth most.
    first = [segment for segment in found.policy.segments if found.policy.offer(segment)]
    assert {segment.split(" / ")[1] for segment in first} == {"A", "B"}


def test_the_frontier_of_segments_is_the_planned_gain_of_each_budget(net, cost):
    curve = frontier_of(net, cost, factor="reason / tier")
    shrunk = np.nan_to_num(effects(net, factor="reason / tier", offers=net.single).shrunk).T
    for budget in (5.0, 15.0, 30.0):
        policy = learn(net, factor="reason / tier", cost=cost, limits=Limits(budget=budget))
        planned = (np.array(policy.given)[:, 1:] * shrunk).sum(axis=1) @ policy.shares
        assert planned == pytest.approx(curve.at(budget), rel=1e-6)


def test_nobody_gets_an_offer_that_does_not_beat_the_holdout():
    means = np.repeat([[400.0], [100.0], [150.0], [50.0]], 12, axis=1)
    policy = learn(draw(np.random.default_rng(1), means, customers=4000), factor="reason")
    assert [policy.offer(segment) for segment in policy.segments] == [None] * 4
    assert policy.contacted == 0


def test_the_tailored_arm_agrees_with_its_parts(net, telecom_sheet):
    (found,) = tailored(net, telecom_sheet, level=0.95)
    assert dict(found.choose) == TAILORED
    assert found.difference.low < 0 < found.difference.high
    assert found.difference.value == pytest.approx(found.direct.value - found.from_others.value)
    true = truth()
    gain = true["tailored"].value - true["tailored"].cost - true["holdout"].value
    for estimate in (found.direct, found.from_others):
        assert abs(estimate.value - gain) < 2 * (estimate.high - estimate.low) / 2


def test_a_tailored_arm_that_works_otherwise_than_its_parts_is_seen(net, telecom_sheet):
    place = net.arms.index("tailored")
    total = net.total.copy()
    total[place] -= 100 * net.count[place]
    (plain,), (worse,) = (tailored(each, telecom_sheet, level=0.95) for each in (net, replace(net, total=total)))
    assert worse.difference.value == pytest.approx(plain.difference.value - 100)
    assert worse.difference.high < 0
    assert worse.difference.high - worse.difference.low == pytest.approx(plain.difference.high - plain.difference.low)


def test_a_tailored_arm_with_an_offer_that_is_no_arm_cannot_be_put_together(net, telecom_sheet):
    arms = {name: offer for name, offer in telecom_sheet.arms.items() if name != "bundle"}
    sheet = telecom_sheet.model_copy(update={"arms": arms, "catalogue": {"bundle": telecom_sheet.arms["bundle"]}})
    keep = [a for a, arm in enumerate(net.arms) if arm != "bundle"]
    rest = replace(net, arms=tuple(net.arms[a] for a in keep), total=net.total[keep], count=net.count[keep])
    (found,) = tailored(rest, sheet, level=0.95)
    assert found.difference.value is None
    assert found.direct.n > 0


# Laws
def test_scaling_money_scales_the_value_and_keeps_the_policy():
    outcome = draw(np.random.default_rng(2), TAILORED_WORLD, customers=1000)
    one = value_of_learning(outcome, factor="reason", level=0.95)
    thousand = value_of_learning(replace(outcome, total=1000 * outcome.total), factor="reason", level=0.95)
    assert thousand.policy.given == one.policy.given
    for name in ("gain", "over_one_offer", "regret"):
        mine, theirs = getattr(one, name), getattr(thousand, name)
        assert [1000 * x for x in (mine.value, mine.low, mine.high)] == pytest.approx(
            [theirs.value, theirs.low, theirs.high], rel=1e-9)  # fmt: skip


def test_one_segment_has_no_gain_over_one_offer():
    outcome = draw(np.random.default_rng(2), TAILORED_WORLD, customers=1000)
    found = value_of_learning(outcome, factor=EVERYONE, level=0.95)
    assert found.over_one_offer.value == 0
    assert found.policy.segments == ("all",)


def test_results_write_and_read_json_exactly(net, cost, telecom_sheet):
    limits = Limits.of(40_000, budget=500_000)
    for result, kind in (
        (value_of_learning(net, factor="reason", level=0.95, cost=cost), PolicyValue),
        (value_of_learning(net, factor="reason", level=0.95, cost=cost, limits=limits), PolicyValue),
        (tailored(net, telecom_sheet, level=0.95), tuple[Tailored, ...]),
    ):
        adapter = TypeAdapter(kind)
        assert adapter.validate_json(adapter.dump_json(result)) == result


# Errors
def test_a_budget_without_costs_is_refused(net):
    with pytest.raises(WinbackError, match=r'A budget needs the cost of the offers.*name="cost"'):
        learn(net, factor="reason", limits=Limits(budget=10.0))


def test_a_campaign_without_customers_or_with_a_negative_budget_is_refused():
    with pytest.raises(WinbackError, match="A campaign of 0 customers"):
        Limits.of(0)
    with pytest.raises(WinbackError, match="a budget of -5"):
        Limits.of(10, budget=-5)


def test_a_test_of_tailored_arms_only_has_no_policy(net):
    with pytest.raises(WinbackError, match="Every offer of the test is tailored"):
        learn(replace(net, single=()), factor="reason")


# Speed: in one run, whatever the machine.
def test_everything_takes_no_longer_than_forty_readings_by_segment(cube, telecom_sheet):
    def reading():
        effects(outcome_of(cube, telecom_sheet), factor="reason / tier")

    def everything():
        net, cost = outcome_of(cube, telecom_sheet), outcome_of(cube, telecom_sheet, name="cost")
        segment_table(net, level=0.95, factors=["reason", "tier", "reason / tier"])
        value_of_learning(net, factor="reason / tier", level=0.95, cost=cost)
        value_of_learning(net, factor="reason / tier", level=0.95, cost=cost, limits=Limits(budget=20.0, contacted=0.7))
        tailored(net, telecom_sheet, level=0.95)

    def seconds(work):
        start = time.process_time()
        work()
        return time.process_time() - start

    pairs = [(seconds(everything), seconds(reading)) for _ in range(3)]
    assert min(long for long, _ in pairs) < 40 * min(short for _, short in pairs)  # 16 measured


def test_a_policy_is_read_by_segment():
    policy = Policy(factor="reason", segments=("price", "both"), shares=(0.6, 0.4), arms=("hold", "A"),
                    given=((0.0, 1.0), (0.75, 0.25)), limits=Limits())  # fmt: skip
    assert (policy.offer("price"), policy.offer("both")) == ("A", None)
    assert policy.contacted == pytest.approx(0.7)
