"""What a post feels as a vector: probabilities per task → numbers whose dot product says how alike two posts feel.

Each distribution is written as the square roots of its probabilities, so that the dot product of two is their
Bhattacharyya coefficient (Bhattacharyya 1943), 1 where they are equal and 0 where they have nothing in common. The dot
product of two posts is the weighted mean of these coefficients. It knows nothing of what posts are about.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..types import EMOTIONS, LABELS, FloatArray, TaskArrays

__all__ = ["AFFECT", "affect_vectors"]

_WEIGHTS = {"sentiment": 1.0, "emotion": 1.0, "text": 0.25, "picture": 0.25, "sarcasm": 0.25, "conflict": 0.25}
_CLASSES: dict[str, tuple[str, ...]] = {
    "sentiment": LABELS,
    "emotion": EMOTIONS,
    "text": LABELS,
    "picture": LABELS,
    "sarcasm": ("no", "yes"),
    "conflict": ("no", "yes"),
}
AFFECT = tuple(f"{part}.{name}" for part, names in _CLASSES.items() for name in names)
"""What each number of a vector is the square root of."""


def affect_vectors(posteriors: TaskArrays, conflict: FloatArray) -> FloatArray:
    """One vector a post, float32 `[n, len(AFFECT)]` of length 1; zero where a side it would come from is missing.

    Args:
        posteriors: Calibrated probabilities per task, NaN where a side is missing.
        conflict: How far the two sides disagree, in [0, 1] `[n]`, NaN where one is missing.
    """
    emotion = posteriors["emotion"]
    parts: dict[str, NDArray[np.floating]] = {
        "sentiment": posteriors["sentiment"],
        "emotion": emotion if emotion.shape[1] == len(EMOTIONS) else np.full((len(emotion), len(EMOTIONS)), np.nan),
        "text": posteriors["text_sentiment"],
        "picture": posteriors["image_sentiment"],
        "sarcasm": posteriors["sarcasm"],
        "conflict": np.stack([1 - conflict, conflict], axis=1),
    }
    roots = [np.sqrt(_WEIGHTS[name] * np.nan_to_num(part)) for name, part in parts.items()]
    vectors = np.concatenate(roots, axis=1)
    length = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    scaled: FloatArray = (vectors / length).astype(np.float32)
    return scaled
