"""Fit how the words in a picture join the bundled model's answers, and write it into the model's folder.

    python eval/make_picture_words.py --data CORPORA [--model adapters/default] [--fonts FOLDER]

Nothing is trained: two rows of five weights are fitted (`pooling.fit_pooling`) on posts that neither the towers nor the
heads were fitted to. For posts of a picture alone: screens drawn of texts of the dev parts of SemEval-2017, SST,
airline tweets and short reviews. For posts of words and picture: the posts of MVSA-Single's dev part in whose pictures
words are read. Accuracy before and after is cross-fitted. No test part and no everyday post is read here.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from eval.bench.senses.screens import FONTS, draw_screen, drawable, fonts_in
from hybrid_mmsa import Analyzer, metrics
from hybrid_mmsa.adapters import Adapter
from hybrid_mmsa.data import load_corpus, load_manifest
from hybrid_mmsa.pooling import PictureWordsPooling, fit_pooling, pool
from hybrid_mmsa.training.common.provenance import made_now
from hybrid_mmsa.training.posts.rows import fold_of
from hybrid_mmsa.types import LABELS, Prediction, Sample

TEXTS = {"semeval2017": "text", "sst": "sentences", "airline": "sentences", "short_reviews": "sentences"}
"""Corpora of texts, and where they lie under the folder of corpora."""
SPLITS = {"semeval2017": "semeval2017_own", "sst": "sst_own", "airline": "airline_held_out"}
SPLITS["short_reviews"] = "short_reviews_held_out"
EACH, FOLDS = 75, 10
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Posts in whose pictures words were read: what was said without these, what they say, and the gold label."""

    keys: list[str]
    fast: Floats
    words: Floats
    gold: NDArray[np.int64]


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
        if record.split == "dev" and record.sample.label and record.sample.image is not None:
            yield record.sample


def judged(analyzer: Analyzer, samples: Iterator[Sample], title: str) -> Judged:
    """The posts in whose pictures words were read."""
    keys, fast, words, gold = [], [], [], []
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        while batch := list(islice(samples, 16)):
            for sample, answer in zip(batch, analyzer.analyze_batch(batch, explain="none", mode="fast"), strict=True):
                if answer.picture is not None and answer.picture.words_sentiment is not None:
                    keys.append(str(sample.id))
                    fast.append(_row(answer.fast))
                    words.append(_row(answer.picture.words_sentiment))
                    gold.append(LABELS.index(sample.label))
            bar.update(task, advance=len(batch))
    return Judged(keys, np.array(fast), np.array(words), np.array(gold, dtype=np.int64))


def _row(prediction: Prediction) -> list[float]:
    return [prediction.probabilities[label] for label in LABELS]


def fitted(rows: Judged) -> tuple[Floats, dict[str, Any]]:
    """Weights `[5]` for these posts, and what they change, each post judged by weights fitted without it."""
    folds = np.array([fold_of(f"picture_words/{key}", FOLDS) for key in rows.keys])
    pooled = np.zeros_like(rows.fast)
    for k in np.unique(folds):
        rest = folds != k
        pooled[~rest] = pool(
            rows.fast[~rest], rows.words[~rest], fit_pooling(rows.fast[rest], rows.words[rest], rows.gold[rest])
        )
    gain = metrics.paired_difference(metrics.accuracy, rows.gold, pooled.argmax(1), rows.fast.argmax(1), len(LABELS))
    facts = {
        "posts": len(rows.gold),
        "accuracy": {
            name: float((p.argmax(1) == rows.gold).mean())
            for name, p in (("fast", rows.fast), ("words", rows.words), ("pooled", pooled))
        },
        "pooled_minus_fast": asdict(gain),
        "log_loss": {"fast": metrics.nll(rows.gold, rows.fast), "pooled": metrics.nll(rows.gold, pooled)},
    }
    return fit_pooling(rows.fast, rows.words, rows.gold), facts


def main() -> None:
    """Fit, show, save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of the corpora")
    parser.add_argument("--model", type=Path, default=Path(__file__).parents[1] / "adapters" / "default")
    parser.add_argument("--fonts", type=Path, default=FONTS)
    options = parser.parse_args()
    adapter, fonts = Adapter.load(options.model), fonts_in(options.fonts)
    with Analyzer.from_pretrained(options.model, senses=("ocr",)) as opened:
        plain = replace(adapter, picture_words=None)
        analyzer = Analyzer(opened.encoder, [plain], senses=("ocr",))
        picture_only, alone = fitted(judged(analyzer, screens(options.data, fonts), "screens"))
        with_text, both = fitted(judged(analyzer, posts(options.data), "posts"))
        provenance = analyzer.analyze("a day", mode="fast").provenance
    facts: dict[str, Any] = {**made_now(), "reader": provenance.senses["ocr"], "encoder_hash": adapter.encoder_hash}
    facts |= {"picture_only": {"data": f"screens of dev texts of {', '.join(TEXTS)}", **alone}}
    facts |= {"with_text": {"data": "MVSA-Single, dev part", **both}}
    pooling = PictureWordsPooling(with_text=with_text, picture_only=picture_only, fitted_on=facts)
    replace(adapter, picture_words=pooling).save(options.model)
    Console(highlight=False).print_json(data=pooling.to_dict())


if __name__ == "__main__":
    main()
