"""The page of the lost customers: how many, how fast, what it costs, whom first, why, where, and how sure that is."""

from __future__ import annotations

from experiments.common.finding import of_state
from experiments.common.formatting import NO_NUMBER, count, day, interval, large, listed, named, share, told
from experiments.common.language import later, plural, rendered, say
from experiments.lost.results import ALARM_ABOVE, NORMAL_BELOW, Cohort, light_of
from experiments.report import html, shared
from experiments.report import lost_tables as tables
from experiments.report.figures import lost as figures
from experiments.report.html import Html
from experiments.report.lost_method import terms
from experiments.report.lost_tables import UNKNOWN, big, percent
from experiments.report.wording import lost as wording

# Light: tone and sign of the card, colour, word.
LIGHTS = {
    "normal": ("go", "go", later("Green"), later("Normal")),
    "act": ("wait", "warn", later("Amber"), later("Act")),
    "alarm": ("stop", "stop", later("Red"), later("Alarm")),
}
LIMITS = {"normal": later("normal"), "act": later("act"), "alarm": later("alarm")}  # in a sentence, on the curve
EARLY = 0.2  # share of the lost who bought again by themselves; above it the rule calls customers lost too early
# Kind of group: what it is called, and the column of customers without which nobody knows it.
KINDS = {
    "manager": (later("Manager"), "manager"),
    "line": (later("Line of business"), "line"),
    "stage": (later("Purchases"), ""),
    "complaint": (later("Complaint"), "complaint"),
    "referrer": (later("Referral"), "referrals"),
}
FIRST = ("manager", "line")  # the others are folded
ANSWERS = {"pass": later("Fine"), "warn": UNKNOWN, "stop": later("Missing")}  # of the seven signs


@rendered
def question(cohort: Cohort, *, language: str | None = None) -> Html:
    """Return the title of the page and who was looked at when."""
    about = plural("{n} customer on {day}", "{n} customers on {day}", cohort.customers, day=day(cohort.as_of))
    since = say(", by their purchases since {day}", day=day(cohort.start)) if cohort.start else ""
    return html.heading(
        say("Whom did we lose, and whom should we win back?"), named(cohort.experiment, f"{about}{since}")
    )


# ---- the answer


@rendered
def verdict(cohort: Cohort, *, language: str | None = None) -> Html:
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
            detail=_no_pace(cohort),
        )  # fmt: skip
    else:
        card = html.verdict(
            _sentence(cohort), tone=tone, mark=mark, over=say("Traffic light: {colour}", colour=say(colour)),
            word=say("{light}: {share} of customers are lost a year", light=say(word), share=share(yearly)),
            detail=f"{_scale(cohort)}{_too_early(cohort)}",
        )  # fmt: skip
    return card + html.facts(_facts(cohort))


def _no_pace(cohort: Cohort) -> str:
    if cohort.pace.one_day is None:
        return say("How fast customers are lost is not known: the data hold no whole month with customers.")
    return say(
        "All of them were lost on one day, {day}: the data are a picture of that day, and do not tell how fast "
        "customers are lost. Give the day on which each of them left.",
        day=day(cohort.pace.one_day),
    )


def _sentence(cohort: Cohort) -> str:
    if cohort.worth <= 0 or cohort.worth_lost < 0:  # more was paid back than brought: a share of it says nothing
        return say(
            "{lost} of {customers} customers are lost. They brought {worth} a year. {contactable} of them can be "
            "contacted now.",
            lost=cohort.lost,
            customers=cohort.customers,
            worth=large(cohort.worth_lost, cohort.currency),
            contactable=cohort.contactable,
        )
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
    lights = {light_of(bound) for bound in (yearly.low, yearly.high) if bound is not None} - {cohort.pace.light}
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


def _facts(cohort: Cohort) -> list[tuple[str, str, str]]:
    currency, pace = cohort.currency, cohort.pace
    among = say("{share} of {n} ({bounds})", share=percent(cohort.lost, cohort.customers), n=cohort.customers,
                bounds=interval(cohort.lost_share, currency=currency))  # fmt: skip
    fast = say("{monthly} a month; {bounds} a year", monthly=told(pace.monthly, currency=currency),
               bounds=interval(pace.yearly, currency=currency))  # fmt: skip
    known = cohort.worth > 0 and cohort.worth_lost >= 0
    worth = say("{share} of all revenue", share=percent(cohort.worth_lost, cohort.worth)) if known else ""
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


@rendered
def by_month(cohort: Cohort, *, language: str | None = None) -> Html:
    """Return the loss by month with what the company changed."""
    title = say("How fast customers are lost")
    if not cohort.months:
        return html.section(title, say("The data hold no whole month, so the loss by month is not known."))
    unknown = say(
        "What the company changed is not known. Keep it in a table `changes` (at, what): prices, staff, deliveries; "
        "then it is marked on the curve."
    )
    changes = tables.changes(cohort) if cohort.changes else unknown
    return html.section(title, shared.picture(figures.by_month(cohort)), changes)


