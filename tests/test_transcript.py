"""Transcripts: what was said and when comes through every format; what cannot be used costs itself and no other."""

import json
import math
from html import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_mmsa.errors import InputError
from hybrid_mmsa.types import SpokenWord, Utterance
from hybrid_mmsa.video import read_transcript, transcript

WORDS = st.from_regex(r"[A-Za-zäß😀<>&'?]{1,8}", fullmatch=True)
TEXTS = st.lists(WORDS, min_size=1, max_size=6).map(" ".join).filter(lambda text: "<" not in text and "-->" not in text)


@st.composite
def calls(draw):
    """Utterances that follow on each other, to the millisecond."""
    now, said = draw(st.integers(0, 5_000_000)), []
    for _ in range(draw(st.integers(1, 6))):
        length = draw(st.integers(1, 20_000))
        speaker = draw(st.sampled_from([None, "Agent", "Customer", "ANNA"]))
        said.append((now / 1000, (now + length) / 1000, speaker, draw(TEXTS)))
        now += length + draw(st.integers(0, 9_000))
    return said


def clock(seconds, mark):
    thousandths = round(seconds * 1000)
    hours, rest = divmod(thousandths, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02}{mark}{rest % 1000:03}"


def srt(said):
    return "\n".join(
        f"{n}\n{clock(start, ',')} --> {clock(end, ',')}\n{f'{who}: ' if who else ''}{escape(text)}\n"
        for n, (start, end, who, text) in enumerate(said, 1)
    )


def vtt(said):
    cues = (
        f"{clock(start, '.')} --> {clock(end, '.')} align:start\n{f'<v {who}>' if who else ''}<i>{escape(text)}</i>\n"
        for start, end, who, text in said
    )
    return "WEBVTT\n\nNOTE made by a test\n\n" + "\n".join(cues)


def whisper(said):
    return json.dumps({"text": "", "segments": [{"id": 0, "start": s, "end": e, "text": t} for s, e, _, t in said]})


def lens(said):
    parts = [
        {
            "BeginOffsetMillis": round(s * 1000),
            "EndOffsetMillis": round(e * 1000),
            "ParticipantId": who,
            "Content": text,
        }
        for s, e, who, text in said
    ]
    return json.dumps({"Transcript": parts})


FORMATS = {"srt": (srt, "t.srt"), "vtt": (vtt, "t.vtt"), "whisper": (whisper, "w.json"), "lens": (lens, "l.json")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("transcripts")


@pytest.mark.parametrize("name", FORMATS)
@given(said=calls())
def test_what_was_said_comes_through(name, folder, said):
    write, file = FORMATS[name]
    (folder / file).write_text(write(said), encoding="utf-8")
    read = read_transcript(folder / file)
    assert read.errors == ()
    roles = {"Agent": "agent", "Customer": "customer"}
    for (start, end, who, text), found in zip(said, read.utterances, strict=True):
        assert found.text == text
        assert math.isclose(found.start, start, abs_tol=1e-6)
        assert math.isclose(found.end, end, abs_tol=1e-6)
        if name != "whisper":
            assert (found.speaker, found.role) == (who, roles.get(who))


@given(st.text(st.characters(exclude_categories=())), st.sampled_from(["t.srt", "t.vtt", "t.json"]))
def test_whatever_a_file_holds_it_is_read_or_refused(folder, text, name):
    (folder / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        read = read_transcript(folder / name)
    except InputError:
        return
    assert all(0 <= each.start <= each.end < math.inf for each in read.utterances)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.integers(), st.lists))
def test_whatever_a_part_is_it_costs_no_other(value):
    good = {"start": 1, "end": 2, "text": "fine"}
    parts = [good, value, {"start": value, "end": 2, "text": "x"}, {"start": 0, "end": 1, "text": value}, good]
    read = read_transcript(parts)
    assert [each for each in read.utterances if each.text == "fine"] == [Utterance(**good)] * 2
    assert {row.line for row in read.errors} >= {2}


