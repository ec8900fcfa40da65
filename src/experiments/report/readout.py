"""The page of a readout: which offer wins customers back, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.common.estimate import Estimate
from experiments.common.formatting import (
    NO_NUMBER,
    amount,
    between,
    count,
    interval,
    listed,
    money,
    named,
    number,
    share,
    told,
)
from experiments.common.language import later, plural, say
from experiments.metrics.objectives import NOTHING, OBJECTIVES
from experiments.readout.readout import Arm, Readout
from experiments.report import html, shared
from experiments.report.figures import readout as figures
from experiments.report.html import Html
from experiments.report.wording.metrics import METRICS

if TYPE_CHECKING:
    import pandas as pd

    from experiments.readout.drivers import Returners
    from experiments.readout.segments import Segments


def question(readout: Readout) -> Html:
    """Return the question of a test as the title of its page."""
    offers = plural("{n} offer", "{n} offers", len(readout.offers))
    assigned = plural("{n} customer", "{n} customers", sum(arm.assigned for arm in readout.arms))
    span = ""
    if readout.dated:
        span = plural(", followed for up to {n} month", ", followed for up to {n} months", readout.horizon_months)
    return html.heading(shared.asked(readout.question), named(readout.experiment, f"{offers}, {assigned}{span}"))


def verdict(readout: Readout) -> Html:
    """Return the verdict and the few numbers behind it."""
    said = readout.verdict
    card = html.verdict(said.sentence, word=said.word, tone=said.tone, detail=said.detail)
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


def picture(readout: Readout) -> Html:
    """Return the one picture: value gained against cost added; where nobody knows them, the offers side by side."""
    if not _gains_known(readout):
        return _side_by_side(readout)
    return html.section(say("Value against cost"), shared.picture(figures.return_against_cost(readout)))


def faces(readout: Readout) -> Html:
    """Return the picture of the offers on every face of success, where it is not the one picture already."""
    return _side_by_side(readout) if _gains_known(readout) else Html("")


def _side_by_side(readout: Readout) -> Html:
    known = readout.interim or _gains_known(readout)
    missing = () if known else (say("Without a holdout nobody knows what the offers added."),)
    shown = html.section(say("The offers side by side"), shared.picture(figures.faces_of_success(readout)), *missing)
    return shown + interim(readout)


def _gains_known(readout: Readout) -> bool:
    return not readout.interim and all("cost_added" in arm.estimates for arm in readout.offers)


def offers(readout: Readout) -> Html:
    """Return the tables of all estimates, one row an offer: first what decides, folded what else is known."""
    title = say("More about each offer")
    more = Html("") if readout.interim else html.section(title, more_table(readout), open=False)
    return html.section(say("Every offer in numbers"), table(readout)) + more


MAIN = ("accepted", "returned", "lift", "months", "value_gained", "cost_added", "net", "roi", "gross_roi")
MORE = ("reached", "incremental", "months_gained", "active", "active_gained", "net_winsorised", "net_adjusted",
        "cost_per_return", "break_even")  # fmt: skip


def _frame(readout: Readout, metrics: Sequence[str], *, arms: Sequence[Arm]) -> pd.DataFrame:
    """Return the cells of a table: value and, small, its interval; metrics that no arm has are left out."""
    import pandas as pd

    shown = [metric for metric in metrics if any(metric in arm.estimates for arm in arms)]
    rows = [[count(arm.assigned), *(shared.metric(arm, metric, readout.currency) for metric in shown)] for arm in arms]
    nothing = say("no offer")
    labels = [f"{arm.label}\n{nothing}" if arm.holdout else arm.label for arm in arms]
    frame = pd.DataFrame(rows, columns=[say("Assigned"), *(METRICS[metric].label for metric in shown)], index=labels)
    frame.index.name = say("Offer")
    return frame


def more_table(readout: Readout) -> Html:
    """Return the estimates that stand behind the main table."""
    notes = []
    if readout.variance_saved is not None:
        saves = later("The adjustment saves {share} of the variance of the net.")
        notes.append(say(saves, share=share(readout.variance_saved)))
    return html.table(_frame(readout, MORE, arms=readout.offers), notes=notes,
                       caption=say("Further estimates per assigned customer"))  # fmt: skip


def table(readout: Readout) -> Html:
    """Return the table of what decides: value and, small, its interval."""
    gross = () if "net" in _known(readout) else ("value", "cost")
    frame = _frame(readout, (*MAIN[:4], *gross, *MAIN[4:]), arms=readout.arms)
    found = readout.targeting.value if readout.targeting else None
    gained = {"money": "net", "points": "lift"}.get(found.gain.unit) if found else None
    if found and gained and METRICS[gained].label in frame:  # the policy: cross-fitted, so only its gain is known
        row = dict.fromkeys(frame.columns, NO_NUMBER) | {
            METRICS[gained].label: shared.value(found.gain, readout.currency)
        }
        frame.loc[say("Policy\nbest offer by {factor}", factor=found.policy.factor)] = row
    about = say(
        "Per assigned customer, reached or not. Small: {level} intervals, each alone; the verdict uses intervals that "
        "hold for all offers at once.",
        level=share(readout.level, digits=0),
    )
    notes = [about]
    if readout.any_offer is not None and readout.any_offer.value is not None:
        together = later("All offers together against the holdout: lift {lift}.")
        notes.append(say(together, lift=_inline(readout.any_offer, readout)))
    return html.table(frame, caption=say("Estimates per assigned customer"), notes=notes)


def _known(readout: Readout) -> set[str]:
    return {metric for arm in readout.arms for metric in arm.estimates}


def separable(readout: Readout) -> Html:
    """Return how sure the ranking on the objective is."""
    import pandas as pd

    ranking, title = readout.ranking, say("How sure is the ranking?")
    if readout.interim:
        return Html("")
    if ranking is None:
        return html.section(title, say("The offers cannot be ranked: see the verdict."))
    unit = OBJECTIVES[readout.objective].unit

    def shown(value: float) -> str:
        return amount(value, unit, currency=readout.currency)

    behind = ["–"] + [
        f"{shown(gap)}\n{between(low, high, unit, currency=readout.currency)}" for gap, low, high in ranking.behind[1:]
    ]
    rows = [
        [shown(value), back, share(p, digits=0), shown(loss)]
        for value, back, p, loss in zip(ranking.values, behind, ranking.p_best, ranking.expected_loss, strict=True)
    ]
    labels = [readout.arm(name).label for name in ranking.offers]
    columns = [say("Objective"), say("Behind the first"), say("P(best)"), say("Expected loss")]
    frame = pd.DataFrame(rows, columns=columns, index=labels)
    frame.index.name = say("Offer")
    note = say(
        "Behind the first: difference with an interval that holds for all pairs at once. Expected loss: what "
        "choosing this offer costs on average against the truly best."
    )
    return html.section(title, html.table(frame, caption=say("Offers by the declared objective"), notes=[note]))


def lifetime(readout: Readout) -> Html:
    """Return how long customers stayed, or why nobody knows."""
    title = say("How long they stay")
    if readout.interim:
        return html.section(title, say("Lifetime and money are read on the registered day, not before."))
    if not readout.dated:
        return html.section(title, say("The results of this test have no dates: whether customers stayed is unknown. "
                                        "Only the response and its value can be compared."))  # fmt: skip
    more = html.section(say("Those who accepted"), *_acceptors(readout), open=False) if readout.lives else Html("")
    return html.section(title, shared.picture(figures.active_by_month(readout))) + more


def _acceptors(readout: Readout) -> list[Html]:
    """Return curves, restricted means, hazard ratios and what lies beyond the horizon."""
    import pandas as pd

    lives = readout.lives
    if lives is None:
        return []
    ratios = (
        dict(zip(lives.hazard_ratios.offers, lives.hazard_ratios.ratios, strict=True)) if lives.hazard_ratios else {}
    )
    rows = []
    for life in lives.offers:
        beyond = life.projection.residual if life.projection else None
        spread = life.projection.spread if life.projection else None
        models = ""
        if spread:
            bounds = say("{low} to {high}", low=number(spread[0], digits=1), high=number(spread[1], digits=1))
            models = "\n" + say("models: {bounds}", bounds=bounds)
        rows.append([
            shared.value(life.months, readout.currency), shared.value(life.early_loss, readout.currency),
            shared.value(ratios.get(life.offer), readout.currency) if life.offer in ratios else say("reference"),
            f"{shared.value(beyond, readout.currency)}{models}",
        ])  # fmt: skip
    columns = [say("Months, up to {n}", n=lives.horizon_months), say("Lost again within 3 months"),
               say("Hazard ratio"), say("Months to come, projected")]  # fmt: skip
    frame = pd.DataFrame(rows, columns=columns, index=[readout.arm(life.offer).label for life in lives.offers])
    frame.index.name = say("Offer")
    warning = say(
        "Only acceptors, who chose themselves: never rank offers by these. Months: area under the curve. Months to "
        "come are a projection (shifted beta-geometric, discounted, for a customer still there at the end; two other "
        "models as spread), no part of any other number on this page."
    )
    notes = [warning]
    ratios_p = lives.hazard_ratios.proportional_p if lives.hazard_ratios else None
    if ratios_p is not None and ratios_p < 0.05:  # noqa: PLR2004
        notes.append(say("The hazards are not proportional, as a promotion that ends makes them: compare the months."))
    table = html.table(frame, caption=say("Second lifetimes of acceptors"), notes=notes)
    return [shared.picture(figures.acceptors_staying(readout)), table, shared.picture(figures.hazard_by_month(readout))]


def price_of_a_return(readout: Readout) -> Html:
    """Return what one more returned customer costs, pairs of offers, and what a retained customer must be worth."""
    import pandas as pd

    found, title = readout.comparison, say("What one more returned customer costs")
    if readout.interim:
        return Html("")
    if found is None:
        return html.section(title, say("Nobody knows without a holdout read at the registered day."), open=False)
    money = readout.currency
    rows = [
        [shared.value(step.cost, money), shared.value(step.lift, money), shared.value(step.cost_per_return, money),
         say("dominated by {offers}", offers=_labels(readout, step.dominated_by)) if step.dominated
         else shared.value(step.marginal, money),
         _labels(readout, [step.previous]) if step.previous else "–"]
        for step in found.steps
    ]  # fmt: skip
    columns = [say("Cost added"), say("Lift"), say("Cost of one return"), say("Cost of one more"), say("More than")]
    frame = pd.DataFrame(rows, columns=columns, index=[readout.arm(step.offer).label for step in found.steps])
    frame.index.name = say("Offer, cheap to dear")
    notes = [_sweep_words(readout), _curse_words(readout)]
    table = html.table(frame, caption=say("The frontier from cheap to dear"), notes=[note for note in notes if note])
    return html.section(title, table, _pairs(readout), open=False)


def _labels(readout: Readout, names: Sequence[str]) -> str:
    known = {NOTHING: say(NOTHING)} | {arm.name: arm.label for arm in readout.arms}
    return listed([known.get(name, name) for name in names])


def _sweep_words(readout: Readout) -> str:
    sweep = readout.comparison.sweep if readout.comparison else None
    if sweep is None:
        return ""
    first = _labels(readout, sweep.winners[:1])
    if not sweep.crossings:
        always = later("Whatever a customer still active at the horizon is worth, {first} has the highest total.")
        return say(always, first=first)
    steps = [
        say("{offer} from {worth}", offer=_labels(readout, [crossing.after]), worth=_inline(crossing.at, readout))
        for crossing in sweep.crossings
    ]
    return say(
        "If a customer still active at the horizon is worth nothing more, {first} has the highest total; {steps}.",
        first=first, steps=listed(steps),
    )  # fmt: skip


def _curse_words(readout: Readout) -> str:
    if readout.comparison is None or len(readout.offers) < 2:  # noqa: PLR2004  one offer has no winner
        return ""
    shrunken = readout.comparison.shrunken
    winner = _labels(readout, [shrunken.winner])
    return say(
        "The highest of several estimates is too high on average: {winner}'s net of {raw} becomes {shrunken} when "
        "shrunken to the others.",
        winner=winner, raw=money(shrunken.raw, readout.currency), shrunken=_inline(shrunken.estimate, readout),
    )  # fmt: skip


def _pairs(readout: Readout) -> Html:
    """Return all pairs with Holm's p values."""
    import pandas as pd

    if readout.comparison is None:
        return Html("")
    rows, index = [], []
    for kind, pairs in (
        (say("returned"), readout.comparison.pairs_returned),
        (say("net"), readout.comparison.pairs_net),
    ):
        for pair in pairs:
            index.append(say("{one} less {other}", one=_labels(readout, [pair.b]), other=_labels(readout, [pair.a])))
            rows.append([kind, shared.value(pair.difference, readout.currency), _p(pair.p), _p(pair.p_holm)])
    columns = [say("On"), say("Difference"), say("p alone"), say("p of all pairs")]
    frame = pd.DataFrame(rows, columns=columns, index=index)
    frame.index.name = say("Pair")
    return html.table(frame, caption=say("Every pair, Holm's correction"))


