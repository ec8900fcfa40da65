"""The page of a readout: which offer wins customers back, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from experiments import parts
from experiments.estimands import METRICS
from experiments.estimate import Estimate
from experiments.figures import readout as figures
from experiments.objectives import OBJECTIVES
from experiments.parts import Html
from experiments.readout import Arm, Readout
from experiments.report import shared
from experiments.words import NO_NUMBER, amount, between, interval, listed, money, number, share, told

if TYPE_CHECKING:
    import pandas as pd

    from experiments.drivers import Returners
    from experiments.segments import Segments


def question(readout: Readout) -> Html:
    """Return the question of a test as the title of its page."""
    assigned = sum(arm.assigned for arm in readout.arms)
    span = f", followed for up to {readout.horizon_months} months" if readout.dated else ""
    about = f"{readout.experiment}: {len(readout.offers)} offers, {assigned:,} customers{span}"
    return parts.heading(readout.question, about)


def verdict(readout: Readout) -> Html:
    """Return the verdict and the few numbers behind it."""
    said = readout.verdict
    card = parts.verdict(said.sentence, word=said.word, tone=said.tone, detail=said.detail)
    return card + parts.facts(_facts(readout))


def _facts(readout: Readout) -> list[tuple[str, str, str]]:
    wanted = [("net", "Highest net"), ("roi", "Highest incremental ROI"), ("accepted", "Most accepted"),
              ("returned", "Most returned"), ("gross_roi", "Highest gross ROI")]  # fmt: skip
    rows: list[tuple[str, str, str]] = []
    for metric, label in wanted:
        known = [arm for arm in readout.offers if metric in arm.estimates and arm.estimates[metric].value is not None]
        if known and len(rows) < 3:  # noqa: PLR2004  three offers' numbers and the holdout's
            best = max(known, key=lambda arm: arm.estimates[metric].value or 0.0)
            bounds = interval(best.estimates[metric], currency=readout.currency)
            rows.append((f"{label}: {best.label}", told(best.estimates[metric], currency=readout.currency), bounds))
    for arm in readout.arms:
        if arm.holdout:
            note = f"returned without an offer; {interval(arm.estimates['returned'], currency=readout.currency)}"
            rows.append(("Would come back anyway", told(arm.estimates["returned"], currency=readout.currency), note))
    return rows


def faces(readout: Readout) -> Html:
    """Return the picture of the offers on every face of success."""
    return parts.section("The offers side by side", shared.picture(figures.faces_of_success(readout))) + interim(
        readout
    )


def offers(readout: Readout) -> Html:
    """Return the tables of all estimates, one row an offer: first what decides, folded what else is known."""
    more = Html("") if readout.interim else parts.section("More about each offer", more_table(readout), open=False)
    return parts.section("Every offer in numbers", table(readout)) + more


MAIN = ("accepted", "returned", "lift", "months", "value_gained", "cost_added", "net", "roi", "gross_roi")
MORE = ("reached", "incremental", "months_gained", "active", "active_gained", "net_winsorised", "net_adjusted",
        "cost_per_return", "break_even")  # fmt: skip


def _frame(readout: Readout, metrics: Sequence[str], *, arms: Sequence[Arm]) -> pd.DataFrame:
    """Return the cells of a table: value and, small, its interval; metrics that no arm has are left out."""
    import pandas as pd

    shown = [metric for metric in metrics if any(metric in arm.estimates for arm in arms)]
    rows = [[f"{arm.assigned:,}", *(shared.metric(arm, metric, readout.currency) for metric in shown)] for arm in arms]
    labels = [f"{arm.label}\nno offer" if arm.holdout else arm.label for arm in arms]
    frame = pd.DataFrame(rows, columns=["Assigned", *(METRICS[metric].label for metric in shown)], index=labels)
    frame.index.name = "Offer"
    return frame


def more_table(readout: Readout) -> Html:
    """Return the estimates that stand behind the main table."""
    notes = []
    if readout.variance_saved is not None:
        notes.append(f"The adjustment saves {share(readout.variance_saved)} of the variance of the net.")
    return parts.table(_frame(readout, MORE, arms=readout.offers), caption="Further estimates per assigned customer",
                       notes=notes)  # fmt: skip


def table(readout: Readout) -> Html:
    """Return the table of what decides: value and, small, its interval."""
    gross = () if "net" in _known(readout) else ("value", "cost")
    frame = _frame(readout, (*MAIN[:4], *gross, *MAIN[4:]), arms=readout.arms)
    found = readout.targeting.value if readout.targeting else None
    gained = {"money": "net", "share": "lift"}.get(found.gain.unit) if found else None
    if found and gained and METRICS[gained].label in frame:  # the policy: cross-fitted, so only its gain is known
        row = dict.fromkeys(frame.columns, NO_NUMBER) | {
            METRICS[gained].label: shared.value(found.gain, readout.currency)
        }
        frame.loc[f"Policy\nbest offer by {found.policy.factor}"] = row
    about = (
        f"Per assigned customer, reached or not. Small: {share(readout.level, digits=0)} intervals, each alone; the "
        "verdict uses intervals that hold for all offers at once."
    )
    notes = [about]
    if readout.any_offer is not None and readout.any_offer.value is not None:
        notes.append(
            f"All offers together against the holdout: lift {told(readout.any_offer, currency=readout.currency)} "
            f"({interval(readout.any_offer, currency=readout.currency)})."
        )
    return parts.table(frame, caption="Estimates per assigned customer", notes=notes)


def _known(readout: Readout) -> set[str]:
    return {metric for arm in readout.arms for metric in arm.estimates}


def separable(readout: Readout) -> Html:
    """Return how sure the ranking on the objective is."""
    import pandas as pd

    ranking = readout.ranking
    if readout.interim:
        return Html("")
    if ranking is None:
        return parts.section("How sure is the ranking?", "The offers cannot be ranked: see the verdict.")
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
    frame = pd.DataFrame(rows, columns=["Objective", "Behind the first", "P(best)", "Expected loss"], index=labels)
    frame.index.name = "Offer"
    note = (
        "Behind the first: difference with an interval that holds for all pairs at once. Expected loss: what "
        "choosing this offer costs on average against the truly best."
    )
    shown_table = parts.table(frame, caption="Offers by the declared objective", notes=[note])
    return parts.section("How sure is the ranking?", shown_table)


def economics(readout: Readout) -> Html:
    """Return the picture of value gained against cost added."""
    if readout.interim:
        return Html("")
    if not all("cost_added" in arm.estimates for arm in readout.offers):
        return parts.section("Value against cost", "Without a holdout nobody knows what the offers added.")
    return parts.section("Value against cost", shared.picture(figures.return_against_cost(readout)))


def lifetime(readout: Readout) -> Html:
    """Return how long customers stayed, or why nobody knows."""
    title = "How long they stay"
    if readout.interim:
        return parts.section(title, "Lifetime and money are read on the registered day, not before.")
    if not readout.dated:
        return parts.section(title, "The results of this test have no dates: whether customers stayed is unknown. "
                             "Only the response and its value can be compared.")  # fmt: skip
    more = parts.section("Those who accepted", *_acceptors(readout), open=False) if readout.lives else Html("")
    return parts.section(title, shared.picture(figures.active_by_month(readout))) + more


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
        models = f"\nmodels: {number(spread[0], digits=1)} to {number(spread[1], digits=1)}" if spread else ""
        rows.append([
            shared.value(life.months, readout.currency), shared.value(life.early_loss, readout.currency),
            shared.value(ratios.get(life.offer), readout.currency) if life.offer in ratios else "reference",
            f"{shared.value(beyond, readout.currency)}{models}",
        ])  # fmt: skip
    columns = [f"Months, up to {lives.horizon_months}", "Lost again within 3 months", "Hazard ratio",
               "Months to come, projected"]  # fmt: skip
    frame = pd.DataFrame(rows, columns=columns, index=[readout.arm(life.offer).label for life in lives.offers])
    frame.index.name = "Offer"
    warning = (
        "Only acceptors, who chose themselves: never rank offers by these. Months: area under the curve. Months to "
        "come are a projection (shifted beta-geometric, discounted, for a customer still there at the end; two other "
        "models as spread), no part of any other number on this page."
    )
    notes = [warning]
    ratios_p = lives.hazard_ratios.proportional_p if lives.hazard_ratios else None
    if ratios_p is not None and ratios_p < 0.05:  # noqa: PLR2004
        notes.append("The hazards are not proportional, as a promotion that ends makes them: compare the months.")
    table = parts.table(frame, caption="Second lifetimes of acceptors", notes=notes)
    return [shared.picture(figures.acceptors_staying(readout)), table, shared.picture(figures.hazard_by_month(readout))]


def price_of_a_return(readout: Readout) -> Html:
    """Return what one more returned customer costs, pairs of offers, and what a retained customer must be worth."""
    import pandas as pd

    found, title = readout.comparison, "What one more returned customer costs"
    if readout.interim:
        return Html("")
    if found is None:
        return parts.section(title, "Nobody knows without a holdout read at the registered day.", open=False)
    money = readout.currency
    rows = [
        [shared.value(step.cost, money), shared.value(step.lift, money), shared.value(step.cost_per_return, money),
         f"dominated by {_labels(readout, step.dominated_by)}" if step.dominated
         else shared.value(step.marginal, money),
         _labels(readout, [step.previous]) if step.previous else "–"]
        for step in found.steps
    ]  # fmt: skip
    columns = ["Cost added", "Lift", "Cost of one return", "Cost of one more", "More than"]
    frame = pd.DataFrame(rows, columns=columns, index=[readout.arm(step.offer).label for step in found.steps])
    frame.index.name = "Offer, cheap to dear"
    notes = [_sweep_words(readout), _curse_words(readout)]
    table = parts.table(frame, caption="The frontier from cheap to dear", notes=[note for note in notes if note])
    return parts.section(title, table, _pairs(readout), open=False)


def _labels(readout: Readout, names: Sequence[str]) -> str:
    known = {arm.name: arm.label for arm in readout.arms}
    return listed([known.get(name, name) for name in names])


def _sweep_words(readout: Readout) -> str:
    sweep = readout.comparison.sweep if readout.comparison else None
    if sweep is None:
        return ""
    first = _labels(readout, sweep.winners[:1])
    if not sweep.crossings:
        return f"Whatever a customer still active at the horizon is worth, {first} has the highest total."
    steps = [
        f"{_labels(readout, [crossing.after])} from {told(crossing.at, currency=readout.currency)} "
        f"({interval(crossing.at, currency=readout.currency)})"
        for crossing in sweep.crossings
    ]
    return (
        f"If a customer still active at the horizon is worth nothing more, {first} has the highest total; "
        f"{listed(steps)}."
    )


def _curse_words(readout: Readout) -> str:
    if readout.comparison is None or len(readout.offers) < 2:  # noqa: PLR2004  one offer has no winner
        return ""
    shrunken = readout.comparison.shrunken
    winner = _labels(readout, [shrunken.winner])
    return (f"The highest of several estimates is too high on average: {winner}'s net of "
            f"{money(shrunken.raw, readout.currency)} becomes {told(shrunken.estimate, currency=readout.currency)} "
            f"({interval(shrunken.estimate, currency=readout.currency)}) when shrunken to the others.")  # fmt: skip


def _pairs(readout: Readout) -> Html:
    """Return all pairs with Holm's p values."""
    import pandas as pd

    if readout.comparison is None:
        return Html("")
    rows, index = [], []
    for kind, pairs in (("returned", readout.comparison.pairs_returned), ("net", readout.comparison.pairs_net)):
        for pair in pairs:
            index.append(f"{_labels(readout, [pair.b])} less {_labels(readout, [pair.a])}")
            rows.append([kind, shared.value(pair.difference, readout.currency), _p(pair.p), _p(pair.p_holm)])
    frame = pd.DataFrame(rows, columns=["On", "Difference", "p alone", "p of all pairs"], index=index)
    frame.index.name = "Pair"
    return parts.table(frame, caption="Every pair, Holm's correction")


