"""A planned test: what it can tell, what it costs, when it ends, what can go wrong."""

from dataclasses import replace
from datetime import date

import cohorts
import numpy as np
import pytest
import yaml
from simulated_power import size_for
from telecom_truth import truth

from experiments import design_test
from experiments.cli import stages
from experiments.common.errors import WinbackError
from experiments.common.estimate import Estimate
from experiments.common.language import LANGUAGES, speaking
from experiments.common.run_records import sha256_of
from experiments.design.design import Design
from experiments.design.prior import Source
from experiments.lost.find import find_lost
from experiments.report import design as report
from experiments.report.wording import design as words
from experiments.runner.notebooks import prepare
from experiments.sheet.locked_plan import inputs_of, lock
from experiments.stats.meta_analysis import Knowledge, pool
from experiments.stats.power import Rule, ask, share_group

RATES = {"discount": 0.45, "upgrade": 0.41, "bundle": 0.47}
SIMULATED = {"accepted": RATES, "returning": 0.044}


@pytest.fixture
def sheet(tmp_path, telecom_sheet):
    """Return a function that writes a telecom's sheet with other settings."""

    def write(*, arms=None, leave=(), name="sheet.yml", **settings):
        content = telecom_sheet.model_dump(mode="json", exclude_unset=True)
        content["arms"] = {arm: offer for arm, offer in content["arms"].items() if arm not in leave}
        content["arms"] = {arm: offer | (arms or {}).get(arm, {}) for arm, offer in content["arms"].items()}
        content |= settings
        path = tmp_path / name
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        return path

    return write


def risks(design):
    """Return the findings of a design by their key."""
    return {risk.key: risk for risk in design.risks}


def reason(design, key):
    return words.risk(design, risks(design)[key])[1]


def todo(design, key):
    return words.risk(design, risks(design)[key])[2]


def goal(design):
    """Return what the test is made for, in words."""
    return words.asked(design, design.asked[-1])


def pair(design, first, second, metric="profit"):
    return next(one for one in design.differences if (one.first, one.second, one.metric) == (first, second, metric))


# What it can tell.


def test_a_first_test_is_sized_on_rates_and_says_that_nobody_knows_more(sheet):
    path = sheet(leave=("tailored", "bundle"), design={"rates": {"discount": 0.45, "upgrade": 0.41}})
    design = design_test(path, customers=15_000)
    assert pair(design, "Discount", "Upgrade", "returned").needed == 2404
    assert words.sentence(design).startswith("With 5,000 a group you can tell 45 % from 41 % returned.")
    assert "which offer earns most nobody knows" in words.sentence(design)
    assert design.answers == (True, False)
    assert not design.decides
    assert not design.prices
    assert {one.metric for one in design.differences} == {"returned"}
    assert risks(design)["source"].state == "warn"
    alone = design_test(sheet(leave=("tailored", "bundle"), design={}), customers=15_000)  # without any rates: a guess
    assert pair(alone, "Discount", "Upgrade", "returned").needed == 2404


def test_the_sentence_of_the_design(sheet):
    """Responses are told, money is not: for that eight times as many; the size within 2 % of the design's 39,413."""
    rules = SIMULATED | {"correction": "none"}
    path = sheet(leave=("tailored", "bundle"), design=rules)
    design = design_test(path, customers=15_000)
    found = pair(design, "Discount", "Upgrade")
    assert found.needed == pytest.approx(
        39_413, rel=0.07
    )  # the readout's own test is a little wider than that of known noise
    assert found.power < 0.25
    assert f"but not which offer earns most: for that {found.needed:,}." in words.sentence(design)
    assert design.answers[-1] is False


def test_the_planned_sizes_reach_the_power(sheet):
    design = design_test(sheet(design=SIMULATED), customers=40_000)
    for one in design.differences:
        again = design_test(sheet(design=SIMULATED), customers=5 * one.needed)
        same = next(other for other in again.differences
                    if (other.first, other.second, other.metric) == (one.first, one.second, one.metric))  # fmt: skip
        assert same.power == pytest.approx(0.8, abs=2e-3)
        assert same.detectable == pytest.approx(same.hoped, rel=5e-3)
        break


def test_unequal_shares_count_in_the_smallest_arm(sheet):
    shares = {"discount": {"share": 3}}
    even, uneven = (design_test(sheet(arms=arms, design=SIMULATED), customers=70_000) for arms in ({}, shares))
    assert [arm.customers for arm in uneven.arms] == [10_000, 30_000, 10_000, 10_000, 10_000]
    assert pair(uneven, "Discount", "Bundle").needed < pair(even, "Discount", "Bundle").needed
    assert sum(arm.customers for arm in design_test(sheet(design=SIMULATED), customers=40_003).arms) == 40_003


