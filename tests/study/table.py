"""The page of the study: coverage of every interval, by world and size, and what it means."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import study
from study import KEPT, LEVEL, PAGE, SEED, SIZES, VARIANTS, WITHIN, Cell, covered, kept, sheet_of, truths

from experiments.metrics.estimates import METRICS, SIMULTANEOUS
from experiments.readout.checks import CHECKS
from experiments.simulate.telecom import ARMS

ALL = ", all offers at once"
HOLDOUT = ", holdout"
OF_HOLDOUT = ("returned", "months", "active", "value")  # its other rows are zero
OFTEN = 0.5  # a check warns in a situation if it does so in at least this share of its experiments
SURE = 2.6  # Monte Carlo errors beyond the aim before a miss is one
FEW_ESTIMATES = 0.5  # below this share of experiments with an estimate, a coverage says little


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How often one interval, of all offers of a world at a size, holds the truth."""

    share: float
    error: float  # Monte Carlo
    lowest: tuple[float, str]  # of an arm
    below: float  # share of intervals that lie wholly below the truth
    above: float
    told: float  # share of experiments where it can be estimated
    bias: float  # mean of estimate minus truth, in standard deviations of the estimate; the largest of an arm
    exact: bool  # every estimate is the truth: a constant, such as the cost where nobody accepts

    @property
    def misses(self) -> bool:
        """Whether the coverage lies outside the aim by more than chance."""
        return self.too_low or (not self.exact and self.share > WITHIN[1] + SURE * self.error)

    @property
    def too_low(self) -> bool:
        """Whether the interval holds the truth less often than it says, by more than chance."""
        return self.share < WITHIN[0] - SURE * self.error


def coverage(rows: np.ndarray, true: np.ndarray, *, arms: slice, together: bool = False) -> Coverage | None:
    """Return the coverage of (repetitions, arms, 3) rows; `together`: of all arms at once. None without a truth."""
    names = ARMS[arms]
    rows, true = rows[:, arms], true[arms]
    holds, counts = covered(rows, true)
    some = np.flatnonzero(counts.any(axis=0))
    if not some.size:
        return None
    names = [names[place] for place in some]
    holds, counts, rows, true = holds[:, some], counts[:, some], rows[:, some], true[some]
    if together:
        holds, counts = holds.all(axis=1, keepdims=True), counts.all(axis=1, keepdims=True)
    some = counts.any(axis=1)
    each = holds.sum(axis=1)[some] / counts.sum(axis=1)[some]
    by_arm = holds.sum(axis=0) / np.maximum(counts.sum(axis=0), 1)
    worst = int(np.abs(by_arm - LEVEL).argmax())
    slack = 1e-9 * np.maximum(1, np.abs(true))
    with np.errstate(invalid="ignore"):
        below, above = rows[..., 2] < true - slack, rows[..., 1] > true + slack
    if together:
        below, above = below.any(axis=1), above.any(axis=1)
    spread = np.maximum(np.nanstd(rows[..., 0], axis=0), slack)
    away = (np.nanmean(rows[..., 0], axis=0) - true) / spread
    return Coverage(
        share=float(each.mean()),
        error=float(max(each.std(), np.sqrt(1 / len(each) / 4) / 10) / np.sqrt(len(each))),
        lowest=(float(by_arm[worst]), "all" if together else names[worst]),
        below=float(below.mean()),
        above=float(above.mean()),
        told=float(some.mean()),
        bias=float(away[np.abs(away).argmax()]),
        exact=bool((spread <= slack).all() and each.mean() == 1),
    )


@cache
def _truths(name: str) -> dict[str, np.ndarray]:
    return truths(name, sheet_of(name))


OFFERS = slice(1, None)


def coverages(name: str, cell: Cell) -> Iterator[tuple[str, Coverage]]:
    """Return the coverage of every interval of a cell, in the order of the readout; families last."""
    true = _truths(name)
    read = np.array([bool(word) for word in cell.words])
    for metric in METRICS:
        if metric not in true:
            continue
        rows = cell.alone[read][:, :, cell.metrics.index(metric)]
        if found := coverage(rows, true[metric], arms=OFFERS):
            yield metric, found
        if metric in OF_HOLDOUT and (found := coverage(rows, true[metric], arms=slice(1))):
            yield metric + HOLDOUT, found
    for place, metric in enumerate(SIMULTANEOUS):
        if found := coverage(cell.together[read][:, :, place], true[metric], arms=OFFERS, together=True):
            yield metric + ALL, found


def write_page() -> None:
    """Write the page from what is kept; two workers never at once."""
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / "page.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = {(name, size): cell for size in SIZES for name in VARIANTS if (cell := kept(name, size))}
        study._save(PAGE, "\n".join(page(found)).encode())


