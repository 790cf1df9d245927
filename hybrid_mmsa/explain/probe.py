"""One post, and what the fast tier would say of it with something hidden. Knows nothing of what is worth hiding.

Only the changed side is encoded again; the other side's features are those of the whole post.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL.Image import Image, fromarray

from ..encoders import CachedEncoder, Encoder, MapEncoder, MappedEncoder, PostMap
from ..inputs import reword
from ..types import Features, FloatArray, IntArray, Sample, TaskArrays

__all__ = ["Opinions", "Probe"]


@dataclass(frozen=True, slots=True, eq=False)
class Opinions:
    """What the fast tier says of `n` versions of a post: sentiment `[n, 3]`, P(sarcastic) `[n]`, float32."""

    sentiment: FloatArray
    sarcasm: FloatArray

    def replaced(self, rows: IntArray, others: Opinions) -> Opinions:
        """The same with other opinions in some rows."""
        sentiment, sarcasm = self.sentiment.copy(), self.sarcasm.copy()
        sentiment[rows], sarcasm[rows] = others.sentiment, others.sarcasm
        return Opinions(sentiment, sarcasm)


class Probe:
    """Judges changed versions of one post.

    Args:
        encoder: The analyzer's. One that remembers posts is asked behind its memory: no version comes up again.
        judge: Features → calibrated probabilities per task.
        prior: Class probabilities `[3]` of a post of which nothing is read.
        sample: The post, read.
        features: Its features, one row.
        about_target: Whether the answer is about the post's target: then the words alone count.
        kept: What the encoder kept of reading the post; without it the post is read again where that is needed.
    """

    def __init__(
        self,
        encoder: Encoder,
        judge: Callable[[Features], TaskArrays],
        prior: FloatArray,
        sample: Sample,
        features: Features,
        *,
        about_target: bool = False,
        kept: PostMap | None = None,
    ) -> None:
        self.encoder = encoder.encoder if isinstance(encoder, CachedEncoder) else encoder
        self.judge, self.prior = judge, prior
        self.sample, self.features = sample, features
        self.text = sample.text if features.has_text[0] else None
        self._about_target, self._kept = about_target, kept
        # Sentiment towards a target is judged from the words alone: there is nothing to find in the picture.
        self.image = sample.image if isinstance(sample.image, Image) and not self._about_target else None
        self.whole = self._judge(features)
        """The post with nothing hidden, one row."""

    def with_texts(self, texts: Sequence[str]) -> Opinions:
        """The post with other words in place of its own; where a text has none, as if it never had any."""
        changed = [Sample(text=text if reword(text) else None, target=self.sample.target) for text in texts]
        features, whole = self.encoder.encode(changed), self._rows(len(texts))
        return self._judge(replace(features, image_features=whole.image_features, has_image=whole.has_image))

    @property
    def estimates(self) -> bool:
        """Whether the encoder kept what `estimated` needs."""
        return self._kept is not None and self._kept.words is not None and isinstance(self.encoder, MappedEncoder)

    def estimated(self, texts: Sequence[str]) -> Opinions:
        """About what `with_texts` would say of its own text with words left out, without reading those texts.

        Raises:
            ValueError: The encoder cannot tell; see `estimates`.
        """
        if self._kept is None or not isinstance(self.encoder, MappedEncoder):
            raise ValueError(f"the encoder {self.encoder.name!r} kept nothing of the post to estimate from")
        left = np.array([bool(reword(text)) for text in texts], dtype=bool)
        rows, features = self._rows(len(texts)), self.encoder.without_words(self._kept, texts)
        return self._judge(replace(rows, text_features=features, has_text=left, has_target=rows.has_target & left))

    def with_pictures(self, pictures: Sequence[Image]) -> Opinions:
        """The post with other pictures in place of its own."""
        return self.with_image_features(self.encoder.encode([Sample(image=p) for p in pictures]).image_features)

    def with_image_features(self, image_features: FloatArray) -> Opinions:
        """The post with other picture features `[n, d_image]` in place of its own: no encoding."""
        return self._judge(replace(self._rows(len(image_features)), image_features=image_features))

    @property
    def seen(self) -> Image | None:
        """The picture as small as the encoder read it, where it kept that: with the features of the whole post."""
        kept = None if self._kept is None or self.image is None else self._kept.pixels
        return None if kept is None else fromarray(kept)

    def image_map(self) -> FloatArray | None:
        """The picture's last feature map `[rows, columns, d_image]`; `None` if the encoder has no such thing."""
        if self._kept is not None and self._kept.picture is not None:
            return self._kept.picture
        return self.encoder.image_maps([self.sample])[0] if isinstance(self.encoder, MapEncoder) else None

    def _rows(self, n: int) -> Features:
        return self.features.take([0] * n)

    def _judge(self, features: Features) -> Opinions:
        probabilities = self.judge(features)
        # Without words a post says nothing of a target.
        answerable = features.has_target if self._about_target else features.has_text | features.has_image
        sentiment = np.where(answerable[:, None], probabilities["sentiment"], self.prior)
        return Opinions(sentiment.astype(np.float32), np.nan_to_num(probabilities["sarcasm"][:, 1]))
