"""Words in pictures: errors of the characters, what they add to the answers, the gate and the time.

    python eval/bench/senses/words.py --data CORPORA [--fonts FOLDER] [--most 500] --part screens [--save]

Memes: the test part of Memotion 7k, whose texts were corrected by people; the record says how small the pictures are.
Screens: drawn of everyday posts, which nothing is fitted to. Photos: of the sets under `photos`, some of which show
signs and shirts with words. Differences are paired. Times are those of the processor, on one thread: how busy the
machine is counts little.
"""

from __future__ import annotations

import argparse
import re
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from eval.bench.keeping import circumstances, program, tell
from eval.bench.senses.screens import FONTS, draw_screen, drawable, fonts_in
from hybrid_mmsa import Analysis, Analyzer, Sample, metrics
from hybrid_mmsa.adapters import Adapter
from hybrid_mmsa.data import load_corpus, load_manifest
from hybrid_mmsa.inputs import DRAFT_PIXELS, read_image
from hybrid_mmsa.senses import PictureWord, PictureWordReader
from hybrid_mmsa.training.posts.rows import fold_of
from hybrid_mmsa.types import LABELS, posteriors

NAME = "picture-words"
SCREENS, GATED, TIMED, PHOTOS, BATCH = 300, 100, 20, 100, 16
MEMES = "memotion_grouped"
Labels: TypeAlias = NDArray[np.int64]


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


def errors(answers: Sequence[Analysis], texts: Sequence[str]) -> dict[str, Any]:
    """Error rate of characters, micro and median, and the share of the text's words that were read."""
    rates, wrong, length, words, read_words = [], 0, 0, 0, 0
    for answer, text in zip(answers, texts, strict=True):
        gold = characters(text)
        read = characters(" ".join(word.text for word in _words(answer)))
        edits = distance(read, gold)
        wrong, length = wrong + edits, length + len(gold)
        rates.append(edits / max(len(gold), 1))
        words += len(gold.split())
        read_words += sum(word in set(read.split()) for word in gold.split())
    sides = [min(answer.picture.width, answer.picture.height) for answer in answers if answer.picture is not None]
    return {
        "pictures": len(answers),
        "with_words_read": sum(bool(_words(answer)) for answer in answers),
        "median_short_side": statistics.median(sides),
        "cer": wrong / length,
        "cer_by_picture": asdict(metrics.bootstrap(lambda r: float(np.clip(r, 0, 1).mean()), np.array(rates))),
        "median_cer": statistics.median(rates),
        "words_read": read_words / words,
    }


def _words(answer: Analysis) -> Sequence[PictureWord]:
    return () if answer.picture is None or answer.picture.words is None else answer.picture.words


def gate(drawn: Sequence[Image.Image], plain: Sequence[Image.Image]) -> dict[str, Any]:
    """How often the gate is right, by what the whole reader finds where the picture is a photo, and the times."""
    reader, whole, times, read_times = PictureWordReader(), PictureWordReader(gated=False), [], []

    def passes(picture: Image.Image) -> bool:
        started = time.process_time()
        said = reader.has_text(picture)
        times.append(time.process_time() - started)
        return said

    shown = [passes(picture) for picture in watched(drawn, "gate, screens")]
    let_through, with_words = [], []
    for picture in watched(plain, "gate, photos"):
        let_through.append(passes(picture))
        started = time.process_time()
        found = whole.read(picture)
        read_times.append(time.process_time() - started)
        with_words.append(any(re.search(r"[A-Za-z]{2}", word.text) for word in found))
    opened, worded = np.array(let_through), np.array(with_words)
    right = sum(shown) + int((opened & worded).sum())
    return {
        "screens": len(shown),
        "screens_let_through": asdict(metrics.wilson(sum(shown), len(shown))),
        "photos": len(opened),
        "photos_with_words": int(worded.sum()),
        "photos_with_words_let_through": asdict(metrics.wilson(int((opened & worded).sum()), int(worded.sum()))),
        "photos_without_words_stopped": asdict(metrics.wilson(int((~opened & ~worded).sum()), int((~worded).sum()))),
        "precision": asdict(metrics.wilson(right, sum(shown) + int(opened.sum()))),
        "gate_ms": round(1000 * statistics.median(times), 1),
        "photo_read_whole_ms": round(1000 * statistics.median(read_times), 1),
    }


def timed(pictures: Sequence[Image.Image]) -> float:
    """Median time of reading a screen, its gate included, in milliseconds."""
    reader, times = PictureWordReader(), []
    reader.read(pictures[0])
    for picture in pictures:
        started = time.process_time()
        reader.read(picture)
        times.append(time.process_time() - started)
    return round(1000 * statistics.median(times), 1)


def watched(items: Sequence[Any], title: str) -> Iterable[Any]:
    """The items, with their progress on standard error."""
    return track(items, title, console=Console(stderr=True), transient=True)


def answers(analyzer: Analyzer, samples: Sequence[Sample], title: str) -> list[Analysis]:
    """Fast answers, some posts at a time."""
    said: list[Analysis] = []
    for start in watched(range(0, len(samples), BATCH), title):
        said += analyzer.analyze_batch(samples[start : start + BATCH], explain="none", mode="fast")
    return said