def test_four_times_the_customers_tell_half_the_difference(sheet):
    sizes = {size.customers: size for size in design_test(sheet(design=SIMULATED), customers=40_000).sizes}
    ordered = [sizes[n] for n in sorted(sizes)]
    assert np.all(np.diff([size.objective for size in ordered]) < 0)
    few, many = (next(size for size in ordered if size.smallest == n) for n in (1_000, 10_000))
    assert few.objective / many.objective == pytest.approx(10**0.5, rel=1e-3)
    assert few.returned / many.returned == pytest.approx(10**0.5, rel=1e-3)
    assert few.cost == pytest.approx(many.cost / 10)


def test_a_past_test_tells_what_money_varies_by(sheet, small_telecom, telecom_sheet):
    past = telecom_sheet.model_dump(mode="json", exclude_unset=True)
    (small_telecom / "past.yml").write_text(yaml.safe_dump(past), encoding="utf-8")
    try:
        path = sheet(design={"past": str(small_telecom / "past.yml")})
        design = design_test(path, customers=40_000)
        exact = design_test(sheet(design=SIMULATED), customers=40_000)
        assert design.source == Source(kind="past", name="telecom")
        assert words.source(design.source) == "the customers of the test telecom"
        noisy, true = (pair(one, "Tailored", "Upgrade", "returned").detectable for one in (design, exact))
        assert noisy == pytest.approx(true, rel=0.1)
        # 600 an arm, and customers of 8 times the value
        assert (risks(design)["source"].state, "may easily be" in reason(design, "source")) == ("warn", True)
        with pytest.raises(WinbackError, match=r"in USD, this one in EUR"):
            design_test(sheet(design={"past": str(small_telecom / "past.yml")}, currency="EUR"), customers=4_000)
    finally:
        (small_telecom / "past.yml").unlink()


def test_a_past_test_and_pooled_knowledge_are_inputs_of_the_run(sheet, tmp_path):
    past = sheet(name="past.yml")
    (tmp_path / "pooled.json").write_text("{}", encoding="utf-8")
    path = sheet(design={"past": past.name, "pooled": "pooled.json"})
    assert {path, past, tmp_path / "pooled.json"} <= set(inputs_of(path))


def test_an_offer_of_ones_own_may_be_like_a_known_one(sheet):
    arms = {"holdout": {"share": 1}, "voucher": {"share": 1, "gift": 30}, "channel": {"share": 1, "gift": 20}}
    with pytest.raises(WinbackError, match=r"Nothing is known of the arm 'voucher'.*like: \{voucher: discount\}"):
        design_test(_own(sheet, arms, SIMULATED), customers=4_000)
    like = SIMULATED | {"like": {"voucher": "discount", "channel": "upgrade"}}
    design = design_test(_own(sheet, arms, like), customers=4_000)
    arms, returned = {arm.name: arm for arm in design.arms}, {"voucher": 0.4713, "channel": 0.4337}  # section 9
    for name, gift in (("voucher", 30), ("channel", 20)):  # at its own costs: a gift for everyone who returns
        assert arms[name].expected_cost == pytest.approx(gift * returned[name], rel=2e-3)
        assert arms[name].worst_cost == gift
    told = pair(design, "voucher", "channel")
    value = 389.79 - 361.88
    assert told.hoped == pytest.approx(value - arms["voucher"].expected_cost + arms["channel"].expected_cost, abs=0.1)


def _own(sheet, arms, rules):
    path = sheet()
    content = yaml.safe_load(path.read_text(encoding="utf-8")) | {"arms": arms, "design": rules}
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def test_what_tests_found_together_says_what_to_expect(sheet, tmp_path):
    def told(offer, values):
        found = [Estimate(value=v, low=v - 20, high=v + 20, level=0.95, n=900, unit="money", se=10.0) for v in values]
        names = [f"test {i}" for i in range(len(values))]
        return pool(found, offer=offer, metric="net", experiments=names, alike={"currency": "USD"})

    known = (told("discount", [300, 310, 320]), told("upgrade", [390, 400, 410]))
    Knowledge(experiments=("a", "b", "c"), level=0.95, pooled=known, notes=()).write(tmp_path / "pooled.json")
    design = design_test(sheet(leave=("tailored",), design=SIMULATED | {"pooled": "pooled.json"}), customers=9_000)
    assert pair(design, "Upgrade", "Discount").hoped == pytest.approx(90)
    assert pair(design, "Upgrade", "Holdout").hoped == pytest.approx(400)
    assert pair(design, "Bundle", "Holdout").hoped == pytest.approx(302.1, abs=0.1)  # nobody pooled it
    assert "Discount $310.00 (" in reason(design, "past_tests")
    assert "in the next test)" in reason(design, "past_tests")
    strange = SIMULATED | {"pooled": "pooled.json", "like": {"voucher": "bundle"}}
    with pytest.raises(WinbackError, match="knows none of the offers voucher"):
        design_test(_own(sheet, {"holdout": {"share": 1}, "voucher": {"share": 1}}, strange), customers=4_000)


