"""How a run of `hybrid-mmsa batch` grows with its rows: seconds, processor time and memory from 1 row to 1,000,000.

    python eval/bench/scale/rows.py [--most 1000000] [--reposts 0.6] [--workers 2] [--cache 100000] [--save]

Each size is one run of the command as a user gives it, over a JSONL file with ids, journal and all. A share of the rows
are reposts of one of the 10,000 rows before them, as on a network; the others are drawn as `scale.py` draws them, none
twice. Memory is read from outside, every second, and kept as ten points of the run. `exponent` is the slope of log
seconds over log rows from 10,000 rows on: 1 is linear.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from eval.bench.keeping import circumstances, program, tell
from eval.bench.scale.scale import text
from eval.bench.speed.memory import resident_mb

RECENT = 10_000
"""A repost repeats one of so many rows before it."""
POINTS = 10
"""Points of memory that are kept of a run."""
LINEAR_FROM = 10_000
"""Rows from which on the work outweighs the start."""


def rows(count: int, reposts: float) -> Iterator[str]:
    """The lines of a file, always the same."""
    chance = np.random.default_rng(1)
    recent: list[str] = []
    for number in range(count):
        again = bool(recent) and chance.random() < reposts
        words = recent[int(chance.integers(0, len(recent)))] if again else text(number)
        if len(recent) < RECENT:
            recent.append(words)
        else:
            recent[number % RECENT] = words
        yield json.dumps({"id": str(number), "text": words})


def run(count: int, workers: int, folder: Path, *, reposts: float, cache: int | None = None) -> dict[str, Any]:
    """One run of the command: its rows are counted, its memory is watched.

    Args:
        count: Rows.
        workers: Threads of the command.
        folder: Where the files lie meanwhile.
        reposts: Share of rows that repeat one before them.
        cache: Posts that the command remembers, if any.
    """
    file, answers = folder / f"{count}.jsonl", folder / f"{count}.answers.jsonl"
    with file.open("w", encoding="utf-8") as lines:
        lines.writelines(f"{line}\n" for line in rows(count, reposts))
    command = [
        sys.executable,
        "-m",
        "hybrid_mmsa",
        "batch",
        str(file),
        "-o",
        str(answers),
        "--explain",
        "none",
        "--quiet",
    ]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began, held = time.monotonic(), []
    command += [] if cache is None else ["--cache", str(cache)]
    with subprocess.Popen([*command, "--workers", str(workers)]) as process:
        while process.poll() is None:
            held.append(resident_mb(process.pid))
            time.sleep(1.0 if count > 1_000 else 0.05)
    seconds = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    with answers.open("rb") as lines:
        answered = sum(1 for _ in lines)
    if process.returncode or answered != count:
        sys.exit(f"the run of {count} rows ended with {process.returncode} and {answered} answers")
    file.unlink()
    answers.unlink()
    known = [value for value in held if value]
    tenths = [known[min(len(known) - 1, len(known) * n // POINTS)] for n in range(1, POINTS + 1)]
    return {
        "rows": count,
        "seconds": round(seconds, 2),
        "processor_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2),
        "posts_per_second": round(count / seconds, 1),
        "peak_memory_mb": round(max(known), 1),
        "memory_mb_by_tenths": [round(value, 1) for value in tenths],
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The record."""
    sizes = [10**power for power in range(10) if 10**power <= options.most]
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        limits = {"reposts": options.reposts, "cache": options.cache}
        runs = [run(count, options.workers, Path(folder), **limits) for count in sizes]
    large = [(each["rows"], each["seconds"]) for each in runs if each["rows"] >= LINEAR_FROM]
    x, y = np.log(np.array(large)).T
    return {
        **circumstances(["onnxruntime", "numpy"], threads=options.workers),
        "workers": options.workers,
        "reposts": options.reposts,
        "cache": options.cache,
        "runs": runs,
        "exponent": round(float(np.polyfit(x, y, 1)[0]), 3),
    }


def table(record: dict[str, Any]) -> Table:
    """A row for each size."""
    title = f"{record['workers']} workers, {record['reposts']:.0%} reposts, exponent {record['exponent']:.2f}"
    shown = Table("rows", "seconds", "posts a second", "processor ms a post", "peak MB", "MB by tenths", title=title)
    for each in record["runs"]:
        shown.add_row(
            f"{each['rows']:,}",
            f"{each['seconds']:,.1f}",
            f"{each['posts_per_second']:,.0f}",
            f"{1000 * each['processor_seconds'] / each['rows']:.2f}",
            f"{each['peak_memory_mb']:,.0f}",
            ", ".join(f"{value:,.0f}" for value in each["memory_mb_by_tenths"]),
        )
    return shown


def main() -> None:
    """Measure, print, save where asked."""
    parser = program(__doc__, "rows")
    parser.add_argument("--most", type=int, default=1_000_000, help="rows of the largest run; 100,000 at least")
    parser.add_argument("--reposts", type=float, default=0.6, help="share of rows that repeat one before them")
    parser.add_argument("--workers", type=int, default=2, help="threads of the command")
    parser.add_argument("--cache", type=int, default=100_000, help="posts that the command remembers")
    parser.add_argument("--folder", type=Path, help="where the files lie meanwhile (about 2 kB a row)")
    options = parser.parse_args()
    record = measure(options)
    tell("rows", record, table(record), options)


if __name__ == "__main__":
    main()
