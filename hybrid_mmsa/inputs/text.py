"""Any string → canonical text with its words kept. Knows nothing of tokenizers or models.

`rewording.reword` puts canonical text into the words that a tower reads.
"""

from __future__ import annotations

import html
import re
import unicodedata

from .emoji_words import EMOJI_BLOCKS

__all__ = ["normalise", "writable"]

_SPACE = re.compile(r"\s+")
# Beyond Unicode's last character; Python refuses to read numbers of thousands of digits at all.
_HUGE_REFERENCE = re.compile(r"&#[0-9]{9,};?")

# UTF-8 that was read as Latin-1 or Windows-1252 begins with one of these.
_MOJIBAKE = re.compile("[ÂÃâäåæçèéêëìíîïðáàÐÑÎ][\u0080-\u00ff\u0152-\u0178\u02c6\u02dc\u2013-\u2122]")
_BROKEN_EMOJI = re.compile("\u00f0\u0178[\u0080-\u00ff\u0152-\u0178\u02c6\u02dc\u2013-\u2122]{0,2}")

_JOINER = "\u200d"
_INVISIBLE = frozenset({"Cc", "Cf", "Cn", "Co", "Cs"})
# Sorting a long run of combining marks takes quadratic time; 30 is Unicode's Stream-Safe limit (UAX 15, section 13).
_MOST_MARKS = 30
# Feeds that escape what was escaped before are common; more layers than this are an attack.
_MOST_ESCAPES = 4


def normalise(text: str) -> str:
    """Make any string canonical: mojibake repaired, HTML entities decoded, NFC, invisible characters dropped, trimmed.

    Line breaks and tabs become spaces. The zero-width joiner stays, since emoji are built with it; other invisible
    characters, such as direction overrides, go. Entities escaped over and over are decoded until none is left, so
    canonical text stays as it is. Characters that the running Python does not know yet stay where Unicode keeps
    emoji. Returns `""` for white space alone.
    """
    for _ in range(_MOST_ESCAPES):
        shown = _canonical(html.unescape(_HUGE_REFERENCE.sub("\ufffd", text)))
        if shown == text:
            return text
        text = shown
    return _canonical(text.replace("&", " "))


def _canonical(text: str) -> str:
    """`normalise` for text without entities."""
    if _MOJIBAKE.search(text):
        from ftfy import fix_encoding  # 40 ms to load, and most posts need none

        text = _BROKEN_EMOJI.sub(" ", fix_encoding(text))
    kept: list[str] = []
    marks = 0
    for character in text:
        if unicodedata.category(character) in _INVISIBLE and character != _JOINER and not _is_pictograph(character):
            if not character.isspace():
                continue
            character = " "
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks <= _MOST_MARKS:
            kept.append(character)
    return _SPACE.sub(" ", unicodedata.normalize("NFC", "".join(kept))).strip(" " + _JOINER)


def _is_pictograph(character: str) -> bool:
    return any(ord(character) in block for block in EMOJI_BLOCKS)


def writable(text: str) -> str:
    """The same string in a form that can be written as UTF-8: surrogate pairs joined, lone surrogates U+FFFD.

    For strings that are only carried along, such as identifiers; `normalise` is for words.
    """
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
