"""What the tables of the lost customers are made of: cells, rows, groups that are large enough to be shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite

from experiments.common.formatting import NO_NUMBER, count, day, large, money, share
from experiments.common.language import later, plural, say
from experiments.lost.results import PRIORITIES, Change, Cohort, CustomerGroup, Month, Opinion, Reason
from experiments.readout.lessons import Lesson
from experiments.report import html, shared
from experiments.report.html import Html
from experiments.report.wording import lost as wording
from experiments.stats.intervals import proportion

FEWEST = 5  # customers, below whom groups are joined: one customer is nobody's business, and two are luck
ROWS = 15  # groups, reasons or changes that get a row of their own
SEASON = 3  # months before and after a change
NAME = 40  # letters of a source
SOURCES = 4  # of a reason, that are named
AGAIN = later("Bought again by themselves")
UNKNOWN = later("Not known")


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str | None]], *, caption: str, notes: Sequence[str] = ()
) -> Html:
    """Return a table of texts; the first column holds the names of the rows.

    None is not known; a column in which nothing is known is left out.
    """
    import pandas as pd

    cells = [list(row) for row in rows]
    known = [place for place in range(1, len(columns)) if not cells or any(row[place] is not None for row in cells)]
    texts = [[NO_NUMBER if row[place] is None else row[place] for place in known] for row in cells]
    index = pd.Index([row[0] for row in cells], name=columns[0], dtype=object)
    frame = pd.DataFrame(texts, columns=[columns[place] for place in known], index=index)
    return html.table(frame, caption=caption, notes=notes)


def percent(part: float, whole: float) -> str:
    """Return a part of a whole, 0 of nothing."""
    return share(part / whole if whole else 0.0)


def rate(part: int | None, whole: int, cohort: Cohort) -> str | None:
    """Return a share and, small below it, its interval; a dash of nobody, None where the part is not known."""
    if part is None:
        return None
    return shared.value(proportion(part, whole, level=cohort.level), cohort.currency) if whole else NO_NUMBER


def counted(part: int | None, whole: int) -> str | None:
    """Return a number of customers and, small below it, their share."""
    return None if part is None else f"{count(part)}\n{percent(part, whole)}"


def amount(value: float | None, cohort: Cohort) -> str | None:
    """Return money of the cohort without cents."""
    return None if value is None else money(value, cohort.currency, digits=0)


def big(value: float, currency: str) -> str:
    """Return an amount of money whose word, such as million, stands small beside it."""
    return large(value, currency).replace(" ", "\n", 1)


def one_line(text: str) -> str:
    """Return a text from the data on one line: in a cell a second one would be set small."""
    return " ".join(text.split())


def tidy(every: Sequence[CustomerGroup], cohort: Cohort, *, kind: str) -> tuple[list[CustomerGroup], list[str]]:
    """Return the rows of a table and its notes: those that cost most, the rest and small ones joined, unknown last.

    Everyone is in a row but groups that even together stay below FEWEST customers: a note counts them.
    """
    words = {name: say(text) for name, text in wording.GROUPS.get(kind, {}).items()}
    known = [group for group in every if group.name != "unknown"]
    known = known if kind == "stage" else sorted(known, key=lambda group: -group.worth)
    enough, small = ([group for group in known if (group.customers >= FEWEST) is many] for many in (True, False))
    rest, few = enough[ROWS:], sum(group.customers for group in small)
    rows = [joined([group], words.get(group.name, group.name), cohort) for group in enough[:ROWS]]
    if rest:
        rows.append(joined(rest, say("All others ({n})", n=len(rest)), cohort))
    if few >= FEWEST:
        rows.append(joined(small, say("Others (groups under {fewest} customers)", fewest=FEWEST), cohort))
    unknown = words.get("unknown", say("Not known"))
    rows += [joined([group], unknown, cohort) for group in every if group.name == "unknown"]
    most = later("The {rows} with the most money lost; {n} more are summed as “All others”.")
    notes = [say(most, rows=ROWS, n=len(rest))] if rest else []
    if 0 < few < FEWEST:
        notes.append(plural("Groups with {n} customer together are too small to be shown.",
                            "Groups with {n} customers together are too small to be shown.", few))  # fmt: skip
    return rows, notes


def joined(groups: Sequence[CustomerGroup], name: str, cohort: Cohort) -> CustomerGroup:
    """Return several groups as one."""
    customers, lost = sum(group.customers for group in groups), sum(group.lost for group in groups)
    returned = [group.returned for group in groups if group.returned is not None]
    return CustomerGroup(
        name=name,
        customers=customers,
        lost=lost,
        ratio=proportion(lost, customers, level=cohort.level),
        contactable=sum(group.contactable for group in groups),
        worth=sum(group.worth for group in groups),
        watched=sum(group.watched for group in groups),
        returned=sum(returned) if returned else None,
    )


# ---- the tables, in the order of the page


def changes(cohort: Cohort) -> Html:
    """Return the loss before and after each change."""
    columns = [say("Change"), say("Day"), say("Lost a month before"), say("Lost a month after")]
    rows = [
        [f"{place} {change.what}", day(change.at, short=True), *_around(cohort, change)]
        for place, change in list(enumerate(cohort.changes, 1))[-ROWS:]
    ]
    about = later(
        "Before: the {before} months before that of the change; after: its month and the {after} that follow. What "
        "follows a change is not always its doing."
    )
    notes, older = [say(about, before=SEASON, after=SEASON - 1)], len(cohort.changes) - ROWS
    if older > 0:
        notes.append(plural("{n} older change is left out.", "{n} older changes are left out.", older))
    return table(columns, rows, caption=say("What the company changed"), notes=notes)


def _around(cohort: Cohort, change: Change) -> tuple[str, str]:
    """Return the share lost a month in the season before a change and in that after it."""
    months = [month.month for month in cohort.months]
    if f"{change.at:%Y-%m}" not in months:
        return NO_NUMBER, NO_NUMBER
    here = months.index(f"{change.at:%Y-%m}")
    before, after = cohort.months[max(0, here - SEASON) : here], cohort.months[here : here + SEASON]
    return _season(before, cohort), _season(after, cohort)


def _season(months: Sequence[Month], cohort: Cohort) -> str:
    return rate(sum(month.lost for month in months), sum(month.at_risk for month in months), cohort) or NO_NUMBER


def rules(cohort: Cohort) -> Html:
    """Return which rules call customers lost; each customer counts once in the right column."""
    rows = [
        [f"{say(wording.RULES[rule.name])}\n{one_line(wording.rule(rule, cohort.settings))}", count(rule.fired),
         count(rule.alone)]
        for rule in cohort.rules
    ]  # fmt: skip
    notes = []
    if len(cohort.rules) > 1:
        rows.append([say("By several rules"), "", count(cohort.lost - sum(rule.alone for rule in cohort.rules))])
        notes.append(say("One rule is enough. The right column counts everyone once."))
    rows.append([say("Lost"), "", count(cohort.lost)])
    if cohort.never_bought:
        more = later("{n} more are known but never bought; they are neither customers nor lost.")
        notes.append(say(more, n=cohort.never_bought))
    columns = [say("Rule"), say("Lost by it"), say("By it alone")]
    return table(columns, rows, caption=say("Why they are called lost"), notes=notes)


def steps(cohort: Cohort) -> Html:
    """Return the steps from lost to contactable."""
    rows = [
        [say(wording.FLAGS[step.name]), f"− {count(step.customers)}" if step.customers else "0", count(step.left)]
        for step in cohort.steps
    ]
    rows.insert(0, [say("Lost"), "", count(cohort.lost)])
    rows.append([say("Can be contacted now"), "", count(cohort.contactable)])
    about = later("Those taken out count as lost; they are not contacted. Each is taken out once, at the first that "
                  "holds.")  # fmt: skip
    columns = [say("Customers"), say("Taken out"), say("Left")]
    return table(columns, rows, caption=say("From lost to contactable"), notes=[say(about)])


def classes(cohort: Cohort) -> Html:
    """Return the four classes of priority, with what a past test promises."""
    columns = [say("Class"), say("Lost"), say("Can be contacted"), say("Money they brought a year"),
               say("Expected value"), say("Not worth an offer")]  # fmt: skip
    rows = [
        [f"{PRIORITIES.index(row.name) + 1} {say(wording.PRIORITIES[row.name])}", count(row.lost),
         count(row.contactable), amount(row.worth, cohort), amount(row.expected, cohort),
         None if row.hopeless is None else count(row.hopeless)]
        for row in cohort.priorities
    ]  # fmt: skip
    notes = [say("Money is that of those who can be contacted. Customers marked as important are “Must” at least.")]
    if cohort.learned:
        notes.append(say(
            "Expected value: the chance that an offer brings a customer back × what the second time is worth − what "
            "the offer costs, summed over those who can be contacted. Not worth an offer: customers for whom it is not "
            "above zero."
        ))  # fmt: skip
    return table(columns, rows, caption=say("The four classes"), notes=notes)


def lessons(cohort: Cohort) -> object:
    """Return what a past test taught, by reason; without one, how to come to it."""
    if cohort.learned is None:
        return say(
            "What an offer would bring is not known before a test. After one, name its readout in the sheet, "
            "`lost: {learn_from: path/to/readout.json}`; then each class gets its expected value."
        )
    columns = [say("Left because of"), say("Best offer"), say("Gain a customer contacted"), say("Brings back"),
               say("One more return is worth"), say("Costs a customer contacted")]  # fmt: skip
    lessons = cohort.learned.lessons[:ROWS]
    notes = [say("Brings back: the share that returns because of the offer, beyond those who would have come anyway.")]
    if any(lesson.p_return is None for lesson in lessons):
        notes.append(say(
            "Gain: what the offer brings more than it costs. Of one reason the test tells the gain alone, drawn "
            "towards that of all customers as far as reasons differ by chance."
        ))  # fmt: skip
    caption = say("What the test {experiment} taught", experiment=one_line(cohort.learned.source))
    return table(columns, [_lesson(lesson, cohort.currency) for lesson in lessons], caption=caption, notes=notes)


def _lesson(lesson: Lesson, currency: str) -> list[str | None]:
    name, gain = lesson.segment or say("Everybody else"), shared.value(lesson.gain, currency)
    if lesson.p_return is None or lesson.second_value is None:
        return [name, one_line(lesson.offer), gain, None, None, None]
    second, cost = money(lesson.second_value, currency), money(lesson.cost, currency)
    return [name, one_line(lesson.offer), gain, share(lesson.p_return), second, cost]


def efforts(cohort: Cohort) -> object:
    """Return where the hours go and where the profit comes from; without hours, what to write down."""
    if not cohort.efforts:
        return say(
            "Whether the time goes where the profit comes from is not known. Add the column `hours` (hours of work a "
            "year) to the table `customers`."
        )
    columns = [say("Importance"), say("Customers"), say("Share of the hours"), say("Share of the profit"),
               say("Cost more than they bring")]  # fmt: skip
    rows = [
        [row.abc, count(row.customers), share(row.hours, digits=0), share(row.profit, digits=0), count(row.loses)]
        for row in cohort.efforts
    ]
    return table(columns, rows, caption=say("Time against profit, all customers"))


def _many(cohort: Cohort) -> tuple[list[Reason], list[Reason]]:
    """Return the reasons that get a row, and those joined in one: rare ones, and those that cost least of many."""
    order = sorted(cohort.reasons, key=lambda reason: -reason.worth)
    shown = [reason for reason in order if reason.customers >= FEWEST][:ROWS]
    return shown, [reason for reason in order if reason not in shown]


def reasons(cohort: Cohort) -> Html:
    """Return the reasons, those that cost most first, and whether they can be removed."""
    shown, others = _many(cohort)
    columns = [say("Reason"), say("Customers"), say("Of those with a reason"), say("Money a year"), say("Whose doing"),
               say("Can we remove it?"), say("Removed for")]  # fmt: skip
    rows = [
        [row.name, count(row.customers), shared.value(row.share, cohort.currency), amount(row.worth, cohort),
         say(wording.FAMILIES.get(row.family, UNKNOWN)), _yes(row.ours), counted(row.fixed, row.customers)]
        for row in shown
    ]  # fmt: skip
    if others:
        name, mentions = say("All other reasons ({n})", n=len(others)), sum(row.customers for row in others)
        rows.append([name, count(mentions), None, amount(sum(row.worth for row in others), cohort), "", "", ""])
    notes = [say("A customer may have several reasons, so the rows add up to more than all.")]
    if any(not row.family for row in shown):
        notes.append(say("Whose doing a reason is, the sheet says: `lost: {reasons: {price: {family: competitor}}}`."))
    return table(columns, rows, caption=say("Reasons, those that cost most first"), notes=notes)


def _yes(answer: bool | None) -> str:  # noqa: FBT001  a cell of a table
    return say(UNKNOWN) if answer is None else say("Yes") if answer else say("No")


def sources(cohort: Cohort) -> Html:
    """Return how well the reasons are known, and of whom."""
    shown, _ = _many(cohort)
    columns = [say("Reason"), say("Verified"), say("Told by"), say("Had complained"), say("Had recommended us"),
               say(AGAIN)]  # fmt: skip
    rows = [
        [row.name, counted(row.verified, row.customers) or NO_NUMBER, _most_frequent(row),
         counted(row.complained, row.customers), counted(row.referrers, row.customers),
         counted(row.returned, row.watched)]
        for row in shown
    ]  # fmt: skip
    unchecked = say("Nobody checked the stated reasons: the column `verified` of the table `reasons` is empty.")
    notes = [unchecked] if all(row.verified is None for row in shown) else []
    return table(columns, rows, caption=say("Who told us, and about whom"), notes=notes)


def _most_frequent(reason: Reason) -> str:
    """Return the most frequent sources of a reason, one a line."""
    return "\n".join(f"{one_line(source)[:NAME]} {count(times)}" for source, times in reason.sources[:SOURCES])


def reasons_together(cohort: Cohort) -> Html:
    """Return the lost customers by all of their reasons together: each is in one row."""
    shown, notes = tidy(cohort.groups.get("reason", ()), cohort, kind="reason")
    columns = [say("Reasons of a customer"), say("Lost"), say("Money lost a year"), say("Can be contacted"), say(AGAIN)]
    rows = [
        [row.name, count(row.lost), amount(row.worth, cohort), count(row.contactable),
         rate(row.returned, row.watched, cohort)]
        for row in shown if row.lost
    ]  # fmt: skip
    return table(columns, rows, caption=say("Each lost customer once"), notes=notes) if rows else Html("")


def groups(shown: Sequence[CustomerGroup], cohort: Cohort, *, kind: str, name: str, notes: Sequence[str]) -> Html:
    """Return groups of customers: how many are lost, and what that costs."""
    columns = [name, say("Customers"), say("Lost"), say("Share lost"), say("Money lost a year"),
               say("Can be contacted"), say(AGAIN)]  # fmt: skip
    rows = [
        [row.name, count(row.customers), count(row.lost), shared.value(row.ratio, cohort.currency),
         amount(row.worth, cohort), count(row.contactable), rate(row.returned, row.watched, cohort)]
        for row in shown
    ]  # fmt: skip
    order = later("{kind}, from the first to many") if kind == "stage" else later("{kind}, those that cost most first")
    return table(columns, rows, caption=say(order, kind=name), notes=notes)


def trials(cohort: Cohort) -> object:
    """Return what other rules of silence would say; with contracts, that none is tried."""
    if not cohort.trials:
        return say("Customers have contracts, so no rule of silence is tried.")
    name, names = _silences(cohort)
    columns = [name, say("Can judge"), say("Lost"), say("Share lost"), say(AGAIN), say("Money they brought then")]
    rows = [
        [text, count(trial.judged), count(trial.lost), rate(trial.lost, trial.judged, cohort),
         rate(trial.returned, trial.watched, cohort), amount(trial.returned_revenue, cohort)]
        for text, trial in zip(names, cohort.trials, strict=True)
    ]  # fmt: skip
    about = plural(
        "Bought again: within the {n} day that the data go on after {day}, of those who got no offer in a test. Many "
        "who come back by themselves: the rule is too early. Few lost: it may miss some.",
        "Bought again: within the {n} days that the data go on after {day}, of those who got no offer in a test. Many "
        "who come back by themselves: the rule is too early. Few lost: it may miss some.",
        (cohort.last_day - cohort.as_of).days, day=day(cohort.as_of),
    )  # fmt: skip
    if all(trial.returned is None for trial in cohort.trials):
        about = say(
            "Who buys again by themselves is not known: the data end on the day of the look. Look at an earlier day to "
            "see it: the parameter `as_of`."
        )
    caption = say("What other rules of silence would say of the same customers")
    return table(columns, rows, caption=caption, notes=[about])


def _silences(cohort: Cohort) -> tuple[str, list[str]]:
    """Return what all rules begin with, and how each goes on; what follows a semicolon is set small."""
    begin = say(wording.SILENCE, limit="")
    texts = [one_line(wording.trial(trial, cohort.settings)) for trial in cohort.trials]
    alike = all(text.startswith(begin) for text in texts)
    names = []
    for text, trial in zip(texts, cohort.trials, strict=True):
        parts = (text.removeprefix(begin) if alike else text).split("; ")
        names.append("\n".join([*parts, *([say("the rule of this page")] if trial.used else [])]))
    return begin.strip().capitalize() if alike else say("Rule of silence"), names


def opinion(cohort: Cohort) -> object:
    """Return the rule against P(alive); without it, why there is none."""
    found, half = cohort.opinion, share(0.5, digits=0)
    if found is None:
        return say("There is no second opinion by P(alive): too few customers bought twice, or they have contracts.")
    columns = [say("Rule"), say("Still a customer: {half} or more", half=half), say("Less than {half}", half=half),
               say("Mean chance")]  # fmt: skip
    rows = [
        [say("Lost by silence"), count(found.lost_alive), count(found.lost_gone), _mean(found.lost_mean)],
        [say("Not lost by silence"), count(found.kept_alive), count(found.kept_gone), _mean(found.kept_mean)],
    ]
    caption = say("Second opinion: P(alive), the chance to be still a customer")
    return table(columns, rows, caption=caption, notes=[_agree(found)])


def _mean(value: float) -> str:
    return share(value, digits=0) if isfinite(value) else NO_NUMBER


def _agree(found: Opinion) -> str:
    everyone = found.lost_alive + found.lost_gone + found.kept_alive + found.kept_gone
    alike = percent(found.lost_gone + found.kept_alive, everyone)
    if not found.lost_gone + found.kept_gone:
        return say(
            "The model takes nobody for gone: in so short or so irregular a history it cannot tell the silent from the "
            "lost. It is no second opinion here."
        )
    return say(
        "Rule and model agree on {share} of {n} customers. Worth a look: {alive} called lost who may only be pausing, "
        "and {gone} not called lost who are probably gone.",
        share=alike, n=everyone, alive=found.lost_alive, gone=found.kept_gone,
    )  # fmt: skip
