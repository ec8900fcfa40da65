"""The register of runs: what went in, what made it, what came out; and how one run differs from another."""

import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import Any

from experiments.common.errors import WinbackError, did_you_mean
from experiments.common.files import alone, files_in, move_into, private_folder, write_text

log = logging.getLogger(__name__)

RECORD, FAILED = "run.json", "failed.json"
PACKAGES = (  # whose versions a run keeps: what reads, computes, runs, draws and writes
    "winback-experiments", "duckdb", "numpy", "pandas", "scipy", "statsmodels", "python-calamine", "pydantic", "pyyaml",
    "papermill", "ipykernel", "nbconvert", "matplotlib", "seaborn", "babel", "jinja2", "mistune",
)  # fmt: skip
MADE_FROM = ("notebook", "parameters", "inputs", "code", "versions", "time_zone")  # the same give the same results
NOT_STORED = ("out", "reused", "because")
MODULE = "module "  # what the name of a helper of the notebook begins with, in `code`; behind it, its path
SHOWN = 12  # digits of a sha256 that people are shown
STORED = {
    str: ("notebook", "started", "status", "headline"),
    dict: ("parameters", "inputs", "code", "versions", "files"),
}  # what a record must hold, and of which kind
COPIES = ("page.*.html", "page*.pdf")  # the page in another language, on paper: made later, so in no record


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run: what went in, what made it, and the folder `out` that holds what came out."""

    out: Path
    notebook: str
    parameters: dict[str, Any]  # as JSON; the notebook's defaults included, `out` not
    inputs: dict[str, str]  # path as given: sha256
    code: dict[str, str]  # the notebook's cells, the package, and the modules of one's own they import: sha256
    versions: dict[str, str | None]
    commit: str | None
    started: str  # UTC, ISO
    seconds: float = 0.0
    status: str = "done"  # or failed
    headline: str = ""  # of the verdict on the page; of a failed run, why
    files: dict[str, str] = field(default_factory=dict)  # what the run put into `out`, its record left out: sha256
    time_zone: str = ""  # of the machine; an earlier version kept none
    reused: bool = False  # nothing had changed, so it was not run again
    because: tuple[str, ...] = field(default=(), compare=False)  # what had changed since the run before

    @property
    def page(self) -> Path:
        """The page an executive opens."""
        return self.out / "page.html"

    @classmethod
    def read(cls, path: Path) -> "Run":
        """Return the run that a run.json describes; WinbackError if it is none."""
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            for kind, name in ((kind, name) for kind, names in STORED.items() for name in names):
                if not isinstance(stored[name], kind):
                    raise TypeError(f"'{name}' is {stored[name]!r}")  # noqa: TRY301  # told below, with its file
            datetime.fromisoformat(stored["started"])
            return cls(out=path.parent, **stored)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise WinbackError(f"'{path}' is no run.json ({error}). Run the notebook again.") from None

    def write(self, path: Path) -> None:
        """Write the run as a run.json."""
        save({name: value for name, value in asdict(self).items() if name not in NOT_STORED}, path)

    def is_made_from_the_same_as(self, other: "Run") -> bool:
        """Say whether nothing differs that could change a result; never where no input is known."""
        return bool(self.inputs) and all(getattr(self, name) == getattr(other, name) for name in MADE_FROM)

    def file(self, name: str) -> Path:
        """Return the file of the run that is called so, wherever it went."""
        return self.out / next((path for path in self.files if Path(path).name == name), name)

    def changed_files(self) -> list[str]:
        """Return the files of the run that are no more as it left them."""
        return [name for name, sha256 in self.files.items() if _sha256_or_none(self.out / name) != sha256]

    @property
    def modules(self) -> dict[str, str]:
        """The modules of one's own that the notebook imported: path: sha256."""
        return {name.removeprefix(MODULE): one for name, one in self.code.items() if name.startswith(MODULE)}


def believe(path: str | Path) -> bool:
    """Say whether a result is of a registered run, and so as that left it; False where no record tells of it.

    What a person writes in Python, by `readout.write(path)`, has no run.json beside it. Raises WinbackError where the
    file is not what its run wrote.
    """
    path = Path(path)
    record = path.parent / RECORD
    then = Run.read(record).files.get(path.name) if record.is_file() else None
    if then is None:
        return False
    try:
        now = _digest(path)  # read anew: whoever edits a file can set its time back
    except OSError as error:
        raise WinbackError(f"'{path}', which its run wrote, cannot be read: {error.strerror}. Run it again.") from None
    if now != then:
        raise WinbackError(
            f"'{path}' was changed after its run (sha256 {now[:SHOWN]}, not {then[:SHOWN]}). Run it again, or verify: "
            f"`winback verify {path.parent.as_posix()}`."
        )
    return True


