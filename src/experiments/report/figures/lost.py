"""Pictures of the lost customers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import groupby
from textwrap import fill
from typing import TYPE_CHECKING, Any, NamedTuple

from experiments.common.formatting import behind, count, interval, large, listed, month, month_name, share, told
from experiments.common.language import later, plural, say
from experiments.lost.results import PRIORITIES, YEAR, Cohort, CustomerGroup, MatrixCell, Reason
from experiments.report.figures.lost_months import by_month, marks, plain
from experiments.report.plots import BEST, COLOURS, INK, QUIET, Picture, axis, both, canvas
from experiments.report.wording import lost as wording
from experiments.stats.intervals import proportion

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["by_month", "joined", "marks", "matrix", "plain", "reasons", "spread", "survival", "waterfall"]

SMALL = 5  # customers, below whom those who began together are too few to follow
STARTS = 24  # rows of the triangle; more months are joined to quarters, then to years
BARS = 10  # reasons with a bar
LABEL = 20  # letters of a line of the name of a bar on a phone
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


# ---- from lost to contactable


class Bar(NamedTuple):
    """A horizontal bar with words at its end."""

    name: str
    start: float
    length: float
    label: str
    colour: str


def _bars(
    bars: Sequence[Bar], *, narrow: bool, each: float, room: float, weight: str = "normal"
) -> tuple[Figure, Axes]:
    """Draw bars from top to bottom: `each` inches high, `room` times the longest wide for the words at their ends."""
    figure = canvas(narrow=narrow, height=each * len(bars) + 0.9)
    ax = figure.subplots()
    for place, bar in enumerate(bars):
        end = bar.start + max(bar.length, 0.0)
        ax.barh(place, bar.length, left=bar.start, height=0.6, color=bar.colour)
        ax.annotate(bar.label, (end, place), xytext=(5, 0), textcoords="offset points", va="center", color=bar.colour,
                    fontweight=weight)  # fmt: skip
    ax.set_yticks(range(len(bars)), [bar.name for bar in bars], fontsize=9 if narrow else 11)
    ax.invert_yaxis()
    ax.set_xlim(0, room * (max((bar.start + bar.length for bar in bars), default=0.0) or 1.0))
    return figure, ax


def waterfall(cohort: Cohort) -> Picture:
    """Show how many of the lost can be contacted, and why the others cannot."""
    taken = [(say(wording.FLAGS[step.name]), step.customers, step.left) for step in cohort.steps if step.customers]

    def draw(*, narrow: bool) -> Figure:
        bars = [
            Bar(say("Lost"), 0, cohort.lost, count(cohort.lost), COLOURS[0]),
            *(Bar(name, left, customers, f"− {count(customers)}", QUIET) for name, customers, left in taken),
            Bar(say("Can be contacted now"), 0, cohort.contactable, count(cohort.contactable), BEST),
        ]
        bars = [bar._replace(name=fill(bar.name, LABEL) if narrow else bar.name) for bar in bars]
        figure, ax = _bars(bars, narrow=narrow, each=0.42, room=1.45 if narrow else 1.12, weight="bold")
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
        bars = [
            Bar(
                plain(reason.name, at_most=17 if narrow else 34),
                0,
                reason.worth,
                f"{plain(large(reason.worth, cohort.currency))}\n{whose(reason)}",
                FAMILIES.get(reason.family, QUIET),
            )
            for reason in rows
        ]
        figure, ax = _bars(bars, narrow=narrow, each=0.5, room=1.75 if narrow else 1.2)
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
        caption=_spread_caption(cohort, rows, unlike),
    )  # fmt: skip


def differs(group: CustomerGroup, mean: float, *, of: int) -> bool:
    """Tell whether a group's share differs from the whole company's though `of` groups are looked at (Bonferroni)."""
    bounds = proportion(group.lost, group.customers, level=1 - (1 - group.ratio.level) / of)
    return bounds.low is not None and bounds.high is not None and not bounds.low <= mean <= bounds.high


def _spread_caption(cohort: Cohort, rows: Sequence[CustomerGroup], unlike: Collection[str]) -> str:
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

    return both(draw, alt=_survival_alt(rows), caption=_survival_caption(cohort, rows))


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


def _survival_alt(rows: Sequence[Start]) -> str:
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


def _survival_caption(cohort: Cohort, rows: Sequence[Start]) -> str:
    rest = sum(cohort.triangle.customers) - sum(row.customers for row in rows)
    about = say(
        "Each row: customers who began together, and how many they were. Numbers: percent of them not lost so many "
        "months later. A column from top to bottom tells whether newer customers stay longer."
    )
    more = " " + say("Not shown, for they began earlier or are too few: {n}.", n=rest) if rest else ""
    return f"{about}{more}"