def _p(value: float | None) -> str:
    if value is None:
        return NO_NUMBER
    return say("< .0001") if value < 0.0001 else number(value, digits=4)  # noqa: PLR2004


def segments(readout: Readout) -> Html:
    """Return which offer for whom."""
    title, found = say("Who should get which offer"), readout.targeting
    if readout.interim:
        return Html("")
    if found is None:
        none = say("No segments were registered before the test, or there was no holdout to compare with.")
        return html.section(title, none)
    pieces: list[object] = [_policy_words(readout)]
    for table in found.tables:
        pieces += [shared.picture(figures.best_by_segment(readout, table.factor)), _segment_words(readout, table)]
    for rule in found.tailored:
        if rule.difference.value is not None:
            direct, others, gap = (
                _inline(estimate, readout) for estimate in (rule.direct, rule.from_others, rule.difference)
            )
            pieces.append(say(
                "{arm}, run directly, gains {direct}; the same rule put together from the single offers {others}; "
                "difference {gap}.",
                arm=_labels(readout, [rule.arm]), direct=direct, others=others, gap=gap,
            ))  # fmt: skip
    return html.section(title, *pieces)


def _inline(estimate: Estimate, readout: Readout) -> str:
    return f"{told(estimate, currency=readout.currency)} ({interval(estimate, currency=readout.currency)})"


