"""Small notebooks for tests of what runs them, and the processes that do."""

import os
import time
from pathlib import Path

import nbformat

HANGS = 300.0  # seconds that nothing takes but a hang, on however busy a machine


def make(path, parameters="", *cells):
    """Write a notebook with parameters cells and others after them."""
    written = nbformat.v4.new_notebook()
    for source in [parameters] if isinstance(parameters, str) else parameters:
        written.cells.append(nbformat.v4.new_code_cell(source, metadata={"tags": ["parameters"]}))
    written.cells += [nbformat.v4.new_code_cell(source) for source in cells]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(written, path)
    return path


def outputs(folder):
    """Return the outputs of an executed notebook, cell by cell."""
    return [cell.get("outputs", []) for cell in nbformat.read(folder / "notebook.ipynb", as_version=4).cells]


def leftovers(folder):
    return list(Path(folder).rglob(".*"))


def wait_until(true, process=None):
    """Wait for an event; in vain if the process it is to come from has ended."""
    end = time.monotonic() + HANGS
    while not true():
        ended = process is not None and process.poll() is not None
        assert true() or not ended, f"it ended with {process.returncode}, and nothing came of it"
        assert time.monotonic() < end, "it hangs"
        time.sleep(0.02)


def alive(process):
    """Return whether a process runs; one that ended and waits for its parent does not."""
    try:
        os.kill(process, 0)
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except FileNotFoundError:  # no /proc on this system
        return True
