"""How often the intervals of the readout hold the truth: thousands of simulated experiments, kept and resumed.

    python tests/study/study.py [--repetitions 1000] [--workers 2]

A cell is a world and a size. Every repetition has its own seed, so a cell can stop and go on anywhere; what is kept
is used only while the present code gives the same first experiment again.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from telecom_truth import draw_cube, truth

from experiments.common.errors import WinbackError
from experiments.metrics.cube import Cube
from experiments.metrics.estimates import GAINED, METRICS, SIMULTANEOUS, Reading
from experiments.metrics.money import break_even_months
from experiments.readout import verdict as decide
from experiments.readout.checks import CHECKS
from experiments.readout.readout import read_cube
from experiments.readout.verdict import rank, verdict
from experiments.sheet.sheet import Sheet, read_sheet
from experiments.simulate.telecom import ARMS, CONTACT_COST, world
from experiments.stats import intervals

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "build" / "study"  # not in git
PAGE = ROOT / "docs" / "study.md"
SEED = 20_161
LEVEL = 0.95
REPETITIONS = 1_000
VARIANTS = {
    "base": "the world of section 9 of the design",
    "no_effect": "no offer changes anything; who returns anyway takes it",
    "many_spontaneous": "30 % return without an offer",
    "crossing": "the upgrade holds better for 8 months, worse after",
    "cure": "30 % of the returned never leave again",
    "no_cliff": "no promotion cliff",
    "heavy_tail": "1 % of customers worth 50 times the others",
    "follow_up_by_arm": "discount watched longer, bundle shorter",
    "informative_follow_up": "loyal customers watched longer",
    "mislabelled": "20 % of the reasons recorded wrong",
    "zero_acceptances": "nobody accepts",
    "equal": "four names of one offer, at one cost",
}
SIZES = (50, 300, 1_000, 10_000)
SMALL = 200  # below it the readout may refuse a horizon that nobody was watched to
DRAWS = 20_000  # of simultaneous quantiles instead of 100,000: their level is off by .0015 at most of the time
LOOKED_AT = 100  # experiments of a cell whose checks are read
EVERY = 100  # repetitions between two savings
UNDEFINED = ("reached",)  # metrics without a random part
WITHIN = (0.93, 0.97)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What is kept of a world at a size."""

    metrics: tuple[str, ...]
    alone: np.ndarray  # (repetitions, arms, metrics, 3): value, low, high; nan: not estimable, infinite: no bound
    together: np.ndarray  # the same for SIMULTANEOUS
    words: tuple[str, ...]  # kind of the verdict and first offer, "" where the readout refuses
    warned: dict[str, int]  # check: in how many of the first LOOKED_AT experiments it did not pass
    seconds: float

    @property
    def repetitions(self) -> int:
        """How many experiments."""
        return len(self.words)


def sheet_of(name: str) -> Sheet:
    """Return the telecom's sheet; in the equal world every offer costs what the discount costs."""
    sheet = read_sheet(ROOT / "data" / "telecom" / "sheet.yml")
    if name != "equal":
        return sheet
    arms = sheet.model_dump()["arms"]
    equal = {arm: arms[arm if arm == "holdout" else "discount"] | {"label": arm.title()} for arm in arms}
    return Sheet.model_validate(sheet.model_dump() | {"arms": equal})


def draw(name: str, size: int, *, repetition: int) -> Cube:
    """Return the cube of one repetition, from its own seed."""
    rng = np.random.default_rng([SEED, size, repetition, *name.encode()])
    return draw_cube(world(name), size, rng=rng)


