"""Text at the border: any string becomes canonical, ordinary posts keep their words, hostile ones cost nothing."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_mmsa.inputs import looks_foreign, normalise, reword

# Pieces that posts are made of, and that attacks are made of.
MARKUP = (
    "&amp; &lt; & amp; &#64; &#x40; lt; # ; @ @@ bob _ #Tag #a@b http:// https://t.co/x www. pic.twitter.com/ <user>"
)
CHARACTERS = (
    "😂 ❤ \ufe0f \u200d 🏽 🇩 🇪 é e\u0301 \u0301 \u0344 \u037e \u202e \ud83d \x00 \u2028 \t ! !!!!! aaaaa A1b ﬁ 你好"
)
PIECES = st.sampled_from([*MARKUP.split(" "), *CHARACTERS.split(" ")])
posts = st.one_of(
    st.text(st.characters(), max_size=80), st.lists(PIECES, max_size=14).map("".join), st.lists(PIECES).map(" ".join)
)


@given(posts)
def test_canonical_text_stays_as_it_is(text):
    once = normalise(text)
    assert normalise(once) == once


@given(posts)
def test_canonical_text_can_be_written_and_shows_what_it_holds(text):
    canonical = normalise(text)
    canonical.encode("utf-8")
    assert unicodedata.is_normalized("NFC", canonical)
    assert canonical == canonical.strip()
    assert not any(unicodedata.category(c) in {"Cc", "Cs"} for c in canonical)
    assert "\u202e" not in canonical


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        ("  plain  words\n\tkept ", "plain words kept"),
        ("Tom &amp; Jerry &lt;3", "Tom & Jerry <3"),
        ("L&amp;#39;Amoreaux", "L'Amoreaux"),
        ("AT&T", "AT&T"),
        ("cafe\u0301", "café"),
        ("a\u200b\u202eb\x00c", "abc"),
        ("e\u200b\u0301", "é"),
        ("👩\u200d👧", "👩\u200d👧"),
        ("half \ud83d pair", "half pair"),
        (" \u200d \u2028 ", ""),
        ("&#" + "9" * 5000 + ";", "\ufffd"),
    ],
)
def test_normalise(raw, canonical):
    assert normalise(raw) == canonical


@pytest.mark.parametrize(
    ("damaged", "repaired"),
    [
        ("I donâ€™t like it", "I don’t like it"),
        ("best cafÃ© in town", "best café in town"),
        ("so sad ðŸ˜\xad", "so sad 😭"),
        ("so happy ðŸ˜", "so happy"),
        ("Âge et Ãtre", "Âge et Ãtre"),
    ],
)
def test_mojibake_is_repaired(damaged, repaired):
    assert normalise(damaged) == repaired


def test_characters_newer_than_the_running_python_stay():
    unknown = next(c for c in map(chr, range(0x1FAFF, 0x1F9FF, -1)) if unicodedata.category(c) == "Cn")
    assert normalise(f"I {unknown} you") == f"I {unknown} you"
    assert normalise(unknown) == unknown


@given(st.integers(0, 30))
def test_no_escape_survives_however_often_it_was_escaped(layers):
    shown = normalise("1 &" + "amp;" * layers + "lt; 2")
    assert "&" not in shown
    assert layers > 3 or shown == "1 < 2"


def test_a_pile_of_marks_is_cut_where_sorting_it_would_take_quadratic_time():
    assert normalise("a" + "\u0327\u0301" * 50_000 + "b") == normalise("a" + "\u0327\u0301" * 15 + "b")
    assert normalise("Tiếng Việt, हिन्दी, שָׁלוֹם") == unicodedata.normalize("NFC", "Tiếng Việt, हिन्दी, שָׁלוֹם")


@pytest.mark.parametrize(
    "bomb",
    ["\u0344", "amp;", "&amp;", "9", "@", "@a", "aA1", "_", "<user", "www.", "a'", "!", "http://", "\u200d", "🇩"],
)
@pytest.mark.parametrize("start", ["", "&#", "#", "@", "&"])
def test_long_repetitions_are_read(bomb, start):
    canonical = normalise(start + bomb * (40_000 // len(bomb)))
    assert normalise(canonical) == canonical
    assert len(reword(canonical)) < 200_000
    assert looks_foreign(canonical) in (True, False)
