"""What an explanation costs: the same posts answered without one, with shares, and in full, in one run; and a page.

    python eval/bench/speed/explanations.py [--rounds 20] [--threads 1] [--page 1000] [--json] [--save]

The posts are the bundled sample posts that have words and a picture; then their words alone, and their pictures alone.
They are read beforehand, and the three levels take turns, so that a busy machine slows all alike. Processor time is
measured beside the clock's: it hardly minds other programs. `--page` has `hybrid-mmsa explain page` write a page of so
many posts, the samples over and over, each with a text of its own, in a process of its own.
It knows nothing of whether explanations are true; `faithfulness.py` does.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import cycle, islice
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


def raw_posts() -> list[Sample]:
    """The bundled posts of words and a picture."""
    rows = [row for _, row in read_posts(POSTS) if isinstance(row, Sample)]
    return [row for row in rows if row.text and row.image is not None]


def kinds() -> Mapping[str, Sequence[Sample]]:
    """The posts, read: whole, and each of their sides by itself."""
    both = [read_sample(row) for row in raw_posts()]
    return {
        "words and picture": both,
        "words": [replace(post, image=None) for post in both],
        "picture": [replace(post, text=None) for post in both],
    }


def times(analyzer: Analyzer, posts: Sequence[Sample], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Milliseconds of the clock and of the processor per post and level, every post `rounds` times."""
    found: dict[str, list[tuple[float, float]]] = {level: [] for level in LEVELS}
    for number in range(rounds + WARM_UP):
        turn = number % len(LEVELS)  # whoever follows a full explanation finds colder caches
        for post in posts:
            for level in (*LEVELS[turn:], *LEVELS[:turn]):
                begin = time.perf_counter(), time.process_time()
                analyzer.analyze_batch([post], mode="fast", explain=level)
                lasted = time.perf_counter() - begin[0], time.process_time() - begin[1]
                if number >= WARM_UP:
                    found[level].append((1000 * lasted[0], 1000 * lasted[1]))
    return found


def figures(found: Mapping[str, Sequence[tuple[float, float]]]) -> dict[str, Any]:
    """One kind of posts as numbers; ratios are of processor time."""
    values = {level: np.array(pairs) for level, pairs in found.items()}
    p50 = {level: float(np.median(pairs[:, 1])) for level, pairs in values.items()}
    return {
        "p50_ms": {level: float(np.median(pairs[:, 0])) for level, pairs in values.items()},
        "p95_ms": {level: float(np.percentile(pairs[:, 0], 95)) for level, pairs in values.items()},
        "processor_p50_ms": p50,
        "times_none": {level: p50[level] / p50["none"] for level in LEVELS},
    }


def page(count: int) -> dict[str, float]:
    """A page of so many posts: seconds of the clock, of the processor, and its size."""
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            {"id": str(number), "text": f"{post.text} ({number})", "image": str(post.image)}
            for number, post in enumerate(islice(cycle(raw_posts()), count), 1)
        ]
        posts, out = Path(folder, "posts.jsonl"), Path(folder, "page.html")
        posts.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
        command = [sys.executable, "-m", "hybrid_mmsa", "explain", "page", str(posts), "-o", str(out), "--quiet"]
        command += ["--image-root", str(POSTS.parent)]
        before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True)
        lasted, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            sys.exit(f"the page was not written:\n{done.stderr}")
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return {"posts": count, "seconds": lasted, "processor_seconds": spent, "mb": out.stat().st_size / 1e6}


def table(result: Mapping[str, Any]) -> Table:
    """A row per kind of posts and level."""
    title = f"{result['threads']} threads, {result['machine']['cpus']} CPUs, load {result['machine']['load']:.1f}"
    shown = Table("posts of", "explain", "p50 (ms)", "p95 (ms)", "processor, p50 (ms)", "times none", title=title)
    for kind, found in result["kinds"].items():
        for level in LEVELS:
            cells = [found[name][level] for name in ("p50_ms", "p95_ms", "processor_p50_ms", "times_none")]
            shown.add_row(kind, level, *(f"{value:.2f}" for value in cells))
    if "page" in result:
        made = result["page"]
        sizes = f"{made['seconds']:.1f} s, {made['processor_seconds']:.1f} s of a processor, {made['mb']:.1f} MB"
        shown.caption = f"a page of {made['posts']:,} posts: {sizes}"
    return shown


def main() -> None:
    """Measure, print, save where asked."""
    parser = program(__doc__, "explain")
    parser.add_argument("--rounds", type=int, default=20, help="how often each post is answered at each level")
    parser.add_argument("--threads", type=int, default=1, help="threads per operator")
    parser.add_argument("--page", type=int, metavar="POSTS", help="write a page of so many posts as well")
    options: argparse.Namespace = parser.parse_args()
    analyzer, posts = Analyzer.from_pretrained(threads=options.threads), kinds()
    result = {
        **circumstances(["onnxruntime"], threads=options.threads),
        "rounds": options.rounds,
        "posts": len(posts["words"]),
        "mean_words": float(np.mean([len((post.text or "").split()) for post in posts["words"]])),
        "kinds": {kind: figures(times(analyzer, each, options.rounds)) for kind, each in posts.items()},
    }
    if options.page:
        result["page"] = page(options.page)
    tell("explain", result, table(result), options)


if __name__ == "__main__":
    main()
