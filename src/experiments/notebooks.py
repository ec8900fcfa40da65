"""Run a parameterised notebook: typed parameters in, one folder with notebook, page and run.json out."""

import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from html.parser import HTMLParser
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from experiments.errors import WinbackError, did_you_mean, short
from experiments.forks import preloaded, worth_importing
from experiments.parameters import Value, as_json, inject, parameters_of, text_of, typed

log = logging.getLogger(__name__)

KERNEL = "python3"  # The Python that runs winback, whatever kernel the notebook was last saved with.
PACKAGES = ("winback-experiments", "duckdb", "pandas", "statsmodels", "papermill")  # whose versions run.json keeps
MESSAGE_LINES = 10  # of the error's own text; with its frame a message stays below 15 lines
LINE_WIDTH = 300
SOCKET_PATH = 100  # bytes; macOS allows 104, Linux 108

# ---- runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One finished run: what went in, what made it, and the folder `out` that holds what came out."""

    out: Path
    notebook: str
    parameters: dict[str, Any]  # as JSON; the notebook's defaults included, `out` not
    inputs: dict[str, str]  # path as given: sha256
    versions: dict[str, str | None]
    commit: str | None
    started: str  # UTC, ISO
    seconds: float
    status: str = "done"
    headline: str = ""  # of the verdict on the page; for the list of runs
    files: list[str] = field(default_factory=list)  # all that the run put into `out`

    @property
    def page(self) -> Path:
        """The page an executive opens."""
        return self.out / "page.html"

    @classmethod
    def read(cls, path: Path) -> "Run":
        """Return the run that a run.json describes; WinbackError if it is none."""
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            datetime.fromisoformat(stored["started"])
            return cls(out=path.parent, **stored)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise WinbackError(f"'{path}' is no run.json ({error}). Run the notebook again.") from None

    def write(self, path: Path) -> None:
        """Write the run as a run.json."""
        stored = asdict(self)
        del stored["out"]
        _save(stored, path)


def runs(reports: Path) -> list[Run]:
    """Return the finished runs in reports/*/*/run.json, newest first; note unreadable ones in the log."""
    found = []
    for path in sorted(reports.glob("*/*/run.json")):
        if path.parent.name.startswith("."):  # the temporary folder of a run that is not finished
            continue
        try:
            found.append(Run.read(path))
        except WinbackError as error:
            log.warning("Skipped: %s", error)
    return sorted(found, key=lambda run: datetime.fromisoformat(run.started).timestamp(), reverse=True)


def find_notebook(name: str | Path) -> Path:
    """Return a notebook by path, or a shipped one by its stem, its name or its number ("3-readout", "readout", "3")."""
    if Path(name).is_file():
        return Path(name)
    here, wanted = Path(__file__), Path(name).name.removesuffix(".ipynb")
    stems: list[str] = []
    for folder in (Path("notebooks"), here.parents[2] / "notebooks", here.parent / "_notebooks"):
        for shipped in sorted(folder.glob("*.ipynb")):
            number, _, rest = shipped.stem.partition("-")
            if str(name).removesuffix(".ipynb") in {shipped.stem, rest, number} - {""}:
                return shipped
            stems.append(shipped.stem)
    raise WinbackError(f"There is no notebook '{name}'. {did_you_mean(wanted, dict.fromkeys(stems))}")


def run(
    notebook: str | Path,
    parameters: Mapping[str, object],
    *,
    out: Path,
    inputs: Iterable[Path] = (),
    progress: bool = True,
) -> Run:
    """Execute a notebook and put notebook.ipynb, page.html, run.json and its own files into `out`.

    Everything is made in a temporary folder beside `out`, which the notebook gets as
    its parameter `out`. Only success changes `out`; a failure leaves out/failed.ipynb.
    """
    source, out = find_notebook(notebook), Path(out)
    declared = parameters_of(source)
    given = typed(declared, parameters, notebook=source)
    values = {name: given.get(name, known.default) for name, known in declared.items() if name != "out"}
    hashes = _hashes(inputs)
    started, clock = datetime.now(UTC), time.perf_counter()
    work = _temporary(out)
    try:
        folder = {"out": declared["out"].parse(_relative(work))} if "out" in declared else {}
        document = inject(source, given | folder)
        _save(document, work / "notebook.ipynb")
        with preloaded(worth_importing(map(text_of, document["cells"]))):
            document = _make(work, out, name=source.stem, values=values, progress=progress)
        done = Run(
            out=out,
            notebook=source.stem,
            parameters=as_json(values),
            inputs=hashes,
            versions=_versions(),
            commit=_commit(source.absolute().parent),
            started=started.isoformat(timespec="milliseconds"),
            seconds=round(time.perf_counter() - clock, 3),
            headline=_headline(document),
            files=sorted({"run.json", *_files(work)}),
        )
        done.write(work / "run.json")
        _publish(work, done)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return done


