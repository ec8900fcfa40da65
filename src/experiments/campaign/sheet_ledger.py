"""The ledger that a sheet names: where it lies, opened with its password, and what it knows of the sheet's plan."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.campaign.ledger import Ledger, open_ledger
from experiments.sheet.ledger_address import read_address
from experiments.sheet.places import LEDGER
from experiments.sheet.sheet import Sheet

if TYPE_CHECKING:
    import duckdb


def address_of(sheet: Sheet) -> str:
    """Return where the ledger of a sheet lies."""
    if sheet.ledger is None:
        own, old = sheet.private.folder.with_name(LEDGER), sheet.folder.parent / LEDGER
        return str(old if old.is_file() and not own.is_file() else own)
    return sheet.ledger if read_address(sheet.ledger) else str((sheet.folder / sheet.ledger).absolute())


def ledger_of(
    sheet: Sheet, con: duckdb.DuckDBPyConnection | None = None, *, create: bool = False, read_only: bool = False
) -> AbstractContextManager[Ledger]:
    """Open the ledger of a sheet, with the password that it tells the place of; as `open_ledger` does."""
    variable = sheet.ledger_password
    return open_ledger(address_of(sheet), con, create=create, read_only=read_only, password_variable=variable)


def is_begun(sheet: Sheet) -> bool:
    """Tell whether the ledger of a sheet was begun, as far as that is known without asking a server."""
    address = address_of(sheet)
    return read_address(address) is not None or Path(address).is_file()


def booked_plan(sheet: Sheet) -> str | None:
    """Return the sha256 that the ledger of a sheet has of its plan; None where it is not booked, or nobody is yet.

    Raises WinbackError where the ledger cannot be asked.
    """
    if not is_begun(sheet):
        return None
    with ledger_of(sheet, read_only=True) as ledger:
        return ledger.plan_hash(sheet.experiment)
