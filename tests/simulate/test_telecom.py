"""The simulated telecom and its truth, and the randomisation that shares out the offers."""

from collections import Counter
from dataclasses import replace
from functools import partial
from itertools import pairwise

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import stats
from telecom_truth import Truth, truth

from experiments.common.errors import WinbackError
from experiments.data.contracts import CONTRACTS, Source
from experiments.data.randomise import BUCKETS, assign
from experiments.data.tables import columns_of, connect, read, sql
from experiments.simulate import telecom as simulator
from experiments.simulate.telecom import ARMS, REASONS, WORLDS, simulate, world

# Section 9 of the design: accepted, returned, months, value gained, cost added, net, ROI; as printed.
PRINTED = {
    "discount": (0.450, 0.471, 5.798, 389.79, 50.13, 339.66, 6.775),
    "upgrade": (0.410, 0.433, 5.369, 361.88, 44.72, 317.16, 7.092),
    "bundle": (0.470, 0.491, 5.895, 399.68, 97.52, 302.16, 3.098),
    "tailored": (0.476, 0.497, 6.091, 413.27, 55.22, 358.05, 6.484),
}
DIGITS = (3, 3, 3, 2, 2, 2, 3)
NET_BY_REASON = {  # discount, upgrade, bundle; section 9, "baseline included"
    "price": (472, 378, 394),
    "service": (354, 414, 362),
    "both": (139, 131, 143),
    "other": (369, 359, 320),
}


def row(arm, true=None):
    true = true or truth()
    offer, holdout = true[arm], true["holdout"]
    gained, added = offer.value - holdout.value, offer.cost - holdout.cost
    return (offer.accepted, offer.returned, offer.months, gained, added, gained - added, (gained - added) / added)


# The truth table, an oracle.
@pytest.mark.parametrize("arm", PRINTED)
def test_the_truth_is_the_published_table_to_printed_digits(arm):
    found, printed = row(arm), PRINTED[arm]
    off = [round(a, digits) != b for a, b, digits in zip(found, printed, DIGITS, strict=True)]
    # Where not: value gained (and with it net) of upgrade and bundle. See the next test for how far, and why.
    assert off == {
        "upgrade": [False, False, False, True, False, True, False],
        "bundle": [False, False, False, True, False, False, False],
    }.get(arm, [False] * 7)


@pytest.mark.parametrize(
    ("arm", "metric", "off"), [("upgrade", 3, -0.018), ("upgrade", 5, -0.016), ("bundle", 3, 0.007)]
)
def test_the_digits_that_differ_lie_within_the_rounding_of_the_published_parameters(monkeypatch, arm, metric, off):
    found, printed = row(arm)[metric], PRINTED[arm][metric]
    assert found - printed == pytest.approx(off, abs=0.0005)
    room, offer, margin = 0.005, simulator.OFFERS[arm], simulator.MARGIN  # half a printed cent
    changes = (  # half the last digit that was published: a to four digits, churn to four, margin to three
        (simulator.OFFERS, arm, replace(offer, accept=offer.accept + 0.00005)),
        (simulator.OFFERS, arm, replace(offer, churn=offer.churn + 0.00005)),
    )
    for target, key, value in changes:
        with monkeypatch.context() as patch:
            patch.setitem(target, key, value)
            room += abs(row(arm)[metric] - found)
    with monkeypatch.context() as patch:
        patch.setattr(simulator, "MARGIN", margin + 0.0005)
        room += abs(row(arm)[metric] - found)
    assert abs(found - printed) <= room < 0.03


def test_the_truth_of_the_holdout_is_the_published_one():
    holdout = truth()["holdout"]
    assert (round(holdout.returned, 3), round(holdout.months, 3)) == (0.044, 0.532)
    assert (holdout.accepted, holdout.cost) == (0, 0)


@pytest.mark.parametrize("reason", NET_BY_REASON)
def test_net_by_reason_is_the_published_one_and_counts_those_who_come_back_alone(reason):
    true = truth(reason=reason)
    gross = [true[arm].value - true[arm].cost for arm in ("discount", "upgrade", "bundle")]
    assert tuple(map(round, gross)) == NET_BY_REASON[reason]
    incremental = [round(net - true["holdout"].value) for net in gross]
    assert tuple(incremental) != NET_BY_REASON[reason]


