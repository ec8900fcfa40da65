"""Seconds of a readout from an existing cube: 200 buckets, 5 arms, 24 months, 12 strata.

    python benchmarks/estimates.py [--repeat 5]

CPU time of `read_cube` in a process of its own, after the imports: the first call, which still loads what estimates
need from scipy and statsmodels, and a later one. Median of the processes. Writes benchmarks/estimates.md.
"""

import argparse
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SHEET = HERE.parent / "data" / "telecom" / "sheet.yml"
READ = """
import sys, time
start = time.process_time()
import numpy as np
from experiments.sheet.sheet import read_sheet
from experiments.readout.readout import read_cube
imported = time.process_time() - start
from experiments.simulate.telecom import WORLDS
sys.path.append(sys.argv[2])
from telecom_truth import draw_cube
sheet = read_sheet(sys.argv[1])
cube = draw_cube(WORLDS["base"], 8_000, rng=np.random.default_rng(20_161))
times = []
for _ in range(3):
    start = time.process_time()
    read_cube(cube, sheet)
    times.append(time.process_time() - start)
print(imported, times[0], times[-1], *cube.value.shape)
"""
PARTS = ("imports", "first readout", "later readout")


def main() -> None:
    """Run the processes, print and keep the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    rows = [run() for _ in range(args.repeat)]
    arms, strata, buckets, months = (int(number) for number in rows[0][3:])
    lines = [
        "# A readout from an existing cube",
        "",
        f"{buckets} buckets, {arms} arms, {months} months, {strata} strata.",
        f"CPU seconds, median of {args.repeat} processes (lowest to highest).",
        "",
        f"    python benchmarks/estimates.py --repeat {args.repeat}",
        "",
        "| part | CPU s |",
        "|---|---|",
    ]
    for place, part in enumerate(PARTS):
        column = [row[place] for row in rows]
        lines.append(f"| {part} | {statistics.median(column):.2f} ({min(column):.2f} to {max(column):.2f}) |")
    text = "\n".join(lines) + "\n"
    (HERE / "estimates.md").write_text(text, encoding="utf-8")
    print(text)


def run() -> list[float]:
    """Return the times and the shape of the cube of one process."""
    told = subprocess.run(
        [sys.executable, "-c", READ, str(SHEET), str(HERE.parent / "tests")], check=True, capture_output=True, text=True
    ).stdout
    return [float(number) for number in told.split()]


if __name__ == "__main__":
    main()
