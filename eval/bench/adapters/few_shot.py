"""Learning curve of few labels: adapters fitted to a few posts per label of a corpus the bundled heads never saw.

    python eval/bench/adapters/few_shot.py --data MEMOTION [--save]

Memotion 7k: posts are drawn from the dev part of its split and judged on its test part, neither of which any tower was
trained on. They are drawn evenly, so many of each label, and as found, three times as many in all. Each draw is fitted
twice: started from the bundled heads, and from nothing.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from eval.bench.keeping import keep, today
from hybrid_mmsa import Analyzer, metrics
from hybrid_mmsa.data import load_corpus, load_manifest
from hybrid_mmsa.encoders import extract_features
from hybrid_mmsa.training.heads.frozen import FEW_SHOT, FrozenConfig, fit_frozen
from hybrid_mmsa.training.posts.labelled import Labelled, labels_of
from hybrid_mmsa.training.posts.rows import fold_of, text_key
from hybrid_mmsa.types import LABELS, FloatArray

SIZES = (8, 16, 32, 64, 128)
SPLIT = "memotion_grouped"
FOLDS = 5


def main() -> None:
    """Draw, fit, judge, print, and save if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="Memotion 7k's folder")
    parser.add_argument("--features", type=Path, help="keep features here between runs")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--save", action="store_true", help="write eval/bench/results/few-shot-DATE.json")
    options = parser.parse_args()
    analyzer = Analyzer.from_pretrained()
    default = analyzer.adapters[analyzer.default]
    records = [
        r for r in load_manifest(SPLIT).apply(load_corpus("memotion", options.data)) if r.split in ("dev", "test")
    ]
    samples = [r.sample for r in records]
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("posts", total=len(samples))
        features = extract_features(
            analyzer.encoder, samples, options.features, advance=lambda: bar.update(task, advance=1)
        )
    labels, split = labels_of(samples), np.array([r.split for r in records])
    keys = [text_key(s.text or "") or str(s.id) for s in samples]
    pool, test = np.flatnonzero(split == "dev"), np.flatnonzero(split == "test")
    gold = labels["text.joint"][test]

    def judged(size: int, seed: int, *, evenly: bool, begun: bool) -> tuple[dict[str, float], int]:
        rows = drawn(labels["text.joint"], pool, size, seed, evenly=evenly)
        folds = np.array([fold_of(f"{seed}/{keys[i]}", FOLDS) for i in rows], dtype=np.int64)
        posts = Labelled(features.take(rows), {k: v[rows] for k, v in labels.items()}, folds, [keys[i] for i in rows])
        # A label that is rare in what was drawn is learned from the posts that there are.
        config = replace(FEW_SHOT if size <= 64 else FrozenConfig(), least=2)
        start = default if begun else None
        adapter = fit_frozen(posts, None, analyzer.encoder, name="few", config=config, start=start)
        return figures(adapter.posteriors(features.take(test))["sentiment"], gold), len(rows)

    table = Table(
        "per label", "drawn", "start", "posts", "accuracy", "macro F1", "log-loss", title=f"{len(test)} test posts"
    )
    untouched = figures(default.posteriors(features.take(test))["sentiment"], gold)
    table.add_row("0", "", "bundled", "0", *(f"{v:.3f}" for v in untouched.values()))
    results = []
    for size in SIZES:
        for evenly, begun in product((True, False), repeat=2):
            runs = [judged(size, seed, evenly=evenly, begun=begun) for seed in range(options.seeds)]
            values = {name: [found[name] for found, _ in runs] for name in untouched}
            row = {name: {"mean": float(np.mean(v)), "sd": float(np.std(v, ddof=1))} for name, v in values.items()}
            how = {"draw": "evenly" if evenly else "as found", "start": "bundled" if begun else "nothing"}
            results.append({"size": size, **how, "n": runs[0][1], **row})
            told = (f"{row[name]['mean']:.3f} ± {row[name]['sd']:.3f}" for name in untouched)
            table.add_row(str(size), *how.values(), str(runs[0][1]), *told)
    Console().print(table)
    if options.save:
        facts = {"date": today(), "corpus": "memotion", "split": SPLIT, "seeds": options.seeds, "n_test": len(test)}
        facts |= {"encoder_hash": analyzer.encoder.hash, "default": untouched, "curve": results}
        keep("few-shot", facts)


def drawn(
    labels: NDArray[np.int64], pool: NDArray[np.int64], size: int, seed: int, *, evenly: bool
) -> NDArray[np.int64]:
    """`size` rows of each label, or as many as there are; not evenly, that many in all as they come."""
    order = np.random.default_rng(seed).permutation(pool)
    if not evenly:
        return order[: size * len(LABELS)]
    return np.concatenate([order[labels[order] == k][:size] for k in range(len(LABELS))])


def figures(probabilities: FloatArray, gold: NDArray[np.int64]) -> dict[str, float]:
    """Accuracy, macro F1 and log-loss of probabilities `[n, 3]`."""
    counts = metrics.confusion(gold, probabilities.argmax(1), len(LABELS))
    return {
        "accuracy": float(metrics.accuracy(counts)),
        "macro_f1": float(metrics.macro_f1(counts)),
        "nll": float(metrics.nll(gold, probabilities)),
    }


if __name__ == "__main__":
    main()