def test_three_objectives_name_three_winners_among_the_single_offers():
    rows = {arm: row(arm) for arm in ("discount", "upgrade", "bundle")}
    accepted, net, roi = (max(rows, key=lambda arm: rows[arm][metric]) for metric in (0, 5, 6))
    assert (accepted, net, roi) == ("bundle", "discount", "upgrade")


# Laws of the truth.
def test_the_reasons_add_up_to_everybody():
    everybody = truth()
    for arm in ARMS:
        parts = [(share, truth(reason=reason)[arm]) for reason, share in REASONS.items()]
        for metric in ("accepted", "returned", "months", "value", "cost"):
            total = sum(share * getattr(part, metric) for share, part in parts)
            assert total == pytest.approx(getattr(everybody[arm], metric), rel=1e-12)


def test_a_tailored_offer_is_for_each_reason_the_offer_it_chooses():
    for reason, offer in simulator.TAILORED.items():
        true = truth(reason=reason)
        assert true["tailored"] == true[offer]


def test_without_an_effect_every_arm_is_the_holdout_and_money_is_given_away():
    true = truth(WORLDS["no_effect"])
    for arm in ARMS[1:]:
        assert (true[arm].months, true[arm].value) == pytest.approx((true["holdout"].months, true["holdout"].value))
        assert 0 < true[arm].accepted < true[arm].returned == pytest.approx(true["holdout"].returned)
        assert true[arm].cost > simulator.CONTACT_COST


def test_without_spontaneous_returns_nobody_in_the_holdout_comes_back():
    true = truth(WORLDS["no_spontaneous"])
    assert true["holdout"] == Truth(accepted=0, returned=0, months=0, value=0, cost=0)
    assert all(true[arm].returned == pytest.approx(true[arm].accepted) for arm in ARMS[1:])


def test_a_heavy_tail_or_informative_follow_up_changes_no_truth():
    assert truth(WORLDS["heavy_tail"]) == truth(WORLDS["informative_follow_up"]) == truth()


@pytest.mark.parametrize("horizon", [1, 6, 12, 30])
def test_a_longer_horizon_brings_more_and_a_discount_rate_less(horizon):
    free, discounted = truth(horizon_months=horizon, discount_rate=0), truth(horizon_months=horizon)
    for arm in ARMS:
        assert discounted[arm].value < free[arm].value
        assert 0 < free[arm].months <= horizon
        assert truth(horizon_months=max(1, horizon - 1))[arm].months <= free[arm].months


@pytest.mark.parametrize("horizon", [0, 31])
def test_a_horizon_beyond_the_simulated_months_is_refused(names, horizon):
    with pytest.raises(WinbackError, match=names(f"horizon_months is {horizon}", "1 to 30")):
        truth(horizon_months=horizon)


def test_an_unknown_world_is_refused(names):
    with pytest.raises(WinbackError, match=names("'no_efect'", "Did you mean 'no_effect'?")):
        world("no_efect")
    assert world("base") is WORLDS["base"]


def test_a_company_without_customers_and_an_unknown_arm_are_refused(tmp_path, names):
    with pytest.raises(WinbackError, match=names("customers is 0", "at least 1")):
        simulate(tmp_path, customers=0, seed=1)
    with pytest.raises(WinbackError, match=names("'upgrde'", "Did you mean 'upgrade'?")):
        simulate(tmp_path, customers=10, seed=1, shares={"holdout": 1, "upgrde": 1})
    assert list(tmp_path.iterdir()) == []


# The simulated tables.
def query(folder, text):
    return duckdb.execute(text.replace("{", f"'{folder}/").replace("}", ".parquet'")).fetchall()


EVERYTHING = (*simulator.TABLES, *simulator.HISTORY_TABLES)


def tables(folder):
    return {table: query(folder, f"FROM {{{table}}} ORDER BY ALL") for table in EVERYTHING}


