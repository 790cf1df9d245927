"""Words in pictures: the gate, errors of the characters, time, and what they add to the answers, in one run.

    python eval/bench/senses/words.py --data CORPORA [--fonts FOLDER] [--most 699] [--save]

Memes: the test part of Memotion 7k, whose texts were corrected by people; the record says how small the pictures are.
Screens: drawn of everyday posts, which nothing is fitted to. Photos: of the sets under `photos`, some of which show
signs and shirts with words. Differences are paired. Times are of one thread.
"""

from __future__ import annotations

import argparse
import re
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from eval.bench.keeping import circumstances, program, tell
from eval.bench.senses.screens import FONTS, draw_screen, drawable, fonts_in
from hybrid_mmsa import Analyzer, Prediction, Sample, metrics
from hybrid_mmsa.data import load_corpus, load_manifest
from hybrid_mmsa.inputs import DRAFT_PIXELS, read_image
from hybrid_mmsa.senses import PictureWordReader
from hybrid_mmsa.training.posts.rows import fold_of
from hybrid_mmsa.types import LABELS

NAME = "picture-words"
SCREENS, PHOTOS, BATCH = 400, 300, 16
MEMES = "memotion_grouped"


def screens(fonts: Sequence[Path], most: int) -> list[Sample]:
    """Screens of everyday posts without a picture or a target of their own; `rationale` holds the text."""
    texts = [
        r.sample
        for r in load_corpus("everyday")
        if r.sample.image is None and r.sample.target is None and drawable(r.sample.text or "") and r.sample.label
    ]
    chosen = sorted(texts, key=lambda s: fold_of(f"screens/{s.id}", 2**31))[:most]
    return [
        Sample(id=s.id, image=draw_screen(s.text or "", i, fonts), label=s.label, rationale=s.text)
        for i, s in enumerate(chosen)
    ]


def memes(data: Path, most: int) -> list[Sample]:
    """Memes of the test part."""
    records = load_manifest(MEMES).apply(load_corpus("memotion", data / "Memotion7k"))
    posts = [r.sample for r in records if r.split == "test" and r.sample.label and r.sample.text and r.sample.image]
    return posts[:most]


def photos(data: Path, most: int) -> list[Image.Image]:
    """Photos, as many of each set."""
    files = sorted(path for suffix in ("jpg", "png") for path in (data / "photos").rglob(f"*.{suffix}"))
    chosen = sorted(files, key=lambda path: fold_of(f"photos/{path.relative_to(data)}", 2**31))[:most]
    return [read_image(path, draft=DRAFT_PIXELS) for path in chosen]


def characters(text: str) -> str:
    """What errors are counted in: small letters and digits, one space between words."""
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def distance(read: str, gold: str) -> int:
    """Fewest characters to change, add or drop (Levenshtein 1966)."""
    row = np.arange(len(gold) + 1)
    wanted = np.frombuffer(gold.encode("ascii"), np.uint8)
    for i, character in enumerate(read.encode("ascii"), 1):
        changed = row[:-1] + (wanted != character)
        best = np.concatenate([[i], np.minimum(changed, row[1:] + 1)])
        # What is added on the way right: the smallest of all values to the left, plus their distance.
        row = np.minimum.accumulate(best - np.arange(len(best))) + np.arange(len(best))
    return int(row[-1])


def errors(reader: PictureWordReader, pictures: Sequence[tuple[Image.Image, str]], title: str) -> dict[str, Any]:
    """Error rate of characters, micro and median, and the share of the text's words that were read."""
    rates, wrong, length, words, read_words = [], 0, 0, 0, 0
    for picture, text in track(pictures, title, console=Console(stderr=True), transient=True):
        gold = characters(text)
        read = characters(" ".join(word.text for word in reader.read(picture)))
        edits = distance(read, gold)
        wrong, length = wrong + edits, length + len(gold)
        rates.append(edits / max(len(gold), 1))
        words += len(gold.split())
        read_words += sum(word in set(read.split()) for word in gold.split())
    sides = [min(picture.size) for picture, _ in pictures]
    return {
        "pictures": len(pictures),
        "median_short_side": statistics.median(sides),
        "cer": wrong / length,
        "cer_interval": asdict(metrics.bootstrap(lambda r: float(np.clip(r, 0, 1).mean()), np.array(rates))),
        "median_cer": statistics.median(rates),
        "words_read": read_words / words,
    }


def gate(reader: PictureWordReader, drawn: Sequence[Image.Image], plain: Sequence[Image.Image]) -> dict[str, Any]:
    """How often the gate is right, by what the whole reader finds where the picture is a photo, and the times."""
    whole, times, read_times = PictureWordReader(gated=False), [], []

    def passes(picture: Image.Image) -> bool:
        started = time.perf_counter()
        said = reader.has_text(picture)
        times.append(time.perf_counter() - started)
        return said

    shown = [passes(picture) for picture in track(drawn, "gate, screens", console=Console(stderr=True), transient=True)]
    let_through, with_words = [], []
    for picture in track(plain, "gate, photos", console=Console(stderr=True), transient=True):
        let_through.append(passes(picture))
        started = time.perf_counter()
        found = whole.read(picture)
        read_times.append(time.perf_counter() - started)
        with_words.append(any(re.search(r"[A-Za-z]{2}", word.text) for word in found))
    opened, worded = np.array(let_through), np.array(with_words)
    right = sum(shown) + int((opened & worded).sum())
    return {
        "screens": len(shown),
        "screens_let_through": asdict(metrics.wilson(sum(shown), len(shown))),
        "photos": len(opened),
        "photos_with_words": int(worded.sum()),
        "photos_with_words_let_through": asdict(
            metrics.wilson(int((opened & worded).sum()), max(int(worded.sum()), 1))
        ),
        "photos_without_words_stopped": asdict(metrics.wilson(int((~opened & ~worded).sum()), int((~worded).sum()))),
        "precision": asdict(metrics.wilson(right, sum(shown) + int(opened.sum()))),
        "gate_ms": round(1000 * statistics.median(times), 1),
        "photo_read_whole_ms": round(1000 * statistics.median(read_times), 1),
    }


