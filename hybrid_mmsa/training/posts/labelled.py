"""Posts to train on or to judge by, as arrays: features, gold labels, what a teacher said. Knows no files, no heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...types import LABELS, Features, FloatArray, IntArray, Sample, Verdict
from .targets import mixed

__all__ = ["HEADS", "UNKNOWN", "Labelled", "labels_of", "taught_by"]

UNKNOWN = -1
HEADS: Mapping[str, int] = {
    "text.sentiment": len(LABELS),
    "text.joint": len(LABELS),
    "image.sentiment": len(LABELS),
    "image.joint": len(LABELS),
    "text.sarcasm": 2,
}
"""Heads that posts have labels for, and their classes."""


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """Posts to train on or to judge by.

    Attributes:
        features: What the encoder saw.
        labels: int64 `[n]` per key of `HEADS`, `UNKNOWN` where there is none.
        folds: int64 `[n]`; twins share one.
        keys: What tells posts apart; twins share one.
        taught: A teacher's probabilities `[n, classes]` per key of `HEADS`, NaN where it says nothing; see `taught_by`.
    """

    features: Features
    labels: Mapping[str, IntArray]
    folds: IntArray
    keys: Sequence[str]
    taught: Mapping[str, FloatArray] = field(default_factory=dict)

    def targets(self, name: str, share: float) -> NDArray[np.float64]:
        """What a head is to learn, float64 `[n, classes]`; zeros where nothing is known. See `targets.mixed`."""
        return mixed(self.labels[name], self.taught.get(name), HEADS[name], share)

    def judging(self, least: int) -> tuple[NDArray[np.intp], IntArray]:
        """Row numbers of the posts that answers are judged on, and the labels they are held to.

        Gold labels alone where at least so many posts have one; else the teacher's label stands in where there is none.
        """
        gold, taught = self.labels["text.joint"], self.taught.get("text.joint")
        if taught is None or (gold != UNKNOWN).sum() >= least:
            rows = np.flatnonzero(gold != UNKNOWN)
            return rows, gold[rows]
        heard = ~np.isnan(taught[:, 0])
        rows = np.flatnonzero((gold != UNKNOWN) | heard)
        return rows, np.where(gold != UNKNOWN, gold, np.where(heard[:, None], taught, 0).argmax(1))[rows]


def labels_of(samples: Sequence[Sample]) -> dict[str, IntArray]:
    """Class indices per head; what a side says is the post's label where it is not known by itself."""

    def index(label: str | None) -> int:
        return UNKNOWN if label is None else LABELS.index(label)

    joint = [index(s.label) for s in samples]
    found = {
        "text.joint": joint,
        "image.joint": joint,
        "text.sentiment": [index(s.text_label or s.label) for s in samples],
        "image.sentiment": [index(s.image_label or s.label) for s in samples],
        "text.sarcasm": [UNKNOWN if s.sarcastic is None else int(s.sarcastic) for s in samples],
    }
    return {name: np.array(values, dtype=np.int64) for name, values in found.items()}


def taught_by(verdicts: Sequence[Verdict | None]) -> dict[str, FloatArray]:
    """A reasoner's verdicts as `Labelled.taught`: one per post, or `None`.

    What a side says counts as the verdict on the whole post where the reasoner did not write it.
    """
    n = len(verdicts)
    taught = {name: np.full((n, classes), np.nan, np.float32) for name, classes in HEADS.items()}
    for row, verdict in enumerate(verdicts):
        if verdict is None:
            continue
        whole = [verdict.probabilities[label] for label in LABELS]
        for side, said in (("text", verdict.text_says), ("image", verdict.picture_says)):
            taught[f"{side}.joint"][row] = whole
            taught[f"{side}.sentiment"][row] = whole if said is None else [label == said for label in LABELS]
        if verdict.sarcasm is not None:
            taught["text.sarcasm"][row] = (1 - verdict.sarcasm, verdict.sarcasm)
    return taught