def test_the_same_seed_gives_the_same_company_and_another_seed_another(tmp_path):
    for name, seed in (("first", 3), ("second", 3), ("third", 4)):
        simulate(tmp_path / name, customers=500, seed=seed)
    first, second, third = (tables(tmp_path / name) for name in ("first", "second", "third"))
    assert first == second
    assert [table for table in EVERYTHING if first[table] == third[table]] == ["changes"]
    agree = "SELECT avg((a.line = b.line)::INTEGER) FROM {first/customers} AS a JOIN {third/customers} AS b"
    assert 0.3 < query(tmp_path, f"{agree} USING (customer_id)")[0][0] < 0.5  # of three lines, by chance


def test_the_number_of_threads_changes_no_row(tmp_path, monkeypatch):
    # Above 122,880 rows the engine shares them out: with fewer, several threads would have nothing to do.
    for threads in (1, 4):
        monkeypatch.setattr(simulator, "connect", partial(connect, threads=threads))
        simulate(tmp_path / str(threads), customers=5_000, seed=3)
    one, four = (
        {table: query(tmp_path / n, f"SELECT md5(string_agg(r::VARCHAR ORDER BY r::VARCHAR)) FROM {{{table}}} AS r")
         for table in EVERYTHING} for n in ("1", "4")
    )  # fmt: skip
    assert query(tmp_path / "1", "SELECT count(*) FROM {purchases}") > [(300_000,)]
    assert one == four


def test_history_changes_nothing_of_the_test(tmp_path):
    simulate(tmp_path / "with", customers=1_000, seed=3)
    simulate(tmp_path / "without", customers=1_000, seed=3, history=False)
    for text in (
        "SELECT * EXCLUDE experiment FROM {contacts} JOIN",
        "SELECT p.*, a.* FROM {purchases} AS p JOIN",
        "SELECT customer_id, reason FROM {reasons} JOIN",
        "SELECT customer_id, manager, tier, referrals, complaint FROM {customers} AS c JOIN",
    ):
        after = f"{text} {{assignments}} AS a USING (customer_id) {'WHERE p.at >= a.at' if 'purchases' in text else ''}"
        rows = [query(tmp_path / folder, f"{after} ORDER BY ALL") for folder in ("with", "without")]
        assert rows[0] == rows[1] != []


def test_a_smaller_company_is_the_beginning_of_a_larger_one(tmp_path):
    simulate(tmp_path / "small", customers=100, seed=3, history=False)
    simulate(tmp_path / "large", customers=200, seed=3, history=False)
    text = "SELECT customer_id, complaint, manager FROM {customers} WHERE customer_id <= 100 ORDER BY 1"
    assert query(tmp_path / "small", text) == query(tmp_path / "large", text)


def test_every_lost_customer_is_assigned_once_and_those_who_stayed_are_not(small_telecom):
    assert query(small_telecom, "SELECT count(*), count(DISTINCT customer_id) FROM {assignments}") == [(3_000, 3_000)]
    assert query(small_telecom, "SELECT count(*) FROM {customers}") == [(9_300,)]  # 300 lost whom nobody assigned
    arms = dict(query(small_telecom, "SELECT arm, count(*) FROM {assignments} GROUP BY 1"))
    assert sorted(arms) == sorted(ARMS)
    assert max(arms.values()) - min(arms.values()) <= 12  # a customer a stratum


def test_only_offers_are_contacted_and_only_the_contacted_accept(small_telecom):
    text = "SELECT arm, count(*), count(accepted_at) + count(refused_at) FROM {contacts} GROUP BY 1"
    contacts = {arm: (rows, answers) for arm, rows, answers in query(small_telecom, text)}
    assert sorted(contacts) == sorted(ARMS[1:])
    assert all(rows == answers for rows, answers in contacts.values())


def test_a_second_lifetime_has_one_bill_a_month_without_a_gap(small_telecom):
    lives = """SELECT count(*) AS bills, max(month) - min(month) + 1 AS months FROM (
                   SELECT customer_id, datediff('month', a.at, p.at) AS month
                   FROM {assignments} AS a JOIN {purchases} AS p USING (customer_id) WHERE p.at >= a.at)
               GROUP BY customer_id"""
    assert query(small_telecom, f"SELECT count(*) FROM ({lives})") > [(1_000,)]
    assert query(small_telecom, f"SELECT count(*) FROM ({lives}) WHERE bills <> months") == [(0,)]


