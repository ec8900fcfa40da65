"""The cube: customers stay in the engine, sums come out; every one of them counted by hand here."""

import os
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pytest
from cubes import cube_of, with_sums

from experiments.common.errors import WinbackError
from experiments.data.randomise import BUCKETS
from experiments.metrics.cube import Cube, make_cube
from experiments.metrics.money import break_even_months
from experiments.readout.readout import changed, read_cube, read_out
from experiments.report.wording.accounts import account as said_of
from experiments.report.wording.checks import worded
from experiments.sheet.sheet import Sheet


def by_arm(cube, name):
    """Return the sums of an array by arm: {arm: number or list by month}."""
    return dict(zip(cube.arms, getattr(cube, name).sum(axis=(1, 2)).tolist(), strict=True))


def same(first, second):
    """Tell whether two cubes hold the same sums."""
    told = [(cube.arms, cube.strata, cube.accounts, list(cube.sums)) for cube in (first, second)]
    arrays = [[cube.cells, *cube.sums.values()] for cube in (first, second)]
    return told[0] == told[1] and all(map(np.array_equal, *arrays))


# Six customers, by hand. The data reach to 2026-05-10 (excluded), the horizon is 3 months, the window 2.
#
#   customer  arm   assigned    whole months followed                accepted
#   a1        A     2026-01-10  Jan 10 - May 9: 4, so all 3          yes, after 1 contact
#   a2        A     2026-02-10  Feb 10 - May 9: 3                    yes, after 2 contacts
#   a3        A     2026-03-11  Mar 11 - Apr 10: 1 (the 2nd ends on May 10)   no, 1 contact
#   h1        hold  2026-01-10  3
#   h2        hold  2026-02-09  3
#   h3        hold  2026-05-01  0: no whole month yet
ASSIGNMENTS = """customer_id,arm,at
a1,A,2026-01-10
a2,A,2026-02-10
a3,A,2026-03-11
h1,hold,2026-01-10
h2,hold,2026-02-09
h3,hold,2026-05-01
"""
CONTACTS = """customer_id,at,reached,accepted_at
a1,2026-01-11,yes,2026-01-12
a2,2026-02-11,no,
a2,2026-02-12,yes,2026-02-12
a3,2026-03-12,no,
"""
PURCHASES = """customer_id,at,amount
a1,2026-01-09,50
a1,2026-02-09,10
a1,2026-02-10,20
a1,2026-02-28,5
a1,2026-03-15,-4
a1,2026-04-09,30
a1,2026-04-10,100
a2,2026-03-10,40
a2,2026-04-20,-40
a3,2026-04-10,7
a3,2026-04-11,9
h1,2026-03-10,12
h3,2026-05-05,99
stranger,2026-03-01,1000
"""
# What counts:
#   a1  month 0: 10 (Feb 9 is its last day) | month 1: 20 + 5, one active month (Feb 10 is its first day)
#       month 2: -4 + 30 (Apr 9 is its last day); Apr 10 is month 3, beyond the horizon; Jan 9 before the assignment
#   a2  month 1: 40 | month 2: -40, a refund: value, but no activity
#   a3  month 0: 7 (Apr 10 is its last day) | Apr 11 is month 1, of which it was not followed to the end
#   h1  month 2: 12 (Mar 10 is its first day) | h3: never followed for a whole month
TOY = {
    "arms": {"hold": {"share": 1}, "A": {"share": 1, "contact": 5, "gift": 3, "monthly": [{"cost": 2, "months": 2}]}},
    "settings": {
        "followed_until": "2026-05-10",
        "horizon_months": 3,
        "window_months": 2,
        "discount_rate": 0,
        "objective": "profit",
    },
}


@pytest.fixture
def toy(by_hand):
    def write(assignments=ASSIGNMENTS, purchases=PURCHASES, contacts=CONTACTS, **changes):
        tables = {"assignments": assignments, "purchases": purchases} | ({"contacts": contacts} if contacts else {})
        return by_hand(arms=TOY["arms"], settings=TOY["settings"] | changes, **tables)

    return write


def test_everybody_assigned_counts_contacted_or_not(toy):
    cube = make_cube(*toy())
    assert by_arm(cube, "assigned") == {"hold": 3, "A": 3}
    assert by_arm(cube, "attempts") == {"hold": 0, "A": 4}
    assert by_arm(cube, "reached") == {"hold": 0, "A": 2}
    assert by_arm(cube, "accepted") == {"hold": 0, "A": 2}


