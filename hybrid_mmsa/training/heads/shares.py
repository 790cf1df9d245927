"""Shifts logits so that labels are given as often as they occur. Knows no heads and no posts.

Where labels are skewed and hard to tell apart, the likeliest label is nearly always the commonest one, and the others
are never said. A bias per label mends that: it costs accuracy and buys the F1 of rare labels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...types import FloatArray

__all__ = ["matching_bias"]

ROUNDS = 100
CLOSE = 1e-6


def matching_bias(logits: NDArray[Any], shares: NDArray[Any]) -> FloatArray:
    """A bias per label under which each label is the largest logit in its share of the posts, float32 `[classes]`.

    One label's bias after the other is set to the quantile at which its share is met, until none moves.

    Args:
        logits: `[n, classes]` of posts that the head was not fitted to.
        shares: How often each label is wanted, `[classes]`, summing to 1.

    Raises:
        ValueError: There are no posts, or a wanted share is negative.
    """
    if not len(logits) or (np.asarray(shares) < 0).any():
        raise ValueError("matching shares needs posts, and shares that are not negative")
    bias = np.zeros(logits.shape[1])
    for _ in range(ROUNDS):
        before = bias.copy()
        for label, share in enumerate(shares):
            others = np.delete(logits + bias, label, axis=1).max(1)
            bias[label] = np.quantile(others - logits[:, label], share)
        bias -= bias.mean()
        if np.abs(bias - before).max() < CLOSE:
            break
    return bias.astype(np.float32)
