"""A read picture → a small JPEG as a `data:` URI. Knows nothing of pages.

The JPEG is drawn anew from pixels, so that no metadata (place, device, owner) goes along.
"""

from __future__ import annotations

import base64
import io

from PIL import Image

__all__ = ["MOST_BYTES", "SIDE", "thumbnail"]

SIDE = 256
"""The longer side in pixels."""
MOST_BYTES = 16_000
"""Size of a JPEG at most: 1,000 pictures stay under 22 MB in base64."""

_TRIES = ((1.0, 80), (1.0, 65), (1.0, 50), (0.75, 50), (0.5, 50), (0.375, 40), (0.25, 30))
"""Shares of the side, and qualities, that are tried one after the other."""


def thumbnail(picture: Image.Image, side: int = SIDE, most: int = MOST_BYTES) -> str:
    """A `data:image/jpeg` URI of a picture in mode RGB.

    A picture that is noisier than this allows is compressed harder, then drawn smaller. Small ones are not enlarged.

    Args:
        picture: The picture.
        side: Its longer side in pixels, at most.
        most: Bytes of the JPEG, at most.
    """
    encoded = b""
    for share, quality in _TRIES:
        encoded = _jpeg(picture, round(share * side), quality)
        if len(encoded) <= most:
            break
    return "data:image/jpeg;base64," + base64.b64encode(encoded).decode("ascii")


def _jpeg(picture: Image.Image, side: int, quality: int) -> bytes:
    scale = min(1.0, side / max(picture.size))
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    small = picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    small.info = {}
    out = io.BytesIO()
    small.save(out, "JPEG", quality=quality, optimize=True)
    return out.getvalue()
