"""Cubes drawn in numpy: the engine's world, its truth, and its cube, to the last convention."""

import numpy as np
import pytest
from cubes import full_sums
from scipy import stats
from telecom_truth import draw_cube, truth

from experiments.common.errors import WinbackError
from experiments.data.tables import connect
from experiments.metrics import money
from experiments.metrics.cube import make_cube
from experiments.metrics.estimates import Reading
from experiments.simulate.telecom import ARMS, REASONS, TIERS, WORLDS, World, simulate, world


def draws(name, *, size, times, seed=1, **changes):
    rng = np.random.default_rng([seed, *name.encode()])
    return [draw_cube(world(name), size, rng=rng, **changes) for _ in range(times)]


def sums(cube):
    """Return every sum of a cube by arm and month, and by arm and stratum: one long vector, with names."""
    parts = full_sums(cube)
    vectors = {f"{name} by month": part.sum(axis=(1, 2)).astype(float) for name, part in parts.items()}
    vectors |= {f"{name} by stratum": part.reshape(*part.shape[:3], -1).sum(axis=(2, 3)).astype(float)
                for name, part in parts.items()}  # fmt: skip
    return vectors


# The truth.
@pytest.mark.parametrize("name", [
    pytest.param(name, marks=[] if name in ("base", "equal", "zero_acceptances") else pytest.mark.slow)
    for name in WORLDS if name != "informative_follow_up"])  # fmt: skip
def test_means_over_many_draws_are_the_truth(telecom_sheet, name):
    true, size, times = truth(world(name)), 2_000, 40
    found = {metric: [] for metric in ("returned", "months", "value", "cost", "value_accepted", "accepted")}
    sheet = telecom_sheet
    if name == "equal":
        arms = sheet.model_dump()["arms"]
        equal = {arm: arms["holdout" if arm == "holdout" else "discount"] | {"label": arm} for arm in arms}
        sheet = type(sheet).model_validate(sheet.model_dump() | {"arms": equal})
    for cube in draws(name, size=size, times=times, factors=("reason",)):
        reading = Reading(cube=cube, sheet=sheet)
        for metric, rows in found.items():
            rows.append(cube.accepted.sum(axis=(1, 2)) / cube.assigned.sum(axis=(1, 2)) if metric == "accepted"
                        else reading.numbers[metric][0])  # fmt: skip
    for metric, rows in found.items():
        wanted = np.array([getattr(true[arm], metric) for arm in ARMS])
        error = np.std(rows, axis=0, ddof=1) / np.sqrt(times)
        away = np.abs(np.mean(rows, axis=0) - wanted) / np.maximum(error, 1e-9)
        assert (away < 4.5).all(), (metric, away, np.mean(rows, axis=0), wanted)


def test_follow_up_that_depends_on_goodwill_biases_the_readout(telecom_sheet):
    true = truth()
    months = [Reading(cube=cube, sheet=telecom_sheet).numbers["months"][0]
              for cube in draws("informative_follow_up", size=2_000, times=30)]  # fmt: skip
    away = (np.mean(months, axis=0) - [true[arm].months for arm in ARMS]) / (np.std(months, axis=0) / np.sqrt(30))
    assert (away[1:] > 5).all()


# The engine.
@pytest.fixture(scope="module")
def engine(tmp_path_factory, telecom_sheet):
    """Return a function that gives the engine's cube of a world: 40,000 customers with their history."""

    def cube(name, *, customers=40_000):
        folder = tmp_path_factory.mktemp(f"engine_{name}")
        simulate(folder, customers=customers, seed=11, variant=world(name), history=True)
        return make_cube(telecom_sheet, folder)

    return cube


@pytest.mark.parametrize("name", ["base", "crossing", "heavy_tail", *(
    pytest.param(name, marks=pytest.mark.slow)
    for name in ("no_effect", "follow_up_by_arm", "informative_follow_up", "mislabelled"))])  # fmt: skip
