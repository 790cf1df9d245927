"""Rows and raw samples at the border: what can be read is read, what cannot is named, reading twice changes nothing."""

import json
from dataclasses import fields, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import hybrid_mmsa
from hybrid_mmsa.errors import InputError
from hybrid_mmsa.inputs import UNNAMED, Limits, needing, read_image, read_row, read_sample, row_id, sample_from_row
from hybrid_mmsa.types import RowError, Sample

SAMPLES = Path(hybrid_mmsa.__file__).parent / "samples"
PICTURE = Image.new("RGB", (20, 10), "teal")

texts = st.none() | st.text(st.characters(), max_size=60)
values = (
    st.none()
    | st.text(st.characters(), max_size=10)
    | st.integers()
    | st.floats()
    | st.booleans()
    | st.lists(st.integers())
)


def attempt(call, *values):
    """What a call returns, or the error that it is allowed to raise."""
    try:
        return call(*values)
    except InputError as error:
        return error


def same(one, other):
    return all(getattr(one, f.name) == getattr(other, f.name) for f in fields(Sample))


def test_a_post_is_read():
    raw = Sample(text="  So &amp; NASA\n", image=np.zeros((4, 6), np.uint8), target=" NASA ", id="7", label="neutral")
    read = read_sample(raw)
    assert (read.text, read.target, read.id, read.label, read.warnings) == ("So & NASA", "NASA", "7", "neutral", ())
    assert isinstance(read.image, Image.Image)
    assert (read.image.mode, read.image.size) == ("RGB", (6, 4))


@given(text=texts, target=texts, id=texts, group=texts, picture=st.booleans(), limit=st.integers(1, 40))
def test_reading_twice_changes_nothing(text, target, id, group, picture, limit):
    limits = Limits(max_text_chars=limit)
    image = np.full((3, 5, 4), 90, np.uint8) if picture else None
    read = attempt(read_sample, Sample(text=text, image=image, target=target, id=id, group=group), limits)
    if isinstance(read, InputError):
        assert not picture
        assert "neither text nor image" in read.message
        return
    assert read_sample(read, limits) is read
    assert read.text is None or 0 < len(read.text) <= limit
    for value in (read.id, read.group):
        assert value is None or value.encode("utf-8").decode("utf-8") == value


@pytest.mark.parametrize("text", [None, "", "  \n", "\u200d", "\ufe0f", "\u200b\ud800"])
def test_neither_text_nor_picture_is_an_error(text):
    with pytest.raises(InputError, match="neither text nor image"):
        read_sample(Sample(text=text))


def test_blank_text_beside_a_picture_is_none():
    read = read_sample(Sample(text=" \t", image=PICTURE))
    assert read.text is None
    assert read.image is PICTURE


def test_long_text_is_cut_and_said():
    read = read_sample(Sample(text="word " * 100, target="t" * 60), Limits(max_text_chars=50))
    assert read.text == ("word " * 10).strip()
    assert read.target == "t" * 50
    cut = ("text was cut from 500 to 50 characters", "target was cut from 60 to 50 characters")
    assert read.warnings == (*cut, UNNAMED)


def test_text_that_grows_beyond_the_limit_when_made_canonical_is_cut_and_said():
    read = read_sample(Sample(text="\u0958" * 10), Limits(max_text_chars=10))  # one character, canonically two
    assert read.text == "\u0915\u093c" * 5
    assert "text was cut from 20 to 10 characters" in read.warnings


def test_a_foreign_text_is_said_once_and_earlier_warnings_stay():
    read = read_sample(Sample(text="С днем святого валентина", warnings=("seen before",)))
    assert read.warnings[0] == "seen before"
    assert "does not look English" in read.warnings[1]
    assert read_sample(read).warnings == read.warnings


def test_broken_identifiers_can_be_written():
    assert read_sample(Sample(text="hi", id="a\ud800\ud83d\ude00")).id == "a\ufffd😀"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("text", b"bytes"),
        ("text", 5),
        ("text", float("nan")),
        ("target", ["NASA"]),
        ("id", 7),
        ("label", "happy"),
        ("label", 2),
        ("text_label", ["positive"]),
        ("image_label", np.array(["positive", "negative"])),
        ("sarcastic", "yes"),
        ("warnings", "one"),
        ("image", 5),
        ("image", "http://example.org/a.jpg"),
        ("image", ""),
    ],
)
def test_a_wrong_value_is_named(field, value):
    with pytest.raises(InputError) as caught:
        read_sample(replace(Sample(text="fine words"), **{field: value}))
    assert caught.value.field == field
    assert "found" in caught.value.message
    assert "wanted" in caught.value.message
    assert "\n" not in str(caught.value)


def test_only_samples_are_read():
    with pytest.raises(InputError, match="sample: found dict; wanted a Sample"):
        read_sample({"text": "hi"})


