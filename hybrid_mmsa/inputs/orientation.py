"""Which way up a camera was held, from the metadata of a picture. Knows nothing of pixels.

Pillow's own reader of EXIF warns of damaged blocks, and warnings belong to the whole process. Damaged metadata says
nothing against the pixels: it counts as none.
"""

from __future__ import annotations

import re
import struct

__all__ = ["ORIENTATION", "UPRIGHT", "orientation"]

ORIENTATION = 0x0112
UPRIGHT = 1
_SHORT = 3
_XMP = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')


def orientation(exif: bytes | None, xmp: bytes | None = None) -> int:
    """The orientation of EXIF (version 2.32, section 4.6.4), 1 to 8; else that of XMP; 1 where there is none.

    Args:
        exif: A TIFF structure, perhaps after `Exif` and two zero bytes.
        xmp: An XMP packet.
    """
    value = 0 if exif is None else _of_exif(exif.removeprefix(b"Exif\0\0"))
    if not 1 <= value <= 8 and xmp is not None and (match := _XMP.search(xmp)):
        value = int(match[1])
    return value if 1 <= value <= 8 else UPRIGHT


def _of_exif(block: bytes) -> int:
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return 0
    try:
        (start,) = struct.unpack_from(f"{order}I", block, 4)
        (entries,) = struct.unpack_from(f"{order}H", block, start)
        for place in range(start + 2, start + 2 + 12 * entries, 12):
            tag, kind, count, value = struct.unpack_from(f"{order}HHIH", block, place)
            if tag == ORIENTATION:
                return int(value) if (kind, count) == (_SHORT, 1) else 0
    except struct.error:  # the block ends too early
        pass
    return 0
