"""Run a parameterised notebook: typed parameters in, one folder with notebook, page and run.json out."""

import ast
import hashlib
import io
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tokenize
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime
from importlib.metadata import PackageNotFoundError, version
from math import isfinite
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from experiments.errors import WinbackError, did_you_mean

Value = bool | int | float | str | date | list[Any] | None

log = logging.getLogger(__name__)

KERNEL = "python3"  # The Python that runs winback, whatever kernel the notebook was last saved with.
PACKAGES = ("winback-experiments", "duckdb", "pandas", "statsmodels", "papermill")  # whose versions run.json keeps
MESSAGE_LINES = 10  # of the error's own text; with its frame a message stays below 15 lines
LINE_WIDTH = 300
SOCKET_PATH = 100  # bytes; macOS allows 104, Linux 108

# ---- typed parameters


def _int(value: object) -> int:
    if not isinstance(value, bool) and isinstance(value, Integral):
        return int(value)
    with suppress(ValueError):
        return int(_digits(value))
    raise ValueError("it must be a whole number. Write for example 24.")


def _float(value: object) -> float:
    with suppress(ValueError, OverflowError):
        number = float(value if not isinstance(value, bool) and isinstance(value, Real) else _digits(value))
        if isfinite(number):
            return number
    raise ValueError("it must be a finite number with a decimal point. Write for example 0.1.")


def _digits(value: object) -> str:
    """Return text that may be a number; Python itself also reads 1_000 and digits of other scripts."""
    if isinstance(value, str) and value.isascii() and "_" not in value:
        return value
    raise ValueError(value)


def _str(value: object) -> str:
    if isinstance(value, str):
        return str.__str__(value)
    raise ValueError("it must be text. Put it in quotes in Python.")


def _bool(value: object) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    raise ValueError("it must be true or false. Write true or false.")


def _date(value: object) -> date:
    with suppress(ValueError):
        if isinstance(value, datetime) and value.time() == datetime.min.time():
            return value.date()
        if isinstance(value, date) and not isinstance(value, datetime):
            return value
        if isinstance(value, str) and date.fromisoformat(value).isoformat() == value:
            return date.fromisoformat(value)
    raise ValueError("it must be a date. Write it as year-month-day, for example 2026-01-31.")


READERS: dict[str, Callable[[object], Value]] = {
    "int": _int,
    "float": _float,
    "str": _str,
    "bool": _bool,
    "date": _date,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """What a type text means: a reader's name or choices, perhaps many of them, perhaps none."""

    base: str = "str"
    many: bool = False
    choices: tuple[str, ...] = ()
    optional: bool = False

    def read(self, value: object) -> Value:
        plain = _plain(value)
        if self.optional and (plain is None or (plain == "none" and "none" not in self.choices)):
            return None
        if self.many:
            return [READERS[self.base](_plain(item)) for item in _items(plain)]
        if self.choices and plain not in self.choices:
            raise ValueError(f"it is not one of its choices. {did_you_mean(plain, self.choices)}")
        return READERS[self.base](plain)


def _plain(value: object) -> object:
    """Return NumPy and pandas values as Python values, a path as text."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.tolist() if hasattr(value, "tolist") else value


def _items(value: object) -> list[object]:
    if isinstance(value, str):
        items = [item.strip() for item in value.split(",")] if value.strip() else []
        if "" not in items:
            return list(items)
    elif isinstance(value, list | tuple):
        return list(value)
    raise ValueError("it must be a list. Write its items with commas, for example 6,12,24.")


def _kind(node: ast.expr) -> _Kind:
    match node:
        case ast.Name(id=base) if base in READERS:
            return _Kind(base=base)
        case ast.BinOp(left=inner, op=ast.BitOr(), right=ast.Constant(value=None)):
            return replace(_kind(inner), optional=True)
        case ast.BinOp(left=ast.Constant(value=None), op=ast.BitOr(), right=inner):
            return replace(_kind(inner), optional=True)
        case ast.Subscript(value=ast.Name(id="list"), slice=ast.Name(id=("int" | "float" | "str") as base)):
            return _Kind(base=base, many=True)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inside):
            choices = [getattr(item, "value", None) for item in getattr(inside, "elts", [inside])]
            if choices and all(isinstance(choice, str) for choice in choices):
                return _Kind(choices=tuple(map(str, choices)))
    raise ValueError(
        f"the type `{ast.unparse(node)}` is not known. Use int, float, str, bool, date, Literal['a', 'b'] "
        "or list[int], list[float], list[str], each also with `| None`."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One line `name: type = default  # help` of a notebook's parameters cell."""

    name: str
    type: str
    default: Value
    help: str = ""

    def parse(self, value: object) -> Value:
        """Return the value in its type; text is read as from a command line.

        Exactly the word none means no value where the type has `| None`. Commas
        separate the items of a list.

        >>> Parameter(name="horizon_months", type="int", default=24).parse("36")
        36
        """
        try:
            kind = _kind(ast.parse(self.type, mode="eval").body)
            return replace(kind, optional=kind.optional or self.default is None).read(value)
        except ValueError as error:
            raise WinbackError(f"Parameter '{self.name}' is {_short(repr(value), 80)}: {error}") from None


def parameters_of(notebook: Path) -> dict[str, Parameter]:
    """Return the typed parameters of a notebook, in the order of its parameters cell.

    The one code cell tagged "parameters" holds lines `name: type = default  # help`,
    and above them, where needed, imports from datetime and typing.
    """
    source = _text(_parameters_cell(_load(notebook), notebook))
    where = f"Notebook '{notebook.stem}', parameters cell"
    try:
        body = ast.parse(source).body
    except SyntaxError as error:
        raise WinbackError(f"{where}, line {error.lineno}: {error.msg}. Write lines `name: type = default`.") from None
    comments = _comments(source)
    found: dict[str, Parameter] = {}
    for line in body:
        if isinstance(line, ast.ImportFrom) and line.module in {"datetime", "typing", "__future__"}:
            continue
        try:
            parameter = _parameter(line, help=comments.get(line.end_lineno or 0, ""))
        except ValueError as error:
            raise WinbackError(f"{where}, line {line.lineno}: {error}") from None
        if parameter.name in found:
            raise WinbackError(f"{where}, line {line.lineno}: '{parameter.name}' stands there twice. Remove one.")
        found[parameter.name] = parameter
    return found


def _parameter(line: ast.stmt, *, help: str) -> Parameter:  # noqa: A002  # the field's name
    match line:
        case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=ast.expr() as default):
            pass
        case _:
            cure = "Write for example `horizon_months: int = 24  # months to look ahead`."
            raise ValueError(f"`{_short(ast.unparse(line), 60)}` is not `name: type = default`. {cure}")
    if name in READERS or name == "Literal":
        raise ValueError(f"a parameter '{name}' would hide the type of that name. Give it another name.")
    kind, value = _kind(annotation), _default(default)
    if value is None and (kind.optional or kind.base == "date"):
        return Parameter(name=name, type=ast.unparse(annotation), default=None, help=help)
    parameter = Parameter(name=name, type=ast.unparse(annotation), default=value, help=help)
    if value is None or parameter.parse(value) != value:  # text that only could be read as the type is no default
        raise ValueError(f"the default `{ast.unparse(default)}` of '{name}' is no {parameter.type}. Correct one.")
    return replace(parameter, default=parameter.parse(value))


