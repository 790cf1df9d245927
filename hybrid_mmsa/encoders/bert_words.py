"""Text → the numbers of its word pieces, as BERT's tokenizers cut it. Knows nothing of special tokens or of lengths.

Characters are normalised one by one, words are what stands between spaces and marks, and a word is cut into the longest
pieces that the vocabulary holds, from its beginning (WordPiece: Wu et al. 2016, arXiv 1609.08144, as BERT's code does
it). It reads the `tokenizer.json` of the package `tokenizers`, and gives what that package gives, which would bring a
client of the model hub and its libraries into every installation, and 12 MB into every process.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from ..errors import ArtefactError

__all__ = ["read_tokenizer"]

_KINDS = {"normalizer": "BertNormalizer", "pre_tokenizer": "BertPreTokenizer", "model": "WordPiece"}
_IDEOGRAPHS = (
    range(0x3400, 0x4DC0),
    range(0x4E00, 0xA000),
    range(0xF900, 0xFB00),
    range(0x20000, 0x2A6E0),
    range(0x2A700, 0x2B740),
    range(0x2B740, 0x2B820),
    range(0x2B920, 0x2CEB0),
    range(0x2F800, 0x2FA20),
)
"""Each of these characters is a word."""
_REPLACED = 0xFFFD
WORDS_REMEMBERED = 1 << 15


class _Characters(dict[int, str]):
    """Code point → what is read for it: nothing, a space, a mark between spaces, or its letters. Filled as it is asked.

    Args:
        settings: Of `BertNormalizer`.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self._clean, self._ideographs = bool(settings["clean_text"]), bool(settings["handle_chinese_chars"])
        self._lower = bool(settings["lowercase"])
        bare = settings.get("strip_accents")
        self._bare = self._lower if bare is None else bool(bare)

    def __missing__(self, code: int) -> str:
        self[code] = read = self._read(chr(code))
        return read

    def _read(self, character: str) -> str:
        silent = unicodedata.category(character) in ("Cc", "Cf", "Co") and character not in "\t\n\r"
        if self._clean and (silent or ord(character) == _REPLACED):
            return ""
        if character.isspace():
            return " "
        letters = character
        if self._bare:
            letters = "".join(c for c in unicodedata.normalize("NFD", letters) if unicodedata.category(c) != "Mn")
        if self._lower:
            letters = "".join(map(str.lower, letters))
        letters = "".join(f" {c} " if _is_mark(c) else c for c in letters)
        alone = self._ideographs and any(ord(character) in block for block in _IDEOGRAPHS)
        return f" {letters} " if alone else letters


def _is_mark(character: str) -> bool:
    """Whether it stands for itself: signs of ASCII such as `$` and `+`, and all punctuation."""
    if character.isascii():
        return character.isprintable() and not character.isalnum() and character != " "
    return unicodedata.category(character).startswith("P")


def read_tokenizer(path: Path) -> tuple[Callable[[str], list[int]], Mapping[str, int]]:
    """A tokenizer, to be shared between threads, and its vocabulary.

    Args:
        path: A `tokenizer.json` of BERT's kind.

    Returns:
        A text's pieces as numbers, and all numbers by their pieces. Special tokens that a text spells out are text.

    Raises:
        ArtefactError: The file is missing, unreadable, or of another kind.
    """
    try:
        described = json.loads(path.read_bytes())
        kinds = {part: described[part]["type"] for part in _KINDS}
        if kinds != _KINDS or not all(token["special"] for token in described["added_tokens"]):
            raise ValueError(
                f"found {', '.join(kinds.values())}; wanted {', '.join(_KINDS.values())} and no added words"
            )
        model, characters = described["model"], _Characters(described["normalizer"])
        vocabulary: dict[str, int] = {
            **{str(piece): int(number) for piece, number in model["vocab"].items()},
            **{token["content"]: token["id"] for token in described["added_tokens"]},
        }
        unknown, inside = vocabulary[model["unk_token"]], str(model["continuing_subword_prefix"])
        longest = int(model["max_input_chars_per_word"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ArtefactError(f"cannot read the tokenizer {path}: {error}") from error
    cut = lru_cache(WORDS_REMEMBERED)(partial(_pieces, vocabulary, inside, unknown, longest))

    def numbers(text: str) -> list[int]:
        return [number for word in text.translate(characters).split() for number in cut(word)]

    return numbers, vocabulary


def _pieces(vocabulary: Mapping[str, int], inside: str, unknown: int, longest: int, word: str) -> tuple[int, ...]:
    """The longest pieces from the beginning on; one unknown piece where a rest begins with none, or a word is too long.

    Args:
        vocabulary: Numbers by pieces.
        inside: What a piece begins with that is not the first of its word.
        unknown: The number of what is not known.
        longest: Characters of a word.
        word: The word.
    """
    if len(word) > longest:
        return (unknown,)
    found: list[int] = []
    start = 0
    while start < len(word):
        prefix = inside if start else ""
        for end in range(len(word), start, -1):
            number = vocabulary.get(prefix + word[start:end])
            if number is not None:
                found.append(number)
                start = end
                break
        else:
            return (unknown,)
    return tuple(found)