def _p(value: float | None) -> str:
    return "–" if value is None else "< .0001" if value < 0.0001 else f"{value:.4f}"  # noqa: PLR2004


def segments(readout: Readout) -> Html:
    """Return which offer for whom."""
    title, found = "Who should get which offer", readout.targeting
    if readout.interim:
        return Html("")
    if found is None:
        return parts.section(
            title, "No segments were registered before the test, or there was no holdout to compare with."
        )
    pieces: list[object] = [_policy_words(readout)]
    for table in found.tables:
        pieces += [shared.picture(figures.best_by_segment(readout, table.factor)), _segment_words(readout, table)]
    for rule in found.tailored:
        if rule.difference.value is not None:
            direct, others, gap = (
                _inline(estimate, readout) for estimate in (rule.direct, rule.from_others, rule.difference)
            )
            pieces.append(f"{_labels(readout, [rule.arm])}, run directly, gains {direct}; the same rule put together "
                          f"from the single offers {others}; difference {gap}.")  # fmt: skip
    return parts.section(title, *pieces)


def _inline(estimate: Estimate, readout: Readout) -> str:
    return f"{told(estimate, currency=readout.currency)} ({interval(estimate, currency=readout.currency)})"


def _policy_words(readout: Readout) -> str:
    found = readout.targeting.value if readout.targeting else None
    if found is None:
        return ""
    rule = found.policy
    given = [f"{segment}: {_labels(readout, [offer]) if (offer := rule.offer(segment)) else 'no offer'}"
             for segment in rule.segments]  # fmt: skip
    regret = found.regret.high if found.regret else None
    bound = (
        f" The best possible rule on these segments is at most "
        f"{amount(regret, found.gain.unit, currency=readout.currency)} better."
        if regret
        else ""
    )
    return (f"Best single offer by {rule.factor}: {'; '.join(given)}. Learned on four fifths of the customers and "
            f"valued on the rest, the rule gains {_inline(found.gain, readout)} per customer, "
            f"{_inline(found.over_one_offer, readout)} more than the best one offer for everybody.{bound}")  # fmt: skip


