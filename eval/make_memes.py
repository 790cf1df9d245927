"""Make the bundled adapter for memes from Memotion 7k, and measure it once. It knows no other corpus.

    python eval/make_memes.py --data Memotion7k [-o adapters/memes] [--features FOLDER]

Fitted on the training part of the split `memotion_grouped`. Which recipe is kept is decided by macro F1 on one half of
the dev part; the router's thresholds are fitted on the other half. The test part is read once, for the card, with the
kept recipe beside the default model. The bundled encoder is used as it is: run this again when its towers change.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from hybrid_mmsa import metrics
from hybrid_mmsa.adapters import Adapter
from hybrid_mmsa.data import Record, load_corpus, load_manifest
from hybrid_mmsa.encoders import extract_features
from hybrid_mmsa.model import open_model
from hybrid_mmsa.training.common.provenance import made_now
from hybrid_mmsa.training.heads.figures import Comparison, compare
from hybrid_mmsa.training.heads.frozen import FrozenConfig, fit_frozen
from hybrid_mmsa.training.posts.labelled import Labelled, labels_of
from hybrid_mmsa.training.posts.rows import fold_of, text_key
from hybrid_mmsa.training.routing.posts import half
from hybrid_mmsa.types import LABELS, Features

SPLIT, FOLDS, DRAWS = "memotion_grouped", 5, 500
# Memes' labels are hard to tell: weaker pulls than these were never chosen.
PLAIN = FrozenConfig(penalties=(30, 100, 300, 1000))
RECIPES = {
    "the likeliest label, begun with the bundled heads": (PLAIN, True),
    "labels as often as they occur, begun with the bundled heads": (replace(PLAIN, match_shares=True), True),
    "labels as often as they occur, begun with nothing": (replace(PLAIN, match_shares=True), False),
}


def main() -> None:
    """Fit the recipes, keep one, measure it, save it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="Memotion 7k's folder")
    parser.add_argument("-o", "--out", type=Path, default=Path(__file__).parents[1] / "adapters" / "memes")
    parser.add_argument("--features", type=Path, help="keep features here between runs")
    options = parser.parse_args()
    console, model = Console(highlight=False), open_model()
    default, encoder = model.adapter, model.encoder
    records = list(load_manifest(SPLIT).apply(load_corpus("memotion", options.data)))
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("posts", total=len(records))
        features = extract_features(
            encoder, [r.sample for r in records], options.features, advance=lambda: bar.update(task, advance=1)
        )
    train, dev, test = (part(records, features, name) for name in ("train", "dev", "test"))
    chosen, fitted = "", {}
    scores = {}
    for name, (config, begun) in RECIPES.items():
        start = default if begun else None
        fitted[name] = fit_frozen(train, dev, encoder, name=options.out.name, config=config, start=start)
        scores[name] = judged(fitted[name], dev)
        console.print(f"{name}: macro F1 {scores[name]:.3f} on half of dev")
    chosen = max(scores, key=lambda name: scores[name])
    adapter, gold = fitted[chosen], test.labels["text.joint"]
    figures = compare(adapter.posteriors(test.features), default.posteriors(test.features), gold, default.name)
    coin = by_chance(train.labels["text.joint"], gold)
    made_with = {
        **made_now(),
        "data": f"Memotion 7k, split {SPLIT}",
        "parts": {"train": len(train.keys), "dev": len(dev.keys)},
        "chosen": chosen,
        "macro_f1_on_half_of_dev": scores,
        "start": {"name": default.name, "hash": default.hash} if RECIPES[chosen][1] else None,
        "recipe": asdict(RECIPES[chosen][0]),
    }
    replace(adapter, made_with=made_with, card=card(figures, scores, chosen, coin)).save(options.out)
    console.print("\n".join(figures.lines()))
    console.print(f"labels drawn by chance, as often as they occur: macro F1 {coin:.3f}")
    console.print(f"wrote {options.out}")


def part(records: list[Record], features: Features, name: str) -> Labelled:
    """One part of the split. What its sarcasm labels say is left out: the bundled head for sarcasm stays."""
    rows = np.array([i for i, r in enumerate(records) if r.split == name], dtype=np.int64)
    samples = [replace(records[i].sample, sarcastic=None) for i in rows]
    keys = [text_key(s.text or "") or str(s.id) for s in samples]
    folds = np.array([fold_of(f"memes/{key}", FOLDS) for key in keys], dtype=np.int64)
    return Labelled(features.take(rows), labels_of(samples), folds, keys)


def judged(adapter: Adapter, dev: Labelled) -> float:
    """Macro F1 on the half of dev that chooses."""
    rows = np.array([i for i, key in enumerate(dev.keys) if not half(key)])
    said = adapter.posteriors(dev.features.take(rows))["sentiment"].argmax(1)
    return float(metrics.macro_f1(metrics.confusion(dev.labels["text.joint"][rows], said, len(LABELS))))


def by_chance(train: NDArray[Any], gold: NDArray[Any]) -> float:
    """Macro F1 of labels drawn at their shares in the training part, the mean of some draws."""
    shares, chance = np.bincount(train, minlength=len(LABELS)) / len(train), np.random.default_rng(0)
    draws = [chance.choice(len(LABELS), len(gold), p=shares) for _ in range(DRAWS)]
    return float(np.mean([metrics.macro_f1(metrics.confusion(gold, said, len(LABELS))) for said in draws]))


def card(figures: Comparison, scores: dict[str, float], chosen: str, coin: float) -> str:
    """What to know before using it."""
    gain, found = figures.macro_f1_gain, figures.adapter["macro F1"]
    others = "come from the bundled model's heads" if RECIPES[chosen][1] else "are not judged"
    rows = [f"| {name}{' (kept)' if name == chosen else ''} | {score:.3f} |" for name, score in scores.items()]
    return f"""Judges what an English meme feels, with heads fitted to Memotion 7k on the bundled encoder.

# Model card: memes

## Data and its terms

Memotion 7k (SemEval-2020 task 8): 6,992 memes with corrected texts, labelled by crowd workers; for research use. Split
`{SPLIT}`, near-duplicates on one side. Fitted on its training part; the bundled towers saw none of it. Sarcasm,
emotion and the sentiment towards a target {others}.

## How it was chosen

Macro F1 on one half of the dev part; thresholds were fitted on the other half.

| recipe | macro F1 |
|---|---|
{chr(10).join(rows)}

## Figures

{chr(10).join(figures.lines())}

The gain in macro F1 over the default model is {gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f}). Labels drawn by
chance, as often as each occurs, would score {coin:.3f} where the adapter scores {found:.3f}: the gain is that labels
are named as often as they occur and that probabilities are calibrated, hardly that the adapter knows which meme has
which label. Published figures, on other test posts, are in `eval/RESULTS.md`.

## Limits

- The labels are very noisy: people disagree on what memes feel. Do not act on a single answer.
- Always naming the commonest label would be right more often. Probabilities are low, since they are calibrated.
- English memes of 2019, many about the same few people and films. Text in pictures is not read: pass it as text.
- Political and offensive content is in the data. Do not use it to judge people.
"""


if __name__ == "__main__":
    main()
