"""The locked plan: what was registered before anybody was contacted, so that later changes show.

`plan.yml` lies in the private folder of its test: the sheet as it was, the cohort it is about, how many customers, the
sha256 of all; and amendments, each with its reason and its own sha256.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from experiments.common.errors import WinbackError, did_you_mean
from experiments.common.files import clear_parts, write_text
from experiments.common.locks import locked
from experiments.common.run_records import believe
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
    "keep_months",
)  # may come or change later
DRAWN = ("experiment", "seed", "strata", "holdout", "customers")  # settings of the draw: no amendment changes them
HEAD = "# A locked plan: do not edit. Whoever changes it, or the sheet, finds that on the page of the readout.\n"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Amendment:
    """A change of a locked plan, on record."""

    at: date
    by: str
    reason: str
    sheet: dict[str, Any]  # its settings from then on, as JSON
    stopped: tuple[str, ...] = ()  # arms of which nobody is called any more
    paused: bool = False  # nobody is called until the next amendment

    def chained(self, before: str) -> str:
        """Return the sha256 that binds the amendment to the plan, or the amendment, before it."""
        return _sha256({"before": before, **asdict(self)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What was registered."""

    experiment: str
    locked_on: date
    customers: int  # to assign
    cohort_customers: int  # contactable
    cohort_sha256: str  # of cohort.parquet
    sheet: dict[str, Any]  # its settings, as JSON
    amendments: tuple[Amendment, ...] = ()

    @property
    def sha256s(self) -> tuple[str, ...]:
        """The hash of all that was registered, then that of each amendment."""
        content = {name: value for name, value in asdict(self).items() if name != "amendments"}
        hashes = [_sha256(content)]
        for amendment in self.amendments:
            hashes.append(amendment.chained(hashes[-1]))
        return tuple(hashes)

    @property
    def sha256(self) -> str:
        """The hash of the plan as it stands."""
        return self.sha256s[-1]

    @property
    def stopped(self) -> tuple[str, ...]:
        """Arms of which nobody is called any more."""
        return self.amendments[-1].stopped if self.amendments else ()

    @property
    def paused(self) -> bool:
        """Whether nobody is called for now."""
        return bool(self.amendments and self.amendments[-1].paused)

    def registered(self) -> Sheet:
        """Return the sheet as it was, with all amendments; without a place of the ledger that cannot be taken.

        An earlier version wrote down what was given there, such as a password.
        """
        settings = self.amendments[-1].sheet if self.amendments else self.sheet
        try:
            read_address(settings.get("ledger") or "")
        except WinbackError:
            log.warning("The locked plan of %s holds an address of the ledger that may hold a password. "
                        "Change that password.", self.experiment)  # fmt: skip
            settings = {name: value for name, value in settings.items() if name != "ledger"}
        return Sheet.model_validate(settings)


