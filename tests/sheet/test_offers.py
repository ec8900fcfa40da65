"""The catalogue of offers: what every kind costs, what a sheet may say of it, and whether it fits."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from experiments.common.errors import WinbackError
from experiments.metrics.cube import make_cube
from experiments.readout.readout import changed, read_cube, read_out
from experiments.report.wording.offers import OFFER_KEYS, offer_warning
from experiments.sheet.locked_plan import Plan, deviations
from experiments.sheet.offer_checks import OFFER_CHECKS, check_offers
from experiments.sheet.offer_terms import Told, tell
from experiments.sheet.offers import KINDS, NO_END, Costs, Offer, costs_of, durations, fixed_of, own_costs, percentages
from experiments.sheet.sheet import read_sheet


def offer(kind, **settings):
    return Offer.model_validate({"kind": kind, **settings})


def costs(found, **more):
    return own_costs(found, decimals=2, **more)


# ---- what it costs, by hand: cents


@pytest.mark.parametrize(("found", "expected", "full"), [
    (offer("discount", worth=20, months=6), Costs(monthly=((2000, 6),)), Costs(monthly=((2000, 6),))),
    (offer("discount", percent=10), Costs(price_shares=((0.1, NO_END),)), Costs(price_shares=((0.1, NO_END),))),
    (offer("coupon", percent=20, months=1, take_up=0.5), Costs(price_shares=((0.1, 1),)),
     Costs(price_shares=((0.2, 1),))),
    (offer("promo_code", worth=12, take_up=0.6), Costs(gift=720), Costs(gift=1200)),
    (offer("certificate", worth=30, take_up=0.9), Costs(gift=2700), Costs(gift=3000)),
    (offer("gift", worth=50, marginal_share=0.4, take_up=0.8), Costs(gift=1600), Costs(gift=2000)),
    (offer("upgrade", worth=35, months=3, marginal_share=0.5), Costs(monthly=((1750, 3),)),
     Costs(monthly=((1750, 3),))),
    (offer("free_period", worth=60, months=2, marginal_share=0.25), Costs(monthly=((1500, 2),)),
     Costs(monthly=((1500, 2),))),
    (offer("extra_service", worth=8, months=12, take_up=0.5), Costs(monthly=((400, 12),)), Costs(monthly=((800, 12),))),
    (offer("status", worth=10, months=12, marginal_share=0.3), Costs(monthly=((300, 12),)),
     Costs(monthly=((300, 12),))),
    (offer("partnership", worth=40, marginal_share=0.5), Costs(gift=2000), Costs(gift=2000)),
    (offer("bonus", percent=5, months=12, take_up=0.7), Costs(price_shares=((0.035, 12),)),
     Costs(price_shares=((0.05, 12),))),
    (offer("subscription", worth=5, months=12, lock_in_months=12), Costs(monthly=((500, 12),)),
     Costs(monthly=((500, 12),))),
    (offer("guarantee", worth=100, take_up=0.05), Costs(gift=500), Costs(gift=10000)),
    (offer("fee_borne", worth="25.50"), Costs(gift=2550), Costs(gift=2550)),
    (offer("apology", worth=15, contact=5), Costs(contact=500, gift=1500), Costs(contact=500, gift=1500)),
    (offer("apology"), Costs(), Costs()),
    (offer("event", worth=5000), Costs(), Costs()),
    (offer("gift", worth=3, per="contact", contact=5), Costs(contact=500, enclosed=300),
     Costs(contact=500, enclosed=300)),
    (offer("event", worth=40, per="acceptor", take_up=0.5), Costs(gift=2000), Costs(gift=4000)),
    (offer("gift", worth=2, per="month", months=4), Costs(monthly=((200, 4),)), Costs(monthly=((200, 4),))),
])  # fmt: skip
def test_a_kind_costs_worth_times_marginal_share_times_take_up_in_its_shape(found, expected, full):
    assert costs(found) == expected
    assert costs(found, full=True) == full


CATALOGUE = {
    "discount": offer("discount", worth=20, months=6, contact=5),
    "gift": offer("gift", worth=50, marginal_share=0.4, take_up=0.8, contact=7),
    "letter": offer("gift", worth=2, per="contact", contact=1),
    "evening": offer("event", worth=5000, marginal_share=0.9, fixed=100),
    "both": offer("bundle", bundle=["discount", "gift", "letter"]),
    "all": offer("bundle", bundle=["both", "evening"], fixed=1),
    "tailored": offer("tailored", by="reason", choose={"price": "discount", "service": "gift", "both": "evening"}),
}


def of(name, *, full=False, **factors):
    return costs_of(name, CATALOGUE, factors=factors or None, decimals=2, full=full)


def test_a_bundle_costs_the_sum_of_its_parts_with_one_contact_the_dearest():
    assert of("both") == Costs(contact=700, enclosed=200, gift=1600, monthly=((2000, 6),))
    assert of("both").attempt == 900
    assert of("both", full=True).head == 700 + 200 + 2000 + 6 * 2000


def test_a_tailored_offer_costs_what_is_chosen_and_the_dearest_where_nobody_says_for_whom():
    assert of("tailored", reason="price") == of("discount")
    assert of("tailored", reason="service") == of("gift")
    assert of("tailored") == of("discount")  # 5 + 6 x 20, against 7 + 16 and nothing
    with pytest.raises(WinbackError, match=r"says nothing about 'prize'.*Did you mean 'price'"):
        of("tailored", reason="prize")


def test_a_campaign_is_paid_once_whoever_comes_and_however_often_it_is_part_of_an_offer():
    assert fixed_of("evening", CATALOGUE) == Decimal(4600)
    assert fixed_of("all", CATALOGUE) == Decimal(4601)
    assert fixed_of("tailored", CATALOGUE) == Decimal(4600)
    assert fixed_of("both", CATALOGUE) == 0


def test_the_clocks_of_promotions_know_the_kinds_by_the_month_and_percentages_have_their_own():
    assert durations(CATALOGUE) == (6,)
    rated = {"a": offer("discount", percent=10, months=3), "b": offer("bonus", percent=5)}
    assert (durations(rated), percentages(rated), percentages(CATALOGUE)) == ((), (NO_END, 3), ())
    assert own_costs(rated["a"], decimals=2).months == (3,)


PRICES = st.decimals(0, 1000, places=2)
PARTS = st.decimals(0, 1, places=2)
MONTHLY = [name for name, kind in KINDS.items() if kind.per == "month"]
ONCE = [name for name, kind in KINDS.items() if kind.per == "acceptor" and not kind.made_of]


@st.composite
def offers(draw):
    kind = draw(st.sampled_from([*MONTHLY, *ONCE]))
    months = {"months": draw(st.integers(1, 60))} if kind in MONTHLY else {}
    bound = {"lock_in_months": 12} if kind == "subscription" else {}
    return offer(kind, worth=draw(PRICES), marginal_share=draw(PARTS), take_up=draw(PARTS), contact=draw(PRICES),
                 **months, **bound)  # fmt: skip


@given(offers())
def test_full_take_up_costs_as_much_as_a_take_up_of_one_and_never_less(found):
    everybody = Offer.model_validate(found.model_dump() | {"take_up": 1})
    assert costs(found, full=True) == costs(everybody) == costs(everybody, full=True)
    assert costs(found).head <= costs(everybody).head


@given(offers())
def test_the_marginal_share_and_the_take_up_scale_the_cost_and_not_the_contact(found):
    priced = Offer.model_validate(found.model_dump() | {"marginal_share": 1, "take_up": 1})
    part = float(found.marginal_share * found.take_up)
    own, whole = costs(found), costs(priced)
    assert own.contact == whole.contact
    assert own.head - own.contact == pytest.approx(part * (whole.head - whole.contact), abs=1e-6)


@given(st.lists(offers(), min_size=1, max_size=4))
def test_a_bundle_is_the_sum_of_anything_with_one_contact(parts):
    known = {str(place): part for place, part in enumerate(parts)}
    known["it"] = offer("bundle", bundle=list(known))
    for full in (False, True):
        own = [costs(part, full=full) for part in parts]
        found = costs_of("it", known, factors=None, decimals=2, full=full)
        assert found.contact == max(one.contact for one in own)
        assert found.head - found.contact == pytest.approx(sum(one.head - one.contact for one in own))


@given(offers())
def test_an_offer_read_again_from_what_was_locked_costs_the_same(found):
    assert Offer.model_validate_json(found.model_dump_json()) == found
    assert costs(Offer.model_validate(found.model_dump())) == costs(found)


# ---- what a sheet may say

SHEET = """\
experiment: toy
strata: [reason]
holdout: hold
arms:
  hold: {share: 1}
  A:
    share: 2
    contact: 5
    kind: gift
    worth: 50
