"""The ledger: one chance a customer, for ever, over all experiments; a history to which rows are only added.

It lies in a DuckDB file, or in Postgres where several machines share it (`stores`). All work on customers is done by
the engines, in the texts of sql/ledger.sql; Python sees bookings and counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.campaign.ledger_records import Booking, Event, HoldoutContacts, Released, Standing
from experiments.campaign.ledger_rows import now, reading, refuse_rows, value_sql
from experiments.campaign.ledger_store import HOME, Execute, File, Row, Store, open_store
from experiments.common.errors import WinbackError, did_you_mean
from experiments.data.columns import REAL, literal
from experiments.data.identity import same, same_sql
from experiments.data.pseudonyms import MARK, VARIABLE, pseudonyms
from experiments.data.tables import Account, columns_of, connect, noted, statements

if TYPE_CHECKING:
    import duckdb


CUSTOMER = f"coalesce({same_sql('CAST(customer_id AS VARCHAR)', ignore_case=False, whole=False)}, '')"
ONLY_CUSTOMERS = {"experiment": "NULL", "arm": "NULL", "stratum": "NULL", "bucket": "NULL"}


WITH_EVENTS = ("assigned", "released")  # kinds of bookings that are about customers, an event each
COLUMNS = tuple(name for name in Booking.__dataclass_fields__ if name != "new")
SELECTED = ", ".join(f'"{name}"' for name in COLUMNS)


@contextmanager
def open_ledger(
    address: str | Path,
    con: duckdb.DuckDBPyConnection | None = None,
    *,
    create: bool = False,
    read_only: bool = False,
    wait_seconds: float = 60.0,
    password_variable: str | None = None,
) -> Iterator[Ledger]:
    """Open the ledger at a path, or at a `postgresql://` address, for tables of the engine `con`.

    An address holds no password: that comes from PGPASSWORD, PGPASSFILE, ~/.pgpass or from the environment variable of
    the name `password_variable`.

    Whoever opens it to write has it alone until the end of the block, so that what is assignable stays so; others wait
    `wait_seconds`. Readers wait for nobody. A ledger that is not there is refused unless `create`: after a wrong path
    every customer would be new. Raises WinbackError.
    """
    with ExitStack() as stack:
        con = con if con is not None else stack.enter_context(connect())
        store = open_store(
            str(address),
            con,
            create=create,
            read_only=read_only,
            wait_seconds=wait_seconds,
            password_variable=password_variable,
        )
        yield Ledger(stack.enter_context(store), read_only=read_only)


class Ledger:
    """An open ledger. `table` is always a table or view of the engine it was opened with."""

    def __init__(self, store: Store, *, read_only: bool) -> None:
        self._store, self._con, self._read_only = store, store.con, read_only
        self._sql = statements("ledger")

    # ---- asking

    def assignable(
        self, table: str, *, into: str = "to_assign", experiment: str | None = None, ignore_case: bool = False
    ) -> Account:
        """Make the temporary table `into` of the rows of a table whose customers may be assigned.

        Customers of `experiment` itself count as assignable: the same draw can be made again. `ignore_case`: whoever
        was booked with other capital letters is the same customer.
        """
        with reading(table):
            other = f"experiment <> {literal(experiment)}" if experiment else "TRUE"
            columns = ("customer_id", "experiment")
            if ignore_case:  # whoever is booked may be spelt otherwise: all of them are asked
                self._take(table, **ONLY_CUSTOMERS)
                taken = self._store.rows_of("open_chances", columns=columns, where=other)
            else:
                taken = self._rows_about(table, "open_chances", columns=columns, where=other)
            unlike = "lower({})" if ignore_case else "{}"
            alike = (
                f"{unlike.format(CUSTOMER.replace('customer_id', 'c.customer_id'))} = {unlike.format('t.customer_id')}"
            )
            ((rows,),) = self._con_rows(f"SELECT count(*) FROM {table}")
            why = self._con_rows(
                f"SELECT t.experiment, count(*) FROM {table} AS c JOIN {taken} AS t ON {alike} "
                "GROUP BY 1 ORDER BY 2 DESC, 1"
            )
            self._con.execute(
                f"CREATE OR REPLACE TEMP TABLE {into} AS SELECT * FROM {table} AS c "
                f"WHERE NOT EXISTS (SELECT 1 FROM {taken} AS t WHERE {alike})"
            )
            forgotten = self._drop_forgotten(into, ignore_case=ignore_case)
            ((kept,),) = self._con_rows(f"SELECT count(*) FROM {into}")
        had = noted("had_chance", **dict(why))  # experiment: customers
        left = (noted("forgotten_before", n=forgotten),) if forgotten else ()
        return Account(table=into, rows=rows, kept=kept, why=(had, *left))

    def _drop_forgotten(self, table: str, *, ignore_case: bool) -> int:
        """Take customers who were forgotten out of a table; return how many. Nobody is offered anything twice."""
        known = self.forgotten()
        if not known:
            return 0
        words = pseudonyms()
        if words is None or not all(one.startswith(words.prefix) for one in known):
            raise WinbackError(
                f"The ledger has {len(known):,} customers who were forgotten, and the key by which they would be known "
                f"is not on this machine. Bring it, or say where it lies: the variable {VARIABLE}."
            )
        customer = CUSTOMER if not ignore_case else f"lower({CUSTOMER})"
        listed = ", ".join(map(literal, known))
        test = f"{words.sql(customer)} IN ({listed}) OR {CUSTOMER} IN ({listed})"
        ((number,),) = self._con_rows(f"SELECT count(*) FROM {table} WHERE {test}")
        if number:
            self._con.execute(f"DELETE FROM {table} WHERE {test}")
        return int(number)

    def assigned(self, experiment: str, *, into: str = "booked") -> Booking:
        """Make the temporary table `into` of an experiment's customers, as booked, with the day of a release."""
        booking = self._booking_of(experiment)
        if booking is None:
            names = [
                row[0]
                for row in self._store.rows(
                    f"SELECT experiment FROM {HOME}.bookings WHERE kind = 'assigned' ORDER BY 1"
                )
            ]
            raise WinbackError(f"The ledger has no experiment {experiment!r}. {did_you_mean(experiment, names)}")
        columns = ("experiment", "customer_id", "arm", "at", "stratum", "bucket", "released_at")
        rows = self._store.rows_of("chances", columns=columns, where=f"experiment = {literal(experiment)}")
        self._con.execute(f"CREATE OR REPLACE TEMP TABLE {into} AS SELECT * FROM {rows} AS rows_of_ledger")
        return booking

    def standing(self, experiment: str, *, seed: int, plan_hash: str, holdout: str | None) -> Booking | None:
        """Return the booking of an experiment, which is then not drawn again; None where it is not booked.

        Raises WinbackError where it was booked under another seed, plan or holdout, or all its customers were released.
        """
        booked = self._booking_of(experiment)
        if booked is not None and plan_hash != self.plan_hash(experiment):
            raise WinbackError(
                f"The plan of {experiment!r} is not the one that was booked: its sha256 is {plan_hash[:12]}, the "
                f"ledger has {(self.plan_hash(experiment) or '')[:12]}. Put that one back."
            )
        return booked and self._same(booked, {"seed": seed, "holdout": holdout})

    def plan_hash(self, experiment: str) -> str | None:
        """Return the sha256 of an experiment's plan as it was booked, or amended last; None where it is not booked."""
        about = self._bookings(f"kind IN ('assigned', 'amended') AND experiment = {literal(experiment)}")
        return about[-1].plan_hash if about else None

    def history(self, customer_id: object) -> tuple[Event, ...]:
        """Return all that happened to a customer, in order."""
        names = ", ".join(f'"{name}"' for name in Event.__dataclass_fields__)
        rows = self._store.rows(
            f"SELECT {names} FROM {HOME}.ledger WHERE customer_id = {literal(same(str(customer_id)))} ORDER BY step"
        )
        return tuple(Event(**dict(zip(Event.__dataclass_fields__, row, strict=True))) for row in rows)

    def bookings(self) -> tuple[Booking, ...]:
        """Return every step of the history, in order."""
        return self._bookings("TRUE")

    def experiments(self) -> tuple[Standing, ...]:
        """Return how each experiment stands, in the order of booking."""
        arms: dict[str, list[tuple[str, int]]] = {}
        released: dict[str, int] = {}
        for name, arm, customers, freed in self._store.rows(self._sql["standing"]):
            arms.setdefault(name, []).append((arm, customers))
            released[name] = released.get(name, 0) + freed
        return tuple(
            Standing(booking=booking, arms=tuple(arms[booking.experiment]), released=released[booking.experiment])
            for booking in self._bookings("kind = 'assigned'")
            if booking.experiment is not None
        )

    def holdout_contacted(self, table: str) -> HoldoutContacts:
        """Find the contacts of a table with customers who were held out, from their assignment on; without `at`, now.

        They become the temporary table `holdout_contacts`, with `held_out_in`, the experiment they spoil.
        """
        with reading(table):
            dated = "at" in columns_of(self._con, f"SELECT * FROM {table}")
            columns = ("customer_id", "experiment", "arm", "holdout", "step", "at", "released_at")
            chances = self._rows_about(table, "chances", columns=columns, where="TRUE")
            day = 'CAST(c."at" AS DATE)' if dated else "CAST(NULL AS DATE)"
            self._con.execute(self._sql["holdout_contacts"].format(table=table, chances=chances, day=day))
            ((checked,),) = self._con_rows(f"SELECT count(*) FROM {table}")
            found = self._con_rows(
                "SELECT held_out_in, count(*), min(CAST(customer_id AS VARCHAR)) "
                "FROM holdout_contacts GROUP BY 1 ORDER BY 2 DESC, 1"
            )
        return HoldoutContacts(
            checked=checked,
            contacts=sum(row[1] for row in found),
            experiments=tuple((name, number) for name, number, _ in found),
            example=found[0][2] if found else None,
        )

    def refuse_holdout(self, table: str) -> None:
        """Raise WinbackError where a table, for example a call list, holds a customer of a holdout."""
        found = self.holdout_contacted(table)
        if found.contacts:
            raise WinbackError(
                f"Table {table}: {found}. A holdout is measured by leaving it alone: remove them; the "
                "table `holdout_contacts` lists them."
            )

    def audit(self) -> tuple[str, ...]:
        """Return what is wrong with the history; nothing if every event is as it was booked.

        Finds edited, removed and added rows. Not forgery by somebody who computes every later sha256 anew: for that
        keep the last booking's `chain` elsewhere.
        """
        wrong, chain, bookings = [], "", self.bookings()
        digests = self._sql["digests"].format(rows=f"{HOME}.events", number=self._store.number)
        found = {number: told for number, *told in self._store.rows(digests)}
        for number, booking in enumerate(bookings, start=1):
            if booking.booking != number:
                wrong.append(f"booking {number} is missing")
            if booking.chained(chain) != booking.chain:
                wrong.append(f"booking {booking.booking} was changed, or one before it")
            if (booking.kind in WITH_EVENTS) and found.get(booking.booking) != [booking.customers, booking.digest]:
                wrong.append(f"the events of booking {booking.booking} were changed")
            chain = booking.chain
        ((number, example),) = self._store.rows(self._sql["gaps"])
        if number:
            wrong.append(f"{number:,} customers have events out of order, such as {example!r}")
        return tuple(wrong)

    # ---- booking

    def record(
        self,
        table: str = "assigned",
        *,
        experiment: str,
        seed: int,
        plan_hash: str,
        at: date,
        holdout: str | None = None,
        by: str = "",
    ) -> Booking:
        """Book the customers of a table (customer_id, stratum, arm, bucket) as assigned: all of them or none.

        An experiment is booked once. The same rows again change nothing and return the booking that stands, with its
        own day; other rows, another seed or plan are refused, and so is a customer whose chance stands.
        """
        self._refuse_reader(experiment=experiment)
        self._take(table, experiment=literal(experiment))
        customers = refuse_rows(self._con, table, holdout=holdout)
        digests = self._sql["digests"].format(
            rows="(SELECT 0 AS booking, * FROM winback_incoming) AS asked", number=File.number
        )
        ((_, _, digest),) = self._con_rows(digests)
        draft = Booking(
            kind="assigned",
            at=at,
            booked_at=now(),
            customers=customers,
            experiment=experiment,
            seed=seed,
            plan_hash=plan_hash,
            holdout=holdout,
            by=by,
            digest=digest,
        )
        booked = self._booking_of(experiment)
        if booked is not None:
            same = ("seed", "plan_hash", "holdout", "customers", "digest")
            return self._same(booked, {name: getattr(draft, name) for name in same})
        self._store.stage()
        return self._book(draft, self._sql["assigned"])

    def amend(self, experiment: str, *, before: str, plan_hash: str, reason: str, by: str, at: date) -> Booking:
        """Book that a plan was amended: `before` and `plan_hash` are its sha256 before and now.

        Booked already, it stands. Raises WinbackError where the plan before is not the one that is booked.
        """
        self._refuse_reader(experiment=experiment, reason=reason, by=by)
        known = self.plan_hash(experiment)
        booked = next((one for one in reversed(self.bookings()) if one.plan_hash == plan_hash), None)
        if booked is not None and known == plan_hash:
            return replace(booked, new=False)
        if known != before:
            raise WinbackError(f"The ledger knows another plan of {experiment!r} than the one to amend. Put it back.")
        draft = Booking(
            kind="amended", at=at, booked_at=now(), customers=0, experiment=experiment, plan_hash=plan_hash,
            reason=reason, by=by,
        )  # fmt: skip
        return self._book(draft, "SELECT 0")

    def release(
        self,
        customers: Iterable[object] = (),
        *,
        table: str | None = None,
        experiment: str | None = None,
        reason: str,
        by: str,
        at: date,
    ) -> Released:
        """Make customers assignable again: those named, those of a table, or all of an experiment.

        Who is free already stays free, so a release can be run again. A customer the ledger has never seen is refused,
        and nobody is released.
        """
        self._refuse_reader(reason=reason, by=by)
        given = [same(str(customer)) for customer in ([customers] if isinstance(customers, str) else customers)]
        if [bool(given), table is not None, experiment is not None].count(True) != 1:
            raise WinbackError("Release what? Give either customers, or table=..., or experiment=...; one of them.")
        if experiment is not None:
            self.assigned(experiment, into="winback_asked")
        else:
            with reading(table or "customers"):
                one = "customer_id FROM " + table if table else "unnest(?) AS customer_id"
                self._con.execute(
                    f"CREATE OR REPLACE TEMP TABLE winback_asked AS SELECT DISTINCT {one}", None if table else [given]
                )
        self._take("winback_asked", **ONLY_CUSTOMERS)
        self._store.stage()
        return self._release(reason=reason, by=by, at=at)

    def forget(self, names: Mapping[str, str], *, reason: str, by: str, at: date) -> int:
        """Put pseudonyms in the place of customers (customer: pseudonym), and book that; return how many were booked.

        The one step that changes what stands: digests and the chain are computed anew, and the booking of it keeps the
        chain that was, so that whoever kept that one elsewhere sees what happened. Who is forgotten already stays so.
        """
        self._refuse_reader(reason=reason, by=by)
        listed = ", ".join(map(literal, names))
        held = self._store.rows(f"SELECT DISTINCT customer_id FROM {HOME}.events WHERE customer_id IN ({listed})")
        if not held:
            return 0
        with self._store.rewriting() as execute:
            to, last = self._store.to, self._bookings("TRUE")[-1]
            for (customer,) in held:
                execute(f"UPDATE {to}.events SET customer_id = {literal(names[customer])} "
                        f"WHERE customer_id = {literal(customer)}")  # fmt: skip
            digests = self._sql["digests"].format(rows=f"{to}.events", number=self._store.number)
            computed = {number: digest for number, _, digest in self._store.rows(digests)}
            chain = ""
            for booking in self._bookings("TRUE"):
                changed = replace(booking, digest=computed.get(booking.booking, booking.digest))
                chain = changed.chained(chain)
                execute(f"UPDATE {to}.bookings SET digest = {literal(changed.digest)}, chain = {literal(chain)} "
                        f"WHERE booking = {booking.booking}")  # fmt: skip
            draft = Booking(
                booking=last.booking + 1, kind="forgotten", at=max(at, last.at), booked_at=now(), customers=len(held),
                plan_hash=last.chain, reason=reason, by=by,
            )  # fmt: skip
            self._insert(replace(draft, chain=draft.chained(chain)), execute)
        return len(held)

    def forgotten(self) -> tuple[str, ...]:
        """Return the pseudonyms of customers who were forgotten."""
        rows = self._store.rows(f"SELECT DISTINCT customer_id FROM {HOME}.events WHERE customer_id LIKE '{MARK}%'")
        return tuple(row[0] for row in rows)

    def _release(self, *, reason: str, by: str, at: date) -> Released:
        ((asked,),) = self._con_rows("SELECT count(*) FROM winback_incoming")
        ((unknown, example),) = self._store.rows(self._sql["unknown"])
        if unknown:
            raise WinbackError(
                f"{unknown:,} of {asked:,} customers to release were never assigned, "
                f"such as {example!r}. Nobody was released: remove them."
            )
        rows = f"({self._sql['to_release']}) AS to_release"
        digests = self._sql["digests"].format(rows=rows, number=self._store.number)
        found = self._store.rows(digests)
        if not found:
            return Released(asked=asked, released=0, booking=None)
        ((_, customers, digest),) = found
        draft = Booking(
            kind="released", at=at, booked_at=now(), customers=customers, reason=reason, by=by, digest=digest
        )
        booking = self._book(draft, self._sql["released"].replace("{rows}", rows))
        return Released(asked=asked, released=customers, booking=booking)

    def _book(self, draft: Booking, insert: str) -> Booking:
        """Write a booking and its events, or nothing."""
        with self._store.writing() as execute:
            last = self._bookings("TRUE ORDER BY booking DESC LIMIT 1")
            number, chain = (last[0].booking, last[0].chain) if last else (0, "")
            if last and draft.at < last[0].at:
                raise WinbackError(
                    f"The day is {draft.at}, but the ledger's last booking is of {last[0].at}: nothing is booked "
                    "before it. Set the clock of this machine right."
                )
            booking = replace(draft, booking=number + 1)
            booking = replace(booking, chain=booking.chained(chain))
            self._insert(booking, execute)
            rows = execute(insert.format(to=self._store.to, booking=booking.booking))
            if booking.kind in WITH_EVENTS and rows != booking.customers:
                raise WinbackError(self._taken(booking))
        return booking

    def _insert(self, booking: Booking, execute: Execute) -> None:
        values = ", ".join(value_sql(getattr(booking, name)) for name in COLUMNS)
        execute(f"INSERT INTO {self._store.to}.bookings ({SELECTED}) VALUES ({values})")

    def _taken(self, booking: Booking) -> str:
        taken = self._store.rows(self._sql["taken"].format(booking=booking.booking))
        had = ", ".join(f"{name} ({number:,}, such as {example!r})" for name, number, example in taken)
        return (
            f"{sum(row[1] for row in taken):,} of {booking.customers:,} customers had their chance in {had}. "
            "Nobody was booked: assign those of `ledger.assignable(...)`, or release with a reason."
        )

    def _same(self, booked: Booking, wanted: Mapping[str, object]) -> Booking:
        """Return the booking that stands if nothing else is wanted."""
        for what, asked in wanted.items():
            stands = getattr(booked, what)
            if stands != asked:
                other = "the customers, arms or strata" if what == "digest" else f"{what} {asked!r}, not {stands!r}"
                name = repr(booked.experiment)
                raise WinbackError(
                    f"Experiment {name} was booked on {booked.at} and cannot be drawn anew; now differ: "
                    f"{other}. Go on with its customers, `ledger.assigned({name})`, or give a new test "
                    "another name."
                )
        ((released,),) = self._store.rows(
            f"SELECT count(*) FROM {HOME}.chances WHERE released_at IS NOT NULL AND "
            f"experiment = {literal(booked.experiment)}"
        )
        if released == booked.customers:
            raise WinbackError(
                f"Experiment {booked.experiment!r} was booked on {booked.at} and all its customers were "
                "released since. Give the new test another name."
            )
        return replace(booked, new=False)

    def _take(self, table: str, **columns: str) -> None:
        """Make the view of what is to be booked; customer ids become text, 007 another than 7."""
        with reading(table):
            found = columns_of(self._con, f"SELECT * FROM {table}")
            for column in {"customer_id", "arm", "stratum", "bucket"} - columns.keys() - found.keys():
                raise WinbackError(f"Table {table} has no column {column!r}. {did_you_mean(column, found)}")
            if found["customer_id"] in REAL:
                raise WinbackError(
                    f"Table {table}: customer_id holds {found['customer_id']}, which writes 7 as 7.0. "
                    "Cast it to BIGINT or VARCHAR."
                )
            names = {name: name for name in ("arm", "stratum", "bucket")} | columns
            self._con.execute(self._sql["incoming"].format(table=table, customer=CUSTOMER, **names))

    def _rows_about(self, table: str, view: str, *, columns: tuple[str, ...], where: str) -> str:
        """Return where the rows of a view can be selected from: of the customers of a table, if not of all."""
        self._take(table, **ONLY_CUSTOMERS)
        return self._store.rows_about(view, columns=columns, where=where)

    def _refuse_reader(self, **needed: str) -> None:
        """Refuse to write without a word that must be there, or to a ledger that was opened to read."""
        if self._read_only:
            raise WinbackError("The ledger was opened to read. Open it without read_only=True.")
        for name, value in needed.items():
            if not value.strip():
                raise WinbackError(f"{name} is {value!r}. The history must tell it: write it.")

    def _con_rows(self, query: str) -> list[Row]:
        return self._con.execute(query).fetchall()

    def _booking_of(self, experiment: str) -> Booking | None:
        return next(iter(self._bookings(f"kind = 'assigned' AND experiment = {literal(experiment)}")), None)

    def _bookings(self, where: str) -> tuple[Booking, ...]:
        order = "" if "ORDER BY" in where else " ORDER BY booking"
        rows = self._store.rows(f"SELECT {SELECTED} FROM {HOME}.bookings WHERE {where}{order}")
        return tuple(Booking(**dict(zip(COLUMNS, row, strict=True))) for row in rows)