def _policy_words(readout: Readout) -> str:
    found = readout.targeting.value if readout.targeting else None
    if found is None:
        return ""
    rule = found.policy
    best = [_labels(readout, [offer]) if (offer := rule.offer(segment)) else say("no offer")
            for segment in rule.segments]  # fmt: skip
    regret, bound = found.regret.high if found.regret else None, ""
    if regret:
        most = later("The best possible rule on these segments is at most {regret} better.")
        bound = " " + say(most, regret=amount(regret, found.gain.unit, currency=readout.currency))
    if len(set(best)) == 1:
        return say(
            "Best single offer by {factor}: {offer} in every segment, so the rule is one offer for everybody and gains "
            "nothing over it. Its {gain} per customer is cross-fitted: learned on four fifths of the customers and "
            "valued on the rest, each fifth in turn, so it need not be the offer's own figure in the table.",
            factor=rule.factor, offer=best[0], gain=_inline(found.gain, readout),
        ) + bound  # fmt: skip
    return say(
        "Best single offer by {factor}: {offers}. Learned on four fifths of the customers and valued on the rest, the "
        "rule gains {gain} per customer, {over} more than the best one offer for everybody.",
        factor=rule.factor, offers="; ".join(map(named, rule.segments, best)), gain=_inline(found.gain, readout),
        over=_inline(found.over_one_offer, readout),
    ) + bound  # fmt: skip


