"""Notebooks as JSON documents: which file it is, what its cells say, how parameters get in, what came out."""

import ast
import json
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from experiments.common.errors import WinbackError, did_you_mean

Document = dict[str, Any]  # a notebook of format 4
Cell = dict[str, Any]
Value = bool | int | float | str | date | list[Any] | None
PARAMETERS, INJECTED = "parameters", "injected-parameters"  # tags of cells, as papermill has them
_PACKAGE = Path(__file__).parents[1]
SHIPPED = (_PACKAGE.parents[1] / "notebooks", _PACKAGE / "_notebooks")  # in the repository; where it is installed


def find_notebook(name: str | Path) -> Path:
    """Return a notebook by path, or a shipped one by its stem, its name or its number ("3-readout", "readout", "3").

    A folder `notebooks` where one stands goes before what is shipped. Raises WinbackError.
    """
    if Path(name).is_file():
        return Path(name)
    stems: list[str] = []
    for folder in (Path("notebooks"), *SHIPPED):
        for notebook in sorted(folder.glob("*.ipynb")):
            number, _, rest = notebook.stem.partition("-")
            if str(name).removesuffix(".ipynb") in {notebook.stem, rest, number} - {""}:
                return notebook
            stems.append(notebook.stem)
    nearest = did_you_mean(Path(name).name.removesuffix(".ipynb"), dict.fromkeys(stems))
    raise WinbackError(f"There is no notebook '{name}'. {nearest}")


def load(notebook: Path) -> Document:
    """Read a notebook of format 4; give its cells the ids that format 4.5 wants. Raises WinbackError."""
    try:
        document: Document = json.loads(notebook.read_text(encoding="utf-8-sig"))
        document["metadata"].pop("papermill", None)
        document["nbformat_minor"] = max(5, document.get("nbformat_minor", 0))
        for number, cell in enumerate(document["cells"]):
            cell.setdefault("id", f"cell-{number}")
            cell["source"] = source_of(cell)
            has_tag(cell, PARAMETERS)
    except OSError as error:
        raise WinbackError(f"Notebook '{notebook}' cannot be read: {error.strerror}. Check its path.") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise WinbackError(f"'{notebook}' is no notebook of format 4. Open it in JupyterLab and save it.") from None
    return document


def source_of(cell: Mapping[str, Any]) -> str:
    """Return the source of a cell: a notebook stores a text or a list of lines."""
    return "".join(cell["source"])


def has_tag(cell: Mapping[str, Any], tag: str) -> bool:
    """Return whether a cell is one of code with this tag."""
    return cell["cell_type"] == "code" and tag in cell["metadata"].get("tags", [])


def parameters_cell(document: Document, name: str) -> Cell:
    """Return the one cell tagged "parameters". Raises WinbackError."""
    cells: list[Cell] = [cell for cell in document["cells"] if has_tag(cell, PARAMETERS)]
    if len(cells) != 1:
        count = f"has {len(cells)} code cells" if cells else "has no code cell"
        raise WinbackError(f"Notebook '{name}' {count} tagged \"parameters\". Tag exactly one.")
    return cells[0]


def inject(document: Document, values: Mapping[str, Value], *, name: str) -> Document:
    """Return the notebook with the values as literals in a cell after its parameters cell."""
    cells = own_cells(document)
    lines = ["# Parameters of this run", *(f"{name} = {_literal(value)}" for name, value in values.items())]
    if any(isinstance(value, date) for value in values.values()):
        lines.insert(1, "from datetime import date")
    injected: Cell = {
        "cell_type": "code",
        "id": INJECTED,
        "metadata": {"tags": [INJECTED]},
        "execution_count": None,
        "outputs": [],
        "source": "\n".join(lines),
    }
    cells.insert(cells.index(parameters_cell(document, name)) + 1, injected)
    return document | {"cells": cells}


def own_cells(document: Document) -> list[Cell]:
    """Return the cells of a notebook without the one that a run put in."""
    return [cell for cell in document["cells"] if not has_tag(cell, INJECTED)]


def _literal(value: Value) -> str:
    """Return Python source for the value of a parameter: only literals, never its text as code."""
    return f'date.fromisoformat("{value.isoformat()}")' if isinstance(value, date) else repr(value)


def statements_of(cell: Cell) -> list[ast.stmt]:
    """Return the statements of a cell of code; none where it is no Python, such as a magic."""
    try:
        return ast.parse(source_of(cell)).body if cell["cell_type"] == "code" else []
    except SyntaxError:
        return []


def headline_of(document: Document) -> str:
    """Return the headline of the page: of the first output that says in its metadata that it is a verdict."""
    return next((str(part.get("headline", "")) for part in _parts(document) if part.get("part") == "verdict"), "")


def _parts(document: Document) -> Iterator[Mapping[str, Any]]:
    """Yield what the outputs of a run notebook say about themselves."""
    for cell in document["cells"]:
        for output in cell.get("outputs", []):
            yield output.get("metadata", {}).get("winback", {})
