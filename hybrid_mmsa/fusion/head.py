"""The fusion head: one linear head per side and task, and a gated head that joins the two sides. Pure numpy.

Each side speaks through two three-way opinions that are linear in its features: what it says by itself
(`sentiment`), and what it makes of the whole post (`joint`). With their log-probabilities `e_t`, `e_i` and `p_t`, `p_i`
the `sentiment` probabilities, the fused logits are

    g_t · A_t e_t  +  g_i · A_i e_i  +  V (p_t ⊗ p_i)  +  b,      (g_t, g_i) = 2σ(G [e_t, e_i] + c)

With gates 1, `A` picking `joint`, and V = 0 this is a product of experts (Hinton 2002); gates are those of gated
multimodal units (Arevalo et al. 2017, arXiv 1702.01992). A missing side has e = 0, gate 0 and uniform p, and the
head is trained with sides hidden at random, so either may be missing.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..errors import ArtefactError
from ..types import EMOTIONS, LABELS, BoolArray, Features, FloatArray, TaskArrays
from .numeric import log_softmax, sigmoid

__all__ = ["FUSION_SHAPES", "IMAGE_HEADS", "TEXT_HEADS", "FusionHead"]

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

SIDE = 2 * len(LABELS)
FUSION_SHAPES: Mapping[str, tuple[int, ...]] = {
    "fusion.text": (3, SIDE),
    "fusion.image": (3, SIDE),
    "fusion.gate": (2, 2 * SIDE),
    "fusion.gate_bias": (2,),
    "fusion.pair": (3, 9),
    "fusion.bias": (3,),
}
"""A_t, A_i, G, c, V and b of the gated head."""


class FusionHead:
    """Logits for all tasks from features.

    Args:
        arrays: float32 arrays by name: `text.<task>.weight|bias`, `image.<task>.weight|bias` and `FUSION_SHAPES`.

    Raises:
        ArtefactError: An array is missing or has the wrong shape.
    """

    def __init__(self, arrays: Mapping[str, FloatArray]) -> None:
        self.arrays = {name: np.asarray(value, dtype=np.float32) for name, value in arrays.items()}
        widths = {side: self._width(side) for side in ("text", "image")}
        wanted: dict[str, tuple[int, ...]] = dict(FUSION_SHAPES)
        for side, heads in (("text", TEXT_HEADS), ("image", IMAGE_HEADS)):
            wanted |= {f"{side}.{task}.weight": (n, widths[side]) for task, n in heads.items()}
            wanted |= {f"{side}.{task}.bias": (n,) for task, n in heads.items()}
        for name, shape in wanted.items():
            if name not in self.arrays or self.arrays[name].shape != shape:
                found = self.arrays[name].shape if name in self.arrays else "none"
                raise ArtefactError(f"fusion head: {name} has shape {found}, wanted {shape}")

    def _width(self, side: str) -> int:
        weight = self.arrays.get(f"{side}.sentiment.weight")
        return weight.shape[1] if weight is not None and weight.ndim == 2 else 0

    def logits(self, features: Features) -> TaskArrays:
        """Logits float32 `[n, classes]` for every task; NaN where a side, or the target, that it needs is missing."""
        text, image = features.has_text, features.has_image
        evidence_text = self._evidence("text", features.text_features)
        evidence_image = self._evidence("image", features.image_features)
        nobody = np.zeros_like(text)
        return {
            "sentiment": _blank(self.fuse(evidence_text, evidence_image, text, image), text & image),
            "text_sentiment": _blank(evidence_text[0], text),
            "image_sentiment": _blank(evidence_image[0], image),
            "target_sentiment": _blank(self._linear("text.target", features.text_features), features.has_target),
            "text_alone": _blank(self.fuse(evidence_text, evidence_image, text, nobody), text),
            "image_alone": _blank(self.fuse(evidence_text, evidence_image, nobody, image), image),
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
        """Fused logits `[n, 3]` from each side's (`sentiment`, `joint`) logits and which sides are seen."""
        evidence_text, said_text = _opinion(text, has_text)
        evidence_image, said_image = _opinion(image, has_image)
        both = np.concatenate([evidence_text, evidence_image], axis=1)
        gates = 2 * sigmoid(both @ self.arrays["fusion.gate"].T + self.arrays["fusion.gate_bias"])
        pair = (said_text[:, :, None] * said_image[:, None, :]).reshape(len(both), 9)
        result: FloatArray = (
            gates[:, :1] * (evidence_text @ self.arrays["fusion.text"].T)
            + gates[:, 1:] * (evidence_image @ self.arrays["fusion.image"].T)
            + pair @ self.arrays["fusion.pair"].T
            + self.arrays["fusion.bias"]
        )
        return result

    def prior_logits(self) -> FloatArray:
        """Fused logits `[1, 3]` with neither side seen: what the head expects of any post."""
        zeros, nobody = np.zeros((1, 3), np.float32), np.zeros(1, dtype=bool)
        return self.fuse((zeros, zeros), (zeros, zeros), nobody, nobody)

    def _evidence(self, side: str, features: FloatArray) -> tuple[FloatArray, FloatArray]:
        return self._linear(f"{side}.sentiment", features), self._linear(f"{side}.joint", features)

    def _linear(self, name: str, features: FloatArray) -> FloatArray:
        result: FloatArray = features @ self.arrays[f"{name}.weight"].T + self.arrays[f"{name}.bias"]
        return result


def _opinion(logits: tuple[FloatArray, FloatArray], seen: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Log-probabilities `[n, 6]` of one side's two opinions, and the probabilities `[n, 3]` of the first."""
    sentiment, joint = (log_softmax(values) for values in logits)
    evidence = np.where(seen[:, None], np.concatenate([sentiment, joint], axis=1), 0)
    said = np.where(seen[:, None], np.exp(sentiment), np.float32(1 / 3))
    return evidence.astype(np.float32), said.astype(np.float32)


def _blank(values: FloatArray, known: BoolArray) -> FloatArray:
    return np.where(known[:, None], values, np.float32(np.nan)).astype(np.float32)