def _segment_words(readout: Readout, table: Segments) -> str:
    """Return what the segments of a factor say, every cell corrected for all others."""
    held = [cell for cell in table.cells if cell.p_holm is not None and cell.p_holm < 1 - readout.level]
    known = [cell for cell in table.cells if cell.p_holm is not None]
    which = listed([say("{offer} in {segment}", offer=_labels(readout, [cell.offer]), segment=cell.segment)
                    for cell in held])  # fmt: skip
    if not known:
        cells = say("In no cell are there enough customers to tell a gain.")
    elif len(held) == len(known):
        cells = say("All gains hold after Holm's correction.")
    elif held:
        cells = plural("Of {all} gains {n} holds after Holm's correction: {cells}.",
                       "Of {all} gains {n} hold after Holm's correction: {cells}.",
                       len(held), all=len(known), cells=which)  # fmt: skip
    else:
        cells = say("Of {all} gains none hold after Holm's correction.", all=len(known))
    p = table.choice_differs.p_holm
    if p is None:
        few = later("Too few customers to tell whether the best offer depends on {factor}.")
        return f"{say(few, factor=table.factor)} {cells}"
    test = (
        later("The difference between offers depends on {factor} (interaction test, p = {p} after Holm).")
        if p < 1 - readout.level
        else later("The difference between offers is not shown to depend on {factor} (interaction test, p = {p} after "
                   "Holm).")
    )  # fmt: skip
    return f"{say(test, factor=table.factor, p=_p(p))} {cells}"


