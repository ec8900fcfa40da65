"""The picture of a planned test."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, isclose
from typing import TYPE_CHECKING

from experiments.common.formatting import amount, count, share
from experiments.common.language import plural, say
from experiments.metrics.objectives import OBJECTIVES
from experiments.report.plots import BEST, COLOURS, LINE, QUIET, Picture, axis, both, canvas, title
from experiments.report.wording.design import source

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from experiments.design.design import Design
    from experiments.design.sizing import Difference

# Below so many customers an arm the words of a planned test begin, centre or end at its point.
SIDES = ((10_000, "left"), (100_000, "center"), (inf, "right"))
ROOM = {False: 0.5, True: 0.6}  # of the axis of sizes, up to which a line's words go to the right
SIDE = {False: (4, "left"), True: (-4, "right")}
LEVEL = {False: (-3, "top"), True: (3, "bottom")}
ALIKE = 0.02  # relative distance below which two dashed lines are one
WORDS = 0.3  # of the height of the curve, kept free above it for words


def tell_apart(design: Design) -> Picture:
    """Show the smallest difference that a test of each size can tell, beside those that are hoped for."""
    metric = design.objective if design.prices else "returned"
    unit, goal = OBJECTIVES[metric].unit, say(OBJECTIVES[metric].goal)
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
        for place, one in enumerate(hoped):
            _line(ax, one, narrow=narrow, above=place > 0)
        _here(ax, design.smallest_arm, here, _this_test(design, words(here)))
        sizes = (100, 10_000, 1_000_000) if narrow else (100, 1_000, 10_000, 100_000, 1_000_000)
        axis(ax, unit, design.currency, which="y")
        shown = [*(value for _, value in points), *(one.hoped for one in hoped)]
        _decades(ax, min(shown), max(shown))
        ax.set_xticks(sizes, [count(size) for size in sizes])
        ax.minorticks_off()
        ax.set_xlabel(say("Customers in the smallest arm"))
        title(ax, say("Smallest difference the test can tell: {goal}", goal=goal), narrow=narrow)
        return figure

    return both(
        draw,
        alt=_alt(design, hoped, words, here=words(here), goal=goal),
        caption=say("Power {power}, level {level}; known from {source}. Dashed: differences hoped for, each with the "
                    "customers it takes.", power=share(design.power, digits=0), level=share(design.level, digits=0),
                    source=source(design.source)),
    )  # fmt: skip


def _alt(design: Design, hoped: list[Difference], words: Callable[[float], str], *, here: str, goal: str) -> str:
    beside = "; ".join(
        say("{one} less {other} is hoped to be {value}, which takes {n}", one=one.first, other=one.second,
            value=words(one.hoped), n=one.needed)
        for one in hoped if one.needed
    )  # fmt: skip
    curve = plural(
        "A falling curve. With {n} customer in the smallest arm the test can tell a difference of {value} in {goal}.",
        "A falling curve. With {n} customers in the smallest arm the test can tell a difference of {value} in {goal}.",
        design.smallest_arm, value=here, goal=goal,
    )  # fmt: skip
    return f"{curve} {beside}"


def _this_test(design: Design, value: str) -> str:
    return say("this test: {n},\ntells {value}", n=design.smallest_arm, value=value)


def _hoped(design: Design, metric: str) -> list[Difference]:
    """Return the easiest and the hardest difference of the best offer, the smaller first; one where they are alike."""
    holdouts = {arm.label for arm in design.arms if arm.holdout}
    found = [one for one in design.differences if one.metric == metric and one.needed]
    offers = [one for one in found if not holdouts & {one.first, one.second}] or found
    firsts = [one.first for one in offers]
    best = max(firsts, key=firsts.count, default="")
    offers = sorted((one for one in offers if one.first == best), key=lambda one: one.needed or 0)
    ends = sorted([offers[0], offers[-1]] if offers else [], key=lambda one: one.hoped)
    return ends[:1] if ends and isclose(ends[0].hoped, ends[1].hoped, rel_tol=ALIKE) else ends


def _line(ax: Axes, one: Difference, *, narrow: bool, above: bool) -> None:
    """Draw a difference that is hoped for, and where it meets the curve.

    On the left its words stand below it, where the curve never runs; where that point leaves room for them on the
    right, there, and then the words of the line `above` the other stand above it.
    """
    said = say("{one} less {other}", one=one.first, other=one.second)
    needs = say("needs {n}", n=one.needed or 0)
    ax.axhline(one.hoped, color=QUIET, lw=1, ls=(0, (4, 3)))
    ax.plot(one.needed or 1, one.hoped, "o", color=QUIET, ms=6, clip_on=False)
    left, right = ax.get_xlim()
    after = (one.needed or 1) < left * (right / left) ** ROOM[above]
    side, (dx, ha), (dy, va) = float(after), SIDE[after], LEVEL[above and after]
    ax.annotate(("\n" if narrow else ", ").join((said, needs)), (side, one.hoped), xytext=(dx, dy), ha=ha, va=va,
                xycoords=("axes fraction", "data"), textcoords="offset points", color=QUIET, fontsize=9)  # fmt: skip


def _here(ax: Axes, x: float, y: float, words: str) -> None:
    """Mark the planned test; its words stand above the curve."""
    side, place = next(side for limit, side in SIDES if x < limit), (x, 0.98)
    ax.plot(x, y, "o", color=BEST, ms=9, clip_on=False)
    ax.annotate("", (x, y), xytext=place, textcoords=("data", "axes fraction"),
                arrowprops={"arrowstyle": "-", "color": BEST, "lw": 0.7, "shrinkA": 2 * LINE + 5})  # fmt: skip
    ax.annotate(words, place, xycoords=("data", "axes fraction"), ha=side, va="top", multialignment="left", color=BEST,
                fontweight="bold")  # fmt: skip


def _decades(ax: Axes, low: float, high: float) -> None:
    """Put ticks of 1, 2 and 5 times a power of ten on the axis of differences, and keep room for words."""
    from matplotlib.ticker import LogLocator

    ax.set_ylim(low / (high / low) ** (WORDS / 2), high * (high / low) ** WORDS)
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 100 else (1, 3)))  # noqa: PLR2004
