"""How often expressions are told right, on FER2013's private test part, in one run.

    python eval/bench/senses/expressions.py --fer FOLDER [--save]

The folder holds `train`, `validation` and `test`, each with a folder of pictures for every expression, named as the
collection's own files (`PrivateTest_123.jpg`); copies that others made by turning and flipping are left out. The
network was trained by its authors on the training part. Test pictures that stand there too, or in the public test part,
are left out: twins, whose shrunk pixels differ by less than `ALIKE` levels in the mean.
"""

from __future__ import annotations

import argparse
import re
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.table import Table

from eval.bench.keeping import circumstances, program, tell
from hybrid_mmsa import metrics
from hybrid_mmsa.senses.expression import ExpressionNetwork, sentiment_of
from hybrid_mmsa.types import EXPRESSIONS, LABELS, FloatArray

NAME = "expressions"
OWN = re.compile(r"(PrivateTest|PublicTest|Training)_\d+\.jpg")
SHRUNK = 12
ALIKE = 4.0
"""Levels of 255."""
AT_A_TIME = 64
Named = tuple[Path, int]


def pictures(folder: Path) -> Iterator[Named]:
    """Every picture of the collection's own in a part, and the number of its expression."""
    for number, name in enumerate(EXPRESSIONS):
        for path in sorted((folder / name).glob("*.jpg")):
            if OWN.fullmatch(path.name):
                yield path, number


def shrunk(files: Sequence[Named]) -> FloatArray:
    """Pictures as rows of a few shades of grey, `[n, 144]`."""
    small = [Image.open(path).convert("L").resize((SHRUNK, SHRUNK), Image.Resampling.BOX) for path, _ in files]
    return np.stack([np.asarray(each, np.float32).ravel() for each in small])


def twins(test: FloatArray, known: FloatArray) -> NDArray[np.bool_]:
    """Which rows stand among the others too, `[n]`."""
    found = [bool((np.abs(known - row).mean(1) < ALIKE).any()) for row in test]
    return np.array(found)


def judged(network: ExpressionNetwork, files: Sequence[Named]) -> tuple[FloatArray, float]:
    """Probabilities `[n, 7]`, and the median of milliseconds that a face takes by itself."""
    rows, times = [], []
    for path, _ in files:
        picture = Image.open(path).convert("RGB")
        # A whole picture is a face here; the margin that is read around a found face is part of it.
        inset = round(picture.width / 12)
        box = (inset, inset, picture.width - inset, picture.height - inset)
        started = time.process_time()
        rows.append(network.probabilities(picture, [box])[0])
        times.append(time.process_time() - started)
    return np.stack(rows), round(1000 * statistics.median(times), 2)


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Everything, as a record."""
    parts = {part: list(pictures(options.fer / part)) for part in ("train", "validation", "test")}
    known = shrunk([*parts["train"], *parts["validation"]])
    kept = [file for file, twin in zip(parts["test"], twins(shrunk(parts["test"]), known), strict=True) if not twin]
    network = ExpressionNetwork(threads=1)
    rows, ms = judged(network, kept)
    gold = np.array([number for _, number in kept], dtype=np.int64)
    labels = sentiment_of(np.eye(len(EXPRESSIONS), dtype=np.float32))[gold].argmax(1)
    said = rows.argmax(1)
    counts = metrics.confusion(gold, said, len(EXPRESSIONS))
    sentiments = metrics.confusion(labels, sentiment_of(rows).argmax(1), len(LABELS))
    return {
        **circumstances(["onnxruntime"], 1),
        "network": network.hash,
        "pictures": len(parts["test"]),
        "twins": len(parts["test"]) - len(kept),
        "accuracy": asdict(metrics.bootstrap_labels(metrics.accuracy, counts)),
        "macro_f1": asdict(metrics.bootstrap_labels(metrics.macro_f1, counts)),
        "majority": float(counts.sum(1).max() / counts.sum()),
        "recall": {name: round(float(counts[n, n] / counts[n].sum()), 3) for n, name in enumerate(EXPRESSIONS)},
        "sentiment_accuracy": asdict(metrics.bootstrap_labels(metrics.accuracy, sentiments)),
        "sentiment_majority": float(sentiments.sum(1).max() / sentiments.sum()),
        "mean_confidence": float(rows.max(1).mean()),
        "ms_a_face": ms,
    }


def table(record: dict[str, Any]) -> Table:
    """The record as people read it."""
    shown = Table(
        "figure", "value", title=f"{record['pictures'] - record['twins']} faces of FER2013's private test part"
    )
    for name in ("accuracy", "macro_f1", "sentiment_accuracy"):
        figure = record[name]
        shown.add_row(name.replace("_", " "), f"{figure['value']:.1%} [{figure['low']:.1%}, {figure['high']:.1%}]")
    for name, recall in record["recall"].items():
        shown.add_row(f"recall, {name}", f"{recall:.1%}")
    shown.add_row("twins left out", str(record["twins"]))
    shown.add_row("ms a face", str(record["ms_a_face"]))
    return shown


def main() -> None:
    """Measure, show, keep if asked."""
    parser = program(__doc__, NAME)
    parser.add_argument("--fer", type=Path, required=True, help="the folder of FER2013's parts")
    options = parser.parse_args()
    record = measured(options)
    tell(NAME, record, table(record), options)


if __name__ == "__main__":
    main()
