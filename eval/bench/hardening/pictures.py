"""Mutated pictures of every format that is read, and what reading one comes to.

Small pictures in many variants (modes, packings, animations, metadata) and some large ones are damaged at random, get
the tail of another, or are made to lie about their sizes: in the header, a frame, a tile or a page.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from eval.bench.hardening.damage import DAMAGES, EXTREMES, damaged
from eval.bench.hardening.trials import Attempt
from hybrid_mmsa.inputs import DRAFT_PIXELS, read_image, to_pixels

COUNT, SEED = 20_000, 20_261_129
SIDE = 224
"""Pixels a side that the image tower reads."""
LARGE_SHARE = 0.03

# Where sizes stand: behind which marker, at which distance from its start, and how they are packed.
SIZES: Mapping[str, tuple[tuple[bytes, int, str], ...]] = {
    "JPEG": ((b"\xff\xc0", 5, ">H"), (b"\xff\xc0", 7, ">H"), (b"\xff\xc2", 5, ">H"), (b"\xff\xc2", 7, ">H")),
    "PNG": ((b"IHDR", 4, ">I"), (b"IHDR", 8, ">I"), (b"fcTL", 8, ">I"), (b"fcTL", 12, ">I"), (b"IDAT", -4, ">I")),
    "GIF": ((b"GIF8", 6, "<H"), (b"GIF8", 8, "<H"), (b"\0\x2c", 6, "<H"), (b"\0\x2c", 8, "<H")),
    "BMP": ((b"BM", 18, "<I"), (b"BM", 22, "<I"), (b"BM", 28, "<H"), (b"BM", 30, "<I"), (b"BM", 46, "<I")),
    "PPM": ((b"P", 3, ">I"),),
    "WEBP": ((b"VP8X", 12, "<I"), (b"VP8 ", 14, "<H"), (b"VP8 ", 16, "<H"), (b"VP8L", 9, "<I"), (b"ANMF", 14, "<I")),
    "TIFF": tuple((struct.pack("<H", tag), 8, "<I") for tag in (256, 257, 258, 259, 277, 278, 279, 322, 323)),
    "AVIF": (
        (b"ispe", 8, ">I"),
        (b"ispe", 12, ">I"),
        (b"iloc", 8, ">I"),
        (b"av1C", 4, ">I"),
        (b"\x12\x00\x0a", 5, ">I"),
    ),
}
FRAMED = {"PNG", "GIF", "WEBP", "TIFF", "AVIF"}


def prepare(_: Path) -> Callable[[int], Attempt]:
    """Number → a picture to read."""
    small, large = bases(Image.fromarray(_scene(97, 64))), bases(Image.fromarray(_scene(1800, 1300)), few=True)
    to_pixels(read_image(small["PNG RGB"], draft=DRAFT_PIXELS), SIDE)  # imports are no picture's cost

    def attempt(number: int) -> Attempt:
        chance = Random(f"{SEED} {number}")
        chosen = large if chance.random() < LARGE_SHARE else small
        name = chance.choice(list(chosen))
        kind = name.split()[0]
        change = chance.choice([*DAMAGES, "size", "size", "size and tail", "spliced"])
        content = changed(chosen[name], kind, change, chance, chosen)
        return Attempt(f"{kind}: {change}", lambda: read(content))

    return attempt


def read(content: bytes) -> str:
    """Read a picture as an encoder gets it."""
    to_pixels(read_image(content, draft=DRAFT_PIXELS), SIDE)
    return "read"


def changed(content: bytes, kind: str, change: str, chance: Random, others: Mapping[str, bytes]) -> bytes:
    """A picture with one change."""
    if change.startswith("size"):
        content = false_size(content, kind, chance)
        return content + chance.randbytes(chance.randrange(2_000)) if change != "size" else content
    if change == "spliced":
        other = others[chance.choice([name for name in others if name.startswith(kind)])]
        return content[: chance.randrange(len(content))] + other[chance.randrange(len(other)) :]
    return damaged(content, chance, change)


def false_size(content: bytes, kind: str, chance: Random) -> bytes:
    """A picture of which one or two sizes are not what they should be; checksums fit."""
    if kind == "PPM":
        head, _, body = content.partition(b"\n")
        numbers = b" ".join(str(chance.choice(EXTREMES)).encode() for _ in range(chance.randint(1, 3)))
        return head[:2] + b" " + numbers + b"\n" + body
    changed = bytearray(content)
    for _ in range(chance.randint(1, 2)):
        marker, distance, form = chance.choice(SIZES[kind])
        places = [at for at in _found(content, marker) if 0 <= at + distance <= len(content) - struct.calcsize(form)]
        if places:
            value = chance.choice([*EXTREMES, chance.randrange(2**16)]) % 256 ** struct.calcsize(form)
            struct.pack_into(form, changed, chance.choice(places) + distance, value)
    return _with_checksums(changed) if kind == "PNG" else bytes(changed)


def _found(content: bytes, marker: bytes) -> list[int]:
    places, at = list[int](), content.find(marker)
    while at >= 0 and len(places) < 50:
        places.append(at)
        at = content.find(marker, at + 1)
    return places


def _with_checksums(content: bytearray) -> bytes:
    at = 8
    while at + 12 <= len(content):
        (size,) = struct.unpack_from(">I", content, at)
        end = at + 8 + size
        if end + 4 > len(content):
            break
        struct.pack_into(">I", content, end, zlib.crc32(content[at + 4 : end]))
        at = end + 4
    return bytes(content)


def bases(scene: Image.Image, *, few: bool = False) -> dict[str, bytes]:
    """Whole pictures to begin with, named after their format; few variants where the scene is large."""
    alpha = scene.convert("RGBA")
    alpha.putalpha(scene.convert("L"))
    grey, palette = scene.convert("L"), scene.quantize(64)
    wide = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    plain: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "JPEG RGB": (scene, {"quality": 85}),
        "JPEG progressive": (scene, {"progressive": True, "subsampling": 0}),
        "PNG RGB": (scene, {}),
        "PNG RGBA": (alpha, {}),
        "GIF palette": (palette, {}),
        "BMP RGB": (scene, {}),
        "PPM RGB": (scene, {}),
        "WEBP lossy": (scene, {"quality": 70, "method": 0}),
        "WEBP lossless": (alpha, {"lossless": True, "method": 0}),
        "TIFF LZW": (scene, {"compression": "tiff_lzw"}),
        "AVIF RGB": (scene, {"speed": 10}),
    }
    frames = [scene.rotate(turn).resize((scene.width, scene.height)) for turn in (0, 40, 80)]
    animated = {"save_all": True, "append_images": frames[1:]}
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    variants: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "JPEG grey": (grey, {"exif": exif.tobytes(), "comment": b"made for a test"}),
        "JPEG CMYK": (scene.convert("CMYK"), {}),
        "PNG grey and alpha": (alpha.convert("LA"), {}),
        "PNG palette": (palette, {"transparency": 3}),
        "PNG 16 bits": (wide, {}),
        "PNG 1 bit": (scene.convert("1"), {}),
        "PNG animated": (scene, animated),
        "GIF animated": (palette, {"save_all": True, "append_images": [f.quantize(16) for f in frames[1:]], "loop": 0}),
        "GIF transparent": (alpha.quantize(32), {"transparency": 0}),
        "BMP palette": (palette, {}),
        "BMP 1 bit": (scene.convert("1"), {}),
        "PPM grey": (grey, {}),
        "PPM 1 bit": (scene.convert("1"), {}),
        "WEBP alpha": (alpha, {"quality": 60, "exif": exif.tobytes()}),
        "WEBP animated": (scene, {**animated, "method": 0}),
        "TIFF plain": (scene, {}),
        "TIFF deflate": (grey, {"compression": "tiff_adobe_deflate"}),
        "TIFF JPEG": (scene, {"compression": "jpeg"}),
        "TIFF float": (grey.convert("F"), {}),
        "TIFF 16 bits": (wide, {"compression": "tiff_lzw"}),
        "TIFF pages": (scene, animated),
        "TIFF fax": (scene.convert("1"), {"compression": "group4"}),
        "AVIF alpha": (alpha, {"speed": 10}),
        "AVIF animated": (scene, {**animated, "speed": 10}),
    }
    made = plain if few else plain | variants
    return {name: _encoded(picture, name.split()[0], options) for name, (picture, options) in made.items()}


def _scene(width: int, height: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Edges, a gradient and some noise: what a photo has."""
    noise = np.random.default_rng(SEED).integers(0, 40, (height, width, 3), np.uint8)
    rows, columns = np.mgrid[:height, :width]
    scene = np.stack([rows * 200 // height, columns * 200 // width, (rows // 16 + columns // 16) % 2 * 180], axis=2)
    return np.asarray(scene + noise, dtype=np.uint8)


def _encoded(picture: Image.Image, kind: str, options: Mapping[str, Any]) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()