def test_equal_offers_have_no_size_and_are_no_error(sheet):
    rules = {"rates": {"discount": 0.4, "upgrade": 0.4, "bundle": 0.45}}
    design = design_test(sheet(leave=("tailored",), design=rules), customers=8_000)
    assert pair(design, "Discount", "Upgrade", "returned").needed is None
    rule = Rule(level=1 - 0.05 / 3, correction="none")  # equal offers are tested like all others
    strict = design_test(sheet(leave=("tailored",), design=rules | {"correction": "bonferroni"}), customers=8_000)
    alone = size_for(ask([share_group("bundle", 0.45), share_group("upgrade", 0.4)]), rule=rule).smallest
    assert pair(strict, "Bundle", "Upgrade", "returned").needed == alone
    assert "–" in str(report.told(design))


@pytest.mark.parametrize("objective", ["roi", "returned", "months", "market_share", "profit_and_share"])
def test_every_objective_has_a_size(sheet, objective):
    design = design_test(sheet(objective=objective, retained_value=100, design=SIMULATED), customers=40_000)
    found = [one for one in design.differences if one.metric == objective]
    assert len(found) == 4 + 6 if objective != "returned" else 6
    assert all(one.needed > 10 for one in found)


def test_a_test_may_be_for_the_holdout_alone(sheet):
    design = design_test(sheet(design=SIMULATED | {"compare": "holdout"}), customers=5_000)
    assert goal(design) == "every offer from doing nothing"
    assert design.decides
    assert "which offer earns most" not in words.sentence(design)


RATED = {"discount": 0.5, "upgrade": 0.4, "bundle": 0.3, "tailored": 0.2, "holdout": 0.04}


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ({"rates": RATED | {"upgrade": 0.5}}, "not which offer brings most back: no size tells equal offers apart"),
        ({"rates": {"discount": 0.5, "upgrade": 0.4}}, "nobody knows: no rate is stated of Bundle and Tailored"),
        ({"rates": {"discount": 0.5, "holdout": 0.04}}, "no rate is stated of Upgrade, Bundle and Tailored"),
        ({"rates": RATED | {"holdout": 0.2}, "compare": "holdout"}, "not every offer from doing nothing: no size"),
        ({"rates": {"discount": 0.5, "holdout": 0.04}, "compare": "holdout"}, "no rate is stated of Upgrade, Bundle"),
        ({}, "no rate is stated of Bundle and Tailored"),
    ],
)
def test_what_no_size_tells_is_not_called_told(sheet, rules, told):
    """A tie at the top, an offer of which nobody said anything, an offer equal to the holdout."""
    design = design_test(sheet(objective="returned", design=rules), customers=1_000_000)
    assert told in words.sentence(design)
    assert (design.decides, design.answers[-1], any(design.answers)) == (False, False, True)
    assert "Large enough" not in str(report.verdict(design))
    assert risks(design)["size"].state == "warn"
    assert ("State the rate of every arm" in todo(design, "size")) == ("no rate" in told)
    whole = design_test(sheet(objective="returned", design={"rates": RATED}), customers=1_000_000)
    assert whole.decides


def test_the_expected_cost_follows_the_months_that_customers_stay(sheet):
    """A month more costs what a month more of customers takes it: less and less, and never beyond the horizon."""
    costs = []
    for months in (4, 5, 6, 7, 24, 60):
        arms = {"discount": {"contact": 5, "monthly": [{"cost": 20, "months": months}]}}
        costs.append(design_test(sheet(arms=arms, design=SIMULATED), customers=4_000).arms[1].expected_cost)
    steps = np.diff(costs)
    assert costs[2] == pytest.approx(50.13, abs=0.02)
    assert steps[0] > steps[1] > steps[2] > 5
    assert costs[4] == pytest.approx(5 + 20 * 5.798, rel=0.01) == costs[5]  # all its months of 24


def test_what_is_paid_once_counts_once(sheet, small_telecom, telecom_sheet):
    """Where the past test paid it too: a head it lowers the net of this one, in the sum it stands once."""
    past = telecom_sheet.model_dump(mode="json", exclude_unset=True)
    past["arms"]["discount"]["fixed"] = 8_000
    (small_telecom / "paid.yml").write_text(yaml.safe_dump(past), encoding="utf-8")
    same = {"leave": ("bundle", "tailored"), "design": {"past": str(small_telecom / "paid.yml")}}
    try:
        costly, free = (design_test(sheet(arms={"discount": {"fixed": fixed}}, **same), customers=3_000)
                        for fixed in (4_000, 0))  # fmt: skip
    finally:
        (small_telecom / "paid.yml").unlink()
    assert costly.arms[1].expected_cost == pytest.approx(free.arms[1].expected_cost)
    assert costly.expected == pytest.approx(free.expected + 4_000)
    gains = [{frozenset((one.first, one.second)): one.hoped * (1 if one.first == "Discount" else -1)
              for one in design.differences if one.metric == "profit"} for design in (costly, free)]  # fmt: skip
    both = frozenset(("Discount", "Upgrade"))
    assert gains[1][both] - gains[0][both] == pytest.approx(4_000 / 1_000)


