"""Where the files of a test lie: what is about customers in the private folder, pages in `reports`.

A workspace has one private folder, in it a folder for each test. It is apart from `reports/`, which may be shared: it
is for its owner alone, and git never takes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from experiments.common.files import private_folder, relative, writing

NAME, MARK, IGNORE = "private", ".winback", ".gitignore"
ABOUT = """The private folder of a winback workspace: its customers, a folder for each test, and the ledger.
Back it up with the sheets; mail nothing of it.
"""
DATA = "data"  # of the usual workspace: data/spring/sheet.yml and data/autumn/sheet.yml share data/private
LEDGER, TRIAL = "ledger.duckdb", "trial"
# Every kind of file with customers that the product keeps of a test, and what it is; those of an ending can be several.
KINDS = {
    "cohort.parquet": "who is lost, a row each",
    "assignments.parquet": "who is in which arm",
    "calls.parquet": "who was ever on a call list",
    "contacts.parquet": "what came of the calls",
    "calls*.csv": "a call list",
    "calls*.xlsx": "a call list",
    "failed/*.ipynb": "a run that failed",
    "kept/*.parquet": "what a readout needs of somebody forgotten, without the name",
    "trial/*.parquet": "who is lost, in a trial",
}


@dataclass(frozen=True, slots=True)
class Private:
    """The private folder of one test."""

    folder: Path  # <private>/<experiment>

    @property
    def plan(self) -> Path:
        """The locked plan."""
        return self.folder / "plan.yml"

    @property
    def cohort(self) -> Path:
        """Who is lost, as `winback lost` found them."""
        return self.folder / "cohort.parquet"

    @property
    def assignments(self) -> Path:
        """Who is in which arm, as the ledger has it."""
        return self.folder / "assignments.parquet"

    @property
    def contacts(self) -> Path:
        """What came of the calls."""
        return self.folder / "contacts.parquet"

    @property
    def register(self) -> Path:
        """Who was ever on a call list; no names."""
        return self.folder / "calls.parquet"

    @property
    def call_list(self) -> Path:
        """The call list, where no other place is given."""
        return self.folder / "calls.xlsx"

    @property
    def kept(self) -> Path:
        """The folder of what readouts need of those who were forgotten."""
        return self.folder / "kept"

    def make(self) -> Private:
        """Make the folder, for its owner alone. Raises WinbackError where that cannot be."""
        make_private(self.folder.parent)
        with writing(self.folder):
            private_folder(self.folder)
        return self

    def files(self) -> Iterator[Path]:
        """Yield every file with customers that is kept of the test."""
        for pattern in KINDS:
            yield from sorted(self.folder.glob(pattern))


def private_of(folder: Path, experiment: str) -> Private:
    """Return the private folder of a test whose sheet lies in `folder`; nothing is made.

    It is the nearest one at or above the sheet; where there is none yet, the one that `make` will make: `private`
    beside the sheet, or beside its folder in `data/`, or where an earlier version kept the ledger.
    """
    return Private(root_of(folder) / experiment)


def root_of(folder: Path) -> Path:
    """Return the private folder that holds those of all tests, for a sheet in `folder`."""
    home = folder.resolve()
    marked = (place for place in (home, *home.parents) if (place / NAME / MARK).is_file())
    usual = home.parent if home.parent.name == DATA or (home.parent / LEDGER).is_file() else home
    root = next(marked, usual) / NAME
    return root if folder.is_absolute() else Path(relative(root))


def make_private(root: Path) -> None:
    """Make a private folder, if it is not there: for its owner alone, and never taken by git."""
    if (root / MARK).is_file():
        return
    with writing(root):
        root.mkdir(parents=True, exist_ok=True)
        with suppress(PermissionError, NotImplementedError):  # the folder of somebody else, or a disk without modes
            root.chmod(0o700)
        for name, text in ((IGNORE, "*\n"), (MARK, ABOUT)):
            (root / name).write_text(text, encoding="utf-8")


def tests_in(root: Path) -> list[Private]:
    """Return the private folders of all tests of a workspace."""
    there = sorted(root.iterdir()) if root.is_dir() else []
    return [Private(path) for path in there if path.is_dir() and not path.name.startswith(".")]


def trial_folder(notebook: str, sheet: str | Path | None = None) -> Path:
    """Return the folder for the results of a notebook that nobody gave one: it tries.

    `winback` gives every run its folder. Of a notebook opened in JupyterLab, or executed by anything else, the results
    lie in reports/<experiment>/trial/<notebook> of the workspace, and nothing registered is written over.
    """
    from experiments.sheet.sheet import read_sheet

    read = read_sheet(sheet) if sheet is not None else None
    home = (read.folder if read else Path()).resolve()
    workspaces = (
        place for place in (home, *home.parents) if (place / "reports").is_dir() or (place / "notebooks").is_dir()
    )
    return next(workspaces, home) / "reports" / (read.experiment if read else "compare") / TRIAL / notebook
