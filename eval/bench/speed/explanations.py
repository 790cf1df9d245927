"""What an explanation costs: the same posts answered without one, with shares, and in full, in one run.

    python eval/bench/speed/explanations.py [--rounds 20] [--threads 2] [--json] [--save]

The posts are the bundled sample posts that have words and a picture. They are read beforehand, and the three levels
take turns, so that a busy machine slows all alike: the ratio stays comparable where milliseconds do not.
It knows nothing of whether explanations are true; `faithfulness.py` does.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any, get_args

import numpy as np
from rich.table import Table

from eval.bench.keeping import circumstances, program, tell
from hybrid_mmsa import Analyzer, Sample
from hybrid_mmsa.data import read_posts
from hybrid_mmsa.inputs import read_sample
from hybrid_mmsa.types import ExplainLevel

ROOT = Path(__file__).resolve().parents[3]
POSTS = ROOT / "hybrid_mmsa" / "samples" / "posts.jsonl"
LEVELS: tuple[ExplainLevel, ...] = get_args(ExplainLevel)
WARM_UP = 2


def sample_posts() -> list[Sample]:
    """The bundled posts of words and a picture, read."""
    rows = [row for _, row in read_posts(POSTS) if isinstance(row, Sample)]
    return [read_sample(row) for row in rows if row.text and row.image is not None]


def times(analyzer: Analyzer, posts: list[Sample], rounds: int) -> dict[str, list[float]]:
    """Milliseconds per post and level, every post `rounds` times."""
    found: dict[str, list[float]] = {level: [] for level in LEVELS}
    for number in range(rounds + WARM_UP):
        turn = number % len(LEVELS)  # whoever follows a full explanation finds colder caches
        for post in posts:
            for level in (*LEVELS[turn:], *LEVELS[:turn]):
                begin = time.perf_counter()
                analyzer.analyze_batch([post], mode="fast", explain=level)
                if number >= WARM_UP:
                    found[level].append(1000 * (time.perf_counter() - begin))
    return found


def record(found: dict[str, list[float]], posts: list[Sample], options: argparse.Namespace) -> dict[str, Any]:
    """The run as numbers, with what is needed to read them."""
    p50, p95 = ({level: float(np.percentile(ms, q)) for level, ms in found.items()} for q in (50, 95))
    return {
        **circumstances(["onnxruntime"], threads=options.threads),
        "rounds": options.rounds,
        "posts": len(posts),
        "mean_words": float(np.mean([len((post.text or "").split()) for post in posts])),
        "p50_ms": p50,
        "p95_ms": p95,
        # Of the same post in the same round, so that a slow moment counts on both sides.
        "added_p50_ms": {level: float(np.median(np.subtract(found[level], found["none"]))) for level in LEVELS},
        "times_none": {level: p50[level] / p50["none"] for level in LEVELS},
    }


def table(result: dict[str, Any]) -> Table:
    """A row per level."""
    title = f"{result['threads']} threads, {result['machine']['cpus']} CPUs, load {result['machine']['load']:.1f}"
    shown = Table(title=title)
    for heading in ("explain", "p50 (ms)", "p95 (ms)", "added, p50 (ms)", "times none"):
        shown.add_column(heading, justify="left" if heading == "explain" else "right")
    for level in LEVELS:
        figures = [result[name][level] for name in ("p50_ms", "p95_ms", "added_p50_ms", "times_none")]
        shown.add_row(level, *(f"{value:.2f}" for value in figures))
    return shown


def main() -> None:
    """Measure, print, save where asked."""
    parser = program(__doc__, "explain")
    parser.add_argument("--rounds", type=int, default=20, help="how often each post is answered at each level")
    parser.add_argument("--threads", type=int, default=2, help="threads per operator")
    options = parser.parse_args()
    analyzer, posts = Analyzer.from_pretrained(threads=options.threads), sample_posts()
    result = record(times(analyzer, posts, options.rounds), posts, options)
    tell("explain", result, table(result), options)


if __name__ == "__main__":
    main()
