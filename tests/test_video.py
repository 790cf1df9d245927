"""Films: known moments are found and none invented; damage and hostility are refused; the page shows text as text."""

import base64
import hashlib
import json
import re
import struct
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.bench.video.films import SOUND_RATE, write_film
from hybrid_mmsa import Analyzer, Limits
from hybrid_mmsa.cli import run
from hybrid_mmsa.errors import InputError, MissingExtraError, SchemaVersionError
from hybrid_mmsa.inputs.media import open_media
from hybrid_mmsa.types import Utterance, prediction
from hybrid_mmsa.video import Timeline, analyze_video, timeline_page
from hybrid_mmsa.video.curve import smooth
from hybrid_mmsa.video.frames import pictures

SAMPLES = Path(__file__).resolve().parent.parent / "hybrid_mmsa" / "samples"
SCHEMA = "timeline.schema.json"
RATE, SIZE = 8, (64, 48)
GLAD, CALM, CROSS = (240, 220, 120), (128, 128, 128), (30, 30, 90)
SCENES = ((0, 8, CALM), (8, 14, CROSS), (14, 24, CALM), (24, 32, GLAD))
"""When a colour is shown, and which: who is there looks glad, calm or cross by it."""
CALL = [
    {"start": 0.5, "end": 3.0, "speaker": "Agent", "text": "This is the service line, Anna speaking."},
    {"start": 3.5, "end": 6.5, "speaker": "Customer", "text": "My parcel number is four seven one one."},
    {"start": 8.5, "end": 12.0, "speaker": "Customer", "text": "This is the worst service I have ever had, I hate it!"},
    {"start": 11.0, "end": 13.0, "speaker": "Agent", "text": "Please let me look at the order."},
    {"start": 18.5, "end": 20.0, "speaker": "Agent", "text": "It leaves the warehouse today."},
    {"start": 21.0, "end": 23.0, "speaker": "Customer", "text": "Wonderful, thank you so much, I love it!"},
    {
        "start": 26.0,
        "end": 30.0,
        "speaker": "Customer",
        "text": "But the last one was terrible, I was so sad and angry.",
    },
]


class ColourFaces:
    """Sees one face in each picture, which looks as the picture's colour says."""

    def __init__(self):
        self.asked = []

    def read(self, image):
        red, _, blue = np.asarray(image).reshape(-1, 3).mean(axis=0)
        mood = "positive" if red > blue + 60 else "negative" if blue > red + 30 else "neutral"
        self.asked.append(mood)
        return [Seen(mood)]


class Seen:
    box = (0, 0, 10, 10)

    def __init__(self, mood):
        shares = {"negative": (0.9, 0.05, 0.05), "neutral": (0.1, 0.8, 0.1), "positive": (0.05, 0.05, 0.9)}
        self.sentiment = prediction(np.array(shares[mood], np.float32))


def frames(scenes=SCENES, size=SIZE, rate=RATE):
    for start, end, colour in scenes:
        for _ in range(round(rate * (end - start))):
            yield np.full((size[1], size[0], 3), colour, np.uint8)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    path = tmp_path_factory.mktemp("film") / "call & co.mp4"
    write_film(path, frames(), RATE, key_every=16)
    return path


@pytest.fixture(scope="module")
def timeline(film):
    return analyze_video(film, CALL, faces=ColourFaces())


def instances(timeline, kind, role=None):
    return [
        (each.start, each.end)
        for moment in timeline.moments
        if (moment.kind, moment.role) == (kind, role)
        for each in moment.instances
    ]


def test_known_moments_are_found_and_none_invented(timeline):
    assert {(moment.kind, moment.role) for moment in timeline.moments} == {
        ("negative", "customer"),
        ("positive", "customer"),
        ("words_and_face_disagree", "customer"),
        ("interruption", "agent"),
        ("non_talk", None),
    }
    assert instances(timeline, "negative", "customer") == [(8.5, 12.0), (26.0, 30.0)]
    assert instances(timeline, "positive", "customer") == [(21.0, 23.0)]
    assert instances(timeline, "words_and_face_disagree", "customer") == [(26.0, 30.0)]
    assert instances(timeline, "interruption", "agent") == [(11.0, 12.0)]
    assert instances(timeline, "non_talk") == [(13.0, 18.5)]


def test_scenes_are_found_where_they_begin(timeline):
    assert timeline.scenes == pytest.approx([start for start, _, _ in SCENES], abs=0.3)
    assert timeline.film.duration == pytest.approx(32, abs=0.2)
    assert (timeline.film.width, timeline.film.height) == SIZE
    assert timeline.warnings == ()


