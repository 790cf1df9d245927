"""People's own posts: three formats, one row at a time; a bad row is an error in its place, never an exception."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_mmsa.data import read_posts
from hybrid_mmsa.errors import InputError
from hybrid_mmsa.types import RowError, Sample


def test_json_lines_keep_their_line_numbers(tmp_path):
    path = tmp_path / "posts.jsonl"
    good = json.dumps({"id": 7, "text": "hi", "image": "a.jpg", "label": "Positive", "extra": 1}).encode()
    bad = b'{"text": \n[1]\n{"text": "\xff"}\n{"text": "x", "label": "happy", "id": "q"}\n'
    path.write_bytes(b"\xef\xbb\xbf" + good + b"\n\n" + bad)
    rows = list(read_posts(path))
    assert [line for line, _ in rows] == [1, 3, 4, 5, 6]
    first = rows[0][1]
    assert isinstance(first, Sample)
    assert (first.id, first.text, first.label, first.image) == ("7", "hi", "positive", tmp_path / "a.jpg")
    causes = [row.error for _, row in rows[1:-1]]
    assert "not JSON" in causes[0]
    assert "not a list" in causes[1]
    assert "not UTF-8" in causes[2]
    assert (rows[4][1].id, rows[4][1].label) == ("q", None)
    assert "happy" in rows[4][1].warnings[0]


def test_csv_with_quotes_line_breaks_and_bad_rows(tmp_path):
    path = tmp_path / "posts.csv"
    path.write_bytes(
        b'id,text,label\n1,"two\nlines, one cell",negative\n2,too,many,cells\n'
        b"3,caf\xe9,neutral\n4,,neutral\n5,fine \xc3\xa9\xc3\xa9,positive\n"
    )
    rows = list(read_posts(path))
    assert [line for line, _ in rows] == [2, 4, 5, 6, 7]
    assert rows[0][1].text == "two\nlines, one cell"
    assert "4 cells where the heading names 3" in rows[1][1].error
    assert rows[2][1].error == "not UTF-8"
    assert rows[3][1].text is None
    assert rows[4][1].label == "positive"


def test_csv_without_a_text_or_image_column_is_refused(tmp_path):
    path = tmp_path / "posts.csv"
    path.write_text("id,words\n1,hi\n")
    with pytest.raises(InputError, match="no column is known as text or image"):
        list(read_posts(path))


def test_parquet(tmp_path):
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "posts.parquet"
    table = {
        "id": [1, 2, 3],
        "text": ["hi", None, "x"],
        "image": [None, "b.png", None],
        "label": ["neutral", None, "odd"],
    }
    pyarrow.parquet.write_table(pyarrow.table(table), path)
    rows = list(read_posts(path))
    assert [line for line, _ in rows] == [1, 2, 3]
    assert (rows[0][1].id, rows[0][1].label) == ("1", "neutral")
    assert (rows[1][1].text, rows[1][1].image) == (None, tmp_path / "b.png")
    assert rows[2][1].label is None
    assert "odd" in rows[2][1].warnings[0]


def test_parquet_that_is_none_is_refused(tmp_path):
    path = tmp_path / "posts.parquet"
    path.write_text("id,text\n")
    with pytest.raises(InputError, match="no readable Parquet file"):
        list(read_posts(path))


@pytest.mark.parametrize(
    ("name", "words"), [("gone.jsonl", "no file"), ("posts.bin", "is not text; wanted JSON lines")]
)
def test_a_file_that_cannot_be_read_is_refused_at_once(tmp_path, name, words):
    (tmp_path / "posts.bin").write_bytes(bytes(range(256)))
    with pytest.raises(InputError, match=words):
        read_posts(tmp_path / name)


def test_nesting_without_end_and_a_broken_heading_are_said_plainly(tmp_path):
    (tmp_path / "deep.jsonl").write_text("[" * 100_000 + '\n{"text": "fine"}\n')
    (_, broken), (_, fine) = read_posts(tmp_path / "deep.jsonl")
    assert "not JSON" in broken.error
    assert fine.text == "fine"
    (tmp_path / "heading.csv").write_text('"text"x,label\n')
    with pytest.raises(InputError, match="no CSV file"):
        list(read_posts(tmp_path / "heading.csv"))


@given(st.binary(max_size=200), st.sampled_from([".jsonl", ".csv"]))
def test_no_bytes_at_all_raise_anything_but_an_input_error(raw, suffix):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"posts{suffix}"
        path.write_bytes((b"id,text\n" if suffix == ".csv" else b"") + raw)
        for line, row in read_posts(path):
            assert line >= 1
            assert isinstance(row, Sample | RowError)
