"""What came of the calls: a filled list becomes rows of the table contacts, each attempt once, no row lost."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.campaign.call_list import cell, columns_found, of_test
from experiments.common.errors import WinbackError, did_you_mean
from experiments.common.files import clear_parts
from experiments.data.columns import CURES, Cell, cell_of, entered, literal, quote, shape
from experiments.data.contracts import CONTRACTS, PLAIN, TYPES, Conventions, Source
from experiments.data.spreadsheets import read_list
from experiments.data.tables import columns_of, statements, write_parquet
from experiments.sheet.contact_rules import FILLED_IN

if TYPE_CHECKING:
    import duckdb

# What is read of a list: column: kind.
ASKED = {"customer_id": "id", "arm": "text", "caller": "text", "channel": "text", "day": "date", "called_on": "date",
         "reached": "flag", "accepted_at": "date", "refused_at": "date", "refusal": "text"}  # fmt: skip
CHUNK = 5_000  # rows of a list that go to the engine at a time
MERGED = ("reached", "accepted_at", "refused_at", "refusal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """What a filled line may not say."""

    condition: str  # SQL on answers_joined
    told: str  # of so many lines
    cure: str


# In this order; a day that is empty is never wrong.
WRONG = {
    "holdout": Wrong(condition="arm = {holdout}", told="are of customers who are held out",
                     cure="Nobody may contact them: find out why somebody did, and remove them from the list."),
    "other_arm": Wrong(condition="told_arm <> arm", told="have another arm than was assigned",
                       cure="The arm is drawn, not chosen: restore it, or remove the column `arm`."),
    "not_listed": Wrong(condition="NOT listed", told="are of customers who are on no list of this test",
                        cure="Import what the list names, or make a list that names them first."),
    "no_day": Wrong(condition='"at" IS NULL', told="have no day", cure="Write it into `called_on`."),
    "early": Wrong(condition='least("at", accepted_at, refused_at) < assigned_at',
                   told="have a day before the customer was assigned", cure="Correct it: nothing was offered by then."),
    "future": Wrong(condition="greatest(\"at\", accepted_at, refused_at) > DATE '{today}'",
                    told="have a day in the future",
                    cure="Write the day of contact into `called_on`, where it was before the day of the list."),
    "both": Wrong(condition="accepted_at IS NOT NULL AND refused",
                  told="say both that the customer accepted and refused", cure="Keep the last word."),
    "not_reached": Wrong(condition="told_reached = FALSE AND (accepted_at IS NOT NULL OR refused)",
                         told="say that the customer was not reached, and answered",
                         cure="Unreachable is no refusal: write yes into `reached`, or empty the answer."),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """Where the rows of a filled list went, and what the test's contacts say now."""

    file: str
    rows: int
    empty: int  # not filled in
    unknown: int  # no such customer
    new: int  # attempts that were not known
    completed: int  # known attempts with more to say
    repeated: int  # filled rows that say nothing new
    planned: int  # kept rows without a day of contact: that of the list was taken
    attempts: int  # of the test, now
    reached: int  # customers of the test, now
    accepted: int
    refused: int

    @property
    def kept(self) -> int:
        """Rows that are in the contacts now."""
        return self.rows - self.empty - self.unknown

    def __str__(self) -> str:
        why = [f"{self.empty:,} not filled in"] if self.empty else []
        why += [f"{self.unknown:,} have no such customer"] if self.unknown else []
        kept = f"kept {self.kept:,} of {self.rows:,}" if why else f"kept all {self.rows:,} rows"
        news = f"{self.new:,} new, {self.completed:,} completed, {self.repeated:,} known already"
        day = [f"{self.planned:,} without a day of contact have the day of the list"] if self.planned else []
        return "; ".join([f"{self.file}: {kept}{': ' if why else ''}{', '.join(why)}", news, *day])


