"""Labels with their calibrated probabilities, as values. Knows nothing of what they were predicted from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from .frozen import FrozenMapping, FrozenModel
from .words import EMOTIONS, LABELS, EmotionLabel, FloatArray, Label

__all__ = ["EmotionPrediction", "Prediction", "emotion_prediction", "posteriors", "prediction"]


class Prediction(FrozenModel):
    """A sentiment with its calibrated probabilities; `confidence` is the largest of them."""

    label: Label
    probabilities: FrozenMapping[Label, float] = Field(description="Calibrated, summing to 1.")
    confidence: float = Field(ge=0, le=1)


class EmotionPrediction(FrozenModel):
    """The strongest of four emotions (TweetEval's) the words express, given that they express one."""

    label: EmotionLabel
    probabilities: FrozenMapping[EmotionLabel, float] = Field(description="Calibrated, summing to 1.")
    confidence: float = Field(ge=0, le=1)


def prediction(probabilities: FloatArray) -> Prediction:
    """A `Prediction` from one row of probabilities in the order of `LABELS`."""
    best = int(np.argmax(probabilities))
    values = {label: float(p) for label, p in zip(LABELS, probabilities, strict=True)}
    return Prediction(label=LABELS[best], probabilities=values, confidence=values[LABELS[best]])


class _Judged(Protocol):
    """A prediction or a verdict."""

    @property
    def probabilities(self) -> Mapping[Label, float]: ...


def posteriors(answers: Sequence[_Judged]) -> NDArray[np.float64]:
    """The probabilities `[n, 3]` of predictions or verdicts, in the order of `LABELS`."""
    rows = [[answer.probabilities[label] for label in LABELS] for answer in answers]
    return np.array(rows, dtype=np.float64).reshape(-1, len(LABELS))


def emotion_prediction(probabilities: FloatArray) -> EmotionPrediction:
    """An `EmotionPrediction` from one row of probabilities in the order of `EMOTIONS`."""
    best = int(np.argmax(probabilities))
    values = {label: float(p) for label, p in zip(EMOTIONS, probabilities, strict=True)}
    return EmotionPrediction(label=EMOTIONS[best], probabilities=values, confidence=values[EMOTIONS[best]])
