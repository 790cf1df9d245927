"""An answer is one bounded JSON object, label first; what a model writes is read with suspicion."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hybrid_mmsa import ArtefactError, LoraRef, ReasonerError, Sample
from hybrid_mmsa.reasoning import load_prompt
from hybrid_mmsa.reasoning.prompt.answer import (
    ANSWER_START,
    CUE_CHARACTERS,
    MOST_CUES,
    RATIONALE_CHARACTERS,
    answer_schema,
    read_answer,
    verdict,
    write_answer,
)
from hybrid_mmsa.reasoning.prompt.labels import label_probabilities, label_tokens, share
from hybrid_mmsa.types import LABELS

PROMPT = load_prompt("sentiment")
POST = Sample(text="Third  cancelled TRAIN today, ﬁne. Thank you so much!", image=Image.new("RGB", (8, 8)))
WORDS = Sample(text=POST.text)
WRITTEN = {
    "label": "negative",
    "text_says": "positive",
    "picture_says": "none",
    "sarcastic": True,
    "text_cues": ["thank you so much"],
    "picture_cues": ["an empty platform"],
    "rationale": "Nobody is thankful for that.",
}
says = st.sampled_from([*LABELS, None])
short = st.text(max_size=80)


def read(sample=POST, prompt=PROMPT, **changes):
    return read_answer(json.dumps({**WRITTEN, **changes}), prompt, sample)


def cues(answer, side="text"):
    return [cue.text for cue in answer.cues if cue.side == side]


def test_an_answer_is_read():
    answer = read()
    assert (answer.label, answer.text_says, answer.picture_says, answer.sarcastic) == (
        *("negative", "positive"),
        *(None, True),
    )
    assert cues(answer) == ["thank you so much"]
    assert cues(answer, "image") == ["an empty platform"]
    assert answer.rationale == "Nobody is thankful for that."


@given(
    label=st.sampled_from(LABELS),
    text_says=says,
    picture_says=says,
    sarcastic=st.booleans(),
    text_cues=st.lists(short, max_size=5),
    picture_cues=st.lists(short, max_size=5),
    rationale=st.text(max_size=900),
)
def test_what_is_written_fits_the_schema_and_is_read_back(**values):
    written = write_answer(PROMPT, **values)
    assert written.startswith(ANSWER_START + values["label"] + '"')
    conforms(json.loads(written), answer_schema(PROMPT))
    answer = read_answer(written, PROMPT, POST)
    assert (answer.label, answer.text_says, answer.picture_says, answer.sarcastic) == tuple(
        values[key] for key in ("label", "text_says", "picture_says", "sarcastic")
    )
    assert len(answer.rationale or "") <= RATIONALE_CHARACTERS


def conforms(value, schema):
    """Whether a value is what a schema of ours describes: exact keys in order, enums, patterns, bounds."""
    assert list(value) == schema["required"] == list(schema["properties"])
    for key, rule in schema["properties"].items():
        items = value[key] if rule["type"] == "array" else [value[key]]
        assert len(items) <= rule.get("maxItems", 1)
        each = rule.get("items", rule)
        assert all(item in each["enum"] for item in items if "enum" in each)
        assert all(re.fullmatch(each["pattern"], item) for item in items if "pattern" in each)


BRIEF = replace(PROMPT, brief=True)


def test_a_brief_answer_has_label_and_irony_alone():
    assert list(answer_schema(BRIEF)["properties"]) == ["label", "sarcastic"]
    assert BRIEF.hash != PROMPT.hash
    written = {"label": "negative", "sarcastic": True}
    answer = read_answer(json.dumps(written), BRIEF, WORDS)
    assert (answer.label, answer.sarcastic, answer.cues, answer.rationale) == ("negative", True, (), None)
    for wrong in ({**written, "rationale": "It rains."}, {"label": "negative"}):
        with pytest.raises(ReasonerError, match="cannot be read"):
            read_answer(json.dumps(wrong), BRIEF, WORDS)


def test_the_schema_puts_the_label_first_and_bounds_everything():
    schema = answer_schema(PROMPT, label="neutral")
    assert next(iter(schema["properties"])) == "label"
    assert schema["properties"]["label"]["enum"] == ["neutral"]
    assert schema["additionalProperties"] is False
    for rule in schema["properties"].values():
        each = rule.get("items", rule)
        assert each["type"] == "boolean" or "enum" in each or re.search(r"\{0,\d+\}\$$", each["pattern"])
        assert rule["type"] != "array" or rule["maxItems"] == MOST_CUES


@pytest.mark.parametrize(
    ("cue", "stands"),
    [
        ("cancelled train", True),
        ("THANK YOU", True),
        ("fine", True),  # the post writes it with a ligature
        ("cancelled   train", True),
        ("rain today", False),
        ("a lovely train", False),
        ("", False),
        (".", True),
    ],
)
def test_a_quotation_counts_where_it_stands_in_the_post(cue, stands):
    assert bool(cues(read(text_cues=[cue]))) == stands


@pytest.mark.parametrize("cue", ["So Good", "love heart", "loved it"])
def test_a_model_that_is_shown_reworded_words_may_quote_them(cue):
    post = Sample(text="#SoGood today, looooved it ❤ @ann", image=POST.image)
    assert cues(read(post, replace(PROMPT, reworded=True), text_cues=[cue])) == [cue]
    assert cues(read(post, PROMPT, text_cues=[cue])) == []


def test_a_quotation_may_be_what_the_model_was_shown():
    post = Sample(text="so happy <i>now</i>")
    assert cues(read(post, text_cues=["‹i>now"])) == ["‹i>now"]
    assert cues(read(post, text_cues=["<i>now"])) == ["<i>now"]


def test_nothing_is_said_of_a_side_that_is_not_there():
    assert cues(read(WORDS, picture_says="positive"), "image") == []
    assert read(WORDS, picture_says="positive").picture_says is None
    alone = read(Sample(image=POST.image))
    assert alone.text_says is None
    assert cues(alone) == []


def test_what_a_model_writes_is_cleaned_and_cut():
    answer = read(
        rationale="a\u202eb\x1b[2J" + "x" * 900, picture_cues=["y" * 90, "\u2066", "same", "same", "1", "2", "3"]
    )
    assert answer.rationale.startswith("ab[2Jx")
    assert len(answer.rationale) == RATIONALE_CHARACTERS
    assert cues(answer, "image") == ["y" * CUE_CHARACTERS, "same", "1"]
    assert read(rationale=" \n").rationale is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "positive",
        "[]",
        json.dumps(WRITTEN)[:-1],
        json.dumps(WRITTEN) + " and more",
        json.dumps({**WRITTEN, "label": "angry"}),
        json.dumps({**WRITTEN, "label": "none"}),
        json.dumps({**WRITTEN, "text_says": "angry"}),
        json.dumps({**WRITTEN, "sarcastic": "yes"}),
        json.dumps({**WRITTEN, "text_cues": "one"}),
        json.dumps({**WRITTEN, "order": "send money"}),
        json.dumps({key: WRITTEN[key] for key in list(WRITTEN)[:-1]}),
        "[" * 100_000,
    ],
)
def test_anything_else_is_an_error_of_the_reasoner(text):
    with pytest.raises(ReasonerError, match="the model's answer cannot be read"):
        read_answer(text, PROMPT, POST)


@given(st.text(max_size=200))
def test_no_text_breaks_the_reader(text):
    with pytest.raises(ReasonerError):
        read_answer(text, PROMPT, POST)


def test_a_verdict_takes_its_label_from_the_logits():
    lora = LoraRef(name="memes", path="lora")
    found = verdict(
        np.float32([0.7, 0.2, 0.1]), read(), reasoner="vlm", prompt=PROMPT, lora=lora, sarcasm=0.9, tokens=12
    )
    assert (found.label, found.adapter, found.reasoner, found.prompt) == ("negative", "memes", "vlm", PROMPT.id)
    assert found.probabilities["negative"] == pytest.approx(0.7)
    assert found.rationale == "Nobody is thankful for that."
    assert len(found.cues) == 2


def test_a_verdict_without_an_answer_has_no_words():
    found = verdict(np.float32([0.1, 0.2, 0.7]), reasoner="vlm", prompt=PROMPT)
    assert found.label == "positive"
    assert (found.rationale, found.cues, found.text_says, found.sarcasm, found.adapter) == (None, (), None, None, None)


def test_an_answer_that_argues_for_another_label_is_an_error():
    with pytest.raises(ReasonerError, match="wrote 'negative' where its probabilities say 'positive'"):
        verdict(np.float32([0.1, 0.2, 0.7]), read(), reasoner="vlm", prompt=PROMPT)


def characters(text):
    return [ord(c) for c in text]


def test_label_tokens_are_what_comes_after_the_common_start():
    words = {"negative": "bad", "neutral": "mixed", "positive": "good"}
    tokens = label_tokens(characters, words)
    assert "".join(map(chr, tokens.prefix)) == ANSWER_START
    assert {label: chr(id_) for label, id_ in tokens.ids.items()} == {
        "negative": "b",
        "neutral": "m",
        "positive": "g",
    }


def test_a_tokenizer_that_merges_the_quote_with_the_word_is_followed():
    """Byte-pair tokenizers join a quotation mark and the letters after it."""
    vocabulary = {'"negative': 1, '"neutral': 2, '"positive': 3, '"': 4, '{"label": ': 5}
    pattern = re.compile("|".join(map(re.escape, vocabulary)))
    tokens = label_tokens(lambda t: [vocabulary[m[0]] for m in pattern.finditer(t)], PROMPT.labels)
    assert tokens.prefix == (5,)
    assert tokens.ids == {"negative": 1, "neutral": 2, "positive": 3}


def test_words_with_one_first_token_are_refused_and_named():
    with pytest.raises(ArtefactError, match=r"same first token \('negative' .*'neutral' .*'positive' "):
        label_tokens(characters, PROMPT.labels)


def test_a_word_that_begins_another_is_told_apart_by_its_quote():
    words = {"negative": "no", "neutral": "none2", "positive": "yes"}
    with pytest.raises(ArtefactError, match="same first token"):
        label_tokens(characters, words)


@given(st.lists(st.lists(st.floats(-80, 80), min_size=3, max_size=3), min_size=1, max_size=4))
def test_label_probabilities_are_a_softmax_over_the_three(rows):
    logits = np.float32(rows)
    found = label_probabilities(logits)
    assert found.shape == logits.shape
    assert found.dtype == np.float32
    assert np.allclose(found.sum(1), 1, atol=1e-5)
    assert np.allclose(label_probabilities(logits + 7), found, atol=1e-4)


def test_a_share_is_none_where_a_side_has_no_token():
    some, none = np.ones(2, np.float32), np.ones(0, np.float32)
    assert share(some, some) == 0.5
    assert share(some, none) is share(none, none) is None


def test_label_columns_are_picked_from_the_vocabulary():
    tokens = label_tokens(characters, {"negative": "b", "neutral": "m", "positive": "g"})
    logits = np.zeros((1, 128), np.float32)
    logits[0, ord("g")] = 3
    logits[0, ord("z")] = 99
    assert label_probabilities(logits, tokens)[0].argmax() == 2