def page(found: dict[tuple[str, int], Cell]) -> Iterator[str]:
    """Return the lines of the page."""
    yield from _head(found)
    tables = {cell: dict(coverages(cell[0], kept)) for cell, kept in found.items()}
    for size in SIZES:
        yield from _table(size, {name: table for (name, n), table in tables.items() if n == size}, found)
    yield from _winners(found)
    yield from _misses(tables, found)
    yield from _checks(found)
    yield from MEANING.splitlines()
    yield ""


def _head(found: dict[tuple[str, int], Cell]) -> Iterator[str]:
    counts = {size: [cell.repetitions for (_, n), cell in found.items() if n == size] for size in SIZES}
    ran = "; ".join(
        f"{size:,} an arm: {min(c):,}" + (f" to {max(c):,}" if min(c) < max(c) else "") + f" (± {_error(min(c)):.4f})"
        for size, c in counts.items()
        if c
    )
    minutes = sum(cell.seconds for cell in found.values()) / 60
    yield "# How often the intervals hold the truth"
    yield ""
    yield "    make study"
    yield ""
    yield (f"Every number on this page is counted on simulated experiments with a known truth: five arms, 95 % "
           f"intervals, horizon 24 months, 200 buckets, strata by reason and tier. Experiments, each from its own seed "
           f"[{SEED}, size, repetition, name of the world], in each world: {ran}; in brackets the Monte Carlo error "
           f"of a coverage of .95 of one interval; of the means over four offers below it is smaller. {minutes:.0f} "
           "CPU minutes. Simultaneous quantiles "
           f"from {study.DRAWS:,} draws (the page takes 100,000): at most .003 of level.")  # fmt: skip
    yield ""
    yield ("The cubes are drawn by `draw_cube` of tests/telecom_truth.py, which tests/simulate/test_draw.py "
           "compares with the engine's simulation, cube and truth. The intervals are those of "
           "`experiments.metrics.estimates.Reading`, on which the readout's page rests.")  # fmt: skip
    yield ""
    yield from (f"- **{name}**: {what}" for name, what in VARIANTS.items())
    yield ""


def _error(experiments: int) -> float:
    """Return the Monte Carlo error of a coverage that is the level."""
    return float(np.sqrt(LEVEL * (1 - LEVEL) / experiments))


def _table(size: int, tables: dict[str, dict[str, Coverage]], found: dict[tuple[str, int], Cell]) -> Iterator[str]:
    if not tables:
        return
    names = [name for name in VARIANTS if name in tables]
    yield f"## {size:,} customers an arm"
    yield ""
    yield ("Share of intervals that hold the truth, mean over the offers; all offers at once: share of experiments "
           "where every offer's simultaneous interval does; "
           f"**bold**: outside {WITHIN[0]:.2f} to {WITHIN[1]:.2f} by more than chance; –: no truth, or nothing to "
           "estimate; (in brackets): estimable in fewer than half of the experiments; exact: a constant.")  # fmt: skip
    yield ""
    yield f"| interval | {' | '.join(names)} |"
    yield "|---|" + "---|" * len(names)
    order = (*METRICS, *(metric + HOLDOUT for metric in OF_HOLDOUT), *(metric + ALL for metric in SIMULTANEOUS))
    for metric in (metric for metric in order if any(metric in table for table in tables.values())):
        yield f"| {_label(metric)} | {' | '.join(_cell(tables[name].get(metric)) for name in names)} |"
    yield f"| *experiments* | {' | '.join(f'{found[name, size].repetitions:,}' for name in names)} |"
    refused = [found[name, size].words.count("") / found[name, size].repetitions for name in names]
    if any(refused):
        yield f"| *refused: horizon unseen* | {' | '.join(f'{share:.3f}' for share in refused)} |"
    yield ""


def _label(metric: str) -> str:
    name, _, rest = metric.partition(", ")
    return ", ".join(filter(None, (METRICS[name].label, rest)))


def _cell(found: Coverage | None) -> str:
    if found is None:
        return "–"
    text = "exact" if found.exact else f"{found.share:.3f}"
    text = f"**{text}**" if found.misses else text
    return f"({text})" if found.told < FEW_ESTIMATES else text


def _winners(found: dict[tuple[str, int], Cell]) -> Iterator[str]:
    yield "## False winners"
    yield ""
    yield ('Share of experiments whose verdict on profit begins with "Choose". In the world *equal* every choice is '
           "false: the aim is at most .05. Elsewhere a choice is false where another offer is truly best.")  # fmt: skip
    yield ""
    yield "| world | customers an arm | chosen | falsely | Monte Carlo error | no offer beats doing nothing |"
    yield "|---|---|---|---|---|---|"
    never = []
    for (name, size), cell in found.items():
        net = _truths(name)["net"][1:]
        best = {ARMS[1:][place] for place in np.flatnonzero(net > net.max() - 1e-9)}
        chosen = np.array([word.startswith("choose ") for word in cell.words])
        false = np.array([word.startswith("choose ") and (len(best) > 1 or word.removeprefix("choose ") not in best)
                          for word in cell.words])  # fmt: skip
        if not chosen.any() and name != "equal":
            never.append(f"{name} {size:,}")
            continue
        nothing = np.mean([word.startswith(("no_offer_better", "none_looks_better")) for word in cell.words])
        error = np.sqrt(max(false.mean(), 1 / len(false)) * (1 - false.mean()) / len(false))
        yield f"| {name} | {size:,} | {chosen.mean():.3f} | {false.mean():.3f} | {error:.3f} | {nothing:.3f} |"
    yield ""
    yield f"Never chosen in: {', '.join(never)}."
    yield ""


