"""The picture of a planned test."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from experiments.drawing import BEST, COLOURS, Picture, axis, both, canvas, title
from experiments.words import share

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from experiments.design import Design


# Below so many customers an arm the words of a planned test begin, centre or end at its point.
SIDES = ((10_000, "left", 0.0), (100_000, "center", 0.5), (inf, "right", 1.0))


def tell_apart(design: Design) -> Picture:
    """Show the smallest difference of returned shares that a test of each size can tell."""

    def draw(*, narrow: bool) -> Figure:
        figure = canvas(narrow=narrow, height=3.6)
        ax = figure.subplots()
        ax.plot([n for n, _ in design.curve], [gap for _, gap in design.curve], color=COLOURS[0], lw=2.2)
        ax.plot(design.smallest_arm, design.detectable, "o", color=BEST, ms=9)
        _here(ax, design)
        ax.set_xscale("log")
        sizes = (100, 10_000, 1_000_000) if narrow else (100, 1_000, 10_000, 100_000, 1_000_000)
        ax.set_xticks(sizes, [f"{size:,}" for size in sizes])
        ax.set_ylim(0, 1.25 * max(gap for _, gap in design.curve))
        ax.set_xlabel("Customers an arm")
        title(ax, "Smallest difference of returned shares the test can tell", narrow=narrow)
        axis(ax, "share", which="y")
        return figure

    return both(
        draw,
        alt=f"A falling curve. With {design.smallest_arm:,} customers an arm the test can tell offers apart that "
        f"differ by {share(design.detectable)} points or more.",
        caption=f"Power {share(design.power, digits=0)}, level {share(design.level, digits=0)}, against an offer that "
        f"{share(design.expected_returned, digits=0)} accept.",
    )


def _here(ax: Axes, design: Design) -> None:
    """Mark the planned test; its words stand at the top, which the falling curve leaves free."""
    x, y = design.smallest_arm, design.detectable
    side, corner = next((side, corner) for limit, side, corner in SIDES if x < limit)
    ax.plot(x, y, "o", color=BEST, ms=9, clip_on=False)
    ax.annotate(f"this test: {x:,} an arm,\n{share(y)} points", (x, y), xytext=(x, 0.98), ha=side, va="top",
                textcoords=("data", "axes fraction"), multialignment="left", color=BEST, fontweight="bold",
                arrowprops={"arrowstyle": "-", "color": BEST, "lw": 0.7, "relpos": (corner, 0)})  # fmt: skip
