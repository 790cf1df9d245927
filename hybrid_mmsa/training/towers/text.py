"""`train text`: fine-tune the text tower on text corpora, then its branch on MVSA, with out-of-fold logits for fusion.

Stages, each in a folder of its own, each skipped when its `tower.safetensors` is there:

- `teacher-k` and `general`: the encoder on all text corpora but MVSA. The teachers are towers of the same shape that
  differ in their seed; their mean is right more often than each of them and softer than a label
  (`teacher-k/said.safetensors`). `general` learns from gold labels and from the teachers, who label every task of a
  text, also those that nobody labelled.
- `fold-k`: the branch on MVSA without fold k; `final`: on all of MVSA train. The trunk stays as `general` left it.

`oof.safetensors` holds, for each MVSA training post, the head logits of the branch that never saw its text; `general`
never saw any of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn

from ...encoders.wordpieces import WordPieces
from ...types import FloatArray, IntArray
from ..common.batches import alike, by_length
from ..common.device import training_device, training_precision
from ..common.loop import LoopConfig, claim, train
from ..common.multitask import multitask_loss, taught_loss
from ..common.out_of_fold import OutOfFold
from ..posts.rows import TextRow, fold_of, general_rows, post_records, post_rows, text_key
from .text_tower import GENERAL_HEADS, TextStates, TextTower, read_states, start_folder

__all__ = [
    "GENERAL",
    "TOWER",
    "BranchConfig",
    "GeneralConfig",
    "TextConfig",
    "train_branch",
    "train_general",
    "train_teacher",
    "train_text",
]

GENERAL, TEACHER, TOWER, SOFT_LABELS = "general", "teacher", "tower.safetensors", "said.safetensors"
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
    tower = _new_tower(pieces, config, config.loop, folder)
    if (folder / TOWER).exists():
        return tower.load(folder / TOWER)
    rows, dev = general_rows(data)
    teachers = [train_teacher(rows, pieces, config, runs, k) for k in range(config.teachers)]
    share = config.share if teachers else 0.0
    taught = {}
    if teachers:
        taught = {head: np.mean([each[head] for each in teachers], axis=0) for head in GENERAL_HEADS}
    _train(tower, rows, taught, pieces, replace(config, share=share), config.loop, folder)
    tower.grow_branch()
    tower.save(folder / TOWER)
    scores = {corpus: read_states(tower, pieces, part).scores(tower) for corpus, part in dev.items() if part}
    (folder / "dev.json").write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")
    return tower


def train_teacher(
    rows: Sequence[TextRow], pieces: WordPieces, config: GeneralConfig, runs: Path, number: int
) -> dict[str, FloatArray]:
    """What one teacher says of the rows, float32 `[n, classes]` per head, from disk if it is there.

    All zero where a head is not asked: about the target of a text that has none, about the text where one is named.
    """
    folder, loop = runs / f"{TEACHER}-{number}", replace(config.teacher, seed=config.teacher.seed + number + 1)
    tower = _new_tower(pieces, config, loop, folder)
    if not (folder / SOFT_LABELS).exists():
        _train(tower, rows, {}, pieces, replace(config, share=0.0), loop, folder)
        tower.save(folder / TOWER)
        soft_labels = _soft_labels(tower, rows, pieces)
        save_file({head: v.astype(np.float16) for head, v in soft_labels.items()}, folder / SOFT_LABELS)
    return {head: values.astype(np.float32) for head, values in load_file(folder / SOFT_LABELS).items()}


def _new_tower(pieces: WordPieces, config: GeneralConfig, loop: LoopConfig, folder: Path) -> TextTower:
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


def _soft_labels(tower: TextTower, rows: Sequence[TextRow], pieces: WordPieces) -> dict[str, FloatArray]:
    tower.eval()
    soft_labels = {head: np.zeros((len(rows), n), np.float32) for head, n in GENERAL_HEADS.items()}
    with torch.inference_mode():
        for places in by_length([len(row.text) for row in rows], READ_AT_ONCE):
            part = [rows[i] for i in places]
            with training_precision():
                logits = tower(pieces.encode([r.text for r in part], [r.target for r in part]))
            named = np.array([row.target is not None for row in part])
            for head, values in logits.items():
                suited = named if head == "target" else ~named
                soft_labels[head][places[suited]] = values.float().softmax(1).cpu().numpy()[suited]
    return soft_labels


def _on(tower: TextTower, values: IntArray | FloatArray) -> Tensor:
    return torch.from_numpy(values).to(tower.device)


@dataclass(frozen=True, slots=True)
class BranchConfig:
    """How the branch is tuned on posts."""

    loop: LoopConfig = field(default=LoopConfig(epochs=4, learning_rate=1e-4, averaging=0.98))
    batch_size: int = 32
    label_smoothing: float = 0.05


@dataclass(frozen=True, slots=True)
class TextConfig:
    """The whole recipe of the text tower."""

    general: GeneralConfig = field(default_factory=GeneralConfig)
    branch: BranchConfig = field(default_factory=BranchConfig)
    folds: int = 4
    max_tokens: int = 128


def train_text(data: Path, runs: Path, config: TextConfig | None = None) -> None:
    """Run every stage that is not there yet, under `runs`.

    Args:
        data: Folder holding the corpora (see `rows.CORPUS_FOLDERS`).
        runs: Folder for the stages; killed runs go on where they stopped.
        config: The recipe.
    """
    config = config or TextConfig()
    pieces = WordPieces(start_folder() / "tokenizer.json", config.max_tokens)
    tower = train_general(data, pieces, config.general, runs)
    records = post_records(data)
    posts = [r for r in records if r.split == "train" and r.sample.text and r.sample.label]
    folds = np.array([fold_of(text_key(r.sample.text or ""), config.folds) for r in posts])
    states = read_states(tower, pieces, post_rows(posts))
    dev = read_states(tower, pieces, post_rows(r for r in records if r.split == "dev"))
    out_of_fold = OutOfFold([r.sample.id or "" for r in posts], folds)
    for k in [*range(config.folds), -1]:
        folder = runs / (f"fold-{k}" if k >= 0 else "final")
        learnt = states.take(np.flatnonzero(folds != k))
        facts = {"max_tokens": config.max_tokens}
        tower = train_branch(runs / GENERAL / TOWER, learnt, config.branch, folder, seed=k + 1, facts=facts)
        (folder / "dev.json").write_text(json.dumps(dev.scores(tower), indent=1) + "\n", encoding="utf-8")
        if k >= 0:
            held = np.flatnonzero(folds == k)
            out_of_fold.put(held, states.take(held).logits(tower))
    out_of_fold.save(runs)


def train_branch(
    start: Path,
    states: TextStates,
    config: BranchConfig,
    folder: Path,
    *,
    seed: int = 0,
    facts: Mapping[str, Any] | None = None,
) -> TextTower:
    """A tower whose branch was tuned on posts, from disk if it is there; all else is as the general stage left it.

    Args:
        start: The general stage's `tower.safetensors`.
        states: The posts, as that tower's trunk left them.
        config: The recipe.
        folder: The stage's folder; a killed run goes on where it stopped.
        seed: Added to the recipe's.
        facts: What else to note of the recipe.
    """
    loop = replace(config.loop, seed=config.loop.seed + seed)
    record = {
        "stage": folder.name,
        "start": GENERAL,
        "recipe": {**asdict(replace(config, loop=loop)), **(facts or {})},
        "rows": len(states.rows),
    }
    claim(folder, record)
    torch.manual_seed(loop.seed)  # new heads start from chance
    tower = TextTower(start_folder()).to(training_device())
    if (folder / TOWER).exists():
        return tower.load(folder / TOWER)
    tower.load(start).grow_branch()
    tower.requires_grad_(False)
    tower.branch.requires_grad_(True)
    tower.branch_heads.requires_grad_(True)
    lengths = [len(hidden) for hidden in states.hidden]
    epochs = [alike(np.array(lengths), config.batch_size, epoch) for epoch in range(loop.epochs)]

    def loss(model: nn.Module, rows: IntArray) -> Tensor:
        part = states.take(rows)
        with training_precision():
            logits = tower.branch_logits(*part.padded(tower.device))
        # What the head `sentiment` is to the encoder, `said` is to the branch.
        labels = [{"said": row.labels["sentiment"], "joint": row.labels["joint"]} for row in part.rows]
        return multitask_loss(logits, labels, config.label_smoothing)

    train(tower, epochs, loss, loop, folder, record=record)
    tower.save(folder / TOWER)
    return tower
