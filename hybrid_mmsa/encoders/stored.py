"""Features of a corpus kept on disk, so that a killed run goes on where it stopped. Knows nothing of labels.

A folder per encoder holds shards of safetensors; each row stands under the hash of its post. A post that changed, or
another encoder, is met with a new hash and encoded anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields
from itertools import islice
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from ..errors import ArtefactError, InputError
from ..inputs import read_sample
from ..types import Features, Sample
from .base import Encoder
from .cached import post_key

__all__ = ["extract_features"]

SHARD = 64
"""Posts encoded between two writes: what a killed run loses, and how many pictures are in memory at once."""
KEYS = "keys"


def extract_features(
    encoder: Encoder,
    samples: Iterable[Sample],
    folder: Path | None = None,
    *,
    advance: Callable[[], None] = lambda: None,
) -> Features:
    """Features of posts, in their order.

    Args:
        encoder: Encodes the posts that are not stored.
        samples: Raw or read posts; pictures are decoded a few at a time.
        folder: Where features are kept between runs; `None` keeps none.
        advance: Called after every post, to show progress.

    Raises:
        InputError: A post cannot be read; its `index` is its place.
        ArtefactError: A shard cannot be read.
        ValueError: There are no posts.
    """
    place = None if folder is None else folder / encoder.hash[:16]
    known = {} if place is None else _load(place)
    features_by_row: list[Features] = []
    numbered = enumerate(samples)
    while chunk := list(islice(numbered, SHARD)):
        posts = [_read(sample, index) for index, sample in chunk]
        keys = [post_key(post) for post in posts]
        new = {key: post for key, post in zip(keys, posts, strict=True) if key not in known}
        if new:
            features = encoder.encode(list(new.values()))
            known |= {key: features.take([i]) for i, key in enumerate(new)}
            if place is not None:
                _save(place, list(new), features)
        features_by_row += [known[key] for key in keys]
        for _ in posts:
            advance()
    return Features.concatenate(features_by_row)


def _read(sample: Sample, index: int) -> Sample:
    try:
        return read_sample(sample)
    except InputError as error:
        raise error.at(index) from error


def _save(place: Path, keys: list[bytes], features: Features) -> None:
    place.mkdir(parents=True, exist_ok=True)
    arrays = {f.name: np.ascontiguousarray(getattr(features, f.name)) for f in fields(features)}
    arrays[KEYS] = np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), -1)
    whole = place / f"{keys[0].hex()}.safetensors"
    partial = whole.with_suffix(".partial")
    save_file(arrays, partial)
    partial.replace(whole)  # a shard is there whole or not at all


def _load(place: Path) -> dict[bytes, Features]:
    rows: dict[bytes, Features] = {}
    for shard in sorted(place.glob("*.safetensors")):
        try:
            arrays = load_file(shard)
            keys = arrays.pop(KEYS)
            features = Features(**arrays)
        except (SafetensorError, OSError, KeyError, TypeError) as error:
            raise ArtefactError(f"{shard} holds no features: {error}; delete it and run again") from error
        rows |= {bytes(key): features.take([i]) for i, key in enumerate(keys)}
    return rows