def answers(analyzer: Analyzer, samples: Sequence[Sample]) -> Iterator[Prediction]:
    """Fast answers, some posts at a time."""
    rows = iter(samples)
    while batch := list(islice(rows, BATCH)):
        yield from (answer.fast for answer in analyzer.analyze_batch(batch, explain="none", mode="fast"))


def compared(plain: Analyzer, reading: Analyzer, samples: Sequence[Sample], title: str) -> dict[str, Any]:
    """Accuracy and macro F1 without and with the words in pictures, and their paired differences."""
    gold = np.array([LABELS.index(s.label) for s in samples if s.label])
    said = {}
    for name, analyzer in (("without", plain), ("with", reading)):
        rows = track(
            answers(analyzer, samples),
            f"{title}, {name}",
            total=len(samples),
            console=Console(stderr=True),
            transient=True,
        )
        said[name] = np.array([LABELS.index(prediction.label) for prediction in rows])
    record: dict[str, Any] = {"posts": len(gold)}
    for figure, metric in (("accuracy", metrics.accuracy), ("macro_f1", metrics.macro_f1)):
        record[figure] = {
            name: asdict(metrics.bootstrap_labels(metric, metrics.confusion(gold, labels, len(LABELS))))
            for name, labels in said.items()
        }
        gain = metrics.paired_difference(metric, gold, said["with"], said["without"], len(LABELS))
        record[figure]["difference"] = asdict(gain)
    return record


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Everything, as a record."""
    drawn, posts = screens(fonts_in(options.fonts), SCREENS), memes(options.data, options.most)
    reader = PictureWordReader()
    pictures = [(read_image(s.image, draft=DRAFT_PIXELS), s.rationale or "") for s in drawn if s.image is not None]
    small = [(read_image(s.image, draft=DRAFT_PIXELS), s.text or "") for s in posts if s.image is not None]
    plain, reading = Analyzer.from_pretrained(), Analyzer.from_pretrained(senses=("ocr",))
    alone = [Sample(id=s.id, image=s.image, label=s.label) for s in posts]
    typed = [Sample(id=s.id, text=s.rationale, label=s.label) for s in drawn]
    gold = np.array([LABELS.index(s.label) for s in drawn if s.label])
    by_words = np.array([LABELS.index(prediction.label) for prediction in answers(plain, typed)])
    timed = []
    for picture, _ in pictures[:100]:
        started = time.perf_counter()
        reader.read(picture)
        timed.append(time.perf_counter() - started)
    return {
        **circumstances(["rapidocr", "onnxruntime", "opencv-python"], 1),
        "reader": reader.id,
        "gate": gate(reader, [picture for picture, _ in pictures], photos(options.data, PHOTOS)),
        "screen_read_ms": round(1000 * statistics.median(timed), 1),
        "characters": {
            "memes": errors(reader, small, "characters of memes"),
            "screens": errors(reader, pictures, "characters of screens"),
        },
        "answers": {
            "memes, picture alone": compared(plain, reading, alone, "memes, picture alone"),
            "memes, text and picture": compared(plain, reading, posts, "memes, text and picture"),
            "screens": compared(plain, reading, drawn, "screens"),
        },
        "screens_typed_accuracy": asdict(
            metrics.bootstrap_labels(metrics.accuracy, metrics.confusion(gold, by_words, len(LABELS)))
        ),
    }


def table(record: dict[str, Any]) -> Table:
    """The record as people read it."""
    shown = Table("posts", "n", "without", "with", "difference", title=f"accuracy, words read by {record['reader']}")
    for name, row in record["answers"].items():
        gain = row["accuracy"]["difference"]
        shown.add_row(
            name,
            str(row["posts"]),
            *(f"{row['accuracy'][kind]['value']:.1%}" for kind in ("without", "with")),
            f"{100 * gain['value']:+.1f} [{100 * gain['low']:+.1f}, {100 * gain['high']:+.1f}]",
        )
    for name, row in record["characters"].items():
        shown.add_row(f"characters of {name}", str(row["pictures"]), "", f"{row['cer']:.1%} wrong", "")
    found = record["gate"]
    shown.add_row("gate", str(found["screens"] + found["photos"]), "", f"{found['gate_ms']} ms", "")
    return shown


def main() -> None:
    """Measure, show, keep if asked."""
    parser = program(__doc__, NAME)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the corpora")
    parser.add_argument("--fonts", type=Path, default=FONTS)
    parser.add_argument("--most", type=int, default=699, help="so many memes at most")
    options = parser.parse_args()
    record = measured(options)
    tell(NAME, record, table(record), options)


if __name__ == "__main__":
    main()
