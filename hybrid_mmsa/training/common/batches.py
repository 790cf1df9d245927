"""Batches of texts of like length: little padding. Knows no texts."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...types import IntArray

__all__ = ["alike", "by_length"]

POOL = 50
"""Batches' worth of texts that are sorted by length together."""


def alike(lengths: NDArray[Any], size: int, order: int) -> list[IntArray]:
    """Row numbers, each once, in shuffled batches of rows of like length.

    Args:
        lengths: `[n]`, of whatever unit.
        size: Rows in a batch.
        order: The same number gives the same batches in the same order.
    """
    chance = random.Random(f"order-{order}")
    shuffled = np.array(chance.sample(range(len(lengths)), len(lengths)))
    batches = []
    for start in range(0, len(shuffled), size * POOL):
        part = shuffled[start : start + size * POOL]
        part = part[np.argsort(lengths[part], kind="stable")]
        batches += [part[i : i + size] for i in range(0, len(part), size)]
    chance.shuffle(batches)
    return batches


def by_length(lengths: Sequence[int], size: int) -> Iterator[IntArray]:
    """Row numbers, each once, in batches from the shortest rows to the longest: for reading, where order is no matter.

    Args:
        lengths: Of each row, in whatever unit.
        size: Rows in a batch.
    """
    order = np.argsort(lengths, kind="stable")
    for start in range(0, len(order), size):
        yield order[start : start + size]
