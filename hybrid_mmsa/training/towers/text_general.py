"""The general stage of `train text`: the encoder on all text corpora but MVSA, taught by gold labels and by teachers.

The teachers are towers of the same shape that differ in their seed; together they are right more often than each, and
what they say of a text is softer than its label (`teacher-k/said.safetensors`). Then one tower, `general`, learns from
both. A teacher speaks of every task of a text, also of those that nobody labelled there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn

from ...encoders.wordpieces import WordPieces
from ...types import FloatArray, IntArray
from ..common.batches import alike, by_length
from ..common.device import training_device, training_precision
from ..common.loop import LoopConfig, claim, train
from ..common.multitask import taught_loss
from ..posts.rows import TextRow, general_rows
from .text_states import read_states
from .text_tower import GENERAL_HEADS, TextTower, start_folder

__all__ = ["GENERAL", "TOWER", "GeneralConfig", "train_general", "train_teacher"]

GENERAL, TEACHER, TOWER, SAID = "general", "teacher", "tower.safetensors", "said.safetensors"
READ_AT_ONCE = 256
ORDERS = 1000
"""Between the orders of two towers' epochs: more than there are epochs."""


@dataclass(frozen=True, slots=True)
class GeneralConfig:
    """How the encoder is trained on texts."""

    loop: LoopConfig = field(default=LoopConfig(epochs=4, learning_rate=1.2e-4, averaging=0.999))
    teachers: int = 4
    teacher: LoopConfig = field(default=LoopConfig(epochs=3, learning_rate=1e-4))
    share: float = 0.85
    """What the teachers count against the gold label."""
    beside: float = 0.3
    """What they count in a task nobody labelled on that text."""
    batch_size: int = 64
    label_smoothing: float = 0.05


def train_general(data: Path, pieces: WordPieces, config: GeneralConfig, runs: Path) -> TextTower:
    """The tower after the general stage, from disk if it is there.

    Args:
        data: Folder holding the corpora.
        pieces: The tower's tokenizer.
        config: The recipe.
        runs: Gets a folder `teacher-k` for each teacher, and `general`.
    """
    folder = runs / GENERAL
    tower = _begun(pieces, config, config.loop, folder)
    if (folder / TOWER).exists():
        return tower.load(folder / TOWER)
    rows, dev = general_rows(data)
    said = [train_teacher(rows, pieces, config, runs, k) for k in range(config.teachers)]
    share = config.share if said else 0.0
    taught = {head: np.mean([each[head] for each in said], axis=0) for head in GENERAL_HEADS} if said else {}
    _train(tower, rows, taught, pieces, replace(config, share=share), config.loop, folder)
    tower.grow_branch()
    tower.save(folder / TOWER)
    scores = {corpus: read_states(tower, pieces, found).scores(tower) for corpus, found in dev.items() if found}
    (folder / "dev.json").write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")
    return tower


def train_teacher(
    rows: Sequence[TextRow], pieces: WordPieces, config: GeneralConfig, runs: Path, number: int
) -> dict[str, FloatArray]:
    """What one teacher says of the rows, float32 `[n, classes]` per head, from disk if it is there.

    All zero where a head is not asked: about the target of a text that has none, about the text where one is named.
    """
    folder, loop = runs / f"{TEACHER}-{number}", replace(config.teacher, seed=config.teacher.seed + number + 1)
    tower = _begun(pieces, config, loop, folder)
    if not (folder / SAID).exists():
        _train(tower, rows, {}, pieces, replace(config, share=0.0), loop, folder)
        tower.save(folder / TOWER)
        save_file({head: v.astype(np.float16) for head, v in _said(tower, rows, pieces).items()}, folder / SAID)
    return {head: values.astype(np.float32) for head, values in load_file(folder / SAID).items()}


def _begun(pieces: WordPieces, config: GeneralConfig, loop: LoopConfig, folder: Path) -> TextTower:
    """The start weights with new heads, and the stage's folder claimed for this recipe."""
    recipe = {**asdict(replace(config, loop=loop)), "max_tokens": pieces.max_tokens}
    claim(folder, {"stage": folder.name, "start": "all-MiniLM-L6-v2", "recipe": recipe})
    torch.manual_seed(loop.seed)  # new heads start from chance
    tower = TextTower(start_folder()).to(training_device())
    tower.branch.requires_grad_(False)
    tower.branch_heads.requires_grad_(False)
    return tower


def _train(
    tower: TextTower,
    rows: Sequence[TextRow],
    taught: Mapping[str, FloatArray],
    pieces: WordPieces,
    config: GeneralConfig,
    loop: LoopConfig,
    folder: Path,
) -> None:
    gold = {head: _on(tower, np.array([row.labels.get(head, -1) for row in rows])) for head in GENERAL_HEADS}
    soft = {
        head: _on(tower, taught.get(head, np.zeros((len(rows), n), np.float32))) for head, n in GENERAL_HEADS.items()
    }
    lengths = np.array([len(row.text) for row in rows])
    epochs = [alike(lengths, config.batch_size, ORDERS * loop.seed + epoch) for epoch in range(loop.epochs)]

    def loss(model: nn.Module, chosen: IntArray) -> Tensor:
        part, places = [rows[i] for i in chosen], _on(tower, chosen)
        with training_precision():
            logits = model(pieces.encode([r.text for r in part], [r.target for r in part]))
        return taught_loss(
            logits,
            {head: labels[places] for head, labels in gold.items()},
            {head: values[places] for head, values in soft.items()},
            share=config.share,
            beside=config.beside,
            smoothing=config.label_smoothing,
        )

    record = {"stage": folder.name, "start": "all-MiniLM-L6-v2", "recipe": asdict(config), "rows": len(rows)}
    train(tower, epochs, loss, loop, folder, record=record)


def _said(tower: TextTower, rows: Sequence[TextRow], pieces: WordPieces) -> dict[str, FloatArray]:
    tower.eval()
    found = {head: np.zeros((len(rows), n), np.float32) for head, n in GENERAL_HEADS.items()}
    with torch.inference_mode():
        for places in by_length([len(row.text) for row in rows], READ_AT_ONCE):
            part = [rows[i] for i in places]
            with training_precision():
                logits = tower(pieces.encode([r.text for r in part], [r.target for r in part]))
            named = np.array([row.target is not None for row in part])
            for head, values in logits.items():
                asked = named if head == "target" else ~named
                found[head][places[asked]] = values.float().softmax(1).cpu().numpy()[asked]
    return found


def _on(tower: TextTower, values: IntArray | FloatArray) -> Tensor:
    return torch.from_numpy(values).to(tower.device)
