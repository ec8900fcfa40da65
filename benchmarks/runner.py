"""Running notebooks: `winback` against stock papermill and nbconvert, on the readout of the simulated telecom.

    python benchmarks/runner.py [--customers 40000] [--settings 20] [--repeat 3] [--sweeps 1] [--folder DIR]

Every contestant is a whole process, run in turn; what counts is the ratio of wall time to stock's in the same turns.
Writes benchmarks/runner.md, with the load of the machine.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
SHEET = HERE.parent / "data" / "telecom" / "sheet.yml"
NOTEBOOK = HERE.parent / "notebooks" / "3-readout.ipynb"
SPAWN = {"WINBACK_SPAWN": "1"}

PREPARE = """
import sys
from pathlib import Path
from experiments.simulate.telecom import simulate
simulate(Path("data/telecom"), customers=int(sys.argv[1]), seed=7, experiment="telecom")
"""
# The stricter of the two ways to do it without winback: one process, so that imports are paid once.
STOCK_SWEEP = """
import sys, json
from pathlib import Path
import papermill
from nbconvert import HTMLExporter
for months, rate in json.loads(sys.argv[1]):
    papermill.execute_notebook("3-readout.ipynb", "out.ipynb", {"horizon_months": months, "discount_rate": rate},
                               progress_bar=False)
    Path("out.html").write_text(HTMLExporter().from_filename("out.ipynb")[0])
"""


def main() -> None:
    """Measure, print and keep the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=40_000)
    parser.add_argument("--settings", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=3, help="turns of the single run")
    parser.add_argument("--sweeps", type=int, default=1, help="turns of the sweep")
    parser.add_argument("--folder", type=Path, help="work here and keep it")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        prepare(folder, args.customers)
        load = [os.getloadavg()[0]]
        single = turns(single_runs(), args.repeat, folder)
        load.append(os.getloadavg()[0])
        swept = turns(sweeps(args.settings), args.sweeps, folder)
        load.append(os.getloadavg()[0])
    report(args, single, swept, load)


def prepare(folder: Path, customers: int) -> None:
    """Simulate the tables and put sheet and notebook beside them."""
    (folder / "data/telecom").mkdir(parents=True, exist_ok=True)
    shutil.copy(SHEET, folder / "data/telecom/sheet.yml")
    shutil.copy(NOTEBOOK, folder)
    subprocess.run([sys.executable, "-c", PREPARE, str(customers)], cwd=folder, check=True)


def single_runs() -> dict:
    """Return the ways to run one notebook and make its page: name -> commands, environment."""
    stock = [[BIN / "papermill", "3-readout.ipynb", "out.ipynb"], [BIN / "jupyter-nbconvert", "--to=html", "out.ipynb"]]
    ours = [BIN / "winback", "run", "3-readout"]
    return {
        "stock: papermill, then nbconvert": (stock, {}),
        "winback run, kernel started": ([[*ours, "--fresh"]], SPAWN),
        "winback run, kernel forked": ([[*ours, "--fresh"]], {}),
        "winback run, nothing changed": ([ours], {}),
    }


def sweeps(count: int) -> dict:
    """Return the ways to run a notebook under many settings: name -> commands, environment."""
    months, rates = [6, 9, 12, 18, 24], [0.02 * step for step in range(1, -(-count // 5) + 1)]
    grid = list(product(months, rates))
    stock = [sys.executable, "-c", STOCK_SWEEP, str([list(setting) for setting in grid])]
    over = [f"--over=horizon_months={','.join(map(str, months))}", f"--over=discount_rate={','.join(map(str, rates))}"]
    ours = [BIN / "winback", "sweep", "data/telecom/sheet.yml", *over]
    return {
        f"stock: papermill and nbconvert, {len(grid)} in one process": ([stock], {}),
        "winback sweep, 2 workers, kernels started": ([[*ours, "--fresh"]], SPAWN),
        "winback sweep, 1 worker, kernels forked": ([[*ours, "--fresh", "--workers=1"]], {}),
        "winback sweep, 2 workers, kernels forked": ([[*ours, "--fresh"]], {}),
        "winback sweep, nothing changed": ([ours], {}),
    }


def turns(contestants: dict, repeat: int, folder: Path) -> dict:
    """Run every contestant in turn; return its CPU and wall seconds."""
    found = {name: [] for name in contestants}
    for turn in range(repeat):
        for name, (commands, environment) in contestants.items():
            found[name].append(measure(commands, environment, folder))
            print(f"{turn + 1}/{repeat} {name}: {found[name][-1]}", file=sys.stderr)
    return found


def measure(commands: list, environment: dict, folder: Path) -> tuple[float, float]:
    """Return CPU and wall seconds of whole processes, one after the other, and of all they started."""
    before, start = os.times(), time.perf_counter()
    for command in commands:
        subprocess.run(command, cwd=folder, env=os.environ | environment, check=True, capture_output=True)
    wall, after = time.perf_counter() - start, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return cpu, wall


def table(found: dict) -> list[str]:
    """Return medians, and the medians of the ratios to the first contestant of the same turn."""
    stock = next(iter(found.values()))
    lines = ["| way | CPU s | wall s | CPU / stock | wall / stock |", "|---|---|---|---|---|"]
    for name, runs in found.items():
        cpu, wall = (statistics.median(column) for column in zip(*runs, strict=True))
        pairs = [[mine / base for mine, base in zip(*both, strict=True)] for both in zip(runs, stock, strict=True)]
        ratios = [statistics.median(column) for column in zip(*pairs, strict=True)]
        lines.append(f"| {name} | {cpu:.1f} | {wall:.1f} | {ratios[0]:.3f} | {ratios[1]:.3f} |")
    return lines


def report(args: argparse.Namespace, single: dict, swept: dict, load: list[float]) -> None:
    """Print and keep both tables."""
    text = "\n".join([
        "# Running notebooks",
        "",
        (f"`3-readout` on {args.customers:,} simulated customers, with its page; whole processes, in turn; "
        f"{os.cpu_count()} cores, load {', '.join(f'{number:.1f}' for number in load)} before, between and after. "
        "CPU counts what was waited for; a killed kernel of the fork server is in it."),
        "",
        (f"    python benchmarks/runner.py --customers {args.customers} --settings {args.settings} "
        f"--repeat {args.repeat} --sweeps {args.sweeps}"),
        "",
        f"One run, medians of {args.repeat} turns, ratios of the same turn:",
        "",
        *table(single),
        "",
        f"A sweep, medians of {args.sweeps} turns:",
        "",
        *table(swept),
        "",
    ])  # fmt: skip
    (HERE / "runner.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
