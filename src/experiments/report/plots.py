"""What pictures are drawn with: one style, axes in units, labels that do not meet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from experiments.common.formatting import PERCENT, count, money
from experiments.common.language import numerals

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from experiments.common.estimate import Estimate

INK, QUIET, GRID = "#18212f", "#5b6472", "#e3e6ea"
BEST, LOSS = "#0d6440", "#8f1d22"
COLOURS = ("#0b5a78", "#b4570b", "#6a3d9a", "#0d6440", "#a3215c", "#4d5b00", "#7a4b2b")
WIDE, NARROW = 9.0, 4.0  # inches
BESIDE = 0.15  # inches kept free on each side of a panel: the tick labels of neighbours do not meet
LETTER, LINE = 0.1, 15  # inches of a letter, points of a line
OUTSIDE = 1.0  # inches of a figure that its axes leave for what stands outside them
TITLE = 34  # letters of a line of a title on a phone
NAMES = 34, 16  # letters of a line of a name beside an axis, wide and on a phone: half of the width is for the axes
DOT = 0.2  # inches of a dot and a little air


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture in two widths, with its words."""

    figure: Figure
    narrow: Figure
    alt: str
    caption: str


class Draw(Protocol):
    """Draws a figure for a page or, narrow, for a phone."""

    def __call__(self, *, narrow: bool) -> Figure:
        """Return the figure."""


class Flag(NamedTuple):
    """A point that gets a label above it."""

    x: float
    top: float
    label: str
    colour: str


class End(NamedTuple):
    """The end of a line that gets a label beside it."""

    height: float
    label: str
    colour: str


def both(draw: Draw, *, alt: str, caption: str) -> Picture:
    """Return the picture in both widths."""
    with _style():
        return Picture(figure=draw(narrow=False), narrow=draw(narrow=True), alt=alt, caption=caption)


@contextmanager
def _style() -> Iterator[None]:
    import matplotlib as mpl
    import seaborn as sns

    ink = dict.fromkeys(("axes.labelcolor", "text.color", "ytick.color"), INK)
    quiet = dict.fromkeys(("axes.edgecolor", "xtick.color"), QUIET)
    sizes = {"font.size": 11, "axes.titlesize": 11, "xtick.major.pad": 6}
    titles = {"axes.titleweight": "bold", "axes.titlelocation": "left"}
    spines = {"axes.spines.top": False, "axes.spines.right": False}
    settings: dict[Any, Any] = ink | quiet | sizes | titles | spines | {"grid.color": GRID, "text.parse_math": False}
    with sns.axes_style("ticks"), mpl.rc_context(settings):
        yield


def canvas(*, narrow: bool, height: float) -> Figure:
    """Return an empty figure; `height` in inches."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    return Figure(figsize=(NARROW if narrow else WIDE, height), layout=ConstrainedLayoutEngine(w_pad=BESIDE))


def colours(count: int) -> tuple[str, ...]:
    """Return a colour for each of `count` things, again from the first where there are many."""
    return tuple(COLOURS[i % len(COLOURS)] for i in range(count))


def title(ax: Axes, text: str, *, narrow: bool) -> None:
    """Set the title, in several lines on a phone."""
    ax.set_title(fill(text, TITLE) if narrow else text)


def name(text: str, *, narrow: bool) -> str:
    """Return a name to stand beside an axis, in as many lines as leave the axes half of the width."""
    return fill(text, NAMES[narrow])


def key(figure: Figure, names: Mapping[str, str]) -> None:
    """Tell under the axes which name has which colour, and give the figure the height for it."""
    from matplotlib.lines import Line2D

    labels = [fill(text, round(figure.get_figwidth() / LETTER) - 6) for text in names]
    dots = [Line2D([], [], color=colour, marker="o", ls="", ms=8) for colour in names.values()]
    figure.set_figheight(figure.get_figheight() + LINE / 72 * (1 + sum(text.count("\n") + 1.4 for text in labels)))
    figure.legend(dots, labels, loc="outside lower left", labelcolor="linecolor", frameon=False)


def axis(ax: Axes, unit: str, currency: str = "", *, which: str = "x", ticks: int = 4) -> None:
    """Write the ticks of an axis in their unit, as many digits as they need, and draw its grid."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    def words(value: float, _: int | None = None) -> str:
        if unit == "money":
            return money(value, currency, digits=0 if value == round(value) else None)
        if unit == "count":
            return count(value)
        if unit in ("months", "times"):
            return numerals(f"{value:g}")
        return PERCENT.get(unit, PERCENT["share"])(value, _digits(100 * value))

    chosen = ax.xaxis if which == "x" else ax.yaxis
    chosen.set_major_locator(MaxNLocator(ticks))
    chosen.set_major_formatter(FuncFormatter(words))
    ax.grid(axis="x" if which == "x" else "y")
    ax.set_axisbelow(True)


def _digits(value: float) -> int:
    """Return the decimals of a number that has at most two."""
    return next((digits for digits in (0, 1) if round(value, digits) == round(value, 9)), 2)


