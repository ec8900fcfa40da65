"""The locked plan, and the way from it to customers in arms, once for ever."""

import shutil
from datetime import date

import duckdb
import pytest
import yaml

from experiments import find_lost, read_out
from experiments.campaign.assign import assign_test
from experiments.campaign.ledger import open_ledger
from experiments.common.errors import WinbackError
from experiments.report.wording.accounts import account as said_of
from experiments.report.wording.checks import worded
from experiments.report.wording.verdict import worded_verdict
from experiments.sheet.locked_plan import lock, read_plan
from experiments.sheet.sheet import read_sheet

DAY = date(2024, 1, 2)


@pytest.fixture(scope="module")
def cohorts():
    """Return the folders of cohorts found so far, by the text of the sheet: the tables are the same."""
    return {}


@pytest.fixture
def company(small_telecom, telecom_sheet, tmp_path, tmp_path_factory, cohorts):
    """Return a function that writes a sheet beside the tables of a small telecom and returns (sheet, cohort)."""
    shutil.copytree(small_telecom, tmp_path / "data/telecom", ignore=shutil.ignore_patterns("private"))
    home = tmp_path / "data/telecom"
    (home / "assignments.parquet").unlink()
    (home / "contacts.parquet").unlink()

    def write(experiment="spring", **settings):
        content = telecom_sheet.model_dump(mode="json", exclude_unset=True) | {"experiment": experiment}
        content["arms"]["tailored"]["choose"]["unknown"] = "discount"
        content |= settings
        folder = tmp_path / "data" / experiment
        if not folder.is_dir():
            shutil.copytree(home, folder)
        (folder / "sheet.yml").write_text(yaml.safe_dump(content), encoding="utf-8")
        if not (folder / "out/cohort.parquet").is_file():
            text = (folder / "sheet.yml").read_text(encoding="utf-8")
            if text not in cohorts:
                cohorts[text] = tmp_path_factory.mktemp("cohort") / "out"
                find_lost(folder / "sheet.yml", out=cohorts[text])
            shutil.copytree(cohorts[text], folder / "out")
        return folder / "sheet.yml", folder / "out/cohort.parquet"

    return write


def assign(sheet, cohort, **more):
    return assign_test(sheet, cohort=cohort, today=DAY, **more)


def rows_of(file):
    return duckdb.sql(f"SELECT customer_id, arm, stratum, bucket FROM '{file}' ORDER BY 1").fetchall()


# The lock.


def test_a_plan_freezes_sheet_cohort_and_number_and_the_same_again_changes_nothing(company):
    sheet, cohort = company(customers=1000)
    plan, file = lock(sheet, cohort=cohort, today=DAY)
    written = file.read_bytes()
    assert (plan.experiment, plan.customers, plan.locked_on) == ("spring", 1000, DAY)
    assert plan.registered().horizon_months == 24
    assert read_plan(read_sheet(sheet)) == plan
    assert lock(sheet, cohort=cohort, today=date(2024, 5, 1))[0] == plan
    assert file.read_bytes() == written


@pytest.mark.parametrize(
    ("settings", "part"),
    [({"horizon_months": 12}, "horizon_months 12 instead of 24"), ({"seed": 8}, "seed 8 instead of 7"),
     ({"objective": "roi"}, "objective roi instead of profit"), ({"customers": 900}, "900 customers instead of 1,000")],
)  # fmt: skip
def test_another_plan_of_the_same_name_is_refused(company, names, settings, part):
    sheet, cohort = company(customers=1000)
    lock(sheet, cohort=cohort, today=DAY)
    company(**{"customers": 1000, **settings})
    with pytest.raises(WinbackError, match=names("2024-01-02", part, "another name")):
        lock(sheet, cohort=cohort, today=DAY)


def test_an_edited_plan_is_found_out(company, names):
    sheet, cohort = company(customers=1000)
    _, file = lock(sheet, cohort=cohort, today=DAY)
    file.write_text(file.read_text().replace("customers: 1000", "customers: 1001"))
    with pytest.raises(WinbackError, match=names("plan.yml", "was edited", "Put back")):
        assign(sheet, cohort, new_ledger=True)
    file.write_text("- nothing")
    with pytest.raises(WinbackError, match="no locked plan"):
        read_plan(read_sheet(sheet))


