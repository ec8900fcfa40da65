"""Guards: every one has a case that passes and, where its docstring says so, one that warns and one that stops."""

import math
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from cubes import folded, full_sums, with_sums
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from scipy import stats

from experiments.common.finding import Finding
from experiments.metrics.cube import make_cube
from experiments.readout.checks import CHECKS, independence_p, lead, skewness
from experiments.report.wording.checks import NAMES, WORDING, worded
from experiments.simulate.telecom import WORLDS, simulate

CUSTOMERS = 4_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder of simulated tests, one for each world asked for."""
    return tmp_path_factory.mktemp("worlds")


@pytest.fixture(scope="module")
def cube_of(folder, telecom_sheet):
    """Return a function that reads a simulated test; the same one only once."""
    known = {}

    def read(world="base", customers=CUSTOMERS):
        if (world, customers) not in known:
            place = folder / f"{world}-{customers}"
            simulate(place, customers=customers, seed=5, variant=WORLDS[world], history=False)
            known[world, customers] = make_cube(telecom_sheet, place)
        return known[world, customers]

    return read


def with_counts(cube, name, change):
    """Return the cube with one of its arrays changed by a function that gets a copy."""
    array = cube.full(name)
    change(array)
    return with_sums(cube, **{name: array})


def with_sheet(sheet, **changes):
    return sheet.model_copy(update=changes)


# Each case changes the sheet or the cube of a healthy test.
def too_many(cube):
    def add(assigned):
        assigned[1] += 1  # one customer more in every cell of an arm

    return with_counts(cube, "assigned", add)


def contacted(cube, customers):
    def call(attempts):
        attempts[0, 0, :customers] += 1

    return with_counts(cube, "attempts", call)


def dropped(cube, buckets, *, arms=slice(1, 2), month=23):
    def lose(followed):
        followed[arms, :, :buckets, month] = 0

    return with_counts(cube, "followed", lose)


def moved(cube):
    def move(assigned):
        here, there = assigned[1, 0].copy(), assigned[1, 4].copy()
        assigned[1, 0], assigned[1, 4] = here + there, 0

    return with_counts(cube, "assigned", move)


def smaller(cube):
    return with_sums(cube, assigned=np.minimum(cube.assigned, 1) * (np.arange(200) < 20))


def none_of(cube, name, arm=2):
    def clear(array):
        array[arm] = 0

    return with_counts(cube, name, clear)


def whale(cube):
    def enrich(value):
        value[1, 0, 7, 0] += value[1].sum() // 4

    return with_counts(cube, "value", enrich)


def generous(cube):
    def enrich(value):
        value[1] *= 20

    return with_counts(cube, "value", enrich)


def same(value):
    return value


def many_returned(cube):
    """All who were followed returned."""
    return with_sums(cube, returned=cube.followed)


def with_premise(key, state, case="", **facts):
    """Return the change that gives a cube what was found about its tables."""
    known = {"table": "purchases", "rows": 9, "matched": 5, "doubtful": 1, "strangers": 1, "theirs": "07", "ours": "7"}
    facts = (known if key == "match" else {}) | facts
    return lambda cube: replace(cube, premises=(Finding(key=key, state=state, case=case, facts=facts),))


CASES = {
    ("match", "pass"): (same, with_premise("match", "pass")),
    ("match", "warn"): (same, with_premise("match", "warn", "strangers")),
    ("match", "stop"): (same, with_premise("match", "stop", "doubtful")),
    ("repeats", "pass"): (same, same),
    ("repeats", "warn"): (same, with_premise("repeats", "warn", "some", n=44, money=2_276.0, currency="EUR")),
    ("sample_ratio", "pass"): (same, same),
    ("sample_ratio", "stop"): (same, too_many),
    ("read_date", "pass"): (same, same),
    ("read_date", "warn"): (lambda sheet: with_sheet(sheet, read_date=None), same),
    ("read_date", "stop"): (lambda sheet: with_sheet(sheet, read_date=date(2026, 12, 1)), same),
    ("holdout", "pass"): (same, same),
    ("holdout", "warn"): (lambda sheet: with_sheet(sheet, holdout=None), same),
    ("contamination", "pass"): (same, same),
    ("contamination", "warn"): (same, lambda cube: contacted(cube, 5)),
    ("contamination", "stop"): (same, lambda cube: contacted(cube, 20)),
    ("follow_up", "pass"): (same, same),
    ("follow_up", "warn"): (same, lambda cube: dropped(cube, 190, arms=slice(None))),
    ("even_follow_up", "pass"): (same, same),
    ("even_follow_up", "warn"): (same, lambda cube: dropped(cube, 55)),
    ("even_follow_up", "stop"): (same, lambda cube: dropped(cube, 100)),
    ("balance", "pass"): (same, same),
    ("balance", "warn"): (same, moved),
    ("small_arm", "pass"): (same, same),
    ("small_arm", "warn"): (same, smaller),
    ("acceptances", "pass"): (same, same),
    ("acceptances", "warn"): (same, lambda cube: replace(cube, contacts_known=False)),
    ("zero_events", "pass"): (same, same),
    ("zero_events", "warn"): (same, lambda cube: none_of(cube, "accepted")),
    ("enough_returned", "pass"): (same, many_returned),
    ("enough_returned", "warn"): (same, lambda cube: none_of(cube, "returned", arm=0)),
    ("power", "pass"): (same, generous),
    ("power", "warn"): (same, same),
    ("tail", "pass"): (same, same),
    ("tail", "warn"): (same, whale),
}


@pytest.mark.parametrize(("name", "state"), CASES)
def test_a_check_passes_warns_and_stops(cube_of, telecom_sheet, name, state):
    of_sheet, of_cube = CASES[name, state]
    found = CHECKS[name](of_sheet(telecom_sheet), of_cube(cube_of()))
    told = worded(found)
    assert (found.key, found.state) == (name, state), told.reason
    assert told.reason.endswith(".")
    assert bool(told.todo) == (state != "pass")
    adapter = TypeAdapter(Finding)
    assert adapter.validate_json(adapter.dump_json(found)) == found


@pytest.mark.parametrize(("last", "state"), [(date(2026, 4, 29), "warn"), (date(2026, 4, 30), "pass"), (None, "pass")])
def test_a_sheet_that_promises_more_days_than_the_purchases_reach_is_told(cube_of, telecom_sheet, last, state):
    """Registered and followed until 1 July 2026; two months without a purchase of anybody may still be chance."""
    found = CHECKS["read_date"](telecom_sheet, replace(cube_of(), last_purchase=last))
    assert found.state == state
    said = "The sheet says that the data reach to 2026-07-01, but nobody bought after 2026-04-29."
    told = worded(found)
    assert (told.reason == said and "Correct `followed_until:`" in told.todo) == (state == "warn")


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_says_in_its_docstring_when_it_warns_and_when_it_stops(name):
    told = CHECKS[name].__doc__.lower()
    assert ("warn" in told) == ((name, "warn") in CASES)
    assert ("stop" in told) == ((name, "stop") in CASES)
    assert (name, "pass") in CASES


def test_every_check_has_a_name_and_sentences_of_its_own():
    assert set(NAMES) == set(WORDING) == {*CHECKS, "as_planned"}
    assert len(set(NAMES.values())) == len(NAMES)


def test_what_an_earlier_version_wrote_of_a_check_stands_as_it_is():
    facts = {"said": "Die Gruppen sind ungleich.", "cure": "Nachsehen."}
    told = worded(Finding(key="sample_ratio", state="stop", facts=facts))
    assert (told.name, told.state, told.reason, told.todo) == ("Sample ratio", "stop", *facts.values())
    assert worded(Finding(key="One of my own", state="warn", facts=facts)).name == "One of my own"


def test_renaming_and_reordering_the_arms_changes_no_state(cube_of, telecom_sheet):
    cube = cube_of()
    back = folded(replace(cube, arms=cube.arms[::-1]), {name: full[::-1] for name, full in full_sums(cube).items()})
    for name, check in CHECKS.items():
        assert check(telecom_sheet, back).state == check(telecom_sheet, cube).state, name


# Checks without a holdout, without contacts, without dates.
def test_without_a_holdout_there_is_none_to_contaminate_and_nothing_to_decide(cube_of, telecom_sheet):
    sheet = with_sheet(telecom_sheet, holdout=None)
    assert CHECKS["contamination"](sheet, cube_of()).state == "pass"
    assert CHECKS["power"](sheet, cube_of()).state == "pass"
    assert "gross" in worded(CHECKS["holdout"](sheet, cube_of())).todo


def test_where_contacts_are_not_known_nobody_says_that_the_holdout_was_left_alone(cube_of, telecom_sheet):
    found = CHECKS["contamination"](telecom_sheet, replace(cube_of(), contacts_known=False))
    assert (found.state, "nobody knows" in worded(found).reason) == ("warn", True)


def test_where_contacts_are_not_known_those_count_who_returned(cube_of, telecom_sheet):
    cube = replace(none_of(cube_of(), "returned"), contacts_known=False)
    found = CHECKS["zero_events"](telecom_sheet, cube)
    assert worded(found).reason == f"Nobody returned after {cube.arms[2]}."


def test_a_test_without_dates_is_checked_too(by_hand):
    rows = [f"c{i},{('hold', 'A', 'B')[i % 3]}" for i in range(3_000)]
    outcomes = [f"c{i},{int(i % 7 == 0)},{i % 5}" for i in range(3_000)]
    arms = {"hold": {"share": 1}, "A": {"share": 1, "contact": 1}, "B": {"share": 1, "contact": 2}}
    sheet, folder = by_hand(
        assignments="\n".join(["customer_id,arm", *rows]),
        outcomes="\n".join(["customer_id,returned,value", *outcomes]),
        arms=arms,
    )
    cube = make_cube(sheet, folder)
    states = {name: check(sheet, cube).state for name, check in CHECKS.items()}
    assert "stop" not in states.values()
    assert (states["even_follow_up"], states["balance"], states["tail"]) == ("pass", "pass", "pass")


def test_one_contact_is_one_contact(cube_of, telecom_sheet):
    found = CHECKS["contamination"](telecom_sheet, contacted(cube_of(), 1))
    assert worded(found).reason.startswith("1 contact went")


# Simulated worlds.
def test_drop_out_that_depends_on_the_arm_is_found(cube_of, telecom_sheet):
    found = CHECKS["even_follow_up"](telecom_sheet, cube_of("follow_up_by_arm"))
    assert found.state == "stop"
    assert worded(found).reason.startswith("Follow-up differs between arms")


def test_whales_are_found_and_the_base_world_has_none(cube_of, telecom_sheet):
    states = {world: CHECKS["tail"](telecom_sheet, cube_of(world)).state for world in ("base", "heavy_tail")}
    assert states == {"base": "pass", "heavy_tail": "warn"}


def test_an_offer_that_nobody_accepts_is_found(cube_of, telecom_sheet):
    found = CHECKS["zero_events"](telecom_sheet, cube_of("zero_acceptances"))
    assert (found.state, "Nobody accepted" in worded(found).reason) == ("warn", True)


def test_power_is_told_on_the_declared_objective(cube_of, telecom_sheet):
    found = {
        objective: worded(CHECKS["power"](with_sheet(telecom_sheet, objective=objective), cube_of())).reason
        for objective in ("returned", "profit")
    }
    assert "in the extra share who returned" in found["returned"]
    assert "in net profit per customer" in found["profit"]


# Mathematics.
TABLES = st.lists(st.lists(st.integers(1, 400), min_size=3, max_size=3), min_size=2, max_size=5)


@given(TABLES)
def test_independence_is_the_chi_square_of_scipy(rows):
    table = np.array(rows)
    wanted = stats.chi2_contingency(table, correction=False).pvalue
    assert independence_p(table) == pytest.approx(wanted, rel=1e-7, abs=1e-300)
    assert independence_p(table.T) == pytest.approx(wanted, rel=1e-7, abs=1e-300)
    wider = np.hstack((table, np.zeros((len(rows), 1), int)))
    assert independence_p(wider) == pytest.approx(wanted, rel=1e-7, abs=1e-300)  # an empty stratum says nothing


def test_a_table_of_one_column_is_independent():
    assert independence_p(np.array([[3], [4]])) == 1
    assert independence_p(np.zeros((2, 2), int)) == 1


@given(st.lists(st.integers(0, 100), min_size=5, max_size=50).filter(lambda row: len(set(row)) > 1))
def test_skewness_is_that_of_scipy(row):
    values = np.array([row], dtype=float)
    wanted = stats.skew(values[0])
    assert skewness(values) == pytest.approx(wanted, abs=1e-9)
    assert skewness(1000 * values + 7) == pytest.approx(wanted, abs=1e-6)
    assert skewness(np.vstack((values, 5 * values, np.ones_like(values)))) == pytest.approx(wanted, abs=1e-9)


def test_nothing_has_no_skewness():
    assert skewness(np.zeros((2, 9))) == 0


def replicates(means, errors, *, buckets=4_000):
    noise = np.random.default_rng(1).standard_normal((buckets, len(means)))
    noise -= noise.mean(axis=0)
    noise = noise @ np.linalg.inv(np.linalg.cholesky(noise.T @ noise)).T  # orthonormal: exact errors, no covariance
    return np.vstack((means, means + noise * np.array(errors) * math.sqrt(buckets / (buckets - 1))))


def leading(means, errors, *, df=math.inf):
    return lead(replicates(means, errors), df=df, level=0.95, seed=0)


def test_the_detectable_difference_is_that_of_tea_tasting():
    # O10. Source: tea-tasting tests/metrics/test_mean.py: mean .47, variance .65566, 10,000 customers, power .8.
    error = math.sqrt(0.6556565656565659 / 5_000)
    found = leading([0.47, 0.50], [error, error])
    assert (found.best, found.second, found.difference) == (1, 0, pytest.approx(0.03))
    assert found.detectable == pytest.approx(0.04537464375458489, rel=1e-3)


def test_a_single_offer_is_compared_with_doing_nothing():
    found = leading([3.0], [1.0])
    assert (found.best, found.second, found.difference) == (0, None, 3)
    assert found.detectable == pytest.approx(1.959964 + 0.841621, rel=1e-4)


def test_a_difference_as_large_as_the_detectable_one_is_found_in_eighty_percent_of_tests():
    detectable = leading([0.0, 0.0, -50.0], [1.0, 1.0, 1.0]).detectable
    quantile = stats.studentized_range.ppf(0.95, 3, math.inf) / math.sqrt(2)
    found = np.random.default_rng(2).normal(detectable, math.sqrt(2), 20_000) / math.sqrt(2) > quantile
    assert found.mean() == pytest.approx(0.80, abs=0.015)


def test_more_offers_need_more_for_the_same_power():
    few = leading([0.0, 0.0], [1.0] * 2, df=199).detectable
    assert leading([0.0] * 5, [1.0] * 5, df=199).detectable > 1.2 * few