def truths(name: str, sheet: Sheet) -> dict[str, np.ndarray]:
    """Return the true value of every metric by arm; nan where there is none."""
    true = truth(world(name), horizon_months=sheet.horizon_months, window_months=sheet.window_months,
                 discount_rate=sheet.discount_rate)  # fmt: skip
    rows = [true[arm] for arm in ARMS]
    plain = ("accepted", "returned", "months", "value", "cost", "value_accepted")
    found = {metric: np.array([getattr(row, metric) for row in rows]) for metric in plain}
    found["active"] = np.array([row.active_by_month[-1] for row in rows])
    found |= {gain: found[metric] - found[metric][0] for metric, gain in GAINED.items()}
    found["net"] = found["value_gained"] - found["cost_added"]
    found["net_adjusted"] = found["net"]
    monthly = [np.array([getattr(row, f"{part}_by_month") for row in rows]) for part in ("value", "cost")]
    gained = [(part - part[:1])[None] for part in monthly]
    with np.errstate(divide="ignore", invalid="ignore"):
        found["gross_roi"] = found["value_accepted"] / found["cost"] - 1
        found["roi"] = found["value_gained"] / found["cost_added"] - 1
        found["incremental"] = found["lift"] / found["returned"]
        lifted = np.where(found["lift"] > 1e-9, found["lift"], np.nan)
        found["cost_per_return"] = found["cost_added"] / lifted
        start = np.where(np.arange(len(ARMS)) > 0, CONTACT_COST, 0.0)[None]
        found["break_even"] = break_even_months(*gained, at_start=start)[0]
    found["net_winsorised"] = _winsorised_limit(name, sheet)
    return found


def _winsorised_limit(name: str, sheet: Sheet, *, experiments: int = 8, size: int = 200_000) -> np.ndarray:
    """Return what the winsorised net tends to: the mean of huge experiments (it has no closed form)."""
    kept = KEPT / f"{name}-limit.json"
    if not kept.is_file():
        rng = np.random.default_rng([SEED, 0, *name.encode()])
        cubes = (draw_cube(world(name), size, rng=rng) for _ in range(experiments))
        nets = [Reading(cube=cube, sheet=sheet).numbers["net_winsorised"][0] for cube in cubes]
        _save(kept, json.dumps(np.mean(nets, axis=0).tolist()).encode())
    return np.array(json.loads(kept.read_text()))


