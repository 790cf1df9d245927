"""Pictures → what nano sees in them, worked out once and kept in memory. Knows no posts and no labels."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..inputs import DRAFT_PIXELS, read_image
from .loop import progress
from .nano_model import picture_features

__all__ = ["Pictures", "look_at"]

CHUNK = 64


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """What was seen.

    Attributes:
        places: Where each picture's features stand; those that could not be read are not in it.
        features: float16 `[n, patches, channels]`, on the device of the model.
    """

    places: dict[Path, int]
    features: Tensor


def look_at(model: Any, image_processor: Any, paths: Sequence[Path]) -> Pictures:
    """What the picture side sees in each picture, read and squashed as the reasoner will.

    Args:
        model: As `make_model` made it.
        image_processor: As `make_image_processor` made it.
        paths: The pictures, each once.
    """

    def pixels(path: Path) -> Tensor | None:
        try:
            picture = read_image(path, draft=DRAFT_PIXELS)
        except InputError:
            return None
        read: Tensor = image_processor(images=[picture], return_tensors="pt")["pixel_values"]
        return read

    places: dict[Path, int] = {}
    config = model.config.vision_config
    seen = [torch.empty(0, model.config.image_seq_length, config.hidden_size, dtype=torch.float16, device=model.device)]
    with ThreadPoolExecutor() as pool:  # decoding lets other threads run
        parts = [paths[start : start + CHUNK] for start in range(0, len(paths), CHUNK)]
        for _, part in progress(parts, 0, "pictures"):
            read = dict(zip(part, pool.map(pixels, part), strict=True))
            there = {path: values for path, values in read.items() if values is not None}
            if there:
                places |= {path: len(places) + place for place, path in enumerate(there)}
                seen.append(picture_features(model, torch.cat([*there.values()])))
    return Pictures(places, torch.cat(seen))
