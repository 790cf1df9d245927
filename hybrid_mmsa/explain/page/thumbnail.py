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

_TRIES = ((SIDE, 80), (SIDE, 65), (SIDE, 50), (192, 50), (128, 50), (96, 40), (64, 30))


def thumbnail(picture: Image.Image) -> str:
    """A `data:image/jpeg` URI of a picture in mode RGB, at most `SIDE` pixels a side and `MOST_BYTES` large.

    A picture that is noisier than this allows is compressed harder, then drawn smaller. Small ones are not enlarged.
    """
    encoded = b""
    for side, quality in _TRIES:
        encoded = _jpeg(picture, side, quality)
        if len(encoded) <= MOST_BYTES:
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
