"""The readout: against known truth, against the reference answers of a real test, and against laws."""

import json
import math
import re
from collections import Counter
from dataclasses import fields, replace
from html import unescape
from pathlib import Path

import duckdb
import numpy as np
import pytest
from cubes import folded, full_sums, with_sums
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from telecom_truth import truth

from experiments.common.errors import WinbackError
from experiments.common.estimate import Estimate
from experiments.common.language import LANGUAGES, speaking
from experiments.metrics.cube import make_cube
from experiments.metrics.estimates import METRICS
from experiments.readout.drivers import find_drivers
from experiments.readout.readout import Readout, changed, read_cube, read_out
from experiments.readout.verdict import rank
from experiments.report import readout as report
from experiments.report.wording.accounts import account as said_of
from experiments.report.wording.checks import worded
from experiments.report.wording.verdict import headline, worded_verdict
from experiments.runner.documents import find_notebook
from experiments.runner.parameters import parameters_of
from experiments.simulate.telecom import WORLDS, simulate
from experiments.stats.intervals import normal_quantile, t_quantile

OLD = Path(__file__).parent / "format-1.json"
MONEY = {name for name, metric in METRICS.items() if metric.unit == "money"}
MONEY_SUMS = ("value", "value_capped", "value_accepted", "cost", "before")  # arrays of the cube that hold money


def true_values(true, arm):
    """Return the truth of every metric of an arm; no ROI where nothing is spent."""
    offer, holdout = true[arm], true["holdout"]
    values = {name: getattr(offer, name) for name in ("accepted", "returned", "months", "value", "cost")}
    gains = {"lift": "returned", "months_gained": "months", "value_gained": "value", "cost_added": "cost"}
    values |= {gain: values[name] - getattr(holdout, name) for gain, name in gains.items()}
    values["net"] = values["net_adjusted"] = values["value_gained"] - values["cost_added"]
    if values["cost_added"]:
        values["roi"] = values["net"] / values["cost_added"]
        values["cost_per_return"] = values["cost_added"] / values["lift"] if values["lift"] > 1e-9 else math.inf
        values["incremental"] = 1 - holdout.returned / offer.returned
    return values


def errors_away(readout, true):
    """Return (estimate - truth) / standard error for every (arm, metric) that has an interval."""
    away = {}
    for arm in readout.arms:
        for metric, value in true_values(true, arm.name).items():
            found = arm.estimates.get(metric)
            if (
                math.isfinite(value)
                and found is not None
                and found.value is not None
                and found.low is not None
                and found.high > found.low
            ):
                wide = metric in ("accepted", "returned", "lift")
                quantile = normal_quantile(found.level) if wide else t_quantile(found.level, df=199)
                away[arm.name, metric] = (found.value - value) / ((found.high - found.low) / 2 / quantile)
    return away


def with_arms(sheet, **settings):
    """Return the sheet with settings of every arm (or of one: a dict by arm) replaced."""
    arms = {name: offer.model_dump() for name, offer in sheet.arms.items()}
    for setting, value in settings.items():
        for name, offer in arms.items():
            if not isinstance(value, dict) or name in value:
                offer[setting] = value[name] if isinstance(value, dict) else value
    return changed(sheet, {"arms": arms})


@pytest.fixture(scope="module")
def telecom_cube(telecom, telecom_sheet):
    return make_cube(telecom_sheet, telecom)


@pytest.fixture(scope="module")
def telecom_readout(telecom_cube, telecom_sheet):
    return read_cube(telecom_cube, telecom_sheet)


# Recovery: the truth of section 9.
def test_every_estimate_of_the_telecom_is_within_four_standard_errors_of_the_truth(telecom_readout):
    away = errors_away(telecom_readout, truth())
    assert len(away) >= 4 * 11 + 4  # the holdout has neither cost nor gains
    assert {key: z for key, z in away.items() if abs(z) > 4} == {}
    # Not one of them may be good only because its interval is too wide.
    assert 0.5 < np.std(list(away.values())) < 1.5


@pytest.mark.parametrize("name", ["no_effect", "no_spontaneous", "heavy_tail"])
def test_every_estimate_of_the_other_worlds_is_within_four_standard_errors_too(name, telecom_sheet, tmp_path):
    simulate(tmp_path, customers=40_000, seed=7, variant=WORLDS[name], history=False)
    readout = read_out(telecom_sheet, tmp_path)
    away = errors_away(readout, truth(WORLDS[name]))
    assert {key: z for key, z in away.items() if abs(z) > 4} == {}
    assert all(arm.estimates["cost"].value == 0 for arm in readout.arms if arm.holdout)


@pytest.mark.parametrize("horizon", [1, 6, 12])
def test_a_shorter_horizon_and_another_discount_rate_recover_their_own_truth(telecom_cube, telecom_sheet, horizon):
    settings = {"horizon_months": horizon, "window_months": horizon, "discount_rate": 0.3}
    away = errors_away(read_cube(telecom_cube, changed(telecom_sheet, settings)), truth(**settings))
    assert {key: z for key, z in away.items() if abs(z) > 4} == {}


def test_the_share_active_at_the_horizon_is_that_of_the_last_month(telecom_readout):
    last, before = truth(horizon_months=24), truth(horizon_months=23)
    for arm in telecom_readout.arms:
        found = arm.estimates["active"]
        assert found.value == arm.active[-1]
        error = (found.high - found.low) / 2 / t_quantile(found.level, df=199)
        assert abs(found.value - (last[arm.name].months - before[arm.name].months)) < 4 * error


# By hand: 5 to contact at t = 0, over what a customer assigned gains less the promotion's cost in the first month,
# 24.713 - 6.274, 22.789 - 10.003, 25.973 - 18.020 and 26.285 - 8.863, as `truth` has them.
BREAK_EVEN = {"discount": 0.2712, "upgrade": 0.3911, "bundle": 0.6287, "tailored": 0.2870}


def test_an_offer_breaks_even_when_the_truth_does(telecom_readout):
    true = truth(horizon_months=1)
    for arm in telecom_readout.offers:
        gained, promotion = true[arm.name].value - true["holdout"].value, true[arm.name].cost - 5
        assert BREAK_EVEN[arm.name] == pytest.approx(5 / (gained - promotion), abs=1e-4)
        found = arm.estimates["break_even"]
        error = (found.high - found.low) / 2 / t_quantile(found.level, df=199)
        assert abs(found.value - BREAK_EVEN[arm.name]) < 4 * error
    assert [round(arm.estimates["break_even"].value, 2) for arm in telecom_readout.offers] == [0.26, 0.38, 0.56, 0.26]


