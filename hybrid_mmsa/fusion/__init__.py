"""Features → logits for every task, and vectors in one space of words and pictures. Knows no images and no texts."""

from __future__ import annotations

from .affect import AFFECT, affect_vectors
from .head import FusionHead
from .numeric import log_softmax, sigmoid, softmax
from .sides import PresentSides, answer_from_sides
from .space import SPACE_FILES, Space, usable_space
from .strategies import STRATEGIES, Strategy

__all__ = [
    "AFFECT",
    "SPACE_FILES",
    "STRATEGIES",
    "FusionHead",
    "PresentSides",
    "Space",
    "Strategy",
    "affect_vectors",
    "answer_from_sides",
    "log_softmax",
    "sigmoid",
    "softmax",
    "usable_space",
]
