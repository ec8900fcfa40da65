"""The page of the lost customers: how many, how fast, what it costs, whom first, why, where, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from pathlib import Path

from experiments import parts
from experiments.figures import lost as figures
from experiments.losses import (
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
from experiments.parts import Html
from experiments.plan import Lost, read_sheet
from experiments.report import shared
from experiments.report.lost_rows import FEWEST, ROWS, amount, big, cells, counted, day, one_line, percent, rate, tidy
from experiments.report.lost_terms import terms
from experiments.words import NO_NUMBER, interval, large, listed, money, number, share, told

# Light: tone and sign of the card, colour, word.
LIGHTS = {
    "normal": ("go", "go", "Green", "Normal"),
    "act": ("wait", "warn", "Amber", "Act"),
    "alarm": ("stop", "stop", "Red", "Alarm"),
}
EARLY = 0.2  # share of the lost who bought again by themselves; above it the rule calls customers lost too early
SEASON = 3  # months before and after a change
NAME = 40  # letters of a source
# Kind of group: what it is called, and the column of customers without which nobody knows it.
KINDS = {
    "manager": ("Manager", "manager"),
    "line": ("Line of business", "line"),
    "stage": ("Purchases", ""),
    "complaint": ("Complaint", "complaint"),
    "referrer": ("Referral", "referrals"),
}
FIRST = ("manager", "line")  # the others are folded
ANSWERS = {"pass": "Fine", "warn": "Not known", "stop": "Missing"}  # of the seven signs
AGAIN = "Bought again by themselves"


def question(cohort: Cohort) -> Html:
    """Return the title of the page and who was looked at when."""
    since = f", by their purchases since {day(cohort.start)}" if cohort.start else ""
    about = f"{cohort.experiment}: {cohort.customers:,} customers on {day(cohort.as_of)}{since}"
    return parts.heading("Whom did we lose, and whom should we win back?", about)


# ---- the answer


def verdict(cohort: Cohort) -> Html:
    """Return the traffic light, what is lost, and the few numbers behind it."""
    yearly = cohort.pace.yearly.value
    tone, mark, colour, word = LIGHTS[cohort.pace.light]
    if not cohort.lost:
        said = f"By the rules below none of {cohort.customers:,} customers is lost on {day(cohort.as_of)}."
        card = parts.verdict(said, word="Nobody is lost", tone="go", over="Traffic light: Green")
    elif yearly is None:
        card = parts.verdict(
            _sentence(cohort), word=f"{percent(cohort.lost, cohort.customers)} of customers are lost", tone="wait",
            mark="warn", over="Traffic light: not known",
            detail="How fast customers are lost is not known: the data hold no whole month with customers.",
        )  # fmt: skip
    else:
        card = parts.verdict(
            _sentence(cohort), word=f"{word}: {share(yearly)} of customers are lost a year", tone=tone, mark=mark,
            over=f"Traffic light: {colour}", detail=f"{_scale(cohort)}{_too_early(cohort)}",
        )  # fmt: skip
    return card + parts.facts(_facts(cohort))


def _sentence(cohort: Cohort) -> str:
    return (
        f"{cohort.lost:,} of {cohort.customers:,} customers are lost. They brought "
        f"{large(cohort.worth_lost, cohort.currency)} a year, {percent(cohort.worth_lost, cohort.worth)} of what all "
        f"customers bring. {cohort.contactable:,} of them can be contacted now."
    )


def _scale(cohort: Cohort) -> str:
    """Return what the lights mean, and which other light the interval allows."""
    yearly, months = cohort.pace.yearly, cohort.pace.months
    late = f", without the last {cohort.pace.unsettled}, in which some are only late" if cohort.pace.unsettled else ""
    over = f"over {months} months{late}" if months > 1 else "in one month, all there is"
    lights = {_light(bound) for bound in (yearly.low, yearly.high) if bound is not None} - {cohort.pace.light}
    doubt = f" The interval also allows “{listed(sorted(lights), last='or')}”." if lights else ""
    normal, alarm = (share(limit, digits=0) for limit in (NORMAL_BELOW, ALARM_ABOVE))
    return (
        f"Up to {normal} a year is normal (9 to 11 % is typical of good firms), over {normal} act, over {alarm} alarm. "
        f"Measured {over}: {interval(yearly, currency=cohort.currency)} a year.{doubt}"
    )


def _too_early(cohort: Cohort) -> str:
    """Return a warning where many of those called lost came back by themselves."""
    used = next((trial for trial in cohort.trials if trial.used), None)
    if used is None or (used.returned or 0) <= EARLY * used.watched:
        return ""
    days = (cohort.last_day - cohort.as_of).days
    return (
        f" But {percent(used.returned or 0, used.watched)} of those called lost by silence bought again by themselves "
        f"within {days:,} days: the rule is too early (see “How good is the rule?”)."
    )


def _light(yearly: float) -> str:
    return "alarm" if yearly > ALARM_ABOVE else "act" if yearly > NORMAL_BELOW else "normal"


def _facts(cohort: Cohort) -> list[tuple[str, str, str]]:
    currency, pace = cohort.currency, cohort.pace
    among = f"{percent(cohort.lost, cohort.customers)} of {cohort.customers:,}"
    fast = f"{told(pace.monthly, currency=currency)} a month; {interval(pace.yearly, currency=currency)} a year"
    worth = f"{percent(cohort.worth_lost, cohort.worth)} of all revenue"
    return [
        ("Lost customers", f"{cohort.lost:,}", f"{among} ({interval(cohort.lost_share, currency=currency)})"),
        ("Lost a year, at this pace", told(pace.yearly, currency=currency), "" if pace.yearly.value is None else fast),
        ("Money lost a year", big(cohort.worth_lost, currency), worth),
        ("Missed so far", big(cohort.missed, currency), f"since each was lost, up to {day(cohort.as_of)}"),
        ("Can be contacted now", f"{cohort.contactable:,}", f"{percent(cohort.contactable, cohort.lost)} of the lost"),
    ]


# ---- how fast


def by_month(cohort: Cohort) -> Html:
    """Return the loss by month with what the company changed."""
    title = "How fast customers are lost"
    if not cohort.months:
        return parts.section(title, "The data hold no whole month, so the loss by month is not known.")
    unknown = (
        "What the company changed is not known. Keep it in a table `changes` (at, what): prices, staff, deliveries; "
        "then it is marked on the curve."
    )
    changes = _changes(cohort) if cohort.changes else unknown
    return parts.section(title, shared.picture(figures.by_month(cohort)), changes)


def _changes(cohort: Cohort) -> Html:
    """Return the loss before and after each change."""
    numbered = list(enumerate(cohort.changes, 1))[-ROWS:]
    rows = [[day(change.at, short=True), *_around(cohort, change)] for _, change in numbered]
    names = [f"{place} {change.what}" for place, change in numbered]
    frame = cells(rows, ["Day", "Lost a month before", "Lost a month after"], index=names, name="Change")
    about = (
        f"Before: the {SEASON} months before that of the change; after: its month and the {SEASON - 1} that follow. "
        "What follows a change is not always its doing."
    )
    older = len(cohort.changes) - ROWS
    notes = [about, *([f"{older:,} older changes are left out."] if older > 0 else [])]
    return parts.table(frame, caption="What the company changed", notes=notes)


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
    title = "Who is lost, and who can be contacted"
    if not cohort.lost:
        return parts.section(title, "Nobody is lost, so nobody has to be contacted.", _rules(cohort))
    if cohort.contactable == cohort.lost:
        unknown = (
            f"All {cohort.lost:,} can be contacted, as far as is known: nobody wrote down who moved, died or is "
            "bankrupt, was let go, must not be contacted or cannot be reached (`natural_loss`, `deliberate_loss`, "
            "`do_not_contact`, `unreachable` in the table `customers`)."
        )
        return parts.section(title, unknown, _rules(cohort))
    return parts.section(title, shared.picture(figures.waterfall(cohort)), _steps(cohort), _rules(cohort))


def _rules(cohort: Cohort) -> Html:
    rows = [[f"{rule.fired:,}", f"{rule.alone:,}"] for rule in cohort.rules]
    names = [f"{RULES.get(rule.name, rule.name)}\n{one_line(rule.told)}" for rule in cohort.rules]
    several = cohort.lost - sum(rule.alone for rule in cohort.rules)
    rows += [["", f"{several:,}"]] * (len(cohort.rules) > 1) + [["", f"{cohort.lost:,}"]]
    names += ["By several rules"] * (len(cohort.rules) > 1) + ["Lost"]
    frame = cells(rows, ["Lost by it", "By it alone"], index=names, name="Rule")
    notes = ["One rule is enough. The right column counts everyone once."] if len(cohort.rules) > 1 else []
    if cohort.never_bought:
        notes.append(f"{cohort.never_bought:,} more are known but never bought; they are neither customers nor lost.")
    return parts.table(frame, caption="Why they are called lost", notes=notes)


def _steps(cohort: Cohort) -> Html:
    rows = [["", f"{cohort.lost:,}"]]
    rows += [[f"− {step.customers:,}" if step.customers else "0", f"{step.left:,}"] for step in cohort.steps]
    rows += [["", f"{cohort.contactable:,}"]]
    names = ["Lost", *(FLAGS.get(step.name, step.name) for step in cohort.steps), "Can be contacted now"]
    frame = cells(rows, ["Taken out", "Left"], index=names, name="Customers")
    about = "Those taken out count as lost; they are not contacted. Each is taken out once, at the first that holds."
    return parts.table(frame, caption="From lost to contactable", notes=[about])


# ---- whom first


def priorities(cohort: Cohort) -> Html:
    """Return whom to win back first, what it may bring, and where the time goes."""
    title = "Whom to win back first"
    if not cohort.lost:
        return parts.section(title, "Nobody is lost, so nobody has to be won back.", _efforts(cohort))
    about = "Who brought most revenue (A to C) and bought most regularly (X to Z) comes first."
    shown = (shared.picture(figures.matrix(cohort)), _classes(cohort), _learned(cohort), _efforts(cohort))
    return parts.section(title, *shown, intro=about)


def _classes(cohort: Cohort) -> Html:
    columns = ["Lost", "Can be contacted", "Money they brought a year"]
    notes = ["Money is that of those who can be contacted. Customers marked as important are “Must” at least."]
    rows = [[f"{row.lost:,}", f"{row.contactable:,}", amount(row.worth, cohort)] for row in cohort.priorities]
    if cohort.learned:
        columns += ["Expected value", "Not worth an offer"]
        for texts, row in zip(rows, cohort.priorities, strict=True):
            texts += [amount(row.expected, cohort), NO_NUMBER if row.hopeless is None else f"{row.hopeless:,}"]
        notes.append(
            "Expected value: the chance that an offer brings a customer back × what the second time is worth − what "
            "the offer costs, summed over those who can be contacted. Not worth an offer: customers for whom it is not "
            "above zero."
        )
    names = [f"{list(PRIORITIES).index(row.name) + 1} {PRIORITIES[row.name]}" for row in cohort.priorities]
    return parts.table(cells(rows, columns, index=names, name="Class"), caption="The four classes", notes=notes)


def _learned(cohort: Cohort) -> object:
    if cohort.learned is None:
        return (
            "What an offer would bring is not known before a test. After one, name its readout in the sheet, "
            "`lost: {learn_from: path/to/readout.json}`; then each class gets its expected value."
        )
    lessons, currency = cohort.learned.lessons[:ROWS], cohort.currency
    rows = [
        [one_line(row.offer), share(row.p_return), money(row.second_value, currency), money(row.cost, currency)]
        for row in lessons
    ]
    columns = ["Best offer", "Brings back", "One more return is worth", "Costs a customer contacted"]
    frame = cells(rows, columns, index=[row.segment or "Everybody else" for row in lessons], name="Left because of")
    about = "Brings back: the share that returns because of the offer, beyond those who would have come anyway."
    return parts.table(frame, caption=f"What the test {one_line(cohort.learned.source)} taught", notes=[about])


def _efforts(cohort: Cohort) -> object:
    if not cohort.efforts:
        return (
            "Whether the time goes where the profit comes from is not known. Add the column `hours` (hours of work a "
            "year) to the table `customers`."
        )
    rows = [
        [f"{row.customers:,}", share(row.hours, digits=0), share(row.profit, digits=0), f"{row.loses:,}"]
        for row in cohort.efforts
    ]
    columns = ["Customers", "Share of the hours", "Share of the profit", "Cost more than they bring"]
    frame = cells(rows, columns, index=[row.abc for row in cohort.efforts], name="Importance")
    return parts.table(frame, caption="Time against profit, all customers")


# ---- why


def reasons(cohort: Cohort) -> Html:
    """Return why customers left, what each reason costs, and whether it can be removed."""
    title = "Why they left"
    if not cohort.lost:
        return Html("")
    if not cohort.reasons:
        return parts.section(
            title, "Nobody wrote down why customers left. Add a table `reasons` (customer_id, reason, source, "
            "verified) to the sheet; a few hundred answers are enough to begin with.",
        )  # fmt: skip
    unknown = percent(cohort.without_reason, cohort.lost)
    about = f"For {cohort.without_reason:,} of {cohort.lost:,} lost customers ({unknown}) nobody knows why."
    shown = parts.section(title, shared.picture(figures.reasons(cohort)), _reasons(cohort), intro=about)
    return shown + parts.section("More about the reasons", _sources(cohort), _once(cohort), open=False)


def _many(cohort: Cohort) -> tuple[list[Reason], list[Reason]]:
    """Return the reasons that get a row, and those joined in one: rare ones, and those that cost least of many."""
    order = sorted(cohort.reasons, key=lambda reason: -reason.worth)
    shown = [reason for reason in order if reason.customers >= FEWEST][:ROWS]
    return shown, [reason for reason in order if reason not in shown]


def _reasons(cohort: Cohort) -> Html:
    shown, others = _many(cohort)
    rows = [
        [f"{row.customers:,}", shared.value(row.share, cohort.currency), amount(row.worth, cohort),
         row.family.capitalize() or "Not known", _yes(row.ours), counted(row.fixed, row.customers)]
        for row in shown
    ]  # fmt: skip
    names = [row.name for row in shown]
    if others:
        mentions = sum(row.customers for row in others)
        rows.append([f"{mentions:,}", NO_NUMBER, amount(sum(row.worth for row in others), cohort), "", "", ""])
        names.append(f"All other reasons ({len(others)})")
    columns = ["Customers", "Of those with a reason", "Money a year", "Whose doing", "Can we remove it?", "Removed for"]
    notes = ["A customer may have several reasons, so the rows add up to more than all."]
    if any(not row.family for row in shown):
        notes.append("Whose doing a reason is, the sheet says: `lost: {reasons: {price: {family: competitor}}}`.")
    frame = cells(rows, columns, index=names, name="Reason")
    return parts.table(frame, caption="Reasons, those that cost most first", notes=notes)


def _yes(answer: bool | None) -> str:  # noqa: FBT001  a cell of a table
    return "Not known" if answer is None else "Yes" if answer else "No"


def _sources(cohort: Cohort) -> Html:
    """Return how well the reasons are known, and of whom."""
    shown, _ = _many(cohort)
    columns = ["Verified", "Told by", "Had complained", "Had recommended us", AGAIN]
    rows = [
        [counted(row.verified, row.customers), _told_by(row), counted(row.complained, row.customers),
         counted(row.referrers, row.customers), counted(row.returned, row.watched)]
        for row in shown
    ]  # fmt: skip
    frame = cells(rows, columns, index=[row.name for row in shown], name="Reason")
    frame = frame.drop(columns=AGAIN) if all(row.returned is None for row in shown) else frame
    unchecked = "Nobody checked the stated reasons: the column `verified` of the table `reasons` is empty."
    notes = [unchecked] if all(row.verified is None for row in shown) else []
    return parts.table(frame, caption="Who told us, and about whom", notes=notes)


def _told_by(reason: Reason) -> str:
    """Return the most frequent sources of a reason, one a line."""
    return "\n".join(f"{one_line(source)[:NAME]} {count:,}" for source, count in reason.sources[:4])


def _once(cohort: Cohort) -> Html:
    """Return the lost customers by all of their reasons together: each is in one row."""
    groups, notes = tidy(cohort.groups.get("reason", ()), cohort, kind="reason")
    groups = [group for group in groups if group.lost]
    if not groups:
        return Html("")
    rows = [
        [f"{row.lost:,}", amount(row.worth, cohort), f"{row.contactable:,}", rate(row.returned, row.watched, cohort)]
        for row in groups
    ]
    columns = ["Lost", "Money lost a year", "Can be contacted", AGAIN]
    frame = cells(rows, columns, index=[row.name for row in groups], name="Reasons of a customer")
    frame = frame.drop(columns=AGAIN) if all(row.returned is None for row in groups) else frame
    return parts.table(frame, caption="Each lost customer once", notes=notes)


# ---- where


def places(cohort: Cohort) -> Html:
    """Return where customers are lost: by manager and line; folded, by what else is known."""
    if not cohort.lost:
        return Html("")
    known = {kind: _place(cohort, kind) for kind in KINDS if _known(cohort, kind)}
    columns = [f"`{column}`" for kind, (_, column) in KINDS.items() if column and kind not in known]
    gap = (
        f"Not known of the customers: {listed(columns)}. Add {'it' if len(columns) == 1 else 'them'} to the table "
        "`customers` of the sheet to see where they are lost."
    )
    first = [part for kind in FIRST for part in known.get(kind, [])]
    more = [part for kind in known if kind not in FIRST for part in known[kind]]
    title = f"By {listed([KINDS[kind][0].lower() for kind in known if kind not in FIRST])}"
    folded = parts.section(title, *more, open=False) if more else Html("")
    return parts.section("Where they are lost", *first, *([gap] if columns else [])) + folded


def _known(cohort: Cohort, kind: str) -> bool:
    return any(group.name != "unknown" for group in cohort.groups.get(kind, ()))


def _place(cohort: Cohort, kind: str) -> list[Html]:
    """Return the table of one kind of groups; of managers also the picture."""
    groups, notes = tidy(cohort.groups[kind], cohort, kind=kind)
    rows = [
        [f"{row.customers:,}", f"{row.lost:,}", shared.value(row.ratio, cohort.currency), amount(row.worth, cohort),
         f"{row.contactable:,}", rate(row.returned, row.watched, cohort)]
        for row in groups
    ]  # fmt: skip
    columns = ["Customers", "Lost", "Share lost", "Money lost a year", "Can be contacted", AGAIN]
    frame = cells(rows, columns, index=[row.name for row in groups], name=KINDS[kind][0])
    frame = frame.drop(columns=AGAIN) if all(row.returned is None for row in groups) else frame
    order = "from the first to many" if kind == "stage" else "those that cost most first"
    shown = parts.table(frame, caption=f"{KINDS[kind][0]}, {order}", notes=notes)
    named = [row for row in groups if row.name in {group.name for group in cohort.groups[kind]}]
    if kind != "manager" or len(named) < 2:  # noqa: PLR2004  one has nobody to be compared with
        return [shown]
    return [shared.picture(figures.spread(cohort, named, who="manager")), shown]


# ---- how they leave


def leaving(cohort: Cohort) -> Html:
    """Return how many of those who began together are not lost so many months later."""
    title = "How long new customers stay"
    if not any(len(row.staying) > 1 for row in figures.joined(cohort)):
        return parts.section(title, "Too few customers began long enough ago to see how long they stay.")
    return parts.section(title, shared.picture(figures.survival(cohort)))


# ---- how good is the rule


def rule(cohort: Cohort) -> Html:
    """Return what other rules would say, and how right this one is."""
    return parts.section("How good is the rule?", _trials(cohort), *_accuracy(cohort), _opinion(cohort))


def _trials(cohort: Cohort) -> object:
    if not cohort.trials:
        return "Customers have contracts, so no rule of silence is tried."
    rows = [
        [f"{trial.judged:,}", f"{trial.lost:,}", rate(trial.lost, trial.judged, cohort),
         rate(trial.returned, trial.watched, cohort), amount(trial.returned_revenue, cohort)]
        for trial in cohort.trials
    ]  # fmt: skip
    columns = ["Can judge", "Lost", "Share lost", AGAIN, "Money they brought then"]
    name, names = _silences(cohort.trials)
    frame = cells(rows, columns, index=names, name=name)
    caption = "What other rules of silence would say of the same customers"
    if all(trial.returned is None for trial in cohort.trials):
        unseen = (
            "Who buys again by themselves is not known: the data end on the day of the look. Look at an earlier day to "
            "see it: the parameter `as_of`."
        )
        return parts.table(frame.drop(columns=columns[-2:]), caption=caption, notes=[unseen])
    about = (
        f"Bought again: within the {(cohort.last_day - cohort.as_of).days:,} days that the data go on after "
        f"{day(cohort.as_of)}, of those who got no offer in a test. Many who come back by themselves: "
        "the rule is too early. Few lost: it may miss some."
    )
    return parts.table(frame, caption=caption, notes=[about])


def _silences(trials: Sequence[Trial]) -> tuple[str, list[str]]:
    """Return what all rules begin with, and how each goes on; what follows a semicolon is set small."""
    begin = "no purchase for more than "
    alike = all(trial.told.startswith(begin) for trial in trials)
    names = []
    for trial in trials:
        first, *more = one_line(trial.told.removeprefix(begin) if alike else trial.told).split("; ")
        names.append("\n".join([first, *more, *(["the rule of this page"] if trial.used else [])]))
    return begin.strip().capitalize() if alike else "Rule of silence", names


def _accuracy(cohort: Cohort) -> list[object]:
    found, currency = cohort.accuracy, cohort.currency
    if found is None:
        unknown = (
            "Whether the rule is right is not known: nobody knows who is truly lost. Ask a few hundred silent "
            "customers, and add a table `known_lost` (customer_id, at)."
        )
        return [unknown]
    days = found.late_days
    late = NO_NUMBER if days is None else f"{number(abs(days), digits=0)} days {'early' if days < 0 else 'late'}"
    precision, recall = (interval(one, currency=currency) for one in (found.precision, found.recall))
    return [
        f"Against {found.known:,} customers who are known to be truly lost:",
        parts.facts([
            ("Called lost, and truly lost", told(found.precision, currency=currency), f"precision; {precision}"),
            ("Truly lost, and called lost", told(found.recall, currency=currency), f"recall; {recall}"),
            ("The rule tells it", late, "median, after the true day of the loss"),
        ]),
    ]  # fmt: skip


def _opinion(cohort: Cohort) -> object:
    found = cohort.opinion
    if found is None:
        return "There is no second opinion by P(alive): too few customers bought twice, or they have contracts."
    rows = [
        [f"{found.lost_alive:,}", f"{found.lost_gone:,}", _mean(found.lost_mean)],
        [f"{found.kept_alive:,}", f"{found.kept_gone:,}", _mean(found.kept_mean)],
    ]
    columns = ["Still a customer: 50 % or more", "Less than 50 %", "Mean chance"]
    frame = cells(rows, columns, index=["Lost by silence", "Not lost by silence"], name="Rule")
    caption = "Second opinion: P(alive), the chance to be still a customer"
    return parts.table(frame, caption=caption, notes=[_agree(found)])


def _mean(value: float) -> str:
    return share(value, digits=0) if isfinite(value) else NO_NUMBER


def _agree(found: Opinion) -> str:
    everyone = found.lost_alive + found.lost_gone + found.kept_alive + found.kept_gone
    alike = percent(found.lost_gone + found.kept_alive, everyone)
    if not found.lost_gone + found.kept_gone:
        return (
            "The model takes nobody for gone: in so short or so irregular a history it cannot tell the silent from the "
            "lost. It is no second opinion here."
        )
    return (
        f"Rule and model agree on {alike} of {everyone:,} customers. Worth a look: {found.lost_alive:,} called lost "
        f"who may only be pausing, and {found.kept_gone:,} not called lost who are probably gone."
    )


# ---- is the loss managed


def signs(cohort: Cohort) -> Html:
    """Return the seven signs of a company that manages its losses."""
    fine = sum(1 for sign in cohort.signs if sign.state == "pass")
    rows = [(sign.name, sign.state, sign.reason, sign.todo) for sign in cohort.signs]
    title = f"Is the loss managed? {fine} of {len(cohort.signs)} signs are fine"
    about = "A company that manages its losses shows all of them."
    return parts.section(title, parts.check_list(rows, words=ANSWERS), intro=about)


# ---- how it was made


def method(cohort: Cohort, sheet: str | Path) -> Html:
    """Return every rule, formula, threshold and unit in plain words."""
    setting = read_sheet(sheet)[0].lost or Lost(as_of=cohort.as_of)
    return parts.section("Method", parts.definitions(terms(cohort, setting)), open=False)


def provenance(cohort: Cohort, sheet: str | Path) -> Html:
    """Return where the numbers come from, and where each row went."""
    return shared.provenance(cohort.accounts, sheet)