def test_each_utterance_is_judged_with_the_frame_of_its_middle(timeline):
    spoken = [segment for segment in timeline.segments if segment.text is not None]
    assert [segment.text for segment in spoken] == [part["text"] for part in CALL]
    for segment in spoken:
        assert segment.frame == pytest.approx((segment.start + segment.end) / 2, abs=0.3)
        assert segment.analysis.text_sentiment is not None
        assert segment.analysis.image_sentiment is not None
        assert segment.faces == 1
    silent = [segment for segment in timeline.segments if segment.text is None]
    assert [segment.start for segment in silent] == sorted(segment.start for segment in silent)
    assert all(segment.analysis.text_sentiment is None for segment in silent)
    assert any(13 <= segment.start <= 13.3 and segment.end <= 18.5 for segment in silent)


def test_who_talks_is_counted(timeline):
    talk = timeline.talk
    assert talk.talk_seconds == {"agent": 6.0, "customer": 12.5}
    assert talk.interruptions == {"agent": 1}
    assert talk.non_talk_seconds == pytest.approx(5.5)
    assert talk.words_per_minute["agent"] == pytest.approx(60 * 19 / 6, abs=0.1)


def test_the_curve_goes_down_where_the_customer_is_angry(timeline):
    curve = next(curve for curve in timeline.curves if curve.role == "customer")
    at = {point.time: point.valence for point in curve.points}
    angry, glad = (at[min(at, key=lambda each: abs(each - time))] for time in (10, 21))
    assert angry < -0.3
    assert glad > angry + 0.2
    assert {curve.role for curve in timeline.curves} == {None, "agent", "customer"}


def test_plain_words_and_a_still_picture_make_no_moment(tmp_path):
    write_film(tmp_path / "still.mp4", frames([(0, 6, CALM)]), RATE)
    said = [{"start": 1, "end": 3, "text": "The meeting is on Tuesday at ten."}]
    timeline = analyze_video(tmp_path / "still.mp4", said, faces=ColourFaces())
    assert timeline.moments == ()
    assert timeline.scenes == (0.0,)


def test_without_a_transcript_scenes_and_time_make_the_segments(film):
    timeline = analyze_video(film, every=6)
    assert timeline.talk is None
    assert timeline.moments == ()
    starts = [segment.start for segment in timeline.segments]
    assert starts == pytest.approx([0, 6, 8, 14, 20, 24, 30], abs=0.3)
    assert all(a.end == b.start for a, b in zip(timeline.segments, timeline.segments[1:], strict=False))


def test_a_timeline_goes_through_json_unchanged(timeline):
    assert Timeline.model_validate_json(timeline.model_dump_json()) == timeline
    document = json.loads(timeline.model_dump_json()) | {"schema_version": "2.0"}
    with pytest.raises(SchemaVersionError, match=r"2\.0"):
        Timeline.model_validate(document)


def schema_text():
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Timeline.model_json_schema(
        mode="serialization"
    )
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def test_the_schema_is_the_committed_one():
    """It changes only on purpose: `python tests/test_video.py` writes it again."""
    committed = Path(Timeline.__module__.replace(".", "/")).parent / SCHEMA
    assert (SAMPLES.parent.parent / committed).read_text(encoding="utf-8") == schema_text()


# ---- sound ----


def test_a_recorded_call_without_pictures_is_judged_by_its_words(tmp_path):
    tone = np.sin(np.arange(8 * SOUND_RATE) / 20, dtype=np.float32)[None] / 4
    write_film(tmp_path / "call.wav", (), RATE, sound=tone, sound_codec="pcm_s16le")
    said = [{"start": 1, "end": 4, "role": "customer", "text": "I hate this, it is terrible!"}]
    timeline = analyze_video(tmp_path / "call.wav", said)
    assert (timeline.film.width, timeline.film.duration) == (None, pytest.approx(8, abs=0.1))
    assert instances(timeline, "negative", "customer") == [(1.0, 4.0)]
    assert "<audio" in timeline_page(timeline, tmp_path / "call.wav", tmp_path / "call.html")
    with pytest.raises(InputError, match="a transcript is wanted"):
        analyze_video(tmp_path / "call.wav")


def test_words_after_the_end_are_judged_and_told(film):
    timeline = analyze_video(film, [{"start": 100, "end": 101, "text": "I love it!"}])
    assert timeline.segments[-1].analysis.image_sentiment is None
    assert "after the end of the film" in timeline.warnings[0]


