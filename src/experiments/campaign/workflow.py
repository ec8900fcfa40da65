"""The desk of the head of sales: from the ledger to a call list, answers back into the table contacts, releases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.campaign.answers import Imported, import_contacts
from experiments.campaign.assign import address_of
from experiments.campaign.call_list import Calls, keep_calls, plan_calls, write_calls
from experiments.campaign.ledger import Event, Ledger, Released, Standing, open_ledger
from experiments.common.errors import WinbackError
from experiments.data.columns import literal
from experiments.data.spreadsheets import read_list
from experiments.data.tables import columns_of, connect, read
from experiments.sheet.locked_plan import read_plan, refuse_deviations
from experiments.sheet.sheet import Sheet, read_sheet

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
        if plan := read_plan(folder, content.experiment):
            refuse_deviations(plan, content)  # callers promise what was planned
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What stands in the ledger of a sheet."""

    experiments: tuple[Standing, ...]
    contacted: Mapping[str, int]  # experiment: customers, as far as the sheet's table `contacts` knows
    wrong: tuple[str, ...]  # what was changed behind the ledger's back
    history: tuple[Event, ...]  # of the customer asked for

    def lines(self) -> Iterator[str]:
        """Yield a line for each experiment."""
        for standing in self.experiments:
            contacted = self.contacted.get(str(standing.booking.experiment))
            yield f"{standing}; {'contacts not known here' if contacted is None else f'{contacted:,} contacted'}"


def read_books(sheet: str | Path, *, customer: str | None = None) -> Books:
    """Return what stands in the ledger: every experiment, and the history of a customer. Raises WinbackError."""
    content, folder = read_sheet(sheet)
    with connect() as con, open_ledger(address_of(content, folder), con, read_only=True) as ledger:
        return Books(
            experiments=ledger.experiments(),
            contacted=_contacted(con, content, folder),
            wrong=ledger.audit(),
            history=ledger.history(customer) if customer is not None else (),
        )


def _contacted(con: duckdb.DuckDBPyConnection, sheet: Sheet, folder: Path) -> dict[str, int]:
    """Return how many customers of each experiment stand in the table contacts."""
    source = sheet.tables.get("contacts")
    if source is None or not (folder / source.file).is_file():
        return {}
    read(con, "contacts", source, folder=folder, decimals=sheet.decimals)
    name = "experiment" if "experiment" in columns_of(con, "contacts") else literal(sheet.experiment)
    counted = f"SELECT {name}, count(DISTINCT customer_id) FROM contacts WHERE {name} IS NOT NULL GROUP BY 1"
    return dict(con.execute(counted).fetchall())


def release(
    sheet: str | Path, customers: Sequence[str] = (), *, file: Path | None = None, reason: str, by: str, today: date
) -> Released:
    """Give customers their chance back: those named, or those of a list with the column customer_id.

    All of them or none; the reason stays in the history. Raises WinbackError, also for a customer never assigned.
    """
    if bool(customers) == (file is not None):
        raise WinbackError("Say who gets the chance back: either customers, or a file with a column customer_id.")
    content, folder = read_sheet(sheet)
    if file is not None:
        listed = read_list(file, wanted=("customer_id",), needed="customer_id")
        customers = [row["customer_id"] or "" for row in listed]
        if not customers:
            raise WinbackError(f"{file.name} has a header but no customers. Nobody was released.")
    with open_ledger(address_of(content, folder)) as ledger:
        return ledger.release(customers, reason=reason, by=by, at=today)
