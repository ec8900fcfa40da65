"""Pictures of a readout, each for a page and, narrow, for a phone. Words for those who cannot see them come along."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.readout import METRICS, OBJECTIVES, Arm, Readout
from experiments.words import amount, interval, listed, money, share, told

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from experiments.cohort import Cohort
    from experiments.design import Design

INK, QUIET, GRID = "#18212f", "#5b6472", "#e3e6ea"
BEST, LOSS = "#0d6440", "#8f1d22"
ARM_COLOURS = ("#0b5a78", "#b4570b", "#6a3d9a", "#0d6440", "#a3215c", "#4d5b00", "#7a4b2b")
WIDE, NARROW = 9.0, 4.0  # inches


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture in two widths, with its words."""

    figure: Figure
    narrow: Figure
    alt: str
    caption: str


@contextmanager
def _style() -> Iterator[None]:
    import matplotlib as mpl
    import seaborn as sns

    settings = {
        "font.size": 11, "axes.edgecolor": QUIET, "axes.labelcolor": INK, "text.color": INK, "xtick.color": QUIET,
        "ytick.color": INK, "grid.color": GRID, "axes.titlesize": 11, "axes.titleweight": "bold",
        "axes.titlelocation": "left", "axes.spines.top": False, "axes.spines.right": False,
    }  # fmt: skip
    with sns.axes_style("ticks"), mpl.rc_context(settings):
        yield


def _both(draw: Callable[[bool], Figure], *, alt: str, caption: str) -> Picture:
    with _style():
        return Picture(figure=draw(False), narrow=draw(True), alt=alt, caption=caption)


def faces_of_success(readout: Readout) -> Picture:
    """Show the offers side by side on who says yes, what it earns and what each unit of cost returns."""
    wanted = ("accepted", "returned", "net", "roi") if readout.dated else ("returned", "net", "roi")
    metrics = [metric for metric in wanted if any(metric in arm.estimates for arm in readout.offers)]
    metrics = [metric for metric in metrics if metric != "returned" or "accepted" not in metrics]
    if not any(metric in ("net", "roi") for metric in metrics):
        metrics = [metric for metric in ("accepted", "returned", "gross_roi") if metric in readout.offers[0].estimates]

    def draw(narrow: bool) -> Figure:
        from matplotlib.figure import Figure

        rows = len(readout.offers)
        size = (NARROW, len(metrics) * (0.42 * rows + 0.9)) if narrow else (WIDE, 0.5 * rows + 1.3)
        figure = Figure(figsize=size, layout="constrained")
        grid = (len(metrics), 1) if narrow else (1, len(metrics))
        axes = figure.subplots(*grid, squeeze=False, sharey=not narrow).ravel()
        for ax, metric in zip(axes, metrics, strict=True):
            _dots(ax, readout, metric)
        return figure

    told_best = [f"{METRICS[metric].label}: {_best(readout, metric).label}" for metric in metrics]
    lines = [
        f"{arm.label}: " + ", ".join(
            f"{METRICS[metric].label.lower()} {told(arm.estimates[metric], currency=readout.currency)} "
            f"({interval(arm.estimates[metric], currency=readout.currency)})"
            for metric in metrics
        )
        for arm in readout.offers
    ]  # fmt: skip
    return _both(
        draw,
        alt=f"Dot plots of every offer with {share(readout.level, digits=0)} intervals. " + "; ".join(lines) + ".",
        caption=f"Highest on {'; on '.join(told_best)} (green). Bars are {share(readout.level, digits=0)} intervals.",
    )


def _best(readout: Readout, metric: str) -> Arm:
    return max(readout.offers, key=lambda arm: _value(arm, metric))


def _value(arm: Arm, metric: str) -> float:
    estimate = arm.estimates.get(metric)
    return float("-inf") if estimate is None or estimate.value is None else estimate.value


def _dots(ax: Axes, readout: Readout, metric: str) -> None:
    best = _best(readout, metric)
    offers = list(reversed(readout.offers))
    for place, arm in enumerate(offers):
        estimate = arm.estimates.get(metric)
        if estimate is None or estimate.value is None:
            continue
        colour = BEST if arm is best else QUIET
        if estimate.low is not None and estimate.high is not None:
            ax.plot([estimate.low, estimate.high], [place, place], color=colour, lw=2.2, solid_capstyle="butt")
        ax.plot(estimate.value, place, "o", color=colour, ms=8)
        text = amount(estimate.value, estimate.unit, currency=readout.currency)
        ax.annotate(text, (estimate.value, place), xytext=(0, 7), textcoords="offset points", ha="center",
                    color=colour, fontsize=10, fontweight="bold" if arm is best else "normal")  # fmt: skip
    ax.set_yticks(range(len(offers)), [arm.label for arm in offers])
    ax.set_ylim(-0.5, len(offers) - 0.3)
    ax.set_title(METRICS[metric].label + (" ◂ decides" if OBJECTIVES[readout.objective] == metric else ""))
    ax.margins(x=0.16)
    _axis(ax, METRICS[metric].unit, readout.currency, ticks=3)
    if ax.get_xlim()[0] < 0 < ax.get_xlim()[1]:
        ax.axvline(0, color=INK, lw=1)


