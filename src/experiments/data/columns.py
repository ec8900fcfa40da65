"""One cell at the door: the SQL that gives a raw value its contract type, and says whether it may not fit."""

from __future__ import annotations

import re
from dataclasses import dataclass

WHOLE = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"}
REAL = {"DOUBLE", "FLOAT"}
DIGITS = 18  # that always fit into BIGINT
CURES = {
    "id": "Give every row a customer_id.",
    "text": "Give every row a text.",
    "date": "Write dates as 2026-01-31, or tell the format in the sheet, for example `dates: '%d.%m.%Y'`.",
    "money": "Write money as plain numbers with a point, for example 1234.50.",
    "cost": "Write costs as plain numbers with a point, zero or more, for example 12.50.",
    "flag": "Write yes or no, true or false, 1 or 0.",
    "integer": "Write whole numbers.",
}
# The types of a column that a kind can be read from; all others are refused before any row is.
READABLE = {
    "date": re.compile(r"VARCHAR|DATE|TIMESTAMP.*|.*INT.*|DOUBLE|FLOAT|DECIMAL.*"),
    "money": re.compile(r"VARCHAR|DECIMAL.*|.*INT.*|DOUBLE|FLOAT"),
    "cost": re.compile(r"VARCHAR|DECIMAL.*|.*INT.*|DOUBLE|FLOAT"),
    "flag": re.compile(r"VARCHAR|BOOLEAN|.*INT.*|DOUBLE|FLOAT|DECIMAL.*"),
    "integer": re.compile(r"VARCHAR|.*INT.*|DOUBLE|FLOAT|DECIMAL.*"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """SQL of a column: what the file holds, and what it becomes."""

    raw: str  # texts that mean missing are NULL already
    typed: str
    may_fail: bool

    def filled(self, fill: str | None) -> str:
        """Return the typed SQL with empty cells filled."""
        return self.typed if fill is None else f"coalesce({self.typed}, {fill})"


def readable(kind: str, found: str) -> bool:
    """Tell whether a column of the type `found` can hold the kind at all."""
    return kind not in READABLE or bool(READABLE[kind].fullmatch(found))


def without_missing(cell: str, found: str, missing: list[str]) -> str:
    """Return the SQL of a raw cell with the values that mean missing made NULL; numbers are compared as numbers."""
    if not missing:
        return cell
    texts = ", ".join(map(literal, missing))
    test = f"CAST({cell} AS VARCHAR) IN ({texts})"
    numbers = [text for text in missing if re.fullmatch(r"[+-]?\d+(\.\d+)?", text)]
    if found != "VARCHAR" and numbers:
        test += f" OR TRY_CAST({cell} AS DOUBLE) IN ({', '.join(numbers)})"
    return f"CASE WHEN {test} THEN NULL ELSE {cell} END"


def typed(raw: str, kind: str, *, found: str, dates: str | None = None, decimals: int = 2) -> Cell:
    """Return a cell as its kind: NULL where it does not fit. Money becomes BIGINT minor units."""
    expression, may_fail = _KINDS[kind](raw, found, dates, decimals)
    return Cell(raw=raw, typed=expression, may_fail=may_fail)


def _id(cell: str, found: str, _dates: str | None, _decimals: int) -> tuple[str, bool]:
    return (cell if found in WHOLE else f"CAST({cell} AS VARCHAR)"), False


def _text(cell: str, _found: str, _dates: str | None, _decimals: int) -> tuple[str, bool]:
    return f"CAST({cell} AS VARCHAR)", False


def _date(cell: str, found: str, dates: str | None, _decimals: int) -> tuple[str, bool]:
    if dates:
        return f"CAST(try_strptime(CAST({cell} AS VARCHAR), {literal(dates)}) AS DATE)", True
    if found == "DATE" or found.startswith("TIMESTAMP"):
        return (cell if found == "DATE" else f"CAST({cell} AS DATE)"), False
    # A date kept as a number (20260131, 45678) is refused: it could mean three things.
    day = f"TRY_CAST({cell} AS DATE)" if found == "VARCHAR" else "CAST(NULL AS DATE)"
    return f"CASE WHEN isfinite({day}) THEN {day} END", True


def _money(cell: str, found: str, _dates: str | None, decimals: int) -> tuple[str, bool]:
    minor = 10**decimals
    if found in REAL:
        return f"CASE WHEN isfinite({cell}) THEN TRY_CAST(round({cell} * {minor}) AS BIGINT) END", True
    scale = re.fullmatch(r"DECIMAL\((\d+),(\d+)\)", found)
    if scale and int(scale[2]) <= decimals and int(scale[1]) - int(scale[2]) + decimals <= DIGITS:
        return f"CAST({cell} * {minor} AS BIGINT)", False  # whole minor units already
    return f"CAST(TRY_CAST({cell} AS DECIMAL({DIGITS}, {decimals})) * {minor} AS BIGINT)", True


def _flag(cell: str, found: str, _dates: str | None, _decimals: int) -> tuple[str, bool]:
    if found == "BOOLEAN":
        return cell, False
    if found != "VARCHAR":
        return f"CASE {cell} WHEN 1 THEN TRUE WHEN 0 THEN FALSE END", True
    words = {"yes": "TRUE", "true": "TRUE", "1": "TRUE", "no": "FALSE", "false": "FALSE", "0": "FALSE"}
    cases = " ".join(f"WHEN '{word}' THEN {value}" for word, value in words.items())
    return f"CASE lower(trim({cell})) {cases} END", True


def _integer(cell: str, found: str, _dates: str | None, _decimals: int) -> tuple[str, bool]:
    return (
        (f"CAST({cell} AS BIGINT)", False)
        if found in WHOLE - {"HUGEINT", "UBIGINT"}
        else (
            (
                f"CASE WHEN TRY_CAST({cell} AS DECIMAL(18, 6)) = TRY_CAST({cell} AS BIGINT) "
                f"THEN TRY_CAST({cell} AS BIGINT) END"
            ),
            True,
        )
    )


_KINDS = {"id": _id, "text": _text, "date": _date, "money": _money, "cost": _money, "flag": _flag, "integer": _integer}


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
