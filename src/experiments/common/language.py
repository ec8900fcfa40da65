"""The language of a page: a text stands in English where it is said, catalogues in `locale/` say it in others.

Only what stands on a page is translated; errors, commands, logs and docs are English, names in files too.
Babel is loaded only where another language is spoken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, wraps
from gettext import GNUTranslations, NullTranslations
from io import BytesIO
from pathlib import Path
from typing import ParamSpec, TypeVar

from experiments.common.errors import WinbackError, did_you_mean

CATALOGUES = Path(__file__).parents[1] / "locale"
ENGLISH = "en"
LANGUAGES = (ENGLISH, *sorted(path.stem for path in CATALOGUES.glob("*.po")))


_SPOKEN: ContextVar[str] = ContextVar("spoken", default=ENGLISH)  # while something is rendered
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How a language writes numbers."""

    decimal: str = "."
    group: str = ","
    percent: str = " %"  # behind the number
    symbol_first: bool = True  # $5 or 5 $
    space: str = " "  # between an amount and a currency behind it


def _refuse_unknown(language: str) -> None:
    if language not in LANGUAGES:
        raise WinbackError(f"Unknown language {language!r}. {did_you_mean(language, LANGUAGES)}")


def language() -> str:
    """Return the code of the language that is spoken, such as en."""
    return _SPOKEN.get()


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """Render in a language for a while. Raises WinbackError where there is no such catalogue."""
    _refuse_unknown(language)
    before = _SPOKEN.set(language)
    try:
        yield
    finally:
        _SPOKEN.reset(before)


def rendered(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function of a page speak its keyword `language`; without it, the language of what it is part of."""

    @wraps(function)
    def spoken(*args: P.args, **kwargs: P.kwargs) -> R:
        language = kwargs.get("language")
        if language is None:
            return function(*args, **kwargs)
        with speaking(str(language)):
            return function(*args, **kwargs)

    return spoken


def say(text: str, /, **values: str | int) -> str:
    """Return a text of ours in the language spoken, `{name}` filled in; whole numbers as the language writes them.

    The text is the key in the catalogues: it is a literal, or was marked by `later`; text from the data is never said.

    >>> say("{lost} of all", lost=1234)
    '1,234 of all'
    """
    return _filled(_catalogue(language()).gettext(text), values)


def plural(one: str, many: str, n: int, /, **values: str | int) -> str:
    """Return a text about n things, `{n}` filled in, in the form that the language has for so many.

    >>> plural("{n} customer", "{n} customers", 1), plural("{n} customer", "{n} customers", 1200)
    ('1 customer', '1,200 customers')
    """
    return _filled(_catalogue(language()).ngettext(one, many, n), {"n": n, **values})


def later(text: str) -> str:
    """Return a text as it is: marked for the catalogues, to be said when it is shown."""
    return text


def numerals(text: str) -> str:
    """Return a number such as 1,234.5 with the signs of the language spoken."""
    written = style()
    return text.translate({ord(","): written.group, ord("."): written.decimal})


def style() -> Style:
    """Return how the language spoken writes numbers."""
    return _style(language())


def _filled(text: str, values: dict[str, str | int]) -> str:
    shown = {name: numerals(f"{value:,}") if isinstance(value, int) else value for name, value in values.items()}
    return text.format_map(shown) if values else text


@cache
def _catalogue(language: str) -> NullTranslations:
    """Return what gettext needs of a catalogue; without a translation it says the English."""
    if language == ENGLISH:
        return NullTranslations()
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    file = BytesIO()
    with (CATALOGUES / f"{language}.po").open("rb") as source:
        write_mo(file, read_po(source, locale=language))
    file.seek(0)
    return GNUTranslations(file)


@cache
def _style(language: str) -> Style:
    if language == ENGLISH:
        return Style()
    from babel import Locale

    locale = Locale.parse(language)
    symbols, money = locale.number_symbols["latn"], locale.currency_formats["standard"]
    return Style(
        decimal=symbols["decimal"],
        group=symbols["group"],
        percent=locale.percent_formats[None].suffix[0],
        symbol_first="¤" in money.prefix[0],
        space=(money.prefix[0] + money.suffix[0]).replace("¤", "") or " ",
    )
