"""Reads the words in a picture with RapidOCR, whose models come in its package: nothing is downloaded.

A gate comes first: the detector looks at a small copy of the picture, and where it finds no text there, the picture is
not read any further. Knows nothing of what the words mean.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import EncoderError
from ..extras import needs
from ..foreign import translated
from ..forks import OpenLock
from ..types import PictureWord

__all__ = ["PictureWordReader"]

GATE_SIDE = 416
"""Longer side of the copy that the gate looks at, in pixels."""
LEAST_CONFIDENCE = 0.5
"""Words of less confidence are left out, as RapidOCR does by default."""
DETECTED_SIDE = 384
"""A picture whose shorter side has fewer pixels is enlarged to it before lines are looked for. RapidOCR's own 736 takes
up to twice the time, and on drawn screens and small memes it read no more words."""
_AS_IT_IS = 32
"""A detector that wants no larger a side takes a picture in the size it has."""


class PictureWordReader:
    """Reads the words in pictures. Safe to share between threads, which wait for each other.

    Args:
        threads: Threads per operator.
        gated: Whether pictures in which the gate sees no text are left unread; without it every picture is read whole.

    Attributes:
        id: The package and its version.

    Raises:
        MissingExtraError: RapidOCR is not installed.
    """

    def __init__(self, *, threads: int = 1, gated: bool = True) -> None:
        with needs("ocr", "reading the words in pictures"):
            from rapidocr import RapidOCR
        self.id = f"rapidocr {version('rapidocr')}"
        self._gated, self._lock = gated, OpenLock()
        settings = {
            "Global.log_level": "critical",
            "Global.use_cls": False,  # nobody posts pictures upside down
            "EngineConfig.onnxruntime.intra_op_num_threads": threads,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
        self._ocr: Any = RapidOCR(params={**settings, "Det.limit_side_len": DETECTED_SIDE})
        self._gate: Any = RapidOCR(params={**settings, "Global.use_rec": False, "Det.limit_side_len": _AS_IT_IS})

    def read(self, image: Image.Image) -> tuple[PictureWord, ...]:
        """The words in reading order, line by line; empty where there are none.

        Raises:
            EncoderError: RapidOCR failed.
        """
        with self._lock, translated(lambda cause: EncoderError(f"the words in the picture were not read ({cause})")):
            if self._gated and not self._sees_text(image):
                return ()
            lines = self._ocr(_blue_first(image), text_score=LEAST_CONFIDENCE)
            if lines.boxes is None or lines.txts is None:
                return ()
            return tuple(
                PictureWord(text=text, box=_edges(corners, image.size), confidence=min(max(float(score), 0.0), 1.0))
                for text, corners, score in zip(lines.txts, lines.boxes, lines.scores, strict=True)
            )

    def has_text(self, image: Image.Image) -> bool:
        """What the gate says: whether there seems to be any text. It is wrong now and then, and quick."""
        with self._lock:
            return self._sees_text(image)

    def _sees_text(self, image: Image.Image) -> bool:
        small = image.copy()
        small.thumbnail((GATE_SIDE, GATE_SIDE), Image.Resampling.BILINEAR)
        return self._gate(_blue_first(small)).boxes is not None


def _blue_first(image: Image.Image) -> NDArray[np.uint8]:
    """Pixels `[h, w, 3]` in the order of OpenCV: blue, green, red."""
    return np.ascontiguousarray(np.asarray(image.convert("RGB"))[:, :, ::-1])


def _edges(corners: NDArray[np.float32], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The upright box around four corners, inside the picture."""
    left, top = np.clip(np.floor(corners.min(0)), 0, None).astype(int)
    right, bottom = np.minimum(np.ceil(corners.max(0)), size).astype(int)
    return int(left), int(top), int(right), int(bottom)
