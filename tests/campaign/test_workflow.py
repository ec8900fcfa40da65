"""The whole way from a locked plan to a call list and back, as the commands go it."""

import csv
import shutil
from pathlib import Path

import duckdb
import pytest
import yaml

from experiments import design_test, find_lost
from experiments.campaign.assign import assign_test
from experiments.campaign.workflow import lock_plan, read_responses, write_call_list
from experiments.cli import commands
from experiments.common.today import today
from experiments.sheet.locked_plan import read_plan
from experiments.sheet.sheet import Sheet

SHEET = "data/spring/sheet.yml"


@pytest.fixture
def planned(small_telecom, telecom_sheet, tmp_path, monkeypatch):
    """Go to a folder with a locked plan of 500 customers, a cohort and no ledger yet."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(small_telecom, "data/spring", ignore=shutil.ignore_patterns("private"))
    for table in ("assignments", "contacts"):
        Path(f"data/spring/{table}.parquet").unlink()
    content = telecom_sheet.model_dump(mode="json", exclude_unset=True)
    content["arms"]["tailored"]["choose"]["unknown"] = "discount"
    content |= {"experiment": "spring", "customers": 500}
    content["contacts"] = {"callers": {"Ann": {}, "Bob": {"head": True}}, "capacity": 50, "deadline_days": 60}
    Path(SHEET).write_text(yaml.safe_dump(content), encoding="utf-8")
    find_lost(SHEET, out="data/private/spring")

    def stage(name, args):
        """Make what the notebook of a stage makes, without its page: that has its own tests."""
        out = Path("reports/spring", name)
        if name == "2-design":
            design_test(args.sheet, customers=500).write(out / "design.json")
        return out

    monkeypatch.setattr("experiments.cli.plan.run_stage", stage)


def winback(capsys, *words):
    code = commands.main([*words])
    told, complaint = capsys.readouterr()
    return code, told, complaint


def test_a_plan_becomes_a_call_list_and_the_answers_come_back(planned, capsys):
    code, told, complaint = winback(capsys, "design", SHEET, "--lock")
    assert (code, Path("data/private/spring/plan.yml").exists()) == (1, False)
    assert "A cohort of 500 makes 100 customers in the smallest group: too few to tell anything" in told
    assert "The plan is not locked. Change the sheet as said, or lock it all the same" in complaint
    code, told, _ = winback(capsys, "design", SHEET, "--lock", "--anyway")
    assert (code, "500 customers" in told, Path("data/private/spring/plan.yml").is_file()) == (0, True, True)
    code, told, _ = winback(capsys, "assign", SHEET, "--new-ledger")
    assert code == 0
    assert "  holdout: 10" in told or "  holdout: 9" in told
    assert "Booked." in told
    assert "Already booked" in winback(capsys, "assign", SHEET)[1]

    code, told, complaint = winback(capsys, "contacts", SHEET, "--out", "calls.csv")
    assert (code, complaint) == (0, "")
    arms = dict(
        duckdb.sql("SELECT CAST(customer_id AS VARCHAR), arm FROM 'data/spring/assignments.parquet'").fetchall()
    )
    with Path("calls.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    listed = {row["customer_id"] for row in rows}
    held = {name for name, arm in arms.items() if arm == "holdout"}
    assert len(listed) == len(rows) == 500 - len(held)
    assert listed == set(arms) - held
    assert all(row["words"] for row in rows)
    planned = Path(SHEET).read_text(encoding="utf-8")
    Path(SHEET).write_text(planned.replace("contact: '5'", "contact: '50'"), encoding="utf-8")
    complaint = winback(capsys, "contacts", SHEET, "--out", "others.csv")[2]
    assert ": arms.discount.contact 50 instead of 5; arms.tailored.contact 50 instead of 5;" in complaint
    Path(SHEET).write_text(planned, encoding="utf-8")
    assert "calls.csv" in winback(capsys, "contacts", SHEET, "--out", "calls.csv")[2]  # not written over

    for row in rows[:20]:
        row |= {"called_on": row["day"], "reached": "yes"}
    day = today().isoformat()
    for row in rows[:20]:
        row["called_on"] = day
    rows[0]["accepted_at"] = day
    with Path("filled.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    code, told, complaint = winback(capsys, "contacts", SHEET, "--answers", "filled.csv")
    assert (code, complaint) == (0, "")
    found = "SELECT count(*), count(accepted_at), count(DISTINCT experiment) FROM 'data/spring/contacts.parquet'"
    assert duckdb.sql(found).fetchall() == [(20, 1, 1)]
    winback(capsys, "contacts", SHEET, "--answers", "filled.csv")
    assert duckdb.sql(found).fetchall() == [(20, 1, 1)]


def test_nothing_is_listed_before_anybody_is_assigned(planned, capsys):
    code, _, complaint = winback(capsys, "contacts", SHEET)
    assert code == 1
    assert "no ledger" in complaint


def test_a_rule_that_says_stop_keeps_the_list_from_being_written(planned, capsys):
    winback(capsys, "design", SHEET, "--lock", "--anyway")
    winback(capsys, "assign", SHEET, "--new-ledger")
    duckdb.sql("COPY (SELECT 'winter' AS experiment, customer_id, DATE '2024-01-01' AS \"at\", TRUE AS reached, "
               "CAST(NULL AS DATE) AS accepted_at FROM 'data/spring/assignments.parquet') "
               "TO 'data/spring/contacts.parquet' (FORMAT parquet)")  # fmt: skip
    code, _, complaint = winback(capsys, "contacts", SHEET, "--out", "calls.csv")
    assert code == 1
    assert "One chance a customer" in complaint
    assert not Path("calls.csv").exists()


def booked(capsys):
    """Lock and assign; return the customers in order."""
    winback(capsys, "design", SHEET, "--lock", "--anyway")
    assert winback(capsys, "assign", SHEET, "--new-ledger")[0] == 0
    rows = duckdb.sql(
        "SELECT CAST(customer_id AS VARCHAR) FROM 'data/spring/assignments.parquet' ORDER BY 1"
    ).fetchall()
    return [row[0] for row in rows]


def test_a_release_stands_in_the_ledger_with_its_reason_and_can_be_run_again(planned, capsys):
    first, second, third, *_ = booked(capsys)
    words = ("release", SHEET, "--customer", first, second, "--reason", "offer never sent", "--by", "Ann")
    assert winback(capsys, *words) == (0, "released 2 of 2 customers\n", "")
    Path("wrong.csv").write_text(f"name;customer_id\nx;{second}\ny;{third}\n", encoding="utf-8")
    words = ("release", SHEET, "--file", "wrong.csv", "--reason", "wrong list")
    assert winback(capsys, *words) == (0, "released 1 of 2 customers; 1 were free\n", "")

    code, told, complaint = winback(capsys, "ledger", SHEET, "--customer", first)
    assert (code, complaint) == (0, "")
    line, whose, assigned, released = told.splitlines()
    assert line.startswith("spring: 500 customers assigned on 20")
    assert line.endswith("; 3 released; contacts not known here")
    assert (whose, "assigned to spring, arm '" in assigned) == (f"Customer {first!r}:", True)
    assert released.endswith(": released from spring, by Ann: offer never sent")
    duckdb.sql(f"COPY (SELECT 'spring' AS experiment, '{third}' AS customer_id, DATE '2024-01-01' AS \"at\") "
               "TO 'data/spring/contacts.parquet' (FORMAT parquet)")  # fmt: skip
    assert "; 1 contacted\n" in winback(capsys, "ledger", SHEET)[1]

    Path("data/spring/contacts.parquet").unlink()
    assert winback(capsys, "assign", SHEET)[0] == 0
    left = duckdb.sql("SELECT count(*) FROM 'data/spring/assignments.parquet'").fetchall()
    assert left == [(497,)]


def test_a_release_of_nobody_or_without_a_reason_is_refused(planned, capsys):
    booked(capsys)
    Path("names.csv").write_text("name\nx\n", encoding="utf-8")
    Path("empty.csv").write_text("customer_id\n", encoding="utf-8")
    for who, reason, told in (
        (
            ("--customer", "nobody"),
            "r",
            "1 of 1 customers to release were never assigned, such as 'nobody'. Nobody was",
        ),
        (("--customer", ""), "r", "1 of 1 customers to release were never assigned, such as ''"),
        (("--customer", "1"), " ", "reason is ' '. The history must tell it: write it."),
        (("--file", "gone.csv"), "r", "There is no list 'gone.csv'"),
        (("--file", "names.csv"), "r", "names.csv has no column 'customer_id'"),
        (("--file", "empty.csv"), "r", "empty.csv has a header but no customers. Nobody was released."),
    ):
        code, _, complaint = winback(capsys, "release", SHEET, *who, "--reason", reason)
        assert (code, told in complaint) == (1, True), complaint
    assert "; 0 released;" in winback(capsys, "ledger", SHEET)[1]


def test_a_stranger_has_no_history_and_a_changed_ledger_is_told(planned, capsys):
    booked(capsys)
    assert "Customer 'x' was never assigned." in winback(capsys, "ledger", SHEET, "--customer", "x")[1]
    with duckdb.connect("data/private/ledger.duckdb") as other:
        other.execute("UPDATE events SET arm = 'discount'")
    code, _, complaint = winback(capsys, "ledger", SHEET)
    assert (code, "the events of booking 1 were changed" in complaint) == (1, True)


def test_the_steps_take_a_loaded_sheet_and_find_the_cohort_where_the_command_wrote_it(planned):
    sheet = Sheet.load(SHEET)
    plan = lock_plan(sheet)
    assert (plan.customers, plan) == (500, read_plan(sheet))
    assign_test(sheet, today=plan.locked_on, new_ledger=True)
    calls = write_call_list(sheet, out="lists/calls.csv")
    assert (calls.assigned, Path("lists/calls.csv").is_file()) == (500, True)
    empty = read_responses(sheet, "lists/calls.csv")
    assert (empty.rows, empty.empty, empty.attempts) == (calls.listed, calls.listed, 0)
