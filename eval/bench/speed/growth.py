"""How time and memory grow with posts, words, pictures, threads and adapters. It compares with nobody.

    python eval/bench/speed/growth.py [--only KIND ...] [--seconds 500] [--page build/bench.html] [--json] [--save]

Every size is measured in a process of its own, whose peak memory counts. Sizes of all kinds take turns, small ones
first, until the time is spent; what was left out is named in the record. `exponent` is the slope of log time over log
size: 1 is linear, 0 costs nothing. It is taken over the sizes from which on the work outweighs what each post costs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import cycle, islice, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from eval.bench.keeping import circumstances, program, tell
from eval.bench.speed.bench import TEXTS, one_thread, photographs, posts
from eval.bench.speed.memory import peak_memory_mb
from eval.bench.speed.plots import speed_page
from hybrid_mmsa import Analyzer, Sample
from hybrid_mmsa.engines import Call, LocalEngine
from hybrid_mmsa.model import open_model

REPEATS = 3


def many_posts(size: float, _: Path) -> Callable[[], object]:
    """So many posts of words, streamed."""
    engine = LocalEngine(Analyzer.from_pretrained(threads=1), Call(), workers=1)
    rows = enumerate((Sample(text=text) for text in islice(cycle(TEXTS), int(size))), 1)
    return lambda: sum(1 for _ in engine.answers(rows))


def long_text(size: float, _: Path) -> Callable[[], object]:
    """One post of so many characters."""
    analyzer = Analyzer.from_pretrained(threads=1)
    text = " ".join(islice(cycle(TEXTS), int(size) // 20 + 1))[: int(size)]
    return lambda: analyzer.analyze(text)


def large_picture(size: float, folder: Path) -> Callable[[], object]:
    """One picture of so many million pixels, JPEG."""
    analyzer, path = Analyzer.from_pretrained(threads=1), folder / f"{size:g}.jpg"
    return lambda: analyzer.analyze(image=path)


def many_threads(size: float, _: Path) -> Callable[[], object]:
    """64 posts of words and picture, by so many threads."""
    analyzer, batch = Analyzer.from_pretrained(threads=1), posts(64)
    pool = ThreadPoolExecutor(int(size))
    return lambda: list(pool.map(lambda post: analyzer.analyze(*post), batch))


def many_adapters(size: float, _: Path) -> Callable[[], object]:
    """One post, by the last of so many adapters."""
    opened = open_model()
    adapters = [replace(opened.adapter, name=f"copy-{number}") for number in range(int(size))]
    analyzer = Analyzer(opened.encoder, adapters)
    return lambda: analyzer.analyze(TEXTS[0], adapter=f"copy-{int(size) - 1}")


@dataclass(frozen=True, slots=True)
class Growth:
    """One kind of growth.

    Attributes:
        title: What grows, for people.
        prepared: Size → what is timed.
        sizes: Smallest first.
        linear_from: The size from which on the exponent is taken.
        once: The work is done once, since it would find nothing to do again.
    """

    title: str
    prepared: Callable[[float, Path], Callable[[], object]]
    sizes: Sequence[float]
    linear_from: float
    once: bool = False


KINDS: Mapping[str, Growth] = {
    "posts": Growth("posts of words", many_posts, (1, 10, 100, 1_000, 10_000, 100_000), 100, once=True),
    "characters": Growth("characters of a text", long_text, (1, 10, 100, 1_000, 10_000, 100_000), 100),
    "megapixels": Growth("million pixels of a picture", large_picture, (0.1, 1, 3, 10, 30, 100), 1),
    "threads": Growth("threads, 64 posts of both sides", many_threads, (1, 2, 4, 8, 16), 2),
    "adapters": Growth("adapters in memory", many_adapters, (1, 2, 4, 8, 16, 32), 1),
}


def work(kind: str, size: float, folder: Path) -> dict[str, float]:
    """One size, inside its own process: seconds of one go, peak memory."""
    growth = KINDS[kind]
    call = growth.prepared(size, folder)
    times = []
    for _ in range(1 if growth.once else 1 + REPEATS):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return {"seconds": statistics.median(times[-REPEATS:]), "peak_memory_mb": peak_memory_mb()}


def draw_pictures(folder: Path) -> None:
    """A sample photograph in all sizes that are measured."""
    with Image.open(photographs()[0]) as photograph:
        for size in KINDS["megapixels"].sizes:
            side = round((size * 1e6) ** 0.5)
            photograph.convert("RGB").resize((side, side)).save(folder / f"{size:g}.jpg", quality=75)


def measure(names: Sequence[str], seconds: float, console: Console) -> dict[str, Any]:
    """All sizes of all kinds, as far as the time goes."""
    until, lasted = time.monotonic() + seconds, dict.fromkeys(names, 0.0)
    found: dict[str, Any] = {name: {"title": KINDS[name].title, "sizes": [], "left_out": []} for name in names}
    with tempfile.TemporaryDirectory() as folder:
        if "megapixels" in names:
            draw_pictures(Path(folder))
        for turn in zip_longest(*([(name, size) for size in KINDS[name].sizes] for name in names)):
            for name, size in filter(None, turn):
                before = found[name]["sizes"][-1:]
                growing = size / before[0]["size"] if before else 1.0
                if time.monotonic() + growing * lasted[name] > until:  # at the worst it is linear
                    found[name]["left_out"].append(size)
                    continue
                console.print(f"{size:g} {KINDS[name].title}", style="dim")
                begin = time.monotonic()
                command = [sys.executable, __file__, "--size", name, str(size), folder]
                done = subprocess.run(command, capture_output=True, text=True, env=one_thread())
                if done.returncode:
                    sys.exit(f"a measured process failed:\n{done.stderr}")
                lasted[name] = time.monotonic() - begin
                found[name]["sizes"].append({"size": size, **json.loads(done.stdout)})
    for name, values in found.items():
        values["exponent"] = exponent(values["sizes"], KINDS[name].linear_from)
    return found


def exponent(sizes: Sequence[Mapping[str, float]], start: float) -> float | None:
    """The slope of log seconds over log size, by least squares, of the sizes from `start` on."""
    points = [(each["size"], each["seconds"]) for each in sizes if each["size"] >= start]
    if len(points) < 2:
        return None
    x, y = np.log(np.array(points)).T
    return float(np.polyfit(x, y, 1)[0])


def table(record: Mapping[str, Any]) -> Table:
    """A row per kind: the smallest and the largest size, and how time grows."""
    shown = Table("what grows", "from", "to", "seconds", "peak memory (MB)", "exponent", "left out")
    for values in record["growth"].values():
        if values["sizes"]:
            first, last = values["sizes"][0], values["sizes"][-1]
            shown.add_row(
                values["title"],
                f"{first['size']:g}",
                f"{last['size']:g}",
                f"{first['seconds']:.3g} → {last['seconds']:.3g}",
                f"{first['peak_memory_mb']:.0f} → {last['peak_memory_mb']:.0f}",
                "–" if values["exponent"] is None else f"{values['exponent']:.2f}",
                ", ".join(f"{size:g}" for size in values["left_out"]),
            )
    return shown


def main() -> None:
    """Measure, print, draw, save where asked."""
    parser = program(__doc__, "growth")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS), help="kinds of growth to measure")
    parser.add_argument("--seconds", type=float, default=500, help="after so many no further size is begun")
    parser.add_argument("--page", type=Path, help="write a page with plots here")
    parser.add_argument("--size", nargs=3, metavar=("KIND", "SIZE", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.size:
        kind, size, folder = options.size
        sys.stdout.write(json.dumps(work(kind, float(size), Path(folder))))
        return
    console = Console(stderr=True)
    record = {
        **circumstances(["onnxruntime", "numpy", "pillow"], threads=1),
        "growth": measure(options.only, options.seconds, console),
    }
    if options.page is not None:
        options.page.parent.mkdir(parents=True, exist_ok=True)
        options.page.write_text(speed_page(record), encoding="utf-8")
        console.print(f"plots in {options.page}")
    tell("growth", record, table(record), options)


if __name__ == "__main__":
    main()
