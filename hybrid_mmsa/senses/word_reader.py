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
from ..inputs import read_image
from ..types import ImageSource, PictureWord

__all__ = ["PictureWordReader"]

GATE_SIDE = 416
"""Longer side of the copy that the gate looks at, in pixels."""
LEAST_CONFIDENCE = 0.5
"""Words of less confidence are left out, as RapidOCR does by default."""
DETECTED_SIDE = 384
"""A picture whose shorter side has fewer pixels is enlarged to it before lines are looked for. RapidOCR's own 736 takes
up to twice the time, and on drawn screens and small memes it read no more words."""
MOST_RATIO, LONGEST = 8, 2000
"""A picture that is thinner is put on a ground of this ratio, with no side longer: by its shorter side alone RapidOCR
would enlarge a line of 1 by 3,000 pixels to gigabytes."""
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

    def read(self, image: ImageSource) -> tuple[PictureWord, ...]:
        """The words in reading order, line by line; empty where there are none.

        Args:
            image: The picture; it is read as those of posts are, and boxes are in pixels of it when it is upright.

        Raises:
            InputError: The picture cannot be used.
            EncoderError: RapidOCR failed.
        """
        whole = read_image(image)
        size, (picture, scale) = whole.size, _on_ground(whole)
        with self._lock, translated(lambda cause: EncoderError(f"the words in the picture were not read ({cause})")):
            if self._gated and not self._sees_text(picture):
                return ()
            lines = self._ocr(_blue_first(picture), text_score=LEAST_CONFIDENCE)
            if lines.boxes is None or lines.txts is None:
                return ()
            return tuple(
                PictureWord(text=text, box=_edges(corners / scale, size), confidence=min(max(float(score), 0.0), 1.0))
                for text, corners, score in zip(lines.txts, lines.boxes, lines.scores, strict=True)
            )

    def has_text(self, image: ImageSource) -> bool:
        """What the gate says: whether there seems to be any text. It is wrong now and then, and quick."""
        picture, _ = _on_ground(read_image(image))
        with self._lock:
            return self._sees_text(picture)

    def _sees_text(self, image: Image.Image) -> bool:
        small = image.copy()
        small.thumbnail((GATE_SIDE, GATE_SIDE), Image.Resampling.BILINEAR)
        return self._gate(_blue_first(small)).boxes is not None


def _on_ground(picture: Image.Image) -> tuple[Image.Image, float]:
    """A picture that is not too thin, and by how much it was shrunk; what is added lies to the right or below."""
    longest, shortest = max(picture.size), min(picture.size)
    if longest <= MOST_RATIO * shortest:
        return picture, 1.0
    scale = min(LONGEST / longest, 1.0)
    width, height = (max(round(side * scale), 1) for side in picture.size)
    least = -(-max(width, height) // MOST_RATIO)
    ground = Image.new("RGB", (max(width, least), max(height, least)), picture.getpixel((0, 0)))
    ground.paste(picture if scale == 1.0 else picture.resize((width, height), Image.Resampling.BILINEAR))
    return ground, scale


def _blue_first(image: Image.Image) -> NDArray[np.uint8]:
    """Pixels `[h, w, 3]` in the order of OpenCV: blue, green, red."""
    return np.ascontiguousarray(np.asarray(image)[:, :, ::-1])


def _edges(corners: NDArray[np.float32], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The upright box around four corners, inside the picture."""
    left, top = np.clip(np.floor(corners.min(0)), 0, None).astype(int)
    right, bottom = np.minimum(np.ceil(corners.max(0)), size).astype(int)
    return int(left), int(top), int(right), int(bottom)