def _make(work: Path, out: Path, *, name: str, values: Mapping[str, Value], progress: bool) -> dict[str, Any]:
    """Execute and render inside the temporary folder; keep a failure as out/failed.ipynb."""
    from experiments.pages import render

    path, executed = work / "notebook.ipynb", False
    try:
        _execute(path, name=name, progress=progress)
        document = _tidy(path, work=work, out=out, values=values)
        executed = True
        render(path, work / "page.html")
    except Exception as error:  # noqa: BLE001  # whatever it was, it is told, and out stays as it was
        document = _tidy(path, work=work, out=out, values=values)
        message = _explain(document, error, name=name, executed=executed)
        _save(document, path)
        out.mkdir(exist_ok=True)
        with _alone(out):
            path.replace(out / "failed.ipynb")
        cause = None if _in_a_cell(error) else error
        raise WinbackError(f"{message}\nThe failed notebook: {out / 'failed.ipynb'}") from cause
    return document


def _execute(path: Path, *, name: str, progress: bool) -> None:
    import papermill
    from traitlets.config import Config

    from experiments.kernels import ForkingManager

    # What papermill logs it also raises; and after Ctrl-C the kernel may answer asyncio when nobody waits any more.
    # Without a handler Python prints both.
    for quiet in map(logging.getLogger, ("papermill", "asyncio")):
        if not quiet.handlers:
            quiet.addHandler(logging.NullHandler())
    bar = {"desc": name, "leave": False, "mininterval": 0} if progress and sys.stderr.isatty() else False
    plain = str(path.absolute()).replace("{", "{{").replace("}", "}}")  # papermill formats its paths
    with tempfile.TemporaryDirectory(prefix="winback-", ignore_cleanup_errors=True) as sockets:
        config = Config({"KernelManager": {"connection_file": f"{sockets}/kernel.json"}})
        if os.name == "posix" and len(os.fsencode(sockets)) + len("/kernel-ipc-1") <= SOCKET_PATH:
            config.KernelManager.transport = "ipc"  # Two kernels started at once may choose the same TCP port.
        done = papermill.execute_notebook(
            plain,
            plain,
            kernel_name=KERNEL,
            progress_bar=bar,
            autosave_cell_every=0,
            kernel_manager_class=ForkingManager,
            shutdown_kernel="immediate",  # its results are here: nothing is lost
            extra_arguments=["--log-level=CRITICAL"],  # what the kernel logs on the terminal is about itself
            config=config,
        )
    if done.metadata.papermill.exception:  # to papermill sys.exit() is no error
        raise WinbackError("It was left before its end by sys.exit(). Remove that.")


def _explain(document: dict[str, Any], error: Exception, *, name: str, executed: bool) -> str:
    """Return where and why a run failed, in a few lines; note a killed kernel in its cell."""
    kind, text, where = type(error).__name__, str(error), "while its page was made"
    if not executed:
        started = [cell for cell in document["cells"] if cell["metadata"].get("papermill", {}).get("start_time")]
        cell = next((cell for cell in started if _error_of(cell)), started[-1] if started else None)
        where = f"in the cell that begins `{_first_line(cell)}`" if cell else "before its first cell"
        if cell and _in_a_cell(error):
            kind, text = _error_of(cell).get("ename", kind), _error_of(cell).get("evalue", "")
        elif cell and kind == "DeadKernelError":
            text = "its Python was killed, most often because memory ran out. Give it less data or more memory."
            _mark_killed(document, cell, text)
    lines = (text if kind == WinbackError.__name__ else f"{kind}: {text}").splitlines()
    if len(lines) > MESSAGE_LINES:
        lines[MESSAGE_LINES - 1 :] = [f"... {len(lines) - MESSAGE_LINES + 1} more lines in the failed notebook"]
    return "\n".join([f"Notebook '{name}' failed {where}:", *(short(line, LINE_WIDTH) for line in lines)])


def _in_a_cell(error: Exception) -> bool:
    return type(error).__name__ == "PapermillExecutionError"  # by name: papermill may be what failed to import


def _mark_killed(document: dict[str, Any], cell: dict[str, Any], text: str) -> None:
    """Put the error into the cell that ran: papermill saves every cell of a killed kernel as completed."""
    shown = {"output_type": "error", "ename": "DeadKernelError", "evalue": text, "traceback": [text]}
    cell.setdefault("outputs", []).append(shown)
    cell["metadata"]["papermill"] |= {"exception": True, "status": "failed"}
    document["metadata"]["papermill"]["exception"] = True


