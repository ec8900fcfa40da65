"""Before a test: is the sheet right, who is lost, what can a test tell."""

from __future__ import annotations

import argparse

from experiments.cli.first_page import SAID, previewed, said, sheet_of
from experiments.cli.options import SHEET, STAGE, argument, command, flag, parameters_given
from experiments.cli.stages import cohort_found, run_stage
from experiments.common.errors import WinbackError


@command(SHEET)
def check(args: argparse.Namespace) -> None:
    """Read the sheet and every table it names, and say where each row went."""
    from experiments.lost.find import find_lost
    from experiments.metrics.cube import make_cube
    from experiments.readout.readout import read_cube
    from experiments.report.wording.accounts import account as account_of
    from experiments.report.wording.checks import worded
    from experiments.report.wording.offers import offer_warning
    from experiments.sheet.offer_checks import check_offers
    from experiments.sheet.sheet import read_sheet

    sheet = read_sheet(args.sheet)
    folder = sheet.folder
    print(f"{args.sheet}: a correct sheet. {sheet.question}")
    for warning in check_offers(sheet.every_offer, second_value=None):
        print(f"  warn: {warning.facts['offer']}: {' '.join(offer_warning(warning, currency=sheet.currency))}")
    for line in previewed(sheet):
        print(line)
    if sheet.lost and "purchases" in sheet.tables:
        print("The look at the lost customers will use:")
        for account in find_lost(sheet).accounts:
            print(f"  {account_of(account)}")
    if sheet.arms and "assignments" in sheet.tables and sheet.tables["assignments"].there(folder):
        print("The readout will use:")
        readout = read_cube(make_cube(sheet), sheet)
        for account in readout.accounts:
            print(f"  {account_of(account)}")
        for check in map(worded, readout.checks):
            if check.state != "pass":
                print(f"  {check.state}: {check.name}. {check.reason} {check.todo}")


@command(
    argument("files", nargs="+", metavar="SHEET", help="an experiment sheet; or exports (CSV, XLSX, ODS, Parquet), of "
             "which a sheet is written"),
    SAID, *STAGE[1:],
)  # fmt: skip
def lost(args: argparse.Namespace) -> None:
    """Find the lost customers: a page, lost.json, and a row for each in the private folder."""
    from experiments.sheet.places import TRIAL
    from experiments.sheet.sheet import read_sheet

    args.sheet = sheet_of(args.files, said(args), language=args.lang)
    cohort = read_sheet(args.sheet).private.cohort
    if run_stage("1-lost", args).parent.name == TRIAL:
        cohort = cohort.parent / TRIAL / cohort.name
    print(f"The lost customers: {cohort}")


@command(
    *STAGE,
    flag("--lock", help="freeze sheet and cohort into the plan of the test"),
    flag("--anyway", help="lock even a test too small to tell anything"),
)
def design(args: argparse.Namespace) -> None:
    """Plan a test: what it can tell, what it costs; with --lock, freeze the plan."""
    out = run_stage("2-design", args)
    if not args.lock:
        return
    from experiments.campaign.workflow import lock_plan
    from experiments.common.language import speaking
    from experiments.design.design import Design
    from experiments.report.wording.design import risk
    from experiments.sheet.sheet import read_sheet

    planned = Design.load(out / "design.json")
    if planned.stops and not args.anyway:
        with speaking(
            str(parameters_given(args, before="sheet").get("language", read_sheet(args.sheet).language))
        ):  # the page's
            for name, reason, todo in (risk(planned, stop) for stop in planned.stops):
                print(f"  {name}: {reason} {todo}")
        raise WinbackError("The plan is not locked. Change the sheet as said, or lock it all the same: --anyway.")
    plan = lock_plan(args.sheet, cohort=cohort_found(args), customers=planned.customers)
    if planned.plan is None:
        run_stage("2-design", args)  # the page tells the lock
    file = read_sheet(args.sheet).private.plan
    print(f"Locked on {plan.locked_on}: {file}, {plan.customers:,} customers, sha256 {plan.sha256}")
