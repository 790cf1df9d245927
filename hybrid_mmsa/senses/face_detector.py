"""Where the faces in a picture are: the output of YuNet's ONNX file, decoded. Knows nothing of expressions or people.

YuNet: Wu, Peng and Yu 2023, doi 10.1007/s11633-023-1423-y. At strides of 8, 16 and 32 pixels each cell of a grid offers
one box. With the cell's column c and row r and its outputs b, the box's middle is (c + b_0, r + b_1) strides from the
upper left corner, its width and height are exp(b_2) and exp(b_3) strides, and its score is √(class · object), as
OpenCV's `FaceDetectorYN` decodes them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..onnx import open_session
from ..types import FloatArray

__all__ = ["FaceDetector", "apart"]

SIDE = 640
"""Pictures are shrunk to fit into a square of this side, which the model reads."""
STRIDES = (8, 16, 32)
LEAST_SCORE = 0.7
"""Boxes of a lower score are no faces: at OpenCV's default of 0.9 blurred and small ones are missed."""
MOST_OVERLAP = 0.3
"""Of two boxes that share more of their area, the one of the higher score is kept (OpenCV's default)."""
_OUTPUTS = [f"{part}_{stride}" for part in ("cls", "obj", "bbox") for stride in STRIDES]

Floats = NDArray[np.float64]


class FaceDetector:
    """Finds faces in pictures. Safe to share between threads.

    Args:
        path: YuNet's file.
        threads: Threads per operator.

    Raises:
        ArtefactError: The file is missing or no valid model.
    """

    def __init__(self, path: Path, threads: int) -> None:
        self._session = open_session(path, threads)

    def find(self, image: Image.Image) -> tuple[Floats, Floats]:
        """Boxes `[n, 4]` (left, top, right, bottom, in pixels of an RGB picture) and scores `[n]` in [0, 1]."""
        scale = min(SIDE / max(image.size), 1.0)
        width, height = (max(round(side * scale), 1) for side in image.size)
        small = image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
        pixels = np.zeros((SIDE, SIDE, 3), np.float32)
        pixels[:height, :width] = np.asarray(small)[:, :, ::-1]
        outputs = self._session.run(_OUTPUTS, {"input": pixels.transpose(2, 0, 1)[None]})
        boxes, scores = _decoded(dict(zip(_OUTPUTS, outputs, strict=True)))
        kept = apart(boxes, scores)
        edges = boxes[kept] / scale
        limits = np.array([*image.size, *image.size], np.float64)
        return np.clip(edges, 0, limits), scores[kept]


def _decoded(outputs: dict[str, FloatArray]) -> tuple[Floats, Floats]:
    """Boxes and scores of the cells that may hold a face."""
    boxes, scores = [], []
    for stride in STRIDES:
        object_, class_ = (outputs[f"{part}_{stride}"][0, :, 0].astype(np.float64) for part in ("obj", "cls"))
        score = np.sqrt(np.clip(object_, 0, 1) * np.clip(class_, 0, 1))
        cells = np.flatnonzero(score >= LEAST_SCORE)
        row, column = np.divmod(cells, SIDE // stride)
        box = outputs[f"bbox_{stride}"][0, cells].astype(np.float64)
        middle = np.column_stack([column, row]) + box[:, :2]
        half = np.exp(box[:, 2:]) / 2
        boxes.append(np.concatenate([middle - half, middle + half], axis=1) * stride)
        scores.append(score[cells])
    return np.concatenate(boxes), np.concatenate(scores)


def apart(boxes: Floats, scores: Floats, overlap: float = MOST_OVERLAP) -> list[int]:
    """The rows of the boxes that stay where those that overlap a better one go, the best first.

    Args:
        boxes: Left, top, right, bottom, `[n, 4]`.
        scores: `[n]`.
        overlap: Largest shared area of two boxes, as a part of what they cover together.
    """
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    kept: list[int] = []
    for row in np.argsort(-scores, kind="stable"):
        others = boxes[kept]
        shared = np.minimum(boxes[row, 2:], others[:, 2:]) - np.maximum(boxes[row, :2], others[:, :2])
        both = np.prod(np.clip(shared, 0, None), axis=1)
        if not (both > overlap * (areas[row] + areas[kept] - both)).any():
            kept.append(int(row))
    return kept
