"""Any file in: dialects, encodings and the exports of other programs, written here and read with its counts right."""

import base64
import gzip
import io
import json
import shutil
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import Workbook
from PIL import Image

from hybrid_mmsa.cli.commands.demo import SAMPLES
from hybrid_mmsa.data import Reading, read_posts
from hybrid_mmsa.data.rows.csv_rows import Dialect, csv_rows
from hybrid_mmsa.errors import InputError
from hybrid_mmsa.inputs import read_sample
from hybrid_mmsa.types import RowError, Sample

TEXTS = ["What a day, really!", "It broke; I sent it back", 'They said "fine"', "Café très bien – it’s good"]
LABELS = ["positive", "negative", "neutral", "positive"]
PLAIN = {"id": ["1", "2", "3", "4"], "text": TEXTS, "label": LABELS}


def csv_text(table=PLAIN, delimiter=",", quote="always", end="\n", before="", escape='""'):
    def cell(value):
        text = str(value)
        if quote == "always" or any(mark in text for mark in (delimiter, '"', "\n")):
            return '"' + text.replace('"', escape) + '"'
        return text

    rows = [table.keys(), *zip(*table.values(), strict=True)]
    return before + "".join(delimiter.join(cell(value) for value in row) + end for row in rows)


def json_rows(table=PLAIN):
    return [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]


