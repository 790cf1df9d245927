"""How much faster whole numbers make the shipped text tower than float32, and what two threads and processes gain.

    python eval/bench/towers/tower_speed.py [--rounds 60] [--json] [--save]

The float32 side is the same graph with the same weights (`float_arithmetic.py`) in the same ONNX Runtime. Both sides
take turns on one thread, so that a busy machine slows both. Threads share one encoder and processes have one each; they
get the same texts, one by one, and are timed by the clock, so this part wants a quiet machine. It knows nothing of
quality.
"""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.table import Table

from eval.bench.keeping import circumstances, program, tell
from eval.bench.towers.float_arithmetic import exact_encoder
from hybrid_mmsa.encoders.compact import CompactEncoder
from hybrid_mmsa.inputs import read_sample
from hybrid_mmsa.types import Sample

TEXTS = (
    "worst service ever",
    "The hotel room was clean and the staff were lovely, but breakfast was cold and late again",
    "Central bank leaves interest rates unchanged, as analysts had expected before the meeting on Thursday",
)
BATCH = 64
WARM_UP = 5
AT_ONCE, CALLS = 2, 200


def posts(count: int) -> list[Sample]:
    """So many read texts, no two alike."""
    return [read_sample(Sample(text=f"{TEXTS[n % len(TEXTS)]} {n}")) for n in range(count)]


def seconds(encoder: CompactEncoder, batch: Sequence[Sample], size: int) -> float:
    """How long the texts take, `size` of them at a time."""
    begin = time.perf_counter()
    for start in range(0, len(batch), size):
        encoder.encode(batch[start : start + size])
    return time.perf_counter() - begin


def beside(sides: Mapping[str, CompactEncoder], count: int, size: int, rounds: int) -> dict[str, Any]:
    """Milliseconds a text of both sides, and how often the first goes into the second: median, lowest and highest."""
    batch = posts(count)
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(WARM_UP + rounds):
        for name, encoder in sides.items():
            spent = seconds(encoder, batch, size)
            if turn >= WARM_UP:
                taken[name].append(1000 * spent / count)
    shipped, exact = taken.values()
    ratios = sorted(b / a for a, b in zip(shipped, exact, strict=True))
    twentieth = len(ratios) // 20
    return {
        "ms_a_text": {name: statistics.median(values) for name, values in taken.items()},
        "ratio": statistics.median(ratios),
        "low": ratios[twentieth],
        "high": ratios[-1 - twentieth],
    }


_own: CompactEncoder | None = None


def _open() -> None:
    global _own
    _own = CompactEncoder(threads=1)


def _call(_: int) -> None:
    if _own is None:
        raise RuntimeError("the worker has opened no encoder")
    _own.encode(posts(len(TEXTS)))


def at_once(rounds: int) -> dict[str, float]:
    """How many times as many calls threads, and processes, get done as one caller does: medians."""
    _open()
    context = multiprocessing.get_context("spawn")
    pools: dict[str, Executor] = {
        "one": ThreadPoolExecutor(1),
        "threads": ThreadPoolExecutor(AT_ONCE),
        "processes": ProcessPoolExecutor(AT_ONCE, context, _open),
    }
    rates: dict[str, list[float]] = {name: [] for name in pools}
    for turn in range(1 + rounds):
        for name, pool in pools.items():
            begin = time.perf_counter()
            list(pool.map(_call, range(CALLS)))
            if turn:
                rates[name].append(CALLS / (time.perf_counter() - begin))
    for pool in pools.values():
        pool.shutdown()
    one = statistics.median(rates["one"])
    return {name: statistics.median(values) / one for name, values in rates.items() if name != "one"}


def table(record: Mapping[str, Any]) -> Table:
    """A row per way of asking."""
    shown = Table("texts at a time", "shipped, ms a text", "float32, ms a text", "times faster")
    for name, found in record["beside_float32"].items():
        shipped, exact = (f"{value:.2f}" for value in found["ms_a_text"].values())
        shown.add_row(name, shipped, exact, f"{found['ratio']:.2f} [{found['low']:.2f}, {found['high']:.2f}]")
    for name, times in record["two_at_once"].items():
        shown.add_row(f"two {name} beside one", "", "", f"{times:.2f}")
    return shown


def main() -> None:
    """Measure, print, and keep if asked."""
    parser = program(__doc__, "tower-speed")
    parser.add_argument("--rounds", type=int, default=60, help="turns of each side")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sides = {"shipped": CompactEncoder(threads=1), "float32": exact_encoder(Path(folder))}
        found = {
            "1": beside(sides, len(TEXTS), 1, options.rounds),
            str(BATCH): beside(sides, BATCH, BATCH, options.rounds // 4),
        }
    record = {
        **circumstances(["onnxruntime"], threads=1),
        "beside_float32": found,
        "two_at_once": at_once(max(3, options.rounds // 12)),
    }
    tell("tower-speed", record, table(record), options)


if __name__ == "__main__":
    main()
