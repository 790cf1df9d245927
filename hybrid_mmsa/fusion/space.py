"""One space for words and pictures: features → vectors whose cosine says how well they go together. Pure numpy.

A linear map per side, then length 1: what CLIP does on top of its towers (Radford et al. 2021, arXiv 2103.00020). Knows
nothing of labels, and not how the maps were fitted. A space carries what it was measured to find on photos it had not
seen; one that hardly beats chance must not be used.

    align.safetensors   text.weight, text.bias, image.weight, image.bias in float16
    align.json          the encoder and its hash, what it was fitted on, and what it finds
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from ..errors import ArtefactError
from ..types import Features, FloatArray

__all__ = ["SPACE_FILES", "TIMES_CHANCE", "Space", "usable_space"]

SPACE_FILES = ("align.safetensors", "align.json")
TIMES_CHANCE = 5
"""How many times as often as by chance the other side must be among the first ten, both ways, to use a space."""
_WAYS = ("words_to_picture", "picture_to_words")
_TINY = np.float32(1e-12)


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """Both maps, and what is known of them.

    Attributes:
        arrays: float32: `text.weight` `[d, d_text]`, `image.weight` `[d, d_image]`, `text.bias` and `image.bias` `[d]`.
        facts: For `align.json`: `encoder_hash`, and under `found` the shares of held-out pairs whose other side is
            among the first ten, `words_to_picture` and `picture_to_words`, and what `chance` would give.

    Raises:
        ArtefactError: An array or a fact is missing, or has the wrong shape.
    """

    arrays: Mapping[str, FloatArray]
    facts: Mapping[str, Any]

    def __post_init__(self) -> None:
        weights = [self.arrays.get(f"{side}.weight", np.zeros(0)) for side in ("text", "image")]
        biases = [self.arrays.get(f"{side}.bias", np.zeros(0)) for side in ("text", "image")]
        shapes = [w.shape for w in weights], [b.shape for b in biases]
        width = weights[0].shape[0]
        if {w.ndim for w in weights} != {2} or {w.shape[0] for w in weights} != {width} or shapes[1] != [(width,)] * 2:
            raise ArtefactError(f"the space of words and pictures has weights {shapes[0]} and biases {shapes[1]}")
        recall = self.facts.get("found", {})
        if missing := {"chance", *_WAYS} - set(recall):
            raise ArtefactError(f"the space of words and pictures does not say its {', '.join(sorted(missing))}")

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return int(self.arrays["text.bias"].shape[0])

    def sides(self, features: Features) -> tuple[FloatArray, FloatArray]:
        """Words and picture of each post by themselves, float32 `[n, d]` of length 1; zero where a side is missing."""
        words = self._map("text", features.text_features) * features.has_text[:, None]
        pictures = self._map("image", features.image_features) * features.has_image[:, None]
        return words.astype(np.float32), pictures.astype(np.float32)

    def embed(self, features: Features) -> FloatArray:
        """One vector a post, float32 `[n, d]` of length 1: the mean of its sides, scaled; NaN where there is none."""
        words, pictures = self.sides(features)
        vectors = _unit(words + pictures)
        vectors[~(features.has_text | features.has_image)] = np.nan
        return vectors

    def _map(self, side: str, features: FloatArray) -> FloatArray:
        weight = self.arrays[f"{side}.weight"]
        if features.shape[1] != weight.shape[1]:
            raise ArtefactError(
                f"the space reads {weight.shape[1]} {side} features, the encoder gives {features.shape[1]}"
            )
        return _unit(features @ weight.T + self.arrays[f"{side}.bias"])

    def save(self, folder: Path) -> None:
        """Write both files into an adapter's folder."""
        save_file(
            {name: np.ascontiguousarray(a, np.float16) for name, a in self.arrays.items()}, folder / SPACE_FILES[0]
        )
        (folder / SPACE_FILES[1]).write_text(json.dumps(dict(self.facts), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Space | None:
        """Read both files; `None` where there are none.

        Raises:
            ArtefactError: Only one of them is there, or they do not make a space.
        """
        there = [(folder / name).is_file() for name in SPACE_FILES]
        if not any(there):
            return None
        if not all(there):
            raise ArtefactError(f"{folder} holds one of {' and '.join(SPACE_FILES)}; both are wanted")
        facts = json.loads((folder / SPACE_FILES[1]).read_text(encoding="utf-8"))
        return cls({k: v.astype(np.float32) for k, v in load_file(folder / SPACE_FILES[0]).items()}, facts)


def usable_space(space: Space | None, model: str, encoder_hash: str) -> Space:
    """The space of a model, if it may be used.

    Args:
        space: The model's, if it has one.
        model: The model's name, for the errors.
        encoder_hash: Of the model's encoder.

    Raises:
        ArtefactError: There is none, it belongs to another encoder, or it finds too little; see `TIMES_CHANCE`.
    """
    if space is None:
        raise ArtefactError(
            f"the model {model!r} has no space of words and pictures; `hybrid-mmsa train align` fits one"
        )
    if space.facts.get("encoder_hash") != encoder_hash:
        raise ArtefactError(
            f"the space of {model!r} was fitted to encoder {str(space.facts.get('encoder_hash'))[:12]}…, the model "
            f"has {encoder_hash[:12]}…; fit it again with `hybrid-mmsa train align`"
        )
    recall = space.facts["found"]
    least = TIMES_CHANCE * recall["chance"]
    if not all(recall[way] >= least for way in _WAYS):  # not `any(<)`: NaN must be refused as well
        share = min(recall[way] for way in _WAYS)
        raise ArtefactError(
            f"the space of {model!r} is not to be used: of held-out captioned photos {share:.1%} are among the first "
            f"ten, and {least:.1%} ({TIMES_CHANCE} times chance) is wanted; fit it on more photos"
        )
    return space


def _unit(rows: FloatArray) -> FloatArray:
    scaled: FloatArray = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), _TINY)
    return scaled.astype(np.float32)
