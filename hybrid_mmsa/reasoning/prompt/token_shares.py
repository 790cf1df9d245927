"""Log-probabilities of tokens → how likely each of some words was at one place of an answer. Knows no server."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...types import FloatArray

__all__ = ["SpelledToken", "word_shares"]

MOST_UNCLEAR = 0.05  # of what is told apart; more could make another word the likeliest


@dataclass(frozen=True, slots=True)
class SpelledToken:
    """One token of an answer.

    Attributes:
        spelled: Its bytes; empty for special tokens.
        logprobs: Log-probability by spelling, of the token itself and of the likeliest that could have stood there.
    """

    spelled: bytes
    logprobs: Mapping[bytes, float]


def word_shares(tokens: Sequence[SpelledToken], opening: bytes, words: Sequence[str]) -> FloatArray | None:
    """Probabilities of some words at the place where one of them begins, among themselves; float32 `[len(words)]`.

    Tokens are cut anywhere: the word's first token may hold quote and space before it, and `ne` may stand for two
    words. All spellings that can become one word only are added up, those that can become several count for none.
    A server lists a few likely tokens. A word that is not among them has at most the probability that is left over, and
    at most the least one listed; it is given that bound, shared with the other words that are missing.

    Args:
        tokens: The answer's tokens in order.
        opening: Regular expression that ends right before the word, in the answer's bytes.
        words: What may stand there, whatever closes a word included, so that no word begins another.

    Returns:
        `None` where the answer has no such place, or none of the words is listed there.
    """
    text = b"".join(token.spelled for token in tokens)
    match = re.search(opening, text)
    if match is None:
        return None
    start = 0
    for token in tokens:
        if start <= match.end() < start + len(token.spelled):
            return _shares(token.logprobs, text[start : match.end()], [word.encode() for word in words])
        start += len(token.spelled)
    return None


def _shares(logprobs: Mapping[bytes, float], before: bytes, words: Sequence[bytes]) -> FloatArray | None:
    listed = {spelled: float(np.exp(logprob)) for spelled, logprob in logprobs.items()}
    shares, unclear = np.zeros(len(words)), 0.0
    for spelled, probability in listed.items():
        rest = spelled.removeprefix(before) if spelled.startswith(before) else b""
        fitting = [n for n, word in enumerate(words) if rest and (word.startswith(rest) or rest.startswith(word))]
        if len(fitting) == 1:
            shares[fitting[0]] += probability
        elif fitting:
            unclear += probability
    missing = shares == 0
    if missing.all() or unclear > MOST_UNCLEAR * shares.sum():
        return None
    left = max(0.0, 1 - sum(listed.values())) / max(1, int(missing.sum()))
    shares[missing] = min(left, *listed.values())
    return np.asarray(shares / shares.sum(), dtype=np.float32)
