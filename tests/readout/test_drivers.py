"""Who returns, stays and pays: the models recover what the simulator put in."""

import math

import pytest

from experiments.data.tables import connect
from experiments.metrics.clock import put_on_clock
from experiments.readout.drivers import Returners, find_drivers
from experiments.sheet.sheet import changed


@pytest.fixture(scope="session")
def returners(telecom_sheet, telecom):
    return find_drivers(telecom_sheet, telecom)


@pytest.fixture(scope="session")
def drivers(returners):
    return {(driver.question, driver.factor, driver.level): driver for driver in returners.drivers}


def within(driver, truth, *, errors=4.5):
    """The interval is 1.96 standard errors wide on each side; ratios are judged on the log scale."""
    effect = driver.effect
    if effect.unit == "share":
        return abs(effect.value - truth) < errors * (effect.high - effect.low) / 3.92
    return abs(math.log(effect.value / truth)) < errors * math.log(effect.high / effect.low) / 3.92


def test_who_was_recommended_returns_more_and_who_has_an_open_complaint_less(drivers):
    assert drivers["returned", "referred", "yes"].effect.low > 0
    assert drivers["returned", "complaint", "unresolved"].effect.high < 0


def test_who_left_for_both_reasons_leaves_again_sooner(drivers):
    # Churn by reason relative to price: service 1.10 / .85, other 1 / .85, both 1.45 / .85.
    for reason, churn in (("service", 1.10), ("other", 1.0), ("both", 1.45)):
        driver = drivers["leaving", "reason", reason]
        assert driver.reference == "price"
        assert within(driver, churn / 0.85)


def test_complaint_and_referral_do_not_change_how_long_they_stay(drivers):
    # Among the returned they do a little, through goodwill that nobody sees: far less than a reason does.
    for factor, level in (("complaint", "resolved"), ("referred", "yes")):
        assert abs(math.log(drivers["leaving", factor, level].effect.value)) < math.log(1.12)


def test_the_value_of_the_first_lifetime_foretells_that_of_the_second(drivers):
    middle, high = (drivers["value", "first_value", level] for level in ("middle", "high"))
    assert middle.reference == high.reference == "low"
    assert 1 < middle.effect.low < middle.effect.high < high.effect.low


def test_every_driver_has_an_interval_around_its_value(drivers):
    assert drivers
    for driver in drivers.values():
        assert driver.effect.low < driver.effect.value < driver.effect.high
        assert driver.level != driver.reference


def test_results_without_dates_have_no_drivers(donor_sheet):
    assert find_drivers(donor_sheet) == Returners(drivers=(), second_to_first=())


def test_customers_without_a_table_are_told_apart_by_strata_and_purchases_alone(telecom_sheet, telecom):
    tables = {name: source for name, source in telecom_sheet.model_dump()["tables"].items() if name != "customers"}
    factors = {driver.factor for driver in find_drivers(changed(telecom_sheet, {"tables": tables}), telecom).drivers}
    assert {"arm", "reason", "tier"} <= factors
    assert not {"complaint", "referred"} & factors


def test_a_month_of_the_second_lifetime_brings_what_one_of_the_first_did(returners):
    # The simulated margin of a customer is the same in both lifetimes.
    ratios = dict(returners.second_to_first)
    assert set(ratios) == {"holdout", "discount", "upgrade", "bundle", "tailored"}
    for ratio in ratios.values():
        assert ratio.low < ratio.value < ratio.high
        assert abs(ratio.value - 1) < 4.5 * (ratio.high - ratio.low) / 3.92


# How many, counted one by one.
def test_n_is_customers_and_not_months(returners, drivers, telecom_sheet, telecom):
    with connect() as con:
        put_on_clock(con, telecom_sheet, telecom, months=24)
        watched, returned, leavable = con.execute(
            """SELECT count(*) FILTER (f.months >= 12), count(l.customer_id),
                      count(*) FILTER (l.last > l.first OR l.last + 1 < f.months)
               FROM followed AS f LEFT JOIN lives AS l USING (customer_id)"""
        ).fetchone()
        arms = dict(con.execute(
            """SELECT a.arm, count(DISTINCT l.customer_id)
               FROM assigned AS a JOIN lives AS l USING (customer_id) JOIN purchases AS p USING (customer_id)
               WHERE p.at < a.at AND p.amount > 0 GROUP BY a.arm"""
        ).fetchall())  # fmt: skip
    wanted = {"returned": watched, "leaving": leavable, "value": returned}
    assert leavable <= returned < 40_000
    assert {(question, driver.effect.n) for (question, _, _), driver in drivers.items()} == set(wanted.items())
    assert {arm: ratio.n for arm, ratio in returners.second_to_first} == arms


@pytest.mark.parametrize("setting", [{"horizon_months": 12}, {"window_months": 3}, {"level": 0.8}], ids=str)
def test_every_setting_reaches_the_drivers(returners, telecom_sheet, telecom, setting):
    found = find_drivers(telecom_sheet, telecom, **setting)
    assert found.drivers != returners.drivers
    assert found == find_drivers(changed(telecom_sheet, setting), telecom)
