"""Text as users write it → text as a tower reads it. Knows nothing of tokenizers or models.

`normalise` makes any string safe and canonical and keeps its words; `clean` rewrites it in the words a tower knows.
Training and serving call the same two functions, and evidence points into normalised text.
"""

from __future__ import annotations

import html
import re
import unicodedata
from functools import cache
from importlib import resources
from itertools import product

from .emoji_words import EMOJI_BLOCKS, name_emoji, name_faces

__all__ = ["clean", "looks_foreign", "normalise", "writable"]

HANDLE = "@user"
LINK = "http"

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
_FRACTION = re.compile(r"(?<![\d/.,$€£])(\d{1,3}(?:[.,]\d)?)\s?/\s?(5|10|100)(?![\d/])")
_LONG_RUN = re.compile(r"([^\W\d_])\1{2,}")
_WORD = re.compile(r"[^\W\d_]+")
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
# Stretched letters in one word whose spellings are looked up; a word with more of them is no word.
_MOST_RUNS = 4

# Letters of other alphabets that look like Latin ones, and small capitals (from Unicode's confusables, UTS 39).
_LOOKALIKES = str.maketrans(
    "аеорсухіјѕԁԛԝһӏАВЕКМНОРСТУХІЈЅԌԜαορνιυκΑΒΕΖΗΙΚΜΝΟΡΤΥΧᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢɑɡıƒ",
    "aeopcyxijsdqwhlABEKMHOPCTYXIJSGWaopviukABEZHIKMNOPTYXabcdefghijklmnoprstuvwyzagif",
)
_CENSORED: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(rf"(?<!\w){pattern}", re.IGNORECASE), word)
    for pattern, word in (
        (r"f(?:[*@#$%]{2,3}|u?[*@#$%]c?|[*@#$%]{1,2}c)k?(?=ing|in\b|ed|er|s\b|\W|$)", "fuck"),
        (r"(?:sh[*@#$%!]t|s[*@#$%]{2,3}t?)(?=ty|s\b|\W|$)", "shit"),
        (r"b(?:[*@#$%!]tch|[*@#$%]{3,4})(?=es|ing|\W|$)", "bitch"),
        (r"a[*@#$%]{2}(?=hole|\W|$)", "ass"),
        (r"(?:cr[*@#$%]p|d[*@#$%]mn)(?=\W|$)", "damn"),
    )
)


def _words(spaced: str) -> frozenset[str]:
    return frozenset(spaced.split())


_ENGLISH = _words(
    "the a an and or but of to in on at for with from is are was were be been am i you he she it we they my your his "
    "her our their this that not no so do does did have has had will would can could just what when who how all me "
    "if about out up as by"
)
_OTHER_LATIN = (
    _words("el los las una unos pero por para con que como muy más está estoy eso esta esto")
    | _words("le les des une est pas mais pour avec dans qui je tu nous vous ce cette c'est très sur")
    | _words("der die das und ist nicht ein eine ich du wir ihr mit auf für aber sehr auch")
    | _words("il gli una che non per sono questo questa molto anche di")
    | _words("não uma você muito isso esse essa obrigado ele ela com")
    | _words("het een niet van voor maar ook zijn ik je yang dan ini itu saya tidak bir ve bu çok için")
) - _ENGLISH


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

    Markup, links and thread counts go; a link alone is `http`. Handles become `@user`, `#MarchMadness` becomes
    `# March Madness`, emoji and emoticons what they feel, ratings words ("4 out of 5 stars"). Styled letters, and
    letters of other alphabets that imitate Latin ones, become plain ones; stretched words are cut to their spelling.
    May return `""` (for example for a lone joiner).
    """
    bare = _without_links(text)
    words = name_emoji(name_faces(_STARS.sub(_star_rating, bare)))
    words = _plain_letters(unicodedata.normalize("NFKC", words).replace(_JOINER, ""))
    words = _FRACTION.sub(r"\1 out of \2", _HANDLE.sub(f" {HANDLE} ", words))
    words = _HASHTAG.sub(lambda m: f" # {_HUMP.sub(' ', m.group(1))} ", words)
    words = _LONG_PUNCTUATION.sub(r"\1\1\1", _spelled(_uncensored(words)))
    # Once more: a hashtag may run into a handle, and an invisible part may have stood inside a link.
    words = _SPACE.sub(" ", _HANDLE.sub(f" {HANDLE} ", _LINK.sub(" ", words))).strip()
    return words or (LINK if _LINK.search(text) else "")


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


def _plain_letters(text: str) -> str:
    """The text with imitated Latin letters replaced, word by word; words of other alphabets stay."""
    if text.isascii():
        return text
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
    for pattern, word in _CENSORED:
        text = pattern.sub(word, text)
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


def looks_foreign(text: str) -> bool:
    """Whether a text is plainly not English: mostly non-Latin letters, or only other languages' little words.

    A warning light, not a language identifier: short or mixed texts count as English.
    """
    letters = [c for c in text if c.isalpha()]
    if len(letters) >= 3 and sum(not unicodedata.name(c, "").startswith("LATIN") for c in letters) > len(letters) / 2:
        return True
    words = re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)?", _LINK.sub(" ", text).lower())
    foreign = sum(w in _OTHER_LATIN for w in words)
    return len(words) >= 4 and foreign >= 2 and foreign > 2 * sum(w in _ENGLISH for w in words)


def writable(text: str) -> str:
    """The same string in a form that can be written as UTF-8: surrogate pairs joined, lone surrogates U+FFFD.

    For strings that are only carried along, such as identifiers; `normalise` is for words.
    """
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