def run(name: str, size: int, *, repetitions: int = REPETITIONS) -> Cell:
    """Return the cell with at least so many repetitions, going on from what is kept."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    intervals.DRAWS = decide.DRAWS = DRAWS
    sheet, cell = sheet_of(name), kept(name, size)
    if cell and not _same(cell, one(draw(name, size, repetition=0), sheet, size=size)):
        cell = None
    if cell and set(cell.warned) != set(CHECKS):
        cell = replace(cell, warned=_warned(name, size, sheet, upto=min(LOOKED_AT, cell.repetitions)))
        keep(name, size, cell)
    while cell is None or cell.repetitions < repetitions:
        cell = _longer(name, size, cell=cell, sheet=sheet, repetitions=repetitions)
        keep(name, size, cell)
    return cell


def _longer(name: str, size: int, *, cell: Cell | None, sheet: Sheet, repetitions: int) -> Cell:
    start, done = time.process_time(), cell.repetitions if cell else 0
    upto = min(done + EVERY, repetitions)
    rows = [one(draw(name, size, repetition=r), sheet, size=size) for r in range(done, upto)]
    alone, together = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    return Cell(
        metrics=tuple(METRICS),
        alone=np.concatenate((cell.alone, alone)) if cell else alone,
        together=np.concatenate((cell.together, together)) if cell else together,
        words=(*(cell.words if cell else ()), *(row[2] for row in rows)),
        warned=cell.warned if cell else _warned(name, size, sheet, upto=min(LOOKED_AT, upto)),
        seconds=(cell.seconds if cell else 0.0) + time.process_time() - start,
    )


def _warned(name: str, size: int, sheet: Sheet, *, upto: int) -> dict[str, int]:
    """Return in how many of the first experiments each check of the page does not pass."""
    warned = dict.fromkeys(CHECKS, 0)
    for repetition in range(upto):
        cube = draw(name, size, repetition=repetition)  # one at a time: a cube is 30 MB
        for check, ask in CHECKS.items():
            warned[check] += ask(sheet, cube).state != "pass"
    return warned


def one(cube: Cube, sheet: Sheet, *, size: int) -> tuple[np.ndarray, np.ndarray, str]:
    """Return the intervals of one experiment, alone and together, and the kind of the verdict with its first offer."""
    alone = np.full((len(ARMS), len(METRICS), 3), np.nan)
    together = np.full((len(ARMS), len(SIMULTANEOUS), 3), np.nan)
    if size <= SMALL:
        try:
            read_cube(cube, sheet)
        except WinbackError:
            return alone, together, ""
    reading = Reading(cube=cube, sheet=sheet)
    for a in range(len(ARMS)):
        for place, rows, found in ((tuple(METRICS), alone, reading.estimates(a)),
                                   (SIMULTANEOUS, together, reading.simultaneous(a))):  # fmt: skip
            for metric, told in found.items():
                if metric in place and told.value is not None:
                    low = -np.inf if told.low is None else told.low
                    high = np.inf if told.high is None else told.high
                    rows[a, place.index(metric)] = told.value, low, high
    nets = reading.numbers["net"][:, reading.offers]
    ranking = rank(nets, tuple(cube.arms[a] for a in reading.offers), df=reading.df, level=sheet.level, seed=sheet.seed)
    return alone, together, f"{verdict(sheet, ranking=ranking, checks=()).kind} {ranking.offers[0]}"


def _same(cell: Cell, first: tuple[np.ndarray, np.ndarray, str]) -> bool:
    """Tell whether the present code gives the first experiment of the cell again."""
    return (
        cell.metrics == tuple(METRICS)
        and cell.together.shape[1:] == first[1].shape
        and np.allclose(cell.alone[0], first[0], rtol=1e-9, equal_nan=True)
        and np.allclose(cell.together[0], first[1], rtol=1e-9, equal_nan=True)
        and cell.words[0] == first[2]
    )


def kept(name: str, size: int) -> Cell | None:
    """Return what is kept of a cell."""
    path = KEPT / f"{name}-{size}.npz"
    if not path.is_file():
        return None
    with np.load(path) as data:
        rest = json.loads(str(data["rest"]))
        return Cell(alone=data["alone"], together=data["together"], metrics=tuple(rest["metrics"]),
                    words=tuple(rest["words"]), warned=rest["warned"], seconds=rest["seconds"])  # fmt: skip


def keep(name: str, size: int, cell: Cell) -> None:
    """Keep a cell, whole or not at all."""
    import io

    rest = {"metrics": cell.metrics, "words": cell.words, "warned": cell.warned, "seconds": cell.seconds}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, alone=cell.alone, together=cell.together, rest=json.dumps(rest))
    _save(KEPT / f"{name}-{size}.npz", buffer.getvalue())


def _save(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_bytes(content)
    part.replace(path)


def covered(rows: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return, of (repetitions, arms, 3) rows, which hold the truth and which count (estimable, with a truth)."""
    counts = np.isfinite(rows[..., 0]) & np.isfinite(true)
    slack = 1e-9 * np.maximum(1, np.abs(true))
    with np.errstate(invalid="ignore"):
        holds = (rows[..., 1] - slack <= true) & (true <= rows[..., 2] + slack)
    return holds & counts, counts


def cells() -> Iterator[tuple[str, int]]:
    """Return every cell, the quick and telling sizes first."""
    for size in (1_000, 300, 50, 10_000):
        for name in VARIANTS:
            yield name, size


def _step(job: tuple[str, int, int]) -> str:
    name, size, repetitions = job
    cell = run(name, size, repetitions=repetitions)
    return f"{name} {size}: {cell.repetitions} in {cell.seconds:.0f} CPU s"


def main() -> None:
    """Run every cell in growing numbers of repetitions, writing the page after each round."""
    from table import write_page

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    for upto in sorted({min(200, args.repetitions), args.repetitions}):
        with ProcessPoolExecutor(args.workers) as pool:
            for said in pool.map(_step, [(*cell, upto) for cell in cells()]):
                print(time.strftime("%H:%M:%S"), said, flush=True)  # noqa: T201  a script too
        write_page()


if __name__ == "__main__":
    main()
