"""`explain page`: what posts hold is shown as text and nothing else; counts, intervals and the queue are right."""

import base64
import csv
import hashlib
import io
import json
import re
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import hybrid_mmsa.explain.page as page_package
from hybrid_mmsa.cli import run
from hybrid_mmsa.cli.commands.demo import SAMPLES
from hybrid_mmsa.data import read_posts
from hybrid_mmsa.errors import InputError
from hybrid_mmsa.explain.compose import STANDS
from hybrid_mmsa.explain.page import Entry, entries, periods, render, render_page, thumbnail
from hybrid_mmsa.explain.page.record import LEVELS, chips, csv_line, pieces, record
from hybrid_mmsa.explain.page.tally import MOST_GROUPS, Tally
from hybrid_mmsa.explain.page.thumbnail import MOST_BYTES, SIDE
from hybrid_mmsa.metrics import wilson
from hybrid_mmsa.types import (
    LABELS,
    Analysis,
    Change,
    Cue,
    Explanation,
    Provenance,
    Region,
    RouteDecision,
    RowError,
    Sample,
    Verdict,
    WordEffect,
    prediction,
)

FOLDER = Path(page_package.__file__).parent
PROVENANCE = Provenance(package="1", model="tiny", model_hash="ab" * 32, encoder="tiny", encoder_hash="cd" * 32)
HOSTILE = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "<!-- <script> -->",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "&lt;b&gt; &amp; &#60;script&#62;",
    "\u202eright to left\u2066",
    "\u2028 \u2029 ]]> ${title} $title $policy %s",
    "javascript:alert(1)",
    '=HYPERLINK("http://a.example","b")',
    "\ud800 alone",
    "\0 nul",
    "A" * 10_000,
]
PIXEL = "data:image/jpeg;base64,AAAA"


def analysis(label="positive", confidence=0.8, **fields):
    rest = (1 - confidence) / 2
    sentiment = prediction(np.array([confidence if name == label else rest for name in LABELS], dtype=np.float32))
    route = RouteDecision(decision="keep", answered_by="fast", p_error=fields.pop("p_error", None))
    return Analysis(**{"sentiment": sentiment, "fast": sentiment, "route": route, "provenance": PROVENANCE, **fields})


def explanation(words=None, **fields):
    known = {"text": "Positive.", "label": "positive", "baseline": 0.4, "shares": {"text": 0.4}, "runner_up": "neutral"}
    return Explanation(**{**known, "words": words, **fields})


def entry(number=1, *, text="fine", label="positive", picture=None, **given):
    carried = {name: given.pop(name) for name in ("time", "group", "target") if name in given}
    gold = given.pop("given", None)
    answer = analysis(label, id=given.pop("id", str(number)), **given)
    return Entry(number, Sample(text=text, label=gold, **carried), answer, picture)


def full(hostile="hello"):
    """An entry with everything in it that a page can show."""
    verdict = Verdict(
        label="negative",
        probabilities={"negative": 0.6, "neutral": 0.3, "positive": 0.1},
        sarcasm=0.7,
        text_says="positive",
        picture_says="negative",
        cues=(Cue(side="image", text=hostile),),
        rationale=hostile,
        reasoner=hostile,
        adapter=hostile,
        prompt=hostile,
    )
    word = WordEffect(word=hostile, start=0, end=len(hostile), effect=0.2)
    evidence = explanation(
        (word,),
        text=hostile,
        agree=False,
        shares={"text": 0.5, "image": -0.1},
        sarcasm_words=(word,),
        heat_map=((0.0, 2.0), (-4.0, 1.0)),
        regions=(Region(left=0.1, top=0.2, right=0.5, bottom=0.6, effect=0.12),),
        changes=(Change(side="text", what=hostile, label="neutral"),),
    )
    route = RouteDecision(decision="defer", answered_by=hostile, reasons=("sarcasm", "conflict"), p_error=0.4)
    answer = analysis(
        id=hostile,
        sarcasm=0.9,
        conflict=0.6,
        text_sentiment=prediction(np.array([0.1, 0.2, 0.7], dtype=np.float32)),
        image_sentiment=prediction(np.array([0.7, 0.2, 0.1], dtype=np.float32)),
        verdict=verdict,
        rationale=hostile,
        explanation=evidence,
        prediction_set=("neutral", "positive"),
        needs_review=True,
        warnings=(hostile,),
    ).model_copy(update={"route": route})
    sample = Sample(text=hostile, target=hostile, time=hostile, group=hostile, label="negative")
    return Entry(1, sample, answer, PIXEL)


