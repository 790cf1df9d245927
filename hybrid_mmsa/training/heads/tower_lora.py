"""`train fusion --encoder --lora`: LoRA on one or both towers of an encoder, then heads, fusion, calibration, router.

A side is tuned once per fold left out, then on all posts: what is fitted on predictions is fitted on those of towers
that had not seen the post. The tower's own weights stay as they are, and so does whatever it does differently while it
is trained (dropout, running means). Knows the corpora by their rows; knows nothing of how an encoder is made.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn

from ...adapters import Adapter
from ...data import Record
from ...encoders import moved_name, open_encoder
from ...encoders.pair import Tower, TowerPair
from ...encoders.tower_lora import add_lora, write_lora
from ...errors import InputError
from ...fusion import log_softmax
from ...inputs import DRAFT_PIXELS, read_image, read_sample, reword
from ...types import FloatArray, IntArray, Modality, Sample
from ..common.loop import LoopConfig, claim, train
from ..common.multitask import multitask_loss
from ..common.provenance import made_now
from ..posts.labelled import HEADS, UNKNOWN, Labelled
from ..posts.rows import post_records
from .frozen import CrossFittedHeads, FrozenConfig, cross_fit_heads, fit_frozen
from .frozen_posts import kept_features, labelled_posts

__all__ = ["LoraConfig", "LoraSideConfig", "LoraSides", "SidePosts", "TunedSide", "train_with_lora", "tune_side"]

FINAL, DONE = "final", "done.safetensors"
BATCH_READ = 32
LoraSides: TypeAlias = Literal["text", "image", "both"]
TOWERS = "towers"


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
class TunedSide:
    """A tuned tower's heads.

    Attributes:
        arrays: `<head>.weight` and `<head>.bias` of the run on all posts.
        logits: float32 `[n, classes]` per head: those of each post by the run that was trained without it.
    """

    arrays: dict[str, FloatArray]
    logits: dict[str, FloatArray]


def tune_side(tower: Tower, posts: SidePosts, config: LoraSideConfig, runs: Path, lora: Path) -> TunedSide:
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
    left_out = {name: np.zeros((len(posts.folds), HEADS[name]), np.float32) for name in posts.labels}
    for fold in np.unique(posts.folds):
        held = np.flatnonzero(posts.folds == fold)
        answers = _run(tower, posts, np.flatnonzero(posts.folds != fold), held, config, runs / f"fold-{fold}", None)
        for name, logits in answers.items():
            left_out[name][held] = logits
    everything = np.arange(len(posts.folds))
    return TunedSide(_run(tower, posts, everything, everything[:0], config, runs / FINAL, lora), left_out)


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
        arrays = model.answers(held) if lora is None else model.arrays()
        if lora is not None:
            write_lora(put_in, lora)
    finally:
        put_in.unload()
    save_file({name: np.ascontiguousarray(values) for name, values in arrays.items()}, folder / DONE)
    return arrays


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

    def __init__(self, tower: Tower, lora: nn.Module, posts: SidePosts, features: FloatArray, dropout: float) -> None:
        super().__init__()
        self.lora = lora  # the tower itself, with what is tuned in it
        self._features, self._posts = tower.features, posts
        self.dropout = nn.Dropout(dropout)
        self.mean: Tensor = torch.from_numpy(features.mean(0))
        self.spread: Tensor = torch.from_numpy(np.maximum(features.std(0), 1e-6))
        names = {name: name.replace(".", "_") for name in posts.labels}  # a module's name holds no dot
        linear = {name: nn.Linear(features.shape[1], HEADS[name]) for name in names}
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
        arrays: dict[str, FloatArray] = {}
        for name, head in self._linear.items():
            plain = head.weight.detach() / self.spread
            bias = head.bias.detach() - plain @ self.mean
            arrays |= {f"{name}.weight": plain.numpy(), f"{name}.bias": bias.numpy()}
        return arrays


@dataclass(frozen=True, slots=True)
class LoraConfig:
    """How towers are tuned, and how everything on top of them is fitted.

    Attributes:
        frozen: What stands on top.
        text, image: How either tower is tuned.
        folds: Parts of the posts that are left out in turn: each costs a run per tower. 5 at the most.
    """

    frozen: FrozenConfig = field(default_factory=FrozenConfig)
    text: LoraSideConfig = field(default_factory=LoraSideConfig)
    image: LoraSideConfig = field(default_factory=LoraSideConfig)
    folds: int = 5


def train_with_lora(
    data: Path,
    encoder: str,
    sides: LoraSides,
    out: Path,
    *,
    config: LoraConfig | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Adapter:
    """Tune towers by LoRA, fit a model on top, and save the folder `Analyzer.from_pretrained` loads.

    Runs and features stand in `<out>.features`; a killed run goes on where it stopped. The LoRAs stand in
    `<out>/towers`, and the encoder's hash covers them. `made_with` says by how much each head's log-loss on posts left
    out changed.

    Args:
        data: As in `train_frozen`.
        encoder: An `open_clip:` or `hf:` encoder; paths in it are relative to the working directory.
        sides: Which towers.
        out: The folder to write; its name becomes the model's.
        config: The recipe.
        advance: Called after every post that is encoded.

    Raises:
        InputError: The encoder cannot be tuned so, or there are too few posts.
    """
    config = config or LoraConfig()
    plain = open_encoder(encoder, Path.cwd())
    if not isinstance(plain, TowerPair) or not plain.towers:
        raise InputError(f"LoRA is for open_clip: and hf: encoders, not {encoder}", field="--lora")
    tuned_sides: tuple[Modality, ...] = ("text", "image") if sides == "both" else (sides,)
    records = post_records(data)
    parts = {name: [r for r in records if r.split == name] for name in ("train", "dev")}
    runs = kept_features(out)
    base = labelled_posts(plain, parts["train"], runs, advance)
    heads = cross_fit_heads(base, config.frozen)
    gains: dict[str, dict[str, float]] = {}
    recipes = {"text": config.text, "image": config.image}
    for side in tuned_sides:
        posts, rows = _side_posts(parts["train"], base, side, heads, config.folds)
        tuned = tune_side(plain.towers[side], posts, recipes[side], runs / f"lora-{side}", out / TOWERS / side)
        heads, losses = _replaced(heads, tuned, rows, base)
        gains |= losses
    name = f"{encoder}+lora:{os.path.relpath(out / TOWERS, Path.cwd())}"
    opened = open_encoder(name, Path.cwd())
    train, dev = (labelled_posts(opened, parts[part], runs, advance) for part in ("train", "dev"))
    adapter = fit_frozen(train, dev, opened, name=out.name, config=config.frozen, heads=heads)
    made_with = {
        **made_now(),
        "n_train": len(parts["train"]),
        "lora": list(tuned_sides),
        "encoder_before": plain.hash,
        "log_loss_left_out": gains,
        "recipe": asdict(config),
    }
    adapter = replace(adapter, encoder=moved_name(name, Path.cwd(), out), made_with=made_with)
    adapter.save(out)
    return adapter


def _side_posts(
    records: Sequence[Record], base: Labelled, side: Modality, heads: CrossFittedHeads, folds: int
) -> tuple[SidePosts, np.ndarray[Any, Any]]:
    """The posts that have this side, and their row numbers."""
    there = base.features.has_text if side == "text" else base.features.has_image
    values = base.features.text_features if side == "text" else base.features.image_features
    rows = np.flatnonzero(there)
    samples = [records[int(i)].sample for i in rows]
    names = [name for name in heads.logits if name.startswith(f"{side}.")]
    words = [reword(read_sample(Sample(text=s.text)).text or "") for s in samples] if side == "text" else []
    key = hashlib.sha256(repr([s.id for s in samples]).encode() + np.ascontiguousarray(values[rows]).tobytes())
    for name in names:
        key.update(base.labels[name][rows].tobytes())
    return SidePosts(
        side=side,
        inputs=words if side == "text" else [s.image for s in samples],
        read=str if side == "text" else partial(read_image, draft=DRAFT_PIXELS),
        labels={name: base.labels[name][rows] for name in names},
        folds=base.folds[rows] % folds,
        features=values[rows],
        key=key.hexdigest(),
    ), rows


def _replaced(
    heads: CrossFittedHeads, tuned: TunedSide, rows: np.ndarray[Any, Any], base: Labelled
) -> tuple[CrossFittedHeads, dict[str, dict[str, float]]]:
    """What the tuned side says in place of the frozen one, and both log-losses per head on posts left out."""
    replaced, gains = dict(heads.logits), {}
    for name, logits in tuned.logits.items():
        whole = np.full_like(heads.logits[name], np.nan)
        whole[rows] = logits
        known = rows[base.labels[name][rows] != UNKNOWN]
        gold = base.labels[name][known]
        variants: Mapping[str, FloatArray] = {"frozen": heads.logits[name], "lora": whole}
        gains[name] = {
            key: round(float(-log_softmax(values[known].astype(np.float64))[np.arange(len(gold)), gold].mean()), 4)
            for key, values in variants.items()
        }
        replaced[name] = whole
    return replace(heads, arrays=heads.arrays | tuned.arrays, logits=replaced), gains
