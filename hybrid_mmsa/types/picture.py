"""What is read in a picture beyond the picture as a whole: words and faces, as values. Knows nothing of readers.

Boxes are left, top, right and bottom in pixels of the picture that was read.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import Field

from .frozen import FrozenMapping, FrozenModel
from .predictions import Prediction

__all__ = ["EXPRESSIONS", "Expression", "Face", "PictureReading", "PictureWord", "PixelBox", "box_area"]

PixelBox: TypeAlias = tuple[int, int, int, int]
Expression: TypeAlias = Literal["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]
EXPRESSIONS: tuple[Expression, ...] = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""What a face may look like, in the order of FER2013, which data and networks share."""


class PictureWord(FrozenModel):
    """A word, or a line of words, in a picture."""

    text: str
    box: PixelBox = Field(description="Left, top, right and bottom, in pixels of the picture as it was read.")
    confidence: float = Field(ge=0, le=1, description="How sure the recognition of its characters is.")


class Face(FrozenModel):
    """A face in a picture: where it is and what it looks like, never whose it is."""

    box: PixelBox = Field(description="Left, top, right and bottom, in pixels of the picture as it was read.")
    confidence: float = Field(ge=0, le=1, description="How sure it is that this is a face.")
    expression: FrozenMapping[Expression, float] | None = Field(
        default=None, description="Probabilities, summing to 1; null where no expression was judged."
    )
    sentiment: Prediction | None = Field(default=None, description="What the expression says of the sentiment.")
    reliability: float | None = Field(
        default=None, ge=0, le=1, description="How likely the sentiment's label is right; see `docs/senses.md`."
    )


class PictureReading(FrozenModel):
    """What the senses that were asked for read in a post's picture; a sense that found nothing has an empty list."""

    width: int = Field(ge=1, description="Of the picture as it was read, in pixels.")
    height: int = Field(ge=1)
    words: tuple[PictureWord, ...] | None = Field(default=None, description="In reading order. Null: not asked for.")
    words_sentiment: Prediction | None = Field(default=None, description="What these words say by themselves.")
    words_count: bool = Field(default=False, description="Whether these words count in the answer.")
    faces: tuple[Face, ...] | None = Field(default=None, description="The largest first. Null: not asked for.")
    faces_sentiment: Prediction | None = Field(default=None, description="What the faces look like together.")
    faces_reliability: float | None = Field(
        default=None, ge=0, le=1, description="Theirs together; what is less reliable counts less."
    )
    faces_count: bool = Field(default=False, description="Whether the faces count in the answer.")
    faces_conflict: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Total variation distance of what the post's words say and what the faces look like.",
    )


def box_area(box: PixelBox) -> int:
    """Square pixels in a box."""
    left, top, right, bottom = box
    return (right - left) * (bottom - top)