def test_without_an_effect_nothing_is_won_and_no_offer_is_chosen(telecom_sheet, tmp_path):
    simulate(tmp_path, customers=40_000, seed=7, variant=WORLDS["no_effect"], history=False)
    readout = read_out(telecom_sheet, tmp_path)
    assert readout.verdict.tone != "go"
    assert not any(arm.simultaneous["lift"].low > 0 for arm in readout.offers)


def test_without_spontaneous_returns_gross_and_incremental_are_the_same(telecom_sheet, tmp_path):
    simulate(tmp_path, customers=5_000, seed=7, variant=WORLDS["no_spontaneous"], history=False)
    for arm in read_out(telecom_sheet, tmp_path).offers:
        assert arm.estimates["gross_roi"].value == pytest.approx(arm.estimates["roi"].value, rel=1e-12)


def test_gross_roi_flatters_where_customers_come_back_alone(telecom_sheet, tmp_path):
    simulate(tmp_path, customers=40_000, seed=7, variant=WORLDS["no_effect"], history=False)
    for arm in read_out(telecom_sheet, tmp_path).offers:
        assert arm.estimates["gross_roi"].value > arm.estimates["roi"].value


def test_informative_follow_up_biases_the_months_which_is_a_known_failure(telecom_sheet, tmp_path):
    # Loyal customers were assigned earlier, so the late months show only the loyal. No method that takes the
    # follow-up as it comes can know; a readout whose cohorts differ so much must not be believed.
    simulate(tmp_path, customers=40_000, seed=7, variant=WORLDS["informative_follow_up"], history=False)
    away = errors_away(read_out(telecom_sheet, tmp_path), truth(WORLDS["informative_follow_up"]))
    months = [z for (arm, metric), z in away.items() if metric == "months" and arm != "holdout"]
    assert min(months) > 2
    assert max(months) > 4


def test_naive_months_so_far_miss_the_truth_where_ours_do_not(telecom_cube, telecom_readout):
    true = truth()
    for a, arm in enumerate(telecom_readout.arms):
        found = arm.estimates["months"]
        error = (found.high - found.low) / 2 / t_quantile(found.level, df=199)
        naive = telecom_cube.active[a, ..., :24].sum() / telecom_cube.assigned[a].sum()
        assert abs(found.value - true[arm.name].months) < 4 * error
        assert true[arm.name].months - naive > 4 * error


@pytest.mark.slow
def test_intervals_cover_the_truth_as_often_as_they_say(telecom_sheet, tmp_path):
    """100 tests of 5,000 customers, 1,000 an arm; 400 intervals a metric, of which an arm's are independent."""
    true, hits, joint = truth(), Counter(), Counter()
    for seed in range(100, 200):
        simulate(tmp_path, customers=5_000, seed=seed, history=False)
        readout = read_out(telecom_sheet, tmp_path)
        inside = Counter()
        for arm in readout.offers:
            wanted = true_values(true, arm.name)
            for metric in ("returned", "lift", "months", "months_gained", "cost", "net", "roi"):
                hits[metric] += arm.estimates[metric].low <= wanted[metric] <= arm.estimates[metric].high
            for metric, found in arm.simultaneous.items():
                inside[metric] += metric not in wanted or found.low <= wanted[metric] <= found.high
        joint.update(metric for metric, number in inside.items() if number == len(readout.offers))
    assert {metric: n / 400 for metric, n in hits.items() if not 0.92 <= n / 400 <= 0.98} == {}
    assert {metric: n / 100 for metric, n in joint.items() if n / 100 < 0.88} == {}  # 4 standard errors below .95


@pytest.mark.slow
def test_money_of_few_returned_customers_is_covered_too_rarely_which_is_a_known_failure(telecom_sheet, tmp_path):
    # 1 customer in 100 is worth 50 times the others, and a holdout of 4,000 has some 170 returned.
    wanted, hits = truth()["holdout"].value, 0
    for seed in range(100, 160):
        simulate(tmp_path, customers=20_000, seed=seed, variant=WORLDS["heavy_tail"], history=False)
        found = read_out(telecom_sheet, tmp_path).arm("holdout").estimates["value"]
        hits += found.low <= wanted <= found.high
    assert hits / 60 < 0.85


# What the demo must say.
def test_the_demo_does_not_separate_discount_from_upgrade_on_net(telecom_readout):
    assert {"discount", "upgrade"} <= set(telecom_readout.ranking.tied)
    assert telecom_readout.verdict.tone == "wait"
    assert telecom_readout.verdict.kind == "not_separable"
    assert telecom_readout.ranking.more > 1


def test_the_demo_says_that_the_most_accepted_offer_is_not_the_most_profitable_one(telecom_readout):
    uniform = [telecom_readout.arm(name).estimates for name in ("discount", "upgrade", "bundle")]
    most = [max(range(3), key=lambda i, m=metric: uniform[i][m].value) for metric in ("accepted", "net")]
    assert most[0] != most[1]
    (remark,) = [remark for remark in telecom_readout.verdict.remarks if remark.key == "faces"]
    assert remark.facts["liked"] != remark.facts["earns"]
    detail = worded_verdict(telecom_readout).detail
    assert "most accepted" in detail
    assert "not the most profitable" in detail


def test_every_estimate_carries_its_interval_level_number_and_unit(telecom_readout):
    for arm in telecom_readout.arms:
        assert set(arm.estimates) <= set(METRICS)
        for metric, found in arm.estimates.items():
            assert (found.unit, found.level, found.n > 0) == (METRICS[metric].unit, 0.95, True)
            assert found.low <= found.value <= found.high


def test_an_interval_for_all_offers_at_once_is_wider_than_one_alone(telecom_readout):
    for arm in telecom_readout.offers:
        for metric, wide in arm.simultaneous.items():
            one = arm.estimates[metric]
            assert (wide.value, wide.unit) == (one.value, one.unit)
            assert wide.low < one.low
            assert one.high < wide.high


def test_the_active_share_adds_up_to_the_months_retained(telecom_readout):
    for arm in telecom_readout.arms:
        assert len(arm.active) == telecom_readout.horizon_months
        assert sum(arm.active) == pytest.approx(arm.estimates["months"].value, rel=1e-12)


@pytest.mark.parametrize(("objective", "metric"), [("roi", "roi"), ("returned", "lift"), ("months", "months_gained")])
def test_offers_are_ranked_on_the_declared_objective(telecom_cube, telecom_sheet, objective, metric):
    readout = read_cube(telecom_cube, changed(telecom_sheet, {"objective": objective}))
    values = {arm.name: arm.estimates[metric].value for arm in readout.offers}
    assert list(readout.ranking.offers) == sorted(values, key=values.get, reverse=True)
    assert readout.ranking.values == pytest.approx([values[name] for name in readout.ranking.offers])


