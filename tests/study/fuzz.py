"""Spoil tables, answer files and sheets ten thousand times each, and count what came of it: `make fuzz`.

Another number, or seed: tests/study/fuzz.py 500 7. The table of docs/robustness.md is printed.
"""
# ruff: noqa: T201

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import fuzzing


def main(count: int = 10_000, seed: int = 1) -> int:
    """Print a row a kind, and the first faults; return how many there are."""
    faults = []
    heads = (
        "files",
        "spoilt",
        "read",
        "refused in words",
        "tracebacks",
        "over 10 s",
        "other row counts",
        "private text",
    )
    print(f"| {' | '.join(heads)} |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for kind, run in fuzzing.KINDS.items():
            done = run(Path(folder), seed=seed, count=count)
            numbers = [
                done.files,
                done.read,
                done.refused,
                *map(len, (done.tracebacks, done.slow, done.miscounted, done.leaked)),
            ]
            print(f"| {kind} | {' | '.join(f'{number:,}' for number in numbers)} |", flush=True)
            faults += done.faults()
    print("\n".join(faults[:20]))
    return len(faults)


if __name__ == "__main__":
    sys.exit(min(1, main(*map(int, sys.argv[1:3]))))
