"""Speed and size of the fast tier beside a ViT-B/32 CLIP in torch, in one run. It knows nothing of quality.

    python eval/bench/speed/bench.py [--repeats 100] [--rounds 3] [--json] [--save]

Both sides judge the same posts on one thread, each in a process of its own, taking turns so that a busy machine slows
both. CLIP has random weights: its speed does not depend on them. A post is timed from encoded JPEG and plain text to
the answer.
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
from dataclasses import asdict, dataclass, fields
from importlib import metadata
from io import BytesIO
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import numpy as np
from packaging.requirements import Requirement
from PIL import Image
from rich.console import Console
from rich.table import Table

from eval.bench.keeping import circumstances, program, tell
from eval.bench.speed.memory import peak_memory_mb

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = ROOT / "hybrid_mmsa"
BATCH = 64
WARM_UP = 5
COLD_STARTS = 3
CLIP = "ViT-B-32"
TEXTS = (
    "Finally home after two weeks on the road!",
    "oh great, another monday in the rain",
    "The committee meets again on Tuesday at nine.",
    "I can't believe they cancelled it an hour before the doors opened. Never again.",
)

Side: TypeAlias = Literal["hybrid_mmsa", "clip"]
SIDES: tuple[Side, ...] = ("hybrid_mmsa", "clip")
Post: TypeAlias = tuple[str, bytes]
Judge: TypeAlias = Callable[[Sequence[Post]], object]

# A fresh process from its start to its first answer, nothing imported that the side does not need.
COLD: dict[Side, str] = {
    "hybrid_mmsa": "import sys, hybrid_mmsa; hybrid_mmsa.analyze(sys.argv[1], sys.argv[2])",
    "clip": f"""
import sys, open_clip, torch
from PIL import Image
model, _, prepare = open_clip.create_model_and_transforms({CLIP!r}, pretrained=None)
model.eval()
with torch.inference_mode():
    model.encode_text(open_clip.get_tokenizer({CLIP!r})([sys.argv[1]]))
    model.encode_image(prepare(Image.open(sys.argv[2]).convert("RGB"))[None])
""",
}
DISTRIBUTIONS: dict[Side, str] = {"hybrid_mmsa": "hybrid-mmsa", "clip": "open-clip-torch"}


@dataclass(frozen=True, slots=True)
class SpeedFigures:
    """What is measured of one side. Field order is the order of the table's rows."""

    latency_p50_ms: float
    latency_p95_ms: float
    posts_per_second: float
    cold_start_s: float
    peak_memory_mb: float
    install_mb: float


