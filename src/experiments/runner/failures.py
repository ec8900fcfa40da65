"""Why a notebook failed, in a few lines that name the cell; nobody has to read a traceback."""

from collections.abc import Mapping
from typing import Any

from experiments.common.errors import WinbackError, short
from experiments.runner.documents import Cell, Document, source_of

MESSAGE_LINES = 10  # of the error's own text; with its frame a message stays below 15 lines
LINE_WIDTH = 300


class Failure(Exception):  # noqa: N818  # a notebook that failed is no bug of ours
    """A notebook that failed; holds the document as far as it came."""

    def __init__(self, message: str, document: Document) -> None:
        super().__init__(message)
        self.document = document


def failure_of(document: Document, error: Exception, *, name: str, executed: bool) -> Failure:
    """Return where and why a run failed; note a killed kernel in its cell. `executed`: it came to the end."""
    kind, text, where = type(error).__name__, str(error), "while its page was made"
    if not executed:
        started = [cell for cell in document["cells"] if cell["metadata"].get("papermill", {}).get("start_time")]
        cell = next((cell for cell in started if _error_of(cell)), started[-1] if started else None)
        where = f"in the cell that begins `{_first_line(cell)}`" if cell else "before its first cell"
        if cell and is_of_a_cell(error):
            kind, text = _error_of(cell).get("ename", kind), _error_of(cell).get("evalue", "")
        elif cell and kind == "DeadKernelError":
            text = "its Python was killed or ended, most often for lack of memory. Give it less data or more memory."
            _mark_killed(document, cell, text)
    lines = (text if kind == WinbackError.__name__ else f"{kind}: {text}").splitlines()
    if len(lines) > MESSAGE_LINES:
        lines[MESSAGE_LINES - 1 :] = [f"... {len(lines) - MESSAGE_LINES + 1} more lines in the failed notebook"]
    message = [f"Notebook '{name}' failed {where}:", *(short(line, LINE_WIDTH) for line in lines)]
    return Failure("\n".join(message), document)


def is_of_a_cell(error: Exception) -> bool:
    """Return whether an error is that of a cell, as papermill raises it again."""
    return type(error).__name__ == "PapermillExecutionError"  # by name: papermill may be what failed to import


def _error_of(cell: Mapping[str, Any]) -> dict[str, Any]:
    return next((output for output in cell.get("outputs", []) if output["output_type"] == "error"), {})


def _first_line(cell: Cell) -> str:
    return short(next((line.strip() for line in source_of(cell).splitlines() if line.strip()), ""), 100)


def _mark_killed(document: Document, cell: Cell, text: str) -> None:
    """Put the error into the cell that ran: papermill saves every cell of a killed kernel as completed."""
    shown = {"output_type": "error", "ename": "DeadKernelError", "evalue": text, "traceback": [text]}
    cell.setdefault("outputs", []).append(shown)
    cell["metadata"]["papermill"] |= {"exception": True, "status": "failed"}
    document["metadata"]["papermill"]["exception"] = True