def warn_of_unregistered(path: str | Path) -> None:
    """Say in the log where a result to build on is not from a registered run. Raises WinbackError as `believe`."""
    if not believe(path):
        log.warning("'%s' is not from a registered run: nothing says what it was made from.", path)


def publish(done: Run, work: Path, *, moved: Mapping[str, Path] = MappingProxyType({})) -> None:
    """Put what a run made in the folder `work` into its own, in place of the run before: all of it or nothing.

    `moved`: files that go elsewhere.
    """
    done.write(work / RECORD)
    with alone(done.out):
        for name, place in moved.items():
            if (work / name).is_file() and place.parent != done.out:
                private_folder(place.parent)
                shutil.move(work / name, place)
        copies = [path.name for pattern in COPIES for path in done.out.glob(pattern)]
        stale = ["failed.ipynb", FAILED, *copies, *_files_of(done.out / RECORD)]
        move_into(done.out, work, record=RECORD, stale=stale)


def _files_of(record: Path) -> list[str]:
    with suppress(WinbackError):
        return [name for name in Run.read(record).files if not name.startswith("..")]
    return []


def save(document: Mapping[str, Any], path: Path, *, private: bool = False) -> None:
    """Write JSON; to it half a character is its escape."""
    write_text(path, json.dumps(document, ensure_ascii=False, indent=1) + "\n", private=private)


def chosen(
    runs: Iterable[Run],
    *,
    experiment: str | None = None,
    notebook: str | None = None,
    status: str | None = None,
    parameters: Mapping[str, str] | None = None,
) -> list[Run]:
    """Return the runs that are of an experiment, of a notebook, of a status and of these values of parameters.

    An experiment is the name of a folder of the run, or its sheet. Raises WinbackError for a parameter no run has.
    """
    given, parameters = list(runs), parameters or {}
    known = {name for run in given for name in run.parameters}
    for name in parameters:
        if given and name not in known:
            raise WinbackError(f"No run has a parameter '{name}'. {did_you_mean(name, sorted(known))}")
    return [
        run
        for run in given
        if experiment in {None, *run.out.parts, run.parameters.get("sheet")}
        and (notebook is None or notebook in {run.notebook, *run.notebook.split("-", 1)})
        and status in {None, run.status}
        and all(_says(run.parameters.get(name), value) for name, value in parameters.items())
    ]


def _says(value: object, text: str) -> bool:
    """Say whether a value is what somebody wrote: none for no value, 0.10 for 0.1, items with commas."""
    if isinstance(value, list):
        return ",".join(map(str, value)) == text
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value).lower() == text.lower()
    with suppress(ValueError):
        return float(text) == value
    return False


def runs(reports: Path) -> list[Run]:
    """Return the runs below a folder, failed ones too, newest first; note unreadable ones in the log."""
    readable = []
    for path in [*records(reports), *records(reports, FAILED)]:
        try:
            readable.append(Run.read(path))
        except WinbackError as error:
            log.warning("Skipped: %s", error)
    return sorted(readable, key=lambda run: datetime.fromisoformat(run.started).timestamp(), reverse=True)


def records(reports: Path, name: str = RECORD) -> list[Path]:
    """Return the records below a folder, those of runs that are not finished yet left out."""
    paths = sorted(reports.rglob(name))
    return [path for path in paths if not any(part.startswith(".") for part in path.relative_to(reports).parts)]


def find_run(name: str | Path) -> Run:
    """Return the run of a folder, of its page or of its run.json. Raises WinbackError."""
    return Run.read(record_of(name))


def record_of(name: str | Path) -> Path:
    """Return the run.json of a folder, or of the folder of a file. Raises WinbackError where there is none."""
    path = Path(name)
    folder = path.parent if path.is_file() else path
    if not (folder / RECORD).is_file():
        raise WinbackError(f"There is no run in '{folder}'. `winback runs` lists what there is.")
    return folder / RECORD


# ---- what went in


def hashes_of(inputs: Iterable[Path]) -> dict[str, str]:
    """Return the sha256 of every input; of a folder, of every file in it."""
    hashes: dict[str, str] = {}
    for given in map(Path, inputs):
        for path in [given / name for name in files_in(given)] if given.is_dir() else [given]:
            try:
                hashes[str(path)] = sha256_of(path)
            except OSError as error:
                raise WinbackError(f"Input '{path}' cannot be read: {error.strerror}. Check its path.") from None
    return hashes


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file; of one that has not changed since, without reading it again."""
    seen = path.stat()
    return _sha256(str(path.absolute()), seen.st_ino, seen.st_size, seen.st_mtime_ns)


@lru_cache(maxsize=10_000)
def _sha256(path: str, *_seen: int) -> str:
    return _digest(Path(path))


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sha256_or_none(path: Path) -> str | None:
    try:
        return sha256_of(path)
    except OSError:
        return None


def gone_or_changed(then: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Return which files are deleted or cannot be read, and which are changed, each in words."""
    gone, other = [], []
    for name, sha256 in then.items():
        try:
            other += [] if sha256_of(Path(name)) == sha256 else [f"{name}: changed"]
        except FileNotFoundError:
            gone.append(f"{name}: deleted")
        except OSError as error:
            gone.append(f"{name}: cannot be read ({error.strerror})")
    return gone, other


