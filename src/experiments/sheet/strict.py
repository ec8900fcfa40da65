"""Settings as everybody reads them: a number, a day, a name. Nothing is bent until it fits."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator
from contextlib import suppress
from datetime import date
from decimal import Decimal, InvalidOperation
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from experiments.common.errors import short
from experiments.common.language import LANGUAGES

Odd = tuple[tuple[str, ...], object, str]  # place, value, cure

ODD = "odd"  # the type of error of a value that is not what it seems
SHOWN = 80  # letters of a value that a message shows
NAMES, LONGEST_NAME = ("label", "question"), 300  # what a page shows as it stands, and how long it may be
DIGITS = 18  # of a number
# A number as everybody reads it; YAML takes 010 for 8, 12:30 for 750, 1_000 for 1000.
PLAIN = re.compile(rf"[-+]?(0|[1-9][0-9]{{0,{DIGITS - 1}}})(\.[0-9]{{0,{DIGITS}}})?([eE][-+]?[0-9]{{1,3}})?")
SEEN = "\u200c\u200d"  # they join and part letters, in Persian and in emoji
A_DAY = "Write a day as 2026-01-31, year, month, day."
DAY, YEAR = r"(\d{1,2})", r"(\d{4})"
ORDERS = (  # how days are written, and where year, month and day stand then
    (rf"{YEAR}([-./]){DAY}\2{DAY}", ((1, 3, 4),)),
    (rf"{YEAR}(\d\d)(\d\d)", ((1, 2, 3),)),
    (rf"{YEAR}-(\d\d)-(\d\d)[T ].*", ((1, 2, 3),)),
    (rf"{DAY}\.{DAY}\.{YEAR}", ((3, 2, 1),)),
    (rf"{DAY}([-/]){DAY}\2{YEAR}", ((4, 3, 1), (4, 1, 3))),  # Europe, America
)


class Strict(BaseModel):
    """A part of a sheet: it knows all its settings, takes none for another, and never changes.

    Validated with a context, it is what somebody wrote, and its names are looked at too; without, they come from data.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _is_what_it_seems(cls, value: object, info: ValidationInfo) -> object:
        name = info.field_name or ""
        written = bool(info.context)
        for path, given, cure in odd(cls.model_fields[name].annotation, value, (name,), written=written):
            told = short(repr(given), SHOWN)
            raise PydanticCustomError(ODD, "{cure}", {"cure": cure, "path": path[1:], "given": told})
        return value


def odd(kind: Any, value: object, path: tuple[str, ...], *, written: bool) -> Iterator[Odd]:  # noqa: ANN401  anything
    """Yield the place, the value and the cure of each value that is not of the kind it seems; models see to theirs.

    `written` by somebody: names and texts are looked at too.
    """
    kinds = kinds_of(kind)
    if isinstance(value, dict):
        inside = next((get_args(one)[1] for one in kinds if get_origin(one) is dict), None)
        for key, part in value.items() if inside else ():
            if written and isinstance(key, str) and (cure := _odd_name(key)):
                yield (*path, key), key, cure
            yield from odd(inside, part, (*path, str(key)), written=written)
    elif isinstance(value, list | tuple):
        inside = next((get_args(one)[0] for one in kinds if get_origin(one) in (list, tuple) and get_args(one)), None)
        for place, part in enumerate(value):
            yield from odd(inside, part, (*path, str(place)), written=written)
    elif cure := _odd_value(kinds, value, path, written=written):
        yield path, value, cure


def _odd_value(kinds: Collection[Any], value: object, path: tuple[str, ...], *, written: bool) -> str:
    """Return the cure of a value that is not of the kind it seems; nothing for all others."""
    numbers = {one for one in kinds if one in (int, float, Decimal)}
    if date in kinds and isinstance(value, int | float | str):
        return day_cure(value)
    if isinstance(value, bool):
        return "Yes and no are no numbers: write the number." if numbers and bool not in kinds else ""
    if numbers and str not in kinds and isinstance(value, int | float | Decimal | str):
        return _odd_number(value, numbers)
    if written and isinstance(value, str):
        return _odd_name(value.rstrip("\n")) if path[-1] in NAMES else _hidden(value, allowed="\n\t")
    return ""


