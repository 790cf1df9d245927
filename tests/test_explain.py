"""Shares that add up, and sentences that say nothing but the numbers and words they were given."""

import re
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_mmsa.explain import Evidence, compose, modality_shares, quote
from hybrid_mmsa.types import LABELS, Change, Region, RouteDecision, WordEffect, prediction

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


@given(st.integers(1, 5).flatmap(lambda n: st.tuples(st.just(n), st.lists(P, min_size=2**n, max_size=2**n))))
def test_shares_of_any_set_of_sides_sum_and_are_the_mean_over_all_orders(drawn):
    n, numbers = drawn
    sides = "abcde"[:n]
    sets = [frozenset(s for i, s in enumerate(sides) if code >> i & 1) for code in range(2**n)]
    values = dict(zip(sets, numbers, strict=True))
    shares = modality_shares(values)
    assert sum(shares.values()) == pytest.approx(values[frozenset(sides)] - values[frozenset()], abs=1e-6)
    moved = dict.fromkeys(sides, 0.0)
    orders = list(permutations(sides))
    for order in orders:
        for place, side in enumerate(order):
            before = frozenset(order[:place])
            moved[side] += (values[before | {side}] - values[before]) / len(orders)
    assert shares == {side: pytest.approx(share, abs=1e-9) for side, share in moved.items()}


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
    assert ('about "the mayor"' in text) == (given_values["target"] is not None)
    both = len(given_values["sides"]) == 2
    assert ("only the words count" in text) == (both and given_values["target"] is not None)
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


WORDS = tuple(
    WordEffect(word=word, start=0, end=len(word), effect=effect)
    for word, effect in (("great", 0.21), ("it", 0.004), ("love", 0.1), ("late", -0.05), ("great", 0.2), ("sea", 0.02))
)
FULL = Evidence(
    words=WORDS,
    sarcasm_words=(WordEffect(word="great", start=0, end=5, effect=0.3),),
    heat_map=((0.1, -0.2),),
    regions=(
        Region(left=0, top=0, right=0.4, bottom=0.4, effect=0.12),
        Region(left=0.8, top=0, right=1, bottom=0.2, effect=0.03),
    ),
    changes=(
        Change(side="text", what="great", label="neutral"),
        Change(side="text", what="great", label="neutral"),
        Change(side="image", what="the upper left", label="negative"),
    ),
)
MIXED = {"text": prediction(np.array([0.1, 0.2, 0.7])), "image": prediction(np.array([0.2, 0.6, 0.2]))}


def full_account(evidence, sides=MIXED):
    return compose(
        prediction(np.array([0.2, 0.25, 0.55])),
        sides,
        dict.fromkeys(sides, 0.1),
        sarcasm=0.9,
        route=RouteDecision(decision="defer", answered_by="fast", reasons=("sarcasm",)),
        has_reasoner=False,
        evidence=evidence,
    )


def test_a_full_account_reads_as_english():
    assert full_account(FULL) == (
        "Positive (55%). The words say positive (70%), but the picture says neutral (60%); the words weigh most "
        '(+0.10). Most for it: "great" (+0.21), "love" (+0.10) and "sea" (+0.02); most against it: "late" (-0.05). '
        "In the picture, the upper left speaks most for it (+0.12). The words may be sarcastic (90%); "
        '"great" (+0.30) raises that most. Neutral came second (25%); it is what the picture says. Without "great" '
        "the answer would be neutral; without the upper left of the picture the answer would be negative. This post "
        "should be read again, because the words may be sarcastic; no reasoner is configured, so the fast answer "
        "stands."
    )


FAINT = (Region(left=0, top=0, right=0.3, bottom=0.3, effect=0.001),)


def test_where_nothing_stands_out_the_account_says_so():
    weak = Evidence(words=(WORDS[1],), regions=FAINT, changes=())
    assert "No word makes much of a difference by itself." in full_account(weak)
    assert "None of the words or regions tried decides it alone." in full_account(weak)
    assert "In the picture" not in full_account(weak)
    alone = full_account(Evidence(words=(WORDS[1],)), {"text": MIXED["text"]})
    assert "None of the words tried decides it alone." in alone
    seen = full_account(Evidence(regions=FAINT), {"image": MIXED["image"]})
    assert "None of the regions tried decides it alone." in seen
    assert "No word" not in seen


def test_of_regions_that_were_not_found_nothing_is_said():
    assert "region" not in full_account(Evidence(regions=()), {"image": MIXED["image"]})


def test_of_words_hidden_together_nothing_is_said_of_each():
    run = WordEffect(word="it is what", start=0, end=10, effect=0.001)
    told = full_account(Evidence(words=(run,), grouped=True), {"text": MIXED["text"]})
    assert "No group of words makes much of a difference by itself." in told
    assert "None of the groups of words tried decides it alone." in told


def test_words_that_hardly_sound_sarcastic_are_not_named():
    faint = WordEffect(word="sure", start=0, end=4, effect=0.004)
    assert "(90%). Neutral" in full_account(Evidence(sarcasm_words=(faint,)))


def test_places_in_the_picture_are_told_together():
    changes = [
        Change(side=side, what=what, label="neutral")
        for side, what in (("text", "great"), ("image", "the upper left"), ("image", "the centre"))
    ]
    told = full_account(Evidence(changes=tuple(changes)))
    assert 'Without "great", the upper left or the centre of the picture the answer would be neutral.' in told


def test_a_side_that_weighs_most_against_the_answer_is_said_to():
    text = compose(
        prediction(np.array([0.2, 0.25, 0.55])),
        MIXED,
        {"text": 0.1, "image": -0.3},
        sarcasm=None,
        route=RouteDecision(decision="keep", answered_by="fast"),
        has_reasoner=False,
    )
    assert "the picture weighs most, against it (-0.30)." in text


def test_a_target_cannot_write_the_account():
    text = compose(
        prediction(np.array([0.2, 0.25, 0.55])),
        {"text": MIXED["text"]},
        {"text": 0.1},
        sarcasm=None,
        route=RouteDecision(decision="keep", answered_by="fast"),
        has_reasoner=False,
        target='it" (99%). The picture says negative (98%)',
    )
    assert text.startswith('Positive about "it\' (99%). The picture says neg…" (55%). The words say positive (70%)')


@given(st.text(max_size=80))
def test_a_quotation_ends_where_it_ends(words):
    quoted = quote(words)
    inside = quoted[1:-1]
    assert quoted[0] == quoted[-1] == '"'
    assert not set(inside) & set('"“”')
    assert len(inside) <= 34
    assert inside.count("\u2068") - words.count("\u2068") <= 1


def test_words_from_right_to_left_do_not_turn_the_sentence():
    assert quote("שלום") == '"\u2068שלום\u2069"'
    assert quote("good") == '"good"'
    assert quote("a" * 40) == f'"{"a" * 31}…"'
