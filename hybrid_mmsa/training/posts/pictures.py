"""Labelled pictures for the image tower: decoded once, changed a little each time they are seen. Knows no models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from ...errors import InputError
from ...inputs import DRAFT_PIXELS, read_image, to_pixels

__all__ = ["PictureRow", "augment", "read_pictures"]


@dataclass(frozen=True, slots=True, eq=False)
class PictureRow:
    """A picture to train on: uint8 `[side, side, 3]`, and a class index per task it has a label for."""

    id: str
    pixels: NDArray[np.uint8]
    labels: Mapping[str, int]


def read_pictures(rows: Iterable[tuple[str, Any, Mapping[str, int]]], side: int) -> tuple[list[PictureRow], list[str]]:
    """Decode `(id, path, labels)` rows as serving does, squashed to `side`.

    Returns:
        The rows that could be read, and a line on each that could not.
    """
    good, bad = [], []
    for id_, path, labels in rows:
        try:
            good.append(PictureRow(id_, to_pixels(read_image(Path(path), draft=DRAFT_PIXELS), side), labels))
        except InputError as error:
            bad.append(f"{id_}: {error}")
    return good, bad


def augment(pixels: Tensor, side: int, seed: int) -> Tensor:
    """A random crop (60-100 % of each axis), mirror, brightness, contrast and saturation for each picture.

    Args:
        pixels: uint8 `[n, height, width, 3]`.
        side: Side of the result in pixels.
        seed: Equal seeds give equal results.

    Returns:
        float32 `[n, 3, side, side]` in 0..255.
    """
    chance = torch.Generator().manual_seed(seed)
    n = len(pixels)
    scale = 0.6 + 0.4 * torch.rand(n, 2, generator=chance)
    shift = (1 - scale) * (2 * torch.rand(n, 2, generator=chance) - 1)
    mirror = torch.where(torch.rand(n, generator=chance) < 0.5, -1.0, 1.0)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1], theta[:, :, 2] = scale[:, 0] * mirror, scale[:, 1], shift
    x = pixels.permute(0, 3, 1, 2).float()
    grid = affine_grid(theta, [n, 3, side, side], align_corners=False)
    x = grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    gain, contrast, saturation = (0.75 + 0.5 * torch.rand(n, 1, 1, 1, generator=chance) for _ in range(3))
    x = x * gain
    x = (x - x.mean((1, 2, 3), keepdim=True)) * contrast + x.mean((1, 2, 3), keepdim=True)
    grey = x.mean(1, keepdim=True)
    return ((x - grey) * saturation + grey).clamp(0, 255)
