"""Faces in pictures as a source of the answer: right with and without them, on posts that nothing was fitted to.

    python eval/bench/senses/joined_faces.py --data CORPORA [--save]

Only posts with a face that was judged are counted: the others get the very answer that they get without faces. Posts:
MVSA-Single's test part, with the label of the whole beside words and that of the picture without; Memotion's test part,
whose labels are noise for the better part; tweets of Twitter-2015's dev part all of whose targets have one label, which
is what people feel about someone and not what the post feels. Differences are paired. The record also repeats what the
fit found out of fold, from the model's folder.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from eval.bench.keeping import circumstances, program, tell
from eval.bench.senses.words import BATCH, compared, labels_of, memes, watched
from hybrid_mmsa import Analysis, Analyzer, Sample
from hybrid_mmsa.data import load_corpus, load_manifest
from hybrid_mmsa.training.posts.rows import MVSA_SPLIT
from hybrid_mmsa.types import LABELS

NAME = "joined-faces"


def mvsa(data: Path) -> list[Sample]:
    """MVSA-Single's test part."""
    records = load_manifest(MVSA_SPLIT).apply(load_corpus("mvsa_single", data / "MVSA_Single"))
    return [r.sample for r in records if r.split == "test" and r.sample.label and r.sample.image_label]


def alone(samples: Sequence[Sample]) -> list[Sample]:
    """Their pictures alone, with the label of the picture where it has one of its own."""
    return [Sample(id=s.id, image=s.image, label=s.image_label or s.label) for s in samples]


def tweets(data: Path) -> list[Sample]:
    """Tweets whose targets all have one label."""
    by_tweet: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for record in load_corpus("twitter2015", data / "Twitter2015"):
        if record.split == "dev" and record.sample.image is not None:
            by_tweet[record.sample.text or "", str(record.sample.image)].append(record.sample)
    same = [found[0] for found in by_tweet.values() if len({sample.label for sample in found}) == 1]
    return [replace(sample, target=None) for sample in same]


def measured(plain: Analyzer, reading: Analyzer, samples: Sequence[Sample], title: str) -> dict[str, Any]:
    """Answers without and with faces, of the posts whose faces count."""
    shown: list[Sample] = []
    without: list[Analysis] = []
    having: list[Analysis] = []
    for start in watched(range(0, len(samples), BATCH), title):
        batch = samples[start : start + BATCH]
        read = reading.analyze_batch(batch, explain="none", mode="fast")
        rows = [i for i, answer in enumerate(read) if answer.picture is not None and answer.picture.faces_count]
        shown += [batch[i] for i in rows]
        having += [read[i] for i in rows]
        without += plain.analyze_batch([batch[i] for i in rows], explain="none", mode="fast")
    gold = np.array([LABELS.index(sample.label or "neutral") for sample in shown])
    return {"of": len(samples), **compared(gold, labels_of(without), labels_of(having))}


def record(options: argparse.Namespace) -> dict[str, Any]:
    """Everything."""
    posts, screens = mvsa(options.data), memes(options.data, options.most)
    sets = {
        "MVSA-Single, words and picture": posts,
        "MVSA-Single, picture alone": alone(posts),
        "Memotion 7k, words and picture": screens,
        "Memotion 7k, picture alone": alone(screens),
        "Twitter-2015, words and picture": tweets(options.data),
    }
    with Analyzer.from_pretrained(senses=("faces",)) as reading:
        plain, adapter = Analyzer.from_pretrained(), reading.adapters[reading.default]
        if "faces" not in adapter.senses:
            raise SystemExit("the model has no weights for faces: run eval/make_faces.py")
        return {
            **circumstances(["onnxruntime"], 1),
            "model_hash": adapter.hash,
            "out_of_fold": {kind: adapter.senses["faces"].fitted_on[kind] for kind in ("with_text", "picture_only")},
            "posts": {name: measured(plain, reading, samples, name) for name, samples in sets.items()},
        }


def table(found: dict[str, Any]) -> Table:
    """The record as people read it."""
    shown = Table("posts", "with a face", "without", "with", "difference", title="faces as a source of the answer")
    for name, row in found["posts"].items():
        gain = row["accuracy"]["difference"]
        shown.add_row(
            name,
            f"{row['posts']} of {row['of']}",
            *(f"{row['accuracy'][kind]['value']:.1%}" for kind in ("without", "with")),
            f"{100 * gain['value']:+.1f} [{100 * gain['low']:+.1f}, {100 * gain['high']:+.1f}]",
        )
    return shown


def main() -> None:
    """Measure, show, keep if asked."""
    parser = program(__doc__, NAME)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the corpora")
    parser.add_argument("--most", type=int, default=10_000, help="so many memes at most")
    options = parser.parse_args()
    found = record(options)
    tell(NAME, found, table(found), options)


if __name__ == "__main__":
    main()
