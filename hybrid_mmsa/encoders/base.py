"""What every encoder offers: posts in, `Features` out. Knows nothing of labels or heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..types import Features, Sample

__all__ = ["Encoder"]


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