def jsonl(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def excel(sheets):
    book, file = Workbook(), io.BytesIO()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(file)
    return file.getvalue()


def parquet(columns, metadata=None):
    file, table = io.BytesIO(), pyarrow.table(columns)
    pyarrow.parquet.write_table(table.replace_schema_metadata(metadata), file)
    return file.getvalue()


def png():
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(file, "PNG")
    return file.getvalue()


PLAIN_ROWS = [list(PLAIN), *map(list, zip(*PLAIN.values(), strict=True))]
CSV_FILES = {
    "comma.csv": csv_text(),
    "comma-when-needed.csv": csv_text(quote="needed"),
    "semicolon.csv": csv_text(delimiter=";"),
    "semicolon-when-needed.csv": csv_text(delimiter=";", quote="needed"),
    "bar.csv": csv_text(delimiter="|", quote="needed"),
    "tab.csv": csv_text(delimiter="\t", quote="needed"),
    "tab.tsv": csv_text(delimiter="\t", quote="needed"),
    "sep.csv": csv_text(delimiter=";", before="sep=;\n"),
    "windows-lines.csv": csv_text(end="\r\n"),
    "old-mac-lines.csv": csv_text(end="\r"),
    "backslash.csv": csv_text(escape='\\"'),
    "trailing-delimiter.csv": csv_text(quote="needed", end=",\n"),
    "no-last-newline.csv": csv_text().rstrip("\n"),
    "blank-lines.csv": csv_text(end="\n\n"),
    "without-suffix": csv_text(delimiter=";"),
}
ENCODED = {
    "mark.csv": csv_text().encode("utf-8-sig"),
    "utf16.csv": csv_text(delimiter="\t").encode("utf-16"),
    "utf16-without-mark.csv": csv_text().encode("utf-16-le"),
    "utf16-big.csv": b"\xfe\xff" + csv_text().encode("utf-16-be"),
    "cp1252.csv": csv_text(delimiter=";").encode("cp1252"),
    "cp1252.txt": ("\n".join(TEXTS) + "\n").encode("cp1252"),
    "cp1252.jsonl": "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in json_rows()).encode("cp1252"),
    "utf16.json": json.dumps(json_rows(), ensure_ascii=False).encode("utf-16"),
    "packed.csv.gz": gzip.compress(csv_text().encode()),
    "packed.jsonl.gz": gzip.compress(jsonl(json_rows()).encode()),
}
JSON_FILES = {
    "lines.jsonl": jsonl(json_rows()),
    "lines.json": jsonl(json_rows()),
    "array.json": json.dumps(json_rows()),
    "array-over-lines.json": json.dumps(json_rows(), indent=1),
    "under-data.json": json.dumps({"count": 4, "data": json_rows()}),
    "under-data-over-lines.json": json.dumps({"count": 4, "data": json_rows()}, indent=2),
    "array.jsonl.txt.json": "\n\n" + json.dumps(json_rows()),
}
SHEETS = {
    "sheet.xlsx": excel({"Posts": PLAIN_ROWS}),
    "second-sheet.xlsx": excel({"Empty": [], "Posts": [[], *PLAIN_ROWS, [None, None, None]]}),
    "plain.parquet": parquet(PLAIN),
}
FOUR = {**CSV_FILES, **ENCODED, **JSON_FILES, **SHEETS}


@pytest.mark.parametrize("name", FOUR)
def test_four_posts_are_the_same_in_every_dialect(tmp_path, name):
    path = tmp_path / name
    content = FOUR[name]
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    rows = [row for _, row in read_posts(path)]
    assert not [row.error for row in rows if isinstance(row, RowError)]
    assert [row.text for row in rows] == TEXTS
    if path.suffix != ".txt":
        assert [row.label for row in rows] == LABELS
        assert [row.id for row in rows] == PLAIN["id"]


TWEET = {
    "full_text": "So good",
    "id_str": "77",
    "created_at": "Wed Oct 10 20:19:24 +0000 2018",
    "entities": {"media": [{"media_url_https": "https://pbs.example/media/Abc.jpg"}]},
}
AMAZON = {"rating": 5.0, "title": "Great", "text": "Works well", "images": [], "asin": "B0", "parent_asin": "B1"}
STUDIO = {"id": 3, "data": {"text": "So good", "id": "p1"}}
CHOICE = {"from_name": "sentiment", "to_name": "text", "type": "choices", "value": {"choices": ["Positive"]}}
ARGILLA = {
    "id": "p1",
    "fields": {"text": "So good"},
    "metadata": {},
    "suggestions": {},
    "responses": {"label": [{"value": "positive", "user_id": "u", "status": "submitted"}]},
}
HF = {"info": {"features": {"label": {"names": ["neg", "pos"], "_type": "ClassLabel"}}}}
EXPORTS = {
    "X archive": ("tweets.js", "window.YTD.tweets.part0 = " + json.dumps([{"tweet": TWEET}] * 3)),
    "X API 1.1": ("tweets.jsonl", jsonl([TWEET] * 3)),
    "X API 2": (
        "tweets.json",
        json.dumps(
            {
                "data": [{"id": "77", "text": "So good", "author_id": "5", "created_at": "2018-10-10T20:19:24.000Z"}]
                * 3,
                "includes": {"users": [{"id": "5"}]},
            }
        ),
    ),
    "Reddit listing": (
        "reddit.json",
        json.dumps(
            {
                "kind": "Listing",
                "data": {
                    "after": None,
                    "children": [
                        {
                            "kind": "t3",
                            "data": {
                                "title": "So good",
                                "selftext": "",
                                "subreddit": "s",
                                "created_utc": 1.6e9,
                                "id": "77",
                            },
                        }
                    ]
                    * 3,
                },
            }
        ),
    ),
    "Reddit": (
        "comments.jsonl",
        jsonl([{"body": "So good", "subreddit": "s", "created_utc": 1600000000, "id": "77"}] * 3),
    ),
    "Amazon Reviews 2018": (
        "reviews.json",
        jsonl([{"overall": 5.0, "reviewText": "So good", "asin": "B0", "unixReviewTime": 1600000000}] * 3),
    ),
    "Amazon Reviews 2023": (
        "reviews.jsonl",
        jsonl([AMAZON | {"title": "", "text": "So good", "timestamp": 1600000000000}] * 3),
    ),
    "Yelp": (
        "yelp_academic_dataset_review.json",
        jsonl(
            [
                {"review_id": "77", "business_id": "b", "stars": 5.0, "text": "So good", "date": "2018-07-07 22:09:11"},
            ]
            * 3
        ),
    ),
    "Trustpilot": (
        "reviews.csv",
        "Review ID,Review Created (UTC),Review Title,Review Content,Review Stars\n"
        + "77,2024-01-01 10:00:00,,So good,5\n" * 3,
    ),
    "Label Studio": ("project.json", json.dumps([STUDIO | {"annotations": [{"result": [CHOICE]}]}] * 3)),
    "Label Studio table": (
        "project.csv",
        "id,text,sentiment,annotator,annotation_id\n" + "77,So good,Positive,1,9\n" * 3,
    ),
    "Argilla": ("records.json", json.dumps([ARGILLA] * 3)),
    "Argilla table": (
        "records.parquet",
        parquet({"id": ["p1"] * 3, "text": ["So good"] * 3, "label.responses": [["positive"]] * 3}),
    ),
    "datasets": (
        "train.parquet",
        parquet(
            {"text": ["So good"] * 3, "label": [1] * 3, "image": [{"bytes": png(), "path": "a.png"}] * 3},
            {"huggingface": json.dumps(HF)},
        ),
    ),
    "Kaggle airline": (
        "Tweets.csv",
        "tweet_id,airline_sentiment,name,text,tweet_created\n" + "77,positive,x,So good,y\n" * 3,
    ),
}


@pytest.mark.parametrize("name", EXPORTS)
def test_exports_of_other_programs_are_read_as_they_are(tmp_path, name):
    file, content = EXPORTS[name]
    path = tmp_path / file
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    posts = read_posts(path)
    rows = [row for _, row in posts]
    assert [row.text for row in rows] == ["So good"] * 3
    assert not any(row.warnings for row in rows)
    labelled = not name.startswith(("X", "Reddit"))
    assert [row.label for row in rows] == ["positive" if labelled else None] * 3
    known = name.removesuffix(" table")
    if known not in ("datasets", "Kaggle airline"):
        assert known in posts.understood()
    if name.startswith(("X", "Reddit", "Amazon", "Yelp", "Trustpilot")):
        assert all(row.time and row.time[:2] == "20" for row in rows)
    assert len(posts.understood().splitlines()) <= 1


def test_there_are_at_least_forty_files():
    assert len(FOUR) + len(EXPORTS) >= 40


def test_pictures_of_an_archive_and_of_a_data_set_are_found(tmp_path):
    (tmp_path / "tweets_media").mkdir()
    shutil.copy(SAMPLES / "cat.jpg", tmp_path / "tweets_media" / "77-Abc.jpg")
    (tmp_path / "tweets.js").write_text(EXPORTS["X archive"][1])
    assert {row.image for _, row in read_posts(tmp_path / "tweets.js")} == {tmp_path / "tweets_media" / "77-Abc.jpg"}
    (tmp_path / "train.parquet").write_bytes(EXPORTS["datasets"][1])
    row = next(iter(read_posts(tmp_path / "train.parquet")))[1]
    assert read_sample(row).image.size == (8, 8)
    assert read_sample(Sample(image=png())).image.size == (8, 8)


def test_a_folder_of_pictures_is_a_file_of_posts(tmp_path):
    (tmp_path / "inner").mkdir()
    shutil.copy(SAMPLES / "cat.jpg", tmp_path / "inner" / "b.JPG")
    shutil.copy(SAMPLES / "clock.jpg", tmp_path / "a.jpg")
    (tmp_path / "notes.md").write_text("no picture")
    rows = [row for _, row in read_posts(tmp_path)]
    assert [row.id for row in rows] == ["a.jpg", "inner/b.JPG"]
    assert all(read_sample(row).image for row in rows)
    (tmp_path / "inner" / "b.JPG").rename(tmp_path / "inner" / "b.md")
    with pytest.raises(InputError, match=r"without pictures.*1 .md"):
        read_posts(tmp_path / "inner")


@pytest.mark.parametrize(
    "content", [jsonl(json_rows()).encode(), csv_text(delimiter=";").encode("cp1252"), SHEETS["sheet.xlsx"]]
)
def test_standard_input_is_a_file(monkeypatch, content):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    posts = read_posts(Path("-"))
    assert [row.text for _, row in posts] == [row.text for _, row in posts] == TEXTS


def open_quote(rows, place, label="neutral"):
    lines = [
        f'{n},"post number {n}, fine",{label}' if n % 3 else f"{n},post number {n},{label}" for n in range(1, rows + 1)
    ]
    lines[place] = f'{place + 1},"this quote stays open,{label}'
    return "id,text,label\n" + "\n".join(lines) + "\n"


@pytest.mark.parametrize("place", [0, 99, 10_000, 19_999])
def test_an_open_quote_costs_its_own_row(tmp_path, place):
    path = tmp_path / "posts.csv"
    path.write_text(open_quote(20_000, place))
    rows = dict(read_posts(path))
    assert len(rows) == 20_000
    failed = {line: row for line, row in rows.items() if isinstance(row, RowError)}
    assert list(failed) == [place + 2]
    assert "an open quote" in failed[place + 2].error
    if place < 19_998:
        assert "in doubt" in failed[place + 2].error
    assert Counter(row.id for row in rows.values() if isinstance(row, Sample)).most_common(1)[0][1] == 1


def test_open_quotes_in_every_tenth_row_cost_a_tenth(tmp_path):
    lines = [f'{n},"open, {n},neutral' if n % 10 == 0 else f'{n},"shut, {n}",neutral' for n in range(1, 2001)]
    (tmp_path / "posts.csv").write_text("id,text,label\n" + "\n".join(lines) + "\n")
    rows = [row for _, row in read_posts(tmp_path / "posts.csv")]
    assert (len(rows), sum(isinstance(row, RowError) for row in rows)) == (2000, 200)


def test_an_unquoted_tab_file_may_hold_quotes(tmp_path):
    (tmp_path / "posts.tsv").write_text('id\ttext\n1\t"open\n2\tsaid "so"\n3\t"he" said\n4\tplain\n')
    assert [row.text for _, row in read_posts(tmp_path / "posts.tsv")] == ['"open', 'said "so"', '"he" said', "plain"]


def test_a_cell_of_many_lines_is_one_cell(tmp_path):
    text = "\n".join(f"line {n}, and so on" for n in range(300))
    (tmp_path / "posts.csv").write_text(csv_text({"id": ["1", "2"], "text": [text, "short"], "label": LABELS[:2]}))
    assert [row.text for _, row in read_posts(tmp_path / "posts.csv")] == [text, "short"]


def test_a_cell_longer_than_the_standard_limit_is_read(tmp_path):
    (tmp_path / "posts.csv").write_text(f"id,text\n1,{'so good ' * 40_000}\n")
    assert len(next(iter(read_posts(tmp_path / "posts.csv")))[1].text) == 320_000


CELL = st.text(alphabet='ab,";\n \té', max_size=12)


@given(st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=6))
def test_what_a_csv_writer_writes_is_read_back(rows):
    import csv

    file = io.StringIO(newline="")
    csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("a", "b", "c"), *rows])
    _, read = csv_rows(iter(file.getvalue().splitlines(keepends=True)), Dialect(), "x")
    cells = [tuple(row.values()) for _, row in read if not isinstance(row, RowError)]
    # Cells that look like rows of their own are the price of finding open quotes: only those may differ.
    if not any(cell.count('"') for row in rows for cell in row) and not any(
        "\n" in cell for row in rows for cell in row
    ):
        assert cells == [tuple(row) for row in rows]


