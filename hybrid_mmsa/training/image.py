"""`train image`: fine-tune the image tower on pictures with labels, then on MVSA, with out-of-fold logits.

Stages, each in a folder of its own, each skipped when its `tower.safetensors` is there:
`general` (Memotion, Twitter1269) → `fold-k` (MVSA without fold k) → `final` (all of MVSA train).
`oof.safetensors` holds, for each MVSA training post, the head logits of the tower that never saw its fold.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor, nn

from ..data import Record, load_corpus, load_manifest
from ..types import LABELS
from .image_tower import IMAGE_TRAINING_HEADS, ImageTower, read_start
from .loop import LoopConfig, claim, train
from .multitask import multitask_loss
from .pictures import PictureRow, augment, read_pictures
from .rows import CORPUS_FOLDERS, fold_of, post_records, text_key

__all__ = ["ImageConfig", "picture_logits", "train_image"]

MEMES_SPLIT = "memotion_grouped"


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """The whole recipe of the image tower."""

    general: LoopConfig = field(default=LoopConfig(epochs=1, learning_rate=1e-4))
    mvsa: LoopConfig = field(default=LoopConfig(epochs=4, learning_rate=1.5e-4, averaging=0.98))
    folds: int = 3
    batch_size: int = 32
    side: int = 160
    decoded_side: int = 192
    frozen: int = 20
    """Leading convolutions kept as ImageNet left them: the stem and the first seven blocks."""
    label_smoothing: float = 0.1


Batch = tuple[list[PictureRow], int]


def train_image(data: Path, start: Path, runs: Path, config: ImageConfig | None = None) -> None:
    """Run every stage that is not there yet, under `runs`.

    Args:
        data: Folder holding the corpora (see `rows.CORPUS_FOLDERS`).
        start: Weights of the folded ImageNet MobileNetV2, see `image_tower.read_start`.
        runs: Folder for the stages; killed runs go on where they stopped.
        config: The recipe.
    """
    config = config or ImageConfig()
    stage = _Stage(config, read_start(start), runs)
    photos = _rows(_corpus("twitter1269", data), "sentiment", config)
    if not (runs / "general" / "tower.safetensors").exists():
        memes = _rows(load_manifest(MEMES_SPLIT).apply(_corpus("memotion", data)), "meme", config)
        stage.run("general", None, photos * 2 + memes, config.general)
    posts = [r for r in post_records(data) if r.split == "train" and r.sample.image is not None]
    rows = _mvsa_rows(posts, config)
    readable = {r.id for r in rows}
    posts = [p for p in posts if p.sample.id in readable]
    folds = np.array([fold_of(text_key(p.sample.text or ""), config.folds) for p in posts])
    parts: dict[str, np.ndarray[Any, Any]] = {}
    for k in [*range(config.folds), -1]:
        seen = [r for r, f in zip(rows, folds, strict=True) if f != k]
        loop = replace(config.mvsa, seed=config.mvsa.seed + k + 1)
        tower = stage.run(f"fold-{k}" if k >= 0 else "final", "general", seen + photos, loop)
        if k >= 0:
            held = np.flatnonzero(folds == k)
            for head, values in picture_logits(tower, _serving_pixels([posts[i] for i in held], config.side)).items():
                parts.setdefault(head, np.zeros((len(rows), values.shape[1]), np.float32))[held] = values
    save_file(parts, runs / "oof.safetensors")
    ids = [p.sample.id for p in posts]
    (runs / "oof.json").write_text(json.dumps({"ids": ids, "folds": folds.tolist()}) + "\n", encoding="utf-8")


def picture_logits(tower: ImageTower, pixels: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """Logits float32 `[n, classes]` per head for uint8 pixels `[n, side, side, 3]`."""
    tower.eval()
    out: dict[str, list[np.ndarray[Any, Any]]] = {name: [] for name in IMAGE_TRAINING_HEADS}
    with torch.inference_mode():
        for start in range(0, len(pixels), 64):
            part = torch.from_numpy(pixels[start : start + 64]).permute(0, 3, 1, 2)
            for name, values in tower(part).items():
                out[name].append(values.numpy())
    return {name: np.concatenate(values) for name, values in out.items()}


def _serving_pixels(posts: Sequence[Record], side: int) -> np.ndarray[Any, Any]:
    rows, bad = read_pictures(((p.sample.id or "", p.sample.image, {}) for p in posts), side)
    if bad:
        raise ValueError(f"pictures that could be read before cannot be read now: {bad[:3]}")
    return np.stack([r.pixels for r in rows])


def _corpus(name: str, data: Path) -> Iterable[Record]:
    """A corpus, or nothing where its folder is not there."""
    folder = data / CORPUS_FOLDERS[name]
    return load_corpus(name, folder) if folder.is_dir() else ()


def _rows(records: Iterable[Record], head: str, config: ImageConfig) -> list[PictureRow]:
    """Pictures whose only label goes to one head; a corpus's test split stays out."""
    wanted = (
        (r.sample.id or "", r.sample.image, {head: LABELS.index(r.sample.label)})
        for r in records
        if r.split == "train" and r.sample.label and r.sample.image is not None
    )
    return read_pictures(wanted, config.decoded_side)[0]


def _mvsa_rows(posts: Sequence[Record], config: ImageConfig) -> list[PictureRow]:
    wanted = []
    for sample in (p.sample for p in posts):
        if sample.label and sample.image_label:
            labels = {"sentiment": LABELS.index(sample.image_label), "joint": LABELS.index(sample.label)}
            wanted.append((sample.id or "", sample.image, labels))
    return read_pictures(wanted, config.decoded_side)[0]


@dataclass(frozen=True, slots=True)
class _Stage:
    config: ImageConfig
    start: dict[str, Tensor]
    runs: Path

    def run(self, name: str, start: str | None, rows: list[PictureRow], loop: LoopConfig) -> ImageTower:
        """The trained tower of one stage, from disk if it is there."""
        folder = self.runs / name
        source = start or "mobilenet_v2_1.0 ImageNet"
        facts = {"stage": name, "start": source, "recipe": asdict(self.config), "rows": len(rows)}
        claim(folder, facts)
        torch.manual_seed(loop.seed)  # new heads start from chance
        tower = ImageTower(self.start, self.config.frozen)
        if (folder / "tower.safetensors").exists():
            return tower.load(folder / "tower.safetensors")
        if start is not None:
            tower.load(self.runs / start / "tower.safetensors")
        epochs = [_batches(rows, self.config.batch_size, e) for e in range(loop.epochs)]
        train(tower, epochs, self._loss, loop, folder, record=facts)
        tower.save(folder / "tower.safetensors")
        return tower

    def _loss(self, model: nn.Module, batch: Batch) -> Tensor:
        rows, seed = batch
        pixels = augment(torch.from_numpy(np.stack([r.pixels for r in rows])), self.config.side, seed)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(pixels)
        return multitask_loss(logits, [r.labels for r in rows], self.config.label_smoothing)


def _batches(rows: list[PictureRow], size: int, epoch: int) -> list[Batch]:
    order = random.Random(f"order-{epoch}").sample(rows, len(rows))
    return [(order[i : i + size], 1_000_003 * epoch + i) for i in range(0, len(order), size)]