def test_a_bad_cue_is_told_with_its_line(tmp_path):
    (tmp_path / "t.srt").write_text(
        "1\n00:00:01,000 --> 00:00:02,000\nfine\n\n2\nsoon --> later\nlost\n\n"
        "3\n00:00:09,000 --> 00:00:03,000\nback\n\n4\n00:00:10,000 --> 00:00:11,000\nwell\n"
    )
    read = read_transcript(tmp_path / "t.srt")
    assert [each.text for each in read.utterances] == ["fine", "well"]
    assert [(row.line, row.field) for row in read.errors] == [(6, "transcript"), (10, "transcript")]
    assert "soon --> later" in read.errors[0].error
    assert "before it starts" in read.errors[1].error


def test_times_inside_a_cue_are_the_words_times(tmp_path):
    (tmp_path / "t.vtt").write_text(
        "WEBVTT\n\n00:01.000 --> 00:05.000\n<v Bo>one <00:02.000>two three<00:04.000> four\n"
    )
    (said,) = read_transcript(tmp_path / "t.vtt", roles={"bo": "customer"}).utterances
    assert (said.text, said.speaker, said.role) == ("one two three four", "Bo", "customer")
    assert [(word.text, word.start, word.end) for word in said.words] == [
        ("one", 1, 2),
        ("two", 2, 3),
        ("three", 3, 4),
        ("four", 4, 5),
    ]


def test_voices_of_one_cue_share_its_time(tmp_path):
    (tmp_path / "t.vtt").write_text("WEBVTT\n\n00:00.000 --> 00:10.000\n<v Agent>Hello</v>\n<v Customer>Hello</v>\n")
    read = read_transcript(tmp_path / "t.vtt")
    assert [(each.role, each.start) for each in read.utterances] == [
        ("agent", 0),
        ("customer", pytest.approx(5, abs=0.5)),
    ]
    assert read.utterances[0].end == read.utterances[1].start


def test_not_every_colon_ends_a_name(tmp_path):
    (tmp_path / "t.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nListen: it works\n")
    (said,) = read_transcript(tmp_path / "t.srt").utterances
    assert (said.speaker, said.text) == (None, "Listen: it works")


def test_captions_in_an_old_encoding_are_read(tmp_path):
    (tmp_path / "t.srt").write_bytes("1\r\n00:00:01,000 --> 00:00:02,000\r\nSchöne Grüße\r\n".encode("cp1252"))
    assert read_transcript(tmp_path / "t.srt").utterances[0].text == "Schöne Grüße"


def test_words_of_whisper_keep_their_times():
    words = [{"word": " Hi", "start": 0.1, "end": 0.3}, {"word": " you"}, {"word": " x", "start": 3, "end": 1}]
    (said,) = read_transcript([{"start": 0, "end": 1, "text": " Hi you", "words": words}]).utterances
    assert said.words == (SpokenWord(text="Hi", start=0.1, end=0.3),)
    assert said.text == "Hi you"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.txt", "hello", "ends in .srt, .vtt or .json"),
        ("t.srt", "hello", "holds no cue"),
        ("t.json", "{", "is no JSON"),
        ("t.json", "[" * 100_000, "is no JSON"),
        ("t.json", '{"a": 1}', "holds no list"),
        ("t.json", '[{"start": 0}]', "no part can be used"),
        ("t.json", '[{"start": 1e300, "end": 1e301, "text": "late"}]', "films are read to 86,400 s"),
        ("t.json", '[{"start": NaN, "end": 2, "text": "when?"}]', "no part can be used"),
    ],
)
def test_what_is_no_transcript_is_refused(tmp_path, name, content, said):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=said):
        read_transcript(tmp_path / name)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"found no file 'none\.srt'"):
        read_transcript(tmp_path / "none.srt")


def test_too_many_parts_are_refused(monkeypatch):
    monkeypatch.setattr(transcript, "MOST_PARTS", 3)
    parts = [{"start": 0, "end": 1, "text": "x"}] * 4
    assert len(read_transcript(parts[:3]).utterances) == 3
    with pytest.raises(InputError, match="more than 3 parts"):
        read_transcript(parts)


@pytest.mark.parametrize("words", ["<v " * 200_000, "<v" + " " * 200_000, "<v." + "x" * 200_000, "<00:" * 200_000])
def test_captions_that_look_like_endless_marks_are_read_in_one_go(tmp_path, words):
    """Whatever gives back what it took would need hours."""
    (tmp_path / "t.vtt").write_text(f"WEBVTT\n\n00:01.000 --> 00:02.000\nhello {words}\n")
    (said,) = read_transcript(tmp_path / "t.vtt").utterances
    assert said.text.startswith("hello")