def joined(adapter: Adapter, without: Sequence[Analysis], reading: Sequence[Analysis], *, has_text: bool) -> Labels:
    """The labels that posts get where the words in their pictures are read as well.

    What was read for `reading` is joined here as the analyzer joins it: so the words of a picture are read once for all
    that is compared, and with the weights that the model has when everything is read.
    """
    labels, pooling = labels_of(without), adapter.senses.get("picture_words")
    if pooling is None:
        raise SystemExit("the model has no weights for words in pictures: run eval/make_picture_words.py")
    for i, (fast, read) in enumerate(zip(without, reading, strict=True)):
        said = None if read.picture is None else read.picture.words_sentiment
        if said is not None:
            before, words = (posteriors([each]).astype(np.float32) for each in (fast.fast, said))
            labels[i] = pooling.probabilities(before, words, np.array([has_text]), np.ones(1, np.float32)).argmax()
    return labels


def labels_of(said: Sequence[Analysis]) -> Labels:
    """Fast labels as class indices `[n]`."""
    return np.array([LABELS.index(answer.fast.label) for answer in said], dtype=np.int64)


def compared(gold: Labels, without: Labels, having: Labels) -> dict[str, Any]:
    """Accuracy and macro F1 without and with the words in pictures, and their paired differences."""
    record: dict[str, Any] = {"posts": len(gold)}
    for figure, metric in (("accuracy", metrics.accuracy), ("macro_f1", metrics.macro_f1)):
        record[figure] = {
            name: asdict(metrics.bootstrap_labels(metric, metrics.confusion(gold, labels, len(LABELS))))
            for name, labels in (("without", without), ("with", having))
        }
        record[figure]["difference"] = asdict(metrics.paired_difference(metric, gold, having, without, len(LABELS)))
    return record


def on_screens(options: argparse.Namespace) -> dict[str, Any]:
    """Screens: what is read, and the answers without and with it, beside those to the texts as typed."""
    samples = screens(fonts_in(options.fonts), SCREENS)
    gold = np.array([LABELS.index(s.label or "neutral") for s in samples])
    with Analyzer.from_pretrained(senses=("ocr",)) as reading:
        read = answers(reading, samples, "screens")
    plain = Analyzer.from_pretrained()
    adapter = plain.adapters[plain.default]
    typed = answers(plain, [Sample(text=s.rationale) for s in samples], "texts")
    without = answers(plain, samples, "screens alone")
    return {
        "model_hash": adapter.hash,
        "characters": errors(read, [s.rationale or "" for s in samples]),
        "answers": {"screens": compared(gold, labels_of(without), joined(adapter, without, read, has_text=False))},
        "typed_accuracy": asdict(
            metrics.bootstrap_labels(metrics.accuracy, metrics.confusion(gold, labels_of(typed), len(LABELS)))
        ),
    }


def on_memes(options: argparse.Namespace) -> dict[str, Any]:
    """Memes: what is read, and the answers without and with it, for pictures alone and beside their texts."""
    samples = memes(options.data, options.most)
    alone = [Sample(id=s.id, image=s.image) for s in samples]
    gold = np.array([LABELS.index(s.label or "neutral") for s in samples])
    with Analyzer.from_pretrained(senses=("ocr",)) as reading:
        read = answers(reading, alone, "memes")
    plain = Analyzer.from_pretrained()
    adapter = plain.adapters[plain.default]
    sides = {"memes, picture alone": alone, "memes, text and picture": samples}
    said = {name: answers(plain, posts, name) for name, posts in sides.items()}
    return {
        "model_hash": adapter.hash,
        "characters": errors(read, [s.text or "" for s in samples]),
        "answers": {
            name: compared(
                gold, labels_of(rows), joined(adapter, rows, read, has_text=name.endswith("text and picture"))
            )
            for name, rows in said.items()
        },
    }


def at_the_gate(options: argparse.Namespace) -> dict[str, Any]:
    """The gate, and the times."""
    drawn = screens(fonts_in(options.fonts), GATED)
    pictures = [read_image(s.image, draft=DRAFT_PIXELS) for s in drawn if s.image is not None]
    return {**gate(pictures, photos(options.data, PHOTOS)), "screen_read_ms": timed(pictures[:TIMED])}


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "screens": on_screens,
    "memes": on_memes,
    "gate": at_the_gate,
}


def table(part: str, record: dict[str, Any]) -> Table:
    """The record as people read it."""
    shown = Table("posts", "n", "without", "with", "difference", title=f"{part}, words read by rapidocr")
    for name, row in record.get("answers", {}).items():
        gain = row["accuracy"]["difference"]
        shown.add_row(
            name,
            str(row["posts"]),
            *(f"{row['accuracy'][kind]['value']:.1%}" for kind in ("without", "with")),
            f"{100 * gain['value']:+.1f} [{100 * gain['low']:+.1f}, {100 * gain['high']:+.1f}]",
        )
    if "characters" in record:
        row = record["characters"]
        shown.add_row("characters", str(row["pictures"]), "", f"{row['cer']:.1%} wrong", "")
    if part == "gate":
        shown.add_row("gate", str(record["screens"] + record["photos"]), "", f"{record['gate_ms']} ms", "")
    return shown


def main() -> None:
    """Measure, show, keep if asked."""
    parser = program(__doc__, NAME)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the corpora")
    parser.add_argument("--part", choices=PARTS, required=True, help="what to measure; each has a record of its own")
    parser.add_argument("--fonts", type=Path, default=FONTS)
    parser.add_argument("--most", type=int, default=500, help="so many memes at most")
    options = parser.parse_args()
    record = {**circumstances(["rapidocr", "onnxruntime"], 1), **PARTS[options.part](options)}
    tell(f"{NAME}-{options.part}", record, table(options.part, record), options)


if __name__ == "__main__":
    main()
