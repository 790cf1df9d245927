"""Text as users write it → text as a tower reads it. Knows nothing of tokenizers or models.

`normalise` makes any string safe and canonical and keeps its words; `clean` rewrites it in the words a tower knows:
handles and links masked, hashtags split, emoji named. Training and serving call the same two functions.
"""

from __future__ import annotations

import html
import re
import unicodedata

from .emoji_words import EMOJI_BLOCKS

__all__ = ["clean", "normalise", "writable"]

HANDLE = "@user"
LINK = "http"

_LINK = re.compile(r"(?:https?://|www\.)\S+|pic\.twitter\.com/\S+", re.IGNORECASE)
_HANDLE = re.compile(r"(?<![\w@])(?:@++\w++)++|<user>", re.IGNORECASE)
_HASHTAG = re.compile(r"#(\w+)")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])|_+")
_LONG_RUN = re.compile(r"(\w)\1{3,}")
_LONG_PUNCTUATION = re.compile(r"([^\w\s])\1{3,}")
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

# Names that Unicode gives and people do not use.
_EMOJI_NAMES = {
    "❤": "red heart",
    "♥": "red heart",
    "☺": "smiling face",
    "☹": "frowning face",
    "😂": "laughing with tears of joy",
    "🤣": "rolling on the floor laughing",
    "😭": "loudly crying face",
    "💯": "hundred percent",
    "👍": "thumbs up",
    "👎": "thumbs down",
    "🙏": "praying hands",
    "🙄": "rolling eyes",
}
_NAMED_BLOCKS = ((0x1F300, 0x1FAFF), (0x2600, 0x27BF), (0x2B00, 0x2BFF), (0x1F100, 0x1F2FF))
_SKIN_TONES = range(0x1F3FB, 0x1F400)
_FLAG_LETTERS = range(0x1F1E6, 0x1F200)


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


def clean(text: str) -> str:
    """Rewrite normalised text in words a tower knows.

    Handles become `@user`, links `http`, `#MarchMadness` becomes `# March Madness`, each emoji its English name,
    and runs of four or more equal letters or marks are cut to three. May return `""` (for example for a lone joiner).
    """
    text = _masked(text)
    text = _HASHTAG.sub(lambda m: f" # {_HUMP.sub(' ', m.group(1))} ", text)
    text = "".join(_spoken(c) for c in text)
    text = _LONG_PUNCTUATION.sub(r"\1\1\1", _LONG_RUN.sub(r"\1\1\1", text))
    # Once more: a hashtag may run into a handle, and an invisible emoji part may have stood inside a link.
    return _SPACE.sub(" ", _masked(text)).strip()


def _masked(text: str) -> str:
    return _HANDLE.sub(f" {HANDLE} ", _LINK.sub(f" {LINK} ", text))


def _spoken(character: str) -> str:
    """One character as the tower should read it: itself, or an emoji's name in spaces."""
    code = ord(character)
    if code < 0x2000:
        return character
    if character in _EMOJI_NAMES:
        return f" {_EMOJI_NAMES[character]} "
    if character == _JOINER or code in _SKIN_TONES or 0xFE00 <= code <= 0xFE0F:
        return ""
    if code in _FLAG_LETTERS:
        return chr(code - _FLAG_LETTERS.start + ord("a"))
    if any(low <= code <= high for low, high in _NAMED_BLOCKS):
        name = unicodedata.name(character, "").lower()
        return f" {name.removeprefix('heavy ').removeprefix('black ').removeprefix('white ')} "
    return character


def writable(text: str) -> str:
    """The same string in a form that can be written as UTF-8: surrogate pairs joined, lone surrogates U+FFFD.

    For strings that are only carried along, such as identifiers; `normalise` is for words.
    """
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
