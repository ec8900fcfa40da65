"""The call list: whom to contact, who does it, when, how and with which words; and what is wrong before that."""

import datetime as dt
import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from experiments.campaign.call_list import Told, keep_calls, list_columns, plan_calls, write_calls
from experiments.campaign.call_rules import RULES, sentence
from experiments.campaign.call_slots import Window, seat
from experiments.common.errors import WinbackError
from experiments.data.spreadsheets import read_list
from experiments.data.tables import connect
from experiments.sheet.contact_rules import ContactRules
from experiments.sheet.sheet import Sheet

DAY = dt.date(2026, 3, 2)  # a Monday
COHORT = {"lost_at": DAY - dt.timedelta(60), "step": "contactable", "reason": "price", "manager": "Dan",
          "line": "mobile", "complaint": "none", "abc": "B", "priority": "must", "expected": 100,
          "worth": 50}  # fmt: skip
KINDS = {"lost_at": "DATE", "fixed_at": "DATE", "at": "DATE", "accepted_at": "DATE", "refused_at": "DATE",
         "expected": "BIGINT", "worth": "BIGINT", "reached": "BOOLEAN", "do_not_contact": "BOOLEAN"}  # fmt: skip
ARMS = {"hold": {"share": 1}, "gift": {"share": 1, "label": "A gift", "gift": 10}, "ticket": {"share": 1}}


@pytest.fixture(scope="module")
def con():
    with connect(threads=1) as con:
        yield con


def put(con, name, rows):
    """Make a table of rows, dicts with the same keys."""
    names = list(rows[0])
    cells = ", ".join(f'unnest(CAST(? AS {KINDS.get(one, "VARCHAR")}[])) AS "{one}"' for one in names)
    con.execute(f"CREATE OR REPLACE TABLE {name} AS SELECT {cells}", [[row[one] for row in rows] for one in names])


def sheet_of(**changes):
    return Sheet.model_validate({"experiment": "toy", "question": "?", "holdout": "hold", "seed": 3, "arms": ARMS,
                                 "tables": {}, **changes})  # fmt: skip


def rules_of(**changes):
    return ContactRules.model_validate({"callers": {"Ann": {}}, "first_day": DAY, **changes})


def plan(con, people, *, rules=None, sheet=None, customers=(), reasons=(), contacts=(), assignments=(), **more):
    """Plan calls for customers: name -> what differs from an average lost customer of the arm `gift`."""
    rows = [{"arm": "gift", "at": DAY, **about, "customer_id": name} for name, about in people.items()]
    put(con, "assigned", [{name: row.get(name) for name in ("customer_id", "arm", "at", "stratum")}
                          for row in [*rows, *assignments]])  # fmt: skip
    lost = [COHORT | {name: row[name] for name in ("customer_id", *COHORT) if name in row}
            for row in rows if row.get("step") != "never lost"]  # fmt: skip
    put(con, "cohort", lost or [COHORT | {"customer_id": "nobody"}])
    tables = {"customers": customers, "reasons": reasons, "contacts": contacts}
    for name, given_rows in tables.items():
        if given_rows:
            put(con, name, list(given_rows))
    known = {name: name for name, given_rows in tables.items() if given_rows}
    return plan_calls(con, sheet or sheet_of(), rules=rules or rules_of(), **known, **more)


def calls(con, *columns):
    return con.execute(f"SELECT {', '.join(columns)} FROM calls ORDER BY place").fetchall()


def why(con):
    return dict(con.execute("SELECT customer_id, why FROM calls_not_listed").fetchall())


def violations(made):
    return {violation.key: violation.facts["customers"] for violation in made.violations}


# ---- who is on the list, and where everybody else is