def test_someone_followed_m_months_tells_only_about_the_months_before_m(toy):
    cube = make_cube(*toy())
    assert by_arm(cube, "followed") == {"hold": [2, 2, 2], "A": [3, 2, 2]}
    # Month 0: a1, a3. Month 1: a1, a2; the purchase of a3 is in a month not followed to its end. Month 2: a1.
    assert by_arm(cube, "active") == {"hold": [0, 0, 1], "A": [2, 2, 1]}


def test_the_last_purchase_is_of_anybody(toy):
    assert make_cube(*toy()).last_purchase == date(2026, 5, 5)
    assert make_cube(*toy(purchases=PURCHASES + "stranger,2026-05-07,1\n")).last_purchase == date(2026, 5, 7)


def test_who_buys_twice_in_a_month_is_active_once(toy):
    doubled = PURCHASES + "".join(
        line + "\n" for line in PURCHASES.splitlines()[1:] if not line.startswith("a2,2026-04")
    )
    first, second = make_cube(*toy()), make_cube(*toy(purchases=doubled))
    assert by_arm(first, "active") == by_arm(second, "active")
    assert by_arm(first, "returned") == by_arm(second, "returned")


def test_returned_are_those_followed_who_bought_by_then(toy):
    # By the end of month 0: a1, a3. By month 1, of those followed: a1, a2 (a3 has left the count). h1 in month 2.
    assert by_arm(make_cube(*toy()), "returned") == {"hold": [0, 0, 1], "A": [2, 2, 2]}


def test_a_refund_lowers_the_value_and_is_no_activity(toy):
    cube = make_cube(*toy())
    assert by_arm(cube, "value") == {"hold": [0, 0, 1200], "A": [1700, 6500, -1400]}  # cents
    assert by_arm(cube, "value_accepted") == {"hold": [0, 0, 0], "A": [1000, 6500, -1400]}


def test_a_promotion_costs_only_in_its_months_from_the_first_purchase_and_only_for_acceptors(toy):
    # Two months. a1 bought first in month 0: months 0 and 1. a2 first in month 1; in month 2 it is not active.
    cube = make_cube(*toy())
    assert cube.lengths("promoted") == (2,)
    assert dict(zip(cube.arms, cube.by_arm("promoted_2").tolist(), strict=True)) == {"hold": [0, 0, 0], "A": [1, 2, 0]}


def test_every_purchase_is_accounted_for(toy):
    cube = make_cube(*toy())
    assignments, purchases, contacts = map(said_of, cube.accounts)
    assert (assignments, contacts) == ("assignments: kept all 6 rows", "contacts: kept all 4 rows")
    assert purchases == (
        "purchases: kept 9 of 14 rows; 5 left out: 1 of customers outside the test, 1 before the assignment, "
        "3 after the last whole month of follow-up or the horizon"
    )


def test_the_readout_of_the_toy_is_the_one_by_hand(toy):
    offer = {name: found.value for name, found in read_out(*toy()).arm("A").estimates.items()}
    months = 2 / 3 + 2 / 2 + 1 / 2  # active of followed, month by month
    value = 17 / 3 + 65 / 2 - 14 / 2
    gained = value - 12 / 2  # the holdout: 12 of two customers in month 2
    running = 2 * (1 / 3 + 2 / 2)  # $2 x customers in the promotion of those followed
    cost = 4 * 5 / 3 + 2 * 3 / 3 + running  # contacts, gifts, promotion
    wanted = {
        "reached": 2 / 3,
        "accepted": 2 / 3,
        "returned": 2 / 2,
        "lift": 2 / 2 - 0 / 2,
        "incremental": 1.0,
        "months": months,
        "months_gained": months - 1 / 2,
        "active": 1 / 2,
        "active_gained": 1 / 2 - 1 / 2,
        "value": value,
        "value_gained": gained,
        "cost": cost,
        "cost_added": cost,
        "net": gained - cost,
        "roi": (gained - cost) / cost,
        "gross_roi": (10 / 3 + 65 / 2 - 14 / 2 - cost) / cost,
        "cost_per_return": cost / 1,
        # At t = 0 contacts and gifts, 20/3 + 2. Month 0 brings 17/3 and costs 2/3: 11/3 are missing. Month 1: 65/2 - 2.
        "break_even": 1 + (11 / 3) / (65 / 2 - 2),
    }
    assert {name: offer[name] for name in wanted if name in offer} == pytest.approx(wanted, rel=1e-12)
    assert set(offer) - set(wanted) <= {"net_winsorised", "net_adjusted"}


def test_a_discount_rate_counts_from_the_middle_of_each_month(toy):
    found = read_out(*toy(discount_rate=0.12)).arm("A").estimates["value"].value
    assert found == pytest.approx(17 / 3 / 1.01**0.5 + 65 / 2 / 1.01**1.5 - 14 / 2 / 1.01**2.5, rel=1e-12)