# The donor test, against reference answers that were computed with statsmodels, scipy and pandas.
MATCHES = ("match_1to1", "match_2to1", "match_3to1")


@pytest.fixture(scope="module")
def donor_cube(shared_data, donor_sheet):
    return make_cube(donor_sheet, Path(__file__).parents[2] / "data/donors")


@pytest.fixture(scope="module")
def donors(donor_cube, donor_sheet):
    return read_cube(donor_cube, donor_sheet)


def test_the_rates_of_the_donor_test_are_the_reference(donors, reference):
    for arm in donors.arms:
        found, wanted = arm.estimates["returned"], reference["all"]["arms"][arm.name]["gave"]
        assert (found.value, found.low, found.high) == pytest.approx((wanted["rate"], *wanted["wilson95"]), rel=1e-9)
        assert (found.n, arm.assigned) == (wanted["n"], wanted["n"])


def test_the_lifts_of_the_donor_test_are_the_reference(donors, reference):
    for arm in donors.offers:
        found, wanted = arm.estimates["lift"], reference["all"]["vs_control"][arm.name]["gave"]
        assert (found.value, found.low, found.high) == pytest.approx((wanted["diff"], *wanted["newcombe95"]), rel=1e-9)


def test_any_match_of_the_donor_test_beats_the_control_as_in_the_reference(donors, reference):
    found, wanted = donors.any_offer, reference["all"]["any_match_vs_control"]["gave"]
    assert (found.value, found.low, found.high) == pytest.approx((wanted["diff"], *wanted["newcombe95"]), rel=1e-9)
    assert found.excludes_zero


def test_the_means_of_the_donor_test_are_the_reference(donors, reference):
    for arm in donors.arms:
        found, wanted = arm.estimates["value"], reference["all"]["arms"][arm.name]["amount_per_letter"]
        assert found.value == pytest.approx(wanted["mean"], rel=1e-9)
        # One mechanism for every interval: 200 buckets know a standard error to 5 %, with this tail to 15 %.
        assert found.high - found.low == pytest.approx(wanted["t95"][1] - wanted["t95"][0], rel=0.15)
    for arm in donors.offers:
        found, wanted = arm.estimates["value_gained"], reference["all"]["vs_control"][arm.name]["amount"]
        assert found.value == pytest.approx(wanted["diff"], rel=1e-9)
        assert found.high - found.low == pytest.approx(wanted["welch95"][1] - wanted["welch95"][0], rel=0.15)


def test_the_roi_of_the_donor_test_is_the_reference_when_a_partner_pays_the_match(donors, reference):
    for arm in donors.offers:
        wanted = reference["all"]["vs_control"][arm.name]["incremental_roi_letter_only"]
        assert arm.estimates["roi"].value == pytest.approx(wanted, rel=1e-9)
        wanted = reference["all"]["arms"][arm.name]["gross_roi_letter_only"]
        assert arm.estimates["gross_roi"].value == pytest.approx(wanted, rel=1e-9)


def test_the_roi_of_the_donor_test_is_the_reference_when_the_company_pays_the_match(donor_cube, donor_sheet, reference):
    paying = with_arms(donor_sheet, value_share=dict(zip(MATCHES, (1, 2, 3), strict=True)))
    readout = read_cube(donor_cube, paying)
    arms = reference["all"]["arms"]
    control = arms["control"]["amount_per_letter"]["mean"]
    for times, name in enumerate(MATCHES, start=1):
        found, mean = readout.arm(name).estimates, arms[name]["amount_per_letter"]["mean"]
        assert found["gross_roi"].value == pytest.approx(arms[name]["roi_if_company_pays_match"], rel=1e-9)
        cost = 0.50 + times * mean  # the letter, and the match of what it brought
        assert found["cost_added"].value == pytest.approx(cost, rel=1e-9)
        assert found["net"].value == pytest.approx(mean - control - cost, rel=1e-9)
        assert found["roi"].value == pytest.approx((mean - control - cost) / cost, rel=1e-9)
        assert found["roi"].high < 0
    gross = [readout.arm(name).estimates["gross_roi"].value for name in MATCHES]
    assert gross == sorted(gross, reverse=True)  # the bigger offer buys nothing


def test_no_match_of_the_donor_test_is_the_winner_on_response(donors):
    assert sorted(donors.ranking.tied) == sorted(MATCHES)
    assert donors.verdict.tone == "wait"
    assert "not separable" in headline(donors)
    assert all(label in headline(donors) for label in ("Match 1:1", "Match 2:1", "Match 3:1"))


def test_the_sample_ratio_of_the_donor_test_is_fine_against_the_planned_shares(donors):
    ratio = next(check for check in donors.checks if check.key == "sample_ratio")
    assert ratio.state == "pass"


def test_the_donor_test_read_against_equal_shares_stops_with_a_clear_message(donor_cube, donor_sheet):
    readout = read_cube(donor_cube, with_arms(donor_sheet, share=1.0))
    assert readout.verdict.tone == "stop"
    told = worded_verdict(readout)
    assert "planned shares" in told.sentence
    assert "16,687" in told.sentence
    assert told.detail


def test_the_two_missing_gifts_are_filled_and_told(donors):
    assert any("2 empty value filled with 29.38" in said_of(account) for account in donors.accounts)


def test_results_without_dates_have_no_lifetime_and_say_why(donors):
    assert not donors.dated
    assert not any({"months", "months_gained"} & set(arm.estimates) or arm.active for arm in donors.arms)
    assert any("no dates" in worded(check).reason for check in donors.checks)


def test_the_dormant_donors_are_the_reference_and_no_single_match_survives(
    shared_data, donor_sheet, reference, tmp_path
):
    rows = f"SELECT * FROM read_csv('{shared_data}/donor_match_offers.csv.gz', all_varchar = true) WHERE dormant = '1'"
    duckdb.sql(rows).write_csv(str(tmp_path / "dormant.csv"))
    tables = {name: source.model_dump() | {"file": "dormant.csv"} for name, source in donor_sheet.tables.items()}
    readout = read_out(changed(donor_sheet, {"tables": tables}), tmp_path)
    wanted = reference["dormant_flag"]
    for arm in readout.arms:
        found = arm.estimates["returned"]
        gave = wanted["arms"][arm.name]["gave"]
        assert (found.value, found.low, found.high) == pytest.approx((gave["rate"], *gave["wilson95"]), rel=1e-9)
    for arm in readout.offers:
        found, gave = arm.estimates["lift"], wanted["vs_control"][arm.name]["gave"]
        assert (found.value, found.low, found.high) == pytest.approx((gave["diff"], *gave["newcombe95"]), rel=1e-9)
        assert not arm.simultaneous["lift"].excludes_zero
    assert readout.any_offer.excludes_zero
    assert readout.verdict.tone == "wait"


