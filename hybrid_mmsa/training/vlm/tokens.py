"""Pictures → the tokens of a picture tower, read once and kept. Knows no words and no labels.

Nothing is learnt through a tower, so what it gives for a picture stays the same for all steps. Each channel is brought
to mean 0 and deviation 1 over all tokens, which lets a random projector learn in few steps; `folded` gives the weights
that take tokens as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ...inputs import DRAFT_PIXELS, read_image
from ...reasoning.models.llava import Tower
from ..common.loop import claim

__all__ = ["PictureTokens", "read_tokens"]

AT_A_TIME = 8
KEPT = "tokens.safetensors"
LEAST = 0.05
"""Of the mean deviation of all channels: what hardly varies is not blown up."""


@dataclass(frozen=True, slots=True, eq=False)
class PictureTokens:
    """Tokens of pictures.

    Attributes:
        tokens: float16 `[n, tokens, width]`, standardised.
        mean, deviation: float32 `[width]`, of the tokens as the tower gives them.
    """

    tokens: Tensor
    mean: Tensor
    deviation: Tensor

    def folded(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights of a projector of standardised tokens, for tokens as they are: linear_1 takes up both changes."""
        first = weights["linear_1.weight"] / self.deviation
        return {
            **weights,
            "linear_1.weight": first,
            "linear_1.bias": weights["linear_1.bias"] - first @ self.mean,
        }


def read_tokens(
    tower: Tower, pictures: Sequence[Any], folder: Path, advance: Callable[[], None] = lambda: None
) -> PictureTokens:
    """The tokens of pictures, from `folder` if they lie there.

    Args:
        tower: What reads them.
        pictures: As a `Sample` has them, not decoded or decoded.
        folder: Gets `tokens.safetensors`.
        advance: Called after every picture.

    Raises:
        InputError: A picture cannot be read, or tokens of other pictures or another tower lie in the folder.
    """
    claim(folder, {"tower": tower.hash, "pictures": [str(picture) for picture in pictures]})
    path = folder / KEPT
    if not path.is_file():
        found = []
        for start in range(0, len(pictures), AT_A_TIME):
            some = [read_image(picture, draft=DRAFT_PIXELS) for picture in pictures[start : start + AT_A_TIME]]
            found.append(tower.read(some).half())
            for _ in some:
                advance()
        partial = path.with_suffix(".partial")
        save_file(_standardised(torch.cat(found)), partial)
        partial.replace(path)
    return PictureTokens(**load_file(path))


def _standardised(tokens: Tensor) -> dict[str, Tensor]:
    width = tokens.shape[-1]
    total, squares = torch.zeros(width, dtype=torch.float64), torch.zeros(width, dtype=torch.float64)
    for part in tokens.split(256):
        values = part.double().flatten(0, 1)
        total += values.sum(0)
        squares += values.square().sum(0)
    count = tokens.shape[0] * tokens.shape[1]
    mean = total / count
    deviation = (squares / count - mean.square()).clamp(min=0).sqrt()
    deviation = deviation.clamp(min=LEAST * float(deviation.mean()))
    mean, deviation = mean.float(), deviation.float()
    for part in tokens.split(256):
        part.copy_(((part.float() - mean) / deviation).half())
    return {"tokens": tokens, "mean": mean, "deviation": deviation}
