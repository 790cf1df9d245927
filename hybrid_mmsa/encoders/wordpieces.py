"""Reworded text → the token ids a tower reads. Knows nothing of towers, labels or pictures.

A text too long for the tower becomes several windows that overlap; each holds the whole target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import ArtefactError
from ..types import BoolArray, FloatArray, IntArray
from .bert_words import read_tokenizer

__all__ = ["LENGTH_STEP", "MOST_WINDOWS", "TokenBatch", "WordPieces", "padded_length"]

LENGTH_STEP = 4
"""Padded lengths are multiples of this, alone as in a batch: sums over other lengths are rounded in another order, so
that a text's neighbours would move its features."""
OVERLAP = 8
"""A window begins with one of so many parts of the window before, so that what is cut in one is whole in the other."""
MOST_WINDOWS = 16
"""Of one text; what goes beyond is not read, and `truncated` says so."""


class _Marks(NamedTuple):
    """Special tokens of a family of towers, and how many separators stand between text and target."""

    start: str
    end: str
    pad: str
    unknown: str
    between: int


FAMILIES = (_Marks("[CLS]", "[SEP]", "[PAD]", "[UNK]", 1), _Marks("<s>", "</s>", "<pad>", "[UNK]", 2))
"""BERT's, and MPNet's, which has those of RoBERTa and BERT's unknown."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TokenBatch:
    """Token ids of `n` texts in `m >= n` windows, padded to one length (a multiple of `LENGTH_STEP`).

    Attributes:
        ids, mask: int64 `[m, length]`.
        places: int64 `[m, length]`, which token of its text each is; -1 for special ones, the target and padding.
        text: int64 `[m]`, the text that a window belongs to; the windows of a text stand one after the other.
        n_tokens: int64 `[n]`, tokens of the text read, special ones and the target left out.
        truncated: bool `[n]`.
        unknown_share: float32 `[n]`, share of these tokens that are outside the vocabulary.
    """

    ids: IntArray
    mask: IntArray
    places: IntArray
    text: IntArray
    n_tokens: IntArray
    truncated: BoolArray
    unknown_share: FloatArray

    @property
    def shares(self) -> FloatArray:
        """What each window counts in its text, by length, float32 `[m]`; those of a text sum to 1."""
        length = self.mask.sum(1)
        of_text = np.bincount(self.text, length, minlength=len(self.n_tokens))
        shares: FloatArray = (length / of_text[self.text]).astype(np.float32)
        return shares


class WordPieces:
    """A WordPiece tokenizer read from `tokenizer.json` with the marks of its family, safe to share between threads.

    Args:
        path: A `tokenizer.json` file whose vocabulary has the special tokens of BERT or of MPNet.
        max_tokens: The longest sequence the tower reads, special tokens included.

    Raises:
        ArtefactError: The file is missing, unreadable or lacks a special token.
    """

    def __init__(self, path: Path, max_tokens: int) -> None:
        self._numbers, vocabulary = read_tokenizer(path)
        self.max_tokens = max_tokens
        for marks in FAMILIES:
            numbers = [vocabulary.get(token) for token in marks[:4]]
            known = [number for number in numbers if number is not None]
            if len(known) == len(numbers):
                self._start, self._end, self._pad, self._unknown = known
                self._between = [self._end] * marks.between
                return
        wanted = " or ".join(", ".join(marks[:4]) for marks in FAMILIES)
        raise ArtefactError(f"the tokenizer {path} lacks special tokens: wanted {wanted}")

    def numbers(self, text: str) -> list[int]:
        """The tokens of a whole text, without special ones."""
        return self._numbers(text)

    def encode(self, texts: Sequence[str], targets: Sequence[str | None]) -> TokenBatch:
        """Encode texts, each with its target or `None`: start, text, end; or start, text, separator, target, end.

        A target is cut to a quarter of the tower.
        """
        text_ids = list(map(self._numbers, texts))
        target_ids = [self._numbers(target or "")[: self.max_tokens // 4] for target in targets]
        rows: list[list[int]] = []
        cuts: list[slice] = []
        owners: list[int] = []
        n_tokens = np.zeros(len(texts), np.int64)
        unknown = np.zeros(len(texts), np.int64)
        for number, (words, target) in enumerate(zip(text_ids, target_ids, strict=True)):
            tail = [*self._between, *target, self._end] if target else [self._end]
            windows = _windows(len(words), self.max_tokens - 1 - len(tail))
            rows += [[self._start, *words[window], *tail] for window in windows]
            cuts += windows
            owners += [number] * len(windows)
            n_tokens[number] = windows[-1].stop
            unknown[number] = words[: windows[-1].stop].count(self._unknown)
        ids, mask = self._padded(rows)
        places = np.full_like(ids, -1)
        for row, cut in enumerate(cuts):
            places[row, 1 : 1 + cut.stop - cut.start] = np.arange(cut.start, cut.stop)
        return TokenBatch(
            ids=ids,
            mask=mask,
            places=places,
            text=np.array(owners, dtype=np.int64),
            n_tokens=n_tokens,
            truncated=n_tokens < [len(words) for words in text_ids],
            unknown_share=(unknown / np.maximum(n_tokens, 1)).astype(np.float32),
        )

    def _padded(self, rows: Sequence[Sequence[int]]) -> tuple[IntArray, IntArray]:
        shape = (len(rows), padded_length(max(map(len, rows), default=0)))
        ids, mask = np.full(shape, self._pad, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        for i, row in enumerate(rows):
            ids[i, : len(row)], mask[i, : len(row)] = row, 1
        return ids, mask


def padded_length(longest: int) -> int:
    """The length that windows are padded to, by the longest of them."""
    return -(-longest // LENGTH_STEP) * LENGTH_STEP


def _windows(length: int, room: int) -> list[slice]:
    """Where to cut a text of so many tokens; windows of one text are of like length, and one holds `room` tokens."""
    if length <= room:
        return [slice(0, length)]
    shared = room // OVERLAP
    count = min(-(-(length - shared) // (room - shared)), MOST_WINDOWS)
    size = min(-(-(length + (count - 1) * shared) // count), room)
    starts = [number * (size - shared) for number in range(count)]
    return [slice(start, min(start + size, length)) for start in starts]
