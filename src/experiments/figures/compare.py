"""The picture of several tests side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from experiments.drawing import INK, Picture, axis, both, canvas, colours, zero
from experiments.words import told

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from experiments.readout import Arm, Readout


def experiments_compared(readouts: Sequence[Readout]) -> Picture:
    """Show the net of every offer in every experiment."""

    def draw(*, narrow: bool) -> Figure:
        rows = list(_rows(readouts))
        figure = canvas(narrow=narrow, height=0.36 * len(rows) + 1.2)
        ax = figure.subplots()
        for place, (_, arm, colour) in enumerate(reversed(rows)):
            if arm is not None:
                net = arm.estimates["net"]
                ax.plot([net.low or 0.0, net.high or 0.0], [place, place], color=colour, lw=2.2)
                ax.plot(net.value or 0.0, place, "o", color=colour, ms=8)
        ax.set_yticks(range(len(rows)), [label for label, _, _ in reversed(rows)])
        for text, (_, arm, colour) in zip(ax.get_yticklabels(), reversed(rows), strict=True):
            text.set(color=colour if arm is None else INK, fontweight="bold" if arm is None else "normal")
        ax.set_ylim(-0.6, len(rows) - 0.4)
        ax.set_title("Net per customer assigned")
        axis(ax, "money", readouts[0].currency, ticks=3 if narrow else 4)
        zero(ax)
        return figure

    texts = [
        f"{readout.experiment} {arm.label} {told(arm.estimates['net'], currency=readout.currency)}"
        for readout in readouts
        for arm in readout.offers
        if "net" in arm.estimates
    ]
    return both(
        draw,
        alt="Net per customer assigned, each offer of each experiment a dot with its interval: " + "; ".join(texts),
        caption="Dots are estimates, bars their intervals. Colours are experiments.",
    )


def _rows(readouts: Sequence[Readout]) -> Iterator[tuple[str, Arm | None, str]]:
    """Yield label, offer and colour of every row: the name of each experiment, below it its offers."""
    for readout, colour in zip(readouts, colours(len(readouts)), strict=True):
        offers = [arm for arm in readout.offers if "net" in arm.estimates]
        if offers:
            yield readout.experiment, None, colour
        for arm in offers:
            yield arm.label, arm, colour
