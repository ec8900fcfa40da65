"""Pictures of a readout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.common.formatting import listed, named, number, share, told
from experiments.common.language import later, plural, say
from experiments.metrics.objectives import OBJECTIVES, dominators
from experiments.readout.readout import Arm, Readout
from experiments.report import shared
from experiments.report.plots import (
    BEST,
    COLOURS,
    DOT,
    INK,
    LOSS,
    NARROW,
    OUTSIDE,
    QUIET,
    Draw,
    End,
    Flag,
    Picture,
    apart,
    axis,
    both,
    canvas,
    colours,
    flags,
    key,
    name,
    title,
    zero,
)
from experiments.report.wording.metrics import METRICS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from experiments.common.estimate import Estimate
    from experiments.readout.drivers import Driver
    from experiments.readout.secondary import Life
    from experiments.readout.segments import Segments


ASIDE = 0.2  # of the axis of costs: all that points of one cost may take to stand side by side
BESIDE_LINE = 12  # letters of a name that stands beside a line on a phone; longer ones stand under the axes
STEP = 0.18  # between the offers of a segment, of the distance of two segments


# What several pictures are drawn with
def _panels(count: int, *, narrow: bool, height: float) -> tuple[Figure, list[Axes]]:
    """Return panels side by side that share their rows; on a phone one below the other. `height`: of the figure."""
    figure = canvas(narrow=narrow, height=height)
    grid = (count, 1) if narrow else (1, count)
    return figure, list(figure.subplots(*grid, squeeze=False, sharey=not narrow).ravel())


def _bar(
    ax: Axes, estimate: Estimate | None, place: float, *, colour: str, dot: float, label: str | None = None
) -> bool:
    """Draw an estimate as a dot on its interval and return True; False where it has no value."""
    if estimate is None or estimate.value is None:
        return False
    if estimate.low is not None and estimate.high is not None:
        ax.plot([estimate.low, estimate.high], [place, place], color=colour, lw=2, solid_capstyle="butt")
    ax.plot(estimate.value, place, "o", color=colour, ms=dot, label=label)
    return True


def _share_axes(ax: Axes, text: str, *, months: str, narrow: bool) -> None:
    """Write the axes of a picture of a share over months."""
    ax.set_ylim(0)
    ax.set_xlabel(months)
    title(ax, text, narrow=narrow)
    axis(ax, "share", which="y")


def faces_of_success(readout: Readout) -> Picture:
    """Show the offers side by side on who says yes, what it earns and what each unit of cost returns."""
    metrics = _faces(readout)

    def draw(*, narrow: bool) -> Figure:
        labels = [name(arm.label, narrow=narrow) for arm in reversed(readout.offers)]
        lines = max(label.count("\n") for label in labels) + 1
        height = max(0.42 if narrow else 0.5, 0.17 + 0.17 * lines) * len(labels)
        tall = len(metrics) * (height + 0.9) if narrow else height + 1.3
        figure, axes = _panels(len(metrics), narrow=narrow, height=tall)
        for ax, metric in zip(axes, metrics, strict=True):
            _dots(ax, readout, metric, ticks=2 if narrow else 3)
            ax.set_yticks(range(len(labels)), labels)
        return figure

    best = [named(METRICS[metric].label, _best(readout, metric).label) for metric in metrics]
    level = share(readout.level, digits=0)
    lines = [
        named(
            arm.label,
            ", ".join(
                f"{METRICS[metric].label.lower()} {shared.inline(arm.estimates[metric], readout.currency)}"
                for metric in metrics
            ),
        )
        for arm in readout.offers
    ]
    caption = say(
        "Highest on {offers} (dark). Bars are {level} intervals.", level=level, offers=say("; on ").join(best)
    )
    alt = say("Dot plots of every offer with {level} intervals. {offers}.", level=level, offers="; ".join(lines))
    return both(draw, alt=alt, caption=caption)


def _faces(readout: Readout) -> list[str]:
    """Return the metrics to compare offers on: who says yes or returns, and money where it is known."""
    known = {metric for arm in readout.offers for metric in arm.estimates}
    answer = "accepted" if readout.dated and "accepted" in known else "returned"
    metrics = [metric for metric in (answer, "net", "roi") if metric in known]
    if any(metric in ("net", "roi") for metric in metrics):
        return metrics
    return [metric for metric in ("accepted", "returned", "gross_roi") if metric in readout.offers[0].estimates]


def _best(readout: Readout, metric: str) -> Arm:
    return max(readout.offers, key=lambda arm: _value(arm, metric))


def _value(arm: Arm, metric: str) -> float:
    estimate = arm.estimates.get(metric)
    return float("-inf") if estimate is None or estimate.value is None else estimate.value


def _dots(ax: Axes, readout: Readout, metric: str, *, ticks: int) -> None:
    best, leading = _best(readout, metric), BEST if readout.verdict.tone == "go" else INK
    for place, arm in enumerate(reversed(readout.offers)):
        estimate, colour = arm.estimates.get(metric), leading if arm is best else QUIET
        if _bar(ax, estimate, place, colour=colour, dot=8) and estimate:
            text = told(estimate, currency=readout.currency)
            ax.annotate(text, (_value(arm, metric), place), xytext=(0, 7), textcoords="offset points", ha="center",
                        color=colour, fontsize=10, fontweight="bold" if arm is best else "normal")  # fmt: skip
    ax.set_ylim(-0.5, len(readout.offers) - 0.3)
    decides = say("{metric} ◂ decides", metric=METRICS[metric].label)
    ax.set_title(decides if OBJECTIVES[readout.objective].needs[0] == metric else METRICS[metric].label)
    ax.margins(x=0.2)
    axis(ax, METRICS[metric].unit, readout.currency, ticks=ticks)
    zero(ax)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """An offer in the picture of value against cost: money per customer assigned."""

    cost: float
    value: float
    low: float  # of the value
    high: float
    label: str
    colour: str


def return_against_cost(readout: Readout) -> Picture:
    """Show value gained against cost added for every offer; above the line an offer pays for itself."""
    points = _points(readout)

    def draw(*, narrow: bool) -> Figure:
        figure = canvas(narrow=narrow, height=4.2 if narrow else 4.4)
        ax = figure.subplots()
        places = _beside(points, width=figure.get_figwidth() - OUTSIDE)
        _crosses(ax, points, places)
        labels = [Flag(x, point.high, point.label, point.colour) for x, point in zip(places, points, strict=True)]
        if not flags(ax, labels, size=(figure.get_figwidth(), figure.get_figheight())):
            key(figure, {point.label: point.colour for point in points})
        _break_even(ax)
        ax.set_xlabel(say("Cost added per customer assigned"))
        ax.set_ylabel(say("Value gained per customer assigned"))
        axis(ax, "money", readout.currency, ticks=3 if narrow else 4)
        axis(ax, "money", readout.currency, which="y")
        ax.grid(axis="x", visible=False)
        return figure

    texts = []
    for arm in readout.offers:
        value, cost = (told(arm.estimates[of], currency=readout.currency) for of in ("value_gained", "cost_added"))
        texts.append(say("{offer} gains {value} for {cost}", offer=arm.label, value=value, cost=cost))
    about = say(
        "Above the dashed line an offer earns more than it costs; the distance to the line is the net. Joined: the "
        "offers that bring most for their cost. Hollow: another, or two mixed, brings more for no more."
    )
    moved = [point.cost for point in points] != _beside(points, width=NARROW - OUTSIDE)
    aside = say("Offers of nearly equal cost stand side by side; their costs are in the table.") if moved else ""
    alt = say("Value gained against cost added, each offer a dot with its interval. {offers}.", offers="; ".join(texts))
    return both(draw, alt=alt, caption=f"{about} {aside}".rstrip())


def _crosses(ax: Axes, points: Sequence[Point], places: Sequence[float]) -> None:
    """Draw each offer as a dot with the interval of its value, hollow off the frontier, and join the frontier."""
    on = _on_frontier([(point.cost, point.value) for point in points])
    moved = {(point.cost, point.value): x for point, x in zip(points, places, strict=True)}
    ax.plot([moved.get(one, one[0]) for one in on], [value for _, value in on], color=QUIET, lw=1, zorder=1)
    for x, point in zip(places, points, strict=True):
        face = point.colour if (point.cost, point.value) in on else "white"
        bounds = [[point.value - point.low], [point.high - point.value]]
        ax.errorbar(x, point.value, yerr=bounds, fmt="o", color=point.colour, mfc=face, mew=2, ms=8, lw=2)
    ax.set_xlim(min(0.0, ax.get_xlim()[0]), ax.get_xlim()[1] * 1.12)
    ax.set_ylim(min(0.0, ax.get_ylim()[0]))


def _on_frontier(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return doing nothing and the (cost, value) that no other point and no mix of two dominates, by cost."""
    import numpy as np

    everything = [(0.0, 0.0), *points]
    costs, values = np.array(everything).T
    gains = values / max(1e-12, np.abs(values).max())
    return sorted(point for i, point in enumerate(everything) if not dominators(costs, gains, i))


