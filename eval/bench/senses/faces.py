"""Faces in pictures: how many are found, what they say beside what people say of the picture, and time, in one run.

    python eval/bench/senses/faces.py --data CORPORA [--save]

How often expressions are told right is measured by `expressions.py`. What is measured here:
what faces look like beside the label that people gave the picture (MVSA-Single, dev part), whether it would help the
answer (weights fitted out of fold), and beside captions that speak of smiling (photos of Flickr8k and others). Times
are those of the processor, on one thread.
"""

from __future__ import annotations

import argparse
import re
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from eval.bench.keeping import circumstances, program, tell
from hybrid_mmsa import Analyzer, Prediction, Sample, metrics
from hybrid_mmsa.data import load_corpus, load_manifest, load_photos
from hybrid_mmsa.inputs import DRAFT_PIXELS, read_image
from hybrid_mmsa.pooling import fit_pooling, pool
from hybrid_mmsa.senses import Face, FaceReader
from hybrid_mmsa.training.posts.rows import fold_of
from hybrid_mmsa.types import LABELS

NAME = "faces"
SPLIT, FOLDS, BATCH = "mvsa_single_clmlf_3311", 10, 16
SMILING = re.compile(r"\b(smil|laugh|grin|happ)", re.IGNORECASE)


def posts(data: Path) -> list[Sample]:
    """The posts of MVSA-Single's dev part with a label of the whole and of the picture."""
    records = load_manifest(SPLIT).apply(load_corpus("mvsa_single", data / "MVSA_Single"))
    return [r.sample for r in records if r.split == "dev" and r.sample.label and r.sample.image_label]


def row(prediction: Prediction) -> list[float]:
    """Probabilities in the order of the labels."""
    return [prediction.probabilities[label] for label in LABELS]


def beside_labels(analyzer: Analyzer, samples: Sequence[Sample]) -> dict[str, Any]:
    """What faces say beside the labels of posts, and what they would add to the fast answer."""
    faces, fast, picture, gold, of_picture, keys, none = [], [], [], [], [], [], 0
    starts = range(0, len(samples), BATCH)
    for start in track(starts, "posts", console=Console(stderr=True), transient=True):
        batch = samples[start : start + BATCH]
        for sample, answer in zip(batch, analyzer.analyze_batch(batch, explain="none", mode="fast"), strict=True):
            look = None if answer.picture is None else answer.picture.faces_sentiment
            if look is None or answer.image_sentiment is None or sample.label is None or sample.image_label is None:
                none += 1
                continue
            faces.append(row(look))
            fast.append(row(answer.fast))
            picture.append(row(answer.image_sentiment))
            gold.append(LABELS.index(sample.label))
            of_picture.append(LABELS.index(sample.image_label))
            keys.append(str(sample.id))
    whole, seen = np.array(gold), np.array(of_picture)
    return {
        "posts": len(samples),
        "with_a_judged_face": len(keys),
        "without": none,
        "picture_label": {
            "faces": _accuracy(seen, np.array(faces)),
            "picture_tower": _accuracy(seen, np.array(picture)),
            "majority": float(np.bincount(seen, minlength=len(LABELS)).max() / len(seen)),
        },
        "whole_label": _joined(keys, np.array(fast), np.array(faces), whole),
    }


def _accuracy(gold: NDArray[Any], rows: NDArray[Any]) -> dict[str, float]:
    return asdict(metrics.bootstrap_labels(metrics.accuracy, metrics.confusion(gold, rows.argmax(1), len(LABELS))))


def _joined(keys: Sequence[str], fast: NDArray[Any], faces: NDArray[Any], gold: NDArray[Any]) -> dict[str, Any]:
    """Fast answers with and without the faces, both with weights fitted to the other folds."""
    folds = np.array([fold_of(f"faces/{key}", FOLDS) for key in keys])
    having, without = np.zeros_like(fast), np.zeros_like(fast)
    for k in np.unique(folds):
        rest = folds != k
        for into, ignored in ((having, False), (without, True)):
            weights = fit_pooling(fast[rest], faces[rest], gold[rest], ignore_verdicts=ignored)
            into[~rest] = pool(fast[~rest], faces[~rest], weights)
    rows = np.arange(len(gold))
    gained = np.log(having[rows, gold]) - np.log(without[rows, gold])
    return {
        "accuracy_difference": asdict(
            metrics.paired_difference(metrics.accuracy, gold, having.argmax(1), without.argmax(1), len(LABELS))
        ),
        "log_loss_gained": asdict(metrics.bootstrap(lambda g: float(g.mean()), gained)),
        "weights": fit_pooling(fast, faces, gold).round(3).tolist(),
    }


def beside_captions(reader: FaceReader, data: Path) -> dict[str, Any]:
    """P(happy) of the largest face where captions speak of smiling, and where they do not; and the times."""
    happy: dict[bool, list[float]] = {True: [], False: []}
    times, found, pictures = [], 0, 0
    for photo in track(list(load_photos(data / "photos")), "photos", console=Console(stderr=True), transient=True):
        if photo.named:
            continue
        picture: Image.Image = read_image(photo.image, draft=DRAFT_PIXELS)
        started = time.process_time()
        faces: tuple[Face, ...] = reader.read(picture)
        times.append(time.process_time() - started)
        pictures, found = pictures + 1, found + bool(faces)
        if faces and faces[0].expression is not None:
            smiling = any(SMILING.search(caption) for caption in photo.captions)
            happy[smiling].append(faces[0].expression["happy"])
    ranks = np.array([[1.0 if a > b else 0.5 if a == b else 0.0 for b in happy[False]] for a in happy[True]])
    return {
        "photos": pictures,
        "with_a_face": found,
        "ms_a_picture": round(1000 * statistics.median(times), 1),
        "smiling_in_captions": len(happy[True]),
        "others": len(happy[False]),
        "median_p_happy": {"smiling": statistics.median(happy[True]), "others": statistics.median(happy[False])},
        "p_happy_is_higher_where_captions_smile": asdict(metrics.bootstrap(lambda r: float(r.mean()), ranks)),
    }


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Everything, as a record."""
    reader, analyzer = FaceReader(), Analyzer.from_pretrained(senses=("faces",))
    return {
        **circumstances(["onnxruntime"], 1),
        "reader": reader.id,
        "labels": beside_labels(analyzer, posts(options.data)),
        "captions": beside_captions(reader, options.data),
    }


def table(record: dict[str, Any]) -> Table:
    """The record as people read it."""
    labels, captions = record["labels"], record["captions"]
    shown = Table("figure", "value", title=f"faces in {labels['with_a_judged_face']} of {labels['posts']} posts")
    for name in ("faces", "picture_tower"):
        shown.add_row(f"label of the picture, {name}", f"{labels['picture_label'][name]['value']:.1%}")
    gain = labels["whole_label"]["log_loss_gained"]
    shown.add_row("log-loss gained for the whole", f"{gain['value']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]")
    higher = captions["p_happy_is_higher_where_captions_smile"]
    shown.add_row("P(happy) higher where captions smile", f"{higher['value']:.1%}")
    shown.add_row("ms a picture", str(captions["ms_a_picture"]))
    return shown


def main() -> None:
    """Measure, show, keep if asked."""
    parser = program(__doc__, NAME)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the corpora")
    options = parser.parse_args()
    record = measured(options)
    tell(NAME, record, table(record), options)


if __name__ == "__main__":
    main()