def test_bills_are_money_with_two_decimals_and_a_margin_of_two_fifths(small_telecom):
    types = dict(row[:2] for row in query(small_telecom, "DESCRIBE SELECT * FROM {purchases}"))
    assert types["amount"] == types["margin"] == "DECIMAL(12,2)"
    text = "SELECT min(margin / amount), max(margin / amount) FROM {purchases} WHERE margin > 0"
    assert query(small_telecom, text)[0] == pytest.approx((0.4, 0.4), rel=0.01)


def test_the_mean_margin_is_that_of_the_world(tmp_path):
    # The tail is normalised away: a whale is worth more, the mean stays. Means of the months before the loss.
    margins = "SELECT any_value(amount)::DOUBLE * 0.4 AS m FROM {purchases} GROUP BY customer_id"
    text = f"SELECT avg(m), stddev(m) / sqrt(count(*)) FROM ({margins})"
    wanted = simulator.MARGIN * sum(
        share * simulator.MARGIN_BY_REASON[reason] for reason, share in REASONS.items()
    ) * sum(share * margin for share, margin in simulator.TIERS.values())  # fmt: skip
    for name in ("base", "heavy_tail"):
        simulate(tmp_path / name, customers=10_000, seed=5, variant=WORLDS[name])
        mean, error = query(tmp_path / name, text)[0]
        assert abs(mean - wanted) < 4 * error


def test_a_company_without_history_has_only_the_bills_after_the_assignment(tmp_path):
    simulate(tmp_path, customers=500, seed=3, history=False)
    text = "SELECT count(*) FROM {purchases} p JOIN {assignments} a USING (customer_id) WHERE p.at < a.at"
    assert query(tmp_path, text) == [(0,)]
    assert query(tmp_path, "SELECT count(*) FROM {customers}") == [(500,)]


@pytest.mark.parametrize("customers", [1, 7])
def test_a_tiny_company_can_be_simulated(tmp_path, customers):
    simulate(tmp_path, customers=customers, seed=3)
    assert query(tmp_path, "SELECT count(*) FROM {assignments}") == [(customers,)]
    assert all(tables(tmp_path).values())


# The first lifetime: what the company knows before the test.
LOOK = "DATE '2024-01-01'"  # the day the company looks at its customers
FIRST_LIVES = """
CREATE TABLE bills AS
SELECT customer_id, p.at AS day, amount, margin,
       datediff('month', lag(p.at) OVER (PARTITION BY customer_id ORDER BY p.at), p.at) AS gap
FROM purchases AS p LEFT JOIN assignments AS a USING (customer_id)
WHERE a.at IS NULL OR p.at < a.at;
CREATE TABLE stayed AS
SELECT customer_id, min(gap) AS rhythm, max(gap) AS longest, max(day) AS last
FROM bills ANTI JOIN known_lost USING (customer_id) GROUP BY customer_id;
CREATE TABLE gone AS
SELECT customer_id, k.at AS lost, max(day) AS last, datediff('month', max(day), k.at) AS rhythm,
       list(gap) AS gaps, count(*) AS came, 1 + datediff('month', min(day), max(day)) / rhythm AS due
FROM bills JOIN known_lost AS k USING (customer_id) GROUP BY customer_id, k.at;
"""


@pytest.fixture(scope="module")
def ask(telecom):
    """Return a function that queries the telecom; its first lifetimes lie in the tables bills, stayed and gone."""
    with connect() as con:
        for table in EVERYTHING:
            con.execute(f"CREATE VIEW {table} AS FROM '{telecom}/{table}.parquet'")
        con.execute(FIRST_LIVES)
        yield lambda text: con.execute(text).fetchall()


def close(found, share, *, of):
    """Return whether a share among so many independent draws is `share`, but for four standard errors."""
    return abs(found - share) <= 4 * np.sqrt(share * (1 - share) / of)


@pytest.mark.parametrize("who", ["gone", "stayed"])
def test_bills_come_every_one_two_or_three_months_with_their_shares(ask, who):
    customers = dict(ask(f"SELECT rhythm, count(*) FROM {who} GROUP BY 1"))
    expected = [sum(customers.values()) * share for share in (0.60, 0.25, 0.15)]
    assert stats.chisquare([customers[rhythm] for rhythm in (1, 2, 3)], expected).pvalue > 0.001


