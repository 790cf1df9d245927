"""Fit how faces in a picture join the bundled model's answers, and write it into the model's folder.

What was reached is kept as `eval/bench/results/faces-fit-DATE.json`, too.

    python eval/make_faces.py --data CORPORA --start efficientnet-lite0.pth [--model adapters/default] [--dry]

Two pairs of weights are fitted (`pooling.fit_pooling`) to posts of MVSA-Single that show a face which is large enough.
The text tower saw none of them. The image tower saw the training posts: for these its place is taken by linear heads on
the ImageNet weights that it started from (`--start`), cross-fitted, which are right nearly as often on pictures they
had not seen; the head of words is cross-fitted, too. The dev posts are judged by the model as it is. For posts of words
and picture the label of the whole counts, for pictures alone that of the picture. Accuracy before and after is
cross-fitted, and "before" is calibrated to the same posts. No test part is read.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from eval.bench.keeping import keep
from eval.make_picture_words import Judged, fitted
from hybrid_mmsa import Analyzer
from hybrid_mmsa.adapters import Adapter
from hybrid_mmsa.data import Record
from hybrid_mmsa.inputs import DRAFT_PIXELS, read_image, to_pixels
from hybrid_mmsa.model import open_model
from hybrid_mmsa.pooling import SourcePooling
from hybrid_mmsa.senses import PictureReaders
from hybrid_mmsa.training.common.provenance import made_now
from hybrid_mmsa.training.heads.fusion import FusionConfig, words_head
from hybrid_mmsa.training.heads.logistic import LinearHead, choose_head
from hybrid_mmsa.training.posts.rows import fold_of, post_records, text_key
from hybrid_mmsa.training.routing.posts import encode_posts, gold_labels
from hybrid_mmsa.training.towers.image import ImageConfig
from hybrid_mmsa.training.towers.image_tower import WIDTH, ImageTower, read_start
from hybrid_mmsa.types import LABELS, FloatArray, posteriors

FOLDS = 5
HEADS = FusionConfig(penalties=(3, 10))


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What a model that had not seen them says of posts: of the whole, and of the picture by itself, `[n, 3]`."""

    whole: FloatArray
    picture: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What is in pictures: ImageNet features `[n, 1280]`, what faces look like `[n, 3]`, and how reliable it is `[n]`.

    The last two are NaN where no face was judged.
    """

    features: FloatArray
    looks: NDArray[np.float64]
    reliability: NDArray[np.float64]

    @classmethod
    def concatenated(cls, parts: Sequence[Seen]) -> Seen:
        """Of the pictures of all parts, in order."""
        return cls(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)))


def seen(posts: Sequence[Record], start: Path) -> Seen:
    """Read the posts' pictures."""
    tower, readers = ImageTower(read_start(start)).eval(), PictureReaders(("faces",))
    features = np.zeros((len(posts), WIDTH), np.float32)
    looks, reliability = np.full((len(posts), len(LABELS)), np.nan), np.full(len(posts), np.nan)
    for i, post in enumerate(track(posts, "pictures", console=Console(stderr=True), transient=True)):
        if post.sample.image is None:
            raise ValueError(f"post {post.sample.id} has no picture")
        picture = read_image(post.sample.image, draft=DRAFT_PIXELS)
        with torch.inference_mode():
            pixels = torch.tensor(to_pixels(picture, ImageConfig().side)).permute(2, 0, 1)[None]
            features[i] = tower.features(pixels)[0].numpy()
        reading, _ = readers.read(picture)
        if reading.faces_sentiment is not None and reading.faces_reliability is not None:
            (looks[i],) = posteriors([reading.faces_sentiment])
            reliability[i] = reading.faces_reliability
    return Seen(features, looks, reliability)


