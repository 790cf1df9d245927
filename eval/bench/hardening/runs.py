"""Long runs: many large pictures, a batch killed again and again, threads, and twenty minutes of mixed posts.

Knows nothing of damaged input.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from eval.bench.robustness.robustness import drawn_posts
from hybrid_mmsa import Analyzer
from hybrid_mmsa.types import Analysis, Sample

__all__ = ["kills", "large_pictures", "many_threads", "soak"]

SEED = 20_261_132
SIDE, LARGE_ROWS = 8_000, 128
KILLED_ROWS, KILLS = 20_000, 10
THREADS, CALLS = 16, 250
SOAKED, FULL_EVERY, WARM_ROUNDS = 96, 12, 3
"""Posts of a round of the soak, each answered alone and in a batch; every which of them is explained fully; rounds
before the measurement."""
SAME = 1e-4
"""Difference of two probabilities that neighbours in a batch may make, by rounding."""
BATCH = [sys.executable, "-m", "hybrid_mmsa", "batch", "posts.jsonl"]
Post = tuple[str | None, bytes | None]


def large_pictures() -> dict[str, Any]:
    """`batch` over rows that all name one large PNG: the process's peak memory, and how many rows it answered."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        blocks = np.random.default_rng(SEED).integers(0, 256, (40, 40, 3), np.uint8)
        Image.fromarray(blocks).resize((SIDE, SIDE), Image.Resampling.NEAREST).save(folder / "large.png")
        _write(folder, ({"text": f"picture {n}", "image": "large.png"} for n in range(LARGE_ROWS)))
        begun = time.monotonic()
        process = subprocess.Popen([*BATCH, "-o", "out.jsonl"], cwd=folder, stderr=subprocess.DEVNULL)
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, _megabytes("VmHWM", process.pid) or peak)
            time.sleep(0.05)
        answered = len(_answers(folder / "out.jsonl"))
        size = (folder / "large.png").stat().st_size
    return {
        "rows": LARGE_ROWS,
        "side": SIDE,
        "file_megabytes": round(size / 1e6, 1),
        "exit_code": process.returncode,
        "answered": answered,
        "peak_megabytes": round(peak, 1),
        "seconds": round(time.monotonic() - begun, 1),
    }


