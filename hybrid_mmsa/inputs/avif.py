"""How large the frames inside of an AVIF file are. Knows nothing of their pixels.

The size that the boxes of a file declare is what its picture is scaled to; how much is decoded, the AV1 data says by
itself, and nothing makes the two agree. So the data of every item is walked here, as far as the sizes of frames (AV1
Bitstream Specification 1.0.0 with errata 1, sections 5.3, 5.5 and 5.9; ISO 14496-12, section 8.11).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import InputError
from .budget import Budget
from .refusal import refusal

__all__ = ["AvifPlan", "plan_avif"]

_SEQUENCE, _FRAME_HEADER, _FRAME = 1, 3, 6
_HEAD = 128
"""Bytes of a header that may be looked at: more than any has before what is wanted of it."""
_SELECT = 2
_KEY, _SWITCH = 0, 3
_LEVEL_WITH_TIER = 7


@dataclass(frozen=True, slots=True)
class AvifPlan:
    """What an AVIF file holds.

    Attributes:
        content: The file, with its still picture as what is read, also where it is a sequence.
        pixels: Those of all frames of all items.
    """

    content: bytes
    pixels: int


def plan_avif(content: bytes, budget: Budget) -> AvifPlan:
    """Walk over the items of an AVIF file, and over the headers of their frames.

    Raises:
        InputError: The file is damaged, has no still picture, or takes too long to walk over.
    """
    try:
        meta = [body for kind, body in _boxes(memoryview(content)) if kind == b"meta"]
        if len(meta) != 1:
            raise _damaged(f"it has {len(meta)} still pictures where one is wanted")
        parts = dict(_boxes(meta[0][4:]))
        coded = {item for item, kind in _kinds(parts[b"iinf"]) if kind == b"av01"}
        pixels = 0
        for item, extents in _located(parts[b"iloc"], memoryview(content), parts.get(b"idat", memoryview(b"")), budget):
            if sum(map(len, extents)) > len(content):
                raise _damaged("an item of it is larger than the file")
            if item in coded:
                pixels += _frame_pixels(b"".join(extents), budget)
    except (struct.error, IndexError, KeyError) as error:
        raise _damaged("it ends too early") from error
    # A sequence begins with the same picture; of tracks, far more would be read than of items.
    return AvifPlan(content[:8] + b"avif" + content[12:], pixels)


def _damaged(cause: str) -> InputError:
    return refusal("image", f"a damaged AVIF picture ({cause})", "a picture that decodes whole")


def _boxes(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """The boxes that stand one after another: their kinds and bodies."""
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            (size,), head = struct.unpack_from(">Q", data, at + 8), 16
        end = len(data) if size == 0 else at + size
        if end < at + head or end > len(data):
            raise _damaged("a box of it has a wrong size")
        yield kind, data[at + head : end]
        at = end


def _kinds(info: memoryview) -> Iterator[tuple[int, bytes]]:
    """The items that `iinf` lists, with their kinds."""
    for kind, body in _boxes(info[6 if info[0] == 0 else 8 :]):
        if kind == b"infe":
            wide = body[0] >= 3
            (item,) = struct.unpack_from(">I" if wide else ">H", body, 4)
            yield item, bytes(body[10 if wide else 8 :][:4])


def _located(
    location: memoryview, file: memoryview, data: memoryview, budget: Budget
) -> Iterator[tuple[int, list[memoryview]]]:
    """The items that `iloc` lists, with the parts of the file that they consist of."""
    fields = _Fields(location)
    version = fields.take(1)
    fields.take(3)
    sizes = fields.take(2)
    offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    wide = version == 2
    for _ in range(fields.take(4 if wide else 2)):
        item = fields.take(4 if wide else 2)
        method = fields.take(2) & 15 if version else 0
        fields.take(2)
        base, extents = fields.take(base_size), list[memoryview]()
        for _ in range(fields.take(2)):
            if len(extents) % 256 == 0:
                budget.check_time()
            fields.take(index_size if version else 0)
            start, length = base + fields.take(offset_size), fields.take(length_size)
            whole = file if method == 0 else data
            extents.append(whole[start : start + length if length else len(whole)])
        budget.check_time()
        yield item, extents


class _Fields:
    """Numbers of so many bytes each, one after another."""

    def __init__(self, data: memoryview) -> None:
        self._data, self._at = data, 0

    def take(self, size: int) -> int:
        part = self._data[self._at : self._at + size]
        if len(part) < size:
            raise IndexError
        self._at += size
        return int.from_bytes(part, "big")


def _frame_pixels(data: bytes, budget: Budget) -> int:
    """The pixels of all frames of AV1 data."""
    sequence: _Sequence | None = None
    pixels = at = count = 0
    while at < len(data):
        kind, sized = data[at] >> 3 & 15, data[at] & 2
        at += 2 if data[at] & 4 else 1
        size = len(data) - at
        if sized:
            size, at = _leb128(data, at)
        bits = _Bits(data[at : at + min(size, _HEAD)])
        if kind == _SEQUENCE:
            sequence = _sequence(bits)
        elif kind in (_FRAME_HEADER, _FRAME) and sequence is not None:
            pixels += sequence.frame_pixels(bits)
        at, count = at + size, count + 1
        if count % 256 == 0:
            budget.check_time()
    return pixels


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    """A number in little-endian base 128, and where it ends."""
    value = 0
    for place in range(8):
        value |= (data[at + place] & 127) << 7 * place
        if not data[at + place] & 128:
            return value, at + place + 1
    raise _damaged("a part of it has a wrong size")


class _Bits:
    """Numbers of so many bits each, one after another; zeros behind the end."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data.ljust(_HEAD, b"\0"), "big")
        self._left = 8 * _HEAD

    def take(self, size: int = 1) -> int:
        self._left -= size
        if self._left < 0:
            raise IndexError
        return self._value >> self._left & (1 << size) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sequence:
    """What a sequence header says of the sizes of frames, and of what stands before them in their headers.

    Attributes:
        width, height: Of a frame that says nothing else.
        most: Pixels of the largest frame that can be written.
        still: Whether frame headers are reduced to what a still picture needs.
        time_bits: Of the time at which a shown frame is presented; 0 where it is not said.
        id_bits: Of a frame's number; 0 where frames have none.
        screen, whole_vectors: Whether tools for drawn content are used, `_SELECT` where each frame says so.
    """

    width: int
    height: int
    most: int
    still: bool
    time_bits: int
    id_bits: int
    screen: int
    whole_vectors: int

    def frame_pixels(self, bits: _Bits) -> int:
        """The pixels of a frame, from its header (section 5.9.2)."""
        if self.still:
            return self.width * self.height
        if bits.take():  # a frame is shown that was decoded before
            return self.width * self.height
        kind, shown = bits.take(2), bits.take()
        bits.take(self.time_bits if shown else 1)
        if not (kind == _SWITCH or (kind == _KEY and shown)):
            bits.take()  # error_resilient_mode
        bits.take()  # disable_cdf_update
        if (bits.take() if self.screen == _SELECT else self.screen) and self.whole_vectors == _SELECT:
            bits.take()
        bits.take(self.id_bits)
        own_size = kind == _SWITCH or bits.take()
        return self.most if own_size else self.width * self.height