def _sha256(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


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
    """Freeze a sheet and its cohort into the plan of its test; return the plan and its file.

    `cohort`: cohort.parquet of `winback lost`. `customers` to assign: the sheet's, else all contactable. The same plan
    again changes nothing; another one is refused. Raises WinbackError.
    """
    content = loaded(sheet)
    content.need_arms()
    believe(cohort)
    path = content.private.make().plan
    with locked(path):
        before = read_plan(content)
        plan = _planned(content, cohort, customers=customers, day=before.locked_on if before else today)
        if before is None:
            write_plan(plan, path)
            return plan, path
    other = [str(deviation) for deviation in deviations(before, content)]
    other += [] if before.cohort_sha256 == plan.cohort_sha256 else ["another cohort"]
    other += (
        [] if before.customers == plan.customers else [f"{plan.customers:,} customers instead of {before.customers:,}"]
    )
    if other:
        raise WinbackError(
            f"{path.name} was locked on {before.locked_on} and is not what the sheet says now: {'; '.join(other)}. Put "
            "the sheet back, choose another name, or change the plan on record: `winback amend <sheet> --reason ...`."
        )
    return before, path


def _planned(sheet: Sheet, cohort: Path, *, customers: int | None, day: date) -> Plan:
    """Return the plan of a sheet and its cohort. Raises WinbackError where there are not the customers for it."""
    found = _candidates(sheet, sheet.folder, cohort, day=day)
    contactable = found.kept
    wanted = customers or sheet.customers or contactable
    if not len(sheet.arms) <= wanted <= contactable:
        reached = (
            f" ({found.rows - found.kept:,} cannot: a contact reached them before {day}, and a customer has one chance)"
        )
        why = reached if found.kept < found.rows else ""
        raise WinbackError(
            f"{wanted:,} customers are to be assigned to {len(sheet.arms)} arms, but {contactable:,} "
            f"of {cohort.name} can be contacted{why}. Set `customers:` between the two."
        )
    return Plan(
        experiment=sheet.experiment,
        locked_on=day,
        customers=wanted,
        cohort_customers=contactable,
        cohort_sha256=sha256_of(cohort),
        sheet=sheet.settings(),
    )


def amended(
    plan: Plan, sheet: Sheet, *, reason: str, by: str, at: date, stop: Sequence[str] = (), paused: bool = False
) -> Plan:
    """Return the plan with what the sheet says now, for a reason that stays on record.

    `stop`: arms of which nobody is called any more, beside those stopped before; `paused`: nobody is, until the next
    amendment. Raises WinbackError: no reason, an earlier day, nothing new, or a change of what was drawn.
    """
    for name, text in (("reason", reason), ("by", by)):
        if not text.strip():
            raise WinbackError(f"{name} is {text!r}. The plan must tell it: write it.")
    last = plan.amendments[-1].at if plan.amendments else plan.locked_on
    if at < last:
        raise WinbackError(f"The plan is of {last}, and today is {at}? Set the clock of this machine right.")
    for arm in stop:
        if arm not in sheet.arms:
            raise WinbackError(f"The sheet has no arm {arm!r} to stop. {did_you_mean(arm, sheet.arms)}")
    other = deviations(plan, sheet)
    drawn = [str(one) for one in other if one.setting.partition(".")[0] in DRAWN or _is_of_the_draw(one, sheet)]
    if drawn:
        raise WinbackError(
            f"What customers were drawn by cannot change: {'; '.join(drawn)}. Put it back, or plan a test of another "
            "name."
        )
    new = Amendment(
        at=at,
        by=by,
        reason=reason,
        sheet=sheet.settings(),
        stopped=tuple(dict.fromkeys([*plan.stopped, *stop])),
        paused=paused,
    )
    if not other and (new.stopped, new.paused) == (plan.stopped, plan.paused):
        if plan.amendments[-1:] == (new,):  # it was killed when it was done
            return plan
        raise WinbackError("Nothing differs from the plan. Change the sheet first, or say --stop, --pause or --resume.")
    return replace(plan, amendments=(*plan.amendments, new))


def _is_of_the_draw(one: Deviation, sheet: Sheet) -> bool:
    """Tell whether a deviation is an arm that came or went, or its share."""
    place, _, rest = one.setting.partition(".")
    return place == "arms" and (rest in sheet.arms or (not one.now and "." not in rest) or rest.endswith(".share"))


def write_plan(plan: Plan, path: Path) -> None:
    """Write a plan, with its amendments, in the place of the one before. The caller holds its lock."""
    first, *later = plan.sha256s
    content = _as_text(asdict(plan)) | {"sha256": first}
    content["amendments"] = [
        _as_text(asdict(one)) | {"stopped": list(one.stopped), "sha256": sha256}
        for one, sha256 in zip(plan.amendments, later, strict=True)
    ]
    clear_parts(path)
    text = HEAD + yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    write_text(path, text, durable=True, private=True)


def _as_text(content: dict[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, date) else value for name, value in content.items()}


def plan_file(sheet: Sheet) -> Path:
    """Return the file of a test's plan: in its private folder, or beside the sheet, where earlier versions wrote it."""
    old = sheet.folder / FILE
    return old if old.is_file() and not sheet.private.plan.is_file() else sheet.private.plan


def read_plan(sheet: Sheet) -> Plan | None:
    """Return the locked plan of a test; None where none was locked. Raises WinbackError where it was edited."""
    path = plan_file(sheet)
    if not path.is_file():
        return None
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        amendments, hashes = [dict(one) for one in content.pop("amendments", ())], [content.pop("sha256")]
        hashes += [one.pop("sha256") for one in amendments]
        plan = Plan(
            **content | {"locked_on": date.fromisoformat(str(content["locked_on"]))},
            amendments=tuple(
                Amendment(**one | {"at": date.fromisoformat(one["at"]), "stopped": tuple(one["stopped"])})
                for one in amendments
            ),
        )
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError, UnicodeDecodeError):
        raise WinbackError(f"{path} is no locked plan. Put back the one that was locked.") from None
    for now, then in zip(plan.sha256s, hashes, strict=True):
        if now != then:
            raise WinbackError(
                f"{path} was edited after it was locked on {plan.locked_on}: its sha256 is "
                f"{now[:12]}, not {str(then)[:12]}. Put back the one locked."
            )
    return plan if plan.experiment == sheet.experiment else None


def deviations(plan: Plan, sheet: Sheet, *, assigned: int | None = None) -> tuple[Deviation, ...]:
    """Return what is not as planned: settings of the sheet, and customers assigned, more or fewer."""
    other = differences(sheet.settings(), plan.registered().settings())  # settings may have come since
    if assigned is None or assigned == plan.customers:
        return other
    return (*other, Deviation(setting=ASSIGNED, planned=str(plan.customers), now=str(assigned)))


def refuse_deviations(plan: Plan, sheet: Sheet) -> None:
    """Raise WinbackError where the sheet is not as it was locked."""
    if other := deviations(plan, sheet):
        raise WinbackError(
            f"The sheet is not as locked on {plan.locked_on}: {'; '.join(map(str, other))}. Put it back, plan a test "
            "of another name, or change the plan on record: `winback amend <sheet> --reason ...`."
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
    beside = [plan_file(content)]
    if content.lost is not None and content.lost.learn_from is not None:
        beside.append(folder / content.lost.learn_from)
    if content.design.pooled is not None:
        beside.append(folder / content.design.pooled)
    past = folder / content.design.past if content.design.past is not None else None
    if past is not None and past.is_file():
        beside += files_of(past)
    return list(dict.fromkeys([*files_of(sheet), *(path for path in beside if path.is_file())]))
