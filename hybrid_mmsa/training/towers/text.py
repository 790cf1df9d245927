"""`train text`: fine-tune the text tower multi-task, then its branch on MVSA, with out-of-fold logits for fusion.

Stages, each in a folder of its own, each skipped when its `tower.safetensors` is there: `teacher-k` and `general` (the
encoder, on all text corpora but MVSA, see `text_general`) → `fold-k` (the branch, on MVSA without fold k) → `final` (on
all of MVSA train). The trunk below the branch stays as `general` left it, so that its states are worked out once.
`oof.safetensors` holds, for each MVSA training post, the head logits of the branch that never saw its text; `general`
never saw any of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...encoders.wordpieces import WordPieces
from ...types import IntArray
from ..common.batches import alike
from ..common.device import training_device, training_precision
from ..common.loop import LoopConfig, claim, train
from ..common.multitask import multitask_loss
from ..common.out_of_fold import OutOfFold
from ..posts.rows import TextRow, fold_of, post_records, post_rows, text_key
from .text_general import GENERAL, TOWER, GeneralConfig, train_general
from .text_states import TextStates, read_states
from .text_tower import TextTower, start_folder

__all__ = ["BranchConfig", "TextConfig", "train_branch", "train_text"]


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
    told = OutOfFold([r.sample.id or "" for r in posts], folds)
    for k in [*range(config.folds), -1]:
        folder = runs / (f"fold-{k}" if k >= 0 else "final")
        seen = states.take(np.flatnonzero(folds != k))
        tower = train_branch(runs / GENERAL / TOWER, seen, config.branch, folder, seed=k + 1, facts=_sizes(config))
        (folder / "dev.json").write_text(json.dumps(dev.scores(tower), indent=1) + "\n", encoding="utf-8")
        if k >= 0:
            held = np.flatnonzero(folds == k)
            told.put(held, states.take(held).logits(tower))
    told.save(runs)


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
    told = {
        "stage": folder.name,
        "start": GENERAL,
        "recipe": {**asdict(replace(config, loop=loop)), **(facts or {})},
        "rows": len(states.rows),
    }
    claim(folder, told)
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
        return multitask_loss(logits, [_branch_labels(row) for row in part.rows], config.label_smoothing)

    train(tower, epochs, loss, loop, folder, record=told)
    tower.save(folder / TOWER)
    return tower


def _sizes(config: TextConfig) -> dict[str, Any]:
    return {"max_tokens": config.max_tokens}


def _branch_labels(row: TextRow) -> dict[str, int]:
    """A post's labels by the branch's heads; what `sentiment` is to the encoder, `said` is to the branch."""
    return {"said": row.labels["sentiment"], "joint": row.labels["joint"]}