def test_one_row_a_customer_with_all_that_the_caller_needs_and_no_more(con, tmp_path):
    rules, eva = rules_of(show=["name", "phone"]), {"name": "Eva", "phone": "+49 30 1", "email": "e@x"}
    made = plan(con, {"7": {}}, customers=[{"customer_id": "7", **eva}], rules=rules)
    write_calls(con, tmp_path / "list.csv", rules=rules)
    names = [column.name for column in list_columns(rules)]
    (row,) = read_list(tmp_path / "list.csv", wanted=names, needed="customer_id")
    assert (made.assigned, made.listed, made.not_listed, made.violations) == (1, 1, (), ())
    assert row == {
        "day": "2026-03-02", "caller": "Ann", "channel": "call", "customer_id": "7", "name": "Eva", "phone": "+49 30 1",
        "reason": "price", "complaint": "none", "offer": "A gift; valid until 2026-04-01", "deadline": "2026-04-01",
        "words": "Good day, Eva, this is Ann. You left because of the price. We would like to have you back, at better "
                 "terms. I have something for you: A gift. It is yours if you say yes by 1 April 2026. May I put it "
                 "down for you? If not: what would be a fair price?",
        "called_on": None, "reached": None, "accepted_at": None, "refused_at": None, "refusal": None,
    }  # fmt: skip
    header = (tmp_path / "list.csv").read_text(encoding="utf-8-sig").splitlines()[0]
    assert header.replace('"', "").split(",") == list(row)  # no e-mail, no arm, no revenue


def test_everybody_assigned_is_on_the_list_or_left_out_for_one_reason(con):
    people = {
        "a": {}, "held": {"arm": "hold"}, "dnc": {"step": "do_not_contact"}, "moved": {"step": "natural"},
        "gone": {"step": "unreachable"}, "unlost": {"step": "never lost"}, "both": {}, "full": {"expected": 1},
        "new": {"lost_at": DAY + dt.timedelta(40)}, "past": {"at": DAY - dt.timedelta(60)},
    }  # fmt: skip
    made = plan(con, people, rules=rules_of(capacity=1, deadline_days=0), assignments=[
        {"customer_id": "both", "arm": "ticket", "at": DAY}])  # fmt: skip
    assert [row[0] for row in calls(con, "customer_id")] == ["a"]
    assert why(con) == {
        "held": "holdout", "dnc": "do_not_contact", "moved": "not_contactable", "gone": "not_contactable",
        "unlost": "not_lost", "both": "duplicate", "full": "no_capacity", "new": "waiting", "past": "late",
    }  # fmt: skip
    assert str(made) == (
        "call list: 1 of 10 assigned customers; not on it: holdout: 1; assigned more than once: 1; not in the cohort: "
        "1; do not contact: 1; not to be contacted: 2; the wait ends after the deadline: 1; deadline over: 1; no "
        "capacity before the deadline: 1"
    )


def test_a_customer_whom_two_rules_keep_counts_once_on_the_list_and_in_both_violations(con):
    made = plan(con, {"x": {"step": "not_fixed"}, "y": {}}, customers=[
        {"customer_id": "x", "do_not_contact": True}, {"customer_id": "y", "do_not_contact": False}])  # fmt: skip
    assert why(con) == {"x": "do_not_contact"}
    assert violations(made) == {"do_not_contact": 1, "not_fixed": 1}


def test_rows_of_other_tests_and_customers_the_ledger_released_are_not_assigned(con):
    plan(con, {"x": {}})
    con.execute("CREATE OR REPLACE TABLE assigned AS SELECT experiment, customer_id, 'gift' AS arm, DATE '2026-03-02' "
                "AS \"at\", CASE WHEN customer_id = '3' THEN DATE '2026-03-03' END AS released_at FROM (VALUES "
                "('toy', '1'), ('old', '2'), ('toy', '3')) AS t(experiment, customer_id)")  # fmt: skip
    put(con, "cohort", [{"customer_id": name, **COHORT} for name in "123"])
    made = plan_calls(con, sheet_of(), rules=rules_of())
    assert (made.assigned, calls(con, "customer_id")) == (1, [("1",)])


# ---- who, when, how


