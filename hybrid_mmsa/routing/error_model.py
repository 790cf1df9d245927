"""P(the fast label is wrong) from the signals: a small logistic model. Knows nothing of thresholds or reasoners."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import NotFittedError
from ..fusion import sigmoid

__all__ = ["ErrorModel"]

_STEPS = 50


class ErrorModel:
    """L2-regularised logistic regression, fitted by Newton's method (McCullagh & Nelder 1989, ch. 4).

    Args:
        strength: L2 penalty on the weights (not the bias), in units of one post's log-loss.

    Attributes:
        weights_: float64 `[signals]`.
        bias_: float.
    """

    weights_: NDArray[np.float64]
    bias_: float

    def __init__(self, strength: float = 1.0) -> None:
        self.strength = strength

    def fit(self, signals: NDArray[Any], wrong: NDArray[Any]) -> ErrorModel:
        """Fit on signals `[n, signals]` and errors `[n]` (0 or 1) of posts the fast tier was not trained on."""
        if not 0 < wrong.sum() < len(wrong):
            raise ValueError("the error model needs right and wrong answers to learn from")
        design = np.column_stack([signals, np.ones(len(signals))]).astype(np.float64)
        penalty = np.diag([self.strength] * signals.shape[1] + [0.0])
        values = np.zeros(design.shape[1])
        for _ in range(_STEPS):
            p = sigmoid(design @ values)
            gradient = design.T @ (p - wrong) + penalty @ values
            step = np.linalg.solve((design * (p * (1 - p))[:, None]).T @ design + penalty, gradient)
            values -= step
            if np.abs(step).max() < 1e-10:
                break
        self.weights_, self.bias_ = values[:-1], float(values[-1])
        return self

    def predict_proba(self, signals: NDArray[Any]) -> NDArray[np.float64]:
        """P(error) `[n]` in (0, 1)."""
        if not hasattr(self, "weights_"):
            raise NotFittedError("ErrorModel: call fit first")
        # Column by column: a matrix product may round differently for one post than for many.
        total = self.bias_ + sum(signals[:, i] * w for i, w in enumerate(self.weights_))
        result: NDArray[np.float64] = sigmoid(np.asarray(total))
        return result
