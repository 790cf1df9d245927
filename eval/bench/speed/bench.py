"""Speed and size of the fast tier beside what a user would pick instead, in one run. It knows nothing of quality.

    python eval/bench/speed/bench.py [--repeats 100] [--rounds 3] [--only clip ...] [--json] [--save]

All sides (`rivals.py`) judge the same posts on one thread, each in a process of its own, taking turns so that a busy
machine slows all. A post is timed from encoded JPEG and plain text to the answer. A ratio is of medians over all
rounds; beside it stand the lowest and the highest of single rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from io import BytesIO
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
from packaging.requirements import Requirement
from PIL import Image
from rich.console import Console
from rich.table import Table

from eval.bench.keeping import circumstances, program, tell
from eval.bench.speed.memory import peak_memory_mb
from eval.bench.speed.rivals import OURS, RIVALS, Judge, Post
from hybrid_mmsa.encoders import CompactEncoder
from hybrid_mmsa.inputs import read_sample
from hybrid_mmsa.types import Sample

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = ROOT / "hybrid_mmsa"
BATCH = 64
WARM_UP = 5
TEXTS = (
    "Finally home after two weeks on the road!",
    "oh great, another monday in the rain",
    "The committee meets again on Tuesday at nine.",
    "I can't believe they cancelled it an hour before the doors opened. Never again.",
)


@dataclass(frozen=True, slots=True)
class SpeedFigures:
    """What is measured of one side. Field order is the order of the table's rows."""

    latency_p50_ms: float
    latency_p95_ms: float
    posts_per_second: float
    peak_memory_mb: float | None
    cold_start_s: float | None
    install_mb: float | None


HEADINGS = {
    "latency_p50_ms": "latency, one post, p50 (ms)",
    "latency_p95_ms": "latency, one post, p95 (ms)",
    "posts_per_second": f"throughput, batches of {BATCH} (posts/s)",
    "peak_memory_mb": "peak memory (MB)",
    "cold_start_s": "fresh process to first answer (s)",
    "install_mb": "packages as pip installs them (MB)",
}


def photographs() -> list[Path]:
    """The pictures of the bundled sample posts."""
    found = sorted((PACKAGE / "samples").rglob("*.jpg"))
    if not found:
        sys.exit("no sample photographs beside the package: nothing to measure with")
    return found


def posts(count: int) -> list[Post]:
    """Text and encoded picture of `count` posts, the sample photographs taking turns."""
    pictures = [path.read_bytes() for path in photographs()]
    return list(islice(zip(cycle(TEXTS), cycle(pictures), strict=False), count))


def seconds(judge: Judge, batch: Sequence[Post]) -> float:
    """How long one call takes."""
    begin = time.perf_counter()
    judge(batch)
    return time.perf_counter() - begin


def work(name: str, repeats: int) -> dict[str, Any]:
    """One side's turn, inside its own process."""
    judge = RIVALS[name].opened()
    batch = posts(BATCH)
    for post in batch[:WARM_UP]:
        judge([post])
    singles = [seconds(judge, [post]) for post in islice(cycle(batch), repeats)]
    whole = min(seconds(judge, batch) for _ in range(2))
    turn: dict[str, Any] = {
        "singles_ms": [1000 * s for s in singles],
        "posts_per_second": BATCH / whole,
        "peak_memory_mb": None if RIVALS[name].exported else peak_memory_mb(),
    }
    return turn | ({"floors_ms": floors(repeats)} if name == OURS else {})


def floors(repeats: int) -> dict[str, float]:
    """Median milliseconds of what a post cannot do without: decoding its picture, and both towers on what they read."""
    encoder = CompactEncoder()
    batch = posts(BATCH)
    samples = [read_sample(Sample(text=text, image=picture)) for text, picture in batch]
    parts: dict[str, Callable[[int], object]] = {
        "decoding": lambda i: Image.open(BytesIO(batch[i][1])).convert("RGB").load(),
        "text tower": lambda i: encoder.encode([replace(samples[i], image=None)]),
        "picture tower": lambda i: encoder.encode([replace(samples[i], text=None)]),
    }
    times: dict[str, list[float]] = {name: [] for name in parts}
    for turn in range(repeats):
        for name, part in parts.items():
            begin = time.perf_counter()
            part(turn % BATCH)
            times[name].append(1000 * (time.perf_counter() - begin))
    return {name: statistics.median(values) for name, values in times.items()}


def one_thread() -> dict[str, str]:
    """The environment of a measured process."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def run(*arguments: str) -> str:
    """What a fresh Python prints; ends the programme with its message if it fails."""
    command = [sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=one_thread())
    if done.returncode:
        sys.exit(f"a measured process failed:\n{done.stderr}")
    return done.stdout


def cold_start(program: str) -> float:
    """Seconds from starting a process to its first answer."""
    begin = time.perf_counter()
    run("-c", program, TEXTS[0], str(photographs()[0]))
    return time.perf_counter() - begin


def dependencies(name: str, seen: set[str]) -> Iterator[metadata.Distribution]:
    """A distribution and all it needs, extras left out."""
    if name in seen:
        return
    seen.add(name)
    found = metadata.distribution(name)
    yield found
    for line in found.requires or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield from dependencies(requirement.name.lower().replace("_", "-"), seen)


def install_size(distribution: str) -> float:
    """Megabytes on disk of what pip installs, ours with the bundled weights wherever they stand."""
    found = list(dependencies(distribution, set()))
    files = {Path(str(d.locate_file(f))) for d in found for f in d.files or ()}
    if distribution == RIVALS[OURS].distribution:
        folders = (PACKAGE, *(ROOT / name for name in ("adapters", "prompts")))
        files |= {file for folder in folders for file in folder.rglob("*")}
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


def measure(names: Sequence[str], rounds: int, repeats: int, console: Console) -> dict[str, list[dict[str, Any]]]:
    """Every side's turns, in rounds."""
    turns: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names:
            console.print(f"round {number + 1} of {rounds}: {name}", style="dim")
            turn = json.loads(run(__file__, "--side", name, "--repeats", str(repeats)))
            program = RIVALS[name].cold
            turns[name].append(turn | ({"cold_start_s": cold_start(program)} if program else {}))
    return turns


