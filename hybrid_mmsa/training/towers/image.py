"""`train image`: fine-tune the image tower's last blocks on posts' pictures, with out-of-fold logits for fusion.

Stages, each in a folder of its own, each skipped when it is there: `views` (every picture changed at random a few
times and passed through the frozen trunk, once for all stages) → `fold-k` (MVSA without fold k) → `final` (all of MVSA
train). Twitter1269's pictures are trained on beside them. `oof.safetensors` holds, for each MVSA training post, the
head logits of the tower that never saw its fold.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...data import Record, load_corpus
from ...types import LABELS, FloatArray, IntArray
from ..common.device import training_precision
from ..common.loop import LoopConfig, claim, train
from ..common.multitask import multitask_loss
from ..common.out_of_fold import OutOfFold
from ..posts.pictures import PictureRow, read_pictures
from ..posts.rows import CORPUS_FOLDERS, fold_of, post_records, text_key
from .image_tower import ImageTower, ImageViews, read_start, read_views

__all__ = ["ImageConfig", "picture_logits", "picture_rows", "serving_pixels", "train_image", "train_top"]

TOWER = "tower.safetensors"


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """The whole recipe of the image tower."""

    loop: LoopConfig = field(default=LoopConfig(epochs=4, learning_rate=1.5e-4, averaging=0.98))
    folds: int = 3
    batch_size: int = 32
    side: int = 160
    decoded_side: int = 192
    frozen: int = 39
    """Leading convolutions kept as ImageNet left them: the stem and the first thirteen blocks."""
    views: int = 4
    """How often each picture is changed at random; epochs take them in turn."""
    label_smoothing: float = 0.1


def train_image(data: Path, start: Path, runs: Path, config: ImageConfig | None = None) -> None:
    """Run every stage that is not there yet, under `runs`.

    Args:
        data: Folder holding the corpora (see `rows.CORPUS_FOLDERS`).
        start: ImageNet weights of EfficientNet-Lite0, see `image_tower.read_start`.
        runs: Folder for the stages; killed runs go on where they stopped.
        config: The recipe.
    """
    config = config or ImageConfig()
    posts = [r for r in post_records(data) if r.split == "train" and r.sample.image is not None]
    rows = picture_rows(posts, data, config.decoded_side)
    readable = {r.id for r in rows}
    posts = [p for p in posts if p.sample.id in readable]
    folds = np.array([fold_of(text_key(p.sample.text or ""), config.folds) for p in posts])
    weights = read_start(start)
    tower = ImageTower(weights, config.frozen)
    views = read_views(tower, rows, runs / "views", views=config.views, side=config.side)
    beside = np.arange(len(posts), len(rows))
    out_of_fold = OutOfFold([p.sample.id or "" for p in posts], folds)
    for k in [*range(config.folds), -1]:
        learnt = np.concatenate([np.flatnonzero(folds != k), beside])
        tower = train_top(weights, views, learnt, config, runs / (f"fold-{k}" if k >= 0 else "final"), seed=k + 1)
        if k >= 0:
            held = np.flatnonzero(folds == k)
            out_of_fold.put(held, picture_logits(tower, serving_pixels([posts[i] for i in held], config.side)))
    out_of_fold.save(runs)


def train_top(
    start: Mapping[str, Tensor], views: ImageViews, rows: IntArray, config: ImageConfig, folder: Path, *, seed: int = 0
) -> ImageTower:
    """A tower whose last blocks were tuned on some pictures, from disk if it is there.

    Args:
        start: ImageNet weights.
        views: Pictures as the trunk left them.
        rows: int64 row numbers of the pictures to train on.
        config: The recipe.
        folder: The stage's folder; a killed run goes on where it stopped.
        seed: Added to the recipe's.
    """
    loop = replace(config.loop, seed=config.loop.seed + seed)
    facts = {
        "stage": folder.name,
        "start": "efficientnet_lite0 ImageNet",
        "recipe": asdict(replace(config, loop=loop)),
        "rows": len(rows),
    }
    claim(folder, facts)
    torch.manual_seed(loop.seed)  # new heads start from chance
    tower = ImageTower(start, config.frozen)
    if (folder / TOWER).exists():
        return tower.load(folder / TOWER)

    def loss(_: nn.Module, batch: tuple[int, IntArray]) -> Tensor:
        view, chosen = batch
        with training_precision():
            logits = tower.logits(views.view(view, chosen))
        return multitask_loss(logits, [views.rows[i].labels for i in chosen], config.label_smoothing)

    epochs = []
    for epoch in range(loop.epochs):
        order = np.array(random.Random(f"order-{epoch}").sample(rows.tolist(), len(rows)))
        starts = range(0, len(order), config.batch_size)
        epochs.append([(epoch, order[start : start + config.batch_size]) for start in starts])
    train(tower, epochs, loss, loop, folder, record=facts)
    tower.save(folder / TOWER)
    return tower


def picture_logits(tower: ImageTower, pixels: NDArray[np.uint8]) -> dict[str, FloatArray]:
    """Logits float32 `[n, classes]` per head for uint8 pixels `[n, side, side, 3]`."""
    tower.eval()
    logits: dict[str, list[FloatArray]] = {}
    with torch.inference_mode():
        for start in range(0, len(pixels), 64):
            part = torch.from_numpy(pixels[start : start + 64]).permute(0, 3, 1, 2)
            for name, values in tower(part).items():
                logits.setdefault(name, []).append(values.numpy())
    return {name: np.concatenate(values) for name, values in logits.items()}


def serving_pixels(posts: Sequence[Record], side: int) -> NDArray[np.uint8]:
    """Pixels uint8 `[n, side, side, 3]` of posts' pictures as serving reads them."""
    rows, bad = read_pictures(((p.sample.id or "", p.sample.image, {}) for p in posts), side)
    if bad:
        raise ValueError(f"pictures that could be read before cannot be read now: {bad[:3]}")
    return np.stack([r.pixels for r in rows])


def picture_rows(posts: Sequence[Record], data: Path, side: int) -> list[PictureRow]:
    """Pictures of labelled posts that can be read, and after them Twitter1269's training pictures, where it is there.

    Args:
        posts: Posts with a picture, a label and what the picture says.
        data: Folder holding the corpora.
        side: What the pictures are squashed to, in pixels.
    """
    labelled = []
    for sample in (p.sample for p in posts):
        if sample.label and sample.image_label:
            labels = {"sentiment": LABELS.index(sample.image_label), "joint": LABELS.index(sample.label)}
            labelled.append((sample.id or "", sample.image, labels))
    folder = data / CORPUS_FOLDERS["twitter1269"]
    for record in load_corpus("twitter1269", folder) if folder.is_dir() else ():
        sample = record.sample
        if record.split == "train" and sample.label and sample.image is not None:
            labelled.append((f"twitter1269:{sample.id}", sample.image, {"sentiment": LABELS.index(sample.label)}))
    return read_pictures(labelled, side)[0]
