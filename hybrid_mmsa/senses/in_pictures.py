"""What is read in the pictures of a batch, what it says, and how that joins the fast answers.

Words go through the same text tower and head as a post's own; faces say what their expressions say. Each source's
probabilities are pooled with the fast answer's by weights of the model (`pooling.SourcePooling`); without such weights
they are evidence alone. Knows nothing of how pictures are read, nor of adapters.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from PIL.Image import Image

from ..bounds.deadline import NO_TIME, Deadline
from ..encoders.checked import CheckedEncoder
from ..errors import InputError
from ..inputs import FOREIGN, Limits, read_sample
from ..pooling import SourcePooling
from ..types import (
    LABELS,
    PICTURE_SOURCES,
    BoolArray,
    Features,
    FloatArray,
    PictureReading,
    PictureSource,
    Sample,
    TaskArrays,
    posteriors,
    prediction,
)
from .reading import PictureReaders

__all__ = ["InPictures", "Judge", "read_pictures"]

Judge: TypeAlias = Callable[[Features], TaskArrays]
"""Features → calibrated probabilities per task."""

NOT_READ = f"the senses did not read the picture: {NO_TIME}"
FOREIGN_WORDS = "the words in the picture do not look English and do not count"
NOT_FITTED = "the words in the picture do not count: this model has no weights for them"


@dataclass(frozen=True, slots=True, eq=False)
class _Said:
    """What one source says in `n` pictures.

    Attributes:
        sentiment: Probabilities `[n, 3]`; NaN where it says nothing that counts.
        reliability: How well it was read, `[n]` in [0, 1].
    """

    sentiment: FloatArray
    reliability: FloatArray

    @classmethod
    def nothing(cls, n: int) -> _Said:
        """Nothing in any picture."""
        return cls(np.full((n, len(LABELS)), np.nan, np.float32), np.zeros(n, np.float32))

    def put(self, rows: Sequence[int], sentiment: FloatArray, reliability: float) -> None:
        """Note what is said in some of the pictures."""
        self.sentiment[rows], self.reliability[rows] = sentiment, reliability

    @property
    def counted(self) -> BoolArray:
        """Whether anything is said that counts, bool `[n]`."""
        result: BoolArray = np.isfinite(self.sentiment[:, 0])
        return result


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class InPictures:
    """What was read in the pictures of `n` posts; row `i` of each part is post `i`.

    Attributes:
        poolings: How each source joins the answer, of those that the model has weights for.
        readings: What was read; `None` for a post without a picture, or where there was no time.
        said: What each source of `poolings` says.
        warnings: What could not be read, or does not count.
    """

    poolings: Mapping[PictureSource, SourcePooling]
    readings: Sequence[PictureReading | None]
    said: Mapping[PictureSource, _Said]
    warnings: Sequence[tuple[str, ...]]

    def counted(self, row: int) -> tuple[PictureSource, ...]:
        """The sources that count in a post's answer, in the order in which they join it."""
        return tuple(source for source, said in self.said.items() if said.counted[row])

    @property
    def any_counted(self) -> bool:
        """Whether any source counts in any answer."""
        return any(said.counted.any() for said in self.said.values())

    def joined(
        self,
        rows: Sequence[int],
        sentiment: FloatArray,
        has_text: BoolArray,
        sources: Collection[PictureSource] = PICTURE_SOURCES,
    ) -> FloatArray:
        """Sentiment `[m, 3]` of some posts, or versions of them, with what is in their pictures read as well.

        Args:
            rows: Which post each is of, `[m]`.
            sentiment: Theirs without it.
            has_text: bool `[m]`, whether they have words of their own.
            sources: What is read.
        """
        chosen = list(rows)
        for source, pooling in self.poolings.items():
            said = self.said[source]
            counted = said.counted[chosen]
            if source in sources and counted.any():
                pooled = pooling.probabilities(sentiment, said.sentiment[chosen], has_text, said.reliability[chosen])
                sentiment = np.where(counted[:, None], pooled, sentiment)
        return sentiment

    def judge(self, row: int, judge: Judge) -> Judge:
        """The judge of versions of a post who reads what is in its picture as well."""

        def judged(features: Features) -> TaskArrays:
            posteriors = judge(features)
            sentiment = self.joined([row] * len(features), posteriors["sentiment"], features.has_text)
            return {**posteriors, "sentiment": sentiment}

        return judged


