"""What posts say of labels, as weights over them: gold labels, and a teacher's probabilities.

Knows no heads and no features. Targets are float64 `[n, classes]`: a row's sum is how much its post counts, and a row
of zeros is a post of which nothing is known.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["as_targets", "mixed"]

Floats = NDArray[np.float64]


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
    heard = ~np.isnan(taught[:, 0])
    weight = np.where(heard, np.where(labels >= 0, share, 1.0), 0.0)[:, None]
    targets: Floats = gold * (1 - weight) + np.where(heard[:, None], taught, 0.0) * weight
    return targets
