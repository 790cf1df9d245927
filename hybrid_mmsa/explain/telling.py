"""Which words of a post are told: those that say something, where hiding them does more than hiding words that do not.

Function words (articles, pronouns, prepositions, auxiliaries, ...), handles, links and bare marks say nothing by
themselves; hiding one still moves the answer a little, since a tower reads word order and rhythm. So their effects in
the same post are the null that a word must exceed. It changes no effect: all of them stay in `Explanation.words`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from ..inputs.emoji_words import face_spans, is_pictograph
from ..types import WordEffect

__all__ = ["LEAST_EFFECT", "is_function_word", "noise", "told"]

LEAST_EFFECT = 0.01
"""Effects on a probability below this are never told, be they of words or of regions."""
NULL_QUANTILE = 0.9
"""Of the function words' effects; with few of them it is nearly their largest."""

_FUNCTION_WORDS = frozenset(Path(__file__).with_name("function_words.txt").read_text(encoding="utf-8").split())
"""The closed classes of English. Negations ("not", "never", "without") are left out: they turn what is said."""
_WORD = re.compile(r"[^\W\d_][\w'\u2019-]*")
_SILENT = re.compile(r"@\w+|(?:https?://|www\.|pic\.twitter\.com/)\S+", re.IGNORECASE)


@lru_cache(64)  # of one post's words it is asked several times
def is_function_word(words: str) -> bool:
    """Whether nothing in these words says anything by itself. Emoji, faces, hashtags, numbers and ratings do."""
    rest = _SILENT.sub(" ", words)
    if "#" in rest or any(character.isdigit() for character in rest) or face_spans(rest):
        return False
    if any(map(is_pictograph, rest)):
        return False
    return all(word.casefold().replace("\u2019", "'") in _FUNCTION_WORDS for word in _WORD.findall(rest))


def noise(words: Iterable[WordEffect]) -> float:
    """The size that a word's effect must exceed in this post, in [`LEAST_EFFECT`, 1]."""
    null = [abs(word.effect) for word in words if is_function_word(word.word)]
    return max(LEAST_EFFECT, float(np.quantile(null, NULL_QUANTILE)) if null else 0.0)


def told(words: Sequence[WordEffect], floor: float | None = None) -> list[WordEffect]:
    """The words worth telling, those of the largest effect first, for or against.

    Args:
        words: All words of a post with their effects.
        floor: What an effect must exceed; `noise(words)` by default.
    """
    least = noise(words) if floor is None else floor
    kept = [word for word in words if abs(word.effect) >= least and not is_function_word(word.word)]
    return sorted(kept, key=lambda word: -abs(word.effect))
