"""The three functions every head is made of, stable in float32 and float64. Knows nothing of tasks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["log_softmax", "sigmoid", "softmax"]


def log_softmax(logits: NDArray[Any]) -> NDArray[Any]:
    """Natural-log probabilities over the last axis; NaN rows stay NaN."""
    shifted = logits - logits.max(-1, keepdims=True)
    result: NDArray[Any] = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return result


def softmax(logits: NDArray[Any]) -> NDArray[Any]:
    """Probabilities over the last axis; NaN rows stay NaN."""
    result: NDArray[Any] = np.exp(log_softmax(logits))
    return result


def sigmoid(x: NDArray[Any]) -> NDArray[Any]:
    """1 / (1 + exp(-x)) without overflow."""
    result: NDArray[Any] = 0.5 * (1 + np.tanh(0.5 * x))
    return result
