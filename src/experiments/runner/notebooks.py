"""Run a parameterised notebook: typed parameters in, one folder with notebook, page and run.json out."""

import hashlib
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from typing import Any

from experiments.common.errors import WinbackError, did_you_mean, short
from experiments.common.files import alone, files_in, relative, workshop
from experiments.common.run_records import (
    FAILED,
    RECORD,
    Run,
    commit_of,
    hashes_of,
    package_sha256,
    publish,
    save,
    sha256_of,
    versions,
)
from experiments.runner.fork_server import preloaded, worth_importing
from experiments.runner.parameters import Value, as_json, inject, parameters_of, text_of, typed

KERNEL = "python3"  # The Python that runs winback, whatever kernel the notebook was last saved with.
MESSAGE_LINES = 10  # of the error's own text; with its frame a message stays below 15 lines
LINE_WIDTH = 300
SOCKET_PATH = 100  # bytes; macOS allows 104, Linux 108
INJECTED = "injected-parameters"


def find_notebook(name: str | Path) -> Path:
    """Return a notebook by path, or a shipped one by its stem, its name or its number ("3-readout", "readout", "3")."""
    if Path(name).is_file():
        return Path(name)
    here, wanted = Path(__file__).parents[1], Path(name).name.removesuffix(".ipynb")
    stems: list[str] = []
    for folder in (Path("notebooks"), here.parents[1] / "notebooks", here / "_notebooks"):
        for shipped in sorted(folder.glob("*.ipynb")):
            number, _, rest = shipped.stem.partition("-")
            if str(name).removesuffix(".ipynb") in {shipped.stem, rest, number} - {""}:
                return shipped
            stems.append(shipped.stem)
    raise WinbackError(f"There is no notebook '{name}'. {did_you_mean(wanted, dict.fromkeys(stems))}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A run that may begin: its parameters are of their types, its inputs can be read."""

    source: Path
    values: dict[str, Value]  # given
    takes_out: bool  # whether the notebook wants to know its folder
    modules: tuple[str, ...]  # worth importing before it runs
    run: Run  # as it will be, without what came out


def order(notebook: str | Path, parameters: Mapping[str, object], *, out: Path, inputs: Iterable[Path] = ()) -> Order:
    """Check what a run is made from and hash its inputs; nothing is started or written. Raises WinbackError."""
    source, out = find_notebook(notebook), Path(out)
    declared = parameters_of(source)
    given = typed(declared, parameters, notebook=source)
    values = {name: given.get(name, known.default) for name, known in declared.items() if name != "out"}
    cells = [cell for cell in inject(source, {})["cells"] if cell["id"] != INJECTED]
    told = json.dumps([(cell["cell_type"], text_of(cell)) for cell in cells]).encode()
    wanted = Run(
        out=out,
        notebook=source.stem,
        parameters=as_json(values),
        inputs=hashes_of([*inputs, *_files_named(values)]),
        code={"notebook": hashlib.sha256(told).hexdigest(), "package": package_sha256()},
        versions=versions(),
        commit=None,  # known when it runs
        started=datetime.now(UTC).isoformat(timespec="milliseconds"),
    )
    modules = worth_importing(text_of(cell) for cell in cells if cell["cell_type"] == "code")
    return Order(source=source, values=given, takes_out="out" in declared, modules=modules, run=wanted)


def _files_named(values: Mapping[str, Value]) -> list[Path]:
    """Return the files that parameters name: they are inputs too."""
    texts = [text for value in values.values() for text in (value if isinstance(value, list) else [value])]
    return [Path(text) for text in texts if isinstance(text, str) and _is_file(text)]


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # no name of a file at all
        return False


def run(
    notebook: str | Path,
    parameters: Mapping[str, object],
    *,
    out: Path,
    inputs: Iterable[Path] = (),
    progress: bool = True,
    fresh: bool = False,
) -> Run:
    """Execute a notebook and put notebook.ipynb, page.html, run.json and its own files into `out`.

    Everything is made in a temporary folder beside `out`, which the notebook gets as
    its parameter `out`. Only success changes `out`; a failure leaves failed.ipynb and failed.json.
    Inputs are those given and the files that parameters name. If they, parameters, notebook, package and versions
    are those of the run in `out`, and its files are as it left them, it is returned as it is, unless `fresh`.
    """
    return carry_out(order(notebook, parameters, out=out, inputs=inputs), progress=progress, fresh=fresh)


def carry_out(
    ordered: Order, *, progress: bool = True, fresh: bool = False, stopped: Callable[[], bool] = lambda: False
) -> Run:
    """Carry out an order, as `run` does; a failure after `stopped` is none, and is not kept. Raises WinbackError."""
    if not fresh and (done := finished(ordered)):
        return done
    ordered = replace(ordered, run=replace(ordered.run, commit=commit_of(ordered.source.absolute().parent)))
    out, clock = ordered.run.out, time.perf_counter()
    with workshop(out) as work:
        try:
            document = make(ordered, work, progress=progress)
        except Failure as failed:
            if stopped():
                raise
            _keep_failed(ordered.run, failed, work)
            raise WinbackError(f"{failed}\nThe failed notebook: {out / 'failed.ipynb'}") from failed.__cause__
        done = replace(
            ordered.run,
            seconds=round(time.perf_counter() - clock, 3),
            headline=_headline(document),
            files={name: sha256_of(work / name) for name in files_in(work)},
        )
        publish(done, work)
    return done


def finished(ordered: Order) -> Run | None:
    """Return the run in the order's folder if it would come out the same again, and is whole."""
    try:
        before = Run.read(ordered.run.out / RECORD)
    except WinbackError:
        return None
    same = before.is_made_from_the_same_as(ordered.run) and not before.changed_files()
    return replace(before, reused=True) if same else None


class Failure(Exception):  # noqa: N818  # a notebook that failed, told in a few lines
    """A notebook that failed; holds the document as far as it came, where one can be read."""

    def __init__(self, message: str, document: dict[str, Any]) -> None:
        super().__init__(message)
        self.document = document


def make(ordered: Order, work: Path, *, progress: bool) -> dict[str, Any]:
    """Execute and render in a temporary folder; return the executed notebook. Raises Failure."""
    path, executed = work / "notebook.ipynb", False
    folder = {"out": relative(work)} if ordered.takes_out else {}
    document = inject(ordered.source, ordered.values | folder)
    save(document, path)
    try:
        with preloaded(ordered.modules):
            from experiments.report.page import render

            import_module("nbconvert")  # for the page; now, while the process that forks imports too
            _execute(path, name=ordered.run.notebook, progress=progress)
        document = _tidy(path, ordered.run, work)
        executed = True
        render(path, work / "page.html")
    except Exception as error:  # noqa: BLE001  # whatever it was, it is told, and out stays as it was
        try:
            document = _tidy(path, ordered.run, work)
        except (OSError, ValueError):  # not even written: the disk is full
            raise error from None
        message = _explain(document, error, name=ordered.run.notebook, executed=executed)
        raise Failure(message, document) from (None if _in_a_cell(error) else error)
    return document


def _keep_failed(wanted: Run, failed: Failure, work: Path) -> None:
    """Put failed.ipynb and failed.json beside the last good results."""
    save(failed.document, work / "failed.ipynb")
    why = str(failed).partition(":\n")[2].partition("\n")[0]
    replace(wanted, status="failed", headline=why).write(work / FAILED)
    with alone(wanted.out):
        for name in ("failed.ipynb", FAILED):
            (work / name).replace(wanted.out / name)


def _execute(path: Path, *, name: str, progress: bool) -> None:
    import papermill
    from traitlets.config import Config

    from experiments.runner.kernels import ForkingManager

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
            text = "its Python was killed or ended, most often for lack of memory. Give it less data or more memory."
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


def _tidy(path: Path, done: Run, work: Path) -> dict[str, Any]:
    """Rewrite an executed notebook without this machine's paths and without the temporary folder's name."""
    text = path.read_text(encoding="utf-8").replace(work.name, done.out.name)
    document: dict[str, Any] = json.loads(text)
    papermill = document["metadata"].setdefault("papermill", {})
    for key in ("input_path", "output_path"):
        papermill.pop(key, None)
    papermill["parameters"] = done.parameters
    save(document, path)
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