def test_a_loss_is_known_from_the_last_bill_and_the_customers_own_interval(ask):
    assert ask("SELECT count(*) FROM gone") == [(44_000,)]
    assert ask("SELECT count(*) FROM gone WHERE lost <> last + to_months(rhythm)") == [(0,)]
    assert ask("SELECT count(*) FROM gone WHERE list_bool_or([gap % rhythm <> 0 FOR gap IN gaps])") == [(0,)]
    assert ask(f"SELECT min(m), max(m) FROM (SELECT datediff('month', last, {LOOK}) AS m FROM gone)") == [(3, 24)]
    assert ask(f"SELECT count(*) FROM gone WHERE lost >= {LOOK}") == [(0,)]


def test_one_bill_in_twelve_does_not_come_and_the_days_wander(ask):
    skipped, chances = ask("SELECT sum(due - came), sum(due - 2) FROM gone")[0]
    assert close(skipped / chances, 0.08, of=chances)
    spans = "(SELECT max(day(day)) - min(day(day)) AS span, count(*) AS n FROM bills GROUP BY customer_id)"
    assert ask(f"SELECT max(span) FROM {spans}") == [(4,)]
    # 30 bills on 5 equally likely days: all but 1 in 400 customers see the first and the last.
    assert ask(f"SELECT avg((span = 4)::INTEGER) > 0.99 FROM {spans} WHERE n >= 30") == [(True,)]


def test_losses_double_in_the_two_months_after_the_price_rise(ask):
    changes = dict(ask("SELECT what, strftime(c.at, '%Y-%m') FROM changes AS c"))
    after = {"new assortment": ("2022-06", "2022-07"), "call centre outsourced": ("2022-11", "2022-12"),
             "price +8 %": ("2023-04", "2023-05"), "open on Saturdays": ("2023-09", "2023-10")}  # fmt: skip
    assert changes == {what: months[0] for what, months in after.items()}
    losses = dict(ask("SELECT strftime(lost, '%Y-%m'), count(*) FROM gone GROUP BY 1"))
    # The months in which customers of every rhythm can be lost.
    middle = [f"{year}-{month:02d}" for year in (2022, 2023) for month in range(1, 13)][3:-3]
    usual = [losses[month] for month in middle if all(month not in months for months in after.values())]
    for what, times in (("new assortment", 1), ("call centre outsourced", 1.5), ("price +8 %", 2)):
        found = np.mean([losses[month] for month in after[what]]) / np.mean(usual)
        assert abs(found - times) < 4 * np.sqrt((times / 2 + times**2 / len(usual)) / np.mean(usual))


def test_who_stayed_buys_on_for_a_year_and_three_in_a_hundred_pause(ask):
    assert ask("SELECT min(last)::VARCHAR, max(last)::VARCHAR FROM stayed") == [("2024-10-01", "2024-12-28")]
    paused, customers = ask("SELECT count_if(longest > 4), count(*) FROM stayed WHERE rhythm = 1")[0]
    assert paused / customers == pytest.approx(0.03, abs=0.005)  # 4 bills skipped in a row: another 0.001


@pytest.mark.parametrize("limit", ["90", "greatest(30, 4 / 3 * span / (n - 1))"], ids=["days", "own_interval"])
def test_a_silence_rule_misses_some_and_its_false_alarms_buy_again(ask, limit):
    judged = f"""(SELECT customer_id, max(day) AS last, datediff('day', min(day), last) AS span, count(*) AS n,
                         datediff('day', last, {LOOK}) > {limit} AS called,
                         customer_id IN (SELECT customer_id FROM gone) AS lost
                  FROM bills WHERE day < {LOOK} GROUP BY customer_id HAVING count(*) > 1)"""
    called, right, lost = ask(f"SELECT count_if(called), count_if(called AND lost), count_if(lost) FROM {judged}")[0]
    assert 0.85 < right / called < 0.96
    assert 0.95 < right / lost < 0.995
    false_alarms = f"SELECT * FROM {judged} WHERE called AND NOT lost"
    again = f"SELECT count(*) FROM ({false_alarms}) SEMI JOIN (FROM bills WHERE day >= {LOOK}) USING (customer_id)"
    assert ask(again) == [(called - right,)]


