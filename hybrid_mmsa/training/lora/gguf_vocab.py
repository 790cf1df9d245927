"""A fast tokenizer → the vocabulary inside a GGUF file. Knows no weights."""

from __future__ import annotations

import json
from typing import Any

import gguf

from ...errors import ArtefactError

__all__ = ["add_vocabulary"]

# The splits before byte-level merging that llama.cpp knows by name, each told by a piece of its regular expression.
GPT2 = "gpt-2"
SPLITS = {r"\p{N}{1,3}": "llama-bpe", r"\p{L}+|\p{N}|": "qwen2"}


def add_vocabulary(writer: gguf.GGUFWriter, processor: Any, size: int) -> None:
    """Write tokens, merges, special tokens and the chat template.

    Args:
        writer: An open file, its header not written yet.
        processor: A transformers processor; its `tokenizer` is a fast one.
        size: Rows of the embedding; rows beyond the tokenizer's get unused tokens.

    Raises:
        ArtefactError: A tokenizer that llama.cpp has no equal of.
    """
    tokenizer = processor.tokenizer
    described = json.loads(tokenizer.backend_tokenizer.to_str())
    model = described["model"]
    if model["type"] != "BPE":
        raise ArtefactError(f"a tokenizer of type {model['type']} cannot be written as GGUF here: BPE is read")
    whole_bytes = bool(model.get("byte_fallback"))  # SentencePiece's kind, Llama 1 and 2
    tokens, types = _tokens(tokenizer, size, whole_bytes)
    writer.add_tokenizer_model("llama" if whole_bytes else "gpt2")
    writer.add_tokenizer_pre("default" if whole_bytes else _split(described["pre_tokenizer"]))
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    if whole_bytes:
        writer.add_token_scores([-float(number) for number in range(size)])  # earlier merges have smaller ids
        writer.add_add_space_prefix(tokenizer.tokenize("a")[0] != "a")
    else:
        writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in model["merges"]])
    for kind in ("bos", "eos", "pad", "unk"):
        number = getattr(tokenizer, f"{kind}_token_id")
        if number is not None:
            getattr(writer, f"add_{kind}_token_id")(number)
    marked = tokenizer("a").input_ids
    writer.add_add_bos_token(marked[0] == tokenizer.bos_token_id)
    writer.add_add_eos_token(marked[-1] == tokenizer.eos_token_id)
    if processor.chat_template is not None:
        writer.add_chat_template(processor.chat_template)


def _tokens(tokenizer: Any, size: int, whole_bytes: bool) -> tuple[list[str], list[gguf.TokenType]]:
    words = {number: word for word, number in tokenizer.get_vocab().items()}
    added = tokenizer.added_tokens_decoder
    tokens, types = [], []
    for number in range(size):
        word = words.get(number, f"[PAD{number}]")
        tokens.append(word)
        if number not in words:
            types.append(gguf.TokenType.UNUSED)
        elif number in added:
            types.append(gguf.TokenType.CONTROL if added[number].special else gguf.TokenType.USER_DEFINED)
        elif whole_bytes and word.startswith("<0x") and len(word) == len("<0x00>"):
            types.append(gguf.TokenType.BYTE)
        else:
            types.append(gguf.TokenType.NORMAL)
    return tokens, types


def _split(described: dict[str, Any] | None) -> str:
    """llama.cpp's name for a byte-level tokenizer's way to split text into words."""
    steps = [] if described is None else described.get("pretokenizers", [described])
    if [step["type"] for step in steps] == ["ByteLevel"] and steps[0]["use_regex"]:
        return GPT2
    patterns = [str(step["pattern"].get("Regex", "")) for step in steps if step["type"] == "Split"]
    names = [name for piece, name in SPLITS.items() if any(piece in pattern for pattern in patterns)]
    if not names:
        raise ArtefactError("the tokenizer splits text in a way that has no name here: use llama.cpp's converter")
    return names[0]
