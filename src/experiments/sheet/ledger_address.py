"""Where the ledger lies, as a sheet says it: a file or a Postgres database. A password there is refused, never shown.

No message of this module repeats anything of what it refuses: any part of it may be a part of a password.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import unquote

from experiments.common.errors import WinbackError

SECRET = "secret"  # the type of error of a value that no message may show  # noqa: S105
HIDDEN = "(not shown)"  # what stands for it
SOURCES = "PGPASSWORD, PGPASSFILE, ~/.pgpass, or an environment variable whose name `ledger_password` tells"
PASSWORD = f"A password does not belong here. Take it out and change it; it comes from {SOURCES}."
EXAMPLE = "postgresql://user@host:5432/database"
UNREADABLE = (
    f"This is no address of a server that can be read. Write {EXAMPLE}, or `host=... user=... dbname=...`; a sign such "
    "as @ in a name is %40, and a password does not belong here. A file of such a name is ./name."
)
NO_DATABASE = f"The address names no database: each user would have another ledger. Write it: {EXAMPLE}."
NO_NAME = (
    "This must be the name of an environment variable that holds the password, such as WINBACK_PASSWORD: letters, "
    "digits and _. If it was the password, change it."
)
NO_SETTING = f"There is no such setting, and a password does not belong into a sheet. It comes from {SOURCES}."

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
PRIVATE = re.compile(r"ledger|pass?w|pass\b|pwd|secret|postgres|://", re.IGNORECASE)  # a row that no message shows
# Names under which people write a password: of settings; and inside of one, where a name may be a reason or an arm.
TELLING = re.compile(r"pass?w|pwd|pgpass|^ledger_.", re.IGNORECASE)
INSIDE = re.compile(r"(pg|db_?|ledger_)?(password|passwd|pwd)", re.IGNORECASE)
SERVER = re.compile(r"\W*postgres(ql)?\s*:|[^/\\]{2,}://", re.IGNORECASE)
KEYWORDS = re.compile(r"\w+\s*=")
LOGIN = re.compile(r"(?![A-Za-z]:[\\/])(//)?[^/\\@]*:.*@", re.DOTALL)  # ann:word@host; not C:\ of Windows

_SIGN = r"(?:[^\s@:/?#\[\]%,=&]|%[0-9A-Fa-f]{2})"
_HOST = rf"(?:\[[0-9A-Fa-f:.]+\]|{_SIGN}*)(?::[0-9]*)?"
URL = re.compile(
    rf"postgres(?:ql)?://(?:(?P<user>{_SIGN}*)@)?(?P<hosts>{_HOST}(?:,{_HOST})*)"
    rf"(?:/(?P<dbname>{_SIGN}*))?(?:\?(?P<query>.*))?",
    re.DOTALL,
)
QUERY = re.compile(r"(?P<name>[a-z_]+)=(?P<value>(?:[^\s@?#\[\]%=&]|%[0-9A-Fa-f]{2})*)")
PAIR = re.compile(r"\s*(\w+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|((?:[^\s'\\]|\\.)(?:[^\s\\]|\\.)*)?)(?=\s|$)", re.DOTALL)
LIKE_LOGIN = re.compile(r"\W*(postgres(ql)?\s*:.*(@|password)|\w+\s*=.*\bpassword\s*=)", re.IGNORECASE | re.DOTALL)
# In `ledger: postgresql://ann:word #more@host` YAML takes the end for a comment.
CUT = re.compile(r"^[\"'{\s]*ledger[\"']?\s*:\s*postgres[^@\n\"']*\s#[^\n]*@", re.IGNORECASE | re.MULTILINE)
ADDRESSED = re.compile(r"[\w.-]*|/[\w./-]*|[0-9A-Fa-f:.]+")  # a host, the folder of a socket, an IPv6 address
# What libpq knows; what is secret is refused.
SECRETS = frozenset(["password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"])
_LIBPQ = (
    "application_name channel_binding client_encoding connect_timeout dbname fallback_application_name gssdelegation "
    "gssencmode gsslib host hostaddr keepalives keepalives_count keepalives_idle keepalives_interval krbsrvname "
    "load_balance_hosts max_protocol_version min_protocol_version oauth_client_id oauth_issuer oauth_scope "
    "options passfile port replication require_auth "
    "requirepeer service servicefile sslcert sslcertmode sslcompression sslcrl sslcrldir sslkey sslkeylogfile sslmode "
    "sslnegotiation sslrootcert sslsni ssl_max_protocol_version ssl_min_protocol_version target_session_attrs "
    "tcp_user_timeout user"
)
KNOWN = frozenset(_LIBPQ.split())


@dataclass(frozen=True, slots=True)
class Server:
    """A Postgres database: how it is called in messages, and what libpq needs to connect, no password."""

    name: str  # host, port and database
    parameters: dict[str, str] = field(repr=False)


def read_address(address: str | Path) -> Server | None:
    """Return the server of an address, None for a path to a file.

    `address`: a path, a URL, or libpq's `host=... dbname=...`. Raises WinbackError, which shows nothing of it, for a
    password in whatever form, and for what looks like an address of a server and is none.

    >>> read_address("postgresql://ann@db.example:5433/crm?sslmode=require").name
    'db.example:5433/crm'
    >>> read_address("../ledger.duckdb")
    """
    text = str(address).strip()
    if SERVER.match(text):
        parameters = _of_url(text)
    elif KEYWORDS.match(text):
        parameters = _of_keywords(text)
    elif LOGIN.match(text):
        raise WinbackError(PASSWORD)
    else:
        return None
    return Server(name=_named(parameters, text), parameters=parameters)


def _of_url(text: str) -> dict[str, str]:
    """Return what a URL says, as libpq reads it; only if nothing in it can be read otherwise."""
    found = URL.fullmatch(text)
    pairs = [QUERY.fullmatch(part) for part in (found["query"] or "").split("&") if part] if found else [None]
    if found is None or None in pairs or ":" in unquote(found["user"] or ""):
        raise _refused(text)
    hosts = [
        host.rpartition(":") if re.search(r":\d*$", host) else (host, "", "") for host in found["hosts"].split(",")
    ]
    ports = [port for _, _, port in hosts]
    said = {
        "user": unquote(found["user"] or ""),
        "host": ",".join(unquote(host.strip("[]")) for host, _, _ in hosts),
        "port": ",".join(ports) if any(ports) else "",
        "dbname": unquote(found["dbname"] or ""),
    }
    said |= {pair["name"]: unquote(pair["value"]) for pair in pairs if pair}
    if said.pop("ssl", "") == "true":  # as other programs write it
        said["sslmode"] = "require"
    return {name: value for name, value in said.items() if value}


def _of_keywords(text: str) -> dict[str, str]:
    """Return what libpq's keywords say."""
    said, place = {}, 0
    while place < len(text):
        found = PAIR.match(text, place)
        if found is None:
            raise _refused(text)
        name, quoted, plain = found.groups()
        said[name] = re.sub(r"\\(.)", r"\1", quoted if quoted is not None else plain or "", flags=re.DOTALL)
        place = found.end()
    return said


