"""The text tower's heads → the linear heads of a fusion head on both its features. Knows no towers in torch.

What the words say by themselves is asked twice: of the encoder, which learned it from many texts, and of the branch,
which learned it from posts with pictures. The `sentiment` head adds up both logits, each with its share: a product of
experts (Hinton 2002) that is one linear head on the features of both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...fusion.head import TEXT_HEADS
from ...types import FloatArray

__all__ = ["said_by_words", "text_heads"]


def said_by_words(logits: Mapping[str, NDArray[Any]], share: float) -> FloatArray:
    """Logits `[n, 3]` of the `sentiment` head from those of both; `share` in [0, 1] is the branch's."""
    mixed: FloatArray = ((1 - share) * logits["sentiment"] + share * logits["said"]).astype(np.float32)
    return mixed


def text_heads(weights: Mapping[str, NDArray[Any]], share: float) -> dict[str, FloatArray]:
    """`text.<task>.weight|bias` float32 on features `[n, 2 · width]` from a tower's tensors by name.

    Args:
        weights: `heads.<task>.weight|bias` and `branch_heads.<task>.weight|bias`.
        share: How much the branch counts in what the words say, in [0, 1].
    """
    arrays: dict[str, FloatArray] = {}
    for task in TEXT_HEADS:
        branched = {"joint": 1.0, "sentiment": share}.get(task, 0.0)
        twin = "said" if task == "sentiment" else task
        for part in ("weight", "bias"):
            # A head that is not there has a share of nothing: any head of its shape stands for it.
            own, other = weights.get(f"heads.{task}.{part}"), weights.get(f"branch_heads.{twin}.{part}")
            known = own if own is not None else other
            general, branch = (known if side is None else side for side in (own, other))
            halves = [(1 - branched) * np.asarray(general), branched * np.asarray(branch)]
            joined = np.concatenate(halves, axis=1) if part == "weight" else halves[0] + halves[1]
            arrays[f"text.{task}.{part}"] = joined.astype(np.float32)
    return arrays
