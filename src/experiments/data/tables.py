"""Tables as the company has them: read by their contract, checked once, every row accounted for."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, timedelta
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.common.errors import WinbackError, did_you_mean
from experiments.common.files import whole_file
from experiments.common.finding import Fact, Finding
from experiments.common.today import today
from experiments.data.columns import CURES, Cell, cell_of, entered, fill_of, literal, quote, shape
from experiments.data.contracts import CONTRACTS, PLAIN, TYPES, WORDS, Conventions, Source
from experiments.data.formats import Opened, looks_like_a_row, opened, unreadable
from experiments.data.identity import BLANKS

if TYPE_CHECKING:
    import duckdb

MEMORY = "WINBACK_MEMORY"  # of the environment
EARLIEST = date(1970, 1, 1)  # day that a company can speak of
SLACK = timedelta(days=1)  # a day later than today may be today, in another zone
# A line that adds up others, such as "Grand total", "Итого:" or "Total 2025".
TOTALS = (
    r"(grand |sub|sub-|sous-|sous |gesamt|zwischen)?(totals?|sum|somme|summe|gesamt)( général| generale?| gesamt)?"
    r"|(общий |промежуточный |промежуточные )?(итого|итоги?|всего)( по .*)?"
)
TOTAL_LIKE = "tTsSgGzZиИвВоОпП"  # the letters that they begin with


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Where the rows of a table went, in facts; `report.wording.accounts` makes its sentence.

    Without `rows` it counts nothing: its notes are about the table.
    """

    table: str
    rows: int = 0
    kept: int = 0
    why: tuple[Finding, ...] = ()  # what the rows left out have in common
    notes: tuple[Finding, ...] = ()  # what else is to know of the rows that were kept
    last: date | None = None  # latest day of its rows


def noted(key: str, /, **facts: Fact) -> Finding:
    """Return why rows were left out, or what else is to know of them: part of an account."""
    return Finding(key=key, state="pass", facts=facts)


def upgraded_account(sentence: str) -> dict[str, object]:
    """Return, as JSON, an account that a program of format 1 wrote as a sentence: it is shown as it stands."""
    return {"table": "", "notes": [{"key": "said", "state": "pass", "facts": {"said": sentence}}]}


