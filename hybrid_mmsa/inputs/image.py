"""Any picture a caller holds → an upright 8-bit RGB picture. Knows nothing of models.

Pictures are hostile: only common formats are decoded, sizes are checked before pixels are, and whatever a decoder
raises becomes an `InputError`. Training and serving read pictures with these two functions.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ..errors import InputError
from ..types import ImageSource
from .limits import DEFAULT_LIMITS, Limits
from .refusal import refusal
from .source import read_bytes

__all__ = ["DRAFT_PIXELS", "FORMATS", "read_image", "to_pixels"]

DRAFT_PIXELS = 448
"""Both sides a JPEG is decoded to at least: twice the 224 pixels of common towers, so that shrinking stays clean."""

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF", "AVIF")
"""The formats that are decoded (a camera's MPO opens as JPEG). Others that Pillow knows run rarely tested decoders, or
other programs."""

_WANTED = f"a picture in one of the formats {', '.join(FORMATS)}"
_ORIENTATION = 0x0112
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
_WARNING_FILTERS = threading.Lock()


def read_image(source: ImageSource, limits: Limits = DEFAULT_LIMITS, *, draft: int | None = None) -> Image.Image:
    """Decode a picture into mode RGB, upright, over white where it is transparent, without metadata.

    Of an animation the first frame is read; of a PIL image, the current one. Integer samples wider than 8 bits are
    scaled from 16; a damaged EXIF block counts as none. An RGB picture without metadata is returned as it is.

    Args:
        source: A path, encoded bytes, an open binary file, a PIL image, a `data:` URI, or a numpy array: `[h, w]` or
            `[h, w, 1 to 4]`, uint8, uint16, bool, float in [0, 1], or other integers in [0, 255] or [0, 65535].
        limits: Refuse more than this.
        draft: Let a JPEG be decoded smaller, with both sides still at least this many pixels (much faster).

    Raises:
        InputError: Field `"image"`: the source cannot be read, is too large, damaged, or not a picture. Pillow's own
            ceiling (`Image.MAX_IMAGE_PIXELS`, doubled) also holds when `limits` allow more.
    """
    picture: Image.Image
    if isinstance(source, np.ndarray):
        picture = _from_array(source, limits)
    elif isinstance(source, Image.Image):
        picture = _sized(source, limits)
        if type(picture) is Image.Image and picture.mode == "RGB" and not picture.info:
            return picture
    else:
        picture = _opened(read_bytes(source, limits.max_image_bytes), limits)
    try:
        if draft is not None and picture is not source:
            picture.draft(None, (draft, draft))
        picture.load()
        turn = _TURNS.get(_orientation(picture))
        rgb = _rgb(picture)
        rgb.info = {}
        return rgb if turn is None else rgb.transpose(turn)
    except InputError:
        raise
    except Exception as error:  # decoders raise whatever hostile bytes make them raise
        raise _damaged(picture, error) from error


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


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Pillow's warnings about odd files from the caller, who gets an error or a picture.

    Warning filters belong to the whole process, so one thread at a time may swap them.
    """
    with _WARNING_FILTERS, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


@cache
def _formats() -> tuple[str, ...]:
    """`FORMATS`, less AVIF where Pillow is too old to know the name."""
    return tuple(name for name in FORMATS if name != "AVIF" or find_spec("PIL.AvifImagePlugin") is not None)


def _opened(content: bytes, limits: Limits) -> Image.Image:
    """A picture of allowed size whose header has been read."""
    try:
        with _quiet():
            picture = _sized(Image.open(io.BytesIO(content), formats=_formats()), limits)
            if b"acTL" in content:  # an animated PNG can still warn while its pixels are read
                picture.load()
            return picture
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise refusal("image", _guess(content), _WANTED) from error
    except Exception as error:
        raise refusal("image", f"a picture that cannot be opened ({error})", _WANTED) from error


def _guess(content: bytes) -> str:
    """What bytes that are no picture seem to be."""
    start = content[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(b"<"):
        return "an SVG drawing" if b"<svg" in start else "an HTML or XML document"
    if start.startswith(b"%pdf"):
        return "a PDF document"
    if start.startswith(b"%!ps"):
        return "a PostScript document"
    return f"{len(content):,} bytes that begin {content[:8]!r}, no picture or a damaged one"


def _sized(picture: Image.Image, limits: Limits) -> Image.Image:
    """The same picture, if its size is allowed."""
    width, height = picture.size
    if width < 1 or height < 1:
        raise refusal("image", f"a picture of {width} x {height} pixels", "at least one pixel")
    if width * height > limits.max_image_pixels:
        size = f"a picture of {width:,} x {height:,} pixels"
        raise refusal("image", size, f"at most {limits.max_image_pixels:,} pixels in all")
    return picture


def _damaged(picture: Image.Image, error: Exception) -> InputError:
    kind = getattr(picture, "format", None) or picture.mode
    return refusal("image", f"a damaged {kind} picture ({error})", "a picture that decodes whole")


def _orientation(picture: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none or the block is damaged, as picture viewers have it."""
    try:
        with _quiet():
            value = picture.getexif().get(_ORIENTATION)
    except Exception:  # hostile metadata says nothing against the pixels
        return 1
    return value if isinstance(value, int) else 1


def _rgb(picture: Image.Image) -> Image.Image:
    """A loaded picture of any mode in RGB, over white where it is transparent."""
    if picture.mode.startswith("I"):  # I, I;16, I;16B ...
        picture = Image.fromarray(_eight_bit(np.asarray(picture)))
    elif picture.mode == "F":
        values = np.asarray(picture)
        # Pillow's own conversions to F keep 0 to 255; scientific files hold 0 to 1.
        picture = Image.fromarray(_eight_bit(values / 255 if values.max() > 1 else values))
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    rgba = (picture.convert("LA") if picture.mode == "La" else picture).convert("RGBA")
    white = Image.new("RGB", rgba.size, "white")
    white.paste(rgba, mask=rgba.getchannel("A"))
    return white


def _from_array(values: NDArray[Any], limits: Limits) -> Image.Image:
    shape = values.shape
    if values.ndim not in (2, 3) or (values.ndim == 3 and shape[2] not in (1, 2, 3, 4)) or 0 in shape:
        hint = " (channels come last)" if values.ndim == 3 and shape[0] in (1, 3, 4) else ""
        expected = f"shape [height, width] or [height, width, 1 to 4]{hint}"
        raise refusal("image", f"an array of shape {list(shape)}", expected)
    if shape[0] * shape[1] > limits.max_image_pixels:
        raise refusal("image", f"an array of shape {list(shape)}", f"at most {limits.max_image_pixels:,} pixels in all")
    if values.ndim == 3 and shape[2] == 1:
        values = values[:, :, 0]
    return Image.fromarray(np.ascontiguousarray(_eight_bit(values)))


def _eight_bit(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Samples of any numeric kind as 0 to 255 (see `read_image` for the ranges taken)."""
    if values.dtype == np.uint8:
        return np.asarray(values, dtype=np.uint8)
    if values.dtype.kind == "b":
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind not in "iuf":
        raise refusal("image", f"samples of type {values.dtype}", "uint8, uint16, bool, or float in 0 to 1")
    low, high = values.min(), values.max()
    samples = f"samples of type {values.dtype} from {low} to {high}"
    if values.dtype.kind == "f":
        if not (low >= 0 and high <= 1):  # also true of NaN
            raise refusal("image", samples, "finite values in 0 to 1, or uint8")
        return np.asarray(values * 255 + 0.5).astype(np.uint8)
    if low < 0 or high > 65535:
        raise refusal("image", samples, "values in 0 to 255, or 0 to 65535")
    wide = values.dtype.kind == "u" and values.dtype.itemsize == 2
    return (values >> 8 if wide or high > 255 else values).astype(np.uint8)