# ---- pictures ----

CLOCKWISE = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}


def turned(film, degrees):
    """An MP4 file whose pictures are to be shown turned, as phones write them: a matrix in the head of the track."""
    content = bytearray(film.read_bytes())
    a, b, c, d = (value << 16 for value in CLOCKWISE[degrees])
    at = content.index(b"tkhd") + 44
    content[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    film.write_bytes(content)


@pytest.mark.parametrize(("degrees", "size"), [(90, (48, 64)), (180, (64, 48)), (270, (48, 64))])
def test_a_film_is_looked_at_as_it_is_shown(tmp_path, degrees, size):
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[:, :32, 0] = pixels[:, 32:, 2] = 220  # red on the left, blue on the right
    write_film(tmp_path / "film.mp4", [pixels] * 4, RATE)
    turned(tmp_path / "film.mp4", degrees)
    with open_media(tmp_path / "film.mp4") as media:
        picture = next(pictures(media, media.video(), every=5, at=()))
    assert picture.image.size == size
    shown = np.asarray(picture.image)
    red = {90: shown[:20], 180: shown[:, 40:], 270: shown[40:]}[degrees].mean(axis=(0, 1))
    assert red[0] > red[2] + 100


def test_a_film_in_4k_is_looked_at_by_its_key_frames(tmp_path):
    write_film(tmp_path / "film.mp4", frames([(0, 0.4, CALM)], (3840, 2160), 30), 30, key_every=6)
    timeline = analyze_video(tmp_path / "film.mp4", [{"start": 0, "end": 0.4, "text": "I love it!"}])
    assert (timeline.film.width, timeline.film.height) == (3840, 2160)
    assert timeline.segments[-1].frame == pytest.approx(0.2, abs=0.1)
    assert [warning for warning in timeline.warnings if "key frames only" in warning]


# ---- damage and hostility ----


def test_a_film_that_was_cut_off_is_told(film, tmp_path):
    write_film(tmp_path / "whole.mkv", frames(), RATE, codec="mpeg4")
    whole = (tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    timeline = analyze_video(tmp_path / "cut.mkv", CALL)
    assert [segment.text for segment in timeline.segments if segment.text] == [part["text"] for part in CALL]
    assert any("cut off" in warning or "was read to" in warning for warning in timeline.warnings)
    (tmp_path / "cut.mp4").write_bytes(film.read_bytes()[: film.stat().st_size // 2])  # its index was at its end
    with pytest.raises(InputError, match="is damaged or of no known format"):
        analyze_video(tmp_path / "cut.mp4", CALL)


@given(seed=st.integers(0, 2**32 - 1), share=st.sampled_from([0.0005, 0.01, 0.2]))
def test_damaged_films_are_read_in_part_or_refused(film, tmp_path_factory, seed, share):
    chance = np.random.default_rng(seed)
    content = np.frombuffer(film.read_bytes(), np.uint8).copy()
    hit = chance.random(len(content)) < share
    content[hit] = chance.integers(0, 256, int(hit.sum()), dtype=np.uint8)
    damaged = tmp_path_factory.mktemp("damaged") / "film.mp4"
    damaged.write_bytes(content.tobytes())
    try:
        with open_media(damaged) as media:
            stream = media.video()
            times = [] if stream is None else [time for time, _ in media.frames(stream)]
    except InputError:
        return
    assert times == sorted(times)


PLAYLISTS = {
    "list.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{film}\n#EXT-X-ENDLIST\n",
    "list.ffconcat": "ffconcat version 1.0\nfile '{film}'\n",
    "list.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{film}\n#EXT-X-ENDLIST\n",
    "list.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n",
    "list.mpd": '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><BaseURL>{film}</BaseURL></MPD>',
}


@pytest.mark.parametrize("name", PLAYLISTS)
def test_a_file_that_names_others_is_refused(film, tmp_path, name):
    (tmp_path / "film.mp4").write_bytes(film.read_bytes())
    (tmp_path / name).write_text(PLAYLISTS[name].format(film="film.mp4"))
    with pytest.raises(InputError, match="is damaged or of no known format"), open_media(tmp_path / name):
        pass


@pytest.mark.parametrize("name", ["http://127.0.0.1:9/a.mp4", "concat:a.mp4|b.mp4", "pipe:0", "/dev/null", "", "."])
def test_a_name_is_a_file_and_nothing_else(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="found no file"), open_media(name):
        pass


def test_large_frames_are_refused_before_they_are_decoded(film):
    with pytest.raises(InputError, match="64 x 48 pixels; wanted at most 1,000"):
        analyze_video(film, analyzer=Analyzer.from_pretrained(limits=Limits(max_image_pixels=1000)))


def test_a_film_that_grows_beyond_the_limits_is_read_up_to_there(tmp_path):
    for name, size in (("small", (64, 48)), ("large", (640, 480))):
        write_film(tmp_path / f"{name}.ts", frames([(0, 3, CALM)], size=size), RATE, codec="mpeg2video")
    both = tmp_path / "both.ts"
    both.write_bytes((tmp_path / "small.ts").read_bytes() + (tmp_path / "large.ts").read_bytes())
    with open_media(both, Limits(max_image_pixels=10_000)) as media:
        sizes = {(frame.width, frame.height) for _, frame in media.frames(media.video())}
        assert sizes == {(64, 48)}
        assert media.damaged > 0


def test_a_file_without_streams_is_refused(tmp_path):
    (tmp_path / "empty.ts").write_bytes(bytes([0x47, 0x1F, 0xFF, 0x10, *bytes(184)]) * 40)
    with pytest.raises(InputError, match=r"neither film nor sound|damaged or of no known format"):
        analyze_video(tmp_path / "empty.ts", CALL)


def test_a_missing_package_names_its_extra(film, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match="extra 'video'"):
        analyze_video(film, CALL)


def test_reading_a_film_opens_no_socket(film):
    program = """
import sys
events = []
sys.addaudithook(lambda event, args: events.append(event) if event.startswith("socket.") else None)
from hybrid_mmsa.video import analyze_video
analyze_video(sys.argv[1], [{"start": 1, "end": 2, "text": "I love it"}])
sys.exit(bool(events))
"""
    assert subprocess.run([sys.executable, "-c", program, film]).returncode == 0


# ---- the curve ----

SHARES = st.floats(-1, 1, width=32)


@given(
    st.lists(st.tuples(st.floats(0, 4000, width=32), st.floats(0.5, 30, width=32), SHARES), min_size=1, max_size=20),
    st.lists(st.floats(0, 4000, width=32), min_size=1, max_size=20),
)
def test_the_curve_is_a_mean_of_what_is_near(segments, times):
    middles, lengths, values = np.array(segments, np.float32).T
    smoothed = smooth(middles, lengths, values, np.array(times, np.float32))
    assert np.isfinite(smoothed).all()
    assert (smoothed >= values.min() - 1e-4).all()
    assert (smoothed <= values.max() + 1e-4).all()


def test_the_curve_meets_a_segment_that_is_far_from_all_others():
    far = smooth(*(np.array(each, np.float32) for each in ([0, 1000], [5, 5], [-1, 1], [0, 1000])))
    assert far == pytest.approx([-1, 1])


# ---- the command ----


@pytest.fixture
def desk(film, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("call.mp4").write_bytes(film.read_bytes())
    Path("call.json").write_text(json.dumps(CALL))
    return tmp_path


def test_the_command_writes_a_page_and_json(desk, capsys):
    assert run(["video", "call.mp4", "--transcript", "call.json", "-o", "call.html"]) == 0
    assert "segments and 5 moments in call.html" in " ".join(capsys.readouterr().err.split())
    assert 'src="call.mp4"' in Path("call.html").read_text()
    assert run(["video", "call.mp4", "--transcript", "call.json", "-o", "t.json", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    written = Timeline.model_validate_json(Path("t.json").read_text())
    assert run(["video", "call.mp4", "--transcript", "call.json", "-o", "t.json", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"written": ["t.json"], "segments": len(written.segments), "moments": 5, "failed": 0}
    assert run(["video", "call.mp4", "--transcript", "call.json", "--json"]) == 0
    printed = Timeline.model_validate_json(capsys.readouterr().out)
    assert printed == written
    assert instances(written, "negative", "customer") == [(8.5, 12.0), (26.0, 30.0)]


def test_the_command_prints_the_moments(desk, capsys):
    assert run(["video", "call.mp4", "--transcript", "call.json"]) == 0
    printed = capsys.readouterr().out
    assert printed.count(" s  ") == 5
    assert "8.5 – 12.0 s  negative, customer: This is the worst service I have ever had, I hate it!\n" in printed


def test_what_cannot_be_read_ends_the_command(desk, capsys):
    Path("no.mp4").write_text("no film")
    Path("nothing.mp4").touch()
    for words, said in (
        (["nothing.mp4"], "nothing.mp4 is empty"),
        (["no.mp4"], "no.mp4 is damaged or of no known format"),
        (["none.mp4"], "found no file"),
        (["call.mp4", "-o", "call.mp4"], "wanted a name that ends in"),
        (["call.mp4", "--transcript", "call.json", "-o", "call.json"], "must not replace"),
        (["call.mp4", "--role", "Anna=boss"], "--role: found 'boss'; wanted agent or customer"),
        (["call.mp4", "--channels", "agent,customer"], "--channels: words are heard with --speech"),
        (["call.mp4", "--transcript", "call.json", "--speech", "x"], "--speech: words are heard with --speech, where"),
        (["call.mp4", "--speech", "no-such-model"], "found no model of speech 'no-such-model'"),
    ):
        assert run(["video", *words]) == 2
        assert said in capsys.readouterr().err


def test_parts_that_fail_are_told_and_end_with_one(desk, capsys):
    Path("odd.json").write_text(json.dumps([*CALL, {"start": 1}]))
    assert run(["video", "call.mp4", "--transcript", "odd.json", "-o", "odd.html"]) == 1
    assert "transcript, line 8: " in capsys.readouterr().err
    assert "1 part of the transcript was not used" in Path("odd.html").read_text()


PROGRAM = """
import sys
import numpy as np
from pathlib import Path
from hybrid_mmsa.cli.terminal.heap import give_large_blocks_back
said = give_large_blocks_back()
resident = lambda: int(Path("/proc/self/statm").read_text().split()[1]) * 4096 if said else 0
np.ones(4_000_000)  # 32 MB: once it is freed, glibc keeps smaller blocks in its heap by default
begun = resident()
large = [np.ones(500_000) for _ in range(20)]
last = np.ones(100_000)  # what stays behind them keeps them all in the heap
large.clear()
print(said, resident() - begun < 20_000_000)
"""


def test_a_long_run_gives_large_blocks_back():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.stdout.split()[1] == "True", done.stderr


# ---- the page ----

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onclick='alert(1)",
    "$title ${x} &lt;b&gt;",
    "\u202e",
]


class Reader(HTMLParser):
    """The elements of a page with their attributes, and what stands in its scripts and styles."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.elements, self.inside, self.texts, self.open = [], {"script": [], "style": []}, [], ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.open = tag

    def handle_endtag(self, tag):
        self.open = ""

    def handle_data(self, data):
        self.inside.get(self.open, self.texts).append(data)


def test_what_was_said_is_text_and_nothing_else(film, tmp_path):
    said = [Utterance(start=n, end=n + 1, text=text, speaker=text) for n, text in enumerate(HOSTILE)]
    odd = tmp_path / 'a "b" <c> #d?.mp4'
    odd.write_bytes(film.read_bytes())
    page = Reader(timeline_page(analyze_video(odd, said), odd, tmp_path / "x" / "page.html"))
    tags = [tag for tag, _ in page.elements]
    assert tags.count("script") == 1
    assert "img" not in tags
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert "".join(page.texts).count("<script>alert(1)</script>") >= 2
    (source,) = (attributes["src"] for _, attributes in page.elements if "src" in attributes)
    assert source == "../a%20%22b%22%20%3Cc%3E%20%23d%3F.mp4"


def test_the_policy_lets_this_script_and_style_run_and_nothing_else(timeline, film, tmp_path):
    page = Reader(timeline_page(timeline, film, tmp_path / "page.html"))
    policy = next(a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    for kind, found in page.inside.items():
        (source,) = found
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; media-src 'self' file:;")
    assert not re.search(r"https?:", policy)


def test_every_segment_and_moment_can_be_reached_by_keys(timeline, film, tmp_path):
    page = Reader(timeline_page(timeline, film, tmp_path / "page.html"))
    buttons = [attributes for tag, attributes in page.elements if tag == "button"]
    moments = sum(len(moment.instances) for moment in timeline.moments)
    assert len(buttons) == len(timeline.segments) + moments
    assert all(0 <= float(button["data-time"]) <= timeline.film.duration for button in buttons)
    words = [a for tag, a in page.elements if tag == "span" and "data-time" in a]
    assert len(words) == sum(len(part["text"].split()) for part in CALL)


if __name__ == "__main__":
    (SAMPLES.parent / "video" / SCHEMA).write_text(schema_text(), encoding="utf-8")
