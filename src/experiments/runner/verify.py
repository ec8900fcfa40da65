"""Compute a run again from its record, and say what is not as it was."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from experiments.common.errors import WinbackError
from experiments.common.files import files_in, workshop
from experiments.common.run_records import (
    RECORD,
    Run,
    changed,
    gone_or_changed,
    numbers_unlike,
    package_sha256,
    record_of,
    records,
    save,
    time_zone,
    versions,
)
from experiments.common.today import on
from experiments.runner.documents import find_notebook
from experiments.runner.failures import Failure
from experiments.runner.notebooks import prepare, produce
from experiments.sheet.forgotten import only_forgotten

COMPARED_OTHERWISE = ("notebook.ipynb", "page.html")  # they hold the day of the run
PAPERMILL = "papermill"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What came of computing a run again."""

    run: Run
    causes: dict[str, list[str]]  # what it is made from has changed: inputs, code; who was forgotten
    effects: dict[str, list[str]]  # what came out is not as it was: files, numbers, page

    @property
    def is_equal(self) -> bool:
        """Whether the same inputs gave the same results; another code may have given them."""
        return not self.effects and "inputs" not in self.causes


def records_to_verify(folder: str | Path) -> list[Path]:
    """Return the run.json of a folder, or of the finished runs below it. Raises WinbackError where there is none."""
    below = [] if (Path(folder) / RECORD).is_file() else records(Path(folder))
    return below or [record_of(folder)]


def verify(done: Run) -> Verified:
    """Compute a run again in a temporary folder beside its own, from its record and the notebook it kept.

    Raises WinbackError where an input, a module it imports or that notebook is gone, or the notebook fails now.
    """
    kept = done.out / "notebook.ipynb"
    if not kept.is_file():
        raise WinbackError(f"'{kept}', from which it is computed again, is gone. Run {done.notebook} again.")
    _refuse_gone(done)
    again = prepare(kept, done.parameters, out=done.out, inputs=map(Path, done.inputs))
    again = replace(again, record=replace(again.record, notebook=done.notebook))
    forgotten = _forgotten(done.inputs, Path(), again.private)
    now = again.record.inputs | {name: done.inputs[name] for name in forgotten}
    forgotten |= _forgotten(done.files, done.out, again.private)
    causes = {
        "forgotten": [f"{name}: changed by `winback forget` on {day}" for name, day in forgotten.items()],
        "inputs": [*changed(done.inputs, now)],
        "code": [*_other_code(done)],
    }
    with workshop(done.out) as work, on(date.fromisoformat(done.started[:10])):
        try:
            produce(again, work, progress=False)
        except Failure as failed:
            raise WinbackError(f"'{done.out}' cannot be computed again. {failed}") from failed.__cause__
        known = {*COMPARED_OTHERWISE, *(Path(name).name for name in forgotten)}
        others = [name for name in files_in(work) if name not in known and not name.endswith(".json")]
        effects = {
            "files": [line for name, line in _files_touched(done) if name not in forgotten],
            "numbers": [*numbers_unlike(done.out, work)],
            "results": [f"{name}: another one" for name in others if not _same(done.file(name), work / name)],
            "page": [] if _same_page(done, work) else ["page.html: another one"],
        }
    return Verified(run=done, causes=_some(causes), effects=_some(effects))


def _refuse_gone(done: Run) -> None:
    """Refuse to compute a run again without what it was made from; tell the deleted from the changed."""
    gone, other = gone_or_changed(done.inputs | done.modules)
    if gone:
        raise WinbackError(
            f"'{done.out}' cannot be computed again: {'; '.join([*gone, *other])}. Put back what is gone."
        )


def _forgotten(files: Mapping[str, str], home: Path, private: Path | None) -> dict[str, str]:
    """Return which files are not as they were (name: sha256) only because somebody was forgotten, and on which day."""
    if private is None:
        return {}
    days = {name: only_forgotten(home / name, sha256, private) for name, sha256 in files.items()}
    return {name: day for name, day in days.items() if day}


def _files_touched(done: Run) -> Iterator[tuple[str, str]]:
    for name in done.changed_files():
        yield name, f"{name}: {'changed' if (done.out / name).exists() else 'deleted'} after the run"


def _other_code(done: Run) -> list[str]:
    now = {"package": package_sha256(), **{name: str(number) for name, number in versions().items()}}
    then = {"package": done.code.get("package", ""), **{name: str(number) for name, number in done.versions.items()}}
    zones = ({"time zone": done.time_zone}, {"time zone": time_zone()})
    differences = [*changed(then, now), *changed(*zones), *gone_or_changed(done.modules)[1]]
    try:
        shipped = prepare(find_notebook(done.notebook), {}, out=done.out).record.code["notebook"]
    except WinbackError:  # a notebook of one's own: it was kept beside its page
        return differences
    return differences if shipped == done.code.get("notebook") else [*differences, f"notebook {done.notebook}: changed"]


def _same(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and one.read_bytes() == other.read_bytes()


def _same_page(done: Run, work: Path) -> bool:
    """Render once more with the time of the first run, which the page shows, and compare every byte."""
    from experiments.report.page import render

    first, second = (json.loads((folder / "notebook.ipynb").read_bytes()) for folder in (done.out, work))
    second["metadata"][PAPERMILL]["end_time"] = first["metadata"].get(PAPERMILL, {}).get("end_time")
    save(second, work / "notebook.ipynb")
    render(work / "notebook.ipynb", work / "page.html")
    return _same(done.page, work / "page.html")


def _some(differences: dict[str, list[str]]) -> dict[str, list[str]]:
    return {where: lines for where, lines in differences.items() if lines}