def test_of_the_offers_that_an_arm_may_choose_the_dearest_counts(sheet):
    code = {"kind": "promo_code", "share": 1}
    parts = {"long": code | {"percent": 10, "months": 12}, "short": code | {"percent": 20, "months": 1}}
    choice = {"share": 1, "by": "reason", "choose": {"price": "long", "service": "short"}}
    arms = {"holdout": {"share": 1}, **parts, "fitting": choice}
    rules = SIMULATED | {"like": {"long": "discount", "short": "discount", "fitting": "discount"}}
    costs = {arm.name: arm.expected_cost for arm in design_test(_own(sheet, arms, rules), customers=4_000).arms}
    assert costs["fitting"] == costs["long"] > 4 * costs["short"]


def test_without_a_holdout_offers_are_compared_all_the_same(sheet):
    for objective in ("profit", "returned"):
        rules = {"accepted": {"discount": 0.45, "upgrade": 0.10}}
        path = sheet(leave=("holdout", "bundle", "tailored"), holdout=None, objective=objective, design=rules)
        assert pair(design_test(path, customers=8_000), "Discount", "Upgrade", objective).needed > 10


def test_an_offer_that_is_expected_to_do_worse_than_nothing_is_told(sheet):
    rules = {"rates": {"holdout": 0.5, "discount": 0.45, "upgrade": 0.55}}
    design = design_test(sheet(leave=("bundle", "tailored"), objective="returned", design=rules), customers=8_000)
    (losing,) = (risk for risk in design.risks if risk.key == "losing")
    name, told, _ = words.risk(design, losing)
    assert (name, losing.facts["offer"]) == ("Offer Discount", "discount")
    assert "Expected to do worse than doing nothing" in told


def test_an_offer_that_costs_nothing_has_no_return_on_it(sheet):
    arms = {"discount": {"contact": 0, "monthly": []}}
    with pytest.raises(WinbackError, match="one costs nothing"):
        design_test(sheet(arms=arms, objective="roi", design=SIMULATED), customers=4_000)
    assert design_test(sheet(arms=arms, design=SIMULATED), customers=4_000).arms[1].expected_cost == 0


def test_rates_of_a_test_watched_in_part_need_more_customers(sheet):
    settings = {"leave": ("tailored", "bundle"), "window_months": 6}
    rules = {"rates": {"discount": 0.45, "upgrade": 0.41}}
    whole, part = (design_test(sheet(design=rules | more, **settings), customers=9_000)
                   for more in ({}, {"follow_up": [4, 8]}))  # fmt: skip
    needed = [pair(design, "Discount", "Upgrade", "returned").needed for design in (whole, part)]
    assert needed[1] == pytest.approx(needed[0] / 0.6, rel=2e-3)  # in the sixth month 3 of 5 are watched


def test_an_offer_that_loses_money_is_told_from_doing_nothing(sheet):
    losing = {"discount": 0.02, "upgrade": 0.03, "bundle": 0.001}
    design = design_test(sheet(leave=("tailored",), design={"accepted": losing, "returning": 0.044}), customers=5_000)
    assert "Holdout from doing nothing" not in words.sentence(design)
    assert (design.asked[0].key, design.asked[0].facts["offer"]) == ("offer", "Upgrade")


# What it costs, and what there is.


def test_budget_and_calls_bound_the_test(sheet):
    callers = {"callers": {"Ann": {}, "Ben": {"capacity": 30}}, "capacity": 20, "deadline_days": 70}
    path = sheet(design=SIMULATED | {"budget": 100_000}, contacts=callers)
    design = design_test(path, cohort=cohorts.cohort(), customers=2_000)
    assert design.bound == "budget"
    assert design.weeks == pytest.approx(1_600 / 250)  # four of five arms are called, 50 a working day
    assert (risks(design)["calls"].state, risks(design)["budget"].state) == (
        "pass",
        "warn",
    )  # enough, unless everybody accepts
    assert design.expected < 100_000 < design.worst
    poor = design_test(sheet(design=SIMULATED | {"budget": 40_000}), cohort=cohorts.cohort(), customers=2_000)
    assert poor.bound == "budget"
    assert poor.possible == pytest.approx(40_000 / (poor.expected / 2_000), abs=6)
    assert [stop.key for stop in poor.stops] == ["budget"]
    assert f"customers: {poor.possible}" in todo(poor, "budget")
    for rules in ({"budget": 100}, {"weeks": 0.01}):
        none = design_test(sheet(design=SIMULATED | rules, contacts=callers), customers=2_000)
        assert all("customers: " not in todo(none, key) for key in ("budget", "calls"))
    slow = design_test(sheet(design=SIMULATED | {"weeks": 2}, contacts=callers), customers=2_000)
    assert risks(slow)["calls"].state == "stop"


