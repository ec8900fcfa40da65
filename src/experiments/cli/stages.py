"""Running the notebook of a stage into the reports: what the commands of all stages share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments.cli.options import parameters_given
from experiments.common.language import ENGLISH


def experiment_of(sheet: str) -> str:
    """Return the name of a sheet's experiment. Raises WinbackError."""
    from experiments.sheet.sheet import read_sheet

    return read_sheet(sheet)[0].experiment


def stage_folder(args: argparse.Namespace, stage: str) -> Path:
    """Return where the results of a stage of the sheet's experiment lie, such as reports/telecom/1-lost."""
    reports: Path = args.reports
    return reports / experiment_of(args.sheet) / stage


def run_stage(stage: str, args: argparse.Namespace) -> Path:
    """Run the notebook of a stage on a sheet, with the parameters of the command line; return the result's folder."""
    parameters = {"sheet": args.sheet, **parameters_given(args, before="sheet")}
    return run_on_sheet(stage, parameters, sheet=args.sheet, reports=args.reports, fresh=args.fresh)


def run_on_sheet(
    notebook: str | Path, parameters: Mapping[str, object], *, sheet: str, reports: Path, fresh: bool, name: str = ""
) -> Path:
    """Run a notebook on a sheet into reports/<`name`, or the experiment>/<notebook>; return that folder."""
    from experiments.sheet.locked_plan import inputs_of
    from experiments.sheet.sheet import read_sheet

    content = read_sheet(sheet)[0]
    out = reports / (name or content.experiment) / Path(notebook).stem
    language = str(parameters.get("language", content.language))
    run_into(out, notebook, parameters, inputs=inputs_of(sheet), reports=reports, fresh=fresh, language=language)
    return out


def run_into(
    out: Path,
    notebook: str | Path,
    parameters: Mapping[str, object],
    *,
    inputs: Sequence[Path] = (),
    reports: Path,
    fresh: bool,
    language: str = ENGLISH,
) -> None:
    """Run a notebook into a folder, say so, and renew the list of runs in this language."""
    from experiments.report.page import index
    from experiments.runner.notebooks import run

    done = run(notebook, parameters, out=out, inputs=inputs, progress=sys.stderr.isatty(), fresh=fresh)
    index(reports, spoken=language)
    how = "nothing changed since, reused; --fresh runs it again" if done.reused else f"{done.seconds:.1f} s"
    print(f"  {out.name}: {done.page} ({how})", flush=True)


def compare_readouts(readouts: Sequence[Path], parameters: Mapping[str, object], *, reports: Path, fresh: bool) -> Path:
    """Run the notebook that puts readouts on one page; return the result's folder."""
    out = reports / "compare" / "4-compare"
    given = {"readouts": [path.as_posix() for path in readouts], **parameters}
    language = str(parameters.get("language", ENGLISH))
    run_into(out, "4-compare", given, inputs=readouts, reports=reports, fresh=fresh, language=language)
    return out


def print_verdict(readout: Path) -> None:
    """Print the verdict of a readout.json."""
    from experiments.readout.readout import read_readout

    verdict = read_readout(readout).verdict
    print(f"\n{verdict.word}\n{verdict.sentence}\n{verdict.detail}".rstrip() + "\n")
