"""Writes the posts that a LoRA of `smol` is tuned on: of many corpora, and made by rule. Trains nothing.

    python eval/make_smol_posts.py words --data DATA -o words.jsonl
    hybrid-mmsa adapter train words.jsonl --recipe smol -o NAME
    python eval/make_smol_posts.py seen --data DATA -o seen.jsonl
    hybrid-mmsa adapter train seen.jsonl --image-root DATA --recipe smol-seen -o NAME
    python eval/make_smol_posts.py balanced --seed 1 --data DATA -o balanced.jsonl
    hybrid-mmsa adapter train balanced.jsonl --image-root DATA --recipe smol-seen --set epochs=1.15 \
        --set reasons=0.35 --set evaluate_every=155 -o NAME
    python eval/make_smol_posts.py ironic --seed 2 --data DATA -o ironic.jsonl
    hybrid-mmsa adapter train ironic.jsonl --image-root DATA --recipe smol-seen --set epochs=1.0 \
        --set learning_rate=3e-4 --set reasons=0.3 --set evaluate_every=140 -o NAME
    python eval/make_smol_posts.py meant --seed 3 --data DATA -o meant.jsonl
    hybrid-mmsa adapter train meant.jsonl --image-root DATA --recipe smol-seen --set epochs=1.0 \
        --set learning_rate=3e-4 --set evaluate_every=110 -o NAME

The rows are those of the text tower's mixture (`training/posts/mixture.toml`), so no text of a dev or test part, of
`eval/everyday` or of a suite of cases is among them. What `adapter train` then holds back is held back of these.
Sentences that say different things of two targets teach most about targets, and are drawn apart from the others. Texts
that are known to be meant as they stand, and of which nothing else is known, have the bundled model's label: irony
cannot be told from them if they are left out.

In `seen` training posts with pictures are beside them (`make_smol_eyes.py`); `balanced` has a third of them, so that
pictures and two targets are kept together, and `ironic` has twice as much irony beside as many of both. `meant` has
complaints that are meant as they stand beside irony: without them every complaint was taken for sarcasm. The picture
tower was tuned on these very pictures and tells more of them than of new ones: of MVSA-Single's it is right on 75 % of
the training part and 62 % of the test part. So that pictures are trusted as new ones deserve, four posts in ten get
another's.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from eval.make_smol_eyes import records, row_of
from hybrid_mmsa import Analysis, Analyzer, Sample
from hybrid_mmsa.training.posts.mixture import load_mixture
from hybrid_mmsa.training.posts.rows import TextRow
from hybrid_mmsa.types import LABELS


@dataclass(frozen=True, slots=True)
class Stage:
    """How many posts there are at the most, of each kind of words alone, and of each folder of pictures."""

    words: Mapping[str, int]
    pictures: Mapping[str, int]


STAGES = {
    "words": Stage({"sentiment": 9000, "target": 3000, "irony": 2000}, {}),
    "seen": Stage(
        {"sentiment": 1200, "target": 400, "two targets": 4500, "irony": 2600, "sincere": 2600},
        {"MVSA_Single": 1000, "Twitter2015": 250, "Twitter1269": 50, "Memotion7k": 50},
    ),
    "balanced": Stage(
        {"sentiment": 500, "target": 150, "two targets": 3000, "irony": 700, "sincere": 700},
        {"MVSA_Single": 2200, "Twitter2015": 250, "Twitter1269": 50, "Memotion7k": 50},
    ),
    "ironic": Stage(
        {"sentiment": 400, "target": 100, "two targets": 3200, "irony": 1400, "sincere": 1400},
        {"MVSA_Single": 2200, "Twitter2015": 250, "Twitter1269": 50, "Memotion7k": 50},
    ),
    "meant": Stage(
        {"sentiment": 400, "target": 100, "two targets": 1800, "irony": 1300, "sincere": 800, "complaints": 700},
        {"MVSA_Single": 1300, "Twitter2015": 150, "Twitter1269": 25, "Memotion7k": 25},
    ),
}
ANOTHERS = 0.4
"""Share of the posts of words and picture that get another post's picture; the label stays."""
LONGEST = 160
"""Characters of a text: a longer one costs as much time as several."""
MEANT = 0.3
"""A complaint that nobody labelled counts as meant as it stands if the bundled model finds irony less likely."""


