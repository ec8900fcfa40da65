"""The steps of a test between design and readout: lock, call list, responses, releases, and what the ledger says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.campaign.answers import Imported, import_contacts
from experiments.campaign.assign import cohort_file, write_assignments
from experiments.campaign.call_list import Calls, keep_calls, plan_calls, write_calls
from experiments.campaign.call_rules import sentence
from experiments.campaign.consent import find_allowed
from experiments.campaign.ledger import Ledger
from experiments.campaign.ledger_records import Event, Released, Standing
from experiments.campaign.settle import settle
from experiments.campaign.sheet_ledger import booked_plan, ledger_of
from experiments.common.errors import WinbackError
from experiments.common.files import private_folder
from experiments.common.locks import locked
from experiments.common.today import today as this_day
from experiments.data.columns import literal
from experiments.data.identity import same
from experiments.data.pseudonyms import pseudonyms
from experiments.data.spreadsheets import list_separator, read_list
from experiments.data.tables import columns_of, complete, connect, read
from experiments.sheet.locked_plan import Plan, amended, lock, read_plan, refuse_deviations, write_plan
from experiments.sheet.sheet import Sheet, loaded

if TYPE_CHECKING:
    import duckdb

USED = ("customers", "reasons", "contacts", "consents")  # tables that a call list uses where they are there


def lock_plan(
    sheet: Sheet | str | Path,
    *,
    cohort: str | Path | None = None,
    customers: int | None = None,
    today: date | None = None,
) -> Plan:
    """Freeze a sheet and its cohort into the plan of its test, so that later changes show; return the plan.

    `sheet`: a path, or a sheet that was loaded from one. `cohort`: cohort.parquet of `find_lost`; left out, where
    `winback lost` writes it. `customers` to assign: the sheet's, else all who can be contacted. `today`: the day of
    the lock, in UTC. The same plan again changes nothing. Raises WinbackError: another plan is locked already, too few
    customers, a cohort without a factor of `strata`.

        plan = lock_plan("data/spring/sheet.yml", customers=4_000)
    """
    content = settle(loaded(sheet))
    if read_plan(content) is None and booked_plan(content):
        raise WinbackError(
            f"{content.experiment} was locked and booked before, and its plan is gone: no {content.private.plan}. Put "
            "it back from a backup; a new test needs another name."
        )
    return lock(content, cohort=cohort_file(content, cohort), customers=customers, today=today or this_day())[0]


def amend_plan(
    sheet: Sheet | str | Path,
    *,
    reason: str,
    by: str,
    stop: Sequence[str] = (),
    paused: bool = False,
    today: date | None = None,
) -> Plan:
    """Change a locked plan to what its sheet says now, on record: a second sha256, told on every page.

    `stop`: arms of which nobody is called any more; `paused`: nobody is called until the next amendment. Customers stay
    in the arms they were drawn into, and estimates are per assigned customer. Killed in the middle, run it again.
    Raises WinbackError: no plan, no reason, nothing to change, or a change of what customers were drawn by.
    """
    content, at = settle(loaded(sheet)), today or this_day()
    path = content.private.plan
    with locked(path):
        plan = read_plan(content)
        if plan is None:
            raise WinbackError(
                f"There is no locked plan to amend: no {path}. `winback design <sheet> --lock` makes one."
            )
        known = booked_plan(content)
        if known is None or known == plan.sha256:
            plan = amended(plan, content, reason=reason, by=by, at=at, stop=stop, paused=paused)
            write_plan(plan, path)  # before it is booked: else nobody had what the ledger knows
        if known is not None:
            _book_amendments(content, plan, known)
    return plan


def _book_amendments(sheet: Sheet, plan: Plan, known: str) -> None:
    """Book the amendments of a plan that the ledger, which knows the plan as of `known`, has not yet."""
    hashes = plan.sha256s
    if known not in hashes:
        raise WinbackError("The plan is not the one that was booked. Put that one back from a backup.")
    with ledger_of(sheet) as ledger:
        for place in range(hashes.index(known), len(plan.amendments)):
            one = plan.amendments[place]
            ledger.amend(
                sheet.experiment, before=hashes[place], plan_hash=hashes[place + 1], reason=one.reason, by=one.by,
                at=max(one.at, ledger.bookings()[-1].at),
            )  # fmt: skip


@contextmanager
def _booked(sheet: Sheet) -> Iterator[tuple[duckdb.DuckDBPyConnection, Ledger]]:
    """Open an engine with the test's customers, as booked, in the table `booked`."""
    with connect() as con, ledger_of(sheet, con, read_only=True) as ledger:
        ledger.assigned(sheet.experiment, into="booked")
        yield con, ledger


