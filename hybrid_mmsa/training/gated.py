"""Fits the gated head on out-of-fold evidence, in torch. Knows nothing of towers or corpora.

The forward pass is `FusionHead.fuse` again, with gradients; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..fusion.head import FUSION_SHAPES
from ..types import LABELS, FloatArray, IntArray

__all__ = ["Evidence", "GatedConfig", "fit_gated"]


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Unimodal logits of `n` posts by towers that were not trained on them, each float32 `[n, 3]`, and gold labels.

    Attributes:
        text, image: What each side says by itself (`sentiment` heads).
        text_joint, image_joint: What each side makes of the whole post.
        labels: int64 `[n]`, the whole post's gold label.
    """

    text: FloatArray
    text_joint: FloatArray
    image: FloatArray
    image_joint: FloatArray
    labels: IntArray

    def take(self, rows: IntArray) -> Evidence:
        """Some rows, in the order given."""
        return Evidence(
            self.text[rows], self.text_joint[rows], self.image[rows], self.image_joint[rows], self.labels[rows]
        )


@dataclass(frozen=True, slots=True)
class GatedConfig:
    """How the gated head is fitted."""

    penalty: float = 0.003
    """L2 towards the product of experts, per post."""
    hidden: float = 0.25
    """Weight of each one-sided copy of the data: modality dropout, in expectation rather than by chance."""
    iterations: int = 200


def fit_gated(evidence: Evidence, config: GatedConfig | None = None) -> dict[str, FloatArray]:
    """The gated head's arrays (`FUSION_SHAPES`), by L-BFGS on the log-loss of whole, text-only and image-only posts.

    Deterministic: the start is the product of experts, and hidden sides are weighed, not drawn.
    """
    config = config or GatedConfig()
    start = _product_of_experts(evidence.labels)
    free = {name: torch.tensor(value, dtype=torch.float64, requires_grad=True) for name, value in start.items()}
    text, image = _side(evidence.text, evidence.text_joint), _side(evidence.image, evidence.image_joint)
    gold = torch.from_numpy(evidence.labels)
    hidden = _hidden(len(gold))
    views = [(text, image, 1.0), (text, hidden, config.hidden), (hidden, image, config.hidden)]
    optimiser = torch.optim.LBFGS(list(free.values()), max_iter=config.iterations, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = sum(
            (weight * torch.nn.functional.cross_entropy(_fuse(free, a, b), gold) for a, b, weight in views),
            start=torch.zeros((), dtype=torch.float64),
        )
        loss = loss + config.penalty * sum(((free[k] - torch.from_numpy(v)) ** 2).sum() for k, v in start.items())
        loss.backward()
        return loss

    optimiser.step(closure)
    return {name: value.detach().numpy().astype(np.float32) for name, value in free.items()}


def _product_of_experts(labels: IntArray) -> Mapping[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    """A = the `joint` opinion of each side, gates 1, and the prior counted once instead of twice."""
    start = {name: np.zeros(shape) for name, shape in FUSION_SHAPES.items()}
    start["fusion.text"][:, 3:] = start["fusion.image"][:, 3:] = 0.7 * np.eye(3)
    start["fusion.bias"] = -0.4 * np.log(np.bincount(labels, minlength=len(LABELS)) / len(labels))
    return start


Side = tuple[Tensor, Tensor]


def _side(sentiment: FloatArray, joint: FloatArray) -> Side:
    """Evidence `[n, 6]` and probabilities `[n, 3]`, as `FusionHead` forms them."""
    said, guess = (torch.log_softmax(torch.from_numpy(v).double(), 1) for v in (sentiment, joint))
    return torch.cat([said, guess], 1), said.exp()


def _hidden(n: int) -> Side:
    return torch.zeros(n, 6, dtype=torch.float64), torch.full((n, 3), 1 / 3, dtype=torch.float64)


def _fuse(free: Mapping[str, Tensor], text: Side, image: Side) -> Tensor:
    gates = 2 * torch.sigmoid(torch.cat([text[0], image[0]], 1) @ free["fusion.gate"].T + free["fusion.gate_bias"])
    pair = (text[1][:, :, None] * image[1][:, None, :]).flatten(1)
    opinions = gates[:, :1] * (text[0] @ free["fusion.text"].T) + gates[:, 1:] * (image[0] @ free["fusion.image"].T)
    return opinions + pair @ free["fusion.pair"].T + free["fusion.bias"]
