"""An A/A study: experiments in which no arm differs, how many raise a false alarm, and how long one takes.

    python benchmarks/aa.py [--experiments 10000] [--customers 40000]

What is drawn: a population of simulated customers without an offer; then, for each experiment, arm and bucket, how many
return (binomial, exact) and which of the returned customers of the population they are (with replacement, exact). So
the sums of months and money in a bucket have their exact distribution, whales and all; nothing is taken as normal.
What is computed: for each arm against the first the product's own intervals, `estimate.newcombe` for returned and
`estimate.jackknife_covariance` for months and value. Writes benchmarks/aa.md.
"""

import argparse
import math
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from experiments.data.randomise import BUCKETS
from experiments.metrics.money import discount_factors
from experiments.simulate.telecom import ARMS, OFFERS, World
from experiments.stats.intervals import (
    jackknife_covariance,
    newcombe,
    normal_quantile,
    simultaneous_quantile,
    t_quantile,
)

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "tests"))  # where cubes are drawn in numpy
from telecom_truth import draw_cube  # noqa: E402

SEED = 20_161
LEVEL = 0.95
CHUNK = 100  # experiments at a time
NOBODY = World(  # accepts, and all are watched to the end
    offers={name: replace(offer, accept=-math.inf) for name, offer in OFFERS.items()},
    follow_up=dict.fromkeys(ARMS, 0.0),
)


def main() -> None:
    """Make the population, run the experiments, print and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=10_000)
    parser.add_argument("--customers", type=int, default=40_000)
    args = parser.parse_args()
    rng = np.random.default_rng(SEED)
    start = time.process_time()
    share, returned = population(rng)
    made = time.process_time()
    clock = time.perf_counter()
    found: list[list[bool]] = []
    while len(found) < args.experiments:
        experiments = min(CHUNK, args.experiments - len(found))
        found += chunk(share, returned, rng=rng, experiments=experiments, customers=args.customers)
    spent = time.process_time() - made, time.perf_counter() - clock
    report(np.array(found), customers=args.customers, seconds=spent, setup=made - start, returned=len(returned))


def population(rng: np.random.Generator, *, experiments: int = 500, size: int = 200) -> tuple[float, np.ndarray]:
    """Return the share of customers who return, and months and discounted value of each who does: shape (n, 2).

    With 200 customers an arm a bucket of the cube is a customer (a few hold two or none and are left out).
    """
    factors, found, customers = discount_factors(24, rate=0.10) / 100, [], 0
    for _ in range(experiments):
        cube = draw_cube(NOBODY, size, rng=rng, factors=("reason",))
        alone = cube.assigned.sum(axis=1) == 1
        active, value = cube.active.sum(axis=1)[alone], cube.value.sum(axis=1)[alone]
        customers += len(active)
        back = active.any(axis=1)
        found.append(np.stack((active[back].sum(axis=1), value[back] @ factors), axis=1))
    returned = np.concatenate(found)
    return len(returned) / customers, returned


def chunk(
    share: float, returned: np.ndarray, *, rng: np.random.Generator, experiments: int, customers: int
) -> list[list[bool]]:
    """Return, for each experiment, the alarms: see `alarms`."""
    shape = (experiments, len(ARMS), BUCKETS)
    size = customers // len(ARMS) // BUCKETS
    counts = rng.binomial(size, share, size=shape)
    place = np.repeat(np.arange(counts.size), counts.ravel())
    who = rng.integers(len(returned), size=len(place))
    sums = np.stack([np.bincount(place, returned[who, k], counts.size).reshape(shape) for k in (0, 1)], axis=-1)
    return [alarms(count, total, size=size) for count, total in zip(counts, sums, strict=True)]


def alarms(counts: np.ndarray, sums: np.ndarray, *, size: int) -> list[bool]:
    """Return whether zero lies outside: per metric one offer's own interval, then any offer's simultaneous one.

    `counts` (arms, buckets): who returned; `sums` (arms, buckets, 2): months and value. `size`: customers a bucket.
    """
    offers, n = len(ARMS) - 1, size * BUCKETS
    back = [int(x) for x in counts.sum(axis=1)]
    own = newcombe(back[1], n, back[0], n, level=LEVEL)
    together = [newcombe(x, n, back[0], n, z=Z_ALL) for x in back[1:]]
    found = [_misses_zero(*own), any(_misses_zero(*bounds) for bounds in together)]
    left = (sums.sum(axis=1, keepdims=True) - sums) / (n - size)  # every bucket left out in turn
    gains = (left[1:] - left[:1]).transpose(1, 0, 2).reshape(BUCKETS, -1)
    error = np.sqrt(np.diag(jackknife_covariance(gains))).reshape(offers, 2)
    gained = np.abs((sums[1:] - sums[:1]).sum(axis=1)) / n
    for metric in (0, 1):
        away = gained[:, metric] / error[:, metric]
        found += [bool(away[0] > T), bool(away.max() > T_ALL)]
    return found


def _misses_zero(low: float, high: float) -> bool:
    return low > 0 or high < 0


# Arms of one size: the gains have correlation 1/2, so one simultaneous quantile serves all experiments.
SHARED = np.eye(len(ARMS) - 1) + 1
Z_ALL = simultaneous_quantile(SHARED, df=math.inf, level=LEVEL)
T_ALL = simultaneous_quantile(SHARED, df=BUCKETS - 1, level=LEVEL)
T = t_quantile(LEVEL, df=BUCKETS - 1)
WHAT = ("returned, one offer (Newcombe)", "returned, any of four offers (simultaneous)",
        "months, one offer (jackknife)", "months, any of four offers (simultaneous)",
        "value, one offer (jackknife)", "value, any of four offers (simultaneous)")  # fmt: skip


def report(found: np.ndarray, *, customers: int, seconds: tuple[float, float], setup: float, returned: int) -> None:
    """Print and keep the rates of false alarm and the time."""
    experiments = len(found)
    cpu, wall = (1000 * part / experiments for part in seconds)
    lines = [
        "# A/A: false alarms where no arm differs, and milliseconds an experiment",
        "",
        f"{experiments:,} experiments of {customers:,} customers in {len(ARMS)} arms, {BUCKETS} buckets, seed {SEED}.",
        f"95 % intervals: normal {normal_quantile(LEVEL):.3f}, t {T:.3f}, simultaneous {Z_ALL:.3f} and {T_ALL:.3f}.",
        "",
        f"    python benchmarks/aa.py --experiments {experiments} --customers {customers}",
        "",
        f"**{cpu:.2f} ms CPU an experiment** ({wall:.2f} ms by the clock), drawing and intervals, one process;",
        f"before it once {setup:.1f} s for the population ({returned:,} different returned customers).",
        "",
        "Drawn exactly: how many return in each arm and bucket (binomial), and which of the population's returned",
        "customers they are. No sum is taken as normal.",
        "",
        "| alarm | rate | Monte Carlo error |",
        "|---|---|---|",
    ]
    for what, rate in zip(WHAT, found.mean(axis=0), strict=True):
        lines.append(f"| {what} | {rate:.4f} | {math.sqrt(rate * (1 - rate) / experiments):.4f} |")
    text = "\n".join(lines) + "\n"
    (HERE / "aa.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