def write_call_list(
    sheet: Sheet | str | Path, *, out: str | Path | None = None, cohort: str | Path | None = None, replace: bool = False
) -> Calls:
    """Write the call list of an assigned test, CSV or XLSX by the ending of `out`; return what is on it, in numbers.

    `cohort`: as the plan was locked with; left out, where `winback lost` writes it. `replace`: write over a list, into
    which somebody may have written. Nothing is written where a rule of `contacts` says stop. Raises WinbackError.
    """
    content = settle(loaded(sheet))
    file = Path(out) if out is not None else content.private.call_list
    lost = cohort_file(content, cohort)
    if not lost.is_file():
        raise WinbackError(f"There is no cohort {lost}. Make it: `winback lost <sheet>`.")
    with _booked(content) as (con, ledger):
        if plan := read_plan(content):
            refuse_deviations(plan, content)  # callers promise what was planned
            if plan.paused:
                raise WinbackError(
                    f"The test is paused since {plan.amendments[-1].at}: {plan.amendments[-1].reason}. Nobody is "
                    "called. Go on with it: `winback amend <sheet> --resume --reason ...`."
                )
        con.execute(f"CREATE TEMP VIEW cohort AS SELECT * FROM read_parquet({literal(lost)})")
        there = _tables_there(con, content)
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
            consents=there["consents"],
            stopped=plan.stopped if plan else (),
        )
        if calls.stops:
            broken = "\n".join(f"  {sentence(violation)}" for violation in calls.stops)
            raise WinbackError(f"No list yet; first cure what breaks the rules of contact:\n{broken}")
        ledger.refuse_holdout("calls")
        with locked(content.private.register):
            write_calls(con, file, rules=content.contacts, separator=list_separator(content.language), replace=replace)
            keep_calls(con, content.private.register)
    return calls


def _tables_there(con: duckdb.DuckDBPyConnection, sheet: Sheet) -> dict[str, str | None]:
    """Read the tables that a call list uses, where they are there; of consents, who allows what stands for them."""
    there = {name: name if _read_there(con, sheet, name) else None for name in USED}
    if there["consents"]:
        complete(con, "consents", like="consents", known=True)
        find_allowed(con, sheet.contacts.channel_names, day=this_day())
        there["consents"] = "allowed"
    return there


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
    content = settle(loaded(sheet))
    source = content.tables.get("contacts")
    into = source.written(content.folder) if source else content.private.contacts
    private_folder(into.parent)
    with locked(into), _booked(content) as (con, _):
        return import_contacts(
            con,
            file,
            experiment=content.experiment,
            holdout=content.holdout,
            into=into,
            today=today or this_day(),
            register=content.private.register,
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
            history=_history(ledger, customer) if customer is not None else (),
        )


def _history(ledger: Ledger, customer: str) -> tuple[Event, ...]:
    """Return what happened to a customer, also to one who was forgotten since, where the key is at hand."""
    words = pseudonyms()
    return ledger.history(customer) or (ledger.history(words.of(same(customer))) if words else ())


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
    with connect() as con, ledger_of(content, con) as ledger:
        done = ledger.release(customers, reason=reason, by=by, at=today)
        if any(standing.booking.experiment == content.experiment for standing in ledger.experiments()):
            write_assignments(con, ledger, content)
    return done
