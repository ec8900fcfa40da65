"""What earlier versions kept of a test beside its sheet moves into its private folder, once, and is said."""

from __future__ import annotations

import logging
from pathlib import Path

from experiments.campaign.ledger_store import moved_file
from experiments.common.files import clear_parts
from experiments.common.locks import locked
from experiments.data.columns import literal
from experiments.data.tables import columns_of, connect, write_parquet
from experiments.sheet.locked_plan import FILE, plan_file, read_plan
from experiments.sheet.places import LEDGER
from experiments.sheet.sheet import Sheet

log = logging.getLogger(__name__)


def settle(sheet: Sheet) -> Sheet:
    """Move plan, cohort, lists, contacts and ledger of a test into its private folder, where they lie elsewhere yet.

    What belongs to several tests is divided. Return the sheet, which knows its tables where they are now. Raises
    WinbackError where the folder cannot be written.
    """
    private, folder = sheet.private.make(), sheet.folder
    if plan_file(sheet) != private.plan and read_plan(sheet) is not None:
        _move(folder / FILE, private.plan)
    for old in (Path("reports"), folder / "reports", folder.parent.parent / "reports"):
        _move(old / sheet.experiment / "1-lost" / private.cohort.name, private.cohort)
    for new in (private.register, private.contacts, private.assignments):
        if new.stem not in sheet.tables or new.stem in sheet.made:  # what the sheet names stays where it is
            _divide(folder / new.name, new, sheet.experiment)
    if sheet.ledger is None:
        old, new = folder.parent / LEDGER, private.folder.with_name(LEDGER)
        if old.is_file() and not new.exists() and moved_file(old, new):
            log.warning("The ledger moved: %s is %s now.", old, new)
    return sheet.at(folder)


def _move(old: Path, new: Path) -> None:
    if old.is_file() and not new.exists():
        with locked(new):
            old.rename(new)
            new.chmod(0o600)
        log.warning("Moved into the private folder: %s is %s now.", old, new)


def _divide(old: Path, new: Path, experiment: str) -> None:
    """Take the rows of a test out of a file that several share; the file goes when nothing is left in it."""
    if not old.is_file() or new.exists():
        return
    with locked(new), locked(old), connect() as con:
        rows = f"read_parquet({literal(old)})"
        if "experiment" not in columns_of(con, f"SELECT * FROM {rows}"):
            return
        con.execute(f"CREATE TEMP TABLE ours AS SELECT * FROM {rows} WHERE experiment = {literal(experiment)}")
        con.execute(
            f"CREATE TEMP TABLE others AS SELECT * FROM {rows} WHERE experiment IS DISTINCT FROM {literal(experiment)}"
        )
        (ours, others) = con.execute("SELECT (SELECT count(*) FROM ours), (SELECT count(*) FROM others)").fetchall()[0]
        if not ours:
            return
        clear_parts(new)
        write_parquet(con, "ours", new, private=True)
        if others:
            write_parquet(con, "others", old, private=True)
        else:
            old.unlink()
    log.warning("Moved into the private folder: %s rows of %s are in %s now.", f"{ours:,}", old, new)
