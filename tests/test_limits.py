"""Limits are an argument of the analyzer and of the command line, and pictures of a file stay below its folder."""

import json
import pickle

import pytest
from PIL import Image

from hybrid_mmsa import Analyzer, InputError, Limits, RowError
from hybrid_mmsa.cli import run
from hybrid_mmsa.data import read_posts
from hybrid_mmsa.data.columns import Reading

SMALL = Limits(max_image_pixels=100, max_text_chars=20)
LONG = "what a lovely day at the sea"


@pytest.fixture(scope="module")
def bounded(analyzer):
    return Analyzer(analyzer.encoder, list(analyzer.adapters.values()), limits=SMALL)


def test_an_analyzer_keeps_its_limits(bounded):
    picture = Image.new("RGB", (20, 10), "red")
    with pytest.raises(InputError, match="at most 100 pixels"):
        bounded.analyze(LONG, picture)
    with pytest.raises(InputError, match="at most 100 pixels"):
        bounded.analyze_batch([{"image": picture}])
    (row,) = bounded.stream([{"image": picture}])
    assert isinstance(row, RowError)
    assert any("cut from" in warning for warning in bounded.analyze(LONG).warnings)
    assert bounded.limits == SMALL


def test_limits_travel_to_other_processes():
    analyzer = Analyzer.from_pretrained(limits=SMALL)
    assert pickle.loads(pickle.dumps(analyzer)).limits == SMALL


def test_what_are_no_limits_is_refused(analyzer):
    with pytest.raises(InputError, match="limits: found a dict; wanted Limits"):
        Analyzer(analyzer.encoder, list(analyzer.adapters.values()), limits={"max_text_chars": 5})


def test_limits_of_the_command_line(tmp_path, capsys):
    Image.new("RGB", (20, 10), "red").save(tmp_path / "a.png")
    image = ["--image", str(tmp_path / "a.png")]
    assert run(["analyze", *image, "--limit", "max_image_pixels=100"]) == 2
    assert "at most 100 pixels" in capsys.readouterr().err
    assert run(["analyze", *image, "--limit", "max_image_pixels=200", "--limit", "max_image_seconds=0.5"]) == 0
    for wrong, cause in (
        ("colour=1", "no limit"),
        ("max_text_chars=many", "wanted a number"),
        ("max_text_chars=0", "positive"),
    ):
        assert run(["analyze", "hi", "--limit", wrong]) == 2
        assert cause in capsys.readouterr().err


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "posts"
    (folder / "pictures").mkdir(parents=True)
    for place in (tmp_path / "secret.png", folder / "pictures" / "a.png"):
        Image.new("RGB", (8, 8), "red").save(place)
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    return folder


def told(folder, image, reading=None):
    file = folder / "posts.jsonl"
    file.write_text(json.dumps({"image": image}) + "\n")
    ((_, row),) = read_posts(file, *([] if reading is None else [reading]))
    return row


@pytest.mark.parametrize(
    "image",
    ["../secret.png", "pictures/../../secret.png", "link.png", "/etc/passwd", "/proc/kmsg", "../none.png", "/nowhere"],
)
def test_a_picture_path_may_not_leave_the_folder_and_the_error_tells_nothing(folder, image):
    row = told(folder, image)
    assert (row.field, row.error) == (
        "image",
        "found a path that leaves the folder of the posts; wanted one inside it, or --image-root FOLDER",
    )


def test_a_picture_inside_is_read_and_another_root_can_be_named(folder):
    assert told(folder, "pictures/a.png").image == folder / "pictures" / "a.png"
    assert told(folder, str(folder / "pictures" / "a.png")).image == folder / "pictures" / "a.png"
    assert told(folder, "secret.png", Reading(image_root=folder.parent)).image == folder.parent / "secret.png"
    with pytest.raises(InputError, match="there is no folder"):
        Reading(image_root=folder / "none")


def test_a_file_of_the_kernel_is_not_opened():
    """It claims to be empty, and reading it would wait for ever."""
    with pytest.raises(InputError, match="no bytes at all"):
        Analyzer.from_pretrained().analyze(image="/proc/kmsg")