@given(st.binary(max_size=300), st.sampled_from([".json", ".csv", ".tsv", ".txt", ".xlsx", ".js", ""]))
def test_no_bytes_raise_anything_but_an_input_error(tmp_path_factory, raw, suffix):
    path = tmp_path_factory.mktemp("any") / f"posts{suffix}"
    path.write_bytes(raw)
    try:
        rows = list(read_posts(path))
    except InputError:
        return
    assert all(isinstance(row, Sample | RowError) for _, row in rows)


def test_columns_and_labels_by_name(tmp_path):
    (tmp_path / "posts.csv").write_text("who;tweet;mood\n1;So good;happy\n2;So bad;angry\n3;So so;bored\n")
    reading = Reading({"text": "tweet", "label": "mood"}, {"Happy": "positive", "angry": "negative"})
    posts = read_posts(tmp_path / "posts.csv", reading)
    rows = [row for _, row in posts]
    assert [row.label for row in rows] == ["positive", "negative", None]
    assert "label: found" in rows[2].warnings[0]
    assert posts.understood() == (
        "posts.csv: CSV with semicolons; text from tweet; label from mood; labels happy as positive, angry as negative"
        "; labels not known: 'bored' (--labels bored=...)"
    )


def test_nothing_is_said_of_a_file_as_documented(tmp_path):
    (tmp_path / "posts.jsonl").write_text(jsonl(json_rows()))
    (tmp_path / "posts.csv").write_text(csv_text())
    assert read_posts(tmp_path / "posts.jsonl").understood() == ""
    assert read_posts(tmp_path / "posts.csv").understood() == ""


