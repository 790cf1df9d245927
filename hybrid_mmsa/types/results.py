"""What comes out: predictions, decisions, verdicts, and the `Analysis` that holds them. Frozen, and JSON both ways."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from ..errors import SchemaVersionError
from .evidence import Explanation
from .frozen import FrozenDict, FrozenMapping, FrozenModel
from .notebook import answer_html
from .picture import PictureReading
from .predictions import EmotionPrediction, Prediction
from .words import Label, Modality, Reason, Sense, VerdictUse

__all__ = [
    "SCHEMA_VERSION",
    "Analysis",
    "Cue",
    "LoraRef",
    "Provenance",
    "RouteDecision",
    "RowError",
    "Verdict",
    "check_schema_version",
]

SCHEMA_VERSION = "1.2"
"""Version of the `Analysis` JSON schema. The minor part grows when a field is added, the major part when a reader could
break. A reader ignores the fields of a later minor version and refuses a later major one."""
FAST_REMEMBERED = (1, 1)
"""The first version that keeps the fast answer."""


class RouteDecision(FrozenModel):
    """Whether the fast answer was kept, why not, who answered in the end, and whether a verdict counted."""

    decision: Literal["keep", "defer"]
    answered_by: str = Field(description='"fast", or the id of the reasoner that answered.')
    reasons: tuple[Reason, ...] = ()
    p_error: float | None = Field(default=None, ge=0, le=1, description="Estimated P(the fast label is wrong).")
    threshold: float | None = Field(default=None, description="`p_error` above this defers.")
    verdict: VerdictUse | None = Field(
        default=None,
        description="How the verdict counts in the answer: pooled with the fast answer, alone, or ignored; "
        "null without a verdict.",
    )


class Cue(FrozenModel):
    """Something a reasoner points at: words quoted from the post, or what it sees in the picture."""

    side: Modality
    text: str = Field(description="Side `text`: a quotation, checked to stand in the post. Else model-written.")


class Verdict(FrozenModel):
    """What a reasoner answered for one post. Only `rationale` and the picture's `cues` are model-written text."""

    label: Label
    probabilities: FrozenMapping[Label, float] = Field(description="From the logits of the label tokens, summing to 1.")
    sarcasm: float | None = Field(default=None, ge=0, le=1)
    text_says: Label | None = Field(default=None, description="What the model makes of the words by themselves.")
    picture_says: Label | None = Field(default=None, description="What the model makes of the picture by itself.")
    cues: tuple[Cue, ...] = ()
    rationale: str | None = None
    reasoner: str = Field(description="Id of the model that answered.")
    adapter: str | None = None
    prompt: str | None = Field(default=None, description="Name and hash of the prompt template.")
    unseen: tuple[Modality, ...] = Field(default=(), description="Sides of the post that the model was not shown.")
    tokens: int | None = Field(default=None, ge=0)
    timings: FrozenMapping[str, float] = Field(default_factory=FrozenDict, description="Milliseconds per stage.")

    @property
    def prediction(self) -> Prediction:
        """Its label and probabilities as a `Prediction`."""
        return Prediction(label=self.label, probabilities=self.probabilities, confidence=self.probabilities[self.label])


class Provenance(FrozenModel):
    """Which artefacts answered, so that an answer can be traced and repeated."""

    package: str = Field(description="Version of hybrid_mmsa.")
    model: str = Field(description="Name of the model or adapter folder.")
    model_hash: str
    encoder: str
    encoder_hash: str
    senses: FrozenMapping[Sense, str] = Field(
        default_factory=FrozenDict, description="What read words and faces in pictures: package, version, weights."
    )