@contextmanager
def connect(*, threads: int | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open an embedded engine in memory; close it afterwards. The variable WINBACK_MEMORY limits it, such as 2GB."""
    import duckdb

    con = duckdb.connect()
    try:
        with suppress(duckdb.InvalidInputException):  # a kernel without ipywidgets has no bar to switch off
            con.execute("SET enable_progress_bar = false")
        con.execute("SET preserve_insertion_order = false")
        con.execute("SET TimeZone = 'UTC'")  # no day may hang on the machine's zone
        if limit := os.environ.get(MEMORY):
            con.execute(f"SET memory_limit = {literal(limit)}")
        if threads:
            con.execute(f"SET threads = {int(threads)}")
        yield con
    except RuntimeError as error:
        if "interrupt" in str(error).lower():  # Ctrl-C, as the engine tells it
            raise KeyboardInterrupt from None
        raise
    finally:
        con.close()


def sql(name: str, **values: object) -> str:
    """Return the text of `sql/<name>.sql` with its {placeholders} filled; values must be trusted, never foreign."""
    text = files("experiments").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
    return text.format(**values) if values else text


def statements(name: str) -> dict[str, str]:
    """Return the named parts of `sql/<name>.sql`, in their order."""
    parts = re.split(r"^-- name: (\w+)\n", sql(name), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def write_parquet(con: duckdb.DuckDBPyConnection, table: str, path: Path, *, private: bool = False) -> None:
    """Write a table to a Parquet file, whole or not at all; a `private` one is on the disk, and its owner's alone."""
    with whole_file(path, durable=private, private=private) as part:
        con.execute(f"COPY (SELECT * FROM {table}) TO {literal(part)} (FORMAT parquet, COMPRESSION zstd)")


# ---- reading


def read(
    con: duckdb.DuckDBPyConnection,
    name: str,
    source: Source,
    *,
    folder: Path,
    conventions: Conventions = PLAIN,
    needed: Iterable[str] = (),
) -> Account:
    """Make the view `name` with the typed columns of its contract, after one check of every row.

    Money becomes BIGINT minor units; days DATE; flags BOOLEAN; customers as `identity.same` writes them. Columns
    outside the contract are dropped. `needed` columns may not be empty where the file has them, like the required ones.
    Raises WinbackError naming table, column, rows and the cure, Ambiguous where cells read in several ways.
    """
    import duckdb

    _refuse_unknown(name, source)
    try:
        table = Table.opened(con, name, source, folder, conventions)
        required = {column for column in table.names if _required(name, column) or column in needed} - set(source.fill)
        account = table.checked(required)
        if conventions.kept is None or "customer_id" not in table.names:
            table.make_view(name)
        else:
            from experiments.data.kept import with_kept

            table.make_view(f"{name}_as_read")
            account = with_kept(con, name, conventions.kept, account)
    except duckdb.Error as error:
        raise WinbackError(f"Table {name}: {unreadable(source.named, error)}") from None
    return account


def _required(name: str, column: str) -> bool:
    return CONTRACTS[name][column].endswith("!")


def _refuse_unknown(name: str, source: Source) -> None:
    for setting in ("columns", "fill", "values"):
        for column in getattr(source, setting):
            if column not in CONTRACTS[name]:
                raise WinbackError(f"Table {name}, `{setting}`: there is no column {column!r} in its contract. "
                                   f"{did_you_mean(column, CONTRACTS[name])}")  # fmt: skip
    if source.repeats and name != "purchases":
        raise WinbackError(f"Table {name}: `repeats` is about purchases. Take it out.")


class Table:
    """A table on its way through the door: raw_<name> holds its columns by the names of the contract."""

    def __init__(self, con: duckdb.DuckDBPyConnection, name: str, source: Source, conventions: Conventions) -> None:
        self.con, self.name, self.source, self.conventions = con, name, source, conventions
        self.names: dict[str, str] = {}  # our name: name in the file
        self.parts: list[tuple[Path, Opened]] = []
        self.notes: list[Finding] = []
        self.cells: dict[str, Cell] = {}

    @classmethod
    def opened(
        cls, con: duckdb.DuckDBPyConnection, name: str, source: Source, folder: Path, conventions: Conventions
    ) -> Table:
        """Open the files of a table, and make raw_<name> of the columns of the contract."""
        table = cls(con, name, source, conventions)
        paths = source.paths(folder)
        if not paths:
            raise WinbackError(f"Table {name}: there is no file {source.named!r}. Paths are relative to the sheet.")
        wanted = {column: source.columns.get(column, column) for column in CONTRACTS[name]}
        needed = [foreign for column, foreign in wanted.items() if _required(name, column) or column in source.columns]
        for place, path in enumerate(paths):
            key = name if len(paths) == 1 else f"{name}_{place}"
            part = opened(con, key, path, source, called=f"Table {name}: {path.name}", needed=needed)
            table._refuse_missing(path, part, wanted)
            table.parts.append((path, part))
            table.notes += [note for note in part.notes if note not in table.notes]
        everywhere = {column: foreign for column, foreign in wanted.items()
                      if any(foreign in part.columns for _, part in table.parts)}  # fmt: skip
        table.names = everywhere
        if len(paths) > 1:
            table.notes.append(noted("files", n=len(paths)))
        table._make_raw()
        return table

    def _refuse_missing(self, path: Path, part: Opened, wanted: Mapping[str, str]) -> None:
        for column, foreign in wanted.items():
            if foreign not in part.columns and (_required(self.name, column) or column in self.source.columns):
                of = f"Table {self.name} ({path.name})"
                if looks_like_a_row(part.columns):  # of which nothing is shown
                    raise WinbackError(
                        f"{of} has no column {foreign!r}: its first row is no header. Write names above it."
                    )
                raise WinbackError(
                    f"{of} has no column {foreign!r}. {did_you_mean(foreign, part.columns)} "
                    f"Tell its name in the sheet: `columns: {{{column}: <name in the file>}}`."
                )

    def _make_raw(self, *, without_empty: bool = False) -> None:
        """Make raw_<name>; `without_empty`: rows of which every cell is empty are no rows."""
        selects = []
        for _, part in self.parts:
            every = [
                f"nullif(trim(CAST({cell} AS VARCHAR), {literal(BLANKS)}), '')" for cell, _ in part.columns.values()
            ]
            where = f" WHERE coalesce({', '.join(every)}) IS NOT NULL" if without_empty and part.all_texts else ""
            selects.append(f"SELECT {self._cells(part)} FROM {part.relation}{where}")
        self.con.execute(f"CREATE OR REPLACE VIEW raw_{self.name} AS {' UNION ALL '.join(selects)}")

    def _cells(self, part: Opened) -> str:
        """Return the SQL of the columns of one file, by our names, as every check takes them."""
        cells = []
        for column, foreign in self.names.items():
            found = self._type(foreign)
            cell = f"CAST({part.columns[foreign][0] if foreign in part.columns else 'NULL'} AS {found})"
            cell = entered(cell, column, kind=self._kind(column), found=found, source=self.source)
            cells.append(f"{cell} AS {quote(column)}")
        return ", ".join(cells)

    def _type(self, foreign: str) -> str:
        """Return the type of a column in all files; texts where they differ."""
        kinds = {part.columns[foreign][1] for _, part in self.parts if foreign in part.columns}
        return kinds.pop() if len(kinds) == 1 else "VARCHAR"

    def make_view(self, view: str) -> None:
        """Make the view of the typed columns."""
        fills = {column: fill_of(self.con, self.name, self.source, column=column, decimals=self.conventions.decimals)
                 for column in self.source.fill}  # fmt: skip
        select = ", ".join(
            f"{cell.filled(fills.get(column))} AS {quote(column)}" for column, cell in self.cells.items()
        )
        rows = f"SELECT {select} FROM raw_{self.name}"
        if self.source.repeats == "drop":
            key = [quote(column) for column in REPEATED if column in self.cells]
            others = [f"min({quote(column)}) AS {quote(column)}" for column in self.cells if column not in REPEATED]
            rows = f"SELECT {', '.join((*key, *others))} FROM ({rows}) AS every_row GROUP BY {', '.join(key)}"
        self.con.execute(f"CREATE OR REPLACE VIEW {view} AS {rows}")

    # ---- checking

    def checked(self, required: Collection[str]) -> Account:
        """Refuse cells that do not fit their contract; return where the rows went."""
        self.understand()
        tests = self._tests(required)
        spans = [column for column in self.cells if self._kind(column) in ("date", "past")]
        empty = [f"count(*) - count({self.cells[column].raw})" for column in self.source.fill]
        asked = ["count(*)", f"count(CASE WHEN {self._total()} THEN 1 END)", *tests.values(), *empty]
        asked += [f"{edge}({self.cells[column].typed})" for column in spans for edge in ("min", "max")]
        asked += self._unread()
        rows, totals, *found = self.con.execute(f"SELECT {', '.join(asked)} FROM raw_{self.name}").fetchall()[0]
        if rows == 0:
            raise WinbackError(f"Table {self.name}: {self.source.named} has a header but no rows. Export it again.")
        if totals:
            raise WinbackError(
                f"{self._where(self.names['customer_id'])}: {self._place(self._total())} is no customer but a line of "
                "totals or a second header. Take it out."
            )
        for (column, test), number in zip(tests.items(), found, strict=False):
            if number and column in required and self._drop_empty():
                return self.checked(required)
            if number:
                self._refuse(column, test, number, rows)
        found = found[len(tests) :]
        filled = [noted("filled", n=number, column=column, text=text)
                  for (column, text), number in zip(self.source.fill.items(), found, strict=False)]  # fmt: skip
        edges = found[len(self.source.fill) :]
        days = {column: (edges[2 * place], edges[2 * place + 1]) for place, column in enumerate(spans)}
        self._refuse_days(days, rows)
        last = days.get("at", (None, None))[1]
        kept = rows
        if self.source.repeats == "drop":
            kept = self._distinct()
        dropped = (noted("repeats_dropped"),) if kept < rows else ()
        return Account(table=self.name, rows=rows, kept=kept, why=dropped, notes=(*filled, *self.notes), last=last)

    def _unread(self) -> list[str]:
        """Return SQL that reads the texts which no test does: the engine finds out late that one is no Unicode."""
        if all(part.all_texts for _, part in self.parts):
            return []
        return [f"max(strlen({cell.typed}))" for column, cell in self.cells.items() if self._kind(column) == "text"]

    def understand(self) -> None:
        """Find out how every column is written."""
        self.cells = {}
        raw = f"raw_{self.name}"
        for column, foreign in self.names.items():
            cell, notes = cell_of(
                self.con, raw, column, kind=self._kind(column), found=self._type(foreign), source=self.source,
                conventions=self.conventions, where=self._where(foreign),
            )  # fmt: skip
            self.cells[column] = cell
            self.notes += [note for note in notes if note not in self.notes]

    def _where(self, foreign: str) -> str:
        return f"Table {self.name} ({self.source.named}), column {foreign!r}"

    def _kind(self, column: str) -> str:
        return CONTRACTS[self.name][column].rstrip("!")

    def _tests(self, required: Collection[str]) -> dict[str, str]:
        """Return, for each column, the SQL that counts its wrong cells."""
        tests = {}
        for column, cell in self.cells.items():
            wrong = self._wrong(column, required)
            if wrong == f"({cell.raw} IS NULL)":
                # Counted from the statistics of a Parquet file, without a scan, where only emptiness can be wrong.
                tests[column] = f"count(*) - count({cell.raw})"
            elif wrong:
                tests[column] = f"count(CASE WHEN {wrong} THEN 1 END)"
        return tests

    def _wrong(self, column: str, required: Collection[str]) -> str:
        cell, kind = self.cells[column], self._kind(column)
        tests = [f"{cell.typed} IS NULL AND {cell.raw} IS NOT NULL"] if cell.may_fail else []
        tests += [f"{cell.typed} < 0"] if kind == "cost" else []
        tests += [f"{cell.raw} IS NULL"] if column in required else []
        return " OR ".join(f"({test})" for test in tests)

    def _drop_empty(self) -> bool:
        """Skip rows of which every cell is empty, as spreadsheets write them below a table; tell whether any was."""
        if any(note.key == "empty_rows" for note in self.notes):
            return False
        before = self._count()
        self._make_raw(without_empty=True)
        empty = before - self._count()
        if empty:
            self.notes.append(noted("empty_rows", n=empty))
        return empty > 0

    def _count(self, test: str = "TRUE") -> int:
        number: int = self.con.execute(f"SELECT count(*) FROM raw_{self.name} WHERE {test}").fetchall()[0][0]
        return number

    def _distinct(self) -> int:
        key = ", ".join(f"{self.cells[column].typed}" for column in REPEATED if column in self.cells)
        number: int = self.con.execute(
            f"SELECT count(*) FROM (SELECT {key} FROM raw_{self.name} GROUP BY ALL) AS kept"
        ).fetchall()[0][0]
        return number

    # ---- refusing

    def _refuse(self, column: str, counted: str, number: int, rows: int) -> None:
        kind = self._kind(column)
        test = f"{self.cells[column].raw} IS NULL"
        only_empty = not counted.startswith("count(CASE")
        if not only_empty:
            test = counted.removeprefix("count(CASE WHEN ").removesuffix(" THEN 1 END)")
        what = {"past": "date", "id": "customer"}.get(kind, kind)
        cure = CURES[kind]
        if kind in WORDS:
            cure = self._words(column, kind)
        raise WinbackError(
            f"{self._where(self.names[column])}: {number:,} of {rows:,} rows are no {what}, "
            f"{self._example(column, test)}. {cure}"
        )

    def _words(self, column: str, kind: str) -> str:
        """Return the cure of a column of words: which ones nobody knows, and the line of the sheet that tells them."""
        cell = self.cells[column]
        words = [row[0] for row in self.con.execute(
            f"SELECT {cell.raw} FROM raw_{self.name} WHERE {cell.raw} IS NOT NULL AND {cell.typed} IS NULL GROUP BY 1 "
            "HAVING count(*) > 1 ORDER BY 1 LIMIT 6").fetchall()]  # fmt: skip
        short = [word for word in words if len(word) <= 30][:5]  # noqa: PLR2004  longer ones are remarks
        one_of = " or ".join(WORDS[kind])
        meaning = ", ".join(f"{word}: ..." for word in short) or "word: ..."
        return f"Say what each word means, {one_of}: `values: {{{column}: {{{meaning}}}}}`."

    def _refuse_days(self, days: Mapping[str, tuple[date | None, date | None]], rows: int) -> None:
        """Refuse days that nobody can speak of: before 1970, and, of what has happened, after today."""
        latest = today() + SLACK
        for column, (first, last) in days.items():
            typed = self.cells[column].typed
            if first is not None and first < EARLIEST:
                cure = "Two digits are no year: write it with four, or tell the format, such as `dates: '%d.%m.%y'`."
                self._refuse_some_days(column, f"{typed} < DATE '{EARLIEST}'", rows, f"before 1970. {cure}")
            if self._kind(column) == "past" and last is not None and last > latest:
                cure = "Correct them; whether the day or the month comes first, `dates:` says."
                self._refuse_some_days(column, f"{typed} > DATE '{latest}'", rows, f"after today, {today()}. {cure}")

    def _refuse_some_days(self, column: str, test: str, rows: int, what: str) -> None:
        raise WinbackError(
            f"{self._where(self.names[column])}: {self._count(test):,} of {rows:,} rows are dates {what} The first: "
            f"{self._place(test)}."
        )

    def _total(self) -> str:
        """Return the SQL of a line that adds up the others, or names the columns once more: it is no customer."""
        if "customer_id" not in self.cells or self._type(self.names["customer_id"]) != "VARCHAR":
            return "FALSE"
        cell = f"CAST({self.cells['customer_id'].raw} AS VARCHAR)"
        like = f"left({cell}, 1) IN ({', '.join(map(literal, TOTAL_LIKE))})"
        whole = f"regexp_full_match(lower(trim({cell}, ' :.')), '({TOTALS})( (19|20)[0-9]{{2}})?')"
        return f"({cell} = {literal(self.names['customer_id'])} OR CASE WHEN {like} THEN {whole} ELSE FALSE END)"

    def _example(self, column: str, test: str) -> str:
        """Return where the first wrong cell stands and what it looks like, never what it says."""
        cell = f"CAST({quote(column)} AS VARCHAR)"
        value = self.con.execute(f"SELECT {cell} FROM raw_{self.name} WHERE {test} ORDER BY 1 LIMIT 1").fetchall()[0][0]
        what = "an empty cell" if value is None or not value.strip(BLANKS) else f"such as {shape(value)}"
        return f"{what}, the first in {self._place(test)}"

    def numbered(self, test: str) -> Iterator[tuple[Path, list[int]]]:
        """Yield each file with its rows that fit a test."""
        self.con.execute("SET preserve_insertion_order = true")
        try:
            for path, part in self.parts:
                rows = f"SELECT row_number() OVER () AS row_of_file, {self._cells(part)} FROM {part.relation}"
                found = self.con.execute(f"SELECT row_of_file FROM ({rows}) AS numbered WHERE {test} ORDER BY 1")
                yield path, [row + part.header_row for (row,) in found.fetchall()]
        finally:
            self.con.execute("SET preserve_insertion_order = false")

    def _place(self, test: str) -> str:
        """Return the row of the first cell that fits a test, as a spreadsheet counts them, and its file."""
        self.con.execute("SET preserve_insertion_order = true")
        try:
            for path, part in self.parts:
                numbered = f"SELECT row_number() OVER () AS row_of_file, {self._cells(part)} FROM {part.relation}"
                row = self.con.execute(
                    f"SELECT min(row_of_file) FROM ({numbered}) AS numbered WHERE {test}"
                ).fetchall()[0][0]
                if row is not None:
                    of = f" of {path.name}" if len(self.parts) > 1 else ""
                    return f"row {row + part.header_row}{of}"
        finally:
            self.con.execute("SET preserve_insertion_order = false")
        return "a row"


REPEATED = ("customer_id", "at", "amount", "order_id")  # of purchases: rows alike in all of them repeat each other


def complete(con: duckdb.DuckDBPyConnection, name: str, *, like: str, known: bool) -> None:
    """Make the view full_<name> with every column of the contract, NULL where the file has none.

    Where the table is not `known` the view has no rows, and customers of the type that the table `like` has.
    """
    found = columns_of(con, name) if known else {}
    kinds = {column: TYPES[kind.rstrip("!")] for column, kind in CONTRACTS[name].items()}
    if "customer_id" in kinds:
        kinds["customer_id"] = columns_of(con, like)["customer_id"]
    cells = [
        quote(column) if column in found else f"CAST(NULL AS {kinds[column]}) AS {quote(column)}"
        for column in CONTRACTS[name]
    ]
    con.execute(
        f"CREATE OR REPLACE TEMP VIEW full_{name} AS SELECT {', '.join(cells)} "
        f"FROM {name if known else '(SELECT 1) AS nothing WHERE FALSE'}"
    )


def same_ids(con: duckdb.DuckDBPyConnection, *names: str) -> None:
    """Compare customers as text where one table has them as numbers and the other as text."""
    types = [columns_of(con, table)["customer_id"] for table in names]
    if len(set(types)) > 1 and "VARCHAR" in types:
        for table in names:
            con.execute(
                f"CREATE OR REPLACE TEMP VIEW {table} AS SELECT * REPLACE (CAST(customer_id AS VARCHAR) AS "
                f"customer_id) FROM memory.main.{table}"
            )


def refuse_duplicates(
    con: duckdb.DuckDBPyConnection, table: str, *, called: str = "", cure: str = "remove the others at the source."
) -> None:
    """Refuse a table in which a customer stands twice, or a row has none. `called`: what its maker calls it."""
    rows, customers = con.execute(f"SELECT count(*), count(DISTINCT customer_id) FROM {table}").fetchall()[0]
    if rows == customers:
        return
    arms = "count(DISTINCT arm)" if "arm" in columns_of(con, table) else "1"
    name, times, different = con.execute(
        f"SELECT customer_id, count(*), {arms} FROM {table} GROUP BY 1 HAVING count(*) > 1 OR customer_id IS NULL "
        "ORDER BY 3 DESC, 1 LIMIT 1"
    ).fetchall()[0]
    what = "a row has no customer" if name is None else f"{name!r} is there {times} times"
    what += f", in {different} arms" if different > 1 else ""
    called = called or f"Table {table}"
    raise WinbackError(
        f"{called}: {rows - customers:,} of {rows:,} rows repeat a customer; {what}. One customer, one "
        f"arm, one row: {cure}"
    )


def columns_of(con: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    """Return the columns of a table with their types."""
    return {row[0]: row[1] for row in con.execute(f"DESCRIBE {table}").fetchall()}
