"""The page of a finished run in another language: from its result as JSON, without its tables or a kernel."""

import ast
import json
import re
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from experiments.common.errors import WinbackError
from experiments.common.files import whole_file, workshop
from experiments.common.language import ENGLISH, speaking
from experiments.common.results import Result
from experiments.common.run_records import Run, believe, changed, find_run, gone_or_changed, save
from experiments.runner.documents import SHIPPED, Cell, Document, load, own_cells, source_of, statements_of
from experiments.runner.failures import Failure
from experiments.runner.notebooks import prepare, produce
from experiments.runner.parameters import parameters_of, typed

RESULTS = {  # what a notebook writes last: the class that reads it
    "lost.json": "lost.results:Cohort",
    "design.json": "design.design:Design",
    "readout.json": "readout.readout:Readout",
    "pooled.json": "stats.meta_analysis:Knowledge",
    "sweep.json": "compare.sweep:Sweep",
}
SPOKEN = re.compile(r'<html lang="(\w+)"')


def render_again(folder: str | Path, *, language: str | None = None, page: Path | None = None) -> Path:
    """Render the page of a finished run again; return the new page, `page.<language>.html` beside the run's.

    The sections of a shipped notebook are functions of its result: they are called here, on what the run wrote. A
    notebook with cells of one's own is run again, from the inputs it had. The run itself stays as it is. `language`:
    that of the run's page where none is given. Raises WinbackError.
    """
    run = find_run(folder)
    language = language or _language_of(run.page)
    page = page or run.out / f"page.{language}.html"
    if page.absolute() == run.page.absolute():
        raise WinbackError(f"'{page}' is the page of the run itself. Name another file, or run {run.notebook} again "
                           f"in that language: --lang {language}.")  # fmt: skip
    for name in sorted({"notebook.ipynb", *RESULTS} & {*run.files}):
        believe(run.out / name)
    document = json.loads((run.out / "notebook.ipynb").read_bytes())
    sections = sections_of(document, run)
    with workshop(run.out) as work:
        if sections is None:
            _run_again(run, work, language=language)
        else:
            _render(document, sections, work, language=language)
        with whole_file(page) as part:
            shutil.copyfile(work / "page.html", part)
    return page


def _language_of(page: Path) -> str:
    found = SPOKEN.search(page.read_text(encoding="utf-8")) if page.is_file() else None
    return found[1] if found else ENGLISH


@dataclass(frozen=True, slots=True)
class Sections:
    """The sections of a page: where they stand in the notebook, their code, and the values its names have."""

    calls: Mapping[int, ast.expr]  # place of the cell: `report.<section>(...)`
    values: Mapping[str, Any]


def sections_of(document: Document, run: Run) -> Sections | None:
    """Return the sections of a run's page; None where its notebook is not as shipped, or they need more than JSON."""
    source = next((path for home in SHIPPED if (path := home / f"{run.notebook}.ipynb").is_file()), None)
    if source is None or _code(document) != _code(load(source)):
        return None
    calls, imports, written = {}, [], None
    for place, cell in enumerate(document["cells"]):
        for statement in statements_of(cell):
            match statement:
                case ast.ImportFrom(module="experiments.report"):
                    imports += statement.names
                case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id="report"))) as call):
                    calls[place] = call
                case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="write"), args=[file])):
                    written = name, ast.unparse(file)
    result = next((run.out / name for name in RESULTS if written and f"/{name}" in written[1]), None)
    if written is None or result is None or not result.is_file():
        return None
    values: dict[str, Any] = dict(typed(parameters_of(source), run.parameters, notebook=run.notebook))
    for module in imports:
        values[module.asname or module.name] = import_module(f"experiments.report.{module.name}")
    values[written[0]] = _load(result)
    names = {node.id for call in calls.values() for node in ast.walk(call) if isinstance(node, ast.Name)}
    return Sections(calls, values) if names <= values.keys() else None


def _code(document: Document) -> list[str]:
    return [source_of(cell) for cell in own_cells(document) if cell["cell_type"] == "code"]


def _load(path: Path) -> object:
    home, name = RESULTS[path.name].split(":")
    kind: type[Result] = getattr(import_module(f"experiments.{home}"), name)
    return kind.load(path)


def _render(document: Document, sections: Sections, work: Path, *, language: str) -> None:
    """Put the sections in this language into the notebook and render it into the folder."""
    from experiments.report.page import render

    values = {**sections.values, "language": language}
    with speaking(language):
        for place, call in sections.calls.items():
            # The cells are those of a shipped notebook, word by word.
            shown = eval(compile(ast.Expression(call), "<section>", "eval"), values)  # noqa: S307
            document["cells"][place]["outputs"] = [_output(shown)]
    save(document, work / "notebook.ipynb")
    render(work / "notebook.ipynb", work / "page.html")


def _output(shown: object) -> Cell:
    from IPython.core.formatters import DisplayFormatter

    data, metadata = DisplayFormatter().format(shown)  # type: ignore[no-untyped-call]
    return {"output_type": "execute_result", "data": data, "metadata": metadata, "execution_count": None}


def _run_again(run: Run, work: Path, *, language: str) -> None:
    """Run the notebook that a run kept again, in this language, in a temporary folder."""
    if "language" not in run.parameters:
        raise WinbackError(f"Notebook '{run.notebook}' has no parameter `language`: its page speaks one only.")
    warnings.warn(f"Notebook '{run.notebook}' shows more than its result holds: it is run again.", stacklevel=3)
    parameters = run.parameters | {"language": language}
    job = prepare(run.out / "notebook.ipynb", parameters, out=run.out, inputs=map(Path, run.inputs))
    gone, other = gone_or_changed(run.modules)
    if other := [*changed(run.inputs, job.record.inputs), *gone, *other]:
        raise WinbackError(f"The inputs of '{run.out}' are not as they were: {'; '.join(other)}. Run it again.")
    job = replace(job, record=replace(job.record, notebook=run.notebook))
    try:
        produce(job, work, progress=False)
    except Failure as failed:
        raise WinbackError(str(failed)) from failed.__cause__
