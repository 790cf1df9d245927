"""Words as spans: what a reader would point at, at its place in the text, whatever the text is made of."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hybrid_mmsa.explain import word_spans
from hybrid_mmsa.explain.words import groups, hide
from hybrid_mmsa.inputs import normalise, reword

EMOJI = ["😀", "❤️", "👍🏽", "👨\u200d👩\u200d👧", "🇩🇪", "☺", "1️⃣", "🏴\u200d☠️"]
ANY = st.text(max_size=60) | st.lists(
    st.sampled_from([*EMOJI, "#", "@", "'", "-", "good", "नमस्ते", "שלום", " ", ":)", "http://x.y/z", "\u0301", "!"]),
    max_size=20,
).map("".join)


def words(text):
    return [text[start:end] for start, end in word_spans(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("We can't wait, it's a well-known joy.", ["We", "can't", "wait", "it's", "a", "well-known", "joy"]),
        ("it’s #MarchMadness with @bob_1!", ["it’s", "#MarchMadness", "with", "@bob_1", "!"]),
        ('so "sad"... :( <3 :D', ["so", "sad", "...", ":(", "<3", ":D"]),
        ("see https://t.co/a-b_c?d=e now", ["see", "https://t.co/a-b_c?d=e", "now"]),
        ("no?!#tag", ["no", "?!", "#tag"]),
        ("love❤️❤️it👍🏽🇩🇪🇫🇷", ["love", "❤️", "❤️", "it", "👍🏽", "🇩🇪", "🇫🇷"]),
        ("👨\u200d👩\u200d👧 1️⃣ नमस्ते שלום", ["👨\u200d👩\u200d👧", "1️⃣", "नमस्ते", "שלום"]),
        (". , ; - ' #", []),
        ("", []),
    ],
)
def test_words_are_what_a_reader_points_at(text, expected):
    assert words(normalise(text)) == expected


@given(ANY.map(normalise))
@example("#" * 500 + "a" * 500 + "'" * 500)
@example("\u0301\u200d🏽")
def test_spans_are_in_order_apart_and_inside_the_text(text):
    edges = [edge for span in word_spans(text) for edge in span]
    assert edges == sorted(edges)
    assert all(0 <= start < end <= len(text) for start, end in word_spans(text))
    assert not any(word[0].isspace() or word[-1].isspace() for word in words(text))


@given(ANY.map(normalise))
def test_every_letter_digit_and_emoji_stands_in_a_word(text):
    covered = {place for span in word_spans(text) for place in range(*span)}
    assert all(place in covered for place, c in enumerate(text) if c.isalnum() or c in "😀❤👍👨👩👧☺")


@given(ANY.map(normalise))
def test_without_its_words_a_text_says_nothing(text):
    left = reword(hide(text, word_spans(text)))
    assert not any(c.isalnum() or c in "!?" for c in left)


@given(ANY.map(normalise), st.data())
def test_hiding_takes_those_words_and_no_others(text, data):
    spans = word_spans(text)
    gone = data.draw(st.sets(st.sampled_from(spans))) if spans else set()
    left = hide(text, sorted(gone))
    kept = [c for place, c in enumerate(text) if not any(start <= place < end for start, end in gone)]
    assert [c for c in left if c != " "] == [c for c in kept if c != " "]


def test_neighbours_of_a_hidden_word_do_not_run_together():
    text = "so😀good"
    assert hide(text, [word_spans(text)[1]]) == "so good"


@given(st.integers(0, 300), st.integers(1, 64))
def test_groups_hold_every_word_once_and_in_order(n, most):
    spans = [(i, i + 1) for i in range(n)]
    parts = groups(spans, most)
    assert [span for part in parts for span in part] == spans
    assert len(parts) <= most
    if n <= most:
        assert all(len(part) == 1 for part in parts)


def test_a_hostile_text_is_read_quickly_enough():
    for text in ("a" * 10_000, "#@" * 5_000, "'-" * 5_000, "🇩" * 9_999, "😀\u200d" * 5_000, "http://" * 1_400):
        assert len(word_spans(normalise(text))) <= 10_000
