"""The vocabulary: the values that travel between rooms. It knows nothing of models, files or doors.

Arrays between rooms are numpy; `Sample` and `Features` are frozen dataclasses. What leaves the SDK (`Analysis`
and all inside it) is a frozen pydantic model that round-trips through JSON.
"""

from __future__ import annotations

from .evidence import Change, Explanation, Region, WordEffect
from .frozen import FrozenDict, FrozenMapping, FrozenModel
from .posts import Features, Sample
from .results import (
    SCHEMA_VERSION,
    Analysis,
    Cue,
    EmotionPrediction,
    LoraRef,
    Prediction,
    Provenance,
    RouteDecision,
    RowError,
    Verdict,
    check_schema_version,
    emotion_prediction,
    prediction,
)
from .words import (
    EMOTIONS,
    LABELS,
    TASKS,
    BoolArray,
    EmotionLabel,
    ExplainLevel,
    FloatArray,
    ImageSource,
    IntArray,
    Label,
    Modality,
    Mode,
    Reason,
    Task,
    TaskArrays,
    VerdictUse,
)

__all__ = [
    "EMOTIONS",
    "LABELS",
    "SCHEMA_VERSION",
    "TASKS",
    "Analysis",
    "BoolArray",
    "Change",
    "Cue",
    "EmotionLabel",
    "EmotionPrediction",
    "ExplainLevel",
    "Explanation",
    "Features",
    "FloatArray",
    "FrozenDict",
    "FrozenMapping",
    "FrozenModel",
    "ImageSource",
    "IntArray",
    "Label",
    "LoraRef",
    "Modality",
    "Mode",
    "Prediction",
    "Provenance",
    "Reason",
    "Region",
    "RouteDecision",
    "RowError",
    "Sample",
    "Task",
    "TaskArrays",
    "Verdict",
    "VerdictUse",
    "WordEffect",
    "check_schema_version",
    "emotion_prediction",
    "prediction",
]