def _first_line(cell: Mapping[str, Any]) -> str:
    return short(next((line.strip() for line in text_of(cell).splitlines() if line.strip()), ""), 100)


def _error_of(cell: Mapping[str, Any]) -> dict[str, Any]:
    return next((output for output in cell.get("outputs", []) if output["output_type"] == "error"), {})


def _save(document: Mapping[str, Any], path: Path) -> None:
    text = json.dumps(document, ensure_ascii=False, indent=1) + "\n"
    path.write_bytes(text.encode("utf-8", "backslashreplace"))  # to JSON half a character is its escape


def _tidy(path: Path, *, work: Path, out: Path, values: Mapping[str, Value]) -> dict[str, Any]:
    """Rewrite an executed notebook without this machine's paths and without the temporary folder's name."""
    text = path.read_text(encoding="utf-8").replace(work.name, out.name)
    document: dict[str, Any] = json.loads(text)
    papermill = document["metadata"].setdefault("papermill", {})
    for key in ("input_path", "output_path"):
        papermill.pop(key, None)
    papermill["parameters"] = as_json(values)
    _save(document, path)
    return document


# ---- the headline of a page


def _headline(document: Mapping[str, Any]) -> str:
    """Return the heading of the first verdict in the notebook's HTML outputs, "" where there is none."""
    outputs = [output for cell in document["cells"] for output in cell.get("outputs", [])]
    for html in ("".join(output.get("data", {}).get("text/html", "")) for output in outputs):
        seen = _Verdict()
        seen.feed(html)
        if seen.found:
            return " ".join(seen.heading.split())
    return ""


class _Verdict(HTMLParser):
    """Looks for the first element of the class "verdict" and takes the text of its first h2."""

    def __init__(self) -> None:
        super().__init__()
        self.found, self.tag, self.depth = False, "", 0  # depth: open elements of that tag, the verdict among them
        self.listens, self.heading = False, ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if not self.found and "verdict" in (dict(attrs).get("class") or "").split():
            self.found, self.tag = True, tag
        self.depth += tag == self.tag
        self.listens = self.listens or (tag == "h2" and self.depth > 0 and not self.heading)

    def handle_endtag(self, tag: str) -> None:
        self.listens = self.listens and tag != "h2"
        self.depth -= tag == self.tag
        if not self.depth:  # closed: no later element counts
            self.tag = ""

    def handle_data(self, data: str) -> None:
        if self.listens:
            self.heading += data


# ---- folders and files


def _temporary(out: Path) -> Path:
    if out.exists() and not out.is_dir():
        raise WinbackError(f"'{out}' is a file, but the run needs a folder. Give another folder.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise WinbackError(f"Folder '{out.parent}' cannot be written: {error.strerror}. Give another one.") from None


def _relative(path: Path) -> str:
    try:
        return os.path.relpath(path)
    except ValueError:  # on another drive of Windows
        return str(path)


def _files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _publish(work: Path, done: Run) -> None:
    """Move a run's files into its folder and remove those of the run before, under one lock.

    run.json goes first and comes last: while it is there, all files are of its run.
    """
    out = done.out
    out.mkdir(exist_ok=True)
    with _alone(out):
        stale = set(_files(out)) & {"failed.ipynb", *_files_of(out / "run.json")} - set(done.files)
        (out / "run.json").unlink(missing_ok=True)
        for name in stale - {"run.json"}:
            (out / name).unlink()
        for name in sorted(done.files, key=lambda name: name == "run.json"):
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (work / name).replace(out / name)


def _files_of(path: Path) -> list[str]:
    with suppress(WinbackError):
        return Run.read(path).files
    return []


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; without one where the system has none (Windows, some network drives)."""
    handle = None
    with suppress(ImportError, OSError):
        import fcntl

        handle = os.open(folder, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def _hashes(inputs: Iterable[Path]) -> dict[str, str]:
    """Return the sha256 of every input; of a folder, of every file in it."""
    hashes: dict[str, str] = {}
    for given in map(Path, inputs):
        files = [given / name for name in _files(given)] if given.is_dir() else [given]
        for path in files:
            try:
                with path.open("rb") as stream:
                    hashes[str(path)] = hashlib.file_digest(stream, "sha256").hexdigest()
            except OSError as error:
                raise WinbackError(f"Input '{path}' cannot be read: {error.strerror}. Check its path.") from None
    return hashes


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {"python": ".".join(map(str, sys.version_info[:3]))}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def _commit(folder: Path) -> str | None:
    """Return the commit of the repository that holds the notebook, "-dirty" if files were changed since."""
    command = ["git", "--no-optional-locks", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}  # as set in git hooks
    try:
        answer = subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None
