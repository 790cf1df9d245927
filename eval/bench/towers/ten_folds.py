"""A model for each of MVSA-Single's ten folds: every stage that sees MVSA is trained again without the fold.

    python eval/bench/towers/ten_folds.py --data DATA --general RUNS/text/general/tower.safetensors
        --start WEIGHTS -o MODELS
    hybrid-mmsa eval run eval/protocols/mvsa_single_10fold.toml --data DATA/MVSA_Single --model 'MODELS/{fold}'

Fold k is tested on and fold k + 1 is left out beside it. So two pairs of towers never saw fold k: its own, which speak
of fold k + 1, and those of fold k - 1, which speak of fold k - 1. On those two folds head and temperatures of model k
are fitted. The towers start from the general text stage and from ImageNet; neither saw MVSA. A killed run goes on.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from eval.bench.keeping import today
from hybrid_mmsa.adapters import Adapter
from hybrid_mmsa.calibration import Calibration, TemperatureScaling
from hybrid_mmsa.data import Record, load_corpus, load_manifest
from hybrid_mmsa.encoders import CompactEncoder
from hybrid_mmsa.encoders.wordpieces import WordPieces
from hybrid_mmsa.fusion import FusionHead
from hybrid_mmsa.training.heads.frozen import UNROUTED
from hybrid_mmsa.training.heads.fusion import FusionConfig, linear_heads
from hybrid_mmsa.training.heads.strategies import Evidence, cross_fit, fit_strategy
from hybrid_mmsa.training.posts.rows import fold_of, post_rows, text_key
from hybrid_mmsa.training.towers.export import export_compact
from hybrid_mmsa.training.towers.image import ImageConfig, picture_logits, picture_rows, serving_pixels, train_top
from hybrid_mmsa.training.towers.image_tower import ImageTower, load_tower, read_start, read_views
from hybrid_mmsa.training.towers.text import BranchConfig, TextConfig, train_branch
from hybrid_mmsa.training.towers.text_tower import TextTower, mix_branch, read_states, start_folder
from hybrid_mmsa.types import LABELS, TASKS, Task

MAX_TOKENS = TextConfig().max_tokens
CROSS_FITS = 5
SPLIT = "mvsa_single_10fold"
Logits = dict[str, NDArray[np.float32]]


def main() -> None:
    """Train the towers of every fold, then fit and save the models."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds the corpora")
    parser.add_argument("--general", type=Path, required=True, help="the general text stage's tower.safetensors")
    parser.add_argument("--start", type=Path, required=True, help="ImageNet weights of MobileNetV2")
    parser.add_argument("-o", "--out", type=Path, required=True, help="where the ten models go; stages stand in runs/")
    options = parser.parse_args()
    records = list(load_manifest(SPLIT).apply(load_corpus("mvsa_single", options.data / "MVSA_Single"), 0))
    fold_by_id = {id_: k for k in range(10) for id_ in load_manifest(SPLIT).parts[f"fold_{k}"]}
    folds = np.array([fold_by_id[record.sample.id or ""] for record in records])
    words = _text_towers(options, records, folds)
    pictures = _image_towers(options, records, folds)
    for fold in range(10):
        _model(options.out, fold, records, folds, words, pictures)
        Console(stderr=True).print(f"model {fold} of 10 is in {options.out / str(fold)}")


def _left_out(folds: NDArray[Any], fold: int) -> NDArray[np.bool_]:
    """Posts that the towers of a fold never see."""
    return np.isin(folds, (fold, (fold + 1) % 10))


def _text_towers(options: argparse.Namespace, records: list[Record], folds: NDArray[Any]) -> list[Logits]:
    """What each fold's text tower says of all posts."""
    pieces = WordPieces(start_folder() / "tokenizer.json", MAX_TOKENS)
    states = read_states(TextTower(start_folder()).load(options.general), pieces, post_rows(records))
    found = []
    for fold in range(10):
        seen, folder = states.take(np.flatnonzero(~_left_out(folds, fold))), options.out / "runs" / "text" / str(fold)
        found.append(states.logits(train_branch(options.general, seen, BranchConfig(), folder, seed=fold)))
    return found


