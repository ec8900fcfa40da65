"""Where the ledger lies: a DuckDB file of one company, or a Postgres database that machines share.

Both write a booking whole or not at all, and let one writer in at a time. Killed at any point, a writer leaves nothing
half done and no lock: the operating system, or the server, takes the lock back.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from experiments.campaign.ledger_errors import (
    CREATE,
    CURE,
    READ,
    STAGE,
    WRITE,
    broken_by,
    first_line,
    refused_by,
)  # fmt: skip
from experiments.common.errors import WinbackError
from experiments.common.files import PRIVATE
from experiments.common.locks import locked, wait
from experiments.data.columns import literal, quote
from experiments.data.tables import statements
from experiments.sheet.ledger_address import NO_NAME, SOURCES, VARIABLE, read_address
from experiments.sheet.ledger_address import Server as Place

if TYPE_CHECKING:
    import duckdb
    import psycopg

Row = tuple[Any, ...]
Execute = Callable[[str], int]

VERSION, OLDER = 2, (1,)  # of the ledger's tables; those that are read, and written anew before anything is booked
HOME, NEXT = "winback_ledger", "winback_ledger_next"  # a schema in Postgres; for a file what it holds, and will hold
LONGER = "wait longer: open_ledger(..., wait_seconds=600)"
ADVISORY = 0x77696E6261636B  # "winback": the number of the lock in a Postgres database
# Of a session in Postgres.
SETTINGS = {
    "standard_conforming_strings": "on",
    "datestyle": "ISO",
    "work_mem": "128MB",  # the usual 4 MB send every join of a million customers to the disk
    "tcp_keepalives_idle": "30",  # seconds: a client whose machine is gone loses its lock within a minute
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
    "client_connection_check_interval": "2s",  # the query of a killed client ends too
}
CLIENT = {"client_encoding": "UTF8", "application_name": "winback"}
CHUNK = 1 << 20  # bytes sent to a server at a time
# What of a ledger's rows goes to the engine, as it goes.
TYPES = {"customer_id": "VARCHAR", "experiment": "VARCHAR", "arm": "VARCHAR", "stratum": "VARCHAR", "bucket": "INTEGER",
         "at": "DATE", "released_at": "DATE", "step": "INTEGER", "holdout": "VARCHAR"}  # fmt: skip
STAGED = ("customer_id", "experiment", "arm", "stratum", "bucket")


class Store(Protocol):
    """What the ledger needs of the engine that keeps it."""

    con: duckdb.DuckDBPyConnection
    to: str  # the schema that is written to
    number: str  # 60 bits of the md5 `code`, in the engine's words

    def rows(self, query: str) -> list[Row]:
        """Return the rows of a query on the ledger."""

    def rows_of(self, view: str, *, columns: tuple[str, ...], where: str) -> str:
        """Return what `con` can select rows of a view from."""

    def rows_about(self, view: str, *, columns: tuple[str, ...], where: str) -> str:
        """Return the same for no more than need be: at least the customers of winback_incoming."""

    def stage(self) -> None:
        """Bring winback_incoming from `con` to the ledger."""

    def writing(self) -> AbstractContextManager[Execute]:
        """Write all that is executed in the block, or nothing; executing returns the number of rows."""

    def rewriting(self) -> AbstractContextManager[Execute]:
        """Write as `writing` does, but change rows that stand: only forgetting may."""

    def upgrade(self) -> None:
        """Write a ledger of an older version anew, whole or not at all."""


def open_store(
    address: str,
    con: duckdb.DuckDBPyConnection,
    *,
    create: bool,
    read_only: bool,
    wait_seconds: float,
    password_variable: str | None,
) -> AbstractContextManager[Store]:
    """Open the store at an address; to write, with its lock held until the end of the block."""
    try:
        place = read_address(address)
    except WinbackError as error:
        raise WinbackError(f"The ledger's address: {error}") from None
    if place is not None:
        return _open_server(
            place,
            con,
            create=create,
            read_only=read_only,
            wait_seconds=wait_seconds,
            password_variable=password_variable,
        )
    path = Path(address).expanduser().resolve()
    return _open_file(path, con, create=create, read_only=read_only, wait_seconds=wait_seconds)


def _missing(name: str) -> WinbackError:
    return WinbackError(f"There is no ledger at {name}. Check the address: another ledger would give every customer a "
                        "second chance. To begin the company's one ledger: `winback assign <sheet> --new-ledger`, or "
                        "open_ledger(..., create=True).")  # fmt: skip


def _refuse_version(store: Store, name: str, *, read_only: bool) -> None:
    """Refuse a ledger of an unknown version; write an older one anew where it is opened to write."""
    ((version,),) = store.rows(f"SELECT version FROM {HOME}.about")
    if version in OLDER:
        if not read_only:
            store.upgrade()
    elif version != VERSION:
        raise WinbackError(f"The ledger {name} is of version {version}, this program knows {VERSION}. Update winback.")


# ---- a DuckDB file


class File:
    """A ledger in a DuckDB file. It is never written to: a booking is a new file, put in the place of the old one.

    So at any point there is the old file or the new one, each whole; there is nothing to replay after a crash, and
    readers are in nobody's way. The price is one copy of the file a booking.
    """

    to = NEXT
    number = "CAST('0x' || substr(code, 1, 15) AS BIGINT)"

    def __init__(self, path: Path, con: duckdb.DuckDBPyConnection, *, wait_seconds: float) -> None:
        self.path, self.con, self._wait_seconds = path, con, wait_seconds
        self._part = path.with_name(f".{path.name}.part")  # one name is enough: who writes holds the lock
        self._log = path.with_name(f".{path.name}.part.wal")

    def rows(self, query: str) -> list[Row]:
        """Return the rows of a query."""
        return self.con.execute(query).fetchall()

    def rows_of(self, view: str, *, columns: tuple[str, ...], where: str) -> str:
        """Return a subquery: the file is attached to `con`."""
        return f"(SELECT {', '.join(map(quote, columns))} FROM {HOME}.{view} WHERE {where})"

    def rows_about(self, view: str, *, columns: tuple[str, ...], where: str) -> str:
        """Return a subquery on all: nothing is brought from anywhere."""
        return self.rows_of(view, columns=columns, where=where)

    def stage(self) -> None:
        """Do nothing: the file is attached to the engine that has the rows."""

    @contextmanager
    def writing(self) -> Iterator[Execute]:
        """Write the next file and put it in the place of this one."""
        self._refuse_transaction()
        with self._explained(), self._cleared():
            before = _identity(self.path)
            shutil.copyfile(self.path, self._part)
            shutil.copymode(self.path, self._part)
            with self._next() as execute:
                yield execute
            if _identity(self.path) != before:
                raise WinbackError(f"The ledger {self.path.name} was changed by something that ignores its lock. "
                                   "Nothing was booked. Run it again; machines share a ledger in Postgres, not on a "
                                   "network drive.")  # fmt: skip
            self.con.execute(f"DETACH {HOME}")  # Windows replaces no open file
            try:
                self._put()
            finally:
                self.attach()

    rewriting = writing  # the next file is another one anyway

    def upgrade(self) -> None:
        """Write the tables anew, as the next file."""
        steps = statements("ledger")
        create = steps["create"].format(to=NEXT, version=VERSION, text="VARCHAR", key="")
        with self._explained(), self._cleared():
            with self._next() as execute:
                execute(f"{create} DELETE FROM {NEXT}.about; {steps['rewritten'].format(to=NEXT, version=VERSION)}")
            shutil.copymode(self.path, self._part)
            self.con.execute(f"DETACH {HOME}")
            try:
                self._put()
            finally:
                self.attach()

    def create(self) -> None:
        """Make an empty ledger, whole or not at all."""
        with self._explained(), self._cleared():
            with self._next() as execute:
                execute(statements("ledger")["create"].format(to=NEXT, version=VERSION, text="VARCHAR", key=""))
            self._part.chmod(PRIVATE)
            self._put()

    def attach(self) -> None:
        """Attach the file to read, when no other program writes to it."""
        wait(
            self._attached,
            seconds=self._wait_seconds,
            called=f"the ledger {self.path.name}",
            holder=lambda: "another program",
            longer=LONGER,
        )

    def _attached(self) -> bool:
        import duckdb

        try:
            self.con.execute(f"ATTACH {literal(self.path)} AS {HOME} (READ_ONLY)")
        except duckdb.IOException as error:
            if "set lock" in str(error):
                return False
            raise
        return True

    @contextmanager
    def _next(self) -> Iterator[Execute]:
        """Write the part in one transaction and read it again: nothing but what comes back may take the place."""
        import duckdb

        self.con.execute(f"ATTACH {literal(self._part)} AS {NEXT}")
        try:
            self.con.execute("BEGIN")
            try:
                yield self._execute
                written = self._counted()
                self.con.execute("COMMIT")
            except BaseException:
                with suppress(duckdb.Error):
                    self.con.execute("ROLLBACK")
                raise
            self.con.execute(f"DETACH {NEXT}")
            self.con.execute(f"ATTACH {literal(self._part)} AS {NEXT} (READ_ONLY)")
            if self._counted() != written or self._log.exists():
                raise OSError("what was written does not come back.")
        finally:
            with suppress(duckdb.Error):
                self.con.execute(f"DETACH {NEXT}")

    def _refuse_transaction(self) -> None:
        """Refuse to book inside a transaction of the caller: asked first, since a failing BEGIN would break it."""
        if self.rows("SELECT txid_current()") == self.rows("SELECT txid_current()"):
            raise WinbackError("The engine is in the middle of a transaction; a booking is one of its own. End yours "
                               "first: con.commit().")  # fmt: skip

    def _execute(self, query: str) -> int:
        rows = self.con.execute(query).fetchall()
        return int(rows[0][0]) if rows else 0

    def _counted(self) -> list[Row]:
        return self.rows(f"SELECT b.*, e.* FROM (SELECT count(*), max(booking), max(chain) FROM {NEXT}.bookings) AS b, "
                         f"(SELECT count(*), max(booking) FROM {NEXT}.events) AS e")  # fmt: skip

    def _put(self) -> None:
        """Put the part in the ledger's place; before and after, wait for the disk."""
        _sync(self._part)
        self._part.replace(self.path)
        if os.name == "posix":
            _sync(self.path.parent)

    @contextmanager
    def _cleared(self) -> Iterator[None]:
        """Remove the part that a killed writer left, and the one that failed."""
        try:
            for path in (self._part, self._log):
                path.unlink(missing_ok=True)
            yield
        finally:
            for path in (self._part, self._log):
                path.unlink(missing_ok=True)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        import duckdb

        try:
            yield
        except (duckdb.Error, OSError) as error:
            raise WinbackError(f"The ledger {self.path.name} cannot be written: {first_line(error)} Its disk needs "
                               f"room for it twice. {CURE}") from None  # fmt: skip


