"""Cube and readout of 10 million customers against the floor, pandas and tea-tasting.

    python benchmarks/readout.py [--customers 10000000] [--repeat 5] [--folder DIR]

Every contestant is a whole process over the same Parquet files, in random row order; what counts is the ratio of
CPU time (user + system) to the floor's in the same run. Writes benchmarks/readout.md.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
SHEET = HERE.parent / "data" / "telecom" / "sheet.yml"

PREPARE = """
import shutil, sys
from pathlib import Path
import duckdb
from experiments.simulate.telecom import simulate
simulate(Path("ordered"), customers=int(sys.argv[1]), seed=7, history=False)
for table in ("assignments", "purchases", "contacts"):
    duckdb.execute(f"COPY (SELECT * FROM 'ordered/{table}.parquet' ORDER BY md5(concat(customer_id, \\"at\\"))) "
                   f"TO '{table}.parquet' (FORMAT parquet, COMPRESSION zstd)")
shutil.rmtree("ordered")
"""
FLOOR = """
import duckdb
con = duckdb.connect()
con.execute("SET preserve_insertion_order = false")
con.execute("SELECT arm, count(*), sum(margin) FROM 'assignments.parquet' JOIN 'purchases.parquet' USING (customer_id) "
            "GROUP BY arm").fetchall()
con.execute("SELECT a.arm, count(*), count(accepted_at) FROM 'assignments.parquet' a JOIN 'contacts.parquet' k "
            "USING (customer_id) GROUP BY a.arm").fetchall()
"""
OURS = """
from pathlib import Path
from experiments.metrics.cube import make_cube
from experiments.sheet.sheet import changed, read_sheet
from experiments.readout.readout import read_cube
sheet = read_sheet("sheet.yml")
readout = read_cube(make_cube(sheet, Path()), sheet)
readout.write("readout.json")
"""
PLAIN = OURS.replace(
    'read_sheet("sheet.yml")\n', 'read_sheet("sheet.yml")\nsheet = changed(sheet, {"winsorise": False})\n'
)
PANDAS = """
import pandas as pd
a = pd.read_parquet("assignments.parquet", columns=["customer_id", "arm", "stratum", "bucket", "at"])
k = pd.read_parquet("contacts.parquet", columns=["customer_id", "accepted_at"])
p = pd.read_parquet("purchases.parquet", columns=["customer_id", "at", "margin"], dtype_backend="pyarrow")
a["at"], p["at"] = pd.to_datetime(a["at"]), pd.to_datetime(p["at"])
p["margin"] = (p["margin"].astype("float64") * 100).round().astype("int64")
a = a.astype({"arm": "category", "stratum": "category"})
a["accepted"] = a["customer_id"].isin(k.loc[k["accepted_at"].notna(), "customer_id"])
until = pd.Timestamp("2026-07-01")
a["months"] = ((until.year - a["at"].dt.year) * 12 + until.month - a["at"].dt.month
               - (until.day < a["at"].dt.day)).clip(0, 24)
j = p.merge(a, on="customer_id", suffixes=("", "_0"))
month = ((j["at"].dt.year - j["at_0"].dt.year) * 12 + j["at"].dt.month - j["at_0"].dt.month
         - (j["at"].dt.day < j["at_0"].dt.day))
j["month"] = month
j = j[(month >= 0) & (month < j["months"])]
cell = ["arm", "stratum", "bucket"]
value = j.groupby([*cell, "accepted", "month"], observed=True)["margin"].sum()
once = j.drop_duplicates(["customer_id", "month"])
active = once.groupby([*cell, "accepted", "month"], observed=True).size()
first = once.groupby("customer_id")["month"].min()
followed = a.groupby([*cell, "months"], observed=True).size()
"""
TEA = """
import duckdb, tea_tasting as tt
con = duckdb.connect()
con.execute("SET preserve_insertion_order = false")
users = con.sql("SELECT a.customer_id, a.arm AS variant, coalesce(CAST(p.value AS DOUBLE), 0) AS value, "
                "CASE WHEN p.value IS NULL THEN 0 ELSE 1 END AS returned FROM 'assignments.parquet' a LEFT JOIN "
                "(SELECT customer_id, sum(margin) AS value FROM 'purchases.parquet' GROUP BY 1) p USING (customer_id)")
test = tt.Experiment(returned=tt.Mean("returned"), value=tt.Mean("value"), sizes=tt.SampleRatio())
test.analyze(users, control="holdout", all_variants=True)
"""
CONTESTANTS = {
    "floor: two joins, GROUP BY arm": FLOOR,
    "winback: cube + readout, winsorised rows too": OURS,
    "winback: cube + readout": PLAIN,
    "pandas: the same sums": PANDAS,
    "tea-tasting: returned and value only": TEA,
}


def main() -> None:
    """Make the data, run every contestant in turn, print and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=10_000_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="keep the data here and use them again")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        bills = prepare(folder, args.customers)
        rows = {name: [] for name in CONTESTANTS}
        for turn in range(args.repeat):
            for name, code in CONTESTANTS.items():
                if turn < (1 if name.startswith("pandas") else args.repeat):
                    rows[name].append(measure(code, folder))
                    print(f"{turn + 1}/{args.repeat} {name}: {rows[name][-1]}", file=sys.stderr)
    report(rows, customers=args.customers, bills=bills, repeat=args.repeat)


def prepare(folder: Path, customers: int) -> int:
    """Simulate the tables and put their rows into random order; return the number of bills.

    In a process of its own: a child's peak memory begins with its parent's.
    """
    if not (folder / "sheet.yml").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-c", PREPARE, str(customers)], cwd=folder, check=True)
        shutil.copy(SHEET, folder / "sheet.yml")
    count = "import duckdb; print(duckdb.sql(\"SELECT count(*) FROM 'purchases.parquet'\").fetchall()[0][0])"
    return int(subprocess.run([sys.executable, "-c", count], cwd=folder, check=True, capture_output=True).stdout)


def measure(code: str, folder: Path) -> tuple[float, float, float]:
    """Return CPU seconds, wall seconds and peak memory in GB of a whole process."""
    start = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-c", code], cwd=folder, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    wall = time.perf_counter() - start
    if status:
        return float("nan"), float("nan"), float("nan")
    return used.ru_utime + used.ru_stime, wall, used.ru_maxrss / 1e6


def report(rows: dict, *, customers: int, bills: int, repeat: int) -> None:
    """Print and keep the medians and their ratios to the floor."""
    medians = {name: [statistics.median(column) for column in zip(*runs, strict=True)] for name, runs in rows.items()}
    floor = next(iter(medians.values()))
    lines = [
        "# Cube and readout against the floor and peers",
        "",
        (
            f"{customers:,} customers, {bills:,} bills, 5 arms, 12 strata, 200 buckets, 24 months; whole processes, "
            f"medians of {repeat} turns (pandas: 1); 2 cores. Row order random."
        ),
        "",
        f"    python benchmarks/readout.py --customers {customers} --repeat {repeat}",
        "",
        "| contestant | CPU s | wall s | peak GB | CPU / floor | wall / floor |",
        "|---|---|---|---|---|---|",
    ]
    for name, (cpu, wall, memory) in medians.items():
        lines.append(
            f"| {name} | {cpu:.2f} | {wall:.2f} | {memory:.2f} | {cpu / floor[0]:.2f} | {wall / floor[1]:.2f} |"
        )
    text = "\n".join(lines) + "\n"
    (HERE / "readout.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