def test_whom_nobody_wants_back_was_never_assigned(ask):
    flags = {"natural_loss": 0.45, "deliberate_loss": 0.15, "do_not_contact": 0.25, "earned < 0": 0.15}
    flagged = ", ".join(f"count_if({flag})" for flag in flags)
    several = " + ".join(f"({flag})::INTEGER" for flag in flags)
    known = f"""SELECT {flagged}, max({several}), min(paid) > 0, count(*) FROM customers JOIN (
                    SELECT customer_id, max(margin) AS earned, min(amount) AS paid FROM bills GROUP BY customer_id)
                USING (customer_id)"""
    lost = f"{known} SEMI JOIN known_lost USING (customer_id) ANTI JOIN assignments USING (customer_id)"
    *found, most, paid, customers = ask(lost)[0]
    assert (sum(found), most, paid, customers) == (4_000, 1, True, 4_000)
    assert all(close(n / 4_000, share, of=4_000) for n, share in zip(found, flags.values(), strict=True))
    assert ask(f"{known} SEMI JOIN assignments USING (customer_id)") == [(0, 0, 0, 0, 0, True, 40_000)]
    assert ask(f"{known} SEMI JOIN stayed USING (customer_id)") == [(0, 0, 0, 0, 0, True, 80_000)]
    assert ask("SELECT min(hours) FROM customers JOIN bills USING (customer_id) WHERE margin < 0") == [(40,)]


def test_everything_but_the_test_is_known_before_a_customer_is_assigned(ask):
    joined = "JOIN assignments AS a USING (customer_id)"
    for table, day in (("known_lost", '"at"'), ("customers", "since"), ("customers", "cancelled_at"),
                       ("reasons", "fixed_at"), ("inquiries", '"at"')):  # fmt: skip
        found = ask(f"SELECT count(t.{day}) > 500, count_if(t.{day} >= a.at) FROM {table} AS t {joined}")
        assert found == [(True, 0)], table
    early = f"SELECT customer_id, count(*) AS n, max(p.at) AS last FROM purchases AS p {joined} WHERE p.at < a.at"
    assert ask(f"SELECT count(*), min(n) > 1, max(last) < {LOOK} FROM ({early} GROUP BY 1)") == [(40_000, True, True)]


def test_every_table_comes_through_the_door_with_all_its_columns(small_telecom):
    with connect() as con:
        for table in EVERYTHING:
            account = read(con, table, Source(file=f"{table}.parquet"), folder=small_telecom)
            assert account.kept == account.rows > 0
            missing = set(CONTRACTS[table]) - set(columns_of(con, table))
            never = {
                "customers": {"name", "phone"},
                "purchases": {"line", "order_id"},
                "contacts": {"caller", "refusal"},
            }
            assert missing == never.get(table, set())


LOST, STAYED = "k.at IS NOT NULL", "k.at IS NULL"


@pytest.mark.parametrize(
    ("share", "wanted", "among"),
    [
        ("nps IS NULL", 0.60, "TRUE"),
        ("nps NOT BETWEEN 0 AND 10 OR hours < 0", 0, "TRUE"),
        ("unreachable", 0.01, "TRUE"),
        ("important", 0.01, "tier = 'A'"),
        ("important", 0, "tier <> 'A'"),
        ("line = 'mobile'", 0.55, STAYED),
        ("line = 'mobile'", 0.45, LOST),
        ("line = 'tv'", 0.15, STAYED),
        ("line = 'tv'", 0.25, LOST),
        ("cancelled_at IS NOT NULL", 0, STAYED),
        ("cancelled_at IS NOT NULL", 0.08, LOST),
        (f"cancelled_at < k.at OR cancelled_at > k.at + 6 OR cancelled_at >= {LOOK}", 0, "cancelled_at IS NOT NULL"),
    ],
)
def test_what_is_known_of_customers_has_its_shares(ask, share, wanted, among):
    text = f"SELECT count(*), avg(CASE WHEN {share} THEN 1 ELSE 0 END) FROM customers LEFT JOIN known_lost AS k"
    n, found = ask(f"{text} USING (customer_id) WHERE {among}")[0]
    assert close(found, wanted, of=n)


