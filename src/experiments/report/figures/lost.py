"""Pictures of the lost customers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from math import nan
from textwrap import fill
from typing import TYPE_CHECKING, Any, NamedTuple

from experiments.common.estimate import Estimate
from experiments.common.formatting import behind, count, interval, large, listed, month, month_name, share, told
from experiments.common.language import later, plural, say
from experiments.lost.results import (
    ALARM_ABOVE,
    NORMAL_BELOW,
    PRIORITIES,
    YEAR,
    Cohort,
    CustomerGroup,
    MatrixCell,
    Reason,
)
from experiments.report.plots import (
    BEST,
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
from experiments.report.wording import lost as wording
from experiments.stats.intervals import proportion

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

FEWEST = 20  # customers at risk, below whom a month's share says nothing
SMALL = 5  # customers, below whom those who began together are too few to follow
MARKS = 8  # changes that are marked on the curve
WORDS = 4  # changes up to which the marks are named, else numbered
STARTS = 24  # rows of the triangle; more months are joined to quarters, then to years
BARS = 10  # reasons with a bar
LABEL = 20  # letters of a line of the name of a bar on a phone
HEIGHT = 4.2  # inches of the curve
WARN = "#7d5200"
FAMILIES = {"company": COLOURS[0], "competitor": COLOURS[1], "customer": COLOURS[2]}
# From first to let go, dark to light: the order can be seen without colours. Ground, words.
CLASSES = {
    "first": ("#0b5a78", "#ffffff"),
    "must": ("#8fc1d4", INK),
    "possible": ("#dcecf2", INK),
    "let_go": ("#f7f5f0", INK),
}
IMPORTANCE = {"A": later("A: most revenue"), "B": "B", "C": later("C: least revenue")}
REGULARITY = {"X": later("X: regular"), "Y": "Y", "Z": later("Z: seldom")}
WHOSE = {"company": later("company"), "competitor": later("competitor"), "customer": later("customer")}


def plain(text: str, *, at_most: int = 26) -> str:
    r"""Return a text from the data as a picture can show it: one line, not too long, never a formula.

    >>> print(plain("costs $5 or $6,\n they said, and so on"))
    costs \$5 or \$6, they said…
    """
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    short = line if len(line) <= at_most else line[: at_most - 1].rstrip() + "…"
    return short.replace("$", r"\$")


# ---- the loss by month


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

    return both(draw, alt=_told_months(cohort, marked), caption=_about_months(cohort, marked, young=young))


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
    first, end = _number(cohort.months[0].month), len(cohort.months) - 0.5
    placed = [
        Mark(number, change.at.year * YEAR + change.at.month - first + (change.at.day - 1) / 31 - 0.5, change.what)
        for number, change in enumerate(cohort.changes, 1)
    ]
    return [mark for mark in placed if abs(mark.x - (end - 0.5) / 2) <= (end + 0.5) / 2][-MARKS:]


def _number(month: str) -> int:
    """Return a month, such as 2023-05, as a number of months."""
    return int(month[:4]) * YEAR + int(month[5:])


def _changes(ax: Axes, marked: Sequence[Mark], *, narrow: bool) -> None:
    """Draw a line for every change, with its words on a line of their own, or with its number."""
    (left, right), top = ax.get_xlim(), ax.get_ylim()[1]
    inch = (right - left) / (2 if narrow else 6)  # of the axis
    words = len(marked) <= WORDS and not narrow
    labels = _worded(marked, inch, ends=(left, right)) if words else _numbered(marked, inch)
    for mark in marked:
        ax.plot([mark.x, mark.x], [0, top], color=QUIET, lw=1, ls=":", zorder=1)
    for x, label, side, level in labels:
        if words:
            pole = {"arrowstyle": "-", "color": QUIET, "lw": 0.7, "shrinkA": 0, "shrinkB": 0}
            up = LINE * (level + 1)
            ax.annotate("", (x, top), xytext=(0, up), textcoords="offset points", arrowprops=pole)
        ax.annotate(label, (x, top), xytext=({"left": 3, "right": -3}.get(side, 0), LINE * level + 4), ha=side,
                    va="bottom", textcoords="offset points", fontsize=10, fontweight="bold", zorder=5,
                    bbox={"facecolor": "#ffffff", "edgecolor": "none", "pad": 0.5})  # fmt: skip
    free = LINE * (1 + max((level for *_, level in labels), default=-1)) / (72 * (HEIGHT - OUTSIDE))
    ax.set_ylim(0, top / (1 - free))


Label = tuple[float, str, str, int]  # place, text, how it is aligned there, level above the axis


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
        (mark.x, text, "left" if place < first else "right", level)
        for place, (mark, text, level) in enumerate(zip(marked, texts, levels, strict=True))
    ]


def _numbered(marked: Sequence[Mark], inch: float) -> list[Label]:
    """Return the numbers of changes; one label for those whose numbers would meet.

    >>> _numbered([Mark(1, 0.0, ""), Mark(2, 0.5, ""), Mark(3, 4.0, "")], 2.5)
    [(0.25, '1–2', 'center', 0), (4.0, '3', 'center', 0)]
    """
    near = inch * (0.25 + LETTER * max((len(str(mark.number)) for mark in marked), default=0))
    groups: list[list[Mark]] = []
    for mark in marked:
        if groups and mark.x - groups[-1][-1].x < near:
            groups[-1].append(mark)
        else:
            groups.append([mark])
    return [(sum(mark.x for mark in group) / len(group), _from_to(group), "center", 0) for group in groups]


def _from_to(group: Sequence[Mark]) -> str:
    return "–".join(dict.fromkeys((str(group[0].number), str(group[-1].number))))


def _ticks(ax: Axes, months: Sequence[str], *, narrow: bool) -> None:
    """Name months, the year below the first and each January; as many as there is room for."""
    room = 5 if narrow else 12
    step = next((step for step in (1, 2, 3, 6, 12, 24, 60) if len(months) / step <= room), 120)
    wanted = [place for place, month in enumerate(months) if (_number(month) - 1) % step == 0] or [0]
    labels: list[str] = []
    for place in wanted:
        here = int(months[place][5:])
        labels.append(month_name(here) + (f"\n{months[place][:4]}" if not labels or here == 1 else ""))
    ax.set_xticks(wanted, labels)


def _told_months(cohort: Cohort, marked: Sequence[Mark]) -> str:
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


def _about_months(cohort: Cohort, marked: Sequence[Mark], *, young: int) -> str:
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


# ---- from lost to contactable


def waterfall(cohort: Cohort) -> Picture:
    """Show how many of the lost can be contacted, and why the others cannot."""
    taken = [(say(wording.FLAGS[step.name]), step.customers, step.left) for step in cohort.steps if step.customers]
    rows = [(say("Lost"), cohort.lost, 0), *taken, (say("Can be contacted now"), cohort.contactable, 0)]
    paint = [COLOURS[0], *[QUIET] * len(taken), BEST]

    def draw(*, narrow: bool) -> Figure:
        figure = canvas(narrow=narrow, height=0.42 * len(rows) + 0.9)
        ax = figure.subplots()
        for place, ((_, customers, left), colour) in enumerate(zip(rows, paint, strict=True)):
            ax.barh(place, customers, left=left, height=0.62, color=colour)
            label = f"− {count(customers)}" if colour == QUIET else count(customers)
            ax.annotate(label, (left + customers, place), xytext=(5, 0), textcoords="offset points", va="center",
                        color=colour, fontweight="bold")  # fmt: skip
        names = [fill(name, LABEL) if narrow else name for name, *_ in rows]
        ax.set_yticks(range(len(rows)), names, fontsize=9 if narrow else 11)
        ax.invert_yaxis()
        ax.set_xlim(0, max(cohort.lost, 1) * (1.45 if narrow else 1.12))
        ax.set_title(say("Lost customers"))
        axis(ax, "count", ticks=2 if narrow else 5)
        return figure

    out = listed([f"{name.lower()} {count(customers)}" for name, customers, _ in taken])
    kept = share(cohort.contactable / cohort.lost if cohort.lost else 0.0)
    bars = say("Bars from {lost} lost customers down to {contactable} who can be contacted now.", lost=cohort.lost,
               contactable=cohort.contactable)  # fmt: skip
    return both(
        draw,
        alt=bars + " " + (say("Not contacted: {names}.", names=out) if taken else say("Nobody is taken out.")),
        caption=say("{share} of the lost can be contacted now. Taken out for several reasons: counted at the first.",
                    share=kept),
    )  # fmt: skip


# ---- whom first


def matrix(cohort: Cohort) -> Picture:
    """Show how many lost customers are in each cell of importance and regularity, and which class the cell is."""
    cells = {(cell.abc, cell.xyz): cell for cell in cohort.matrix}

    def draw(*, narrow: bool) -> Figure:
        figure = canvas(narrow=narrow, height=3.9 if narrow else 3.7)
        ax = figure.subplots()
        for row, abc in enumerate(IMPORTANCE):
            for column, xyz in enumerate(REGULARITY):
                if (abc, xyz) in cells:
                    _cell(ax, cells[abc, xyz], at=(column, row), cohort=cohort, narrow=narrow)
        ax.set(xlim=(-0.5, 2.5), ylim=(2.5, -0.5))
        ax.set_xticks(range(3), [_either(text) for text in REGULARITY.values()])
        ax.set_yticks(range(3), IMPORTANCE if narrow else [_either(text) for text in IMPORTANCE.values()])
        ax.xaxis.tick_top()
        ax.tick_params(length=0, colors=INK)
        for side in ax.spines.values():
            side.set_visible(False)
        return figure

    words = []
    for name, label in wording.PRIORITIES.items():
        of_class = [cell for cell in cohort.matrix if cell.priority == name]
        worth = large(sum(cell.worth for cell in of_class), cohort.currency)
        words.append(say("{label}: {n} lost, {worth} a year", label=say(label),
                         n=sum(cell.lost for cell in of_class), worth=worth))  # fmt: skip
    return both(
        draw,
        alt=say("Nine cells of importance (A to C) by regularity (X to Z), in four classes. {classes}.",
                classes="; ".join(words)),
        caption=say(
            "In each cell its class, its lost customers, and the money they brought a year. The darker, the earlier: "
            "1 First, 2 Must, 3 If possible, 4 Let go. A brings most revenue, C least. Money in {currency}.",
            currency=cohort.currency,
        ),
    )  # fmt: skip


def _either(text: str) -> str:
    """Return the words of a row or column; a letter alone is the same in every language."""
    return say(text) if len(text) > 1 else text


def _cell(ax: Axes, cell: MatrixCell, *, at: tuple[int, int], cohort: Cohort, narrow: bool) -> None:
    from matplotlib.patches import Rectangle

    ground, ink = CLASSES[cell.priority]
    (x, y), half = at, 0.485
    ax.add_patch(Rectangle((x - half, y - half), 2 * half, 2 * half, facecolor=ground, edgecolor="#b9c4ca", lw=0.8))
    place = PRIORITIES.index(cell.priority) + 1
    worth = plain(large(cell.worth, cohort.currency))
    lost = later("{lost} lost") if narrow else later("{lost} of {customers} lost")
    lines = (
        (f"{place} {say(wording.PRIORITIES[cell.priority])}", "bold"),
        (say(lost, lost=cell.lost, customers=cell.customers), "normal"),
        (worth.removesuffix(behind(cohort.currency)) if narrow else say("{worth} a year", worth=worth), "normal"),
    )
    for down, (words, weight) in zip((-0.27, 0.02, 0.28), lines, strict=True):
        ax.text(
            x, y + down, words, ha="center", va="center", color=ink, fontweight=weight, fontsize=8 if narrow else 11
        )


# ---- why


def reasons(cohort: Cohort) -> Picture:
    """Show the money lost a year by reason, and whose doing the reason is."""
    rows = sorted(cohort.reasons, key=lambda reason: -reason.worth)[:BARS]

    def draw(*, narrow: bool) -> Figure:
        figure = canvas(narrow=narrow, height=0.5 * len(rows) + 0.9)
        ax = figure.subplots()
        for place, reason in enumerate(rows):
            colour = FAMILIES.get(reason.family, QUIET)
            ax.barh(place, reason.worth, height=0.6, color=colour)
            label, end = f"{plain(large(reason.worth, cohort.currency))}\n{whose(reason)}", max(reason.worth, 0.0)
            ax.annotate(label, (end, place), xytext=(5, 0), textcoords="offset points", va="center", color=colour,
                        fontsize=10)  # fmt: skip
        names = [plain(reason.name, at_most=17 if narrow else 34) for reason in rows]
        ax.set_yticks(range(len(rows)), names, fontsize=10 if narrow else 11)
        ax.invert_yaxis()
        most = max([reason.worth for reason in rows], default=0.0) or 1.0
        ax.set_xlim(0, most * (1.75 if narrow else 1.2))
        ax.set_title(say("Money lost a year"))
        ax.xaxis.set_visible(False)  # each bar has its number
        ax.spines["bottom"].set_visible(False)
        return figure

    texts = [f"{reason.name} ({whose(reason)}) {large(reason.worth, cohort.currency)}" for reason in rows]
    more = ""
    if len(cohort.reasons) > len(rows):
        more = " " + say("The {shown} that cost most of {all}.", shown=len(rows), all=len(cohort.reasons))
    about = say("Money that the customers brought a year, and whose doing the reason is. A customer with several "
                "reasons is in several bars, so they add up to more than all.")  # fmt: skip
    return both(
        draw,
        alt=say("Bars of the money a year that left, by reason: {reasons}.", reasons="; ".join(texts)),
        caption=f"{about}{more}",
    )


def whose(reason: Reason) -> str:
    """Return the family of a reason in a word."""
    return say(WHOSE.get(reason.family, "not known"))


# ---- where


def spread(cohort: Cohort, groups: Sequence[CustomerGroup]) -> Picture:
    """Show the share lost of every manager with its interval, the highest first, against the whole company."""
    rows, mean = sorted(groups, key=lambda group: -(group.ratio.value or 0.0)), cohort.lost_share.value or 0.0
    unlike = {group.name for group in rows if differs(group, mean, of=len(rows))}

    def draw(*, narrow: bool) -> Figure:
        figure = canvas(narrow=narrow, height=0.34 * len(rows) + 1.3)
        ax = figure.subplots()
        for place, group in enumerate(rows):
            ratio, colour = group.ratio, INK if group.name in unlike else QUIET
            ax.plot([ratio.low or 0.0, ratio.high or 0.0], [place, place], color=colour, lw=2.2, solid_capstyle="butt")
            ax.plot(ratio.value or 0.0, place, "o", color=colour, ms=7)
        ax.axvline(mean, color=COLOURS[1], lw=1.5, zorder=1)
        ax.annotate(say("all customers {share}", share=share(mean)), (mean, -0.6), xytext=(0, 3),
                    textcoords="offset points", va="bottom", color=COLOURS[1], fontweight="bold", fontsize=10,
                    ha=_side(mean, ax.get_xlim()))  # fmt: skip
        ax.set_yticks(range(len(rows)), [plain(group.name, at_most=17 if narrow else 32) for group in rows])
        ax.set_ylim(len(rows) - 0.4, -0.6)
        ax.set_title(say("Share lost, by manager"), pad=22)
        axis(ax, "share", ticks=3 if narrow else 6)
        return figure

    texts = [
        f"{group.name} {told(group.ratio, currency=cohort.currency)} "
        f"({interval(group.ratio, currency=cohort.currency)})"
        for group in rows
    ]
    return both(
        draw,
        alt=say("Dots with intervals of the share lost by manager, all customers {share}: {rows}.", share=share(mean),
                rows="; ".join(texts)),
        caption=_honest(cohort, rows, unlike),
    )  # fmt: skip


def differs(group: CustomerGroup, mean: float, *, of: int) -> bool:
    """Tell whether a group's share differs from the whole company's though `of` groups are looked at (Bonferroni)."""
    bounds = proportion(group.lost, group.customers, level=1 - (1 - group.ratio.level) / of)
    return bounds.low is not None and bounds.high is not None and not bounds.low <= mean <= bounds.high


def _honest(cohort: Cohort, rows: Sequence[CustomerGroup], unlike: Collection[str]) -> str:
    found = (
        say("Dark: {n} whose share differs from the company's even when all {all} are looked at at once.",
            n=len(unlike), all=len(rows))
        if unlike
        else say("No manager differs from the company when all {all} are looked at at once.", all=len(rows))
    )  # fmt: skip
    return say(
        "Bars are {level} intervals. {found} Where intervals overlap, the order says nothing; and a manager with "
        "harder customers loses more.",
        level=share(cohort.level, digits=0), found=found,
    )  # fmt: skip


def _side(x: float, ends: tuple[float, float]) -> str:
    """Return how words at x are aligned so that they stay within the ends."""
    part = (x - ends[0]) / (ends[1] - ends[0]) if ends[1] > ends[0] else 0.5
    return "left" if part < 1 / 3 else "right" if part > 2 / 3 else "center"


# ---- how they leave


class Start(NamedTuple):
    """Customers who began together, and how many of them were not lost so many months later."""

    name: str
    customers: int
    staying: tuple[int, ...]


def survival(cohort: Cohort) -> Picture:
    """Show, for the customers who began together, the share not lost so many months later."""
    rows = joined(cohort)
    width = max(len(row.staying) for row in rows)

    def draw(*, narrow: bool) -> Figure:
        import numpy as np

        shares = np.full((len(rows), width), np.nan)
        for place, row in enumerate(rows):
            shares[place, : len(row.staying)] = np.array(row.staying) / row.customers
        figure = canvas(narrow=narrow, height=0.27 * len(rows) + 1.5)
        ax = figure.subplots()
        low = min(0.9, float(np.floor(10 * np.nanmin(shares)) / 10))
        image = ax.imshow(shares, cmap="cividis", vmin=low, vmax=1, aspect="auto", interpolation="none")
        _numbers(ax, shares, low=low, narrow=narrow)
        names = [row.name if narrow else f"{row.name} ({count(row.customers)})" for row in rows]
        ax.set_yticks(range(len(rows)), names, fontsize=9)
        ax.set_xticks(range(0, width, _stride(width, narrow=narrow)))
        ax.set_xlabel(say("Months since they began"))
        ax.set_title(say("Share not lost"))
        bar = figure.colorbar(image, ax=ax, shrink=0.8, pad=0.02, orientation="horizontal" if narrow else "vertical")
        axis(bar.ax, "share", which="x" if narrow else "y", ticks=2 if narrow else 4)
        bar.ax.grid(visible=False)
        return figure

    return both(draw, alt=_told_survival(rows), caption=_about_survival(cohort, rows))


def _stride(width: int, *, narrow: bool) -> int:
    """Return every how many months something is written."""
    return next((step for step in (1, 3, 6, 12, 24) if width / step <= (6 if narrow else 14)), 60)


def _numbers(ax: Axes, shares: NDArray[Any], *, low: float, narrow: bool) -> None:
    """Write the percent into some of the months: as many as stay readable."""
    import numpy as np

    stride = max(3, _stride(shares.shape[1], narrow=narrow))
    for row, column in np.argwhere(np.isfinite(shares)):
        if column and column % stride == 0:
            light, last = shares[row, column] > (low + 1) / 2, column == np.isfinite(shares[row]).sum() - 1
            within = last and shares.shape[1] > STARTS  # a number is wider than such a cell
            ax.text(column + (0.4 if within else 0), row, count(100 * shares[row, column]), va="center", fontsize=8,
                    ha="right" if within else "center", color=INK if light else "#ffffff")  # fmt: skip


def joined(cohort: Cohort) -> list[Start]:
    """Return those who began together: by month, where there are many by quarter, then by year.

    Joined months are followed as long as the youngest of them; fewer than SMALL customers are left out.
    """
    triangle = cohort.triangle
    starts = [Start(*row) for row in zip(triangle.starts, triangle.customers, triangle.staying, strict=True) if row[2]]
    rows: list[Start] = []
    for name in (month, _quarter, _year):
        groups = [(key, list(group)) for key, group in groupby(starts, key=lambda start: name(start.name))]
        rows = [row for key, group in groups if (row := _together(key, group)).customers >= SMALL]
        if len(rows) <= STARTS:
            break
    return rows[-STARTS:]


def _together(name: str, starts: Sequence[Start]) -> Start:
    length = min(len(start.staying) for start in starts)
    staying = tuple(sum(start.staying[month] for start in starts) for month in range(length))
    return Start(name, sum(start.customers for start in starts), staying)


def _quarter(month: str) -> str:
    first = (int(month[5:]) - 1) // 3 * 3
    return f"{month_name(first + 1)}–{month_name(first + 3)} {month[:4]}"


def _year(month: str) -> str:
    return month[:4]


def _told_survival(rows: Sequence[Start]) -> str:
    about = say("Heat map of the share of customers not lost, by when they began.")
    after = min(YEAR, max(len(row.staying) for row in rows) - 1)
    known = [(row.name, share(row.staying[after] / row.customers)) for row in rows if len(row.staying) > after]
    (first, early), (last, late) = known[0], known[-1]
    if last == first:
        more = plural("After {n} month {early} of those who began in {first} are not lost.",
                      "After {n} months {early} of those who began in {first} are not lost.",
                      after, early=early, first=first)  # fmt: skip
    else:
        more = plural(
            "After {n} month {early} of those who began in {first} are not lost, {late} of those who began in {last}.",
            "After {n} months {early} of those who began in {first} are not lost, {late} of those who began in {last}.",
            after, early=early, first=first, late=late, last=last,
        )  # fmt: skip
    return f"{about} {more}"


def _about_survival(cohort: Cohort, rows: Sequence[Start]) -> str:
    rest = sum(cohort.triangle.customers) - sum(row.customers for row in rows)
    about = say(
        "Each row: customers who began together, and how many they were. Numbers: percent of them not lost so many "
        "months later. A column from top to bottom tells whether newer customers stay longer."
    )
    more = " " + say("Not shown, for they began earlier or are too few: {n}.", n=rest) if rest else ""
    return f"{about}{more}"
