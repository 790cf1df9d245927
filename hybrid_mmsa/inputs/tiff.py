"""A TIFF file → the same with the tags alone that decide the pixels, and what it will cost. Decodes nothing.

Pillow warns of whatever else is odd in the tags of a TIFF file, and warnings belong to the whole process.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import InputError
from .budget import Budget
from .orientation import ORIENTATION, UPRIGHT
from .refusal import refusal

__all__ = ["TiffPlan", "plan_tiff"]

COMPRESSIONS = {1: "none", 2: "CCITT", 3: "G3", 4: "G4", 5: "LZW", 7: "JPEG", 8: "deflate", 32773: "PackBits"} | {
    32946: "deflate"
}
"""The compressions that are decoded, by their numbers."""
MOST_VALUES = 1 << 17
"""Values of one tag: strips or tiles."""
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _SAMPLES, _STRIP_ROWS = 256, 257, 258, 259, 277, 278
_STRIPS, _TILE_WIDTH, _TILE_HEIGHT, _TILES, _JPEG_TABLES = 273, 322, 323, 324, 347
_SINGLE = frozenset({256, 257, 259, 262, 266, 277, 278, 284, 292, 293, 317, 322, 323, 531})
_SEVERAL = frozenset({258, 273, 279, 320, 324, 325, 338, 339, 347, 530, 532})
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 16: 8}
_BYTE, _SHORT, _LONG, _LONG8 = 1, 3, 4, 16
_FORMATS = {_BYTE: "B", _SHORT: "H", _LONG: "I", _LONG8: "Q"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TiffPlan:
    """What a TIFF file holds.

    Attributes:
        content: The file with the tags alone that decide the pixels of its first picture.
        width, height: Its size in pixels.
        memory: Bytes that decoding takes.
        orientation: As EXIF numbers it.
    """

    content: bytes
    width: int
    height: int
    memory: int
    orientation: int


@dataclass(frozen=True, slots=True)
class _Tag:
    kind: int
    count: int
    value: bytes

    def numbers(self, order: str) -> tuple[int, ...]:
        """Its values, where they are whole numbers."""
        letter = _FORMATS.get(self.kind)
        return () if letter is None else struct.unpack(f"{order}{self.count}{letter}", self.value)


def plan_tiff(content: bytes, budget: Budget) -> TiffPlan:
    """Read the tags of the first picture of a TIFF or BigTIFF file.

    Raises:
        InputError: The file is damaged, or compressed in a way that is not decoded.
    """
    order = "<" if content[:2] == b"II" else ">"
    try:
        tags = _tags(content, order)
    except struct.error as error:
        raise _damaged("its tags lie outside of it") from error

    def number(tag: int, default: int) -> int:
        return next(iter(tags[tag].numbers(order)), default) if tag in tags else default

    width, height = number(_WIDTH, 0), number(_HEIGHT, 0)
    budget.check_size(width, height)
    compression = number(_COMPRESSION, 1)
    if compression not in COMPRESSIONS:
        known = ", ".join(dict.fromkeys(COMPRESSIONS.values()))
        raise refusal("image", f"a TIFF picture of compression {compression}", f"one of {known}")
    if COMPRESSIONS[compression] == "JPEG":
        pieces = tags.get(_TILES, tags.get(_STRIPS))
        _check_jpeg(content, 1 if pieces is None else pieces.count)
    samples = number(_SAMPLES, 1)
    bits = max(tags[_BITS].numbers(order), default=1) if _BITS in tags else 1
    piece = width * min(number(_STRIP_ROWS, height), height)
    if _TILE_WIDTH in tags:
        piece = number(_TILE_WIDTH, 0) * number(_TILE_HEIGHT, 0)
    memory = 4 * width * height + piece * samples * bits // 4
    turned = number(ORIENTATION, UPRIGHT)
    tags.pop(ORIENTATION, None)
    return TiffPlan(
        content=_written(content, tags, order),
        width=width,
        height=height,
        memory=memory,
        orientation=turned if 1 <= turned <= 8 else UPRIGHT,
    )


def _tags(content: bytes, order: str) -> dict[int, _Tag]:
    """The tags of the first picture that decide its pixels, and its orientation."""
    (version,) = struct.unpack_from(f"{order}H", content, 2)
    big = version == 43
    if big:
        (start,) = struct.unpack_from(f"{order}Q", content, 8)
        (count,) = struct.unpack_from(f"{order}Q", content, start)
        first, step, entry, inside = start + 8, 20, f"{order}HHQ", 8
    else:
        (start,) = struct.unpack_from(f"{order}I", content, 4)
        (count,) = struct.unpack_from(f"{order}H", content, start)
        first, step, entry, inside = start + 2, 12, f"{order}HHI", 4
    tags: dict[int, _Tag] = {}
    for place in range(first, min(first + step * count, len(content)), step):
        tag, kind, values = struct.unpack_from(entry, content, place)
        single = tag in _SINGLE or tag == ORIENTATION
        if kind not in _SIZES or not values or not (single or tag in _SEVERAL):
            continue
        at = place + struct.calcsize(entry)
        if _SIZES[kind] * values > inside:
            (at,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", content, at)
        values = 1 if single else values
        if values > MOST_VALUES and tag != _JPEG_TABLES:
            raise _damaged(f"a tag has {values:,} values")
        size = _SIZES[kind] * values
        if at + size > len(content):
            raise _damaged("its tags lie outside of it")
        tags[tag] = _short(_Tag(kind, values, content[at : at + size]), order)
    return tags


def _short(tag: _Tag, order: str) -> _Tag:
    """A tag of 64-bit numbers with 32-bit ones, which every TIFF may hold: the file is far smaller than they reach."""
    if tag.kind != _LONG8:
        return tag
    return _Tag(_LONG, tag.count, struct.pack(f"{order}{tag.count}I", *tag.numbers(order)))


def _written(content: bytes, tags: Mapping[int, _Tag], order: str) -> bytes:
    """The file with a new list of tags behind its end."""
    start = len(content) + len(content) % 2
    beyond = start + 2 + 12 * len(tags) + 4
    entries, values = [struct.pack(f"{order}H", len(tags))], []
    for tag, content_of in sorted(tags.items()):
        value = content_of.value
        if len(value) > 4:
            place = struct.pack(f"{order}I", beyond)
            values.append(value + b"\0" * (len(value) % 2))
            beyond += len(values[-1])
        else:
            place = value.ljust(4, b"\0")
        entries.append(struct.pack(f"{order}HHI", tag, content_of.kind, content_of.count) + place)
    head = content[:2] + struct.pack(f"{order}HI", 42, start)
    return b"".join([head, memoryview(content)[8:], b"\0" * (start - len(content)), *entries, b"\0" * 4, *values])


def _check_jpeg(content: bytes, pieces: int) -> None:
    """Refuse strips whose decoder could run for hours: progressive ones, and those of repeated scans."""
    if b"\xff\xc2" in content or content.count(b"\xff\xda") > 4 * max(pieces, 1):
        raise refusal("image", "a TIFF picture of progressive JPEG strips", "one of baseline strips")


def _damaged(cause: str) -> InputError:
    return refusal("image", f"a damaged TIFF picture ({cause})", "a picture that decodes whole")
