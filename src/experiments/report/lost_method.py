"""What the words of the page of the lost customers mean: every rule, formula, threshold and unit."""

from __future__ import annotations

from experiments.common.formatting import day, money, named, number, share
from experiments.common.language import later, say
from experiments.lost.results import ALARM_ABOVE, NORMAL_BELOW, YEAR, Cohort
from experiments.report.lost_tables import FEWEST, ROWS
from experiments.report.wording import lost as wording
from experiments.sheet.lost_rules import Lost

OWN = {
    "mean": later("Own interval: the mean of the days between a customer's purchase days."),
    "median": later("Own interval: the median of the days between a customer's purchase days."),
}


def terms(cohort: Cohort) -> dict[str, str]:
    """Return the terms of the page with what they mean; what a file of format 1 does not tell is left out."""
    settings = cohort.settings
    own, contactable, classes = ("", {}, {})
    if settings:
        own, contactable, classes = say(OWN[settings.interval]), _contactable(cohort, settings), _matrix(settings)
    return {**_lost(cohort, own), **contactable, **_pace(cohort), **classes, **_first(cohort), **_sure(cohort)}


def _lost(cohort: Cohort, own: str) -> dict[str, str]:
    """Return who is lost; `own` tells what the own interval of a customer is."""
    rules = "; ".join(
        named(say(wording.RULES[rule.name]), wording.rule(rule, cohort.settings)) for rule in cohort.rules
    )
    return {
        say("Customers"): say(
            "Everyone who bought up to {day}, and everyone a rule calls lost without a purchase. A purchase of 0 or "
            "less is a refund: its money counts, it is no purchase. Several purchases on a day are one.",
            day=day(cohort.as_of),
        ),
        say("Lost"): say("Whoever one of the rules calls lost on that day. {rules}. {own}", rules=rules, own=own),
        say("Day of the loss"): say(
            "The first day on which silence, the cancelled contract or the last unanswered inquiry made the customer "
            "lost; where the rule has no day, that of the last purchase. Whoever bought again up to the day of the "
            "look is not lost."
        ),
    }


def _contactable(cohort: Cohort, settings: Lost) -> dict[str, str]:
    hours = say("profit below zero (the sheet has no `hour_cost`, so hours cost nothing)")
    if settings.hour_cost:
        cost = money(settings.hour_cost, cohort.currency)
        hours = say("profit below the cost of the hours spent, {cost} an hour", cost=cost)
    fixed = say("; a cause the company can remove and has not yet removed") if settings.fixed_first else ""
    return {
        say("Can be contacted"): say(
            "Lost, and none of these: moved, died or bankrupt; let go on purpose; {hours}; do-not-contact; "
            "unreachable{fixed}.",
            hours=hours,
            fixed=fixed,
        )
    }


def _pace(cohort: Cohort) -> dict[str, str]:
    months, unsettled = cohort.pace.months or YEAR, cohort.pace.unsettled
    late = (
        say(" (the last before the {n} latest, in which some of the silent are only late)", n=unsettled)
        if unsettled
        else ""
    )
    normal, alarm = (share(limit, digits=0) for limit in (NORMAL_BELOW, ALARM_ABOVE))
    return {
        say("Lost a month"): say(
            "Customers lost in the month / customers who began by its end and were not lost before it. Whole months "
            "only. Wilson's interval."
        ),
        say("Lost a year"): say(
            "1 − S^({year}/{months}), S the product of the shares that stayed in each of {months} months{late}: 3 % a "
            "month make 30.6 % a year, not 36 %. Interval by Greenwood's variance on the log scale.",
            year=YEAR, months=months, late=late,
        ),
        say("Traffic light"): say(
            "Of the share lost a year: up to {normal} normal, above it act, above {alarm} alarm. Good firms lose 9 to "
            "11 % a year.",
            normal=normal, alarm=alarm,
        ),
        say("Money a year"): say(
            "A customer's revenue × 365 / D, D the days from the first to the last purchase and one interval more, at "
            "least 365: purchase × purchases a year, never more than was seen in a year. Revenue, not profit."
        ),
        say("Missed so far"): say("Money a year × years from the day of the loss to the day of the look."),
        say("Not lost"): say(
            "Of the customers who began in the same month (quarter, year), those no rule has called lost so many "
            "months later."
        ),
    }  # fmt: skip


def _matrix(settings: Lost) -> dict[str, str]:
    a, b, x, y = (share(end, digits=0) for end in (*settings.abc, *settings.xyz))
    return {
        "A, B, C": say(
            "Customers in the order of their revenue: A, the first, bring {a} of it, with B {b}, C the rest.", a=a, b=b
        ),
        "X, Y, Z": say(
            "Share of the months from the first to the last purchase in which the customer bought: X {x} or more, Y "
            "{y} or more, Z less, and everyone with fewer than {purchases} purchase days.",
            x=x,
            y=y,
            purchases=settings.minimum_purchases,
        ),
    }


def _first(cohort: Cohort) -> dict[str, str]:
    found = {
        say("Classes"): say(
            "First: AX, AY. Must: AZ, BX. If possible: BY, BZ, CX. Let go: CY, CZ. Customers marked as important are "
            "“Must” at least."
        )
    }
    if cohort.learned:
        found[say("Expected value")] = say(
            "P(return) × second value − cost. P(return): lift of the best offer of the past test. Second value: what "
            "one more return was worth, in proportion to the customer's own money a year. Of one reason the test tells "
            "what this makes on average, the gain there, not its parts: the cost is that of all customers of the test."
        )
    if cohort.efforts:
        found[say("Profit")] = say("As money a year, of the margin; without it, of the revenue × `margin_share`.")
    return found


def _sure(cohort: Cohort) -> dict[str, str]:
    found = {
        say("Small groups"): say(
            "Groups under {fewest} customers are joined. Of more than {rows} groups those that cost most have a row; "
            "the others are summed.",
            fewest=FEWEST, rows=ROWS,
        ),
        say("Managers"): say(
            "Shares have Wilson's intervals. Dark in the picture: the interval that holds for all managers at once "
            "(Bonferroni) leaves out the share of all customers. Customers are not dealt to managers at random."
        ),
        say("Bought again"): say(
            "After {day}, up to {until}; of those without an offer.", day=day(cohort.as_of), until=day(cohort.last_day)
        ),
    }  # fmt: skip
    if cohort.accuracy:
        found[say("Precision, recall")] = say("Truly lost, of those called lost; called lost, of those truly lost.")
    if one := cohort.opinion:
        r, alpha, a, b = (number(value, digits=3) for value in (one.r, one.alpha, one.a, one.b))
        found["P(alive)"] = say(
            "Chance that the customer has not left for good, from number and days of the purchases: modified BG/NBD "
            "(Batislam, Denizel and Filiztekin 2007), in which one-time buyers may have left too; maximum likelihood, "
            "r {r}, α {alpha}, a {a}, b {b}.",
            r=r, alpha=alpha, a=a, b=b,
        )  # fmt: skip
    return found