def test_a_budget_too_small_for_any_answer_says_what_one_takes(sheet):
    rules = {"rates": {"discount": 0.45, "upgrade": 0.41}, "budget": 5_000}
    design = design_test(sheet(leave=("tailored", "bundle"), design=rules), customers=9_000)
    told = words.too_small(design)
    assert told.startswith("A budget of $5,000 pays for")
    assert "To tell 45 % from 41 % returned takes 2,404 in the smallest group and $" in told
    assert "Raise the budget" in told
    assert not any(design_test(sheet(design=SIMULATED), customers=60).answers[1:])


def test_costs_expected_and_at_most(sheet):
    arms = {arm.name: arm for arm in design_test(sheet(design=SIMULATED), customers=5_000).arms}
    truth = {"discount": 50.13, "upgrade": 44.72, "bundle": 97.52, "tailored": 55.22}  # dC, section 9 of the design
    for name, cost in truth.items():
        assert arms[name].expected_cost == pytest.approx(cost, abs=0.02)
    assert [arms[name].worst_cost for name in truth] == [125, 110, 230, 230]
    assert arms["holdout"].expected_cost == 0


def test_the_best_shares_are_those_of_the_square_root_where_offers_vary_alike(sheet):
    rates = dict.fromkeys(("holdout", "discount", "upgrade", "bundle", "tailored"), 0.4)
    design = design_test(sheet(design={"rates": rates | {"bundle": 0.401}}), customers=5_000)
    shares = {arm.name: arm.best_share for arm in design.arms}
    assert shares["holdout"] == pytest.approx(2 / 6, abs=1e-3)
    assert shares["discount"] == pytest.approx(1 / 6, abs=1e-3)


def test_a_percentage_is_expected_to_cost_a_part_of_what_customers_bring(sheet):
    """Without an end of all of it; for so many months of so many months of it, at most, of each who returns."""
    told = truth()["discount"]
    for months, part in (
        (None, told.value),
        (60, told.value),
        (3, told.value / told.months * 1.203),
    ):  # of three months
        code = {"share": 1, "kind": "promo_code", "percent": 10, "months": months}
        path = _own(sheet, {"holdout": {"share": 1}, "code": code}, SIMULATED | {"like": {"code": "discount"}})
        arm = design_test(path, customers=4_000).arms[1]
        assert arm.expected_cost == pytest.approx(0.1 * part, rel=2e-3)
        stays = 24 if months is None else min(months, 24)
        assert arm.worst_cost == pytest.approx(0.1 * stays * told.value / told.months, rel=2e-3)
    assert "margin" in str(report.method(design_test(path, customers=4_000)))


def test_a_percentage_that_nobody_can_count_is_told(sheet):
    code = {"share": 1, "kind": "promo_code", "percent": 10, "months": 3}
    path = _own(sheet, {"holdout": {"share": 1}, "code": code}, {"rates": {"holdout": 0.04, "code": 0.4}})
    design = design_test(path, customers=4_000)
    assert risks(design)["percentages"].state == "warn"
    assert "leave out the percentages of code" in reason(design, "percentages")
    assert "Not included" in str(report.method(design))


def test_an_offer_of_the_same_name_at_another_cost_counts_at_its_own(sheet):
    same = design_test(sheet(design=SIMULATED), customers=4_000)
    arms = {"discount": {"contact": 5, "monthly": [{"cost": 10, "months": 6}]}}
    half = design_test(sheet(arms=arms, design=SIMULATED), customers=4_000)
    costs = [{arm.name: arm.expected_cost for arm in design.arms} for design in (same, half)]
    assert costs[0]["discount"] == pytest.approx(50.13, abs=0.02)
    assert costs[1]["discount"] == pytest.approx(5 + (50.13 - 5) / 2, abs=0.05)  # half of what was seen each month
    assert costs[1]["upgrade"] == costs[0]["upgrade"]
    assert all(arm.expected_cost <= arm.worst_cost for arm in half.arms)