def _misses(tables: dict[tuple[str, int], dict[str, Coverage]], found: dict[tuple[str, int], Cell]) -> Iterator[str]:
    yield "## Where an interval misses the aim at 1,000 and up, and what the page says there"
    yield ""
    yield (
        "The arm furthest off; the share of intervals wholly below and above the truth; the bias in standard "
        "deviations of the estimate; the checks of the data that do not pass in half of the experiments or more."
    )
    yield ""
    yield "| world | customers an arm | interval | coverage | furthest arm | below | above | bias | checks that warn |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for (name, size), table in tables.items():
        for metric, row in table.items():
            if size >= 1_000 and row.misses:
                yield (f"| {name} | {size:,} | {_label(metric)} | {row.share:.3f} ± {row.error:.3f} | {row.lowest[1]} "
                       f"{row.lowest[0]:.3f} | {row.below:.3f} | {row.above:.3f} | {row.bias:+.2f} | "
                       f"{', '.join(_warning(found[name, size])) or 'none'} |")  # fmt: skip
    yield ""


def _warning(cell: Cell) -> list[str]:
    looked = min(study.LOOKED_AT, cell.repetitions)
    return [check for check, times in cell.warned.items() if times >= OFTEN * looked and check != "power"]


def _checks(found: dict[tuple[str, int], Cell]) -> Iterator[str]:
    yield "## How often a check does not pass"
    yield ""
    yield f"Of the first {study.LOOKED_AT} experiments."
    yield ""
    yield f"| world | customers an arm | {' | '.join(CHECKS)} |"
    yield "|---|---|" + "---|" * len(CHECKS)
    for (name, size), cell in found.items():
        looked = min(study.LOOKED_AT, cell.repetitions)
        shares = [f"{cell.warned[check] / looked:.2f}" if check in cell.warned else "–" for check in CHECKS]
        yield f"| {name} | {size:,} | {' | '.join(shares)} |"
    yield ""


MEANING = """\
## What it means

**Where it holds.** In the base world and wherever the world only changes what is true (many spontaneous returns,
crossing lives, a cured share, no cliff, follow-up by arm, wrong reasons, equal offers), the intervals that decide,
which are those of returned, lift, months, the gains, cost, net and incremental ROI of an offer, hold it in .93 to .97
of the experiments at 1,000 an arm and at 10,000. Different follow-up by arm and wrong reasons bias nothing: each month
has its own denominator, and the cost of a tailored offer follows the reason that was recorded. No equal offer was ever
called best at any size: to be chosen, an offer must beat doing nothing and every other offer at once.

**Where it does not, and why.**

1. *Few returned customers.* The jackknife interval of a rare share or of a skew sum is too short upwards: almost all
   misses lie below the truth. At 1,000 an arm about 44 of the holdout return and four of them are watched to month 24
   and active: its value and its share active at the horizon hold the truth in .88 and .90 (`enough_returned` warns
   below 100 returned), and so do the same rows of every arm where nobody accepts or nothing has an effect (`tail`
   warns; `zero_events` too where nobody accepts). Gross ROI where only a few accept reaches .82 at 1,000 and .91 at
   10,000. At 300 an arm value and gross ROI of the offers lie at .90 to .92, at 50 only returned, lift, cost and
   months gained can be trusted
   (`small_arm` warns). The differences to the holdout do better.

2. *Whales.* With 1 % of customers worth 50 times the others, intervals of money hold the truth in about .79 of the
   experiments at 1,000 and .92 at 10,000, the simultaneous ones in .53 and .85. `tail` warns. Shares, months, costs and
   the winsorised net are untouched; the adjusted net gains a little.

3. *Several offers at once.* The simultaneous intervals of value gained and net lie at .87 to .90 at 300 (`small_arm`
   warns), at .90 to .94 at 1,000 (`tail` warns in a quarter of the experiments) and at their level at 10,000: four skew
   sums have four chances to miss.

4. *Informative follow-up.* If loyal customers were assigned earlier, those watched long are not like the others: the
   readout is biased, the more surely the larger the test, and **no check sees it**. Assign waves at random, or compare
   what early and late waves did in the months in which all were watched.
"""
