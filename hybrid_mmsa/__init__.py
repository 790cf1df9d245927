"""What does this post of text and picture feel, how sure are we, and why? `analyze()` answers."""

from __future__ import annotations

from ._version import __version__
from .analyzer import Analyzer, analyze
from .encoders import CachedEncoder, Encoder
from .errors import (
    ArtefactError,
    ClosedError,
    EncoderError,
    HybridError,
    InputError,
    MissingExtraError,
    NotFittedError,
    PluginError,
    PostError,
    ReasonerError,
    SchemaVersionError,
    ServerError,
)
from .inputs import Limits
from .integrations.frames import analyze_frame
from .reasoning import Reasoner, ReasonerConfig
from .routing import Policy
from .training.fitting import fit_adapter
from .training.heads.figures import AdapterFigures
from .types import (
    Analysis,
    Change,
    Cue,
    EmotionLabel,
    EmotionPrediction,
    Explanation,
    Features,
    Label,
    LoraRef,
    Modality,
    Prediction,
    Provenance,
    Reason,
    Region,
    RouteDecision,
    RowError,
    Sample,
    Verdict,
    VerdictUse,
    WordEffect,
)

__all__ = [
    "AdapterFigures",
    "Analysis",
    "Analyzer",
    "ArtefactError",
    "CachedEncoder",
    "Change",
    "ClosedError",
    "Cue",
    "EmotionLabel",
    "EmotionPrediction",
    "Encoder",
    "EncoderError",
    "Explanation",
    "Features",
    "HybridError",
    "InputError",
    "Label",
    "Limits",
    "LoraRef",
    "MissingExtraError",
    "Modality",
    "NotFittedError",
    "PluginError",
    "Policy",
    "PostError",
    "Prediction",
    "Provenance",
    "Reason",
    "Reasoner",
    "ReasonerConfig",
    "ReasonerError",
    "Region",
    "RouteDecision",
    "RowError",
    "Sample",
    "SchemaVersionError",
    "ServerError",
    "Verdict",
    "VerdictUse",
    "WordEffect",
    "__version__",
    "analyze",
    "analyze_frame",
    "fit_adapter",
]