def test_a_margin_counts_where_there_is_one_and_else_its_share_of_revenue(toy):
    assert read_out(*toy(margin_share=0.4)).arm("hold").estimates["value"].value == pytest.approx(0.4 * 6)
    lines = PURCHASES.splitlines()
    with_margin = "\n".join([lines[0] + ",margin", *(line + ",1" for line in lines[1:])])
    assert read_out(*toy(purchases=with_margin, margin_share=0.4)).arm("hold").estimates["value"].value == 0.5


@pytest.mark.parametrize(
    ("assigned", "until", "months"),
    [
        ("2026-01-31", "2026-02-28", 0),
        ("2026-01-31", "2026-03-01", 1),  # there is no February 31: the month ends with February
        ("2026-01-31", "2026-03-30", 1),
        ("2026-01-31", "2026-03-31", 2),
        ("2025-12-15", "2026-01-14", 0),
        ("2025-12-15", "2026-01-15", 1),
        ("2024-02-29", "2025-02-28", 11),
        ("2024-02-29", "2025-03-01", 12),
        ("2026-06-01", "2026-05-01", 0),  # assigned after the data end
    ],
)
def test_the_clock_of_a_customer_ticks_in_whole_months(toy, assigned, until, months):
    assignments = f"customer_id,arm,at\na1,A,{assigned}\nh1,hold,2020-01-01\n"
    cube = make_cube(*toy(assignments=assignments, followed_until=until), months=12)
    assert by_arm(cube, "followed")["A"] == [1] * months + [0] * (12 - months)


def test_a_purchase_on_the_day_of_the_assignment_is_in_month_0(toy):
    cube = make_cube(*toy(purchases="customer_id,at,amount\na1,2026-01-10,5\n"))
    assert by_arm(cube, "active")["A"] == [1, 0, 0]


def test_the_horizon_is_the_end_of_the_month_axis(toy):
    short, long = make_cube(*toy(), months=2), make_cube(*toy(), months=4)
    assert (short.months, long.months) == (2, 4)
    assert by_arm(long, "active")["A"] == [2, 2, 1, 1]  # Apr 10: month 3 of a1
    assert by_arm(long, "followed")["A"] == [3, 2, 2, 1]
    assert by_arm(short, "active")["A"] == [2, 2]


# Results without dates.
def outcomes(rows, columns="customer_id,returned,value"):
    return "\n".join([columns, *(",".join(map(str, row)) for row in rows)]) + "\n"


HALVES = "customer_id,arm\n" + "".join(f"c{i},{('hold', 'A')[i % 2]}\n" for i in range(40))
ANSWERS = [(f"c{i}", int(i % 4 == 1), 2.5) for i in range(40)]


def test_results_without_dates_have_a_value_and_no_lifetime(by_hand):
    cube = make_cube(*by_hand(assignments=HALVES, outcomes=outcomes(ANSWERS)))
    assert (cube.dated, cube.months, cube.active.sum()) == (False, 1, 0)
    assert by_arm(cube, "returned") == {"hold": [0], "A": [10]}
    assert by_arm(cube, "value") == {"hold": [5000], "A": [5000]}
    assert by_arm(cube, "value_accepted") == {"hold": [0], "A": [2500]}


def test_costs_found_in_the_results_are_added(by_hand):
    with_costs = outcomes([(*row, 0.1) for row in ANSWERS], columns="customer_id,returned,value,cost")
    readout = read_out(*by_hand(assignments=HALVES, outcomes=with_costs))
    assert readout.arm("A").estimates["cost"].value == pytest.approx(5.1)
    assert readout.arm("hold").estimates["cost"].value == pytest.approx(0.1)


def test_a_customer_without_a_result_counts_as_not_returned_and_that_is_told(by_hand):
    cube = make_cube(*by_hand(assignments=HALVES, outcomes=outcomes(ANSWERS[:30])))
    assert by_arm(cube, "followed") == {"hold": [20], "A": [20]}
    assert "10 assigned customers have no outcome" in said_of(cube.accounts[1])


def test_results_of_strangers_are_left_out_and_counted(by_hand):
    cube = make_cube(*by_hand(assignments=HALVES, outcomes=outcomes([*ANSWERS, ("x", 1, 5), ("y", 1, 5)])))
    assert said_of(cube.accounts[1]) == "outcomes: kept 40 of 42 rows; 2 left out: no such assigned customer"


