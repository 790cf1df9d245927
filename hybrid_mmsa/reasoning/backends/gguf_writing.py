"""Lets a llama.cpp context write JSON under a grammar made of a schema, so that it always parses. Knows no prompts."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import llama_cpp
import numpy as np
from llama_cpp.llama_grammar import json_schema_to_gbnf

from ...errors import ReasonerError
from .gguf_context import GgufContext

__all__ = ["ENDING", "Written", "grammar_of", "write_json"]

ENDING = 200
"""Tokens that suffice to close an answer that was stopped anywhere."""
ROOT = b"opening"
LAST = -1  # the logits of the last token read
SARCASTIC = '"sarcastic":'
# What closes an object, a list and a string, the most wanted last: inside a string the others are mere characters.
CLOSING = ("}", "]", '"')
PUSH = 1e4


@dataclass(frozen=True, slots=True)
class Written:
    """What was written.

    Attributes:
        text: The whole JSON object.
        tokens: How many tokens were written, those it was begun with left out.
        sarcasm: P(`true`) against P(`false`) where the answer says whether the post is sarcastic; `None` where the
            model chose a spelling that does not show it.
    """

    text: str
    tokens: int
    sarcasm: float | None


@lru_cache(maxsize=64)
def grammar_of(schema: str) -> str:
    """llama.cpp's grammar (GBNF) of a JSON schema, given as JSON. Some tokenizers begin every text with a space."""
    return f'{json_schema_to_gbnf(schema)}\n{ROOT.decode()} ::= " "? root\n'


def write_json(context: GgufContext, schema: Mapping[str, Any], start: Sequence[int], most: int) -> Written:
    """Write the answer on from its first tokens, the likeliest token each time.

    After `most` tokens strings, lists and the object are closed as soon as the grammar lets them.

    Args:
        context: Has read the prompt and all of `start` but its last token.
        schema: Of the whole object; `start` must be the beginning of such an object.
        start: Tokens the answer begins with.
        most: Tokens after which it is closed.

    Raises:
        ReasonerError: llama.cpp failed, or the answer did not end.
    """
    text = b"".join(context.piece(token) for token in start)
    # The tokens that tell `true` from `false`; none where one tokenizer's spellings share their beginning.
    yes, no = (context.tokens(f"{SARCASTIC} {word}") for word in ("true", "false"))
    truths = next(((a, b) for a, b in zip(yes, no, strict=False) if a != b), ())
    sarcasm = None
    token = start[-1]
    with _samplers(context, grammar_of(json.dumps(schema)), start) as (freely, closing):
        for count in range(most + ENDING):
            logits = context.push(token)
            token = (freely if count < most else closing)()
            if context.ends(token):
                return Written(text.decode("utf-8", "replace").strip(), count + 1, sarcasm)
            if token in truths and text.rstrip().endswith(SARCASTIC.encode()):
                true, false = logits[list(truths)].astype(np.float64)
                sarcasm = float(1 / (1 + np.exp(false - true)))
            text += context.piece(token)
    raise ReasonerError(f"the answer did not end after {most + ENDING} tokens")


@contextmanager
def _samplers(context: GgufContext, grammar: str, start: Sequence[int]) -> Iterator[tuple[Any, Any]]:
    """Two ways to choose the next token under one grammar: the likeliest, and the one that closes most."""
    vocabulary = llama_cpp.llama_model_get_vocab(context.llama.model)
    rules = llama_cpp.llama_sampler_init_grammar(vocabulary, grammar.encode(), ROOT)
    if not rules:
        raise ReasonerError("llama.cpp does not accept the answer's grammar")
    greedy = llama_cpp.llama_sampler_init_greedy()
    bias = _closing_bias(context)
    try:
        for token in start:
            llama_cpp.llama_sampler_accept(rules, token)
        yield (lambda: _choose(context, rules, greedy)), (lambda: _choose(context, rules, bias, greedy))
    finally:
        for sampler in (rules, greedy, bias):
            llama_cpp.llama_sampler_free(sampler)


def _closing_bias(context: GgufContext) -> Any:
    ids = [context.tokens(sign)[-1] for sign in CLOSING] + [context.llama.token_eos()]
    pushes = [llama_cpp.llama_logit_bias(token, PUSH * rank) for rank, token in enumerate(ids, 1)]
    bias = (llama_cpp.llama_logit_bias * len(pushes))(*pushes)
    return llama_cpp.llama_sampler_init_logit_bias(context.llama.n_vocab(), len(ids), bias)


def _choose(context: GgufContext, rules: Any, *others: Any) -> int:
    logits = context.logits()
    entries = np.zeros(len(logits), dtype=[("id", "i4"), ("logit", "f4"), ("p", "f4")])
    entries["id"], entries["logit"] = np.arange(len(logits)), logits
    pointer = entries.ctypes.data_as(llama_cpp.llama_token_data_p)
    array = llama_cpp.llama_token_data_array(pointer, len(logits), LAST, False)
    for sampler in (rules, *others):
        llama_cpp.llama_sampler_apply(sampler, ctypes.byref(array))
    token = int(entries["id"][array.selected])
    llama_cpp.llama_sampler_accept(rules, token)
    return token