def test_no_customer_stands_in_a_readout(donors, tmp_path):
    donors.write(tmp_path / "readout.json")
    text = (tmp_path / "readout.json").read_text()
    assert "D0" not in text
    assert "customer_id" not in text


# The same bits, always.
def test_a_readout_is_the_same_to_the_last_byte_however_it_is_made(telecom, telecom_sheet, tmp_path):
    shuffled = tmp_path / "shuffled"
    shuffled.mkdir()
    with duckdb.connect() as con:
        for table in ("assignments", "purchases", "contacts"):
            con.execute(f"COPY (FROM '{telecom}/{table}.parquet' ORDER BY random()) TO '{shuffled}/{table}.parquet'")
    runs = [(telecom, 1), (telecom, 2), (telecom, 2), (shuffled, 2)]
    for number, (folder, threads) in enumerate(runs):
        readout = read_cube(make_cube(telecom_sheet, folder, threads=threads), telecom_sheet)
        readout.write(tmp_path / f"{number}.json")
    assert len({(tmp_path / f"{number}.json").read_bytes() for number in range(len(runs))}) == 1


def test_a_readout_read_again_is_equal_to_the_last_digit(telecom_readout, donors, tmp_path):
    for number, readout in enumerate((telecom_readout, donors)):
        readout.write(tmp_path / f"{number}.json")
        again = Readout.load(tmp_path / f"{number}.json")
        assert again == readout
        again.write(tmp_path / "again.json")
        assert (tmp_path / "again.json").read_bytes() == (tmp_path / f"{number}.json").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "0.json",
        "1.json",
        "again.json",
    ]  # nothing half-written


@given(
    numbers=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3), n=st.integers(0, 10**12)
)
def test_every_number_survives_the_file(telecom_readout, tmp_path_factory, numbers, n):
    value, low, high = numbers
    found = Estimate(value=value, low=low, high=high, level=0.95, n=n, unit="money")
    path = tmp_path_factory.getbasetemp() / "number.json"
    replace(telecom_readout, any_offer=found).write(path)
    again = Readout.load(path).any_offer
    assert again == found
    assert math.copysign(1, again.value) == math.copysign(1, value)


def test_a_file_that_is_no_readout_is_refused_with_the_cure(tmp_path, names):
    with pytest.raises(WinbackError, match=names("none.json", "winback readout")):
        Readout.load(tmp_path / "none.json")
    for text in ("", "{}", "[1]", '{"experiment": "toy"}', "\x00"):
        (tmp_path / "other.json").write_text(text)
        with pytest.raises(WinbackError, match=names("other.json", "winback readout")):
            Readout.load(tmp_path / "other.json")


def test_a_readout_that_cannot_be_written_leaves_the_old_one(telecom_readout, tmp_path, monkeypatch):
    path = tmp_path / "readout.json"
    telecom_readout.write(path)
    before = path.read_bytes()
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        replace(telecom_readout, question="Another?").write(path)
    assert path.read_bytes() == before


# Languages, earlier versions, settings.
@pytest.fixture(scope="module")
def registered(small_telecom, telecom_sheet):
    """Return a function that reads the test with other settings; the same ones only once."""
    known = {}

    def read(**settings):
        key = json.dumps(settings)
        if key not in known:
            known[key] = read_out(telecom_sheet, small_telecom, **settings)
        return known[key]

    return read


@pytest.fixture
def unpainted(monkeypatch):
    """Draw pictures, but do not paint them, which takes long: their words stand in the page."""
    monkeypatch.setattr("experiments.report.html._svg", lambda _: ("data:,", 1, 1))


def whole_page(readout, **language):
    parts = (report.question, report.verdict, report.picture, report.offers, report.faces, report.separable,
             report.segments, report.lifetime, report.price_of_a_return, report.drivers, report.checks,
             report.method)  # fmt: skip
    return "".join(str(part(readout, **language)) for part in parts)


def test_a_readout_is_the_same_bytes_whatever_language_is_spoken(telecom_cube, telecom_sheet, tmp_path):
    """Early, with a check that stops, read otherwise than registered, and as it should be."""
    sheets = [telecom_sheet, changed(telecom_sheet, {"read_date": "2026-12-01"}),
              changed(telecom_sheet, {"horizon_months": 12, "objective": "roi", "minimum_returned": 0.4})]  # fmt: skip
    for sheet in sheets:
        written = []
        for code in LANGUAGES:
            with speaking(code):
                read_cube(telecom_cube, sheet, planned=telecom_sheet).write(tmp_path / "readout.json")
            written.append((tmp_path / "readout.json").read_bytes())
        assert len(set(written)) == 1


def test_the_page_can_be_rendered_from_the_file_alone_in_each_language(registered, unpainted, tmp_path):
    readout = registered()
    readout.write(tmp_path / "readout.json")
    again = Readout.load(tmp_path / "readout.json")
    pages = [whole_page(again, language=code) for code in LANGUAGES]
    assert len(set(pages)) == len(LANGUAGES)
    assert pages[LANGUAGES.index("en")] == whole_page(readout)
    with speaking("fr"):
        assert pages[LANGUAGES.index("fr")] == whole_page(readout)


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_readout_of_an_earlier_version_is_read_and_its_sentences_stand_as_they_are(code, unpainted):
    """tests/readout/format-1.json: what 0.3 wrote of a test of 2,000 customers, cut down."""
    old = json.loads(OLD.read_text(encoding="utf-8"))
    readout = Readout.load(OLD)
    assert [check.key for check in readout.checks] == ["sample_ratio", "power", "as_planned"]
    assert [worded(check).reason for check in readout.checks] == [check["reason"] for check in old["checks"]]
    assert [worded(check).todo for check in readout.checks] == [check["todo"] for check in old["checks"]]
    told = worded_verdict(readout)
    assert {"word": told.word, "sentence": told.sentence, "detail": told.detail, "tone": "wait"} == old["verdict"]
    assert [list(vars_of(gap)) for gap in readout.ranking.behind] == old["ranking"]["behind"]
    assert [said_of(account) for account in readout.accounts] == old["accounts"]
    assert readout.drivers is None
    page = unescape(whole_page(readout, language=code)) + str(report.provenance(readout, "sheet.yml", language=code))
    assert all(check["reason"] in page for check in old["checks"])
    assert old["verdict"]["sentence"] in page
    with speaking(code):
        assert (headline(readout) == old["verdict"]["word"]) == (code == "en")


