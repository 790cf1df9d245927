"""What every encoder offers: posts in, `Features` out. Knows nothing of labels or heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..types import Features, FloatArray, Sample

__all__ = ["Encoder", "MapEncoder", "MappedEncoder", "PostMap"]


class Encoder(Protocol):
    """Turns posts into features.

    Attributes:
        name: How an adapter names it, such as `"compact"`.
        hash: SHA-256 (hex) over every file that decides the features; heads are fitted to one hash.
    """

    name: str
    hash: str

    def encode(self, samples: Sequence[Sample]) -> Features:
        """Features of posts that `inputs.read_sample` has read, in their order.

        A post's features never depend on its neighbours in the batch.
        """
        ...


@runtime_checkable
class MapEncoder(Encoder, Protocol):
    """An encoder whose picture features are the mean of a map, so that evidence has a place in the picture."""

    def image_maps(self, samples: Sequence[Sample]) -> FloatArray:
        """The last feature map of each picture, float32 `[n, rows, columns, d_image]`.

        Its mean over all cells is the picture's features, up to rounding. Cell `[0, 0]` is the upper left of the
        picture, however wide or high that is.

        Raises:
            InputError: A post has no picture, or one that `inputs.read_sample` has not read.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class PostMap:
    """What an encoder keeps of the reading of one post, so that evidence needs no second one.

    Attributes:
        picture: The last feature map, float32 `[rows, columns, d_image]`, as `MapEncoder.image_maps` gives it; `None`
            without a picture.
        pixels: The picture as small as it was read, uint8 `[height, width, 3]`: encoded again, it gives the same
            features. `None` without a picture, or where the encoder reads no one size.
        words: Of a kind that the encoder alone knows; `None` without words, or where it can estimate nothing.
    """

    picture: FloatArray | None = None
    words: Any = None
    pixels: NDArray[np.uint8] | None = None


@runtime_checkable
class MappedEncoder(MapEncoder, Protocol):
    """An encoder that can tell from one reading of a post what its parts do."""

    def encode_mapped(self, samples: Sequence[Sample]) -> tuple[Features, list[PostMap]]:
        """Features of read posts as `encode` gives them, and what is kept of the reading of each."""
        ...

    def without_words(self, post: PostMap, texts: Sequence[str]) -> FloatArray:
        """About what `encode` would make of a post's text with something left out, float32 `[n, d_text]`.

        Args:
            post: What was kept of it; its `words` are not `None`.
            texts: Its text with something left out, in each.
        """
        ...