HEADINGS = {
    "latency_p50_ms": "latency, one post, p50 (ms)",
    "latency_p95_ms": "latency, one post, p95 (ms)",
    "posts_per_second": f"throughput, batches of {BATCH} (posts/s)",
    "cold_start_s": "fresh process to first answer (s)",
    "peak_memory_mb": "peak memory (MB)",
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


def fast_tier() -> Judge:
    """The bundled model, one thread. Imported here, so that CLIP's process does not carry it."""
    from hybrid_mmsa import Analyzer, Sample

    analyzer = Analyzer.from_pretrained(threads=1)

    def judge(batch: Sequence[Post]) -> object:
        return analyzer.analyze_batch([Sample(text=text, image=picture) for text, picture in batch])

    return judge


def clip() -> Judge:
    """Both towers of a CLIP with random weights, one thread."""
    import open_clip
    import torch

    torch.set_num_threads(1)
    model, _, prepare = open_clip.create_model_and_transforms(CLIP, pretrained=None)
    tokenize = open_clip.get_tokenizer(CLIP)
    model.eval()

    def judge(batch: Sequence[Post]) -> object:
        pictures = [prepare(Image.open(BytesIO(picture)).convert("RGB")) for _, picture in batch]
        with torch.inference_mode():
            text_features = model.encode_text(tokenize([text for text, _ in batch]), normalize=True)
            image_features = model.encode_image(torch.stack(pictures), normalize=True)
        return text_features, image_features

    return judge


def seconds(judge: Judge, batch: Sequence[Post]) -> float:
    """How long one call takes."""
    begin = time.perf_counter()
    judge(batch)
    return time.perf_counter() - begin


def work(side: Side, repeats: int) -> dict[str, Any]:
    """One side's turn, inside its own process."""
    judge = fast_tier() if side == "hybrid_mmsa" else clip()
    batch = posts(BATCH)
    for post in batch[:WARM_UP]:
        judge([post])
    singles = [seconds(judge, [post]) for post in islice(cycle(batch), repeats)]
    whole = min(seconds(judge, batch) for _ in range(2))
    return {
        "singles_ms": [1000 * s for s in singles],
        "posts_per_second": BATCH / whole,
        "peak_memory_mb": peak_memory_mb(),
    }


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


def cold_start(side: Side) -> float:
    """Seconds from starting a process to its first answer."""
    begin = time.perf_counter()
    run("-c", COLD[side], TEXTS[0], str(photographs()[0]))
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


def install_size(side: Side) -> float:
    """Megabytes on disk of a side's packages, ours with the bundled weights wherever they stand."""
    found = list(dependencies(DISTRIBUTIONS[side], set()))
    files = {Path(str(d.locate_file(f))) for d in found for f in d.files or ()}
    if side == "hybrid_mmsa":
        folders = (PACKAGE, *(ROOT / name for name in ("adapters", "prompts")))
        files |= {file for folder in folders for file in folder.rglob("*")}
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


def measure(rounds: int, repeats: int, console: Console) -> dict[Side, SpeedFigures]:
    """All figures of both sides, taking turns."""
    turns: dict[Side, list[dict[str, Any]]] = {side: [] for side in SIDES}
    starts: dict[Side, list[float]] = {side: [] for side in SIDES}
    for number in range(rounds):
        for side in SIDES:
            console.print(f"round {number + 1} of {rounds}: {side}", style="dim")
            turns[side].append(json.loads(run(__file__, "--side", side, "--repeats", str(repeats))))
    for _ in range(COLD_STARTS):
        for side in SIDES:
            starts[side].append(cold_start(side))
    return {side: figures(turns[side], starts[side], install_size(side)) for side in SIDES}


def figures(turns: list[dict[str, Any]], starts: list[float], install_mb: float) -> SpeedFigures:
    """One side's turns made one."""
    singles = np.concatenate([turn["singles_ms"] for turn in turns])
    return SpeedFigures(
        latency_p50_ms=float(np.percentile(singles, 50)),
        latency_p95_ms=float(np.percentile(singles, 95)),
        posts_per_second=statistics.median(turn["posts_per_second"] for turn in turns),
        cold_start_s=statistics.median(starts),
        peak_memory_mb=max(turn["peak_memory_mb"] for turn in turns),
        install_mb=install_mb,
    )


def ratios(ours: SpeedFigures, theirs: SpeedFigures) -> dict[str, float]:
    """How many times better ours is: CLIP's time or size over ours, our throughput over CLIP's."""
    values = {f.name: getattr(theirs, f.name) / getattr(ours, f.name) for f in fields(SpeedFigures)}
    values["posts_per_second"] = 1 / values["posts_per_second"]
    return values


def record(found: dict[Side, SpeedFigures], options: argparse.Namespace) -> dict[str, Any]:
    """The run as numbers, with what is needed to read them."""
    return {
        **circumstances(["onnxruntime", "torch", "open-clip-torch"], threads=1),
        "rounds": options.rounds,
        "repeats": options.repeats,
        "batch": BATCH,
        **{side: asdict(values) for side, values in found.items()},
        "times_better": ratios(found["hybrid_mmsa"], found["clip"]),
    }


def table(result: dict[str, Any]) -> Table:
    """Both sides and their ratio, a row per figure."""
    shown = Table(title=f"one thread, {result['machine']['cpus']} CPUs, load {result['machine']['load']:.1f}")
    shown.add_column("")
    for heading in ("hybrid_mmsa", "CLIP ViT-B/32, torch", "times better"):
        shown.add_column(heading, justify="right")
    for name, heading in HEADINGS.items():
        ours, theirs = result["hybrid_mmsa"][name], result["clip"][name]
        shown.add_row(heading, f"{ours:,.1f}", f"{theirs:,.1f}", f"{result['times_better'][name]:.1f}")
    return shown


def main() -> None:
    """Measure, print, save where asked."""
    parser = program(__doc__, "bench")
    parser.add_argument("--repeats", type=int, default=100, help="single posts timed per round and side")
    parser.add_argument("--rounds", type=int, default=3, help="turns each side takes")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    console = Console(stderr=options.json)
    if options.side:
        sys.stdout.write(json.dumps(work(cast("Side", options.side), options.repeats)))
        return
    result = record(measure(options.rounds, options.repeats, console), options)
    tell("bench", result, table(result), options)


if __name__ == "__main__":
    main()
