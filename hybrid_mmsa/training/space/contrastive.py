"""Two linear maps that bring the words and the picture of a pair together: a solved start, then a contrastive loss.

The start is a regularised canonical correlation analysis (Hotelling 1936; the ridge of Vinod 1976). From it the maps
are trained by CLIP's loss, cross-entropy both ways over the batch with a learned temperature (arXiv 2103.00020). Knows
no corpora and no encoders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, dropout, normalize

from ...types import FloatArray, IntArray

__all__ = ["ContrastConfig", "Pairs", "contrast", "fit_maps"]

SHARPEST = 4.6052
"""Log of the largest scale of cosines, 100, as in CLIP."""


@dataclass(frozen=True, slots=True)
class ContrastConfig:
    """How both maps are fitted.

    Attributes:
        shrinkage: Added to the variance of every direction of a side's features, in units of the mean variance.
        width: Numbers in a vector.
        epochs: Times each picture is seen; 0 keeps the solved start.
        learning_rate, weight_decay: AdamW's.
        dropout: On whitened features.
        temperature: What the learned temperature begins with.
        batch: Pairs that are told apart at a time.
    """

    shrinkage: float = 3.0
    width: int = 64
    epochs: int = 20
    learning_rate: float = 3e-4
    weight_decay: float = 0.01
    dropout: float = 0.3
    temperature: float = 0.2
    batch: int = 256


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Features of `n` pictures and of `m` sentences on them.

    Attributes:
        pictures: float32 `[n, views, d_image]`.
        words: float32 `[m, d_text]`, of every picture at least one.
        owner: int64 `[m]`, the picture of each sentence.
        groups: int64 `[n]`; pictures of one group share their sentences, and none of these is wrong for another.
    """

    pictures: FloatArray
    words: FloatArray
    owner: IntArray
    groups: IntArray

    def take(self, pictures: IntArray) -> Pairs:
        """The pairs of some pictures, by their row, in the order given."""
        place = np.full(len(self.groups), -1)
        place[pictures] = np.arange(len(pictures))
        kept = np.flatnonzero(place[self.owner] >= 0)
        return Pairs(self.pictures[pictures], self.words[kept], place[self.owner[kept]], self.groups[pictures])


@dataclass(frozen=True, slots=True, eq=False)
class _Whitening:
    """Centred features times `basis` `[d, k]`: directions of equal variance but for the shrinkage."""

    mean: FloatArray
    basis: FloatArray

    @classmethod
    def of(cls, rows: FloatArray, shrinkage: float) -> _Whitening:
        mean = rows.mean(0, dtype=np.float64)
        centred = rows - mean
        variances, directions = np.linalg.eigh(centred.T @ centred / len(rows))
        spread = np.maximum(variances, 0)  # rounding leaves some a little below
        basis = directions / np.sqrt(spread + shrinkage * max(float(spread.mean()), 1e-12))
        return cls(mean.astype(np.float32), basis.astype(np.float32))

    def __call__(self, rows: FloatArray) -> FloatArray:
        result: NDArray[Any] = (rows - self.mean) @ self.basis
        return result.astype(np.float32, copy=False)


def fit_maps(pairs: Pairs, configs: Sequence[ContrastConfig], seed: int = 0) -> list[dict[str, FloatArray]]:
    """Both maps by each of several configs, as arrays of a `Space`; what configs have in common is solved once.

    Args:
        pairs: What to learn from.
        configs: The recipes.
        seed: Order of the pairs, choice of views and sentences, dropout.
    """
    by_config: dict[int, dict[str, FloatArray]] = {}
    for shrinkage in dict.fromkeys(config.shrinkage for config in configs):
        whitenings = [_Whitening.of(side, shrinkage) for side in (_flat(pairs.pictures), pairs.words)]
        views, width = pairs.pictures.shape[1], whitenings[0].basis.shape[1]
        pictures = whitenings[0](_flat(pairs.pictures)).reshape(-1, views, width)
        whitened = Pairs(pictures, whitenings[1](pairs.words), pairs.owner, pairs.groups)
        mean_views = pictures.mean(1)[pairs.owner]
        left, shared, right = np.linalg.svd(mean_views.T @ whitened.words / len(pairs.owner), full_matrices=False)
        for number, config in enumerate(configs):
            if config.shrinkage == shrinkage:
                solved: list[NDArray[Any]] = [
                    side[:, : config.width] * shared[: config.width] ** 0.5 for side in (left, right.T)
                ]
                maps = _contrasted(whitened, solved, config, seed) if config.epochs else solved
                by_config[number] = _arrays(whitenings, maps)
    return [by_config[number] for number in range(len(configs))]


