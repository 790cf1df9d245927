"""What a face looks like: a small network that tells seven expressions apart. Knows nothing of whose face it is.

The network is the mini-Xception of Arriaga, Valdenegro-Toro and Plöger 2017 (arXiv 1710.07557), which its authors
trained on FER2013; `eval/make_expression.py` wrote it as ONNX with int8 weights. Its terms stand in NOTICE.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
from PIL import Image

from ..onnx import open_session
from ..types import EXPRESSIONS, LABELS, Expression, FloatArray, Label, PixelBox

__all__ = ["ExpressionNetwork", "faces_in", "sentiment_of"]

WEIGHTS = Path(__file__).parent / "weights" / "expression.onnx"
SIDE = 64
"""Of the square, in pixels, that the network reads in shades of grey."""
MARGIN = 0.1
"""How much of a face's size is read around it on each side."""
_SAYS: Mapping[Expression, Label] = MappingProxyType(
    {
        "angry": "negative",
        "disgust": "negative",
        "fear": "negative",
        "happy": "positive",
        "sad": "negative",
        "surprise": "neutral",  # a surprise may be good or bad
        "neutral": "neutral",
    }
)
_TO_LABELS = np.array([[_SAYS[name] == label for label in LABELS] for name in EXPRESSIONS], np.float32)


class ExpressionNetwork:
    """Probabilities of expressions. Safe to share between threads.

    Args:
        threads: Threads per operator.

    Attributes:
        hash: SHA-256 (hex) of the weights.
    """

    def __init__(self, threads: int) -> None:
        self.hash = hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
        self._session = open_session(WEIGHTS, threads)

    def probabilities(self, image: Image.Image, boxes: Sequence[PixelBox]) -> FloatArray:
        """Probabilities of `EXPRESSIONS` for the face in each box, `[n, 7]`."""
        return self.of_faces(faces_in(image, boxes))

    def of_faces(self, faces: FloatArray) -> FloatArray:
        """Probabilities of `EXPRESSIONS` for cut-out faces, `[n, 7]`; see `faces_in`."""
        if not len(faces):
            return np.zeros((0, len(EXPRESSIONS)), np.float32)
        rows: FloatArray = self._session.run(["probabilities"], {"faces": faces[:, None]})[0]
        return rows


def faces_in(image: Image.Image, boxes: Sequence[PixelBox]) -> FloatArray:
    """The faces in boxes as the network reads them: shades of grey in [-1, 1], `[n, 64, 64]`."""
    grey = image.convert("L")
    return np.stack([_face(grey, box) for box in boxes]) if boxes else np.zeros((0, SIDE, SIDE), np.float32)


def sentiment_of(expressions: FloatArray) -> FloatArray:
    """What expressions `[..., 7]` say of the sentiment, probabilities in the order of `LABELS` `[..., 3]`.

    Happy is positive; angry, disgust, fear and sad are negative; surprise, which may be either, is neutral.
    """
    rows: FloatArray = expressions @ _TO_LABELS
    return rows


def _face(grey: Image.Image, box: PixelBox) -> FloatArray:
    """The square around a face and a margin, `[64, 64]` in [-1, 1]; black beyond the picture."""
    left, top, right, bottom = box
    half = max(right - left, bottom - top) * (0.5 + MARGIN)
    x, y = (left + right) / 2, (top + bottom) / 2
    square = (round(x - half), round(y - half), round(x + half), round(y + half))
    small = grey.crop(square).resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(small, np.float32) / 127.5 - 1
