"""Who is who: one way to write a customer in every table, in the ledger and in answers; and what is only alike.

A customer is a text. Blanks around it, the composition of accents (NFC) and the `.0` that a column of numbers leaves
behind are no difference. Leading zeros are one, and so are capital letters, unless the sheet says `identity: {case:
ignore}`: rows that would match only without them are counted, never matched.
"""

from __future__ import annotations

import re
import unicodedata

from experiments.data.columns import literal

# Blanks of every width, and signs without any that spreadsheets and web pages leave behind.
BLANKS = " \t\r\n\u00a0\u1680\u202f\u205f\u2060\u3000\ufeff" + "".join(map(chr, range(0x2000, 0x200C)))
DIGITS = 15  # that a spreadsheet keeps of a number; the ones after them become zeros
BROKEN = r"[0-9](?:[.,][0-9]+)?[eE]\+?[0-9]+"  # 1.23457E+11: a spreadsheet has lost the digits
FLOAT = r"[+-]?[0-9]+\.0+"  # 1005.0: a column of numbers with a gap
FRACTION = r"[+-]?[0-9]+\.[0-9]*[1-9][0-9]*"  # 12.5: then 12.0 is no whole number but a name


def same(text: str, *, ignore_case: bool = False) -> str:
    """Return a customer as every table writes it.

    >>> same(" 1005.0 "), same("007"), same("Ann@Example.com", ignore_case=True)
    ('1005', '007', 'ann@example.com')
    """
    clean = unicodedata.normalize("NFC", text.strip(BLANKS))
    clean = re.sub(r"\.0+\Z", "", clean) if re.fullmatch(FLOAT, clean) else clean
    return clean.lower() if ignore_case else clean


def same_sql(cell: str, *, ignore_case: bool, whole: bool) -> str:
    """Return the SQL of `same`; `whole`: a `.0` at the end goes, because no customer of the column has a fraction."""
    clean = f"nfc_normalize(trim({cell}, {literal(BLANKS)}))"
    if whole:
        number = f"regexp_replace({clean}, '\\.0+$', '')"
        clean = f"CASE WHEN regexp_full_match({clean}, '{FLOAT}') THEN {number} ELSE {clean} END"
    return f"nullif({f'lower({clean})' if ignore_case else clean}, '')"


def has_blanks_sql(cell: str) -> str:
    """Return the SQL of a cheap test for texts that may have a blank at an end."""
    ends = " OR ".join(f"{cell} LIKE '{like}'" for like in (" %", "% ", "%\t", "%\n", "%\r"))
    return f"({ends} OR strlen({cell}) <> length({cell}) OR {cell} < '!')"


def odd_sql(cell: str, *, ignore_case: bool) -> str:
    """Return the SQL of a cheap test for customers that `same` may write otherwise."""
    case = f" OR {cell} <> lower({cell})" if ignore_case else ""
    return f"({has_blanks_sql(cell)} OR {cell} LIKE '%.0%'{case})"


def alike_sql(cell: str) -> str:
    """Return the SQL of a customer without letter case, leading zeros, and the digits that a spreadsheet cuts."""
    text = f"lower(CAST({cell} AS VARCHAR))"
    long = f"regexp_full_match({text}, '[0-9]{{{DIGITS + 1},}}')"
    return f"ltrim(CASE WHEN {long} THEN left({text}, {DIGITS}) ELSE {text} END, '0')"
