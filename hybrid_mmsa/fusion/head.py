"""The fusion head: linear heads per side and task, and a strategy that joins the two sides. Pure numpy.

Each side's opinions on the sentiment, `sentiment` (what it says by itself) and `joint` (what it makes of the whole
post), are linear in its features; `strategies` says how they are joined. A task that the model has no head for gets
NaN for every post.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..errors import ArtefactError
from ..types import EMOTIONS, LABELS, BoolArray, Features, FloatArray, Modality, TaskArrays
from .strategies import STRATEGIES, Sides, Strategy

__all__ = ["IMAGE_HEADS", "OPTIONAL_HEADS", "TEXT_HEADS", "FusionHead"]

TEXT_HEADS: Mapping[str, int] = {
    "sentiment": len(LABELS),
    "joint": len(LABELS),
    "sarcasm": 2,
    "emotion": len(EMOTIONS),
    "target": len(LABELS),
}
"""Classes per linear head on the text features. `joint` guesses the whole post's label; `target` reads a text with its
target."""
IMAGE_HEADS: Mapping[str, int] = {"sentiment": len(LABELS), "joint": len(LABELS)}
OPTIONAL_HEADS = ("text.sarcasm", "text.emotion", "text.target")
"""Heads a model may lack: not all posts to train on have such labels."""


class FusionHead:
    """Logits for all tasks from features.

    Args:
        arrays: float32 arrays by name: `text.<task>.weight|bias`, `image.<task>.weight|bias` and those of the
            strategy. Each of `OPTIONAL_HEADS` may be left out whole.
        strategy: How the sides are joined; a key of `STRATEGIES`.

    Raises:
        ArtefactError: No such strategy; an array is missing or has the wrong shape.
    """

    def __init__(self, arrays: Mapping[str, FloatArray], strategy: Strategy = "gated") -> None:
        if strategy not in STRATEGIES:
            raise ArtefactError(f"fusion head: no strategy {strategy!r}; there are {', '.join(STRATEGIES)}")
        self.strategy: Strategy = strategy
        self.arrays = {name: np.asarray(value, dtype=np.float32) for name, value in arrays.items()}
        expected: dict[str, tuple[int, ...]] = dict(STRATEGIES[strategy].shapes)
        heads_by_side: dict[Modality, Mapping[str, int]] = {"text": TEXT_HEADS, "image": IMAGE_HEADS}
        for side, heads in heads_by_side.items():
            width = self.width(side)
            for task, classes in heads.items():
                name = f"{side}.{task}"
                if name not in OPTIONAL_HEADS or self.has(name):
                    expected |= {f"{name}.weight": (classes, width), f"{name}.bias": (classes,)}
        for name, shape in expected.items():
            if name not in self.arrays or self.arrays[name].shape != shape:
                actual = self.arrays[name].shape if name in self.arrays else "none"
                raise ArtefactError(f"fusion head: {name} has shape {actual}, expected {shape}")

    def has(self, name: str) -> bool:
        """Whether there is a linear head of this name, such as `"text.emotion"`."""
        return f"{name}.weight" in self.arrays or f"{name}.bias" in self.arrays

    @property
    def answers_targets(self) -> bool:
        """Whether there is a head for the sentiment towards a target."""
        return self.has("text.target")

    def width(self, side: Modality) -> int:
        """Number of features of a side that the heads read; 0 without a head for it."""
        weight = self.arrays.get(f"{side}.sentiment.weight")
        return weight.shape[1] if weight is not None and weight.ndim == 2 else 0

    def logits(self, features: Features) -> TaskArrays:
        """Logits float32 `[n, classes]` for every task.

        NaN where a side, or the target, that the task needs is missing, and where there is no head for it.
        """
        text, image = features.has_text, features.has_image
        opinions_text = self._opinions("text", features.text_features)
        opinions_image = self._opinions("image", features.image_features)
        absent = np.zeros_like(text)
        return {
            "sentiment": _blank(self.fuse(opinions_text, opinions_image, text, image), text & image),
            "text_sentiment": _blank(opinions_text[0], text),
            "image_sentiment": _blank(opinions_image[0], image),
            "target_sentiment": _blank(self._linear("text.target", features.text_features), features.has_target),
            "text_alone": _blank(self.fuse(opinions_text, opinions_image, text, absent), text),
            "image_alone": _blank(self.fuse(opinions_text, opinions_image, absent, image), image),
            "sarcasm": _blank(self._linear("text.sarcasm", features.text_features), text),
            "emotion": _blank(self._linear("text.emotion", features.text_features), text),
        }

    def fuse(
        self,
        text: tuple[FloatArray, FloatArray],
        image: tuple[FloatArray, FloatArray],
        has_text: BoolArray,
        has_image: BoolArray,
    ) -> FloatArray:
        """Fused logits `[n, 3]` from each side's (`sentiment`, `joint`) logits and which sides are read."""
        sides = Sides.of(text, image, has_text, has_image)
        return STRATEGIES[self.strategy].fuse(self.arrays, sides)

    def prior_logits(self) -> FloatArray:
        """Fused logits `[1, 3]` with neither side read: what the head expects of any post."""
        zeros, absent = np.zeros((1, 3), np.float32), np.zeros(1, dtype=bool)
        return self.fuse((zeros, zeros), (zeros, zeros), absent, absent)

    def _opinions(self, side: str, features: FloatArray) -> tuple[FloatArray, FloatArray]:
        return self._linear(f"{side}.sentiment", features), self._linear(f"{side}.joint", features)

    def _linear(self, name: str, features: FloatArray) -> FloatArray:
        if not self.has(name):
            return np.full((len(features), TEXT_HEADS[name.removeprefix("text.")]), np.nan, np.float32)
        result: FloatArray = features @ self.arrays[f"{name}.weight"].T + self.arrays[f"{name}.bias"]
        return result


def _blank(values: FloatArray, known: BoolArray) -> FloatArray:
    return np.where(known[:, None], values, np.float32(np.nan)).astype(np.float32)
