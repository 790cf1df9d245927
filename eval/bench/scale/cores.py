"""Posts of words a second by the number of cores that answer, from 1 to all of this machine, in turns.

    python eval/bench/scale/cores.py [--rows 10000] [--rounds 2] [--save]

Each is a run of `hybrid-mmsa batch` over rows as those of `rows.py`, none of which repeats another. What the start of
the command costs, measured on one row, is taken off. Rounds alternate, so that a busy machine slows all alike.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

from rich.table import Table

from eval.bench.keeping import circumstances, program, tell
from eval.bench.scale.rows import run


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The record."""
    counts = range(1, (os.cpu_count() or 1) + 1)
    seconds: dict[int, list[float]] = {workers: [] for workers in counts}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.rounds):
            for workers, taken in seconds.items():
                whole, start = (run(n, workers, Path(folder), reposts=0.0)["seconds"] for n in (options.rows, 1))
                taken.append(whole - start)
    rates = {workers: options.rows / statistics.median(taken) for workers, taken in seconds.items()}
    return {
        **circumstances(["onnxruntime"], threads=max(counts)),
        "rows": options.rows,
        "rounds": options.rounds,
        "by_cores": [
            {"cores": workers, "posts_per_second": round(rate, 1), "times_one": round(rate / rates[1], 3)}
            for workers, rate in rates.items()
        ],
    }


def table(record: dict[str, Any]) -> Table:
    """A row for each number of cores."""
    shown = Table("cores", "posts a second", "times one core", title=f"load {record['machine']['load']:.1f}")
    for each in record["by_cores"]:
        shown.add_row(str(each["cores"]), f"{each['posts_per_second']:,.0f}", f"{each['times_one']:.2f}")
    return shown


def main() -> None:
    """Measure, print, save where asked."""
    parser = program(__doc__, "cores")
    parser.add_argument("--rows", type=int, default=10_000, help="rows of a run")
    parser.add_argument("--rounds", type=int, default=2, help="runs of each")
    options = parser.parse_args()
    record = measure(options)
    tell("cores", record, table(record), options)


if __name__ == "__main__":
    main()
