"""The command `winback`: thin words over the rooms."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from experiments.errors import WinbackError
from experiments.language import LANGUAGES

# Every other import stands in the command that needs it: `winback --help` answers at once.

ABOUT = """Test win-back offers on lost customers: who accepts, how long they stay, what it earns.

  winback demo                             see the whole way on a simulated telecom
  winback check data/telecom/sheet.yml     is my sheet right, and do the tables fit?
  winback lost data/telecom/sheet.yml      whom did we lose, why, and whom to win back first?
  winback design data/telecom/sheet.yml    what can a test tell, and what does it cost?
  winback assign data/telecom/sheet.yml    who gets which offer; one chance a customer, for ever
  winback contacts data/telecom/sheet.yml  who calls whom, when, with which words; and what came of it
  winback readout data/telecom/sheet.yml   read a test; the page lies in reports/
"""
REPORTS = Path("reports")
FEWEST = 100  # lost customers of a demo; five arms need some each
DEMO = (  # sheet, lost customers, seed
    ("telecom", 40_000, 7),
    ("telecom-north", 12_000, 11),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code: 0 done, 1 bad input, 130 stopped by Ctrl-C."""
    args = _parser().parse_args(argv)
    try:
        args.command(args)
    except WinbackError as error:
        print(f"winback: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("winback: stopped. Finished reports are as they were.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def demo(args: argparse.Namespace) -> None:
    """Simulate a telecom, find its lost customers, plan, read out and compare."""
    from experiments.plan import read_sheet
    from experiments.simulate import simulate

    readouts: list[Path] = []
    for name, customers, seed in DEMO:
        sheet = _example(name)
        plan, folder = read_sheet(sheet)
        size = args.customers or customers
        print(f"{name}: simulating {size:,} lost customers", flush=True)
        simulate(folder, customers=size, seed=seed, experiment=plan.experiment)
        stages = ("1-lost", "2-design", "3-readout") if not readouts else ("3-readout",)
        for stage in stages:
            told = {"sheet": sheet.as_posix(), **_spoken(args)}
            _run(stage, told, reports=args.reports, experiment=plan.experiment, sheet=sheet)
        readouts.append(args.reports / plan.experiment / "3-readout" / "readout.json")
    _compare(readouts, args)
    _headline(args.reports / DEMO[0][0] / "3-readout" / "readout.json")
    print(f"Open the report:   {args.reports / DEMO[0][0] / '3-readout' / 'page.html'}")
    print(f"Everything made:   {args.reports / 'index.html'}")


def check(args: argparse.Namespace) -> None:
    """Read the sheet and every table it names, and say where each row went."""
    from experiments.cube import make_cube
    from experiments.plan import read_sheet
    from experiments.readout import read_cube
    from experiments.tables import connect, read

    sheet, folder = read_sheet(args.sheet)
    print(f"{args.sheet}: a correct sheet. {sheet.question}")
    with connect() as con:
        for name, source in sheet.tables.items():
            print(f"  {read(con, name, source, folder=folder, decimals=sheet.decimals)}")
    if sheet.lost and "purchases" in sheet.tables:
        from experiments.cohort import find_lost

        print("The look at the lost customers will use:")
        for told in find_lost(sheet, folder).accounts:
            print(f"  {told}")
    if sheet.arms and "assignments" in sheet.tables:
        print("The readout will use:")
        readout = read_cube(make_cube(sheet, folder), sheet)
        for account in readout.accounts:
            print(f"  {account}")
        for found in readout.checks:
            if found.state != "pass":
                print(f"  {found.state}: {found.name}. {found.reason} {found.todo}")


def run(args: argparse.Namespace) -> None:
    """Run one notebook with other parameters."""
    from experiments.notebooks import find_notebook
    from experiments.parameters import parameters_of

    notebook = find_notebook(args.notebook)
    known = parameters_of(notebook)
    if args.list:
        for parameter in known.values():
            print(f"  {parameter.name}: {parameter.type} = {parameter.default!r}\n      {parameter.help}")
        return
    parameters = dict(_pair(text) for text in args.parameter) | _spoken(args)
    sheet = Path(str(parameters.get("sheet", known["sheet"].default))) if "sheet" in known else None
    _run(notebook.stem, parameters, reports=args.reports, experiment=args.name, sheet=sheet, source=notebook)


def lost(args: argparse.Namespace) -> None:
    """Find the lost customers: a page, lost.json, and cohort.parquet with a row for each."""
    _stage("1-lost", args)
    print(f"The lost customers: {args.reports / _experiment(args.sheet) / '1-lost' / 'cohort.parquet'}")


def design(args: argparse.Namespace) -> None:
    """Plan a test: what it can tell, what it costs; with --lock, freeze the plan."""
    _stage("2-design", args)
    if args.lock:
        from datetime import UTC, datetime

        from experiments.lock import lock

        plan, file = lock(args.sheet, cohort=_cohort(args), today=datetime.now(UTC).date())
        print(f"Locked on {plan.locked_on}: {file}, {plan.customers:,} customers, sha256 {plan.sha256}")


def assign(args: argparse.Namespace) -> None:
    """Draw the customers of a locked plan into its arms and book them in the ledger."""
    from datetime import UTC, datetime

    from experiments.assignment import assign_test

    done = assign_test(args.sheet, cohort=_cohort(args), today=datetime.now(UTC).date(), new_ledger=args.new_ledger)
    print(f"{done.account}")
    for arm, customers, share in done.arms:
        print(f"  {arm}: {customers:,} customers, planned {100 * share:.1f} %")
    print(
        f"Balance: no stratum's share differs by more than {100 * done.worst_balance:.2f} points between arms and all."
    )
    print(
        "Booked."
        if done.booking.new
        else f"Already booked on {done.booking.at}: the same customers, nothing is changed."
    )
    print(f"Who gets what: {done.file}")


def contacts(args: argparse.Namespace) -> None:
    """Write the call list of a test; with --answers, read a filled one back."""
    from datetime import UTC, datetime

    from experiments.desk import list_contacts, take_answers

    if args.answers:
        print(take_answers(args.sheet, args.answers, today=datetime.now(UTC).date(), replace=args.replace))
        return
    out = args.out or args.reports / _experiment(args.sheet) / "calls.xlsx"
    calls = list_contacts(args.sheet, cohort=_cohort(args), out=out, replace=args.replace)
    print(calls)
    for violation in calls.violations:
        print(f"  {violation}")
    for load in calls.loads:
        print(f"  {load.caller}: {load.customers:,} customers on {load.days} days, {load.first_day} to {load.last_day}")
    print(f"The call list: {out}")


def readout(args: argparse.Namespace) -> None:
    """Read a test: which offer to choose, as a page and as readout.json."""
    _stage("3-readout", args)
    _headline(args.reports / _experiment(args.sheet) / "3-readout" / "readout.json")


def compare(args: argparse.Namespace) -> None:
    """Put several readouts on one page."""
    paths = [Path(text) for text in args.readouts] or sorted(args.reports.glob("*/3-readout/readout.json"))
    if not paths:
        raise WinbackError(f"There is no readout in {args.reports}. Make one: `winback readout <sheet>`.")
    found = [path / "readout.json" if path.is_dir() else path for path in paths]
    _compare(found, args)


def lab(args: argparse.Namespace) -> None:
    """Open JupyterLab on the notebooks."""
    from experiments.notebooks import find_notebook

    folder = find_notebook("3-readout").parent
    command = [sys.executable, "-m", "jupyterlab", f"--notebook-dir={folder}", *args.more]
    os.execv(sys.executable, command)  # noqa: S606  # without a shell on purpose; JupyterLab gets our terminal


def _cohort(args: argparse.Namespace) -> Path:
    folder: Path = args.reports / _experiment(args.sheet) / "1-lost"
    return folder / "cohort.parquet"


def _experiment(sheet: str) -> str:
    from experiments.plan import read_sheet

    return read_sheet(sheet)[0].experiment


def _stage(stage: str, args: argparse.Namespace) -> None:
    """Run the notebook of a stage on a sheet, with the parameters of the command line."""
    changes = dict(_pair(text) for text in args.parameter)
    if "sheet" in changes:
        raise WinbackError(
            f"The sheet stands before the parameters: winback {args.command.__name__} {changes['sheet']}"
        )
    parameters = {"sheet": args.sheet, **changes, **_spoken(args)}
    _run(stage, parameters, reports=args.reports, experiment=_experiment(args.sheet), sheet=Path(args.sheet))


def _compare(readouts: Sequence[Path], args: argparse.Namespace) -> None:
    parameters = {"readouts": [path.as_posix() for path in readouts], **_spoken(args)}
    _run("4-compare", parameters, reports=args.reports, experiment="compare", inputs=readouts)


def _spoken(args: argparse.Namespace) -> dict[str, object]:
    """Return the parameter of a notebook that --lang sets."""
    return {"language": args.lang} if args.lang else {}


def _run(
    stage: str,
    parameters: Mapping[str, object],
    *,
    reports: Path,
    experiment: str | None = None,
    sheet: Path | None = None,
    inputs: Sequence[Path] = (),
    source: Path | None = None,
) -> None:
    """Run a notebook into reports/<experiment>/<stage> and renew the list of runs."""
    from experiments.notebooks import run
    from experiments.pages import index

    if sheet is not None:
        from experiments.plan import files_of, read_sheet

        experiment = experiment or read_sheet(sheet)[0].experiment
        inputs = files_of(sheet)
    out = reports / (experiment or "own") / stage
    done = run(source or stage, parameters, out=out, inputs=inputs, progress=sys.stderr.isatty())
    index(reports)
    print(f"  {stage}: {done.page} ({done.seconds:.1f} s)", flush=True)


def _headline(path: Path) -> None:
    from experiments.readout import read_readout

    said = read_readout(path).verdict
    print(f"\n{said.word}\n{said.sentence}\n{said.detail}".rstrip() + "\n")


def _pair(text: str) -> tuple[str, object]:
    """Return name and value of `name=value`; the runner gives the value its type."""
    name, equals, value = text.partition("=")
    if not equals:
        raise WinbackError(f"-p {text!r} has no value. Write -p {name}=value.")
    return name.strip(), value


def _example(name: str) -> Path:
    """Return an example sheet, copied into ./data where it is not there yet."""
    import shutil

    target = Path("data") / name / "sheet.yml"
    if not target.is_file():
        here = Path(__file__).parent
        homes = [here.parents[1] / "data", here / "_data"]
        found = next(home / name / "sheet.yml" for home in homes if (home / name / "sheet.yml").is_file())
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(found, target)
    return target


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="winback", description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(command: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
        told = (command.__doc__ or "").splitlines()[0]
        sub = commands.add_parser(command.__name__, help=told, description=told)
        sub.set_defaults(command=command)
        return sub

    def reports(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--reports", type=Path, default=REPORTS, metavar="DIR", help="where pages go (reports)")

    def lang(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--lang", choices=LANGUAGES, help="language of the page (the sheet's)")

    def parameter(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("-p", "--parameter", action="append", default=[], metavar="NAME=VALUE",
                         help="a parameter of the notebook, such as horizon_months=12; may be repeated")  # fmt: skip

    sub = add(demo)
    sub.add_argument("--customers", type=_count, metavar="N", help="lost customers to simulate (40,000 and 12,000)")
    lang(sub)
    reports(sub)
    sub = add(check)
    sub.add_argument("sheet", metavar="SHEET", help="an experiment sheet, such as data/telecom/sheet.yml")
    sub = add(run)
    sub.add_argument("notebook", metavar="NOTEBOOK", help="1-lost, 2-design, 3-readout, 4-compare, or a file")
    parameter(sub)
    lang(sub)
    sub.add_argument("--list", action="store_true", help="list the parameters of the notebook and stop")
    sub.add_argument("--name", metavar="NAME", help="folder of the result inside the reports (the experiment's name)")
    reports(sub)
    for command in (lost, design, readout):
        sub = add(command)
        sub.add_argument("sheet", metavar="SHEET", help="an experiment sheet, such as data/telecom/sheet.yml")
        parameter(sub)
        lang(sub)
        reports(sub)
        if command is design:
            sub.add_argument(
                "--lock", action="store_true", help="freeze sheet and cohort into plan.yml beside the sheet"
            )
    sub = add(assign)
    sub.add_argument("sheet", metavar="SHEET", help="an experiment sheet, such as data/telecom/sheet.yml")
    sub.add_argument("--new-ledger", action="store_true", help="begin the company's one ledger, where there is none")
    reports(sub)
    sub = add(contacts)
    sub.add_argument("sheet", metavar="SHEET", help="an experiment sheet, such as data/telecom/sheet.yml")
    sub.add_argument("--out", type=Path, metavar="FILE", help="CSV or XLSX (reports/<experiment>/calls.xlsx)")
    sub.add_argument("--answers", type=Path, metavar="FILE", help="a filled list: what happened, into table contacts")
    sub.add_argument("--replace", action="store_true", help="write over a list, or correct what was read back before")
    reports(sub)
    sub = add(compare)
    sub.add_argument("readouts", nargs="*", metavar="READOUT",
                     help="readout.json files or their folders; without any, all in the reports")  # fmt: skip
    lang(sub)
    reports(sub)
    sub = add(lab)
    sub.add_argument("more", nargs="*", metavar="OPTION", help="options for JupyterLab, after --")
    return parser


def _count(text: str) -> int:
    digits = text.replace(",", "").replace("_", "")
    if not digits.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of customers: write for example 2000")
    if int(digits) < FEWEST:
        raise argparse.ArgumentTypeError(f"{text} is too few: simulate {FEWEST} lost customers or more")
    return int(digits)