def _default(node: ast.expr) -> Value:
    match node:
        case ast.Call(
            func=ast.Attribute(value=ast.Name(id="date"), attr="fromisoformat"), args=[ast.Constant(value=day)]
        ):
            return _date(day)
    try:
        value: Value = ast.literal_eval(node)
    except (ValueError, TypeError):
        cure = 'Write a number, text, True, False, None, a list or date.fromisoformat("2026-01-31").'
        raise ValueError(f"the default `{_short(ast.unparse(node), 60)}` is no plain value. {cure}") from None
    return value


def _comments(source: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.start[0]: token.string.lstrip("# ").rstrip() for token in tokens if token.type == tokenize.COMMENT}


def _typed(declared: Mapping[str, Parameter], given: Mapping[str, object], *, notebook: Path) -> dict[str, Value]:
    """Return the given parameters in their types; refuse what the notebook does not know."""
    settable = [name for name in declared if name != "out"]
    if "out" in given and "out" in declared:
        raise WinbackError("Parameter 'out' is set by the run itself. Give the folder as the run's out instead.")
    for name in given:
        if name not in settable:
            raise WinbackError(f"Notebook '{notebook.stem}' has no parameter '{name}'. {did_you_mean(name, settable)}")
    return {name: declared[name].parse(value) for name, value in given.items()}


# ---- the notebook as a document


def _load(notebook: Path) -> dict[str, Any]:
    """Read a notebook of format 4 as plain JSON; give its cells the ids that format 4.5 wants."""
    try:
        document = json.loads(notebook.read_text(encoding="utf-8-sig"))
        cells = document["cells"]
    except OSError as error:
        raise WinbackError(f"Notebook '{notebook}' cannot be read: {error.strerror}. Check its path.") from None
    except (ValueError, KeyError, TypeError):
        raise WinbackError(f"'{notebook}' is no notebook of format 4. Open it in JupyterLab and save it.") from None
    for number, cell in enumerate(cells):
        cell.setdefault("id", f"cell-{number}")
    document["nbformat_minor"] = max(5, document.get("nbformat_minor", 0))
    return dict(document)


def _save(document: Mapping[str, Any], path: Path) -> None:
    text = json.dumps(document, ensure_ascii=False, indent=1) + "\n"
    path.write_bytes(text.encode("utf-8", "backslashreplace"))  # to JSON half a character is its escape


def _tagged(cell: Mapping[str, Any], tag: str) -> bool:
    return cell["cell_type"] == "code" and tag in cell["metadata"].get("tags", [])


