"""What else a picture says: the words in it, and what the faces in it look like. Knows nothing of adapters or routes.

Nothing of a sense is imported or opened before a reader of it is made.
"""

from __future__ import annotations

from ..types import Face, PictureReading, PictureWord
from .face_reader import FaceReader
from .in_pictures import InPictures, read_pictures
from .reading import PictureReaders, check_senses
from .word_reader import PictureWordReader

__all__ = [
    "Face",
    "FaceReader",
    "InPictures",
    "PictureReaders",
    "PictureReading",
    "PictureWord",
    "PictureWordReader",
    "check_senses",
    "read_pictures",
]
