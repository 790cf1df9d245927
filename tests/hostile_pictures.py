"""Pictures that are made to cost a reader more than they should, and what reading one of them costs.

`python tests/hostile_pictures.py NAME` reads one, and prints what it cost and what became of it as JSON.
"""

import io
import json
import resource
import struct
import sys
import zlib
from time import process_time

import numpy as np
from PIL import Image


def encoded(picture, kind, **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def large_png(width, height, colour=2, depth=8, interlace=0, filter_type=4):
    """A PNG of one colour, packed without holding its pixels."""
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    line = bytes([filter_type]) + bytes([77]) * (width * samples * depth // 8)
    pack = zlib.compressobj(1)
    data = b"".join([*(pack.compress(line) for _ in range(height)), pack.flush()])
    size = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    palette = chunk(b"PLTE", bytes(range(256)) * 3) if colour == 3 else b""
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + palette + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def progressive():
    return encoded(Image.new("RGB", (4000, 3000), "teal"), "JPEG", progressive=True, quality=90, subsampling=0)


def repeated_scans(times):
    """A progressive JPEG whose last scan comes many times."""
    content = progressive()
    last = content.rfind(b"\xff\xda")
    return content[:last] + content[last:-2] * times + b"\xff\xd9"


def segments(marker, body, size):
    content = encoded(Image.new("RGB", (40, 30), "teal"), "JPEG")
    segment = b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body
    return content[:2] + segment * (size // len(segment)) + content[2:]


def plain_pgm(size):
    return b"P2\n600 600\n255\n" + b"#\n" * (size // 2) + b"7 " * 360_000


def bmp_rle():
    """A BMP in RLE8 of many runs, which Pillow decodes in Python."""
    width, height = 8000, 8000
    rows = (b"\xff\x07" * (width // 255) + bytes([width % 255, 7]) + b"\0\0") * height + b"\0\1"
    palette = bytes(range(256)) * 4
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(rows), 0, 0, 256, 256)
    return b"BM" + struct.pack("<IHHI", 14 + 40 + 1024 + len(rows), 0, 0, 14 + 40 + 1024) + head + palette + rows


def gif_comments(size):
    content = encoded(Image.new("P", (40, 30)), "GIF")
    head = 13 + 3 * 2 ** ((content[10] & 7) + 1) if content[10] & 0x80 else 13
    block = b"\xff" + b"a" * 255
    return content[:head] + b"\x21\xfe" + block * (size // 256) + b"\0" + content[head:]


def tiff_strips():
    """A TIFF of one strip that claims to be huge."""
    content = bytearray(encoded(Image.new("L", (64, 64)), "TIFF", compression="tiff_lzw"))
    return bytes(content).replace(struct.pack("<HHII", 256, 4, 1, 64), struct.pack("<HHII", 256, 4, 1, 60_000))


def animated_in_a_comment():
    return segments(0xFE, b"acTL" * 16_000, 64_010)


NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
HOSTILE = {
    "png 8000x8000": lambda: large_png(8000, 8000),
    "png 8000x8000 rgba": lambda: large_png(8000, 8000, colour=6),
    "png 8000x8000 palette": lambda: large_png(8000, 8000, colour=3, filter_type=0),
    "png 8000x8000 16 bits": lambda: large_png(8000, 8000, depth=16),
    "png 8000x8000 interlaced": lambda: large_png(8000, 8000, interlace=1),
    "png 100,000,000x1": lambda: large_png(100_000_000, 1, colour=0),
    "png 1x1,000,000": lambda: large_png(1, 1_000_000, colour=0, filter_type=0),
    "png of many chunks": lambda: large_png(8, 8)[:33] + chunk(b"teXt", b"") * 1_600_000 + large_png(8, 8)[33:],
    "png of packed text": lambda: (
        large_png(8, 8)[:33] + chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8))) + large_png(8, 8)[33:]
    ),
    "jpeg 12000x9000": lambda: encoded(Image.new("RGB", (12_000, 9_000), "teal"), "JPEG"),
    "jpeg of 80 scans": lambda: repeated_scans(70),
    "jpeg of 3000 scans": lambda: repeated_scans(3000),
    "jpeg of 275 segments": lambda: segments(0xE1, b"a" * 65_000, 18_000_000),
    "jpeg of 4,000,000 segments": lambda: segments(0xE1, b"", 16_000_000),
    "jpeg of EXIF segments": lambda: segments(0xE1, b"Exif\0\0" + bytes(1000), 18_000_000),
    "jpeg with acTL": animated_in_a_comment,
    "pgm with comments, 500 KB": lambda: plain_pgm(500_000),
    "pgm with comments, 15 MB": lambda: plain_pgm(15_000_000),
    "pgm, plain, 8000x8000": lambda: b"P2 8000 8000 255 " + b"7 " * 9_000_000,
    "pbm, plain, 8000x8000": lambda: b"P1 4000 4000 " + b"01" * 8_000_000,
    "pgm, odd maximum": lambda: b"P5 4000 4000 254 " + bytes(16_000_000),
    "bmp in runs": bmp_rle,
    "gif with comments": lambda: gif_comments(18_000_000),
    "gif 8000x8000": lambda: encoded(Image.new("P", (8000, 8000)), "GIF"),
    "tiff of a huge strip": tiff_strips,
    "tiff 8000x8000": lambda: encoded(Image.new("RGB", (8000, 8000)), "TIFF", compression="tiff_lzw"),
    "webp 8000x8000": lambda: encoded(Image.new("RGB", (8000, 8000)), "WEBP", lossless=True, method=0),
    "webp 3800x3800": lambda: encoded(Image.fromarray(NOISE).resize((3800, 3800)), "WEBP", method=0),
    "avif 3800x3800": lambda: encoded(Image.fromarray(NOISE).resize((3800, 3800)), "AVIF", speed=10),
    "data: URI of %41": lambda: "data:," + "%41" * 19_000_000,
    "data: URI with spaces": lambda: "data:;base64," + "A " * 26_000_000,
}


def cost(name):
    """Read one of them: seconds of a processor, bytes of memory, and what became of it."""
    from hybrid_mmsa.errors import InputError
    from hybrid_mmsa.inputs import DRAFT_PIXELS, read_image

    read_image(b"P5 2 2 255 1234", draft=DRAFT_PIXELS)  # what reading any picture takes
    source = HOSTILE[name]()
    with open("/proc/self/clear_refs", "w") as peak:  # noqa: PTH123
        peak.write("5")
    before = memory("VmRSS")
    start = process_time()
    try:
        outcome = "x".join(map(str, read_image(source, draft=DRAFT_PIXELS).size))
    except InputError as error:
        outcome = str(error)
    return {"seconds": process_time() - start, "bytes": memory("VmHWM") - before, "outcome": outcome}


def memory(field):
    """A figure of this process in bytes, as Linux keeps it; the highest use ever elsewhere."""
    try:
        with open("/proc/self/status") as status:  # noqa: PTH123
            return next(1024 * int(line.split()[1]) for line in status if line.startswith(field))
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(cost(sys.argv[1])))
