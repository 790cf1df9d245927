"""What a fresh process costs before its first answer, and what a worker holds; beside another checkout if one is named.

    python eval/bench/speed/start.py [--rounds 15] [--beside CHECKOUT] [--json] [--save]

A process imports the package, answers one post of words and picture, then 200 more one by one, as a worker does. Files
are in the page cache, as they are when a second worker starts. Both checkouts take turns, so that a busy machine slows
both; ratios are of the same round.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.table import Table

from eval.bench.keeping import ROOT, circumstances, program, tell
from eval.bench.speed.bench import TEXTS, one_thread, photographs

POSTS = 200
WORKER = f"""
import json, re, sys, time
began = time.perf_counter()
import hybrid_mmsa
imported = time.perf_counter()
texts, pictures = json.loads(sys.argv[1]), json.loads(sys.argv[2])
hybrid_mmsa.analyze(texts[0], pictures[0])
answered = time.perf_counter()
def held(what):
    with open("/proc/self/status") as status:
        return int(re.search(what + r":\\s+(\\d+) kB", status.read())[1]) * 1024 / 1e6
first = held("VmRSS")
for number in range({POSTS}):
    hybrid_mmsa.analyze(texts[number % len(texts)], pictures[number % len(pictures)])
print(json.dumps({{
    "import_s": imported - began,
    "first_answer_s": answered - imported,
    "first_answer_mb": first,
    "worker_mb": held("VmRSS"),
    "worker_own_mb": held("RssAnon"),
    "worker_peak_mb": held("VmHWM"),
}}))
"""
TITLES = {
    "import_s": "import (s)",
    "first_answer_s": "first answer after it (s)",
    "first_answer_mb": "resident after the first answer (MB)",
    "worker_mb": f"resident after {POSTS} posts (MB)",
    "worker_own_mb": "of it the process's own, not the files' (MB)",
    "worker_peak_mb": "most ever resident (MB)",
}


def started(checkout: Path) -> dict[str, float]:
    """One fresh process of a checkout."""
    pictures = json.dumps([str(path) for path in photographs()])
    command = [sys.executable, "-c", WORKER, json.dumps(TEXTS), pictures]
    environment = {**one_thread(), "PYTHONPATH": str(checkout)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=checkout)
    if done.returncode:
        sys.exit(f"a measured process failed:\n{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    """Of each figure over the rounds."""
    return {name: statistics.median(each[name] for each in rounds) for name in TITLES}


def main() -> None:
    """Measure in turns, print, save where asked."""
    parser = program(__doc__, "start")
    parser.add_argument("--rounds", type=int, default=15, help="fresh processes of each")
    parser.add_argument("--beside", type=Path, metavar="CHECKOUT", help="another checkout to compare with")
    options = parser.parse_args()
    checkouts = {"this": ROOT, **({} if options.beside is None else {"beside": options.beside.resolve()})}
    for checkout in checkouts.values():
        started(checkout)  # compiles modules, and fills the page cache
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in checkouts}
    for number in range(options.rounds):
        names = list(checkouts) if number % 2 else list(reversed(checkouts))
        for name in names:
            rounds[name].append(started(checkouts[name]))
    record: dict[str, Any] = {
        **circumstances(["onnxruntime", "numpy", "pydantic"], threads=1),
        "rounds": options.rounds,
        "this": medians(rounds["this"]),
    }
    shown = Table("", "this", *["beside", "beside over this"] * (options.beside is not None))
    if options.beside is not None:
        record["beside"] = medians(rounds["beside"])
        pairs = list(zip(rounds["beside"], rounds["this"], strict=True))
        record["times"] = {name: statistics.median(a[name] / b[name] for a, b in pairs) for name in TITLES}
    for name, title in TITLES.items():
        cells = [f"{record[which][name]:.3g}" for which in ("this", "beside", "times") if which in record]
        shown.add_row(title, *cells)
    tell("start", record, shown, options)


if __name__ == "__main__":
    main()
