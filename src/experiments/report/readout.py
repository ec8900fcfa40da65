"""The page of a readout: which offer wins customers back, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.common.formatting import (
    NO_NUMBER,
    amount,
    between,
    count,
    interval,
    listed,
    named,
    number,
    share,
    told,
)
from experiments.common.language import later, plural, rendered, say
from experiments.metrics.objectives import OBJECTIVES
from experiments.readout.readout import Arm, Readout
from experiments.report import html, shared
from experiments.report.figures import readout as figures
from experiments.report.html import Html
from experiments.report.wording.checks import worded
from experiments.report.wording.details import (
    curse_words,
    inline,
    labels,
    p_value,
    policy_words,
    segment_words,
    sweep_words,
)
from experiments.report.wording.metrics import METRICS
from experiments.report.wording.verdict import worded_verdict

if TYPE_CHECKING:
    from experiments.readout.secondary import Comparison, Life, Lives


@rendered
def question(readout: Readout, *, language: str | None = None) -> Html:
    """Return the question of a test as the title of its page."""
    offers = plural("{n} offer", "{n} offers", len(readout.offers))
    assigned = plural("{n} customer", "{n} customers", readout.assigned)
    span = ""
    if readout.dated:
        span = plural(", followed for up to {n} month", ", followed for up to {n} months", readout.horizon_months)
    return html.heading(shared.asked(readout.question), named(readout.experiment, f"{offers}, {assigned}{span}"))


@rendered
def verdict(readout: Readout, *, language: str | None = None) -> Html:
    """Return the verdict and the few numbers behind it."""
    said = worded_verdict(readout)
    card = html.verdict(said.sentence, word=said.word, tone=readout.verdict.tone, detail=said.detail)
    return card + html.facts(_facts(readout))


HIGHEST = {
    "net": later("Highest net: {offer}"),
    "roi": later("Highest incremental ROI: {offer}"),
    "accepted": later("Most accepted: {offer}"),
    "returned": later("Most returned: {offer}"),
    "gross_roi": later("Highest gross ROI: {offer}"),
}


def _facts(readout: Readout) -> list[tuple[str, str, str]]:
    rows: list[tuple[str, str, str]] = []
    for metric, label in HIGHEST.items():
        known = [arm for arm in readout.offers if metric in arm.estimates and arm.estimates[metric].value is not None]
        if known and len(rows) < 3:  # noqa: PLR2004  three offers' numbers and the holdout's
            best = max(known, key=lambda arm: arm.estimates[metric].value or 0.0)
            bounds = interval(best.estimates[metric], currency=readout.currency)
            shown = told(best.estimates[metric], currency=readout.currency)
            rows.append((say(label, offer=best.label), shown, bounds))
    for arm in readout.arms:
        if arm.holdout:
            anyway = arm.estimates["returned"]
            note = say("returned without an offer; {bounds}", bounds=interval(anyway, currency=readout.currency))
            rows.append((say("Would come back anyway"), told(anyway, currency=readout.currency), note))
    return rows


@rendered
def picture(readout: Readout, *, language: str | None = None) -> Html:
    """Return the one picture: value gained against cost added; where nobody knows them, the offers side by side."""
    if not _gains_known(readout):
        return _side_by_side(readout)
    return html.section(say("Value against cost"), shared.picture(figures.return_against_cost(readout)))


@rendered
def faces(readout: Readout, *, language: str | None = None) -> Html:
    """Return the picture of the offers on every face of success, where it is not the one picture already."""
    return _side_by_side(readout) if _gains_known(readout) else Html("")


def _side_by_side(readout: Readout) -> Html:
    known = readout.interim or _gains_known(readout)
    missing = () if known else (say("Without a holdout nobody knows what the offers added."),)
    shown = html.section(say("The offers side by side"), shared.picture(figures.faces_of_success(readout)), *missing)
    return shown + interim(readout)


def _gains_known(readout: Readout) -> bool:
    return not readout.interim and all("cost_added" in arm.estimates for arm in readout.offers)


@rendered
def offers(readout: Readout, *, language: str | None = None) -> Html:
    """Return the tables of all estimates, one row an offer: first what decides, folded what else is known."""
    title = say("More about each offer")
    more = Html("") if readout.interim else html.section(title, more_table(readout), open=False)
    return html.section(say("Every offer in numbers"), table(readout)) + more


MAIN = ("accepted", "returned", "lift", "months", "value_gained", "cost_added", "net", "roi", "gross_roi")
MORE = ("reached", "incremental", "months_gained", "active", "active_gained", "net_winsorised", "net_adjusted",
        "cost_per_return", "break_even")  # fmt: skip


def _rows(readout: Readout, metrics: Sequence[str], *, arms: Sequence[Arm]) -> list[tuple[str, list[str]]]:
    """Return the rows of a table of arms: customers, then value and, small, its interval."""
    nothing = say("no offer")
    return [
        (
            f"{arm.label}\n{nothing}" if arm.holdout else arm.label,
            [count(arm.assigned), *(shared.metric(arm, metric, readout.currency) for metric in metrics)],
        )
        for arm in arms
    ]


def _head(metrics: Sequence[str]) -> list[str]:
    return [say("Offer"), say("Assigned"), *(METRICS[metric].label for metric in metrics)]


@rendered
def more_table(readout: Readout, *, language: str | None = None) -> Html:
    """Return the estimates that stand behind the main table."""
    notes = []
    if readout.variance_saved is not None:
        saves = later("The adjustment saves {share} of the variance of the net.")
        notes.append(say(saves, share=share(readout.variance_saved)))
    metrics = [metric for metric in MORE if metric in _known(readout)]
    return shared.table(
        _rows(readout, metrics, arms=readout.offers),
        _head(metrics),
        caption=say("Further estimates per assigned customer"),
        notes=notes,
    )


@rendered
def table(readout: Readout, *, language: str | None = None) -> Html:
    """Return the table of what decides: value and, small, its interval."""
    gross = () if "net" in _known(readout) else ("value", "cost")
    metrics = [metric for metric in (*MAIN[:4], *gross, *MAIN[4:]) if metric in _known(readout)]
    rows = _rows(readout, metrics, arms=readout.arms)
    found = readout.targeting.value if readout.targeting else None
    gained = {"money": "net", "points": "lift"}.get(found.gain.unit) if found else None
    if found and gained in metrics:  # the policy: cross-fitted, so only its gain is known
        gain = shared.value(found.gain, readout.currency)
        cells = [gain if metric == gained else NO_NUMBER for metric in ("assigned", *metrics)]
        rows.append((say("Policy\nbest offer by {factor}", factor=found.policy.factor), cells))
    about = say(
        "Per assigned customer, reached or not. Small: {level} intervals, each alone; the verdict uses intervals that "
        "hold for all offers at once.",
        level=share(readout.level, digits=0),
    )
    notes = [about]
    if readout.any_offer is not None and readout.any_offer.value is not None:
        together = later("All offers together against the holdout: lift {lift}.")
        notes.append(say(together, lift=inline(readout.any_offer, readout)))
    return shared.table(rows, _head(metrics), caption=say("Estimates per assigned customer"), notes=notes)


def _known(readout: Readout) -> set[str]:
    return {metric for arm in readout.arms for metric in arm.estimates}


@rendered
def separable(readout: Readout, *, language: str | None = None) -> Html:
    """Return how sure the ranking on the objective is."""
    ranking, title = readout.ranking, say("How sure is the ranking?")
    if readout.interim:
        return Html("")
    if ranking is None:
        return html.section(title, say("The offers cannot be ranked: see the verdict."))
    unit, currency = OBJECTIVES[readout.objective].unit, readout.currency
    behind = ["–"] + [
        f"{amount(gap.difference, unit, currency=currency)}\n{between(gap.low, gap.high, unit, currency=currency)}"
        for gap in ranking.behind[1:]
    ]
    rows = [
        (
            readout.arm(name).label,
            [amount(value, unit, currency=currency), gap, share(p, digits=0), amount(loss, unit, currency=currency)],
        )
        for name, value, gap, p, loss in zip(
            ranking.offers, ranking.values, behind, ranking.p_best, ranking.expected_loss, strict=True
        )
    ]
    note = say(
        "Behind the first: difference with an interval that holds for all pairs at once. Expected loss: what "
        "choosing this offer costs on average against the truly best."
    )
    shown = shared.table(
        rows,
        [say("Offer"), say("Objective"), say("Behind the first"), say("P(best)"), say("Expected loss")],
        caption=say("Offers by the declared objective"),
        notes=[note],
    )
    return html.section(title, shown)


@rendered
def lifetime(readout: Readout, *, language: str | None = None) -> Html:
    """Return how long customers stayed, or why nobody knows."""
    title = say("How long they stay")
    if readout.interim:
        return html.section(title, say("Lifetime and money are read on the registered day, not before."))
    if not readout.dated:
        return html.section(title, say("The results of this test have no dates: whether customers stayed is unknown. "
                                        "Only the response and its value can be compared."))  # fmt: skip
    more = Html("")
    if readout.lives:
        more = html.section(say("Those who accepted"), *_acceptors(readout, readout.lives), open=False)
    return html.section(title, shared.picture(figures.active_by_month(readout))) + more


def _acceptors(readout: Readout, lives: Lives) -> list[Html]:
    """Return curves, restricted means, hazard ratios and what lies beyond the horizon."""
    tests = lives.hazard_ratios
    ratios = dict(zip(tests.offers, tests.ratios, strict=True)) if tests else {}
    rows = []
    for life in lives.offers:
        ratio = shared.value(ratios[life.offer], readout.currency) if life.offer in ratios else say("reference")
        months, early = (shared.value(estimate, readout.currency) for estimate in (life.months, life.early_loss))
        rows.append((readout.arm(life.offer).label, [months, early, ratio, _months_to_come(readout, life)]))
    warning = say(
        "Only acceptors, who chose themselves: never rank offers by these. Months: area under the curve. Months to "
        "come are a projection (shifted beta-geometric, discounted, for a customer still there at the end; two other "
        "models as spread), no part of any other number on this page."
    )
    notes = [warning]
    if tests and tests.proportional_p is not None and tests.proportional_p < 0.05:  # noqa: PLR2004
        notes.append(say("The hazards are not proportional, as a promotion that ends makes them: compare the months."))
    table = shared.table(
        rows,
        [
            say("Offer"),
            say("Months, up to {n}", n=lives.horizon_months),
            say("Lost again within 3 months"),
            say("Hazard ratio"),
            say("Months to come, projected"),
        ],
        caption=say("Second lifetimes of acceptors"),
        notes=notes,
    )
    return [shared.picture(figures.acceptors_staying(readout)), table, shared.picture(figures.hazard_by_month(readout))]


def _months_to_come(readout: Readout, life: Life) -> str:
    """Return the projection beyond the horizon with the spread of other models."""
    if life.all_left:
        return say("none: nobody was still there")
    if life.projection is None:
        return NO_NUMBER
    shown, spread = shared.value(life.projection.residual, readout.currency), life.projection.spread
    if not spread:
        return shown
    bounds = say("{low} to {high}", low=number(spread[0], digits=1), high=number(spread[1], digits=1))
    models = say("models: {bounds}", bounds=bounds)
    return f"{shown}\n{models}"


@rendered
def price_of_a_return(readout: Readout, *, language: str | None = None) -> Html:
    """Return what one more returned customer costs, pairs of offers, and what a retained customer must be worth."""
    found, title = readout.comparison, say("What one more returned customer costs")
    if readout.interim:
        return Html("")
    if found is None:
        return html.section(title, say("Nobody knows without a holdout read at the registered day."), open=False)
    rows = []
    for step in found.steps:
        cost, lift, a_return, more = (
            shared.value(estimate, readout.currency)
            for estimate in (step.cost, step.lift, step.cost_per_return, step.marginal)
        )
        if step.dominated:
            more = say("dominated by {offers}", offers=labels(readout, step.dominated_by))
        previous = labels(readout, [step.previous]) if step.previous else "–"
        rows.append((readout.arm(step.offer).label, [cost, lift, a_return, more, previous]))
    notes = [sweep_words(readout, found.sweep) if found.sweep else "", curse_words(readout, found)]
    table = shared.table(
        rows,
        [
            say("Offer, cheap to dear"),
            say("Cost added"),
            say("Lift"),
            say("Cost of one return"),
            say("Cost of one more"),
            say("More than"),
        ],
        caption=say("The frontier from cheap to dear"),
        notes=[note for note in notes if note],
    )
    return html.section(title, table, _pairs(readout, found), open=False)


def _pairs(readout: Readout, comparison: Comparison) -> Html:
    """Return all pairs with Holm's p values."""
    pairs = [(say("returned"), pair) for pair in comparison.pairs_returned]
    pairs += [(say("net"), pair) for pair in comparison.pairs_net]
    rows = [
        (
            say("{one} less {other}", one=labels(readout, [pair.b]), other=labels(readout, [pair.a])),
            [on, shared.value(pair.difference, readout.currency), p_value(pair.p), p_value(pair.p_holm)],
        )
        for on, pair in pairs
    ]
    return shared.table(
        rows,
        [say("Pair"), say("On"), say("Difference"), say("p alone"), say("p of all pairs")],
        caption=say("Every pair, Holm's correction"),
    )


