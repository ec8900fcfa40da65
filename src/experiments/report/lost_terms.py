"""What the words of the page of the lost customers mean: every rule, formula, threshold and unit."""

from __future__ import annotations

from experiments.losses import ALARM_ABOVE, NORMAL_BELOW, RULES, YEAR, Cohort
from experiments.plan import Lost
from experiments.report.lost_rows import FEWEST, ROWS, day
from experiments.words import money, number, share


def terms(cohort: Cohort, setting: Lost) -> dict[str, str]:
    """Return the terms of the page with what they mean; `setting` is the sheet's `lost:`."""
    return {**_lost(cohort, setting), **_pace(cohort), **_first(cohort, setting), **_sure(cohort)}


def _lost(cohort: Cohort, setting: Lost) -> dict[str, str]:
    rules = "; ".join(f"{RULES.get(rule.name, rule.name)}: {rule.told}" for rule in cohort.rules)
    hours = money(setting.hour_cost, cohort.currency) if setting.hour_cost else "nothing, the sheet has no `hour_cost`,"
    fixed = "; a cause the company can remove and has not yet removed" if setting.fixed_first else ""
    return {
        "Customers": f"Everyone who bought up to {day(cohort.as_of)}, and everyone a rule calls lost without a "
        "purchase. A purchase of 0 or less is a refund: its money counts, it is no purchase. Several purchases on a "
        "day are one.",
        "Lost": f"Whoever one of the rules calls lost on that day. {rules}. Own interval: the {setting.interval} of "
        "the days between a customer's purchase days.",
        "Day of the loss": "The first day on which silence, the cancelled contract or the last unanswered inquiry made "
        "the customer lost; where the rule has no day, that of the last purchase. Whoever bought again up to the day "
        "of the look is not lost.",
        "Can be contacted": "Lost, and none of these: moved, died or bankrupt; let go on purpose; profit below the "
        f"cost of the hours spent, {hours} an hour; do-not-contact; unreachable{fixed}.",
    }


def _pace(cohort: Cohort) -> dict[str, str]:
    months, unsettled = cohort.pace.months or YEAR, cohort.pace.unsettled
    late = f" (the last before the {unsettled} latest, in which some of the silent are only late)" if unsettled else ""
    return {
        "Lost a month": "Customers lost in the month / customers who began by its end and were not lost before it. "
        "Whole months only. Wilson's interval.",
        "Lost a year": f"1 − S^({YEAR}/{months}), S the product of the shares that stayed in each of {months} months"
        f"{late}: 3 % a month make 30.6 % a year, not 36 %. Interval by Greenwood's variance on the log scale.",
        "Traffic light": f"Of the share lost a year: up to {share(NORMAL_BELOW, digits=0)} normal, above it act, above "
        f"{share(ALARM_ABOVE, digits=0)} alarm. Good firms lose 9 to 11 % a year.",
        "Money a year": "A customer's revenue × 365 / D, D the days from the first to the last purchase and one "
        "interval more, at least 365: purchase × purchases a year, never more than was seen in a year. Revenue, "
        "not profit.",
        "Missed so far": "Money a year × years from the day of the loss to the day of the look.",
        "Not lost": "Of the customers who began in the same month (quarter, year), those no rule has called lost so "
        "many months later.",
    }


def _first(cohort: Cohort, setting: Lost) -> dict[str, str]:
    a, b, x, y = (share(end, digits=0) for end in (*setting.abc, *setting.xyz))
    found = {
        "A, B, C": f"Customers in the order of their revenue: A, the first, bring {a} of it, with B {b}, C the rest.",
        "X, Y, Z": f"Share of the months from the first to the last purchase in which the customer bought: X {x} or "
        f"more, Y {y} or more, Z less, and everyone with fewer than {setting.minimum_purchases} purchase days.",
        "Classes": "First: AX, AY. Must: AZ, BX. If possible: BY, BZ, CX. Let go: CY, CZ. Customers marked as "
        "important are “Must” at least.",
    }
    if cohort.learned:
        found["Expected value"] = (
            "P(return) × second value − cost, by reason. P(return): lift of the best offer of the past test. Second "
            "value: what one more return was worth there, in proportion to the customer's own money a year."
        )
    if cohort.efforts:
        found["Profit"] = "As money a year, of the margin; without it, of the revenue × `margin_share`."
    return found


def _sure(cohort: Cohort) -> dict[str, str]:
    found = {
        "Small groups": f"Groups under {FEWEST} customers are joined. Of more than {ROWS} groups those that cost most "
        "have a row; the others are summed.",
        "Managers": "Shares have Wilson's intervals. Dark in the picture: the interval that holds for all managers at "
        "once (Bonferroni) leaves out the share of all customers. Customers are not dealt to managers at random.",
        "Bought again": f"After {day(cohort.as_of)}, up to {day(cohort.last_day)}; of those without an offer.",
    }
    if cohort.accuracy:
        found["Precision, recall"] = "Truly lost, of those called lost; called lost, of those truly lost."
    if cohort.opinion:
        r, alpha, a, b = (number(value, digits=3) for value in cohort.opinion.parameters)
        found["P(alive)"] = (
            "Chance that the customer has not left for good, from number and days of the purchases: modified BG/NBD "
            "(Batislam, Denizel and Filiztekin 2007), in which one-time buyers may have left too; maximum likelihood, "
            f"r {r}, α {alpha}, a {a}, b {b}."
        )
    return found
