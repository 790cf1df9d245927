"""A JPEG file → what of it decides the pixels, and what it will cost. Decodes nothing.

Files from elsewhere carry what their decoders should not be bothered with: thousands of comments, thumbnails, further
pictures, scans that are repeated until the decoder runs for hours.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from ..errors import InputError
from .budget import Budget
from .orientation import orientation
from .refusal import refusal

__all__ = ["JpegPlan", "plan_jpeg"]

MOST_SCANS = 100
"""Usual progressive files have about ten."""
MOST_SEGMENTS = 4_000
"""The metadata of a 20 MiB file fills 320."""
COEFFICIENT = 2  # bytes
_MARKER = re.compile(rb"\xff+([^\x00\xff])")
_AFTER_SCAN = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")  # restarts and escaped bytes are part of a scan
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_END, _SCAN = 0xD9, 0xDA
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_APP0, _APP1, _APP14, _COMMENT = 0xE0, 0xE1, 0xEE, 0xFE
_METADATA = frozenset({*range(0xE0, 0xF0), _COMMENT}) - {_APP0, _APP14}
_EXIF, _XMP = b"Exif", b"http://ns.adobe.com/xap/1.0/"


@dataclass(frozen=True, slots=True, kw_only=True)
class JpegPlan:
    """What a JPEG file holds.

    Attributes:
        content: The file without metadata and whatever follows the first picture.
        width, height: Its size in pixels.
        many_scans: Whether the decoder keeps all coefficients before it computes pixels.
        coefficients: Bytes of these; 0 where it keeps none.
        orientation: As EXIF numbers it.
    """

    content: bytes
    width: int
    height: int
    many_scans: bool
    coefficients: int
    orientation: int


def plan_jpeg(content: bytes, budget: Budget) -> JpegPlan:
    """Walk over the segments of a JPEG file.

    Raises:
        InputError: The file is damaged, or has more scans or segments than pictures have.
    """
    kept: list[bytes | memoryview] = [b"\xff\xd8"]
    view = memoryview(content)
    frame: bytes | None = None
    frame_kind = segments = 0
    notes: dict[bytes, bytes] = {}
    place = 2
    while True:
        kind, start, end = _segment(content, place, _MARKER)
        segments += 1
        if kind == _SCAN:
            break
        if kind == _END or segments > MOST_SEGMENTS:
            raise _overlong() if segments > MOST_SEGMENTS else _damaged("it ends before its pixels begin")
        if kind in _FRAMES:
            frame, frame_kind = content[start + 4 : end], kind
        if kind == _APP1:
            note = content[start + 4 : end]
            notes.setdefault(note.partition(b"\0")[0], note)
        if kind not in _METADATA:
            kept.append(view[start:end])
        place = end
    if frame is None:
        raise _damaged("its pixels begin before their size is told")
    height, width, sampling = _frame(frame)
    budget.check_size(width, height)
    several = frame_kind in _PROGRESSIVE or content[start + 4] < len(sampling)
    kept.append(view[start : _last_scan(content, start, budget)])
    coefficients = 0
    if several:
        widest = max(across for across, _ in sampling) * max(down for _, down in sampling)
        shares = sum(across * down for across, down in sampling) / widest
        coefficients = int(COEFFICIENT * shares * (width + 63) * (height + 63))
    return JpegPlan(
        content=b"".join(kept),
        width=width,
        height=height,
        many_scans=several,
        coefficients=coefficients,
        orientation=orientation(notes.get(_EXIF), notes.get(_XMP)),
    )


def _segment(content: bytes, place: int, marker: re.Pattern[bytes]) -> tuple[int, int, int]:
    """The next segment: its kind, where it starts and where it ends."""
    while True:
        match = marker.search(content, place)
        if match is None:
            raise _damaged("it ends too early")
        kind, place = match[1][0], match.end()
        if kind == _END:
            return kind, place - 2, place
        if kind not in _ALONE:
            break
    if place + 2 > len(content):
        raise _damaged("it ends too early")
    (length,) = struct.unpack_from(">H", content, place)
    if length < 2 or place + length > len(content):
        raise _damaged("it ends too early")
    return kind, place - 2, place + length


def _frame(body: bytes) -> tuple[int, int, list[tuple[int, int]]]:
    """Height, width, and how often each component is sampled across and down, from a frame's header."""
    if len(body) < 6 or len(body) < 6 + 3 * body[5] or not body[5]:
        raise _damaged("its size cannot be read")
    height, width = struct.unpack_from(">HH", body, 1)
    factors = [body[7 + 3 * component] for component in range(body[5])]
    return height, width, [(max(factor >> 4, 1), max(factor & 15, 1)) for factor in factors]


def _last_scan(content: bytes, place: int, budget: Budget) -> int:
    """Where the picture ends that has its first scan at `place`; a file may lack the mark."""
    scans = 0
    for segments in range(MOST_SEGMENTS):
        kind, _, end = _segment(content, place, _AFTER_SCAN if segments else _MARKER)
        if kind == _END:
            return end
        scans += kind == _SCAN
        if scans > MOST_SCANS:
            raise _overlong()
        if _AFTER_SCAN.search(content, end) is None:
            return len(content)
        place = end
        budget.check_time()
    raise _overlong()


def _damaged(cause: str) -> InputError:
    return refusal("image", f"a damaged JPEG picture ({cause})", "a picture that decodes whole")


def _overlong() -> InputError:
    most = f"at most {MOST_SEGMENTS:,} segments, of which {MOST_SCANS} are scans"
    return refusal("image", "a JPEG picture of more segments or scans than cameras write", most)