def vars_of(gap):
    return gap.difference, gap.low, gap.high


def test_an_old_readout_written_again_is_one_of_this_version(tmp_path):
    readout = Readout.load(OLD)
    readout.write(tmp_path / "readout.json")
    assert json.loads((tmp_path / "readout.json").read_text(encoding="utf-8"))["format"] == 2
    assert Readout.load(tmp_path / "readout.json") == readout


SETTINGS = {  # of 3-readout: another value, and what of the readout must then differ
    "objective": ("roi", {"objective", "ranking"}),
    "horizon_months": (12, {"horizon_months", "arms", "ranking", "comparison", "lives", "targeting", "drivers"}),
    "window_months": (2, {"window_months", "arms", "any_offer", "comparison", "drivers"}),
    "discount_rate": (0.3, {"discount_rate", "arms", "ranking", "comparison", "lives", "targeting"}),
    "retained_value": (900.0, {"ranking"}),
    "minimum_returned": (0.99, {"ranking", "verdict"}),
    "tolerance": (1e6, {"ranking", "verdict"}),
    "segments": (["reason"], {"targeting"}),
    "budget": (1_000.0, {"targeting"}),
    "calls": (100, {"targeting"}),
    "winsorise": (False, {"arms"}),
    "adjust": (False, {"arms", "variance_saved"}),
    "level": (0.8, {"level", "arms", "any_offer", "ranking", "comparison", "lives", "targeting", "drivers"}),
}
OBJECTIVE_OF = {"retained_value": "profit_and_share", "minimum_returned": "roi"}  # settings of one objective
BESIDE = {"sheet", "language", "out"}


def test_every_parameter_of_the_notebook_reaches_the_readout_and_nothing_else_is_read():
    cells = json.loads(find_notebook("3-readout").read_text(encoding="utf-8"))["cells"]
    _, reading, *sections = ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    assert set(parameters_of(find_notebook("3-readout"))) == {*SETTINGS, *BESIDE}
    (call,) = re.findall(r"read_out\(\s*sheet,(.*?)\)", reading, re.DOTALL)
    assert re.findall(r"(\w+)=(\w+)", call) == [(name, name) for name in SETTINGS]
    shown = r"report\.\w+\(readout(, sheet)?, language=language\)"
    assert [cell for cell in sections[:-1] if not re.fullmatch(shown, cell)] == []
    assert sections[-1].startswith("readout.write(")


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_changes_every_part_of_the_readout_that_rests_on_it(registered, name):
    value, wanted = SETTINGS[name]
    base = {"objective": OBJECTIVE_OF[name]} if name in OBJECTIVE_OF else {}
    before, after = registered(**base), registered(**base, **{name: value})
    differs = {field.name for field in fields(Readout) if getattr(before, field.name) != getattr(after, field.name)}
    assert wanted - differs == set()


def test_the_drivers_count_as_many_months_as_the_rest_of_the_page(registered, small_telecom, telecom_sheet):
    """`-p horizon_months=12` once left them at 24."""
    shorter = changed(telecom_sheet, {"horizon_months": 12})
    assert registered(horizon_months=12).drivers == find_drivers(shorter, small_telecom)
    assert registered(horizon_months=12).drivers != find_drivers(telecom_sheet, small_telecom)


# Laws.
def assert_same(found, wanted, *, rel=1e-11):
    """Compare estimates by name; sums over arms or strata may be added in another order."""
    assert list(found) == list(wanted)
    for metric, one in wanted.items():
        numbers = [[getattr(each, name) for name in ("value", "low", "high")] for each in (found[metric], one)]
        assert numbers[0] == pytest.approx(numbers[1], rel=rel, abs=1e-9), metric


def times(cube, sheet, factor):
    """Return the same test with all money multiplied: (cube, sheet)."""
    richer = with_sums(cube, **{name: cube.full(name) * factor for name in MONEY_SUMS})
    arms = {}
    for name, offer in sheet.arms.items():
        arm = offer.model_dump()
        arm |= {key: arm[key] * factor for key in ("contact", "gift", "fixed")}
        arm["monthly"] = [term | {"cost": term["cost"] * factor} for term in arm["monthly"]]
        arms[name] = arm
    return richer, changed(sheet, {"arms": arms})


def test_doubling_money_doubles_every_amount_and_keeps_every_ratio_to_the_last_bit(telecom_cube, telecom_sheet):
    base, double = read_cube(telecom_cube, telecom_sheet), read_cube(*times(telecom_cube, telecom_sheet, 2))
    for one, two in zip(base.arms, double.arms, strict=True):
        for metric, found in one.estimates.items():
            factor = 2 if metric in MONEY else 1
            wanted = {name: factor * getattr(found, name) for name in ("value", "low", "high")}
            wanted["se"] = None if found.se is None else factor * found.se
            assert (metric, two.estimates[metric]) == (metric, replace(found, **wanted))
    assert double.ranking.tied == base.ranking.tied
    assert double.ranking.p_best == base.ranking.p_best


# N1 of the oracles.
def test_money_in_thousandths_scales_every_interval_by_exactly_a_thousand(telecom_cube, telecom_sheet):
    base, scaled = read_cube(telecom_cube, telecom_sheet), read_cube(*times(telecom_cube, telecom_sheet, 1000))
    for one, two in zip(base.arms, scaled.arms, strict=True):
        for metric, found in (one.estimates | {f"{name} at once": e for name, e in one.simultaneous.items()}).items():
            name = metric.removesuffix(" at once")
            other = two.estimates[name] if name == metric else two.simultaneous[name]
            factor = 1000 if name in MONEY else 1
            wanted = tuple(factor * number for number in (found.value, found.low, found.high))
            assert (other.value, other.low, other.high) == pytest.approx(wanted, rel=1e-11, abs=1e-9)


# N2 of the oracles: HypEx up to 1.0.5 takes a correlation for theta, so its result depends on the unit.
def test_the_unit_of_what_was_known_before_changes_nothing(telecom_cube, telecom_sheet, telecom_readout):
    rescaled = read_cube(with_sums(telecom_cube, before=1000 * telecom_cube.before), telecom_sheet)
    for arm in rescaled.arms:
        assert_same(arm.estimates, telecom_readout.arm(arm.name).estimates, rel=1e-8)