@contextmanager
def _open_file(
    path: Path, con: duckdb.DuckDBPyConnection, *, create: bool, read_only: bool, wait_seconds: float
) -> Iterator[File]:
    import duckdb

    create = create and not read_only
    if not path.exists() and not create:
        raise _missing(str(path))
    store = File(path, con, wait_seconds=wait_seconds)
    with ExitStack() as stack:
        if not read_only:
            stack.enter_context(
                locked(
                    path,
                    seconds=wait_seconds,
                    place=path.with_name(f"{path.name}.lock"),
                    called=f"the ledger {path.name}",
                    longer=LONGER,
                    unlike=", or use Postgres; to read it only: read_only=True",
                )
            )
        if path.with_name(f"{path.name}.wal").exists():
            raise WinbackError(f"Beside the ledger {path.name} lies {path.name}.wal: another program wrote to it and "
                               "did not end well. Open and close it there, so that it can tidy up.")  # fmt: skip
        if create and not path.exists():
            store.create()
        try:
            store.attach()
            stack.callback(_detach, con)
            _refuse_version(store, path.name, read_only=read_only)
        except duckdb.Error as error:
            raise WinbackError(f"{path.name} cannot be opened as a ledger: {first_line(error)} Check the path, and "
                               "that it is open once.") from None  # fmt: skip
        yield store


