"""Normalised text → the words that a tower reads. Knows nothing of tokenizers or models.

What says nothing of a feeling goes (links, markup, thread counts), and what says it in signs is put into words (emoji,
emoticons, ratings). Evidence points into the normalised text, never into what stands here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache, lru_cache
from importlib import resources
from itertools import product

from .emoji_words import name_emoji, name_faces

__all__ = ["as_sentence", "plain_letters", "reword"]

HANDLE = "@user"
LINK = "http"
SHORT, REMEMBERED = 1000, 64
"""Characters of a text that is remembered, and how many are."""

_LINK = re.compile(
    r"(?:https?://|www\.)\S+|pic\.twitter\.com/\S+|(?<![\w.-])[a-z0-9-]{1,63}(?:\.[a-z]{2,3}){1,3}/\S*", re.IGNORECASE
)
_DOMAIN = re.compile(
    r"(?<![\w.-])(?:[a-z0-9-]{1,63}\.){0,3}([a-z0-9-]{2,63})\.(?:com|org|net|io|edu|gov|info|biz|app|dev|co\.uk|co|uk|de|fr|tv|me|us|ly)\b(?![@\w])",
    re.IGNORECASE,
)
_HANDLE = re.compile(r"(?<![\w@])(?:@++\w++)++|<user>", re.IGNORECASE)
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}")
_HASHTAG = re.compile(r"#(\w+)")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])|_+")
_MARKDOWN_LINK = re.compile(r"!?\[([^\[\]]{1,200})\]\((?:https?://|www\.|/)[^\s()]*\)")
_MARKUP = re.compile(
    r"</?(?:p|br|hr|div|span|b|i|u|s|em|strong|small|sub|sup|a|ul|ol|li|h[1-6]|blockquote|code|pre|img|font|center|table|"
    r"tr|td|th|body|html)(?:\s[^<>]{0,200})?/?>",
    re.IGNORECASE,
)
_EMPHASIS = re.compile(r"(?<![\w*])(\*{1,3}|_{1,3}|~~)(?=\S)([^*_~\n]{1,200}?)(?<=\S)\1(?![\w*])")
_THREAD_COUNT = re.compile(
    r"\s\(?(?:[1-9]|1[0-9])/(?:[2-46-9]|1[2-9]|n)?\)?$|^\(?(?:[1-9])/(?:[2-46-9]|1[2-9]|n)?\)?\s"
)
_RETWEET = re.compile(r"^RT\s+(?=@)|(?<=\s)RT\s+(?=@)")
_STARS = re.compile(
    r"(?:[★⭐🌟]\ufe0f?){2,}(?:[☆✩✰]\ufe0f?)*|[★⭐🌟]?\ufe0f?(?:[☆✩✰]\ufe0f?){2,}|[★⭐]\ufe0f?(?:[☆✩✰]\ufe0f?)+"
)
# A lone star stands for a rating; within a sentence it is a decoration.
_LONE_STAR = re.compile(r"^\s*[★⭐]\ufe0f?\s*$")
# How writers mark a post as ironic at its end ("tone tags"); "m/s" and paths stand within words.
_TONE_TAG = re.compile(r"(?:(?<!\S)\(?/s(?:arc(?:asm)?)?\)?|</sarcasm>)\s*$", re.IGNORECASE)
_FRACTION = re.compile(r"(?<![\d/.,$€£])(\d{1,3}(?:[.,]\d)?)\s?/\s?(5|10|100)(?![\d/])")
_LONG_RUN = re.compile(r"([^\W\d_])\1{2,}")
_WORD = re.compile(r"[^\W\d_]+")
_LONG_PUNCTUATION = re.compile(r"([^\w\s])\1{3,}")
_SPACE = re.compile(r"\s+")

_JOINER = "\u200d"
# Stretched letters in one word whose spellings are looked up; a word with more of them is no word.
_MOST_RUNS = 4

# Letters of other alphabets that look like Latin ones, and small capitals (from Unicode's confusables, UTS 39).
_LOOKALIKES = str.maketrans(
    "аеорсухіјѕԁԛԝһӏАВЕКМНОРСТУХІЈЅԌԜαορνιυκΑΒΕΖΗΙΚΜΝΟΡΤΥΧᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢɑɡıƒ",
    "aeopcyxijsdqwhlABEKMHOPCTYXIJSGWaopviukABEZHIKMNOPTYXabcdefghijklmnoprstuvwyzagif",
)
# Capitals in brackets, squares and discs, some of them emoji; compatibility forms (NFKC) leave most as they are.
_FRAMED = {first + k: chr(ord("A") + k) for first in (0x1F110, 0x1F130, 0x1F150, 0x1F170) for k in range(26)}
_FRAMED[0x24C2] = "M"  # of the discs that NFKC knows, the one that is an emoji


def _table(form: str, *entries: tuple[str, str]) -> tuple[tuple[re.Pattern[str], str], ...]:
    """Patterns with what stands for what they find; `form` says where in a text they are looked for."""
    return tuple((re.compile(form % pattern, re.IGNORECASE), read) for pattern, read in entries)


_CENSORED = _table(
    r"(?<!\w)%s",
    (r"f(?:[*@#$%]{2,3}|u?[*@#$%]c?|[*@#$%]{1,2}c)k?(?=ing|in\b|ed|er|s\b|\W|$)", "fuck"),
    (r"(?:sh[*@#$%!]t|s[*@#$%]{2,3}t?)(?=ty|s\b|\W|$)", "shit"),
    (r"b(?:[*@#$%!]tch|[*@#$%]{3,4})(?=es|ing|\W|$)", "bitch"),
    (r"a[*@#$%]{2}(?=hole|\W|$)", "ass"),
    (r"(?:cr[*@#$%]p|d[*@#$%]mn)(?=\W|$)", "damn"),
)
# Whom somebody loves, or who somebody is, says nothing of what a post feels, but corpora teach a tower otherwise: it
# takes "a homosexual colleague" for worse than "a bisexual colleague". So each of these words is read as the one of its
# kind that moves nothing ("blindness" in Garg et al. 2019, arXiv 1809.10610). Words of several meanings ("straight",
# "blind") stay.
_OF_ONE_KIND = _table(
    r"\b(?:%s)(s?)\b",
    ("heterosexual|homosexual|asexual|pansexual|gay|lesbian|queer", r"bisexual\1"),
    ("non-?binary|cisgender|agender|gender-?queer|gender-?fluid", r"transgender\1"),
)


def reword(text: str) -> str:
    """Rewrite normalised text in words a tower knows.

    What was last asked for is remembered: a text and its shortened versions come up several times in one answer.

    Markup, links and thread counts go; a link alone is `http`. Handles become `@user`, `#MarchMadness` becomes
    `# March Madness`, emoji and emoticons what they feel, ratings words ("4 out of 5 stars"), and "/s" at the end
    `# sarcasm`. Styled letters, and letters of other alphabets that imitate Latin ones, become plain ones; stretched
    words are cut to their spelling. Words for sexual orientation are all read as one of them, and so are words for
    gender identity.
    May return `""` (for example for a lone joiner).
    """
    return _remembered(text) if len(text) <= SHORT else _reworded(text)


def _reworded(text: str) -> str:
    bare = _without_links(_TONE_TAG.sub(" #sarcasm", text))
    rated = _STARS.sub(_star_rating, _LONE_STAR.sub(_star_rating, bare.translate(_FRAMED)))
    words = plain_letters(name_emoji(name_faces(rated)).replace(_JOINER, ""))
    words = _FRACTION.sub(r"\1 out of \2", _HANDLE.sub(f" {HANDLE} ", words))
    words = _HASHTAG.sub(lambda m: f" # {_HUMP.sub(' ', m.group(1))} ", words)
    words = _LONG_PUNCTUATION.sub(r"\1\1\1", _spelled(_uncensored(words)))
    words = _replaced(words, _OF_ONE_KIND)
    # Once more: a hashtag may run into a handle, and an invisible part may have stood inside a link.
    words = _SPACE.sub(" ", _HANDLE.sub(f" {HANDLE} ", _LINK.sub(" ", words))).strip()
    return words or (LINK if _LINK.search(text) else "")


_remembered = lru_cache(REMEMBERED)(_reworded)


def _without_links(text: str) -> str:
    """The text without markup, links, mail addresses, "RT" and thread counts."""
    text = _MARKDOWN_LINK.sub(r" \1 ", _MARKUP.sub(" ", text))
    text = _DOMAIN.sub(r" \1 ", _EMAIL.sub(" ", _LINK.sub(" ", text)))
    text = _EMPHASIS.sub(r"\2", _RETWEET.sub("", text))
    return _THREAD_COUNT.sub(" ", text.strip())


def _star_rating(match: re.Match[str]) -> str:
    full = sum(c in "★⭐🌟" for c in match[0])
    empty = sum(c in "☆✩✰" for c in match[0])
    return f" {full} out of {max(full + empty, 5)} stars "


def plain_letters(text: str) -> str:
    """The text with styled and imitated Latin letters as plain ones, word by word; words of other alphabets stay."""
    if text.isascii():
        return text
    text = unicodedata.normalize("NFKC", text.translate(_FRAMED))
    imitated = text.translate(_LOOKALIKES)
    letters = [c for c in text if c.isalpha()]
    latin = sum(c.isascii() for c in letters)
    if 3 * latin < len(letters) and not all(c.isascii() for c in imitated if c.isalpha()):
        return text
    pairs = zip(text.split(" "), imitated.split(" "), strict=True)
    return " ".join(plain if all(c.isascii() for c in plain if c.isalpha()) else word for word, plain in pairs)


def _uncensored(text: str) -> str:
    if not any(mark in text for mark in "*@#$%!"):
        return text
    return _replaced(text, _CENSORED)


def _replaced(text: str, table: Iterable[tuple[re.Pattern[str], str]]) -> str:
    for pattern, read in table:
        text = pattern.sub(read, text)
    return text


def _spelled(text: str) -> str:
    """The text with stretched words as they are spelled: "goood" is good, "soooo" is so."""
    if not _LONG_RUN.search(text):
        return text
    return _WORD.sub(lambda match: _spelled_word(match[0]) if _LONG_RUN.search(match[0]) else match[0], text)


def _spelled_word(word: str) -> str:
    if len(set(word.lower())) == 1:
        return word[:3]
    runs = len(_LONG_RUN.findall(word))
    for doubled in product((True, False), repeat=runs if runs <= _MOST_RUNS else 0):
        lengths = iter(doubled)
        spelling = _LONG_RUN.sub(lambda run: run[1] * (2 if next(lengths) else 1), word) if doubled else ""  # noqa: B023
        if spelling.lower() in _doubled_words():
            return spelling
    return _LONG_RUN.sub(r"\1", word)


@cache
def _doubled_words() -> frozenset[str]:
    """Frequent English words spelled with a double letter."""
    return frozenset(resources.files(__package__).joinpath("doubled_words.txt").read_text(encoding="utf-8").split())


def as_sentence(words: str) -> str:
    """Reworded text; a lone word gets a full stop, since a tower of sentences makes little of a bare one.

    Bare, "great" and "awful" look all but alike to the bundled text tower; with a full stop each is as plain as can be.
    """
    return f"{words}." if words[-1:].isalnum() and " " not in words else words