# Costs that depend on who said yes need to know who said yes.
def test_a_promotion_without_contacts_does_not_cost_nothing_in_silence(toy):
    try:
        readout = read_out(*toy(contacts=None))
    except WinbackError as error:
        assert "contacts" in str(error)  # noqa: PT017  either answer is honest
    else:
        warned = [worded(check) for check in readout.checks if check.state != "pass"]
        told = [check for check in warned if "contacts" in check.reason + check.todo]
        assert told
        assert readout.arm("A").estimates["gross_roi"].value != -1  # "acceptors brought nothing" is not known


def test_an_offer_called_none_costs_its_contacts_also_without_a_holdout(by_hand):
    arms = {"B": {"share": 1, "contact": 5}, "None": {"share": 1, "contact": 5}}
    assignments = HALVES.replace(",hold", ",B").replace(",A", ",None")
    readout = read_out(*by_hand(assignments=assignments, outcomes=outcomes(ANSWERS), arms=arms, holdout=None))
    assert [arm.estimates["cost"].value for arm in readout.arms] == [5, 5]


# Strata and buckets.
def test_an_offer_chosen_by_reason_costs_what_the_stratum_gets(by_hand):
    arms = {
        "hold": {"share": 1},
        "cheap": {"share": 1, "contact": 1},
        "dear": {"share": 1, "contact": 7},
        "tailored": {"share": 1, "by": "reason", "choose": {"price": "cheap", "service": "dear"}},
    }
    rows = [(f"c{i}", list(arms)[i % 4], "price / A" if i % 3 else "service / A") for i in range(120)]
    assignments = outcomes(rows, columns="customer_id,arm,stratum")
    answers = outcomes([(f"c{i}", 0, 0) for i in range(120)])
    settings = {"strata": ["reason", "tier"]}
    readout = read_out(*by_hand(assignments=assignments, outcomes=answers, arms=arms, settings=settings))
    assert readout.arm("tailored").estimates["cost"].value == pytest.approx((20 * 1 + 10 * 7) / 30)


def test_buckets_made_here_are_those_made_at_the_assignment(small_telecom, telecom_sheet, tmp_path):
    without = duckdb.sql(f"SELECT * EXCLUDE (bucket) FROM '{small_telecom}/assignments.parquet'")
    without.write_parquet(str(tmp_path / "assignments.parquet"))
    for table in ("purchases", "contacts"):
        (tmp_path / f"{table}.parquet").symlink_to(small_telecom / f"{table}.parquet")
    sheet = changed(telecom_sheet, {"tables": {name: telecom_sheet.tables[name].model_dump() for name in
                                               ("assignments", "purchases", "contacts")}})  # fmt: skip
    assert same(make_cube(sheet, tmp_path), make_cube(sheet, small_telecom))
    other_seed = make_cube(changed(sheet, {"seed": 8}), tmp_path)
    assert not np.array_equal(other_seed.value, make_cube(sheet, small_telecom).value)
    assert np.array_equal(other_seed.value.sum(axis=2), make_cube(sheet, small_telecom).value.sum(axis=2))


def test_leaving_a_bucket_out_leaves_the_sum_of_the_others():
    sums = np.random.default_rng(1).integers(0, 100, size=(2, 3, BUCKETS, 4))
    replicates = cube_of(arms=("hold", "A"), strata=("x", "y", "z"), active=sums).left_out("active")
    assert replicates.shape == (1 + BUCKETS, 2, 4)
    assert np.array_equal(replicates[0], sums.sum(axis=(1, 2)))
    assert np.array_equal(replicates[8], np.delete(sums, 7, axis=2).sum(axis=(1, 2)))


# Any source, any order, any number of threads.
@pytest.fixture(scope="module")
def copies(small_telecom, tmp_path_factory):
    """Return a folder with the small telecom as CSV, CSV.gz, one DuckDB file, and Parquet, shuffled or with doubles."""
    folder = tmp_path_factory.mktemp("copies")
    (folder / "doubles").mkdir()
    with duckdb.connect(folder / "company.duckdb") as con:
        for table in ("assignments", "purchases", "contacts"):
            con.execute(f"CREATE TABLE {table} AS FROM '{small_telecom}/{table}.parquet'")
            con.execute(f"COPY {table} TO '{folder}/{table}.csv'")
            con.execute(f"COPY {table} TO '{folder}/{table}.csv.gz'")
            con.execute(f"COPY (FROM {table} ORDER BY random()) TO '{folder}/{table}.parquet' (FORMAT parquet)")
            money = " REPLACE (amount::DOUBLE AS amount, margin::DOUBLE AS margin)" if table == "purchases" else ""
            con.execute(f"COPY (SELECT *{money} FROM {table}) TO '{folder}/doubles/{table}.parquet' (FORMAT parquet)")
    return folder


