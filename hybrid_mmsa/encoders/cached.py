"""An encoder that remembers features: equal posts are encoded once. Knows nothing of labels.

A hit costs a hash of the post instead of two towers: worth it where posts repeat (shares, re-runs, several adapters
over the same posts).
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

from PIL.Image import Image

from ..errors import EncoderError, InputError
from ..forks import OpenLock
from ..types import Features, Sample
from .base import Encoder

__all__ = ["CachedEncoder", "post_key"]


class CachedEncoder:
    """Wraps an encoder; the features of the posts used last are kept in memory. Safe to share between threads.

    Args:
        encoder: Encodes the posts that are not remembered.
        size: How many posts to remember (about 7 kB each for the compact encoder).

    Raises:
        InputError: `size` is below 1 or is no whole number.
    """

    def __init__(self, encoder: Encoder, size: int = 10_000) -> None:
        if type(size) is not int or size < 1:
            value = size if type(size) is int else f"a {type(size).__name__}"
            raise InputError(f"a cache remembers a whole number of posts, one or more, not {value}", field="cache")
        self.name, self.hash = encoder.name, encoder.hash
        self.encoder, self.size = encoder, size
        self.hits = self.misses = 0
        self._rows: OrderedDict[bytes, Features] = OrderedDict()
        self._lock = OpenLock()

    def __reduce__(self) -> tuple[type[CachedEncoder], tuple[Encoder, int]]:
        return type(self), (self.encoder, self.size)  # the other process remembers posts of its own

    def encode(self, samples: Sequence[Sample]) -> Features:
        """Features of read posts, in their order; see `Encoder.encode`."""
        if not samples:
            return self.encoder.encode(samples)
        keys = [post_key(sample) for sample in samples]
        with self._lock:
            rows = {key: self._rows[key] for key in keys if key in self._rows}
            for key in rows:
                self._rows.move_to_end(key)
        new = {key: sample for key, sample in zip(keys, samples, strict=True) if key not in rows}
        if new:
            features = self.encoder.encode(list(new.values()))
            if len(features) != len(new):
                raise EncoderError(f"the encoder {self.name!r} returned {len(features)} rows for {len(new)} posts")
            encoded = {key: features.take([i]) for i, key in enumerate(new)}
            self._remember(encoded)
            rows |= encoded
        with self._lock:
            self.hits, self.misses = self.hits + len(keys) - len(new), self.misses + len(new)
        return Features.concatenate([rows[key] for key in keys])

    def _remember(self, rows: dict[bytes, Features]) -> None:
        with self._lock:
            self._rows |= rows
            while len(self._rows) > self.size:
                self._rows.popitem(last=False)


def post_key(sample: Sample) -> bytes:
    """SHA-256 of all an encoder reads of a read post: words, target, pixels."""
    digest = hashlib.sha256()
    for part in (sample.text, sample.target):
        written = b"\x00" if part is None else b"\x01" + part.encode("utf-8", "surrogatepass")
        digest.update(len(written).to_bytes(8, "big") + written)
    if isinstance(sample.image, Image):
        digest.update(repr((sample.image.mode, sample.image.size)).encode() + sample.image.tobytes())
    return digest.digest()
