"""The command `winback`: thin words over the rooms."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from experiments.cli.arguments import parser_of
from experiments.common.errors import WinbackError, short
from experiments.common.language import ENGLISH

# Every other import stands in the command that needs it: `winback --help` answers at once.

ABOUT = """Test win-back offers on lost customers: who accepts, how long they stay, what it earns.

  winback demo                             see the whole way on a simulated telecom
  winback check data/telecom/sheet.yml     is my sheet right, and do the tables fit?
  winback lost data/telecom/sheet.yml      whom did we lose, why, and whom to win back first?
  winback design data/telecom/sheet.yml    what can a test tell, and what does it cost?
  winback assign data/telecom/sheet.yml    who gets which offer; one chance a customer, for ever
  winback contacts data/telecom/sheet.yml  who calls whom, when, with which words; and what came of it
  winback readout data/telecom/sheet.yml   read a test; the page lies in reports/
  winback sweep data/telecom/sheet.yml --over horizon_months=6,12,24   does the choice hold?
"""
PAIR = ("one run", "another")
WIDTH = 160  # letters of a line of parameters
STOPS = ("SIGTERM", "SIGHUP")
LINES = 12  # of a kind of difference; more of them say no more
DEMO = (  # sheet, lost customers, seed
    ("telecom", 40_000, 7),
    ("telecom-north", 12_000, 11),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code: 0 done, 1 bad input, 128 and the signal's number where one stopped it."""
    warnings.formatwarning = lambda message, *_, **__: f"winback: {message}\n"  # people read it, not programmers
    try:
        args = _parser().parse_args(argv)
        with _stoppable():
            args.command(args)
    except WinbackError as error:
        print(f"winback: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stopped:
        print("winback: stopped. Finished reports are as they were.", file=sys.stderr)
        return 128 + next(iter(stopped.args), signal.SIGINT)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        where = f"'{error.filename}': " if error.filename else ""
        print(f"winback: {where}{error.strerror or error}. Finished reports are as they were.", file=sys.stderr)
        return 1
    return 0


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let `kill` and a closed terminal stop a command as Ctrl-C does: nothing half done stays, no kernel goes on."""
    numbers = [number for name in STOPS if (number := getattr(signal, name, None))]  # Windows has one of them
    mine = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]  # under nohup: not SIGHUP

    def stop(number: int, _: object) -> NoReturn:
        for other in mine:
            signal.signal(other, signal.SIG_IGN)  # once is enough: let it clean up
        raise KeyboardInterrupt(number)

    for number in mine:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in mine:
            signal.signal(number, signal.SIG_DFL)


def demo(args: argparse.Namespace) -> None:
    """Simulate a telecom, find its lost customers, plan, read out and compare."""
    from experiments.runner.workspace import copy_example
    from experiments.sheet.sheet import read_sheet
    from experiments.simulate.telecom import simulate

    readouts: list[Path] = []
    for name, customers, seed in DEMO:
        sheet = copy_example(name, Path("data")) / "sheet.yml"
        plan, folder = read_sheet(sheet)
        size = args.customers or customers
        print(f"{name}: simulating {size:,} lost customers", flush=True)
        simulate(folder, customers=size, seed=seed, experiment=plan.experiment)
        stages = ("1-lost", "2-design", "3-readout") if not readouts else ("3-readout",)
        for stage in stages:
            told = {"sheet": sheet.as_posix(), **_spoken(args)}
            _run(stage, told, reports=args.reports, experiment=plan.experiment, sheet=sheet)
        readouts.append(args.reports / plan.experiment / "3-readout" / "readout.json")
    _compare(readouts, args.reports, fresh=False, changes=_spoken(args))
    _headline(args.reports / DEMO[0][0] / "3-readout" / "readout.json")
    print(f"Open the report:   {args.reports / DEMO[0][0] / '3-readout' / 'page.html'}")
    print(f"Everything made:   {args.reports / 'index.html'}")


def check(args: argparse.Namespace) -> None:
    """Read the sheet and every table it names, and say where each row went."""
    from experiments.data.tables import connect, read
    from experiments.lost.find import MADE
    from experiments.metrics.cube import make_cube
    from experiments.readout.readout import read_cube
    from experiments.report.wording.accounts import account as account_of
    from experiments.sheet.offer_checks import fits
    from experiments.sheet.sheet import read_sheet

    sheet, folder = read_sheet(args.sheet)
    print(f"{args.sheet}: a correct sheet. {sheet.question}")
    for warning in fits(sheet.every_offer, second_value=None, currency=sheet.currency):
        print(f"  warn: {warning}")
    with connect() as con:
        for name, source in sheet.tables.items():
            if name in MADE and not (folder / source.file).is_file():
                print(f"  {name}: not there yet; the test makes it")
            else:
                print(f"  {account_of(read(con, name, source, folder=folder, decimals=sheet.decimals))}")
    if sheet.lost and "purchases" in sheet.tables:
        from experiments.lost.find import find_lost

        print("The look at the lost customers will use:")
        for account in find_lost(sheet, folder).accounts:
            print(f"  {account_of(account)}")
    if sheet.arms and "assignments" in sheet.tables and (folder / sheet.tables["assignments"].file).is_file():
        print("The readout will use:")
        readout = read_cube(make_cube(sheet, folder), sheet)
        for account in readout.accounts:
            print(f"  {account_of(account)}")
        for found in readout.checks:
            if found.state != "pass":
                print(f"  {found.state}: {found.name}. {found.reason} {found.todo}")


def run(args: argparse.Namespace) -> None:
    """Run one notebook with other parameters."""
    from experiments.runner.notebooks import find_notebook
    from experiments.runner.parameters import help_of, parameters_of

    notebook = find_notebook(args.notebook)
    known = parameters_of(notebook)
    if args.list:
        print(help_of(notebook))
        return
    parameters = dict(_pair(text) for text in args.parameter) | _spoken(args)
    named = known["sheet"].parse(parameters.get("sheet", known["sheet"].default)) if "sheet" in known else None
    _run(notebook.stem, parameters, reports=args.reports, fresh=args.fresh, experiment=args.name,
         sheet=Path(str(named)) if named else None, source=notebook)  # fmt: skip


def sweep(args: argparse.Namespace) -> None:
    """Run a notebook under every combination of other parameters, and compare them on one page."""
    from experiments.report.page import index
    from experiments.runner.sweeps import sweep as carry_out
    from experiments.sheet.locked_plan import inputs_of
    from experiments.sheet.sheet import read_sheet

    sheet = read_sheet(args.sheet)[0]
    over = _over(args.over) or sheet.sweep
    parameters = {"sheet": args.sheet, **_changes(args, before="sheet")}
    spoken = str(parameters.get("language", sheet.language))
    out = args.reports / sheet.experiment / args.name
    swept = carry_out(args.notebook, parameters, over=over, out=out, inputs=inputs_of(args.sheet), workers=args.workers,
                      progress=sys.stderr.isatty(), fresh=args.fresh, language=spoken)  # fmt: skip
    index(args.reports, spoken=spoken)
    for run in swept.runs:
        found = "; ".join(filter(None, (run.headline, str(run.page))))
        print(f"  {run.out.name}: {found}{' (reused)' if run.reused else ''}")
    if swept.page:
        print(f"\n{swept.page.headline}\n\nThe sweep: {swept.page.page}")
    if swept.failed:
        told = "\n".join(f"{name}:\n{message}" for name, message in swept.failed.items())
        raise WinbackError(f"{len(swept.failed)} of {len(swept.failed) + len(swept.runs)} settings failed.\n{told}")


def runs(args: argparse.Namespace) -> None:
    """List the runs there are; with two of them, what differs between them."""
    from experiments.common import run_records

    if args.runs:
        if len(args.runs) != len(PAIR):
            raise WinbackError("Name two runs to compare, such as reports/telecom/3-readout and another folder.")
        found = run_records.differences(*map(run_records.find_run, args.runs))
        print("\n".join(_blocks(found)) or "Nothing differs.")
        return
    wanted = dict(map(_pair, args.parameter))
    listed = run_records.chosen(run_records.runs(args.reports), experiment=args.experiment, notebook=args.notebook,
                             status=args.status, parameters=wanted)  # fmt: skip
    for run in listed:
        given = ", ".join(f"{name}={value}" for name, value in run.parameters.items() if value not in (None, []))
        print(f"{run.started[:16].replace('T', ' ')}  {run.status:6}  {run.out}  {run.headline}".rstrip())
        print(f"    {short(given, WIDTH)}")
    if not listed:
        print(f"No such run in {args.reports}.")


def verify(args: argparse.Namespace) -> None:
    """Compute reports again from their records, and say whether they are equal or what differs."""
    from experiments.common.run_records import Run
    from experiments.runner.fork_server import WORTH, preloaded
    from experiments.runner.verify import records_to_verify
    from experiments.runner.verify import verify as compute

    unequal = 0
    with preloaded(WORTH["experiments"]):
        for record in [record for folder in args.folders for record in records_to_verify(folder)]:
            try:
                found = compute(Run.read(record))
                word, told = "equal" if found.is_equal else "NOT equal", _blocks(found.causes | found.effects)
            except WinbackError as error:
                word, told = "NOT computed", [f"  {line}" for line in str(error).splitlines()]
            unequal += word != "equal"
            print("\n".join([f"{record.parent}: {word}", *told]), flush=True)
    if unequal:
        raise WinbackError(f"{unequal} of these reports cannot be had again from the same inputs.")


def _blocks(found: Mapping[str, Sequence[str]]) -> list[str]:
    """Return what differs, a title and lines under it, the first of many."""
    lines = []
    for where, told in found.items():
        more = [f"    ... {len(told) - LINES} more"] if len(told) > LINES else []
        lines += [f"  {where}", *(f"    {line}" for line in told[:LINES]), *more]
    return lines


def lost(args: argparse.Namespace) -> None:
    """Find the lost customers: a page, lost.json, and cohort.parquet with a row for each."""
    _stage("1-lost", args)
    print(f"The lost customers: {args.reports / _experiment(args.sheet) / '1-lost' / 'cohort.parquet'}")


def design(args: argparse.Namespace) -> None:
    """Plan a test: what it can tell, what it costs; with --lock, freeze the plan."""
    _stage("2-design", args)
    if args.lock:
        from datetime import UTC, datetime

        from experiments.design.design import read_design
        from experiments.sheet.locked_plan import lock

        planned = read_design(args.reports / _experiment(args.sheet) / "2-design" / "design.json")
        stops = [] if args.anyway else [risk for risk in planned.risks if risk.state == "stop"]
        if stops:
            print(*(f"  {risk.name}: {risk.reason} {risk.todo}" for risk in stops), sep="\n")  # in the page's language
            raise WinbackError("The plan is not locked. Change the sheet as said, or lock it all the same: --anyway.")
        plan, file = lock(args.sheet, cohort=_cohort(args), customers=planned.customers, today=datetime.now(UTC).date())
        if planned.plan is None:
            _stage("2-design", args)  # the page tells the lock
        print(f"Locked on {plan.locked_on}: {file}, {plan.customers:,} customers, sha256 {plan.sha256}")


def assign(args: argparse.Namespace) -> None:
    """Draw the customers of a locked plan into its arms and book them in the ledger."""
    from datetime import UTC, datetime

    from experiments.campaign.assign import assign_test
    from experiments.report.wording.accounts import account as account_of

    done = assign_test(args.sheet, cohort=_cohort(args), today=datetime.now(UTC).date(), new_ledger=args.new_ledger)
    for account in done.accounts:
        print(account_of(account))
    for arm, customers, share in done.arms:
        print(f"  {arm}: {customers:,} customers, planned {100 * share:.1f} %")
    print(
        f"Balance: no stratum's share differs by more than {100 * done.worst_balance:.2f} points between arms and all."
    )
    for warning in done.warnings:
        print(f"  warn: {warning}")
    print(
        "Booked."
        if done.booking.new
        else f"Already booked on {done.booking.at}: the same customers, nothing is changed."
    )
    print(f"Who gets what: {done.file}")


def contacts(args: argparse.Namespace) -> None:
    """Write the call list of a test; with --answers, read a filled one back."""
    from datetime import UTC, datetime

    from experiments.campaign.workflow import list_contacts, take_answers

    if args.answers:
        print(take_answers(args.sheet, args.answers, today=datetime.now(UTC).date(), replace=args.replace))
        return
    out = args.out or args.reports / _experiment(args.sheet) / "calls.xlsx"
    calls = list_contacts(args.sheet, cohort=_cohort(args), out=out, replace=args.replace)
    print(calls)
    for violation in calls.violations:
        print(f"  {violation}")
    for load in calls.loads:
        days = f"{load.days} day{'s' * (load.days != 1)}"
        print(f"  {load.caller}: {load.customers:,} customers on {days}, {load.first_day} to {load.last_day}")
    print(f"The call list: {out}")


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


def release(args: argparse.Namespace) -> None:
    """Give customers their one chance back, for a reason that stays in the ledger."""
    from datetime import UTC, datetime
    from getpass import getuser

    from experiments.campaign import workflow

    done = workflow.release(args.sheet, args.customer, file=args.file, reason=args.reason, by=args.by or getuser(),
                        today=datetime.now(UTC).date())  # fmt: skip
    print(done)


def readout(args: argparse.Namespace) -> None:
    """Read a test: which offer to choose, as a page and as readout.json."""
    _stage("3-readout", args)
    _headline(args.reports / _experiment(args.sheet) / "3-readout" / "readout.json")


def compare(args: argparse.Namespace) -> None:
    """Put several tests on one page: what offers have done so far."""
    paths = [Path(text) for text in args.readouts] or sorted(args.reports.glob("*/3-readout/readout.json"))
    if not paths:
        raise WinbackError(f"There is no readout in {args.reports}. Make one: `winback readout <sheet>`.")
    found = [_readout_of(path) for path in paths]
    _compare(found, args.reports, fresh=args.fresh, changes=_changes(args, before="readouts"))
    print(f"For the next design: {args.reports / 'compare' / '4-compare' / 'pooled.json'}")


def _readout_of(path: Path) -> Path:
    """Return the readout of a file, a run's folder or an experiment's folder."""
    if not path.is_dir():
        return path
    return next((file for file in (path / "readout.json", path / "3-readout" / "readout.json") if file.is_file()), path)


def pdf(args: argparse.Namespace) -> None:
    """Print a page to a tagged PDF with the Chromium of this machine."""
    from experiments.report.pdf import print_page

    print(f"Printed: {print_page(args.page, args.out)}")


def init(args: argparse.Namespace) -> None:
    """Make a workspace of your own: a sheet to start from, the notebooks, sample data."""
    from experiments.runner.workspace import make_workspace, refuse_occupied

    refuse_occupied(args.folder)
    if args.customers:
        print(f"Simulating {args.customers:,} lost customers as sample data", flush=True)
    for made in make_workspace(args.folder, customers=args.customers):
        print(f"  {made}")
    print(f"Go on there: cd {args.folder}, then winback readout data/telecom/sheet.yml")


def lab(args: argparse.Namespace) -> None:
    """Open JupyterLab on the notebooks."""
    from experiments.runner.notebooks import find_notebook

    folder = find_notebook("3-readout").parent
    first = "--LabApp.default_url=/lab/tree/0-welcome.ipynb"
    command = [sys.executable, "-m", "jupyterlab", f"--notebook-dir={folder}", first, *args.more]
    os.execv(sys.executable, command)  # noqa: S606  # without a shell on purpose; JupyterLab gets our terminal


def _cohort(args: argparse.Namespace) -> Path:
    folder: Path = args.reports / _experiment(args.sheet) / "1-lost"
    return folder / "cohort.parquet"


def _experiment(sheet: str) -> str:
    from experiments.sheet.sheet import read_sheet

    return read_sheet(sheet)[0].experiment


def _stage(stage: str, args: argparse.Namespace) -> None:
    """Run the notebook of a stage on a sheet, with the parameters of the command line."""
    parameters = {"sheet": args.sheet, **_changes(args, before="sheet")}
    _run(stage, parameters, reports=args.reports, fresh=args.fresh, experiment=_experiment(args.sheet),
         sheet=Path(args.sheet))  # fmt: skip


def _changes(args: argparse.Namespace, *, before: str) -> dict[str, object]:
    """Return the parameters that -p and --lang set; refuse the one that stands before them."""
    changes = dict(_pair(text) for text in args.parameter)
    if before in changes:
        raise WinbackError(f"Name the {before} before the parameters: winback {args.command.__name__} "
                           f"{changes[before]}")  # fmt: skip
    return changes | _spoken(args)


def _compare(readouts: Sequence[Path], reports: Path, *, fresh: bool, changes: Mapping[str, object]) -> None:
    parameters = {"readouts": [path.as_posix() for path in readouts], **changes}
    _run("4-compare", parameters, reports=reports, fresh=fresh, experiment="compare", inputs=readouts)


def _spoken(args: argparse.Namespace) -> dict[str, object]:
    """Return the parameter of a notebook that --lang sets."""
    return {"language": args.lang} if args.lang else {}


def _run(
    stage: str,
    parameters: Mapping[str, object],
    *,
    reports: Path,
    fresh: bool = False,
    experiment: str | None = None,
    sheet: Path | None = None,
    inputs: Sequence[Path] = (),
    source: Path | None = None,
) -> None:
    """Run a notebook into reports/<experiment>/<stage> and renew the list of runs."""
    from experiments.report.page import index
    from experiments.runner.notebooks import run

    spoken = str(parameters.get("language", ENGLISH))
    if sheet is not None:
        from experiments.sheet.locked_plan import inputs_of
        from experiments.sheet.sheet import read_sheet

        content = read_sheet(sheet)[0]
        experiment, spoken = experiment or content.experiment, str(parameters.get("language", content.language))
        inputs = inputs_of(sheet)
    out = reports / (experiment or "own") / stage
    done = run(source or stage, parameters, out=out, inputs=inputs, progress=sys.stderr.isatty(), fresh=fresh)
    index(reports, spoken=spoken)
    how = "nothing changed since, reused; --fresh runs it again" if done.reused else f"{done.seconds:.1f} s"
    print(f"  {stage}: {done.page} ({how})", flush=True)


def _headline(path: Path) -> None:
    from experiments.readout.readout import read_readout

    said = read_readout(path).verdict
    print(f"\n{said.word}\n{said.sentence}\n{said.detail}".rstrip() + "\n")


def _over(texts: Sequence[str]) -> dict[str, list[str]]:
    """Return the values of every parameter that a sweep goes over."""
    over: dict[str, list[str]] = {}
    for name, values in (_pair(text, option="--over") for text in texts):
        if name in over:
            raise WinbackError(f"--over {name} stands there twice. Write its values once: --over "
                               f"{name}={','.join(over[name])},{values}")  # fmt: skip
        over[name] = values.split(",")
    return over


def _pair(text: str, *, option: str = "-p") -> tuple[str, str]:
    """Return name and value of `name=value`; the runner gives the value its type."""
    name, equals, value = text.partition("=")
    if not equals:
        raise WinbackError(f"{option} {text!r} has no value. Write {option} {name}=value.")
    return name.strip(), value


def _parser() -> argparse.ArgumentParser:
    return parser_of(globals(), about=ABOUT)
