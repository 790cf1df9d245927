"""Features → logits for every task: unimodal heads and the head that fuses them. Knows nothing of images or texts."""

from __future__ import annotations

from .head import FusionHead
from .numeric import log_softmax, sigmoid, softmax
from .strategies import STRATEGIES, Strategy

__all__ = ["STRATEGIES", "FusionHead", "Strategy", "log_softmax", "sigmoid", "softmax"]
