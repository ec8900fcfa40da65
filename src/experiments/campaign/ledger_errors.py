"""What a Postgres server refuses, in words, each with its own cure; nothing of a password, nor of how it was reached.

The state of an error is looked at first, whatever language the server speaks. Who is not let in gets no state from
libpq: then its words are looked at, and never shown.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from experiments.common.errors import WinbackError, short
from experiments.sheet.ledger_address import SOURCES

if TYPE_CHECKING:
    import psycopg

CURE = "Run it again: what was booked stays booked, once."
# The rights that a step needs, to be granted.
CONNECT = "CONNECT ON DATABASE"
READ = "USAGE ON SCHEMA winback_ledger and SELECT ON ALL TABLES IN SCHEMA winback_ledger"
STAGE = "TEMPORARY ON DATABASE"
WRITE = "INSERT, UPDATE ON ALL TABLES IN SCHEMA winback_ledger"  # UPDATE for the lock: nothing is ever changed
CREATE = "CREATE ON DATABASE"

SAID = {
    "password": "The server of the ledger {name} refuses the password, or knows no such user. Correct the user in the "
    f"address, or the password; it comes from {SOURCES}.",
    "no password": "The server of the ledger {name} asks for a password, and none was given. Give it: "
    f"{SOURCES}; a line of a password file must fit host, port, database and user.",
    "user": "The server of the ledger {name} has no such user. Correct the user in the address, `user@host`, or ask "
    "for it: CREATE ROLE ... LOGIN.",
    "login": "The server of the ledger {name} lets this user not log in. Ask for it: ALTER ROLE ... LOGIN.",
    "entry": "The server of the ledger {name} lets this user, or this machine, not in. Ask for a line in its "
    "pg_hba.conf; if it wants an encrypted connection: `sslmode=require` in the address.",
    "database": "There is no such database: {name}. Correct its name in the address, or ask for it: CREATE DATABASE.",
    "rights": "The user of the ledger {name} lacks a right. Ask its owner for it: GRANT {rights}.",
    "name": "The server of the ledger {name} cannot be reached: no machine has that name. Correct the host in the "
    "address, or connect to its network.",
    "refused": "The server of the ledger {name} cannot be reached: nothing answers there. Start it, or correct host "
    "and port in the address.",
    "away": "The server of the ledger {name} cannot be reached: no answer in time. Connect to its network, or correct "
    "host and port in the address.",
    "encryption": "The server of the ledger {name} and this machine agree on no encryption. Correct `sslmode` and "
    "`sslrootcert` in the address.",
    "starting": "The server of the ledger {name} is starting or stopping. Wait a minute, then run it again.",
    "full": "The server of the ledger {name} has no connection left. Wait until others end, or ask for more: "
    "max_connections.",
    "lost": f"The connection to the ledger {{name}} was lost: its server stopped, or ended it. {CURE}",
    "cancelled": "The server of the ledger {name} ended what took too long, or somebody did. Nothing was booked; run "
    "it again when less happens there, or ask for more time: ALTER ROLE ... SET statement_timeout.",
    "locked": "Another program locks the ledger {name} for longer than its server waits. Nothing was booked; run it "
    "again when that has ended.",
    "copy": "The server of the ledger {name} can only be read: it is a copy, or set so. Write the address of the one "
    "that can be written to.",
    "disk": "The server of the ledger {name} has no room left. Nothing was booked; ask for more, then run it again.",
    "unknown": "The server of the ledger {name} lets nobody in, for a reason this program does not know. Look whether "
    "`psql` does with the same address; its answer tells more.",
}
# The beginning of the state of an error: what it means.
STATES = {
    "28P01": "password", "28000": "entry", "3D000": "database", "42501": "rights", "57014": "cancelled",
    "57P03": "starting", "57P": "lost", "08": "lost", "25P03": "lost", "53300": "full", "55P03": "locked",
    "25006": "copy", "53100": "disk",
}  # fmt: skip
# What libpq and the server say while nobody is let in yet, and what it means.
WORDS = {
    "password authentication failed|authentication failed": "password",
    "no password supplied": "no password",
    'role ".*" does not exist': "user",
    "is not permitted to log in": "login",
    "no pg_hba.conf entry|rejects connection": "entry",
    'database ".*" does not exist': "database",
    "permission denied for database": "rights",
    "could not translate host name|failed to resolve host|Name or service not known": "name",
    "starting up|shutting down|in recovery mode|not yet accepting": "starting",
    "too many (clients|connections)|connection slots": "full",
    "SSL|certificate|GSS": "encryption",
    "refused|No such file or directory": "refused",
    "timeout|timed out|No route|unreachable": "away",
    "closed the connection unexpectedly|Connection reset": "lost",
}


def refused_by(error: psycopg.Error, *, name: str) -> WinbackError:
    """Return why a server lets nobody in. `name`: of the ledger, without user and password."""
    if getattr(error.pgconn, "needs_password", False):  # in whatever language it says so
        return WinbackError(SAID["no password"].format(name=name))
    told = str(error)
    meant = STATES.get(error.sqlstate or "") or next(
        (meant for words, meant in WORDS.items() if re.search(words, told, re.DOTALL)), "unknown"
    )
    return WinbackError(SAID[meant].format(name=name, rights=CONNECT))


def broken_by(error: Exception, *, name: str, rights: str) -> WinbackError:
    """Return what went wrong on an open connection. `rights`: what the step needs, if it lacks one."""
    state = getattr(error, "sqlstate", None) or ""
    meant = next((STATES[state[:size]] for size in (5, 3, 2) if state[:size] in STATES), "")
    if not meant and not state and type(error).__name__ == "OperationalError":  # no word from the server: it is gone
        meant = "lost"
    if meant:
        return WinbackError(SAID[meant].format(name=name, rights=rights))
    return WinbackError(f"The ledger {name} cannot be used: {first_line(error)} {CURE}")


def first_line(error: Exception) -> str:
    """Return the first line of what an engine says."""
    return short(next(iter(str(error).strip().splitlines()), type(error).__name__), 300)