def points(
    ax: Axes,
    estimates: Sequence[Estimate | None],
    *,
    at: Sequence[float] | None = None,
    colour: str | Sequence[str] = INK,
    size: float = 7,
    width: float = 2.2,
    upright: bool = False,
) -> None:
    """Draw estimates as dots on their intervals, one a row; nothing where there is no value, no bar without bounds.

    `at`: the place of each, by default 0, 1, 2, ...; `colour`: of all, or of each. `size` of a dot and `width` of a bar
    in points. `upright`: the values stand on the y axis, the places on the x axis.
    """
    places = range(len(estimates)) if at is None else at
    paint = [colour] * len(estimates) if isinstance(colour, str) else colour
    for place, estimate, tint in zip(places, estimates, paint, strict=True):
        if estimate is None or estimate.value is None:
            continue
        if estimate.low is not None and estimate.high is not None:
            bar = ([estimate.low, estimate.high], [place, place])
            ax.plot(*(reversed(bar) if upright else bar), color=tint, lw=width, solid_capstyle="butt")
        dot = (estimate.value, place)
        ax.plot(*(reversed(dot) if upright else dot), "o", color=tint, ms=size)


def zero(ax: Axes) -> None:
    """Draw the line of no effect where the axis passes it."""
    low, high = ax.get_xlim()
    if low < 0 < high:
        ax.axvline(0, color=INK, lw=1, zorder=1)


def apart(ends: Sequence[End], gap: float) -> Iterator[tuple[float, End]]:
    """Yield heights for labels that keep a distance, each as near to its own as can be, lowest first.

    >>> [height for height, _ in apart([End(1.0, "a", ""), End(9.0, "c", ""), End(2.0, "b", "")], 3.0)]
    [0.0, 3.0, 9.0]
    """

    def heights(group: list[End]) -> list[float]:
        middle = sum(end.height for end in group) / len(group)
        return [middle + gap * (place - (len(group) - 1) / 2) for place in range(len(group))]

    groups: list[list[End]] = []
    for end in sorted(ends):
        groups.append([end])
        while len(groups) > 1 and heights(groups[-1])[0] - heights(groups[-2])[-1] < gap:
            last = groups.pop()
            groups[-1] += last
    for group in groups:
        yield from zip(heights(group), group, strict=True)


def flags(ax: Axes, points: Sequence[Flag], *, size: tuple[float, float]) -> bool:
    """Label points above them, off the line of y = x; return False, with nothing drawn, where there is no room.

    Labels of near points fly from poles, each beyond the next: no pole crosses a label. Gives the axis the height that
    the labels need. `size`: of the figure, in inches.
    """
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    width, height = (length - OUTSIDE for length in size)
    longest = max((len(point.label) for point in points), default=0)
    room = LETTER * longest / width * (right - left)
    groups = list(_near(points, room))
    to_left = any(len(group) > 1 and group[-1].x + room > right for group in groups)
    spans = [_span(group, room, to_left=to_left) for group in groups]
    beyond = OUTSIDE / 2 / width * (right - left)
    if any(start < left or end > right + beyond for start, end in spans):
        return False
    free = [(5 + LINE * len(group)) / (72 * height) for group in groups]
    tall = (high - low) / (1 - max(free, default=0))
    tops = [max(point.top for point in group) for group in groups]
    crossed = [start <= top + share * tall for top, (start, _), share in zip(tops, spans, free, strict=True)]
    tops = [max(top, end) if line else top for top, (_, end), line in zip(tops, spans, crossed, strict=True)]
    for group, top in zip(groups, tops, strict=True):
        for step, point in enumerate(group if to_left else reversed(group)):
            side = "center" if len(group) == 1 else "right" if to_left else "left"
            _flag(ax, point, top=top, up=5 + LINE * step, side=side)
    ax.set_ylim(low, low + max([tall, *((top - low) / (1 - share) for top, share in zip(tops, free, strict=True))]))
    return True


def _span(group: Sequence[Flag], room: float, *, to_left: bool) -> tuple[float, float]:
    """Return where the labels of a group begin and end."""
    if len(group) == 1:
        return group[0].x - room / 2, group[0].x + room / 2
    return (group[0].x - room, group[-1].x) if to_left else (group[0].x, group[-1].x + room)


def _near(points: Sequence[Flag], room: float) -> Iterator[list[Flag]]:
    """Yield groups of points whose labels would meet on one line, from the left."""
    group: list[Flag] = []
    for point in sorted(points):
        if group and point.x - group[-1].x >= room:
            yield group
            group = []
        group.append(point)
    if group:
        yield group


def _flag(ax: Axes, point: Flag, *, top: float, up: float, side: str) -> None:
    if side != "center" or top > point.top:
        pole = {"arrowstyle": "-", "color": point.colour, "lw": 0.7, "shrinkA": 0, "shrinkB": 0}
        end = up if side == "center" else up + LINE / 2
        ax.plot([point.x, point.x], [point.top, top], color=point.colour, lw=0.7)
        ax.annotate("", (point.x, top), xytext=(0, end), textcoords="offset points", arrowprops=pole)
    shift = {"center": 0, "left": 3, "right": -3}[side]
    looks: dict[str, Any] = {"ha": side, "va": "bottom", "color": point.colour, "fontweight": "bold"}
    ax.annotate(point.label, (point.x, top), xytext=(shift, up), textcoords="offset points", **looks)