def _points(readout: Readout) -> list[Point]:
    """Return the point of every offer whose numbers are known."""
    points = []
    for arm, colour in zip(readout.offers, colours(len(readout.offers)), strict=True):
        cost, y = arm.estimates["cost_added"].value, arm.estimates["value_gained"]
        if cost is not None and y.value is not None and y.low is not None and y.high is not None:
            points.append(Point(cost=cost, value=y.value, low=y.low, high=y.high, label=arm.label, colour=colour))
    return points


def _beside(points: Sequence[Point], *, width: float) -> list[float]:
    """Return where along the axis of costs the points are drawn: side by side where costs are nearly equal.

    `width`: of the axes, in inches.
    """
    costs = [point.cost for point in points]
    gap = min(DOT / width, ASIDE / max(1, len(points))) * (max([0.0, *costs]) - min([0.0, *costs]))
    ends = [End(point.cost, str(place), "") for place, point in enumerate(points)]
    places = {int(end.label): x for x, end in apart(ends, gap)}
    return [places[place] for place in range(len(points))]


def _break_even(ax: Axes) -> None:
    """Draw the line of value = cost, and name it where it leaves the axes."""
    (low, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    end = min(right, top)
    ax.plot([low, end], [low, end], color=LOSS, lw=1.2, ls="--")
    beside = end == right
    text = say("breaks even")
    ax.annotate(text.replace(" ", "\n") if beside else text, (end, end), xytext=(5, 0) if beside else (0, 4),
                textcoords="offset points", ha="left" if beside else "center", va="center" if beside else "bottom",
                color=LOSS, fontsize=10, annotation_clip=False)  # fmt: skip
    ax.set(xlim=(low, right), ylim=(bottom, top))


def active_by_month(readout: Readout) -> Picture:
    """Show the share of assigned customers active in each month: how long the offers keep them."""

    def draw(*, narrow: bool) -> Figure:
        figure = canvas(narrow=narrow, height=3.8)
        ax, ends = figure.subplots(), []
        paint = iter(colours(len(readout.offers)))
        for arm in readout.arms:
            colour = QUIET if arm.holdout else next(paint)
            ax.plot(range(len(arm.active)), arm.active, color=colour, lw=2, ls=":" if arm.holdout else "-")
            ends.append(End(arm.active[-1], arm.label, colour))
        text = say("Share of assigned customers who are active")
        _share_axes(ax, text, months=say("Months since assignment"), narrow=narrow)
        ax.set_xlim(0, max(1, len(readout.arms[0].active) - 1))
        if narrow and max(len(end.label) for end in ends) > BESIDE_LINE:
            key(figure, {end.label: end.colour for end in ends})
            ends = []
        for height, end in apart(ends, 0.06 * ax.get_ylim()[1]):
            ax.annotate(end.label, (ax.get_xlim()[1], height), xytext=(6, 0), textcoords="offset points",
                        color=end.colour, va="center", fontweight="bold", annotation_clip=False)  # fmt: skip
        return figure

    last = [f"{arm.label} {share(arm.active[-1])}" for arm in readout.arms]
    alt = plural(
        "Lines of the share active in {n} month. In the last month: {arms}.",
        "Lines of the share active in each of {n} months. In the last month: {arms}.",
        readout.horizon_months,
        arms=listed(last),
    )
    caption = say("Each month counts only customers watched to its end, so unseen months are not taken for lost ones.")
    return both(draw, alt=alt, caption=caption)


QUESTIONS = {
    "returned": (later("Who returns"), later("difference of the share returned"), 0.0),
    "leaving": (later("Who leaves again"), later("ratio of the rate of leaving"), 1.0),
    "value": (later("Who pays more a month"), later("ratio of value a month"), 1.0),
}
# Factors and levels that are ours; others are the company's own words.
FACTORS = {
    "arm": later("arm"),
    "complaint": later("complaint"),
    "referred": later("referred"),
    "first_value": later("first_value"),
    "absent": later("absent"),
}
LEVELS = {
    "complaint": {"none": later("none"), "resolved": later("resolved"), "unresolved": later("unresolved")},
    "referred": {"yes": later("yes"), "no": later("no")},
    "first_value": {"low": later("low"), "middle": later("middle"), "high": later("high")},
    "absent": {"under 1 year": later("under 1 year"),
               "1 to 2 years": later("1 to 2 years"), "over 2 years": later("over 2 years")},
}  # fmt: skip


def driver_effects(drivers: Sequence[Driver]) -> Picture:
    """Show, for each question, how the levels of each factor differ from their reference."""
    rows = list(dict.fromkeys((driver.factor, driver.level, driver.reference) for driver in drivers))
    asked = [question for question in QUESTIONS if any(driver.question == question for driver in drivers)]
    by = {(str(driver.question), driver.factor, driver.level): driver.effect for driver in drivers}

    def draw(*, narrow: bool) -> Figure:
        height = 0.3 * len(rows) + 1.2
        figure, axes = _panels(len(asked), narrow=narrow, height=len(asked) * height if narrow else height)
        for ax, question in zip(axes, asked, strict=True):
            _effects(ax, [by.get((question, factor, level)) for factor, level, _ in rows], question)
            labels = [named(_factor(factor), _level(factor, level)) for factor, level, _ in rows]
            ax.set_yticks(range(len(rows)), labels, fontsize=9)
            ax.invert_yaxis()
        return figure

    texts = []
    for factor, level, reference in rows:
        effects = [f"{say(QUESTIONS[q][1])} {_times(by[q, factor, level])}" for q in asked if (q, factor, level) in by]
        text = say(
            "{factor} {level} against {reference}: {effects}",
            factor=_factor(factor),
            level=_level(factor, level),
            reference=_level(factor, reference),
            effects=", ".join(effects),
        )
        texts.append(text)
    pairs = dict.fromkeys((factor, reference) for factor, _, reference in rows)
    references = listed([f"{_factor(factor)} {_level(factor, reference)}" for factor, reference in pairs])
    held = later("All other factors held. Compared with: {references}. Dark where the interval excludes no difference.")
    alt = say("Dot plots with intervals. {rows}.", rows="; ".join(texts))
    return both(draw, alt=alt, caption=say(held, references=references))


def _factor(factor: str) -> str:
    return say(FACTORS[factor]) if factor in FACTORS else factor


def _level(factor: str, level: str) -> str:
    known = {"unknown": later("unknown"), **LEVELS[factor]} if factor in LEVELS else {}
    return say(known[level]) if level in known else level


def _effects(ax: Axes, effects: Sequence[Estimate | None], question: str) -> None:
    asked, _, nothing = QUESTIONS[question]
    for place, effect in enumerate(effects):
        if effect and effect.low is not None and effect.high is not None:
            differs = effect.low > nothing or effect.high < nothing
            _bar(ax, effect, place, colour=COLOURS[0] if differs else QUIET, dot=5)
    ax.axvline(nothing, color=INK, lw=1)
    ax.set_title(say(asked))
    axis(ax, "share" if nothing == 0 else "times", "USD", ticks=3)


def _times(effect: Estimate) -> str:
    value = effect.value or 0.0
    return share(value) if effect.unit == "share" else f"× {number(value)}"


def acceptors_staying(readout: Readout) -> Picture:
    """Show the share of acceptors still customers so many months after their first purchase."""
    lives = readout.lives.offers if readout.lives else ()

    def line(ax: Axes, life: Life, colour: str, label: str) -> None:
        ax.step((0, *life.curve.months), (1.0, *life.curve.survival), where="post", color=colour, lw=2, label=label)

    texts = [f"{readout.arm(life.offer).label} {told(life.months, currency=readout.currency)}" for life in lives]
    until = readout.lives.horizon_months if readout.lives else 0
    falling = later("Falling steps, one line an offer. Mean months up to {until}: {offers}.")
    return both(
        _lifetimes(readout, lives, line, text=later("Share of acceptors who are still customers"), height=3.8),
        alt=say(falling, until=until, offers="; ".join(texts)),
        caption=say("Kaplan-Meier, standardised to the mix of all assigned. Descriptive: acceptors chose themselves."),
    )


def _lifetimes(
    readout: Readout, lives: Sequence[Life], line: Callable[[Axes, Life, str, str], None], *, text: str, height: float
) -> Draw:
    """Return what draws a line for the acceptors of each offer, over the months since their first purchase."""

    def draw(*, narrow: bool) -> Figure:
        figure = canvas(narrow=narrow, height=height)
        ax = figure.subplots()
        for life, colour in zip(lives, colours(len(lives)), strict=True):
            line(ax, life, colour, name(readout.arm(life.offer).label, narrow=narrow))
        _share_axes(ax, say(text), months=say("Months since the first purchase"), narrow=narrow)
        ax.set_xlim(0)
        ax.legend(frameon=False)
        return figure

    return draw


def hazard_by_month(readout: Readout) -> Picture:
    """Show the share of acceptors leaving after each month, with the ends of promotions marked."""
    lives = readout.lives.offers if readout.lives else ()
    until = readout.lives.horizon_months if readout.lives else 0

    def line(ax: Axes, life: Life, colour: str, label: str) -> None:
        rows = [hazard for hazard in life.hazards if hazard.months < until]
        rates = [hazard.rate.value or 0.0 for hazard in rows]
        ax.plot([hazard.months for hazard in rows], rates, color=colour, lw=1.8, label=label)
        for hazard, rate in zip(rows, rates, strict=True):
            if hazard.promotion_ends:
                ax.plot(hazard.months, rate, "o", color=colour, ms=9)

    ends = [
        plural(
            "{offer} {rate} at {n} month",
            "{offer} {rate} at {n} months",
            round(hazard.months),
            offer=readout.arm(life.offer).label,
            rate=told(hazard.rate, currency=readout.currency),
        )
        for life in lives
        for hazard in life.hazards
        if hazard.promotion_ends
    ]
    when = later("Lines of the monthly share leaving. When a promotion ends: {ends}.")
    return both(
        _lifetimes(readout, lives, line, text=later("Share of those still there who leave"), height=3.6),
        alt=say(when, ends="; ".join(ends) or say("no promotion ended")),
        caption=say("Dots: the month in which the promotion ends."),
    )


GAINS = {  # unit: the title of the picture, and what its words begin with
    "money": (later("Net gain per customer by {factor}"), later("Net gain by {factor}.")),
    "points": (later("Lift per customer by {factor}"), later("Lift by {factor}.")),
    "months": (later("Months gained per customer by {factor}"), later("Months gained by {factor}.")),
}


def best_by_segment(readout: Readout, table: Segments) -> Picture:
    """Show the shrunken gain of every offer in every segment of a factor."""
    offers = [arm for arm in readout.offers if any(cell.offer == arm.name for cell in table.cells)]
    unit = table.cells[0].gain.unit
    heading, begins = GAINS[unit]

    def draw(*, narrow: bool) -> Figure:
        figure = canvas(narrow=narrow, height=0.26 * len(table.segments) * len(offers) + 1.2)
        ax = figure.subplots()
        for place, segment in enumerate(table.segments):
            for step, (arm, colour) in enumerate(zip(offers, colours(len(offers)), strict=True)):
                height = place + (step - (len(offers) - 1) / 2) * STEP
                label = name(arm.label, narrow=narrow) if place == 0 else None
                _bar(ax, table.cell(segment, arm.name).shrunk, height, colour=colour, dot=6, label=label)
        ax.set_yticks(range(len(table.segments)), [name(segment, narrow=narrow) for segment in table.segments])
        ax.invert_yaxis()
        title(ax, say(heading, factor=table.factor), narrow=narrow)
        axis(ax, unit, readout.currency, ticks=3 if narrow else 5)
        zero(ax)
        ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(0, -0.12), ncols=2 if narrow else 4)
        return figure

    texts = []
    for segment in table.segments:
        gains = [(arm.label, told(table.cell(segment, arm.name).shrunk, currency=readout.currency)) for arm in offers]
        texts.append(named(segment, ", ".join(f"{label} {gain}" for label, gain in gains)))
    return both(
        draw,
        alt=f"{say(begins, factor=table.factor)} {'; '.join(texts)}.",
        caption=say("Gains over the holdout, drawn to the offer's main effect as far as segments differ by chance."),
    )
