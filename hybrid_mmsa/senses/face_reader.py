"""Reads faces: where they are, what they look like, and what that says. Never whose they are, and nothing is kept.

Both networks travel with this package and need nothing but the light core.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from PIL import Image

from ..errors import EncoderError
from ..foreign import translated
from ..types import EXPRESSIONS, Face, FrozenDict, box_area, prediction
from .expression import ExpressionNetwork, sentiment_of
from .face_detector import FaceDetector

__all__ = ["FaceReader"]

DETECTOR = Path(__file__).parent / "weights" / "yunet.onnx"
LEAST_SIDE = 24
"""Faces of fewer pixels are found, but what they look like is not judged."""


class FaceReader:
    """Finds the faces in pictures and judges their expressions. Safe to share between threads.

    Args:
        threads: Threads per operator.

    Attributes:
        id: The networks, each with the beginning of its hash.
    """

    def __init__(self, *, threads: int = 1) -> None:
        self._detector, self._network = FaceDetector(DETECTOR, threads), ExpressionNetwork(threads)
        detector = hashlib.sha256(DETECTOR.read_bytes()).hexdigest()
        self.id = f"yunet {detector[:12]}, expression {self._network.hash[:12]}"

    def read(self, image: Image.Image) -> tuple[Face, ...]:
        """The faces, the largest first; empty where there are none, which is normal.

        Raises:
            EncoderError: A network failed.
        """
        with translated(lambda cause: EncoderError(f"the faces in the picture were not read ({cause})")):
            edges, scores = self._detector.find(image)
            faces = [
                Face(box=(int(left), int(top), int(right + 0.5), int(bottom + 0.5)), confidence=float(min(score, 1.0)))
                for (left, top, right, bottom), score in zip(edges, scores, strict=True)
            ]
            faces.sort(key=lambda face: box_area(face.box), reverse=True)
            large = [face for face in faces if min(_sides(face)) >= LEAST_SIDE]
            rows = self._network.probabilities(image, [face.box for face in large])
            judged = [
                face.model_copy(
                    update={
                        "expression": FrozenDict(zip(EXPRESSIONS, map(float, row), strict=True)),
                        "sentiment": prediction(sentiment_of(row)),
                    }
                )
                for face, row in zip(large, rows, strict=True)
            ]
            return (*judged, *(face for face in faces if face not in large))


def _sides(face: Face) -> tuple[int, int]:
    left, top, right, bottom = face.box
    return right - left, bottom - top