def kills() -> dict[str, Any]:
    """A batch that is killed ten times and goes on each time, beside one that is left alone."""
    chance, texts = Random(SEED), drawn_posts()
    with TemporaryDirectory() as place:
        folder = Path(place)
        words = [" ".join(text.split()[:5]) for text in texts]
        _write(folder, ({"id": str(n), "text": f"{chance.choice(words)} {n}"} for n in range(KILLED_ROWS)))
        command = [*BATCH, "--explain", "none", "-o"]
        subprocess.run([*command, "whole.jsonl"], cwd=folder, check=True, stderr=subprocess.DEVNULL)
        partial, killed = folder / "out.jsonl.partial", 0
        ends = sorted(chance.randrange(KILLED_ROWS // 50, KILLED_ROWS * 9 // 10) for _ in range(KILLS))
        size = (folder / "whole.jsonl").stat().st_size
        for end in ends:
            process = subprocess.Popen([*command, "out.jsonl", "--resume"], cwd=folder, stderr=subprocess.DEVNULL)
            while process.poll() is None and (
                not partial.exists() or partial.stat().st_size < size * end / KILLED_ROWS
            ):
                time.sleep(0.01)
            if process.poll() is None:
                process.kill()
                killed += 1
            process.wait()
        last = subprocess.run([*command, "out.jsonl", "--resume"], cwd=folder, stderr=subprocess.DEVNULL, check=False)
        whole, broken = _answers(folder / "whole.jsonl"), _answers(folder / "out.jsonl")
        left = sorted(path.name for path in folder.iterdir() if path.suffix == ".partial")
    return {
        "rows": KILLED_ROWS,
        "kills": killed,
        "exit_code": last.returncode,
        "answers": len(broken),
        "equal": sum(one == other for one, other in zip(whole, broken, strict=False)),
        "equal_up_to_rounding": sum(_same(one, other) for one, other in zip(whole, broken, strict=False)),
        "files_left": left,
    }


def many_threads() -> dict[str, Any]:
    """Sixteen threads on one analyzer, each with the same posts from another place on, beside one thread."""
    analyzer, posts = Analyzer.from_pretrained(), list(mixed_posts(CALLS))
    alone = [analyzer.analyze(*post) for post in posts]

    def work(first: int) -> int:
        return sum(
            analyzer.analyze(*posts[(first + step) % CALLS]) == alone[(first + step) % CALLS] for step in range(CALLS)
        )

    begun = time.monotonic()
    with ThreadPoolExecutor(THREADS) as pool:
        equal = sum(pool.map(work, range(THREADS)))
    return {"threads": THREADS, "posts": THREADS * CALLS, "equal": equal, "seconds": round(time.monotonic() - begun, 1)}


def soak(minutes: float) -> dict[str, Any]:
    """The same mixed posts through one analyzer again and again, and the line through the memory held after each round.

    The first rounds are left out: caches and arenas grow until they have met every post.
    """
    analyzer, posts = Analyzer.from_pretrained(), list(mixed_posts(SOAKED))
    rounds: list[tuple[float, float]] = []
    begun, done = time.monotonic(), 0
    while done < WARM_ROUNDS + 2 or time.monotonic() < begun + 60 * minutes:
        for number, (text, image) in enumerate(posts):
            analyzer.analyze(text, image, explain="full" if number % FULL_EVERY == 0 else "modality")
        analyzer.analyze_batch([Sample(text=text, image=image) for text, image in posts])
        done += 1
        gc.collect()
        if done > WARM_ROUNDS:
            rounds.append((time.monotonic() - begun, _megabytes("VmRSS", os.getpid()) or 0.0))
    seconds, held = zip(*rounds, strict=True)
    return {
        "minutes": round(seconds[-1] / 60, 1),
        "rounds": done,
        "posts": 2 * SOAKED * done,
        "megabytes_first": round(held[0], 1),
        "megabytes_last": round(held[-1], 1),
        "megabytes_highest": round(max(held), 1),
        "slope_megabytes_an_hour": round(3600 * _slope(seconds, held), 2),
        "slope_megabytes_a_thousand_posts": round(500 / SOAKED * _slope(range(len(held)), held), 4),
    }


def mixed_posts(count: int) -> Iterator[Post]:
    """Posts of words, of a picture, and of both; long and short, of several formats and sizes. Always the same ones."""
    chance, texts = Random(SEED), drawn_posts()
    for number in range(count):
        text = " ".join(chance.choices(texts, k=chance.choice((1, 1, 1, 2, 12)))) if number % 5 else None
        side, kind = chance.choice((40, 300, 900)), chance.choice(("JPEG", "PNG", "WEBP", "GIF"))
        picture = None
        if number % 2 or text is None:
            buffer = BytesIO()
            shade = tuple(chance.randrange(256) for _ in range(3))
            Image.new("RGB", (side, side * 2 // 3), shade).save(buffer, kind)
            picture = buffer.getvalue()
        yield text, picture


def _write(folder: Path, rows: Iterator[dict[str, Any]]) -> None:
    (folder / "posts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _answers(path: Path) -> list[Analysis]:
    return [Analysis.model_validate_json(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _same(one: Analysis, other: Analysis) -> bool:
    pairs = zip(one.sentiment.probabilities.values(), other.sentiment.probabilities.values(), strict=True)
    alike = (one.id, one.sentiment.label, one.route.decision) == (other.id, other.sentiment.label, other.route.decision)
    return alike and all(abs(a - b) <= SAME for a, b in pairs)


def _slope(x: Sequence[float], y: Sequence[float]) -> float:
    return float(np.polyfit(x, y, 1)[0])


def _megabytes(field: str, pid: int) -> float | None:
    """A figure of a process, `None` where it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        return next(1024 * int(line.split()[1]) / 1e6 for line in status.splitlines() if line.startswith(field))
    except (OSError, StopIteration):
        return None
