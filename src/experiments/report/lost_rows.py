"""What the tables of the lost customers are made of: cells, rows, groups that are large enough to be shown."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

from experiments.estimate import proportion
from experiments.figures.lost import MONTHS
from experiments.losses import STAGES, Cohort, Group
from experiments.report import shared
from experiments.words import NO_NUMBER, large, money, share

if TYPE_CHECKING:
    import pandas as pd

FEWEST = 5  # customers, below whom groups are joined: one customer is nobody's business, and two are luck
ROWS = 15  # groups, reasons or changes that get a row of their own
NAMES = {
    "stage": STAGES,
    "complaint": {"none": "No complaint", "resolved": "Complaint resolved", "unresolved": "Complaint not resolved"},
    "referrer": {"yes": "Recommended us", "no": "Recommended us to nobody"},
    "reason": {"both": "Two reasons", "several": "Three reasons or more", "unknown": "Nobody knows why"},
}


def day(at: date, *, short: bool = False) -> str:
    """Return a day as people write it.

    >>> day(date(2025, 5, 1)), day(date(2023, 11, 1), short=True)
    ('1 May 2025', '1 Nov 2023')
    """
    return f"{at.day} {MONTHS[at.month - 1] if short else f'{at:%B}'} {at.year}"


def percent(part: float, whole: float) -> str:
    """Return a part of a whole, 0 of nothing."""
    return share(part / whole if whole else 0.0)


def rate(part: int | None, whole: int, cohort: Cohort) -> str:
    """Return a share and, small below it, its interval; nothing of nobody."""
    if part is None or not whole:
        return NO_NUMBER
    return shared.value(proportion(part, whole, level=cohort.level), cohort.currency)


def counted(part: int | None, whole: int) -> str:
    """Return a number of customers and, small below it, their share."""
    return NO_NUMBER if part is None else f"{part:,}\n{percent(part, whole)}"


def amount(value: float | None, cohort: Cohort) -> str:
    """Return money of the cohort without cents."""
    return NO_NUMBER if value is None else money(value, cohort.currency, digits=0)


def big(value: float, currency: str) -> str:
    """Return an amount of money whose word, such as million, stands small beside it."""
    return large(value, currency).replace(" ", "\n", 1)


def one_line(text: str) -> str:
    """Return a text from the data on one line: in a cell a second one would be set small."""
    return " ".join(text.split())


def cells(rows: Sequence[Sequence[str]], columns: Sequence[str], *, index: Sequence[str], name: str) -> pd.DataFrame:
    """Return the cells of a table."""
    import pandas as pd

    frame = pd.DataFrame([list(row) for row in rows], columns=list(columns), index=list(index))
    frame.index.name = name
    return frame


def tidy(groups: Sequence[Group], cohort: Cohort, *, kind: str) -> tuple[list[Group], list[str]]:
    """Return the rows of a table and its notes: those that cost most, the rest and small ones joined, unknown last.

    Everyone is in a row but groups that even together stay below FEWEST customers: a note counts them.
    """
    words = NAMES.get(kind, {})
    known = [group for group in groups if group.name != "unknown"]
    known = known if kind == "stage" else sorted(known, key=lambda group: -group.worth)
    enough, small = ([group for group in known if (group.customers >= FEWEST) is many] for many in (True, False))
    rest, few = enough[ROWS:], sum(group.customers for group in small)
    rows = [_joined([group], words.get(group.name, group.name), cohort) for group in enough[:ROWS]]
    rows += [_joined(rest, f"All others ({len(rest)})", cohort)] if rest else []
    rows += [_joined(small, f"Others (groups under {FEWEST} customers)", cohort)] if few >= FEWEST else []
    rows += [_joined([group], words.get("unknown", "Not known"), cohort) for group in groups if group.name == "unknown"]
    notes = [f"The {ROWS} with the most money lost; {len(rest)} more are summed as “All others”."] if rest else []
    notes += [f"Groups with {few} customers together are too small to be shown."] if 0 < few < FEWEST else []
    return rows, notes


def _joined(groups: Sequence[Group], name: str, cohort: Cohort) -> Group:
    """Return several groups as one."""
    customers, lost = sum(group.customers for group in groups), sum(group.lost for group in groups)
    returned = [group.returned for group in groups if group.returned is not None]
    return Group(
        name=name,
        customers=customers,
        lost=lost,
        ratio=proportion(lost, customers, level=cohort.level),
        contactable=sum(group.contactable for group in groups),
        revenue=sum(group.revenue for group in groups),
        worth=sum(group.worth for group in groups),
        watched=sum(group.watched for group in groups),
        returned=sum(returned) if returned else None,
    )
