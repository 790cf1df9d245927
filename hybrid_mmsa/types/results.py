"""What comes out: predictions, decisions, verdicts, and the `Analysis` that holds them. Frozen, and JSON both ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from .evidence import Explanation, Result
from .words import EMOTIONS, LABELS, EmotionLabel, FloatArray, Label, Modality, Reason

SCHEMA_VERSION = "1.0"
"""Version of the `Analysis` JSON schema: the major part changes when a reader could break."""


class Prediction(Result):
    """A sentiment with its calibrated probabilities; `confidence` is the largest of them."""

    label: Label
    probabilities: dict[Label, float] = Field(description="Calibrated, summing to 1.")
    confidence: float = Field(ge=0, le=1)


class EmotionPrediction(Result):
    """The strongest of four emotions (TweetEval's) the words express, given that they express one."""

    label: EmotionLabel
    probabilities: dict[EmotionLabel, float] = Field(description="Calibrated, summing to 1.")
    confidence: float = Field(ge=0, le=1)


class RouteDecision(Result):
    """Whether the fast answer was kept, why not, and who answered in the end."""

    decision: Literal["keep", "defer"]
    answered_by: str = Field(description='"fast", or the id of the reasoner that answered.')
    reasons: tuple[Reason, ...] = ()
    p_error: float | None = Field(default=None, ge=0, le=1, description="Estimated P(the fast label is wrong).")
    threshold: float | None = Field(default=None, description="`p_error` above this defers.")


class Cue(Result):
    """Something a reasoner points at: words quoted from the post, or what it sees in the picture."""

    side: Modality
    text: str = Field(description="Side `text`: a quotation, checked to stand in the post. Else model-written.")


class Verdict(Result):
    """What a reasoner answered for one post. Only `rationale` and the picture's `cues` are model-written text."""

    label: Label
    probabilities: dict[Label, float] = Field(description="From the logits of the label tokens, summing to 1.")
    sarcasm: float | None = Field(default=None, ge=0, le=1)
    text_says: Label | None = Field(default=None, description="What the model makes of the words by themselves.")
    picture_says: Label | None = Field(default=None, description="What the model makes of the picture by itself.")
    cues: tuple[Cue, ...] = ()
    rationale: str | None = None
    reasoner: str = Field(description="Id of the model that answered.")
    adapter: str | None = None
    prompt: str | None = Field(default=None, description="Name and hash of the prompt template.")
    tokens: int | None = Field(default=None, ge=0)
    timings: dict[str, float] = Field(default_factory=dict, description="Milliseconds per stage.")


class Provenance(Result):
    """Which artefacts answered, so that an answer can be traced and repeated."""

    package: str = Field(description="Version of hybrid_mmsa.")
    model: str = Field(description="Name of the model or adapter folder.")
    model_hash: str
    encoder: str
    encoder_hash: str


class Analysis(Result):
    """The typed answer to one post. Two are equal when all but their `timings` are."""

    schema_version: str = SCHEMA_VERSION
    id: str | None = None
    sentiment: Prediction
    sarcasm: float | None = Field(default=None, ge=0, le=1, description="P(the post is sarcastic), from the words.")
    emotion: EmotionPrediction | None = None
    text_sentiment: Prediction | None = Field(default=None, description="What the words say by themselves.")
    image_sentiment: Prediction | None = Field(default=None, description="What the picture says by itself.")
    conflict: float | None = Field(
        default=None, ge=0, le=1, description="Total variation distance of the two unimodal posteriors."
    )
    route: RouteDecision
    verdict: Verdict | None = None
    rationale: str | None = Field(default=None, description="Written by the reasoner, never by the fast tier.")
    explanation: Explanation | None = None
    prediction_set: tuple[Label, ...] | None = None
    needs_review: bool | None = None
    timings: dict[str, float] = Field(default_factory=dict, description="Milliseconds per stage.")
    provenance: Provenance
    warnings: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Analysis):
            return NotImplemented
        return self._without_timings() == other._without_timings()

    def __hash__(self) -> int:
        return hash((self.id, self.sentiment.label, self.sentiment.confidence, self.provenance))

    def _without_timings(self) -> dict[str, Any]:
        values = self.model_dump(exclude={"timings"})
        if values["verdict"] is not None:
            values["verdict"].pop("timings")
        return values


class RowError(Result):
    """A row that could not be analysed: where it stood and why. The other rows go on."""

    line: int = Field(ge=1, description="1-based line or row in its file, or position in the stream.")
    id: str | None = None
    field: str | None = None
    error: str


class LoraRef(Result):
    """A LoRA adapter for a reasoner: its name, its folder, and the prompt template it was trained with."""

    name: str
    path: Path
    prompt: Path | None = None


def prediction(probabilities: FloatArray) -> Prediction:
    """A `Prediction` from one row of probabilities in the order of `LABELS`."""
    best = int(np.argmax(probabilities))
    values = {label: float(p) for label, p in zip(LABELS, probabilities, strict=True)}
    return Prediction(label=LABELS[best], probabilities=values, confidence=values[LABELS[best]])


def emotion_prediction(probabilities: FloatArray) -> EmotionPrediction:
    """An `EmotionPrediction` from one row of probabilities in the order of `EMOTIONS`."""
    best = int(np.argmax(probabilities))
    values = {label: float(p) for label, p in zip(EMOTIONS, probabilities, strict=True)}
    return EmotionPrediction(label=EMOTIONS[best], probabilities=values, confidence=values[EMOTIONS[best]])
