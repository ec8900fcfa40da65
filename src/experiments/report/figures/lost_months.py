"""The picture of the loss by month: the curve, where it begins to be a reason to act, and what was changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import nan
from typing import TYPE_CHECKING, NamedTuple

from experiments.common.estimate import Estimate
from experiments.common.formatting import listed, month, month_name, share, told
from experiments.common.language import later, plural, say
from experiments.lost.results import ALARM_ABOVE, NORMAL_BELOW, YEAR, Cohort
from experiments.report.plots import (
    COLOURS,
    INK,
    LETTER,
    LINE,
    LOSS,
    OUTSIDE,
    QUIET,
    End,
    Picture,
    apart,
    axis,
    both,
    canvas,
    title,
)
from experiments.stats.intervals import proportion

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEWEST = 20  # customers at risk, below whom a month's share says nothing
MARKS = 8  # changes that are marked on the curve
WORDS = 4  # changes up to which the marks are named, else numbered
HEIGHT = 4.2  # inches of the curve
WARN = "#7d5200"


def plain(text: str, *, at_most: int = 26) -> str:
    r"""Return a text from the data as a picture can show it: one line, not too long.

    >>> plain("costs $5 or $6,\n they said, and so on")
    'costs $5 or $6, they said…'
    """
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= at_most else line[: at_most - 1].rstrip() + "…"


class Mark(NamedTuple):
    """A change on the axis of months, where 0 is the middle of the first month."""

    number: int
    x: float
    what: str


def by_month(cohort: Cohort) -> Picture:
    """Show the share of customers lost in each month, where it begins to be a reason to act, and what was changed."""
    young, cohort = len(cohort.months), _from_first_loss(cohort)
    young -= len(cohort.months)
    shares, marked = _shares(cohort), marks(cohort)

    def draw(*, narrow: bool) -> Figure:
        figure = canvas(narrow=narrow, height=HEIGHT)
        ax, places = figure.subplots(), range(len(shares))
        ax.fill_between(places, _known(one.low for one in shares), _known(one.high for one in shares),
                        color=COLOURS[0], alpha=0.16, lw=0)  # fmt: skip
        values, settled = _known(one.value for one in shares), len(shares) - cohort.pace.unsettled
        ax.plot(places[:settled], values[:settled], color=COLOURS[0], lw=2.2, marker="o", ms=3)
        ax.plot(places[max(0, settled - 1) :], values[max(0, settled - 1) :], color=COLOURS[0], lw=1.6, ls=":")
        ax.set(xlim=(-0.5, max(len(shares) - 0.5, 1)), ylim=(0, _roof(shares)))
        _limits(ax, cohort, narrow=narrow)
        _changes(ax, marked, narrow=narrow)
        _ticks(ax, [month.month for month in cohort.months], narrow=narrow)
        title(ax, say("Share of customers lost in each month"), narrow=narrow)
        axis(ax, "share", which="y", ticks=5)
        ax.set_yticks([tick for tick in ax.get_yticks() if tick <= _roof(shares)])
        return figure

    return both(draw, alt=_alt(cohort, marked), caption=_caption(cohort, marked, young=young))


def _from_first_loss(cohort: Cohort) -> Cohort:
    """Return the cohort without the months before its first loss: there the history is too young to lose anybody."""
    begin = next((place for place, month in enumerate(cohort.months) if month.lost), 0)
    return replace(cohort, months=cohort.months[begin:])


def _known(bounds: Iterable[float | None]) -> list[float]:
    """Return numbers with nan for what is not known, which nothing is drawn for."""
    return [nan if bound is None else bound for bound in bounds]


def _shares(cohort: Cohort) -> list[Estimate]:
    """Return the share lost in every month; no value where too few customers were at risk."""
    fewest = FEWEST if any(month.at_risk >= FEWEST for month in cohort.months) else 1
    return [
        proportion(month.lost, month.at_risk if month.at_risk >= fewest else 0, level=cohort.level)
        for month in cohort.months
    ]


def _roof(shares: Sequence[Estimate]) -> float:
    """Return the top of the axis: all of the line, and of the intervals what leaves the line readable."""
    highest = max((one.value or 0.0 for one in shares), default=0.0)
    bound = max((one.high or 0.0 for one in shares), default=0.0)
    return 1.08 * max(min(bound, 1.6 * highest), 1.25 * _monthly(ALARM_ABOVE))


def _monthly(yearly: float) -> float:
    """Return the share a month that makes a share a year.

    >>> round(_monthly(0.306), 3)
    0.03
    """
    return 1.0 - float((1 - yearly) ** (1 / YEAR))


def _limits(ax: Axes, cohort: Cohort, *, narrow: bool) -> None:
    """Draw where the traffic light changes, and the pace of the last months; name them beside the axes."""
    ends, (right, top) = [], (ax.get_xlim()[1], ax.get_ylim()[1])
    for yearly, word, colour in ((ALARM_ABOVE, say("alarm"), LOSS), (NORMAL_BELOW, say("act"), WARN)):
        ax.axhline(_monthly(yearly), color=colour, lw=1.2, ls="--", zorder=1)
        label = word if narrow else say("{light}: over {share} a year", light=word, share=share(yearly, digits=0))
        ends.append(End(_monthly(yearly), label, colour))
    pace, until = cohort.pace.monthly.value, len(cohort.months) - cohort.pace.unsettled - 0.5
    if pace is not None and pace <= top:
        ax.plot([max(-0.5, until - cohort.pace.months), until], [pace, pace], color=INK, lw=1.6)
        now = later("now {share}") if narrow else later("now: {share} a month")
        ends.append(End(pace, say(now, share=share(pace)), INK))
    for height, end in apart(ends, 0.075 * top):
        ax.annotate(end.label, (right, height), xytext=(6, 0), textcoords="offset points", color=end.colour,
                    va="center", fontweight="bold", fontsize=10, annotation_clip=False)  # fmt: skip


def marks(cohort: Cohort) -> list[Mark]:
    """Return the changes to mark on the curve, in their order: the last ones within its months."""
    if not cohort.months:
        return []
    first, end = _month_number(cohort.months[0].month), len(cohort.months) - 0.5
    placed = [
        Mark(number, _month_number(f"{change.at:%Y-%m}") - first + (change.at.day - 1) / 31 - 0.5, change.what)
        for number, change in enumerate(cohort.changes, 1)
    ]
    return [mark for mark in placed if abs(mark.x - (end - 0.5) / 2) <= (end + 0.5) / 2][-MARKS:]


def _month_number(month: str) -> int:
    """Return the number of a month, such as 2023-05, of which January's are multiples of 12.

    >>> _month_number("2023-05") - _month_number("2022-12")
    5
    """
    import numpy as np

    return int(np.datetime64(month, "M").astype(int))


def _changes(ax: Axes, marked: Sequence[Mark], *, narrow: bool) -> None:
    """Draw a line for every change, with its words on a line of their own, or with its number."""
    (left, right), top = ax.get_xlim(), ax.get_ylim()[1]
    inch = (right - left) / (2 if narrow else 6)  # of the axis
    words = len(marked) <= WORDS and not narrow
    labels = _worded(marked, inch, ends=(left, right)) if words else _numbered(marked, inch)
    for mark in marked:
        ax.plot([mark.x, mark.x], [0, top], color=QUIET, lw=1, ls=":", zorder=1)
    pole = {"arrowstyle": "-", "color": QUIET, "lw": 0.7, "shrinkA": 0, "shrinkB": 0}
    ground = {"facecolor": "#ffffff", "edgecolor": "none", "pad": 0.5}
    for label in labels:
        place, beside = (label.x, top), {"left": 3, "right": -3}.get(label.side, 0)
        if words:
            up = LINE * (label.level + 1)
            ax.annotate("", place, xytext=(0, up), textcoords="offset points", arrowprops=pole)
        ax.annotate(label.text, place, xytext=(beside, LINE * label.level + 4), textcoords="offset points",
                    ha=label.side, va="bottom", fontsize=10, fontweight="bold", zorder=5, bbox=ground)  # fmt: skip
    free = LINE * (1 + max((label.level for label in labels), default=-1)) / (72 * (HEIGHT - OUTSIDE))
    ax.set_ylim(0, top / (1 - free))


class Label(NamedTuple):
    """Words above the axes."""

    x: float
    text: str
    side: str  # how they are aligned there: left, right or center
    level: int  # line above the axes


def _worded(marked: Sequence[Mark], inch: float, *, ends: tuple[float, float]) -> list[Label]:
    """Return the words of changes, each on a level of its own.

    They stand left of their lines where there is room for all, rising to the right, so that no line crosses words;
    else those in the first half stand right of their lines, above the others.
    """
    texts = [f"{mark.number} {plain(mark.what)}" for mark in marked]
    room = all(mark.x - ends[0] >= LETTER * len(text) * inch for mark, text in zip(marked, texts, strict=True))
    first = 0 if room else sum(1 for mark in marked if mark.x < sum(ends) / 2)
    levels = [*reversed(range(len(marked) - first, len(marked))), *range(len(marked) - first)]
    return [
        Label(mark.x, text, "left" if place < first else "right", level)
        for place, (mark, text, level) in enumerate(zip(marked, texts, levels, strict=True))
    ]


def _numbered(marked: Sequence[Mark], inch: float) -> list[Label]:
    """Return the numbers of changes; one label for those whose numbers would meet.

    >>> [label.text for label in _numbered([Mark(1, 0.0, ""), Mark(2, 0.5, ""), Mark(3, 4.0, "")], 2.5)]
    ['1–2', '3']
    """
    near = inch * (0.25 + LETTER * max((len(str(mark.number)) for mark in marked), default=0))
    groups: list[list[Mark]] = []
    for mark in marked:
        if groups and mark.x - groups[-1][-1].x < near:
            groups[-1].append(mark)
        else:
            groups.append([mark])
    return [
        Label(
            sum(mark.x for mark in group) / len(group),
            "–".join(dict.fromkeys((str(group[0].number), str(group[-1].number)))),
            "center",
            0,
        )
        for group in groups
    ]


def _ticks(ax: Axes, months: Sequence[str], *, narrow: bool) -> None:
    """Name months, the year below the first and each January; as many as there is room for."""
    room = 5 if narrow else 12
    step = next((step for step in (1, 2, 3, 6, 12, 24, 60) if len(months) / step <= room), 120)
    shown = [place for place, month in enumerate(months) if _month_number(month) % step == 0] or [0]
    labels: list[str] = []
    for place in shown:
        here = int(months[place][5:])
        labels.append(month_name(here) + (f"\n{months[place][:4]}" if not labels or here == 1 else ""))
    ax.set_xticks(shown, labels)


def _alt(cohort: Cohort, marked: Sequence[Mark]) -> str:
    known = [month for month in cohort.months if month.at_risk]
    if not known:
        return say("A picture without a line: in no whole month was a customer at risk of being lost.")
    worst, pace = max(known, key=lambda one: one.ratio), cohort.pace
    changes = listed([f"{mark.number} {mark.what}" for mark in marked])
    return plural(
        "Line of the share of customers lost in each month from {first} to {last}: highest in {worst} with {most}, "
        "over {n} month {pace} a month.",
        "Line of the share of customers lost in each month from {first} to {last}: highest in {worst} with {most}, "
        "over {n} months {pace} a month.",
        pace.months, first=month(known[0].month), last=month(known[-1].month), worst=month(worst.month),
        most=share(worst.ratio), pace=told(pace.monthly, currency=cohort.currency),
    ) + (" " + say("Marked changes: {changes}.", changes=changes) if marked else "")  # fmt: skip


def _caption(cohort: Cohort, marked: Sequence[Mark], *, young: int) -> str:
    few = sum(1 for one, month in zip(_shares(cohort), cohort.months, strict=True)
              if one.value is None and month.at_risk)  # fmt: skip
    late = cohort.pace.unsettled
    numbers = later("; numbers: changes of the company")
    numbers = later("; numbers: the last changes of the company") if len(marked) == MARKS else numbers
    normal, alarm = (share(limit, digits=0) for limit in (NORMAL_BELOW, ALARM_ABOVE))
    about = [say(
        "Of those who were customers in the month. Light: {level} intervals; dashed: what makes {normal} and {alarm} a "
        "year{numbers}.",
        level=share(cohort.level, digits=0), normal=normal, alarm=alarm, numbers=say(numbers) if marked else "",
    )]  # fmt: skip
    if late:
        about.append(plural("Dotted: the last {n} month, in which some are only late; the pace leaves them out.",
                            "Dotted: the last {n} months, in which some are only late; the pace leaves them out.",
                            late))  # fmt: skip
    if young > 1:
        about.append(plural("Left out: {n} month before the first loss.",
                            "Left out: {n} months before the first loss.", young))  # fmt: skip
    if few:
        about.append(say("Months with fewer than {fewest} customers are not drawn ({n}).", fewest=FEWEST, n=few))
    return " ".join(about)
