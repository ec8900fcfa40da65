"""What metrics are called on a page, and what they mean, in its language."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.common.language import say
from experiments.metrics import estimates


@dataclass(frozen=True, slots=True)
class Spoken:
    """A metric in the language of the page."""

    of: estimates.Metric

    @property
    def label(self) -> str:
        """Its name."""
        return say(self.of.label)

    @property
    def unit(self) -> str:
        """Its unit, a code."""
        return self.of.unit

    @property
    def help(self) -> str:
        """What it means, with the method of its interval."""
        return say(self.of.meaning)


METRICS = {name: Spoken(metric) for name, metric in estimates.METRICS.items()}
