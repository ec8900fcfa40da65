"""The picture of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, starmap
from textwrap import fill
from typing import TYPE_CHECKING

from experiments.drawing import Picture, axis, both, canvas, colours, title
from experiments.estimands import METRICS
from experiments.grid import Setting, Sweep
from experiments.language import later, numerals, plural, say
from experiments.objectives import OBJECTIVES
from experiments.words import interval, listed, named, told

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = 6  # more cannot be read; the table has them all
NAMES = {  # of the parameters that are swept most; others stand as they are written
    "objective": later("objective"),
    "horizon_months": later("horizon months"),
    "window_months": later("window months"),
    "discount_rate": later("discount rate"),
    "retained_value": later("retained value"),
    "minimum_returned": later("minimum returned"),
    "tolerance": later("tolerance"),
    "level": later("level"),
}
LONGEST = 12  # letters of a line below a tick
SIDE = 0.08  # of the way to the next value: offers stand beside each other


def words(parameter: str) -> str:
    """Return a parameter's name as people write it."""
    return say(NAMES[parameter]) if parameter in NAMES else parameter.replace("_", " ")


def over_settings(sweep: Sweep) -> Picture:
    """Show what decides, of every offer, over the first swept parameter; a panel for each value of the others."""
    panels = _panels(sweep)[:PANELS]
    labels = list(dict.fromkeys(arm.label for setting in sweep.settings for arm in setting.readout.offers))
    palette = dict(zip(labels, colours(len(labels)), strict=True))

    def draw(*, narrow: bool) -> Figure:
        across = 1 if narrow else min(len(panels), 3)
        down = -(-len(panels) // across)
        figure = canvas(narrow=narrow, height=2.9 * down + 0.6)
        axes = figure.subplots(down, across, squeeze=False, sharey=True).ravel()
        for ax, (name, settings) in zip(axes, panels, strict=False):
            _lines(ax, sweep, settings, palette)
            title(ax, name or METRICS[sweep.metric].label, narrow=narrow)
        for ax in axes[len(panels) :]:
            ax.remove()
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=2 if narrow else 4, frameon=False)
        return figure

    texts = [
        named(", ".join(starmap(_setting, setting.parameters.items())), ", ".join(
            f"{arm.label} {told(arm.estimates[sweep.metric], currency=setting.readout.currency)} "
            f"({interval(arm.estimates[sweep.metric], currency=setting.readout.currency)})"
            for arm in setting.readout.offers if sweep.metric in arm.estimates
        ))
        for _, settings in panels for setting in settings
    ]  # fmt: skip
    label, more = METRICS[sweep.metric].label, len(_panels(sweep)) - len(panels)
    caption = [say("{metric} of every offer over {settings}. Bars are intervals, each alone.", metric=label,
                   settings=words(sweep.over[0]))]  # fmt: skip
    if more:
        caption.append(plural("{n} more panel is left out; the table has every setting.",
                              "{n} more panels are left out; the table has every setting.", more))  # fmt: skip
    return both(
        draw,
        alt=say("{metric} of every offer over {settings}. {values}.", metric=label, values="; ".join(texts),
                settings=listed([*map(words, sweep.over)])),
        caption=" ".join(caption),
    )  # fmt: skip


def _panels(sweep: Sweep) -> list[tuple[str, list[Setting]]]:
    """Return the settings by the parameters after the first, with a name for each panel."""

    def name(setting: Setting) -> str:
        return ", ".join(starmap(_setting, list(setting.parameters.items())[1:]))

    ordered = sorted(sweep.settings, key=lambda setting: [name(s) for s in sweep.settings].index(name(setting)))
    return [(key, list(group)) for key, group in groupby(ordered, key=name)]


def in_words(parameter: str, value: object) -> str:
    """Return a parameter's value as people write it; an objective by its name."""
    if parameter == "objective" and value in OBJECTIVES:
        return say(OBJECTIVES[str(value)].goal)
    return numerals(f"{value:g}") if isinstance(value, float) else str(value)


def _setting(parameter: str, value: object) -> str:
    return f"{words(parameter)} {in_words(parameter, value)}"


def _lines(ax: Axes, sweep: Sweep, settings: Sequence[Setting], palette: dict[str, str]) -> None:
    first, metric = sweep.over[0], METRICS[sweep.metric]
    values = sweep.values(first)
    for number, (label, colour) in enumerate(palette.items()):
        found = [
            (values.index(setting.parameters[first]), arm.estimates[sweep.metric])
            for setting in settings for arm in setting.readout.offers
            if arm.label == label and sweep.metric in arm.estimates
        ]  # fmt: skip
        points = [(place, one.value, one.low, one.high) for place, one in found if one.value is not None]
        beside = SIDE * (number - (len(palette) - 1) / 2)
        ax.plot([place + beside for place, *_ in points], [value for _, value, *_ in points], "o-", color=colour, ms=5,
                lw=1.4, label=label)  # fmt: skip
        for place, _, low, high in points:
            if low is not None and high is not None:
                ax.plot([place + beside] * 2, [low, high], color=colour, lw=1.4)
    ax.set_xticks(
        range(len(values)), [fill(in_words(first, value), LONGEST, break_long_words=False) for value in values]
    )
    ax.set_xlim(-0.4, len(values) - 0.6)
    ax.set_xlabel(words(first))
    axis(ax, metric.unit, settings[0].readout.currency, which="y")