def test_a_row_becomes_a_raw_sample(tmp_path):
    row = {
        "id": 7.0,
        "text": " As written ",
        "image": "pictures/a.jpg",
        "time": datetime(2024, 5, 1, 12),
        "group": np.int64(3),
        "label": " Positive",
        "text_label": "",
        "image_label": float("nan"),
        "sarcastic": "No",
        "another column": object(),
    }
    sample = sample_from_row(row, tmp_path)
    assert (sample.id, sample.text, sample.group, sample.time) == ("7", " As written ", "3", "2024-05-01T12:00:00")
    assert sample.image == tmp_path / "pictures" / "a.jpg"
    assert (sample.label, sample.text_label, sample.image_label, sample.sarcastic) == ("positive", None, None, False)
    assert (sample.target, sample.rationale, sample.warnings) == (None, None, ())


@pytest.mark.parametrize("address", ["data:image/png;base64,AA==", "https://example.org/a.jpg"])
def test_addresses_are_no_relative_paths(address, tmp_path):
    assert sample_from_row({"image": address}, tmp_path).image == address


def test_pictures_in_rows_stay_what_they_are(tmp_path):
    for image in (b"bytes", PICTURE, tmp_path / "a.jpg"):
        assert sample_from_row({"image": image}, tmp_path).image == image
    assert sample_from_row({"image": "a.jpg"}).image == "a.jpg"


@pytest.mark.parametrize(
    ("value", "truth"), [(True, True), (np.False_, False), (1, True), (0.0, False), ("TRUE", True), ("no", False)]
)
def test_sarcasm_is_read_in_the_ways_tables_write_it(value, truth):
    assert sample_from_row({"sarcastic": value}).sarcastic is truth


@pytest.mark.parametrize(
    ("value", "label"),
    [(1, "negative"), ("2", "negative"), (3.0, "neutral"), (np.int64(4), "positive"), (" 5.0 ", "positive")],
)
def test_a_label_may_be_stars(value, label):
    assert sample_from_row({"label": value}).label == label


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("text", 5),
        ("text", ["a"]),
        ("target", 5),
        ("id", [1]),
        ("id", True),
    ],
)
def test_a_wrong_column_is_named(column, value):
    with pytest.raises(InputError) as caught:
        sample_from_row({column: value})
    assert caught.value.field == column


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("label", "joyful"),
        ("label", "mixed"),
        ("label", 0),
        ("label", 2.5),
        ("label", "6"),
        ("label", True),
        ("text_label", 2),
        ("text_label", True),
        ("sarcastic", "perhaps"),
        ("sarcastic", 2),
        ("time", 12),
        ("time", "03/04/2024"),
        ("time", []),
        ("group", []),
        ("rationale", {}),
        ("id", float("inf")),
        ("id", json.loads("1e400")),
    ],
)
def test_what_an_answer_does_not_need_costs_none(column, value):
    sample = read_row(1, {"text": "fine", column: value})
    assert getattr(sample, column) is None
    assert len(sample.warnings) == 1
    assert sample.warnings[0].endswith("; it was left out")
    assert (needing(column, 7, sample).line, needing(column, 7, sample).field) == (7, column)


@pytest.mark.parametrize(
    ("value", "label"),
    [
        ("pos", "positive"),
        ("NEG", "negative"),
        (" Neu ", "neutral"),
        ("very positive", "positive"),
        ("Extremely_Negative", "negative"),
        ("somewhat-negative", "negative"),
        ("4 stars", "positive"),
        ("1 star", "negative"),
        ("3/5", "neutral"),
        ("5 out of 5", "positive"),
        ("★★☆☆☆", "negative"),
        ("⭐⭐⭐⭐⭐", "positive"),
    ],
)
def test_labels_are_read_as_people_write_them(value, label):
    assert sample_from_row({"label": value}).label == label


@pytest.mark.parametrize(
    ("value", "time"),
    [
        ("2024-05-03T07:32:10+02:00", "2024-05-03T07:32:10+02:00"),
        ("2024-05-03", "2024-05-03"),
        (1714730400000, "2024-05-03T10:00:00+00:00"),
        (1714730400, "2024-05-03T10:00:00+00:00"),
        ("1714730400", "2024-05-03T10:00:00+00:00"),
        (1714730400.0, "2024-05-03T10:00:00+00:00"),
        ("Wed Oct 10 20:19:24 +0000 2018", "2018-10-10T20:19:24+00:00"),
        ("Wed, 10 Oct 2018 20:19:24 +0200", "2018-10-10T20:19:24+02:00"),
        ("2015-02-24 11:35:52 UTC", "2015-02-24 11:35:52+00:00"),
        ("2015/02/24 11:35", "2015-02-24 11:35"),
        ("09 13, 2009", "2009-09-13T00:00:00"),
        ("September 13, 2009", "2009-09-13T00:00:00"),
    ],
)
def test_times_are_read_as_exports_write_them(value, time):
    sample = sample_from_row({"time": value})
    assert (sample.time, sample.warnings) == (time, ())


