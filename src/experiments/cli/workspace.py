"""To begin with: a demo, a workspace of one's own, the notebooks in JupyterLab."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import NamedTuple

from experiments.cli.first_page import SAID, draft_of, said, write_draft
from experiments.cli.options import LANG, REPORTS, argument, command, customers, language_given
from experiments.cli.stages import compare_readouts, print_verdict, run_on_sheet


class _Company(NamedTuple):
    """A simulated company of the demo."""

    name: str
    lost_customers: int
    seed: int
    stages: tuple[str, ...]


COMPANIES = (
    _Company("telecom", 40_000, 7, ("1-lost", "2-design", "3-readout")),
    _Company("telecom-north", 12_000, 11, ("3-readout",)),
)


@command(
    argument("--customers", type=customers, metavar="N", help="lost customers to simulate (40,000 and 12,000)"),
    LANG,
    REPORTS,
)
def demo(args: argparse.Namespace) -> None:
    """Simulate a telecom, find its lost customers, plan, read out and compare."""
    from experiments.runner.workspace import copy_example
    from experiments.sheet.sheet import read_sheet
    from experiments.simulate.telecom import simulate

    readouts: list[Path] = []
    for company in COMPANIES:
        sheet = (copy_example(company.name, Path("data")) / "sheet.yml").as_posix()
        plan = read_sheet(sheet)
        size = args.customers or company.lost_customers
        print(f"{company.name}: simulating {size:,} lost customers", flush=True)
        simulate(plan.folder, customers=size, seed=company.seed, experiment=plan.experiment)
        parameters = {"sheet": sheet, **language_given(args)}
        for stage in company.stages:
            out = run_on_sheet(stage, parameters, sheet=sheet, reports=args.reports, fresh=False)
        readouts.append(out / "readout.json")
    compare_readouts(readouts, language_given(args), reports=args.reports, fresh=False)
    print_verdict(readouts[0])
    print(f"Open the report:   {readouts[0].with_name('page.html')}")
    print(f"Everything made:   {args.reports / 'index.html'}")


@command(
    argument("folder", type=Path, metavar="DIR", help="a new or empty folder"),
    argument("--customers", type=customers, default=4_000, metavar="N", help="lost customers to simulate (4,000)"),
    argument("--empty", dest="customers", action="store_const", const=0, help="no sample data"),
    argument(
        "--from", dest="files", nargs="+", default=[], metavar="FILE", help="write the sheet of these files instead"
    ),
    SAID,
)
def init(args: argparse.Namespace) -> None:
    """Make a workspace of your own: a sheet to start from, the notebooks, sample data."""
    from experiments.runner.workspace import make_workspace, refuse_occupied

    refuse_occupied(args.folder)
    if args.files:
        args.customers = 0
        draft = draft_of(args.files, said(args))
    if args.customers:
        print(f"Simulating {args.customers:,} lost customers as sample data", flush=True)
    for made in make_workspace(args.folder, customers=args.customers):
        print(f"  {made}")
    if args.files:
        sheet = write_draft(draft, args.folder / "data" / draft.experiment / "sheet.yml")
        print(f"  {sheet}\nGo on there: cd {args.folder}, then winback lost data/{draft.experiment}/sheet.yml")
        return
    print(f"Go on there: cd {args.folder}, then winback readout data/telecom/sheet.yml")


@command(argument("more", nargs="*", metavar="OPTION", help="options for JupyterLab, after --"))
def lab(args: argparse.Namespace) -> None:
    """Open JupyterLab on the notebooks."""
    from experiments.runner.documents import find_notebook

    folder = find_notebook("3-readout").parent
    first = "--LabApp.default_url=/lab/tree/0-welcome.ipynb"
    line = [sys.executable, "-m", "jupyterlab", f"--notebook-dir={folder}", first, *args.more]
    os.execv(sys.executable, line)  # noqa: S606  # without a shell on purpose; JupyterLab gets our terminal
