"""Cleaned text → the token ids a BERT-style tower reads. Knows nothing of towers, labels or pictures.

The tokenizer never pads or cuts by itself: both change its state, which is what makes shared tokenizers fail under
threads ("Already borrowed"). Encoding alone only reads it, and the arrays are padded and cut here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from ..errors import ArtefactError
from ..types import BoolArray, FloatArray, IntArray

__all__ = ["TokenBatch", "WordPieces"]

LENGTH_STEP = 8
"""Padded lengths are multiples of this: math libraries compile and cache a kernel per shape."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TokenBatch:
    """Token ids of `n` texts, padded to one length (a multiple of `LENGTH_STEP`).

    Attributes:
        ids, mask, segments: int64 `[n, length]`; segment 1 marks a target.
        n_tokens: int64 `[n]`, tokens read, special ones left out.
        truncated: bool `[n]`.
        unknown_share: float32 `[n]`, share of tokens outside the vocabulary.
    """

    ids: IntArray
    mask: IntArray
    segments: IntArray
    n_tokens: IntArray
    truncated: BoolArray
    unknown_share: FloatArray


class WordPieces:
    """A WordPiece tokenizer read from `tokenizer.json`, safe to share between threads.

    Args:
        path: A `tokenizer.json` file whose vocabulary has `[CLS]`, `[SEP]`, `[PAD]` and `[UNK]`.
        max_tokens: The longest sequence the tower reads, special tokens included.

    Raises:
        ArtefactError: The file is missing, unreadable or lacks a special token.
    """

    def __init__(self, path: Path, max_tokens: int) -> None:
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises bare Exception
            raise ArtefactError(f"cannot read the tokenizer {path}: {error}") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        # A post that spells out "[SEP]" has written five characters, not ended its text.
        self._tokenizer.encode_special_tokens = True
        self.max_tokens = max_tokens
        known = [self._tokenizer.token_to_id(t) for t in ("[CLS]", "[SEP]", "[PAD]", "[UNK]")]
        special = [number for number in known if number is not None]
        if len(special) < len(known):
            raise ArtefactError(f"the tokenizer {path} lacks one of [CLS], [SEP], [PAD], [UNK]")
        self._cls, self._sep, self._pad, self._unk = special

    def encode(self, texts: Sequence[str], targets: Sequence[str | None]) -> TokenBatch:
        """Encode texts, each with its target or `None`, as `[CLS] text [SEP]` or `[CLS] text [SEP] target [SEP]`.

        A text too long for the tower loses its end, never its target; a target is cut to a quarter of the tower.
        """
        text_ids = [e.ids for e in self._tokenizer.encode_batch(list(texts), add_special_tokens=False)]
        named = [t or "" for t in targets]
        target_ids = [
            e.ids[: self.max_tokens // 4] for e in self._tokenizer.encode_batch(named, add_special_tokens=False)
        ]
        rows, cut = [], np.zeros(len(texts), dtype=bool)
        for i, (words, target) in enumerate(zip(text_ids, target_ids, strict=True)):
            tail = [*target, self._sep] if target else []
            room = self.max_tokens - 2 - len(tail)
            cut[i] = len(words) > room
            rows.append(([self._cls, *words[:room], self._sep], tail))
        return self._pad_rows(rows, cut)

    def _pad_rows(self, rows: list[tuple[list[int], list[int]]], cut: BoolArray) -> TokenBatch:
        longest = max((len(head) + len(tail) for head, tail in rows), default=0)
        shape = (len(rows), -(-longest // LENGTH_STEP) * LENGTH_STEP)
        ids = np.full(shape, self._pad, dtype=np.int64)
        mask, segments = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        for i, (head, tail) in enumerate(rows):
            ids[i, : len(head) + len(tail)] = head + tail
            mask[i, : len(head) + len(tail)] = 1
            segments[i, len(head) : len(head) + len(tail)] = 1
        n_tokens = mask.sum(1) - 2 - segments.any(1)
        unknown = (ids == self._unk).sum(1) / np.maximum(n_tokens, 1)
        return TokenBatch(
            ids=ids,
            mask=mask,
            segments=segments,
            n_tokens=n_tokens,
            truncated=cut,
            unknown_share=unknown.astype(np.float32),
        )
