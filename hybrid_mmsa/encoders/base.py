"""What every encoder offers: posts in, `Features` out. Knows nothing of labels or heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from ..types import Features, FloatArray, Sample

__all__ = ["Encoder", "MapEncoder"]


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
