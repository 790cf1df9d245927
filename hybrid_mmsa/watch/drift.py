"""Are new posts still like the earlier ones? A classifier is asked to tell them apart. It knows vectors alone.

The two-sample test by a classifier (Lopez-Paz and Oquab 2017, "Revisiting classifier two-sample tests", arXiv
1610.06545), with Fisher's linear discriminant, and the AUC of its answers on posts that it was not fitted to. How far
from one half the AUC of like posts strays is not computed: it is one more series that is watched for a change.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..types import Features, FloatArray

__all__ = ["WIDTH", "separability", "sketch"]

WIDTH = 32
"""Numbers that a post is described by."""
_SHRINKAGE = 0.3
"""Share of the pooled covariance that is replaced by its mean variance (Ledoit and Wolf 2004), fixed."""


def sketch(features: Features) -> FloatArray:
    """A few numbers for each post, float32 `[n, WIDTH]`: what an encoder saw of it, through a random projection.

    Distances are kept up to noise (Johnson and Lindenstrauss 1984). The projection is the same in every process.
    """
    sides = []
    for part in (features.text_features, features.image_features):
        norm = np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-9)
        matrix = np.random.default_rng(part.shape[1]).standard_normal((part.shape[1], WIDTH // 2 - 1))
        sides.append(part / norm @ matrix)
    there = np.stack([features.has_text, features.has_image], axis=1).astype(np.float32)
    return np.concatenate([*sides, there], axis=1).astype(np.float32)


def separability(before: NDArray[np.float32], now: NDArray[np.float32]) -> float:
    """AUC with which posts that a discriminant was not fitted to are told apart, mean of two halves, in [0, 1].

    Args:
        before: float `[m, d]`, two rows or more.
        now: float `[n, d]`, two rows or more.
    """
    halves = [(rows[::2].astype(np.float64), rows[1::2].astype(np.float64)) for rows in (before, now)]
    (old, old_others), (new, new_others) = halves
    both = [_auc(_direction(old, new), old_others, new_others), _auc(_direction(old_others, new_others), old, new)]
    return float(np.mean(both))


def _direction(old: NDArray[np.float64], new: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = np.concatenate([old - old.mean(0), new - new.mean(0)])
    covariance = centred.T @ centred / len(centred)
    level = np.trace(covariance) / len(covariance)
    shrunk = (1 - _SHRINKAGE) * covariance + (_SHRINKAGE * level + 1e-9) * np.eye(len(covariance))
    direction: NDArray[np.float64] = np.linalg.solve(shrunk, new.mean(0) - old.mean(0))
    return direction


def _auc(direction: NDArray[np.float64], old: NDArray[np.float64], new: NDArray[np.float64]) -> float:
    low, high = np.sort(old @ direction), new @ direction
    below = np.searchsorted(low, high, "left") + np.searchsorted(low, high, "right")
    return float(below.mean() / (2 * len(low)))