def import_contacts(
    con: duckdb.DuckDBPyConnection,
    file: str | Path,
    *,
    experiment: str,
    holdout: str | None,
    register: Path,
    into: Path,
    today: dt.date,
    assigned: str = "assigned",
    columns: Mapping[str, str] | None = None,
    dates: str | None = None,
    conventions: Conventions = PLAIN,
    replace: bool = False,
) -> Imported:
    """Read a filled call list back into the table contacts, the Parquet file `into`: all of it or nothing.

    `register`: who was ever on a list (`keep_calls`). `columns`: our name: name in the list; `dates`: their format,
    where it is not 2026-01-31. The same list twice adds nothing; a list with more completes what is known; one that
    contradicts it is refused, unless `replace`: then the contacts it tells of are as it tells them. Raises
    WinbackError, and nothing is written.
    """
    path, steps = Path(file), statements("answers")
    _take(con, experiment, assigned=assigned, register=register, into=into)
    rows = _read(con, path, columns or {}, Source(file=path.name, dates=dates), conventions)
    before, only = _stamp(into), literal(experiment)
    con.execute(steps["joined"])
    unknown, kept, planned = _refuse(con, path.name, steps, holdout=holdout, today=today)
    con.execute(steps["incoming"])
    con.execute(steps["matched"].format(experiment=only, replace=replace))
    _refuse_contradictions(con, path.name, steps, replace=replace)
    con.execute(steps["merged"].format(experiment=only, cells=_cells(replace=replace)))
    _refuse_opposed(con, path.name, steps["opposed"].format(experiment=only))
    new, completed = _counts(con)
    if new or completed:
        _write(con, into, before)
    people = con.execute(steps["customers"].format(experiment=only)).fetchall()[0]
    return Imported(
        file=path.name,
        rows=rows,
        empty=rows - unknown - kept,
        unknown=unknown,
        new=new,
        completed=completed,
        repeated=kept - new - completed,
        planned=planned,
        **dict(zip(("reached", "accepted", "refused", "attempts"), people, strict=True)),
    )


# ---- reading


def _read(
    con: duckdb.DuckDBPyConnection, path: Path, names: Mapping[str, str], source: Source, conventions: Conventions
) -> int:
    """Make answers_typed of a list; return its number of rows. A cell that is no date or flag is refused."""
    for column in names:
        if column not in ASKED:
            raise WinbackError(f"A list has no column {column!r}. {did_you_mean(column, ASKED)}")
    foreign = {column: names.get(column, column) for column in ASKED}
    kinds = ", ".join(f"{quote(column)} VARCHAR" for column in ASKED)
    con.execute(f"CREATE OR REPLACE TEMP TABLE answers_raw ({kinds})")
    there: set[str] = set()
    for chunk in _chunks(read_list(path, wanted=tuple(foreign.values()), needed=foreign["customer_id"])):
        there |= chunk[0].keys()
        values = [[row.get(name) for row in chunk] for name in foreign.values()]
        cells = ", ".join("unnest(CAST(? AS VARCHAR[]))" for _ in values)
        con.execute(f"INSERT INTO answers_raw SELECT {cells}", values)
    if not there:
        raise WinbackError(f"{path.name} has a header but no rows. Give the list that the callers filled in.")
    if not there & {foreign[name] for name in FILLED_IN}:
        wanted = ", ".join(foreign[name] for name in FILLED_IN)
        raise WinbackError(f"{path.name} says nothing of what happened: it has none of the columns {wanted}. Add one.")
    return _type(con, foreign, source, conventions)


def _chunks(rows: Iterator[dict[str, str | None]]) -> Iterator[list[dict[str, str | None]]]:
    while chunk := list(islice(rows, CHUNK)):
        yield chunk


