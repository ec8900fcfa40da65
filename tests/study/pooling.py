"""How often the intervals over several tests hold the truth, ours beside the usual ones.

    python tests/study/pooling.py

Prints the table of docs/decisions/0006-next-test.md. Tests have standard errors that differ as those of 8 tests of
very different size do (log-normal, sigma .35, median 1); true effects differ with standard deviation tau.
"""

from __future__ import annotations

import math
from concurrent.futures import ProcessPoolExecutor
from itertools import product

import numpy as np

from experiments.common.estimate import Estimate
from experiments.stats.intervals import normal_quantile, t_quantile
from experiments.stats.meta_analysis import FOR_THE_NEXT, Pooled, pool

SEED, REPETITIONS = 1_982, 2_000
COUNTS, SPREADS = (2, 3, 4, 5, 8, 20), (0.0, 0.5, 1.0, 2.0)
NAMES = ("mean", "next", "next_usual", "shrunken", "shrunken_usual")


def usual(pooled: Pooled, level: float = 0.95) -> tuple[float, float, list[tuple[float, float]]]:
    """Return the half width of Higgins, Thompson & Spiegelhalter (2009) eq. 12, and plug-in BLUPs with half widths."""
    tau2, variance, mean = pooled.tau**2, pooled.mean.se**2, pooled.mean.value
    ahead = t_quantile(level, df=pooled.k - 2) * math.sqrt(tau2 + variance) if pooled.k > 2 else math.nan
    drawn = []
    for one in pooled.estimates:
        keeps = tau2 / (tau2 + one.se**2)
        error = math.sqrt(keeps * one.se**2 + (1 - keeps) ** 2 * variance)
        drawn.append((mean + keeps * (one.value - mean), normal_quantile(level) * error))
    return mean, ahead, drawn


def coverage(cell: tuple[int, float], repetitions: int = REPETITIONS) -> dict[str, float]:
    """Return how often each interval of NAMES holds the truth: k tests that differ by tau; nan where there is none."""
    k, tau = cell
    rng = np.random.default_rng([SEED, k, round(100 * tau)])
    holds = np.full((repetitions, len(NAMES)), np.nan)
    for row in holds:
        errors = np.exp(rng.normal(0, 0.35, k))
        true, following = rng.normal(0, 1, k) * tau, rng.normal() * tau
        values = true + errors * rng.normal(size=k)
        found = pool(
            [Estimate(value=float(y), low=None, high=None, level=0.95, n=1, unit="money", se=float(s))
             for y, s in zip(values, errors, strict=True)],
            offer="a", metric="net", experiments=[str(i) for i in range(k)])  # fmt: skip
        mean, ahead, drawn = usual(found)
        row[0] = found.mean.low <= 0 <= found.mean.high
        row[3] = np.mean([one.low <= own <= one.high for one, own in zip(found.shrunken, true, strict=True)])
        row[4] = np.mean([abs(own - value) <= half for (value, half), own in zip(drawn, true, strict=True)])
        if k >= FOR_THE_NEXT:
            row[1] = found.next.low <= following <= found.next.high
            row[2] = abs(following - mean) <= ahead
    return dict(zip(NAMES, map(float, holds.mean(axis=0)), strict=True))


def main() -> None:
    """Print the table."""
    cells = list(product(COUNTS, SPREADS))
    print("| tests | τ / noise | mean | next test | next test, usual | each test | each test, usual |")  # noqa: T201
    print("|---|---|---|---|---|---|---|")  # noqa: T201
    with ProcessPoolExecutor(2) as workers:
        for (k, tau), found in zip(cells, workers.map(coverage, cells), strict=True):
            shown = ["" if math.isnan(share) else f"{share:.3f}".lstrip("0") for share in found.values()]
            print(f"| {k} | {tau:g} | {' | '.join(shown)} |", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
