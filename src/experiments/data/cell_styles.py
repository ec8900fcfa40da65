"""How the cells of a column are written: dates and decimal signs, told from the whole column or not at all.

A style is taken where it fits every cell and no other one gives another value. Where two do, nobody can tell, and the
sheet must say: `Ambiguous`. What follows from it stands in the account of the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from experiments.common.errors import Ambiguous, WinbackError
from experiments.data.columns import literal
from experiments.data.identity import BLANKS

if TYPE_CHECKING:
    import duckdb

ISO = "year-month-day"
# Style: how its day is written, for strptime. Days with a written month, and all others, fit at most one reading of a
# cell, but for the order of day and month, and for years of two digits.
DAYS: dict[str, tuple[str, ...]] = {
    ISO: ("%Y-%m-%d",),
    "year/month/day": ("%Y/%m/%d",),
    "year.month.day": ("%Y.%m.%d",),
    "yearmonthday": ("%Y%m%d",),
    "day.month.year": ("%d.%m.%Y",),
    "day/month/year": ("%d/%m/%Y",),
    "month/day/year": ("%m/%d/%Y",),
    "day-month-year": ("%d-%m-%Y",),
    "month-day-year": ("%m-%d-%Y",),
    "day.month.year of two digits": ("%d.%m.%y",),
    "day/month/year of two digits": ("%d/%m/%y",),
    "month/day/year of two digits": ("%m/%d/%y",),
    "day-month-year of two digits": ("%d-%m-%y",),
    "day, written month, year": ("%d %b %Y", "%d-%b-%Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y"),
}
SERIAL = "days since 1899-12-30"  # as spreadsheets count
FIRST = "1970-01-01"  # day that a company can speak of
# The time of day at the end of a cell.
CLOCK = r"[T ]+[0-9]{1,2}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?( ?[AaPp][Mm])?$"
ZONE = r"[0-9]{1,2}:[0-9]{2}.*(Z|z|[+-][0-9]{2}(:?[0-9]{2})?)$"

# Numbers: signs of money around them, and blanks of every width or apostrophes between their groups.
CODES = "usd|eur|gbp|rub|rur|chf|pln|czk|uah|kzt|jpy|cny|sek|nok|dkk|try|inr|cad|aud|brl"
SIGNS = rf"[$€£₽₴₸¥₺₹]|(?i:руб(лей|ля|ль)?\.?|р\.|евро|euros?|dollars?|{CODES})"
CURRENCIES = {"$": "USD", "DOL": "USD", "€": "EUR", "ЕВР": "EUR", "£": "GBP", "₽": "RUB", "Р": "RUB", "РУБ": "RUB",
              "RUR": "RUB"}  # fmt: skip
POINT, COMMA = "point", "comma"
_GROUPS = r"[0-9]{{1,3}}( [0-9]{{3}})+|[0-9]{{1,3}}('[0-9]{{3}})+|[0-9]{{1,3}}({group}[0-9]{{3}})+"
_NUMBER = r"-?(([0-9]+|" + _GROUPS + r")({point}[0-9]*)?|{point}[0-9]+{exponent})"
NUMBERS = {
    POINT: _NUMBER.format(group=",", point=r"\.", exponent=r"|[0-9]+(\.[0-9]+)?[eE][+-]?[0-9]+"),
    COMMA: _NUMBER.format(group=r"\.", point=",", exponent=""),
}
EITHER = r"[+-]?[1-9][0-9]{0,2}[.,][0-9]{3}"  # 1.234: a group, or three decimals


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How a column is written: the SQL of a cell's value, NULL where it does not fit."""

    name: str
    value: str
    fits: bool = True  # every cell; else it is the style that fits most of them
    told: bool = True  # whether it is worth telling: it was inferred, and is not the plain one


def day_sql(cell: str, style: str, *, zone: str | None = None) -> str:
    """Return the SQL of a cell's day in a style, NULL where it does not fit; an instant is the day in the zone."""
    if zone is not None:
        return f"CAST(timezone({literal(zone)}, TRY_CAST({cell} AS TIMESTAMPTZ)) AS DATE)"
    return in_style(f"CASE WHEN {cell} LIKE '%:%' THEN regexp_replace({cell}, '{CLOCK}', '') ELSE {cell} END", style)