@rendered
def segments(readout: Readout, *, language: str | None = None) -> Html:
    """Return which offer for whom."""
    title, found = say("Who should get which offer"), readout.targeting
    if readout.interim:
        return Html("")
    if found is None:
        none = say("No segments were registered before the test, or there was no holdout to compare with.")
        return html.section(title, none)
    pieces: list[object] = [policy_words(readout, found.value) if found.value else ""]
    for table in found.tables:
        pieces += [shared.picture(figures.best_by_segment(readout, table)), segment_words(readout, table)]
    for rule in found.tailored:
        if rule.difference.value is not None:
            direct, others, gap = (
                inline(estimate, readout) for estimate in (rule.direct, rule.from_others, rule.difference)
            )
            alike = say(
                "{arm}, run directly, gains {direct}; the same rule put together from the single offers {others}; "
                "difference {gap}.",
                arm=labels(readout, [rule.arm]),
                direct=direct,
                others=others,
                gap=gap,
            )
            pieces.append(alike)
    return html.section(title, *pieces)


@rendered
def drivers(readout: Readout, *, language: str | None = None) -> Html:
    """Return who returns, who stays and who brings much: the three questions of Kumar et al."""
    title, found = say("Who returns, stays and pays"), readout.drivers
    if found is None:
        return Html("")
    if not found.drivers:
        return html.section(title, say("The results have no dates or too few customers returned to tell."))
    about = say("Descriptive: customers were not randomised to reasons or histories, only to offers.")
    again = [f"{labels(readout, [arm])} {inline(ratio, readout)}" for arm, ratio in found.second_to_first]
    times = later("A month of the second lifetime brings, times one of the first: {offers}.")
    second = say(times, offers=listed(again)) if again else ""
    return html.section(title, shared.picture(figures.driver_effects(found.drivers)), second, intro=about)


