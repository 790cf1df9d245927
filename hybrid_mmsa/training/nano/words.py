"""nano's `words` stage: its language model learns to write, on plain texts. Knows no posts, labels or pictures."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from ...types import IntArray
from ..common.device import training_precision
from ..common.loop import LoopConfig, claim, train
from .pieces import END

__all__ = ["WordsConfig", "train_words"]

WEIGHTS = "model.safetensors"
HELD_OUT = 50
"""One text of so many is kept out, to say how well the others were learnt."""


@dataclass(frozen=True, slots=True)
class WordsConfig:
    """How the language model learns to write."""

    loop: LoopConfig = field(default=LoopConfig(epochs=1, learning_rate=1e-3, weight_decay=0.1, warmup=0.05))
    share: float = 0.5
    """Share of the texts that is learnt from."""
    batch_size: int = 32
    length: int = 128
    """Tokens of a row; texts are laid end to end."""


def train_words(model: Any, texts: Sequence[IntArray], config: WordsConfig, folder: Path, pieces: str) -> None:
    """Train the language model in place, or read it from `folder` if it is there.

    Args:
        model: As `make_model` made it.
        texts: What it learns to write: the tokens of each, integers `[tokens]`.
        config: The recipe.
        folder: The stage's folder; a killed run goes on where it stopped.
        pieces: Says which tokens the texts are in, see `Prepared.id`.
    """
    language = model.model.language_model
    facts: dict[str, Any] = {"stage": folder.name, "recipe": asdict(config), "pieces": pieces}
    facts |= {"texts": len(texts), "tokens": sum(map(len, texts))}
    claim(folder, facts)
    if (folder / WEIGHTS).exists():
        language.load_state_dict(load_file(folder / WEIGHTS))
        return
    written: list[IntArray] = [np.append(ids, END).astype(np.int64) for ids in texts]
    held = _rows(written[::HELD_OUT], config.length, 0)
    learnt = [ids for number, ids in enumerate(written) if number % HELD_OUT]
    learnt = random.Random("share").sample(learnt, round(config.share * len(learnt)))
    epochs = [_batches(learnt, config, epoch) for epoch in range(config.loop.epochs)]

    def loss(_: nn.Module, rows: IntArray) -> Tensor:
        return _mean_loss(model, torch.from_numpy(rows).to(model.device, torch.long))

    before = _held_out_loss(model, held, config)
    train(language, epochs, loss, config.loop, folder, record=facts)
    scores = {"held_out_rows": len(held), "loss_before": before, "loss": _held_out_loss(model, held, config)}
    (folder / "dev.json").write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")
    save_file({name: values.contiguous() for name, values in language.state_dict().items()}, folder / WEIGHTS)


def _rows(written: Sequence[IntArray], length: int, order: int) -> IntArray:
    """Texts in shuffled order laid end to end, int64 `[rows, length]`; what fills no row is left over."""
    shuffled = random.Random(f"texts-{order}").sample(written, len(written))
    tokens = np.concatenate([*shuffled, np.full(length, END, np.int64)])
    rows: IntArray = tokens[: len(tokens) // length * length].reshape(-1, length)
    return rows


def _batches(written: Sequence[IntArray], config: WordsConfig, epoch: int) -> list[IntArray]:
    rows = _rows(written, config.length, epoch)
    return [rows[start : start + config.batch_size] for start in range(0, len(rows), config.batch_size)]


def _mean_loss(model: Any, ids: Tensor) -> Tensor:
    """Mean cross-entropy of every token but the first."""
    with training_precision():
        hidden = model.model.language_model(input_ids=ids, use_cache=False).last_hidden_state
        logits = model.lm_head(hidden[:, :-1])
    return functional.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten())


def _held_out_loss(model: Any, rows: IntArray, config: WordsConfig) -> float:
    parts = [rows[start : start + config.batch_size] for start in range(0, len(rows), config.batch_size)]
    with torch.inference_mode():
        losses = [float(_mean_loss(model, torch.from_numpy(p).to(model.device, torch.long))) * len(p) for p in parts]
    return sum(losses) / len(rows)