# ---- what made it


def package_sha256() -> str:
    """Return the sha256 of this package's code."""
    home = Path(__file__).parents[1]
    files = {name: sha256_of(home / name) for name in files_in(home) if not name.startswith("_") and ".pyc" not in name}
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def versions() -> dict[str, str | None]:
    """Return the versions of Python and of what the numbers depend on."""
    numbers: dict[str, str | None] = {"python": ".".join(map(str, sys.version_info[:3]))}
    for package in PACKAGES:
        try:
            numbers[package] = version(package)
        except PackageNotFoundError:
            numbers[package] = None
    return numbers


def time_zone() -> str:
    """Return the machine's time zone, by its name where it has one.

    No cell of ours depends on it: the engine and every day are in UTC, or in the sheet's `time_zone`, and the sheet is
    an input. A cell of one's own may, as `duckdb.connect()` and `datetime.now()` do.
    """
    if given := os.environ.get("TZ"):
        return given
    with suppress(OSError):  # no link: Windows, some containers
        _, found, name = Path("/etc/localtime").readlink().as_posix().partition("zoneinfo/")
        if found:
            return name
    return "/".join(time.tzname)


def commit_of(folder: Path) -> str | None:
    """Return the commit of the repository that holds a folder, "-dirty" if files were changed since."""
    command = ["git", "--no-optional-locks", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}  # as set in git hooks
    try:
        answer = subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None


# ---- how one differs from another


def differences(one: Run, other: Run) -> dict[str, list[str]]:
    """Return what differs between two runs, in words, by where: parameters, inputs, code, numbers.

    Raises WinbackError where a result is not as its run left it.
    """
    for name in {path.name for path in one.out.glob("*.json")} & {path.name for path in other.out.glob("*.json")}:
        for run in (one, other):
            believe(run.out / name)
    numbers = [*numbers_unlike(one.out, other.out)]
    return made_otherwise(one, other) | ({"numbers": numbers} if numbers else {})


def made_otherwise(one: Run, other: Run) -> dict[str, list[str]]:
    """Return what differs in what two runs are made from, in words, by where: parameters, inputs, code."""
    zones = ({"time zone": one.time_zone or "nothing"}, {"time zone": other.time_zone or "nothing"})
    lines = {
        "notebook": [f"{one.notebook} | {other.notebook}"] if one.notebook != other.notebook else [],
        "parameters": [*_unlike(one.parameters, other.parameters)],
        "inputs": [*changed(one.inputs, other.inputs)],
        "code": [*changed(one.code, other.code), *_unlike(one.versions, other.versions), *_unlike(*zones)],
    }
    return {where: some for where, some in lines.items() if some}


def numbers_unlike(one: Path, other: Path) -> Iterator[str]:
    """Yield what differs between the results that two folders both hold as JSON, such as readout.json."""
    for path in sorted(one.glob("*.json")):
        if path.name not in (RECORD, FAILED) and (other / path.name).is_file():
            unlike = _unlike(_numbers_of(path), _numbers_of(other / path.name))
            yield from (f"{path.stem} {line}" for line in unlike)


def _numbers_of(path: Path) -> dict[str, object]:
    """Return every number and text of a result by its path. Raises WinbackError where the file was cut off."""
    try:
        return dict(_flat(json.loads(path.read_bytes())))
    except ValueError as error:
        raise WinbackError(f"'{path}' is no JSON ({error}). Run the notebook again.") from None


def _unlike(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    for name in dict.fromkeys((*one, *other)):
        if one.get(name) != other.get(name) or (name in one) != (name in other):
            first, second = (str(side[name]) if name in side else "nothing" for side in (one, other))
            yield f"{name}: {first} | {second}"


def changed(one: Mapping[str, str], other: Mapping[str, str]) -> Iterator[str]:
    """Yield which files differ; their hashes say nothing to people."""
    for name in dict.fromkeys((*one, *other)):
        if one.get(name) != other.get(name):
            yield f"{name}: " + ("changed" if name in one and name in other else
                                 f"only in the {'first' if name in one else 'second'}")  # fmt: skip


def _flat(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield every number and text of a JSON value with its path; what has a name goes by it."""
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in pairs:
            name = inner.get("name", key) if isinstance(inner, dict) and isinstance(value, list) else key
            yield from _flat(inner, f"{path}.{name}" if path else str(name))
    else:
        yield path, value