@pytest.mark.parametrize(
    ("content", "reading", "words"),
    [
        ("id,words\n1,x\n", Reading(), r"found the columns 'id', 'words'; name it: --map text=COLUMN"),
        ("tweet,comment\nx,y\n", Reading(), r"'tweet' and 'comment' may be the text.*--map text=tweet"),
        ("text,text\nx,y\n", Reading(), r"names 'text' 2 times"),
        ("id,text\n1,x\n", Reading({"text": "tweet"}), r"no column 'tweet'; found the columns 'id', 'text'"),
        ("", Reading(), "empty"),
        ("id,text\n1,x\n", Reading(encoding="klingon"), "no encoding 'klingon'"),
    ],
)
def test_columns_that_cannot_be_told_are_asked_for(tmp_path, content, reading, words):
    (tmp_path / "posts.csv").write_text(content)
    with pytest.raises(InputError, match=words):
        read_posts(tmp_path / "posts.csv", reading)


@pytest.mark.parametrize(("columns", "labels"), [({"words": "tweet"}, {}), ({}, {"happy": "joy"})])
def test_wrong_names_are_refused(columns, labels):
    with pytest.raises(InputError, match="wanted"):
        Reading(columns, labels)


@pytest.mark.parametrize(
    ("name", "words"), [("posts.xls", "old format"), ("posts.ods", "OpenDocument"), ("gone.csv", "no file")]
)
def test_what_is_not_read_is_named(tmp_path, name, words):
    with pytest.raises(InputError, match=words):
        read_posts(tmp_path / name)


