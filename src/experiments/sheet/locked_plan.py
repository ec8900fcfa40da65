"""The locked plan: what was registered before anybody was contacted, so that later changes show.

`plan.yml` lies beside the sheet: the sheet as it was, the cohort it is about, how many customers, the sha256 of all.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from experiments.common.errors import WinbackError, did_you_mean
from experiments.common.files import write_text
from experiments.data.columns import literal, quote
from experiments.data.tables import Account, columns_of, complete, connect, noted, read, refuse_duplicates
from experiments.sheet.ledger_address import read_address
from experiments.sheet.offers import Offer
from experiments.sheet.sheet import SEPARATOR, Sheet, files_of, loaded

if TYPE_CHECKING:
    import duckdb

FILE = "plan.yml"
ASSIGNED = "assigned"  # the setting of a deviation that is no setting of the sheet
FREE = (
    "tables",
    "followed_until",
    "design",
    "contacts",
    "ledger",
    "ledger_password",
    "sweep",
    "language",
)  # may come or change later
HEAD = "# A locked plan: do not edit. Whoever changes it, or the sheet, finds that on the page of the readout.\n"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What was registered."""

    experiment: str
    locked_on: date
    customers: int  # to assign
    cohort_customers: int  # contactable
    cohort_sha256: str  # of cohort.parquet
    sheet: dict[str, Any]  # its settings, as JSON

    @property
    def sha256(self) -> str:
        """The hash of all that was registered."""
        content = asdict(self) | {"locked_on": self.locked_on.isoformat()}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def registered(self) -> Sheet:
        """Return the sheet as it was; without the place of the ledger, if that cannot be taken, such as a password."""
        try:
            read_address(self.sheet.get("ledger", ""))
        except WinbackError:
            log.warning("The locked plan of %s holds an address of the ledger that may hold a password. "
                        "Change that password.", self.experiment)  # fmt: skip
            return Sheet.model_validate({name: value for name, value in self.sheet.items() if name != "ledger"})
        return Sheet.model_validate(self.sheet)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """A setting that is not as it was planned; `report.wording.accounts` makes its sentence."""

    setting: str  # by its whole name, such as arms.discount.gift; ASSIGNED: customers in the test
    planned: str  # as the plan writes it; empty: the plan has no such setting
    now: str  # empty: the sheet has it no more

    def __str__(self) -> str:
        if not (self.planned and self.now):
            return f"{self.setting} was {'added' if self.now else 'taken out'}"
        return f"{self.setting} {self.now} instead of {self.planned}"


def lock(sheet: Sheet | str | Path, *, cohort: Path, customers: int | None = None, today: date) -> tuple[Plan, Path]:
    """Freeze a sheet and its cohort into plan.yml beside the sheet; return the plan and its file.

    `cohort`: cohort.parquet of `winback lost`. `customers` to assign: the sheet's, else all contactable. The same plan
    again changes nothing; another one is refused. Raises WinbackError.
    """
    content = loaded(sheet)
    content.need_arms()
    folder = content.folder
    before, path = read_plan(folder, content.experiment), folder / FILE
    day = before.locked_on if before else today
    found = _candidates(content, folder, cohort, day=day)
    contactable = found.kept
    wanted = customers or content.customers or contactable
    if not len(content.arms) <= wanted <= contactable:
        reached = (
            f" ({found.rows - found.kept:,} cannot: a contact reached them before {day}, and a customer has one chance)"
        )
        why = reached if found.kept < found.rows else ""
        raise WinbackError(
            f"{wanted:,} customers are to be assigned to {len(content.arms)} arms, but {contactable:,} "
            f"of {cohort.name} can be contacted{why}. Set `customers:` between the two."
        )
    plan = Plan(
        experiment=content.experiment,
        locked_on=today,
        customers=wanted,
        cohort_customers=contactable,
        cohort_sha256=sha256_of(cohort),
        sheet=settings_of(content),
    )
    if before is not None:
        other = [str(deviation) for deviation in deviations(before, content)]
        other += [] if before.cohort_sha256 == plan.cohort_sha256 else ["another cohort"]
        other += [] if before.customers == wanted else [f"{wanted:,} customers instead of {before.customers:,}"]
        if other:
            raise WinbackError(
                f"{path.name} was locked on {before.locked_on} and is not what the sheet says now: "
                f"{'; '.join(other)}. Put the sheet back, or choose another name."
            )
        return before, path
    registered = asdict(plan) | {"locked_on": plan.locked_on.isoformat(), "sha256": plan.sha256}
    write_text(path, HEAD + yaml.safe_dump(registered, sort_keys=False, allow_unicode=True))
    return plan, path