def _text(cell: Mapping[str, Any]) -> str:
    return "".join(cell["source"])  # a string, or a list of lines


def _parameters_cell(document: Mapping[str, Any], notebook: Path) -> dict[str, Any]:
    cells: list[dict[str, Any]] = [cell for cell in document["cells"] if _tagged(cell, "parameters")]
    if len(cells) != 1:
        count = f"has {len(cells)} code cells" if cells else "has no code cell"
        raise WinbackError(f"Notebook '{notebook.stem}' {count} tagged \"parameters\". Tag exactly one.")
    return cells[0]


def _inject(notebook: Path, values: Mapping[str, Value]) -> dict[str, Any]:
    """Return the notebook with the values as literals in a cell after its parameters cell."""
    document = _load(notebook)
    cells = [cell for cell in document["cells"] if not _tagged(cell, "injected-parameters")]
    parameters = _parameters_cell(document, notebook)
    lines = ["# Parameters of this run", *(f"{name} = {_literal(value)}" for name, value in values.items())]
    if any(isinstance(value, date) for value in values.values()):
        lines.insert(1, "from datetime import date")
    injected: dict[str, Any] = {
        "cell_type": "code",
        "id": "injected-parameters",
        "metadata": {"tags": ["injected-parameters"]},
        "execution_count": None,
        "outputs": [],
        "source": "\n".join(lines),
    }
    cells.insert(cells.index(parameters) + 1, injected)
    document["metadata"].pop("papermill", None)
    return document | {"cells": cells}


def _literal(value: Value) -> str:
    """Return Python source for a value that `Parameter.parse` made: only literals, never its text as code."""
    return f'date.fromisoformat("{value.isoformat()}")' if isinstance(value, date) else repr(value)


def _tidy(path: Path, *, work: Path, out: Path, values: Mapping[str, Value]) -> dict[str, Any]:
    """Rewrite an executed notebook without this machine's paths and without the temporary folder's name."""
    text = path.read_text(encoding="utf-8").replace(work.name, out.name)
    document: dict[str, Any] = json.loads(text)
    papermill = document["metadata"].setdefault("papermill", {})
    for key in ("input_path", "output_path"):
        papermill.pop(key, None)
    papermill["parameters"] = _as_json(values)
    _save(document, path)
    return document


def _as_json(values: Mapping[str, Value]) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, date) else value for name, value in values.items()}


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
    given = _typed(declared, parameters, notebook=source)
    values = {name: given.get(name, known.default) for name, known in declared.items() if name != "out"}
    hashes = _hashes(inputs)
    started, clock = datetime.now(UTC), time.perf_counter()
    work = _temporary(out)
    try:
        folder = {"out": declared["out"].parse(_relative(work))} if "out" in declared else {}
        _save(_inject(source, given | folder), work / "notebook.ipynb")
        _make(work, out, name=source.stem, values=values, progress=progress)
        done = Run(
            out=out,
            notebook=source.stem,
            parameters=_as_json(values),
            inputs=hashes,
            versions=_versions(),
            commit=_commit(source.absolute().parent),
            started=started.isoformat(timespec="milliseconds"),
            seconds=round(time.perf_counter() - clock, 3),
            files=sorted({"run.json", *_files(work)}),
        )
        done.write(work / "run.json")
        _publish(work, done)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return done


def _make(work: Path, out: Path, *, name: str, values: Mapping[str, Value], progress: bool) -> None:
    """Execute and render inside the temporary folder; keep a failure as out/failed.ipynb."""
    from experiments.pages import render

    path, executed = work / "notebook.ipynb", False
    try:
        _execute(path, name=name, progress=progress)
        _tidy(path, work=work, out=out, values=values)
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


def _execute(path: Path, *, name: str, progress: bool) -> None:
    import papermill
    from traitlets.config import Config

    quiet = logging.getLogger("papermill")  # what it logs it also raises; without a handler Python prints it
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
    return "\n".join([f"Notebook '{name}' failed {where}:", *(_short(line, LINE_WIDTH) for line in lines)])


def _in_a_cell(error: Exception) -> bool:
    return type(error).__name__ == "PapermillExecutionError"  # by name: papermill may be what failed to import


def _mark_killed(document: dict[str, Any], cell: dict[str, Any], text: str) -> None:
    """Put the error into the cell that ran: papermill saves every cell of a killed kernel as completed."""
    shown = {"output_type": "error", "ename": "DeadKernelError", "evalue": text, "traceback": [text]}
    cell.setdefault("outputs", []).append(shown)
    cell["metadata"]["papermill"] |= {"exception": True, "status": "failed"}
    document["metadata"]["papermill"]["exception"] = True


def _first_line(cell: Mapping[str, Any]) -> str:
    return _short(next((line.strip() for line in _text(cell).splitlines() if line.strip()), ""), 100)


def _error_of(cell: Mapping[str, Any]) -> dict[str, Any]:
    return next((output for output in cell.get("outputs", []) if output["output_type"] == "error"), {})


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."


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
