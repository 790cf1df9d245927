"""The border to an encoder's own code: whatever it raises or returns instead of features is an `EncoderError`.

Knows nothing of labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from ..bounds.deadline import ENDLESS, NO_TIME, Deadline
from ..errors import EncoderError
from ..foreign import translated
from ..types import Features, FloatArray, Sample
from .base import Encoder, MapEncoder, MappedEncoder, PostMap
from .cached import CachedEncoder

__all__ = ["CheckedEncoder", "Encoded", "checked_encoder"]


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """The posts of a batch that could be encoded.

    Attributes:
        rows: Their places in the batch, in order.
        features: Theirs, row by row; `None` where there are none.
        failures: What went wrong with each of the others.
        maps: What was kept of the reading of each of `rows`, where that was asked for and the encoder can tell.
    """

    rows: Sequence[int]
    features: Features | None
    failures: Mapping[int, EncoderError] = field(default_factory=dict)
    maps: Sequence[PostMap | None] = ()


class CheckedEncoder:
    """An encoder that raises `EncoderError` and nothing else, and whose features fit the heads.

    Args:
        encoder: Encodes the posts.
        text_width, image_width: Numbers of features the heads read.
    """

    def __init__(self, encoder: Encoder, text_width: int, image_width: int) -> None:
        self.encoder = encoder
        self.name, self.hash = encoder.name, encoder.hash
        self._widths = {"text_features": text_width, "image_features": image_width}

    def encode(self, samples: Sequence[Sample]) -> Features:
        """Features of read posts, in their order; see `Encoder.encode`.

        Raises:
            EncoderError: The encoder failed, or returned features of another number of posts, of another width, or
                that are not finite numbers.
        """
        with translated(lambda cause: EncoderError(f"the encoder {self.name!r} failed ({cause})")):
            features = self.encoder.encode(samples)
            self._check(features, len(samples))
            return features

    def encode_kept(self, samples: Sequence[Sample]) -> tuple[Features, Sequence[PostMap | None]]:
        """Features, and what is kept of the reading of each post; `None` for encoders that keep nothing."""
        return self.encode(samples), [None] * len(samples)

    @property
    def uncached(self) -> CheckedEncoder:
        """The same without a memory for posts: for changed versions of a post, which do not come up again."""
        encoder = self.encoder.encoder if isinstance(self.encoder, CachedEncoder) else self.encoder
        return checked_encoder(encoder, *self._widths.values())

    def encode_each(self, samples: Sequence[Sample], deadline: Deadline = ENDLESS, *, keep: bool = False) -> Encoded:
        """Features of the posts that can be encoded in time: together, or one by one where some fail.

        Args:
            samples: The posts, read.
            deadline: When no more is encoded.
            keep: Whether evidence will be looked for, which needs what the encoder can keep of its reading.
        """
        rows: list[int] = []
        parts: list[Features] = []
        maps: list[PostMap | None] = []
        failures: dict[int, EncoderError] = {}

        def encode(group: Sequence[int]) -> None:
            posts = [samples[row] for row in group]
            try:
                features, kept = self.encode_kept(posts) if keep else (self.encode(posts), [None] * len(posts))
                parts.append(features)
                maps.extend(kept)
                rows.extend(group)
            except EncoderError as error:
                if len(group) == 1:
                    failures[group[0]] = error
                    return
                for row in group:
                    if not deadline.passed:
                        encode([row])

        for group in deadline.groups(range(len(samples))):
            encode(group)
        for row in range(len(samples)) if len(rows) + len(failures) < len(samples) else ():
            if row not in rows:
                failures.setdefault(row, EncoderError(f"the post was not read: {NO_TIME}"))
        return Encoded(rows, Features.concatenate(parts) if parts else None, failures, maps)

    def _check(self, features: Any, n: int) -> None:
        if not isinstance(features, Features):
            raise EncoderError(f"the encoder {self.name!r} returned a {type(features).__name__}, not Features")
        for part in fields(Features):
            array, width = getattr(features, part.name), self._widths.get(part.name)
            shape = (n,) if width is None else (n, width)
            if not isinstance(array, np.ndarray) or array.shape != shape:
                actual = list(getattr(array, "shape", ())) or type(array).__name__
                raise EncoderError(f"the encoder {self.name!r} returned {part.name} {actual}, expected {list(shape)}")
            if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
                raise EncoderError(f"the encoder {self.name!r} returned {part.name} that are not finite numbers")


class _CheckedMapEncoder(CheckedEncoder):
    """The same, for an encoder whose picture features are the mean of a map."""

    encoder: MapEncoder

    def image_maps(self, samples: Sequence[Sample]) -> FloatArray:
        """The last feature map of each picture; see `MapEncoder.image_maps`."""
        with translated(lambda cause: EncoderError(f"the encoder {self.name!r} failed ({cause})")):
            maps = self.encoder.image_maps(samples)
            width = self._widths["image_features"]
            if (
                not isinstance(maps, np.ndarray)
                or maps.ndim != 4
                or (len(maps), maps.shape[3]) != (len(samples), width)
            ):
                raise EncoderError(
                    f"the encoder {self.name!r} returned no map [{len(samples)}, rows, columns, {width}]"
                )
            return maps


class _CheckedMappedEncoder(_CheckedMapEncoder):
    """The same, for an encoder that can tell from one reading what a post's parts do."""

    encoder: MappedEncoder

    def encode_mapped(self, samples: Sequence[Sample]) -> tuple[Features, list[PostMap]]:
        """Features, and what is kept of the reading of each post; see `MappedEncoder.encode_mapped`."""
        with translated(lambda cause: EncoderError(f"the encoder {self.name!r} failed ({cause})")):
            features, maps = self.encoder.encode_mapped(samples)
            self._check(features, len(samples))
            if len(maps) != len(samples):
                raise EncoderError(f"the encoder {self.name!r} kept {len(maps)} readings of {len(samples)} posts")
            return features, maps

    def encode_kept(self, samples: Sequence[Sample]) -> tuple[Features, Sequence[PostMap | None]]:
        """See `CheckedEncoder.encode_kept`."""
        return self.encode_mapped(samples)

    def without_words(self, post: PostMap, texts: Sequence[str]) -> FloatArray:
        """About the features of shortened texts; see `MappedEncoder.without_words`."""
        with translated(lambda cause: EncoderError(f"the encoder {self.name!r} failed ({cause})")):
            found = self.encoder.without_words(post, texts)
            wanted = (len(texts), self._widths["text_features"])
            if not isinstance(found, np.ndarray) or found.shape != wanted or not np.isfinite(found).all():
                raise EncoderError(f"the encoder {self.name!r} estimated no features {list(wanted)}")
            return found


def checked_encoder(encoder: Encoder, text_width: int, image_width: int) -> CheckedEncoder:
    """The encoder behind the border; it offers feature maps where the encoder does. See `CheckedEncoder`."""
    for offers, kind in ((MappedEncoder, _CheckedMappedEncoder), (MapEncoder, _CheckedMapEncoder)):
        if isinstance(encoder, offers):
            return kind(encoder, text_width, image_width)
    return CheckedEncoder(encoder, text_width, image_width)