def test_the_first_of_a_caller_is_who_matters_most_and_is_expected_to_bring_most(con):
    people = {"let": {"priority": "let_go", "expected": 999}, "low": {"expected": 1}, "high": {"expected": 5},
              "first": {"priority": "first", "expected": None}, "rich": {"expected": None, "worth": 9},
              "poor": {"expected": None, "worth": 3}}  # fmt: skip
    plan(con, people, rules=rules_of(capacity=2))
    order = ["first", "high", "low", "rich", "poor", "let"]
    assert calls(con, "customer_id", "day") == [
        (name, DAY + dt.timedelta(place // 2)) for place, name in enumerate(order)
    ]


def test_nobody_is_called_on_weekends_and_holidays_nor_before_the_first_day_the_assignment_and_the_wait(con):
    people = {"now": {"lost_at": DAY - dt.timedelta(9)}, "wait": {"lost_at": DAY - dt.timedelta(3)},
              "later": {"at": DAY + dt.timedelta(9)}}  # fmt: skip
    rules = rules_of(waiting_days=7, holidays=[DAY, "2026-03-06"], working_days=["mon", "tue", "fri", "sat"])
    plan(con, people, rules=rules)
    days = dict(calls(con, "customer_id", "day"))
    assert days == {"now": dt.date(2026, 3, 3), "wait": dt.date(2026, 3, 7), "later": dt.date(2026, 3, 13)}
    plan(con, {"x": {}}, rules=rules.model_copy(update={"first_day": None, "holidays": ()}))
    assert calls(con, "day") == [(DAY + dt.timedelta(1),)]  # the day after the assignment


def test_a_cause_of_ours_must_be_removed_first_for_this_customer_or_for_everybody(con):
    people = {name: {} for name in ("theirs", "open", "own", "all", "half", "late")}
    stated = [("theirs", "price", None), ("open", "delivery", None), ("own", "delivery", DAY + dt.timedelta(1)),
              ("all", "stock", None), ("half", "stock", None), ("half", "delivery", None),
              ("late", "delivery", DAY + dt.timedelta(99))]  # fmt: skip
    reasons = [dict(zip(("customer_id", "reason", "fixed_at"), row, strict=True)) for row in stated]
    causes = {"delivery": None, "stock": DAY - dt.timedelta(1)}
    made = plan(con, people, reasons=reasons, causes=causes)
    assert dict(calls(con, "customer_id", "day")) == {"theirs": DAY, "own": DAY + dt.timedelta(1), "all": DAY}
    assert violations(made) == {"not_fixed": 3}
    off = plan(con, people, reasons=reasons, causes=causes, rules=rules_of(fixed_first=False))
    assert (off.listed, off.violations) == (6, ())


def test_the_channel_follows_the_days_since_the_loss_on_the_day_of_the_call(con):
    channels = [{"channel": "call", "up_to_days": 90}, {"channel": "visit", "up_to_days": 400}, {"channel": "letter"}]
    rules = rules_of(capacity=1, channels=channels)
    ages = {"recent": 89, "edge": 89, "long": 300, "ancient": 500}
    plan(con, {name: {"lost_at": DAY - dt.timedelta(days), "expected": -place}
               for place, (name, days) in enumerate(ages.items())}, rules=rules)  # fmt: skip
    assert calls(con, "customer_id", "channel") == [
        ("recent", "call"),
        ("edge", "call"),
        ("long", "visit"),
        ("ancient", "letter"),
    ]
    plan(
        con,
        {name: {"lost_at": DAY - dt.timedelta(90), "expected": -place} for place, name in enumerate("ab")},
        rules=rules,
    )
    assert calls(con, "customer_id", "channel") == [("a", "call"), ("b", "visit")]  # b waits a day


def test_the_head_calls_class_a_and_only_it(con):
    callers = {"Bob": {}, "Eve": {"head": True}}
    plan(con, {"a": {"abc": "A"}, "b": {}, "c": {"abc": "C"}}, rules=rules_of(callers=callers))
    assert dict(calls(con, "customer_id", "caller")) == {"a": "Eve", "b": "Bob", "c": "Bob"}
    more = plan(con, {"a": {"abc": "A"}, "b": {}}, rules=rules_of(callers={"Eve": {"head": True, "tiers": ["A", "B"]}}))
    assert more.listed == 2
    without = plan(con, {"a": {"abc": "A"}, "b": {}}, rules=rules_of(callers={"Bob": {}}))
    assert violations(without) == {"no_head": 1}
    assert plan(con, {"a": {"abc": "A"}}, rules=rules_of(callers={"Bob": {}}, head_calls=False)).listed == 1
    assert plan(con, {"b": {}}, rules=rules_of(callers={"Eve": {"head": True}}, head_calls=False)).listed == 1


def test_nobody_calls_a_customer_whom_they_lost_however_the_name_is_written(con):
    people = {"x": {"manager": " ann  LEE"}, "y": {"manager": "Bob"}, "z": {"manager": None}}
    made = plan(con, people, rules=rules_of(callers={"Ann Lee": {}, "Bob": {}}))
    found = dict(calls(con, "customer_id", "caller"))
    assert (found["x"], found["y"], made.violations) == ("Bob", "Ann Lee", ())
    alone = plan(con, people, rules=rules_of(callers={"Ann Lee": {}}))
    assert (violations(alone), why(con)) == ({"own_manager": 1}, {"x": "own_manager"})
    assert plan(con, people, rules=rules_of(callers={"Ann Lee": {}}, not_own_manager=False)).listed == 3


def test_callers_serve_their_lines_managers_and_classes(con):
    callers = {"Ann": {"lines": ["mobile"], "managers": ["Dan"]}, "Bob": {"tiers": ["C"]}}
    people = {"m": {}, "other": {"manager": "Eva"}, "c": {"abc": "C", "line": "fixed"}, "none": {"line": None}}
    made = plan(con, people, rules=rules_of(callers=callers))
    assert dict(calls(con, "customer_id", "caller")) == {"m": "Ann", "c": "Bob"}
    assert violations(made) == {"no_caller": 2}


def test_what_does_not_fit_before_the_deadline_is_counted_and_the_offer_may_end_before_it(con):
    people = {str(number): {"arm": arm, "expected": -number} for number, arm in enumerate(["gift", "ticket"] * 4)}
    told = {"ticket": Told(label="A ticket", until=DAY + dt.timedelta(1)), "gift": Told(label="", days=2)}
    made = plan(con, people, rules=rules_of(capacity=1, deadline_days=3), told=told)
    assert (made.listed, violations(made)) == (3, {"no_capacity": 5})
    late, early = DAY + dt.timedelta(2), DAY + dt.timedelta(1)
    assert calls(con, "arm", "day", "deadline") == [("gift", DAY, late), ("ticket", early, early), ("gift", late, late)]
    assert made.loads[0].customers == made.loads[0].days == 3


def test_without_a_deadline_the_list_goes_on_for_a_year_and_no_longer(con):
    people = {str(number): {} for number in range(300)}
    made = plan(con, people, rules=rules_of(capacity=1, deadline_days=None))
    assert (made.listed, made.loads[0].last_day) == (
        263,
        DAY + dt.timedelta(366),
    )  # working days of 367 days from a Monday
    assert {row[0] for row in calls(con, "deadline")} == {None}


# ---- test factors


def test_a_channel_drawn_by_chance_is_balanced_in_each_arm_and_the_same_when_the_list_is_made_again(con):
    people = {str(number): {"arm": ("gift", "gift", "ticket")[number % 3]} for number in range(60)}
    varied = rules_of(vary=["channel"])
    for seed in (1, 2, 3):
        plan(con, people, rules=varied, sheet=sheet_of(seed=seed))
        drawn = dict(calls(con, "customer_id", "channel"))
        arms = Counter((people[name]["arm"], channel) for name, channel in drawn.items())
        assert arms == {("gift", "call"): 20, ("gift", "visit"): 20, ("ticket", "call"): 10, ("ticket", "visit"): 10}
    done = [{"customer_id": name, "experiment": "toy", "reached": True} for name in list(people)[:20]]
    plan(con, people, rules=varied, contacts=done)
    assert dict(calls(con, "customer_id", "channel")) == {name: drawn[name] for name in list(people)[20:]}
    plan(con, people, rules=varied, sheet=sheet_of(seed=4))
    assert dict(calls(con, "customer_id", "channel")) != drawn


def test_a_caller_drawn_by_chance_is_balanced_in_each_arm_among_those_who_may_call(con):
    people = {str(number): {"arm": ("gift", "ticket")[number % 2]} for number in range(40)} | {"x": {"manager": "Ann"}}
    made = plan(con, people, rules=rules_of(callers={"Ann": {"capacity": 99}, "Bob": {}}, vary=["caller"]))
    found = dict(calls(con, "customer_id", "caller"))
    assert Counter((people[name]["arm"], found[name]) for name in people if name != "x") == dict.fromkeys(
        itertools.product(("gift", "ticket"), ("Ann", "Bob")), 10)  # fmt: skip
    assert (found["x"], made.listed) == ("Bob", 41)


# ---- what was before


def test_contacts_before_the_test_are_a_violation_and_contacts_of_it_are_not(con):
    contacts = [
        {"customer_id": "other", "experiment": "old", "at": DAY, "reached": True},
        {"customer_id": "early", "experiment": "toy", "at": DAY - dt.timedelta(1), "reached": True},
        {"customer_id": "called", "experiment": "toy", "at": DAY, "reached": True},
        {"customer_id": "letter", "experiment": "toy", "at": DAY, "reached": None},
        {"customer_id": "missed", "experiment": "old", "at": DAY, "reached": False},
    ]
    made = plan(con, {row["customer_id"]: {} for row in contacts} | {"fresh": {}}, contacts=contacts)
    assert violations(made) == {"contacted_before": 2}
    assert sorted(calls(con, "customer_id")) == [("fresh",), ("missed",)]
    assert why(con) == {
        "other": "contacted_before",
        "early": "contacted_before",
        "called": "contacted",
        "letter": "contacted",
    }


def test_unreachable_is_not_a_refusal_who_was_missed_is_tried_again_until_the_tries_are_used_up(con):
    contacts = [{"customer_id": name, "experiment": "toy", "at": DAY, "reached": False}
                for name, times in (("once", 1), ("thrice", 3)) for _ in range(times)]  # fmt: skip
    made = plan(con, {"once": {}, "thrice": {}, "never": {}}, contacts=contacts)
    assert sorted(calls(con, "customer_id", "attempt")) == [("never", 1), ("once", 2)]
    assert (why(con), made.violations) == ({"thrice": "tried"}, ())
    assert plan(con, {"once": {}, "thrice": {}}, contacts=contacts, rules=rules_of(attempts=None)).listed == 2


# ---- what is said


def test_an_unresolved_complaint_and_a_service_reason_get_an_apology_and_the_offer_together(con):
    people = {"complaint": {"complaint": "unresolved"}, "service": {"reason": "service"}, "price": {}}
    plan(con, people)
    words = dict(calls(con, "customer_id", "words"))
    assert "it has not been put right. I am sorry." in words["complaint"]
    assert "We let you down, and I am sorry." in words["service"]
    assert "sorry" not in words["price"]
    assert all("A gift" in one for one in words.values())


def test_no_apology_without_an_offer(con):
    people = {"x": {"complaint": "unresolved"}, "y": {}}
    told = {"gift": Told(label="only words", gives=False)}
    made = plan(con, people, told=told)
    assert (violations(made), why(con)) == ({"no_offer": 1}, {"x": "no_offer"})
    assert made.stops
    off = plan(con, people, told=told, rules=rules_of(apology_with_offer=False))
    assert (off.listed, off.violations) == (2, ())
    assert not any("only words" in words for (words,) in calls(con, "words"))
    assert {row[0] for row in calls(con, "offer")} == {""}


def test_an_offer_of_a_kind_is_told_with_its_terms_and_its_last_day_is_the_deadline(con):
    less = {"kind": "discount", "worth": 20, "months": 6, "lock_in_months": 6, "expires_days": 14, "label": "Less",
            "terms": "one a household"}  # fmt: skip
    arms = {"hold": {"share": 1}, "gift": {"share": 1, **less},
            "ticket": {"share": 1, "kind": "bundle", "bundle": ["paper", "gift"]}}  # fmt: skip
    catalogue = {"paper": {"kind": "certificate", "worth": 30, "expires_days": 9}}
    people = {"g": {}, "t": {"arm": "ticket"}}
    plan(con, people, sheet=sheet_of(arms=arms, catalogue=catalogue), rules=rules_of(deadline_days=30))
    terms = "$20 off a month, for 6 months; binds for 6 months; one a household"
    fortnight, nine = DAY + dt.timedelta(14), DAY + dt.timedelta(9)
    assert {name: rest for name, *rest in calls(con, "customer_id", "deadline", "offer")} == {
        "g": [fortnight, f"Less: {terms}; valid until {fortnight}"],
        "t": [nine, f"paper and Less: a certificate of $30; {terms}; valid until {nine}"],
    }
    words = dict(calls(con, "customer_id", "words"))
    assert f"I have something for you: Less ({terms})" in words["g"]
    assert "It is yours if you say yes by 11 March 2026." in words["t"]
    plan(con, people, sheet=sheet_of(arms=arms, catalogue=catalogue), rules=rules_of(deadline_days=5))
    assert {row[0] for row in calls(con, "deadline")} == {DAY + dt.timedelta(5)}


def test_an_apology_of_the_catalogue_needs_a_gesture(con):
    people = {"x": {"complaint": "unresolved"}}
    sorry = {"kind": "apology", "share": 1}
    for about, found in ((sorry, {"no_offer": 1}), (sorry | {"worth": 15}, {})):
        made = plan(con, people, sheet=sheet_of(arms={"hold": {"share": 1}, "gift": about}))
        assert violations(made) == found
    assert calls(con, "offer") == [("gift: $15 to say sorry; valid until 2026-04-01",)]


def test_an_offer_tailored_by_reason_is_told_as_what_the_customer_gets(con):
    arms = {"hold": {"share": 1}, "tailored": {"share": 1, "label": "Tailored", "by": "reason",
                                               "choose": {"price": "discount", "both": "bundle"}}}  # fmt: skip
    catalogue = {"discount": {"share": 1, "label": "Discount"}, "upgrade": {"share": 1, "label": "Upgrade"},
                 "bundle": {"share": 1, "bundle": ["discount", "upgrade"]}}  # fmt: skip
    sheet = sheet_of(arms=arms, catalogue=catalogue, strata=["reason", "tier"])
    people = {"p": {"arm": "tailored", "stratum": "price / B"}, "b": {"arm": "tailored", "stratum": "both / B"}}
    told = {"discount": Told(label="a discount", terms="for 6 months", until=DAY), "upgrade": Told(label="a channel")}
    plan(con, people, sheet=sheet, told=told)
    assert dict(calls(con, "customer_id", "offer")) == {
        "p": "a discount: for 6 months; valid until 2026-03-02",
        "b": "a discount and a channel: for 6 months; valid until 2026-03-02",
    }
    with pytest.raises(WinbackError, match="'tailored' chooses by 'reason', but says nothing about 'service'"):
        plan(con, {"s": {"arm": "tailored", "stratum": "service / B"}}, sheet=sheet)


def test_an_offer_without_a_script_is_told_before_anybody_calls(con, tmp_path):
    people = {"x": {"reason": "other"}, "y": {}}
    made = plan(con, people)
    (violation,) = made.violations
    assert (violation.key, violation.state, violation.facts["customers"]) == ("no_script", "warn", 1)
    assert "for the offer 'gift'. Write offer-gift.j2" in sentence(violation)
    (tmp_path / "offer-gift.j2").write_text("Take {{ label }}, {{ phone }}.", encoding="utf-8")
    (tmp_path / "reason-prise.j2").write_text("?", encoding="utf-8")
    own = plan(con, people, rules=rules_of(scripts=tmp_path.name, show=["phone"]), folder=tmp_path.parent,
               customers=[{"customer_id": "x", "phone": "1"}, {"customer_id": "y", "phone": None}])  # fmt: skip
    assert dict(calls(con, "customer_id", "words")) == {"x": "Take A gift, 1.", "y": "Take A gift, ."}
    (unused,) = own.violations
    assert sentence(unused).startswith("Nobody on the list hears reason-prise.j2. Correct the name: reason-<reason>")


# ---- laws


ABOUT = st.fixed_dictionaries({
    "arm": st.sampled_from(["hold", "gift", "gift", "ticket"]),
    "lost_at": st.integers(0, 40).map(lambda days: DAY - dt.timedelta(days)),
    "step": st.sampled_from(["contactable"] * 5 + ["do_not_contact", "not_fixed", "natural", "never lost"]),
    "manager": st.sampled_from(["Ann", "Bob", "Dan", None]),
    "line": st.sampled_from(["mobile", "fixed"]),
    "abc": st.sampled_from(["A", "B", "C"]),
    "priority": st.sampled_from(["first", "must", "possible", "let_go"]),
    "expected": st.one_of(st.none(), st.integers(-5, 5)),
    "complaint": st.sampled_from(["none", "unresolved"]),
})  # fmt: skip
COMPANY = st.lists(ABOUT, min_size=1, max_size=30).map(lambda rows: {str(place): row for place, row in enumerate(rows)})
SETTINGS = st.fixed_dictionaries({
    "callers": st.sampled_from([{"Ann": {"capacity": 1}}, {"Ann": {}, "Bob": {"lines": ["fixed"]}},
                                {"Ann": {"head": True}, "Bob": {}, "Eve": {"tiers": ["C"], "capacity": 2}}]),
    "capacity": st.integers(1, 3),
    "waiting_days": st.integers(0, 20),
    "deadline_days": st.sampled_from([0, 2, 9, None]),
    "vary": st.sampled_from([[], ["channel"]]),
    "head_calls": st.booleans(),
    "not_own_manager": st.booleans(),
})  # fmt: skip


@settings(max_examples=20)
@given(people=COMPANY, chosen=SETTINGS, shuffled=st.randoms(use_true_random=False))
def test_laws_of_every_list(con, people, chosen, shuffled):
    rules = rules_of(**chosen)
    made = plan(con, people, rules=rules)
    rows = calls(con, "customer_id", "caller", "day", "channel", "words", "deadline", "place")
    told = con.execute("SELECT customer_id, why FROM calls_not_listed ORDER BY 1").fetchall()

    names = [row[0] for row in rows]
    assert len(set(names)) == len(names)  # nobody twice
    assert sorted([*names, *(name for name, _ in told)]) == sorted(people)  # everybody accounted for
    assert made.assigned == len(people) == made.listed + sum(left.customers for left in made.not_listed)
    assert not [name for name in names if people[name]["arm"] == "hold" or people[name]["step"] != "contactable"]
    load = Counter((caller, day) for _, caller, day, *_ in rows)
    assert all(number <= rules.capacity_of(caller) for (caller, _), number in load.items())
    for name, caller, day, *_, deadline, _ in rows:
        about = people[name]
        assert about["lost_at"] + dt.timedelta(rules.waiting_days) <= day <= (deadline or dt.date.max)
        assert rules.is_working(day)
        assert not (rules.not_own_manager and caller == about["manager"])
        assert not (rules.head_calls and about["abc"] == "A" and not rules.callers[caller].head)
        assert about["line"] in (rules.callers[caller].lines or [about["line"]])

    mixed = list(people.items())
    shuffled.shuffle(mixed)
    again = plan(con, dict(mixed), rules=rules)
    assert calls(con, "customer_id", "caller", "day", "channel", "words", "deadline", "place") == rows
    assert again == made


WINDOWS = st.lists(
    st.tuples(st.sets(st.integers(0, 2), min_size=1), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=5
).map(lambda found: [Window(tuple(sorted(callers)), first, last) for callers, first, last in found])


@settings(max_examples=100)
@given(windows=WINDOWS, data=st.data())
def test_of_the_first_n_as_many_have_a_slot_as_any_arrangement_could_give_them(windows, data):
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import maximum_bipartite_matching  # the oracle

    order = data.draw(st.lists(st.integers(0, len(windows) - 1), min_size=1, max_size=14))
    capacity = data.draw(st.tuples(*[st.integers(1, 2)] * 3))
    slots = seat(order, windows, capacity=capacity, days=4)
    taken = Counter(slot for slot in slots if slot)
    assert all(number <= capacity[caller] for (_, caller), number in taken.items())
    for place, slot in zip(order, slots, strict=True):
        about = windows[place]
        assert slot is None or (slot[1] in about.callers and about.first <= slot[0] <= about.last)
    places = [(day, caller) for day in range(4) for caller in range(3) for _ in range(capacity[caller])]
    fits = [[int(caller in windows[place].callers and windows[place].first <= day <= windows[place].last)
             for day, caller in places] for place in order]  # fmt: skip
    for upto in range(1, len(order) + 1):
        matched = maximum_bipartite_matching(csr_matrix(fits[:upto]), perm_type="column")
        assert sum(slot is not None for slot in slots[:upto]) == (matched >= 0).sum()


def test_whoever_has_a_choice_makes_room_for_who_has_none():
    anybody, only_ann = Window((0, 1), 0, 0), Window((0,), 0, 0)
    slots = seat([0, 0, 1, 1], [anybody, only_ann], capacity=[2, 2], days=1)
    assert slots == [(0, 1), (0, 1), (0, 0), (0, 0)]


# ---- refused


@pytest.mark.parametrize(("settings", "told"), [
    ({"callers": {"Ann Lee": {}, "ann  lee": {}}}, "callers: 'ann lee' is there 2 times"),
    ({"show": ["name", "name"]}, "show: 'name' is there 2 times"),
    ({"show": ["deadline"]}, "a 'deadline' already"),
    ({"show": ["label"]}, "a 'label' already"),
    ({"vary": ["caller"]}, "there is one caller"),
    ({"vary": ["channel"], "channels": [{"channel": "call"}]}, "there is one channel"),
    ({"channels": [{"channel": "a", "up_to_days": 9}, {"channel": "b", "up_to_days": 8}, {"channel": "c"}]}, "short"),
    ({"channels": [{"channel": "a"}, {"channel": "b"}]}, "all but the last"),
    ({"capacity": 0}, "greater than or equal to 1"),
    ({"working_days": []}, "at least 1"),
    ({"weekends": True}, "Extra inputs"),
])  # fmt: skip
def test_settings_that_cannot_be_are_refused(settings, told):
    with pytest.raises(ValidationError, match=told):
        rules_of(**settings)


def test_nobody_to_call_an_unknown_arm_and_missing_columns_are_told_with_the_cure(con):
    with pytest.raises(WinbackError, match=r"does not say who calls. Add `contacts"):
        plan(con, {"x": {}}, rules=rules_of(callers={}))
    with pytest.raises(WinbackError, match=r"arm 'gifts' that the sheet does not know. Did you mean 'gift'"):
        plan(con, {"x": {"arm": "gifts"}})
    with pytest.raises(WinbackError, match=r"1 of 2 assignments have no day .*first_day"):
        plan(con, {"x": {}, "y": {"at": None}}, rules=rules_of(first_day=None))
    with pytest.raises(WinbackError, match=r"Table customers has no column 'phone'. Did you mean 'phones'"):
        plan(con, {"x": {}}, rules=rules_of(show=["phone"]), customers=[{"customer_id": "x", "phones": "1"}])
    with pytest.raises(WinbackError, match="Table customers: 1 of 2 rows repeat a customer"):
        plan(con, {"x": {}}, customers=[{"customer_id": "x"}, {"customer_id": "x"}])
    with pytest.raises(WinbackError, match=r"no folder .*nowhere"):
        plan(con, {"x": {}}, rules=rules_of(scripts="nowhere"))
    con.execute("CREATE OR REPLACE TABLE thin AS SELECT '1' AS customer_id")
    with pytest.raises(WinbackError, match="Table thin has no column 'lost_at'"):
        plan_calls(con, sheet_of(), rules=rules_of(), cohort="thin")
    with pytest.raises(WinbackError, match="Table thick cannot be read"):
        plan_calls(con, sheet_of(), rules=rules_of(), cohort="thick")
    con.execute("CREATE OR REPLACE TABLE floats AS SELECT * REPLACE (1.5::DOUBLE AS customer_id) FROM assigned")
    with pytest.raises(WinbackError, match=r"writes 7 as 7.0. Cast it"):
        plan_calls(con, sheet_of(), rules=rules_of(), assigned="floats")


def test_a_violation_names_no_customer_and_every_rule_has_its_cure(con):
    made = plan(con, {"secret-1": {"step": "do_not_contact"}, "secret-2": {"abc": "A"}})
    assert len(made.violations) == 2
    assert not [violation for violation in made.violations if "secret" in sentence(violation) + str(violation)]
    assert all(rule.cure.endswith(".") and rule.what and rule.label for rule in RULES.values())


def test_the_register_keeps_whoever_was_on_a_list_and_no_names(con, tmp_path):
    path = tmp_path / "new" / "calls.parquet"
    show = [{"customer_id": name, "name": "Eva"} for name in "ab"]
    plan(con, {"a": {}, "b": {}}, customers=show, rules=rules_of(show=["name"]))
    keep_calls(con, path)
    done = [{"customer_id": "a", "experiment": "toy", "reached": True}]
    plan(con, {"a": {}, "b": {}}, contacts=done, rules=rules_of(first_day=DAY + dt.timedelta(2)))
    for _ in range(2):
        keep_calls(con, path)
    assert con.execute(f"SELECT customer_id, day FROM '{path}' ORDER BY 1").fetchall() == [
        ("a", DAY), ("b", DAY + dt.timedelta(2))]  # fmt: skip
    columns = [row[0] for row in con.execute(f"DESCRIBE FROM '{path}'").fetchall()]
    assert columns == ["experiment", "customer_id", "arm", "day", "caller", "channel", "deadline", "attempt"]