class Reader(HTMLParser):
    """The elements of a page with their attributes, and what stands in its scripts and styles."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.elements, self.inside, self.texts = [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag in {"script", "style"}:
            self.inside.append("")

    def handle_data(self, data):
        if self.elements and self.elements[-1][0] in {"script", "style"} and not self.inside[-1]:
            self.inside[-1] = data
        else:
            self.texts.append(data)

    def count(self, tag):
        return sum(name == tag for name, _ in self.elements)


def values_of(html):
    """The values that the page hands to its script."""
    (raw,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    return json.loads(raw)


def posts_of(html):
    return values_of(html)["posts"]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_words_are_text_everywhere(hostile):
    html = render_page([full(hostile), RowError(line=2, id=hostile, field=hostile, error=hostile)], hostile).html
    plain = Reader(render_page([full(), RowError(line=2, id="a", field="b", error="c")], "t").html)
    page = Reader(html)
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    assert not [a for _, attributes in page.elements for a in attributes if a.startswith("on") or a == "style"]
    (post,) = posts_of(html)
    assert "".join(piece[0] for piece in post["text"]) == post["rationale"] == post["id"] == hostile
    html.encode("utf-8")


@given(st.recursive(st.text() | st.floats(allow_nan=False, allow_infinity=False), st.lists))
def test_script_json_cannot_leave_its_element(values):
    text = render.script_json(values)
    assert json.loads(text) == values
    assert text.isascii()
    assert not set(text) & set("<>&")


def test_policy_lets_only_this_page_run():
    page = Reader(render_page([full()], "posts").html)
    (policy,) = [a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    style, _, script = page.inside
    hashed = ["sha256-" + base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in (script, style)]
    assert rules["default-src"] == "'none'"
    assert (rules["script-src"], rules["style-src"]) == (f"'{hashed[0]}'", f"'{hashed[1]}'")
    assert (rules["img-src"], rules["base-uri"], rules["form-action"]) == ("data:", "'none'", "'none'")


def test_nothing_comes_from_elsewhere():
    page = Reader(render_page([full()], "posts").html)
    assert not {tag for tag, _ in page.elements} & {"link", "iframe", "object", "embed", "base", "img"}
    assert not [a for _, a in page.elements if "src" in a or not a.get("href", "#").startswith("#")]
    style, _, script = page.inside
    assert not re.search(r"https?:|//[a-z]|url\(|@import", style)
    assert not re.search(r"https?:|fetch|XMLHttp|WebSocket|import\(|sendBeacon|localStorage|cookie", script)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|Function\(", script)


def test_script_and_page_know_the_same_elements():
    html = (FOLDER / "page.html").read_text(encoding="utf-8")
    script = (FOLDER / "page.js").read_text(encoding="utf-8")
    ids = set(re.findall(r'id="([\w-]+)"', html))
    assert set(re.findall(r'byId\("([\w-]+)"\)', script)) <= ids
    assert {"label", "route", "reason", "group"} <= ids
    assert len(re.findall(r'id="[\w-]+"', html)) == len(ids)


def test_script_reads_no_key_that_is_not_written():
    script = "".join((FOLDER / name).read_text(encoding="utf-8") for name in ("draw.js", "page.js"))
    post = record(full())
    known = set(post) | {"picture_left_out", "emotion", "when"}
    assert set(re.findall(r"\bpost\.(\w+)", script)) <= known
    inner = set(post["evidence"]) | set(post["verdict"]) | {"length", "map"}
    assert set(re.findall(r"\bfound\.(\w+)", script)) <= inner


def test_everything_is_carried_to_the_page():
    post = record(full())
    assert post["bars"][0]["who"] == "answer"
    assert [bar["who"] for bar in post["bars"][1:]] == ["words alone", "picture alone", "reasoner"]
    assert post["flags"] == ["sarcasm", "conflict", "needs review", "differs"]
    assert post["evidence"]["heat"] == [[0, 0.5], [-1, 0.25]]
    assert post["evidence"]["regions"] == [[0.1, 0.2, 0.5, 0.6, 0.12, "the middle left"]]
    assert post["chips"] == [["flag", "given as negative"], ["route", "deferred: sarcasm, conflict"]]
    assert post["row"] == {name: "hello" for name in ("id", "text", "target", "time", "group")} | {"chosen": "doubt"}
    assert post["text"] == [["hello", LEVELS, 0.2]]
    assert (post["decision"], post["reasons"], post["set"]) == (
        "defer",
        ["sarcasm", "conflict"],
        ("neutral", "positive"),
    )


def test_what_is_not_there_is_not_drawn():
    post = record(Entry(1, Sample(text=None), analysis(id="a")))
    for key in ("text", "picture", "evidence", "verdict", "rationale", "sarcasm", "conflict", "p_error", "set", "when"):
        assert key not in post
    assert record(Entry(1, Sample(text="x"), analysis(prediction_set=())))["set"] == ()
    found = record(Entry(1, Sample(text="x"), analysis(explanation=explanation())))["evidence"]
    assert not {"heat", "regions", "changes", "sarcasm", "agree"} & set(found)


@pytest.mark.parametrize("cells", [((1.0,), (1.0, 2.0)), ((0.0, 0.0),), (), ((),)])
def test_a_heat_map_that_cannot_be_drawn_is_left_out(cells):
    answer = analysis(explanation=explanation(heat_map=cells))
    assert "heat" not in record(Entry(1, Sample(text="x"), answer))["evidence"]


WORDS = st.builds(
    lambda start, length, effect: WordEffect(word="x", start=start, end=start + length, effect=effect),
    st.integers(0, 30),
    st.integers(0, 10),
    st.floats(-1, 1),
)


@given(st.text(max_size=30), st.lists(WORDS, max_size=8))
def test_pieces_are_the_text(text, words):
    cut = pieces(text, words)
    assert "".join(piece[0] for piece in cut) == text
    for _, *shade in cut:
        if shade:
            level, effect = shade
            assert abs(level) <= LEVELS
            assert level * effect >= 0


def test_the_strongest_word_is_shaded_most():
    words = [
        WordEffect(word="too", start=0, end=3, effect=0.3),
        WordEffect(word="bad", start=4, end=7, effect=-0.15),
        WordEffect(word="day", start=8, end=11, effect=0.001),
    ]
    assert pieces("too bad day", words) == [["too", 4, 0.3], [" "], ["bad", -2, -0.15], [" day"]]
    weak = [WordEffect(word="bad", start=0, end=3, effect=0.02)]
    assert pieces("bad", weak) == [["bad", 1, 0.02]]
    assert pieces("bad", [WordEffect(word="bad", start=0, end=3, effect=0.009)]) == [["bad"]]


def test_function_words_are_never_shaded_and_words_of_no_larger_effect_neither():
    words = [
        WordEffect(word="I", start=0, end=1, effect=0.4),
        WordEffect(word="like", start=2, end=6, effect=0.2),
        WordEffect(word="it", start=7, end=9, effect=-0.3),
    ]
    assert pieces("I like it", words) == [["I like it"]]


def test_a_word_that_stands_elsewhere_is_not_shaded():
    assert pieces("so bad", [WordEffect(word="bad", start=0, end=3, effect=0.3)]) == [["so bad"]]


def test_regions_are_named_and_those_that_hardly_count_are_not_drawn():
    regions = [Region(left=0, top=0, right=0.3, bottom=0.3, effect=effect) for effect in (0.2, 0.004)]
    found = record(entry(explanation=explanation(regions=tuple(regions))))["evidence"]
    assert found["regions"] == [[0, 0, 0.3, 0.3, 0.2, "the upper left"]]


@given(st.lists(st.text() | st.integers() | st.none(), min_size=1, max_size=5))
def test_a_cell_of_words_is_never_a_formula(cells):
    (back,) = csv.reader(io.StringIO(csv_line(cells), newline=""))
    for cell, read in zip(cells, back, strict=True):
        if isinstance(cell, int):
            assert read == str(cell)
        else:
            assert not read.lstrip().startswith(tuple("=+-@＝＋－＠"))
            assert not read.startswith(("\t", "\r", "\n"))
            assert read.removeprefix("'") == (cell or "").removeprefix("'") or read == cell


def test_csv_lines_fit_their_heading():
    values = values_of(render_page([full("=1+1"), entry(2)], "t").html)
    lines = "\r\n".join([values["csv"], *(post["csv"] for post in values["posts"])])
    rows = list(csv.DictReader(io.StringIO(lines, newline="")))
    assert [row["line"] for row in rows] == ["1", "2"] or [row["line"] for row in rows] == ["2", "1"]
    hostile = next(row for row in rows if row["line"] == "1")
    assert hostile["text"] == hostile["rationale_written_by_model"] == hostile["group"] == "'=1+1"
    assert (hostile["label"], hostile["negative"], hostile["needs_review"]) == ("positive", "0.1", "true")


def test_wilson_is_that_of_scipy():
    from scipy.stats import binomtest

    for count, n in ((0, 1), (0, 20), (3, 20), (20, 20), (500, 1000)):
        expected = binomtest(count, n).proportion_ci(method="wilson")
        found = wilson(count, n)
        assert (found.value, found.low, found.high) == pytest.approx((count / n, *expected), abs=1e-6)
    for count, n in ((0, 0), (2, 1), (-1, 3)):
        with pytest.raises(InputError):
            wilson(count, n)


def test_summary_counts_all_posts_and_gives_intervals():
    rows = [entry(i, label="negative" if i < 3 else "positive") for i in range(10)]
    page = render_page([*rows, RowError(line=11, error="no words")], "t", most=2)
    assert (page.answered, page.listed, page.failed) == (10, 2, 1)
    share = wilson(3, 10)
    assert f"3 posts [{100 * share.low:.1f},\u00a0{100 * share.high:.1f}]" in page.html
    assert "no words" in page.html
    assert "2 of 10 posts" in page.html
    assert ">1 post [" in render_page(rows[2:4], "t", most=2).html


def test_a_page_of_nothing_opens():
    page = render_page([], "nothing")
    assert (page.answered, posts_of(page.html)) == (0, [])
    assert "<svg" not in page.html


def test_the_queue_begins_with_the_likeliest_mistakes():
    errors = [0.1, 0.5, None, 0.5, 0.9, 0.15]  # of the third, the confidence tells
    rows = [entry(i, p_error=p) for i, p in enumerate(errors, 1)]
    assert [post["line"] for post in posts_of(render_page(rows, "t").html)] == [5, 2, 4, 3, 6, 1]
    assert [post["line"] for post in posts_of(render_page(rows, "t", most=3).html)] == [5, 2, 4]


TIMES = st.datetimes(datetime(1890, 1, 1), datetime(2230, 1, 1)).map(datetime.isoformat) | st.text(max_size=12)


@given(st.lists(st.tuples(TIMES, st.sampled_from(["a", "b", None]), st.sampled_from(LABELS)), max_size=30))
def test_every_post_is_in_a_part_or_counted_as_left_out(posts):
    tally = Tally()
    for number, (time, group, label) in enumerate(posts):
        tally.add(entry(number, time=time, group=group, label=label))
    for trend in (tally.over_time(), tally.over_groups()):
        assert sum(part.n for part in trend.parts) + trend.left_out + trend.unknown == len(posts)
        assert len(trend.parts) <= max(periods.MOST_PERIODS, MOST_GROUPS)
    names = [part.name for part in tally.over_time().parts]
    assert names == sorted(set(names))


@pytest.mark.parametrize(
    ("times", "unit", "names"),
    [
        (["2026-03-01T22:30Z", "2026-03-02T01:10:00+01:00"], "hour", ["2026-03-01 22:00", "2026-03-02 00:00"]),
        (["2026-03-01", "2026-03-04"], "day", ["2026-03-01", "2026-03-04"]),
        (["2026-01-07", "2026-06-24"], "week", ["2026-01-05", "2026-06-22"]),
        (["2024-12-31", "2027-02-01"], "month", ["2024-12", "2027-02"]),
        (["2001-12-31", "2027-02-01"], "year", ["2001", "2027"]),
    ],
)
def test_periods_fit_the_span(times, unit, names):
    tally = Tally()
    for number, time in enumerate(40 * times):
        tally.add(entry(number, time=time))
    trend = tally.over_time()
    assert trend.unit == unit
    assert [part.name for part in trend.parts if part.n] == names
    assert trend.unknown == 0


def test_few_posts_are_drawn_by_week_and_their_charts_are_folded():
    rows = [entry(i, time=f"2026-03-{1 + i:02}") for i in range(28)]
    few, many = render_page(rows, "t").html, render_page(10 * rows, "t").html
    assert "Over time, by week" in few
    assert "<details><summary><h2>Trends" in few
    assert "Over time, by day" in many
    assert "<details open><summary><h2>Trends" in many


def test_the_list_comes_first_and_what_holds_for_all_posts_is_said_once():
    stands = f"Negative. This post should be read again, because the answer is unsure{STANDS}."
    rows = [
        entry(i, time="2026-03-01", explanation=explanation(text=stands), timings={"encode": 20.0, "explain": 80.0})
        for i in range(3)
    ]
    html = render_page(rows, "t").html
    assert html.index('<section id="posts"') < html.index('<section id="trends"')
    assert {post["evidence"]["text"] for post in posts_of(html)} == {stands.replace(STANDS, "")}
    assert html.count("No reasoner was configured") == 1
    assert "Finding words and regions took 80 ms a post, the answers themselves 20 ms." in html


def test_a_post_has_three_chips_at_the_most_and_says_nothing_twice():
    route = RouteDecision(decision="defer", answered_by="fast", reasons=("low_confidence",))
    answer = analysis(sarcasm=0.9, conflict=0.9, needs_review=True).model_copy(update={"route": route})
    assert chips(Entry(1, Sample(text="x", label="negative"), answer)) == [
        ["flag", "given as negative"],
        ["route", "deferred: low confidence"],
        ["flag", "sarcasm 90%"],
    ]
    assert chips(entry()) == []


def test_labels_of_the_page_are_rows_that_training_reads(desk):
    """What the script writes (the row and a label) is read back with its picture."""
    posts = read_posts(desk / "posts.jsonl")

    def answering(rows):
        return [row if isinstance(row, RowError) else analysis(id=row.id) for _, row in list(rows)]

    found = [each for each in entries(posts, answering, posts.source.root) if isinstance(each, Entry)]
    lines = [json.dumps({**record(each)["row"], "label": "neutral"}) for each in found]
    (desk / "labelled.jsonl").write_text("\n".join(lines), encoding="utf-8")
    again = [row for _, row in read_posts(desk / "labelled.jsonl")]
    assert [(row.id, row.text, row.label) for row in again] == [(e.sample.id, e.sample.text, "neutral") for e in found]
    assert [row.image and row.image.name for row in again] == [None, "cat.jpg"]
    assert [record(each)["row"].get("image") for each in found] == [None, "cat.jpg"]


def test_small_groups_are_counted_and_not_drawn():
    tally = Tally()
    for number in range(MOST_GROUPS + 3):
        tally.add(entry(2 * number, group=f"brand {number}"))
    tally.add(entry(1, group="brand 17", label="negative"))
    trend = tally.over_groups()
    assert (trend.parts[0].name, trend.parts[0].counts, trend.left_out) == ("brand 17", (1, 0, 1), 3)


def test_trends_are_drawn_with_their_intervals():
    rows = [entry(i, time=f"2026-03-0{1 + i}", group="Acme" if i % 2 else "<Brand>") for i in range(9)]
    html = render_page(rows, "t").html
    assert html.count("<svg") == 6
    assert 'class="band"' in html
    assert "&lt;Brand&gt;" in html
    assert "<td><bdi>100.0 % [51.0,\u00a0100.0]</bdi></td>" in html  # 4 of 4


def noise(height, width):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 3), (700, 900), (40, 30)])
def test_thumbnails_are_small(size):
    uri = thumbnail(noise(*size))
    encoded = base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))
    picture = Image.open(io.BytesIO(encoded))
    assert len(encoded) <= MOST_BYTES
    assert max(picture.size) == min(SIDE, max(size)) or max(picture.size) < SIDE
    assert picture.format == "JPEG"


def test_thumbnails_carry_no_metadata(tmp_path):
    picture = noise(64, 64)
    exif = Image.Exif()
    exif[0x010F] = "Secret Camera"
    picture.save(tmp_path / "a.jpg", exif=exif, comment=b"secret place")
    rows = [(1, Sample(image=tmp_path / "a.jpg"))]
    (made,) = entries(rows, lambda rows: [analysis(id=row.id) for _, row in rows])
    encoded = base64.b64decode(made.picture.split(",")[1])
    assert b"ecret" in (tmp_path / "a.jpg").read_bytes()
    assert b"ecret" not in encoded
    assert b"Exif" not in encoded


def test_pictures_stop_at_the_budget(monkeypatch):
    monkeypatch.setattr(render, "PICTURE_BUDGET", 2 * len(PIXEL))
    rows = [replace(entry(i, p_error=1 - i / 10), picture=PIXEL) for i in range(1, 6)]
    html = render_page(rows, "t").html
    assert [post.get("picture") for post in posts_of(html)] == [PIXEL, PIXEL, None, None, None]
    assert "3 pictures are left out" in html


def test_rows_are_paired_with_answers_that_run_ahead():
    rows = [(3, Sample(text="a")), (4, Sample(text=" ")), (6, RowError(line=6, error="no JSON")), (7, Sample(text="b"))]

    def answering(rows):
        kept = list(rows)
        return [row if isinstance(row, RowError) else analysis(id=row.id) for _, row in kept]

    made = list(entries(rows, answering))
    assert [row.line for row in made] == [3, 4, 6, 7]
    assert [type(row) for row in made] == [Entry, RowError, RowError, Entry]
    assert (made[3].sample.text, made[3].analysis.id) == ("b", "7")


def test_a_time_without_a_zone_is_utc():
    assert periods.moment("2026-03-01T10:00") == periods.moment("2026-03-01T12:00+02:00")
    assert periods.moment("2026-03-01") == datetime(2026, 3, 1, tzinfo=UTC)
    assert [periods.moment(time) for time in (None, "", "soon", "0001-01-01T00:00+23:00", "9999-12-31")] == [None] * 5


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder with `posts.jsonl` and the picture it names, and one row that fails."""
    shutil.copy(SAMPLES / "cat.jpg", tmp_path)
    rows = ['{"id": "a", "text": "What a <b>day</b>!", "group": "x"}', '{"image": "cat.jpg", "time": "2026-03-01"}']
    (tmp_path / "good.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (tmp_path / "posts.jsonl").write_text("\n".join([rows[0], "no JSON", rows[1]]) + "\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_writes_a_page(desk, capsys):
    assert run(["explain", "page", "good.jsonl", "-o", "page.html", "--workers", "1"]) == 0
    page = (desk / "page.html").read_text(encoding="utf-8")
    posts = {post["id"]: post for post in posts_of(page)}
    assert set(posts) == {"a", "2"}
    assert posts["2"]["picture"].startswith("data:image/jpeg;base64,")
    assert "".join(piece[0] for piece in posts["a"]["text"]) == "What a <b>day</b>!"
    assert posts["a"]["evidence"]["text"]
    assert not list(desk.glob("*.partial"))
    assert "2 posts in page.html" in capsys.readouterr().err


def test_options_for_answering_reach_the_page(desk):
    probabilities = {"negative": 0.8, "neutral": 0.1, "positive": 0.1}
    verdict = Verdict(label="negative", probabilities=probabilities, reasoner="vlm").model_dump_json()
    (desk / "verdicts.jsonl").write_text(f'{verdict[:-1]}, "id": "a"}}\n', encoding="utf-8")
    (desk / "one.jsonl").write_text('{"id": "a", "text": "I hate mondays"}\n', encoding="utf-8")
    asked = ["--reasoner", "verdicts.jsonl", "--mode", "deep", "--workers", "1"]
    assert run(["explain", "page", "one.jsonl", "-o", "page.html", *asked]) == 0
    (post,) = posts_of((desk / "page.html").read_text(encoding="utf-8"))
    assert post["verdict"]["label"] == post["label"] == "negative"
    assert any(len(piece) == 3 for piece in post["text"]), "in full unless asked otherwise"


def test_recorded_answers_are_not_asked_for_again(desk, capsys):
    (desk / "answers.jsonl").write_text("", encoding="utf-8")
    recorded = ["good.jsonl", "-o", "page.html", "--answers", "answers.jsonl"]
    assert run(["explain", "page", *recorded, "--mode", "deep"]) == 2
    assert "leave out" in capsys.readouterr().err


def test_a_failed_row_is_listed_and_code_1(desk, capsys):
    assert run(["explain", "page", "posts.jsonl", "-o", "page.html", "--explain", "modality", "--workers", "1"]) == 1
    error = capsys.readouterr().err
    assert "1 row failed" in error
    assert "line 2: not JSON" in error
    assert "not JSON" in (desk / "page.html").read_text(encoding="utf-8")


def test_the_answers_of_batch_are_shown_as_they_are(desk, capsys):
    assert run(["batch", "posts.jsonl", "-o", "answers.jsonl", "--workers", "1"]) == 1
    assert run(["explain", "page", "posts.jsonl", "-o", "page.html", "--answers", "answers.jsonl"]) == 1
    shown = {post["id"]: post["p_error"] for post in posts_of((desk / "page.html").read_text(encoding="utf-8"))}
    lines = (desk / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    answers = [Analysis.model_validate_json(line) for line in lines]
    assert shown == {a.id: round(a.route.p_error, 4) for a in answers}


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([1, 0], "an answer to '2' where post 'a' of line 1 is"),
        ([0], "nothing more where post '2' of line 2 is"),
        ([0, 1, 1], "more answers than there are posts"),
        (["{}"], "no answer"),
    ],
)
def test_answers_to_other_posts_are_refused(desk, capsys, lines, told):
    answers = [analysis(id="a").model_dump_json(), analysis(id="2").model_dump_json()]
    kept = [answers[line] if isinstance(line, int) else line for line in lines]
    (desk / "answers.jsonl").write_text("\n".join(kept) + "\n", encoding="utf-8")
    assert run(["explain", "page", "good.jsonl", "-o", "page.html", "--answers", "answers.jsonl"]) == 2
    assert told in capsys.readouterr().err
    assert not (desk / "page.html").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["missing.jsonl", "-o", "page.html"],
        ["good.jsonl", "-o", "nowhere/page.html"],
        ["good.jsonl", "-o", "good.jsonl"],
        ["good.jsonl", "-o", "."],
        ["good.jsonl", "-o", "page.html", "--answers", "missing.jsonl"],
        ["good.jsonl", "-o", "page.html", "--most", "0"],
    ],
)
def test_bad_usage_is_one_line_and_code_2(desk, capsys, arguments):
    assert run(["explain", "page", *arguments]) == 2
    out, error = capsys.readouterr()
    assert (out, len(error.splitlines())) == ("", 1)