def sheet_of(telecom_sheet, files):
    tables = {table: {"file": files.format(table)} for table in ("assignments", "purchases", "contacts")}
    return changed(telecom_sheet, {"tables": tables})


@pytest.mark.parametrize("files", ["{}.csv", "{}.csv.gz", "{}.parquet", "doubles/{}.parquet", "company.duckdb"])
def test_every_kind_of_file_gives_the_same_readout_to_the_last_byte(
    copies, small_telecom, telecom_sheet, files, tmp_path
):
    read_out(sheet_of(telecom_sheet, "{}.parquet"), small_telecom).write(tmp_path / "wanted.json")
    read_out(sheet_of(telecom_sheet, files), copies).write(tmp_path / "found.json")
    assert (tmp_path / "found.json").read_bytes() == (tmp_path / "wanted.json").read_bytes()


def test_files_of_several_kinds_go_together(copies, telecom_sheet, small_telecom):
    tables = {"assignments": {"file": "assignments.csv"}, "purchases": {"file": "purchases.parquet"},
              "contacts": {"file": "company.duckdb"}}  # fmt: skip
    mixed = make_cube(changed(telecom_sheet, {"tables": tables}), copies)
    assert same(mixed, make_cube(sheet_of(telecom_sheet, "{}.parquet"), small_telecom))


def test_threads_and_the_order_of_the_rows_change_nothing(telecom, telecom_sheet):
    one, two, again = (make_cube(telecom_sheet, telecom, threads=threads) for threads in (1, 2, 2))
    assert same(one, two)
    assert same(two, again)


def test_text_and_number_customers_are_matched_or_refused(by_hand, tmp_path):
    duckdb.sql(
        f"COPY (SELECT i AS customer_id, 1 AS returned, 2 AS value FROM range(40) t(i)) TO '{tmp_path}/o.parquet'"
    )
    sources = {"outcomes": {"file": "o.parquet"}}
    numbers = HALVES.replace("\nc", "\n")
    cube = make_cube(*by_hand(assignments=numbers, outcomes="", sources=sources))
    assert by_arm(cube, "returned") == {"hold": [20], "A": [20]}
    try:
        cube = make_cube(*by_hand(assignments=HALVES, outcomes="", sources=sources))  # "c7" is no number
    except WinbackError as error:
        assert "customer_id" in str(error)  # noqa: PT017  either answer is honest
    else:
        assert by_arm(cube, "returned") == {"hold": [0], "A": [0]}


# What is refused.
def test_a_customer_that_is_there_twice_is_refused(by_hand, names):
    tables = {"assignments": HALVES + "c1,A\nc2,hold\n", "outcomes": outcomes(ANSWERS)}
    with pytest.raises(WinbackError, match=names("assignments", "2 of 42 rows", "'c1'", "2 times", "One customer")):
        make_cube(*by_hand(**tables))


def test_a_customer_in_two_arms_is_refused(by_hand, names):
    with pytest.raises(WinbackError, match=names("assignments", "1 of 41 rows", "'c1'", "in 2 arms", "one arm")):
        make_cube(*by_hand(assignments=HALVES + "c1,hold\n", outcomes=outcomes(ANSWERS)))


def test_a_customer_with_two_results_is_refused(by_hand, names):
    with pytest.raises(WinbackError, match=names("outcomes", "1 of 41 rows", "'c1'", "2 times")):
        make_cube(*by_hand(assignments=HALVES, outcomes=outcomes([*ANSWERS, ("c1", 1, 5)])))


def test_an_unknown_arm_is_refused(by_hand, names):
    assignments = HALVES.replace("c1,A", "c1,Hold").replace("c3,A", "c3,Hold")
    with pytest.raises(WinbackError, match=names("assignments", "'Hold'", "Did you mean 'hold'?")):
        make_cube(*by_hand(assignments=assignments, outcomes=outcomes(ANSWERS)))


def test_an_unknown_arm_is_refused_with_its_column_and_its_rows(by_hand, names):
    assignments = HALVES.replace("c1,A", "c1,Hold").replace("c3,A", "c3,Hold")
    with pytest.raises(WinbackError, match=names("'arm'", "2 of 40 rows")):
        make_cube(*by_hand(assignments=assignments, outcomes=outcomes(ANSWERS)))


def test_an_arm_without_customers_is_refused(by_hand, names):
    arms = {"hold": {"share": 1}, "A": {"share": 1}, "B": {"share": 1}}
    with pytest.raises(WinbackError, match=names("'B'", "no customers", "assignments", "spelling")):
        make_cube(*by_hand(assignments=HALVES, outcomes=outcomes(ANSWERS), arms=arms))