@rendered
def interim(readout: Readout, *, language: str | None = None) -> Html:
    """Return the lifts that may be looked at while the test runs; nothing at the read date."""
    if not readout.interim:
        return Html("")
    title = say("While the test runs")
    if not readout.anytime:
        return html.section(title, say("Without a holdout nobody knows what the offers added."))
    notes = [
        say("Confidence sequence: these intervals hold for all offers and at every look together, so looking costs "
            "nothing.")
    ]  # fmt: skip
    if readout.window_months < readout.registered_window_months:
        short = plural(
            "This look counts returns within {n} month of the {all} registered, since not every arm was watched "
            "longer. A later look counts more months, which is another question: the intervals hold together only over"
            " looks at as many months.",
            "This look counts returns within {n} months of the {all} registered, since not every arm was watched "
            "longer. A later look counts more months, which is another question: the intervals hold together only over"
            " looks at as many months.",
            readout.window_months,
            all=readout.registered_window_months,
        )
        notes.append(short)
    rows = [(readout.arm(name).label, [shared.value(lift, readout.currency)]) for name, lift in readout.anytime.items()]
    shown = shared.table(rows, [say("Offer"), say("Lift")], caption=say("Lift so far"), notes=notes)
    return html.section(title, shown)


@rendered
def checks(readout: Readout, *, language: str | None = None) -> Html:
    """Return what the numbers rest on."""
    found = map(worded, readout.checks)
    items = html.check_list((check.name, check.state, check.reason, check.todo) for check in found)
    return html.section(say("What the numbers rest on"), items)


