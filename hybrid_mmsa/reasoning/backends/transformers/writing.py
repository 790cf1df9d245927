"""Reads the label from the first logits and lets the model write the rest under the schema. Knows no model and no post.

llguidance masks every token that the schema forbids, so what is written always parses. That it also ends is seen to
here: after a number of tokens only what closes the answer is allowed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import llguidance.hf
import numpy as np
import torch
from llguidance import LLMatcher
from transformers import LogitsProcessor

from ....errors import ArtefactError, ReasonerError
from ....types import LABELS, BoolArray, FloatArray, Label
from ...prompt.answer import answer_schema, write_answer
from ...prompt.labels import LabelTokens, label_probabilities, share
from ...prompt.question import Prompt

__all__ = ["Grammar", "LabelFirst", "Line", "NextLogits", "closing_tokens"]

_SEPARATORS: Any = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
}  # those of `write_answer`
_SARCASTIC = (b'"sarcastic":', b'"sarcastic": ')


class Grammar:
    """The answer's schema over one tokenizer's vocabulary.

    Args:
        tokenizer: A fast tokenizer.
        vocabulary: Width of the model's logits, which may be larger than the tokenizer.
    """

    def __init__(self, tokenizer: Any, vocabulary: int) -> None:
        self.tokens = llguidance.hf.from_tokenizer(tokenizer, n_vocab=max(vocabulary, len(tokenizer)))
        self.vocabulary = vocabulary
        self.end: int = tokenizer.eos_token_id
        self._begins = np.array([self.tokens.decode_bytes([n]).lstrip()[:1] for n in range(vocabulary)], dtype="S1")
        self._beginnings: dict[bytes, list[int]] = {}
        self._started: dict[tuple[str, Label], tuple[LLMatcher, bytes]] = {}

    def begins(self, letter: bytes) -> BoolArray:
        """Which tokens begin with a byte, white space aside, bool `[vocabulary]`."""
        mask: BoolArray = self._begins == letter
        return mask

    def share_of_true(self, before: Sequence[int], scores: FloatArray) -> float | None:
        """P(true) / (P(true) + P(false)) where an answer says one of them next, over all tokens that begin either word.

        Args:
            before: The answer's tokens so far.
            scores: The model's logits, `[vocabulary]`.
        """
        space = b"" if self.tokens.decode_bytes(list(before)).endswith(b" ") else b" "
        true, false = (scores[self._beginning(space, word)] for word in (b"true", b"false"))
        return share(true, false)

    def _beginning(self, space: bytes, word: bytes) -> list[int]:
        """The tokens that begin a word after a space that is still to come, or after none."""
        key = space + word
        if key not in self._beginnings:
            likely = np.flatnonzero(self.begins(word[:1])).tolist()
            self._beginnings[key] = [n for n in likely if key.startswith(self.tokens.decode_bytes([n]))]
        return self._beginnings[key]

    def line(self, prompt: Prompt, label: Label, labels: LabelTokens, room: int) -> Line:
        """An answer that has begun with `label` and may write `room` tokens before it must close."""
        key = (prompt.hash, label)
        if key not in self._started:
            self._started[key] = self._start(prompt, label, labels)
        matcher, opening = self._started[key]
        return Line(self, matcher.deep_copy(), opening, room)

    def _start(self, prompt: Prompt, label: Label, labels: LabelTokens) -> tuple[LLMatcher, bytes]:
        schema = json.dumps(answer_schema(prompt, label=prompt.labels[label]))
        matcher = LLMatcher(self.tokens, LLMatcher.grammar_from_json_schema(schema, overrides=_SEPARATORS))
        # A tokenizer may put a space before the first word of a text; it is no part of the answer.
        opening = self.tokens.decode_bytes([*labels.prefix, labels.ids[label]]).lstrip()
        if not matcher.consume_tokens(self.tokens.greedy_tokenize(opening.decode())):
            raise ArtefactError(f"this tokenizer cannot begin an answer: {matcher.get_error().splitlines()[0]}")
        return matcher, opening


class Line:
    """One post's answer while it is written.

    Attributes:
        written: The answer so far, in UTF-8.
        tokens: How many were written, the label's among them.
        sarcasm: P(true) against P(false) at the place where the model says whether the post is sarcastic.
    """

    def __init__(self, grammar: Grammar, matcher: LLMatcher, opening: bytes, room: int) -> None:
        self._grammar = grammar
        self._matcher = matcher
        self._room = room
        self.written = bytearray(opening)
        self.tokens = 1
        self.sarcasm: float | None = None

    def add(self, token: int) -> None:
        """Take over a token the model wrote."""
        if self._matcher.is_stopped():
            return
        if not self._matcher.consume_token(token):
            raise ReasonerError(f"the answer left its schema: {self._matcher.get_error().splitlines()[0]}")
        self.written += self._grammar.tokens.decode_bytes([token])
        self.tokens += 1

    def allowed(self, scores: FloatArray) -> BoolArray:
        """Which tokens may come next, bool `[vocabulary]`.

        Args:
            scores: The model's logits, `[vocabulary]`; from them comes `sarcasm` where it is decided.
        """
        mask = np.zeros(len(scores), dtype=np.bool_)
        if self._matcher.is_stopped():
            mask[self._grammar.end] = True
            return mask
        bias = np.frombuffer(self._matcher.compute_logit_bias(), dtype=np.uint8)[: len(scores)]
        mask[: len(bias)] = bias != 0
        if self.written.endswith(_SARCASTIC):
            self.sarcasm = self._share_of_true(mask, scores)
        return self._closing(mask) if self.tokens >= self._room else mask

    def _share_of_true(self, mask: BoolArray, scores: FloatArray) -> float | None:
        """P(true) / (P(true) + P(false)) over the allowed tokens that begin either word; as before where none does."""
        true, false = (scores[mask & self._grammar.begins(letter)] for letter in (b"t", b"f"))
        said = share(true, false)
        return self.sarcasm if said is None else said

    def _closing(self, mask: BoolArray) -> BoolArray:
        """Of the allowed tokens, those that end a string or else a list, where there are any."""
        for closer in (b'"', b"]"):
            closing = mask & self._grammar.begins(closer)
            if closing.any():
                return closing
        return mask


class LabelFirst(LogitsProcessor):  # type: ignore[misc]  # an Any to mypy, which does not read transformers
    """What happens between the model's logits and the next token of every row of a batch.

    Args:
        prompt: The prompt the batch is asked with.
        labels: Where its label is decided.
        deadline: When to give up, in `time.perf_counter`'s seconds.
        grammar: To write on under, after the label; `None` where nothing more is asked for.
        room: Tokens a row may write before it must close.

    Attributes:
        label_logits: float32 `[n, 3]` in the order of `LABELS`, after the prefill.
        prefilled: When the prefill was done.
        lines: The answers being written, one per row.
    """

    def __init__(
        self,
        prompt: Prompt,
        labels: LabelTokens,
        deadline: float,
        grammar: Grammar | None = None,
        room: int = 0,
    ) -> None:
        self._prompt = prompt
        self._labels = labels
        self._deadline = deadline
        self._grammar = grammar
        self._room = room
        self.label_logits: FloatArray = np.empty((0, len(LABELS)), dtype=np.float32)
        self.prefilled = 0.0
        self.lines: list[Line] = []
        self._label_is_last = True

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """The scores with all but the allowed tokens at minus infinity.

        Raises:
            ReasonerError: The deadline has passed, or the logits are no numbers.
        """
        _check_time(self._deadline)
        values = scores.float().cpu().numpy()
        if not len(self.label_logits):
            allowed = self._begin(values)
        else:
            self._advance(input_ids[:, -1].tolist())
            allowed = np.stack([line.allowed(row) for line, row in zip(self.lines, values, strict=True)])
        return scores.masked_fill(~torch.from_numpy(allowed).to(scores.device), -torch.inf)

    def _begin(self, values: FloatArray) -> BoolArray:
        self.prefilled = time.perf_counter()
        ids: Mapping[Label, int] = self._labels.ids
        self.label_logits = values[:, [ids[label] for label in LABELS]]
        if not np.isfinite(self.label_logits).all():
            raise ReasonerError("the model's logits are no numbers; another dtype may help")
        best = [LABELS[column] for column in label_probabilities(self.label_logits).argmax(axis=1)]
        if self._grammar is not None:
            self.lines = [self._grammar.line(self._prompt, label, self._labels, self._room) for label in best]
        allowed = np.zeros(values.shape, dtype=np.bool_)
        allowed[np.arange(len(best)), [ids[label] for label in best]] = True
        return allowed

    def _advance(self, last: Sequence[int]) -> None:
        """Take over the last token of every row; the first one is the label's, with which a line begins."""
        if not self._label_is_last:
            for line, token in zip(self.lines, last, strict=True):
                line.add(token)
        self._label_is_last = False

    def finish(self, last: Sequence[int]) -> list[str]:
        """The whole answers, after the last token of every row."""
        self._advance(last)
        return [line.written.decode("utf-8") for line in self.lines]


class NextLogits(LogitsProcessor):  # type: ignore[misc]  # an Any to mypy, which does not read transformers
    """Keeps the logits of the next token.

    Args:
        deadline: When to give up, in `time.perf_counter`'s seconds.

    Attributes:
        logits: `[n, vocabulary]`, after the prefill.
    """

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self.logits = torch.empty(0)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """The scores as they are.

        Raises:
            ReasonerError: The deadline has passed.
        """
        _check_time(self._deadline)
        self.logits = scores
        return scores


def _check_time(deadline: float) -> None:
    if time.perf_counter() > deadline:
        raise ReasonerError("no answer within the time-out")


def closing_tokens(prompt: Prompt) -> int:
    """Tokens that suffice to close any answer: at least a byte each, of the longest answer that says nothing."""
    longest = max(LABELS, key=lambda label: len(prompt.labels[label].encode()))
    shortest = write_answer(prompt, label=longest, text_says=longest, picture_says=longest)
    most_cues = 3 * len('"", ') * 2
    unfinished_character, end = 4, 1
    return len(shortest.encode()) + most_cues + unfinished_character + end