@pytest.mark.parametrize("customers", [4, 10**6])
def test_a_number_that_the_cohort_cannot_give_is_refused(company, names, customers):
    sheet, cohort = company(customers=customers)
    with pytest.raises(WinbackError, match=names(f"{customers:,}", "5 arms", "can be contacted")):
        lock(sheet, cohort=cohort, today=DAY)


def test_a_readout_tells_what_is_not_as_planned(company, small_telecom):
    sheet, cohort = company(customers=1000)
    plan, _ = lock(sheet, cohort=cohort, today=DAY)
    for table in ("assignments", "contacts", "purchases"):
        shutil.copy(small_telecom / f"{table}.parquet", sheet.parent)
    text = sheet.read_text().replace("experiment: spring", "experiment: telecom")
    # The simulated test is called telecom: give it a plan of that name, of 1,000 customers.
    read_sheet(sheet).private.plan.unlink()
    sheet.write_text(text)
    plan, _ = lock(sheet, cohort=cohort, today=DAY)
    (check,) = [worded(check) for check in read_out(sheet, horizon_months=12).checks if check.key == "as_planned"]
    assert check.state == "warn"
    for part in ("horizon_months 12 instead of 24", "3,000 customers assigned instead of 1,000", plan.sha256[:12]):
        assert part in check.reason


# The assignment.


def test_customers_go_into_arms_by_their_shares_within_strata_and_nobody_else_does(company):
    sheet, cohort = company(customers=1000)
    lock(sheet, cohort=cohort, today=DAY)
    done = assign(sheet, cohort, new_ledger=True)
    rows = rows_of(done.file)
    assert len(rows) == len({row[0] for row in rows}) == 1000
    assert all(abs(customers - 200) <= 12 for _, customers, _ in done.arms)  # one a stratum and arm at most
    assert done.worst_balance < 0.02
    known = duckdb.sql(f"SELECT customer_id, reason, abc FROM '{cohort}' WHERE contactable").fetchall()
    assert {(row[0], row[2]) for row in rows} <= {
        (str(name), f"{why or 'unknown'} / {abc}") for name, why, abc in known
    }
    assert {row[3] for row in rows} == set(range(200))


def test_assigning_twice_gives_the_same_customers_arms_and_day(company):
    sheet, cohort = company(customers=1000)
    lock(sheet, cohort=cohort, today=DAY)
    first = assign(sheet, cohort, new_ledger=True)
    rows = duckdb.sql(f"SELECT * FROM '{first.file}' ORDER BY customer_id").fetchall()
    first.file.unlink()
    again = assign_test(sheet, cohort=cohort, today=date(2024, 3, 1))
    assert (first.booking.new, again.booking.new) == (True, False)
    assert duckdb.sql(f"SELECT * FROM '{again.file}' ORDER BY customer_id").fetchall() == rows


def test_who_had_a_chance_is_in_no_second_test(company, names):
    first, cohort = company(customers=1500)
    lock(first, cohort=cohort, today=DAY)
    taken = {row[0] for row in rows_of(assign(first, cohort, new_ledger=True).file)}
    second, cohort = company("autumn", customers=1000)
    lock(second, cohort=cohort, today=DAY)
    done = assign(second, cohort)
    assert taken.isdisjoint(row[0] for row in rows_of(done.file))
    assert "they had their chance in spring (1,500)" in said_of(done.accounts[-1])
    third, cohort = company("winter", customers=1500)
    lock(third, cohort=cohort, today=DAY)
    with pytest.raises(WinbackError, match=names("1,500 customers", "chance left", "spring (1,500)", "autumn (1,000)")):
        assign(third, cohort)
    with open_ledger(first.parent.parent / "private/ledger.duckdb", read_only=True) as ledger:
        assert [standing.booking.experiment for standing in ledger.experiments()] == ["spring", "autumn"]
        assert ledger.audit() == ()


