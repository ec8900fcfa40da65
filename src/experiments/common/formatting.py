"""Numbers as people read them, in the language spoken: money, shares, months, days, intervals, lists."""

from __future__ import annotations

import re
from calendar import month_abbr
from calendar import month_name as month_names
from collections.abc import Callable, Sequence
from datetime import date, datetime

from experiments.common.errors import WinbackError
from experiments.common.estimate import Estimate
from experiments.common.language import ENGLISH, language, later, numerals, say, style

SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£", "RUB": "₽", "JPY": "¥"}
SCALES = ((1e12, later("trillion")), (1e9, later("billion")), (1e6, later("million")))
LISTS = {"and": later("{names} and {last}"), "or": later("{names} or {last}")}
FIRST_OF_MONTH = {"fr": "1er"}  # where it is no plain 1
NO_NUMBER = "–"
MINUS = "−"
SMALL_SHARE = 0.1  # a share below it needs a digit more
MANY = 10  # units of money between two bounds that make cents noise
WITHOUT_MINOR = frozenset(  # ISO 4217
    {"BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF"}
)
THOUSANDTHS = frozenset({"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"})


BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # turn the order of reading


def is_currency(code: str) -> bool:
    """Tell whether a text is a code of ISO 4217, of today or of the past.

    >>> is_currency("EUR"), is_currency("ZZZ")
    (True, False)
    """
    from babel.numbers import list_currencies

    return code in list_currencies()


def money_decimals(currency: str) -> int:
    """Return the digits after the point of a currency's minor unit (ISO 4217).

    >>> money_decimals("USD"), money_decimals("JPY"), money_decimals("KWD")
    (2, 0, 3)
    """
    if not re.fullmatch("[A-Z]{3}", currency):
        raise WinbackError(f"Currency {currency!r} is no three-letter code. Write one of ISO 4217, such as USD.")
    return 0 if currency in WITHOUT_MINOR else 3 if currency in THOUSANDTHS else 2


def money(value: float, currency: str, *, digits: int | None = None) -> str:
    """Return an amount of money; `digits` after the point, else those of the currency.

    >>> money(-1234.5, "USD"), money(3, "CHF", digits=0), money(1234.5, "JPY")
    ('−$1,234.50', '3 CHF', '¥1,234')
    """
    text = number(value, digits=money_decimals(currency) if digits is None else digits)
    symbol = SYMBOLS.get(currency)
    if symbol and style().symbol_first:
        return f"{MINUS}{symbol}{text[1:]}" if text.startswith(MINUS) else f"{symbol}{text}"
    return f"{text}{behind(currency)}"


def behind(currency: str) -> str:
    """Return what stands behind an amount of money; nothing where the symbol stands before it."""
    symbol = SYMBOLS.get(currency)
    return "" if symbol and style().symbol_first else f"{style().space}{symbol or currency}"


def large(value: float, currency: str) -> str:
    """Return an amount of money without cents, millions as three digits and a word.

    >>> large(1_234_567, "USD"), large(-25_500_000, "CHF"), large(98_765.4, "EUR")
    ('$1.23 million', '−25.5 million CHF', '€98,765')
    """
    scale, word = next(((scale, word) for scale, word in SCALES if abs(value) >= scale), (1.0, ""))
    left = len(f"{abs(value) / scale:.0f}") if word else 3
    text, unit = money(value / scale, currency, digits=max(0, 3 - left)), behind(currency)
    return f"{text.removesuffix(unit)} {say(word)}{unit}" if word else text


def share(value: float, *, digits: int = 1) -> str:
    """Return a share as percent.

    >>> share(0.0449), share(-0.5, digits=0)
    ('4.5 %', '−50 %')
    """
    return number(100 * value, digits=digits) + style().percent


def points(value: float, *, digits: int = 1) -> str:
    """Return a difference of shares as percentage points.

    >>> points(0.0042, digits=2)
    '0.42 points'
    """
    return say("{value} points", value=number(100 * value, digits=digits))


def number(value: float, *, digits: int = 2) -> str:
    """Return a plain number.

    >>> number(-6.789)
    '−6.79'
    """
    return f"{MINUS if round(value, digits) < 0 else ''}{numerals(f'{abs(value):,.{digits}f}')}"


def count(value: float) -> str:
    """Return how many.

    >>> count(40_000)
    '40,000'
    """
    return number(value, digits=0)


def short(value: float, *, digits: int) -> str:
    """Return a number to so many digits that count, without zeros behind them.

    >>> short(0.00123456, digits=2), short(4.0, digits=3)
    ('0.0012', '4')
    """
    return numerals(f"{value:.{digits}g}")


PERCENT: dict[str, Callable[[float, int], str]] = {  # units shown times 100: a share, a difference of two
    "share": lambda value, digits: share(value, digits=digits),
    "points": lambda value, digits: points(value, digits=digits),
}


