"""Texts changed so that what they say may change too: for a student whose teacher labels them. Knows no model."""

from __future__ import annotations

import random
from collections.abc import Sequence

from ...inputs.emoji_words import FEELINGS
from ...types import Sample
from .rows import TextRow

__all__ = ["rewritten"]

LONGEST_HALF = 160
"""Characters of a text that another one is put beside."""
JOINTS = (". ", ", but ", " and ", " ", ", although ", "! ")
OPENINGS = ("I don't think ", "honestly, ", "not ", "never ", "so ", "why ")
WORDS_PER_TYPO = 8


def rewritten(row: TextRow, others: Sequence[TextRow], rng: random.Random) -> TextRow:
    """The text joined to another one, cut short, negated or hedged, with a feeling named after it, or misspelt.

    Args:
        row: A row without a target, its text as a tower reads it.
        others: Where a second half is drawn from.
        rng: Chooses the change.

    Returns:
        A row without labels.
    """
    text, other = row.text, rng.choice(others).text
    words = text.split() or [text]
    match rng.choices(("joined", "cut", "felt", "typos", "apostrophes", "opened"), weights=(35, 15, 20, 15, 8, 7))[0]:
        case "joined" if max(len(text), len(other)) < LONGEST_HALF:
            text = text.rstrip(".! ") + rng.choice(JOINTS) + other
        case "cut":
            text = " ".join(words[: rng.randint(max(1, len(words) // 3), len(words))])
        case "felt":
            text = f"{text} {rng.choice(_FEELINGS)}"
        case "typos":
            text = " ".join(_misspelt(words, rng))
        case "apostrophes":
            text = text.replace("'", "")
        case _:
            text = rng.choice(OPENINGS) + text
    return TextRow(Sample(text=text), text, None, {}, row.split)


_FEELINGS = sorted(set(FEELINGS.values()))


def _misspelt(words: list[str], rng: random.Random) -> list[str]:
    changed = list(words)
    for _ in range(max(1, len(words) // WORDS_PER_TYPO)):
        place = rng.randrange(len(changed))
        word = changed[place]
        if len(word) > 3:
            at = rng.randrange(1, len(word) - 1)
            dropped, doubled = word[:at] + word[at + 1 :], word[:at] + word[at] + word[at:]
            changed[place] = rng.choice((dropped, doubled, word[:at] + word[at + 1] + word[at] + word[at + 2 :]))
    return changed
