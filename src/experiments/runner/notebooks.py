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
from importlib import import_module
from pathlib import Path

from experiments.common.errors import WinbackError
from experiments.common.files import alone, files_in, private_folder, relative, workshop
from experiments.common.run_records import (
    FAILED,
    RECORD,
    Run,
    commit_of,
    hashes_of,
    made_otherwise,
    package_sha256,
    publish,
    save,
    sha256_of,
    time_zone,
    versions,
)
from experiments.runner.documents import Document, Value, find_notebook, headline_of, inject, load, own_cells, source_of
from experiments.runner.failures import Failure, failure_of, is_of_a_cell
from experiments.runner.fork_server import preloaded, worth_importing
from experiments.runner.local_modules import modules_of
from experiments.runner.parameters import as_json, parameters_of, typed

KERNEL = "python3"  # The Python that runs winback, whatever kernel the notebook was last saved with.
OF_CUSTOMERS = ("cohort.parquet",)  # results of a notebook that are about customers
SOCKET_PATH = 100  # bytes; macOS allows 104, Linux 108


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
    Inputs are those given and the files that parameters name. If they, parameters, notebook with the modules it
    imports, package, versions and time zone are those of the run in `out`, and its files are as it left them, it is
    returned as it is, unless `fresh`; else what is returned says what had changed.
    """
    return run_job(prepare(notebook, parameters, out=out, inputs=inputs), progress=progress, fresh=fresh)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A run that may begin: its parameters are of their types, its inputs can be read."""

    source: Path
    given: dict[str, Value]  # parameters
    takes_out: bool  # whether the notebook wants to know its folder
    private: Path | None  # where what is about customers goes; None: the notebook is about no test
    modules: tuple[str, ...]  # worth importing before it runs
    record: Run  # as it will be, without what came out


def prepare(notebook: str | Path, parameters: Mapping[str, object], *, out: Path, inputs: Iterable[Path] = ()) -> Job:
    """Check what a run is made from and hash its inputs; nothing is started or written. Raises WinbackError."""
    source = find_notebook(notebook)
    declared = parameters_of(source)
    given = typed(declared, parameters, notebook=source.stem)
    values = {name: given.get(name, known.default) for name, known in declared.items() if name != "out"}
    cells = [(cell["cell_type"], source_of(cell)) for cell in own_cells(load(source))]
    sources = [text for kind, text in cells if kind == "code"]
    notebook_sha256 = hashlib.sha256(json.dumps(cells).encode()).hexdigest()
    record = Run(
        out=Path(out),
        notebook=source.stem,
        parameters=as_json(values),
        inputs=hashes_of([*inputs, *_files_named(values)]),
        code={"notebook": notebook_sha256, "package": package_sha256(), **modules_of(sources, source)},
        versions=versions(),
        time_zone=time_zone(),
        commit=None,  # known when it runs
        started=datetime.now(UTC).isoformat(timespec="milliseconds"),
    )
    modules = worth_importing(sources)
    private = _private_folder(values.get("sheet"), record.out)
    takes_out = "out" in declared
    return Job(source=source, given=given, takes_out=takes_out, private=private, modules=modules, record=record)


def _private_folder(sheet: Value, out: Path) -> Path | None:
    """Return where a run puts what is about customers: a run into another folder than its own is a trial."""
    from experiments.sheet.places import TRIAL
    from experiments.sheet.sheet import read_sheet

    try:
        read = read_sheet(str(sheet)) if sheet else None
    except WinbackError:  # which the notebook will tell
        return None
    if read is None:
        return None
    return read.private.folder if out.parent.name == read.experiment else read.private.folder / TRIAL


def _files_named(values: Mapping[str, Value]) -> list[Path]:
    """Return the files that parameters name: they are inputs too."""
    texts = [text for value in values.values() for text in (value if isinstance(value, list) else [value])]
    return [Path(text) for text in texts if isinstance(text, str) and _is_file(text)]


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # no name of a file at all
        return False


