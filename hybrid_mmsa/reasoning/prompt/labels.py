"""Label words → the tokens that tell them apart, and logits → label probabilities. Knows no model and no prompt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import TypeVar

import numpy as np

from ...errors import ArtefactError, ReasonerError
from ...types import LABELS, FloatArray, Label

__all__ = ["ANSWER_START", "LabelTokens", "irony_tokens", "label_probabilities", "label_tokens", "share"]

T = TypeVar("T")

ANSWER_START = '{"label": "'
"""What the assistant's turn begins with; the label word comes next."""


@dataclass(frozen=True, slots=True)
class LabelTokens:
    """Where in an answer the label is decided.

    Attributes:
        prefix: Tokens that every answer begins with, to be put behind the prompt.
        ids: The token that comes next, by label.
    """

    prefix: tuple[int, ...]
    ids: Mapping[Label, int]


def label_tokens(
    encode: Callable[[str], list[int]], words: Mapping[Label, str], start: str = ANSWER_START
) -> LabelTokens:
    """The tokens that decide a label, for one tokenizer.

    Whole strings are tokenised, closing quote and all, since a tokenizer may merge across the border of start and word.

    Args:
        encode: The tokenizer, adding no special tokens.
        words: The prompt's word for each label.
        start: What stands before the word.

    Raises:
        ArtefactError: Two words have the same first token, so that one prefill cannot tell them apart.
    """
    written = {label: list(encode(start + words[label] + '"')) for label in LABELS}
    prefix, ids = _parted(written)
    if len(set(ids.values())) < len(LABELS):
        listed = ", ".join(f"{words[label]!r} {written[label][len(prefix) :]}" for label in LABELS)
        raise ArtefactError(
            f"this model's tokenizer gives two label words the same first token ({listed}): "
            "use a prompt whose `labels` are other words"
        )
    return LabelTokens(prefix, ids)


def irony_tokens(encode: Callable[[str], list[int]], word: str) -> tuple[int, ...]:
    """The tokens of a brief answer with a label's word, up to where it says whether the post is ironic.

    Args:
        encode: The tokenizer, adding no special tokens.
        word: The label's word.
    """
    start = f'{ANSWER_START}{word}", "sarcastic": '
    return _parted({value: list(encode(start + value + "}")) for value in ("false", "true")})[0]


def _parted(written: Mapping[T, list[int]]) -> tuple[tuple[int, ...], dict[T, int]]:
    """The tokens that several texts begin with, and the next one of each that goes on."""
    columns = zip(*written.values(), strict=False)
    prefix = tuple(column[0] for column in takewhile(lambda column: len(set(column)) == 1, columns))
    return prefix, {name: tokens[len(prefix)] for name, tokens in written.items() if len(tokens) > len(prefix)}


def label_probabilities(logits: FloatArray, tokens: LabelTokens | None = None) -> FloatArray:
    """Softmax over the three labels, float32 `[n, 3]` in the order of `LABELS`.

    Args:
        logits: `[n, vocabulary]` of the next token where `tokens` is given, else the three logits `[n, 3]`.
            Log-probabilities do as well.
        tokens: Which columns are the labels.
    """
    values = np.asarray(logits, dtype=np.float64)
    if tokens is not None:
        values = values[:, [tokens.ids[label] for label in LABELS]]
    if not np.isfinite(values).all():
        raise ReasonerError("the model's logits are no numbers")
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    probabilities: FloatArray = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return probabilities


def share(one: FloatArray, other: FloatArray) -> float | None:
    """The probability of some tokens, among them and some others, from their logits; `None` where one side has none."""
    if not (one.size and other.size):
        return None
    ours, theirs = (np.logaddexp.reduce(logits.astype(np.float64)) for logits in (one, other))
    return float(1 / (1 + np.exp(theirs - ours)))
