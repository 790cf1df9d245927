"""What is read in the pictures of a batch, what the words there say, and how that joins the fast answers.

The words go through the same text tower and head as a post's own. Their probabilities are pooled with the fast answer's
by the weights of the model (`pooling.PictureWordsPooling`); without such weights they are evidence alone. Knows nothing
of how pictures are read, nor of adapters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from PIL.Image import Image

from ..bounds.deadline import NO_TIME, Deadline
from ..encoders.checked import CheckedEncoder
from ..errors import InputError
from ..inputs import FOREIGN, Limits, read_sample
from ..pooling import PictureWordsPooling
from ..types import LABELS, BoolArray, Features, FloatArray, PictureReading, Sample, TaskArrays, prediction
from .reading import PictureReaders

__all__ = ["InPictures", "Judge", "read_pictures"]

Judge: TypeAlias = Callable[[Features], TaskArrays]
"""Features → calibrated probabilities per task."""

NOT_READ = f"the senses did not read the picture: {NO_TIME}"
FOREIGN_WORDS = "the words in the picture do not look English and do not count"
NOT_FITTED = "the words in the picture do not count: this model has no weights for them"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class InPictures:
    """What was read in the pictures of `n` posts; row `i` of each part is post `i`.

    Attributes:
        pooling: The weights; `None` for a model that has none.
        readings: What was read; `None` for a post without a picture, or where there was no time.
        words: What the words in the picture say by themselves, `[n, 3]`; NaN where they do not count.
        warnings: What could not be read, or does not count.
    """

    pooling: PictureWordsPooling | None
    readings: Sequence[PictureReading | None]
    words: FloatArray
    warnings: Sequence[tuple[str, ...]]

    @property
    def counted(self) -> BoolArray:
        """Whether the words in the picture count in the answer, bool `[n]`."""
        result: BoolArray = np.isfinite(self.words[:, 0])
        return result

    def joined(self, rows: Sequence[int], sentiment: FloatArray, has_text: BoolArray) -> FloatArray:
        """Sentiment `[m, 3]` of some posts, or versions of them, with the words in their pictures read as well.

        Args:
            rows: Which post each is of, `[m]`.
            sentiment: Theirs without these words.
            has_text: bool `[m]`, whether they have words of their own.
        """
        counted = self.counted[list(rows)]
        if self.pooling is None or not counted.any():
            return sentiment
        pooled = self.pooling.probabilities(sentiment, self.words[list(rows)], has_text)
        result: FloatArray = np.where(counted[:, None], pooled, sentiment)
        return result

    def judge(self, row: int, judge: Judge) -> Judge:
        """The judge of versions of a post who reads the words in its picture as well."""

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
    pooling: PictureWordsPooling | None,
    limits: Limits,
    deadline: Deadline,
) -> InPictures:
    """What the senses read in the pictures of posts, and what the words there say.

    Args:
        readers: The senses.
        posts: Read posts, `n`.
        about_target: bool `[n]`, whether the answer is about a target: then the words in the picture do not count.
        encoder: Encodes the words.
        judge: Judges them.
        pooling: How they join the fast answer; `None` for a model without such weights.
        limits: How many of the words are read.
        deadline: When no more pictures are read.
    """
    readings: list[PictureReading | None] = []
    warnings: list[tuple[str, ...]] = []
    texts: dict[int, Sample] = {}
    for row, post in enumerate(posts):
        reading, notes = _read(readers, post, deadline)
        text = _sample(reading, limits)
        if text is not None and pooling is None:
            notes = (*notes, NOT_FITTED)
        elif text is not None and FOREIGN in text.warnings:
            notes, text = (*notes, FOREIGN_WORDS), None
        if text is not None and not about_target[row]:
            texts[row] = text
        readings.append(reading)
        warnings.append(notes)
    words = np.full((len(posts), len(LABELS)), np.nan, np.float32)
    encoded = encoder.encode_each([*texts.values()], deadline)
    places = [*texts]
    if encoded.features is not None:
        words[[places[i] for i in encoded.rows]] = judge(encoded.features)["text_sentiment"]
    for i, failure in encoded.failures.items():
        warnings[places[i]] += (f"the words in the picture do not count: {failure}",)
    for row in np.flatnonzero(np.isfinite(words[:, 0])).tolist():
        update = {"words_sentiment": prediction(words[row]), "words_count": pooling is not None}
        reading = readings[row]
        readings[row] = reading and reading.model_copy(update=update)
    if pooling is None:
        words = np.full_like(words, np.nan)
    return InPictures(pooling=pooling, readings=readings, words=words, warnings=warnings)


def _read(readers: PictureReaders, post: Sample, deadline: Deadline) -> tuple[PictureReading | None, tuple[str, ...]]:
    if not isinstance(post.image, Image):
        return None, ()
    return (None, (NOT_READ,)) if deadline.passed else readers.read(post.image)


def _sample(reading: PictureReading | None, limits: Limits) -> Sample | None:
    """The words of a reading as a text, where there is anything in them to be judged."""
    if reading is None or not reading.words:
        return None
    try:
        return read_sample(Sample(text=" ".join(word.text for word in reading.words)), limits)
    except InputError:  # marks alone
        return None
