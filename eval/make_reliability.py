"""Fit how likely it is that a face's expression is told right, from how well it was seen, and write the weights.

    python eval/make_reliability.py --fer FOLDER

The folder is that of `eval/bench/senses/expressions.py`. Each face of the public test part, which the network was not
trained on, is drawn anew: smaller or larger, blurred, compressed as JPEG, on a grey ground, where the detector
has to find it. What is fitted is logistic in `reliability.SIGNALS`, none of which may count backwards. It is judged on
faces of the private test part. Faces that stand in the training part too are left out of both.
"""

from __future__ import annotations

import argparse
import io
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from rich.console import Console
from rich.progress import track

from eval.bench.senses.expressions import Named, pictures, shrunk, twins
from hybrid_mmsa import metrics
from hybrid_mmsa.routing import ErrorModel
from hybrid_mmsa.senses.expression import ExpressionNetwork, faces_in, sentiment_of
from hybrid_mmsa.senses.face_detector import FaceDetector
from hybrid_mmsa.senses.face_reader import DETECTOR, LEAST_SIDE
from hybrid_mmsa.senses.reliability import SIGNALS, WEIGHTS, face_signals
from hybrid_mmsa.training.common.provenance import made_now
from hybrid_mmsa.types import EXPRESSIONS, PixelBox

SIDES = (26, 200)
"""Of the drawn faces, in pixels; evenly spread on a logarithmic scale."""
MOST_BLUR, QUALITY, GROUND, BINS = 2.5, (30, 95), 1.8, 5


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Faces that the detector found, what the network said of them, and whether their sentiment was told right."""

    boxes: list[PixelBox]
    scores: list[float]
    faces: NDArray[np.float32]
    expressions: NDArray[np.float32]
    right: NDArray[np.bool_]

    @property
    def signals(self) -> NDArray[np.float64]:
        """As `face_signals` has them."""
        return face_signals(self.boxes, self.scores, self.faces, self.expressions)


def drawn(path: Path, chance: random.Random) -> Image.Image:
    """A face on a grey ground, as badly seen as chance wants it."""
    face = Image.open(path).convert("L")
    side = round(SIDES[0] * (SIDES[1] / SIDES[0]) ** chance.random())
    face = face.resize((side, side), Image.Resampling.BICUBIC)
    face = face.filter(ImageFilter.GaussianBlur(chance.random() ** 2 * MOST_BLUR * side / 48))
    whole = round(side * GROUND)
    picture = Image.new("L", (whole, whole), chance.randint(60, 200))
    picture.paste(face, ((whole - side) // 2, (whole - side) // 2))
    file = io.BytesIO()
    picture.convert("RGB").save(file, "JPEG", quality=chance.randint(*QUALITY))
    return Image.open(file).convert("RGB")


def seen(files: Sequence[Named], title: str) -> Seen:
    """Each file's face, drawn anew; those that are not found are left out."""
    detector, network, chance = FaceDetector(DETECTOR, 1), ExpressionNetwork(1), random.Random(title)
    rows = list(_found(detector, network, files, chance, title))
    boxes, scores, faces, expressions, right = zip(*rows, strict=True)
    return Seen(list(boxes), list(scores), np.stack(faces), np.stack(expressions), np.array(right))


def _found(
    detector: FaceDetector, network: ExpressionNetwork, files: Sequence[Named], chance: random.Random, title: str
) -> Iterator[tuple[PixelBox, float, NDArray[np.float32], NDArray[np.float32], bool]]:
    gold = sentiment_of(np.eye(len(EXPRESSIONS), dtype=np.float32)).argmax(1)
    for path, number in track(files, title, console=Console(stderr=True), transient=True):
        picture = drawn(path, chance)
        edges, scores = detector.find(picture)
        if not len(scores):
            continue
        left, top, right, bottom = edges[0]
        box = (int(left), int(top), int(right + 0.5), int(bottom + 0.5))
        if min(box[2] - box[0], box[3] - box[1]) < LEAST_SIDE:
            continue
        faces = faces_in(picture, [box])
        said = network.of_faces(faces)
        yield box, float(scores[0]), faces[0], said[0], bool(sentiment_of(said).argmax(1)[0] == gold[number])


def alone(files: Sequence[Named], others: NDArray[np.float32]) -> list[Named]:
    """Those of the files that have no twin among others."""
    return [file for file, twin in zip(files, twins(shrunk(files), others), strict=True) if not twin]


def told(model: ErrorModel, test: Seen) -> dict[str, Any]:
    """How good the reliabilities are: by rank, and in bins of equal size."""
    p = 1 - model.predict_proba(test.signals)
    order = np.array_split(np.argsort(p, kind="stable"), BINS)
    ranks = np.argsort(np.argsort(p, kind="stable")) + 1
    n_right, n_wrong = int(test.right.sum()), int((~test.right).sum())
    auroc = (ranks[test.right].sum() - n_right * (n_right + 1) / 2) / (n_right * n_wrong)
    return {
        "faces": len(p),
        "right": asdict(metrics.wilson(n_right, len(p))),
        "auroc": float(auroc),
        "bins": [{"said": float(p[rows].mean()), "right": float(test.right[rows].mean())} for rows in order],
    }


def main() -> None:
    """Fit, judge, save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--fer", type=Path, required=True, help="the folder of FER2013's parts")
    parser.add_argument("--most", type=int, default=1000, help="so many faces to fit to, and as many to judge by")
    options = parser.parse_args()
    parts = {part: list(pictures(options.fer / part)) for part in ("train", "validation", "test")}
    learn_from, judge_by = (random.Random(0).sample(parts[part], options.most) for part in ("validation", "test"))
    trained_on = shrunk(parts["train"])
    learn = seen(alone(learn_from, trained_on), "fit")
    model = ErrorModel(SIGNALS).fit(learn.signals, (~learn.right).astype(np.float64))
    values = {
        "signals": dict(zip(SIGNALS, model.weights_.tolist(), strict=True)),
        "bias": model.bias_,
        "fitted_on": {**made_now(), "data": "FER2013, public test part, drawn anew", "faces": len(learn.right)},
        "found": told(model, seen(alone(judge_by, trained_on), "test")),
    }
    WEIGHTS.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    Console(highlight=False).print_json(data=values)


if __name__ == "__main__":
    main()
