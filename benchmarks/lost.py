"""Who is lost among a million customers: against the floor, pandas and Polars; and 100 million purchases in 2 GB.

    python benchmarks/lost.py [--customers 1000000] [--repeat 5] [--large 5000000] [--folder DIR] [--peers DIR]

Every contestant is a whole process over the same Parquet file, in random row order; what counts is the ratio of CPU
time (user + system) and of wall time to the floor's in the same run. The floor is one bare GROUP BY customer_id (count,
min, max, sum), kept as a table in memory. Polars is no part of the environment; with

    python -m pip install --target DIR polars

and `--peers DIR` it takes part. Who is not installed is left out. Those who answer the same question must agree to the
customer and the cent, or the run ends. Writes benchmarks/lost.md.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
SHEET = "experiment: lost\ntables: {purchases: {file: purchases.parquet}}\nlost: {as_of: 2025-12-31}\n"
FAILED = ["failed"]
LIMIT = {"WINBACK_MEMORY": "2GB"}
FLOOR_NAME = "floor: GROUP BY customer_id"

# Customers begin within two years, buy at an interval of their own (9 to 200 days, short ones as frequent as long
# ones on a logarithmic scale), and two in five leave for good before the day. `apart`: each purchase up to half an
# interval late, so that no two fall on one day. `same`: a fifth of them on any day of the customer's time. One in 5,000
# is returned. Chance from a hash of a text: one of several numbers gives customers that resemble each other.
PREPARE = """
import sys
import duckdb
customers, apart = int(sys.argv[1]), not sys.argv[2].endswith("same")
duckdb.execute("SET enable_progress_bar = false")
duckdb.execute('''
CREATE MACRO u(i, k, what) AS CAST(hash(concat_ws('-', i, k, what)) >> 11 AS DOUBLE) / 9007199254740992;
CREATE MACRO day_of(i, k, start, span, gap, apart) AS CAST(floor(start + CASE WHEN apart OR u(i, k, 'any') > 0.2
    THEN k * gap + 0.5 * gap * u(i, k, 'late') ELSE span * u(i, k, 'day') END) AS INTEGER)''')
duckdb.execute(f'''COPY (
    WITH people AS (
        SELECT i, 730 * u(i, 0, 'start') AS start, 9 * pow(200 / 9, u(i, 0, 'gap')) AS gap,
               10 * pow(30, u(i, 0, 'level')) AS level,
               (1095 - start) * CASE WHEN u(i, 0, 'leaves') < 0.4 THEN u(i, 0, 'left') ELSE 1 END AS span
        FROM range({customers}) AS r(i)
    ), bought AS (
        SELECT i, k, day_of(i, k, start, span, gap, {apart}) AS day,
               CAST(level * (0.5 + u(i, k, 'amount')) AS DECIMAL(12, 2)) AS amount
        FROM (SELECT *, unnest(range(CAST(floor(span / gap) AS BIGINT) + 1)) AS k FROM people)
    )
    SELECT 10000000 + 7 * i AS customer_id, DATE '2023-01-01' + least(day, 1095) AS "at", amount FROM (
        SELECT * FROM bought UNION ALL
        SELECT i, -k - 1, day + 1 + CAST(floor(14 * u(i, k, 'back')) AS INTEGER), -amount FROM bought
        WHERE u(i, k, 'returned') < 0.0002
    ) ORDER BY u(i, k, 'order')
) TO 'purchases.parquet' (FORMAT parquet, COMPRESSION zstd)''')
"""
DESCRIBE = """
import duckdb
duckdb.execute("SET enable_progress_bar = false")
print(*duckdb.execute('''
    SELECT sum(n), count(DISTINCT customer_id), sum(n - bought), sum(CASE WHEN bought > 1 THEN bought ELSE 0 END)
    FROM (SELECT customer_id, "at", count(*) AS n, sum(CASE WHEN amount > 0 THEN 1 ELSE 0 END) AS bought
          FROM 'purchases.parquet' GROUP BY 1, 2)''').fetchall()[0])
"""
FLOOR = """
import duckdb
con = duckdb.connect()
con.execute("SET preserve_insertion_order = false")
con.execute("SET enable_progress_bar = false")
con.execute('''CREATE TEMP TABLE customers AS SELECT customer_id, count(*) AS n, min("at") AS first, max("at") AS last,
               sum(amount) AS amount FROM 'purchases.parquet' GROUP BY customer_id''')
