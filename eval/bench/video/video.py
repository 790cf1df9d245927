"""Time and memory of `analyze_video` on drawn films: an hour at 320 x 240, and five minutes at 1280 x 720.

    python eval/bench/video/video.py [--minutes 60] [--json] [--save]

The films are drawn anew: sample photographs that are panned, with a cut every 7 to 13 seconds and noise, in MPEG-4
Part 2, and a transcript of a call, an utterance every four seconds. Each is analysed by the command line in a process
of its own, whose memory is read every half a second; a film of a sixth of the length says what grows with it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.table import Table

import hybrid_mmsa
from eval.bench.keeping import circumstances, program, tell
from eval.bench.speed.memory import resident_mb
from eval.bench.video.films import write_film

NAME = "video"
SAMPLES = Path(hybrid_mmsa.__file__).parent / "samples"
SAID = (
    ("agent", "Good morning, how may I help you?"),
    ("customer", "My order has not come, and nobody answers my messages. I am really disappointed."),
    ("agent", "I am looking for it now."),
    ("customer", "It was promised for Monday."),
    ("agent", "It leaves the warehouse today, and the postage is refunded."),
    ("customer", "Wonderful, thank you so much for the quick help!"),
)
UTTERANCE, NOISE = 4.0, 24
"""Seconds, and shades of grey that a pixel may change by from frame to frame."""
FILMS = {"small": (320, 240, 15, 400_000), "large": (1280, 720, 25, 3_000_000)}
"""Width, height, frames a second, bits a second."""
MEGABYTE = 1e6


def drawn(width: int, height: int, rate: int, seconds: int, seed: int = 0) -> Iterator[NDArray[np.uint8]]:
    """Frames of a film: a part of a photograph that moves slowly, another one after each cut."""
    chance = np.random.default_rng(seed)
    size = (width + width // 4, height + height // 4)
    photos = [np.asarray(Image.open(file).convert("RGB").resize(size)) for file in sorted(SAMPLES.glob("*.jpg"))]
    noise = [chance.integers(0, NOISE, (height, width, 1), dtype=np.uint8) for _ in range(8)]
    left, photo, cut = 0, photos[0], 0
    for number in range(rate * seconds):
        if number >= cut:
            photo = photos[int(chance.integers(len(photos)))]
            left, cut = 0, number + rate * int(chance.integers(7, 14))
        left = min(left + (number % 5 == 0), width // 4)
        view = photo[height // 8 : height // 8 + height, left : left + width]
        yield np.minimum(view, 256 - NOISE) + noise[number % len(noise)]


def said(seconds: int) -> list[dict[str, Any]]:
    """A transcript."""
    return [
        {"start": n * UTTERANCE, "end": n * UTTERANCE + 3.4, "speaker": who, "text": text}
        for n in range(int(seconds / UTTERANCE))
        for who, text in [SAID[n % len(SAID)]]
    ]


def analysed(film: Path, transcript: Path) -> dict[str, Any]:
    """Seconds and memory (megabytes; the most, and the median of each tenth) of a run of the command line."""
    command = [sys.executable, "-m", "hybrid_mmsa", "--quiet", "video", str(film), "--transcript", str(transcript)]
    begun, memory = time.monotonic(), []
    with subprocess.Popen([*command, "-o", str(film.with_suffix(".out.json"))]) as process:
        while process.poll() is None:
            memory.append(resident_mb(process.pid))
            time.sleep(0.5)
        if process.returncode:
            sys.exit(f"{film.name}: exit code {process.returncode}")
    seconds, tenth = time.monotonic() - begun, max(len(memory) // 10, 1)
    made = json.loads(film.with_suffix(".out.json").read_text(encoding="utf-8"))
    return {
        "seconds": round(seconds, 1),
        "memory_mb_most": round(max(memory), 1),
        "memory_mb_course": [round(float(np.median(memory[n : n + tenth])), 1) for n in range(0, len(memory), tenth)],
        "segments": len(made["segments"]),
        "scenes": len(made["scenes"]),
        "film_mb": round(film.stat().st_size / MEGABYTE, 1),
    }


def main() -> None:
    """Measure, print and perhaps keep."""
    parser = program(__doc__, NAME)
    parser.add_argument("--minutes", type=int, default=60)
    options = parser.parse_args()
    lengths = {"small": (options.minutes // 6, options.minutes), "large": (5,)}
    runs = []
    with TemporaryDirectory() as folder:
        for kind, minutes in lengths.items():
            width, height, rate, bits = FILMS[kind]
            for length in minutes:
                film, transcript = Path(folder) / f"{kind}-{length}.mp4", Path(folder) / f"{kind}-{length}.json"
                transcript.write_text(json.dumps(said(60 * length)), encoding="utf-8")
                write_film(film, drawn(width, height, rate, 60 * length), rate, bits=bits)
                facts = {"width": width, "height": height, "rate": rate, "minutes": length}
                runs.append({**facts, **analysed(film, transcript)})
    record = {**circumstances(["av", "onnxruntime"], int(os.environ.get("OMP_NUM_THREADS", "0"))), "films": runs}
    tell(NAME, record, _table(runs), options)


def _table(runs: list[dict[str, Any]]) -> Table:
    table = Table("film", "length", "analysed in", "memory, most", "in its second and last tenth", "segments", "scenes")
    for run in runs:
        table.add_row(
            f"{run['width']} x {run['height']}, {run['rate']} a second",
            f"{run['minutes']} min",
            f"{run['seconds']:.0f} s",
            f"{run['memory_mb_most']:.0f} MB",
            f"{run['memory_mb_course'][1]:.0f}, {run['memory_mb_course'][9]:.0f} MB",
            f"{run['segments']:,}",
            f"{run['scenes']:,}",
        )
    return table


if __name__ == "__main__":
    main()