def test_the_lost_and_those_with_an_unresolved_complaint_recommend_less(ask):
    text = "SELECT k.at IS NOT NULL AS lost, complaint = 'unresolved' AS complains, avg(nps) FROM customers"
    rows = ask(f"{text} LEFT JOIN known_lost AS k USING (customer_id) GROUP BY ALL")
    nps = {(lost, complains): mean for lost, complains, mean in rows}
    assert nps[True, True] < nps[True, False] - 1 < nps[False, True] - 1 < nps[False, False] - 2


def test_a_few_customers_began_after_their_first_bill(ask):
    late = """SELECT since - min(day) AS late FROM customers JOIN bills USING (customer_id)
              GROUP BY customer_id, since"""
    low, high, after, customers = ask(f"SELECT min(late), max(late), count_if(late > 0), count(*) FROM ({late})")[0]
    assert (low, high, customers) == (-20, 30, 124_000)
    assert close(after / customers, 0.002, of=customers)


def test_reasons_are_those_of_the_lost_some_verified_some_removed(ask):
    for lost, customers in (("SEMI", 44_000), ("ANTI", 0)):
        text = f"SELECT count(DISTINCT customer_id) FROM reasons {lost} JOIN known_lost USING (customer_id)"
        assert ask(text) == [(customers,)]
    stated = dict(ask("SELECT reason, count(*) FROM reasons SEMI JOIN assignments USING (customer_id) GROUP BY 1"))
    for reason in ("price", "service", "other"):
        share = REASONS[reason] + (REASONS["both"] if reason != "other" else 0)
        assert close(stated[reason] / 40_000, share, of=40_000)
    natural = "SELECT DISTINCT reason FROM reasons JOIN customers USING (customer_id) WHERE natural_loss ORDER BY 1"
    assert ask(natural) == [("bankrupt",), ("died",), ("moved",)]
    counts = "count(*), count_if(verified), count_if(reason = 'service'), count(fixed_at)"
    n, verified, service, fixed = ask(f"SELECT {counts} FROM reasons")[0]
    assert close(verified / n, 0.60, of=n)
    assert close(fixed / service, 0.5, of=service)
    assert ask("SELECT DISTINCT reason FROM reasons WHERE fixed_at IS NOT NULL") == [("service",)]
    sources = ask("SELECT DISTINCT source FROM reasons ORDER BY 1")
    assert sources == [("call record",), ("customer",), ("staff",), ("survey",)]


def test_people_ask_again_and_again_and_never_order(ask):
    asked = """SELECT count(*), bool_or(ordered), count(c.customer_id) > 0
               FROM inquiries LEFT JOIN customers AS c USING (customer_id) GROUP BY customer_id"""
    found = Counter(ask(asked))
    strangers = [found.pop((times, False, False)) for times in range(1, 6)]
    assert set(found) == {(1, True, True)}  # customers ask once, and order
    assert sum(strangers) == 2_001
    assert stats.chisquare(strangers).pvalue > 0.001
    first = "(SELECT customer_id, min(day) AS day FROM bills GROUP BY customer_id)"
    assert ask(f"SELECT max(i.at < day) FROM inquiries AS i JOIN {first} USING (customer_id)") == [(True,)]


# The randomisation.
SHARES = {"holdout": 1, "discount": 2, "upgrade": 2}


def assigned(customers, *, shares=SHARES, seed=1):
    """Return the rows (customer_id, stratum, arm, bucket) for a list of (customer_id, stratum)."""
    with connect() as con:
        con.register("to_assign", pd.DataFrame(customers, columns=["customer_id", "stratum"]))
        assign(con, shares=shares, seed=seed)
        return con.execute("SELECT customer_id, stratum, arm, bucket FROM assigned ORDER BY 1").fetchall()


