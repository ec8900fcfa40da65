"""The picture of several tests of the same offers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import fill
from typing import TYPE_CHECKING, NamedTuple

from experiments.common.formatting import interval, named, share, told
from experiments.common.language import later, plural, say
from experiments.report.plots import INK, Picture, axis, both, canvas, colours, zero
from experiments.report.wording.metrics import METRICS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from experiments.common.estimate import Estimate
    from experiments.stats.meta_analysis import Pooled

BEYOND = 0.5  # of the width of all tests: how far the picture goes for a pooled interval before it ends in an arrow
LONGEST = 21  # letters of a line on a phone


class Row(NamedTuple):
    """A line of the picture: a name alone, a test, or all tests of an offer together."""

    label: str
    colour: str
    estimate: Estimate | None = None
    together: Pooled | None = None


def forest(known: Sequence[Pooled]) -> Picture:
    """Show what each test found of each offer, all together as a diamond, and what to expect of the next test."""
    rows, (low, high) = list(_rows(known)), _limits(known)
    label = METRICS[known[0].metric].label
    heading = say("{metric} per customer", metric=label) if known[0].unit in {"money", "months"} else label

    def draw(*, narrow: bool) -> Figure:
        labels = [fill(row.label, LONGEST) if narrow else row.label for row in rows]
        lines = max(label.count("\n") for label in labels) + 1
        figure = canvas(narrow=narrow, height=(0.17 + 0.17 * lines) * len(rows) + 1.1)
        ax = figure.subplots()
        ax.set_xlim(low, high)
        ax.set_yticks(range(len(rows)), labels)
        ax.set_ylim(len(rows) - 0.4, -0.6)
        for place, (row, text) in enumerate(zip(rows, ax.get_yticklabels(), strict=True)):
            alone = row.estimate is None and row.together is None
            text.set(color=row.colour if alone else INK, fontweight="normal" if row.estimate else "bold")
            _line(ax, row, place)
        ax.set_title(fill(heading, LONGEST) if narrow else heading)
        axis(ax, known[0].unit if known[0].unit != "ratio" else "share", known[0].currency, ticks=2 if narrow else 5)
        zero(ax)
        return figure

    return both(
        draw,
        alt=say("{metric} of each offer in each test, a dot with its interval, and of all tests together. {offers}",
                metric=label, offers=" ".join(map(_words, known))),
        caption=_caption(known, low, high),
    )  # fmt: skip


def _rows(known: Sequence[Pooled]) -> Iterator[Row]:
    """Yield the lines of every offer: its name, its tests, all together."""
    for pooled, colour in zip(known, colours(len(known)), strict=True):
        yield Row(pooled.label, colour)
        for experiment, estimate in zip(pooled.experiments, pooled.estimates, strict=True):
            yield Row(named(experiment, told(estimate, currency=pooled.currency)), colour, estimate=estimate)
        if pooled.k > 1:
            label = plural("all {n} test", "all {n} tests", pooled.k)
            yield Row(named(label, told(pooled.mean, currency=pooled.currency)), colour, together=pooled)


def _limits(known: Sequence[Pooled]) -> tuple[float, float]:
    """Return the ends of the axis: every test whole, pooled intervals as far as they leave the tests readable."""
    tests = [bound for pooled in known for estimate in pooled.estimates for bound in _ends(estimate)]
    wide = [bound for pooled in known for estimate in (pooled.mean, pooled.next or pooled.mean)
            for bound in _ends(estimate)]  # fmt: skip
    low, high = min(tests), max(tests)
    room, edge = BEYOND * (high - low), 0.04 * (high - low)
    return max(min((low, *wide)), low - room) - edge, min(max((high, *wide)), high + room) + edge


def _ends(estimate: Estimate) -> tuple[float, float]:
    value = estimate.value or 0.0
    return value if estimate.low is None else estimate.low, value if estimate.high is None else estimate.high


def _line(ax: Axes, row: Row, place: int) -> None:
    if row.estimate is not None:
        ax.plot(_ends(row.estimate), [place, place], color=row.colour, lw=2.2, solid_capstyle="butt")
        ax.plot(row.estimate.value or 0.0, place, "o", color=row.colour, ms=7)
    if row.together is not None:
        low, high = _ends(row.together.mean)
        middle = row.together.mean.value or 0.0
        outline = ([low, middle, high, middle], [place, place - 0.26, place, place + 0.26])
        ax.fill(*outline, color=row.colour, alpha=0.35 if row.together.next else 0.25, lw=0)
        ax.plot([middle, middle], [place - 0.26, place + 0.26], color=row.colour, lw=2)
        ends = _ends(row.together.next or row.together.mean)
        if row.together.next:
            ax.plot(ends, [place, place], color=row.colour, lw=1)
        left, right = ax.get_xlim()
        for end, mark, outside in ((left, "<", ends[0] < left), (right, ">", ends[1] > right)):
            if outside:
                ax.plot(end, place, mark, color=row.colour, ms=6, clip_on=False)


def _words(pooled: Pooled) -> str:
    def both_of(estimate: Estimate) -> str:
        return f"{told(estimate, currency=pooled.currency)} ({interval(estimate, currency=pooled.currency)})"

    tests = ", ".join(
        f"{experiment} {both_of(estimate)}"
        for experiment, estimate in zip(pooled.experiments, pooled.estimates, strict=True)
    )
    found = [tests]
    if pooled.k > 1:
        found.append(say("all together {mean}", mean=both_of(pooled.mean)))
    if pooled.next:
        found.append(say("next test {bounds}", bounds=interval(pooled.next, currency=pooled.currency)))
    said = "; ".join(found)
    return named(pooled.label, f"{said}.")


def _caption(known: Sequence[Pooled], low: float, high: float) -> str:
    own = share(known[0].estimates[0].level, digits=0)
    level = share(next((pooled.mean.level for pooled in known if pooled.k > 1), 0.0), digits=0)
    shown = [say("Dots are tests, bars their {level} intervals.", level=own)]
    if any(pooled.k > 1 for pooled in known):
        shown.append(say("Diamonds: the mean of all tests and its {level} interval.", level=level))
    if any(pooled.next for pooled in known):
        following = later("Thin lines: where the true effect in the next test lies with {level} confidence.")
        shown.append(say(following, level=level))
    pooled_ends = [_ends(estimate) for pooled in known for estimate in (pooled.mean, pooled.next or pooled.mean)]
    if any(left < low or right > high for left, right in pooled_ends):
        shown.append(say("An arrow: it goes on."))
    return " ".join(shown)
