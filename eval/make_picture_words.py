"""Fit how the words in a picture join the bundled model's answers, and write it into the model's folder.

    python eval/make_picture_words.py --data CORPORA [--model adapters/default] [--fonts FOLDER]

Nothing is trained: two pairs of weights are fitted (`pooling.fit_pooling`) on posts that neither the towers nor the
heads were fitted to. For posts of a picture alone: screens drawn of texts of the dev parts of SemEval-2017, SST,
airline tweets and short reviews, and the pictures of MVSA-Single's dev part in which words are read, with the labels
that people gave the pictures. For posts of words and picture: the same posts of MVSA-Single, with the labels of the
whole. Accuracy before and after is cross-fitted, and "before" is calibrated to the same posts. No test part and no
everyday post is read.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from eval.bench.senses.screens import FONTS, draw_screen, drawable, fonts_in
from hybrid_mmsa import Analysis, Analyzer, metrics
from hybrid_mmsa.adapters import Adapter
from hybrid_mmsa.data import load_corpus, load_manifest
from hybrid_mmsa.pooling import SourcePooling, fit_pooling, pool
from hybrid_mmsa.routing import conformal_threshold, prediction_set
from hybrid_mmsa.training.common.provenance import made_now
from hybrid_mmsa.training.posts.rows import fold_of
from hybrid_mmsa.training.routing.posts import half
from hybrid_mmsa.types import LABELS, Sample

TEXTS = {"semeval2017": "text", "sst": "sentences", "airline": "sentences", "short_reviews": "sentences"}
"""Corpora of texts, and where they lie under the folder of corpora."""
SPLITS = {"semeval2017": "semeval2017_own", "sst": "sst_own", "airline": "airline_held_out"}
SPLITS["short_reviews"] = "short_reviews_held_out"
EACH, FOLDS, BATCH, ALPHA = 75, 10, 16, 0.1
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Posts in whose pictures something was read: what is said without it, what it says and how reliably, gold."""

    keys: list[str]
    fast: Floats
    said: Floats
    gold: NDArray[np.int64]
    reliability: Floats

    def __add__(self, other: Judged) -> Judged:
        return Judged(
            [*self.keys, *other.keys],
            np.concatenate([self.fast, other.fast]),
            np.concatenate([self.said, other.said]),
            np.concatenate([self.gold, other.gold]),
            np.concatenate([self.reliability, other.reliability]),
        )


def screens(data: Path, fonts: list[Path]) -> Iterator[Sample]:
    """Screens of labelled texts of dev parts."""
    number = 0
    for name, folder in TEXTS.items():
        records = load_manifest(SPLITS[name]).apply(load_corpus(name, data / folder))
        texts = (r.sample for r in records if r.split == "dev" and r.sample.label and drawable(r.sample.text or ""))
        # Spread over the part, which may be sorted.
        for sample in sorted(texts, key=lambda s: fold_of(f"screens/{s.text}", 2**31))[:EACH]:
            yield Sample(
                id=f"{name}/{sample.id}", image=draw_screen(sample.text or "", number, fonts), label=sample.label
            )
            number += 1


def posts(data: Path) -> Iterator[Sample]:
    """MVSA-Single's dev part."""
    for record in load_manifest("mvsa_single_clmlf_3311").apply(load_corpus("mvsa_single", data / "MVSA_Single")):
        if record.split == "dev" and record.sample.label and record.sample.image_label:
            yield record.sample


def read(analyzer: Analyzer, samples: Iterator[Sample], title: str) -> Iterator[tuple[Sample, Analysis]]:
    """The posts in whose pictures words were read, with their answers."""
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        while batch := list(islice(samples, BATCH)):
            for sample, answer in zip(batch, analyzer.analyze_batch(batch, explain="none", mode="fast"), strict=True):
                if answer.picture is not None and answer.picture.words_sentiment is not None:
                    yield sample, answer
            bar.update(task, advance=len(batch))


def judged(rows: Sequence[tuple[Sample, Analysis]], *, picture_only: bool = False) -> Judged:
    """Answers and gold labels of the posts, or of their pictures alone."""
    keys = [str(sample.id) for sample, _ in rows]
    fast = [answer.image_sentiment if picture_only else answer.fast for _, answer in rows]
    words = [answer.picture and answer.picture.words_sentiment for _, answer in rows]
    gold = [(sample.image_label or sample.label) if picture_only else sample.label for sample, _ in rows]
    return Judged(
        keys,
        np.array(list(map(_row, fast))),
        np.array(list(map(_row, words))),
        np.array(list(map(LABELS.index, gold))),
        np.ones(len(keys)),
    )