def read_plan(folder: Path, experiment: str) -> Plan | None:
    """Return the locked plan beside a sheet; None where none was locked. Raises WinbackError where it was edited."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        registered = yaml.safe_load(path.read_text(encoding="utf-8"))
        sha256 = registered.pop("sha256")
        plan = Plan(**registered | {"locked_on": date.fromisoformat(str(registered["locked_on"]))})
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError, UnicodeDecodeError):
        raise WinbackError(
            f"{path.name} beside the sheet is no locked plan. Put back the one that was locked."
        ) from None
    if plan.sha256 != sha256:
        raise WinbackError(
            f"{path.name} was edited after it was locked on {plan.locked_on}: its sha256 is "
            f"{plan.sha256[:12]}, not {str(sha256)[:12]}. Put back the one locked."
        )
    return plan if plan.experiment == experiment else None


def deviations(plan: Plan, sheet: Sheet, *, assigned: int | None = None) -> tuple[Deviation, ...]:
    """Return what is not as planned: settings of the sheet, and customers assigned, more or fewer."""
    other = differences(settings_of(sheet), settings_of(plan.registered()))  # settings may have come since
    if assigned is None or assigned == plan.customers:
        return other
    return (*other, Deviation(setting=ASSIGNED, planned=str(plan.customers), now=str(assigned)))


def refuse_deviations(plan: Plan, sheet: Sheet) -> None:
    """Raise WinbackError where the sheet is not as it was locked."""
    if other := deviations(plan, sheet):
        raise WinbackError(
            f"The sheet is not as locked on {plan.locked_on}: {'; '.join(map(str, other))}. Put it "
            "back, or plan a test of another name."
        )


def differences(now: dict[str, Any], planned: dict[str, Any]) -> tuple[Deviation, ...]:
    """Return the settings that differ, but for those that may come after the lock."""
    locked = {name: value for name, value in now.items() if name not in FREE}
    return tuple(_unlike(locked, {name: planned.get(name) for name in locked}))


def _unlike(now: Mapping[str, Any], planned: Mapping[str, Any], within: str = "") -> Iterator[Deviation]:
    """Yield what differs between two nested settings, each by its whole name, such as arms.discount.gift."""
    for name in dict.fromkeys([*now, *planned]):
        new, old, setting = now.get(name), planned.get(name), f"{within}{name}"
        if isinstance(new, dict) and isinstance(old, dict):
            yield from _unlike(new, old, f"{setting}.")
        elif name not in planned or name not in now:
            yield Deviation(setting=setting, planned=str(planned.get(name, "")), now=str(now.get(name, "")))
        elif new != old:
            yield Deviation(setting=setting, planned=str(old), now=str(new))


def settings_of(sheet: Sheet) -> dict[str, Any]:
    """Return the settings of a sheet as JSON, for files: not the name of a password, in case it is one."""
    settings: dict[str, Any] = json.loads(sheet.model_dump_json(exclude={"ledger_password"}))
    return settings


def stratum_of(factors: Sequence[str]) -> str:
    """Return the SQL of a customer's stratum in the cohort, such as "price / A"; of no factors: all."""
    parts = [f"coalesce(CAST({quote(column_of(factor))} AS VARCHAR), 'unknown')" for factor in factors]
    return f" || {literal(SEPARATOR)} || ".join(parts) or "'all'"


def column_of(factor: str) -> str:
    """Return the column of cohort.parquet that a factor of `strata` stands for."""
    return {"tier": "abc"}.get(factor, factor)