def test_the_adjustment_is_the_same_whatever_an_offer_is_compared_with(telecom_cube, telecom_sheet, telecom_readout):
    # A theta fitted pair by pair would move the difference of two offers; one theta for all does not.
    for metric in ("net_adjusted",):
        first, second = (telecom_readout.arm(name).estimates[metric].value for name in ("discount", "upgrade"))
        other = read_cube(telecom_cube, changed(telecom_sheet, {"holdout": "bundle"}))
        third, fourth = (other.arm(name).estimates[metric].value for name in ("discount", "upgrade"))
        assert third - fourth == pytest.approx(first - second, rel=1e-9)


def test_the_adjustment_asks_the_same_question_with_less_noise(telecom_readout):
    # Value before the loss predicts value after it: the same customer pays the same margin.
    for arm in telecom_readout.offers:
        raw, adjusted = arm.estimates["net"], arm.estimates["net_adjusted"]
        assert adjusted.high - adjusted.low < raw.high - raw.low
        assert abs(adjusted.value - raw.value) < raw.high - raw.low


def test_the_holdout_is_the_arm_the_sheet_says_in_whatever_order(telecom, telecom_sheet, telecom_readout):
    backwards = changed(telecom_sheet, {"arms": dict(reversed(telecom_sheet.model_dump()["arms"].items()))})
    readout = read_out(backwards, telecom)
    for arm in readout.arms:
        assert arm.holdout == (arm.name == "holdout")
        assert_same(arm.estimates, telecom_readout.arm(arm.name).estimates)
    assert readout.any_offer == telecom_readout.any_offer


def test_the_strata_change_no_estimate_but_what_depends_on_them(telecom_cube, telecom_sheet, telecom_readout):
    shuffled = np.random.default_rng(1).permutation(len(telecom_cube.strata))
    arrays = {name: array[:, shuffled] for name, array in full_sums(telecom_cube).items()}
    strata = tuple(telecom_cube.strata[s] for s in shuffled)
    found = read_cube(folded(replace(telecom_cube, strata=strata), arrays), telecom_sheet)
    apart = {"lives": None, "targeting": None}  # standardised to the strata, summed in their order
    assert replace(found, **apart) == replace(telecom_readout, **apart)
    for life, other in zip(found.lives.offers, telecom_readout.lives.offers, strict=True):
        assert life.months.value == pytest.approx(other.months.value, rel=1e-12)


def test_a_higher_level_gives_wider_intervals_of_the_same_values(telecom_cube, telecom_sheet, telecom_readout):
    wide = read_cube(telecom_cube, changed(telecom_sheet, {"level": 0.99}))
    for arm in wide.arms:
        for metric, found in arm.estimates.items():
            one = telecom_readout.arm(arm.name).estimates[metric]
            assert found.value == one.value
            assert found.low <= one.low
            assert one.high <= found.high


def test_a_fixed_cost_is_borne_by_the_whole_arm(telecom_cube, telecom_sheet, telecom_readout):
    readout = read_cube(telecom_cube, with_arms(telecom_sheet, fixed={"discount": 8_001.0}))
    before, after = (r.arm("discount").estimates["cost"] for r in (telecom_readout, readout))
    assert after.value - before.value == pytest.approx(8_001 / before.n)
    assert after.high - after.low == pytest.approx(before.high - before.low)  # it adds no chance


# The ranking.
def replicas(means, errors, *, buckets=200, seed=1):
    """Return jackknife replicates, row 0 the estimate, of independent offers with these standard errors."""
    noise = np.random.default_rng(seed).standard_normal((buckets, len(means)))
    noise = (noise - noise.mean(axis=0)) / noise.std(axis=0)
    return np.vstack((means, np.array(means) + noise * np.array(errors) / math.sqrt(buckets - 1)))


def test_the_best_offer_stands_first_and_far_ahead_it_stands_alone():
    ranking = rank(replicas([1.0, 9.0, 5.0], [0.1, 0.1, 0.1]), ("a", "b", "c"), df=199, level=0.95)
    assert (ranking.offers, ranking.tied, ranking.worth_it) == (("b", "c", "a"), ("b",), (True, True, True))
    assert ranking.p_best[0] == 1
    assert ranking.expected_loss == pytest.approx((0, 4, 8), abs=0.01)
    assert ranking.more is None


def test_offers_that_cannot_be_told_apart_are_tied_and_told_how_many_customers_it_would_take():
    ranking = rank(replicas([1.0, 1.1], [0.2, 0.2]), ("a", "b"), df=math.inf, level=0.95)
    assert ranking.tied == ("b", "a")
    gap = ranking.behind[1]
    error = (gap.high - gap.low) / 2 / 1.96
    assert gap.difference == pytest.approx(0.1)
    assert ranking.more == pytest.approx((1.96 * error / 0.1) ** 2, rel=0.01)
    assert ranking.p_best[0] == pytest.approx(norm.cdf(0.1 / error), abs=0.01)
    wanted = error * norm.pdf(0.1 / error) - 0.1 * norm.cdf(-0.1 / error)  # E max(0, second - best), normal
    assert ranking.expected_loss[0] == pytest.approx(wanted, rel=0.03)
    assert sum(ranking.p_best) == pytest.approx(1)


def test_offers_nearer_than_the_tolerance_are_equivalent():
    replicates = replicas([1.0, 1.5], [0.01, 0.01])
    assert rank(replicates, ("a", "b"), df=199, level=0.95).tied == ("b",)
    assert rank(replicates, ("a", "b"), df=199, level=0.95, tolerance=1.0).tied == ("b", "a")


def test_an_offer_is_worth_it_worse_or_open():
    ranking = rank(replicas([5.0, 0.0, -5.0], [0.5, 0.5, 0.5]), ("a", "b", "c"), df=199, level=0.95)
    assert ranking.worth_it == (True, None, False)


# Verdicts and guards.
def halves(offer="A"):
    return "customer_id,arm\n" + "".join(f"c{i},{('hold', offer)[i % 2]}\n" for i in range(400))


def answers(returned, value=2.5):
    return "customer_id,returned,value\n" + "".join(f"c{i},{int(returned(i))},{value}\n" for i in range(400))


def test_without_a_holdout_the_figures_are_gross_and_there_is_no_verdict(by_hand):
    readout = read_out(*by_hand(assignments=halves(), outcomes=answers(lambda i: i % 4 == 1), holdout=None))
    assert (readout.verdict.kind, headline(readout)) == ("gross", "Gross figures, no verdict")
    assert "holdout" in worded_verdict(readout).detail
    assert (readout.ranking, readout.any_offer) == (None, None)
    for arm in readout.arms:
        assert not arm.holdout
        assert not {"lift", "net", "roi", "value_gained"} & set(arm.estimates)
        assert "gross_roi" in arm.estimates
        assert arm.simultaneous == {}


