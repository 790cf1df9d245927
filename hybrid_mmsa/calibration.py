"""Logits → calibrated probabilities, one temperature per task. Knows nothing of the model behind the logits.

Temperature scaling: Guo et al. 2017, arXiv 1706.04599. It moves confidence and never the label.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import NotFittedError
from .fusion import log_softmax, softmax
from .types import TASKS, FloatArray, Task, TaskArrays

__all__ = ["Calibration", "TemperatureScaling"]

_SEARCH = np.linspace(np.log(0.05), np.log(20), 41)
_REFINEMENTS = 6


class TemperatureScaling:
    """Divide logits by the temperature that minimises the log-loss of held-out labels.

    Attributes:
        temperature_: The fitted temperature, in [0.05, 20]; above 1 softens.
    """

    temperature_: float

    def fit(self, logits: NDArray[Any], labels: NDArray[Any]) -> TemperatureScaling:
        """Fit on logits `[n, classes]` of posts that the model was not trained on.

        Args:
            logits: Theirs.
            labels: Class indices `[n]`, or weights `[n, classes]` of each label for each post.

        Raises:
            ValueError: There are no logits, they are not all finite, or the labels are not one index for each, or
                weights of which some are above 0 and none below.
        """
        _check(logits, labels)
        grid = _SEARCH
        for _ in range(_REFINEMENTS):
            losses = [_log_loss(logits / np.exp(t), labels) for t in grid]
            best = int(np.argmin(losses))
            low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
            grid = np.linspace(low, high, 21)
        self.temperature_ = float(np.exp(grid[len(grid) // 2]))
        return self

    def predict_proba(self, logits: NDArray[Any]) -> NDArray[Any]:
        """Probabilities `[n, classes]`; NaN rows stay NaN."""
        if not hasattr(self, "temperature_"):
            raise NotFittedError("TemperatureScaling: call fit first")
        return softmax(logits / self.temperature_)


def _check(logits: NDArray[Any], labels: NDArray[Any]) -> None:
    if logits.ndim != 2 or labels.shape not in (logits.shape[:1], logits.shape) or len(labels) == 0:
        raise ValueError(
            f"TemperatureScaling: logits {logits.shape} and labels {labels.shape} do not fit [n, classes] and [n]"
        )
    if not np.isfinite(logits).all():
        raise ValueError("TemperatureScaling: some logits are not finite numbers; leave those posts out")
    if labels.ndim == 2:
        if not (labels.min() >= 0 and labels.sum() > 0):
            raise ValueError("TemperatureScaling: weights of labels must not be negative, nor all be 0")
    elif labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise ValueError(f"TemperatureScaling: labels must be class indices from 0 to {logits.shape[1] - 1}")


def _log_loss(logits: NDArray[Any], labels: NDArray[Any]) -> float:
    if labels.ndim == 2:
        return float(-(log_softmax(logits.astype(np.float64)) * labels).sum() / labels.sum())
    return float(-log_softmax(logits.astype(np.float64))[np.arange(len(labels)), labels].mean())


class Calibration:
    """The temperatures of all tasks.

    Args:
        temperatures: Temperature per task; all of `types.TASKS`.
    """

    def __init__(self, temperatures: Mapping[Task, float]) -> None:
        missing = [task for task in TASKS if task not in temperatures]
        wrong = [task for task, value in temperatures.items() if not 0 < value < np.inf]
        if missing or wrong:
            raise ValueError(f"calibration: no temperature for {missing}, not a positive number for {wrong}")
        self.temperatures = dict(temperatures)

    def probabilities(self, logits: TaskArrays) -> TaskArrays:
        """Calibrated probabilities per task, float32 `[n, classes]`; NaN rows stay NaN."""
        return {
            task: softmax(rows / np.float32(self.temperatures[task])).astype(np.float32)
            for task, rows in logits.items()
        }

    def prior(self, logits: FloatArray) -> FloatArray:
        """Calibrated class probabilities `[3]` of the fusion head's prior logits `[1, 3]`."""
        result: FloatArray = softmax(logits / np.float32(self.temperatures["sentiment"]))[0].astype(np.float32)
        return result
