"""A model for each of MVSA-Single's ten folds: all that sees MVSA is fitted again without the fold.

    python eval/bench/towers/ten_folds.py --data DATA --start WEIGHTS -o MODELS
    hybrid-mmsa eval run eval/protocols/mvsa_single_10fold.toml --data DATA/MVSA_Single --model 'MODELS/{fold}'

The bundled text tower saw no post of MVSA, so the ten models share it. Fold k is tested on and fold k + 1 is left out
beside it. So two image towers never saw fold k: its own, which speaks of fold k + 1, and that of fold k - 1, which
speaks of fold k - 1. On those two folds head and temperatures of model k are fitted. A killed run goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from eval.bench.keeping import today
from hybrid_mmsa.adapters import Adapter, resolve_adapter
from hybrid_mmsa.calibration import Calibration, TemperatureScaling
from hybrid_mmsa.data import Record, load_corpus, load_manifest
from hybrid_mmsa.encoders import CompactEncoder
from hybrid_mmsa.encoders.compact import WEIGHTS
from hybrid_mmsa.fusion import FusionHead
from hybrid_mmsa.training.heads.frozen import UNROUTED
from hybrid_mmsa.training.heads.fusion import FusionConfig, image_heads, words_head
from hybrid_mmsa.training.heads.strategies import Evidence, cross_fit, fit_strategy
from hybrid_mmsa.training.posts.rows import fold_of, text_key
from hybrid_mmsa.training.routing.posts import encode_posts, gold_labels
from hybrid_mmsa.training.towers.export import export_beside
from hybrid_mmsa.training.towers.image import ImageConfig, picture_logits, picture_rows, serving_pixels, train_top
from hybrid_mmsa.training.towers.image_tower import ImageTower, load_tower, read_start, read_views
from hybrid_mmsa.types import TASKS, FloatArray, Task

CROSS_FITS = 5
FOLDS = 10
SPLIT = "mvsa_single_10fold"
Logits = Mapping[str, NDArray[np.float32]]


def main() -> None:
    """Train the image towers of every fold, then fit and save the models."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds the corpora")
    parser.add_argument("--start", type=Path, required=True, help="ImageNet weights of EfficientNet-Lite0")
    parser.add_argument("-o", "--out", type=Path, required=True, help="where the ten models go; stages stand in runs/")
    options = parser.parse_args()
    records = list(load_manifest(SPLIT).apply(load_corpus("mvsa_single", options.data / "MVSA_Single"), 0))
    fold_by_id = {id_: k for k in range(FOLDS) for id_ in load_manifest(SPLIT).parts[f"fold_{k}"]}
    folds = np.array([fold_by_id[record.sample.id or ""] for record in records])
    pictures = _image_towers(options, records, folds)
    words = None
    for fold in range(FOLDS):
        towers = options.out / str(fold) / "towers"
        if not (towers / "compact.json").exists():
            viewer = load_tower(options.out / "runs" / str(fold) / "final" / "tower.safetensors")
            export_beside(WEIGHTS, viewer, towers)
        encoder = CompactEncoder(towers, threads=2, name="compact:towers")
        if words is None:
            texts = [replace(record.sample, image=None) for record in records]
            words = encode_posts(encoder, texts).text_features
        _model(options, fold, encoder, records, folds, words, pictures)
        Console(stderr=True).print(f"model {fold} of {FOLDS} is in {options.out / str(fold)}")


def _left_out(folds: NDArray[Any], fold: int) -> NDArray[np.bool_]:
    """Posts that the image tower of a fold never sees."""
    return np.isin(folds, (fold, (fold + 1) % FOLDS))


def _image_towers(options: argparse.Namespace, records: list[Record], folds: NDArray[Any]) -> Sequence[Logits]:
    """What each fold's image tower says of all posts."""
    config, start, runs = ImageConfig(), read_start(options.start), options.out / "runs"
    rows = picture_rows(records, options.data, config.decoded_side)
    pixels = serving_pixels(records, config.side)
    views = read_views(ImageTower(start, config.frozen), rows, runs / "views", views=config.views, side=config.side)
    logits = []
    for fold in range(FOLDS):
        # Twitter1269's pictures stand behind the posts', and are in no fold.
        seen = np.concatenate([np.flatnonzero(~_left_out(folds, fold)), np.arange(len(records), len(rows))])
        logits.append(
            picture_logits(train_top(start, views, seen, config, runs / str(fold) / "final", seed=fold), pixels)
        )
    return logits


def _model(
    options: argparse.Namespace,
    fold: int,
    encoder: CompactEncoder,
    records: list[Record],
    folds: NDArray[Any],
    words: FloatArray,
    pictures: Sequence[Logits],
) -> None:
    """Fit heads and temperatures of one fold's model on posts of other folds, and save it."""
    config, own, other = FusionConfig(), (fold + 1) % FOLDS, (fold - 1) % FOLDS
    parts = [np.flatnonzero(folds == part) for part in (own, other)]
    rows, seen = np.concatenate(parts), np.flatnonzero(folds != fold)
    bundled = Adapter.load(resolve_adapter("default")).head.arrays
    linear = {name: value for name, value in bundled.items() if name.startswith("text.")}
    linear |= image_heads(options.out / "runs" / str(fold))
    text = {}
    for task, label in (("sentiment", "text_label"), ("joint", "label")):
        choice = words_head([records[i] for i in seen], words[seen], label, linear, config)
        linear |= choice.head.named(f"text.{task}")
        text[task] = choice.held_out[np.searchsorted(seen, rows)]
    image = {
        head: np.concatenate([pictures[tower][head][part] for tower, part in zip((fold, other), parts, strict=True)])
        for head in pictures[fold]
    }
    posts = [records[i] for i in rows]
    gold = {name: gold_labels(posts, name) for name in ("label", "text_label", "image_label")}
    evidence = Evidence(text["sentiment"], text["joint"], image["sentiment"], image["joint"], gold["label"])
    head = FusionHead({**linear, **fit_strategy(evidence, config.joining)}, config.joining.strategy)
    inner = np.array([fold_of(f"fusion/{text_key(post.sample.text or '')}", CROSS_FITS) for post in posts])
    logits = cross_fit(evidence, inner, config.joining) | {
        "text_sentiment": text["sentiment"],
        "image_sentiment": image["sentiment"],
    }
    labels: dict[Task, str] = {"text_sentiment": "text_label", "image_sentiment": "image_label"}
    temperatures: dict[Task, float] = dict.fromkeys(TASKS, 1.0)
    for task, values in logits.items():
        temperatures[task] = TemperatureScaling().fit(values, gold[labels.get(task, "label")]).temperature_
    adapter = Adapter(
        name=f"fold-{fold}",
        encoder=encoder.name,
        encoder_hash=encoder.hash,
        head=head,
        calibration=Calibration(temperatures),
        router=UNROUTED,
        made_with={"split": SPLIT, "fold": fold, "fitted_on": len(rows), "date": today()},
    )
    replace(adapter, card=f"# Fold {fold}\n\nFor measuring alone.\n").save(options.out / str(fold))


if __name__ == "__main__":
    main()