def test_what_cannot_be_planned_is_refused_in_words(sheet):
    against = {"compare": "holdout", "rates": {"discount": 0.4, "upgrade": 0.3}}
    with pytest.raises(WinbackError, match="`compare: holdout` is asked of a test without a holdout"):
        design_test(sheet(leave=("holdout",), holdout=None, design=against), customers=4_000)
    with pytest.raises(WinbackError, match="`rates:` names discount alone: there is nothing to compare"):
        design_test(sheet(design={"rates": {"discount": 0.4}}), customers=4_000)
    equal = {"rates": dict.fromkeys(("holdout", "discount", "upgrade", "bundle", "tailored"), 0.3)}
    with pytest.raises(WinbackError, match="All arms are taken to be equal"):
        design_test(sheet(design=equal), customers=4_000)
    with pytest.raises(WinbackError, match="`first_day` is 9998-01-01"):
        design_test(sheet(contacts={"first_day": "9998-01-01"}), customers=4_000)
    nobody = {"rates": {"holdout": 0, "discount": 0.45, "upgrade": 0.41}}
    assert design_test(sheet(leave=("bundle", "tailored"), design=nobody), customers=4_000).arms[0].best_share is None
    assert design_test(sheet(design={"compare": "holdout"}), customers=4_000).asked[0].key == "returned"


# When it ends, what can go wrong.


def test_the_calendar_and_a_day_too_early(sheet):
    path = sheet(design=SIMULATED, contacts={"first_day": "2024-01-31"}, read_date="2025-06-01", horizon_months=13)
    design = design_test(path, customers=5_000)
    assert [(event.what, event.day) for event in design.calendar] == [
        ("first_contact", date(2024, 1, 31)), ("offers_end", date(2024, 3, 1)),
        ("horizon_over", date(2025, 2, 28)), ("readout", date(2025, 6, 1))]  # fmt: skip
    assert words.event(design, design.calendar[2]) == "13 months are over"
    early = design_test(sheet(design=SIMULATED, read_date="2025-06-01"), customers=5_000)
    assert (risks(early)["day"].state, "2026-01-02" in reason(early, "day")) == ("warn", True)
    never = design_test(sheet(design=SIMULATED, read_date=None), customers=5_000)
    assert risks(never)["day"].state == "warn"


def test_no_holdout_and_thin_strata_are_told(sheet):
    rules = {"rates": {"discount": 0.45, "upgrade": 0.41}}
    design = design_test(sheet(leave=("holdout",), holdout=None, design=rules), customers=8_000)
    assert [(risk.key, risk.state) for risk in design.risks[:1]] == [("holdout", "stop")]
    thin = cohorts.cohort(strata=(("price / A", 3), ("service / A", 900)))
    design = design_test(sheet(design=SIMULATED), cohort=thin)
    told = reason(design, "strata")
    assert (risks(design)["strata"].state, "1 of 2 strata" in told, "price / A" in told) == ("warn", True, True)


def test_the_locked_plan_and_what_is_not_as_locked(sheet, tmp_path):
    import duckdb

    duckdb.sql("SELECT i::VARCHAR AS customer_id, true AS contactable, 'price' AS reason, 'A' AS abc "
               "FROM range(4000) t(i)").write_parquet(str(tmp_path / "cohort.parquet"))  # fmt: skip
    plan, _ = lock(sheet(design=SIMULATED), cohort=tmp_path / "cohort.parquet", today=date(2024, 1, 1))
    same = design_test(sheet(design=SIMULATED | {"power": 0.9}), customers=4_000)  # what is known may come later
    assert same.plan.sha256 == plan.sha256
    assert same.plan.deviations == ()
    other = design_test(sheet(design=SIMULATED, horizon_months=12), customers=4_000)
    assert [str(one) for one in other.plan.deviations] == ["horizon_months 12 instead of 24"]
    assert other.risks[0].key == "plan"
    assert "horizon_months 12 instead of 24" in reason(other, "plan")
    assert "instead of" not in str(report.risks(other, language="fr"))
    assert plan.sha256 in str(report.method(same))


# The file, the languages, the lost.


@pytest.fixture(scope="module")
def planned(telecom_sheet, tmp_path_factory):
    """Return a design of many words: a pooled effect aside, every part of the page has something to say."""
    path = tmp_path_factory.mktemp("planned") / "sheet.yml"
    callers = {"callers": {"Ann": {}}, "capacity": 20, "deadline_days": 30}
    content = telecom_sheet.model_dump(mode="json", exclude_unset=True) | {"design": SIMULATED, "contacts": callers}
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path, design_test(path, cohort=cohorts.cohort())


def test_a_design_reads_back_as_it_was_written(planned, tmp_path):
    planned[1].write(tmp_path / "design.json")
    assert Design.load(tmp_path / "design.json") == planned[1]


