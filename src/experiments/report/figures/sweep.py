"""The picture of a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import starmap
from textwrap import fill
from typing import TYPE_CHECKING

from experiments.common.formatting import listed, named, with_interval
from experiments.common.language import later, numerals, plural, say
from experiments.compare.sweep import Setting, Sweep
from experiments.metrics.objectives import OBJECTIVES
from experiments.report.plots import Picture, axis, both, canvas, colours, name, points, title
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A part of the picture: the settings that are alike but for the parameter along the axis."""

    metric: str  # what decides in them
    name: str  # the values of the other parameters; "" where there are none
    settings: tuple[Setting, ...]


def over_settings(sweep: Sweep) -> Picture:
    """Show what decides, of every offer, over a swept parameter; a panel for each value of the others.

    What decides may be swept too: then each panel shows its own metric.
    """
    along = next((parameter for parameter in sweep.over if parameter != "objective"), "objective")
    every, several = _panels(sweep, along), len(sweep.metrics) > 1
    panels = every[:PANELS]
    labels = list(dict.fromkeys(arm.label for setting in sweep.settings for arm in setting.readout.offers))
    palette = dict(zip(labels, colours(len(labels)), strict=True))

    def draw(*, narrow: bool) -> Figure:
        across = 1 if narrow else min(len(panels), 3)
        down = -(-len(panels) // across)
        figure = canvas(narrow=narrow, height=2.9 * down + 0.6)
        axes = figure.subplots(down, across, squeeze=False, sharey=not several).ravel()
        for ax, panel in zip(axes, panels, strict=False):
            _lines(ax, panel, along, sweep.values(along), palette)
            title(ax, panel.name or METRICS[panel.metric].label, narrow=narrow)
            if several and panel.name:
                ax.set_ylabel(METRICS[panel.metric].label)
        for ax in axes[len(panels) :]:
            ax.remove()
        handles, offers = axes[0].get_legend_handles_labels()
        offers = [name(offer, narrow=narrow) for offer in offers]
        figure.legend(handles, offers, loc="outside lower center", ncols=2 if narrow else 4, frameon=False)
        return figure

    metric, swept = listed([METRICS[metric].label for metric in sweep.metrics]), listed([*map(words, sweep.over)])
    values = "; ".join(_values(setting, panel.metric) for panel in panels for setting in panel.settings)
    alt = say("{metric} of every offer over {settings}. {values}.", metric=metric, values=values, settings=swept)
    about = later("{metric} of every offer over {settings}. Bars are intervals, each alone.")
    caption = say(about, metric=metric, settings=words(along))
    if more := len(every) - len(panels):
        caption += " " + plural(
            "{n} more panel is left out; the table has every setting.",
            "{n} more panels are left out; the table has every setting.",
            more,
        )
    return both(draw, alt=alt, caption=caption)


def _values(setting: Setting, metric: str) -> str:
    """Return what every offer does in a setting."""
    currency = setting.readout.currency
    values = [
        f"{arm.label} {with_interval(arm.estimates[metric], currency=currency)}"
        for arm in setting.readout.offers
        if metric in arm.estimates
    ]
    return named(", ".join(starmap(_setting, setting.parameters.items())), ", ".join(values))


def _panels(sweep: Sweep, along: str) -> list[Panel]:
    """Return the settings by what decides and by the parameters not shown along the axis."""
    panels: dict[tuple[str, str], list[Setting]] = {}
    for setting in sweep.settings:
        others = ", ".join(starmap(_setting, (pair for pair in setting.parameters.items() if pair[0] != along)))
        panels.setdefault((setting.metric, others), []).append(setting)
    return [Panel(metric=metric, name=name, settings=tuple(found)) for (metric, name), found in panels.items()]


def in_words(parameter: str, value: object) -> str:
    """Return a parameter's value as people write it; an objective by its name."""
    if parameter == "objective" and value in OBJECTIVES:
        return say(OBJECTIVES[str(value)].goal)
    return numerals(f"{value:g}") if isinstance(value, float) else str(value)


def _setting(parameter: str, value: object) -> str:
    return f"{words(parameter)} {in_words(parameter, value)}"


def _lines(ax: Axes, panel: Panel, along: str, every: Sequence[object], palette: Mapping[str, str]) -> None:
    here, metric = [setting.parameters[along] for setting in panel.settings], panel.metric
    values = [value for value in every if along != "objective" or value in here]
    for number, (label, colour) in enumerate(palette.items()):
        beside = SIDE * (number - (len(palette) - 1) / 2)
        found = {
            values.index(setting.parameters[along]) + beside: arm.estimates[metric]
            for setting in panel.settings
            for arm in setting.readout.offers
            if arm.label == label and metric in arm.estimates and arm.estimates[metric].value is not None
        }
        line = [estimate.value for estimate in found.values()]
        ax.plot([*found], line, "o-", color=colour, ms=5, lw=1.4, label=label)  # type: ignore[arg-type]  # None is out
        points(ax, [*found.values()], at=[*found], colour=colour, size=5, width=1.4, upright=True)
    ticks = [fill(in_words(along, value), LONGEST, break_long_words=False) for value in values]
    ax.set_xticks(range(len(values)), ticks)
    ax.set_xlim(-0.4, len(values) - 0.6)
    ax.set_xlabel(words(along))
    axis(ax, METRICS[metric].unit, panel.settings[0].readout.currency, which="y")
