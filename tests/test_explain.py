"""Shares that add up, and sentences that say nothing but the numbers they were given."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_mmsa.explain import compose, modality_shares
from hybrid_mmsa.types import LABELS, RouteDecision, prediction

P = st.floats(0, 1)
BOTH = frozenset({"text", "image"})
TEXT, IMAGE, NONE = frozenset({"text"}), frozenset({"image"}), frozenset()
REASONS = ("low_confidence", "sarcasm", "conflict", "novel", "requested")


@given(P, P, P, P)
def test_shares_sum_to_what_the_sides_moved(none, text, image, both):
    shares = modality_shares({NONE: none, TEXT: text, IMAGE: image, BOTH: both})
    assert sum(shares.values()) == pytest.approx(both - none, abs=1e-9)
    swapped = modality_shares({NONE: none, TEXT: image, IMAGE: text, BOTH: both})
    assert swapped == {"text": pytest.approx(shares["image"]), "image": pytest.approx(shares["text"])}


@given(P, P)
def test_a_side_that_moves_nothing_has_no_share(none, text):
    shares = modality_shares({NONE: none, TEXT: text, IMAGE: none, BOTH: text})
    assert shares == {"text": pytest.approx(text - none), "image": 0}


@given(P, P)
def test_one_side_alone_has_the_whole_share(none, text):
    assert modality_shares({NONE: none, TEXT: text}) == {"text": pytest.approx(text - none)}


@st.composite
def answers(draw):
    """Everything `compose` may be given."""

    def drawn_prediction():
        raw = np.array(draw(st.lists(st.floats(0.01, 1), min_size=3, max_size=3)))
        return prediction(raw / raw.sum())

    present = draw(st.sampled_from([("text",), ("image",), ("text", "image")]))
    reasons = tuple(r for r in REASONS if draw(st.booleans()))
    return {
        "sentiment": drawn_prediction(),
        "sides": {side: drawn_prediction() for side in present},
        "shares": {side: draw(st.floats(-1, 1)) for side in present},
        "sarcasm": draw(P) if "text" in present else None,
        "route": RouteDecision(decision="defer" if reasons else "keep", answered_by="fast", reasons=reasons),
        "has_reasoner": draw(st.booleans()),
        "target": draw(st.sampled_from([None, "the mayor"])),
    }


@given(answers())
def test_no_number_and_no_label_is_said_that_was_not_given(given_values):
    text = compose(**given_values)
    predictions = [given_values["sentiment"], *given_values["sides"].values()]
    sarcasm = [] if given_values["sarcasm"] is None else [given_values["sarcasm"]]
    percentages = {f"{p:.0%}" for p in [*(p.confidence for p in predictions), *sarcasm]}
    shares = {f"{share:+.2f}" for share in given_values["shares"].values()}
    assert set(re.findall(r"\d+%", text)) <= percentages
    assert set(re.findall(r"[+-]\d\.\d\d", text)) <= shares
    left = re.sub(r"[+-]\d\.\d\d|\d+%", "", text)
    assert not re.search(r"\d", left)
    said = {label for label in LABELS if label in text.lower()}
    assert said == {p.label for p in predictions}


@given(answers())
def test_what_is_said_was_found(given_values):
    text, route = compose(**given_values), given_values["route"]
    assert ("sarcastic" in text) == ("sarcasm" in route.reasons)
    assert ("say different things" in text) == ("conflict" in route.reasons)
    assert ("no reasoner is configured" in text) == (route.decision == "defer" and not given_values["has_reasoner"])
    assert ("was deferred to a reasoner" in text) == (route.decision == "defer" and given_values["has_reasoner"])
    assert ("there is no picture" in text) == ("image" not in given_values["sides"])
    assert ("there are no words" in text) == ("text" not in given_values["sides"])
    assert ("about the mayor" in text) == (given_values["target"] is not None)
    assert text[0].isupper()
    assert text.endswith(".")


def test_an_account_reads_as_english():
    sides = {"text": prediction(np.array([0.1, 0.2, 0.7])), "image": prediction(np.array([0.6, 0.3, 0.1]))}
    route = RouteDecision(decision="defer", answered_by="fast", reasons=("low_confidence", "conflict"))
    text = compose(
        prediction(np.array([0.2, 0.25, 0.55])),
        sides,
        {"text": 0.31, "image": -0.09},
        sarcasm=0.2,
        route=route,
        has_reasoner=False,
    )
    assert text == (
        "Positive (55%). The words say positive (70%), but the picture says negative (60%); the words weigh most "
        "(+0.31). This post should be read again, because the answer is unsure and words and picture say different "
        "things; no reasoner is configured, so the fast answer stands."
    )
