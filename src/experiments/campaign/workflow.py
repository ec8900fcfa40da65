"""The steps of a test between design and readout: lock, call list, responses, releases, and what the ledger says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.campaign.answers import Imported, import_contacts
from experiments.campaign.assign import cohort_file, ledger_of
from experiments.campaign.call_list import Calls, keep_calls, plan_calls, write_calls
from experiments.campaign.call_rules import sentence
from experiments.campaign.ledger import Ledger
from experiments.campaign.ledger_records import Event, Released, Standing
from experiments.common.errors import WinbackError
from experiments.common.today import today as this_day
from experiments.data.columns import literal
from experiments.data.spreadsheets import list_separator, read_list
from experiments.data.tables import columns_of, connect, read
from experiments.sheet.locked_plan import Plan, lock, read_plan, refuse_deviations
from experiments.sheet.sheet import Sheet, loaded

if TYPE_CHECKING:
    import duckdb

REGISTER = "calls.parquet"  # who was ever on a list of the test; no names
CONTACTS = "contacts.parquet"
USED = ("customers", "reasons", "contacts")  # tables that a call list uses where they are there


def lock_plan(
    sheet: Sheet | str | Path,
    *,
    cohort: str | Path | None = None,
    customers: int | None = None,
    today: date | None = None,
) -> Plan:
    """Freeze a sheet and its cohort into plan.yml beside the sheet, so that later changes show; return the plan.

    `sheet`: a path, or a sheet that was loaded from one. `cohort`: cohort.parquet of `find_lost`; left out, where
    `winback lost` writes it. `customers` to assign: the sheet's, else all who can be contacted. `today`: the day of
    the lock, in UTC. The same plan again changes nothing. Raises WinbackError: another plan is locked already, too few
    customers, a cohort without a factor of `strata`.

        plan = lock_plan("data/spring/sheet.yml", customers=4_000)
    """
    content = loaded(sheet)
    return lock(content, cohort=cohort_file(content, cohort), customers=customers, today=today or this_day())[0]


@contextmanager
def _booked(sheet: Sheet) -> Iterator[tuple[duckdb.DuckDBPyConnection, Ledger]]:
    """Open an engine with the test's customers, as booked, in the table `booked`."""
    with connect() as con, ledger_of(sheet, con, read_only=True) as ledger:
        ledger.assigned(sheet.experiment, into="booked")
        yield con, ledger


def write_call_list(
    sheet: Sheet | str | Path, *, out: str | Path, cohort: str | Path | None = None, replace: bool = False
) -> Calls:
    """Write the call list of an assigned test, CSV or XLSX by the ending of `out`; return what is on it, in numbers.

    `cohort`: as the plan was locked with; left out, where `winback lost` writes it. `replace`: write over a list, into
    which somebody may have written. Nothing is written where a rule of `contacts` says stop. Raises WinbackError.
    """
    content, file = loaded(sheet), Path(out)
    lost = cohort_file(content, cohort)
    if not lost.is_file():
        raise WinbackError(f"There is no cohort {lost}. Make it: `winback lost <sheet>`.")
    with _booked(content) as (con, ledger):
        if plan := read_plan(content.folder, content.experiment):
            refuse_deviations(plan, content)  # callers promise what was planned
        con.execute(f"CREATE TEMP VIEW cohort AS SELECT * FROM read_parquet({literal(lost)})")
        there = {name: name if _read_there(con, content, name) else None for name in USED}
        reasons = content.lost.reasons if content.lost else {}
        causes = {name: cause.fixed for name, cause in reasons.items() if cause.ours}
        calls = plan_calls(
            con,
            content,
            rules=content.contacts,
            causes=causes,
            folder=content.folder,
            assigned="booked",
            customers=there["customers"],
            reasons=there["reasons"],
            contacts=there["contacts"],
        )
        if calls.stops:
            broken = "\n".join(f"  {sentence(violation)}" for violation in calls.stops)
            raise WinbackError(f"No list yet; first cure what breaks the rules of contact:\n{broken}")
        ledger.refuse_holdout("calls")
        write_calls(con, file, rules=content.contacts, separator=list_separator(content.language), replace=replace)
        keep_calls(con, content.folder / REGISTER)
    return calls


def _read_there(con: duckdb.DuckDBPyConnection, sheet: Sheet, name: str) -> bool:
    """Read a table of the sheet if it is there; tell whether it is."""
    source = sheet.tables.get(name)
    if source is None or not source.there(sheet.folder):
        return False
    read(con, name, source, folder=sheet.folder, conventions=sheet.conventions)
    return True


def read_responses(
    sheet: Sheet | str | Path, file: str | Path, *, today: date | None = None, replace: bool = False
) -> Imported:
    """Read a filled call list back into the table contacts: all of it or nothing; return where its rows went.

    `file`: CSV or XLSX that `write_call_list` wrote and callers filled in. `today`, in UTC: no contact may be later.
    `replace`: what the list says takes the place of what was read before; else a contradiction is refused. The same
    list twice adds nothing. Raises WinbackError.
    """
    content = loaded(sheet)
    into = (
        content.tables["contacts"].written(content.folder)
        if "contacts" in content.tables
        else content.folder / CONTACTS
    )
    with _booked(content) as (con, _):
        return import_contacts(
            con,
            file,
            experiment=content.experiment,
            holdout=content.holdout,
            into=into,
            today=today or this_day(),
            register=content.folder / REGISTER,
            assigned="booked",
            conventions=content.conventions,
            replace=replace,
        )


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


def read_books(sheet: Sheet | str | Path, *, customer: str | None = None) -> Books:
    """Return what stands in the ledger: every experiment, and the history of a customer. Raises WinbackError."""
    content = loaded(sheet)
    with connect() as con, ledger_of(content, con, read_only=True) as ledger:
        return Books(
            experiments=ledger.experiments(),
            contacted=_contacted(con, content),
            wrong=ledger.audit(),
            history=ledger.history(customer) if customer is not None else (),
        )


def _contacted(con: duckdb.DuckDBPyConnection, sheet: Sheet) -> dict[str, int]:
    """Return how many customers of each experiment stand in the table contacts."""
    if not _read_there(con, sheet, "contacts"):
        return {}
    name = "experiment" if "experiment" in columns_of(con, "contacts") else literal(sheet.experiment)
    counted = f"SELECT {name}, count(DISTINCT customer_id) FROM contacts WHERE {name} IS NOT NULL GROUP BY 1"
    return dict(con.execute(counted).fetchall())


def release(
    sheet: Sheet | str | Path,
    customers: Sequence[str] = (),
    *,
    file: Path | None = None,
    reason: str,
    by: str,
    today: date,
) -> Released:
    """Give customers their chance back: those named, or those of a list with the column customer_id.

    All of them or none; the reason stays in the history. Raises WinbackError, also for a customer never assigned.
    """
    if bool(customers) == (file is not None):
        raise WinbackError("Say who gets the chance back: either customers, or a file with a column customer_id.")
    content = loaded(sheet)
    if file is not None:
        listed = read_list(file, wanted=("customer_id",), needed="customer_id")
        customers = [row["customer_id"] or "" for row in listed]
        if not customers:
            raise WinbackError(f"{file.name} has a header but no customers. Nobody was released.")
    with ledger_of(content) as ledger:
        return ledger.release(customers, reason=reason, by=by, at=today)
