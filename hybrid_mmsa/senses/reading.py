"""The readers of the senses that were asked for, and all that they read in one picture. Knows nothing of posts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from ..errors import EncoderError, InputError
from ..types import SENSES, Face, PictureReading, Sense, box_area, posteriors, prediction
from .face_reader import FaceReader
from .word_reader import PictureWordReader

__all__ = ["PictureReaders", "check_senses"]

Found = TypeVar("Found")


def check_senses(names: Any) -> tuple[Sense, ...]:
    """The names of senses, each once, in the order of `SENSES`.

    Raises:
        InputError: They are no names of senses.
    """
    kind = type(names)
    if issubclass(kind, str) or not issubclass(kind, Iterable):
        raise InputError(f"found a {kind.__name__}; wanted a list of names, such as ('ocr',)", field="senses")
    wanted = list(names)
    for name in wanted:
        if not (isinstance(name, str) and name in SENSES):
            raise InputError(f"no sense {str(name)[:40]!r}; there are {', '.join(SENSES)}", field="senses")
    return tuple(sense for sense in SENSES if sense in wanted)


class PictureReaders:
    """Readers of some senses, opened once. Safe to share between threads.

    Args:
        senses: Their names.
        threads: Threads per operator.

    Attributes:
        ids: What reads, by sense, for provenance.

    Raises:
        InputError: There is no such sense.
        MissingExtraError: A package of a sense is not installed.
    """

    def __init__(self, senses: Iterable[Sense], *, threads: int = 1) -> None:
        wanted = check_senses(senses)
        self._words = PictureWordReader(threads=threads) if "ocr" in wanted else None
        self._faces = FaceReader(threads=threads) if "faces" in wanted else None
        self.ids: dict[Sense, str] = {}
        if self._words is not None:
            self.ids["ocr"] = self._words.id
        if self._faces is not None:
            self.ids["faces"] = self._faces.id

    def read(self, image: Image.Image) -> tuple[PictureReading, tuple[str, ...]]:
        """What the senses read in a picture, and why some read nothing where they failed."""
        failures: list[str] = []
        words = None if self._words is None else _tried(self._words.read, image, failures)
        faces = None if self._faces is None else _tried(self._faces.read, image, failures)
        reading = PictureReading(
            width=image.width, height=image.height, words=words, faces=faces, **_together(faces or ())
        )
        return reading, tuple(failures)


def _tried(
    read: Callable[[Image.Image], tuple[Found, ...]], image: Image.Image, failures: list[str]
) -> tuple[Found, ...] | None:
    """What a reader finds; `None` where it fails, which is noted."""
    try:
        return read(image)
    except EncoderError as error:
        failures.append(str(error))
        return None


def _together(faces: Iterable[Face]) -> dict[str, Any]:
    """What faces look like together, and how reliable that is: means, each face counting by its area."""
    judged = [(box_area(f.box), f.sentiment, f.reliability or 0.0) for f in faces if f.sentiment is not None]
    if not judged:
        return {}
    areas, sentiments, reliabilities = zip(*judged, strict=True)
    return {
        "faces_sentiment": prediction(np.average(posteriors(sentiments), axis=0, weights=areas).astype(np.float32)),
        "faces_reliability": float(np.average(reliabilities, weights=areas)),
    }
