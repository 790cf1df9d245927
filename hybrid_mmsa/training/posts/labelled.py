"""Posts to train on or to judge by, as arrays: features, gold labels, a teacher's probabilities. Knows no files.

Targets are float64 `[n, classes]`: a row's sum is how much its post counts, and a row of zeros is a post without any
label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...types import LABELS, Features, FloatArray, IntArray, Sample, Verdict

__all__ = ["HEADS", "UNKNOWN", "Labelled", "as_targets", "labels_of", "mixed", "taught_by"]

Floats = NDArray[np.float64]
UNKNOWN = -1
HEADS: Mapping[str, int] = {
    "text.sentiment": len(LABELS),
    "text.joint": len(LABELS),
    "image.sentiment": len(LABELS),
    "image.joint": len(LABELS),
    "text.sarcasm": 2,
}
"""Heads that posts have labels for, and their classes."""


def as_targets(labels: NDArray[Any], classes: int) -> Floats:
    """Targets of class indices `[n]`, zeros where an index is negative; targets `[n, classes]` as they are."""
    if labels.ndim == 2:
        return np.asarray(labels, dtype=np.float64)
    targets = np.zeros((len(labels), classes))
    known = np.flatnonzero(labels >= 0)
    targets[known, labels[known]] = 1
    return targets


def mixed(labels: NDArray[Any], taught: NDArray[Any] | None, classes: int, share: float) -> Floats:
    """Gold labels and a teacher's probabilities as one: each alone where the other is missing.

    Soft targets after Hinton et al. 2015, arXiv 1503.02531, at temperature 1.

    Args:
        labels: Class indices `[n]`, negative where there is none.
        taught: The teacher's probabilities `[n, classes]`, NaN where it says nothing; `None` without a teacher.
        classes: How many labels there are.
        share: How much the teacher counts where there is a gold label too, 0 to 1.
    """
    gold = as_targets(labels, classes)
    if taught is None:
        return gold
    known = ~np.isnan(taught[:, 0])
    weight = np.where(known, np.where(labels >= 0, share, 1.0), 0.0)[:, None]
    targets: Floats = gold * (1 - weight) + np.where(known[:, None], taught, 0.0) * weight
    return targets


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
        known = ~np.isnan(taught[:, 0])
        rows = np.flatnonzero((gold != UNKNOWN) | known)
        return rows, np.where(gold != UNKNOWN, gold, np.where(known[:, None], taught, 0).argmax(1))[rows]


def labels_of(samples: Sequence[Sample]) -> dict[str, IntArray]:
    """Class indices per head; what a side says is the post's label where it is not known by itself."""

    def index(label: str | None) -> int:
        return UNKNOWN if label is None else LABELS.index(label)

    joint = [index(s.label) for s in samples]
    labels = {
        "text.joint": joint,
        "image.joint": joint,
        "text.sentiment": [index(s.text_label or s.label) for s in samples],
        "image.sentiment": [index(s.image_label or s.label) for s in samples],
        "text.sarcasm": [UNKNOWN if s.sarcastic is None else int(s.sarcastic) for s in samples],
    }
    return {name: np.array(values, dtype=np.int64) for name, values in labels.items()}


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
        for side, label_alone in (("text", verdict.text_says), ("image", verdict.picture_says)):
            taught[f"{side}.joint"][row] = whole
            alone = whole if label_alone is None else [label == label_alone for label in LABELS]
            taught[f"{side}.sentiment"][row] = alone
        if verdict.sarcasm is not None:
            taught["text.sarcasm"][row] = (1 - verdict.sarcasm, verdict.sarcasm)
    return taught
