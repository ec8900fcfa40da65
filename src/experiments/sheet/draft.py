"""A sheet written from a company's files: what was recognised, with a comment on each line, to be corrected."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.common.errors import Ambiguous, WinbackError, did_you_mean
from experiments.data.contracts import Conventions, Source
from experiments.data.recognise import NAMES, Recognised, recognised
from experiments.data.tables import connect, read
from experiments.data.workbooks import sheets_of

if TYPE_CHECKING:
    import duckdb

TOLD = {"name": "by its name", "content": "by its contents", "you": "as you said"}
OF_SHEET = ("currency", "time_zone", "experiment", "language")
OF_FILE = ("encoding", "delimiter", "worksheet")
OF_TABLE = ("dates", "decimal")  # settings of a table that its cells may not tell
ZONES = {
    "EUR": ("Europe/Paris", "Europe/Berlin", "Europe/Madrid", "UTC"),
    "RUB": ("Europe/Moscow", "Asia/Yekaterinburg", "UTC"),
    "USD": ("America/New_York", "America/Chicago", "America/Los_Angeles", "UTC"),
    "GBP": ("Europe/London", "UTC"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A sheet that was not written yet."""

    experiment: str
    tables: dict[str, tuple[Recognised, ...]]
    settings: dict[str, dict[str, str]]  # table: what had to be said of its cells
    currency: str
    time_zone: str | None
    language: str | None
    as_of: date

    def text(self, folder: Path) -> str:
        """Return the sheet as YAML, the files named from a folder."""
        lines = [
            "# What `winback` took from your files. Correct what is wrong, then look again: winback lost <this file>",
            f"experiment: {_quoted(self.experiment)}",
            f"currency: {_quoted(self.currency)}",
            *([f"language: {_quoted(self.language)}"] if self.language else []),
        ]
        lines += [f"time_zone: {_quoted(self.time_zone)}  # in which an instant is a day"] if self.time_zone else []
        lines += ["lost:", f"  as_of: {self.as_of}  # the last day of the purchases", "tables:"]
        for table, files in self.tables.items():
            lines += self._table(table, files, folder)
        return "\n".join(lines) + "\n"

    def _table(self, table: str, files: Sequence[Recognised], folder: Path) -> list[str]:
        names = [_quoted(Path(os.path.relpath(one.path, folder)).as_posix()) for one in files]
        rows = sum(one.rows for one in files)
        listed = names[0] if len(names) == 1 else f"[{', '.join(names)}]"
        lines = [f"  {table}:", f"    file: {listed}  # {rows:,} rows"]
        lines += [f"    {name}: {_quoted(value)}" for name, value in (files[0].settings | self.settings[table]).items()]
        lines += ["    columns:"]
        for role, name in files[0].columns.items():
            lines.append(f"      {role}: {_quoted(name)}  # {TOLD[files[0].told_by[role]]}")
        if files[0].unused:
            lines.append(f"    # not used: {', '.join(map(_quoted, files[0].unused))}")
        return lines


def _quoted(text: str | None) -> str:
    """Return a text in quotes, so that YAML changes nothing of it."""
    return json.dumps(text, ensure_ascii=False)


def drafted(paths: Sequence[Path], *, given: Mapping[str, str]) -> Draft:
    """Return the sheet that fits a company's files. `given`: what the user said, such as {"currency": "EUR"}.

    Raises Ambiguous for what only the user knows: which of two columns, which currency, whether the day comes first.
    """
    known = {*NAMES, *OF_TABLE, *OF_FILE, *OF_SHEET}
    for name in given:
        if name not in known:
            raise WinbackError(f"--set {name}: there is nothing called so. {did_you_mean(name, sorted(known))}")
    with connect() as con:
        found = [one for place, path in enumerate(paths) for one in _in_file(con, path, f"file_{place}", given)]
        tables: dict[str, tuple[Recognised, ...]] = {}
        for one in found:
            tables[one.table] = (*tables.get(one.table, ()), one)
        if "purchases" not in tables:
            raise WinbackError(
                f"None of the files holds purchases: {', '.join(path.name for path in paths)}. Give one with a "
                "customer, a date and an amount in each row."
            )
        for table, files in tables.items():
            _refuse_unlike(table, files)
        zone = given.get("time_zone")
        settings, last = {}, None
        for table, files in tables.items():
            settings[table], day = _settled(con, table, files, given=given, zone=zone)
            last = day if table == "purchases" else last
    if last is None:
        raise WinbackError("The purchases have no day.")
    return Draft(
        experiment=given.get("experiment") or _name(paths[0]), tables=tables, settings=settings,
        currency=_currency(tables["purchases"], given), time_zone=zone, language=given.get("language"), as_of=last,
    )  # fmt: skip