def figures(turns: Sequence[dict[str, Any]], install_mb: float | None = None) -> SpeedFigures:
    """One side's turns made one."""
    singles = np.concatenate([turn["singles_ms"] for turn in turns])
    starts = [turn["cold_start_s"] for turn in turns if "cold_start_s" in turn]
    return SpeedFigures(
        latency_p50_ms=float(np.percentile(singles, 50)),
        latency_p95_ms=float(np.percentile(singles, 95)),
        posts_per_second=statistics.median(turn["posts_per_second"] for turn in turns),
        peak_memory_mb=max((turn["peak_memory_mb"] for turn in turns if turn["peak_memory_mb"]), default=None),
        cold_start_s=statistics.median(starts) if starts else None,
        install_mb=install_mb,
    )


def ratios(ours: SpeedFigures, theirs: SpeedFigures) -> dict[str, float]:
    """How many times better ours is: the other's time or size over ours, our throughput over the other's."""
    known = asdict(theirs), asdict(ours)
    values = {
        name: known[0][name] / known[1][name] for name in known[0] if None not in (known[0][name], known[1][name])
    }
    values["posts_per_second"] = 1 / values["posts_per_second"]
    return values


def record(turns: dict[str, list[dict[str, Any]]], options: argparse.Namespace) -> dict[str, Any]:
    """The run as numbers, with what is needed to read them."""
    sizes = {name: install_size(d) if (d := RIVALS[name].distribution) else None for name in turns}
    found = {name: figures(of, sizes[name]) for name, of in turns.items()}
    against = {name: "hybrid_mmsa_words" if RIVALS[name].words_alone else OURS for name in turns}
    result: dict[str, Any] = {
        **circumstances(["onnxruntime", "torch", "open-clip-torch", "transformers"], threads=1),
        "rounds": options.rounds,
        "repeats": options.repeats,
        "batch": BATCH,
        "sides": {name: asdict(values) for name, values in found.items()},
        "times_better": {
            name: {
                **ratios(found[ours], found[name]),
                "latency_p50_rounds": _of_rounds(turns[ours], turns[name]),
            }
            for name, ours in against.items()
            if name != ours and ours in turns
        },
    }
    parts = [turn["floors_ms"] for turn in turns[OURS]]
    result["floors_ms"] = {name: statistics.median(part[name] for part in parts) for name in parts[0]}
    result["whole_over_floors"] = found[OURS].latency_p50_ms / sum(result["floors_ms"].values())
    return result


def _of_rounds(ours: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]]) -> list[float]:
    """The latency's ratio in the least and the most favourable round."""
    values = [figures([b]).latency_p50_ms / figures([a]).latency_p50_ms for a, b in zip(ours, theirs, strict=True)]
    return [min(values), max(values)]


def table(result: dict[str, Any]) -> Table:
    """A row per side: its figures, and how many times faster ours is."""
    shown = Table(title=f"one thread, {result['machine']['cpus']} CPUs, load {result['machine']['load']:.1f}")
    for heading in ("", *HEADINGS.values(), "times faster, one post", "times as many in batches"):
        shown.add_column(heading, justify="left" if not heading else "right")
    for name, values in result["sides"].items():
        better = result["times_better"].get(name)
        cells = ["–" if values[figure] is None else f"{values[figure]:,.1f}" for figure in HEADINGS]
        if better:
            low, high = better["latency_p50_rounds"]
            cells += [f"{better['latency_p50_ms']:.2g} [{low:.2g}, {high:.2g}]", f"{better['posts_per_second']:.2g}"]
        shown.add_row(RIVALS[name].title, *cells)
    return shown


def main() -> None:
    """Measure, print, save where asked."""
    parser = program(__doc__, "bench")
    parser.add_argument("--repeats", type=int, default=100, help="single posts timed per round and side")
    parser.add_argument("--rounds", type=int, default=3, help="turns each side takes")
    parser.add_argument("--only", nargs="+", choices=sorted(set(RIVALS) - {OURS}), help="rivals to measure beside ours")
    parser.add_argument("--side", choices=RIVALS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    console = Console(stderr=options.json)
    if options.side:
        sys.stdout.write(json.dumps(work(options.side, options.repeats)))
        return
    names = [name for name in RIVALS if not options.only or name in (OURS, *options.only)]
    result = record(measure(names, options.rounds, options.repeats, console), options)
    tell("bench", result, table(result), options)


if __name__ == "__main__":
    main()