def _segment_words(readout: Readout, table: Segments) -> str:
    """Return what the segments of a factor say, every cell corrected for all others."""
    held = [cell for cell in table.cells if cell.p_holm is not None and cell.p_holm < 1 - readout.level]
    known = [cell for cell in table.cells if cell.p_holm is not None]
    cells = (
        f"Of {len(known)} gains {len(held) or 'none'} {'holds' if len(held) == 1 else 'hold'} after Holm's correction"
        + (f": {listed([f'{_labels(readout, [cell.offer])} in {cell.segment}' for cell in held])}" if held else "")
        if len(held) < len(known)
        else "All gains hold after Holm's correction"
    )
    cells = cells if known else "In no cell are there enough customers to tell a gain"
    p = table.choice_differs.p_holm
    if p is None:
        return f"Too few customers to tell whether the best offer depends on {table.factor}. {cells}."
    verb = "depends" if p < 1 - readout.level else "is not shown to depend"
    test = f"interaction test, p = {_p(p)} after Holm"
    return f"The difference between offers {verb} on {table.factor} ({test}). {cells}."


def drivers(readout: Readout, found: Returners) -> Html:
    """Return who returns, who stays and who brings much: the three questions of Kumar et al."""
    title = "Who returns, stays and pays"
    if readout.interim:
        return Html("")
    if not found.drivers:
        return parts.section(title, "The results have no dates or too few customers returned to tell.")
    about = "Descriptive: customers were not randomised to reasons or histories, only to offers."
    again = [f"{_labels(readout, [arm])} {_inline(ratio, readout)}" for arm, ratio in found.second_to_first]
    second = f"A month of the second lifetime brings, times one of the first: {listed(again)}." if again else ""
    return parts.section(title, shared.picture(figures.driver_effects(found.drivers)), second, intro=about)