def test_a_design_as_a_table_has_a_row_for_every_difference(planned):
    frame = planned[1].frame()
    assert len(frame) == len(planned[1].differences)
    first = planned[1].differences[0]
    assert list(frame.loc[0, ["first", "second", "hoped"]]) == [first.first, first.second, first.hoped]


def test_the_file_of_a_design_is_the_same_in_every_language(planned, tmp_path):
    path, design = planned
    for code in LANGUAGES:
        with speaking(code):
            design_test(path, cohort=cohorts.cohort()).write(tmp_path / f"{code}.json")
    assert len({(tmp_path / f"{code}.json").read_bytes() for code in LANGUAGES}) == 1
    assert Design.load(tmp_path / "fr.json") == design


PARTS = ("question", "verdict", "told", "arms", "sizes", "calendar", "risks", "method")


@pytest.mark.parametrize("part", PARTS)
def test_every_part_of_the_page_is_rendered_from_the_file_in_the_language_asked_for(planned, part, tmp_path):
    planned[1].write(tmp_path / "design.json")
    again, render = Design.load(tmp_path / "design.json"), getattr(report, part)
    english, french = (str(render(again, language=code)) for code in ("en", "fr"))
    assert english == str(render(planned[1]))
    with speaking("fr"):
        assert french == str(render(planned[1]))
    assert english != french


OLD = """{
 "experiment": "telecom", "question": "Which offer?", "currency": "USD", "objective": "profit", "horizon_months": 24,
 "customers": 42686, "contactable": 42686,
 "arms": [
  {"name": "holdout", "label": "Holdout", "holdout": true, "share": 0.5, "best_share": 0.5, "customers": 21343,
   "expected_cost": 0.0, "worst_cost": 0.0, "fixed": 0.0},
  {"name": "discount", "label": "Discount", "holdout": false, "share": 0.5, "best_share": 0.5, "customers": 21343,
   "expected_cost": 50.13, "worst_cost": 125.0, "fixed": 0.0}],
 "source": "the simulated telecom, calibrated to the rates of the sheet", "prices": true, "power": 0.8, "level": 0.95,
 "correction": "simultaneous", "said": "With 21,343 a group you can tell Discount from doing nothing but not more.",
 "asked": ["Discount from doing nothing", "which offer earns most"], "answers": [true, false], "too_small": "",
 "differences": [{"metric": "profit", "unit": "money", "first": "Discount", "second": "Holdout", "hoped": 339.6,
                  "detectable": 44.56, "power": 1.0, "needed": 147}],
 "sizes": [{"customers": 42686, "smallest": 21343, "cost": 2113745.8, "weeks": null, "returned": 0.026,
            "objective": 60.78},
           {"customers": 100000, "smallest": 50000, "cost": 4951947.0, "weeks": null, "returned": 0.017,
            "objective": 39.7}],
 "bound": "customers", "possible": 42686, "weeks": null,
 "calendar": [{"what": "First contact", "day": "2024-01-02"}, {"what": "24 months are over", "day": "2026-01-02"}],
 "risks": [
  {"name": "Size", "state": "warn",
   "reason": "With 21,343 a group you can tell Discount from doing nothing but not more.", "todo": "Assign more."},
  {"name": "Plan", "state": "stop", "reason": "The sheet is not as locked.", "todo": "Put it back."}],
 "plan": {"sha256": "4813d91b", "locked_on": "2024-01-01", "deviations": ["horizon_months 12 instead of 24"]}
}"""  # cut down from a design.json of the version before results had a format


def test_what_an_earlier_version_wrote_is_shown_as_it_stands(tmp_path):
    (tmp_path / "design.json").write_text(OLD, encoding="utf-8")
    design = Design.load(tmp_path / "design.json")
    assert design.answers == (True, False)
    assert [words.risk(design, stop) for stop in design.stops] == [("Plan", "The sheet is not as locked.",
                                                                    "Put it back.")]  # fmt: skip
    page = "".join(str(getattr(report, part)(design)) for part in PARTS)
    for told in ("but not more.", "calibrated to the rates of the sheet", "24 months are over", "Assign more.",
                 "Enough for 1 of 2 questions" if not design.stops else "Not as it stands: plan"):  # fmt: skip
        assert told in page


def test_the_lost_of_a_finished_look_are_not_found_again(small_telecom, telecom_sheet, monkeypatch, tmp_path):
    path = tmp_path / "sheet.yml"
    content = telecom_sheet.model_dump(mode="json", exclude_unset=True)
    for table in content["tables"].values():
        table["file"] = str(small_telecom / table["file"])
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    found = find_lost(path)
    found.write(tmp_path / "lost.json")
    fresh = design_test(path, cohort=found)
    monkeypatch.setattr("experiments.lost.find.find_lost", None)
    read = design_test(path, cohort=tmp_path / "lost.json")
    assert (fresh.cohort, read.cohort) == ("found", "read")
    assert replace(read, cohort="found") == fresh
    (tmp_path / "other.yml").write_text(yaml.safe_dump(content | {"experiment": "other"}), encoding="utf-8")
    with pytest.raises(WinbackError, match=r"lost customers of 'telecom', the sheet plans 'other'"):
        design_test(tmp_path / "other.yml", cohort=tmp_path / "lost.json")


