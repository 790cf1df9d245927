"""Decoded pixels of any mode → RGB, smaller where they are more than anybody reads. Knows nothing of files.

A large picture is converted and shrunk in bands, so that it takes little memory beside its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import ceil, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .refusal import refusal

__all__ = [
    "MOST_PIXELS",
    "coloured",
    "eight_bit",
    "on_background",
    "pixel_bytes",
    "shrink_factor",
    "shrunk",
    "shrunk_picture",
]

MOST_PIXELS = 2_000_000
"""Pixels of a picture that was shrunk: 8 MB, also where one side is much longer than the other."""
_BAND = 1_000_000  # pixels
_VANISHED = 240
"""A picture whose darkest place on white is lighter than this cannot be seen on white."""


def pixel_bytes(mode: str) -> int:
    """Bytes that Pillow keeps for a pixel."""
    if mode.startswith("I;16"):
        return 2
    return 1 if mode in ("1", "L", "P") else 4


def shrink_factor(width: int, height: int, least: int | None) -> int:
    """By what whole number to shrink: both sides keep `least` pixels, unless that is over `MOST_PIXELS` in all."""
    if least is None:
        return 1
    return max(1, min(width, height) // least, ceil(sqrt(width * height / MOST_PIXELS)))


def shrunk_picture(picture: Image.Image, factor: int) -> Image.Image:
    """A loaded picture in mode RGB or RGBA, each side divided by `factor` (rounded up), as means of squares."""
    if factor == 1:
        return coloured(picture)
    if picture.mode == "F" or picture.mode == "I":
        picture = coloured(picture)  # its range is that of all samples
    return shrunk(_bands(picture, factor), picture.size, factor)


def shrunk(bands: Iterable[Image.Image], size: tuple[int, int], factor: int) -> Image.Image:
    """The same of a picture that comes in bands from top to bottom, each but the last of a multiple of `factor` rows.

    Args:
        bands: Loaded pictures of one mode.
        size: Width and height of all together.
        factor: Divides each side.
    """
    parts = [coloured(band).reduce(factor) for band in bands]
    whole = Image.new(parts[0].mode, (ceil(size[0] / factor), ceil(size[1] / factor)))
    top = 0
    for part in parts:
        whole.paste(part, (0, top))
        top += part.height
    return whole


def _bands(picture: Image.Image, factor: int) -> Iterator[Image.Image]:
    width, height = picture.size
    rows = max(1, _BAND // (width * factor)) * factor
    for top in range(0, height, rows):
        yield picture.crop((0, top, width, min(top + rows, height)))


def coloured(picture: Image.Image) -> Image.Image:
    """A loaded picture of any mode in RGB, or in RGBA where it is transparent somewhere."""
    if picture.mode.startswith("I"):  # I, I;16, I;16B ...
        picture = Image.fromarray(eight_bit(np.asarray(picture)))
    elif picture.mode == "F":
        values = np.asarray(picture)
        # Pillow's own conversions to F keep 0 to 255; scientific files hold 0 to 1.
        picture = Image.fromarray(eight_bit(values / 255 if values.max() > 1 else values))
    if not picture.has_transparency_data:
        return picture if picture.mode == "RGB" and type(picture) is Image.Image else picture.convert("RGB")
    return (picture.convert("LA") if picture.mode == "La" else picture).convert("RGBA")


def on_background(picture: Image.Image) -> Image.Image:
    """A picture in RGB or RGBA over white; over black if it cannot be seen on white, such as a white logo."""
    if picture.mode == "RGB":
        return picture
    alpha = picture.getchannel("A")
    over = Image.new("RGB", picture.size, "white")
    over.paste(picture, mask=alpha)
    darkest, _ = over.convert("L").getextrema()
    if isinstance(darkest, int) and darkest > _VANISHED and alpha.getextrema()[1]:
        over = Image.new("RGB", picture.size, "black")
        over.paste(picture, mask=alpha)
    return over


def eight_bit(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Samples of any numeric kind as 0 to 255 (see `read_image` for the ranges taken)."""
    if values.dtype == np.uint8:
        return np.asarray(values, dtype=np.uint8)
    if values.dtype.kind == "b":
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind not in "iuf":
        raise refusal("image", f"samples of type {values.dtype}", "uint8, uint16, bool, or float in 0 to 1")
    low, high = values.min(), values.max()
    found = f"samples of type {values.dtype} from {low} to {high}"
    if values.dtype.kind == "f":
        if not (low >= 0 and high <= 1):  # also true of NaN
            raise refusal("image", found, "finite values in 0 to 1, or uint8")
        return np.asarray(values * 255 + 0.5).astype(np.uint8)
    if low < 0 or high > 65535:
        raise refusal("image", found, "values in 0 to 255, or 0 to 65535")
    wide = values.dtype.kind == "u" and values.dtype.itemsize == 2
    return (values >> 8 if wide or high > 255 else values).astype(np.uint8)
