"""How well one side of a pair finds the other among many: shares with intervals. Knows no models.

Recall at k: of the pairs, the share whose other side is among the k nearest by cosine (Hodosh et al. 2013).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...metrics import Interval, wilson
from ...types import FloatArray

__all__ = ["FIRST", "ranks", "recall", "summary"]

FIRST = (1, 5, 10)


def ranks(queries: FloatArray, answers: FloatArray) -> NDArray[np.int64]:
    """The place of each query's own answer among all answers, int64 `[n]`, 0 the nearest.

    An answer as near as the own one counts as nearer, so that equal vectors gain nothing.

    Args:
        queries: float32 `[n, d]` of length 1.
        answers: float32 `[n, d]` of length 1, in the order of the queries.
    """
    near = queries @ answers.T
    own = np.diag(near)[:, None]
    places: NDArray[np.int64] = (near >= own).sum(1) - 1
    return places


def recall(places: NDArray[np.int64], first: int) -> Interval:
    """Share of queries whose answer is among the `first` nearest, with Wilson's 95 % interval."""
    return wilson(int((places < first).sum()), len(places))


def summary(words: FloatArray, pictures: FloatArray) -> dict[str, Mapping[str, Any]]:
    """Both ways, for a record: per k of `FIRST` the share and its interval; and what chance would give.

    Args:
        words: float32 `[n, d]` of length 1.
        pictures: float32 `[n, d]` of length 1; row i belongs to row i of `words`.
    """
    ways = {"words_to_picture": ranks(words, pictures), "picture_to_words": ranks(pictures, words)}
    table: dict[str, Mapping[str, Any]] = {}
    for way, places in ways.items():
        shares = {first: recall(places, first) for first in FIRST}
        table[way] = {f"r@{k}": [round(x, 4) for x in (s.value, s.low, s.high)] for k, s in shares.items()}
    return table | {"chance": {f"r@{first}": min(1.0, first / len(words)) for first in FIRST}}