def in_style(day: str, style: str) -> str:
    """Return the SQL of the day of a text without a time."""
    if style == ISO:  # by far the fastest
        return f"CASE WHEN {day} LIKE '____-%' THEN TRY_CAST({day} AS DATE) END"
    if style == SERIAL:
        whole = f"regexp_full_match({day}, '[0-9]{{5}}(\\.[0-9]+)?')"
        return f"CASE WHEN {whole} THEN DATE '1899-12-30' + CAST(floor(TRY_CAST({day} AS DOUBLE)) AS INTEGER) END"
    formats = ", ".join(map(literal, DAYS[style]))
    parsed = f"CAST(try_strptime({day}, [{formats}]) AS DATE)"
    return f"CASE WHEN length({day}) = 8 THEN {parsed} END" if style == "yearmonthday" else parsed


def example(style: str) -> str:
    """Return the last day of 2025 in a style.

    >>> example("day.month.year")
    '31.12.2025'
    """
    return "46022" if style == SERIAL else date(2025, 12, 31).strftime(DAYS[style][0])


def date_style(con: duckdb.DuckDBPyConnection, raw: str, cell: str, *, where: str, zone: str | None) -> Style | None:
    """Return how the days of a column of texts are written; None where no style fits every cell.

    `raw`: the table; `cell`: SQL of the text; `where`: how an error calls the column. Raises Ambiguous for a column
    that reads with the day and with the month first, and for instants without a zone.
    """
    # One pass over the file; all that follows is about the different days.
    instant = f"CASE WHEN {cell} LIKE '%:%' THEN regexp_matches({cell}, '{ZONE}') ELSE FALSE END"
    bare = f"CASE WHEN {cell} LIKE '%:%' THEN regexp_replace({cell}, '{CLOCK}', '') ELSE {cell} END"
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE days AS SELECT {bare} AS day, {instant} AS zoned, count(*) AS n "
        f"FROM {raw} WHERE {cell} IS NOT NULL GROUP BY 1, 2"
    )
    counted = "SELECT coalesce(sum(n), 0), coalesce(sum(CASE WHEN zoned THEN n ELSE 0 END), 0) FROM days"
    filled, zoned = con.execute(counted).fetchall()[0]
    if not filled:
        return Style(name=ISO, value=day_sql(cell, ISO), told=False)
    if zoned:
        return _instants(cell, where, zone) if zoned == filled else None
    name, fits = _style_of_days(con, where=where, filled=filled)
    return Style(name=name, value=day_sql(cell, name), fits=fits, told=fits and name != ISO)


def _style_of_days(con: duckdb.DuckDBPyConnection, *, where: str, filled: int) -> tuple[str, bool]:
    """Return the style of the table `days` of different texts, and whether it fits all or only more than others do."""
    styles = [*DAYS, SERIAL]
    # No two styles in a column: a spreadsheet that took some days for others, 03/04 for 4 March, leaves such a mixture.
    parsed = {style: in_style("day", style) for style in styles}
    counted = ", ".join(f"count(CASE WHEN {value} >= DATE '{FIRST}' THEN 1 END)" for value in parsed.values())
    total, *fits = con.execute(f"SELECT count(*), {counted} FROM days").fetchall()[0]
    if max(fits) < total or fits[0] == total:  # styles begins with ISO: no other one could say otherwise
        most, best = max(zip(fits, styles, strict=True), key=lambda pair: pair[0])
        return best, most == total
    first, *others = [style for style, fit in zip(styles, fits, strict=True) if fit == total]
    for other in others:
        differ = f"SELECT count(CASE WHEN {parsed[first]} <> {parsed[other]} THEN 1 END) FROM days"
        if con.execute(differ).fetchall()[0][0]:
            raise Ambiguous(
                f"{where}: every one of {int(filled):,} dates reads as {first} and as {other}. Say which: "
                f"`dates: '{DAYS[first][0]}'` or `dates: '{DAYS[other][0]}'`.",
                setting="dates",
                choices={DAYS[style][0]: style for style in (first, other)},
            )
    return first, True


def _instants(cell: str, where: str, zone: str | None) -> Style:
    if zone is None:
        raise no_zone(where)
    return Style(name="instants", value=day_sql(cell, ISO, zone=zone))


def no_zone(where: str) -> Ambiguous:
    """Return the error of a column of instants where the sheet names no zone."""
    return Ambiguous(
        f"{where} holds instants, such as 23:30 UTC: on which day that is, the zone decides. Say which in the sheet, "
        "for example `time_zone: Europe/Berlin`.",
        setting="time_zone",
    )


