"""Which words are told: those that say something, and whose effect is larger than that of words that say nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_mmsa.explain.telling import LEAST_EFFECT, is_function_word, noise, told
from hybrid_mmsa.types import WordEffect


@pytest.mark.parametrize(
    "word", ["The", "it", "I'm", "I\u2019m", "@AcmeBank", "https://a.b/c", "!!", "...", "of the", "and @you"]
)
def test_what_says_nothing_by_itself(word):
    assert is_function_word(word)


@pytest.mark.parametrize(
    "word", ["not", "Never", "great", "😍", ":(", "<3", "#fail", "2/10", "the best", "no", "★★", "café"]
)
def test_what_says_something(word):
    assert not is_function_word(word)


def effects(**words):
    return [WordEffect(word=word, start=0, end=len(word), effect=effect) for word, effect in words.items()]


def test_a_word_is_told_where_it_does_more_than_function_words_do():
    words = effects(I=0.3, hate=0.5, it=-0.1, table=0.2)
    assert [word.word for word in told(words)] == ["hate"]
    assert 0.1 < noise(words) < 0.3


def test_the_strongest_come_first_whichever_way_they_speak():
    words = effects(great=0.1, awful=-0.4, the=0.03)
    assert [word.word for word in told(words)] == ["awful", "great"]


@given(st.lists(st.tuples(st.sampled_from(["the", "a", "good", "bad", "not"]), st.floats(-1, 1))))
def test_no_function_word_and_no_small_effect_is_ever_told(drawn):
    words = [WordEffect(word=word, start=0, end=len(word), effect=effect) for word, effect in drawn]
    kept = told(words)
    assert not [word for word in kept if is_function_word(word.word) or abs(word.effect) < LEAST_EFFECT]
    assert [abs(word.effect) for word in kept] == sorted((abs(word.effect) for word in kept), reverse=True)
