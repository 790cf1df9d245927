"""Near-duplicates in a corpus, by words and by picture, so that twins never stand on both sides of a split.

Knows texts and pictures; knows no corpus and no model. Words: the same text once links, handles, case and marks are
gone, or a Jaccard similarity of its three-word shingles of at least 0.8. Pictures: difference hashes (Krawetz 2013) of
16 x 16 comparisons that differ in at most 28 of their 256 bits.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image, Resampling

__all__ = ["groups", "picture_hash", "picture_pairs", "text_key", "text_pairs"]

JACCARD = 0.8
HASH_SIDE = 16
HASH_DISTANCE = 28
FLAT_BITS = 24
"""A hash with fewer bits of either kind is of a nearly flat picture, which resembles every other flat one."""
COMMON_SHINGLE = 200
"""A shingle in more texts than this is a phrase of the corpus (a slogan, a chart notice), no sign of a twin."""

_NOISE = re.compile(r"(?:https?://|www\.)\S+|pic\.twitter\.com/\S+|@\s?\w+|\brt\b", re.IGNORECASE)
_MARKS = re.compile(r"[\W_]+")


def text_key(text: str) -> str:
    """The words of a text alone: lower case, without links, handles, retweet signs and marks. May be empty."""
    return _MARKS.sub(" ", _NOISE.sub(" ", text).lower()).strip()


def text_pairs(texts: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Pairs of ids whose texts are near-duplicates. Texts without words have no twins."""
    ids_of: dict[str, list[str]] = defaultdict(list)
    for id_, text in texts.items():
        if key := text_key(text):
            ids_of[key].append(id_)
    for ids in ids_of.values():
        yield from ((ids[0], other) for other in ids[1:])
    keys = list(ids_of)
    for a, b in _similar([_shingles(key) for key in keys]):
        yield ids_of[keys[a]][0], ids_of[keys[b]][0]


def _shingles(key: str) -> frozenset[tuple[str, ...]]:
    words = key.split()
    return frozenset(zip(words, words[1:], words[2:], strict=False))


def _similar(sets: Sequence[frozenset[tuple[str, ...]]]) -> Iterator[tuple[int, int]]:
    holders: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for index, shingles in enumerate(sets):
        shared: Counter[int] = Counter()
        for shingle in shingles:
            if len(holders[shingle]) < COMMON_SHINGLE:
                shared.update(holders[shingle])
                holders[shingle].append(index)
        for other, n in shared.items():
            if n >= JACCARD * (len(shingles) + len(sets[other]) - n):
                yield other, index


def picture_hash(image: Image) -> NDArray[np.uint8]:
    """Difference hash of a picture, uint8 `[32]`: whether each of 16 x 16 grey cells is darker than its right one."""
    small = image.convert("L").resize((HASH_SIDE + 1, HASH_SIDE), Resampling.BOX)
    grey = np.asarray(small, dtype=np.int16)
    return np.packbits(grey[:, 1:] > grey[:, :-1])


def picture_pairs(hashes: Mapping[str, NDArray[np.uint8]]) -> Iterator[tuple[str, str]]:
    """Pairs of ids whose picture hashes lie close. Nearly flat pictures have no twins."""
    bits = HASH_SIDE**2
    textured = {i: h for i, h in hashes.items() if FLAT_BITS <= int(np.bitwise_count(h).sum()) <= bits - FLAT_BITS}
    ids = list(textured)
    if not ids:
        return
    rows = np.stack(list(textured.values())).view(np.uint64)
    for a, row in enumerate(rows):
        distance = np.bitwise_count(rows[a + 1 :] ^ row).sum(1)
        yield from ((ids[a], ids[a + 1 + int(b)]) for b in np.flatnonzero(distance <= HASH_DISTANCE))


def groups(ids: Iterable[str], pairs: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Ids joined by any chain of pairs, each group in the order of `ids`, groups by their first id."""
    parent = {id_: id_ for id_ in ids}

    def root(id_: str) -> str:
        while parent[id_] != id_:
            parent[id_] = id_ = parent[parent[id_]]
        return id_

    for a, b in pairs:
        parent[root(b)] = root(a)
    members: dict[str, list[str]] = defaultdict(list)
    for id_ in parent:
        members[root(id_)].append(id_)
    return list(members.values())