"""
OURS = """
from experiments.lost.find import find_lost
found = find_lost("sheet.yml")
print(found.lost, found.revenue_lost)
"""
NO_OPINION = "from experiments.lost import summary\nsummary._opinion = lambda look: None\n"
# Told on the page: the parts. Nothing else of the product is touched.
PARTS = """
from experiments import cohort
counted = cohort._parts
def told(*what):
    number = counted(*what)
    print(number)
    return number
cohort._parts = told
"""
PANDAS = """
import numpy as np
import pandas as pd
day = pd.Timestamp("2025-12-31")
p = pd.read_parquet("purchases.parquet", dtype_backend="pyarrow")
p["amount"] = (p["amount"].astype("float64") * 100).round().astype("int64")
p["at"] = p["at"].astype("datetime64[s]")
p["customer_id"] = p["customer_id"].astype("int64")
p = p[p["at"] <= day]
revenue = p.groupby("customer_id", sort=False)["amount"].sum()
p = p.loc[p["amount"] > 0, ["customer_id", "at"]].drop_duplicates()
c = p.groupby("customer_id", sort=False)["at"].agg(["count", "min", "max"])
c["revenue"] = revenue
p["month"] = p["at"].dt.year * 12 + p["at"].dt.month
p = p[["customer_id", "month"]].drop_duplicates()
bought = p.groupby("month").size()
c["months"] = p.groupby("customer_id", sort=False).size()
gap = (c["max"] - c["min"]).dt.days / (c["count"] - 1).where(c["count"] > 1)
allowed = (gap * (4 / 3)).clip(lower=30).where(c["count"] >= 3, 90)
lost = (day - c["max"]).dt.days > allowed
lost_at = (c["max"] + pd.to_timedelta(np.floor(allowed) + 1, unit="D")).where(lost)
losses = (lost_at.dt.year * 12 + lost_at.dt.month).value_counts()
begun = (c["min"].dt.year * 12 + c["min"].dt.month).value_counts()
whole = 1 + (c["max"].dt.year - c["min"].dt.year) * 12 + c["max"].dt.month - c["min"].dt.month
regularity = c["months"] / whole
c["xyz"] = np.select([c["count"] < 3, regularity >= 0.8, regularity >= 0.5], ["Z", "X", "Y"], "Z")
most = c["revenue"].sort_values(ascending=False)
before = (most.cumsum() - most) / most.sum()
c["abc"] = pd.Series(np.select([before < 0.8, before < 0.95], ["A", "B"], "C"), index=most.index)
c["lost"] = lost
matrix = c.groupby(["abc", "xyz"])["lost"].agg(["size", "sum"])
print(int(lost.sum()), c.loc[lost, "revenue"].sum() / 100)
"""
POLARS = """
import polars as pl
from datetime import date
day, at, n = date(2025, 12, 31), pl.col("at"), pl.col("purchases")
def month_of(when):
    return when.dt.year().cast(pl.Int32) * 12 + when.dt.month()
p = pl.scan_parquet("purchases.parquet").filter(at <= day).with_columns((pl.col("amount") * 100).cast(pl.Int64))
revenue = p.group_by("customer_id").agg(pl.col("amount").sum().alias("revenue"))
days = p.filter(pl.col("amount") > 0).select("customer_id", "at").unique()
months = days.group_by("customer_id", month_of(at).alias("month")).agg(
    pl.len().alias("purchases"), at.min().alias("first"), at.max().alias("last")).collect(engine="streaming").lazy()
active = months.group_by("month").len()
last, first = pl.col("last"), pl.col("first")
gap = (last - first).dt.total_days() / (n - 1)
allowed = pl.when(n >= 3).then(pl.max_horizontal(pl.lit(30.0), 4 / 3 * gap)).otherwise(90.0)
regularity = pl.col("months") / (1 + month_of(last) - month_of(first))
c = (months.group_by("customer_id")
     .agg(n.sum(), first.min(), last.max(), pl.len().alias("months")).join(revenue, on="customer_id")
     .with_columns(allowed.alias("allowed"), (pl.lit(day) - last).dt.total_days().alias("silent"),
                   pl.when(n < 3).then(pl.lit("Z")).when(regularity >= 0.8).then(pl.lit("X"))
                   .when(regularity >= 0.5).then(pl.lit("Y")).otherwise(pl.lit("Z")).alias("xyz"))
     .with_columns((pl.col("silent") > pl.col("allowed")).alias("lost"))
     .sort("revenue", descending=True)
     .with_columns(((pl.col("revenue").cum_sum() - pl.col("revenue")) / pl.col("revenue").sum()).alias("before"))
     .with_columns(pl.when(pl.col("before") < 0.8).then(pl.lit("A")).when(pl.col("before") < 0.95).then(pl.lit("B"))
                   .otherwise(pl.lit("C")).alias("abc"))).collect(engine="streaming").lazy()