def amount(value: float, unit: str, *, currency: str) -> str:
    """Return a value in its unit: share, points, months, money or ratio."""
    if unit == "money":
        return money(value, currency)
    if unit in PERCENT:
        return PERCENT[unit](value, 2 if abs(value) < SMALL_SHARE else 1)
    return share(value, digits=0) if unit == "ratio" else number(value)


def told(estimate: Estimate, *, currency: str) -> str:
    """Return the value of an estimate."""
    return NO_NUMBER if estimate.value is None else amount(estimate.value, estimate.unit, currency=currency)


def interval(estimate: Estimate, *, currency: str) -> str:
    """Return the bounds of an estimate, the unit written once where it stands behind.

    >>> interval(Estimate(value=0.45, low=0.443, high=0.465, level=0.95, n=9, unit="share"), currency="USD")
    '44.3 to 46.5 %'
    >>> interval(Estimate(value=400.0, low=371.18, high=429.1, level=0.95, n=9, unit="money"), currency="USD")
    '$371 to $429'
    """
    if estimate.value is None:
        return ""
    if estimate.low is None or estimate.high is None:
        return say("no bounds")
    return between(estimate.low, estimate.high, estimate.unit, currency=currency)


def with_interval(estimate: Estimate, *, currency: str) -> str:
    """Return the value of an estimate and, in brackets, its bounds.

    >>> with_interval(Estimate(value=0.45, low=0.443, high=0.465, level=0.95, n=9, unit="share"), currency="USD")
    '45.0 % (44.3 to 46.5 %)'
    """
    return f"{told(estimate, currency=currency)} ({interval(estimate, currency=currency)})"


def between(low: float, high: float, unit: str, *, currency: str) -> str:
    """Return two bounds as a reader wants them: as many digits as their distance needs."""
    last = style().percent
    if unit == "money":
        digits, last = 0 if high - low > MANY else None, behind(currency)
        first, second = (money(bound, currency, digits=digits) for bound in (low, high))
    elif unit in PERCENT:
        digits, last = 2 if max(abs(low), abs(high)) < SMALL_SHARE else 1, PERCENT[unit](0, 0)[1:]
        first, second = (PERCENT[unit](bound, digits) for bound in (low, high))
    else:
        first, second = (amount(bound, unit, currency=currency) for bound in (low, high))
    return say("{low} to {high}", low=first.removesuffix(last), high=second)


def listed(names: Sequence[str], *, last: str = "and") -> str:
    """Return names as a list in a sentence.

    >>> listed(["a", "b", "c"], last="or")
    'a, b or c'
    """
    *others, final = names or [""]
    return say(LISTS[last], names=", ".join(others), last=final) if others else final


def named(name: str, text: str) -> str:
    """Return a text with what it is about before it.

    >>> named("telecom", "4 offers")
    'telecom: 4 offers'
    """
    return say("{name}: {text}", name=name, text=text)


# ---- the calendar


def day(at: date, *, short: bool = False) -> str:
    """Return a day as people write it.

    >>> day(date(2025, 5, 1)), day(date(2023, 11, 1), short=True)
    ('1 May 2025', '1 Nov 2023')
    """
    if language() == ENGLISH:
        return f"{at.day} {month_abbr[at.month] if short else month_names[at.month]} {at.year}"
    from babel.dates import format_date

    text = format_date(at, format="d MMM y" if short else "d MMMM y", locale=language())
    first = FIRST_OF_MONTH.get(language())
    return f"{first}{text.removeprefix('1')}" if at.day == 1 and first else text


def date_told(at: date) -> str:
    """Return a day as a check or a rule tells it: in English as the sheet writes it.

    >>> date_told(date(2025, 5, 1))
    '2025-05-01'
    """
    return at.isoformat() if language() == ENGLISH else day(at)


def moment(at: datetime) -> str:
    """Return a day and the time of it.

    >>> moment(datetime(2025, 5, 1, 9, 30))
    '1 May 2025, 09:30 UTC'
    """
    return f"{day(at)}, {at:%H:%M} UTC"


def month_name(place: int) -> str:
    """Return the short name of a month, 1 to 12, as it stands alone.

    >>> month_name(5)
    'May'
    """
    if language() == ENGLISH:
        return month_abbr[place]
    from babel.dates import get_month_names

    return str(get_month_names("abbreviated", "stand-alone", locale=language())[place])


def month(text: str) -> str:
    """Return a month as people write it.

    >>> month("2023-05")
    'May 2023'
    """
    return f"{month_name(int(text[5:]))} {text[:4]}"


def visible(text: str) -> str:
    r"""Return a text of the data as it can be shown: signs that control something, such as the order of reading, are �.

    >>> visible("Ann\u202e\x07 Lee"), visible("one\ntwo"), visible("عربي")
    ('Ann�� Lee', 'one\ntwo', 'عربي')
    """
    return text if text.isprintable() else "".join(map(_visible, text))


def _visible(sign: str) -> str:
    import unicodedata

    hidden = unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp") or sign in BIDI
    return "�" if hidden and sign not in "\n\t\r" else sign
