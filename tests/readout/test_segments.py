"""Segments: against scipy and statsmodels, the truth of section 9, and the naive ways that must fail."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cubes import cube_of, folded, full_sums, with_sums
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from scipy import optimize, stats
from statsmodels.stats.oneway import anova_oneway
from telecom_truth import truth

from experiments.common.errors import WinbackError
from experiments.metrics import money as payoff
from experiments.metrics.cube import make_cube
from experiments.readout import segments
from experiments.readout.readout import changed
from experiments.readout.segments import (
    EVERYONE,
    LEAST,
    THIN,
    Outcome,
    Segments,
    alike,
    effects,
    followed_up,
    interaction,
    moment_variance,
    outcome_of,
    segment_table,
    shrink,
)
from experiments.sheet.sheet import SEPARATOR
from experiments.stats.intervals import holm, jackknife_covariance

ROOT = Path(__file__).parents[2]

# A fast discrete world: twelve strata, a holdout and three offers, money that is nothing or log-normal.
ARMS = ("holdout", "discount", "upgrade", "bundle")
REASONS = {"price": 0.40, "service": 0.30, "both": 0.12, "other": 0.18}
TIERS = {"A": 0.2, "B": 0.3, "C": 0.5}
STRATA = tuple(f"{reason}{SEPARATOR}{tier}" for reason in REASONS for tier in TIERS)
SHARES = np.outer(list(REASONS.values()), list(TIERS.values())).ravel()
BUCKETS = 200
# Net by reason as in section 9; and a world where offers differ, but not by segment.
TAILORED_WORLD = np.repeat(
    [[45, 40, 15, 60], [472, 354, 139, 369], [378, 414, 131, 359], [394, 362, 143, 320]], 3, axis=1
)
SAME_EVERYWHERE = np.repeat([[45.0], [385.0], [360.0], [345.0]], 12, axis=1)


def draw(rng, means, *, customers, spread=1.0, back=0.45):
    """Return the outcome of a simulated test with so many customers an arm."""
    arms, strata = means.shape
    arm = np.repeat(np.arange(arms), customers)
    stratum = rng.choice(strata, size=arm.size, p=SHARES)
    cell = (arm * strata + stratum) * BUCKETS + np.tile(np.arange(customers) % BUCKETS, arms)
    money = np.exp(spread * rng.standard_normal(arm.size) - spread**2 / 2) / back * means[arm, stratum]
    money *= rng.random(arm.size) < back
    shape = arms, strata, BUCKETS
    return Outcome(
        arms=ARMS[:arms],
        holdout=0,
        planned=(1 / arms,) * arms,
        single=ARMS[1:arms],
        factors=("reason", "tier"),
        strata=STRATA,
        unit="money",
        total=np.bincount(cell, money, int(np.prod(shape))).reshape(shape),
        count=np.bincount(cell, minlength=int(np.prod(shape))).reshape(shape).astype(float),
    )


def true_gains(means, found):
    """Return the true gains of the offers in the segments of some effects."""
    inside = np.stack([(found.strata == g) * SHARES for g in range(len(found.segments))])
    return (means[1:] - means[0]) @ inside.T / inside.sum(axis=1)


@pytest.fixture(scope="module")
def cube(telecom, telecom_sheet):
    return make_cube(telecom_sheet, telecom)


@pytest.fixture(scope="module")
def net(cube, telecom_sheet):
    return outcome_of(cube, telecom_sheet)


def one_customer_a_bucket(rng, *, buckets=60):
    """Return an outcome of two arms and one stratum with one customer in every bucket."""
    total = rng.lognormal(size=(2, 1, buckets)) * [[[1.0]], [[2.0]]]
    return Outcome(arms=("hold", "A"), holdout=0, planned=(0.5, 0.5), single=("A",), factors=(), strata=("all",),
                   unit="money", total=total, count=np.ones_like(total))  # fmt: skip


# Oracles
def test_a_cell_of_single_customers_has_welchs_interval():
    outcome = one_customer_a_bucket(np.random.default_rng(1))
    (table,) = segment_table(outcome, level=0.9, factors=[EVERYONE])
    welch = stats.ttest_ind(outcome.total[1, 0], outcome.total[0, 0], equal_var=False)
    low, high = welch.confidence_interval(0.9)
    gain = table.cells[0].gain
    assert (gain.low, gain.high) == pytest.approx((low, high), rel=1e-9)
    assert table.cells[0].p == pytest.approx(welch.pvalue, rel=1e-9)


@pytest.mark.parametrize("groups", [2, 3, 5])
def test_the_interaction_of_one_offer_is_welchs_anova_of_its_gains(groups):
    """With a holdout that never varies the gains are independent: statsmodels, anova_oneway(use_var="unequal")."""
    rng = np.random.default_rng(groups)
    rows = [rng.normal(g / 4, 1 + g, size=12 + 5 * g) for g in range(groups)]
    oracle = anova_oneway(rows, use_var="unequal")
    mean = np.array([[0.0] * groups, [row.mean() for row in rows]])
    variance = np.array([[0.0] * groups, [row.var(ddof=1) / len(row) for row in rows]])
    found = interaction(mean, variance, np.array([[9.0] * groups, [len(row) - 1 for row in rows]]))
    assert found.statistic == pytest.approx(oracle.statistic, rel=1e-9)
    assert (found.df, found.df_error) == pytest.approx((oracle.df_num, oracle.df_denom), rel=1e-9)
    assert found.p == pytest.approx(oracle.pvalue, rel=1e-9)


def test_the_interaction_of_many_customers_is_the_wald_chi_square():
    rng = np.random.default_rng(4)
    mean, variance = rng.normal(size=(3, 4)), rng.uniform(0.1, 2, size=(3, 4))
    gain = (mean[1:] - mean[0]).T
    between = np.stack([np.diag(variance[1:, g]) + variance[0, g] for g in range(4)])
    weights = np.linalg.inv(between)
    middle = np.linalg.solve(weights.sum(axis=0), np.einsum("gij,gj->i", weights, gain))
    wald = np.einsum("gi,gij,gj->", gain - middle, weights, gain - middle)
    found = interaction(mean, variance, np.full((3, 4), 1e9))
    assert found.df == 6
    assert found.p == pytest.approx(stats.chi2.sf(wald, 6), rel=1e-6)


def test_the_variance_between_segments_is_that_of_paule_and_mandel():
    """The root of their equation, sum w (x - mean)^2 = k - 1 with w = 1 / (variance + noise)."""
    points, noise = np.array([0.1, 1.9, -0.7, 2.5, 0.9]), np.array([0.2, 0.5, 0.1, 0.8, 0.3])

    def excess(variance):
        weights = 1 / (variance + noise)
        return weights @ (points - (weights @ points) / weights.sum()) ** 2 - (len(points) - 1)

    root = optimize.brentq(excess, 0, 100, rtol=1e-12)
    assert moment_variance(points[:, None], noise=noise, dimensions=1) == pytest.approx(root, rel=1e-6)


def test_shrinking_one_offer_is_the_textbook_weight():
    gain, noise, share = np.array([[10.0, 20.0, 60.0]]), np.array([[50.0, 50.0, 50.0]]), np.full(3, 1 / 3)
    between = np.var([10, 20, 60], ddof=1) - 50
    shrunk, _ = shrink(gain, noise=noise, common=np.zeros(3), share=share)
    assert shrunk[0] == pytest.approx(30 + between / (between + 50) * (gain[0] - 30))


# Recovery: the truth of section 9.
def test_net_by_reason_is_within_four_standard_errors_of_the_truth(net):
    found = effects(net, factor="reason")
    away = [
        (found.mean[a, g] - (true[arm].value - true[arm].cost)) / np.sqrt(found.variance[a, g])
        for g, reason in enumerate(found.segments)
        for true in [truth(reason=reason)]
        for a, arm in enumerate(net.arms)
    ]
    assert len(away) == 20
    assert max(map(abs, away)) < 4
    assert 0.5 < np.std(away) < 1.5


@pytest.mark.parametrize("name", ["returned", "months", "value", "cost"])
def test_every_outcome_by_reason_is_within_four_standard_errors_of_the_truth(cube, telecom_sheet, name):
    found = effects(outcome_of(cube, telecom_sheet, name=name), factor="reason")
    for g, reason in enumerate(found.segments):
        true = np.array([getattr(truth(reason=reason)[arm], name) for arm in cube.arms])
        assert (np.abs(found.mean[:, g] - true) <= 4 * np.sqrt(found.variance[:, g]) + 1e-9).all()


def test_price_wants_the_discount_and_service_the_upgrade(net):
    (table,) = segment_table(net, level=0.95, factors=["reason"], offers=net.single)
    for reason, best in (("price", "discount"), ("service", "upgrade")):
        assert max(net.single, key=lambda offer: table.cell(reason, offer).shrunk.value) == best
    assert table.choice_differs.p < 0.05
    assert (table.gain_differs.df, table.choice_differs.df) == (9, 6)


# Oracle: a real test, the donors of Karlan & List (2007), its rows counted one by one in the reference.
@pytest.mark.parametrize(("dormant", "label"), [("1", "dormant_flag"), ("0", "not_dormant")])
def test_donors_by_dormancy_are_those_counted_from_the_rows(reference, donor_sheet, dormant, label):
    donors = make_cube(donor_sheet, ROOT / "data/donors")
    for name, column in (("returned", "gave"), ("value", "amount_per_letter")):
        found = effects(outcome_of(donors, donor_sheet, name=name), factor="dormant")
        g = found.segments.index(dormant)
        rows = [reference[label]["arms"][arm][column] for arm in donors.arms]
        assert found.customers[:, g].tolist() == [row["n"] for row in rows]
        assert found.mean[:, g] == pytest.approx([row["rate" if name == "returned" else "mean"] for row in rows])
        error = [
            math.sqrt(row["rate"] * (1 - row["rate"]) / row["n"]) if name == "returned" else row["se"] for row in rows
        ]
        assert np.sqrt(found.variance[:, g]) == pytest.approx(error, rel=0.2)  # 199 degrees of freedom: 5 % one error


# What the intervals and tests promise, in the discrete world; and the naive ways beside them.
@pytest.fixture(scope="module")
def studied():
    rng, rows = np.random.default_rng(5), []
    for _ in range(120):
        found = effects(draw(rng, SAME_EVERYWHERE, customers=1000), factor="reason / tier")
        known = np.isfinite(found.gain)
        true, offers = true_gains(SAME_EVERYWHERE, found), list(found.offers)
        naive = interaction(found.mean, found.variance, found.df).p
        honest = interaction(
            np.vstack((found.mean[:1], found.mean[offers])),
            np.vstack((found.variance[:1], found.noise)),
            np.vstack((found.df[:1], np.broadcast_to(found.df[offers].sum(axis=0), found.noise.shape))),
        ).p
        rows.append({
            "naive": naive < 0.05,
            "honest": honest < 0.05,
            "covered": (np.abs(found.shrunk - true) < 1.972 * found.error)[known].mean(),
            "shrunk": ((found.shrunk - true) ** 2)[known].mean(),
            "raw": ((found.gain - true) ** 2)[known].mean(),
        })  # fmt: skip
    return {name: np.mean([row[name] for row in rows]) for name in rows[0]}


def test_the_interaction_test_keeps_its_level_and_weights_by_own_variances_do_not(studied):
    assert studied["honest"] < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 120)
    assert studied["naive"] > 0.15


def test_shrunken_intervals_cover_and_the_shrunken_gain_is_nearer_to_the_truth(studied):
    assert 0.93 < studied["covered"] < 0.99
    assert studied["shrunk"] < studied["raw"] / 4


def test_intervals_of_the_cells_cover_the_truth():
    rng, covered = np.random.default_rng(6), []
    for _ in range(60):
        outcome = draw(rng, TAILORED_WORLD, customers=4000)
        found = effects(outcome, factor="reason")
        true = true_gains(TAILORED_WORLD, found)
        (table,) = segment_table(outcome, level=0.95, factors=["reason"])
        cells = [(cell, true[k, g]) for cell, (g, k) in zip(table.cells, np.ndindex(4, 3), strict=True)]
        covered += [cell.gain.low < value < cell.gain.high for cell, value in cells]
    assert 0.92 < np.mean(covered) < 0.98


# Follow-up
def total_of(monthly, *, followed, assigned):
    """Return what `followed_up` makes of full arrays of one arm."""
    strata = tuple(map(str, range(assigned.shape[1])))
    cube = cube_of(arms=("A",), strata=strata, assigned=assigned, followed=followed, active=monthly)
    return followed_up(cube, cube.sums["active"])


def test_each_month_counts_by_those_still_watched():
    """Two of four watched in month 2; they brought 6: three each, twelve in all. By hand."""
    assigned = np.array([[[2 * THIN, 2 * THIN]]])
    followed = np.stack((assigned, assigned // 2), axis=-1)
    monthly = np.array([[[[10, 6], [20, 18]]]])
    total = total_of(monthly, followed=followed, assigned=assigned)
    assert total.sum() == pytest.approx(30 + 24 * 2)


def test_the_mean_is_the_sum_of_monthly_means_and_its_error_that_of_the_jackknife(cube, telecom_sheet, net):
    sums = {name: full.sum(axis=1, keepdims=True) for name, full in full_sums(cube).items()}
    whole = folded(replace(cube, strata=("all",)), sums)
    total = segments.months(whole, telecom_sheet)
    replicates = payoff.by_month(whole.sums["active"], whole, factors=np.ones(24)).sum(axis=-1)
    assert total.sum(axis=(1, 2)) / cube.assigned.sum(axis=(1, 2)) == pytest.approx(replicates[0], rel=1e-12)
    one_stratum = {"strata": ("all",), "factors": (), "count": whole.assigned.astype(float)}
    found = effects(replace(net, total=total, **one_stratum), factor=EVERYONE)
    error = np.sqrt(jackknife_covariance(replicates[1:]).diagonal())
    assert np.sqrt(found.variance[:, 0]) == pytest.approx(error, rel=0.02)


def test_where_the_stratum_is_thin_the_arm_tells_the_follow_up():
    assigned = np.array([[[3, 3], [100, 100]]])
    followed = np.array([[[[3, 0], [3, 0]], [[100, 50], [100, 50]]]])
    monthly = np.array([[[[0, 0], [0, 0]], [[0, 200], [0, 100]]]])
    total = total_of(monthly, followed=followed, assigned=assigned)
    assert total[0, 0].sum() == pytest.approx(6 * 3)  # three a customer, as in the arm
    assert total[0, 1].sum() == pytest.approx(200 * 3)


def test_a_month_that_nobody_was_watched_for_is_refused(cube, telecom_sheet):
    followed = cube.followed
    followed[2, :, :, 20:] = 0
    with pytest.raises(WinbackError, match=r"nobody was watched for 21 months: choose a horizon of 20 or less"):
        outcome_of(with_sums(cube, followed=followed), telecom_sheet)


# Costs: the same ledger as the payoff, by stratum.
def test_costs_are_those_of_the_payoff(cube, telecom_sheet):
    everybody = with_sums(cube, followed=np.broadcast_to(cube.assigned[..., None], cube.followed.shape))
    arms = {name: offer.model_dump() for name, offer in telecom_sheet.arms.items()}
    for name in ("discount", "tailored"):
        arms[name] |= {"gift": 3, "fixed": 1000, "value_share": 0.01}
    sheet = changed(telecom_sheet, {"arms": arms})
    factors = payoff.discount_factors(24, rate=sheet.discount_rate)
    for name, ledger in (("cost", payoff.cost_by_month(everybody, payoff.ledger_of(everybody, sheet), factors=factors)),
                         ("value", payoff.value_by_month(everybody, factors=factors))):  # fmt: skip
        outcome = outcome_of(everybody, sheet, name=name)
        mean = outcome.total.sum(axis=(1, 2)) / outcome.count.sum(axis=(1, 2))
        assert mean == pytest.approx(ledger[0].sum(axis=-1) / 100, rel=1e-9)


def test_a_tailored_arm_costs_in_each_segment_what_its_offer_costs(cube, telecom_sheet):
    cost = effects(outcome_of(cube, telecom_sheet, name="cost"), factor="reason")
    service, bundled = cost.segments.index("service"), cost.segments.index("both")
    place = cube.arms.index
    assert cost.mean[place("tailored"), service] == pytest.approx(cost.mean[place("upgrade"), service], rel=0.1)
    assert cost.mean[place("tailored"), bundled] == pytest.approx(cost.mean[place("bundle"), bundled], rel=0.15)


# Laws
@given(st.floats(1e-3, 1e3), st.permutations(range(BUCKETS)))
def test_scaling_money_scales_everything_and_the_order_of_buckets_changes_nothing(factor, order):
    outcome = draw(np.random.default_rng(2), TAILORED_WORLD, customers=400)
    scaled = replace(outcome, total=factor * outcome.total[..., order], count=outcome.count[..., order])
    for one, other in zip(*(segment_table(each, level=0.95) for each in (outcome, scaled)), strict=True):
        assert one.choice_differs.p == pytest.approx(other.choice_differs.p, rel=1e-6)
        for cell, same in zip(one.cells, other.cells, strict=True):
            for name in ("gain", "shrunk"):
                mine, theirs = getattr(cell, name), getattr(same, name)
                assert [factor * x for x in (mine.value, mine.low, mine.high)] == pytest.approx(
                    [theirs.value, theirs.low, theirs.high], rel=1e-6)  # fmt: skip


def test_the_order_of_arms_changes_nothing():
    outcome = draw(np.random.default_rng(2), TAILORED_WORLD, customers=400)
    order = [3, 1, 0, 2]
    other = replace(outcome, arms=tuple(ARMS[a] for a in order), holdout=2, total=outcome.total[order],
                    count=outcome.count[order])  # fmt: skip
    for one, two in zip(*(segment_table(each, level=0.95) for each in (outcome, other)), strict=True):
        assert one.gain_differs.statistic == pytest.approx(two.gain_differs.statistic)
        for cell in one.cells:
            assert two.cell(cell.segment, cell.offer).shrunk.value == pytest.approx(cell.shrunk.value)


def test_holm_counts_all_cells_of_all_factors(net):
    tables = segment_table(net, level=0.95)
    assert [table.factor for table in tables] == ["reason", "tier"]
    cells = [cell for table in tables for cell in table.cells]
    assert len(cells) == 4 * 4 + 3 * 4
    assert [cell.p_holm for cell in cells] == holm([cell.p for cell in cells])
    assert tables[0].gain_differs.p_holm >= tables[0].gain_differs.p


def test_a_precise_segment_keeps_its_gain_and_a_vague_one_takes_the_main_effect():
    gain, noise = np.array([[10.0, 30.0, 20.0], [20.0, 60.0, 40.0]]), np.array([[1e-6, 1e-6, 1e9]] * 2)
    shrunk, error = shrink(gain, noise=noise, common=np.array([0.0, 0.0, 0.0]), share=np.full(3, 1 / 3))
    assert shrunk[:, :2] == pytest.approx(gain[:, :2], rel=1e-3)
    assert shrunk[1, 2] > shrunk[0, 2]
    assert (error[:, 2] > error[:, 0]).all()


def test_a_segment_too_small_to_tell_takes_the_main_effect():
    gain = np.array([[10.0, 30.0, np.nan]])
    shrunk, _ = shrink(gain, noise=np.ones((1, 3)), common=np.ones(3), share=np.array([0.45, 0.45, 0.1]))
    assert shrunk[0, 2] == pytest.approx(20)


def test_equal_variances_are_left_as_they_are():
    assert alike(np.array([[2.0], [2.0]]), customers=np.array([[50.0], [50.0]]))[:, 0] == pytest.approx([2.0, 2.0])


def test_tables_write_and_read_json_exactly(net):
    tables = segment_table(net, level=0.95, factors=["reason", "reason / tier"])
    adapter = TypeAdapter(tuple[Segments, ...])
    assert adapter.validate_json(adapter.dump_json(tables)) == tables


# Small and empty cells
def test_a_cell_of_few_customers_tells_nothing():
    outcome = draw(np.random.default_rng(3), TAILORED_WORLD, customers=200)
    found = effects(outcome, factor="reason / tier")
    (table,) = segment_table(outcome, level=0.95, factors=["reason / tier"])
    few = (found.customers < LEAST)[[0, 1]].any(axis=0)
    assert few.any()
    for cell in table.cells[::3]:
        assert (cell.gain.value is None) == (cell.p is None) == few[table.segments.index(cell.segment)]


def test_nobody_returned_is_no_certainty():
    outcome = draw(np.random.default_rng(3), TAILORED_WORLD, customers=400)
    (table,) = segment_table(replace(outcome, total=0 * outcome.total), level=0.95, factors=["tier"])
    assert {(cell.gain.value, cell.gain.low, cell.p) for cell in table.cells} == {(0.0, None, None)}
    assert table.gain_differs.p is None


def test_one_offer_has_gains_that_differ_but_no_choice():
    outcome = draw(np.random.default_rng(3), TAILORED_WORLD[:2], customers=400)
    (table,) = segment_table(outcome, level=0.95, factors=["tier"])
    assert table.gain_differs.df == 2
    assert table.choice_differs.p is None


def test_strata_whose_labels_do_not_tell_their_factors_have_no_segments(cube, telecom_sheet):
    plain = replace(cube, strata=tuple(map(str, range(len(cube.strata)))))
    sheet = changed(telecom_sheet, {"arms": {name: offer.model_dump() | {"choose": {}, "by": ""}
                                             for name, offer in telecom_sheet.arms.items()}})  # fmt: skip
    outcome = outcome_of(plain, sheet)
    assert segment_table(outcome, level=0.95) == ()
    assert effects(outcome, factor=EVERYONE).segments == ("all",)


# Errors
def test_a_segment_that_was_not_registered_is_refused(net):
    with pytest.raises(WinbackError, match=r"'reasons' is no registered segment.*Did you mean 'reason'\?"):
        segment_table(net, level=0.95, factors=["reasons"])


def test_an_unknown_outcome_or_offer_is_refused(cube, telecom_sheet, net):
    with pytest.raises(WinbackError, match=r"no outcome 'nett'.*Did you mean 'net'\?"):
        outcome_of(cube, telecom_sheet, name="nett")
    with pytest.raises(WinbackError, match=r"no offer 'upgrad' in the test. Did you mean 'upgrade'\?"):
        segment_table(net, level=0.95, offers=["upgrad"])


def test_without_a_holdout_there_are_no_gains(cube, telecom_sheet):
    with pytest.raises(WinbackError, match="has no holdout, so nobody knows the gain"):
        outcome_of(cube, changed(telecom_sheet, {}).model_copy(update={"holdout": None}))