def run_job(
    job: Job, *, progress: bool = True, fresh: bool = False, stopped: Callable[[], bool] = lambda: False
) -> Run:
    """Do a job, as `run` does; a failure after `stopped` is none, and is not kept. Raises WinbackError."""
    if not fresh and (done := reusable(job)):
        return done
    out, clock, because = job.record.out, time.perf_counter(), _changes(job)
    record = replace(job.record, commit=commit_of(job.source.absolute().parent))
    with workshop(out) as work:
        try:
            document = produce(job, work, progress=progress)
        except Failure as failed:
            if stopped():
                raise
            kept = _keep_failed(record, failed, work, failed_notebook(job))
            raise WinbackError(f"{failed}\nThe failed notebook: {kept}") from failed.__cause__
        done = replace(
            record,
            seconds=round(time.perf_counter() - clock, 3),
            headline=headline_of(document),
            files={_place(job, name): sha256_of(work / name) for name in files_in(work)},
            because=because,
        )
        if job.private is not None and any((work / name).is_file() for name in OF_CUSTOMERS):
            make_within(job.private)
        publish(done, work, moved={name: out / _place(job, name) for name in OF_CUSTOMERS})
        failed_notebook(job).unlink(missing_ok=True)
    return done


def _place(job: Job, name: str) -> str:
    """Return where a file of a run goes, relative to its folder: what is about customers, into the private one."""
    if job.private is None or name not in OF_CUSTOMERS:
        return name
    return Path(os.path.relpath(job.private / name, job.record.out)).as_posix()


def make_within(folder: Path) -> None:
    """Make a folder inside a private one, which is made first."""
    from experiments.sheet.places import NAME, make_private

    make_private(next(place for place in (folder, *folder.parents) if place.name == NAME))
    private_folder(folder)


def failed_notebook(job: Job) -> Path:
    """Return where the notebook of a failed run is kept: what it shows may be about customers."""
    out = job.record.out
    return out / "failed.ipynb" if job.private is None else job.private / "failed" / f"{out.name}.ipynb"


def reusable(job: Job) -> Run | None:
    """Return the run in the job's folder if it would come out the same again, and is whole."""
    try:
        before = Run.read(job.record.out / RECORD)
    except WinbackError:
        return None
    same = before.is_made_from_the_same_as(job.record) and not before.changed_files()
    return replace(before, reused=True) if same else None


def _changes(job: Job) -> tuple[str, ...]:
    """Return what has changed since the run in the job's folder, in words; nothing where there is none."""
    try:
        before = Run.read(job.record.out / RECORD)
    except WinbackError:
        return ()
    made = [line for lines in made_otherwise(before, job.record).values() for line in lines]
    return (*made, *(f"{name}: changed after the run" for name in before.changed_files()))


def produce(job: Job, work: Path, *, progress: bool) -> Document:
    """Execute and render in a temporary folder; return the executed notebook. Raises Failure."""
    path, executed = work / "notebook.ipynb", False
    folder = {"out": relative(work)} if job.takes_out else {}
    save(inject(load(job.source), job.given | folder, name=job.source.stem), path)
    try:
        with preloaded(job.modules):
            from experiments.report.page import render

            import_module("nbconvert")  # for the page; now, while the process that forks imports too
            _execute(path, name=job.record.notebook, progress=progress)
        document, executed = _without_traces(path, job.record, work), True
        render(path, work / "page.html")
    except Exception as error:  # noqa: BLE001  # whatever it was, it is told, and out stays as it was
        try:
            document = _without_traces(path, job.record, work)
        except (OSError, ValueError):  # not even written: the disk is full
            raise error from None
        failure = failure_of(document, error, name=job.record.notebook, executed=executed)
        raise failure from (None if is_of_a_cell(error) else error)
    return document


def _execute(path: Path, *, name: str, progress: bool) -> None:
    """Execute a notebook in place by papermill, in a kernel of ours."""
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


def _without_traces(path: Path, record: Run, work: Path) -> Document:
    """Rewrite an executed notebook without this machine's paths and without the temporary folder's name."""
    document: Document = json.loads(path.read_text(encoding="utf-8").replace(work.name, record.out.name))
    papermill = document["metadata"].setdefault("papermill", {})
    for key in ("input_path", "output_path"):
        papermill.pop(key, None)
    papermill["parameters"] = record.parameters
    save(document, path)
    return document


def _keep_failed(record: Run, failed: Failure, work: Path, notebook: Path) -> Path:
    """Put failed.json beside the last good results, and the failed notebook where it is kept; return that."""
    if notebook.parent != record.out:
        make_within(notebook.parent)
    why = str(failed).partition(":\n")[2].partition("\n")[0]
    replace(record, status="failed", headline=why).write(work / FAILED)
    with alone(record.out):
        save(failed.document, notebook, private=True)
        (work / FAILED).replace(record.out / FAILED)
    return notebook
