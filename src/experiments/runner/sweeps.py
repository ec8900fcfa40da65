"""Run a notebook under every setting of a grid, some at once; what is there already is not run again."""

import hashlib
import logging
import math
import re
import sys
import threading
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass
from importlib import import_module
from itertools import product
from pathlib import Path

from experiments.common.errors import WinbackError
from experiments.common.files import alone
from experiments.common.language import ENGLISH
from experiments.common.run_records import RECORD, Run
from experiments.runner.documents import Value, find_notebook
from experiments.runner.fork_server import preloaded
from experiments.runner.notebooks import Job, prepare, reusable, run_job
from experiments.runner.notebooks import run as run_notebook
from experiments.runner.parameters import as_json, parameters_of

PAGE = "5-sweep"  # the notebook that makes the page of a sweep
SETTINGS = "settings"  # the folder that holds a folder for each setting
MANY = 1_000  # settings: more is a typing error or another tool's work
WORKERS = 2
PATIENCE = 0.1  # seconds between two tries to end what still runs
NAME_LENGTH = 100
NOT_SWEPT = ("out", "sheet")
Results = Generator[tuple[str, Run | WinbackError], None, None]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What became of a sweep: the runs in the order of their settings, and why the others failed."""

    page: Run | None  # None where the notebook writes no readout.json, or no setting was done
    runs: tuple[Run, ...]
    failed: dict[str, str]  # setting: message


def sweep(
    notebook: str | Path,
    parameters: Mapping[str, object],
    *,
    over: Mapping[str, Sequence[object]],
    out: Path,
    inputs: Iterable[Path] = (),
    workers: int = WORKERS,
    progress: bool = True,
    fresh: bool = False,
    language: str = ENGLISH,
) -> Swept:
    """Run a notebook once for each combination of the values in `over`, below out/settings, and make a page of all.

    Every setting is checked before anything starts. A setting that fails stops no other. Interrupted, what is
    finished stays, and the same sweep goes on from there. `language`: of the page of all. Raises WinbackError.
    """
    if (out / "run.json").is_file() and Run.read(out / "run.json").notebook != PAGE:
        raise WinbackError(f"'{out}' holds another report. Give the sweep another name: --name.")
    jobs = _jobs(notebook, parameters, over=over, out=out, inputs=tuple(inputs))
    _say_other_values(jobs, out)
    with alone(out / SETTINGS, wait=False) as held:
        if not held:
            raise WinbackError(f"Another sweep writes into '{out}'. Wait for it, or give this one another name.")
        done, failed = _run_all(jobs, workers=workers, progress=progress, fresh=fresh)
        runs = tuple(done[name] for name in jobs if name in done)
        page = _page(runs, failed, over=[*over], out=out, fresh=fresh, language=language) if runs else None
    return Swept(page=page, runs=runs, failed=failed)


def _say_other_values(jobs: Mapping[str, Job], out: Path) -> None:
    """Say that the page of a sweep under this name will be about other settings than it is now."""
    try:
        before = Run.read(out / RECORD).parameters.get("settings") or []
    except WinbackError:  # there is none yet
        return
    gone = sorted({Path(folder).name for folder in before} - set(jobs))
    if gone:
        log.warning(
            "'%s' was a sweep of other settings, such as %s; its page will be about the new ones. To keep both, give "
            "this one another name: --name.", out, gone[0],
        )  # fmt: skip


def _jobs(
    notebook: str | Path,
    parameters: Mapping[str, object],
    *,
    over: Mapping[str, Sequence[object]],
    out: Path,
    inputs: tuple[Path, ...],
) -> dict[str, Job]:
    """Return the job of every setting by its name; refuse what cannot be run before anything starts."""
    if not over or not all(over.values()):
        raise WinbackError("A sweep needs values. Write for example --over horizon_months=6,12,24.")
    for name in over:
        if name in NOT_SWEPT or name in parameters:
            why = "is given as one value too" if name in parameters else "is the same in all settings"
            raise WinbackError(f"Parameter '{name}' {why}: sweep over another one.")
    if (count := math.prod(map(len, over.values()))) > MANY:
        raise WinbackError(f"These are {count:,} settings, and {MANY:,} is the most. Leave values out.")
    known = parameters_of(find_notebook(notebook))
    jobs = {}
    for values in product(*over.values()):
        setting = dict(zip(over, values, strict=True))
        read = {name: known[name].parse(value) if name in known else None for name, value in setting.items()}
        folder = out / SETTINGS / _name(read)
        if folder.name in jobs:
            raise WinbackError(f"The setting {folder.name!r} is there twice. Give each value once.")
        jobs[folder.name] = prepare(notebook, {**parameters, **setting}, out=folder, inputs=inputs)
    return jobs


def _name(setting: Mapping[str, Value]) -> str:
    """Return a name for a setting that any file system takes.

    >>> _name({"horizon_months": 6, "discount_rate": 0.05})
    'horizon_months=6,discount_rate=0.05'
    """
    text = ",".join(f"{name}={value}" for name, value in as_json(setting).items())
    safe = re.sub(r"[^\w.=,-]", "-", text)[:NAME_LENGTH]
    return safe if safe == text else f"{safe}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _run_all(
    jobs: Mapping[str, Job], *, workers: int, progress: bool, fresh: bool
) -> tuple[dict[str, Run], dict[str, str]]:
    """Return the runs and the failures by setting; those that are there already are only looked at."""
    from tqdm import tqdm

    done = {} if fresh else {name: there for name, job in jobs.items() if (there := reusable(job))}
    failed: dict[str, str] = {}
    left = {name: job for name, job in jobs.items() if name not in done}
    show = progress and sys.stderr.isatty()
    with tqdm(total=len(jobs), initial=len(done), desc="sweep", unit="setting", leave=False, disable=not show) as bar:
        if left:
            modules = next(iter(left.values())).modules
            with preloaded(modules), closing(_at_once(left, workers=workers, fresh=fresh)) as results:
                for name, result in results:
                    if isinstance(result, Run):
                        done[name] = result
                    else:
                        failed[name] = str(result)
                    bar.update()
    return done, failed


def _at_once(jobs: Mapping[str, Job], *, workers: int, fresh: bool) -> Results:
    """Yield each run, or why it failed, as it ends. Closed before the end, end the kernels and wait till clear."""
    import_module("papermill")  # here, while the process that forks gets ready, and not in two threads at once
    kernels, stop, pool = import_module("experiments.runner.kernels"), threading.Event(), ThreadPoolExecutor(workers)
    futures = {pool.submit(_run_one, job, fresh=fresh, stop=stop): name for name, job in jobs.items()}
    try:
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)
        while not all(future.done() for future in futures):
            kernels.end_all()
            time.sleep(PATIENCE)


def _run_one(job: Job, *, fresh: bool, stop: threading.Event) -> Run | WinbackError:
    from jupyter_core.utils import ensure_event_loop

    try:
        return run_job(job, progress=False, fresh=fresh, stopped=stop.is_set)
    except WinbackError as error:
        return error
    finally:
        ensure_event_loop().close()  # Jupyter gives each thread its own, and leaves it open


def _page(
    runs: Sequence[Run], failed: Mapping[str, str], *, over: Sequence[str], out: Path, fresh: bool, language: str
) -> Run | None:
    """Make the page of all settings, where they have a readout."""
    readouts = [run.out / "readout.json" for run in runs]
    if not all(path.is_file() for path in readouts):
        return None
    parameters = {
        "over": over,
        "settings": [run.out.as_posix() for run in runs],
        "failed": [
            f"{name}: {message.splitlines()[min(1, message.count(chr(10)))]}" for name, message in failed.items()
        ],
        "language": language,
    }
    return run_notebook(PAGE, parameters, out=out, inputs=readouts, progress=False, fresh=fresh)
