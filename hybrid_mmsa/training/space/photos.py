"""Captioned photos in two parts that share no picture and no sentence: to learn from, and to judge by.

Knows photos and their words; knows no models. Which photos are held out follows from their ids alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ...data import Photo
from ...data.duplicates import groups, picture_hash, picture_pairs, text_pairs
from ...errors import InputError
from ...inputs import DRAFT_PIXELS, read_image

__all__ = ["Twins", "apart", "find_twins", "held_out", "ids_hash"]


@dataclass(frozen=True, slots=True)
class Twins:
    """What looks or reads alike: a number per photo's id and per caption, shared by twins."""

    pictures: Mapping[str, int]
    captions: Mapping[str, int]


def held_out(photos: Sequence[Photo], n: int) -> list[Photo]:
    """`n` photos with written captions, chosen by a hash of their ids.

    Raises:
        InputError: There are fewer than half as many besides: too few would be left to learn from.
    """
    written = sorted((p for p in photos if not p.named), key=lambda p: _hash(f"align/{p.id}"))
    if len(written) < (least := n + n // 2):
        raise InputError(
            f"found {len(written)} captioned photos; wanted {least}, of which {n} are held out", field="--data"
        )
    return written[:n]


def find_twins(photos: Sequence[Photo]) -> Twins:
    """Near-duplicates among all photos by their pictures, and among all captions by their words; see `duplicates`.

    Raises:
        InputError: A picture cannot be read.
    """
    hashes = {p.id: picture_hash(read_image(p.image, draft=DRAFT_PIXELS)) for p in photos}
    captions = {caption: caption for p in photos for caption in p.captions}
    return Twins(_numbered(list(hashes), picture_pairs(hashes)), _numbered(list(captions), text_pairs(captions)))


def apart(photos: Sequence[Photo], judged: Sequence[Photo], twins: Twins) -> list[Photo]:
    """The photos that are none of the judged ones and no twin of one, without captions that read like one of theirs."""
    pictures = {twins.pictures[p.id] for p in judged}
    spoken = {twins.captions[caption] for p in judged for caption in p.captions}
    kept = []
    for photo in photos:
        captions = tuple(caption for caption in photo.captions if twins.captions[caption] not in spoken)
        if captions and twins.pictures[photo.id] not in pictures:
            kept.append(replace(photo, captions=captions))
    return kept


def ids_hash(photos: Sequence[Photo]) -> str:
    """SHA-256 (hex) over the ids, to see whether two runs judged by the same photos."""
    return _hash("\n".join(sorted(p.id for p in photos)))


def _numbered(ids: Sequence[str], pairs: Iterable[tuple[str, str]]) -> dict[str, int]:
    return {id_: number for number, members in enumerate(groups(ids, pairs)) for id_ in members}


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
