"""The picture of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import starmap
from textwrap import fill
from typing import TYPE_CHECKING

from experiments.common.formatting import interval, listed, named, told
from experiments.common.language import later, numerals, plural, say
from experiments.compare.sweep import Setting, Sweep
from experiments.metrics.objectives import OBJECTIVES
from experiments.report.plots import Picture, axis, both, canvas, colours, name, title
from experiments.report.wording.metrics import METRICS

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
    """Show what decides, of every offer, over a swept parameter; a panel for each value of the others.

    What decides may be swept too: then each panel shows its own metric.
    """
    along = next((parameter for parameter in sweep.over if parameter != "objective"), "objective")
    found, several = _panels(sweep, along), len(sweep.metrics) > 1
    panels = found[:PANELS]
    labels = list(dict.fromkeys(arm.label for setting in sweep.settings for arm in setting.readout.offers))
    palette = dict(zip(labels, colours(len(labels)), strict=True))

    def draw(*, narrow: bool) -> Figure:
        across = 1 if narrow else min(len(panels), 3)
        down = -(-len(panels) // across)
        figure = canvas(narrow=narrow, height=2.9 * down + 0.6)
        axes = figure.subplots(down, across, squeeze=False, sharey=not several).ravel()
        for ax, (metric, panel, settings) in zip(axes, panels, strict=False):
            _lines(ax, settings, along, sweep.values(along), palette)
            title(ax, panel or METRICS[metric].label, narrow=narrow)
            if several and panel:
                ax.set_ylabel(METRICS[metric].label)
        for ax in axes[len(panels) :]:
            ax.remove()
        handles, offers = axes[0].get_legend_handles_labels()
        offers = [name(offer, narrow=narrow) for offer in offers]
        figure.legend(handles, offers, loc="outside lower center", ncols=2 if narrow else 4, frameon=False)
        return figure

    texts = [
        named(", ".join(starmap(_setting, setting.parameters.items())), ", ".join(
            f"{arm.label} {told(arm.estimates[metric], currency=setting.readout.currency)} "
            f"({interval(arm.estimates[metric], currency=setting.readout.currency)})"
            for arm in setting.readout.offers if metric in arm.estimates
        ))
        for metric, _, settings in panels for setting in settings
    ]  # fmt: skip
    label, more = listed([METRICS[metric].label for metric in sweep.metrics]), len(found) - len(panels)
    caption = [say("{metric} of every offer over {settings}. Bars are intervals, each alone.", metric=label,
                   settings=words(along))]  # fmt: skip
    if more:
        caption.append(plural("{n} more panel is left out; the table has every setting.",
                              "{n} more panels are left out; the table has every setting.", more))  # fmt: skip
    return both(
        draw,
        alt=say("{metric} of every offer over {settings}. {values}.", metric=label, values="; ".join(texts),
                settings=listed([*map(words, sweep.over)])),
        caption=" ".join(caption),
    )  # fmt: skip


def _panels(sweep: Sweep, along: str) -> list[tuple[str, str, list[Setting]]]:
    """Return the settings by what decides and the parameters not shown along the axis, each with metric and name."""
    panels: dict[tuple[str, str], list[Setting]] = {}
    for setting in sweep.settings:
        panel = ", ".join(starmap(_setting, (pair for pair in setting.parameters.items() if pair[0] != along)))
        panels.setdefault((setting.metric, panel), []).append(setting)
    return [(*key, settings) for key, settings in panels.items()]


def in_words(parameter: str, value: object) -> str:
    """Return a parameter's value as people write it; an objective by its name."""
    if parameter == "objective" and value in OBJECTIVES:
        return say(OBJECTIVES[str(value)].goal)
    return numerals(f"{value:g}") if isinstance(value, float) else str(value)


def _setting(parameter: str, value: object) -> str:
    return f"{words(parameter)} {in_words(parameter, value)}"


def _lines(ax: Axes, settings: Sequence[Setting], along: str, every: Sequence[object], palette: dict[str, str]) -> None:
    here, metric = [setting.parameters[along] for setting in settings], settings[0].metric
    values = [value for value in every if along != "objective" or value in here]
    for number, (label, colour) in enumerate(palette.items()):
        found = [
            (values.index(setting.parameters[along]), arm.estimates[metric])
            for setting in settings for arm in setting.readout.offers
            if arm.label == label and metric in arm.estimates
        ]  # fmt: skip
        points = [(place, one.value, one.low, one.high) for place, one in found if one.value is not None]
        beside = SIDE * (number - (len(palette) - 1) / 2)
        ax.plot([place + beside for place, *_ in points], [value for _, value, *_ in points], "o-", color=colour, ms=5,
                lw=1.4, label=label)  # fmt: skip
        for place, _, low, high in points:
            if low is not None and high is not None:
                ax.plot([place + beside] * 2, [low, high], color=colour, lw=1.4)
    ticks = [fill(in_words(along, value), LONGEST, break_long_words=False) for value in values]
    ax.set_xticks(range(len(values)), ticks)
    ax.set_xlim(-0.4, len(values) - 0.6)
    ax.set_xlabel(words(along))
    axis(ax, METRICS[metric].unit, settings[0].readout.currency, which="y")
