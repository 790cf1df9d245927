"""No picture takes more time or memory than it may, whatever it is; what is shrunk as it is read looks the same."""

import io
import json
import os
import struct
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from hostile_pictures import HOSTILE, encoded, large_png, segments
from PIL import Image

from hybrid_mmsa.errors import InputError
from hybrid_mmsa.inputs import DEFAULT_LIMITS, DRAFT_PIXELS, Limits, read_image
from hybrid_mmsa.inputs.avif import plan_avif
from hybrid_mmsa.inputs.budget import Budget

PROGRAM = Path(__file__).parent / "hostile_pictures.py"
OVERHEAD = 0.5
"""Seconds beyond the limit in which a decoder's last step may end, on a machine that does other work as well."""
READ = {"png 8000x8000", "jpeg 12000x9000", "jpeg of 80 scans", "jpeg with acTL", "gif 8000x8000", "tiff 8000x8000"}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_costly_picture_is_read_or_refused_within_its_limits(name):
    done = subprocess.run([sys.executable, PROGRAM, name], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    cost = json.loads(done.stdout)
    assert cost["seconds"] < DEFAULT_LIMITS.max_image_seconds + OVERHEAD
    assert cost["bytes"] < DEFAULT_LIMITS.max_image_memory
    if name in READ:
        assert "x" in cost["outcome"]
        assert "found" not in cost["outcome"]


SCENE = np.kron(np.random.default_rng(5).integers(0, 256, (25, 32, 4), np.uint8), np.ones((70, 70, 1), np.uint8))
MODES = ("RGB", "L", "P", "LA", "RGBA")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("level", [1, 9])
def test_a_png_in_bands_is_the_png_in_one_piece_shrunk(mode, level):
    scene = Image.fromarray(SCENE).convert("RGB" if mode == "P" else mode).convert(mode)
    content = encoded(scene, "PNG", compress_level=level)
    in_bands = read_image(content, draft=DRAFT_PIXELS)
    whole = Image.open(io.BytesIO(content))
    whole = whole.convert("RGBA" if whole.has_transparency_data else "RGB").reduce(SCENE.shape[0] // DRAFT_PIXELS)
    white = Image.new("RGB", whole.size, "white")
    white.paste(whole, mask=whole.getchannel("A") if whole.mode == "RGBA" else None)
    assert in_bands.size == white.size
    np.testing.assert_allclose(np.asarray(in_bands).astype(int), np.asarray(white), atol=1)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF", "AVIF"])
def test_the_size_of_what_is_kept_does_not_depend_on_the_size_of_the_picture(kind):
    scene = Image.fromarray(SCENE[:, :, :3].copy())
    for width, height in ((2240, 1750), (900, 2000), (2200, 100)):
        read = read_image(encoded(scene.resize((width, height)), kind), draft=DRAFT_PIXELS)
        assert min(read.size) >= min(DRAFT_PIXELS, width, height)
        assert read.width * read.height <= 2_000_000
        assert max(read.width / read.height, 0.01) == pytest.approx(width / height, rel=0.02)


def avif(side, declared=None, **options):
    """An AVIF; its boxes declare another size where one is given."""
    content = encoded(Image.fromarray(SCENE[:, :, :3].copy()).resize((side, side)), "AVIF", speed=10, **options)
    place = content.index(b"ispe") + 8
    return content if declared is None else content[:place] + struct.pack(">II", *declared) + content[place + 8 :]


def test_the_frames_of_an_avif_count_and_not_what_its_boxes_declare():
    assert read_image(avif(600, (60, 60)), draft=DRAFT_PIXELS).size == (60, 60)
    with pytest.raises(InputError, match=r"AVIF.*to decode; wanted at most 300 MB"):
        read_image(avif(7000, (60, 60)), draft=DRAFT_PIXELS)


FRAMES = [Image.fromarray(SCENE[:, :, :3].copy()).resize((90, 70)).rotate(turn) for turn in (0, 40)]
AVIFS = {
    "plain": {},
    "by another encoder": {"codec": "aom"},
    "tiles": {"tile_rows": 1, "tile_cols": 1},
    "4:4:4": {"subsampling": "4:4:4"},
    "transparent": {"mode": "RGBA"},
    "a sequence": {"save_all": True, "append_images": FRAMES},
}


@pytest.mark.parametrize("name", AVIFS)
def test_the_pixels_of_an_avif_s_frames_are_found(name):
    options = dict(AVIFS[name])
    picture = Image.fromarray(SCENE).resize((90, 70)).convert(options.pop("mode", "RGB"))
    content = encoded(picture, "AVIF", speed=10, **options)
    plan = plan_avif(content, Budget(DEFAULT_LIMITS))
    assert plan.pixels == 90 * 70 * (2 if name == "transparent" else 1)
    assert read_image(content).size == (90, 70)


@pytest.mark.parametrize("extents", [1, 65_535])
def test_an_avif_whose_items_are_the_whole_file_again_and_again_is_refused(extents):
    """Lengths of no bytes stand for the whole file: a few bytes would ask for terabytes."""
    content = avif(60)
    location = struct.pack(">IHH", 0, 0, 60_000) + struct.pack(">HHH", 1, 0, extents) * 60_000
    box = struct.pack(">I4s", 8 + len(location), b"iloc") + location
    with pytest.raises(InputError, match=r"larger than the file|takes too long|to decode"):
        plan_avif(_with_box(content, b"iloc", box), Budget(Limits(max_image_seconds=0.2)))


def _with_box(content, kind, box):
    """An AVIF with one box of its `meta` in place of another."""
    meta, place = content.index(b"meta") - 4, content.index(kind) - 4
    (size,), (old,) = struct.unpack_from(">I", content, meta), struct.unpack_from(">I", content, place)
    changed = content[:place] + box + content[place + old :]
    return changed[:meta] + struct.pack(">I", size - old + len(box)) + changed[meta + 4 :]


def test_an_avif_without_a_still_picture_is_refused():
    content = avif(60).replace(b"meta", b"free")
    with pytest.raises(InputError, match=r"damaged AVIF picture .it has 0 still pictures"):
        read_image(content)


def test_a_callers_own_picture_is_shrunk_and_stays_as_it_is():
    picture = Image.fromarray(SCENE[:, :, :3].copy())
    picture.info = {"comment": "mine"}
    assert read_image(picture, draft=DRAFT_PIXELS).size == (747, 584)
    assert (picture.size, picture.info) == ((2240, 1750), {"comment": "mine"})
    assert read_image(picture) is not picture


def test_a_truncated_large_png_is_refused():
    content = encoded(Image.fromarray(SCENE), "PNG")
    for share in (0.1, 0.6, 0.97):
        with pytest.raises(InputError, match="damaged PNG"):
            read_image(content[: int(len(content) * share)], draft=DRAFT_PIXELS)


def test_a_white_logo_on_nothing_can_be_seen():
    logo = Image.new("RGBA", (60, 40), (255, 255, 255, 0))
    logo.paste((255, 255, 255, 255), (20, 10, 40, 30))
    read = np.asarray(read_image(encoded(logo, "PNG")))
    assert read[20, 30].tolist() == [255, 255, 255]
    assert read[0, 0].tolist() == [0, 0, 0]
    empty = read_image(encoded(Image.new("RGBA", (8, 8), (255, 255, 255, 0)), "PNG"))
    assert np.asarray(empty).min() == 255


def test_limits_of_time_and_memory_can_be_set():
    with pytest.raises(InputError, match="at most 10 MB"):
        read_image(large_png(4000, 4000, depth=16), Limits(max_image_memory=10_000_000), draft=DRAFT_PIXELS)
    with pytest.raises(InputError, match="takes too long"):
        read_image(large_png(4000, 4000), Limits(max_image_seconds=0.01), draft=DRAFT_PIXELS)
    with pytest.raises(InputError, match="max_image_seconds: found 0; wanted a positive number"):
        Limits(max_image_seconds=0)
    with pytest.raises(InputError, match=r"max_image_pixels: found 2\.5; wanted a positive whole number"):
        Limits(max_image_pixels=2.5)


def odd_tiff():
    """A TIFF with tags that Pillow warns of: too many values, a value outside the file, an unknown kind."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        extra = ImageFileDirectory_v2()
        extra[306] = "not a date"
        extra.tagtype[296] = 3
        extra[296] = (2, 2, 2)
        return encoded(Image.new("RGB", (40, 30), "teal"), "TIFF", tiffinfo=extra)


def test_no_warning_escapes_and_none_makes_a_picture_fail():
    odd = [
        odd_tiff(),
        segments(0xE2, b"MPF\0" + bytes(40), 100),
        segments(0xE1, b"Exif\0\0II*\0\x08\0\0\0\xff\xff", 40),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for content in odd:
            assert read_image(content).size == (40, 30)


def test_a_process_may_fork_while_pictures_are_read():
    """The child reads pictures as well: it inherits no lock that a thread of its parent holds."""
    content, stop = large_png(1000, 1000), threading.Event()

    def read_on():
        while not stop.is_set():
            read_image(content, draft=DRAFT_PIXELS)

    readers = [threading.Thread(target=read_on) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(10):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, which is the point
                child = os.fork()
            if not child:
                threading.Timer(20, os._exit, (3,)).start()
                os._exit(0 if read_image(content, draft=DRAFT_PIXELS).size == (500, 500) else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        stop.set()
        for reader in readers:
            reader.join()
