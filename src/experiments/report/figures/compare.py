"""The picture of several tests of the same offers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING

from experiments.common.formatting import interval, named, share, told, with_interval
from experiments.common.language import later, plural, say
from experiments.report.plots import INK, Picture, axis, both, canvas, colours, points, zero
from experiments.report.wording.metrics import METRICS
from experiments.report.wording.pooling import label_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from experiments.common.estimate import Estimate
    from experiments.stats.meta_analysis import Pooled

BEYOND = 0.5  # of the width of all tests: how far the picture goes for a pooled interval before it ends in an arrow
LONGEST = 21  # letters of a line on a phone


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of the picture: a name alone, a test, or all tests of an offer together."""

    label: str
    colour: str
    estimate: Estimate | None = None
    together: Pooled | None = None


def forest(known: Sequence[Pooled]) -> Picture:
    """Show what each test found of each offer, all together as a diamond, and what to expect of the next test."""
    rows, (low, high) = list(_rows(known)), _limits(known)
    label, unit = METRICS[known[0].metric].label, known[0].unit
    heading = say("{metric} per customer", metric=label) if unit in {"money", "months"} else label

    def draw(*, narrow: bool) -> Figure:
        labels = [fill(row.label, LONGEST) if narrow else row.label for row in rows]
        lines = max(label.count("\n") for label in labels) + 1
        figure = canvas(narrow=narrow, height=(0.17 + 0.17 * lines) * len(rows) + 1.1)
        ax = figure.subplots()
        ax.set_xlim(low, high)
        ax.set_yticks(range(len(rows)), labels)
        ax.set_ylim(len(rows) - 0.4, -0.6)
        points(ax, [row.estimate for row in rows], colour=[row.colour for row in rows])
        for place, (row, text) in enumerate(zip(rows, ax.get_yticklabels(), strict=True)):
            alone = row.estimate is None and row.together is None
            text.set(color=row.colour if alone else INK, fontweight="normal" if row.estimate else "bold")
            if row.together is not None:
                _diamond(ax, row.together, place, colour=row.colour)
        ax.set_title(fill(heading, LONGEST) if narrow else heading)
        axis(ax, unit if unit != "ratio" else "share", known[0].currency, ticks=2 if narrow else 5)
        zero(ax)
        return figure

    alt = later("{metric} of each offer in each test, a dot with its interval, and of all tests together. {offers}")
    offers = " ".join(map(_words, known))
    return both(draw, alt=say(alt, metric=label, offers=offers), caption=_caption(known, low, high))


def _rows(known: Sequence[Pooled]) -> Iterator[Row]:
    """Yield the lines of every offer: its name, its tests, all together."""
    for pooled, colour in zip(known, colours(len(known)), strict=True):
        yield Row(label=label_of(pooled), colour=colour)
        for experiment, estimate in zip(pooled.experiments, pooled.estimates, strict=True):
            label = named(experiment, told(estimate, currency=pooled.currency))
            yield Row(label=label, colour=colour, estimate=estimate)
        if pooled.k > 1:
            label = plural("all {n} test", "all {n} tests", pooled.k)
            mean = told(pooled.mean, currency=pooled.currency)
            yield Row(label=named(label, mean), colour=colour, together=pooled)


def _limits(known: Sequence[Pooled]) -> tuple[float, float]:
    """Return the ends of the axis: every test whole, pooled intervals as far as they leave the tests readable."""
    tests = [bound for pooled in known for estimate in pooled.estimates for bound in _ends(estimate)]
    wide = [bound for pooled in known for one in (pooled.mean, pooled.next or pooled.mean) for bound in _ends(one)]
    low, high = min(tests), max(tests)
    room, edge = BEYOND * (high - low), 0.04 * (high - low)
    return max(min((low, *wide)), low - room) - edge, min(max((high, *wide)), high + room) + edge


def _ends(estimate: Estimate) -> tuple[float, float]:
    value = estimate.value or 0.0
    return value if estimate.low is None else estimate.low, value if estimate.high is None else estimate.high


def _diamond(ax: Axes, pooled: Pooled, place: int, *, colour: str) -> None:
    """Draw the mean of all tests with its interval, and a thin line to where the next test may lie."""
    (low, high), middle = _ends(pooled.mean), pooled.mean.value or 0.0
    outline = ([low, middle, high, middle], [place, place - 0.26, place, place + 0.26])
    ax.fill(*outline, color=colour, alpha=0.35 if pooled.next else 0.25, lw=0)
    ax.plot([middle, middle], [place - 0.26, place + 0.26], color=colour, lw=2)
    ends = _ends(pooled.next or pooled.mean)
    if pooled.next:
        ax.plot(ends, [place, place], color=colour, lw=1)
    left, right = ax.get_xlim()
    for end, mark, outside in ((left, "<", ends[0] < left), (right, ">", ends[1] > right)):
        if outside:
            ax.plot(end, place, mark, color=colour, ms=6, clip_on=False)


def _words(pooled: Pooled) -> str:
    currency = pooled.currency
    tests = zip(pooled.experiments, pooled.estimates, strict=True)
    found = [", ".join(f"{experiment} {with_interval(estimate, currency=currency)}" for experiment, estimate in tests)]
    if pooled.k > 1:
        found.append(say("all together {mean}", mean=with_interval(pooled.mean, currency=currency)))
    if pooled.next:
        found.append(say("next test {bounds}", bounds=interval(pooled.next, currency=currency)))
    return named(label_of(pooled), "; ".join(found) + ".")


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
