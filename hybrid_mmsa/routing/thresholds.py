"""Where to draw the lines: thresholds for a budget or a precision. Pure functions over arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["threshold_at_precision", "threshold_for_budget"]


def threshold_for_budget(scores: NDArray[Any], budget: float) -> float:
    """The lowest threshold with at most `budget` (a share in [0, 1]) of posts above it; `inf` where no score is known.

    NaN scores are above nothing.
    """
    ranked = np.sort(scores[~np.isnan(scores)])[::-1]
    allowed = math.floor(budget * len(scores) + 1e-9)
    if len(ranked) == 0:
        return math.inf
    return float(np.nextafter(ranked[-1], -math.inf) if allowed >= len(ranked) else ranked[allowed])


def threshold_at_precision(scores: NDArray[Any], positive: NDArray[Any], precision: float, *, least: int = 20) -> float:
    """The lowest score above which a share of at least `precision` is positive; `inf` where there is none.

    Args:
        scores: `[n]`; NaN scores are left out.
        positive: bool `[n]`.
        precision: Wanted share of positives among posts above the threshold.
        least: Fewer posts than this above the threshold prove nothing.
    """
    known = ~np.isnan(scores)
    order = np.argsort(-scores[known], kind="stable")
    ranked, hits = scores[known][order], np.cumsum(positive[known][order])
    counts = np.arange(1, len(ranked) + 1)
    # A cut may only fall between two different scores.
    ends = np.append(ranked[1:] < ranked[:-1], False)
    good = np.flatnonzero((hits / counts >= precision) & (counts >= least) & ends)
    return float(ranked[good[-1] + 1]) if len(good) else math.inf
