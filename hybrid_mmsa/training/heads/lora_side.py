"""LoRA on one tower with linear heads on top, tuned on posts: once per fold left out, then on all.

Knows no corpora and not how the sides are joined. The tower's own weights stay as they are, and so does whatever it
does differently while it is trained (dropout, running means).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn

from ...encoders.pair import Tower
from ...encoders.tower_lora import add_lora, write_lora
from ...types import FloatArray, IntArray, Modality
from ..common.loop import LoopConfig, claim, train
from ..common.multitask import multitask_loss
from ..posts.labelled import HEADS, UNKNOWN

__all__ = ["LoraSideConfig", "SidePosts", "Tuned", "tune_side"]

FINAL, DONE = "final", "done.safetensors"
BATCH_READ = 32


@dataclass(frozen=True, slots=True)
class LoraSideConfig:
    """How a LoRA is tuned.

    Attributes:
        loop: Epochs and rates.
        rank: Of each layer's change.
        batch: Posts per step.
        smoothing: Label smoothing.
        dropout: On the features, before the heads.
    """

    loop: LoopConfig = field(default=LoopConfig(epochs=4, learning_rate=3e-4))
    rank: int = 8
    batch: int = 16
    smoothing: float = 0.05
    dropout: float = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class SidePosts:
    """The posts that have this side.

    Attributes:
        side: `text` or `image`.
        inputs: What `read` makes a text or a picture of, one per post.
        read: Opens one input; called anew for every step, so that few pictures are in memory.
        labels: int64 `[n]` per name of `HEADS` on this side, `UNKNOWN` where there is none.
        folds: int64 `[n]`.
        features: float32 `[n, width]`, the tower's before it is tuned.
        key: A hash of all of it, so that a run is not gone on with on other posts.
    """

    side: Modality
    inputs: Sequence[Any]
    read: Callable[[Any], Any]
    labels: Mapping[str, IntArray]
    folds: IntArray
    features: FloatArray
    key: str


@dataclass(frozen=True, slots=True, eq=False)
class Tuned:
    """A tuned tower's heads.

    Attributes:
        arrays: `<head>.weight` and `<head>.bias` of the run on all posts.
        said: float32 `[n, classes]` per head: what the run that had not seen it made of each post.
    """

    arrays: dict[str, FloatArray]
    said: dict[str, FloatArray]


def tune_side(tower: Tower, posts: SidePosts, config: LoraSideConfig, runs: Path, lora: Path) -> Tuned:
    """Tune a LoRA per fold left out and one on all posts; the last is written. A killed run goes on where it stopped.

    Args:
        tower: Is left as it was.
        posts: What to learn.
        config: The recipe.
        runs: Where runs are kept.
        lora: The folder that the LoRA of all posts is written into.

    Raises:
        InputError: The tower has no layer that LoRA could change, or `runs` holds a run of another recipe or posts.
    """
    said = {name: np.zeros((len(posts.folds), HEADS[name]), np.float32) for name in posts.labels}
    for fold in np.unique(posts.folds):
        held = np.flatnonzero(posts.folds == fold)
        answers = _run(tower, posts, np.flatnonzero(posts.folds != fold), held, config, runs / f"fold-{fold}", None)
        for name, logits in answers.items():
            said[name][held] = logits
    everything = np.arange(len(posts.folds))
    return Tuned(_run(tower, posts, everything, everything[:0], config, runs / FINAL, lora), said)


def _run(
    tower: Tower,
    posts: SidePosts,
    learned: NDArray[np.intp],
    held: NDArray[np.intp],
    config: LoraSideConfig,
    folder: Path,
    lora: Path | None,
) -> dict[str, FloatArray]:
    """One run: logits of the posts held out, or, where the LoRA is to be written, the heads."""
    claim(folder, {"recipe": asdict(config), "posts": posts.key, "side": posts.side, "learned": len(learned)})
    if (folder / DONE).is_file() and (lora is None or lora.is_dir()):
        return load_file(folder / DONE)
    put_in = add_lora(tower, posts.side, rank=config.rank, seed=config.loop.seed)
    try:
        model = _WithHeads(tower, put_in, posts, posts.features[learned], config.dropout)
        rows = [(int(i), {n: int(v[i]) for n, v in posts.labels.items() if v[i] != UNKNOWN}) for i in learned]
        batches = _epochs([row for row in rows if row[1]], config)

        def loss(module: nn.Module, batch: Sequence[tuple[int, Mapping[str, int]]]) -> Tensor:
            return multitask_loss(module([i for i, _ in batch]), [labels for _, labels in batch], config.smoothing)

        train(model, batches, loss, config.loop, folder, record={"side": posts.side, "posts": len(rows)})
        found = model.answers(held) if lora is None else model.arrays()
        if lora is not None:
            write_lora(put_in, lora)
    finally:
        put_in.unload()
    save_file({name: np.ascontiguousarray(values) for name, values in found.items()}, folder / DONE)
    return found


def _epochs(
    rows: Sequence[tuple[int, Mapping[str, int]]], config: LoraSideConfig
) -> list[list[list[tuple[int, Mapping[str, int]]]]]:
    chance = random.Random(config.loop.seed)
    epochs = []
    for _ in range(config.loop.epochs):
        shuffled = chance.sample(rows, len(rows))
        epochs.append([shuffled[i : i + config.batch] for i in range(0, len(shuffled), config.batch)])
    return epochs


class _WithHeads(nn.Module):
    """Rows of posts → logits per head, over features of mean 0 and spread 1."""

    def __init__(self, tower: Tower, lora: nn.Module, posts: SidePosts, seen: FloatArray, dropout: float) -> None:
        super().__init__()
        self.lora = lora  # the tower itself, with what is tuned in it
        self._features, self._posts = tower.features, posts
        self.dropout = nn.Dropout(dropout)
        self.mean: Tensor = torch.from_numpy(seen.mean(0))
        self.spread: Tensor = torch.from_numpy(np.maximum(seen.std(0), 1e-6))
        names = {name: name.replace(".", "_") for name in posts.labels}  # a module's name holds no dot
        linear = {name: nn.Linear(seen.shape[1], HEADS[name]) for name in names}
        for head in linear.values():
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        self._linear = linear
        self.heads = nn.ModuleDict({names[name]: head for name, head in linear.items()})

    def train(self, mode: bool = True) -> _WithHeads:
        super().train(mode)
        self.lora.eval()
        return self

    def forward(self, rows: Sequence[int]) -> dict[str, Tensor]:
        features = self._features([self._posts.read(self._posts.inputs[i]) for i in rows])
        scaled = self.dropout((features.float() - self.mean) / self.spread)
        return {name: head(scaled) for name, head in self._linear.items()}

    def answers(self, rows: NDArray[np.intp]) -> dict[str, FloatArray]:
        """Logits of posts, float32 `[n, classes]` per head."""
        self.eval()
        with torch.inference_mode():
            parts = [self([int(i) for i in rows[a : a + BATCH_READ]]) for a in range(0, len(rows), BATCH_READ)]
        return {name: np.concatenate([part[name].numpy() for part in parts]) for name in self._linear}

    def arrays(self) -> dict[str, FloatArray]:
        """The heads for features as the tower gives them."""
        found: dict[str, FloatArray] = {}
        for name, head in self._linear.items():
            plain = head.weight.detach() / self.spread
            bias = head.bias.detach() - plain @ self.mean
            found |= {f"{name}.weight": plain.numpy(), f"{name}.bias": bias.numpy()}
        return found
