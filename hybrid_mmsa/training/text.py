"""`train text`: fine-tune the text tower multi-task, then on MVSA, with out-of-fold logits for the fusion head.

Stages, each in a folder of its own, each skipped when its `tower.safetensors` is there:
`general` (all text corpora but MVSA) → `fold-k` (MVSA without fold k, from `general`) → `final` (all of MVSA train).
`oof.safetensors` holds, for each MVSA training post, the head logits of the tower that never saw its text.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor, nn

from ..encoders.wordpieces import WordPieces
from ..fusion.head import TEXT_HEADS
from .loop import LoopConfig, claim, train
from .multitask import multitask_loss
from .rows import TextRow, fold_of, general_rows, post_records, post_rows, text_key
from .text_tower import TextTower, start_folder

__all__ = ["TextConfig", "head_logits", "train_text"]


@dataclass(frozen=True, slots=True)
class TextConfig:
    """The whole recipe of the text tower."""

    general: LoopConfig = field(default=LoopConfig(epochs=1, learning_rate=7e-5))
    mvsa: LoopConfig = field(default=LoopConfig(epochs=3, learning_rate=4e-5, averaging=0.98))
    folds: int = 4
    batch_size: int = 64
    max_tokens: int = 128
    replay: float = 0.75
    """General rows mixed into each MVSA epoch, per MVSA row, so that the other heads do not drift."""
    label_smoothing: float = 0.05


def train_text(data: Path, runs: Path, config: TextConfig | None = None) -> None:
    """Run every stage that is not there yet, under `runs`.

    Args:
        data: Folder holding the corpora (see `rows.CORPUS_FOLDERS`).
        runs: Folder for the stages; killed runs go on where they stopped.
        config: The recipe.
    """
    config = config or TextConfig()
    pieces = WordPieces(start_folder() / "tokenizer.json", config.max_tokens)
    general, dev = general_rows(data)
    records = post_records(data)
    posts = [r for r in records if r.split == "train" and r.sample.text and r.sample.label]
    rows = post_rows(posts)
    dev["posts"] = post_rows(r for r in records if r.split == "dev")
    stage = _Stage(pieces, config, runs, dev)
    stage.run(
        "general", None, [_batches(general, pieces, config, e) for e in range(config.general.epochs)], config.general
    )
    keys = [text_key(r.text) for r in rows]
    folds = np.array([fold_of(k, config.folds) for k in keys])
    parts: dict[str, np.ndarray[Any, Any]] = {}
    for k in [*range(config.folds), -1]:
        name = f"fold-{k}" if k >= 0 else "final"
        seen = [r for r, f in zip(rows, folds, strict=True) if f != k]
        epochs = [_mvsa_epoch(seen, general, pieces, config, e) for e in range(config.mvsa.epochs)]
        tower = stage.run(name, "general", epochs, replace(config.mvsa, seed=config.mvsa.seed + k + 1))
        if k >= 0:
            held = np.flatnonzero(folds == k)
            logits = head_logits(tower, pieces, [rows[i] for i in held])
            for head, values in logits.items():
                parts.setdefault(head, np.zeros((len(rows), values.shape[1]), np.float32))[held] = values
    save_file(parts, runs / "oof.safetensors")
    ids = [r.sample.id for r in posts]
    (runs / "oof.json").write_text(json.dumps({"ids": ids, "folds": folds.tolist()}) + "\n", encoding="utf-8")


def head_logits(tower: TextTower, pieces: WordPieces, rows: Sequence[TextRow]) -> dict[str, np.ndarray[Any, Any]]:
    """Logits float32 `[n, classes]` per head, in the rows' order."""
    tower.eval()
    out: dict[str, list[np.ndarray[Any, Any]]] = {name: [] for name in TEXT_HEADS}
    with torch.inference_mode():
        for start in range(0, len(rows), 64):
            part = rows[start : start + 64]
            for name, values in tower(pieces.encode([r.text for r in part], [r.target for r in part])).items():
                out[name].append(values.float().numpy())
    return {name: np.concatenate(values) for name, values in out.items() if values}


@dataclass(frozen=True, slots=True)
class _Stage:
    pieces: WordPieces
    config: TextConfig
    runs: Path
    dev: dict[str, list[TextRow]]

    def run(self, name: str, start: str | None, epochs: list[list[list[TextRow]]], loop: LoopConfig) -> TextTower:
        """The trained tower of one stage, from disk if it is there."""
        folder = self.runs / name
        rows = sum(len(batch) for batch in epochs[0])
        facts = {"stage": name, "start": start or "all-MiniLM-L6-v2", "recipe": asdict(self.config), "rows": rows}
        claim(folder, facts)
        torch.manual_seed(loop.seed)  # new heads start from chance
        tower = TextTower(start_folder())
        if (folder / "tower.safetensors").exists():
            return tower.load(folder / "tower.safetensors")
        if start is not None:
            tower.load(self.runs / start / "tower.safetensors")
        train(tower, epochs, self._loss, loop, folder, record=facts)
        tower.save(folder / "tower.safetensors")
        accuracy = {corpus: self._accuracy(tower, rows) for corpus, rows in self.dev.items()}
        (folder / "dev.json").write_text(json.dumps(accuracy, indent=1) + "\n", encoding="utf-8")
        return tower

    def _loss(self, model: nn.Module, batch: list[TextRow]) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(self.pieces.encode([r.text for r in batch], [r.target for r in batch]))
        return multitask_loss(logits, [r.labels for r in batch], self.config.label_smoothing)

    def _accuracy(self, tower: TextTower, rows: list[TextRow]) -> dict[str, float]:
        logits = head_logits(tower, self.pieces, rows)
        scores: dict[str, float] = {}
        for head, values in logits.items():
            gold = np.array([r.labels.get(head, -1) for r in rows])
            if (gold >= 0).any():
                known = gold >= 0
                right = values[known].argmax(1) == gold[known]
                recall = [float(right[gold[known] == c].mean()) for c in sorted(set(gold[known]))]
                scores |= {f"{head}/accuracy": float(right.mean()), f"{head}/macro_recall": float(np.mean(recall))}
        return scores


def _mvsa_epoch(
    rows: list[TextRow], general: list[TextRow], pieces: WordPieces, config: TextConfig, epoch: int
) -> list[list[TextRow]]:
    replay = random.Random(f"replay-{epoch}").sample(general, min(len(general), int(config.replay * len(rows))))
    return _batches(rows + replay, pieces, config, epoch)


def _batches(rows: list[TextRow], pieces: WordPieces, config: TextConfig, epoch: int) -> list[list[TextRow]]:
    """Shuffled batches of texts of like length: little padding, and the order depends on the epoch alone."""
    chance = random.Random(f"order-{epoch}")
    order = chance.sample(rows, len(rows))
    pool = config.batch_size * 50
    batches = []
    for start in range(0, len(order), pool):
        part = sorted(order[start : start + pool], key=lambda r: len(r.text))
        batches += [part[i : i + config.batch_size] for i in range(0, len(part), config.batch_size)]
    chance.shuffle(batches)
    return batches