tables: {}
"""


def read(tmp_path, text):
    (tmp_path / "sheet.yml").write_text(text, encoding="utf-8")
    return read_sheet(tmp_path / "sheet.yml")


@pytest.mark.parametrize(("change", "line", "parts"), [
    (("kind: gift", "kind: gfit"), 9, ("arms.A.kind", "There is no kind 'gfit'", "Did you mean 'gift'?")),
    (("kind: gift", "knid: gift"), 9, ("arms.A.knid", "Did you mean 'kind'?")),
    (("    kind: gift\n", ""), 9, ("arms.A.worth", "nly an offer with a `kind` has it", "`kind: discount`")),
    (("    worth: 50\n", ""), 6, ("arms.A.worth", "'gift' needs `worth`", "list price")),
    (("kind: gift", "kind: discount"), 6, ("arms.A.months", "by the month needs `months`")),
    (("kind: gift", "kind: subscription\n    months: 3"), 6, ("arms.A.lock_in_months", "needs `lock_in_months`")),
    (("worth: 50", "worth: 50\n    months: 3"), 11, ("arms.A.months", "once for each acceptor", "`per: month`")),
    (("worth: 50", "percent: 5"), 10, ("arms.A.percent", "'gift' is worth money", "discount, coupon")),
    (("kind: gift", "kind: discount\n    percent: 5"), 10, ("arms.A.percent", "here is `worth` too", "Keep one")),
    (("worth: 50", "worth: 50\n    gift: 3"), 11, ("arms.A.gift", "kind 'gift' has no `gift`", "what it is `worth`")),
    (("worth: 50", "worth: 50\n    bundle: [hold]"), 11, ("arms.A.bundle", "kind 'gift' has no `bundle`")),
    (("kind: gift", "kind: bundle\n    bundle: [hold]"), 11, ("arms.A.worth", "it costs what its parts cost")),
    (("kind: gift\n    worth: 50", "kind: tailored\n    by: reason"), 6, ("arms.A.choose", "needs `choose`")),
    (("kind: gift\n    worth: 50", "kind: bundle"), 6, ("arms.A.bundle", "'bundle' needs `bundle`")),
    (("kind: gift\n    worth: 50", "kind: apology\n    take_up: 0.5"), 10, ("arms.A.take_up", "Say what the offer is")),
    (("kind: gift", "kind: event\n    take_up: 0.5"), 10, ("arms.A.take_up", "whoever makes use of it")),
    (("kind: gift\n    worth: 50", "kind: discount\n    percent: 5\n    per: contact"), 11, ("arms.A.per", "Leave")),
    (("worth: 50", "worth: 50\n    per: week"), 11, ("arms.A.per is 'week'", "'acceptor', 'month'")),
    (("worth: 50", "worth: 50\n    marginal_share: 40"), 11, ("arms.A.marginal_share is 40", "less than or equal")),
    (("worth: 50", "worth: -1"), 10, ("arms.A.worth is -1",)),
    (("    share: 2\n", ""), 6, ("arms.A.share", "needs its share")),
])  # fmt: skip
def test_what_makes_no_sense_is_refused_with_its_line_and_the_cure(tmp_path, names, change, line, parts):
    with pytest.raises(WinbackError, match=names(f"sheet.yml, line {line}:", *parts)):
        read(tmp_path, SHEET.replace(*change))


def test_an_offer_of_the_catalogue_needs_no_share(tmp_path):
    text = SHEET.replace("tables:", "catalogue: {price: {kind: discount, worth: 3, months: 2}}\ntables:")
    assert durations(read(tmp_path, text).every_offer) == (2,)


def test_a_kind_that_is_changed_for_one_run_is_checked_like_the_sheet(tmp_path, names):
    sheet = read(tmp_path, SHEET)
    arms = sheet.model_dump()["arms"]
    assert changed(sheet, {"arms": arms}) == sheet
    with pytest.raises(WinbackError, match=names("arms.A", "months", "`per: month`")):
        changed(sheet, {"arms": arms | {"A": arms["A"] | {"months": 3}}})


def test_a_plan_locked_before_there_were_kinds_is_not_a_deviation(tmp_path):
    sheet = read(tmp_path, SHEET.replace("    kind: gift\n    worth: 50\n", "    gift: 50\n"))
    settings, old = sheet.settings(), ("share", "label", "contact", "gift", "monthly", "fixed")
    settings["arms"] = {arm: {name: about[name] for name in old} for arm, about in settings["arms"].items()}
    plan = Plan(experiment="toy", locked_on=date(2026, 1, 1), customers=9, cohort_customers=9, cohort_sha256="",
                sheet=settings)  # fmt: skip
    assert deviations(plan, sheet) == ()
    settings["arms"]["A"]["gift"] = "49"
    assert len(deviations(plan, sheet)) == 1


# ---- what it says


def test_an_offer_is_told_with_its_terms_and_its_last_day():
    known = CATALOGUE | {"paper": offer("certificate", worth=30, expires_days=60, terms="One a household.")}
    assert tell("paper", known, factors={}, currency="EUR") == (
        "paper", Told(label="paper", terms="a certificate of €30; One a household", days=60))  # fmt: skip
    assert tell("evening", known, factors={}, currency="USD")[1].terms == "an invitation to an event"  # no cost told
    one = offer("fee_borne", worth="12.5")
    assert tell("x", {"x": one}, factors={}, currency="USD")[1].terms == "we bear your fee of $12.50"


def test_a_bundle_is_told_as_all_its_parts_until_the_first_of_them_expires():
    known = {"a": offer("coupon", worth=5, expires_days=20), "b": offer("coupon", worth=6, expires_days=30, label="B"),
             "both": offer("bundle", bundle=["a", "b"], terms="online only"),
             "soon": offer("bundle", bundle=["a", "b"], expires_days=9, label="Two coupons")}  # fmt: skip
    both = Told(label="a and B", terms="a coupon of $5; a coupon of $6; online only", days=20)
    assert tell("both", known, factors={}, currency="USD") == ("both", both)
    words = tell("soon", known, factors={}, currency="USD")[1]
    assert (words.label, words.days) == ("Two coupons", 9)


def test_a_tailored_offer_is_told_as_what_is_chosen_with_the_terms_of_the_rule():
    known = CATALOGUE | {"rule": offer("tailored", by="reason", choose={"price": "discount"}, expires_days=14)}
    assert tell("rule", known, factors={"reason": "price"}, currency="USD") == (
        "discount", Told(label="discount", terms="$20 off a month, for 6 months", days=14))  # fmt: skip


@pytest.mark.parametrize(("settings", "gives"), [
    ({"kind": "apology"}, False), ({"kind": "apology", "worth": 15}, True),
    ({"kind": "bundle", "bundle": ["sorry"]}, False), ({"kind": "bundle", "bundle": ["sorry", "gift"]}, True),
    ({"gift": 3}, True),
])  # fmt: skip
def test_only_an_apology_without_a_gesture_gives_nothing(settings, gives):
    known = CATALOGUE | {"sorry": offer("apology"), "it": Offer.model_validate(settings)}
    assert tell("it", known, factors={}, currency="USD")[1].gives is gives


def test_amounts_are_written_in_the_language_of_the_list():
    known = {"it": offer("discount", worth="19.50", months=6)}
    told = [tell("it", known, factors={}, currency="USD", language=code)[1].terms for code in ("en", "fr")]
    assert told[0] == "$19.50 off a month, for 6 months"
    assert "19,50" in told[1]


# ---- does it fit?

CASES = {
    "bare_apology": ({"kind": "apology"}, {"kind": "apology", "worth": 15}),
    "small_discount": ({"kind": "discount", "percent": 2, "months": 6},
                       {"kind": "discount", "percent": 5, "months": 6}),
    "nothing_given": ({"kind": "fee_borne", "worth": 0}, {"kind": "fee_borne", "worth": 1}),
    "too_dear": ({"kind": "certificate", "worth": 1001, "take_up": 0.1, "expires_days": 30},
                 {"kind": "certificate", "worth": 1000, "expires_days": 30}),
    "dear_month": ({"kind": "discount", "worth": 81, "months": 2}, {"kind": "discount", "worth": 80, "months": 2}),
    "no_expiry": ({"kind": "promo_code", "worth": 10}, {"kind": "promo_code", "worth": 10, "expires_days": 7}),
    "short_expiry": ({"kind": "gift", "worth": 9, "marginal_share": 1, "expires_days": 6},
                     {"kind": "gift", "worth": 9, "marginal_share": 1, "expires_days": 7}),
    "bound_for_nothing": ({"lock_in_months": 12}, {"lock_in_months": 12, "gift": 10}),
    "bound_longer": ({"kind": "subscription", "worth": 5, "months": 6, "lock_in_months": 12},
                     {"kind": "subscription", "worth": 5, "months": 12, "lock_in_months": 12}),
    "bundle_of_one": ({"kind": "bundle", "bundle": ["a"]}, {"kind": "bundle", "bundle": ["a", "b"]}),
    "one_target": ({"kind": "tailored", "by": "reason", "choose": {"price": "a", "service": "a"}},
                   {"kind": "tailored", "by": "reason", "choose": {"price": "a", "service": "b"}}),
    "at_list_price": ({"kind": "upgrade", "worth": 35, "months": 3},
                      {"kind": "upgrade", "worth": 35, "months": 3, "marginal_share": 1}),
    "everybody_claims": ({"kind": "guarantee", "worth": 50}, {"kind": "guarantee", "worth": 50, "take_up": 0.1}),
    "without_end": ({"kind": "discount", "percent": 10}, {"kind": "discount", "percent": 10, "months": 6}),
}  # fmt: skip
AROUND = {"a": Offer(gift=10), "b": Offer(gift=5)}


def warned(settings, **known):
    return [found.key for found in judged({"it": settings}, **known) if found.facts["offer"] == "it"]


def judged(told, *, second_value=1000.0, monthly_value=80.0):
    known = AROUND | {name: Offer.model_validate(settings) for name, settings in told.items()}
    return check_offers(known, second_value=second_value, monthly_value=monthly_value)


@pytest.mark.parametrize("check", OFFER_CHECKS)
def test_what_does_not_fit_is_warned_of_and_what_fits_is_not(check):
    wrong, right = CASES[check]
    assert (warned(wrong), warned(right)) == ([check], [])


def test_every_check_has_its_words():
    assert set(OFFER_CHECKS) == OFFER_KEYS


def test_a_warning_says_what_and_the_cure():
    (found,) = judged({"card": {"kind": "gift", "worth": 2500, "marginal_share": 0.5}})
    assert found.facts == {"offer": "card", "label": "card", "cost": 1250.0, "brings": 1000.0}
    assert " ".join(offer_warning(found, currency="USD")) == (
                          "at full take-up it costs $1,250.00 a customer; a returned customer brings $1,000.00. "
                          "Give less, or for fewer months, or only to those who bring more "
                          "(`kind: tailored`).")  # fmt: skip


def test_the_worst_case_is_judged_whatever_the_take_up_and_for_the_dearest_choice_and_the_whole_bundle():
    dear = {"kind": "fee_borne", "worth": 990, "take_up": 0.01}
    told = {"dear": dear,
            "rule": {"kind": "tailored", "by": "reason", "choose": {"x": "a", "y": "dear"}, "contact": 11},
            "both": {"kind": "bundle", "bundle": ["dear", "a", "b"]}}  # fmt: skip
    assert [(found.facts["offer"], found.key) for found in judged(told)] == [("rule", "too_dear"), ("both", "too_dear")]


def test_a_percentage_without_end_and_a_share_of_what_is_brought_are_part_of_the_worst_case():
    assert warned({"kind": "discount", "percent": 99, "contact": 11}) == ["too_dear", "without_end"]
    assert warned({"value_share": 1, "contact": 1}) == ["too_dear"]
    assert warned({"value_share": 1}) == []


def test_a_small_discount_in_money_is_one_against_the_month_and_nobody_is_judged_by_what_is_not_known():
    small = {"kind": "discount", "worth": "3.99", "months": 6}
    assert (warned(small), warned(small | {"worth": 4})) == (["small_discount"], [])
    assert warned(small, monthly_value=None) == []
    assert warned({"gift": 9999, "monthly": [{"cost": 999, "months": 9}]}, second_value=None, monthly_value=None) == []


def test_an_apology_in_a_bundle_is_not_alone_and_neither_is_a_code_that_expires_with_it():
    told = {"sorry": {"kind": "apology"}, "it": {"kind": "bundle", "bundle": ["sorry", "code"], "expires_days": 30},
            "code": {"kind": "promo_code", "worth": 10}}  # fmt: skip
    assert judged(told) == ()
    told["it"] = {"kind": "bundle", "bundle": ["sorry", "too"]}
    assert [found.facts["offer"] for found in judged(told | {"too": {"kind": "apology"}})] == ["sorry", "code", "too"]


def test_one_thing_twice_in_a_bundle_is_warned_of():
    assert warned({"bundle": ["a", "b", "a"]}) == ["bundle_of_one"]


def test_the_sheets_of_the_repository_fit(telecom_sheet, donor_sheet):
    for sheet in (telecom_sheet, donor_sheet):
        assert check_offers(sheet.every_offer, second_value=1410, monthly_value=80) == ()


# ---- the whole way


def test_a_kind_reads_out_exactly_as_its_costs_written_out(small_telecom, telecom_sheet):
    arms = telecom_sheet.model_dump(exclude_unset=True)["arms"]
    by_kind, written = dict(arms), dict(arms)
    by_kind["discount"] = {"share": 1, "label": "Discount", "kind": "discount", "worth": 20, "months": 6, "contact": 5}
    by_kind["upgrade"] = {"share": 1, "label": "Upgrade", "kind": "upgrade", "worth": 70, "months": 3, "contact": 5,
                          "marginal_share": 0.5}  # fmt: skip
    by_kind["bundle"] = {"share": 1, "label": "Bundle", "kind": "bundle", "bundle": ["discount", "upgrade", "card"]}
    by_kind["tailored"] = {"share": 1, "label": "Tailored", "kind": "tailored", "contact": 5, "by": "reason",
                           "choose": arms["tailored"]["choose"]}  # fmt: skip
    written["bundle"] = arms["bundle"] | {"bundle": ["discount", "upgrade", "card"]}
    sheets = []
    for given_arms, card in ((by_kind, {"kind": "gift", "worth": 50, "marginal_share": 0.4, "take_up": 0.8}),
                             (written, {"gift": 16})):  # fmt: skip
        sheets.append(changed(telecom_sheet, {"arms": given_arms, "catalogue": {"card": card}}))
    cube = make_cube(sheets[0], small_telecom)
    assert cube.lengths("promoted") == (3, 6)
    found, same = (read_cube(cube, sheet) for sheet in sheets)
    assert [arm.kind for arm in found.offers] == ["discount", "upgrade", "bundle", "tailored"]
    assert replace(found, arms=tuple(replace(arm, kind=None) for arm in found.arms)) == same
    assert found.arm("bundle").estimates["cost"].value > found.arm("discount").estimates["cost"].value


PURCHASES = """\
customer_id,at,amount
a1,2026-01-15,10.00
a1,2026-02-15,20.00
a1,2026-03-15,40.00
a2,2026-02-15,100.00
a2,2026-02-20,-30.00
a3,2026-01-20,80.00
h1,2026-01-20,160.00
"""


@pytest.fixture
def rated(by_hand):
    """Return a function that reads a test of an offer in percent: a1 and a2 accepted, a3 came back without a yes."""

    def write(about, purchases=PURCHASES, **settings):
        arms = {"hold": {"share": 1}, "A": {"share": 3, **about}}
        assignments = "customer_id,arm,at\n" + "".join(f"{name},A,2026-01-10\n" for name in ("a1", "a2", "a3"))
        return by_hand(
            arms=arms, purchases=purchases, assignments=assignments + "h1,hold,2026-01-10\nh2,hold,2026-01-10\n",
            contacts="customer_id,at,accepted_at\na1,2026-01-11,2026-01-11\na2,2026-01-11,2026-01-12\na3,2026-01-11,\n",
            settings={"horizon_months": 3, "window_months": 2, "discount_rate": 0, "followed_until": "2026-05-01",
                      **settings},
        )  # fmt: skip

    return write


@pytest.mark.parametrize(("months", "paid"), [
    ({}, [10, 20 + 70, 40]),  # as long as they buy
    ({"months": 1}, [10, 70, 0]),  # the month of each one's first purchase, a refund taken back
    ({"months": 2}, [10, 20 + 70, 0]),
])  # fmt: skip
def test_a_percentage_costs_its_part_of_what_acceptors_paid_in_its_months(rated, months, paid):
    sheet, folder = rated({"kind": "discount", "percent": 10, "take_up": 0.5, **months})
    cube = make_cube(sheet, folder)
    (sums,) = (cube.full(f"paid_{length}") for length in cube.lengths("paid"))
    assert sums.sum(axis=(1, 2))[1].tolist() == [100 * amount for amount in paid]
    found = read_out(sheet, folder).arm("A").estimates
    assert found["cost"].value == pytest.approx(0.1 * 0.5 * sum(paid) / 3, rel=1e-12)


@pytest.mark.parametrize("margin", [False, True])
def test_a_percentage_is_of_the_price_whatever_part_of_it_is_margin(rated, margin):
    lines = PURCHASES.splitlines()
    with_margin = "\n".join([lines[0] + ",margin", *(line + ",1" for line in lines[1:])])
    sheet, folder = rated({"kind": "discount", "percent": 10}, with_margin if margin else PURCHASES, margin_share=0.25)
    assert read_out(sheet, folder).arm("A").estimates["cost"].value == pytest.approx(0.1 * 140 / 3, rel=1e-12)


def test_a_percentage_by_segment_is_the_same_as_over_all(rated):
    from experiments.readout.segments import cost

    sheet, folder = rated({"kind": "bonus", "percent": 10, "months": 2})
    cube = make_cube(sheet, folder)
    assert cost(cube, sheet).sum(axis=(1, 2)) == pytest.approx([0, 0.1 * 100])


def test_results_without_dates_take_a_percentage_without_months_and_refuse_one_with(by_hand, names):
    tables = {"assignments": "customer_id,arm\na1,A\na2,A\nh1,hold\nh2,hold\n",
              "outcomes": "customer_id,returned,value\na1,1,50\na2,0,0\nh1,0,0\nh2,0,0\n"}  # fmt: skip
    arms = {"hold": {"share": 1}, "A": {"share": 2, "kind": "discount", "percent": 10}}
    sheet, folder = by_hand(arms=arms, settings={"margin_share": 0.5}, **tables)
    assert read_out(sheet, folder).arm("A").estimates["cost"].value == pytest.approx(0.1 * 50 / 2)
    arms["A"]["months"] = 2
    with pytest.raises(WinbackError, match=names("costs for some months", "without dates")):
        make_cube(*by_hand(arms=arms, **tables))


def test_a_part_that_costs_by_acceptance_makes_who_accepted_matter(small_telecom, telecom_sheet):
    arms = telecom_sheet.model_dump(exclude_unset=True)["arms"]
    for offered, state in (({"bundle": ["gift"]}, "warn"), ({"contact": 5}, "pass")):
        told = {arm: about if arm == "holdout" else {"share": 1, **offered} for arm, about in arms.items()}
        sheet = changed(telecom_sheet, {"arms": told, "catalogue": {"gift": {"kind": "fee_borne", "worth": 5}}})
        cube = replace(make_cube(sheet, small_telecom), contacts_known=False)
        (check,) = (one for one in read_cube(cube, sheet).checks if one.key == "acceptances")
        assert check.state == state


def test_the_models_refuse_without_a_sheet_too():
    with pytest.raises(ValidationError, match="needs `worth` or `percent`"):
        offer("coupon")