def test_an_offer_called_none_can_win(by_hand, tmp_path):
    arms = {"hold": {"share": 1}, "None": {"share": 1, "contact": 5}}
    readout = read_out(*by_hand(assignments=halves("None"), outcomes=answers(lambda i: i % 4 == 1), arms=arms))
    assert headline(readout) == "Choose None"
    assert readout.arm("None").assigned == 200
    readout.write(tmp_path / "readout.json")
    assert Readout.load(tmp_path / "readout.json").arm("None").label == "None"


def test_an_offer_that_beats_doing_nothing_is_chosen(by_hand):
    readout = read_out(*by_hand(assignments=halves(), outcomes=answers(lambda i: i % 4 == 1)))
    assert (readout.verdict.tone, headline(readout)) == ("go", "Choose A")


def test_an_offer_that_only_costs_is_not_chosen(by_hand):
    content = "customer_id,returned,value\n" + "".join(f"c{i},{i % 2},{i % 3}\n" for i in range(400))
    readout = read_out(*by_hand(assignments=halves(), outcomes=content, settings={"objective": "profit"}))
    assert (readout.verdict.tone, headline(readout)) == ("stop", "No offer beats doing nothing")


def test_when_nobody_comes_back_nothing_is_chosen(by_hand):
    readout = read_out(*by_hand(assignments=halves(), outcomes=answers(lambda i: False, value=0)))
    assert readout.verdict.tone == "wait"
    found = readout.arm("A").estimates
    assert (found["lift"].value, found["net"].value, found["roi"].value) == (0, -5, -1)
    assert any(check.state == "warn" and "returned" in worded(check).reason for check in readout.checks)


def test_an_offer_without_cost_has_no_return_on_investment(by_hand):
    arms = {"hold": {"share": 1}, "A": {"share": 1}}
    settings = {"objective": "roi"}
    sheet = by_hand(assignments=halves(), outcomes=answers(lambda i: i % 4 == 1), arms=arms, settings=settings)
    readout = read_out(*sheet)
    assert readout.arm("A").estimates["roi"] == Estimate(
        value=None, low=None, high=None, level=0.95, n=200, unit="ratio"
    )
    assert (readout.ranking, headline(readout)) == (None, "No verdict")


def test_a_readout_before_the_registered_day_is_interim_and_decides_nothing(telecom_cube, telecom_sheet):
    readout = read_cube(telecom_cube, changed(telecom_sheet, {"read_date": "2026-12-01"}))
    assert (readout.verdict.tone, headline(readout)) == ("stop", "Interim: do not decide")
    assert "2026-12-01" in worded_verdict(readout).sentence


def test_a_read_date_without_the_day_the_data_reach_to_is_not_passed(by_hand):
    settings = {"read_date": "2099-01-01"}
    readout = read_out(*by_hand(assignments=halves(), outcomes=answers(lambda i: i % 4 == 1), settings=settings))
    assert next(check.state for check in readout.checks if check.key == "read_date") != "pass"


@pytest.mark.parametrize(("contacts", "told", "tone"), [(1, "1 contact ", "go"), (3, "3 contacts ", "stop")])
def test_contacts_in_the_holdout_are_told_and_many_stop_the_readout(by_hand, contacts, told, tone):
    rows = "".join(f"c{2 * i},\n" for i in range(contacts))  # of the 200 customers of the holdout
    content = f"customer_id,accepted_at\n{rows}c1,2026-01-01\n"
    readout = read_out(*by_hand(assignments=halves(), outcomes=answers(lambda i: i % 4 == 1), contacts=content))
    (found,) = [check for check in readout.checks if worded(check).reason.startswith(told)]
    assert found.state == {"go": "warn", "stop": "stop"}[tone]
    assert readout.verdict.tone == tone


def test_a_horizon_longer_than_anybody_was_watched_is_refused(by_hand, names):
    header, *rows = halves().splitlines()
    dated = "\n".join([header + ",at", *(row + ",2026-01-15" for row in rows)])
    tables = {"assignments": dated, "purchases": "customer_id,at,amount\nc1,2026-02-01,5\n"}
    settings = {"followed_until": "2026-07-01", "horizon_months": 6, "window_months": 3}
    with pytest.raises(WinbackError, match=names("horizon_months is 6", "nobody was watched", "choose 5 or less")):
        read_out(*by_hand(settings=settings, **tables))
    readout = read_out(*by_hand(settings=settings | {"horizon_months": 5}, **tables))
    assert readout.horizon_months == 5
    with pytest.raises(WinbackError, match=names("window_months is 6", "choose 5 or less")):
        read_out(*by_hand(settings=settings | {"horizon_months": 5, "window_months": 6}, **tables))
    with pytest.raises(WinbackError, match=names("whole month")):
        read_out(*by_hand(settings=settings | {"followed_until": "2026-02-01"}, **tables))


def test_months_as_an_objective_need_dates(by_hand, names):
    settings = {"objective": "months"}
    with pytest.raises(WinbackError, match=names("'months'", "no dates", "returned, profit or roi")):
        read_out(*by_hand(assignments=halves(), outcomes=answers(lambda i: True), settings=settings))


def test_an_arm_of_one_customer_is_refused_for_what_it_is(by_hand, names):
    assignments = "customer_id,arm\nc0,hold\nc1,A\nc2,hold\n"
    with pytest.raises(WinbackError, match=names("'A'", "customer")):
        read_out(*by_hand(assignments=assignments, outcomes=answers(lambda i: True)))


def test_two_customers_an_arm_can_be_read(by_hand):
    assignments = "customer_id,arm\nc0,hold\nc1,A\nc2,hold\nc3,A\n"
    readout = read_out(
        *by_hand(assignments=assignments, outcomes="\n".join(answers(lambda i: i == 1).splitlines()[:5]))
    )
    assert readout.verdict.tone == "wait"
    assert all(math.isfinite(found.value) for arm in readout.arms for found in arm.estimates.values())


def test_customers_that_all_stand_in_one_bucket_are_refused_not_read_as_nothing(by_hand, names):
    header, *rows = halves().splitlines()
    assignments = "\n".join([header + ",bucket", *(row + ",0" for row in rows)])
    with pytest.raises(WinbackError, match=names("bucket")):
        read_out(*by_hand(assignments=assignments, outcomes=answers(lambda i: i % 4 == 1)))


