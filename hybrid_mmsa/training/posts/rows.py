"""Corpora → the rows the towers are trained on, with every text that a dev or test split holds kept out.

Knows the corpora and their splits; knows nothing of models.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from ...data import Record, Split, load_corpus, load_manifest, read_posts
from ...errors import InputError
from ...inputs import needing, normalise, reword
from ...types import EMOTIONS, LABELS, RowError, Sample

__all__ = [
    "CORPUS_FOLDERS",
    "MVSA_SPLIT",
    "OWN_POSTS",
    "ClassLabel",
    "TextRow",
    "fold_of",
    "has_posts",
    "post_records",
    "task_labels",
    "text_key",
    "words_key",
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

MVSA_SPLIT = "mvsa_single_clmlf_3311"
OWN_POSTS = "posts.jsonl"


ClassLabel: TypeAlias = int | tuple[float, ...]
"""A class index, or a probability per class that sums to 1."""


@dataclass(frozen=True, slots=True)
class TextRow:
    """One text to train on: its words as a tower reads them, a target or none, and a label per task it has one for.

    A label is a class index, or a probability per class where readers differ.
    """

    sample: Sample
    text: str
    target: str | None
    labels: Mapping[str, ClassLabel]
    split: str
    made: bool = False
    """Whether a rule wrote it; its labels are then the rule's."""


def text_key(text: str) -> str:
    """The text with case, marks, handles and links left out: equal keys are the same post for leak checks."""
    return words_key(reword(normalise(text)))


def words_key(words: str) -> str:
    """`text_key` of a text that stands in a tower's words already."""
    return re.sub(r"\W+", " ", words.lower().replace("@user", "").replace("http", "")).strip()


def fold_of(key: str, folds: int) -> int:
    """A fold in `range(folds)` that depends on the text alone, so that equal posts share it."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % folds


def has_posts(root: Path) -> bool:
    """Whether a data folder holds posts of text and picture; see `post_records`."""
    return (root / CORPUS_FOLDERS["mvsa_single"]).is_dir() or (root / OWN_POSTS).is_file()


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


def task_labels(record: Record) -> dict[str, int]:
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
