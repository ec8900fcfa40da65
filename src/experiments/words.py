"""Numbers as people read them: money, shares, months, intervals, lists."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.estimate import Estimate

SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£", "RUB": "₽", "JPY": "¥"}
SCALES = ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"))
NO_NUMBER = "–"
MINUS = "−"
SMALL_SHARE = 0.1  # a share below it needs a digit more
MANY = 10  # units of money between two bounds that make cents noise


def money(value: float, currency: str, *, digits: int = 2) -> str:
    """Return an amount of money.

    >>> money(-1234.5, "USD"), money(3, "CHF", digits=0)
    ('−$1,234.50', '3 CHF')
    """
    sign, text = (MINUS if round(value, digits) < 0 else ""), f"{abs(value):,.{digits}f}"
    return f"{sign}{SYMBOLS[currency]}{text}" if currency in SYMBOLS else f"{sign}{text} {currency}"


def large(value: float, currency: str) -> str:
    """Return an amount of money without cents, millions as three digits and a word.

    >>> large(1_234_567, "USD"), large(-25_500_000, "CHF"), large(98_765.4, "EUR")
    ('$1.23 million', '−25.5 million CHF', '€98,765')
    """
    scale, word = next(((scale, word) for scale, word in SCALES if abs(value) >= scale), (1.0, ""))
    left = len(f"{abs(value) / scale:.0f}") if word else 3
    text, unit = money(value / scale, currency, digits=max(0, 3 - left)), "" if currency in SYMBOLS else f" {currency}"
    return f"{text.removesuffix(unit)} {word}{unit}" if word else text


def share(value: float, *, digits: int = 1) -> str:
    """Return a share as percent.

    >>> share(0.0449), share(-0.5, digits=0)
    ('4.5 %', '−50 %')
    """
    sign = MINUS if round(100 * value, digits) < 0 else ""
    return f"{sign}{abs(100 * value):,.{digits}f} %"


def number(value: float, *, digits: int = 2) -> str:
    """Return a plain number.

    >>> number(-6.789)
    '−6.79'
    """
    return f"{MINUS if round(value, digits) < 0 else ''}{abs(value):,.{digits}f}"


def amount(value: float, unit: str, *, currency: str) -> str:
    """Return a value in its unit: share, months, money or ratio."""
    if unit == "money":
        return money(value, currency)
    if unit == "share":
        return share(value, digits=2 if abs(value) < SMALL_SHARE else 1)
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
        return "no bounds"
    return between(estimate.low, estimate.high, estimate.unit, currency=currency)


def between(low: float, high: float, unit: str, *, currency: str) -> str:
    """Return two bounds as a reader wants them: as many digits as their distance needs."""
    if unit == "money":
        digits = 0 if high - low > MANY else 2
        return f"{money(low, currency, digits=digits)} to {money(high, currency, digits=digits)}"
    first, second = amount(low, unit, currency=currency), amount(high, unit, currency=currency)
    if unit == "share":
        digits = 2 if max(abs(low), abs(high)) < SMALL_SHARE else 1
        first, second = share(low, digits=digits), share(high, digits=digits)
    return f"{first.removesuffix(' %')} to {second}"


def listed(names: Sequence[str], *, last: str = "and") -> str:
    """Return names as a list in a sentence.

    >>> listed(["a", "b", "c"], last="or")
    'a, b or c'
    """
    return f" {last} ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
