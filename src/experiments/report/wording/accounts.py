"""The sentences of where each row went, and of what is not as planned."""

from __future__ import annotations

from experiments.common.finding import Finding
from experiments.common.language import later, say
from experiments.data.tables import Account
from experiments.sheet.locked_plan import ASSIGNED, Deviation

# Why rows were left out, and what else is to know of those that were kept. Facts of a text are filled in by name.
TEXTS = {
    # any table
    "filled": later("{n} empty {column} filled with {text}"),
    "after": later("{n} after {day}"),
    "nobody_known": later("{n} of nobody who bought or is in customers"),
    "encoding": later("read as {encoding}, as its words tell"),
    "worksheet": later("read from the sheet {worksheet}, the first of {others} more"),
    "files": later("{n} files"),
    "empty_rows": later("{n} empty rows were skipped"),
    "respelt": later("{n} {column} without the blanks or the .0 around them"),
    "dates": later("{column} is read as in {style}, which fits every row"),
    "zone": later("{column} is the day in {zone}"),
    "numbers.comma": later("{column} is read with a decimal comma, which fits every row"),
    "numbers.point": later("{column} is read with a decimal point, which fits every row"),
    "repeats_dropped": later("repeat customer, day and amount of another"),
    # purchases of the look at the lost
    "before_start": later("{n} before {start}"),
    "after_only_returns": later("{n} after {day}, which only tell who came back"),
    "refunds": later("{n} of 0 or less are refunds: no purchase, but their money counts"),
    "future": later("{n} lie in the future: check the dates"),
    "stale": later("the last is {n} days before {day}: if the data end there, silence is overstated by as much"),
    "same_day.all": later("{n} on a day with another of the same customer: one occasion, all the money"),
    "same_day.sample": later(
        "among one customer in {sample} {n} on a day with another of the same customer: one occasion, all the money"
    ),
    "same_day.none": later("one customer in {sample} was looked at for days with several purchases: there are none"),
    "bought_before_since": later("{n} bought before their `since`; their first purchase counts"),
    "not_in_customers": later("{n} who bought are not in the table customers; nothing more is known of them"),
    "never_bought": later("{n} never bought up to {day}; they count only where a rule calls them lost"),
    # the tables of a test
    "other_experiments": later("other experiments"),
    "not_assigned": later("no such assigned customer"),
    "forgotten_before": later("{n} asked to be forgotten"),
    "not_in_test": later("no such customer in this test"),
    "contacts_before": later("{n} before the assignment, which are history"),
    "contacts_after": later("{n} after the last month that counts"),
    "no_outcome": later("{n} assigned customers have no outcome and count as not returned, value 0"),
    "purchases_outside": later(
        "{outside} of customers outside the test, {before} before the assignment, {after} after the last whole month "
        "of follow-up or the horizon"
    ),
    # whom a test may assign
    "contacted_before": later("a contact reached them before {day}, and a customer has one chance"),
}
HAD_CHANCE = later("they had their chance in {experiments}")


def account(of: Account | str) -> str:
    """Return where the rows of a table went, such as "customers: kept 940 of 966 rows; 26 left out: ...".

    A text is what an earlier version wrote, and is shown as it stands.
    """
    if isinstance(of, str):
        return of
    notes = [_part(note) for note in of.notes]
    if of.rows or not notes:
        notes.insert(0, _rows(of))
    text = "; ".join(notes)
    return f"{of.table}: {text}" if of.table else text


def _rows(of: Account) -> str:
    if of.kept == of.rows:
        return say("kept all {n} rows", n=of.rows)
    why = ", ".join(map(_part, of.why))
    return say(
        "kept {kept} of {rows} rows; {left} left out: {why}",
        kept=of.kept,
        rows=of.rows,
        left=of.rows - of.kept,
        why=why,
    )


def _part(of: Finding) -> str:
    """Return a part of a sentence: why rows were left out, or what else is to know of a table."""
    if of.key == "said":  # by an earlier version, in the language it spoke
        return str(of.facts["said"])
    if of.key == "had_chance":
        return say(HAD_CHANCE, experiments=", ".join(f"{name} ({number:,})" for name, number in of.facts.items()))
    text = TEXTS[f"{of.key}.{of.case}" if of.case else of.key]
    return say(text, **{name: fact if isinstance(fact, int) else str(fact) for name, fact in of.facts.items()})


def deviation(of: Deviation) -> str:
    """Return what is not as planned, such as "horizon_months 12 instead of 24"."""
    if of.setting == ASSIGNED:
        return say("{n} customers assigned instead of {planned}", n=int(of.now), planned=int(of.planned))
    if not (of.planned or of.now):  # a sentence of an earlier version
        return of.setting
    if not of.planned:
        return say("{setting} was added", setting=of.setting)
    if not of.now:
        return say("{setting} was taken out", setting=of.setting)
    return say("{setting} {now} instead of {then}", setting=of.setting, now=of.now, then=of.planned)