@pytest.fixture
def company(tmp_path, telecom_sheet):
    """Return the sheet of a small company and the folder of its reports, in which 1-lost is finished."""
    sheet, reports = tmp_path / "sheet.yml", tmp_path / "reports"
    content = telecom_sheet.model_dump(mode="json", exclude_unset=True)
    content["tables"] = {"purchases": {"file": "purchases.csv"}}
    sheet.write_text(yaml.safe_dump(content), encoding="utf-8")
    (tmp_path / "purchases.csv").write_text("customer_id,at,amount\na,2023-01-01,5\n", encoding="utf-8")
    out = reports / "telecom/1-lost"
    cohorts.cohort().write(out / "lost.json")
    finished = prepare("1-lost", {"sheet": str(sheet)}, out=out, inputs=inputs_of(sheet)).record
    replace(finished, files={"lost.json": sha256_of(out / "lost.json")}).write(out / "run.json")
    return sheet, reports


def test_the_command_names_a_finished_look_until_something_has_changed(company, tmp_path):
    sheet, reports = company
    lost = reports / "telecom/1-lost/lost.json"
    assert stages._lost_before(str(sheet), reports / "telecom/1-lost") == {"cohort": lost.as_posix()}
    (tmp_path / "plan.yml").write_text("", encoding="utf-8")  # a lock changes nobody's loss
    assert stages._lost_before(str(sheet), reports / "telecom/1-lost") == {"cohort": lost.as_posix()}
    (tmp_path / "purchases.csv").write_text("customer_id,at,amount\na,2023-01-02,5\n", encoding="utf-8")
    assert stages._lost_before(str(sheet), reports / "telecom/1-lost") == {}


@pytest.mark.parametrize(
    ("file", "now"), [("lost.json", "{}"), ("run.json", "no record"), ("run.json", '"silent_days": 90')]
)
def test_the_command_names_no_look_that_is_not_whole_or_of_other_settings(company, file, now):
    sheet, reports = company
    path = reports / "telecom/1-lost" / file
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"silent_days": null', now) if "silent_days" in now else now, encoding="utf-8")
    assert stages._lost_before(str(sheet), reports / "telecom/1-lost") == {}


# Wrong things.


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"design": {"accepted": {"discoun": 0.4}}}, ("no offer 'discoun'", "Did you mean 'discount'?")),
        ({"design": {"rates": {"discoun": 0.4}}}, ("no arm 'discoun'", "Did you mean 'discount'?")),
        ({"design": {"rates": {"discount": True}}}, ("rates.discount", "no numbers")),
        ({"design": {"rates": {"discount": 45}}}, ("he rate of 'discount' is 45", "45 % is 0.45")),
        ({"design": {"past": "a.yml", "rates": {"discount": 0.4}}}, ("both given", "one of them")),
        ({"design": {"pooled": "pooled.json"}}, ("Give `past` too",)),
        ({"design": {"returning": 0.1}}, ("goes with `accepted`",)),
        ({"design": {"reached": 0.5, "rates": {"discount": 0.4}}}, ("reached", "goes with `past` or `accepted`")),
        ({"design": {"like": {"discount": "upgrade"}}}, ("like", "goes with `past` or `accepted`")),
        ({"arms": {"discount": {"label": "Upgrade"}}}, ("wo arms are called 'Upgrade'",)),
        ({"design": {"powr": 0.9}}, ("There is no such setting", "Did you mean 'power'?")),
        ({"design": {"follow_up": [30, 6]}}, ("`follow_up` is [30, 6]",)),
        ({"design": {"past": "nowhere.yml"}}, ("no experiment sheet", "nowhere.yml")),
        ({"design": {"accepted": RATES}, "horizon_months": 48}, ("horizon_months is 48",)),
    ],
)
def test_wrong_settings(sheet, settings, words):
    with pytest.raises(WinbackError) as error:
        design_test(sheet(**settings), customers=4_000)
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize(
    ("given", "words"),
    [({"customers": 5}, "5 customers are too few for 5 arms of these shares: take 10"), ({}, "0 customers are too few"),
     ({"customers": 4_000, "power": 1.2}, "power 1.2"),
     ({"customers": 4_000, "expected_returned": 45}, "expected_returned is 45")],
)  # fmt: skip
def test_wrong_arguments(sheet, given, words):
    with pytest.raises(WinbackError, match=words):
        design_test(sheet(), **given)
