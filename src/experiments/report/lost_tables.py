"""What the tables of the lost customers are made of: cells, rows, groups that are large enough to be shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from experiments.common.formatting import NO_NUMBER, count, large, money, share
from experiments.common.language import later, plural, say
from experiments.lost.results import STAGES, Cohort, Group
from experiments.report import shared
from experiments.stats.intervals import proportion

if TYPE_CHECKING:
    import pandas as pd

FEWEST = 5  # customers, below whom groups are joined: one customer is nobody's business, and two are luck
ROWS = 15  # groups, reasons or changes that get a row of their own
NAMES = {
    "stage": STAGES,
    "complaint": {"none": later("No complaint"), "resolved": later("Complaint resolved"),
                  "unresolved": later("Complaint not resolved")},
    "referrer": {"yes": later("Recommended us"), "no": later("Recommended us to nobody")},
    "reason": {"both": later("Two reasons"), "several": later("Three reasons or more"),
               "unknown": later("Nobody knows why")},
}  # fmt: skip


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
    return NO_NUMBER if part is None else f"{count(part)}\n{percent(part, whole)}"


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
    words = {name: say(text) for name, text in NAMES.get(kind, {}).items()}
    known = [group for group in groups if group.name != "unknown"]
    known = known if kind == "stage" else sorted(known, key=lambda group: -group.worth)
    enough, small = ([group for group in known if (group.customers >= FEWEST) is many] for many in (True, False))
    rest, few = enough[ROWS:], sum(group.customers for group in small)
    rows = [_joined([group], words.get(group.name, group.name), cohort) for group in enough[:ROWS]]
    rows += [_joined(rest, say("All others ({n})", n=len(rest)), cohort)] if rest else []
    joined = say("Others (groups under {fewest} customers)", fewest=FEWEST)
    rows += [_joined(small, joined, cohort)] if few >= FEWEST else []
    unknown = words.get("unknown", say("Not known"))
    rows += [_joined([group], unknown, cohort) for group in groups if group.name == "unknown"]
    most = later("The {rows} with the most money lost; {n} more are summed as “All others”.")
    notes = [say(most, rows=ROWS, n=len(rest))] if rest else []
    if 0 < few < FEWEST:
        notes.append(plural("Groups with {n} customer together are too small to be shown.",
                            "Groups with {n} customers together are too small to be shown.", few))  # fmt: skip
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