def clean_number(cell: str) -> str:
    """Return the SQL of a number without signs of money, its blanks and apostrophes made alike, its minus in front."""
    blanks = f"[{BLANKS}]+"
    plain = f"regexp_replace(trim({cell}, {literal(BLANKS)}), {literal(blanks)}, ' ', 'g')"
    plain = f"replace(replace(replace({plain}, '−', '-'), '’', ''''), 'ʼ', '''')"
    plain = f"regexp_replace({plain}, {literal(f'^(-?)(?:{SIGNS}) ?')}, '\\1')"
    plain = f"regexp_replace({plain}, {literal(f' ?(?:{SIGNS})$')}, '')"
    plain = f"regexp_replace({plain}, '^\\((.*)\\)$', '-\\1')"
    return f"regexp_replace(regexp_replace({plain}, '^\\+', ''), '^- ', '-')"


def number_style(
    con: duckdb.DuckDBPyConnection, raw: str, cell: str, *, where: str, decimal: str | None
) -> Style | None:
    """Return how the numbers of a column of texts are written; None where no style fits every cell.

    The value is the SQL of a plain number with a point. `decimal` is what the sheet says. Raises Ambiguous for a column
    whose only separated numbers are such as 1.234.
    """
    simple = r"[+-]?[0-9]+(\.[0-9]+)?"
    filled, plain, either = con.execute(
        f"SELECT count({cell}), count(CASE WHEN regexp_full_match({cell}, '{simple}') THEN 1 END), "
        f"count(CASE WHEN {cell} LIKE '%.___' AND regexp_full_match({cell}, '{EITHER}') THEN 1 END) FROM {raw}"
    ).fetchall()[0]
    if plain == filled and (not either or decimal == "."):
        return Style(name=POINT, value=cell, told=False)
    clean = clean_number(cell)
    _refuse_currencies(con, raw, cell, where)
    tests = {style: f"regexp_full_match({clean}, {literal(regex)})" for style, regex in NUMBERS.items()}
    if decimal:
        tests = {style: test for style, test in tests.items() if style == {",": COMMA, ".": POINT}[decimal]}
    counted = ", ".join(f"count(CASE WHEN {test} THEN 1 END)" for test in tests.values())
    unclear, *fits = con.execute(
        f"SELECT count(CASE WHEN regexp_full_match({clean}, '{EITHER}') THEN 1 END), {counted} FROM {raw}"
    ).fetchall()[0]
    fitting = [style for style, fit in zip(tests, fits, strict=True) if fit == filled]
    if not fitting:
        return None
    if len(fitting) > 1 and unclear:
        raise Ambiguous(
            f"{where}: {unclear:,} of {filled:,} numbers are such as 1.234 or 1,234, a thousand or a fraction, and "
            "no other number tells which. Say what stands before the cents: `decimal: '.'` or `decimal: ','`.",
            setting="decimal",
            choices={".": "1,234.50", ",": "1 234,50"},
        )
    style = fitting[0]
    return Style(name=style, value=number_sql(clean, style), told=style == COMMA or plain < filled)


def _refuse_currencies(con: duckdb.DuckDBPyConnection, raw: str, cell: str, where: str) -> None:
    """Refuse amounts of several currencies: nobody may add them up."""
    sign = f"nullif(upper(regexp_extract({cell}, {literal(SIGNS)})), '')"
    found = con.execute(f"SELECT DISTINCT {sign} FROM {raw} WHERE {cell} IS NOT NULL ORDER BY 1 LIMIT 9").fetchall()
    signs = {CURRENCIES.get(row[0][:3].rstrip("."), row[0][:3]) for row in found if row[0]}
    if len(signs) > 1:
        raise WinbackError(f"{where} holds several currencies: {', '.join(sorted(signs))}. Give a file for each.")


def number_sql(clean: str, style: str) -> str:
    """Return the SQL of a clean number as a plain one with a point; NULL where it does not fit."""
    bare = f"regexp_replace({clean}, '[ '',]', '', 'g')"
    if style == COMMA:
        bare = f"replace(regexp_replace({clean}, '[ ''.]', '', 'g'), ',', '.')"
    return f"CASE WHEN regexp_full_match({clean}, {literal(NUMBERS[style])}) THEN {bare} END"