def moved_file(old: Path, new: Path) -> bool:
    """Move a ledger's file while nobody writes to it; tell whether it moved."""
    with locked(old, place=old.with_name(f"{old.name}.lock"), called=f"the ledger {old.name}", longer=LONGER):
        if not old.is_file() or new.exists() or old.with_name(f"{old.name}.wal").exists():
            return False
        old.rename(new)
        new.chmod(0o600)
    return True


def _detach(con: duckdb.DuckDBPyConnection) -> None:
    import duckdb

    with suppress(duckdb.Error):  # the connection may be closed already
        con.execute(f"DETACH {HOME}")


def _identity(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# ---- a Postgres database


class Server:
    """A ledger in a schema of a Postgres database; its primary key lets no customer have a chance twice."""

    to = HOME
    number = "CAST(CAST('x' || substr(code, 1, 15) AS BIT(60)) AS BIGINT)"

    def __init__(self, connection: psycopg.Connection[Row], con: duckdb.DuckDBPyConnection, *, name: str) -> None:
        self.con, self._connection, self._name = con, connection, name

    def rows(self, query: str) -> list[Row]:
        """Return the rows of a query."""
        with _explained(self._name):
            rows: list[Row] = self._connection.execute(query.encode()).fetchall()
            return rows

    def rows_of(self, view: str, *, columns: tuple[str, ...], where: str) -> str:
        """Copy rows into a temporary table of `con`; from server to engine they are bytes that Python hands on."""
        query = f"SELECT {', '.join(map(quote, columns))} FROM {HOME}.{view} WHERE {where}"
        types = ", ".join(f"{literal(name)}: {literal(TYPES[name])}" for name in columns)
        with _explained(self._name), tempfile.TemporaryDirectory(prefix="winback-") as folder:
            path = Path(folder, "rows.csv")
            copy = f"COPY ({query}) TO STDOUT (FORMAT csv, FORCE_QUOTE *)"
            with path.open("wb") as file, self._connection.cursor() as cursor, cursor.copy(copy.encode()) as blocks:
                file.writelines(blocks)
            self.con.execute(
                f"CREATE OR REPLACE TEMP TABLE winback_{view} AS SELECT * FROM read_csv({literal(path)}, "
                "auto_detect = false, header = false, delim = ',', quote = '\"', escape = '\"', nullstr = '', "
                f"allow_quoted_nulls = false, columns = {{{types}}})"
            )
        return f"winback_{view}"

    def rows_about(self, view: str, *, columns: tuple[str, ...], where: str) -> str:
        """Send the customers there and bring what is known of them: a few may ask a ledger of millions."""
        self.stage()
        asked = "customer_id IN (SELECT customer_id FROM winback_incoming)"
        return self.rows_of(view, columns=columns, where=f"{asked} AND {where}")

    def stage(self) -> None:
        """Copy winback_incoming into a temporary table of the session."""
        columns = ", ".join(STAGED)
        with _explained(self._name, rights=STAGE), tempfile.TemporaryDirectory(prefix="winback-") as folder:
            path = Path(folder, "rows.csv")
            quoted = "customer_id, experiment, arm, stratum"
            self.con.execute(f"COPY (SELECT {columns} FROM winback_incoming) TO {literal(path)} "
                             f"(FORMAT csv, HEADER false, FORCE_QUOTE ({quoted}))")  # fmt: skip
            typed = ", ".join(f"{name} {TYPES[name]}" for name in STAGED).replace("VARCHAR", 'VARCHAR COLLATE "C"')
            self._execute("DROP TABLE IF EXISTS pg_temp.winback_incoming")
            self._execute(f"CREATE TEMP TABLE winback_incoming ({typed})")
            copy = f"COPY winback_incoming ({columns}) FROM STDIN (FORMAT csv)"
            with path.open("rb") as file, self._connection.cursor() as cursor, cursor.copy(copy.encode()) as blocks:
                while block := file.read(CHUNK):
                    blocks.write(block)
            self._execute("ANALYZE winback_incoming")

    @contextmanager
    def writing(self) -> Iterator[Execute]:
        """Write in one transaction, alone even where a connection pool breaks the session's lock."""
        with _explained(self._name, rights=WRITE), self._connection.transaction():
            self._execute(f"LOCK TABLE {HOME}.bookings IN EXCLUSIVE MODE")
            yield self._execute
            self._execute(f"ANALYZE {HOME}.events")  # after a large booking the old counts would mislead the planner

    def create(self) -> None:
        """Make an empty ledger, whole or not at all."""
        steps = statements("ledger")
        # Bytes, not a language: else a new version of the system's sorting could break the key.
        text, key = 'VARCHAR COLLATE "C"', ", PRIMARY KEY (customer_id, step)"
        with _explained(self._name, rights=CREATE), self._connection.transaction():
            self._execute(f"CREATE SCHEMA IF NOT EXISTS {HOME}")
            self._execute(steps["create"].format(to=HOME, version=VERSION, text=text, key=key))
            self._execute(steps["guard"].format(to=HOME))
            self._execute(steps["once"])

    @contextmanager
    def rewriting(self) -> Iterator[Execute]:
        """Write in one transaction in which rows that stand may change."""
        tables = [f"{HOME}.{name}" for name in ("events", "bookings")]
        with self.writing() as execute:
            for table in tables:
                execute(f"ALTER TABLE {table} DISABLE TRIGGER only_added")
            yield execute
            for table in tables:
                execute(f"ALTER TABLE {table} ENABLE TRIGGER only_added")

    def upgrade(self) -> None:
        """Alter the tables, whole or not at all."""
        steps = statements("ledger")
        with _explained(self._name), self._connection.transaction():
            self._execute(steps["altered"].format(version=VERSION))
            self._execute(steps["once"])

    def locked(self) -> bool:
        """Take the session's lock if nobody has it."""
        return bool(self.rows(f"SELECT pg_try_advisory_lock({ADVISORY})")[0][0])

    def holder(self) -> str:
        """Return who has the lock."""
        found = self.rows(
            "SELECT a.usename, a.pid, a.client_addr FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid "
            f"WHERE l.locktype = 'advisory' AND l.granted AND l.objid = {ADVISORY & 0xFFFFFFFF} AND l.database = "
            "(SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        return f"{found[0][0]}, session {found[0][1]} from {found[0][2] or 'its own machine'}" if found else "a session"

    def _execute(self, query: str) -> int:
        rows: int = self._connection.execute(query.encode()).rowcount
        return rows


@contextmanager
def _open_server(
    place: Place,
    con: duckdb.DuckDBPyConnection,
    *,
    create: bool,
    read_only: bool,
    wait_seconds: float,
    password_variable: str | None,
) -> Iterator[Server]:
    try:
        import psycopg
    except ImportError:
        raise WinbackError("A ledger in Postgres needs psycopg. Install it: pip install "
                           "'winback-experiments[postgres]'.") from None  # fmt: skip
    name, secret = place.name, _password(password_variable)
    with ExitStack() as stack:
        try:
            connection = psycopg.connect(**secret | place.parameters | CLIENT, autocommit=True)
        except psycopg.Error as error:
            raise refused_by(error, name=name) from None
        stack.enter_context(connection)
        with _explained(name):
            for setting, value in SETTINGS.items():
                which = f"FROM pg_settings WHERE name = {literal(setting)}"  # an older server has not all of them
                connection.execute(f"SELECT set_config(name, {literal(value)}, false) {which}".encode())
        store = Server(connection, con, name=name)
        if not read_only:
            wait(store.locked, seconds=wait_seconds, called=f"the ledger {name}", holder=store.holder, longer=LONGER)
        if store.rows(f"SELECT to_regclass('{HOME}.about') IS NULL")[0][0]:
            if not create or read_only:
                raise _missing(name)
            store.create()
        _refuse_version(store, name, read_only=read_only)
        yield store


def _password(variable: str | None) -> dict[str, Any]:
    """Return the password that an environment variable holds, as libpq calls it; nothing where none is named.

    No message names the variable: by mistake it may be the password itself.
    """
    if variable is None:
        return {}
    if not VARIABLE.fullmatch(variable):
        raise WinbackError(f"The variable of the ledger's password: {NO_NAME}")
    value = os.environ.get(variable, "")
    if not value:
        raise WinbackError("The environment variable that `ledger_password` names is not set, or empty. Set it to the "
                           f"password of the ledger; a password comes from {SOURCES}.")  # fmt: skip
    return {"password": value}


@contextmanager
def _explained(name: str, *, rights: str = READ) -> Iterator[None]:
    import duckdb
    import psycopg

    try:
        yield
    except (psycopg.Error, duckdb.Error, OSError) as error:
        raise broken_by(error, name=name, rights=rights) from None
