"""From the locked plan and the cohort to customers in arms: drawn by the engine, booked in the ledger, once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.campaign.ledger import Ledger, open_ledger
from experiments.campaign.ledger_records import Booking
from experiments.common.errors import WinbackError, did_you_mean
from experiments.common.formatting import listed
from experiments.common.today import today as this_day
from experiments.data.randomise import assign
from experiments.data.tables import Account, connect, write_parquet
from experiments.sheet.ledger_address import read_address
from experiments.sheet.locked_plan import FILE, Plan, make_candidates, read_plan, refuse_deviations, sha256_of
from experiments.sheet.sheet import SEPARATOR, Sheet, loaded

if TYPE_CHECKING:
    import duckdb

OUTPUT = "assignments.parquet"
COHORT = "reports/{experiment}/1-lost/cohort.parquet"  # where `winback lost` writes it


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
    return Path(cohort if cohort is not None else COHORT.format(experiment=sheet.experiment))


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
    content = loaded(sheet)
    folder, cohort, today = content.folder, cohort_file(content, cohort), today or this_day()
    plan = _plan(content, folder, cohort)
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
            ledger.assigned(content.experiment, into="booked")
        file = content.tables["assignments"].written(folder) if "assignments" in content.tables else folder / OUTPUT
        _write(con, file)
        return Assigned(
            booking=booking,
            file=file,
            accounts=(candidates, account),
            arms=_arms(con, content),
            worst_balance=_worst_balance(con),
            warnings=tuple(_warnings(con, content)),
        )


def _plan(sheet: Sheet, folder: Path, cohort: Path) -> Plan:
    sheet.need_arms()
    plan = read_plan(folder, sheet.experiment)
    if plan is None:
        raise WinbackError(
            f"There is no locked plan {FILE} of {sheet.experiment} beside the sheet. Lock it first: "
            "`winback design <sheet> --lock`."
        )
    refuse_deviations(plan, sheet)
    if not cohort.is_file():
        raise WinbackError(f"There is no cohort {cohort}. Make it: `winback lost <sheet>`.")
    found = sha256_of(cohort)
    if found != plan.cohort_sha256:
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


def address_of(sheet: Sheet) -> str:
    """Return where the ledger of a sheet lies."""
    return sheet.ledger if read_address(sheet.ledger) else str((sheet.folder / sheet.ledger).absolute())


def ledger_of(
    sheet: Sheet, con: duckdb.DuckDBPyConnection | None = None, *, create: bool = False, read_only: bool = False
) -> AbstractContextManager[Ledger]:
    """Open the ledger of a sheet, with the password that it tells the place of; as `open_ledger` does."""
    variable = sheet.ledger_password
    return open_ledger(address_of(sheet), con, create=create, read_only=read_only, password_variable=variable)


def _write(con: duckdb.DuckDBPyConnection, file: Path) -> None:
    """Write the assignments as they stand in the ledger."""
    con.execute(
        'CREATE TEMP VIEW assignments AS SELECT experiment, customer_id, arm, "at", stratum, bucket '
        "FROM booked WHERE released_at IS NULL"
    )
    if file.suffix != ".parquet":
        raise WinbackError(
            f"`tables: {{assignments: {{file: {file.name}}}}}` is no Parquet file. Name one that "
            "winback can write, such as assignments.parquet."
        )
    write_parquet(con, "assignments", file)


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