def test_an_empty_arm_cell_is_refused(by_hand, names):
    with pytest.raises(WinbackError, match=names("assignments", "'arm'", "1 of 40 rows", "empty cell")):
        make_cube(*by_hand(assignments=HALVES.replace("c1,A", "c1,"), outcomes=outcomes(ANSWERS)))


def test_only_the_customers_of_this_experiment_count(by_hand, names):
    lines = HALVES.splitlines()
    both = "\n".join(
        ["experiment," + lines[0], *(f"{'toy' if i < 30 else 'old'},{line}" for i, line in enumerate(lines[1:]))]
    )
    cube = make_cube(*by_hand(assignments=both, outcomes=outcomes(ANSWERS)))
    assert by_arm(cube, "assigned") == {"hold": 15, "A": 15}
    assert said_of(cube.accounts[0]) == "assignments: kept 30 of 40 rows; 10 left out: other experiments"
    with pytest.raises(WinbackError, match=names("assignments", "'toy'", "experiment:")):
        make_cube(*by_hand(assignments=both.replace("toy", "new"), outcomes=outcomes(ANSWERS)))


def test_an_empty_date_of_assignment_is_refused_because_the_clock_starts_there(toy, names):
    with pytest.raises(WinbackError, match=names("assignments", "'at'", "1 of 6 rows", "empty cell")):
        make_cube(*toy(assignments=ASSIGNMENTS.replace("a3,A,2026-03-11", "a3,A,")))


def test_assignments_without_dates_are_refused_when_the_results_have_dates(toy, names):
    without = "\n".join(line.rsplit(",", 1)[0] for line in ASSIGNMENTS.splitlines())
    with pytest.raises(WinbackError, match=names("assignments", "'at'", "columns:")):
        make_cube(*toy(assignments=without))


def test_an_empty_margin_is_not_taken_for_zero_in_silence(toy, names):
    lines = PURCHASES.splitlines()
    rows = [line + ("," if line.startswith("h1") else ",1") for line in lines[1:]]
    try:
        cube = make_cube(*toy(purchases="\n".join([lines[0] + ",margin", *rows])))
    except WinbackError as error:
        assert "margin" in str(error)  # noqa: PT017  either answer is honest
    else:
        assert any("margin" in said_of(account) for account in cube.accounts)


@pytest.mark.parametrize("bucket", ["", "-1", "200"], ids=["empty", "below zero", "too large"])
def test_a_bucket_that_is_none_is_refused_and_nobody_changes_the_arm(by_hand, names, bucket):
    lines = HALVES.splitlines()
    rows = [f"{line},{bucket if line == 'c1,A' else i}" for i, line in enumerate(lines[1:])]
    assignments = "\n".join([lines[0] + ",bucket", *rows])
    with pytest.raises(WinbackError, match=names("assignments", "bucket")):
        make_cube(*by_hand(assignments=assignments, outcomes=outcomes(ANSWERS)))


def test_an_empty_stratum_is_refused(by_hand, names):
    assignments = "customer_id,arm,stratum\nc1,A,x\nc2,hold,\n"
    with pytest.raises(WinbackError, match=names("assignments", "stratum")):
        make_cube(*by_hand(assignments=assignments, outcomes=outcomes(ANSWERS)))


def test_a_stratum_that_a_tailored_offer_forgets_is_refused(by_hand, names):
    arms = {"hold": {"share": 1}, "A": {"share": 1, "by": "reason", "choose": {"price": "hold"}}}
    assignments = "customer_id,arm,stratum\n" + "".join(f"c{i},{('hold', 'A')[i % 2]},prise\n" for i in range(40))
    settings = {"strata": ["reason"]}
    with pytest.raises(WinbackError, match=names("'A'", "'reason'", "'prise'", "Did you mean 'price'?")):
        read_out(*by_hand(assignments=assignments, outcomes=outcomes(ANSWERS), arms=arms, settings=settings))


def test_a_sheet_without_results_or_assignments_is_refused(by_hand, names):
    with pytest.raises(WinbackError, match=names("purchases", "outcomes", "tables")):
        make_cube(*by_hand(assignments=HALVES))
    with pytest.raises(WinbackError, match=names("assignments", "tables")):
        make_cube(*by_hand(outcomes=outcomes(ANSWERS)))


def test_results_with_dates_need_the_day_they_reach_to(toy, names):
    with pytest.raises(WinbackError, match=names("followed_until:", "2026-05-05")):
        make_cube(*toy(followed_until=None))


def test_contacts_that_do_not_say_who_accepted_are_refused(toy, names):
    with pytest.raises(WinbackError, match=names("contacts", "'accepted_at'")):
        make_cube(*toy(contacts="customer_id\na1\n"))


