"""Encoded bytes → a decoded picture, within a budget. Knows nothing of how callers hold pictures, nor of models.

The first bytes tell the format; no decoder is tried out. Files of JPEG, PNG and TIFF are stripped to what decides their
pixels before Pillow sees them. What a picture will cost is known from its header, and checked before it is decoded;
decoders that work piece by piece are ended when the time is spent. The others (WebP, AVIF, TIFF) take time in
proportion to the pixels, of which their memory allows few enough.

No lock is held here, and no warning filter of the process is touched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from ..errors import InputError
from .avif import plan_avif
from .budget import Budget, TimedFile
from .jpeg import plan_jpeg
from .orientation import UPRIGHT, orientation
from .png import SIGNATURE, plan_png, png_bands, whole_png
from .refusal import refusal
from .shrink import pixel_bytes, shrink_factor, shrunk
from .tiff import plan_tiff

__all__ = ["FORMATS", "Decoded", "decode"]

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF", "AVIF")
"""The formats that are decoded (of a camera's MPO, the first picture). Others that Pillow knows run rarely tested
decoders, or other programs."""

WANTED_FORMATS = f"a picture in one of the formats {', '.join(FORMATS)}"
_PIECE = 4096
"""Bytes that are handed to decoders of which a few bytes can ask for much work."""
# Bytes a pixel at the peak, measured on pictures of 12 million pixels with Pillow 13: canvases, planes, copies.
_WEBP_PIXEL, _AVIF_PIXEL = 20, 13
_AVIF_FRAME = 7
"""Bytes a pixel of the frames inside of an AVIF, which may be larger than its picture, and of its transparency."""
_BANDS_FROM = 2_000_000
"""Pixels from which a PNG is read in bands; below that it is faster in one piece."""


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """A picture in memory.

    Attributes:
        picture: Its pixels, in any mode.
        orientation: How to turn it, as EXIF numbers it.
    """

    picture: Image.Image
    orientation: int = UPRIGHT


def decode(content: bytes, budget: Budget, least: int | None) -> Decoded:
    """The first picture of a file.

    Args:
        content: Encoded bytes, untrusted.
        budget: What it may cost.
        least: Let it be decoded smaller, with both sides still at least so many pixels; `None` decodes all.

    Raises:
        InputError: It is none of `FORMATS`, damaged, too large or too costly.
    """
    kind = _kind(content)
    if kind is None:
        raise refusal("image", _guess(content), WANTED_FORMATS)
    try:
        return _READERS[kind](content, budget, least)
    except InputError:
        raise
    except Exception as error:  # decoders raise whatever hostile bytes make them raise
        cause = " ".join(str(error).split())[:200]
        raise refusal("image", f"a damaged {kind} picture ({cause})", "a picture that decodes whole") from error


def _kind(content: bytes) -> str | None:
    """The format that the first bytes name."""
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "WEBP"
    if content[4:8] == b"ftyp" and {b"avif", b"avis"} & _brands(content):
        return "AVIF"
    starts = {
        "JPEG": (b"\xff\xd8\xff",),
        "PNG": (SIGNATURE,),
        "GIF": (b"GIF87a", b"GIF89a"),
        "BMP": (b"BM",),
        "PPM": (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"Pf"),
        "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    }
    return next((kind for kind, first in starts.items() if content.startswith(first)), None)


def _brands(content: bytes) -> set[bytes]:
    """The brands of a file in boxes (ISO 14496-12), which say what it holds."""
    size = min(int.from_bytes(content[:4], "big"), 256)
    return {content[8:12], *(content[at : at + 4] for at in range(16, size - 3, 4))}


# Their letters are in lower case, as the bytes are that they are compared with.
_HEADS = {
    b"%pdf": "a PDF document",
    b"%!ps": "a PostScript document",
    b"8bps": "a Photoshop document",
    b"\xff\x0a": "a JPEG XL picture",
    b"\0\0\0\x0cjxl ": "a JPEG XL picture",
    b"\0\0\0\x0cjp  ": "a JPEG 2000 picture",
    b"\xff\x4f\xff\x51": "a JPEG 2000 picture",
    b"\0\0\x01\0": "an icon (ICO)",
    b"\x1a\x65\xdf\xa3": "a Matroska or WebM video",
    b"pk\x03\x04": "a ZIP archive",
}
_BRANDS = {
    (
        b"heic",
        b"heix",
        b"hevc",
        b"heim",
        b"heis",
        b"mif1",
        b"msf1",
    ): "a HEIC picture (open it with pillow-heif and give the picture)",
    (b"crx ",): "a raw picture of a camera",
    (b"qt  ",): "a video (QuickTime)",
    (b"M4A ", b"M4B "): "a sound file (MPEG-4)",
}


def _guess(content: bytes) -> str:
    """What bytes that are no picture seem to be; none of them is shown."""
    start = content[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(b"<"):
        return "an SVG drawing" if b"<svg" in start else "an HTML or XML document"
    if content[4:8] == b"ftyp":
        brands = _brands(content)
        return next((name for known, name in _BRANDS.items() if brands & set(known)), "a video (MP4)")
    raw = content[:16].lower()
    if raw.startswith(b"riff") and raw[8:12] in (b"avi ", b"wave"):
        return "a video (AVI)" if raw[8:12] == b"avi " else "a sound file (WAVE)"
    head = next((name for first, name in _HEADS.items() if start.startswith(first) or raw.startswith(first)), None)
    return head or f"{len(content):,} bytes that are no picture, or a damaged one"


def _jpeg(content: bytes, budget: Budget, least: int | None) -> Decoded:
    plan = plan_jpeg(content, budget)
    file = TimedFile(plan.content, budget)
    picture = JpegImageFile(file)
    if least is not None:
        picture.draft(None, (least, least))
    pixels = picture.width * picture.height * pixel_bytes(picture.mode)
    budget.check_memory("JPEG", pixels + plan.coefficients)
    file.piece = _PIECE if plan.many_scans else None
    picture.load()
    return Decoded(picture, plan.orientation)


def _png(content: bytes, budget: Budget, least: int | None) -> Decoded:
    plan = plan_png(content, budget)
    factor = shrink_factor(plan.width, plan.height, least)
    if factor == 1 or plan.width * plan.height < _BANDS_FROM or not plan.in_bands:
        return Decoded(whole_png(plan, budget), plan.orientation)
    return Decoded(shrunk(png_bands(plan, budget, factor), (plan.width, plan.height), factor), plan.orientation)


def _tiff(content: bytes, budget: Budget, _: int | None) -> Decoded:
    plan = plan_tiff(content, budget)
    budget.check_memory("TIFF", plan.memory)
    return Decoded(_loaded(TiffImageFile(TimedFile(plan.content, budget)), budget), plan.orientation)


def _opened_by(
    plugin: Callable[[TimedFile], ImageFile], kind: str, pixel: int | None = None, *, beside: int = 0
) -> _Reader:
    """How a format is read whose file Pillow may see as it is.

    Args:
        plugin: Pillow's class of its pictures.
        kind: Its name.
        pixel: Bytes a pixel that decoding takes; `None`: those of the decoded picture.
        beside: Bytes that it takes whatever the size of the picture.
    """

    def read(content: bytes, budget: Budget, _: int | None) -> Decoded:
        file = TimedFile(content, budget)
        picture = plugin(file)
        budget.check_size(*picture.size)
        each = pixel_bytes(picture.mode) if pixel is None else pixel
        budget.check_memory(kind, each * picture.width * picture.height + beside)
        file.piece = _PIECE if kind == "PPM" else None
        turned = orientation(_bytes(picture, "exif"), _bytes(picture, "xmp"))
        return Decoded(_loaded(picture, budget), turned)

    return read


def _bytes(picture: Image.Image, key: str) -> bytes | None:
    value = picture.info.get(key)
    return value if isinstance(value, bytes) else None


def _loaded(picture: ImageFile, budget: Budget) -> Image.Image:
    picture.load()
    budget.check_size(*picture.size)
    return picture


def _avif(content: bytes, budget: Budget, least: int | None) -> Decoded:
    from PIL.AvifImagePlugin import AvifImageFile  # Pillow has it since 11.3

    plan = plan_avif(content, budget)
    frames = _AVIF_FRAME * plan.pixels
    return _opened_by(AvifImageFile, "AVIF", _AVIF_PIXEL, beside=frames)(plan.content, budget, least)


_Reader = Callable[[bytes, Budget, "int | None"], Decoded]
_READERS: dict[str, _Reader] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "TIFF": _tiff,
    "AVIF": _avif,
    "GIF": _opened_by(GifImageFile, "GIF"),
    "BMP": _opened_by(BmpImageFile, "BMP"),
    "PPM": _opened_by(PpmImageFile, "PPM"),
    "WEBP": _opened_by(WebPImageFile, "WEBP", _WEBP_PIXEL),
}
