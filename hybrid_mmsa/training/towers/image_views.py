"""Pictures as the trunk of the image tower left them, each in several views: worked out once. Knows no corpora."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from safetensors.numpy import load_file, save_file
from torch import Tensor

from ..common.loop import claim
from ..posts.pictures import PictureRow, augment
from .image_tower import ImageTower

__all__ = ["ImageViews", "read_views"]

BATCH = 32


@dataclass(frozen=True, slots=True, eq=False)
class ImageViews:
    """Pictures, and for each the trunk's maps of its views, float16 `[views, n, channels, rows, columns]`."""

    rows: Sequence[PictureRow]
    maps: Sequence[NDArray[np.float16]]

    def view(self, number: int, rows: NDArray[np.int64]) -> Tensor:
        """One view of some pictures, float32 `[rows, channels, rows, columns]`."""
        maps = torch.from_numpy(self.maps[number % len(self.maps)][rows]).float()
        return maps.contiguous(memory_format=torch.channels_last)


def read_views(tower: ImageTower, rows: Sequence[PictureRow], folder: Path, *, views: int, side: int) -> ImageViews:
    """Maps of randomly changed pictures; each view is a file in `folder`, and is kept when it is there.

    Args:
        tower: Its trunk is used.
        rows: The pictures.
        folder: Where the views go.
        views: How many of each picture.
        side: What they are cropped to, in pixels.
    """
    claim(folder, {"frozen": tower.frozen, "pictures": [row.id for row in rows], "side": side})
    maps = []
    for number in range(views):
        path = folder / f"{number}.safetensors"
        if not path.exists():
            save_file({"maps": _maps(tower, rows, side, number)}, path.with_suffix(".partial"))
            path.with_suffix(".partial").replace(path)
        maps.append(load_file(path)["maps"])
    return ImageViews(rows, maps)


def _maps(tower: ImageTower, rows: Sequence[PictureRow], side: int, number: int) -> NDArray[np.float16]:
    parts = []
    starts = range(0, len(rows), BATCH)
    with torch.inference_mode():
        for start in track(starts, f"view {number}", console=Console(stderr=True), transient=True):
            pixels = np.stack([row.pixels for row in rows[start : start + BATCH]])
            seed = 1_000_003 * number + start
            parts.append(tower.trunk(augment(torch.from_numpy(pixels), side, seed)).half().contiguous().numpy())
    return np.concatenate(parts)