def test_an_array_that_breaks_off_says_so(tmp_path):
    (tmp_path / "posts.json").write_text('[{"text": "a"}, {"text": "b"}, {"text": ')
    rows = [row for _, row in read_posts(tmp_path / "posts.json")]
    assert [row.text for row in rows[:2]] == ["a", "b"]
    assert "the rows after it are lost" in rows[2].error


def test_nesting_without_end_costs_neither_time_nor_memory(tmp_path):
    """The place of a value is spelt out by the parser: of 100,000 levels that would be gigabytes."""
    (tmp_path / "posts.json").write_text('[{"text": "a"}, ' + '{"text":[' * 100_000)
    rows = [row for _, row in read_posts(tmp_path / "posts.json")]
    assert rows[0].text == "a"
    assert "nested more than 500 levels deep" in rows[1].error


@pytest.mark.parametrize("name", ["posts.csv.gz", "posts.jsonl.gz", "posts.xlsx"])
def test_what_is_packed_and_damaged_is_an_error_of_ours(tmp_path, name):
    whole = excel({"Posts": PLAIN_ROWS * 50}) if name.endswith("xlsx") else gzip.compress(csv_text().encode() * 50)
    for place in range(20, len(whole) - 20, 7):
        (tmp_path / name).write_bytes(whole[:place] + b"\xff\x00\xff" + whole[place + 3 :])
        with suppress(InputError):
            assert all(isinstance(row, Sample | RowError) for _, row in read_posts(tmp_path / name))


def test_a_damaged_gzip_file_whose_encoding_is_given_is_an_error_of_ours(tmp_path):
    packed = gzip.compress(csv_text().encode() + bytes(range(32, 127)) * 3_000)
    (tmp_path / "posts.csv.gz").write_bytes(packed[:-40])
    with pytest.raises(InputError, match="damaged gzip"):
        list(read_posts(tmp_path / "posts.csv.gz", Reading(encoding="utf-8")))


def test_a_sheet_of_empty_rows_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("hybrid_mmsa.data.rows.sheet_rows.MOST_ROWS", 100)
    (tmp_path / "posts.xlsx").write_bytes(excel({"Posts": [[]] * 100 + [["text"]]}))
    with pytest.raises(InputError, match="more than Excel's 100 rows"):
        read_posts(tmp_path / "posts.xlsx")


def test_pictures_in_json_are_read(tmp_path):
    address = "data:image/png;base64," + base64.b64encode(png()).decode()
    (tmp_path / "posts.json").write_text(json.dumps([{"image": address}]))
    assert read_sample(next(iter(read_posts(tmp_path / "posts.json")))[1]).image.size == (8, 8)
