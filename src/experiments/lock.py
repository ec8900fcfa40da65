"""The locked plan: what was registered before anybody was contacted, so that later changes show.

`plan.yml` lies beside the sheet: the sheet as it was, the cohort it is about, how many customers, the sha256 of all.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from experiments.errors import WinbackError, did_you_mean
from experiments.keep import write_text
from experiments.language import later, say
from experiments.plan import Sheet, read_sheet

FILE = "plan.yml"
FREE = ("tables", "followed_until", "contacts", "ledger", "language")  # settings that may come or change after the lock
HEAD = "# A locked plan: do not edit. Whoever changes it, or the sheet, finds that on the page of the readout.\n"


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
        told = asdict(self) | {"locked_on": self.locked_on.isoformat()}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def registered(self) -> Sheet:
        """Return the sheet as it was."""
        return Sheet.model_validate(self.sheet)


def lock(sheet: str | Path, *, cohort: Path, customers: int | None = None, today: date) -> tuple[Plan, Path]:
    """Freeze a sheet and its cohort into plan.yml beside the sheet; return the plan and its file.

    `cohort`: cohort.parquet of `winback lost`. `customers` to assign: the sheet's, else all contactable. The same plan
    again changes nothing; another one is refused. Raises WinbackError.
    """
    content, folder = read_sheet(sheet)
    content.need_arms()
    contactable = _contactable(content, cohort)
    wanted = customers or content.customers or contactable
    if not len(content.arms) <= wanted <= contactable:
        raise WinbackError(f"{wanted:,} customers are to be assigned to {len(content.arms)} arms, but {contactable:,} "
                           f"of {cohort.name} can be contacted. Set `customers:` between the two.")  # fmt: skip
    plan = Plan(
        experiment=content.experiment,
        locked_on=today,
        customers=wanted,
        cohort_customers=contactable,
        cohort_sha256=hashlib.sha256(cohort.read_bytes()).hexdigest(),
        sheet=settings_of(content),
    )
    before, path = read_plan(folder, content.experiment), folder / FILE
    if before is not None:
        other = deviations(before, content)
        other += [] if before.cohort_sha256 == plan.cohort_sha256 else ["another cohort"]
        other += [] if before.customers == wanted else [f"{wanted:,} customers instead of {before.customers:,}"]
        if other:
            raise WinbackError(f"{path.name} was locked on {before.locked_on} and is not what the sheet says now: "
                               f"{'; '.join(other)}. Put the sheet back, or choose another name.")  # fmt: skip
        return before, path
    told = asdict(plan) | {"locked_on": plan.locked_on.isoformat(), "sha256": plan.sha256}
    write_text(path, HEAD + yaml.safe_dump(told, sort_keys=False, allow_unicode=True))
    return plan, path


def read_plan(folder: Path, experiment: str) -> Plan | None:
    """Return the locked plan beside a sheet; None where none was locked. Raises WinbackError where it was edited."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
        sha256 = told.pop("sha256")
        plan = Plan(**told | {"locked_on": date.fromisoformat(str(told["locked_on"]))})
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError, UnicodeDecodeError):
        raise WinbackError(
            f"{path.name} beside the sheet is no locked plan. Put back the one that was locked."
        ) from None
    if plan.sha256 != sha256:
        raise WinbackError(f"{path.name} was edited after it was locked on {plan.locked_on}: its sha256 is "
                           f"{plan.sha256[:12]}, not {str(sha256)[:12]}. Put back the one locked.")  # fmt: skip
    return plan if plan.experiment == experiment else None


def deviations(plan: Plan, sheet: Sheet, *, assigned: int | None = None) -> list[str]:
    """Return what is not as planned, in words: settings of the sheet, and customers more or fewer."""
    other = differences(settings_of(sheet), plan.sheet)
    if assigned is not None and assigned != plan.customers:
        instead = later("{n} customers assigned instead of {planned}")
        other.append(say(instead, n=assigned, planned=plan.customers))
    return other


def differences(now: dict[str, Any], then: dict[str, Any]) -> list[str]:
    """Return the settings that differ, in words, but for those that may come after the lock."""
    names = [name for name in now if name not in FREE and now[name] != then.get(name)]
    told = later("{setting} {now} instead of {then}")
    return [say(told, setting=name, now=str(now[name]), then=str(then.get(name))) for name in names]


def settings_of(sheet: Sheet) -> dict[str, Any]:
    """Return the settings of a sheet as JSON."""
    settings: dict[str, Any] = json.loads(sheet.model_dump_json())
    return settings


def column_of(factor: str) -> str:
    """Return the column of cohort.parquet that a factor of `strata` stands for."""
    return {"tier": "abc"}.get(factor, factor)


def _contactable(sheet: Sheet, cohort: Path) -> int:
    """Return how many can be contacted; refuse factors that nobody knows, and customers no offer is chosen for."""
    from experiments.cells import literal, quote
    from experiments.tables import columns_of, connect

    if not cohort.is_file():
        raise WinbackError(f"There is no cohort {cohort}. Make it: `winback lost <sheet>`.")
    with connect() as con:
        con.execute(f"CREATE TEMP VIEW cohort AS SELECT * FROM read_parquet({literal(cohort)}) WHERE contactable")
        known = columns_of(con, "cohort")
        for factor in sheet.strata:
            if column_of(factor) not in known:
                raise WinbackError(f"The cohort has no column {column_of(factor)!r} for the factor {factor!r} of "
                                   f"`strata`. {did_you_mean(column_of(factor), known)}")  # fmt: skip
        for name, offer in {**sheet.catalogue, **sheet.arms}.items():
            if offer.by:
                cell = f"coalesce(CAST({quote(column_of(offer.by))} AS VARCHAR), 'unknown')"
                told = ", ".join(map(literal, offer.choose))
                rows = con.execute(f"SELECT {cell}, count(*) FROM cohort WHERE {cell} NOT IN ({told}) GROUP BY 1 "
                                   "ORDER BY 2 DESC, 1").fetchall()  # fmt: skip
                for value, customers in rows[:1]:
                    raise WinbackError(f"Offer {name!r} chooses by {offer.by!r}, but says nothing about {value!r}, as "
                                       f"{customers:,} customers are. Add it: `choose: {{{value}: ...}}`.")  # fmt: skip
        return int(con.execute("SELECT count(*) FROM cohort").fetchall()[0][0])
