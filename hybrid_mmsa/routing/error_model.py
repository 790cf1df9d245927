"""P(the fast label is wrong) from the signals: a small monotone model. Knows nothing of thresholds or reasoners."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import NotFittedError
from ..fusion import sigmoid

__all__ = ["CONFIDENCE", "ErrorModel"]

CONFIDENCE = ("doubt",)
"""The one signal of plain confidence."""
_STEPS, _EXCHANGES = 50, 200


class ErrorModel:
    """Logistic regression whose weights cannot fall below 0: more of a signal never lowers P(error).

    Fitted by Newton's method; each step is a bounded least-squares problem, solved by block pivoting (Portugal, Judice
    and Vicente 1994).

    Args:
        signals: Names of the signals it reads; with `CONFIDENCE` alone it is plain confidence, calibrated.
        strength: L2 penalty on the weights (not the bias), in units of one post's log-loss.

    Attributes:
        weights_: float64 `[signals]`, none below 0.
        bias_: float.
    """

    weights_: NDArray[np.float64]
    bias_: float

    def __init__(self, signals: Sequence[str] = CONFIDENCE, strength: float = 1.0) -> None:
        self.signals = tuple(signals)
        self.strength = strength

    @classmethod
    def plain(cls) -> ErrorModel:
        """One fitted to nothing, which takes the calibrated probability at its word."""
        model = cls(CONFIDENCE)
        model.weights_, model.bias_ = np.ones(1), 0.0
        return model

    def fit(self, matrix: NDArray[Any], wrong: NDArray[Any]) -> ErrorModel:
        """Fit on signals `[n, signals]` and errors `[n]` (0 or 1) of posts the fast tier was not trained on."""
        if not 0 < wrong.sum() < len(wrong):
            raise ValueError("the error model needs right and wrong answers to learn from")
        design = np.column_stack([matrix, np.ones(len(matrix))]).astype(np.float64)
        penalty = np.append(np.full(matrix.shape[1], self.strength), 0.0)
        bounded = np.append(np.ones(matrix.shape[1], dtype=bool), False)
        values = np.zeros(design.shape[1])
        for _ in range(_STEPS):
            p = sigmoid(design @ values)
            curvature = (design * (p * (1 - p))[:, None]).T @ design + np.diag(penalty)
            gradient = design.T @ (p - wrong) + penalty * values
            after = _bounded_step(curvature, gradient, values, bounded)
            moved = np.abs(after - values).max()
            values = after
            if moved < 1e-9:
                break
        self.weights_, self.bias_ = values[:-1], float(values[-1])
        return self

    def predict_proba(self, matrix: NDArray[Any]) -> NDArray[np.float64]:
        """P(error) `[n]` in (0, 1) from signals `[n, signals]`."""
        if not hasattr(self, "weights_"):
            raise NotFittedError("ErrorModel: call fit first")
        # Column by column: a matrix product may round differently for one post than for many.
        total = self.bias_ + sum(matrix[:, i] * w for i, w in enumerate(self.weights_))
        result: NDArray[np.float64] = sigmoid(np.asarray(total))
        return result


def _bounded_step(
    curvature: NDArray[Any], gradient: NDArray[Any], values: NDArray[Any], bounded: NDArray[np.bool_]
) -> NDArray[Any]:
    """The lowest point of the parabola that touches the loss at `values`, with the bounded coordinates at 0 or above.

    Which of them rest at 0 is found by exchanging those of the wrong sign, the last one alone once that stops helping.
    """
    linear = gradient - curvature @ values
    free = np.ones(len(values), dtype=bool)
    minimum = np.zeros(len(values))
    fewest, patience = len(values) + 1, 3
    for _ in range(_EXCHANGES):
        minimum[:] = 0
        minimum[free] = np.linalg.solve(curvature[np.ix_(free, free)], -linear[free])
        pull = curvature @ minimum + linear
        wrong = np.flatnonzero(bounded & np.where(free, minimum < 0, pull < -1e-12))
        if not len(wrong):
            break
        if len(wrong) < fewest:
            fewest, patience = len(wrong), 3
        elif patience:
            patience -= 1
        else:
            wrong = wrong[-1:]
        free[wrong] = ~free[wrong]
    return np.where(bounded, np.maximum(minimum, 0), minimum)
