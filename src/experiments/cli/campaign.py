"""A test in the field: who gets what, who calls whom, what came of it, and the ledger of all that."""

from __future__ import annotations

import argparse
from getpass import getuser
from pathlib import Path

from experiments.cli.options import REPORTS, SHEET, argument, command, flag
from experiments.cli.stages import cohort_found
from experiments.common.errors import WinbackError
from experiments.common.today import today

SHOWN = 20  # customers of a list on the terminal


@command(SHEET, flag("--new-ledger", help="begin the company's one ledger, where there is none"), REPORTS)
def assign(args: argparse.Namespace) -> None:
    """Draw the customers of a locked plan into its arms and book them in the ledger."""
    from experiments.campaign.assign import assign_test
    from experiments.report.wording.accounts import account as account_of

    done = assign_test(args.sheet, cohort=cohort_found(args), new_ledger=args.new_ledger)
    for account in done.accounts:
        print(account_of(account))
    for arm, customers, share in done.arms:
        print(f"  {arm}: {customers:,} customers, planned {100 * share:.1f} %")
    balance = f"{100 * done.worst_balance:.2f} points between arms and all"
    print(f"Balance: no stratum's share differs by more than {balance}.")
    for warning in done.warnings:
        print(f"  warn: {warning}")
    before = f"Already booked on {done.booking.at}: the same customers, nothing is changed."
    print("Booked." if done.booking.new else before)
    print(f"Who gets what: {done.file}")


@command(
    SHEET,
    argument("--out", type=Path, metavar="FILE", help="CSV or XLSX (calls.xlsx in the private folder of the test)"),
    argument("--answers", type=Path, metavar="FILE", help="a filled list: what happened, into table contacts"),
    flag("--replace", help="write over a list, or correct what was read back before"),
    REPORTS,
)
def contacts(args: argparse.Namespace) -> None:
    """Write the call list of a test; with --answers, read a filled one back."""
    from experiments.campaign.call_rules import sentence
    from experiments.campaign.workflow import read_responses, write_call_list
    from experiments.sheet.sheet import read_sheet

    if args.answers:
        print(read_responses(args.sheet, args.answers, replace=args.replace))
        return
    out = args.out or read_sheet(args.sheet).private.call_list
    calls = write_call_list(args.sheet, cohort=cohort_found(args), out=out, replace=args.replace)
    print(calls)
    for violation in calls.violations:
        print(f"  {sentence(violation)}")
    for load in calls.loads:
        days = f"{load.days} day{'s' * (load.days != 1)}"
        print(f"  {load.caller}: {load.customers:,} customers on {days}, {load.first_day} to {load.last_day}")
    print(f"The call list: {out}")


@command(
    SHEET,
    argument("--reason", required=True, metavar="TEXT", help="why; it stays in plan and ledger, and on the pages"),
    argument("--by", metavar="NAME", help="who decides it (your login)"),
    argument("--stop", nargs="+", default=[], metavar="ARM", help="arms of which nobody is called any more"),
    flag("--pause", help="nobody is called until the next amendment"),
    flag("--resume", help="go on after a pause"),
)
def amend(args: argparse.Namespace) -> None:
    """Change a locked plan to what the sheet says now, on record: a second sha256."""
    from experiments.campaign.workflow import amend_plan

    plan = amend_plan(args.sheet, reason=args.reason, by=args.by or getuser(), stop=args.stop, paused=args.pause)
    last = plan.amendments[-1]
    state = "paused: nobody is called" if plan.paused else "going on"
    print(f"Amended on {last.at} by {last.by}: {last.reason}. The test is {state}.")
    if plan.stopped:
        print(f"Stopped arms, of which nobody is called any more: {', '.join(plan.stopped)}")
    print(f"sha256 {plan.sha256s[0]}, amended {plan.sha256}")


@command(SHEET, argument("--customer", metavar="ID", help="a customer whose history is told, too"))
def ledger(args: argparse.Namespace) -> None:
    """Tell who was assigned, released and contacted in every test, and what happened to a customer."""
    from experiments.campaign.workflow import read_books

    books = read_books(args.sheet, customer=args.customer)
    for line in books.lines() if books.experiments else ["Nobody is booked yet."]:
        print(line)
    if args.customer is not None:
        print(f"Customer {args.customer!r}:" if books.history else f"Customer {args.customer!r} was never assigned.")
    for event in books.history:
        print(f"  {event}")
    if books.wrong:
        raise WinbackError(f"The ledger was changed by another program: {'; '.join(books.wrong)}. Put a copy back.")


@command(
    SHEET,
    argument("--customer", nargs="+", required=True, metavar="ID", help="the customers, as the tables write them"),
    argument("--reason", required=True, metavar="TEXT", help="why; it stays in the ledger: no names"),
    argument("--by", metavar="NAME", help="who does it (your login)"),
)
def forget(args: argparse.Namespace) -> None:
    """Forget customers: a pseudonym in every file that is kept, and no number changes."""
    from experiments.campaign.forget import forget as forget_customers

    done = forget_customers(args.sheet, args.customer, reason=args.reason, by=args.by or getuser(), today=today())
    for line in done.lines():
        print(line)


@command(
    SHEET,
    flag("--forget", help="forget them, too; else they are only listed"),
    argument("--by", metavar="NAME", help="who does it (your login)"),
)
def expire(args: argparse.Namespace) -> None:
    """List whose data are past the sheet's keep_months; with --forget, forget them."""
    from experiments.campaign.expire import find_expired
    from experiments.campaign.forget import forget as forget_customers

    day = today()
    past = find_expired(args.sheet, today=day)
    print(f"Past their time on {day}: {len(past):,} customers" + (", ".join(["", *past[:SHOWN]]).replace(",", ":", 1)
          if past else ""))  # fmt: skip
    if len(past) > SHOWN:
        print(f"  and {len(past) - SHOWN:,} more")
    if past and args.forget:
        done = forget_customers(args.sheet, past, reason="past keep_months", by=args.by or getuser(), today=day)
        print("\n".join(done.lines()))
    elif past:
        print("Forget them: `winback expire <sheet> --forget`.")


@command(
    SHEET,
    argument("--customer", nargs="+", default=[], metavar="ID", help="the customers"),
    argument("--file", type=Path, metavar="FILE", help="or a CSV or XLSX file with a column customer_id"),
    argument("--reason", required=True, metavar="TEXT", help="why; it stays in the ledger"),
    argument("--by", metavar="NAME", help="who decides it (your login)"),
)
def release(args: argparse.Namespace) -> None:
    """Give customers their one chance back, for a reason that stays in the ledger."""
    from experiments.campaign import workflow

    by = args.by or getuser()
    print(workflow.release(args.sheet, args.customer, file=args.file, reason=args.reason, by=by, today=today()))
