"""Changes of a text that leave its meaning as it is. Knows characters and nothing of models.

A change gives the text back as it was where it has nothing to do (no apostrophe to drop, say).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial

__all__ = ["CHANGES", "mojibake", "stretch", "styled"]

Change = Callable[[str], str]

LOOK_ALIKES = str.maketrans("aeopcxAEOPCX", "аеорсхАЕОРСХ")
"""Latin letters, and the Cyrillic ones that look the same."""
_VOWELS = re.compile(r"[aeiou]+", re.IGNORECASE)
_WORD = re.compile(r"\b[a-z]{4,}\b", re.IGNORECASE)
_UNDEFINED = frozenset(b"\x81\x8d\x8f\x90\x9d")
"""Bytes that windows-1252 leaves open and browsers read as control characters."""


def stretch(text: str, times: int) -> str:
    """The last vowel of the last word of four or more letters, written so many times."""
    words = list(_WORD.finditer(text))
    vowels = list(_VOWELS.finditer(text, *words[-1].span())) if words else []
    if not vowels:
        return text
    place = vowels[-1].end()
    return text[:place] + text[place - 1] * (times - 1) + text[place:]


def styled(text: str, upper: int, lower: int) -> str:
    """ASCII letters as those of a styled alphabet whose `A` and `a` have these code points."""
    capitals = {ord("A") + k: upper + k for k in range(26)}
    return text.translate(capitals | {ord("a") + k: lower + k for k in range(26)})


def mojibake(text: str) -> str:
    """Typographic apostrophes, and all else beyond ASCII, written as UTF-8 and read as windows-1252."""
    raw = text.replace("'", "’").encode()
    return "".join(chr(byte) if byte in _UNDEFINED else bytes([byte]).decode("cp1252") for byte in raw)


def _exclaimed(text: str) -> str:
    return text if text.endswith(("?", "!")) else f"{text.rstrip('.')}!"


CHANGES: Mapping[str, Change] = {
    "three neutral hashtags": lambda text: f"{text} #tuesday #update #berlin",
    "<p>…</p>": lambda text: f"<p>{text}</p>",
    "elongation ×3": partial(stretch, times=3),
    "elongation ×5": partial(stretch, times=5),
    "leading link": lambda text: f"https://example.com/a1b2c3 {text}",
    "trailing t.co": lambda text: f"{text} https://t.co/aB3dE9fGh1",
    "bare domain": lambda text: f"{text} example.com",
    "final !": _exclaimed,
    "Markdown link": lambda text: f"[{text}](https://example.com/post)",
    "1/2": lambda text: f"{text} 1/2",
    "📷": lambda text: f"{text} 📷",
    "bold letters": partial(styled, upper=0x1D5D4, lower=0x1D5EE),
    "full-width letters": partial(styled, upper=0xFF21, lower=0xFF41),
    "Cyrillic look-alikes": lambda text: text.translate(LOOK_ALIKES),
    "mojibake": mojibake,
    "lower case": str.lower,
    "upper case": str.upper,
    "no apostrophes": lambda text: text.replace("'", "").replace("’", ""),
}
"""The changes by name."""