# ---- who, and who can be contacted


@rendered
def contactable(cohort: Cohort, *, language: str | None = None) -> Html:
    """Return which rules call customers lost, and how many of the lost can be contacted: everyone is accounted for."""
    title, ground = say("Who is lost, and who can be contacted"), _ground(cohort)
    if not cohort.lost:
        return html.section(title, say("Nobody is lost, so nobody has to be contacted."), tables.rules(cohort))
    if cohort.contactable == cohort.lost:
        unknown = say(
            "All {n} can be contacted, as far as is known: nobody wrote down who moved, died or is bankrupt, was let "
            "go, must not be contacted or cannot be reached (`natural_loss`, `deliberate_loss`, `do_not_contact`, "
            "`unreachable` in the table `customers`).",
            n=cohort.lost,
        )
        return html.section(title, unknown, *ground, tables.rules(cohort))
    parts = (shared.picture(figures.waterfall(cohort)), tables.steps(cohort), *ground, tables.rules(cohort))
    return html.section(title, *parts)


def _ground(cohort: Cohort) -> list[str]:
    """Return on what ground customers are contacted, where the sheet says it."""
    if cohort.asks_consent:
        return [say("Nobody is contacted without a consent that stands for a channel of the test.")]
    basis = cohort.contact_basis
    return [say("They are contacted on this ground: {basis}.", basis=basis)] if basis else []


# ---- whom first


@rendered
def priorities(cohort: Cohort, *, language: str | None = None) -> Html:
    """Return whom to win back first, what it may bring, and where the time goes."""
    title = say("Whom to win back first")
    if not cohort.lost:
        return html.section(title, say("Nobody is lost, so nobody has to be won back."), tables.efforts(cohort))
    about = say("Who brought most revenue (A to C) and bought most regularly (X to Z) comes first.")
    shown = (tables.classes(cohort), tables.lessons(cohort), tables.efforts(cohort))
    return html.section(title, shared.picture(figures.matrix(cohort)), *shown, intro=about)


# ---- why


@rendered
def reasons(cohort: Cohort, *, language: str | None = None) -> Html:
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
    shown = html.section(title, shared.picture(figures.reasons(cohort)), tables.reasons(cohort), intro=about)
    more = (tables.sources(cohort), tables.reasons_together(cohort))
    return shown + html.section(say("More about the reasons"), *more, open=False)


# ---- where


@rendered
def places(cohort: Cohort, *, language: str | None = None) -> Html:
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
    groups, notes = tables.tidy(cohort.groups[kind], cohort, kind=kind)
    table = tables.groups(groups, cohort, kind=kind, name=say(KINDS[kind][0]), notes=notes)
    known = {group.name for group in cohort.groups[kind]}
    compared = [group for group in groups if group.name in known]  # not those joined of several
    if kind != "manager" or len(compared) < 2:  # noqa: PLR2004  one has nobody to be compared with
        return [table]
    return [shared.picture(figures.spread(cohort, compared)), table]


# ---- how they leave


@rendered
def leaving(cohort: Cohort, *, language: str | None = None) -> Html:
    """Return how many of those who began together are not lost so many months later."""
    title = say("How long new customers stay")
    if not any(len(row.staying) > 1 for row in figures.joined(cohort)):
        return html.section(title, say("Too few customers began long enough ago to see how long they stay."))
    return html.section(title, shared.picture(figures.survival(cohort)))


# ---- how good is the rule


@rendered
def rule(cohort: Cohort, *, language: str | None = None) -> Html:
    """Return what other rules would say, and how right this one is."""
    return html.section(say("How good is the rule?"), tables.trials(cohort), *_accuracy(cohort), tables.opinion(cohort))


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


# ---- is the loss managed


@rendered
def signs(cohort: Cohort, *, language: str | None = None) -> Html:
    """Return the seven signs of a company that manages its losses."""
    rows = []
    for found in cohort.signs:
        name, reason, todo = wording.sign(found)
        rows.append((name, found.state, reason, todo))
    fine = len(of_state(cohort.signs, "pass"))
    title = say("Is the loss managed? {fine} of {all} signs are fine", fine=fine, all=len(cohort.signs))
    about = say("A company that manages its losses shows all of them.")
    return html.section(title, html.check_list(rows, words=ANSWERS), intro=about)


# ---- how it was made


@rendered
def method(cohort: Cohort, *, language: str | None = None) -> Html:
    """Return every rule, formula, threshold and unit in plain words."""
    return html.section(say("Method"), html.definitions(terms(cohort)), open=False)


@rendered
def provenance(cohort: Cohort, *, language: str | None = None) -> Html:
    """Return where the numbers come from, and where each row went."""
    return shared.provenance(cohort.accounts, cohort.sheet or NO_NUMBER)