def test_contacts_of_strangers_are_left_out_and_counted(toy):
    cube = make_cube(*toy(contacts=CONTACTS + "stranger,2026-03-12,yes,2026-03-12\n"))
    assert by_arm(cube, "accepted") == {"hold": 0, "A": 2}
    assert said_of(cube.accounts[-1]) == "contacts: kept 4 of 5 rows; 1 left out: no such customer in this test"


def test_contacts_of_another_experiment_are_not_counted(toy):
    lines = CONTACTS.splitlines()
    both = "\n".join(
        ["experiment," + lines[0], *("toy," + line for line in lines[1:]), "old," + lines[1], "old," + lines[4]]
    )
    cube = make_cube(*toy(contacts=both))
    assert by_arm(cube, "attempts") == {"hold": 0, "A": 4}
    assert "kept 4 of 6 rows" in said_of(cube.accounts[-1])


def test_a_cube_is_frozen(toy):
    cube = make_cube(*toy())
    with pytest.raises(AttributeError):
        cube.arms = ()
    assert isinstance(cube, Cube)
    assert isinstance(toy()[0], Sheet)


# Memory: what Python holds does not grow with the customers.
MEASURE = """
import sys, tracemalloc
from pathlib import Path
from experiments.sheet.sheet import read_sheet
from experiments.readout.readout import make_cube, read_cube
from experiments.simulate.telecom import simulate

sheet = read_sheet(sys.argv[2])
for customers in (3_000, 250_000):  # first what is imported when it is needed
    folder = Path(sys.argv[1], str(customers))
    simulate(folder, customers=customers, seed=7, history=False)
    tracemalloc.start()
    readout = read_cube(make_cube(sheet, folder), sheet)
    print(sum(arm.assigned for arm in readout.arms), tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
"""


def test_the_readout_of_many_customers_stays_small_in_python(tmp_path):
    sheet = Path(__file__).parents[2] / "data/telecom/sheet.yml"
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path), str(sheet)],
        capture_output=True, text=True, check=False, env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"})  # fmt: skip
    assert done.returncode == 0, done.stderr
    customers, peak = map(int, done.stdout.splitlines()[-1].split())
    assert customers == 250_000
    # The cube itself is 60 MB at most. A column of numbers of so many customers is 2 MB, their rows in pandas (a
    # million bills) 75 MB and more.
    assert peak < 90e6


# The cube as a value.
def test_a_cube_is_written_and_read_equal_to_the_last_digit(toy, small_telecom, telecom_sheet, by_hand, tmp_path):
    undated = by_hand(assignments=HALVES, outcomes=outcomes(ANSWERS))
    for cube in (make_cube(telecom_sheet, small_telecom), make_cube(*toy()), make_cube(*undated)):
        cube.write(tmp_path / "deep" / "cube.npz")
        found = Cube.load(tmp_path / "deep" / "cube.npz")
        assert same(cube, found)
        for name in ("dated", "contacts_known", "margin_share", "last_purchase"):
            assert getattr(cube, name) == getattr(found, name)
        assert [path.name for path in (tmp_path / "deep").iterdir()] == ["cube.npz"]


def test_a_readout_of_a_loaded_cube_is_that_of_the_tables(small_telecom, telecom_sheet, tmp_path):
    make_cube(telecom_sheet, small_telecom).write(tmp_path / "cube.npz")
    found = read_cube(Cube.load(tmp_path / "cube.npz"), telecom_sheet, planned=telecom_sheet)
    assert found == replace(read_out(telecom_sheet, small_telecom), drivers=None)  # they are read from the tables


def test_what_is_no_cube_or_of_a_newer_version_is_refused(toy, tmp_path, names):
    path = tmp_path / "cube.npz"
    with pytest.raises(WinbackError, match=names("no cube", "cube.npz", "make_cube(sheet).write(")):
        Cube.load(path)
    path.write_text("no cube")
    with pytest.raises(WinbackError, match=names("is no cube of this version", "Make it again")):
        Cube.load(path)
    make_cube(*toy()).write(path)
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **arrays | {"about": np.array(str(arrays["about"]).replace('"format":2', '"format":99'))})
    with pytest.raises(WinbackError, match=names("newer version", "99")):
        Cube.load(path)


