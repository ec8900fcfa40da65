"""Notebooks and their runs: run any notebook, list and compare what was run, compute it again."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

from experiments.cli.options import (
    FRESH,
    LANG,
    PARAMETER,
    REPORTS,
    argument,
    command,
    flag,
    folder_name,
    name_and_value,
    pairs,
    parameters_given,
)
from experiments.cli.stages import run_into, run_on_sheet
from experiments.common.errors import WinbackError, short
from experiments.common.language import ENGLISH

PAIR = ("one run", "another")
WIDTH = 160  # letters of a line of parameters
LINES = 12  # of a kind of difference; more of them say no more


class _NotebookHelp(argparse.Action):
    """Shows the help of `run`, with the parameters of the notebook that was named before it."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, *_: object) -> None:
        parser.print_help()
        if getattr(namespace, "notebook", None):
            from experiments.runner.documents import find_notebook
            from experiments.runner.parameters import help_of

            try:
                print(f"\nparameters of {namespace.notebook}:\n{help_of(find_notebook(namespace.notebook))}")
            except WinbackError as error:
                parser.error(str(error))
        parser.exit()


@command(
    argument("-h", "--help", action=_NotebookHelp, nargs=0,
             help="show this message; after NOTEBOOK, its parameters too"),
    argument("notebook", metavar="NOTEBOOK", help="1-lost, 2-design, 3-readout, 4-compare, or a file"),
    PARAMETER, FRESH, LANG,
    flag("--list", help="list the parameters of the notebook and stop"),
    argument("--name", type=folder_name, metavar="NAME",
             help="folder of the result inside the reports (the experiment's name)"),
    REPORTS,
)  # fmt: skip
def run(args: argparse.Namespace) -> None:
    """Run one notebook with other parameters."""
    from experiments.runner.documents import find_notebook
    from experiments.runner.parameters import help_of, parameters_of

    notebook = find_notebook(args.notebook)
    if args.list:
        print(help_of(notebook))
        return
    known, given = parameters_of(notebook), parameters_given(args)
    sheet = known["sheet"].parse(given.get("sheet", known["sheet"].default)) if "sheet" in known else None
    if sheet:
        run_on_sheet(notebook, given, sheet=str(sheet), reports=args.reports, fresh=args.fresh, name=args.name)
        return
    out = args.reports / (args.name or "own") / notebook.stem
    language = str(given.get("language", ENGLISH))
    run_into(out, notebook, given, reports=args.reports, fresh=args.fresh, language=language)


@command(
    argument("runs", nargs="*", metavar="RUN", help="two runs to compare: their folders"),
    argument("--experiment", metavar="NAME", help="only runs of this experiment, or of this sheet"),
    argument("--notebook", metavar="NOTEBOOK", help="only runs of this notebook, such as 3-readout"),
    argument("--status", choices=("done", "failed"), help="only finished runs, or only failed ones"),
    pairs("-p", "--parameter", help="only runs with this value of a parameter; may be repeated"),
    REPORTS,
)
def runs(args: argparse.Namespace) -> None:
    """List the runs there are; with two of them, what differs between them."""
    from experiments.common import run_records

    if args.runs:
        if len(args.runs) != len(PAIR):
            raise WinbackError("Name two runs to compare, such as reports/telecom/3-readout and another folder.")
        print("\n".join(_blocks(run_records.differences(*map(run_records.find_run, args.runs)))) or "Nothing differs.")
        return
    listed = run_records.chosen(
        run_records.runs(args.reports),
        experiment=args.experiment,
        notebook=args.notebook,
        status=args.status,
        parameters=dict(map(name_and_value, args.parameter)),
    )
    for run in listed:
        given = ", ".join(f"{name}={value}" for name, value in run.parameters.items() if value not in (None, []))
        print(f"{run.started[:16].replace('T', ' ')}  {run.status:6}  {run.out}  {run.headline}".rstrip())
        print(f"    {short(given, WIDTH)}")
    if not listed:
        print(f"No such run in {args.reports}.")


@command(argument("folders", nargs="+", metavar="FOLDER", help="folders of runs, such as reports/telecom"))
def verify(args: argparse.Namespace) -> None:
    """Compute reports again from their records, and say whether they are equal or what differs."""
    from experiments.common.run_records import Run
    from experiments.runner.fork_server import WORTH, preloaded
    from experiments.runner.verify import records_to_verify
    from experiments.runner.verify import verify as compute_again

    unequal = 0
    with preloaded(WORTH["experiments"]):
        for record in [record for folder in args.folders for record in records_to_verify(folder)]:
            try:
                verified = compute_again(Run.read(record))
                word = "equal" if verified.is_equal else "NOT equal"
                lines = _blocks(verified.causes | verified.effects)
            except WinbackError as error:
                word, lines = "NOT computed", [f"  {line}" for line in str(error).splitlines()]
            unequal += word != "equal"
            print("\n".join([f"{record.parent}: {word}", *lines]), flush=True)
    if unequal:
        raise WinbackError(f"{unequal} of these reports cannot be had again from the same inputs.")


def _blocks(differences: Mapping[str, Sequence[str]]) -> list[str]:
    """Return what differs, a title and lines under it, the first of many."""
    lines = []
    for title, details in differences.items():
        more = [f"    ... {len(details) - LINES} more"] if len(details) > LINES else []
        lines += [f"  {title}", *(f"    {line}" for line in details[:LINES]), *more]
    return lines
