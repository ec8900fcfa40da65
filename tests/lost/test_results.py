"""How fast customers are lost, and the words for it: against hand calculations, Greenwood's formula and laws."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.duration.survfunc import SurvfuncRight

from experiments.data.tables import complete, connect
from experiments.lost.look import Look
from experiments.lost.results import ALARM_ABOVE, NORMAL_BELOW, PRIORITIES, PRIORITY, Estimate, Month, Pace, pace_of
from experiments.lost.summary import signs_of
from experiments.report.wording import lost as wording
from experiments.sheet.lost_rules import Audit, Cause, Limit, Lost
from experiments.sheet.sheet import Sheet
from experiments.stats.intervals import normal_quantile


def months_of(*counts):
    """Return months with (at risk, lost)."""
    return [Month(month=f"{2020 + k // 12}-{k % 12 + 1:02d}", at_risk=n, lost=d) for k, (n, d) in enumerate(counts)]


def leaving(start, losses):
    """Return a closed company: nobody joins, so many leave each month."""
    at_risk = start - np.concatenate([[0], np.cumsum(losses)[:-1]])
    return months_of(*zip(at_risk.tolist(), losses, strict=True))


def yearly(share):
    found = Estimate(value=share, low=None, high=None, level=0.95, n=100, unit="share")
    return Pace(months=12, monthly=found, yearly=found)


# The pace.
def test_three_percent_a_month_are_30_6_percent_a_year():
    # Section 6 of the design: 3 % a month = 30.6 % a year.
    pace = pace_of(months_of(*[(1000, 30)] * 12), level=0.95)
    assert pace.monthly.value == pytest.approx(0.03, rel=1e-12)
    assert pace.yearly.value == pytest.approx(0.306, abs=5e-4)
    assert pace.yearly.value == pytest.approx(1 - 0.97**12, rel=1e-12)
    assert (pace.months, pace.yearly.n, pace.yearly.unit) == (12, 1000, "share")


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("losses", [(3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8), (20, 1), (5, 0, 0, 0, 3)])
def test_the_interval_is_greenwoods_on_the_log_scale_as_statsmodels_has_it(losses, level):
    # statsmodels 0.15, SurvfuncRight on the customers one by one: S and Greenwood's standard error of S.
    start, left = 120, 120 - sum(losses)
    times = [month for month, lost in enumerate(losses, 1) for _ in range(lost)] + [len(losses) + 1] * left
    curve = SurvfuncRight(times, [1] * sum(losses) + [0] * left)
    stay, error = curve.surv_prob[-1], curve.surv_prob_se[-1]
    half = normal_quantile(level) * error / stay  # standard error of log S, by the delta method
    pace = pace_of(leaving(start, losses), level=level)
    for found, months in ((pace.monthly, 1), (pace.yearly, 12)):
        power = months / len(losses)
        wanted = (1 - stay**power, 1 - (stay * math.exp(half)) ** power, 1 - (stay * math.exp(-half)) ** power)
        assert (found.value, found.low, found.high) == pytest.approx(
            (wanted[0], max(0, wanted[1]), wanted[2]), rel=1e-9
        )
        assert found.level == level


@given(st.lists(st.tuples(st.integers(2, 10**6), st.floats(0.0, 0.99)), min_size=1, max_size=30))
def test_the_year_is_twelve_months_at_the_monthly_pace_and_all_bounds_are_shares(counts):
    pace = pace_of(months_of(*[(n, int(n * share)) for n, share in counts]), level=0.9)
    for bound in ("low", "value", "high"):
        month, year = getattr(pace.monthly, bound), getattr(pace.yearly, bound)
        assert 0 <= month <= year <= 1
        assert year == pytest.approx(1 - (1 - month) ** 12, abs=1e-9)
    assert pace.monthly.low <= pace.monthly.value <= pace.monthly.high
    assert 1 <= pace.months <= 12


def test_only_the_last_twelve_months_count():
    worse, quiet = [(1000, 500)] * 5, [(1000, 20)] * 12
    assert pace_of(months_of(*worse, *quiet), level=0.95) == pace_of(months_of(*quiet), level=0.95)


def test_months_without_customers_are_no_months():
    gap = pace_of(months_of((100, 3), (0, 0), (100, 3)), level=0.95)
    assert (gap.months, gap.monthly.value) == (2, pytest.approx(0.03))


def test_a_month_in_which_one_in_four_is_lost_has_that_ratio_and_an_empty_one_has_none():
    assert months_of((8, 2))[0].ratio == 0.25
    assert math.isnan(months_of((0, 0))[0].ratio)


def test_where_nobody_can_be_lost_there_is_no_pace():
    for months in ([], months_of((0, 0), (0, 0))):
        pace = pace_of(months, level=0.95)
        assert (pace.months, pace.monthly.value, pace.yearly.value, pace.yearly.n) == (0, None, None, 0)
        assert pace.light == "normal"


def test_where_everybody_is_lost_the_share_is_one_and_the_light_an_alarm():
    pace = pace_of(months_of((10, 5), (5, 5)), level=0.95)
    assert (pace.monthly.value, pace.yearly.value, pace.yearly.high, pace.yearly.low) == (1.0, 1.0, 1.0, None)
    assert pace.light == "alarm"


def test_where_nobody_is_lost_the_pace_is_zero_but_not_for_certain():
    # Nobody of 20 lost in a year: the share a year may well be 10 %, by Wilson as by the rule of three.
    pace = pace_of(months_of(*[(20, 0)] * 12), level=0.95)
    assert (pace.monthly.value, pace.yearly.value, pace.light) == (0.0, 0.0, "normal")
    assert pace.yearly.low in (None, 0.0)
    assert pace.yearly.high is None or 0.05 < pace.yearly.high < 0.3


def test_a_history_too_young_to_lose_anybody_is_left_out():
    young = pace_of(months_of((100, 0), (100, 0), (100, 3), (97, 3)), level=0.95)
    assert (young.months, young.monthly) == (2, pace_of(months_of((100, 3), (97, 3)), level=0.95).monthly)


def test_quiet_years_before_a_loss_are_no_young_history():
    # Two quiet years, then one of 20 is lost in the last month: 1 in 20 a year, not 46 %.
    pace = pace_of(months_of(*[(20, 0)] * 24, (20, 1)), level=0.95)
    assert pace.yearly.value == pytest.approx(0.05, abs=0.02)
    assert pace.light == "normal"


# The words.
@pytest.mark.parametrize(
    ("share", "light"),
    [
        (0.0, "normal"),
        (0.10, "normal"),
        (0.1001, "act"),
        (0.20, "act"),
        (0.2001, "alarm"),
        (1.0, "alarm"),
        (None, "normal"),
    ],
)
def test_the_light_is_normal_to_ten_percent_a_year_and_an_alarm_above_twenty(share, light):
    assert (NORMAL_BELOW, ALARM_ABOVE) == (0.10, 0.20)
    assert yearly(share).light == light


def test_every_cell_of_the_matrix_has_a_class_and_less_important_or_regular_is_never_better():
    assert set(PRIORITY) == {(abc, xyz) for abc in "ABC" for xyz in "XYZ"}
    assert set(PRIORITY.values()) == set(PRIORITIES)
    rank = list(PRIORITIES)
    for (abc, xyz), name in PRIORITY.items():
        for worse in [(other, xyz) for other in "ABC" if other > abc] + [
            (abc, other) for other in "XYZ" if other > xyz
        ]:
            assert rank.index(PRIORITY[worse]) >= rank.index(name)


# What the sheet says.
@pytest.mark.parametrize(
    ("family", "controllable", "ours"),
    [("company", None, True), ("competitor", None, False), ("customer", None, False), ("company", False, False),
     ("competitor", True, True)],
)  # fmt: skip
def test_a_cause_is_ours_if_it_is_the_companys_unless_the_sheet_says_otherwise(family, controllable, ours):
    assert Cause(family=family, controllable=controllable).ours is ours


def test_the_default_limit_is_four_thirds_of_the_own_interval_and_90_days():
    rule = Lost(as_of="2024-01-31")
    assert rule.limit == Limit(silent_days=90, times=4 / 3)
    assert (rule.minimum_days, rule.minimum_purchases, rule.interval) == (30, 3, "mean")
    assert Lost(as_of="2024-01-31", silent_days=60).limit == Limit(silent_days=60)
    assert Lost(as_of="2024-01-31", times=2).limit == Limit(times=2)


def test_a_part_of_the_customers_has_its_own_settings_before_those_for_everybody():
    rule = Lost(
        as_of="2024-01-31", silent_days=90, times=2, by="line", each={"tv": {"silent_days": 30}, "net": {"times": 3}}
    )
    assert rule.limit_of("tv") == Limit(silent_days=30, times=2)
    assert rule.limit_of("net") == Limit(silent_days=90, times=3)


# The seven signs.
@pytest.fixture
def signs():
    """Return a function that gives the signs by key, from (refused_at, refusal) rows and the sheet's answers."""

    def look(*refusals, lost=10, without_reason=0, **answers):
        rule = Lost(as_of="2024-01-31", audit=Audit(**answers))
        sheet = Sheet(experiment="toy", lost=rule, tables={"purchases": {"file": "p.csv"}})
        with connect() as con:
            con.execute("CREATE TABLE purchases (customer_id VARCHAR)")
            con.execute("CREATE TABLE contacts (customer_id VARCHAR, refused_at DATE, refusal VARCHAR)")
            for row in refusals:
                con.execute("INSERT INTO contacts VALUES ('c', ?, ?)", row)
            complete(con, "contacts", like="purchases", known=True)
            seen = Look(con=con, sheet=sheet, rule=rule, folder=Path())
            return {sign.key: sign for sign in signs_of(seen, lost=lost, known=lost - without_reason)}

    return look