def main() -> None:
    """Draw, shuffle and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("stage", choices=list(STAGES))
    parser.add_argument("--data", type=Path, required=True, help="the folder of all corpora")
    parser.add_argument("-o", "--out", type=Path, required=True, help="a .jsonl file to write")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance, stage = random.Random(options.seed), STAGES[options.stage]
    rows = chosen(load_mixture(options.data, seed=options.seed).train, stage.words, chance)
    if stage.pictures:
        rows += pictured(options.data, stage.pictures, chance)
    chance.shuffle(rows)
    with options.out.open("w", encoding="utf-8") as out:
        for number, row in enumerate(rows):
            out.write(json.dumps({"id": str(number), **row}, ensure_ascii=False) + "\n")
    kinds = (("target", " towards a target"), ("sarcastic", " (ironic)"), ("image", " with a picture"))
    counts = Counter(row["label"] + "".join(words for name, words in kinds if row.get(name)) for row in rows)
    for kind, n in sorted(counts.items()):
        Console().print(f"{n:6} {kind}")


def pictured(data: Path, shares: Mapping[str, int], chance: random.Random) -> list[dict[str, Any]]:
    """Posts with pictures, labels as often as they are found."""
    corpora: dict[str, list[dict[str, Any]]] = {name: [] for name in shares}
    for record in records(data):
        row = row_of(record, data)
        corpora[row["image"].split("/")[0]].append(row)
    found = []
    for name, most in shares.items():
        drawn = chance.sample(corpora[name], min(most, len(corpora[name])))
        both = [row for row in drawn if row.get("text")]
        for row in chance.sample(both, int(ANOTHERS * len(both))):
            row["image"] = chance.choice(both)["image"]
            row.pop("image_label", None)
        found += drawn
    return found


def chosen(rows: Sequence[TextRow], shares: Mapping[str, int], chance: random.Random) -> list[dict[str, Any]]:
    """So many posts of words alone of each kind, of each label the same number, none twice."""
    two_sided = _two_sided(rows)
    kinds: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for row in rows:
        for kind, post in posts_of(row):
            key = f"{post['text']} {post.get('target', '')}".lower()
            name = "two targets" if "two targets" in shares and kind == "target" and row.text in two_sided else kind
            kinds.setdefault((name, post["label"]), {}).setdefault(key, post)
    drawn = [] if "sincere" not in shares else sincere(rows, shares["sincere"], chance)
    drawn += [] if "complaints" not in shares else complaints(rows, shares["complaints"], chance)
    for kind, count in shares.items():
        of_kind = {label: list(posts.values()) for (name, label), posts in sorted(kinds.items()) if name == kind}
        for posts in of_kind.values():
            drawn += chance.sample(posts, min(len(posts), count // len(of_kind)))
    return drawn


def _two_sided(rows: Sequence[TextRow]) -> set[str]:
    """Texts that say different things of their targets."""
    said: dict[str, set[Any]] = {}
    for row in rows:
        if row.target and not isinstance(row.labels.get("target"), tuple):
            said.setdefault(row.text, set()).add(row.labels.get("target"))
    return {text for text, labels in said.items() if len(labels) > 1}


def sincere(rows: Sequence[TextRow], count: int, chance: random.Random) -> list[dict[str, Any]]:
    """Texts that are known to be meant as they stand and have no label, with the bundled model's."""
    known = {
        row.sample.text: row.sample
        for row in rows
        if row.labels.get("sarcasm") == 0 and not {"sentiment", "target"} & row.labels.keys()
    }
    samples = [sample for text, sample in known.items() if text and len(text) <= LONGEST]
    drawn = answered(chance.sample(samples, min(count, len(samples))))
    return [{"text": sample.text, "label": answer.sentiment.label, "sarcastic": False} for sample, answer in drawn]


def complaints(rows: Sequence[TextRow], count: int, chance: random.Random) -> list[dict[str, Any]]:
    """Negative texts that are meant as they stand: half of them known to be, half by the bundled model."""
    known: dict[str, Sample] = {}
    others: dict[str, Sample] = {}
    for row in rows:
        text, irony = row.sample.text, row.labels.get("sarcasm")
        if not text or len(text) > LONGEST or row.target or row.labels.get("sentiment") != LABELS.index("negative"):
            continue
        if irony in (0, None):
            (known if irony == 0 else others)[text] = row.sample
    drawn = chance.sample(list(known.values()), min(count // 2, len(known)))
    asked = chance.sample([sample for text, sample in others.items() if text not in known], min(2 * count, len(others)))
    meant = [s for s, answer in answered(asked) if answer.sarcasm is not None and answer.sarcasm < MEANT]
    drawn += meant[: count - len(drawn)]
    return [{"text": sample.text, "label": "negative", "sarcastic": False} for sample in drawn]


def answered(samples: Sequence[Sample]) -> list[tuple[Sample, Analysis]]:
    """Posts with the bundled model's answers, without those that it cannot read."""
    answers = Analyzer.from_pretrained().stream(samples, mode="fast", explain="none")
    return [(sample, each) for sample, each in zip(samples, answers, strict=True) if isinstance(each, Analysis)]


def posts_of(row: TextRow) -> Iterator[tuple[str, dict[str, Any]]]:
    """A row as a post to learn from, with its kind; nothing where no single label is known.

    A sarcastic text that says nothing of its sentiment counts as negative: mockery is what its corpora hold.
    """
    text, labels = row.sample.text or "", row.labels
    sarcastic, task = labels.get("sarcasm"), "target" if row.target else "sentiment"
    label = labels.get(task)
    if len(text) > LONGEST or isinstance(label, tuple) or isinstance(sarcastic, tuple):
        return
    if sarcastic == 1 and label is None and task == "sentiment":
        label = LABELS.index("negative")
    if label is None:
        return
    post: dict[str, Any] = {"text": text, "label": LABELS[label]}
    if row.sample.target:
        post["target"] = row.sample.target
    if sarcastic is not None:
        post["sarcastic"] = bool(sarcastic)
    yield "irony" if sarcastic == 1 else task, post


if __name__ == "__main__":
    main()
