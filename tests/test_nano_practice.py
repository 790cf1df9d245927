"""Practice in giving a reason: any labels are given, the rationale tells them, and nothing else is taught."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from drawn_posts import draw_posts
from tiny_nano import lessons_from

from hybrid_mmsa.reasoning import ReasonerConfig, load_prompt
from hybrid_mmsa.reasoning.backends.transformers.loading import open_vlm
from hybrid_mmsa.training.answers.rationales import claims
from hybrid_mmsa.training.answers.targets import Known, known_target
from hybrid_mmsa.training.nano.answers import AnswersConfig, Course, _losses
from hybrid_mmsa.training.nano.lessons import JUDGED, KINDS, Lessons
from hybrid_mmsa.training.nano.pieces import ASSISTANT, IMAGE
from hybrid_mmsa.training.nano.practice import practised
from hybrid_mmsa.types import Sample

PROMPT = load_prompt("nano")
BOTH = Sample(text="what a day", image=draw_posts(1, seed=8)[0].sample.image)
WORDS = Sample(text="so awful")
PICTURE = Sample(image=BOTH.image)
KNOWN = {
    "both": (BOTH, Known("positive", "positive", "neutral", False, ("day",), ("wine glass",), "The post is positive.")),
    "words": (WORDS, Known("negative", "negative", None, None, (), (), "The words are negative.")),
    "picture": (PICTURE, Known("neutral", None, "neutral", None, (), (), "The picture is neutral.")),
    "label alone": (BOTH, Known("positive")),
    "sarcasm": (WORDS, Known(sarcastic=True)),
}


@pytest.fixture(scope="module")
def vlm(tiny_nano):
    return open_vlm(ReasonerConfig(backend="transformers", model=str(tiny_nano.folder), dtype="float32"))


def lessons_of(vlm, *names):
    posts = [
        (sample, known_target(sample, PROMPT, known, stand_in="neutral")) for sample, known in map(KNOWN.get, names)
    ]
    n = len(posts)
    return replace(
        lessons_from(vlm.processor, posts),
        weights=np.arange(1, n + 1).astype(np.float32),
        corpora=np.arange(n, dtype=np.int64),
        opinions=np.random.default_rng(0).random((n, 3, 3)).astype(np.float16),
    )


def practice(vlm, lessons, share=1.0, seed=0):
    return practised(lessons, vlm.tokenizer, PROMPT, share, seed)


def one_by_one(vlm, lessons):
    """Of each lesson: the ids asked, the answer as JSON, and answer ids with their kinds."""
    ends = np.cumsum(lessons.lengths)[:-1]
    for ids, kinds in zip(np.split(lessons.ids, ends), np.split(lessons.kinds, ends), strict=True):
        begin = int(np.flatnonzero(ids == ASSISTANT)[-1]) + 1
        answer = json.loads(vlm.tokenizer.decode(ids[begin:-1].tolist()))
        yield ids[:begin].tolist(), answer, ids[begin:], kinds[begin:]


def test_labels_are_drawn_and_the_rationale_tells_them(vlm):
    lessons = lessons_of(vlm, "both", "words", "picture")
    before = list(one_by_one(vlm, lessons))
    drawn = {"both": set(), "words": set(), "picture": set()}
    for seed in range(300):
        for name, old, new in zip(drawn, before, one_by_one(vlm, practice(vlm, lessons, seed=seed)), strict=True):
            assert new[0] == old[0], "what is asked stays"
            kept = ("sarcastic", "text_cues", "picture_cues")
            assert [new[1][key] for key in kept] == [old[1][key] for key in kept]
            fields = tuple(new[1][key] for key in JUDGED)
            drawn[name].add(fields)
            told = claims(new[1]["rationale"])
            assert told is not None
            assert not told.opposed
            said = (told.label, told.text, told.picture)
            assert all(value in (None, field) for value, field in zip(said, fields, strict=True)), new[1]
            assert any(said)
    assert len(drawn["both"]) == 27, "every combination of three labels"
    assert len(drawn["words"]) == len(drawn["picture"]) == 9
    assert {fields[2] for fields in drawn["words"]} == {fields[1] for fields in drawn["picture"]} == {"none"}


def test_the_rationale_alone_is_taught(vlm):
    lessons = lessons_of(vlm, "both", "words")
    for ask, answer, ids, kinds in one_by_one(vlm, practice(vlm, lessons)):
        taught = kinds > 0
        first = int(taught.argmax())
        assert ask
        assert set(kinds[:first]) == {KINDS["given"]}
        assert taught[first:].all()
        assert vlm.tokenizer.decode(ids[first:-1].tolist()) == json.dumps(answer["rationale"])[1:] + "}"
        told = claims(answer["rationale"])
        assert 1 <= (kinds == KINDS["claim"]).sum() <= 3
        words = vlm.tokenizer.decode(ids[kinds == KINDS["claim"]].tolist()).split()
        assert set(words) == {told.label, told.text, told.picture} - {None}


def test_only_what_teaches_a_rationale_is_practised_and_the_rest_of_a_lesson_stays(vlm):
    lessons = lessons_of(vlm, "label alone", "both", "sarcasm", "words")
    found = practice(vlm, lessons)
    for name in ("pictures", "weights", "corpora", "opinions"):
        assert np.array_equal(getattr(found, name), getattr(lessons.take(np.array([1, 3])), name)), name
    again, other = practice(vlm, lessons), practice(vlm, lessons, seed=1)
    assert np.array_equal(found.ids, again.ids)
    assert not np.array_equal(found.ids, other.ids)


def test_a_share_of_none_is_none_and_parts_are_put_together(vlm):
    lessons = lessons_of(vlm, "both", "words")
    none = practice(vlm, lessons, share=0.0)
    assert len(none) == len(none.ids) == len(none.kinds) == 0
    whole = Lessons.concatenate([lessons, none, practice(vlm, lessons)])
    assert len(whole) == 4
    assert whole.lengths.sum() == len(whole.ids) == len(whole.kinds)
    assert np.array_equal(whole.take(np.arange(2)).ids, lessons.ids)
    assert whole.ids.dtype == np.int16
    assert whole.kinds.dtype == np.int8


def test_what_is_given_is_read_however_much_of_the_post_is_left_blank(vlm):
    """With all that is asked left blank, words and picture change nothing, and the labels given do."""
    lessons = practice(vlm, lessons_of(vlm, "both"))
    features = torch.randn(1, 25, 1280, generator=torch.Generator().manual_seed(0)).half()
    config = AnswersConfig(blanked=1.0, dropout=0.0)
    words = [vlm.tokenizer(label, add_special_tokens=False)["input_ids"][0] for label in PROMPT.labels.values()]

    def losses(ids, seen=features):
        course = Course(replace(lessons, ids=ids), seen, ["mvsa_single"], words)
        return _losses(vlm.model, course, np.array([0]), config)[2]

    found = losses(lessons.ids)
    asked = (lessons.kinds == KINDS["nothing"]) & (lessons.ids != IMAGE)
    given = (lessons.kinds == KINDS["given"]) & np.isin(lessons.ids, words)
    assert given.sum() == 3
    assert torch.allclose(losses(np.where(asked, 300, lessons.ids).astype(np.int16)), found, atol=1e-5)
    assert torch.allclose(losses(lessons.ids, torch.zeros_like(features)), found, atol=1e-5)
    assert not torch.allclose(losses(np.where(given, 300, lessons.ids).astype(np.int16)), found, atol=1e-4)
