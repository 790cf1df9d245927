"""Four ways to join what text and picture say, each a small pure function. Knows nothing of features or tasks.

Each side speaks through two three-way opinions: what it says by itself (`sentiment`), and what it makes of the whole
post (`joint`). With their log-probabilities `e_t`, `e_i` `[6]`, the probabilities `p_t`, `p_i` `[3]` of the first, and
the opinions one by one `e_1 … e_4` `[3]`, the fused logits are

    gated      g_t · A_t e_t + g_i · A_i e_i + V (p_t ⊗ p_i) + b,      (g_t, g_i) = 2σ(G [e_t, e_i] + c)
    attention  m Σ_k α_k A_k e_k + b,      α = softmax(Q [e_t, e_i] + c) over the m opinions that are there
    early      A [e_t, e_i] + M (absent_t, absent_i) + b
    late       Σ_k w_k e_k + b,      a number w_k per opinion

With gates 1, `A` picking `joint`, and V = 0 the gated head is a product of experts (Hinton 2002); gates are those of
gated multimodal units (Arevalo et al. 2017, arXiv 1702.01992). A missing side has e = 0 and uniform p, and all are
fitted with sides hidden, so either may be missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..types import BoolArray
from .numeric import log_softmax, sigmoid, softmax

__all__ = ["STRATEGIES", "Joining", "Opinions", "Sides", "Strategy", "attention", "gates"]

Strategy: TypeAlias = Literal["early", "late", "attention", "gated"]
Array: TypeAlias = NDArray[Any]
Opinions: TypeAlias = tuple[Array, Array]
"""Logits `[n, 3]` of one side: what it says by itself, and what it makes of the whole post."""

_NEVER = -1e9


@dataclass(frozen=True, eq=False, kw_only=True)
class Sides:
    """What both sides of `n` posts say, in the float type of the logits it was made from.

    Attributes:
        text, image: Log-probabilities `[n, 6]` of both opinions; 0 where the side is missing.
        p_text, p_image: Probabilities `[n, 3]` of the first opinion; uniform where the side is missing.
        has_text, has_image: bool `[n]`.
    """

    text: Array
    image: Array
    p_text: Array
    p_image: Array
    has_text: BoolArray
    has_image: BoolArray

    @classmethod
    def of(cls, text: Opinions, image: Opinions, has_text: BoolArray, has_image: BoolArray) -> Sides:
        """From each side's logits and which sides are seen."""
        (evidence_text, p_text), (evidence_image, p_image) = (
            _evidence_of(text, has_text),
            _evidence_of(image, has_image),
        )
        return cls(
            text=evidence_text,
            image=evidence_image,
            p_text=p_text,
            p_image=p_image,
            has_text=has_text,
            has_image=has_image,
        )

    @cached_property
    def both(self) -> Array:
        """All evidence, `[n, 12]`."""
        return np.concatenate([self.text, self.image], axis=1)

    @cached_property
    def opinions(self) -> Array:
        """The four opinions one by one, `[4, n, 3]`."""
        return np.ascontiguousarray(self.both.reshape(-1, 4, 3).transpose(1, 0, 2))

    @cached_property
    def pair(self) -> Array:
        """What the two sides say together, `[n, 9]`."""
        return (self.p_text[:, :, None] * self.p_image[:, None, :]).reshape(-1, 9)

    @cached_property
    def absent(self) -> Array:
        """1 where a side is missing, `[n, 2]`."""
        return (~np.column_stack([self.has_text, self.has_image])).astype(self.text.dtype)


def _evidence_of(logits: Opinions, present: BoolArray) -> tuple[Array, Array]:
    sentiment, joint = (log_softmax(values) for values in logits)
    evidence = np.where(present[:, None], np.concatenate([sentiment, joint], axis=1), 0).astype(sentiment.dtype)
    return evidence, np.where(present[:, None], np.exp(sentiment), sentiment.dtype.type(1 / 3))


@dataclass(frozen=True, slots=True)
class Joining:
    """A strategy: the arrays it is made of, by name and shape, and how they join the sides into logits `[n, 3]`."""

    shapes: Mapping[str, tuple[int, ...]]
    fuse: Callable[[Mapping[str, Array], Sides], Array]


def gates(arrays: Mapping[str, Array], sides: Sides) -> Array:
    """How much each side counts in the gated head, `[n, 2]` in (0, 2)."""
    return 2 * sigmoid(sides.both @ arrays["fusion.gate"].T + arrays["fusion.gate_bias"])


def attention(arrays: Mapping[str, Array], sides: Sides) -> Array:
    """Weights `[n, 4]` of the opinions: their mean over those that are there is 1, and a missing side's are 0."""
    there = 1 - np.repeat(sides.absent, 2, axis=1)
    scores = sides.both @ arrays["fusion.query"].T + arrays["fusion.query_bias"]
    weights: Array = there.sum(1, keepdims=True) * softmax(np.where(there > 0, scores, scores.dtype.type(_NEVER)))
    return weights


def _gated(arrays: Mapping[str, Array], sides: Sides) -> Array:
    weights = gates(arrays, sides)
    result: Array = (
        weights[:, :1] * (sides.text @ arrays["fusion.text"].T)
        + weights[:, 1:] * (sides.image @ arrays["fusion.image"].T)
        + sides.pair @ arrays["fusion.pair"].T
        + arrays["fusion.bias"]
    )
    return result


def _attention(arrays: Mapping[str, Array], sides: Sides) -> Array:
    values = sides.opinions @ arrays["fusion.value"].transpose(0, 2, 1)
    result: Array = (attention(arrays, sides).T[:, :, None] * values).sum(0) + arrays["fusion.bias"]
    return result


def _early(arrays: Mapping[str, Array], sides: Sides) -> Array:
    result: Array = (
        sides.both @ arrays["fusion.all"].T + sides.absent @ arrays["fusion.absent"].T + arrays["fusion.bias"]
    )
    return result


def _late(arrays: Mapping[str, Array], sides: Sides) -> Array:
    result: Array = (sides.opinions * arrays["fusion.weights"][:, None, None]).sum(0) + arrays["fusion.bias"]
    return result


STRATEGIES: Mapping[Strategy, Joining] = MappingProxyType(
    {
        "early": Joining({"fusion.all": (3, 12), "fusion.absent": (3, 2), "fusion.bias": (3,)}, _early),
        "late": Joining({"fusion.weights": (4,), "fusion.bias": (3,)}, _late),
        "attention": Joining(
            {
                "fusion.query": (4, 12),
                "fusion.query_bias": (4,),
                "fusion.value": (4, 3, 3),
                "fusion.bias": (3,),
            },
            _attention,
        ),
        "gated": Joining(
            {
                "fusion.text": (3, 6),
                "fusion.image": (3, 6),
                "fusion.gate": (2, 12),
                "fusion.gate_bias": (2,),
                "fusion.pair": (3, 9),
                "fusion.bias": (3,),
            },
            _gated,
        ),
    }
)
