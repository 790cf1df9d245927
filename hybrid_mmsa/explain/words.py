"""The words of a text as spans, and the text with some of them hidden. Knows nothing of models or of what words do.

A word is what a reader would point at: a word with its apostrophes and hyphens, a hashtag, a handle, a link, an emoji
with its skin tone and joined parts, or a run of marks that says something (`!`, `?`, `:)`, `...`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeAlias

from ..inputs import reword
from ..inputs.emoji_words import face_spans, is_pictograph

__all__ = ["Span", "groups", "hide", "word_spans"]

Span: TypeAlias = tuple[int, int]
"""First character and one past the last."""

# Each character becomes one letter for its kind, so that spans of kinds are spans of the text.
_WORD, _EMOJI, _FLAG, _EXTENDS, _JOINER, _QUOTE, _SPACE, _MARK = "w", "e", "f", "x", "j", "q", " ", "."
_SPAN = re.compile(
    r"""
      ff                                  # a flag is two letters
    | [ef]x*(?:jex*)*                     # an emoji, its skin tone, and what is joined to it
    | [\#@]*w[wxj]*(?:['\-]w[wxj]*)*      # a word, hashtag or handle
    | [^wefq\s\#@]+ | [\#@]+             # marks
    """,
    re.VERBOSE,
)
_LINK = re.compile(r"(?:https?://|www\.)\S+|pic\.twitter\.com/\S+", re.IGNORECASE)
_TELLING_MARKS = re.compile(r"[!?]|[^\w\s][^\w\s]")
_APOSTROPHES = "'\u2019\u02bc"
_HYPHENS = "-\u2010\u2011"
_SKIN_TONES = range(0x1F3FB, 0x1F400)
_FLAG_LETTERS = range(0x1F1E6, 0x1F200)


def word_spans(text: str) -> list[Span]:
    """The words of a text as read, in reading order; none overlaps another.

    Marks that only order a sentence, such as one full stop, belong to no word. A span in which no tower could read
    anything is left out.
    """
    # What is one word although its characters alone would not say so: links, and faces such as ":D" and "<3".
    links = [match.span() for match in _LINK.finditer(text)]
    whole = sorted(links + face_spans(_LINK.sub(lambda match: " " * len(match[0]), text)))
    kinds = "".join(map(_kind, text))
    spans: list[Span] = []
    for start, end in _between(whole, len(text)):
        spans += [(start + a, start + b) for a, b in (m.span() for m in _SPAN.finditer(kinds[start:end]))]
    return [span for span in sorted(spans + whole) if _tells(text[slice(*span)])]


def groups(spans: Sequence[Span], most: int) -> list[tuple[Span, ...]]:
    """Words one by one, or runs of as few neighbours as needed for at most `most` groups."""
    size = max(-(-len(spans) // most), 1)
    return [tuple(spans[start : start + size]) for start in range(0, len(spans), size)]


def hide(text: str, spans: Sequence[Span]) -> str:
    """The text with a space in the place of each span, so that their neighbours do not run together."""
    pieces, position = [], 0
    for start, end in sorted(spans):
        pieces.append(text[position:start])
        position = max(position, end)
    return " ".join([*pieces, text[position:]])


def _between(spans: Sequence[Span], length: int) -> list[Span]:
    """What lies before, between and after some spans."""
    edges = [(0, 0), *spans, (length, length)]
    return [(before[1], after[0]) for before, after in pairwise(edges)]


def _tells(word: str) -> bool:
    if word.isascii() and word.isalpha():
        return True
    if any(_kind(c) in (_WORD, _EMOJI, _FLAG) for c in word):
        return any(c.isalnum() or c in "!?" for c in reword(word))
    return _TELLING_MARKS.search(word) is not None


def _kind(character: str) -> str:
    if character.isalnum() or character == "_":
        return _WORD
    if character.isspace():
        return _SPACE
    if character in _APOSTROPHES:
        return "'"
    if character in _HYPHENS:
        return "-"
    if character in "#@":
        return character
    return _sign(character)


def _sign(character: str) -> str:
    """The kind of a character that is neither a letter nor a digit."""
    code, category = ord(character), unicodedata.category(character)
    if code == 0x200D:
        return _JOINER
    if code in _SKIN_TONES or category.startswith("M"):
        return _EXTENDS
    if code in _FLAG_LETTERS:
        return _FLAG
    if category in {"Ps", "Pe", "Pi", "Pf"} or character == '"':
        return _QUOTE
    if is_pictograph(character):
        return _EMOJI
    # Signs such as ℃ are read as the letters that they are made of.
    return _WORD if any(map(str.isalnum, unicodedata.normalize("NFKC", character))) else _MARK
