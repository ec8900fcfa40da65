"""The picture of a planned test."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from experiments.drawing import BEST, COLOURS, LINE, QUIET, Picture, axis, both, canvas, title
from experiments.objectives import OBJECTIVES
from experiments.words import amount, share

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from experiments.design import Design
    from experiments.sizing import Difference

# Below so many customers an arm the words of a planned test begin, centre or end at its point.
SIDES = ((10_000, "left"), (100_000, "center"), (inf, "right"))
WORDS = 0.3  # of the height of the curve, kept free above it for words


def tell_apart(design: Design) -> Picture:
    """Show the smallest difference that a test of each size can tell, beside those that are hoped for."""
    metric = design.objective if design.prices else "returned"
    unit, goal = OBJECTIVES[metric].unit, OBJECTIVES[metric].goal
    found = [(size.smallest, size.returned if metric == "returned" else size.objective) for size in design.sizes]
    points = [(smallest, value) for smallest, value in found if value is not None]
    here = next(value for n, value in points if n == design.smallest_arm)
    hoped = _hoped(design, metric)

    def words(value: float) -> str:
        return amount(value, unit, currency=design.currency)

    def draw(*, narrow: bool) -> Figure:
        figure = canvas(narrow=narrow, height=4.2)
        ax = figure.subplots()
        ax.plot(*zip(*points, strict=True), color=COLOURS[0], lw=2.2)
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlim(points[0][0], max(points[-1][0], *(one.needed or 1 for one in hoped), 1))
        for one in hoped:
            _line(ax, one, narrow=narrow)
        _here(ax, design.smallest_arm, here, f"this test: {design.smallest_arm:,},\ntells {words(here)}")
        sizes = (100, 10_000, 1_000_000) if narrow else (100, 1_000, 10_000, 100_000, 1_000_000)
        axis(ax, unit, design.currency, which="y")
        _decades(ax, points)
        ax.set_xticks(sizes, [f"{size:,}" for size in sizes])
        ax.minorticks_off()
        ax.set_xlabel("Customers in the smallest arm")
        title(ax, f"Smallest difference the test can tell: {goal}", narrow=narrow)
        return figure

    beside = "; ".join(f"{one.first} less {one.second} is hoped to be {words(one.hoped)}, which takes {one.needed:,}"
                       for one in hoped if one.needed)  # fmt: skip
    return both(
        draw,
        alt=f"A falling curve. With {design.smallest_arm:,} customers in the smallest arm the test can tell a "
        f"difference of {words(here)} in {goal}. {beside}",
        caption=f"Power {share(design.power, digits=0)}, level {share(design.level, digits=0)}; known from "
        f"{design.source}. Dashed: differences hoped for; where they meet the curve, the test is large enough.",
    )


def _hoped(design: Design, metric: str) -> list[Difference]:
    """Return the easiest and the hardest difference between offers that decide."""
    holdouts = {arm.label for arm in design.arms if arm.holdout}
    offers = [one for one in design.differences if one.metric == metric and one.needed and one.second not in holdouts]
    offers = offers or [one for one in design.differences if one.metric == metric and one.needed]
    offers.sort(key=lambda one: one.needed or 0)
    return [offers[0], offers[-1]][: len(offers)]


def _line(ax: Axes, one: Difference, *, narrow: bool) -> None:
    """Draw a difference that is hoped for, and where it meets the curve; below it on the left the curve never runs."""
    said = f"{one.first} less {one.second}"
    needs = f"\nneeds {one.needed:,}"
    ax.axhline(one.hoped, color=QUIET, lw=1, ls=(0, (4, 3)))
    ax.plot(one.needed or 1, one.hoped, "o", color=QUIET, ms=6, clip_on=False)
    ax.annotate(f"{said}{needs if narrow else needs.replace(chr(10), ', ')}", (0, one.hoped),
                xycoords=("axes fraction", "data"), xytext=(4, -3), textcoords="offset points", color=QUIET,
                va="top", fontsize=9)  # fmt: skip


def _here(ax: Axes, x: float, y: float, words: str) -> None:
    """Mark the planned test; its words stand above the curve."""
    side, place = next(side for limit, side in SIDES if x < limit), (x, 0.98)
    ax.plot(x, y, "o", color=BEST, ms=9, clip_on=False)
    ax.annotate("", (x, y), xytext=place, textcoords=("data", "axes fraction"),
                arrowprops={"arrowstyle": "-", "color": BEST, "lw": 0.7, "shrinkA": 2 * LINE + 5})  # fmt: skip
    ax.annotate(words, place, xycoords=("data", "axes fraction"), ha=side, va="top", multialignment="left", color=BEST,
                fontweight="bold")  # fmt: skip


def _decades(ax: Axes, points: list[tuple[int, float]]) -> None:
    """Put ticks of 1, 2 and 5 times a power of ten on the axis of differences."""
    from matplotlib.ticker import LogLocator

    low, high = min(value for _, value in points), max(value for _, value in points)
    ax.set_ylim(low / 1.5, high * (high / low) ** WORDS)
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 100 else (1, 3)))  # noqa: PLR2004