def test_a_picture_of_a_data_set_is_its_bytes_or_its_path(tmp_path):
    assert sample_from_row({"image": {"bytes": b"x", "path": "a.jpg"}}, tmp_path).image == b"x"
    assert sample_from_row({"image": {"bytes": None, "path": "a.jpg"}}, tmp_path).image == tmp_path / "a.jpg"


@given(st.dictionaries(st.sampled_from([f.name for f in fields(Sample)] + ["other"]), values))
def test_any_row_is_a_sample_or_an_input_error(row):
    sample = attempt(sample_from_row, row)
    if isinstance(sample, InputError):
        assert sample.field in row
        return
    assert isinstance(attempt(read_sample, replace(sample, image=None)), Sample | InputError)


@given(st.dictionaries(st.sampled_from(["id", "text", "target", "group", "rationale"]), st.text()))
def test_rows_read_twice_are_equal(row):
    assert same(sample_from_row(row), sample_from_row(dict(row)))


def test_a_number_too_long_to_print_is_no_name():
    with pytest.raises(InputError, match="id: found a number too long"):
        sample_from_row({"id": 10**5000})


@given(values)
def test_every_row_has_an_id_that_an_error_can_carry(value):
    error = RowError(line=1, id=row_id({"id": value}), error="some reason")
    assert RowError.model_validate_json(error.model_dump_json()) == error


@pytest.mark.parametrize(
    ("value", "id"),
    [(None, None), (" ", None), ("a 1", "a 1"), (7, "7"), (7.0, "7"), ("\ud800", "\ufffd"), ([], "list")],
)
def test_the_id_of_a_failing_row(value, id):
    assert row_id({"id": value}) == id
    assert row_id({"id": 10**5000}) == "int"


def test_a_row_is_read_or_its_error_is_told():
    assert read_row(1, {"text": " hi ", "id": 5}).text == "hi"
    assert read_row(1, Sample(text=" hi ")).text == "hi"
    earlier = RowError(line=9, error="not JSON")
    assert read_row(1, earlier) is earlier
    error = read_row(4, {"id": "a", "text": "fine", "image": "none.jpg"})
    assert (error.line, error.id, error.field) == (4, "a", "image")


@pytest.mark.parametrize(
    "row",
    [
        None,
        ["text"],
        {},
        {"id": []},
        {"id": "\ud800", "text": 5},
        Sample(),
        Sample(text="fine", id=7),
        Sample(text="fine", id=[]),
        Sample(id="\ud800"),
        Sample(text="fine", image="\ud800"),
        Sample(text="\ud800"),
    ],
    ids=range(11),
)
def test_no_row_is_an_exception(row):
    error = read_row(3, row)
    assert isinstance(error, RowError)
    assert RowError.model_validate_json(error.model_dump_json()) == error


def test_only_mappings_are_rows():
    with pytest.raises(InputError, match="row: found list"):
        sample_from_row(["text"])


@pytest.mark.parametrize("limits", [{"max_image_bytes": 0}, {"max_image_pixels": -1}, {"max_text_chars": 1.5}])
def test_limits_are_positive_whole_numbers(limits):
    with pytest.raises(InputError, match="positive whole number"):
        Limits(**limits)


def test_the_bundled_posts_are_readable_and_credited():
    rows = [json.loads(line) for line in (SAMPLES / "posts.jsonl").read_text(encoding="utf-8").splitlines()]
    samples = [read_sample(sample_from_row(row, SAMPLES)) for row in rows]
    assert len({sample.id for sample in samples}) == len(samples) == 9
    assert {"plain-positive", "plain-negative", "neutral", "text-against-picture", "sarcastic"} < {
        s.id for s in samples
    }
    assert [s.id for s in samples if s.image is None] == ["text-only"]
    assert [s.id for s in samples if s.text is None] == ["picture-only"]
    assert all(sample.warnings == () for sample in samples)

    pictures = sorted(SAMPLES.glob("*.jpg"))
    assert {p.name for p in pictures} == {row["image"] for row in rows if "image" in row}
    assert all(min(read_image(p).size) <= 320 for p in pictures)
    assert sum(p.stat().st_size for p in pictures) < 400_000
    credit = (SAMPLES / "CREDITS.md").read_text(encoding="utf-8")
    assert all(f"`{p.name}`" in credit for p in pictures)


@pytest.mark.parametrize(
    ("text", "target", "warned"),
    [
        ("the food was great", "food", False),
        ("the food was great", "FOOD here", False),
        ("so proud of #BarackObama", "Barack Obama", False),
        ("two waiters ignored us", "waiter", False),
        ("my 🐶 is the best", "🐶", False),
        ("the food was great", "service", True),
    ],
)
def test_a_target_that_the_text_does_not_name_is_warned_about(text, target, warned):
    assert (UNNAMED in read_sample(Sample(text=text, target=target)).warnings) is warned