def interim(readout: Readout) -> Html:
    """Return the lifts that may be looked at while the test runs; nothing at the read date."""
    import pandas as pd

    if not readout.interim:
        return Html("")
    rows = [[shared.value(estimate, readout.currency)] for estimate in readout.anytime.values()]
    frame = pd.DataFrame(rows, columns=["Lift"], index=[readout.arm(name).label for name in readout.anytime])
    frame.index.name = "Offer"
    note = (
        "Confidence sequence: these intervals hold for all offers and at every look together, so looking costs nothing."
    )
    return parts.section("While the test runs", parts.table(frame, caption="Lift so far", notes=[note]))


def checks(readout: Readout) -> Html:
    """Return what the numbers rest on."""
    rows = [(check.name, check.state, check.reason, check.todo) for check in readout.checks]
    return parts.section("What the numbers rest on", parts.check_list(rows))


def method(readout: Readout) -> Html:
    """Return how each number was made."""
    terms = {METRICS[metric].label: METRICS[metric].help for metric in METRICS if metric in _known(readout)}
    dated = (
        f"Months count from each customer's assignment, up to {readout.horizon_months}; returned means a purchase "
        f"within {readout.window_months} months. Money is discounted by {share(readout.discount_rate)} a year, "
        "mid-month."
    )
    clock = dated if readout.dated else "The results have no dates, so nothing is discounted."
    shared = {
        "Clock and money": f"{clock} Value is margin, not revenue.",
        "Uncertainty": "Customers of each arm are in 200 random buckets. Leaving one bucket out at a time gives the "
        "joint covariance of all numbers (grouped jackknife, t with 199 degrees of freedom, fewer where an arm has "
        "fewer customers than buckets); shares have Wilson's and Newcombe's intervals, ratios Fieller's.",
        "Comparison": "Offers are compared only per assigned customer (intention to treat), never among those who "
        "accepted.",
    }
    return parts.section("Method", parts.definitions(shared | terms), open=False)


def provenance(readout: Readout, sheet: str | Path) -> Html:
    """Return where the numbers come from, and where each row went."""
    return shared.provenance(readout.accounts, sheet)
