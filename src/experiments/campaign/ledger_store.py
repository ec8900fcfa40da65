"""Where the ledger lies: a DuckDB file of one company, or a Postgres database that machines share.

Both write a booking whole or not at all, and let one writer in at a time. Killed at any point, a writer leaves nothing
half done and no lock: the operating system, or the server, takes the lock back.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from experiments.campaign.ledger_errors import CURE, first_line  # fmt: skip
from experiments.common.errors import WinbackError
from experiments.common.files import PRIVATE
from experiments.common.locks import locked, wait
from experiments.data.columns import literal, quote
from experiments.data.tables import statements
from experiments.sheet.ledger_address import read_address

if TYPE_CHECKING:
    import duckdb

Row = tuple[Any, ...]
Execute = Callable[[str], int]

VERSION, OLDER = 2, (1,)  # of the ledger's tables; those that are read, and written anew before anything is booked
HOME, NEXT = "winback_ledger", "winback_ledger_next"  # a schema in Postgres; for a file what it holds, and will hold
LONGER = "wait longer: open_ledger(..., wait_seconds=600)"


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
        from experiments.campaign.ledger_server import open_server

        return open_server(
            place,
            con,
            create=create,
            read_only=read_only,
            wait_seconds=wait_seconds,
            password_variable=password_variable,
        )
    path = Path(address).expanduser().resolve()
    return _open_file(path, con, create=create, read_only=read_only, wait_seconds=wait_seconds)


def missing(name: str) -> WinbackError:
    """Return the error of a ledger that is not there."""
    return WinbackError(f"There is no ledger at {name}. Check the address: another ledger would give every customer a "
                        "second chance. To begin the company's one ledger: `winback assign <sheet> --new-ledger`, or "
                        "open_ledger(..., create=True).")  # fmt: skip


def refuse_version(store: Store, name: str, *, read_only: bool) -> None:
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
        raise missing(str(path))
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
            refuse_version(store, path.name, read_only=read_only)
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