lost_at = last + pl.duration(days=pl.col("allowed").floor().cast(pl.Int64) + 1)
losses = c.filter("lost").group_by(month_of(lost_at).alias("month")).len()
begun = c.group_by(month_of(first).alias("month")).len()
matrix = c.group_by("abc", "xyz").agg(pl.len(), pl.col("lost").sum().alias("count"))
told = c.filter("lost").select(pl.len(), pl.col("revenue").sum())
*_, told = pl.collect_all([active, losses, begun, matrix, told], engine="streaming")
print(told.item(0, 0), told.item(0, 1) / 100)
"""
# For one who knows that no day has two purchases of a customer; winback looks at one customer in 64 to know.
POLARS_TOLD = POLARS.replace('.select("customer_id", "at").unique()', '.select("customer_id", "at")')
DEFAULT = "winback: the default rule"
CONTESTANTS = {  # by name: code; all answer the same question but those in OTHER
    FLOOR_NAME: FLOOR,
    DEFAULT: OURS,
    "winback: without the second opinion": NO_OPINION + OURS,
    "winback: cohort.parquet written too": OURS.replace('"sheet.yml"', '"sheet.yml", out="."'),
    "winback: silent for 90 days": OURS.replace('"sheet.yml"', '"sheet.yml", silent_days=90'),
    "winback: median interval": OURS.replace('"sheet.yml"', '"sheet.yml", interval="median"'),
    "Polars, told that no day has two": POLARS_TOLD,
    "Polars, lazy and streaming": POLARS,
    "pandas": PANDAS,
}
OTHER = ("winback: silent for 90 days", "winback: median interval", FLOOR_NAME)  # answers of their own
NEEDS = {name: name.partition(",")[0].lower() for name in CONTESTANTS if name.startswith(("Polars", "pandas"))}
SEVERAL = (FLOOR_NAME, DEFAULT, "Polars, lazy and streaming", "pandas")  # run where days have several purchases, too
LARGE = {  # by name: code, environment
    FLOOR_NAME: (FLOOR, {}),
    DEFAULT: (PARTS + OURS, {}),
    "winback: under 2 GB": (PARTS + OURS, LIMIT),
}

PAGE = """# Who is lost, against the floor and peers

{cores} cores, load {load:.1f} before; whole processes, in turn, over the same Parquet file in random row order;
{versions}.

    {command}

The floor is one bare GROUP BY customer_id (count, min, max, sum). winback: `find_lost` with all its sums; the default
rule is 4/3 of the customer's own mean interval, 90 days where it is not known. The second opinion is P(alive); it is
left out by making its function return nothing. pandas and Polars: purchase days, mean interval, the rule, months, ABC,
XYZ and counts by month, no more. All who apply the default rule agree to the customer and the cent. winback learns from
one customer in 64 whether days have several purchases, and if so folds days first; "told" is Polars knowing it.
"Under 2 GB" is WINBACK_MEMORY=2GB; parts: how many the customers are folded in, one after another.

{tables}

Against the aims, by the first table:

{aims}
"""


def main() -> None:
    """Make the data, run every contestant in turn, print and keep the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--large", type=int, default=5_000_000, help="customers of the run under 2 GB; 0 leaves it out")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="keep the data here and use them again")
    parser.add_argument("--peers", type=Path, help="where Polars is installed")
    args = parser.parse_args()
    if args.peers:
        paths = (os.environ.get("PYTHONPATH"), str(args.peers.resolve()))
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    load = os.getloadavg()[0]
    small = {name: (code, {}) for name, code in CONTESTANTS.items() if installed(NEEDS.get(name, "duckdb"))}
    several = {name: small[name] for name in SEVERAL if name in small}
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        results = [run(folder / kind, kind, args.customers, contestants=contestants, repeat=args.repeat)
                   for kind, contestants in (("apart", small), ("same", several))]  # fmt: skip
        if args.large:
            repeat = min(3, args.repeat)
            results += [run(folder / f"large-{kind}", kind, args.large, contestants=LARGE, repeat=repeat)
                        for kind in ("apart", "same")]  # fmt: skip
    text = PAGE.format(
        cores=os.cpu_count(), load=load, versions=versions(small),
        command=f"python benchmarks/lost.py --customers {args.customers} --repeat {args.repeat} --large {args.large}",
        tables="\n\n".join(table(*result) for result in results), aims=aims(results[0][1]),
    )  # fmt: skip
    (HERE / "lost.md").write_text(text, encoding="utf-8")
    print(text)