@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=5),
    shares=st.lists(st.floats(0.2, 5), min_size=2, max_size=5),
    seed=st.integers(0, 10**6),
)
@hypothesis_settings(max_examples=40)
def test_every_stratum_gets_the_shares_exactly_to_one_customer(sizes, shares, seed):
    customers = [(f"{stratum}-{i}", f"s{stratum}") for stratum, size in enumerate(sizes) for i in range(size)]
    planned = {f"arm{i}": share for i, share in enumerate(shares)}
    rows = assigned(customers, shares=planned, seed=seed)
    assert [customer for customer, *_ in rows] == sorted(customer for customer, _ in customers)  # each once
    counts = Counter((stratum, arm) for _, stratum, arm, _ in rows)
    for stratum, size in enumerate(sizes):
        for arm, share in planned.items():
            exact = size * share / sum(shares)
            assert abs(counts[f"s{stratum}", arm] - exact) < 1


def test_the_order_of_the_rows_does_not_matter():
    customers = [(f"c{i}", f"s{i % 7}") for i in range(500)]
    rng = np.random.default_rng(1)
    shuffled = [customers[i] for i in rng.permutation(len(customers))]
    assert assigned(customers) == assigned(shuffled) == assigned(customers[::-1])


def test_another_seed_gives_another_assignment_of_the_same_sizes():
    customers = [(f"c{i}", "all") for i in range(500)]
    first, second = assigned(customers, seed=1), assigned(customers, seed=2)
    agree = sum(a[2] == b[2] for a, b in zip(first, second, strict=True)) / 500
    assert agree == pytest.approx(0.04 + 0.16 + 0.16, abs=4 * 0.0215)  # the chance of two independent draws
    assert Counter(row[2] for row in first) == Counter(row[2] for row in second)


def test_the_number_of_customers_elsewhere_moves_nobody():
    stratum = [(f"c{i}", "a") for i in range(100)]
    alone = assigned(stratum)
    both = assigned(stratum + [(f"d{i}", "b") for i in range(77)])
    assert [row[:3] for row in both if row[1] == "a"] == [row[:3] for row in alone]


def test_a_single_customer_of_a_stratum_lands_in_each_arm_with_its_share():
    arms = Counter()
    with connect() as con:
        con.register("to_assign", pd.DataFrame({"customer_id": ["c1"], "stratum": ["lonely"]}))
        for seed in range(400):
            assign(con, shares=SHARES, seed=seed)
            arms[con.execute("SELECT arm FROM assigned").fetchall()[0][0]] += 1
            con.execute("DROP TABLE assigned")
    expected = [400 * share / sum(SHARES.values()) for share in SHARES.values()]
    assert stats.chisquare([arms[arm] for arm in SHARES], expected).pvalue > 0.001


def test_many_single_customers_get_the_shares_together():
    arms = Counter(row[2] for row in assigned([(f"c{i}", f"s{i}") for i in range(2_000)]))
    expected = [2_000 * share / sum(SHARES.values()) for share in SHARES.values()]
    assert stats.chisquare([arms[arm] for arm in SHARES], expected).pvalue > 0.001


def test_without_a_random_start_the_test_above_fails(monkeypatch):
    monkeypatch.setattr("experiments.data.randomise._uniform", lambda text: 0.0)
    arms = Counter(row[2] for row in assigned([(f"c{i}", f"s{i}") for i in range(2_000)]))
    assert len(arms) == 1  # every single customer gets the same offer


def test_buckets_are_balanced_inside_every_arm_and_independent_of_the_stratum():
    rows = assigned([(f"c{i}", f"s{i % 3}") for i in range(3_000)])
    for arm in SHARES:
        sizes = Counter(bucket for _, _, name, bucket in rows if name == arm)
        assert max(sizes.values()) - min(sizes[b] for b in range(BUCKETS)) <= 1
    table = np.zeros((3, 10))
    for _, stratum, _, bucket in rows:
        table[int(stratum[1:]), bucket // 20] += 1
    assert stats.chi2_contingency(table).pvalue > 0.001


def test_two_neighbouring_customers_are_as_often_together_as_chance_has_it():
    rows = assigned([(i, "all") for i in range(5_000)], shares={"a": 1, "b": 1})
    together = np.mean([first[2] == second[2] for first, second in pairwise(rows)])
    assert together == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(4_999))


def test_the_texts_of_the_engine_hold_no_hash_of_its_own_and_no_unfilled_placeholder():
    text = sql("assign", seed=1, bucket=sql("bucket", seed=1, buckets=BUCKETS))
    assert "{" not in text
    assert " hash(" not in text