def sha256_of(file: Path) -> str:
    """Return the sha256 of a file of any size."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def make_candidates(con: duckdb.DuckDBPyConnection, sheet: Sheet, *, folder: Path, cohort: Path, day: date) -> Account:
    """Make the view candidates(customer_id, stratum): who can be contacted, and whom no contact reached before the day.

    `day`: of the lock, so that contacts of the test itself change nothing. Makes the view `cohort` of them, too. Raises
    WinbackError: no cohort, a customer twice or without a name, a factor of `strata` that the cohort does not know.
    """
    if not cohort.is_file():
        raise WinbackError(f"There is no cohort {cohort}. Make it: `winback lost <sheet>`.")
    con.execute(f"CREATE TEMP VIEW contactable AS SELECT * FROM read_parquet({literal(cohort)}) WHERE contactable")
    _refuse_rows(con, sheet, cohort)
    con.execute(
        "CREATE TEMP VIEW cohort AS SELECT * FROM contactable WHERE CAST(customer_id AS VARCHAR) NOT IN "
        f"({_reached(con, sheet, folder, day)})"
    )
    con.execute(f"CREATE TEMP VIEW candidates AS SELECT customer_id, {stratum_of(sheet.strata)} AS stratum FROM cohort")
    ((rows,),) = con.execute("SELECT count(*) FROM contactable").fetchall()
    ((kept,),) = con.execute("SELECT count(*) FROM candidates").fetchall()
    return Account(table="candidates", rows=rows, kept=kept, why=(noted("contacted_before", day=day.isoformat()),))


def _refuse_rows(con: duckdb.DuckDBPyConnection, sheet: Sheet, cohort: Path) -> None:
    known = columns_of(con, "contactable")
    for factor in sheet.strata:
        if column_of(factor) not in known:
            raise WinbackError(
                f"The cohort has no column {column_of(factor)!r} for the factor {factor!r} of "
                f"`strata`. {did_you_mean(column_of(factor), known)}"
            )
    refuse_duplicates(con, "contactable", called=cohort.name, cure="make it anew, `winback lost <sheet>`.")


def _reached(con: duckdb.DuckDBPyConnection, sheet: Sheet, folder: Path, day: date) -> str:
    """Return the SQL of the customers whom a contact reached before a day; without a day, one of another test.

    As the call list has it: of whom nobody says whether the contact reached them, it did.
    """
    source = sheet.tables.get("contacts")
    if source is None or not source.there(folder):
        return "SELECT '' WHERE FALSE"
    read(con, "contacts", source, folder=folder, conventions=sheet.conventions)
    complete(con, "contacts", like="contactable", known=True)
    return (
        "SELECT CAST(customer_id AS VARCHAR) FROM full_contacts "
        "WHERE (coalesce(reached, TRUE) OR accepted_at IS NOT NULL OR refused_at IS NOT NULL) "
        f"AND coalesce(\"at\" < DATE '{day}', experiment <> {literal(sheet.experiment)}, FALSE)"
    )


def _candidates(sheet: Sheet, folder: Path, cohort: Path, *, day: date) -> Account:
    """Return how many can be assigned; refuse customers no offer is chosen for."""
    with connect() as con:
        account = make_candidates(con, sheet, folder=folder, cohort=cohort, day=day)
        for name, offer in sheet.every_offer.items():
            if offer.by:
                _refuse_unchosen(con, name, offer)
    return account


def _refuse_unchosen(con: duckdb.DuckDBPyConnection, name: str, offer: Offer) -> None:
    cell = stratum_of([offer.by])
    known = ", ".join(map(literal, offer.choose))
    rows = con.execute(
        f"SELECT {cell}, count(*) FROM cohort WHERE {cell} NOT IN ({known}) GROUP BY 1 ORDER BY 2 DESC, 1"
    )
    for value, customers in rows.fetchall()[:1]:
        raise WinbackError(
            f"Offer {name!r} chooses by {offer.by!r}, but says nothing about {value!r}, as "
            f"{customers:,} customers are. Add it: `choose: {{{value}: ...}}`."
        )


def inputs_of(sheet: str | Path) -> list[Path]:
    """Return the files a run on a sheet reads: sheet, tables, the locked plan, the past tests it learns from."""
    content = loaded(sheet)
    folder = content.folder
    beside = [folder / FILE]
    if content.lost is not None and content.lost.learn_from is not None:
        beside.append(folder / content.lost.learn_from)
    if content.design.pooled is not None:
        beside.append(folder / content.design.pooled)
    past = folder / content.design.past if content.design.past is not None else None
    if past is not None and past.is_file():
        beside += files_of(past)
    return list(dict.fromkeys([*files_of(sheet), *(path for path in beside if path.is_file())]))
