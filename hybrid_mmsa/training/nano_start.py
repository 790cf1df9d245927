"""Where nano's pieces start: at what MiniLM's embeddings know of the same characters. Knows no rows and no pictures.

A piece is cut into MiniLM's word pieces, and starts as their mean; so words of like meaning start near each other,
which a few million tokens would not teach. After Dobler and de Melo 2023, arXiv 2305.14481 (FOCUS), simplified.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from tokenizers import Tokenizer

from .nano_pieces import SPECIAL
from .text_tower import start_folder

__all__ = ["start_pieces"]

TABLE = "embeddings.word_embeddings.weight"
SPREAD = 0.04
"""Standard deviation of the embeddings that a Llama of this size starts well with."""


def start_pieces(model: Any, tokenizer: Any) -> None:
    """Set the embeddings of a new model's pieces, in place; control pieces and single bytes stay as they are.

    Where the model is narrower or wider than MiniLM, the main directions of MiniLM's table are taken, or zeros added.

    Args:
        model: As `make_model` made it; input and output embeddings are tied.
        tokenizer: Its tokenizer.
    """
    folder = start_folder()
    cutter = Tokenizer.from_file(str(folder / "tokenizer.json"))
    cutter.no_padding()
    cutter.no_truncation()
    with safe_open(folder / "model.safetensors", framework="np") as file:
        known = file.get_tensor(TABLE).astype(np.float32)
    table = model.get_input_embeddings().weight
    known = _as_wide(known - known.mean(0), table.shape[1])
    known *= SPREAD / known.std()
    unknown = cutter.token_to_id("[UNK]")
    with torch.no_grad():
        table.normal_(0, SPREAD)
        for number in range(len(SPECIAL), len(tokenizer)):
            ids = cutter.encode(tokenizer.decode([number]), add_special_tokens=False).ids
            if ids and unknown not in ids:
                table[number] = torch.from_numpy(known[ids].mean(0))


def _as_wide(table: np.ndarray[Any, Any], width: int) -> np.ndarray[Any, Any]:
    if width >= table.shape[1]:
        return np.pad(table, ((0, 0), (0, width - table.shape[1])))
    _, directions = np.linalg.eigh(table.T @ table)  # by rising weight
    kept: np.ndarray[Any, Any] = table @ directions[:, -width:]
    return kept
