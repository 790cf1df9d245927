"""Composed rationales say what is known and nothing else: what they claim is read back from every one of them."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_mmsa.reasoning import load_prompt
from hybrid_mmsa.reasoning.prompt import wordings
from hybrid_mmsa.reasoning.prompt.answer import read_answer, write_answer
from hybrid_mmsa.reasoning.prompt.rationales import Claims, Facts, claims, compose
from hybrid_mmsa.reasoning.prompt.wordings import MOST_CHARACTERS
from hybrid_mmsa.types import LABELS, Sample

LABEL = st.sampled_from(LABELS)
PERHAPS = st.one_of(st.none(), LABEL)
SEEN = ("golden retriever", "the words say positive", "web site", "scissors", "picture, positive", "ear")
THINGS = st.lists(st.one_of(st.text("abc -'.;", max_size=40), st.sampled_from(SEEN)), max_size=3).map(tuple)
CUES = st.lists(st.sampled_from(("so it goes; great", "neutral", "a", "it's: a “trap”")), max_size=3).map(tuple)
FACTS = st.builds(
    Facts,
    label=LABEL,
    text=PERHAPS,
    picture=PERHAPS,
    sarcastic=st.one_of(st.none(), st.booleans()),
    things=THINGS,
    cues=CUES,
    alone=st.booleans(),
)
WHOLE = Facts("positive", "positive", "neutral", None, ("golden retriever", "ball"))


@given(FACTS, st.integers(0, 10**6))
def test_a_rationale_claims_its_facts_and_no_more(facts, seed):
    rationale = compose(facts, random.Random(seed))
    assert claims(rationale) == Claims(facts.label, facts.text, facts.picture, facts.sarcastic)
    assert len(rationale) <= MOST_CHARACTERS
    assert rationale[-1] == "."


@given(FACTS, st.integers(0, 10**6))
def test_a_rationale_comes_whole_through_the_answer(facts, seed):
    rationale = compose(facts, random.Random(seed))
    prompt = load_prompt("sentiment")
    written = write_answer(prompt, label=facts.label, rationale=rationale)
    read = read_answer(written, prompt, Sample(text="words"))
    assert claims(read.rationale) == claims(rationale)


def test_the_same_facts_are_told_in_very_many_ways():
    told = [compose(WHOLE, random.Random(seed)) for seed in range(3000)]
    assert len(set(told)) > 2000
    assert compose(WHOLE, random.Random(7)) == told[7]
    seen = [words for words in told if "a golden retriever" in words]
    assert 0.5 < len(seen) / len(told) < 1, "what is seen is told mostly, not always"
    assert any("a golden retriever and a ball" in words for words in told)
    assert max(words.count(". ") for words in told) == 1, "two sentences at the most"


def test_every_wording_is_read_as_it_is_written():
    """Each clause alone, so that none hides behind another."""
    filled = {"label": "neutral", "text": "neutral", "picture": "neutral", "both": "neutral", "only": "neutral"}
    lists = [value for name, value in vars(wordings).items() if name.isupper() and isinstance(value, tuple)]
    clauses = [w for clauses in lists for w in clauses if w not in wordings.JOINS]
    assert len(clauses) > 80
    for clause in clauses:
        told = clause.format(seen="a dog", quoted="“so it goes” and “dog”", **filled)
        found = claims(told)
        assert found is not None, told
        assert not found.opposed
        assert (found == Claims()) == (clause in wordings.QUOTED), told
        for name in ("label", "text", "picture"):
            slots = {"label": ("both", "only"), "text": ("both", "only"), "picture": ("both",)}[name]
            wanted = "neutral" if any(f"{{{slot}}}" in clause for slot in (name, *slots)) else None
            assert getattr(found, name) == wanted, told


@pytest.mark.parametrize(
    ("rationale", "found"),
    [
        ("THE  WORDS ARE POSITIVE", Claims(text="positive")),
        ("The words are positive, but the words are neutral.", Claims(text="positive", opposed=True)),
        ("The picture is negative. So the post is negative.", Claims("negative", picture="negative")),
        ("Words and picture are both neutral.", Claims("neutral", "neutral", "neutral")),
        ("There is no irony in it: the post is neutral.", Claims("neutral", sarcastic=False)),
        ("The words are not meant as they stand.", Claims(sarcastic=True)),
        ("It rains.", None),
        ("The words are positive because it rains.", None),
        ("The words are positive. It rains.", None),
        ("", None),
    ],
)
def test_what_a_model_writes_is_read_clause_by_clause(rationale, found):
    assert claims(rationale) == found


def test_a_long_jumble_of_clauses_is_read_in_no_time():
    jumble = "; ".join(["the picture shows a dog and is positive", "the words are positive"] * 6)
    assert claims(jumble) == Claims(text="positive", picture="positive")
    assert claims(jumble + "; and so on") is None


def test_things_whose_names_would_be_read_as_something_else_are_left_out():
    odd = replace(WHOLE, things=("the post", "A1", "x" * 60, "dog"))
    told = {compose(odd, random.Random(seed)) for seed in range(60)}
    assert any("a dog" in words for words in told)
    assert not any('"' in words or "xx" in words or "A1" in words for words in told)