def read_pictures(
    readers: PictureReaders,
    posts: Sequence[Sample],
    about_target: BoolArray,
    *,
    encoder: CheckedEncoder,
    judge: Judge,
    poolings: Mapping[PictureSource, SourcePooling],
    limits: Limits,
    deadline: Deadline,
) -> InPictures:
    """What the senses read in the pictures of posts, and what that says.

    Args:
        readers: The senses.
        posts: Read posts, `n`.
        about_target: bool `[n]`, whether the answer is about a target: then nothing in the picture counts.
        encoder: Encodes the words.
        judge: Judges them.
        poolings: How each source joins the fast answer, of those that the model has weights for.
        limits: How many of the words are read.
        deadline: When no more pictures are read.
    """
    read = [_read(readers, post, deadline) for post in posts]
    readings, warnings = [reading for reading, _ in read], [notes for _, notes in read]
    texts: dict[int, Sample] = {}
    for row, reading in enumerate(readings):
        text = _text(reading, limits)
        if text is not None and "picture_words" not in poolings:
            warnings[row] += (NOT_FITTED,)
        elif text is not None and FOREIGN in text.warnings:
            warnings[row], text = (*warnings[row], FOREIGN_WORDS), None
        if text is not None and not about_target[row]:
            texts[row] = text
    encoded = encoder.encode_each([*texts.values()], deadline)
    places, words = [*texts], _Said.nothing(len(posts))
    if encoded.features is not None:
        words.put([places[i] for i in encoded.rows], judge(encoded.features)["text_sentiment"], 1.0)
    for i, failure in encoded.failures.items():
        warnings[places[i]] += (f"the words in the picture do not count: {failure}",)
    said: dict[PictureSource, _Said] = {"picture_words": words, "faces": _faces(readings, about_target)}
    return InPictures(
        poolings=poolings,
        readings=[_told(reading, row, said, poolings) for row, reading in enumerate(readings)],
        said={source: said[source] for source in PICTURE_SOURCES if source in poolings},
        warnings=warnings,
    )


def _read(readers: PictureReaders, post: Sample, deadline: Deadline) -> tuple[PictureReading | None, tuple[str, ...]]:
    if not isinstance(post.image, Image):
        return None, ()
    return (None, (NOT_READ,)) if deadline.passed else readers.read(post.image)


def _text(reading: PictureReading | None, limits: Limits) -> Sample | None:
    """The words of a reading as a text, where there is anything in them to be judged."""
    if reading is None or not reading.words:
        return None
    try:
        return read_sample(Sample(text=" ".join(word.text for word in reading.words)), limits)
    except InputError:  # marks alone
        return None


def _faces(readings: Sequence[PictureReading | None], about_target: BoolArray) -> _Said:
    """What the faces that were judged look like, but where the answer is about a target."""
    said = _Said.nothing(len(readings))
    for row, reading in enumerate(readings):
        if reading is not None and reading.faces_sentiment is not None and not about_target[row]:
            look = posteriors([reading.faces_sentiment]).astype(np.float32)
            said.put([row], look, reading.faces_reliability or 0.0)
    return said


def _told(
    reading: PictureReading | None,
    row: int,
    said: Mapping[PictureSource, _Said],
    poolings: Mapping[PictureSource, SourcePooling],
) -> PictureReading | None:
    """A reading with what its words say, and with what of it counts."""
    if reading is None:
        return None
    counts = {source: bool(each.counted[row]) and source in poolings for source, each in said.items()}
    update: dict[str, Any] = {"words_count": counts["picture_words"], "faces_count": counts["faces"]}
    if said["picture_words"].counted[row]:
        update["words_sentiment"] = prediction(said["picture_words"].sentiment[row])
    return reading.model_copy(update=update)
