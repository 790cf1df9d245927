"""How unlike the training posts a post is, from a small summary of their features. Knows nothing of labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ArtefactError, NotFittedError
from ..types import Features, Modality

__all__ = ["Novelty"]

SIDES: tuple[Modality, ...] = ("text", "image")
PARTS = ("mean", "axes", "residual")


class Novelty:
    """A Gaussian of few dimensions per side: probabilistic PCA (Tipping and Bishop 1999).

    A side's squared Mahalanobis distance, divided by the number of dimensions, is about 1 for a training post.
    A tower bends its features to the posts it was trained on, so that distances of those very posts are too small.

    Args:
        dimensions: Principal axes kept per side.

    Attributes:
        arrays_: float32 per side: `<side>.mean [d]`, `<side>.axes [k, d]` (each divided by its standard deviation)
            and `<side>.residual [3]`: the variance of a dimension outside of the axes, k and d.
    """

    arrays_: Mapping[str, NDArray[np.float32]]

    def __init__(self, dimensions: int = 16) -> None:
        self.dimensions = dimensions

    def fit(self, features: Features) -> Novelty:
        """Fit on the features of training posts; each side on the posts that have it."""
        arrays: dict[str, NDArray[np.float32]] = {}
        for side in SIDES:
            values, there = _side(features, side)
            if there.sum() > 1:
                parts = _summary(values[there].astype(np.float64), self.dimensions)
                arrays |= {f"{side}.{part}": a for part, a in zip(PARTS, parts, strict=True)}
        self.arrays_ = arrays
        return self

    def score(self, features: Features) -> NDArray[np.float64]:
        """Novelty `[n]` in [0, 1): d / (1 + d) for the larger distance d of the sides present; 0.5 is ordinary."""
        if not hasattr(self, "arrays_"):
            raise NotFittedError("Novelty: call fit first")
        distance = np.zeros(len(features))
        for side in SIDES:
            values, there = _side(features, side)
            if f"{side}.mean" in self.arrays_:
                for i in np.flatnonzero(there):  # one by one: a product of matrices may round otherwise for many posts
                    distance[i] = max(distance[i], self._distance(side, values[i]))
        return distance / (1 + distance)

    def _distance(self, side: Modality, row: NDArray[Any]) -> float:
        mean, axes, (variance, k, d) = (self.arrays_[f"{side}.{part}"] for part in PARTS)
        centred = row - mean
        inside = axes @ centred
        # An axis of length 1/s gives z/s; what lies outside is the whole less what lies on the axes.
        lengths = np.einsum("kd,kd->k", axes, axes)
        outside = max(float(centred @ centred - (inside * inside / lengths).sum()), 0.0)
        return float((inside @ inside + outside / variance) / d) if d > k else float(inside @ inside / k)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Novelty:
        """A fitted summary from its arrays.

        Raises:
            ArtefactError: A part of a side is missing.
        """
        for side in SIDES:
            parts = [part for part in PARTS if f"{side}.{part}" in arrays]
            if parts and len(parts) < len(PARTS):
                raise ArtefactError(f"router: the novelty of the {side} has only {', '.join(parts)}")
        novelty = cls()
        novelty.arrays_ = {name: np.asarray(value, np.float32) for name, value in arrays.items()}
        return novelty


def _side(features: Features, side: Modality) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    if side == "text":
        return features.text_features, features.has_text
    return features.image_features, features.has_image


def _summary(values: NDArray[np.float64], dimensions: int) -> tuple[NDArray[np.float32], ...]:
    n, d = values.shape
    mean = values.mean(0)
    _, scales, axes = np.linalg.svd(values - mean, full_matrices=False)
    variances = scales**2 / n
    k = max(1, min(dimensions, int((variances > 1e-12).sum()), d - 1, n - 1))
    rest = max(float(variances[k:].sum() / max(d - k, 1)), 1e-12)
    whitened = axes[:k] / np.sqrt(np.maximum(variances[:k, None], 1e-12))
    return mean.astype(np.float32), whitened.astype(np.float32), np.array([rest, k, d], np.float32)
