"""One cell at the door: the SQL that gives a raw value its contract type, and says whether it may not fit."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.common.errors import WinbackError
from experiments.common.finding import Finding
from experiments.data.contracts import CONTRACTS, WORDS, Conventions, Source

if TYPE_CHECKING:
    import duckdb

WHOLE = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"}
REAL = {"DOUBLE", "FLOAT"}
EXACT = {"DOUBLE": 2**53, "FLOAT": 2**24}  # up to which every whole number is one
DIGITS = 18  # that always fit into BIGINT
_DATE = "Write dates as 2026-01-31, or tell the format in the sheet, for example `dates: '%d.%m.%Y'`."
CURES = {
    "id": "Give every row a customer_id, with all its letters and digits.",
    "text": "Give every row a text.",
    "date": _DATE,
    "past": _DATE,
    "money": "Write all of them in one way, for example 1234.50 or 1 234,50, in one currency.",
    "cost": "Write all of them in one way, zero or more, for example 12.50.",
    "flag": "Write yes or no, true or false, 1 or 0; other words: `values: {<column>: {<word>: yes}}`.",
    "integer": "Write whole numbers.",
    "complaint": "",
}
_NUMBERS = r"VARCHAR|DECIMAL\(\d+,\d+\)|U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|DOUBLE|FLOAT"
# The types of a column that a kind can be read from; all others are refused before any row is.
READABLE = {
    "id": re.compile(f"{_NUMBERS}|UUID|ENUM\\(.*\\)"),
    "date": re.compile(f"{_NUMBERS}|DATE|TIMESTAMP[^\\[]*"),
    "past": re.compile(f"{_NUMBERS}|DATE|TIMESTAMP[^\\[]*"),
    "money": re.compile(_NUMBERS),
    "cost": re.compile(_NUMBERS),
    "flag": re.compile(f"{_NUMBERS}|BOOLEAN"),
    "integer": re.compile(_NUMBERS),
}
YES = ("yes", "y", "true", "t", "1", "1.0", "да", "д", "истина", "oui", "o", "vrai")
NO = ("no", "n", "false", "f", "0", "0.0", "нет", "н", "ложь", "non", "faux")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """SQL of a column: what the file holds, and what it becomes."""

    raw: str  # texts that mean missing are NULL already
    typed: str
    may_fail: bool

    def filled(self, fill: str | None) -> str:
        """Return the typed SQL with empty cells filled."""
        return self.typed if fill is None else f"coalesce({self.typed}, {fill})"


def cell_of(
    con: duckdb.DuckDBPyConnection,
    raw: str,
    column: str,
    *,
    kind: str,
    found: str,
    source: Source,
    conventions: Conventions,
    where: str,
) -> tuple[Cell, list[Finding]]:
    """Return a column of the table `raw` as its kind, and what was found out about how it is written.

    The cells of `raw` are `entered`. `found`: the type in the file; `where`: how an error calls it. Raises WinbackError
    for a type that cannot be the kind, Ambiguous for cells that read in several ways.
    """
    if kind in READABLE and not READABLE[kind].fullmatch(found):
        raise WinbackError(f"{where} holds {found}, no {kind.replace('past', 'date')}. {CURES[kind]}")
    found = "VARCHAR" if source.values.get(column) else found
    return _ENTRIES[kind](_Column(con=con, raw=raw, name=column, cell=quote(column), kind=kind, found=found,
                                  source=source, conventions=conventions, where=where))  # fmt: skip


def entered(cell: str, column: str, *, kind: str, found: str, source: Source) -> str:
    """Return the SQL of a raw cell as every check takes it: no blanks around it, what means missing NULL, words mapped.

    It is the inner of two layers, so that the many places of a check name a column, not all this once more.
    """
    cell = trimmed(cell) if found == "VARCHAR" and kind != "id" else cell
    return translated(without_missing(cell, found, source.missing), source.values.get(column, {}))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """A column to be understood."""

    con: duckdb.DuckDBPyConnection
    raw: str
    name: str
    cell: str
    kind: str
    found: str
    source: Source
    conventions: Conventions
    where: str

    def count(self, *tests: str) -> tuple[int, ...]:
        """Return how many cells fit each test."""
        counted = ", ".join(f"count(CASE WHEN {test} THEN 1 END)" for test in tests)
        return tuple(self.con.execute(f"SELECT {counted} FROM {self.raw}").fetchall()[0])

    def note(self, key: str, /, **facts: str | int) -> Finding:
        """Return something found out about the column."""
        return Finding(key=key, state="pass", facts={"column": self.name, **facts})

    def result(self, typed: str, *, may_fail: bool) -> Cell:
        """Return the cell."""
        return Cell(raw=self.cell, typed=typed, may_fail=may_fail)


def trimmed(cell: str) -> str:
    """Return the SQL of a text without blanks around it; nothing but blanks is an empty cell.

    Only few texts begin or end with a blank, and the rare kinds of blanks are slow to look for.
    """
    from experiments.data.identity import BLANKS, has_blanks_sql

    return f"nullif(CASE WHEN {has_blanks_sql(cell)} THEN trim({cell}, {literal(BLANKS)}) ELSE {cell} END, '')"


def translated(cell: str, values: dict[str, str]) -> str:
    """Return the SQL of a cell with the words that the sheet maps in their place."""
    if not values:
        return cell
    cases = " ".join(f"WHEN {literal(word)} THEN {literal(meaning)}" for word, meaning in values.items())
    return f"(CASE CAST({cell} AS VARCHAR) {cases} ELSE CAST({cell} AS VARCHAR) END)"


def without_missing(cell: str, found: str, missing: list[str]) -> str:
    """Return the SQL of a raw cell with the values that mean missing made NULL; numbers are compared as numbers."""
    if not missing:
        return cell
    texts = ", ".join(map(literal, missing))
    test = f"CAST({cell} AS VARCHAR) IN ({texts})"
    numbers = [text for text in missing if re.fullmatch(r"[+-]?\d+(\.\d+)?", text)]
    if found != "VARCHAR" and numbers:
        test += f" OR TRY_CAST({cell} AS DOUBLE) IN ({', '.join(numbers)})"
    return f"(CASE WHEN {test} THEN NULL ELSE {cell} END)"


# ---- kinds


def _id(of: _Column) -> tuple[Cell, list[Finding]]:
    """Read a customer: whole numbers stay numbers, which compare faster; all else is as `identity.same` writes it."""
    from experiments.data import identity

    if of.found in WHOLE:
        return of.result(of.cell, may_fail=False), []
    if of.found != "VARCHAR":
        if of.found in REAL or of.found.startswith("DECIMAL"):
            exact = f" AND abs({of.cell}) < {EXACT[of.found]}" if of.found in REAL else ""
            whole = f"CASE WHEN {of.cell} = floor({of.cell}){exact} THEN TRY_CAST({of.cell} AS BIGINT) END"
            return of.result(whole, may_fail=True), []
        return of.result(f"CAST({of.cell} AS VARCHAR)", may_fail=False), []
    ignore = of.conventions.ignore_case
    odd, broken, empty = of.count(
        identity.odd_sql(of.cell, ignore_case=ignore),
        f"{of.cell} LIKE '%+%' AND regexp_full_match({of.cell}, '{identity.BROKEN}')",
        f"{of.cell} = ''",
    )
    if broken:
        whole = f"CASE WHEN regexp_full_match({of.cell}, '{identity.BROKEN}') THEN NULL ELSE {of.cell} END"
        return of.result(whole, may_fail=True), []
    if not odd and not empty:
        return of.result(of.cell, may_fail=False), []
    whole_numbers = not of.count(f"regexp_full_match({of.cell}, '{identity.FRACTION}')")[0]
    typed = identity.same_sql(of.cell, ignore_case=ignore, whole=whole_numbers)
    changed = of.count(f"{typed} <> {of.cell}")[0]
    return Cell(raw=typed, typed=typed, may_fail=False), [of.note("respelt", n=changed)] if changed else []


def _text(of: _Column) -> tuple[Cell, list[Finding]]:
    return of.result(f"CAST({of.cell} AS VARCHAR)", may_fail=False), []


def _date(of: _Column) -> tuple[Cell, list[Finding]]:
    from experiments.data import cell_styles

    zone = of.conventions.time_zone
    if of.found == "DATE":
        return of.result(of.cell, may_fail=False), []
    if of.found == "TIMESTAMP WITH TIME ZONE":
        if zone is None:
            raise cell_styles.no_zone(of.where)
        return of.result(f"CAST(timezone({literal(zone)}, {of.cell}) AS DATE)", may_fail=False), [
            of.note("zone", zone=zone)
        ]
    if of.found.startswith("TIMESTAMP"):
        return of.result(f"CAST({of.cell} AS DATE)", may_fail=False), []
    text = of.cell if of.found == "VARCHAR" else f"regexp_replace(CAST({of.cell} AS VARCHAR), '\\.0+$', '')"
    if of.source.dates:
        return of.result(_by_format(text, of.source.dates, zone, of.where), may_fail=True), []
    style = cell_styles.date_style(of.con, of.raw, text, where=of.where, zone=zone)
    if style is None:
        return of.result(cell_styles.day_sql(text, cell_styles.ISO), may_fail=True), []
    told = [of.note("zone", zone=zone or "")] if style.name == "instants" else []
    told = told or ([of.note("dates", style=cell_styles.example(style.name))] if style.told else [])
    return of.result(style.value, may_fail=True), told


def _by_format(text: str, dates: str, zone: str | None, where: str) -> str:
    from experiments.data.cell_styles import no_zone

    parsed = f"try_strptime({text}, {literal(dates)})"
    if "%z" not in dates and "%Z" not in dates:
        return f"CAST({parsed} AS DATE)"
    if zone is None:
        raise no_zone(where)
    return f"CAST(timezone({literal(zone)}, {parsed}) AS DATE)"


def _money(of: _Column) -> tuple[Cell, list[Finding]]:
    decimals = of.conventions.decimals
    minor = 10**decimals
    if of.found in REAL:
        typed = f"CASE WHEN isfinite({of.cell}) THEN TRY_CAST(round({of.cell} * {minor}) AS BIGINT) END"
        return of.result(typed, may_fail=True), []
    scale = re.fullmatch(r"DECIMAL\((\d+),(\d+)\)", of.found)
    if scale and int(scale[2]) <= decimals and int(scale[1]) - int(scale[2]) + decimals <= DIGITS:
        return of.result(f"CAST({of.cell} * {minor} AS BIGINT)", may_fail=False), []  # whole minor units already
    number, notes = (of.cell, []) if of.found != "VARCHAR" else _number(of)
    return of.result(minor_units(number, decimals), may_fail=True), notes


def minor_units(number: str, decimals: int) -> str:
    """Return the SQL of a number in minor units of money; NULL where it is none."""
    return f"CAST(TRY_CAST({number} AS DECIMAL({DIGITS - decimals}, {decimals})) * {10**decimals} AS BIGINT)"


def _number(of: _Column) -> tuple[str, list[Finding]]:
    from experiments.data import cell_styles

    style = cell_styles.number_style(of.con, of.raw, of.cell, where=of.where, decimal=of.source.decimal)
    if style is None:
        clean = cell_styles.clean_number(of.cell)
        named = cell_styles.COMMA if of.source.decimal == "," else cell_styles.POINT
        return cell_styles.number_sql(clean, named), []
    return style.value, [
        Finding(key="numbers", state="pass", case=style.name, facts={"column": of.name})
    ] if style.told else []


def _flag(of: _Column) -> tuple[Cell, list[Finding]]:
    if of.found == "BOOLEAN":
        return of.result(of.cell, may_fail=False), []
    if of.found != "VARCHAR":
        return of.result(f"CASE {of.cell} WHEN 1 THEN TRUE WHEN 0 THEN FALSE END", may_fail=True), []
    return of.result(flag_sql(of.cell), may_fail=True), []


def flag_sql(cell: str) -> str:
    """Return the SQL of a flag of words in English, Russian or French; NULL where it is none."""
    cases = " ".join(f"WHEN '{word}' THEN {value}" for words, value in ((YES, "TRUE"), (NO, "FALSE")) for word in words)
    return f"CASE lower({cell}) {cases} END"


def _integer(of: _Column) -> tuple[Cell, list[Finding]]:
    if of.found in WHOLE - {"HUGEINT", "UBIGINT"}:
        return of.result(f"CAST({of.cell} AS BIGINT)", may_fail=False), []
    exact = f"TRY_CAST({of.cell} AS DECIMAL(18, 6)) = TRY_CAST({of.cell} AS BIGINT)"
    return of.result(f"CASE WHEN {exact} THEN TRY_CAST({of.cell} AS BIGINT) END", may_fail=True), []


def _word(of: _Column) -> tuple[Cell, list[Finding]]:
    known = ", ".join(map(literal, WORDS[of.kind]))
    cell = f"lower(CAST({of.cell} AS VARCHAR))"
    return of.result(f"CASE WHEN {cell} IN ({known}) THEN {cell} END", may_fail=True), []


_ENTRIES = {"id": _id, "text": _text, "date": _date, "past": _date, "money": _money, "cost": _money, "flag": _flag,
            "integer": _integer, "complaint": _word}  # fmt: skip


def fill_of(con: duckdb.DuckDBPyConnection, name: str, source: Source, *, column: str, decimals: int) -> str:
    """Return the SQL of what fills empty cells of a column; refuse what is no value of it."""
    kind, text = CONTRACTS[name][column].rstrip("!"), literal(source.fill[column])
    by_kind = {
        "date": f"TRY_CAST({text} AS DATE)",
        "past": f"TRY_CAST({text} AS DATE)",
        "money": minor_units(text, decimals),
        "cost": minor_units(text, decimals),
        "flag": flag_sql(trimmed(text)),
        "integer": f"TRY_CAST({text} AS BIGINT)",
    }
    typed = by_kind.get(kind, text)
    if con.execute(f"SELECT {typed}").fetchall()[0][0] is None:
        raise WinbackError(
            f"Table {name}: the fill {source.fill[column]!r} of column {column!r} is no {kind}. {CURES[kind]}"
        )
    return typed


def shape(text: str) -> str:
    """Return what a text looks like without what it says: 9 for a digit, a and A for letters.

    >>> shape("31.12.25"), shape("Ann Smith 0171")
    ('99.99.99', 'Aaa Aaaaa 9999')
    """
    masked = "".join("9" if c.isdigit() else ("A" if c.isupper() else "a") if c.isalpha() else c for c in text[:24])
    return masked + ("..." if len(text) > len(masked) else "")


def quote(name: str) -> str:
    """Return a name as an SQL identifier.

    >>> quote("at")
    '"at"'
    """
    return '"' + name.replace('"', '""') + '"'


def literal(value: object) -> str:
    """Return a value as an SQL text literal.

    >>> literal("o'clock")
    "'o''clock'"
    """
    return "'" + str(value).replace("'", "''") + "'"
