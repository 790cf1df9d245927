"""Any picture a caller holds → an upright 8-bit RGB picture. Knows nothing of models.

Pictures are hostile: only common formats are decoded, what one costs is checked before its pixels are, and whatever a
decoder raises becomes an `InputError`. Training and serving read pictures with these two functions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import InputError
from ..types import ImageSource
from .budget import Budget
from .decode import FORMATS, Decoded, decode
from .limits import DEFAULT_LIMITS, Limits
from .orientation import ORIENTATION, orientation
from .refusal import refusal
from .shrink import coloured, eight_bit, on_background, pixel_bytes, shrink_factor, shrunk_picture
from .source import read_bytes

__all__ = ["DRAFT_PIXELS", "FORMATS", "read_image", "to_pixels"]

DRAFT_PIXELS = 448
"""Both sides a picture is read with at least: twice the 224 pixels of common towers, so that shrinking stays clean."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_REDUCING_GAP = 2.0
_CONVERTED = 8
"""Bytes a pixel that a conversion at full size takes beside the picture: the new one, and one on a background."""


def read_image(source: ImageSource, limits: Limits = DEFAULT_LIMITS, *, draft: int | None = None) -> Image.Image:
    """Decode a picture into mode RGB, upright, without metadata, over white where it is transparent.

    A picture that cannot be seen on white, such as a white logo, is put on black. Of an animation the first frame is
    read; of a PIL image, the current one. Integer samples wider than 8 bits are scaled from 16; a damaged EXIF block
    counts as none. An RGB picture without metadata that need not be shrunk is returned as it is.

    Args:
        source: A path, encoded bytes, an open binary file, a PIL image, a `data:` URI, or a numpy array: `[h, w]` or
            `[h, w, 1 to 4]`, uint8, uint16, bool, float in [0, 1], or other integers in [0, 255] or [0, 65535].
        limits: Refuse more than this.
        draft: Shrink it as it is read, with both sides still at least this many pixels, and two million pixels in all
            at most. Large pictures take far less time and memory.

    Raises:
        InputError: Field `"image"`: the source cannot be read, is too large, too costly, damaged, or not a picture.
    """
    budget = Budget(limits)
    if isinstance(source, np.ndarray):
        decoded = Decoded(_from_array(source, budget))
    elif isinstance(source, Image.Image):
        budget.check_size(*source.size)
        factor = shrink_factor(*source.size, draft)
        if type(source) is Image.Image and source.mode == "RGB" and not source.info and factor == 1:
            return source
        decoded = _from_picture(source)
    else:
        decoded = decode(read_bytes(source, budget), budget, draft)
    try:
        picture = decoded.picture
        factor = shrink_factor(*picture.size, draft)
        if factor == 1 and picture.mode != "RGB" and not isinstance(source, Image.Image | np.ndarray):
            size = picture.width * picture.height * (pixel_bytes(picture.mode) + _CONVERTED)
            budget.check_memory(picture.mode, size)
        rgb = on_background(coloured(picture) if factor == 1 else shrunk_picture(picture, factor))
        if rgb is source:
            rgb = rgb.copy()
        rgb.info = {}
        turn = _TURNS.get(decoded.orientation)
        return rgb if turn is None else rgb.transpose(turn)
    except InputError:
        raise
    except Exception as error:  # a caller's own picture may be of any kind
        raise _damaged(decoded.picture, error) from error


def to_pixels(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """Squash an RGB picture to `size` by `size` pixels: the whole of it is always seen.

    Returns:
        uint8 `[size, size, 3]`.

    Raises:
        InputError: The picture is not in mode RGB; `read_image` makes it so.
    """
    if image.mode != "RGB":
        raise refusal("image", f"a picture in mode {image.mode}", "one in mode RGB, as read_image returns it")
    small = image.resize((size, size), Image.Resampling.BICUBIC, reducing_gap=_REDUCING_GAP)
    return np.asarray(small, dtype=np.uint8)


def _from_picture(picture: Image.Image) -> Decoded:
    """A caller's picture, which may still be in a file that the caller has opened."""
    try:
        picture.load()
    except Exception as error:
        raise _damaged(picture, error) from error
    exif = picture.info.get("exif")
    turned = orientation(exif if isinstance(exif, bytes) else None)
    tags = getattr(picture, "tag_v2", None)  # of a TIFF
    return Decoded(picture, turned if tags is None else tags.get(ORIENTATION, turned))


def _damaged(picture: Image.Image, error: Exception) -> InputError:
    kind = getattr(picture, "format", None) or picture.mode
    return refusal("image", f"a damaged {kind} picture ({error})", "a picture that decodes whole")


def _from_array(values: NDArray[Any], budget: Budget) -> Image.Image:
    shape = values.shape
    if values.ndim not in (2, 3) or (values.ndim == 3 and shape[2] not in (1, 2, 3, 4)) or 0 in shape:
        hint = " (channels come last)" if values.ndim == 3 and shape[0] in (1, 3, 4) else ""
        expected = f"shape [height, width] or [height, width, 1 to 4]{hint}"
        raise refusal("image", f"an array of shape {list(shape)}", expected)
    most = budget.limits.max_image_pixels
    if shape[0] * shape[1] > most:
        raise refusal("image", f"an array of shape {list(shape)}", f"at most {most:,} pixels in all")
    if values.ndim == 3 and shape[2] == 1:
        values = values[:, :, 0]
    return Image.fromarray(np.ascontiguousarray(eight_bit(values)))
