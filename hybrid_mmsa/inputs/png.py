"""A PNG file → its pixels, whole or in bands. Metadata, animation and everything else that a PNG may carry is left out.

A band is decoded as a PNG of its own: its rows as they are filtered in the file, below the last row of the band before,
which the filters refer to. So a picture of any height is read in the memory of a band.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from ..errors import InputError
from .budget import Budget, TimedFile
from .orientation import orientation
from .refusal import refusal

__all__ = ["PngPlan", "plan_png", "png_bands", "whole_png"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
BAND = 2**19
"""Bytes of the rows that are decoded at a time."""
BAND_COPIES = 5
"""How many times a band is in memory: as read, below the row before, packed, decoded and in colour."""
_PIECE = 1 << 16
_XMP = b"XML:com.adobe.xmp\0\0"
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class PngPlan:
    """What a PNG file holds.

    Attributes:
        width, height: Its size in pixels.
        depth: Bits of a sample.
        samples: Samples of a pixel.
        interlaced: Whether its rows are stored in seven passes.
        header: The chunk `IHDR`.
        colours: The chunks `PLTE` and `tRNS`.
        data: The bodies of the chunks `IDAT`.
        orientation: As EXIF numbers it.
    """

    width: int
    height: int
    depth: int
    samples: int
    interlaced: bool
    header: bytes
    colours: bytes
    data: tuple[memoryview, ...]
    orientation: int

    @property
    def in_bands(self) -> bool:
        """Whether its rows can be decoded a few at a time: their bytes are those of the pixels."""
        return self.depth == 8 and not self.interlaced


def plan_png(content: bytes, budget: Budget) -> PngPlan:
    """Walk over the chunks of a PNG file.

    Raises:
        InputError: The file is damaged.
    """
    view = memoryview(content)
    chunks: dict[bytes, bytes] = {}
    data: list[memoryview] = []
    place, count, xmp = len(SIGNATURE), 0, None
    while place + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        end = place + 12 + length
        if kind == b"IEND":
            break
        if end > len(content):
            raise damaged("it ends too early")
        if kind == b"IDAT":
            data.append(view[place + 8 : end - 4])
        elif kind in (b"IHDR", b"PLTE", b"tRNS", b"eXIf"):
            chunks.setdefault(kind, content[place:end])
        elif kind == b"iTXt" and xmp is None and view[place + 8 : place + 8 + len(_XMP)] == _XMP:
            xmp = content[place + 8 : end - 4]
        place, count = end, count + 1
        if count % 256 == 0:
            budget.check_time()
    header = chunks.get(b"IHDR", b"")
    if len(header) != 25 or content[len(SIGNATURE) : len(SIGNATURE) + 25] != header:
        raise damaged("it does not begin with its size")
    width, height, depth, colour, _, _, interlace = struct.unpack_from(">IIBBBBB", header, 8)
    budget.check_size(width, height)
    if colour not in _SAMPLES:
        raise damaged("its colours are of an unknown kind")
    exif = chunks.get(b"eXIf")
    return PngPlan(
        width=width,
        height=height,
        depth=depth,
        samples=_SAMPLES[colour],
        interlaced=bool(interlace),
        header=header,
        colours=chunks.get(b"PLTE", b"") + chunks.get(b"tRNS", b""),
        data=tuple(data),
        orientation=orientation(exif[8:-4] if exif else None, xmp),
    )


def whole_png(plan: PngPlan, budget: Budget) -> Image.Image:
    """The picture in one piece, decoded.

    Raises:
        InputError: It takes too much memory or time.
        Exception: Whatever Pillow raises at a damaged file.
    """
    pixel = 4 if plan.samples > 1 else 2 if plan.depth == 16 else 1
    budget.check_memory("PNG", pixel * plan.width * plan.height)
    packed = [_chunk(b"IDAT", data) for data in plan.data]
    file = b"".join([SIGNATURE, plan.header, plan.colours, *packed, _chunk(b"IEND", b"")])
    picture = PngImageFile(TimedFile(file, budget))
    picture.load()
    return picture


def png_bands(plan: PngPlan, budget: Budget, factor: int) -> Iterator[Image.Image]:
    """The picture from top to bottom in decoded bands, each but the last of a multiple of `factor` rows.

    Raises:
        InputError: It is damaged, or takes too much memory or time.
        Exception: Whatever Pillow raises at a damaged file.
    """
    line = 1 + plan.width * plan.samples
    most = max(1, BAND // (line * factor)) * factor
    budget.check_memory("PNG", BAND_COPIES * most * line)
    rows = _Rows(plan.data)
    above = b""
    for top in range(0, plan.height, most):
        budget.check_time()
        height = min(most, plan.height - top)
        body = above + rows.take(height * line)
        size = struct.pack(">II", plan.width, height + bool(above)) + plan.header[16:21]
        data = zlib.compress(body, 0)
        del body
        file = b"".join([SIGNATURE, _chunk(b"IHDR", size), plan.colours, _chunk(b"IDAT", data), _chunk(b"IEND", b"")])
        del data
        band: Image.Image = PngImageFile(TimedFile(file, budget))
        band.load()
        last = band.crop((0, band.height - 1, band.width, band.height))
        if above:
            band = band.crop((0, 1, band.width, band.height))
        above = b"\0" + last.tobytes()
        yield band


class _Rows:
    """The filtered rows behind the compressed bodies of `IDAT`."""

    def __init__(self, data: tuple[memoryview, ...]) -> None:
        self._pieces = (part[at : at + _PIECE] for part in data for at in range(0, len(part), _PIECE))
        self._inflate = zlib.decompressobj()

    def take(self, size: int) -> bytes:
        """So many bytes from where the last call ended."""
        parts: list[bytes] = []
        missing = size
        while missing:
            packed: bytes | memoryview | None = self._inflate.unconsumed_tail or next(self._pieces, None)
            part = self._inflate.decompress(b"" if packed is None else packed, missing)
            if not part and (packed is None or self._inflate.eof):
                raise damaged("its rows end too early")
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)


def _chunk(kind: bytes, body: bytes | memoryview) -> bytes:
    return b"".join([struct.pack(">I", len(body)), kind, body, struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))])


def damaged(cause: str) -> InputError:
    """The error for a PNG file that does not hold what it should."""
    return refusal("image", f"a damaged PNG picture ({cause})", "a picture that decodes whole")
