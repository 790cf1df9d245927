"""Features → logits for every task, and vectors in one space of words and pictures. Knows no images and no texts."""

from __future__ import annotations

from .head import FusionHead
from .numeric import log_softmax, sigmoid, softmax
from .space import SPACE_FILES, Space, usable_space
from .strategies import STRATEGIES, Strategy

__all__ = [
    "SPACE_FILES",
    "STRATEGIES",
    "FusionHead",
    "Space",
    "Strategy",
    "log_softmax",
    "sigmoid",
    "softmax",
    "usable_space",
]