def _axis(ax: Axes, unit: str, currency: str, *, which: str = "x", ticks: int = 4) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    def words(value: float, _: int | None = None) -> str:
        if unit == "money":
            return money(value, currency, digits=0 if abs(value) >= 1 or value == 0 else 2)
        return share(value, digits=0 if abs(value) >= 0.1 or value == 0 else 1) if unit != "months" else f"{value:g}"  # noqa: PLR2004

    axis = ax.xaxis if which == "x" else ax.yaxis
    axis.set_major_locator(MaxNLocator(ticks))
    axis.set_major_formatter(FuncFormatter(words))
    ax.grid(axis="x" if which == "x" else "y")
    ax.set_axisbelow(True)


def return_against_cost(readout: Readout) -> Picture:
    """Show value gained against cost added for every offer; above the line an offer pays for itself."""

    def draw(narrow: bool) -> Figure:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(NARROW, 4.2) if narrow else (WIDE, 4.4), layout="constrained")
        ax, steps = figure.subplots(), _steps(readout, room=0.5 if narrow else 0.16)
        for arm, colour in zip(readout.offers, _colours(len(readout.offers)), strict=False):
            x, y = arm.estimates["cost_added"], arm.estimates["value_gained"]
            if x.value is None or y.value is None or y.low is None or y.high is None:
                continue
            ax.errorbar(x.value, y.value, yerr=[[y.value - y.low], [y.high - y.value]], fmt="o", color=colour, ms=8,
                        lw=2, capsize=0)  # fmt: skip
            ax.annotate(arm.label, (x.value, y.high), xytext=(0, 5 + 15 * steps[arm.name]), ha="center", va="bottom",
                        textcoords="offset points", color=colour, fontweight="bold",
                        arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.7} if steps[arm.name] else None)  # fmt: skip
        _frame(ax)
        low, high = ax.get_xlim()
        ax.plot([low, high], [low, high], color=LOSS, lw=1.2, ls="--")
        ax.annotate("breaks even", (high, high), xytext=(-4, 5), textcoords="offset points", ha="right", va="bottom",
                    color=LOSS, fontsize=10)  # fmt: skip
        ax.set_xlim(low, high)
        ax.set_xlabel("Cost added per customer assigned")
        ax.set_ylabel("Value gained per customer assigned")
        _axis(ax, "money", readout.currency)
        _axis(ax, "money", readout.currency, which="y")
        ax.grid(axis="x", visible=False)
        return figure

    texts = [
        f"{arm.label} gains {told(arm.estimates['value_gained'], currency=readout.currency)} for "
        f"{told(arm.estimates['cost_added'], currency=readout.currency)}"
        for arm in readout.offers
    ]
    return _both(
        draw,
        alt="Value gained against cost added, each offer a dot with its interval. " + "; ".join(texts) + ".",
        caption="Above the dashed line an offer earns more than it costs; the distance to the line is the net.",
    )


def _steps(readout: Readout, *, room: float) -> dict[str, int]:
    """Return how many lines up the label of each offer stands, so that neighbours do not meet.

    `room`: the part of the widest cost that a label needs.
    """
    costs = {arm.name: arm.estimates["cost_added"].value or 0.0 for arm in readout.offers}
    steps: dict[str, int] = {}
    before, step = float("-inf"), 0
    for name in sorted(costs, key=lambda name: costs[name]):
        step = step + 1 if costs[name] - before < room * max(costs.values()) else 0
        steps[name], before = step, costs[name]
    return steps


def _frame(ax: Axes) -> None:
    """Start both axes at zero and leave room for the labels."""
    ax.set_xlim(min(0.0, ax.get_xlim()[0]), ax.get_xlim()[1] * 1.12)
    low, high = min(0.0, ax.get_ylim()[0]), ax.get_ylim()[1]
    ax.set_ylim(low, high + 0.35 * (high - low))


def _colours(count: int) -> tuple[str, ...]:
    return tuple(ARM_COLOURS[i % len(ARM_COLOURS)] for i in range(count))


def active_by_month(readout: Readout) -> Picture:
    """Show the share of assigned customers active in each month: how long the offers keep them."""

    def draw(narrow: bool) -> Figure:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(NARROW, 3.8) if narrow else (WIDE, 3.8), layout="constrained")
        ax = figure.subplots()
        colours = iter(_colours(len(readout.offers)))
        ends = []
        for arm in readout.arms:
            colour = QUIET if arm.holdout else next(colours)
            ax.plot(range(len(arm.active)), arm.active, color=colour, lw=2, ls=":" if arm.holdout else "-")
            ends.append((arm.active[-1], arm.label, colour))
        for height, (_, label, colour) in _apart(ends, 0.06 * ax.get_ylim()[1]):
            ax.annotate(label, (len(readout.arms[0].active) - 0.6, height), color=colour, va="center",
                        fontweight="bold", annotation_clip=False)  # fmt: skip
        ax.set_ylim(0)
        ax.set_xlim(0, len(readout.arms[0].active) - 1)
        ax.set_xlabel("Months since assignment")
        ax.set_title("Share of assigned customers who are active")
        _axis(ax, "share", readout.currency, which="y")
        return figure

    last = [f"{arm.label} {share(arm.active[-1])}" for arm in readout.arms]
    return _both(
        draw,
        alt=f"Lines of the share active in each of {readout.horizon_months} months. In the last month: "
        f"{listed(last)}.",
        caption="Each month counts only customers watched to its end, so unseen months are not taken for lost ones.",
    )


