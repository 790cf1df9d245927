"""The vocabulary: arrays that travel between rooms keep their meaning, answers say what the numbers say."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hybrid_mmsa.types import (
    EMOTIONS,
    LABELS,
    TASKS,
    Features,
    Prediction,
    RouteDecision,
    RowError,
    Sample,
    Verdict,
    emotion_prediction,
    prediction,
)


def features(n, seed=0):
    """Features of `n` made-up posts, every number of its own."""
    chance = np.random.default_rng(seed)
    return Features(
        text_features=chance.normal(size=(n, 4)).astype(np.float32),
        image_features=chance.normal(size=(n, 3)).astype(np.float32),
        has_text=chance.random(n) < 0.7,
        has_image=chance.random(n) < 0.7,
        has_target=chance.random(n) < 0.2,
        n_tokens=chance.integers(1, 60, n),
        truncated=chance.random(n) < 0.1,
        unknown_share=chance.random(n).astype(np.float32),
    )


def same(one, other):
    return all(
        np.array_equal(getattr(one, f.name), getattr(other, f.name))
        and getattr(one, f.name).dtype == getattr(other, f.name).dtype
        for f in dataclasses.fields(Features)
    )


def test_labels_stand_in_their_order():
    assert LABELS == ("negative", "neutral", "positive")
    assert EMOTIONS == ("anger", "joy", "optimism", "sadness", "none")
    assert len(set(TASKS)) == len(TASKS)


@given(st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3))
def test_prediction_is_the_largest(values):
    answer = prediction(np.array(values, np.float32))
    assert answer.confidence == max(values)
    assert answer.probabilities[answer.label] == answer.confidence
    assert list(answer.probabilities) == list(LABELS)
    assert list(answer.probabilities.values()) == values


def test_a_tie_goes_to_the_first_label():
    assert prediction(np.full(3, 1 / 3, np.float32)).label == "negative"


def test_emotions_have_their_own_names():
    answer = emotion_prediction(np.array([0.1, 0.2, 0.3, 0.35, 0.05], np.float32))
    assert answer.label == "sadness"
    assert list(answer.probabilities) == list(EMOTIONS)


@pytest.mark.parametrize("classes", [2, 4])
def test_probabilities_of_other_classes_are_refused(classes):
    with pytest.raises(ValueError, match="zip"):
        prediction(np.full(classes, 1 / classes, np.float32))


@given(st.integers(0, 12), st.data())
def test_take_gives_the_rows_asked_for(n, data):
    all_rows = features(n)
    rows = data.draw(st.lists(st.integers(0, n - 1), max_size=8)) if n else []
    part = all_rows.take(np.array(rows, dtype=np.int64))
    assert len(part) == len(rows)
    assert np.array_equal(part.text_features, all_rows.text_features[rows])
    assert np.array_equal(part.n_tokens, all_rows.n_tokens[rows])


@given(st.integers(1, 12), st.data())
def test_concatenate_undoes_a_cut(n, data):
    whole = features(n)
    cut = data.draw(st.integers(0, n))
    assert same(Features.concatenate([whole.take(slice(0, cut)), whole.take(slice(cut, n))]), whole)


def test_without_a_picture_nothing_of_it_is_left():
    hidden = features(5).without("image")
    assert not hidden.image_features.any()
    assert not hidden.has_image.any()
    assert np.array_equal(hidden.text_features, features(5).text_features)
    assert np.array_equal(hidden.has_text, features(5).has_text)


def test_without_words_nothing_of_them_is_left():
    hidden = features(5).without("text")
    for name in ("text_features", "has_text", "has_target", "n_tokens", "truncated", "unknown_share"):
        assert not getattr(hidden, name).any(), name
        assert getattr(hidden, name).dtype == getattr(features(5), name).dtype, name
    assert np.array_equal(hidden.image_features, features(5).image_features)


def test_samples_and_features_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Sample(text="a").text = "b"
    with pytest.raises(dataclasses.FrozenInstanceError):
        features(1).has_text = np.zeros(1, bool)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Prediction(label="mixed", probabilities={}, confidence=0.5),
        lambda: Prediction(label="neutral", probabilities={"mixed": 1.0}, confidence=0.5),
        lambda: Prediction(label="neutral", probabilities={"neutral": 1.0}, confidence=1.1),
        lambda: RouteDecision(decision="perhaps", answered_by="fast"),
        lambda: RouteDecision(decision="keep", answered_by="fast", reasons=("boredom",)),
        lambda: RouteDecision(decision="keep", answered_by="fast", p_error=-0.1),
        lambda: Verdict(label="neutral", probabilities={"neutral": 1.0}, reasoner="r", tokens=-1),
        lambda: RowError(line=0, error="lines are counted from 1"),
    ],
)
def test_values_outside_the_vocabulary_are_refused(make):
    with pytest.raises(ValidationError):
        make()
