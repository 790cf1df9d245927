"""What does this post of text and picture feel, how sure are we, and why? `analyze()` answers."""

from __future__ import annotations

from ._version import __version__
from .analyzer import Analyzer, analyze
from .errors import (
    ArtefactError,
    HybridError,
    InputError,
    MissingExtraError,
    NotFittedError,
    PluginError,
    ReasonerError,
)
from .reasoning import ReasonerConfig
from .routing import Policy
from .types import (
    Analysis,
    EmotionPrediction,
    Explanation,
    Features,
    LoraRef,
    Prediction,
    Provenance,
    RouteDecision,
    RowError,
    Sample,
    Verdict,
)

__all__ = [
    "Analysis",
    "Analyzer",
    "ArtefactError",
    "EmotionPrediction",
    "Explanation",
    "Features",
    "HybridError",
    "InputError",
    "LoraRef",
    "MissingExtraError",
    "NotFittedError",
    "PluginError",
    "Policy",
    "Prediction",
    "Provenance",
    "ReasonerConfig",
    "ReasonerError",
    "RouteDecision",
    "RowError",
    "Sample",
    "Verdict",
    "__version__",
    "analyze",
]