def installed(package: str) -> bool:
    """Return whether a contestant's process would find its package."""
    found = subprocess.run([sys.executable, "-c", f"import {package}"], check=False, stderr=subprocess.DEVNULL)
    return found.returncode == 0


def versions(names: dict) -> str:
    """Return the versions of those who took part."""
    packages = dict.fromkeys(["duckdb", *(NEEDS[name] for name in names if name in NEEDS)])
    code = "; ".join(f"import {package}; print('{package}', {package}.__version__)" for package in packages)
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    return ", ".join(told.splitlines())


def run(folder: Path, kind: str, customers: int, *, contestants: dict, repeat: int) -> tuple[str, dict, dict]:
    """Run every contestant in turn over one file, `repeat` times; return what the file is, medians and answers."""
    told = prepare(folder, kind, customers)
    rows, answers = {name: [] for name in contestants}, {}
    for turn in range(repeat):
        for name, (code, environment) in contestants.items():
            numbers, answer = measure(code, folder, environment)
            rows[name].append(numbers)
            answers[name] = answer
            print(f"{turn + 1}/{repeat} {kind} {name}: {numbers} {answer}", file=sys.stderr)
    agree({name: answer[-1] for name, answer in answers.items() if name not in OTHER and answer != FAILED})
    medians = {name: [statistics.median(column) for column in zip(*runs, strict=True)] for name, runs in rows.items()}
    return f"{told}; medians of {repeat} turns", medians, answers


def prepare(folder: Path, kind: str, customers: int) -> str:
    """Write the purchases in random order, if they are not there yet; return what they are.

    In a process of its own: a child's peak memory begins with its parent's.
    """
    if not (folder / "sheet.yml").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-c", PREPARE, str(customers), kind], cwd=folder, check=True)
        (folder / "sheet.yml").write_text(SHEET)
    done = subprocess.run([sys.executable, "-c", DESCRIBE], cwd=folder, check=True, capture_output=True)
    rows, known, refunds, several = map(int, done.stdout.split())
    return (f"{known:,} customers, {rows:,} rows, {refunds:,} of them refunds; {several / rows:.1%} on a day with "
            "another purchase of the same customer")  # fmt: skip


def measure(code: str, folder: Path, environment: dict) -> tuple[tuple[float, float, float], list[str]]:
    """Return CPU seconds, wall seconds and peak memory in GB of a whole process, and the lines it printed."""
    start = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-c", code], cwd=folder, stdout=subprocess.PIPE, text=True,
                             env=os.environ | environment)  # fmt: skip
    answer = child.stdout.read().splitlines()
    _, status, used = os.wait4(child.pid, 0)
    wall = time.perf_counter() - start
    if status:
        return (float("nan"), float("nan"), float("nan")), FAILED
    return (used.ru_utime + used.ru_stime, wall, used.ru_maxrss * 1024 / 1e9), answer


def agree(answers: dict) -> None:
    """Stop where two who answer the same question differ: a fast wrong answer is none."""
    told = {tuple(map(float, answer.split())) for answer in answers.values()}
    if len(told) != 1:
        raise SystemExit(f"They disagree: {answers}")


def table(told: str, medians: dict, answers: dict) -> str:
    """Return the medians, their ratios to the floor and, where told, in how many parts the customers were folded."""
    floor = medians[FLOOR_NAME]
    lines = [
        f"{told}:",
        "",
        "| contestant | CPU s | wall s | peak GB | CPU / floor | wall / floor | parts |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, (cpu, wall, memory) in medians.items():
        parts = answers[name][0] if len(answers[name]) > 1 else ""
        lines.append(f"| {name} | {cpu:.2f} | {wall:.2f} | {memory:.2f} | {cpu / floor[0]:.2f} | {wall / floor[1]:.2f} "
                     f"| {parts} |")  # fmt: skip
    return "\n".join(lines)


def aims(medians: dict) -> str:
    """Return what was aimed at, and what was measured."""
    ours, floor = medians[DEFAULT], medians[FLOOR_NAME]
    lines = [f"- at most 3 floors: {ours[0] / floor[0]:.2f} in CPU, {ours[1] / floor[1]:.2f} in wall time",
             f"- at most 2.5 GB: {ours[2]:.2f}"]  # fmt: skip
    lines += [f"- at least 2 x faster than {name}: {medians[name][0] / ours[0]:.2f} x in CPU, "
              f"{medians[name][1] / ours[1]:.2f} x in wall time" for name in NEEDS if name in medians]  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    main()
