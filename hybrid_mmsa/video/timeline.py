"""What is said, shown and felt in a film, and when: the `Timeline` and the values in it. Frozen, and JSON both ways.

It knows nothing of how they are found. Times are seconds from the beginning of the film.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from pydantic import Field, model_validator

from ..errors import SchemaVersionError
from ..types import (
    Analysis,
    FrozenDict,
    FrozenMapping,
    Prediction,
    Role,
    RowError,
    SpokenWord,
)
from ..types.frozen import FrozenModel

__all__ = [
    "TIMELINE_VERSION",
    "Curve",
    "Film",
    "Instance",
    "Moment",
    "MomentKind",
    "Point",
    "Segment",
    "Talk",
    "Timeline",
]

TIMELINE_VERSION = "1.0"
"""Version of the JSON schema of `Timeline`; it grows as that of `Analysis` does, whose own version stands in each."""

MomentKind: TypeAlias = Literal[
    "negative",
    "positive",
    "words_and_face_disagree",
    "words_and_picture_disagree",
    "interruption",
    "non_talk",
]


class Film(FrozenModel):
    """The file that was read."""

    name: str = Field(description="Its name, without folders.")
    duration: float = Field(ge=0)
    width: int | None = Field(default=None, description="Of a frame in pixels, not turned; null of sound alone.")
    height: int | None = None


class Segment(FrozenModel):
    """A stretch of the film: an utterance, or a picture that is shown while nobody speaks."""

    start: float = Field(ge=0)
    end: float = Field(ge=0)
    text: str | None = Field(default=None, description="What is said; null where nobody speaks.")
    speaker: str | None = None
    role: Role | None = None
    words: tuple[SpokenWord, ...] = ()
    frame: float | None = Field(default=None, description="The time of the frame that was judged with the words.")
    analysis: Analysis | None = Field(default=None, description="Of the words with the frame; null where it failed.")
    faces: int | None = Field(default=None, description="Faces in the frame; null where none were looked for.")
    face_sentiment: Prediction | None = Field(default=None, description="Of the largest face.")
    error: str | None = None

    @property
    def valence(self) -> float | None:
        """P(positive) - P(negative) of its analysis, in [-1, 1]."""
        if self.analysis is None:
            return None
        probabilities = self.analysis.sentiment.probabilities
        return probabilities["positive"] - probabilities["negative"]


class Point(FrozenModel):
    """The smoothed valence at one time."""

    time: float = Field(ge=0)
    valence: float = Field(ge=-1, le=1)


class Curve(FrozenModel):
    """How what one side feels goes on; see `curve.smooth` for the formula."""

    role: Role | None = Field(default=None, description="Whose; null of all segments together.")
    points: tuple[Point, ...]


class Instance(FrozenModel):
    """One time that something happens, as Azure Video Indexer has them in its insights."""

    start: float = Field(ge=0)
    end: float = Field(ge=0)
    score: float | None = Field(default=None, ge=0, le=1, description="How sure it is, where that is a probability.")
    segments: tuple[int, ...] = Field(default=(), description="Places of the segments it is about, from 0.")


class Moment(FrozenModel):
    """Something worth hearing, and every time that it happens.

    `interruption` is one by `role`; `non_talk` are pauses in which nobody speaks, as Contact Lens has them.
    """

    kind: MomentKind
    role: Role | None = None
    instances: tuple[Instance, ...]


class Talk(FrozenModel):
    """Who speaks for how long; by role, `unknown` where the speaker's role is not known. After Contact Lens."""

    talk_seconds: FrozenMapping[str, float] = Field(default_factory=FrozenDict)
    words_per_minute: FrozenMapping[str, float] = Field(default_factory=FrozenDict)
    interruptions: FrozenMapping[str, int] = Field(default_factory=FrozenDict, description="By who interrupts.")
    non_talk_seconds: float = Field(default=0.0, ge=0)


class Timeline(FrozenModel):
    """The typed answer to a film.

    Reading (`model_validate_json`) raises `SchemaVersionError` for a document of another major version.
    """

    schema_version: str = TIMELINE_VERSION
    film: Film
    segments: tuple[Segment, ...]
    scenes: tuple[float, ...] = Field(default=(), description="When scenes begin.")
    curves: tuple[Curve, ...] = ()
    moments: tuple[Moment, ...] = ()
    talk: Talk | None = Field(default=None, description="Null without a transcript.")
    warnings: tuple[str, ...] = ()
    errors: tuple[RowError, ...] = Field(default=(), description="Parts of the transcript that could not be used.")

    @model_validator(mode="before")
    @classmethod
    def _readable(cls, values: Any) -> Any:
        version = values.get("schema_version", TIMELINE_VERSION) if isinstance(values, dict) else TIMELINE_VERSION
        own = TIMELINE_VERSION.partition(".")[0]
        if str(version).partition(".")[0] != own:
            raise SchemaVersionError(
                f"this timeline has schema version {version}; this hybrid-mmsa reads version {own}"
            )
        return values