def _flat(pictures: FloatArray) -> FloatArray:
    return pictures.reshape(-1, pictures.shape[2])


def _arrays(whitenings: Sequence[_Whitening], maps: Sequence[NDArray[Any]]) -> dict[str, FloatArray]:
    """Maps of whitened features → maps of features, of such a size that float16 holds them well."""
    arrays: dict[str, FloatArray] = {}
    for side, whitening, of_whitened in zip(("image", "text"), whitenings, maps, strict=True):
        weight = (whitening.basis @ of_whitened).T
        bias = -weight @ whitening.mean
        size = max(np.abs(weight).max(), np.abs(bias).max(), 1e-12)  # a vector's length does not matter
        arrays |= {
            f"{side}.weight": (weight / size).astype(np.float32),
            f"{side}.bias": (bias / size).astype(np.float32),
        }
    return arrays


def _contrasted(pairs: Pairs, start: Sequence[NDArray[Any]], config: ContrastConfig, seed: int) -> list[NDArray[Any]]:
    """Both maps, trained from `start` on whitened features."""
    chance = np.random.default_rng(seed)
    torch.manual_seed(seed)
    features = (pairs.pictures[:, 0], pairs.words)
    # Vectors of mean square length 1, so that one learning rate suits every start.
    scaled = [side / np.sqrt(((x @ side) ** 2).sum(1).mean()) for side, x in zip(start, features, strict=True)]
    maps = [nn.Parameter(torch.from_numpy(side.astype(np.float32))) for side in scaled]
    sharpness = nn.Parameter(torch.tensor(-np.log(config.temperature), dtype=torch.float32))
    groups = [{"params": maps, "weight_decay": config.weight_decay}, {"params": [sharpness], "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98))
    batches = _batches(pairs, config, chance)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, config.learning_rate, total_steps=len(batches), pct_start=0.1, cycle_momentum=False
    )
    for pictures, words in batches:
        views = pairs.pictures[pictures, chance.integers(pairs.pictures.shape[1], size=len(pictures))]
        sides = [
            normalize(dropout(torch.from_numpy(x), config.dropout) @ side, dim=1)
            for x, side in zip((views, pairs.words[words]), maps, strict=True)
        ]
        loss = contrast(sides[0], sides[1], torch.from_numpy(pairs.groups[pictures]), sharpness)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            sharpness.clamp_(max=SHARPEST)
    return [side.detach().numpy() for side in maps]


def contrast(pictures: Tensor, words: Tensor, groups: Tensor, sharpness: Tensor) -> Tensor:
    """CLIP's loss, scalar: cross-entropy of the right picture for each sentence and the other way round, halved.

    Args:
        pictures: `[n, d]` of length 1.
        words: `[n, d]` of length 1; row i belongs to row i of `pictures`.
        groups: int64 `[n]`; all pairs of a row's group are right for it, in equal shares.
        sharpness: Log of the factor on cosines.
    """
    near = sharpness.exp() * pictures @ words.T
    right = (groups[:, None] == groups[None, :]).to(near.dtype)
    shares = right / right.sum(1, keepdim=True)  # symmetric: as many are right for a picture as for its sentence
    return (cross_entropy(near, shares) + cross_entropy(near.T, shares)) / 2


def _batches(pairs: Pairs, config: ContrastConfig, chance: np.random.Generator) -> list[tuple[IntArray, IntArray]]:
    """Rows of pictures, each with one of its sentences, every epoch in a new order; a rest that fills none waits."""
    n = len(pairs.pictures)
    size = min(config.batch, n)
    order = np.argsort(pairs.owner, kind="stable")
    counts = np.bincount(pairs.owner, minlength=n)
    first = np.cumsum(counts) - counts
    batches = []
    for _ in range(config.epochs):
        shuffled = chance.permutation(n)
        for begin in range(0, n - size + 1, size):
            rows = shuffled[begin : begin + size]
            batches.append((rows, order[first[rows] + chance.integers(counts[rows])]))
    return batches
