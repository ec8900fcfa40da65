"""A workspace of one's own outside the repository: a sheet to start from, the notebooks, sample data."""

from __future__ import annotations

import shutil
from pathlib import Path

from experiments.common.errors import WinbackError
from experiments.sheet.places import NAME as PRIVATE
from experiments.sheet.places import make_private

EXAMPLE = "telecom"
HELLO = """# A winback workspace

    winback check data/telecom/sheet.yml      is the sheet right, and do the tables fit?
    winback lost data/telecom/sheet.yml       whom did we lose, why, and whom to win back first?
    winback design data/telecom/sheet.yml     what can a test tell, and what does it cost?
    winback readout data/telecom/sheet.yml    read the test; the page lies in reports/
    winback lab                               open the notebooks here in JupyterLab

`data/telecom` is a simulated company. For your own, copy its folder, write the sheet anew, put your tables beside it.
`data/private` holds what is about customers: who is in which test, call lists, answers, the ledger. It is yours
alone; `reports/` may be shared. `notebooks/` are copies, yours to change:
`winback run notebooks/3-readout.ipynb -p horizon_months=12` runs yours.
"""
IGNORED = "reports/\nprivate/\n*.parquet\n*.duckdb\n*.csv\n*.xls*\n*.ods\n.ipynb_checkpoints/\n"


def make_workspace(folder: Path, *, customers: int) -> list[Path]:
    """Make a workspace in a new or empty folder; return what was made.

    `customers`: lost customers to simulate as sample data; 0: none. Raises WinbackError where something is in the way.
    """
    from experiments.runner.documents import find_notebook

    refuse_occupied(folder)
    try:
        (folder / "notebooks").mkdir(parents=True)
    except OSError as error:
        raise WinbackError(f"{folder} cannot be made: {error.strerror}. Name another folder.") from None
    shipped = sorted(find_notebook("3-readout").parent.glob("[0-9]*.ipynb"))
    for notebook in shipped:
        shutil.copyfile(notebook, folder / "notebooks" / notebook.name)
    home = copy_example(EXAMPLE, folder / "data")
    (folder / "README.md").write_text(HELLO, encoding="utf-8")
    (folder / ".gitignore").write_text(IGNORED, encoding="utf-8")
    make_private(folder / "data" / PRIVATE)
    if customers:
        from experiments.simulate.telecom import simulate

        simulate(home, customers=customers, seed=7, experiment=EXAMPLE)
    return [folder / "README.md", home / "sheet.yml", folder / "notebooks"]


def refuse_occupied(folder: Path) -> None:
    """Raise WinbackError where a workspace would lie over something."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        what = "not empty" if folder.is_dir() else "a file"
        raise WinbackError(f"{folder} is {what}. Name a new folder: nothing is written over.")


def copy_example(name: str, data: Path) -> Path:
    """Copy an example sheet into data/<name> where none is there yet; return its folder."""
    target = data / name
    if not (target / "sheet.yml").is_file():
        here = Path(__file__).parents[1]
        homes = [here.parents[1] / "data", here / "_data"]
        sheet = next(home / name / "sheet.yml" for home in homes if (home / name / "sheet.yml").is_file())
        target.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(sheet, target / "sheet.yml")
    return target