def drivers(readout: Readout, found: Returners) -> Html:
    """Return who returns, who stays and who brings much: the three questions of Kumar et al."""
    title = say("Who returns, stays and pays")
    if readout.interim:
        return Html("")
    if not found.drivers:
        return html.section(title, say("The results have no dates or too few customers returned to tell."))
    about = say("Descriptive: customers were not randomised to reasons or histories, only to offers.")
    again = [f"{_labels(readout, [arm])} {_inline(ratio, readout)}" for arm, ratio in found.second_to_first]
    times = later("A month of the second lifetime brings, times one of the first: {offers}.")
    second = say(times, offers=listed(again)) if again else ""
    return html.section(title, shared.picture(figures.driver_effects(found.drivers)), second, intro=about)


def interim(readout: Readout) -> Html:
    """Return the lifts that may be looked at while the test runs; nothing at the read date."""
    import pandas as pd

    if not readout.interim:
        return Html("")
    rows = [[shared.value(estimate, readout.currency)] for estimate in readout.anytime.values()]
    frame = pd.DataFrame(rows, columns=[say("Lift")], index=[readout.arm(name).label for name in readout.anytime])
    frame.index.name = say("Offer")
    note = say(
        "Confidence sequence: these intervals hold for all offers and at every look together, so looking costs nothing."
    )
    return html.section(say("While the test runs"), html.table(frame, caption=say("Lift so far"), notes=[note]))


def checks(readout: Readout) -> Html:
    """Return what the numbers rest on."""
    rows = [(say(check.name), check.state, check.reason, check.todo) for check in readout.checks]
    return html.section(say("What the numbers rest on"), html.check_list(rows))


def method(readout: Readout) -> Html:
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


def provenance(readout: Readout, sheet: str | Path) -> Html:
    """Return where the numbers come from, and where each row went."""
    return shared.provenance(readout.accounts, sheet)