def _odd_number(value: float | Decimal | str, kinds: Collection[Any]) -> str:
    """Return the cure of a number that a computer would keep otherwise than it is written."""
    if isinstance(value, str) and not PLAIN.fullmatch(value):
        return f"Write a plain number, of at most {DIGITS} digits." if _is_lenient(value) else ""  # else pydantic tells
    number = Decimal(repr(float(value)) if isinstance(value, float) else value)
    if not number.is_finite():
        return "Write a finite number."
    if number and not isinstance(value, int) and abs(number.adjusted()) >= DIGITS:
        return f"Write a number of at most {DIGITS} digits."
    if isinstance(value, str) and float not in kinds and Decimal not in kinds and number.as_tuple().exponent != 0:
        return f"Write it out: {number:f}." if number == int(number) else ""
    with suppress(OverflowError):  # an integer beyond every float
        return "" if float not in kinds or keeps(number) else "Write at most 15 digits: a computer keeps no more."
    return f"Write a number of at most {DIGITS} digits."


def keeps(number: Decimal) -> bool:
    """Tell whether a float keeps all the digits of a number."""
    return Decimal(repr(float(number))) == number


def _is_lenient(text: str) -> bool:
    """Tell whether a lenient reader would take a text for a number."""
    try:
        Decimal(text.strip())
    except InvalidOperation:
        return False
    return True


def _odd_name(text: str) -> str:
    """Return the cure of a name that a page could not show."""
    return _hidden(text) if 0 < len(text.strip()) <= LONGEST_NAME else f"Write 1 to {LONGEST_NAME} letters."


def _hidden(text: str, *, allowed: str = "") -> str:
    """Return the cure of a text with signs that control something; nothing where there are none."""
    hidden = ("Cc", "Cf", "Cs", "Zl", "Zp")
    odd_ones = (sign for sign in text if unicodedata.category(sign) in hidden and sign not in SEEN + allowed)
    return "It holds a sign that nobody sees. Write it anew." if next(odd_ones, None) else ""


def day_cure(given: object) -> str:
    """Return the cure of a day written otherwise, written out where its reading is plain; nothing for a right one.

    >>> day_cure("1.11.2026"), day_cure("11/01/2026"), day_cure("2026-11-01")
    ('Write 2026-11-01.', 'Write 2026-01-11 or 2026-11-01.', '')
    """
    text = str(given).strip()[:SHOWN]
    found = [(re.fullmatch(pattern, text, re.ASCII), orders) for pattern, orders in ORDERS]
    read = [tuple(int(match[place]) for place in order) for match, orders in found if match for order in orders]
    read = read or _in_words(text)
    days = []
    for parts in dict.fromkeys(read):
        with suppress(ValueError):
            days.append(date(*parts).isoformat())
    if [given] == days:
        return ""
    return f"Write {' or '.join(days)}." if days else f"There is no such day. {A_DAY}" if read else A_DAY


def _in_words(text: str) -> list[tuple[int, ...]]:
    """Return year, month and day of a day whose month is a word, of a language that pages speak."""
    from babel.dates import get_month_names

    words, numbers = re.findall(r"[^\W\d_]{3,}", text.lower()), re.findall(r"\d+", text, re.ASCII)
    years = [int(number) for number in numbers if len(number) == len("2026")]
    days = [int(number) for number in numbers if len(number) <= len("31")]
    names = {
        (name.lower().rstrip("."), month)
        for language in LANGUAGES
        for width in ("wide", "abbreviated")
        for month, name in get_month_names(width, "format", locale=language).items()
    }
    months = {month for name, month in names if name in words}
    return [(years[0], months.pop(), days[0])] if len(years) == len(days) == len(months) == 1 else []


def kinds_of(kind: Any) -> list[Any]:  # noqa: ANN401
    """Return the kinds that an annotation allows, one by one."""
    if get_origin(kind) is Annotated:
        return kinds_of(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return [one for part in get_args(kind) for one in kinds_of(part)]
    return [kind]