def test_nothing_is_assigned_without_a_plan_a_ledger_or_the_cohort_of_the_plan(company, names):
    sheet, cohort = company(customers=1000)
    with pytest.raises(WinbackError, match=names("no locked plan", "winback design", "--lock")):
        assign(sheet, cohort)
    lock(sheet, cohort=cohort, today=DAY)
    with pytest.raises(WinbackError, match=names("no ledger", "second chance")):
        assign(sheet, cohort)
    company(customers=1000, seed=8)
    with pytest.raises(WinbackError, match=names("not as locked", "seed 8 instead of 7")):
        assign(sheet, cohort, new_ledger=True)
    company(customers=1000)
    cohort.write_bytes(cohort.read_bytes() + b" ")
    with pytest.raises(WinbackError, match=names("not the cohort of the locked plan")):
        assign(sheet, cohort, new_ledger=True)
    cohort.unlink()
    with pytest.raises(WinbackError, match=names("no cohort", "winback lost")):
        assign(sheet, cohort, new_ledger=True)


def test_a_factor_that_the_cohort_does_not_know_is_refused(company, names):
    sheet, cohort = company(customers=1000, strata=["raeson"], segments=None,
                            arms={"holdout": {"share": 1}, "discount": {"share": 1}})  # fmt: skip
    with pytest.raises(WinbackError, match=names("raeson", "Did you mean 'reason'?")):
        lock(sheet, cohort=cohort, today=DAY)


def test_customers_for_whom_no_offer_is_chosen_are_found_before_anybody_is_assigned(company, names, telecom_sheet):
    arms = telecom_sheet.model_dump(mode="json", exclude_unset=True)["arms"]
    sheet, cohort = company(customers=1000, arms=arms)
    with pytest.raises(WinbackError, match=names("'tailored'", "'reason'", "'unknown'", "choose: {unknown: ...}")):
        lock(sheet, cohort=cohort, today=DAY)


def test_an_arm_that_gets_nobody_is_refused(company, names):
    arms = {"holdout": {"share": 1}, "discount": {"share": 1}, "rare": {"share": 0.00001}}
    sheet, cohort = company(customers=100, arms=arms, strata=[])
    lock(sheet, cohort=cohort, today=DAY)
    with pytest.raises(WinbackError, match=names("'rare'", "none of 100", "larger share", "more customers")):
        assign(sheet, cohort, new_ledger=True)


# What is perhaps not as it was meant, before and after anybody is booked.


def rewrite(cohort, select):
    """Write the cohort anew as a query makes it."""
    part = cohort.with_name("part.parquet")
    query = select.format(cohort=f"'{cohort}'")
    duckdb.sql(f"COPY ({query}) TO '{part}' (FORMAT parquet)")
    part.replace(cohort)


def test_a_cohort_with_a_customer_twice_or_without_a_name_is_refused_at_the_lock(company, names):
    sheet, cohort = company(customers=1000)
    whole = cohort.read_bytes()
    rewrite(cohort, "FROM {cohort} UNION ALL (FROM {cohort} WHERE contactable LIMIT 2)")
    with pytest.raises(WinbackError, match=names("cohort.parquet: 2 of", "repeat a customer", "one arm", "lost")):
        lock(sheet, cohort=cohort, today=DAY)
    cohort.write_bytes(whole)
    rewrite(cohort, "SELECT * REPLACE (nullif(customer_id, (SELECT min(customer_id) FROM {cohort} WHERE contactable)) "
                    "AS customer_id) FROM {cohort}")  # fmt: skip
    with pytest.raises(WinbackError, match=names("1 of", "a row has no customer", "winback lost")):
        lock(sheet, cohort=cohort, today=DAY)


def contact(sheet, cohort, rows):
    """Write contacts: `rows` is a query over the contactable `people` of the cohort, numbered by n from 0 on."""
    people = (
        f"(SELECT customer_id, row_number() OVER (ORDER BY customer_id) - 1 AS n FROM '{cohort}' WHERE contactable)"
    )
    duckdb.sql(f"COPY ({rows.format(people=people)}) TO '{sheet.parent / 'contacts.parquet'}' (FORMAT parquet)")


