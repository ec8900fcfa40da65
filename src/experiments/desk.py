"""The desk of the head of sales: from the ledger to a call list, and what happened back into the table contacts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.answers import Imported, import_contacts
from experiments.assignment import address_of
from experiments.calls import Calls, keep_calls, plan_calls, write_calls
from experiments.cells import literal
from experiments.errors import WinbackError
from experiments.ledger import Ledger, open_ledger
from experiments.plan import Sheet, read_sheet
from experiments.tables import connect, read

if TYPE_CHECKING:
    import duckdb

REGISTER = "calls.parquet"  # who was ever on a list of the test; no names
CONTACTS = "contacts.parquet"


@contextmanager
def _booked(sheet: Sheet, folder: Path) -> Iterator[tuple[duckdb.DuckDBPyConnection, Ledger]]:
    """Open an engine with the test's customers, as booked, in the table `booked`."""
    with connect() as con, open_ledger(address_of(sheet, folder), con, read_only=True) as ledger:
        ledger.assigned(sheet.experiment, into="booked")
        yield con, ledger


def list_contacts(sheet: str | Path, *, cohort: Path, out: Path, replace: bool = False) -> Calls:
    """Write the call list of a test, CSV or XLSX; nothing is written where a rule says stop. Raises WinbackError."""
    content, folder = read_sheet(sheet)
    if not cohort.is_file():
        raise WinbackError(f"There is no cohort {cohort}. Make it: `winback lost <sheet>`.")
    with _booked(content, folder) as (con, ledger):
        con.execute(f"CREATE TEMP VIEW cohort AS SELECT * FROM read_parquet({literal(cohort)})")
        there: dict[str, str | None] = dict.fromkeys(("customers", "reasons", "contacts"))
        for name in there:
            source = content.tables.get(name)
            if source and (folder / source.file).is_file():
                read(con, name, source, folder=folder, decimals=content.decimals)
                there[name] = name
        causes = (
            {name: cause.fixed for name, cause in content.lost.reasons.items() if cause.ours} if content.lost else {}
        )
        calls = plan_calls(
            con,
            content,
            rules=content.contacts,
            causes=causes,
            folder=folder,
            assigned="booked",
            customers=there["customers"],
            reasons=there["reasons"],
            contacts=there["contacts"],
        )
        if calls.stops:
            told = "\n".join(f"  {violation}" for violation in calls.stops)
            raise WinbackError(f"No list yet; first cure what breaks the rules of contact:\n{told}")
        ledger.refuse_holdout("calls")
        out.parent.mkdir(parents=True, exist_ok=True)
        write_calls(con, out, rules=content.contacts, replace=replace)
        keep_calls(con, folder / REGISTER)
    return calls


def take_answers(sheet: str | Path, file: Path, *, today: date, replace: bool = False) -> Imported:
    """Read a filled call list back into the table contacts: all of it or nothing. Raises WinbackError."""
    content, folder = read_sheet(sheet)
    into = folder / (content.tables["contacts"].file if "contacts" in content.tables else CONTACTS)
    with _booked(content, folder) as (con, _):
        return import_contacts(con, file, experiment=content.experiment, holdout=content.holdout, today=today,
                               register=folder / REGISTER, into=into, assigned="booked", replace=replace)  # fmt: skip
