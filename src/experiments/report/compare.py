"""The page that shows several tests side by side."""

from __future__ import annotations

from collections.abc import Sequence

from experiments import parts
from experiments.errors import WinbackError
from experiments.estimands import METRICS
from experiments.figures import compare as figures
from experiments.parts import Html
from experiments.readout import Readout, read_readout
from experiments.report import shared
from experiments.words import listed, number


def read_all(paths: Sequence[str]) -> list[Readout]:
    """Return the readouts to compare; one currency, or the money cannot be compared."""
    if not paths:
        raise WinbackError("There is nothing to compare. Name readouts: -p readouts=a/readout.json,b/readout.json")
    readouts = [read_readout(path) for path in paths]
    currencies = sorted({readout.currency for readout in readouts})
    if len(currencies) > 1:
        raise WinbackError(f"The readouts are in {listed(currencies)}: money of different currencies is not compared.")
    return readouts


def verdict(readouts: Sequence[Readout]) -> Html:
    """Return what the experiments say side by side."""
    winners = {readout.experiment: readout.verdict.word for readout in readouts}
    said = "; ".join(f"{name}: {word}" for name, word in winners.items())
    alike = len(set(winners.values())) == 1
    verb = "agree" if alike and len(readouts) > 1 else "compared"
    return parts.verdict(f"{said}.", word=f"{len(readouts)} experiments {verb}", tone="go" if alike else "wait")


def picture(readouts: Sequence[Readout]) -> Html:
    """Return the net of every offer in every experiment."""
    if not any("net" in arm.estimates for readout in readouts for arm in readout.arms):
        return parts.section("Net by offer", "None of these tests had a holdout, so there is no net to compare.")
    return parts.section("Net by offer", shared.picture(figures.experiments_compared(readouts)))


def table(readouts: Sequence[Readout]) -> Html:
    """Return the main estimates of every offer of every experiment."""
    import pandas as pd

    metrics = [m for m in ("accepted", "returned", "lift", "months_gained", "net", "roi")
               if any(m in arm.estimates for readout in readouts for arm in readout.offers)]  # fmt: skip
    rows = [
        [readout.experiment, f"{arm.assigned:,}", *(shared.metric(arm, metric, readout.currency) for metric in metrics)]
        for readout in readouts
        for arm in readout.offers
    ]
    index = [arm.label for readout in readouts for arm in readout.offers]
    frame = pd.DataFrame(rows, columns=["Experiment", "Assigned", *(METRICS[m].label for m in metrics)], index=index)
    frame.index.name = "Offer"
    horizons = sorted({readout.horizon_months for readout in readouts})
    note = (
        f"Horizons differ: {listed([number(h, digits=0) for h in horizons])} months. "
        "Months, value and net are not comparable across them."
    )
    notes = [note] if len(horizons) > 1 else []
    shown = parts.table(frame, caption="Estimates per assigned customer", notes=notes)
    return parts.section("Every offer in numbers", shown)