def _row(prediction: Any) -> list[float]:
    return [prediction.probabilities[label] for label in LABELS]


def fitted(rows: Judged, source: str, most: float = 1.0) -> tuple[tuple[float, float], dict[str, Any]]:
    """The weights for these posts, and what they change, each post judged by weights fitted without it.

    Args:
        rows: The posts.
        source: What was read in their pictures.
        most: The threshold that prediction sets have without it, which theirs never is above.
    """
    folds = np.array([fold_of(f"{source}/{key}", FOLDS) for key in rows.keys])
    said = {"fast": np.zeros_like(rows.fast), "joined": np.zeros_like(rows.fast)}
    for k in np.unique(folds):
        learn, judge = folds != k, folds == k
        for name, into in said.items():
            into[judge] = pool(rows.fast[judge], rows.said[judge], _fit(rows, learn, name), rows.reliability[judge])
    labels = {name: p.argmax(1) for name, p in {**said, source: rows.said}.items()}
    gain = metrics.paired_difference(metrics.accuracy, rows.gold, labels["joined"], labels["fast"], len(LABELS))
    facts = {
        "posts": len(rows.gold),
        "accuracy": {name: float((found == rows.gold).mean()) for name, found in labels.items()},
        "joined_minus_fast": asdict(gain),
        "log_loss": {name: metrics.nll(rows.gold, p) for name, p in said.items()},
        "sets": _sets(rows, said["joined"], most),
    }
    weights = _fit(rows, np.ones(len(folds), dtype=bool), "joined")
    return (float(weights[0]), float(weights[1])), facts


def _sets(rows: Judged, joined: Floats, most: float) -> dict[str, Any]:
    """The threshold of prediction sets that one half of the posts asks for, and how it holds on the other half."""
    first = np.array([half(key) for key in rows.keys])
    threshold = min(conformal_threshold(joined[first], rows.gold[first], ALPHA), most)
    sets = [prediction_set(p, threshold) for p in joined[~first]]
    covered = sum(LABELS[gold] in labels for gold, labels in zip(rows.gold[~first], sets, strict=True))
    return {
        "alpha": ALPHA,
        "threshold": threshold,
        "coverage": asdict(metrics.wilson(covered, len(sets))),
        "mean_labels": sum(map(len, sets)) / len(sets),
    }


def _fit(rows: Judged, learn: NDArray[np.bool_], name: str) -> Floats:
    return fit_pooling(
        rows.fast[learn],
        rows.said[learn],
        rows.gold[learn],
        reliability=rows.reliability[learn],
        biased=False,
        ignore_verdicts=name == "fast",
    )


def main() -> None:
    """Fit, show, save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of the corpora")
    parser.add_argument("--model", type=Path, default=Path(__file__).parents[1] / "adapters" / "default")
    parser.add_argument("--fonts", type=Path, default=FONTS)
    options = parser.parse_args()
    adapter, fonts = Adapter.load(options.model), fonts_in(options.fonts)
    with Analyzer.from_pretrained(options.model, senses=("ocr",)) as opened:
        plain = replace(adapter, senses={})
        analyzer = Analyzer(opened.encoder, [plain], senses=("ocr",))
        drawn = judged(list(read(analyzer, screens(options.data, fonts), "screens")))
        tweets = list(read(analyzer, posts(options.data), "posts"))
        provenance = analyzer.analyze("a day", mode="fast").provenance
    of_pictures = judged(tweets, picture_only=True)
    picture_only, alone = fitted(drawn + of_pictures, "picture_words")
    with_text, both = fitted(judged(tweets), "picture_words")
    facts: dict[str, Any] = {**made_now(), "reader": provenance.senses["ocr"], "encoder_hash": adapter.encoder_hash}
    facts["picture_only"] = {
        "data": f"screens of dev texts of {', '.join(TEXTS)}; MVSA-Single's dev part, labels of pictures",
        **alone,
        "screens": fitted(drawn, "picture_words")[1],
        "pictures": fitted(of_pictures, "picture_words")[1],
    }
    facts["with_text"] = {"data": "MVSA-Single's dev part", **both}
    pooling = SourcePooling(with_text=with_text, picture_only=picture_only, fitted_on=facts)
    replace(adapter, senses={**adapter.senses, "picture_words": pooling}).save(options.model)
    Console(highlight=False).print_json(data=pooling.to_dict())


if __name__ == "__main__":
    main()