def _named(said: dict[str, str], text: str) -> str:
    """Return the name of a server for messages; refuse what must not stand in an address, or cannot be shown."""
    if SECRETS & said.keys():
        raise WinbackError(PASSWORD)
    if unknown := said.keys() - KNOWN:
        if _holds_login(text):
            raise WinbackError(PASSWORD)
        near = get_close_matches(min(unknown), sorted(KNOWN), n=1)
        raise WinbackError(f"{UNREADABLE} Did you mean {near[0]!r}?" if near else UNREADABLE)
    hosts = (said.get("host") or said.get("hostaddr", "")).split(",")
    ports = said.get("port", "").split(",")
    shown = all(map(ADDRESSED.fullmatch, hosts)) and all(re.fullmatch("[0-9]*", port) for port in ports)
    if not shown or re.search("[@:/\x00-\x1f]", said.get("dbname", "")):
        raise _refused(text)
    if not (said.get("dbname") or said.get("service")):
        raise WinbackError(NO_DATABASE)
    ports = ports * len(hosts) if len(ports) == 1 else ports
    pairs = zip(hosts, [*ports, *[""] * len(hosts)], strict=False)
    place = ",".join(host + (port and f":{port}") for host, port in pairs)
    return f"{place or 'postgresql://'}/{said.get('dbname', '')}"


def _refused(text: str) -> WinbackError:
    return WinbackError(PASSWORD if _holds_login(text) else UNREADABLE)


def _holds_login(text: str) -> bool:
    """Tell whether a text that cannot be read holds what may be a password."""
    whole = unquote(text)
    user = re.sub(r"^\W*\w+:/*", "", whole).rpartition("@")[0]
    return ":" in user or bool(re.search(r"pass?w|pwd|secret|\bpass\s*=", whole, re.IGNORECASE))


def secrets_in(settings: object, known: Collection[str], within: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield each place of a sheet's settings where a password stands, and last what to say of it.

    `known`: the settings of a sheet. Yields (*place, sentence); neither holds anything of the password.
    """
    if isinstance(settings, dict):
        for key, value in settings.items():
            name = str(key)
            if _is_login(name):
                yield (*within, HIDDEN, PASSWORD)
            elif said := _said_of(name, value, top=not within, known=known):
                yield (*within, name, said)
            else:
                yield from secrets_in(value, known, (*within, name))
    elif isinstance(settings, list | tuple):
        for place, value in enumerate(settings):
            yield from secrets_in(value, known, (*within, str(place)))
    elif isinstance(settings, str) and within not in (("ledger",), ("question",)) and _is_login(settings):
        yield (*within, PASSWORD)


def _said_of(name: str, value: object, *, top: bool, known: Collection[str]) -> str:
    """Return what is wrong with one setting; nothing where it holds no password itself."""
    if top and name == "ledger":
        if value is not None and not isinstance(value, str):
            return UNREADABLE
        try:
            read_address(value or "")
        except WinbackError as error:
            return str(error)
    elif top and name == "ledger_password":
        named = value is None or (isinstance(value, str) and VARIABLE.fullmatch(value))
        return "" if named else NO_NAME
    elif isinstance(value, str | int) and (
        TELLING.search(name) and name not in known if top else INSIDE.fullmatch(name)
    ):
        return NO_SETTING
    return ""


def _is_login(text: str) -> bool:
    """Tell whether a text, wherever it stands, is an address of a server with a password."""
    if not LIKE_LOGIN.match(text):
        return False
    try:
        read_address(text)
    except WinbackError:
        return True
    return False