def _type(con: duckdb.DuckDBPyConnection, foreign: Mapping[str, str], source: Source, conventions: Conventions) -> int:
    """Make answers_typed: customers, days and flags are read as those of every table."""
    file, cells = source.named, dict[str, Cell]()
    entries = ", ".join(
        f"{entered(quote(column), column, kind=kind, found='VARCHAR', source=source)} AS {quote(column)}"
        for column, kind in ASKED.items()
    )
    con.execute(f"CREATE OR REPLACE TEMP VIEW answers_entered AS SELECT {entries} FROM answers_raw")
    if source.dates is None:
        source = source.model_copy(update={"dates": _dates_of_the_list(con)})
    for column, kind in ASKED.items():
        cells[column], _ = cell_of(
            con, "answers_entered", column, kind=kind, found="VARCHAR", source=source, conventions=conventions,
            where=f"{file}, column {foreign[column]!r}",
        )  # fmt: skip
    rows: int = con.execute("SELECT count(*) FROM answers_raw").fetchall()[0][0]
    for column, one in cells.items():
        unfit = f"{one.raw} IS NULL" if column == "customer_id" else f"{one.typed} IS NULL AND {one.raw} IS NOT NULL"
        query = f"SELECT count(*), min({quote(column)}) FROM answers_entered WHERE {unfit}"
        number, example = con.execute(query).fetchall()[0]
        if number:
            kind = ASKED[column]
            what = f"are no {kind}, such as {shape(example)}" if example is not None else "are empty"
            raise WinbackError(f"{file}, column {foreign[column]!r}: {number:,} of {rows:,} rows {what}. {CURES[kind]}")
    selected = ", ".join(f"{one.typed} AS {quote(column)}" for column, one in cells.items())
    con.execute(f"CREATE OR REPLACE TEMP TABLE answers_typed AS SELECT {selected} FROM answers_entered")
    return rows


def _dates_of_the_list(con: duckdb.DuckDBPyConnection) -> str | None:
    """Return how a spreadsheet wrote the days of the list back, the day first or the month: which, the list knows.

    None where every day is as it was written, or nobody can tell.
    """
    day = "r.day"
    for dates in ("%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y"):
        read_back = f"CAST(try_strptime({day}, {literal(dates)}) AS DATE)"
        same, listed = con.execute(
            f"SELECT count(CASE WHEN {read_back} = l.day THEN 1 END), count({day}) "
            "FROM answers_entered AS r JOIN answers_register AS l ON r.customer_id = l.customer_id"
        ).fetchall()[0]
        if listed and same == listed:
            return dates
    return None


def _take(con: duckdb.DuckDBPyConnection, experiment: str, *, assigned: str, register: Path, into: Path) -> None:
    """Make the views of who was assigned, who was on a list, and what is known of contacts."""
    about = columns_found(con, assigned)
    if "at" not in about:
        raise WinbackError(f"Table {assigned} has no column 'at': nobody knows from which day on to contact. Add it.")
    con.execute(
        "CREATE OR REPLACE TEMP TABLE answers_assigned AS SELECT CAST(customer_id AS VARCHAR) AS customer_id, "
        f'min(arm) AS arm, min("at") AS "at" FROM {assigned} WHERE {of_test(about, experiment)} '
        "GROUP BY 1"
    )
    if not register.is_file():
        raise WinbackError(f"There is no {register.name}: no list of this test was made. Make it: `winback contacts`.")
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE answers_register AS SELECT * FROM read_parquet({literal(register)}) "
        f"WHERE experiment = {literal(experiment)}"
    )
    kinds = {name: TYPES[kind.rstrip("!")] for name, kind in CONTRACTS["contacts"].items()}
    found = {}
    if into.is_file():
        con.execute(f"CREATE OR REPLACE TEMP VIEW answers_before AS SELECT * FROM read_parquet({literal(into)})")
        found = columns_of(con, "answers_before")
    cells = [cell(name, kind, found) for name, kind in kinds.items()]
    cells += [quote(name) for name in found if name not in kinds]
    source = "answers_before" if found else "(SELECT 1) AS nothing WHERE FALSE"
    con.execute(f"CREATE OR REPLACE TEMP TABLE answers_contacts AS SELECT {', '.join(cells)} FROM {source}")
    nameless = con.execute("SELECT count(*) - count(experiment) FROM answers_contacts").fetchall()[0][0]
    if nameless:
        raise WinbackError(
            f"{into.name}: {nameless:,} contacts do not say of which `experiment` they are. Fill that "
            "column first: nobody could tell two tests apart."
        )


