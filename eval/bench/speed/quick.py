"""A guard against slowness: what we do, beside what it cannot do without, in pairs, against the committed record.

    python eval/bench/speed/quick.py [--pairs 15] [--check [--margin 1.15]] [--json] [--save]

Each ratio is of two things that are done one right after the other, in turns, so that a busy machine slows both; no
seconds are compared between machines. A ratio is the median over the pairs, with an interval that holds whatever the
times are distributed like (order statistics). `--check` fails where a ratio is surely larger than the record's by more
than a margin, and where that is so twice: a second measuring decides. Continuous integration, whose processors are of
all kinds, takes a wide margin.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from itertools import cycle
from typing import Any

from PIL import Image
from rich.console import Console
from rich.table import Table
from scipy.stats import binom

from eval.bench.keeping import RESULTS, circumstances, program, tell
from eval.bench.speed.bench import TEXTS, one_thread, posts
from hybrid_mmsa import Analyzer, Sample
from hybrid_mmsa.encoders.compact import WEIGHTS, CompactEncoder
from hybrid_mmsa.inputs import read_sample
from hybrid_mmsa.privacy import TELEMETRY_OFF

MARGIN = 1.15
"""A ratio may grow by so much unsaid: what another processor or another version of a library makes of it."""
FEWEST = 5
"""Pairs of what takes long."""
BATCH = 32

OURS = "import hybrid_mmsa; hybrid_mmsa.analyze({text!r})"
BARE = (
    "import numpy, onnxruntime, pydantic, PIL.Image\n"
    "for name in {towers!r}: onnxruntime.InferenceSession(name, providers=['CPUExecutionProvider'])"
)
"""It imports nothing of ours."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """The median of some pairs' ratios, with an interval of at least 95 %."""

    value: float
    low: float
    high: float
    pairs: int


def ratio_of(pairs: Sequence[tuple[float, float]]) -> Ratio:
    """Of pairs of seconds: the first over the second."""
    values = sorted(first / second for first, second in pairs)
    # The median lies between the k-th smallest and the k-th largest value of n with P = 1 - 2 P(Binomial(n, 1/2) < k).
    beyond = max(int(binom.ppf(0.025, len(values), 0.5)) - 1, 0)
    return Ratio(statistics.median(values), values[beyond], values[-1 - beyond], len(values))


def paired(first: Callable[[], object], second: Callable[[], object], pairs: int) -> Ratio:
    """How much longer the first takes; each pair begins with the other one."""
    first(), second()
    found = []
    for number in range(pairs):
        order = (first, second) if number % 2 else (second, first)
        times = {}
        for call in order:
            begin = time.perf_counter()
            call()
            times[call] = time.perf_counter() - begin
        found.append((times[first], times[second]))
    return ratio_of(found)


def measure(pairs: int) -> dict[str, Ratio]:
    """All ratios."""
    analyzer, encoder, batch = Analyzer.from_pretrained(threads=1), CompactEncoder(), posts(BATCH)
    samples = [read_sample(Sample(text=text, image=picture)) for text, picture in batch]
    files = [str(WEIGHTS / name) for name in ("text.onnx", "image.onnx")]

    def by_turns(call: Callable[[int], object]) -> Callable[[], object]:
        """The call for one post after the other: both of a pair come to the same one."""
        turns = cycle(range(len(batch)))
        return lambda: call(next(turns))

    def post(explain: Any = "modality") -> Callable[[], object]:
        return by_turns(lambda place: analyzer.analyze(*batch[place], explain=explain))

    def towers(place: int) -> object:
        Image.open(BytesIO(batch[place][1])).convert("RGB").load()
        return encoder.encode([samples[place]])

    def ours() -> None:
        fresh(OURS.format(text=TEXTS[0]))

    def bare() -> None:
        fresh(BARE.format(towers=files))

    def alone() -> object:
        return [analyzer.analyze_batch([sample]) for sample in samples]

    return {
        "post": paired(post(), by_turns(towers), 3 * pairs),
        "explain": paired(post("full"), post(), pairs),
        "batch": paired(lambda: analyzer.analyze_batch(samples), alone, max(pairs // 3, FEWEST)),
        "start": paired(ours, bare, max(pairs // 2, FEWEST)),
    }


TITLES = {
    "post": "one post, over decoding and both towers",
    "explain": "explained in full, over a plain answer",
    "batch": f"{BATCH} posts together, over one by one",
    "start": "a fresh process that answers, over one that opens both towers",
}


def fresh(code: str) -> None:
    """Run a fresh Python."""
    subprocess.run([sys.executable, "-c", code], check=True, env={**one_thread(), **TELEMETRY_OFF}, capture_output=True)


def committed() -> Mapping[str, Any]:
    """The newest record."""
    records = sorted(RESULTS.glob("quick-*.json"))
    if not records:
        sys.exit("there is no record to compare with: make one with --save")
    return dict(json.loads(records[-1].read_text(encoding="utf-8"))["ratios"])


def slower(now: Mapping[str, Ratio], before: Mapping[str, Any], margin: float = MARGIN) -> list[str]:
    """The ratios that surely grew by more than may be."""
    return [name for name, ratio in now.items() if name in before and ratio.low > margin * before[name]["high"]]


def table(record: Mapping[str, Any], before: Mapping[str, Any]) -> Table:
    """A row per ratio, beside the record's."""
    shown = Table("ratio of times", "now", "record")
    for name, found in record["ratios"].items():
        cells = [f"{r['value']:.2f} [{r['low']:.2f}, {r['high']:.2f}]" for r in (found, before.get(name)) if r]
        shown.add_row(TITLES[name], *cells)
    return shown


def main() -> None:
    """Measure, compare, save where asked."""
    parser = program(__doc__, "quick")
    parser.add_argument("--pairs", type=int, default=15, help="pairs per ratio")
    parser.add_argument("--check", action="store_true", help="fail where it is surely slower than the newest record")
    parser.add_argument("--margin", type=float, default=MARGIN, help="by how much a ratio may grow unsaid")
    options: argparse.Namespace = parser.parse_args()
    before = {} if options.save else committed()
    now = measure(options.pairs)
    worse = slower(now, before, options.margin) if options.check else []
    if worse:
        Console(stderr=True).print(f"measured again: {', '.join(worse)}", style="dim")
        again = measure(options.pairs)
        now |= {name: again[name] for name in worse}
        worse = slower(now, before, options.margin)
    ratios = {name: asdict(ratio) for name, ratio in now.items()}
    record = {**circumstances(["onnxruntime", "numpy", "pillow"], threads=1), "ratios": ratios}
    tell("quick", record, table(record, before), options)
    if worse:
        sys.exit(f"slower than the record, twice: {', '.join(TITLES[name] for name in worse)}")


if __name__ == "__main__":
    main()