def test_every_sum_of_the_cube_is_the_engines(engine, name):
    customers = 20_000
    ours = draws(name, size=customers // len(ARMS), times=60)
    theirs = engine(name, customers=customers)
    assert (theirs.arms, theirs.strata, theirs.months) == (ours[0].arms, ours[0].strata, ours[0].months)
    vectors = [sums(cube) for cube in ours]
    for part, seen in sums(theirs).items():
        rows = np.array([vector[part] for vector in vectors])
        spread = np.maximum(rows.std(axis=0, ddof=1), 1.0)
        away = np.abs(seen - rows.mean(axis=0)) / (spread * np.sqrt(1 + 1 / len(rows)))
        assert away.max() < (8 if "value" in part or "before" in part else 5), (part, away.max())  # money is skew


def test_the_moments_of_a_customer_are_the_engines(telecom):
    text = f"""SELECT a.arm, count(p.margin) AS months, coalesce(sum(p.margin), 0)::DOUBLE AS value
               FROM '{telecom}/assignments.parquet' AS a LEFT JOIN '{telecom}/purchases.parquet' AS p
                 ON a.customer_id = p.customer_id AND p.at >= a.at AND p.at < a.at + INTERVAL 24 MONTH
               GROUP BY a.customer_id, a.arm"""
    with connect() as con:
        theirs = con.execute(text).fetchnumpy()
    # Up to 200 customers an arm, a bucket is a customer.
    cubes = draws("base", size=150, times=80, factors=("reason",))
    ones = [cube.assigned.sum(axis=1) == 1 for cube in cubes]
    for a, arm in enumerate(ARMS):
        months, value = (np.concatenate([getattr(cube, name)[a].sum(axis=(0, 2))[one[a]]
                                         for cube, one in zip(cubes, ones, strict=True)]).astype(float)
                         for name in ("active", "value"))  # fmt: skip
        chosen = theirs["arm"] == arm
        pairs = ((months, theirs["months"]), (np.log1p(value / 100), np.log1p(theirs["value"])),
                 (np.minimum(value / 100, 3_000), np.minimum(theirs["value"], 3_000)))  # fmt: skip
        for mine, other in pairs:
            for power in (1, 2):  # the mean, and the variance with it
                x, y = mine**power, other[chosen].astype(float) ** power
                error = np.sqrt(x.var() / len(x) + y.var() / len(y))
                assert abs(x.mean() - y.mean()) < 4.5 * error, (arm, power, x.mean(), y.mean())


def chances_of_bills():
    """Return the chance of each number of bills in a first lifetime of 8 to 38 months, summed term by term."""
    chances = np.zeros(39)
    for rhythm, share in ((1, 0.60), (2, 0.25), (3, 0.15)):
        for months in range(8, 39):
            due = len(range(0, months, rhythm))
            for came in range(due - 1):  # between the first and the last, which always come
                chances[2 + came] += share / 31 * stats.binom.pmf(came, due - 2, 0.92)
    return chances


def fits(bills):
    """Return whether so many bills a customer are drawn from their chances; there are 2 to 38."""
    assert bills.min() >= 2
    assert bills.max() <= 38
    seen, wanted = np.bincount(bills, minlength=39)[2:], len(bills) * chances_of_bills()[2:]
    assert wanted.min() > 5
    return stats.chisquare(seen, wanted).pvalue > 0.001


def test_the_bills_before_the_assignment_are_as_many_as_their_rhythm_and_the_skipped_ones_leave(telecom):
    text = f"""SELECT count(*) AS bills FROM '{telecom}/assignments.parquet' AS a
               JOIN '{telecom}/purchases.parquet' AS p USING (customer_id) WHERE p.at < a.at GROUP BY customer_id"""
    with connect() as con:
        theirs = con.execute(text).fetchnumpy()["bills"]
    assert len(theirs) == 40_000
    assert fits(theirs)
    # Ours: up to 200 customers an arm, a bucket is a customer; who returned shows the margin of a bill.
    ours = []
    for cube in draws("base", size=150, times=80, factors=("reason",)):
        value, active, before = (part.sum(axis=1) for part in (cube.value, cube.active, cube.before))
        back = active.sum(axis=-1) > 0
        ours.extend(before[back] * active[back].sum(axis=-1) / value[back].sum(axis=-1))
    assert len(ours) > 15_000
    assert np.rint(ours) == pytest.approx(ours)
    assert fits(np.rint(ours).astype(int))


def test_the_variance_of_an_arm_is_the_engines(engine, telecom_sheet):
    # Jackknife variances of months and value at 8,000 an arm: each is known to 10 % (200 buckets).
    theirs = Reading(cube=engine("base"), sheet=telecom_sheet)
    ours = [Reading(cube=cube, sheet=telecom_sheet) for cube in draws("base", size=8_000, times=5)]
    for metric, room in (("months", 0.45), ("value", 0.8), ("cost", 0.45)):
        variance = [reading.numbers[metric][1:, 1:].var(axis=0) for reading in ours]
        ratio = theirs.numbers[metric][1:, 1:].var(axis=0) / np.mean(variance, axis=0)
        assert (np.abs(ratio - 1) < room).all(), (metric, ratio)


# Laws of a cube.
@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize("size", [1, 50, 300])
def test_a_drawn_cube_keeps_the_laws_of_the_cube(name, size):
    cube = draws(name, size=size, times=1)[0]
    assert cube.assigned.sum() == size * len(ARMS)
    assert (np.abs(cube.assigned.sum(axis=(1, 2)) - size) <= len(cube.strata)).all()
    per_bucket = cube.assigned.sum(axis=1)
    assert (per_bucket.max(axis=1) - per_bucket.min(axis=1) <= 1).all()
    assert (np.diff(cube.followed, axis=-1) <= 0).all()
    assert (cube.followed[..., 0] == cube.assigned).all()
    assert (cube.active <= cube.returned).all()
    assert (cube.returned <= cube.followed).all()
    assert (cube.value_accepted <= cube.value).all()
    assert (cube.value_capped <= cube.value).all()
    assert (cube.full("promoted_3") <= cube.full("promoted_6")).all()
    assert (cube.full("promoted_6") <= cube.active).all()
    assert ((cube.ended + cube.stayed).sum(axis=-1) <= cube.accepted).all()
    assert cube.attempts[0].sum() == cube.accepted[0].sum() == cube.value_accepted[0].sum() == 0
    assert (cube.attempts[1:] == cube.assigned[1:]).all()
    assert all(part.dtype == np.int64 for part in cube.sums.values())


def test_the_strata_are_reasons_or_reasons_and_tiers():
    both, reasons = (draw_cube(World(), 300, rng=np.random.default_rng(1), factors=factors)
                     for factors in (("reason", "tier"), ("reason",)))  # fmt: skip
    assert both.strata == tuple(sorted(f"{reason} / {tier}" for reason in REASONS for tier in TIERS))
    assert reasons.strata == tuple(sorted(REASONS))
    assert (both.value.reshape(5, 4, 3, 200, 24).sum(axis=2) == reasons.value).all()


def test_every_stratum_is_shared_out_to_one_customer():
    assigned = draw_cube(World(), 1_000, rng=np.random.default_rng(2)).assigned.sum(axis=2)
    assert (assigned.max(axis=0) - assigned.min(axis=0) <= 1).all()


def test_the_same_generator_gives_the_same_cube_and_fewer_months_the_beginning():
    first, again, short = (draw_cube(World(), 500, rng=np.random.default_rng(3), months=m) for m in (24, 24, 12))
    assert all((sums == again.sums[name]).all() for name, sums in first.sums.items())
    for part in ("followed", "active", "returned", "value"):
        assert (getattr(first, part)[..., :12] == getattr(short, part)).all()


def test_an_experiment_of_nobody_is_refused(names):
    with pytest.raises(WinbackError, match=names("customers_per_arm is 0", "at least 1")):
        draw_cube(World(), 0, rng=np.random.default_rng(1))


# The worlds of the study: each is what its name says.
def test_the_truth_by_month_adds_up():
    for variant in WORLDS.values():
        for arm in truth(variant).values():
            assert sum(arm.active_by_month) == pytest.approx(arm.months, rel=1e-12)
            assert sum(arm.value_by_month) == pytest.approx(arm.value, rel=1e-12)
            assert sum(arm.cost_by_month) == pytest.approx(arm.cost, rel=1e-12)
            assert arm.value_accepted <= arm.value + 1e-9


def test_three_in_ten_return_without_an_offer():
    assert truth(WORLDS["many_spontaneous"])["holdout"].returned == pytest.approx(0.30, abs=0.0005)


def test_the_lives_of_two_offers_cross():
    true = truth(WORLDS["crossing"])
    lives = [np.array(true[arm].active_by_month) / true[arm].returned for arm in ("upgrade", "discount")]
    assert (lives[0] > lives[1])[3:9].all()
    assert (lives[0] < lives[1])[18:].all()


def test_the_cured_never_leave():
    kept = truth(WORLDS["cure"], horizon_months=30)["discount"].active_by_month
    assert kept[-1] > truth(horizon_months=30)["discount"].active_by_month[-1]
    assert kept[-1] > 0.3 * truth(WORLDS["cure"])["discount"].accepted


def test_without_a_cliff_everybody_stays_longer_and_nothing_else_changes():
    flat, steep = truth(WORLDS["no_cliff"]), truth()
    assert flat["holdout"] == steep["holdout"]
    assert all(flat[arm].months > steep[arm].months and flat[arm].returned == steep[arm].returned for arm in ARMS[1:])


def test_a_wrong_reason_harms_only_the_offer_that_follows_it():
    wrong, right = truth(WORLDS["mislabelled"]), truth()
    for arm in ARMS[:4]:
        assert wrong[arm].value == pytest.approx(right[arm].value, rel=1e-12)
    assert wrong["tailored"].value < right["tailored"].value


def test_where_nobody_accepts_an_offer_costs_its_call():
    for arm, true in truth(WORLDS["zero_acceptances"]).items():
        assert (true.accepted, true.value_accepted) == (0, 0)
        assert true.cost == (0 if arm == "holdout" else 5)


def test_equal_offers_are_equal():
    true = truth(WORLDS["equal"])
    assert true["discount"] == true["upgrade"] == true["bundle"] == true["tailored"] == truth()["discount"]


def test_arms_watched_for_different_times_have_the_same_truth():
    assert truth(WORLDS["follow_up_by_arm"]) == truth()
    followed = draws("follow_up_by_arm", size=2_000, times=1)[0].followed[..., -1].sum(axis=(1, 2))
    assert followed[1] > 1.3 * followed[0] > 1.3 * followed[3]


def test_money_is_whole_cents_and_costs_follow_the_recorded_reason(telecom_sheet):
    cube = draws("mislabelled", size=20_000, times=1, factors=("reason",))[0]
    factors = money.discount_factors(24, rate=0.10)
    cost = money.cost_by_month(cube, money.ledger_of(cube, telecom_sheet), factors=factors)[0].sum(axis=-1) / 100
    assert cost[ARMS.index("tailored")] == pytest.approx(truth(WORLDS["mislabelled"])["tailored"].cost, rel=0.02)
