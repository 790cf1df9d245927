"""Pictures at the border: every way to hold one gives the same pixels, and bytes that are none give an InputError."""

import base64
import io
import os
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hybrid_mmsa.errors import InputError
from hybrid_mmsa.inputs import DEFAULT_LIMITS, DRAFT_PIXELS, Limits, read_image, to_pixels

# Four corners of different colours, so that turning and mirroring show.
CORNERS = np.zeros((24, 32, 3), np.uint8)
CORNERS[:12, :16] = 255, 0, 0
CORNERS[:12, 16:] = 0, 255, 0
CORNERS[12:, :16] = 0, 0, 255
CORNERS[12:, 16:] = 255, 255, 0
PICTURE = Image.fromarray(CORNERS)


def encoded(picture=PICTURE, kind="PNG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(source, **options):
    return np.asarray(read_image(source, **options))


def refused(source, limits=DEFAULT_LIMITS):
    with pytest.raises(InputError) as caught:
        read_image(source, limits)
    error = caught.value
    assert error.field == "image"
    assert "found" in error.message
    assert "wanted" in error.message
    assert len(str(error)) < 600
    assert "\n" not in str(error)
    return error.message


def png(width, height, *, bits=8, early=b"", late=b"", rows=b""):
    """A PNG built by hand, for headers that no encoder writes."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    size = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0))
    extra = [chunk(part[:4], part[4:]) if part else b"" for part in (early, late)]
    return b"\x89PNG\r\n\x1a\n" + size + extra[0] + chunk(b"IDAT", zlib.compress(rows)) + extra[1] + chunk(b"IEND", b"")


# Ways to hold a picture

CONTENT = encoded()


def written(folder):
    path = folder / "corners.png"
    path.write_bytes(CONTENT)
    return path


def read_to_its_end(_):
    file = io.BytesIO(CONTENT)
    file.seek(0, io.SEEK_END)
    return file


BASE64 = base64.b64encode(CONTENT).decode()
WAYS = {
    "path": written,
    "string": lambda folder: str(written(folder)),
    "bytes": lambda _: CONTENT,
    "bytearray": lambda _: bytearray(CONTENT),
    "memoryview": lambda _: memoryview(CONTENT),
    "file": lambda _: io.BytesIO(CONTENT),
    "file at its end": read_to_its_end,
    "data URI": lambda _: "data:image/png;base64," + BASE64,
    "data URI, loosely": lambda _: "DATA:;Base64,%0A" + BASE64.rstrip("=").replace("+", "%2B"),
    "data URI, percent": lambda _: "data:image/png," + "".join(f"%{byte:02x}" for byte in CONTENT),
    "PIL": lambda _: PICTURE,
    "PIL, unread": lambda _: Image.open(io.BytesIO(CONTENT)),
    "array": lambda _: CORNERS,
    "array of floats": lambda _: CORNERS / 255,
    "array of 16 bits": lambda _: CORNERS.astype(">u2") * 257,
    "array of integers": lambda _: CORNERS.astype(np.int64),
    "array, mirrored twice": lambda _: CORNERS[:, ::-1].copy()[:, ::-1],
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_hold_a_picture_gives_its_pixels(way, tmp_path):
    picture = read_image(WAYS[way](tmp_path))
    assert type(picture) is Image.Image
    assert (picture.mode, picture.info) == ("RGB", {})
    np.testing.assert_array_equal(np.asarray(picture), CORNERS)
    assert read_image(picture) is picture


def test_a_picture_that_was_read_shares_nothing_with_the_callers_array():
    values = CORNERS.copy()
    picture = read_image(values)
    values[:] = 0
    np.testing.assert_array_equal(np.asarray(picture), CORNERS)


def test_files_are_left_where_they_stood_and_pipes_are_read_on():
    file = io.BytesIO(CONTENT)
    file.seek(5)
    read_image(file)
    assert file.tell() == 5

    class Pipe(io.RawIOBase):
        """Hands out little at a time and cannot go back."""

        def __init__(self):
            self.rest = io.BytesIO(CONTENT)

        def read(self, size=-1):
            return self.rest.read(min(size, 100))

    np.testing.assert_array_equal(pixels(Pipe()), CORNERS)


@pytest.mark.parametrize("kind", ["JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "AVIF", "MPO"])
def test_common_formats_are_read(kind):
    assert np.abs(pixels(encoded(kind=kind)).astype(int) - CORNERS)[4:8, 4:12].mean() < 12


# Modes, transparency, depth, orientation, animation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_undone(orientation, kind):
    # How a camera held in each of the eight ways stores the same scene (EXIF 2.32, section 4.6.4).
    stored = {
        1: CORNERS,
        2: CORNERS[:, ::-1],
        3: CORNERS[::-1, ::-1],
        4: CORNERS[::-1],
        5: CORNERS.transpose(1, 0, 2),
        6: CORNERS.transpose(1, 0, 2)[::-1],
        7: CORNERS.transpose(1, 0, 2)[::-1, ::-1],
        8: CORNERS.transpose(1, 0, 2)[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif, quality=95)
    for source in (content, Image.open(io.BytesIO(content))):
        upright = pixels(source)
        assert upright.shape == CORNERS.shape
        assert np.abs(upright.astype(int) - CORNERS)[4:8, 4:12].mean() < 12
        assert np.abs(upright.astype(int) - CORNERS)[16:20, 20:28].mean() < 12


@pytest.mark.parametrize(
    "exif", [b"garbage", b"MM\0*\0\0\0\x08\xff\xff\x01\x12", b"II*\0\x08\0\0\0\x01\0\x12\x01\x05\0"]
)
def test_damaged_exif_counts_as_none(exif):
    np.testing.assert_array_equal(pixels(encoded(exif=b"Exif\0\0" + exif)), CORNERS)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "I", "F", "I;16"])
def test_every_mode_is_read(mode):
    grey = Image.new("L", (4, 3), 255)
    picture = read_image(grey.convert(mode) if mode != "I;16" else Image.fromarray(np.full((3, 4), 65535, np.uint16)))
    np.testing.assert_allclose(np.asarray(picture), 255, atol=1)


@pytest.mark.parametrize("mode", ["LA", "RGBA", "La", "RGBa"])
def test_transparency_shows_white(mode):
    clear = Image.new("RGBA", (4, 3), (0, 0, 0, 0))
    clear.putpixel((0, 0), (0, 0, 0, 255))
    found = pixels((clear.convert("LA") if mode == "La" else clear).convert(mode))
    assert found[0, 0].tolist() == [0, 0, 0]
    assert found[1:].min() == 255


def test_a_transparent_palette_or_colour_shows_white():
    palette = Image.new("P", (4, 3), 1)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    clear = Image.new("PA", (4, 3), (1, 0))
    clear.putpalette([0, 0, 0, 255, 0, 0])
    assert pixels(clear).min() == 255
    for options in ({"transparency": 1}, {"transparency": b"\xff\x00"}):
        assert pixels(encoded(palette, **options)).min() == 255
        assert pixels(encoded(palette, "PNG")).tolist()[0][0] == [255, 0, 0]
    assert pixels(encoded(Image.new("RGB", (4, 3), "red"), transparency=(255, 0, 0))).min() == 255


def test_wide_samples_are_scaled_not_clipped():
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    expected = np.repeat((ramp >> 8).astype(np.uint8)[:, :, None], 3, axis=2)
    np.testing.assert_array_equal(pixels(encoded(Image.fromarray(ramp))), expected)
    np.testing.assert_array_equal(pixels(encoded(Image.fromarray(ramp), "TIFF")), expected)
    np.testing.assert_array_equal(pixels(encoded(Image.fromarray(ramp), "PPM")), expected)
    np.testing.assert_array_equal(pixels(Image.fromarray((ramp / 65535).astype(np.float32))), expected)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_an_animation_shows_its_first_frame(kind):
    later = [Image.new("RGB", PICTURE.size, colour) for colour in ("black", "white")]
    content = encoded(kind=kind, save_all=True, append_images=later, **({"lossless": True} if kind == "WEBP" else {}))
    np.testing.assert_array_equal(pixels(content), CORNERS)


def test_draft_reads_a_picture_smaller_but_never_below_what_is_asked():
    content = encoded(PICTURE.resize((1600, 1200)), "JPEG")
    assert read_image(content).size == (1600, 1200)
    assert read_image(content, draft=DRAFT_PIXELS).size == (800, 600)
    assert read_image(content, draft=100).size == (200, 150)
    assert read_image(content, draft=5000).size == (1600, 1200)
    for kind in ("PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF", "AVIF"):
        assert read_image(encoded(PICTURE, kind), draft=4).size == (6, 4)
        assert read_image(encoded(PICTURE, kind), draft=13).size == PICTURE.size


# Refused


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "no bytes"),
        (b"\0" * 100, "no picture"),
        (b'\xef\xbb\xbf <?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"<!DOCTYPE html><html><img src=x></html>", "HTML"),
        (b"%PDF-1.7 ", "PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript"),
        (encoded(kind="JPEG2000"), "JPEG 2000"),
        (encoded(kind="ICO"), "ICO"),
        (b"\xff\x0a\xfa\x7f", "JPEG XL"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\0\0\0\x18ftypisom\0\0\2\0isomiso2", "a video (MP4)"),
        (b"\0\0\0\x14ftypqt  \0\0\2\0qt  ", "a video (QuickTime)"),
        (b"\x1a\x45\xdf\xa3\x93\x42\x82\x88", "WebM"),
        (b"RIFF\0\0\0\0AVI LIST", "a video (AVI)"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0isommp42", "MP4"),
        (encoded(kind="EPS"), "PostScript"),
    ],
)
def test_what_is_no_common_picture_is_refused(content, found):
    assert found in refused(content)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "AVIF"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
def test_a_truncated_picture_is_refused(kind, share):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8))
    content = encoded(noise, kind)
    refused(content[: int(len(content) * share)])


def test_bombs_are_refused_before_they_are_decoded(monkeypatch):
    monkeypatch.setattr(Image.core, "new", None)  # where Pillow would allocate the pixels
    assert "60,000 x 60,000" in refused(png(60_000, 60_000))
    assert "12,000 x 12,000" in refused(png(12_000, 12_000, bits=1))
    refused(png(8, 8, early=b"zTXta\0\0" + zlib.compress(bytes(10**7))))
    refused(png(8, 8, early=b"iCCPa\0\0" + zlib.compress(bytes(10**7))))


def test_limits_are_kept(tmp_path):
    content = encoded()
    path = tmp_path / "a.png"
    path.write_bytes(content)
    exact = Limits(max_image_bytes=len(content), max_image_pixels=32 * 24)
    uri = "data:;base64," + base64.b64encode(content).decode()
    for source in (content, path, io.BytesIO(content), uri, memoryview(content)):
        assert read_image(source, exact).size == (32, 24)
        assert "at most" in refused(source, Limits(max_image_bytes=len(content) - 1))
        assert "32 x 24" in refused(source, Limits(max_image_pixels=32 * 24 - 1))
    assert "32 x 24" in refused(PICTURE, Limits(max_image_pixels=100))
    assert "[24, 32, 3]" in refused(CORNERS, Limits(max_image_pixels=100))
    assert "at most" in refused("data:image/png;base64," + "A" * 4000, Limits(max_image_bytes=1000))


def test_paths_that_are_no_files(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "empty.png").touch()
    assert "directory" in refused(tmp_path)
    assert "pipe, socket or device" in refused(pipe)
    assert "pipe, socket or device" in refused("/dev/zero")
    assert "no file" in refused(tmp_path / "none.png")
    assert "no bytes" in refused(tmp_path / "empty.png")
    assert "null byte" in refused("a\0b.png")
    assert "cannot be read" in refused("\ud800.png")
    assert "cannot be read" in refused("iVBORw0KGgo" * 1000)
    assert "blank path" in refused("  ")


@pytest.mark.parametrize(
    "address",
    [
        "http://example.org/a.jpg",
        "HTTPS://example.org/a.jpg",
        "ftp://example.org/a",
        "s3://bucket/a",
        "file:///etc/hosts",
    ],
)
def test_nothing_is_ever_fetched(address):
    assert "nothing is ever fetched" in refused(address)


BAD_URIS = [
    "",
    "image/png;base64",
    "image/png;base64,",
    ";base64,@@@@",
    ";base64,A",
    ";base64,é",
    ";base64,%00",
    ";base64,\ud800",
]


@pytest.mark.parametrize("uri", [*BAD_URIS, "text/html,<b>hi</b>"])
def test_malformed_data_uris_are_refused(uri):
    refused(f"data:{uri}")


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 0), np.uint8),
        np.zeros(12, np.uint8),
        np.zeros((2, 4, 4, 3), np.uint8),
        np.zeros((4, 4, 5), np.uint8),
        np.zeros((3, 40, 40), np.uint8),
        np.full((4, 4), 2.0),
        np.full((4, 4), -0.1),
        np.full((4, 4), np.nan),
        np.full((4, 4), np.inf),
        np.full((4, 4), -1),
        np.full((4, 4), 70_000),
        np.zeros((4, 4), complex),
        np.full((4, 4), None),
        np.full((4, 4), "a"),
        np.zeros((4, 4), "datetime64[s]"),
    ],
    ids=lambda values: f"{values.dtype}{values.shape}{values.flat[0] if values.size else ''}",
)
def test_arrays_that_are_no_pictures_are_refused(values):
    refused(values)


def test_the_axis_order_is_explained():
    assert "channels come last" in refused(np.zeros((3, 40, 40), np.uint8))


class Broken:
    """A file of the caller's own that fails in its own way."""

    def read(self, size):
        raise RuntimeError("the cable is out")


@pytest.mark.parametrize(
    "source", [None, 5, 1.5, True, ["a.jpg"], {"bytes": b""}, object(), io.StringIO("text"), Broken(), Image]
)
def test_what_holds_no_picture_is_refused(source):
    refused(source)


def test_a_closed_file_and_an_empty_picture_are_refused():
    closed = io.BytesIO(encoded())
    closed.close()
    assert "closed" in refused(closed)
    assert "0 x 5" in refused(Image.new("RGB", (0, 5)))


def test_odd_files_neither_warn_nor_change_the_callers_warning_filters():
    animation = struct.pack(">II", 0, 0)
    rows = bytes(9 * 8)
    odd = [png(8, 8, early=b"acTL" + animation, rows=rows), png(8, 8, late=b"acTL" + animation, rows=rows)]
    limits = Limits(max_image_pixels=200_000_000)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        before = list(warnings.filters)
        with ThreadPoolExecutor(8) as pool:
            for picture in pool.map(read_image, odd * 20):
                assert picture.size == (8, 8)
        refused(png(10_000, 10_000, bits=1), limits)  # large enough for Pillow's own warning; it holds no rows
        assert warnings.filters == before
    assert seen == []


# Anything at all


def attempt(source, **options):
    """The picture, or the error that reading one is allowed to raise."""
    try:
        return read_image(source, **options)
    except InputError as error:
        return error


ANY_TEXT = st.text(st.characters(), max_size=40)  # lone surrogates too


@given(st.binary(max_size=200))
def test_random_bytes_are_a_picture_or_an_input_error(content):
    result = attempt(content)
    assert result.mode == "RGB" if isinstance(result, Image.Image) else result.field == "image"


@given(
    kind=st.sampled_from(["JPEG", "PNG", "GIF", "WEBP", "BMP", "PPM"]),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_a_damaged_picture_is_a_picture_or_an_input_error(kind, changes):
    content = bytearray(encoded(kind=kind))
    for place, byte in changes:
        content[int(place * len(content))] = byte
    result = attempt(bytes(content), limits=Limits(max_image_pixels=1_000_000), draft=16)
    if isinstance(result, InputError):
        assert result.field == "image"
    else:
        assert to_pixels(result, 8).shape == (8, 8, 3)


@given(ANY_TEXT, st.sampled_from(["", "data:", "data:;base64,", "data:,", "a://"]))
def test_a_string_that_names_no_picture_is_an_input_error(text, start):
    with pytest.raises(InputError):
        read_image(start + text)


# To pixels


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (7, 3), (640, 427), (900, 900)])
def test_pixels_are_square_whatever_the_picture(size):
    small = to_pixels(Image.new("RGB", size, (10, 200, 30)), 224)
    assert small.dtype == np.uint8
    assert small.shape == (224, 224, 3)
    assert (small == (10, 200, 30)).all()


def test_the_whole_picture_is_seen():
    small = to_pixels(PICTURE.resize((1000, 300), Image.Resampling.NEAREST), 64)
    for row, column in ((4, 4), (4, 60), (60, 4), (60, 60)):
        np.testing.assert_array_equal(small[row, column], CORNERS[row * 23 // 63, column * 31 // 63])


def test_drafted_and_full_pictures_give_nearly_the_same_pixels():
    smooth = Image.fromarray(CORNERS).resize((1600, 1200), Image.Resampling.BICUBIC)
    content = encoded(smooth, "JPEG", quality=95)
    full, drafted = (to_pixels(read_image(content, draft=d), 224).astype(int) for d in (None, DRAFT_PIXELS))
    assert np.abs(full - drafted).mean() < 1.5


def test_only_rgb_is_turned_into_pixels():
    with pytest.raises(InputError, match="mode L"):
        to_pixels(Image.new("L", (4, 4)), 8)
