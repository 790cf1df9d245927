"""The vocabulary: the values that travel between rooms. It knows nothing of models, files or doors.

Arrays between rooms are numpy; `Sample` and `Features` are frozen dataclasses. What leaves the SDK (`Analysis`
and all inside it) is a frozen pydantic model that round-trips through JSON.
"""

from __future__ import annotations

from .evidence import Change, Explanation, Region, WordEffect
from .frozen import FrozenDict, FrozenMapping, FrozenModel
from .picture import EXPRESSIONS, Expression, Face, PictureReading, PictureWord, PixelBox, box_area
from .posts import Features, Sample
from .predictions import EmotionPrediction, Prediction, emotion_prediction, posteriors, prediction
from .results import (
    SCHEMA_VERSION,
    Analysis,
    Cue,
    LoraRef,
    Provenance,
    RouteDecision,
    RowError,
    Verdict,
    check_schema_version,
)
from .transcript import Role, SpokenWord, Utterance
from .words import (
    EMOTIONS,
    LABELS,
    PICTURE_SOURCES,
    POST_KINDS,
    SENSES,
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
    PictureSource,
    PostKind,
    Reason,
    Sense,
    Source,
    Task,
    TaskArrays,
    VerdictUse,
)

__all__ = [
    "EMOTIONS",
    "EXPRESSIONS",
    "LABELS",
    "PICTURE_SOURCES",
    "POST_KINDS",
    "SCHEMA_VERSION",
    "SENSES",
    "TASKS",
    "Analysis",
    "BoolArray",
    "Change",
    "Cue",
    "EmotionLabel",
    "EmotionPrediction",
    "ExplainLevel",
    "Explanation",
    "Expression",
    "Face",
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
    "PictureReading",
    "PictureSource",
    "PictureWord",
    "PixelBox",
    "PostKind",
    "Prediction",
    "Provenance",
    "Reason",
    "Region",
    "Role",
    "RouteDecision",
    "RowError",
    "Sample",
    "Sense",
    "Source",
    "SpokenWord",
    "Task",
    "TaskArrays",
    "Utterance",
    "Verdict",
    "VerdictUse",
    "WordEffect",
    "box_area",
    "check_schema_version",
    "emotion_prediction",
    "posteriors",
    "prediction",
]