def test_a_last_month_that_rests_on_one_bucket_is_refused_not_read_as_nothing(by_hand, names):
    # Customers 0 to 3 were assigned in January and stand in bucket 0; nobody else was watched for 5 months.
    rows = [f"c{i},{('hold', 'A')[i % 2]},2026-0{1 if i < 4 else 5}-01,{0 if i < 4 else i // 2}" for i in range(400)]
    assignments = "\n".join(["customer_id,arm,at,bucket", *rows])
    settings = {"followed_until": "2026-07-01", "horizon_months": 5, "window_months": 2}
    purchases = "customer_id,at,amount\nc1,2026-02-01,5\n"
    with pytest.raises(WinbackError, match=names("horizon_months is 5", "choose 2 or less")):
        read_out(*by_hand(assignments=assignments, purchases=purchases, settings=settings))


def test_before_the_registered_day_only_shares_are_told_and_their_intervals_hold_at_every_look(
    telecom_cube, telecom_sheet, telecom_readout
):
    interim = read_cube(telecom_cube, changed(telecom_sheet, {"read_date": "2026-12-01"}))
    assert interim.interim
    assert {metric for arm in interim.arms for metric in arm.estimates} == {"reached", "accepted", "returned"}
    assert (interim.ranking, interim.comparison, interim.lives, interim.targeting) == (None, None, None, None)
    assert not any(arm.active or arm.simultaneous for arm in interim.arms)
    for arm in telecom_readout.offers:
        found, fixed = interim.anytime[arm.name], arm.simultaneous["lift"]
        assert found.value == pytest.approx(fixed.value)
        assert found.high - found.low > fixed.high - fixed.low
    assert telecom_readout.anytime == {}


def test_settings_other_than_the_registered_ones_are_told(telecom_cube, telecom_sheet):
    told = {check.key: check for check in read_cube(telecom_cube, telecom_sheet, planned=telecom_sheet).checks}
    assert told["as_planned"].state == "pass"
    other = changed(telecom_sheet, {"horizon_months": 12, "objective": "roi"})
    told = {check.key: check for check in read_cube(telecom_cube, other, planned=telecom_sheet).checks}["as_planned"]
    assert (told.state, told.facts["setting"]) == ("warn", ("objective", "horizon_months"))
    assert "horizon_months 12 instead of 24" in worded(told).reason
    assert "objective roi instead of profit" in worded(told).reason


def test_a_gift_is_charged_to_everybody_who_returned_where_nobody_knows_who_accepted(by_hand):
    dated = "customer_id,arm,at\n" + "".join(f"c{i},{('hold', 'A')[i % 2]},2026-01-15\n" for i in range(400))
    bills = "customer_id,at,amount\n" + "".join(f"c{i},2026-02-20,9\n" for i in range(0, 400, 5))
    arms = {"hold": {"share": 1}, "A": {"share": 1, "gift": 10}}
    settings = {"followed_until": "2026-07-01", "horizon_months": 4, "window_months": 4}
    readout = read_out(*by_hand(assignments=dated, purchases=bills, arms=arms, settings=settings))
    assert readout.arm("A").estimates["cost"].value == pytest.approx(10 * 40 / 200)
    assert next(check.state for check in readout.checks if check.key == "acceptances") == "warn"


def test_no_money_and_no_lifetime_stand_on_an_interim_page(telecom, telecom_sheet):
    sheet = changed(telecom_sheet, {"read_date": "2026-12-01"})
    interim = read_out(sheet, telecom)
    parts = (report.verdict, report.picture, report.offers, report.faces, report.separable, report.segments,
             report.lifetime, report.price_of_a_return, report.drivers, report.checks)  # fmt: skip
    page = "".join(str(part(interim)) for part in parts)
    text = re.sub("<[^>]*>", " ", page)
    assert "Interim: do not decide" in text
    assert "$" not in text
    assert "Months" not in text
    assert "While the test runs" in text


def test_an_early_look_reads_as_far_as_was_watched(by_hand):
    dated = "customer_id,arm,at\n" + "".join(f"c{i},{('hold', 'A')[i % 2]},2026-01-15\n" for i in range(400))
    bills = "customer_id,at,amount\n" + "".join(f"c{i},2026-02-20,9\n" for i in range(1, 400, 6))
    settings = {"followed_until": "2026-04-20", "read_date": "2027-06-01", "horizon_months": 24, "window_months": 12}
    readout = read_out(*by_hand(assignments=dated, purchases=bills, settings=settings))
    assert (readout.interim, readout.window_months, headline(readout)) == (True, 3, "Interim: do not decide")
    assert readout.anytime["A"].value == pytest.approx(67 / 200)
    said = "This look counts returns within 3 months of the 12 registered"
    assert (readout.registered_window_months, said in str(report.interim(readout))) == (12, True)
    whole = read_out(*by_hand(assignments=dated, purchases=bills, settings=settings | {"window_months": 3}))
    assert whole.anytime == readout.anytime
    assert "This look counts" not in str(report.interim(whole))


def test_a_rule_that_gives_one_offer_to_all_claims_no_gain_over_it(telecom_readout):
    value = telecom_readout.targeting.value
    assert "more than the best one offer for everybody" in str(report.segments(telecom_readout))
    same = tuple(tuple(float(arm == "upgrade") for arm in value.policy.arms) for _ in value.policy.segments)
    one = replace(value, policy=replace(value.policy, given=same))
    page = str(report.segments(replace(telecom_readout, targeting=replace(telecom_readout.targeting, value=one))))
    assert "Upgrade in every segment, so the rule is one offer for everybody and gains nothing over it." in page
    assert "cross-fitted" in page
    assert "more than the best one offer" not in page


def test_a_fixed_cost_goes_with_the_bundle(telecom_cube, telecom_sheet, telecom_readout):
    readout = read_cube(telecom_cube, with_arms(telecom_sheet, fixed={"discount": 8_002.0}))
    for name in ("discount", "bundle", "tailored"):
        before, after = (r.arm(name).estimates["cost"] for r in (telecom_readout, readout))
        assert after.value - before.value == pytest.approx(8_002 / before.n)
    assert readout.arm("upgrade").estimates["cost"] == telecom_readout.arm("upgrade").estimates["cost"]


def test_running_costs_without_dates_are_refused_with_the_cure(by_hand, names):
    arms = {"hold": {"share": 1}, "A": {"share": 1, "monthly": [{"cost": 10, "months": 3}]}}
    with pytest.raises(WinbackError, match=names("monthly", "without dates", "`cost`")):
        read_out(*by_hand(assignments=halves(), outcomes=answers(lambda i: i % 4 == 1), arms=arms))