def test_the_table_of_a_cube_adds_up_to_its_sums_and_names_nobody(small_telecom, telecom_sheet):
    cube = make_cube(telecom_sheet, small_telecom)
    frame = cube.frame()
    assert list(frame.columns[:4]) == ["arm", "stratum", "bucket", "month"]
    assert len(frame) == len(cube.cells) * cube.months
    assert not frame.duplicated(["arm", "stratum", "bucket", "month"]).any()
    for name, sums in cube.sums.items():
        by = ["arm", "month"] if sums.ndim > 1 else ["arm"]
        found = frame.groupby(by, sort=False)[name].sum().to_numpy().reshape(len(cube.arms), -1)
        assert np.array_equal(found, cube.by_arm(name).reshape(len(cube.arms), -1)), name
    assert "customer_id" not in frame


def test_a_cube_shows_its_size_and_its_sums_by_arm(toy):
    cube = make_cube(*toy())
    assert repr(cube) == "Cube(arms=('hold', 'A'), strata=1, cells=6, months=3)"
    assert "<th>A</th>" in cube._repr_html_()
    assert "6800" in cube._repr_html_()  # cents of A: 1700 + 6500 - 1400


def test_sums_by_arm_stratum_and_bucket_are_those_of_the_full_array(small_telecom, telecom_sheet):
    cube = make_cube(telecom_sheet, small_telecom)
    for name in cube.sums:
        full = cube.full(name)
        assert np.array_equal(cube.by_arm(name), full.sum(axis=(1, 2)))
        assert np.array_equal(cube.by_stratum(name), full.sum(axis=2))
        assert np.array_equal(cube.by_bucket(name), full.sum(axis=1))
    assert cube.followed.shape == (*cube.shape, cube.months)
    assert same(with_sums(cube), cube)


# Memory: what the cube holds grows with the cells that have customers, not with the strata.
def many_strata(strata, customers=4_000):
    rows = [(f"c{i}", ("hold", "A")[i % 2], f"s{i // 2 % strata}", "2026-01-10") for i in range(customers)]
    bought = [(f"c{i}", f"2026-0{2 + i % 3}-15", 10) for i in range(0, customers, 3)]
    return (outcomes(rows, columns="customer_id,arm,stratum,at"), outcomes(bought, columns="customer_id,at,amount"))


def test_the_cube_does_not_grow_with_the_strata(toy):
    held = {}
    for strata in (1, 10, 100, 1_000):
        assignments, purchases = many_strata(strata)
        cube = make_cube(*toy(assignments=assignments, purchases=purchases, contacts=None), months=24)
        held[strata] = sum(sums.nbytes for sums in cube.sums.values()) + cube.cells.nbytes
        assert len(cube.cells) <= 4_000
        assert cube.assigned.sum() == 4_000
    # A full array of 1,000 strata by month alone is 77 MB; all that is held of 4,000 customers is less than one of it.
    assert max(held.values()) < 11e6
    assert held[1_000] <= 11 * held[1]


def test_more_strata_change_no_number_of_an_arm(toy):
    found = []
    for strata in (1, 300):
        assignments, purchases = many_strata(strata)
        readout = read_out(*toy(assignments=assignments, purchases=purchases, contacts=None))
        found.append({arm.name: arm.estimates | {"net_adjusted": None} for arm in readout.arms})
    assert found[0] == found[1]


def test_so_many_strata_that_none_says_anything_are_refused_with_the_cure(toy, names):
    assignments, purchases = many_strata(2_600, customers=5_200)
    with pytest.raises(WinbackError, match=names("2,600 strata", "2 arms", "5,000", "coarser")):
        make_cube(*toy(assignments=assignments, purchases=purchases, contacts=None))


# Break-even.
@pytest.mark.parametrize(
    ("value", "cost", "start", "months"),
    [
        ([10, 10, 10], [5, 0, 0], 5, 0.5),  # 5 at t = 0, 10 come evenly
        ([10, 10, 10], [5, 0, 0], 0, 0.0),  # nothing at t = 0, and 5 are gained at once
        ([0, 10, 10], [4, 1, 1], 0, 1 + 4 / 9),  # nothing at t = 0, but the first month costs
        ([10, 10, 10], [15, 0, 0], 15, 1.5),
        ([10, 10, 10], [30, 0, 0], 30, 3.0),  # at the very end
        ([10, 10, 10], [31, 0, 0], 31, np.nan),  # not within the horizon
        ([9, -9, 9], [9, 0, 0], 9, 1.0),  # the first time counts, whatever comes after
        ([-9, 0, 0], [-1, 0, 0], -1, 0.0),  # cheaper than the holdout from the start
    ],
)
def test_an_offer_breaks_even_when_the_value_so_far_first_reaches_the_cost_so_far(value, cost, start, months):
    gained, added = (np.array(part, float)[None, None] for part in (value, cost))
    found = break_even_months(gained, added, at_start=np.array([[float(start)]]))
    assert found.item() == pytest.approx(months, nan_ok=True)
