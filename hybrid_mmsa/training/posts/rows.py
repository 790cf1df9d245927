"""Corpora → the rows the towers are trained on, with every text that a dev or test split holds kept out.

Knows the corpora and their splits; knows nothing of models.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from ...data import Record, Split, load_corpus, load_manifest, read_posts
from ...errors import InputError
from ...inputs import clean, needing, normalise
from ...types import EMOTIONS, LABELS, RowError, Sample

__all__ = [
    "CORPUS_FOLDERS",
    "MVSA_SPLIT",
    "OWN_POSTS",
    "TextRow",
    "fold_of",
    "general_rows",
    "post_records",
    "post_rows",
    "text_key",
]

CORPUS_FOLDERS: Mapping[str, str] = MappingProxyType(
    {
        "mvsa_single": "MVSA_Single",
        "semeval2017": "text",
        "tweeteval_emotion": "text",
        "tweeteval_irony": "text",
        "mmsd2": "MMSD2.0",
        "twitter2015": "Twitter2015",
        "twitter2017": "Twitter2017",
        "memotion": "Memotion7k",
        "twitter1269": "Twitter1269",
    }
)
"""Where each corpus stands under one data folder."""

GENERAL: tuple[tuple[str, int], ...] = (
    ("semeval2017", 1),
    ("mmsd2", 1),
    ("tweeteval_irony", 3),
    ("tweeteval_emotion", 3),
    ("twitter2015", 3),
    ("twitter2017", 3),
)
"""Corpora of the general text stage, and how often each is seen per epoch."""

MVSA_SPLIT = "mvsa_single_clmlf_3311"
OWN_POSTS = "posts.jsonl"


@dataclass(frozen=True, slots=True)
class TextRow:
    """One text to train on: cleaned words, a target or none, and a class index per task it has a label for."""

    sample: Sample
    text: str
    target: str | None
    labels: Mapping[str, int]
    split: str


def text_key(text: str) -> str:
    """The text with case, marks, handles and links left out: equal keys are the same post for leak checks."""
    return re.sub(r"\W+", " ", clean(normalise(text)).lower().replace("@user", "").replace("http", "")).strip()


def fold_of(key: str, folds: int) -> int:
    """A fold in `range(folds)` that depends on the text alone, so that equal posts share it."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % folds


def general_rows(root: Path) -> tuple[list[TextRow], dict[str, list[TextRow]]]:
    """Training rows of the general stage, repeated as `GENERAL` says, and the dev rows of each corpus.

    A corpus whose folder is not there is left out.
    """
    here = [(name, times) for name, times in GENERAL if (root / CORPUS_FOLDERS[name]).is_dir()]
    records = {name: list(load_corpus(name, root / CORPUS_FOLDERS[name])) for name, _ in here}
    held_out = {text_key(r.sample.text or "") for rs in records.values() for r in rs if r.split != "train"}
    held_out |= {text_key(r.sample.text or "") for r in post_records(root) if r.split != "train"}
    held_out.discard("")
    train: list[TextRow] = []
    dev: dict[str, list[TextRow]] = {}
    for name, times in here:
        rows = [row for row in map(_row, records[name]) if row.labels and row.text]
        keys = [text_key(r.text) for r in rows]
        train += [r for r, k in zip(rows, keys, strict=True) if r.split == "train" and k not in held_out] * times
        dev[name] = [r for r in rows if r.split == "dev"]
    return train, dev


def post_records(root: Path, taught: Container[str] = frozenset()) -> list[Record]:
    """Posts of text and picture with their split: MVSA-Single, and one's own `posts.jsonl`, whichever are there.

    MVSA-Single comes in the CLMLF split, without its pairs of opposed labels. One's own posts need a `label`; what a
    side says (`text_label`, `image_label`) counts as the label where it is not given. A tenth of them, chosen by
    their text, is dev and a tenth test.

    Args:
        root: The data folder.
        taught: Ids of one's own posts that a reasoner gave a verdict on: they need no label.

    Raises:
        InputError: Neither is there, or a row of `posts.jsonl` cannot be used.
    """
    records: list[Record] = []
    if (root / CORPUS_FOLDERS["mvsa_single"]).is_dir():
        split = load_manifest(MVSA_SPLIT).split_of
        corpus = load_corpus("mvsa_single", root / CORPUS_FOLDERS["mvsa_single"])
        records += [Record(r.sample, split[r.sample.id or ""]) for r in corpus if r.sample.id in split]
    if (root / OWN_POSTS).is_file():
        records += [_own_post(line, row, taught) for line, row in read_posts(root / OWN_POSTS)]
    if not records:
        folder = CORPUS_FOLDERS["mvsa_single"]
        raise InputError(
            f"{root} holds neither {folder}/ nor {OWN_POSTS}: there are no posts to train on", field="data"
        )
    return records


def _own_post(line: int, row: Sample | RowError, taught: Container[str]) -> Record:
    row = needing("label", line, row)
    if isinstance(row, RowError):
        raise InputError(f"{OWN_POSTS}, line {line}: {row.error}", field=row.field)
    if row.label is None and row.id not in taught:
        need = "a label or a verdict" if taught else "a label"
        raise InputError(f"{OWN_POSTS}, line {line}: a post to train on needs {need}", field="label")
    tenth = fold_of(f"own/{text_key(row.text or str(line))}", 10)
    split: Split = "test" if tenth == 0 else "dev" if tenth == 1 else "train"
    text_label, image_label = row.text_label or row.label, row.image_label or row.label
    id_ = f"{OWN_POSTS}:{row.id or line}"
    return Record(replace(row, id=id_, text_label=text_label, image_label=image_label), split)


def post_rows(records: Iterable[Record]) -> list[TextRow]:
    """Text rows with two labels each: what the words say (`sentiment`), and the whole post's label (`joint`)."""
    rows = []
    for record in records:
        sample = record.sample
        if sample.text and sample.label and sample.text_label:
            labels = {"sentiment": LABELS.index(sample.text_label), "joint": LABELS.index(sample.label)}
            rows.append(TextRow(sample, clean(normalise(sample.text)), None, labels, record.split or ""))
    return rows


def _row(record: Record) -> TextRow:
    sample = record.sample
    target = clean(normalise(sample.target)) if sample.target else None
    return TextRow(sample, clean(normalise(sample.text or "")), target, _task_labels(record), record.split or "")


def _task_labels(record: Record) -> dict[str, int]:
    """The class index of each task this record has a gold label for."""
    sample = record.sample
    if record.emotion is not None:  # TweetEval's sentiment here is derived from the emotion: not a label of its own
        return {"emotion": EMOTIONS.index(record.emotion)}
    labels: dict[str, int] = {}
    if sample.label is not None:
        labels["target" if sample.target else "sentiment"] = LABELS.index(sample.label)
    if sample.sarcastic is not None:
        labels["sarcasm"] = int(sample.sarcastic)
    return labels