def _sequence(bits: _Bits) -> _Sequence:
    """A sequence header (section 5.5.1)."""
    bits.take(4)  # seq_profile, still_picture
    still, time_bits = bool(bits.take()), 0
    if still:
        bits.take(5)
    else:
        time_bits = _operating_points(bits)
    wide, high = bits.take(4) + 1, bits.take(4) + 1
    width, height = bits.take(wide) + 1, bits.take(high) + 1
    id_bits = 0
    if not still and bits.take():
        id_bits = bits.take(4) + 2
        id_bits += bits.take(3) + 1
    bits.take(3)
    screen = whole_vectors = _SELECT
    if not still:
        bits.take(4)
        if bits.take():  # enable_order_hint
            bits.take(2)
        screen = _SELECT if bits.take() else bits.take()
        if screen:
            whole_vectors = _SELECT if bits.take() else bits.take()
    return _Sequence(
        width=width,
        height=height,
        most=1 << wide + high,
        still=still,
        time_bits=time_bits,
        id_bits=id_bits,
        screen=screen,
        whole_vectors=whole_vectors,
    )


def _operating_points(bits: _Bits) -> int:
    """Read over times and operating points; the bits of a frame's presentation time, 0 where frames say none."""
    time_bits = delay_bits = 0
    model = False
    if bits.take():  # timing_info_present_flag
        bits.take(64)
        equal = bits.take()
        if equal:
            _variable(bits)
        model = bool(bits.take())
        if model:
            delay_bits = bits.take(5) + 1
            bits.take(37)
            time_bits = bits.take(5) + 1
            time_bits = 0 if equal else time_bits
    delays = bits.take()
    for _ in range(bits.take(5) + 1):
        bits.take(12)
        if bits.take(5) > _LEVEL_WITH_TIER:
            bits.take()
        if model and bits.take():
            bits.take(2 * delay_bits + 1)
        if delays and bits.take():
            bits.take(4)
    return time_bits


def _variable(bits: _Bits) -> None:
    """Read over a number of variable length (section 4.10.3)."""
    zeros = 0
    while zeros < 32 and not bits.take():
        zeros += 1
    bits.take(zeros if zeros < 32 else 0)
