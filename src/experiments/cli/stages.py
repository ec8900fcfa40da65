"""Running the notebook of a stage into the reports: what the commands of all stages share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

from experiments.cli.options import parameters_given
from experiments.common.errors import WinbackError, short
from experiments.common.language import ENGLISH

AS_REGISTERED = ("sheet", "language", "cohort")  # parameters that change no result
WIDTH = 160  # letters of what has changed since the run before


def experiment_of(sheet: str) -> str:
    """Return the name of a sheet's experiment. Raises WinbackError."""
    from experiments.sheet.sheet import read_sheet

    return read_sheet(sheet).experiment


def stage_folder(args: argparse.Namespace, stage: str) -> Path:
    """Return where the results of a stage of the sheet's experiment lie, such as reports/telecom/1-lost."""
    reports: Path = args.reports
    return reports / experiment_of(args.sheet) / stage


def cohort_found(args: argparse.Namespace) -> Path:
    """Return the cohort of the sheet's test: in its private folder, or among the reports of an earlier version."""
    from experiments.sheet.sheet import read_sheet

    own, old = read_sheet(args.sheet).private.cohort, stage_folder(args, "1-lost") / "cohort.parquet"
    return old if old.is_file() and not own.is_file() else own


def run_stage(stage: str, args: argparse.Namespace) -> Path:
    """Run the notebook of a stage on a sheet, with the parameters of the command line; return the result's folder."""
    parameters = {"sheet": args.sheet, **parameters_given(args, before="sheet")}
    return run_on_sheet(stage, parameters, sheet=args.sheet, reports=args.reports, fresh=args.fresh)


def run_on_sheet(
    notebook: str | Path, parameters: Mapping[str, object], *, sheet: str, reports: Path, fresh: bool, name: str = ""
) -> Path:
    """Run a notebook on a sheet into reports/<`name`, or the experiment>/<notebook>; return that folder.

    With other settings than the sheet's it is a trial, and goes into reports/<experiment>/trial/<notebook>.
    """
    from experiments.sheet.locked_plan import inputs_of
    from experiments.sheet.places import TRIAL
    from experiments.sheet.sheet import read_sheet

    content = read_sheet(sheet)
    tried = not name and any(value is not None for setting, value in parameters.items() if setting not in AS_REGISTERED)
    out = reports / (name or content.experiment) / (TRIAL if tried else "") / Path(notebook).stem
    language = str(parameters.get("language", content.language))
    if out.name == "2-design":
        before = reports / content.experiment / "1-lost"
        parameters = {**_lost_before(sheet, before), **parameters}
    fresh = fresh or _read_too_early(content.followed_until, out)
    run_into(out, notebook, parameters, inputs=inputs_of(sheet), reports=reports, fresh=fresh, language=language)
    return out


def _read_too_early(until: date | None, out: Path) -> bool:
    """Tell whether a run was made before the day to which its data were said to reach: then it says so, for ever."""
    from experiments.common.run_records import RECORD, Run

    try:
        return until is not None and date.fromisoformat(Run.read(out / RECORD).started[:10]) < until
    except WinbackError:
        return False


def _lost_before(sheet: str, out: Path) -> dict[str, object]:
    """Return the parameter of 2-design that names a finished 1-lost, made from what it would be made from now."""
    from dataclasses import replace

    from experiments.common.run_records import RECORD, Run
    from experiments.runner.notebooks import prepare
    from experiments.sheet.locked_plan import FILE, inputs_of

    try:
        before = Run.read(out / RECORD)
    except WinbackError:
        return {}
    now = prepare("1-lost", {"sheet": sheet}, out=out, inputs=inputs_of(sheet)).record

    def made_from(run: Run) -> Run:  # neither the locked plan nor the language changes who is lost
        inputs = {name: sha256 for name, sha256 in run.inputs.items() if Path(name).name != FILE}
        return replace(run, inputs=inputs, parameters=run.parameters | {"language": None})

    same = made_from(before).is_made_from_the_same_as(made_from(now)) and not before.changed_files()
    return {"cohort": (out / "lost.json").as_posix()} if same else {}


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
    if done.because:
        print(f"    since the run before: {short('; '.join(done.because), WIDTH)}", flush=True)


def compare_readouts(readouts: Sequence[Path], parameters: Mapping[str, object], *, reports: Path, fresh: bool) -> Path:
    """Run the notebook that puts readouts on one page; return the result's folder."""
    out = reports / "compare" / "4-compare"
    given = {"readouts": [path.as_posix() for path in readouts], **parameters}
    language = str(parameters.get("language", ENGLISH))
    run_into(out, "4-compare", given, inputs=readouts, reports=reports, fresh=fresh, language=language)
    return out


def print_verdict(readout: Path) -> None:
    """Print the verdict of a readout.json."""
    from experiments.readout.readout import Readout
    from experiments.report.wording.verdict import worded_verdict

    verdict = worded_verdict(Readout.load(readout))
    print(f"\n{verdict.word}\n{verdict.sentence}\n{verdict.detail}".rstrip() + "\n")