class Analysis(FrozenModel):
    """The typed answer to one post. Two are equal when all but their timings are.

    Reading (`model_validate_json`) raises `SchemaVersionError` for a document of another major version.
    """

    schema_version: str = SCHEMA_VERSION
    id: str | None = None
    sentiment: Prediction
    fast: Prediction = Field(description="The fast tier's answer, before any verdict.")
    sarcasm: float | None = Field(default=None, ge=0, le=1, description="P(the post is sarcastic), from the words.")
    emotion: EmotionPrediction | None = None
    text_sentiment: Prediction | None = Field(default=None, description="What the words say by themselves.")
    image_sentiment: Prediction | None = Field(default=None, description="What the picture says by itself.")
    text_alone: Prediction | None = Field(
        default=None,
        description="The whole post's sentiment as the fast tier judges it from the words only; "
        "`fast` where there is nothing else.",
    )
    image_alone: Prediction | None = Field(
        default=None,
        description="The whole post's sentiment as the fast tier judges it from the picture only; "
        "`fast` where there is nothing else.",
    )
    conflict: float | None = Field(
        default=None, ge=0, le=1, description="Total variation distance of the two unimodal posteriors."
    )
    picture: PictureReading | None = Field(
        default=None, description="Words and faces in the picture, where `senses` were asked for."
    )
    route: RouteDecision
    verdict: Verdict | None = None
    rationale: str | None = Field(default=None, description="Written by the reasoner, never by the fast tier.")
    explanation: Explanation | None = None
    prediction_set: tuple[Label, ...] | None = None
    needs_review: bool | None = None
    timings: FrozenMapping[str, float] = Field(default_factory=FrozenDict, description="Milliseconds per stage.")
    provenance: Provenance
    warnings: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        """The answer as notebooks show it."""
        judged = {"answer": self.sentiment, "words": self.text_sentiment, "picture": self.image_sentiment}
        route = f"deferred: {', '.join(self.route.reasons)}" if self.route.decision == "defer" else "kept"
        explained = [] if self.explanation is None else [self.explanation.text]
        return answer_html(
            f"{self.sentiment.label} ({self.sentiment.confidence:.0%}), {route}",
            {who: prediction.probabilities for who, prediction in judged.items() if prediction is not None},
            [*explained, *self.warnings],
        )

    @model_validator(mode="before")
    @classmethod
    def _readable(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or "schema_version" not in values:
            return values
        if check_schema_version(values["schema_version"]) >= FAST_REMEMBERED or "fast" in values:
            return values
        return {**values, "fast": _fast_of_an_earlier_version(values)}


def check_schema_version(version: object) -> tuple[int, int]:
    """The major and minor part of a document's schema version.

    Raises:
        SchemaVersionError: The document is of another major version than this version reads.
        ValueError: It is not of the form `major.minor`.
    """
    parts = re.fullmatch(r"(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})", str(version))
    if parts is None:
        raise ValueError(f"the schema version {str(version)[:40]!r} is not of the form major.minor")
    major, minor = map(int, parts.groups())
    own = int(SCHEMA_VERSION.partition(".")[0])
    if major != own:
        advice = ": upgrade hybrid-mmsa to read it" if major > own else ""
        raise SchemaVersionError(
            f"this document has schema version {version}, and this hybrid-mmsa reads version {own} and its minor "
            f"versions{advice}"
        )
    return major, minor


def _fast_of_an_earlier_version(values: Mapping[str, Any]) -> Any:
    route = values.get("route")
    if isinstance(route, Mapping) and route.get("answered_by") != "fast":
        raise ValueError("this answer is a reasoner's and too old to hold the fast answer: analyse the post again")
    return values.get("sentiment")


class RowError(FrozenModel):
    """A row that could not be analysed: where it stood and why. The other rows go on."""

    line: int = Field(ge=1, description="1-based line or row in its file, or position in the stream.")
    id: str | None = None
    field: str | None = None
    error: str


class LoraRef(FrozenModel):
    """A LoRA adapter for a reasoner: its name, its folder, and the prompt template it was trained with."""

    name: str
    path: Path
    prompt: Path | None = None
