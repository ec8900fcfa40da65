"""A ledger in a schema of a Postgres database, which several machines share."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.campaign.ledger_errors import CREATE, READ, STAGE, WRITE, broken_by, refused_by  # fmt: skip
from experiments.campaign.ledger_store import HOME, LONGER, VERSION, Execute, Row, missing, refuse_version
from experiments.common.errors import WinbackError
from experiments.common.locks import wait
from experiments.data.columns import literal, quote
from experiments.data.tables import statements
from experiments.sheet.ledger_address import NO_NAME, SOURCES, VARIABLE
from experiments.sheet.ledger_address import Server as Place

if TYPE_CHECKING:
    import duckdb
    import psycopg


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
def open_server(
    place: Place,
    con: duckdb.DuckDBPyConnection,
    *,
    create: bool,
    read_only: bool,
    wait_seconds: float,
    password_variable: str | None,
) -> Iterator[Server]:
    """Open the ledger of a server; to write, with its lock held until the end of the block. Raises WinbackError."""
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
                raise missing(name)
            store.create()
        refuse_version(store, name, read_only=read_only)
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
