"""What hints that a fast answer is wrong: one number per post and signal. Knows nothing of models or thresholds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..types import FloatArray, TaskArrays

__all__ = ["SIGNALS", "conflict", "signal_matrix"]


def conflict(probabilities: TaskArrays) -> FloatArray:
    """Total variation distance `[n]` of what the two sides say, in [0, 1]; NaN where one is missing."""
    distance: FloatArray = 0.5 * np.abs(probabilities["text_sentiment"] - probabilities["image_sentiment"]).sum(1)
    return distance


def _doubt(probabilities: TaskArrays) -> NDArray[Any]:
    doubt: NDArray[Any] = 1 - probabilities["sentiment"].max(1)
    return doubt


def _narrowness(probabilities: TaskArrays) -> NDArray[Any]:
    """1 minus the margin between the two likeliest labels."""
    ordered = np.sort(probabilities["sentiment"], axis=1)
    return 1 - (ordered[:, -1] - ordered[:, -2])


def _entropy(probabilities: TaskArrays) -> NDArray[Any]:
    """Shannon entropy as a share of its maximum."""
    p = np.clip(probabilities["sentiment"], 1e-9, 1)
    share: NDArray[Any] = -(p * np.log(p)).sum(1) / np.log(p.shape[1])
    return share


def _conflict(probabilities: TaskArrays) -> NDArray[Any]:
    return np.nan_to_num(conflict(probabilities), nan=0.0)


def _sarcasm(probabilities: TaskArrays) -> NDArray[Any]:
    return np.nan_to_num(probabilities["sarcasm"][:, 1], nan=0.0)


SIGNALS: Mapping[str, Callable[[TaskArrays], NDArray[Any]]] = MappingProxyType(
    {"doubt": _doubt, "narrowness": _narrowness, "entropy": _entropy, "conflict": _conflict, "sarcasm": _sarcasm}
)
"""Each in [0, 1] and larger where an error is likelier; 0 where a side it needs is missing."""


def signal_matrix(probabilities: TaskArrays) -> NDArray[np.float64]:
    """All signals, `[n, len(SIGNALS)]`, in the order of `SIGNALS`."""
    return np.stack([signal(probabilities) for signal in SIGNALS.values()], axis=1).astype(np.float64)
