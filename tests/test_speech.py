"""Voices: turns are found where somebody speaks, words get their times and roles, and nothing is fetched.

The voice is drawn and the model of words is a tiny one that always says the same: real words were heard by hand, with
Whisper's `tiny.en`.
"""

import sys

import numpy as np
import pytest
from drawn_voice import RATE, voice
from tiny_whisper import write_tiny_whisper

from eval.bench.video.films import write_film
from hybrid_mmsa.cli import run
from hybrid_mmsa.errors import ArtefactError, InputError, MissingExtraError
from hybrid_mmsa.senses import speech
from hybrid_mmsa.senses.speech import Speech, turns
from hybrid_mmsa.video import Timeline, analyze_video

AGENT, CUSTOMER = ((1.0, 3.0), (9.0, 11.0)), ((2.4, 6.0),)
"""When each of the two speaks; one interrupts the other."""
WORDS = [" I", " hate", " this", ",", " it", " is", " terrible"]


def channel(spans, seconds, seed, pitch):
    sound = np.zeros(int(seconds * RATE), np.float32)
    for start, end in spans:
        said = voice(end - start, pitch, seed)
        sound[int(start * RATE) :][: len(said)] = said
    return sound


@pytest.fixture(scope="module")
def call(tmp_path_factory):
    path = tmp_path_factory.mktemp("call") / "call.wav"
    sound = np.stack([channel(AGENT, 12, 0, 110), channel(CUSTOMER, 12, 3, 190)])
    write_film(path, (), 1, sound=sound, sound_codec="pcm_s16le")
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_whisper(tmp_path_factory.mktemp("models") / "tiny", WORDS, 30.0)


def near(found, wanted):
    """Whether spans are about those that are wanted: the drawn voice begins softly."""
    return len(found) == len(wanted) and all(
        abs(a - c) < 1 and abs(b - d) < 0.5 for (a, b), (c, d) in zip(found, wanted, strict=True)
    )


def test_turns_are_found_on_each_channel(call):
    found = list(turns(call, channels=2))
    by_channel = [[(t.start, t.end) for t in found if t.channel == n] for n in range(2)]
    assert near(by_channel[0], AGENT)
    assert near(by_channel[1], CUSTOMER)
    assert all(len(t.samples) == round((t.end - t.start) * RATE) for t in found)
    assert near([(t.start, t.end) for t in turns(call)], ((1.0, 6.0), (9.0, 11.0)))


@pytest.mark.parametrize("block", [3, 5, 11])
def test_turns_are_the_same_whatever_is_held_at_a_time(call, monkeypatch, block):
    """A turn that a block's end would cut is heard again with the next block."""
    whole = [(t.start, t.end) for t in turns(call)]
    monkeypatch.setattr(speech, "BLOCK", block * RATE)
    assert near([(t.start, t.end) for t in turns(call)], whole)


def test_words_have_times_and_roles(call, model):
    said = Speech(model, language="en", channels=("agent", "customer")).read(call)
    assert [each.role for each in said] == ["agent", "customer", "agent"]
    for each in said:
        assert each.text == "I hate this, it is terrible"
        assert [word.text for word in each.words][:2] == ["I", "hate"]
        assert all(each.start <= word.start <= word.end <= each.end for word in each.words)
    assert near([(each.start, each.end) for each in said], (AGENT[0], CUSTOMER[0], AGENT[1]))


def test_a_call_is_judged_by_the_words_that_are_heard(call, model):
    speech = Speech(model, language="en", channels=("agent", "customer"))
    timeline = analyze_video(call, speech.read(call))
    assert {(moment.kind, moment.role) for moment in timeline.moments} >= {
        ("negative", "agent"),
        ("negative", "customer"),
        ("interruption", "customer"),
    }
    assert timeline.talk.interruptions == {"customer": 1}


def test_the_command_hears_words(call, model, capsys):
    assert run(["video", str(call), "--speech", str(model), "--channels", "agent,customer", "--json"]) == 0
    timeline = Timeline.model_validate_json(capsys.readouterr().out)
    assert [segment.role for segment in timeline.segments] == ["agent", "customer", "agent"]
    assert {segment.text for segment in timeline.segments if segment.text} == {"I hate this, it is terrible"}


def test_silence_has_no_turns(tmp_path):
    write_film(tmp_path / "s.wav", (), 1, sound=np.zeros((1, 2 * RATE), np.float32), sound_codec="pcm_s16le")
    assert list(turns(tmp_path / "s.wav")) == []


def test_what_cannot_be_heard_is_told(call, tmp_path):
    write_film(tmp_path / "film.mp4", (np.zeros((16, 16, 3), np.uint8) for _ in range(8)), 8)
    with pytest.raises(InputError, match="has no sound"):
        list(turns(tmp_path / "film.mp4"))
    with pytest.raises(InputError, match="found 2 channels of sound; wanted 3"):
        list(turns(call, channels=3))


@pytest.mark.parametrize("name", ["no-such-model", "small", "http://127.0.0.1:9/model", "../models", ""])
def test_a_model_that_is_not_here_is_one_error(monkeypatch, tmp_path, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(ArtefactError, match=r"model of speech"):
        Speech(name)


def test_a_model_without_its_tokens_is_refused_before_any_are_fetched(model, tmp_path):
    for name in ("model.bin", "config.json"):
        (tmp_path / name).write_bytes((model / name).read_bytes())
    with pytest.raises(ArtefactError, match=r"lacks tokenizer\.json"):
        Speech(tmp_path)


def test_a_damaged_model_is_refused(model, tmp_path):
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((model / name).read_bytes())
    (tmp_path / "model.bin").write_bytes((model / "model.bin").read_bytes()[:1000])
    with pytest.raises(ArtefactError, match="cannot be opened"):
        Speech(tmp_path)


def test_a_missing_package_names_its_extra(call, monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    monkeypatch.setitem(sys.modules, "faster_whisper.vad", None)
    with pytest.raises(MissingExtraError, match="extra 'speech'"):
        Speech("small")
    with pytest.raises(MissingExtraError, match="extra 'speech'"):
        list(turns(call))