@pytest.mark.parametrize(("without", "state"), [(0, "pass"), (5, "pass"), (6, "stop"), (10, "stop")])
def test_reasons_are_reported_where_half_of_the_lost_have_one(signs, without, state):
    found = signs(without_reason=without)["reasons"]
    name, reason, todo = wording.sign(found)
    assert (name, found.state) == ("Reasons are reported", state)
    assert f"{100 - 10 * without} %" in reason
    assert bool(todo) == (state == "stop")


@pytest.mark.parametrize(
    ("refusals", "state", "told"),
    [
        ((), "stop", "No refusal"),
        ((("2024-01-01", "price"), ("2024-01-02", None)), "pass", "1 of 2"),
        ((("2024-01-01", "price"), ("2024-01-02", None), ("2024-01-02", None)), "stop", "1 of 3"),
        (((None, None),), "stop", "No refusal"),
    ],
)
def test_refusals_are_recorded_where_half_say_why(signs, refusals, state, told):
    found = signs(*refusals)["refusals"]
    assert (found.state, told in wording.sign(found)[1]) == (state, True)


@pytest.mark.parametrize(
    ("setting", "name"),
    [("script", "Callers have a script"), ("head_knows", "The head of sales knows the reasons"),
     ("regular", "Lost customers are looked at regularly"), ("technology", "There is a way to win customers back")],
)  # fmt: skip
def test_what_no_table_tells_is_asked_in_the_sheet(signs, setting, name):
    yes, no, nobody = signs(**{setting: True})[setting], signs(**{setting: False})[setting], signs()[setting]
    assert (yes.state, no.state, nobody.state) == ("pass", "stop", "warn")
    assert wording.sign(yes) == (name, "So the sheet says.", "")
    assert wording.sign(no)[2]
    assert f"{setting}: yes or no" in wording.sign(nobody)[2]
    assert len(signs()) == 7
