"""After a test: its readout, several tests together, the readout under other settings."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.cli.options import (
    FRESH,
    LANG,
    PARAMETER,
    REPORTS,
    SHEET,
    STAGE,
    argument,
    command,
    folder_name,
    name_and_value,
    pairs,
    parameters_given,
)
from experiments.cli.stages import compare_readouts, print_verdict, run_stage
from experiments.common.errors import WinbackError


@command(*STAGE)
def readout(args: argparse.Namespace) -> None:
    """Read a test: which offer to choose, as a page and as readout.json."""
    print_verdict(run_stage("3-readout", args) / "readout.json")


@command(
    argument("readouts", nargs="*", metavar="READOUT",
             help="readout.json files or their folders; without any, all in the reports"),
    PARAMETER, FRESH, LANG, REPORTS,
)  # fmt: skip
def compare(args: argparse.Namespace) -> None:
    """Put several tests on one page: what offers have done so far."""
    from experiments.common.run_records import believe

    given = [Path(text) for text in args.readouts] or sorted(args.reports.glob("*/3-readout/readout.json"))
    if not given:
        raise WinbackError(f"There is no readout in {args.reports}. Make one: `winback readout <sheet>`.")
    readouts = [*map(_readout_of, given)]
    for path in readouts:
        believe(path)  # here, before a notebook runs that would refuse it too
    parameters = parameters_given(args, before="readouts")
    out = compare_readouts(readouts, parameters, reports=args.reports, fresh=args.fresh)
    print(f"For the next design: {out / 'pooled.json'}")


def _readout_of(path: Path) -> Path:
    """Return the readout of a file, a run's folder or an experiment's folder."""
    if not path.is_dir():
        return path
    return next((file for file in (path / "readout.json", path / "3-readout" / "readout.json") if file.is_file()), path)


@command(
    SHEET,
    pairs("--over", metavar="NAME=VALUES", help="a parameter and its values, such as horizon_months=6,12,24; may "
          "be repeated; without it, what the sheet says under sweep"),
    PARAMETER, FRESH,
    argument("--notebook", default="3-readout", metavar="NOTEBOOK", help="what to run (3-readout)"),
    argument("--workers", type=int, default=2, choices=range(1, 17), metavar="N", help="how many run at once (2)"),
    LANG,
    argument("--name", type=folder_name, default="sweep", metavar="NAME",
             help="folder of the sweep inside the experiment's"),
    REPORTS,
)  # fmt: skip
def sweep(args: argparse.Namespace) -> None:
    """Run a notebook under every combination of other parameters, and compare them on one page."""
    from experiments.report.page import index
    from experiments.runner.sweeps import sweep as run_settings
    from experiments.sheet.locked_plan import inputs_of
    from experiments.sheet.sheet import read_sheet

    sheet = read_sheet(args.sheet)
    parameters = {"sheet": args.sheet, **parameters_given(args, before="sheet")}
    language = str(parameters.get("language", sheet.language))
    swept = run_settings(
        args.notebook,
        parameters,
        over=_over(args.over) or sheet.sweep,
        out=args.reports / sheet.experiment / args.name,
        inputs=inputs_of(args.sheet),
        workers=args.workers,
        progress=sys.stderr.isatty(),
        fresh=args.fresh,
        language=language,
    )
    index(args.reports, spoken=language)
    for run in swept.runs:
        headline = f"{run.headline}; " if run.headline else ""
        print(f"  {run.out.name}: {headline}{run.page}{' (reused)' if run.reused else ''}")
    if swept.page:
        print(f"\n{swept.page.headline}\n\nThe sweep: {swept.page.page}")
    if swept.failed:
        messages = "\n".join(f"{name}:\n{message}" for name, message in swept.failed.items())
        raise WinbackError(f"{len(swept.failed)} of {len(swept.failed) + len(swept.runs)} settings failed.\n{messages}")


def _over(texts: Sequence[str]) -> dict[str, list[str]]:
    """Return the values of every parameter that a sweep goes over."""
    over: dict[str, list[str]] = {}
    for name, values in (name_and_value(text, option="--over") for text in texts):
        if name in over:
            once = f"--over {name}={','.join(over[name])},{values}"
            raise WinbackError(f"--over {name} stands there twice. Write its values once: {once}")
        over[name] = values.split(",")
    return over