def _in_file(con: duckdb.DuckDBPyConnection, path: Path, key: str, given: Mapping[str, str]) -> list[Recognised]:
    """Return what a file holds; of a workbook, every sheet that has customers."""
    with path.open("rb") as file:
        is_book = file.read(4) in (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
    names = [name for name, _ in sheets_of(path, called=path.name)] if is_book and "worksheet" not in given else []
    if len(names) < 2:  # noqa: PLR2004  a sheet alone
        return [recognised(con, path, key=key, given=given)]
    found = []
    for place, name in enumerate(names):
        try:
            found.append(recognised(con, path, key=f"{key}_{place}", given={**given, "worksheet": name}))
        except Ambiguous:
            raise
        except WinbackError:  # a sheet of notes, or an empty one
            continue
    return found


def _refuse_unlike(table: str, files: Sequence[Recognised]) -> None:
    """Refuse files of one table whose columns are called differently: one line of the sheet names them all."""
    for other in files[1:]:
        if other.columns != files[0].columns:
            raise WinbackError(
                f"{files[0].path.name} and {other.path.name} both look like {table}, but their columns are called "
                "differently. Export them alike, or give one of them."
            )


def _settled(
    con: object, table: str, files: Sequence[Recognised], *, given: Mapping[str, str], zone: str | None
) -> tuple[dict[str, str], date | None]:
    """Read a table as its sheet will; return what had to be said of its cells, and its last day."""
    said: dict[str, str] = {}
    folder = Path(os.path.commonpath([one.path.absolute().parent for one in files]))
    names = [one.path.absolute().relative_to(folder).as_posix() for one in files]
    while True:
        source = Source.model_validate({"file": names, "columns": files[0].columns, **files[0].settings, **said})
        try:
            account = read(con, table, source, folder=folder, conventions=Conventions(time_zone=zone))  # type: ignore[arg-type]
        except Ambiguous as error:
            if error.setting == "time_zone":  # never the machine's: those of the countries that pay so
                zones = ZONES.get(files[0].currency or given.get("currency", ""), ("UTC",))
                raise Ambiguous(str(error), setting="time_zone", choices=dict.fromkeys(zones, "")) from None
            if error.setting not in OF_TABLE or error.setting in said or error.setting not in given:
                raise
            said[error.setting] = given[error.setting]
        else:
            return said, account.last


def _currency(purchases: Sequence[Recognised], given: Mapping[str, str]) -> str:
    found = {one.currency for one in purchases}
    if said := given.get("currency"):
        return said
    if len(found) == 1 and (only := next(iter(found))):
        return only
    raise Ambiguous(
        f"{purchases[0].path.name} does not say its currency. Say it: `--set currency=EUR`.",
        setting="currency",
        choices=dict.fromkeys(("EUR", "USD", "RUB", "GBP"), ""),
    )


def _name(path: Path) -> str:
    """Return the name of an experiment after a file."""
    stem = path.name.partition(".")[0]
    name = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")[:40]
    # Letters that a folder of reports cannot have: two files must not share it.
    return (
        name if stem.isascii() and name else f"lost-{hashlib.md5(stem.encode(), usedforsecurity=False).hexdigest()[:6]}"
    )
