"""How likely it is that what a face looks like is told right: logistic in four signals of how well it was seen.

The weights stand in `weights/reliability.json`; `eval/make_reliability.py` fitted them to faces that were made small,
blurred and compressed. They are P(the sentiment of the likeliest expression is the one that people named), and know
nothing of what a post feels.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..routing import ErrorModel
from ..types import EXPRESSIONS, FloatArray, PixelBox

__all__ = ["SIGNALS", "Reliability", "face_signals"]

WEIGHTS = Path(__file__).parent / "weights" / "reliability.json"
SIGNALS = ("smallness", "blur", "doubt", "entropy")
LARGE = 256
"""Shorter side of a face, in pixels, from which it is not small."""
_LEAST = 1e-4


class Reliability:
    """P(right) of judged faces, from the fitted weights. Safe to share between threads."""

    def __init__(self) -> None:
        values = json.loads(WEIGHTS.read_text(encoding="utf-8"))
        self._model = ErrorModel(SIGNALS)
        self._model.weights_ = np.array([values["signals"][name] for name in SIGNALS])
        self._model.bias_ = float(values["bias"])

    def of(
        self, boxes: Sequence[PixelBox], scores: Sequence[float], faces: FloatArray, expressions: FloatArray
    ) -> NDArray[np.float64]:
        """P(right) `[n]`; arguments as in `face_signals`."""
        return 1 - self._model.predict_proba(face_signals(boxes, scores, faces, expressions))


def face_signals(
    boxes: Sequence[PixelBox], scores: Sequence[float], faces: FloatArray, expressions: FloatArray
) -> NDArray[np.float64]:
    """What hints that an expression is told wrong, `[n, len(SIGNALS)]`; each is larger where an error is likelier.

    Args:
        boxes: Where the faces are, in pixels.
        scores: How sure the detector is of each, in [0, 1].
        faces: As the network read them, `[n, 64, 64]`.
        expressions: What it said, probabilities `[n, 7]`.
    """
    sides = np.array([min(right - left, bottom - top) for left, top, right, bottom in boxes], np.float64)
    smallness = np.log2(LARGE) - np.log2(np.clip(sides, 1, LARGE))
    p = np.clip(expressions.astype(np.float64), 1e-9, 1)
    entropy = -(p * np.log(p)).sum(1) / np.log(len(EXPRESSIONS))
    return np.column_stack([smallness, _blur(faces), 1 - np.asarray(scores, np.float64), entropy])


def _blur(faces: FloatArray) -> NDArray[np.float64]:
    """How little of a face's contrast lies between neighbouring pixels, as a negative logarithm `[n]`."""
    pixels = faces.astype(np.float64)
    middle = pixels[:, 1:-1, 1:-1]
    around = pixels[:, :-2, 1:-1] + pixels[:, 2:, 1:-1] + pixels[:, 1:-1, :-2] + pixels[:, 1:-1, 2:]
    edges = np.abs(around - 4 * middle).mean((1, 2))
    contrast = pixels.std((1, 2))
    blur: NDArray[np.float64] = -np.log((edges + _LEAST) / (contrast + _LEAST))
    return blur