def of_train(adapter: Adapter, posts: Sequence[Record], pictures: FloatArray, words: FloatArray) -> Answers:
    """Of training posts, from ImageNet features of their pictures and the text tower's features of their words."""
    head = adapter.head
    folds = np.array([fold_of(f"faces/{text_key(post.sample.text or '')}", FOLDS) for post in posts])
    image = tuple(
        choose_head(pictures, gold_labels(posts, label), folds, len(LABELS), HEADS.penalties).held_out
        for label in ("image_label", "label")
    )
    joint = words_head(posts, words, "label", head.arrays, HEADS).held_out
    sentiment = LinearHead.of(head.arrays, "text.sentiment").logits(words)
    both = np.ones(len(posts), dtype=bool)
    fused = head.fuse((sentiment, joint), (image[0], image[1]), both, both)
    said = adapter.calibration.probabilities({"sentiment": fused, "image_sentiment": image[0]})
    return Answers(said["sentiment"], said["image_sentiment"])


def of_dev(analyzer: Analyzer, posts: Sequence[Record]) -> Answers:
    """Of dev posts, as the model answers them."""
    said = analyzer.posteriors([post.sample for post in posts])
    return Answers(said["sentiment"], said["image_sentiment"])


def concatenated(parts: Sequence[Answers]) -> Answers:
    """Of the posts of all parts, in order."""
    return Answers(np.concatenate([p.whole for p in parts]), np.concatenate([p.picture for p in parts]))


def posts_of(data: Path, split: str) -> list[Record]:
    """Posts of words and picture with all three labels."""
    own = [r for r in post_records(data) if r.sample.text and r.sample.label and r.sample.image_label]
    return [r for r in own if r.split == split and r.sample.image is not None]


def judged(data: Path, model: Path, pictures: Mapping[str, Seen]) -> dict[str, Judged]:
    """Posts with a face, as both kinds."""
    parts = {split: posts_of(data, split) for split in pictures}
    opened = open_model(model)
    words = encode_posts(opened.encoder, [replace(r.sample, image=None) for r in parts["train"]]).text_features
    said = concatenated(
        [
            of_train(opened.adapter, parts["train"], pictures["train"].features, words),
            of_dev(Analyzer(opened.encoder, [opened.adapter]), parts["dev"]),
        ]
    )
    posts, read = [*parts["train"], *parts["dev"]], Seen.concatenated([pictures["train"], pictures["dev"]])
    shown = np.flatnonzero(np.isfinite(read.reliability))
    keys = [text_key(posts[i].sample.text or "") for i in shown]
    kinds = {"with_text": (said.whole, "label"), "picture_only": (said.picture, "image_label")}
    return {
        kind: Judged(
            keys,
            fast[shown].astype(np.float64),
            read.looks[shown],
            gold_labels(posts, label)[shown],
            read.reliability[shown],
        )
        for kind, (fast, label) in kinds.items()
    }


def main() -> None:
    """Fit, show, save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of the corpora")
    parser.add_argument("--start", type=Path, required=True, help="ImageNet weights of EfficientNet-Lite0")
    parser.add_argument("--model", type=Path, default=Path(__file__).parents[1] / "adapters" / "default")
    parser.add_argument("--dry", action="store_true", help="show the weights and write nothing")
    options = parser.parse_args()
    adapter = Adapter.load(options.model)
    facts: dict[str, Any] = {
        **made_now(),
        "reader": PictureReaders(("faces",)).ids["faces"],
        "encoder_hash": adapter.encoder_hash,
        "data": "MVSA-Single: training posts out of fold, and dev posts; those with a face that was judged",
    }
    weights: dict[str, tuple[float, float]] = {}
    pictures = {split: seen(posts_of(options.data, split), options.start) for split in ("train", "dev")}
    for kind, rows in judged(options.data, options.model, pictures).items():
        weights[kind], facts[kind] = fitted(rows, "faces", adapter.router.set_threshold or 0.0)
    pooling = SourcePooling(
        with_text=weights["with_text"],
        picture_only=weights["picture_only"],
        set_threshold=min(facts[kind]["sets"]["threshold"] for kind in weights),  # as wide as either kind asks
        fitted_on=facts,
    )
    Console(highlight=False).print_json(data=pooling.to_dict())
    if not options.dry:
        keep("faces-fit", facts)
        replace(adapter, senses={**adapter.senses, "faces": pooling}).save(options.model)


if __name__ == "__main__":
    main()
