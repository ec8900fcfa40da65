"""The page of the lost customers: how many, how fast, what it costs, whom first, why, where, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from pathlib import Path

from experiments.common.formatting import NO_NUMBER, count, day, interval, large, listed, money, named, share, told
from experiments.common.language import later, plural, say
from experiments.lost.results import (
    ALARM_ABOVE,
    FLAGS,
    NORMAL_BELOW,
    PRIORITIES,
    RULES,
    Change,
    Cohort,
    Month,
    Opinion,
    Reason,
    Trial,
)
from experiments.lost.summary import SILENCE
from experiments.report import html, shared
from experiments.report.figures import lost as figures
from experiments.report.html import Html
from experiments.report.lost_method import terms
from experiments.report.lost_tables import FEWEST, ROWS, amount, big, cells, counted, one_line, percent, rate, tidy
from experiments.sheet.sheet import Lost, read_sheet

# Light: tone and sign of the card, colour, word.
LIGHTS = {
    "normal": ("go", "go", later("Green"), later("Normal")),
    "act": ("wait", "warn", later("Amber"), later("Act")),
    "alarm": ("stop", "stop", later("Red"), later("Alarm")),
}
LIMITS = {"normal": later("normal"), "act": later("act"), "alarm": later("alarm")}  # in a sentence, on the curve
UNKNOWN = later("Not known")
EARLY = 0.2  # share of the lost who bought again by themselves; above it the rule calls customers lost too early
SEASON = 3  # months before and after a change
NAME = 40  # letters of a source
# Kind of group: what it is called, and the column of customers without which nobody knows it.
KINDS = {
    "manager": (later("Manager"), "manager"),
    "line": (later("Line of business"), "line"),
    "stage": (later("Purchases"), ""),
    "complaint": (later("Complaint"), "complaint"),
    "referrer": (later("Referral"), "referrals"),
}
FIRST = ("manager", "line")  # the others are folded
FAMILIES = {"company": later("Company"), "competitor": later("Competitor"), "customer": later("Customer")}
ANSWERS = {"pass": later("Fine"), "warn": UNKNOWN, "stop": later("Missing")}  # of the seven signs
AGAIN = later("Bought again by themselves")


def question(cohort: Cohort) -> Html:
    """Return the title of the page and who was looked at when."""
    about = plural("{n} customer on {day}", "{n} customers on {day}", cohort.customers, day=day(cohort.as_of))
    since = say(", by their purchases since {day}", day=day(cohort.start)) if cohort.start else ""
    return html.heading(
        say("Whom did we lose, and whom should we win back?"), named(cohort.experiment, f"{about}{since}")
    )


# ---- the answer


def verdict(cohort: Cohort) -> Html:
    """Return the traffic light, what is lost, and the few numbers behind it."""
    yearly = cohort.pace.yearly.value
    tone, mark, colour, word = LIGHTS[cohort.pace.light]
    if not cohort.lost:
        said = say("By the rules below none of {n} customers is lost on {day}.", n=cohort.customers,
                   day=day(cohort.as_of))  # fmt: skip
        light = say("Traffic light: {colour}", colour=say("Green"))
        card = html.verdict(said, word=say("Nobody is lost"), tone="go", over=light)
    elif yearly is None:
        lost = percent(cohort.lost, cohort.customers)
        card = html.verdict(
            _sentence(cohort), word=say("{share} of customers are lost", share=lost), tone="wait",
            mark="warn", over=say("Traffic light: {colour}", colour=say("not known")),
            detail=say("How fast customers are lost is not known: the data hold no whole month with customers."),
        )  # fmt: skip
    else:
        card = html.verdict(
            _sentence(cohort), tone=tone, mark=mark, over=say("Traffic light: {colour}", colour=say(colour)),
            word=say("{light}: {share} of customers are lost a year", light=say(word), share=share(yearly)),
            detail=f"{_scale(cohort)}{_too_early(cohort)}",
        )  # fmt: skip
    return card + html.facts(_facts(cohort))


def _sentence(cohort: Cohort) -> str:
    return say(
        "{lost} of {customers} customers are lost. They brought {worth} a year, {share} of what all customers bring. "
        "{contactable} of them can be contacted now.",
        lost=cohort.lost, customers=cohort.customers, worth=large(cohort.worth_lost, cohort.currency),
        share=percent(cohort.worth_lost, cohort.worth), contactable=cohort.contactable,
    )  # fmt: skip


def _scale(cohort: Cohort) -> str:
    """Return what the lights mean, and which other light the interval allows."""
    yearly, months = cohort.pace.yearly, cohort.pace.months
    bounds = interval(yearly, currency=cohort.currency)
    measured = say("Measured in one month, all there is: {bounds} a year.", bounds=bounds)
    if months > 1 and cohort.pace.unsettled:
        measured = plural(
            "Measured over {n} month, without the last {late}, in which some are only late: {bounds} a year.",
            "Measured over {n} months, without the last {late}, in which some are only late: {bounds} a year.",
            months, late=cohort.pace.unsettled, bounds=bounds,
        )  # fmt: skip
    elif months > 1:
        measured = plural("Measured over {n} month: {bounds} a year.", "Measured over {n} months: {bounds} a year.",
                          months, bounds=bounds)  # fmt: skip
    lights = {_light(bound) for bound in (yearly.low, yearly.high) if bound is not None} - {cohort.pace.light}
    allowed = listed([say(LIMITS[light]) for light in sorted(lights)], last="or")
    doubt = " " + say("The interval also allows “{lights}”.", lights=allowed) if lights else ""
    normal, alarm = (share(limit, digits=0) for limit in (NORMAL_BELOW, ALARM_ABOVE))
    scale = say(
        "Up to {normal} a year is normal (9 to 11 % is typical of good firms), over {normal} act, over {alarm} alarm.",
        normal=normal, alarm=alarm,
    )  # fmt: skip
    return f"{scale} {measured}{doubt}"


def _too_early(cohort: Cohort) -> str:
    """Return a warning where many of those called lost came back by themselves."""
    used = next((trial for trial in cohort.trials if trial.used), None)
    if used is None or (used.returned or 0) <= EARLY * used.watched:
        return ""
    days = (cohort.last_day - cohort.as_of).days
    return " " + plural(
        "But {share} of those called lost by silence bought again by themselves within {n} day: the rule is too early "
        "(see “How good is the rule?”).",
        "But {share} of those called lost by silence bought again by themselves within {n} days: the rule is too early "
        "(see “How good is the rule?”).",
        days, share=percent(used.returned or 0, used.watched),
    )  # fmt: skip


def _light(yearly: float) -> str:
    return "alarm" if yearly > ALARM_ABOVE else "act" if yearly > NORMAL_BELOW else "normal"


def _facts(cohort: Cohort) -> list[tuple[str, str, str]]:
    currency, pace = cohort.currency, cohort.pace
    among = say("{share} of {n} ({bounds})", share=percent(cohort.lost, cohort.customers), n=cohort.customers,
                bounds=interval(cohort.lost_share, currency=currency))  # fmt: skip
    fast = say("{monthly} a month; {bounds} a year", monthly=told(pace.monthly, currency=currency),
               bounds=interval(pace.yearly, currency=currency))  # fmt: skip
    worth = say("{share} of all revenue", share=percent(cohort.worth_lost, cohort.worth))
    until = say("since each was lost, up to {day}", day=day(cohort.as_of))
    reached = say("{share} of the lost", share=percent(cohort.contactable, cohort.lost))
    yearly = told(pace.yearly, currency=currency)
    return [
        (say("Lost customers"), count(cohort.lost), among),
        (say("Lost a year, at this pace"), yearly, "" if pace.yearly.value is None else fast),
        (say("Money lost a year"), big(cohort.worth_lost, currency), worth),
        (say("Missed so far"), big(cohort.missed, currency), until),
        (say("Can be contacted now"), count(cohort.contactable), reached),
    ]


# ---- how fast


def by_month(cohort: Cohort) -> Html:
    """Return the loss by month with what the company changed."""
    title = say("How fast customers are lost")
    if not cohort.months:
        return html.section(title, say("The data hold no whole month, so the loss by month is not known."))
    unknown = say(
        "What the company changed is not known. Keep it in a table `changes` (at, what): prices, staff, deliveries; "
        "then it is marked on the curve."
    )
    changes = _changes(cohort) if cohort.changes else unknown
    return html.section(title, shared.picture(figures.by_month(cohort)), changes)


def _changes(cohort: Cohort) -> Html:
    """Return the loss before and after each change."""
    numbered = list(enumerate(cohort.changes, 1))[-ROWS:]
    rows = [[day(change.at, short=True), *_around(cohort, change)] for _, change in numbered]
    names = [f"{place} {change.what}" for place, change in numbered]
    columns = [say("Day"), say("Lost a month before"), say("Lost a month after")]
    frame = cells(rows, columns, index=names, name=say("Change"))
    about = say(
        "Before: the {before} months before that of the change; after: its month and the {after} that follow. What "
        "follows a change is not always its doing.",
        before=SEASON, after=SEASON - 1,
    )  # fmt: skip
    older = len(cohort.changes) - ROWS
    notes = [about]
    if older > 0:
        notes.append(plural("{n} older change is left out.", "{n} older changes are left out.", older))
    return html.table(frame, caption=say("What the company changed"), notes=notes)


def _around(cohort: Cohort, change: Change) -> tuple[str, str]:
    """Return the share lost a month in the season before a change and in that after it."""
    places = [place for place, month in enumerate(cohort.months) if month.month == f"{change.at:%Y-%m}"]
    if not places:
        return NO_NUMBER, NO_NUMBER
    here = places[0]
    before, after = cohort.months[max(0, here - SEASON) : here], cohort.months[here : here + SEASON]
    return _season(before, cohort), _season(after, cohort)


def _season(months: Sequence[Month], cohort: Cohort) -> str:
    return rate(sum(month.lost for month in months), sum(month.at_risk for month in months), cohort)


# ---- who, and who can be contacted


def contactable(cohort: Cohort) -> Html:
    """Return which rules call customers lost, and how many of the lost can be contacted: everyone is accounted for."""
    title = say("Who is lost, and who can be contacted")
    if not cohort.lost:
        return html.section(title, say("Nobody is lost, so nobody has to be contacted."), _rules(cohort))
    if cohort.contactable == cohort.lost:
        unknown = say(
            "All {n} can be contacted, as far as is known: nobody wrote down who moved, died or is bankrupt, was let "
            "go, must not be contacted or cannot be reached (`natural_loss`, `deliberate_loss`, `do_not_contact`, "
            "`unreachable` in the table `customers`).",
            n=cohort.lost,
        )
        return html.section(title, unknown, _rules(cohort))
    return html.section(title, shared.picture(figures.waterfall(cohort)), _steps(cohort), _rules(cohort))


def _rules(cohort: Cohort) -> Html:
    rows = [[count(rule.fired), count(rule.alone)] for rule in cohort.rules]
    names = [f"{say(RULES[rule.name])}\n{one_line(rule.told)}" for rule in cohort.rules]
    several = cohort.lost - sum(rule.alone for rule in cohort.rules)
    rows += [["", count(several)]] * (len(cohort.rules) > 1) + [["", count(cohort.lost)]]
    names += [say("By several rules")] * (len(cohort.rules) > 1) + [say("Lost")]
    frame = cells(rows, [say("Lost by it"), say("By it alone")], index=names, name=say("Rule"))
    notes = [say("One rule is enough. The right column counts everyone once.")] if len(cohort.rules) > 1 else []
    if cohort.never_bought:
        more = later("{n} more are known but never bought; they are neither customers nor lost.")
        notes.append(say(more, n=cohort.never_bought))
    return html.table(frame, caption=say("Why they are called lost"), notes=notes)


def _steps(cohort: Cohort) -> Html:
    rows = [["", count(cohort.lost)]]
    rows += [[f"− {count(step.customers)}" if step.customers else "0", count(step.left)] for step in cohort.steps]
    rows += [["", count(cohort.contactable)]]
    names = [say("Lost"), *(say(FLAGS[step.name]) for step in cohort.steps), say("Can be contacted now")]
    frame = cells(rows, [say("Taken out"), say("Left")], index=names, name=say("Customers"))
    about = later("Those taken out count as lost; they are not contacted. Each is taken out once, at the first that "
                  "holds.")  # fmt: skip
    return html.table(frame, caption=say("From lost to contactable"), notes=[say(about)])


# ---- whom first


def priorities(cohort: Cohort) -> Html:
    """Return whom to win back first, what it may bring, and where the time goes."""
    title = say("Whom to win back first")
    if not cohort.lost:
        return html.section(title, say("Nobody is lost, so nobody has to be won back."), _efforts(cohort))
    about = say("Who brought most revenue (A to C) and bought most regularly (X to Z) comes first.")
    shown = (shared.picture(figures.matrix(cohort)), _classes(cohort), _learned(cohort), _efforts(cohort))
    return html.section(title, *shown, intro=about)


def _classes(cohort: Cohort) -> Html:
    columns = [say("Lost"), say("Can be contacted"), say("Money they brought a year")]
    notes = [say("Money is that of those who can be contacted. Customers marked as important are “Must” at least.")]
    rows = [[count(row.lost), count(row.contactable), amount(row.worth, cohort)] for row in cohort.priorities]
    if cohort.learned:
        columns += [say("Expected value"), say("Not worth an offer")]
        for texts, row in zip(rows, cohort.priorities, strict=True):
            texts += [amount(row.expected, cohort), NO_NUMBER if row.hopeless is None else count(row.hopeless)]
        notes.append(say(
            "Expected value: the chance that an offer brings a customer back × what the second time is worth − what "
            "the offer costs, summed over those who can be contacted. Not worth an offer: customers for whom it is not "
            "above zero."
        ))  # fmt: skip
    names = [f"{list(PRIORITIES).index(row.name) + 1} {say(PRIORITIES[row.name])}" for row in cohort.priorities]
    frame = cells(rows, columns, index=names, name=say("Class"))
    return html.table(frame, caption=say("The four classes"), notes=notes)


def _learned(cohort: Cohort) -> object:
    if cohort.learned is None:
        return say(
            "What an offer would bring is not known before a test. After one, name its readout in the sheet, "
            "`lost: {learn_from: path/to/readout.json}`; then each class gets its expected value."
        )
    lessons, currency = cohort.learned.lessons[:ROWS], cohort.currency
    rows = [
        [one_line(row.offer), share(row.p_return), money(row.second_value, currency), money(row.cost, currency)]
        for row in lessons
    ]
    columns = [say("Best offer"), say("Brings back"), say("One more return is worth"),
               say("Costs a customer contacted")]  # fmt: skip
    names = [row.segment or say("Everybody else") for row in lessons]
    frame = cells(rows, columns, index=names, name=say("Left because of"))
    about = say("Brings back: the share that returns because of the offer, beyond those who would have come anyway.")
    caption = say("What the test {experiment} taught", experiment=one_line(cohort.learned.source))
    return html.table(frame, caption=caption, notes=[about])


def _efforts(cohort: Cohort) -> object:
    if not cohort.efforts:
        return say(
            "Whether the time goes where the profit comes from is not known. Add the column `hours` (hours of work a "
            "year) to the table `customers`."
        )
    rows = [
        [count(row.customers), share(row.hours, digits=0), share(row.profit, digits=0), count(row.loses)]
        for row in cohort.efforts
    ]
    columns = [say("Customers"), say("Share of the hours"), say("Share of the profit"),
               say("Cost more than they bring")]  # fmt: skip
    frame = cells(rows, columns, index=[row.abc for row in cohort.efforts], name=say("Importance"))
    return html.table(frame, caption=say("Time against profit, all customers"))


# ---- why


def reasons(cohort: Cohort) -> Html:
    """Return why customers left, what each reason costs, and whether it can be removed."""
    title = say("Why they left")
    if not cohort.lost:
        return Html("")
    if not cohort.reasons:
        return html.section(title, say(
            "Nobody wrote down why customers left. Add a table `reasons` (customer_id, reason, source, verified) to "
            "the sheet; a few hundred answers are enough to begin with."
        ))  # fmt: skip
    about = say("For {n} of {lost} lost customers ({share}) nobody knows why.", n=cohort.without_reason,
                lost=cohort.lost, share=percent(cohort.without_reason, cohort.lost))  # fmt: skip
    shown = html.section(title, shared.picture(figures.reasons(cohort)), _reasons(cohort), intro=about)
    return shown + html.section(say("More about the reasons"), _sources(cohort), _once(cohort), open=False)


def _many(cohort: Cohort) -> tuple[list[Reason], list[Reason]]:
    """Return the reasons that get a row, and those joined in one: rare ones, and those that cost least of many."""
    order = sorted(cohort.reasons, key=lambda reason: -reason.worth)
    shown = [reason for reason in order if reason.customers >= FEWEST][:ROWS]
    return shown, [reason for reason in order if reason not in shown]


def _reasons(cohort: Cohort) -> Html:
    shown, others = _many(cohort)
    rows = [
        [count(row.customers), shared.value(row.share, cohort.currency), amount(row.worth, cohort),
         say(FAMILIES.get(row.family, UNKNOWN)), _yes(row.ours), counted(row.fixed, row.customers)]
        for row in shown
    ]  # fmt: skip
    names = [row.name for row in shown]
    if others:
        mentions = sum(row.customers for row in others)
        rows.append([count(mentions), NO_NUMBER, amount(sum(row.worth for row in others), cohort), "", "", ""])
        names.append(say("All other reasons ({n})", n=len(others)))
    columns = [say("Customers"), say("Of those with a reason"), say("Money a year"), say("Whose doing"),
               say("Can we remove it?"), say("Removed for")]  # fmt: skip
    notes = [say("A customer may have several reasons, so the rows add up to more than all.")]
    if any(not row.family for row in shown):
        notes.append(say("Whose doing a reason is, the sheet says: `lost: {reasons: {price: {family: competitor}}}`."))
    frame = cells(rows, columns, index=names, name=say("Reason"))
    return html.table(frame, caption=say("Reasons, those that cost most first"), notes=notes)


def _yes(answer: bool | None) -> str:  # noqa: FBT001  a cell of a table
    return say(UNKNOWN) if answer is None else say("Yes") if answer else say("No")


def _sources(cohort: Cohort) -> Html:
    """Return how well the reasons are known, and of whom."""
    shown, _ = _many(cohort)
    columns = [say("Verified"), say("Told by"), say("Had complained"), say("Had recommended us"), say(AGAIN)]
    rows = [
        [counted(row.verified, row.customers), _told_by(row), counted(row.complained, row.customers),
         counted(row.referrers, row.customers), counted(row.returned, row.watched)]
        for row in shown
    ]  # fmt: skip
    frame = cells(rows, columns, index=[row.name for row in shown], name=say("Reason"))
    frame = frame.drop(columns=say(AGAIN)) if all(row.returned is None for row in shown) else frame
    unchecked = say("Nobody checked the stated reasons: the column `verified` of the table `reasons` is empty.")
    notes = [unchecked] if all(row.verified is None for row in shown) else []
    return html.table(frame, caption=say("Who told us, and about whom"), notes=notes)


def _told_by(reason: Reason) -> str:
    """Return the most frequent sources of a reason, one a line."""
    return "\n".join(f"{one_line(source)[:NAME]} {count(times)}" for source, times in reason.sources[:4])


def _once(cohort: Cohort) -> Html:
    """Return the lost customers by all of their reasons together: each is in one row."""
    groups, notes = tidy(cohort.groups.get("reason", ()), cohort, kind="reason")
    groups = [group for group in groups if group.lost]
    if not groups:
        return Html("")
    rows = [
        [count(row.lost), amount(row.worth, cohort), count(row.contactable), rate(row.returned, row.watched, cohort)]
        for row in groups
    ]
    columns = [say("Lost"), say("Money lost a year"), say("Can be contacted"), say(AGAIN)]
    frame = cells(rows, columns, index=[row.name for row in groups], name=say("Reasons of a customer"))
    frame = frame.drop(columns=say(AGAIN)) if all(row.returned is None for row in groups) else frame
    return html.table(frame, caption=say("Each lost customer once"), notes=notes)


# ---- where


def places(cohort: Cohort) -> Html:
    """Return where customers are lost: by manager and line; folded, by what else is known."""
    if not cohort.lost:
        return Html("")
    known = {kind: _place(cohort, kind) for kind in KINDS if _known(cohort, kind)}
    columns = [f"`{column}`" for kind, (_, column) in KINDS.items() if column and kind not in known]
    gap = plural(
        "Not known of the customers: {columns}. Add it to the table `customers` of the sheet to see where they are "
        "lost.",
        "Not known of the customers: {columns}. Add them to the table `customers` of the sheet to see where they are "
        "lost.",
        len(columns), columns=listed(columns),
    )  # fmt: skip
    first = [part for kind in FIRST for part in known.get(kind, [])]
    more = [part for kind in known if kind not in FIRST for part in known[kind]]
    title = say("By {kinds}", kinds=listed([say(KINDS[kind][0]).lower() for kind in known if kind not in FIRST]))
    folded = html.section(title, *more, open=False) if more else Html("")
    return html.section(say("Where they are lost"), *first, *([gap] if columns else [])) + folded


def _known(cohort: Cohort, kind: str) -> bool:
    return any(group.name != "unknown" for group in cohort.groups.get(kind, ()))


def _place(cohort: Cohort, kind: str) -> list[Html]:
    """Return the table of one kind of groups; of managers also the picture."""
    groups, notes = tidy(cohort.groups[kind], cohort, kind=kind)
    rows = [
        [count(row.customers), count(row.lost), shared.value(row.ratio, cohort.currency), amount(row.worth, cohort),
         count(row.contactable), rate(row.returned, row.watched, cohort)]
        for row in groups
    ]  # fmt: skip
    columns = [say("Customers"), say("Lost"), say("Share lost"), say("Money lost a year"), say("Can be contacted"),
               say(AGAIN)]  # fmt: skip
    name = say(KINDS[kind][0])
    frame = cells(rows, columns, index=[row.name for row in groups], name=name)
    frame = frame.drop(columns=say(AGAIN)) if all(row.returned is None for row in groups) else frame
    order = later("{kind}, from the first to many") if kind == "stage" else later("{kind}, those that cost most first")
    shown = html.table(frame, caption=say(order, kind=name), notes=notes)
    named = [row for row in groups if row.name in {group.name for group in cohort.groups[kind]}]
    if kind != "manager" or len(named) < 2:  # noqa: PLR2004  one has nobody to be compared with
        return [shown]
    return [shared.picture(figures.spread(cohort, named)), shown]


# ---- how they leave


def leaving(cohort: Cohort) -> Html:
    """Return how many of those who began together are not lost so many months later."""
    title = say("How long new customers stay")
    if not any(len(row.staying) > 1 for row in figures.joined(cohort)):
        return html.section(title, say("Too few customers began long enough ago to see how long they stay."))
    return html.section(title, shared.picture(figures.survival(cohort)))


# ---- how good is the rule


def rule(cohort: Cohort) -> Html:
    """Return what other rules would say, and how right this one is."""
    return html.section(say("How good is the rule?"), _trials(cohort), *_accuracy(cohort), _opinion(cohort))


def _trials(cohort: Cohort) -> object:
    if not cohort.trials:
        return say("Customers have contracts, so no rule of silence is tried.")
    rows = [
        [count(trial.judged), count(trial.lost), rate(trial.lost, trial.judged, cohort),
         rate(trial.returned, trial.watched, cohort), amount(trial.returned_revenue, cohort)]
        for trial in cohort.trials
    ]  # fmt: skip
    columns = [say("Can judge"), say("Lost"), say("Share lost"), say(AGAIN), say("Money they brought then")]
    name, names = _silences(cohort.trials)
    frame = cells(rows, columns, index=names, name=name)
    caption = say("What other rules of silence would say of the same customers")
    if all(trial.returned is None for trial in cohort.trials):
        unseen = say(
            "Who buys again by themselves is not known: the data end on the day of the look. Look at an earlier day to "
            "see it: the parameter `as_of`."
        )
        return html.table(frame.drop(columns=columns[-2:]), caption=caption, notes=[unseen])
    about = plural(
        "Bought again: within the {n} day that the data go on after {day}, of those who got no offer in a test. Many "
        "who come back by themselves: the rule is too early. Few lost: it may miss some.",
        "Bought again: within the {n} days that the data go on after {day}, of those who got no offer in a test. Many "
        "who come back by themselves: the rule is too early. Few lost: it may miss some.",
        (cohort.last_day - cohort.as_of).days, day=day(cohort.as_of),
    )  # fmt: skip
    return html.table(frame, caption=caption, notes=[about])


def _silences(trials: Sequence[Trial]) -> tuple[str, list[str]]:
    """Return what all rules begin with, and how each goes on; what follows a semicolon is set small."""
    begin = say(SILENCE, limit="")
    alike = all(trial.told.startswith(begin) for trial in trials)
    names = []
    for trial in trials:
        first, *more = one_line(trial.told.removeprefix(begin) if alike else trial.told).split("; ")
        names.append("\n".join([first, *more, *([say("the rule of this page")] if trial.used else [])]))
    return begin.strip().capitalize() if alike else say("Rule of silence"), names


def _accuracy(cohort: Cohort) -> list[object]:
    found, currency = cohort.accuracy, cohort.currency
    if found is None:
        unknown = say(
            "Whether the rule is right is not known: nobody knows who is truly lost. Ask a few hundred silent "
            "customers, and add a table `known_lost` (customer_id, at)."
        )
        return [unknown]
    precision, recall = (interval(one, currency=currency) for one in (found.precision, found.recall))
    return [
        plural("Against {n} customer who is known to be truly lost:",
               "Against {n} customers who are known to be truly lost:", found.known),
        html.facts([
            (say("Called lost, and truly lost"), told(found.precision, currency=currency),
             say("precision; {bounds}", bounds=precision)),
            (say("Truly lost, and called lost"), told(found.recall, currency=currency),
             say("recall; {bounds}", bounds=recall)),
            (say("The rule tells it"), _late(found.late_days), say("median, after the true day of the loss")),
        ]),
    ]  # fmt: skip


def _late(days: float | None) -> str:
    """Return how long after the true day of the loss the rule tells it."""
    if days is None:
        return NO_NUMBER
    whole = round(abs(days))
    return plural("{n} day early", "{n} days early", whole) if days < 0 else plural("{n} day late", "{n} days late",
                                                                                    whole)  # fmt: skip


def _opinion(cohort: Cohort) -> object:
    found = cohort.opinion
    if found is None:
        return say("There is no second opinion by P(alive): too few customers bought twice, or they have contracts.")
    rows = [
        [count(found.lost_alive), count(found.lost_gone), _mean(found.lost_mean)],
        [count(found.kept_alive), count(found.kept_gone), _mean(found.kept_mean)],
    ]
    half = share(0.5, digits=0)
    columns = [say("Still a customer: {half} or more", half=half), say("Less than {half}", half=half),
               say("Mean chance")]  # fmt: skip
    frame = cells(rows, columns, index=[say("Lost by silence"), say("Not lost by silence")], name=say("Rule"))
    caption = say("Second opinion: P(alive), the chance to be still a customer")
    return html.table(frame, caption=caption, notes=[_agree(found)])


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


# ---- is the loss managed


def signs(cohort: Cohort) -> Html:
    """Return the seven signs of a company that manages its losses."""
    fine = sum(1 for sign in cohort.signs if sign.state == "pass")
    rows = [(sign.name, sign.state, sign.reason, sign.todo) for sign in cohort.signs]
    title = say("Is the loss managed? {fine} of {all} signs are fine", fine=fine, all=len(cohort.signs))
    about = say("A company that manages its losses shows all of them.")
    return html.section(title, html.check_list(rows, words=ANSWERS), intro=about)


# ---- how it was made


def method(cohort: Cohort, sheet: str | Path) -> Html:
    """Return every rule, formula, threshold and unit in plain words."""
    setting = read_sheet(sheet)[0].lost or Lost(as_of=cohort.as_of)
    return html.section(say("Method"), html.definitions(terms(cohort, setting)), open=False)


def provenance(cohort: Cohort, sheet: str | Path) -> Html:
    """Return where the numbers come from, and where each row went."""
    return shared.provenance(cohort.accounts, sheet)