def _apart(
    ends: Sequence[tuple[float, str, str]], gap: float
) -> Iterator[tuple[float, tuple[float, str, str]]]:
    """Yield heights for labels that keep a distance, lowest first."""
    below = float("-inf")
    for end in sorted(ends):
        below = max(end[0], below + gap)
        yield below, end


def lost_by_month(cohort: Cohort) -> Picture:
    """Show how many of the lost customers bought for the last time in each month."""

    def draw(narrow: bool) -> Figure:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(NARROW, 3.4) if narrow else (WIDE, 3.4), layout="constrained")
        ax = figure.subplots()
        months, counts = [month for month, _ in cohort.by_month], [count for _, count in cohort.by_month]
        ax.bar(range(len(months)), counts, color=ARM_COLOURS[0])
        step = max(1, len(months) // (4 if narrow else 9))
        ax.set_xticks(range(0, len(months), step), [months[i] for i in range(0, len(months), step)])
        ax.set_title("Lost customers by month of their last purchase")
        ax.grid(axis="y")
        ax.set_axisbelow(True)
        return figure

    top = max(cohort.by_month, key=lambda row: row[1])
    return _both(
        draw,
        alt=f"Bars of lost customers by month of the last purchase; most in {top[0]} with {top[1]:,}.",
        caption=f"{cohort.lost:,} customers, silent for more than {cohort.silent_days} days on {cohort.as_of}.",
    )


def tell_apart(design: Design) -> Picture:
    """Show the smallest difference of returned shares that a test of each size can tell."""

    def draw(narrow: bool) -> Figure:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(NARROW, 3.6) if narrow else (WIDE, 3.6), layout="constrained")
        ax = figure.subplots()
        ax.plot([n for n, _ in design.curve], [gap for _, gap in design.curve], color=ARM_COLOURS[0], lw=2.2)
        ax.plot(design.smallest_arm, design.detectable, "o", color=BEST, ms=9)
        ax.annotate(f"this test: {design.smallest_arm:,} an arm,\n{share(design.detectable)} points",
                    (design.smallest_arm, design.detectable), xytext=(10, 12), textcoords="offset points", color=BEST,
                    fontweight="bold")  # fmt: skip
        ax.set_xscale("log")
        ax.set_ylim(0)
        ax.set_xlabel("Customers an arm")
        ax.set_title("Smallest difference of returned shares the test can tell")
        from matplotlib.ticker import FuncFormatter

        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        _axis(ax, "share", "USD", which="y")
        return figure

    return _both(
        draw,
        alt=f"A falling curve. With {design.smallest_arm:,} customers an arm the test can tell offers apart that differ "
        f"by {share(design.detectable)} points or more.",
        caption=f"Power {share(design.power, digits=0)}, level {share(design.level, digits=0)}, against an offer that "
        f"{share(design.expected_returned, digits=0)} accept.",
    )


def experiments_compared(readouts: Sequence[Readout]) -> Picture:
    """Show the net of every offer in every experiment."""

    def draw(narrow: bool) -> Figure:
        from matplotlib.figure import Figure

        rows = [(readout, arm) for readout in readouts for arm in readout.offers if "net" in arm.estimates]
        figure = Figure(figsize=(NARROW if narrow else WIDE, 0.42 * len(rows) + 1.2), layout="constrained")
        ax = figure.subplots()
        for place, (readout, arm) in enumerate(reversed(rows)):
            colour = ARM_COLOURS[readouts.index(readout) % len(ARM_COLOURS)]
            net = arm.estimates["net"]
            ax.plot([net.low or 0.0, net.high or 0.0], [place, place], color=colour, lw=2.2)
            ax.plot(net.value or 0.0, place, "o", color=colour, ms=8)
        ax.set_yticks(range(len(rows)), [f"{readout.experiment}\n{arm.label}" if narrow else
                                         f"{readout.experiment} · {arm.label}" for readout, arm in reversed(rows)])  # fmt: skip
        ax.set_title("Net per customer assigned")
        _axis(ax, "money", readouts[0].currency)
        if ax.get_xlim()[0] < 0 < ax.get_xlim()[1]:
            ax.axvline(0, color=INK, lw=1)
        return figure

    texts = [
        f"{readout.experiment} {arm.label} {told(arm.estimates['net'], currency=readout.currency)}"
        for readout in readouts
        for arm in readout.offers
        if "net" in arm.estimates
    ]
    return _both(
        draw,
        alt="Net per customer assigned, each offer of each experiment a dot with its interval: " + "; ".join(texts),
        caption="Dots are estimates, bars their intervals. Colours are experiments.",
    )