def _image_towers(options: argparse.Namespace, records: list[Record], folds: NDArray[Any]) -> list[Logits]:
    """What each fold's image tower says of all posts."""
    config, start, runs = ImageConfig(), read_start(options.start), options.out / "runs" / "image"
    rows = picture_rows(records, options.data, config.decoded_side)
    pixels = serving_pixels(records, config.side)
    views = read_views(ImageTower(start, config.frozen), rows, runs / "views", views=config.views, side=config.side)
    found = []
    for fold in range(10):
        # Twitter1269's pictures stand behind the posts', and are in no fold.
        seen = np.concatenate([np.flatnonzero(~_left_out(folds, fold)), np.arange(len(records), len(rows))])
        found.append(picture_logits(train_top(start, views, seen, config, runs / str(fold), seed=fold), pixels))
    return found


def _model(
    out: Path,
    fold: int,
    records: list[Record],
    folds: NDArray[Any],
    words: list[Logits],
    pictures: list[Logits],
) -> None:
    """Fit head and temperatures of one fold's model on two folds its towers never saw, and save it."""
    config, own, other = FusionConfig(), (fold + 1) % 10, (fold - 1) % 10
    parts = [(tower, np.flatnonzero(folds == speaks_of)) for tower, speaks_of in ((fold, own), (other, other))]
    rows = np.concatenate([part for _, part in parts])
    text, image = (
        {head: np.concatenate([said[tower][head][part] for tower, part in parts]) for head in said[fold]}
        for said in (words, pictures)
    )
    posts = [records[i].sample for i in rows]
    gold = {
        name: np.array([LABELS.index(getattr(post, name)) for post in posts])
        for name in ("label", "text_label", "image_label")
    }
    said = mix_branch(text, config.branch_share)
    evidence = Evidence(said, text["joint"], image["sentiment"], image["joint"], gold["label"])
    runs = out / "runs"
    arrays = linear_heads(runs / "text" / str(fold), runs / "image" / str(fold), config.branch_share)
    head = FusionHead({**arrays, **fit_strategy(evidence, config.joining)}, config.joining.strategy)
    inner = np.array([fold_of(f"fusion/{text_key(post.text or '')}", CROSS_FITS) for post in posts])
    logits = cross_fit(evidence, inner, config.joining) | {
        "text_sentiment": said,
        "image_sentiment": image["sentiment"],
    }
    labels: dict[Task, str] = {"text_sentiment": "text_label", "image_sentiment": "image_label"}
    temperatures: dict[Task, float] = dict.fromkeys(TASKS, 1.0)
    for task, values in logits.items():
        temperatures[task] = TemperatureScaling().fit(values, gold[labels.get(task, "label")]).temperature_
    towers = out / str(fold) / "towers"
    if not (towers / "compact.json").exists():
        reader = TextTower(start_folder()).load(runs / "text" / str(fold) / "tower.safetensors")
        viewer = load_tower(runs / "image" / str(fold) / "tower.safetensors")
        export_compact(reader, viewer, towers, max_tokens=MAX_TOKENS, side=ImageConfig().side)
    encoder = CompactEncoder(towers, name="compact:towers")
    made_with = {"split": SPLIT, "fold": fold, "fitted_on": len(rows), "date": today()}
    adapter = Adapter(
        name=f"fold-{fold}",
        encoder=encoder.name,
        encoder_hash=encoder.hash,
        head=head,
        calibration=Calibration(temperatures),
        router=UNROUTED,
        made_with=made_with,
    )
    replace(adapter, card=f"# Fold {fold}\n\nFor measuring alone.\n").save(out / str(fold))


if __name__ == "__main__":
    main()
