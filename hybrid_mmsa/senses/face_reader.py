"""Reads faces: where they are, what they look like, how surely, and what that says. Never whose; nothing is kept.

Both networks travel with this package and need nothing but the light core.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from ..errors import EncoderError
from ..foreign import translated
from ..inputs import read_image
from ..types import EXPRESSIONS, Face, FrozenDict, ImageSource, box_area, prediction
from .expression import ExpressionNetwork, faces_in, sentiment_of
from .face_detector import FaceDetector
from .reliability import Reliability

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
        self._reliability = Reliability()
        detector = hashlib.sha256(DETECTOR.read_bytes()).hexdigest()
        self.id = f"yunet {detector[:12]}, expression {self._network.hash[:12]}"

    def read(self, image: ImageSource) -> tuple[Face, ...]:
        """The faces, the largest first; empty where there are none, which is normal.

        Args:
            image: The picture; it is read as those of posts are, and boxes are in pixels of it when it is upright.

        Raises:
            InputError: The picture cannot be used.
            EncoderError: A network failed.
        """
        picture = read_image(image)
        with translated(lambda cause: EncoderError(f"the faces in the picture were not read ({cause})")):
            edges, scores = self._detector.find(picture)
            faces = [
                Face(box=(int(left), int(top), int(right + 0.5), int(bottom + 0.5)), confidence=float(min(score, 1.0)))
                for (left, top, right, bottom), score in zip(edges, scores, strict=True)
            ]
            faces.sort(key=lambda face: box_area(face.box), reverse=True)
            large = [face for face in faces if min(_sides(face)) >= LEAST_SIDE]
            return (*self._judged(picture, large), *(face for face in faces if face not in large))

    def _judged(self, picture: Image.Image, faces: Sequence[Face]) -> Iterator[Face]:
        """Faces with what they look like."""
        boxes, scores = [face.box for face in faces], [face.confidence for face in faces]
        pixels = faces_in(picture, boxes)
        rows = self._network.of_faces(pixels)
        for face, row, reliability in zip(faces, rows, self._reliability.of(boxes, scores, pixels, rows), strict=True):
            update = {
                "expression": FrozenDict(zip(EXPRESSIONS, map(float, row), strict=True)),
                "sentiment": prediction(sentiment_of(row)),
                "reliability": float(reliability),
            }
            yield face.model_copy(update=update)


def _sides(face: Face) -> tuple[int, int]:
    left, top, right, bottom = face.box
    return right - left, bottom - top