# ---- refusing


def _refuse(
    con: duckdb.DuckDBPyConnection, file: str, steps: Mapping[str, str], *, holdout: str | None, today: dt.date
) -> tuple[int, int, int]:
    """Refuse lines that cannot be; return how many have no such customer, are kept, and have no day of their own."""
    filled, known, planned = con.execute(
        "SELECT count(*), count(CASE WHEN known THEN 1 END), "
        "count(CASE WHEN known AND planned THEN 1 END) FROM answers_joined"
    ).fetchall()[0]
    if filled and not known:
        example = con.execute("SELECT min(customer_id) FROM answers_joined").fetchall()[0][0]
        raise WinbackError(
            f"{file}: none of {filled:,} filled rows has a customer of this test, for example "
            f"{example!r}. A spreadsheet that opens a CSV makes 7 of 007: fill in the XLSX, or restore "
            "the column."
        )
    arm = literal(holdout) if holdout is not None else "NULL"
    for wrong in WRONG.values():
        condition = f"known AND ({wrong.condition.format(holdout=arm, today=today)})"
        query = steps["wrong"].format(rows="answers_joined", wrong=condition)
        _stop(con, file, query, told=wrong.told, cure=wrong.cure)
    return filled - known, known, planned


def _refuse_contradictions(
    con: duckdb.DuckDBPyConnection, file: str, steps: Mapping[str, str], *, replace: bool
) -> None:
    query = steps["wrong"].format(rows="answers_incoming", wrong="differs")
    _stop(con, file, query, told="tell one contact in two ways", cure="Keep one line a contact.")
    if not replace:
        query = steps["wrong"].format(rows="answers_matched", wrong="contradicts")
        _stop(
            con,
            file,
            query,
            told="contradict what was imported before",
            cure="Correct the list, or, if it is right now, read it back with `--replace`.",
        )


def _refuse_opposed(con: duckdb.DuckDBPyConnection, file: str, query: str) -> None:
    _stop(
        con,
        file,
        query,
        what="customers",
        told="accepted on one line, or before, and refused on another",
        cure="Keep the last word.",
    )


def _stop(con: duckdb.DuckDBPyConnection, file: str, query: str, *, told: str, cure: str, what: str = "rows") -> None:
    number, example = con.execute(query).fetchall()[0]
    if number:
        raise WinbackError(
            f"{file}: {number:,} {what} {told}, for example customer {example!r}. {cure} Nothing was imported."
        )


# ---- writing


def _cells(*, replace: bool) -> str:
    """Return the SQL of a known contact with what is new: nothing is lost, and who was reached once was reached."""
    if replace:
        later = {name: f"CASE WHEN m.customer_id IS NULL THEN c.{name} ELSE m.{name} END" for name in MERGED}
    else:
        later = {name: f"coalesce(c.{name}, m.{name})" for name in MERGED}
        later["reached"] = "CASE WHEN c.reached OR m.reached THEN TRUE ELSE coalesce(c.reached, m.reached) END"
    return ", ".join(f"{cell} AS {name}" for name, cell in later.items())


def _counts(con: duckdb.DuckDBPyConnection) -> tuple[int, int]:
    asked, matched, completed = con.execute(
        "SELECT (SELECT count(*) FROM answers_incoming), count(*), "
        "count(CASE WHEN completes THEN 1 END) FROM answers_matched"
    ).fetchall()[0]
    return asked - matched, completed


def _stamp(path: Path) -> tuple[int, int] | None:
    if not path.is_file():
        return None
    about = path.stat()
    return about.st_size, about.st_mtime_ns


def _write(con: duckdb.DuckDBPyConnection, into: Path, before: tuple[int, int] | None) -> None:
    if _stamp(into) != before:
        raise WinbackError(f"{into.name} was changed while the list was read. Nothing was imported: run it again.")
    clear_parts(into)
    write_parquet(con, "answers_merged", into, private=True)