def test_whom_a_contact_reached_before_the_lock_is_not_assigned_and_that_is_told(company, names):
    sheet, cohort = company()
    contact(sheet, cohort, "SELECT customer_id, DATE '2024-01-01' + CAST(n % 2 AS INTEGER) AS \"at\", n < 8 AS reached "
                           "FROM {people} WHERE n < 20")  # fmt: skip
    plan, _ = lock(sheet, cohort=cohort, today=DAY)
    done = assign(sheet, cohort, new_ledger=True)
    told = said_of(done.accounts[0])
    assert "4 left out: a contact reached them before 2024-01-02" in told  # of 8 reached, 4 on the day itself
    assert len(rows_of(done.file)) == plan.customers == done.accounts[0].kept
    # What happens after the lock changes nothing of a draw.
    contact(sheet, cohort, "SELECT customer_id, CASE WHEN n < 8 AND n % 2 = 0 THEN DATE '2024-01-01' ELSE "
                           "DATE '2024-02-01' END AS \"at\", TRUE AS reached FROM {people}")  # fmt: skip
    assert not assign(sheet, cohort).booking.new


def test_a_contact_that_comes_to_light_late_does_not_undo_a_booked_test(company):
    """Of all who were drawn, and dated before the lock: drawn again nobody would be left."""
    sheet, cohort = company(customers=1000)
    lock(sheet, cohort=cohort, today=DAY)
    rows = rows_of(assign(sheet, cohort, new_ledger=True).file)
    contact(sheet, cohort, "SELECT customer_id, DATE '2024-01-01' AS \"at\", TRUE AS reached FROM {people}")
    again = assign(sheet, cohort)
    assert (again.booking.new, again.booking.customers, rows_of(again.file)) == (False, 1000, rows)


def test_where_everybody_was_contacted_the_lock_says_so(company, names):
    sheet, cohort = company(customers=1000)
    contact(sheet, cohort, "SELECT customer_id, 'winter' AS experiment FROM {people}")
    with pytest.raises(WinbackError, match=names("but 0 of cohort.parquet", "a contact reached them", "one chance")):
        lock(sheet, cohort=cohort, today=DAY)


def test_a_choice_that_nobody_has_and_strata_too_small_for_every_arm_are_told(company, telecom_sheet):
    arms = telecom_sheet.model_dump(mode="json", exclude_unset=True)["arms"]
    arms["tailored"]["choose"] |= {"unknown": "discount", "prise": "discount"}
    sheet, cohort = company(customers=200, arms=arms, strata=["reason", "tier", "complaint", "line"], segments=None)
    lock(sheet, cohort=cohort, today=DAY)
    small, unheard = assign(sheet, cohort, new_ledger=True).warnings
    assert "strata have fewer customers than the test has arms" in small
    assert "use fewer or coarser `strata`" in small
    assert unheard == ("Offer 'tailored' chooses by 'reason', but no customer of the test is 'prise'. "
                       "Did you mean 'price'?")  # fmt: skip
    calm, cohort = company("calm", customers=1000, strata=["reason"], segments=None)
    lock(calm, cohort=cohort, today=DAY)
    assert assign(calm, cohort).warnings == ()


def test_arms_that_are_not_as_planned_stop_the_readout(company, small_telecom):
    sheet, _ = company("telecom")
    for table in ("contacts", "purchases"):
        shutil.copy(small_telecom / f"{table}.parquet", sheet.parent)
    full = f"FROM '{small_telecom / 'assignments.parquet'}'"
    for rows, tone in ((full, "pass"), (f"{full} WHERE arm <> 'holdout' OR customer_id % 3 > 0", "stop")):
        duckdb.sql(f"COPY ({rows}) TO '{sheet.parent / 'assignments.parquet'}' (FORMAT parquet)")
        readout = read_out(sheet, horizon_months=6)
        found = next(check for check in readout.checks if check.key == "sample_ratio")
        assert found.state == tone
    told = worded_verdict(readout)
    assert told.word == "Do not use these numbers"
    assert "do not have the planned shares" in told.sentence
    assert "correct the planned shares" in told.detail