@rendered
def method(readout: Readout, *, language: str | None = None) -> Html:
    """Return how each number was made."""
    terms = {METRICS[metric].label: METRICS[metric].help for metric in METRICS if metric in _known(readout)}
    dated = plural(
        "Months count from each customer's assignment, up to {horizon}; returned means a purchase within {n} month. "
        "Money is discounted by {rate} a year, mid-month.",
        "Months count from each customer's assignment, up to {horizon}; returned means a purchase within {n} months. "
        "Money is discounted by {rate} a year, mid-month.",
        readout.window_months, horizon=readout.horizon_months, rate=share(readout.discount_rate),
    )  # fmt: skip
    clock = dated if readout.dated else say("The results have no dates, so nothing is discounted.")
    all_of_them = {
        say("Clock and money"): clock + " " + say("Value is margin, not revenue."),
        say("Uncertainty"): say(
            "Customers of each arm are in 200 random buckets. Leaving one bucket out at a time gives the joint "
            "covariance of all numbers (grouped jackknife, t with 199 degrees of freedom, fewer where an arm has "
            "fewer customers than buckets); shares have Wilson's and Newcombe's intervals, ratios Fieller's."
        ),
        say("Comparison"): say(
            "Offers are compared only per assigned customer (intention to treat), never among those who accepted."
        ),
    }
    return html.section(say("Method"), html.definitions(all_of_them | terms), open=False)


@rendered
def provenance(readout: Readout, sheet: str | Path, *, language: str | None = None) -> Html:
    """Return where the numbers come from, and where each row went."""
    return shared.provenance(readout.accounts, sheet)
