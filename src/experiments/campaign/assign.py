"""From the locked plan and the cohort to customers in arms: drawn by the engine, booked in the ledger, once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.campaign.ledger import Ledger
from experiments.campaign.ledger_records import Booking
from experiments.campaign.settle import settle
from experiments.campaign.sheet_ledger import ledger_of
from experiments.common.errors import WinbackError, did_you_mean
from experiments.common.files import clear_parts, private_folder
from experiments.common.formatting import listed
from experiments.common.locks import locked
from experiments.common.today import today as this_day
from experiments.data.columns import literal
from experiments.data.randomise import assign
from experiments.data.tables import Account, columns_of, connect, write_parquet
from experiments.sheet.forgotten import only_forgotten
from experiments.sheet.locked_plan import Plan, make_candidates, read_plan, refuse_deviations, sha256_of
from experiments.sheet.sheet import SEPARATOR, Sheet, loaded

if TYPE_CHECKING:
    import duckdb

OLD_COHORT = "reports/{experiment}/1-lost/cohort.parquet"  # where earlier versions wrote it


@dataclass(frozen=True, slots=True, kw_only=True)
class Assigned:
    """A test whose customers are in their arms."""

    booking: Booking
    file: Path
    accounts: tuple[Account, ...]  # of who can be contacted, then of who has a chance left
    arms: tuple[tuple[str, int, float], ...]  # arm, customers, planned share
    worst_balance: float  # largest difference of a stratum's share between an arm and all, in points of share
    warnings: tuple[str, ...]  # what was drawn as the sheet says, but perhaps not as it was meant


def cohort_file(sheet: Sheet, cohort: str | Path | None) -> Path:
    """Return the cohort that is named, else the one where `winback lost` writes it."""
    if cohort is not None:
        return Path(cohort)
    old = Path(OLD_COHORT.format(experiment=sheet.experiment))
    return old if old.is_file() and not sheet.private.cohort.is_file() else sheet.private.cohort


def assign_test(
    sheet: Sheet | str | Path, *, cohort: str | Path | None = None, today: date | None = None, new_ledger: bool = False
) -> Assigned:
    """Draw the customers of a locked plan into its arms, and book them in the ledger of the sheet.

    `sheet`: a path, or a sheet that was loaded from one. `cohort`: the one of the lock; left out, where
    `winback lost` writes it. `today`: the day of assignment, in UTC, from which the follow-up counts. `new_ledger`:
    begin the company's one ledger where there is none. Assigning twice gives the same customers, arms and day. The
    file is written from the ledger, which is the truth.
    Raises WinbackError: no plan, another sheet or cohort than locked, too few customers with their chance left.
    """
    content = settle(loaded(sheet))
    folder, cohort, today = content.folder, cohort_file(content, cohort), today or this_day()
    plan = _plan(content, cohort, today=today)
    with connect() as con:
        candidates = make_candidates(con, content, folder=folder, cohort=cohort, day=plan.locked_on)
        with ledger_of(content, con, create=new_ledger) as ledger:
            ignore_case = content.conventions.ignore_case
            account = ledger.assignable(
                "candidates", into="open_candidates", experiment=content.experiment, ignore_case=ignore_case
            )
            booking = ledger.standing(
                content.experiment, seed=content.seed, plan_hash=plan.sha256, holdout=content.holdout
            )
            if booking is None:  # else nobody is drawn: what came to light since, such as a contact, changes nothing
                _draw(con, content, plan, account)
                booking = ledger.record(
                    "assigned",
                    experiment=content.experiment,
                    seed=content.seed,
                    plan_hash=plan.sha256,
                    at=today,
                    holdout=content.holdout,
                )
            file = write_assignments(con, ledger, content)
        return Assigned(
            booking=booking,
            file=file,
            accounts=(candidates, account),
            arms=_arms(con, content),
            worst_balance=_worst_balance(con),
            warnings=tuple(_warnings(con, content)),
        )


def _plan(sheet: Sheet, cohort: Path, *, today: date) -> Plan:
    sheet.need_arms()
    plan = read_plan(sheet)
    if plan is None:
        raise WinbackError(
            f"There is no locked plan of {sheet.experiment}: no {sheet.private.plan}. Lock it first: "
            "`winback design <sheet> --lock`."
        )
    refuse_deviations(plan, sheet)
    if today < plan.locked_on:
        raise WinbackError(
            f"The plan was locked on {plan.locked_on}, and today is {today}? Set the clock of this machine right."
        )
    if not cohort.is_file():
        raise WinbackError(f"There is no cohort {cohort}. Make it: `winback lost <sheet>`.")
    found = sha256_of(cohort)
    if found != plan.cohort_sha256 and not only_forgotten(cohort, plan.cohort_sha256):
        raise WinbackError(
            f"{cohort.name} is not the cohort of the locked plan (sha256 {found[:12]}..., not "
            f"{plan.cohort_sha256[:12]}...). Put that one back."
        )
    return plan


def _draw(con: duckdb.DuckDBPyConnection, sheet: Sheet, plan: Plan, account: Account) -> None:
    """Take the planned number of customers, by chance, and put them into arms: the table `assigned`."""
    if account.kept < plan.customers:
        had = ", ".join(f"{name} ({number:,})" for why in account.why for name, number in why.facts.items())
        raise WinbackError(
            f"The plan is for {plan.customers:,} customers, but only {account.kept:,} of "
            f"{account.rows:,} have their chance left: they had their chance in {had}. Lock a smaller "
            "plan under another name."
        )
    order = f"ORDER BY md5(concat('{sheet.seed}:sample:', customer_id)), customer_id LIMIT {plan.customers}"
    some = order if plan.customers < account.kept else ""  # to take all of them needs no order
    con.execute(f"CREATE TEMP TABLE to_assign AS SELECT * FROM open_candidates {some}")
    assign(con, shares={arm: offer.share for arm, offer in sheet.arms.items()}, seed=sheet.seed)
    drawn = {row[0] for row in con.execute("SELECT DISTINCT arm FROM assigned").fetchall()}
    for arm in sheet.arms:
        if arm not in drawn:
            raise WinbackError(
                f"Arm {arm!r} gets none of {plan.customers:,} customers. Give it a larger share, plan "
                "more customers, or use fewer `strata`."
            )


def _warnings(con: duckdb.DuckDBPyConnection, sheet: Sheet) -> Iterator[str]:
    """Tell strata too small for every arm, and choices that no customer of the test has."""
    sizes = con.execute("SELECT stratum, count(*) FROM assignments GROUP BY 1 ORDER BY 2, 1").fetchall()
    small = [(stratum, customers) for stratum, customers in sizes if customers < len(sheet.arms)]
    if small:
        yield (
            f"{len(small):,} of {len(sizes):,} strata have fewer customers than the test has arms, such as "
            f"{small[0][0]!r} with {small[0][1]}: not every offer is given there. Next time use fewer or coarser "
            "`strata`."
        )
    for name, offer in sheet.every_offer.items():
        place = sheet.strata.index(offer.by) if offer.choose else 0
        found = {stratum.split(SEPARATOR)[place] for stratum, _ in sizes}
        unheard = [value for value in offer.choose if value not in found]
        if unheard:
            values = listed([repr(value) for value in unheard], last="or")
            yield (
                f"Offer {name!r} chooses by {offer.by!r}, but no customer of the test is {values}. "
                f"{did_you_mean(unheard[0], found)}"
            )


def write_assignments(con: duckdb.DuckDBPyConnection, ledger: Ledger, sheet: Sheet) -> Path:
    """Write the customers of a test as they stand in the ledger, without those released; return the file.

    It is the one of its private folder, unless the sheet names another; never one that holds another test.
    """
    source = sheet.tables.get("assignments")
    file = source.written(sheet.folder) if source else sheet.private.make().assignments
    ledger.assigned(sheet.experiment, into="booked")
    con.execute(
        'CREATE OR REPLACE TEMP VIEW assignments AS SELECT experiment, customer_id, arm, "at", stratum, bucket '
        "FROM booked WHERE released_at IS NULL"
    )
    if file.suffix != ".parquet":
        raise WinbackError(
            f"`tables: {{assignments: {{file: {file.name}}}}}` is no Parquet file. Name one that "
            "winback can write, such as assignments.parquet."
        )
    private_folder(file.parent)
    with locked(file):
        _refuse_another(con, file, sheet.experiment)
        clear_parts(file)
        write_parquet(con, "assignments", file, private=True)
    return file


def _refuse_another(con: duckdb.DuckDBPyConnection, file: Path, experiment: str) -> None:
    """Refuse to write over the assignments of another test."""
    if not file.is_file():
        return
    there = columns_of(con, f"SELECT * FROM read_parquet({literal(file)})")
    name = "experiment" if "experiment" in there else "NULL"
    found = con.execute(f"SELECT DISTINCT {name} FROM read_parquet({literal(file)})").fetchall()
    other = [name for (name,) in found if name != experiment]
    if other:
        whose = "a test without a name" if other[0] is None else f"the test {other[0]!r}"
        raise WinbackError(
            f"{file.name} holds the customers of {whose}. Leave `assignments` out of `tables`: then each test has "
            "a file of its own."
        )


def _arms(con: duckdb.DuckDBPyConnection, sheet: Sheet) -> tuple[tuple[str, int, float], ...]:
    counts = dict(con.execute("SELECT arm, count(*) FROM assignments GROUP BY 1").fetchall())
    total = sum(offer.share for offer in sheet.arms.values())
    return tuple((arm, counts.get(arm, 0), offer.share / total) for arm, offer in sheet.arms.items())


def _worst_balance(con: duckdb.DuckDBPyConnection) -> float:
    """Return the largest difference between a stratum's share of an arm and its share of all."""
    rows = con.execute("SELECT arm, stratum, count(*) FROM assignments GROUP BY 1, 2").fetchall()
    arms, strata, total = Counter[str](), Counter[str](), sum(row[2] for row in rows)
    for arm, stratum, n in rows:
        arms[arm] += n
        strata[stratum] += n
    return max((abs(n / arms[arm] - strata[stratum] / total) for arm, stratum, n in rows), default=0.0)
