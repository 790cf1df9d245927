"""nano's `pictures` stage: what it sees in every picture, worked out once. Knows no posts and no labels."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ...errors import InputError
from ...inputs import DRAFT_PIXELS, read_image
from ..common.loop import claim, progress
from .model import picture_features

__all__ = ["Pictures", "look_at"]

CHUNK = 64
SEEN = "features.safetensors"


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """What was seen.

    Attributes:
        places: Where each picture's features stand; those that could not be read are not in it.
        features: float16 `[n, patches, channels]`, on the device of the model.
    """

    places: dict[Path, int]
    features: Tensor


def look_at(model: Any, image_processor: Any, paths: Sequence[Path], folder: Path) -> Pictures:
    """What the picture side sees in each picture, read and squashed as the reasoner will; from disk if it is there.

    Args:
        model: As `make_model` made it.
        image_processor: As `make_image_processor` made it.
        paths: The pictures, each once.
        folder: The stage's folder. What is seen takes 64 kB a picture.
    """
    claim(folder, {"stage": folder.name, "pictures": [str(path) for path in paths]})
    if not (folder / SEEN).exists():
        pictures = _seen(model, image_processor, paths)
        rows = {path: row for row, path in enumerate(paths)}
        found = torch.tensor([rows[path] for path in pictures.places], dtype=torch.long)
        save_file({"features": pictures.features.cpu(), "rows": found}, folder / f"{SEEN}.partial")
        (folder / f"{SEEN}.partial").replace(folder / SEEN)
    kept = load_file(folder / SEEN)
    places = {paths[row]: place for place, row in enumerate(kept["rows"].tolist())}
    return Pictures(places, kept["features"].to(model.device))


def _seen(model: Any, image_processor: Any, paths: Sequence[Path]) -> Pictures:
    """What is seen in the pictures that can be read, in their order."""

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
