"""The vocabulary: the values that travel between rooms. It knows nothing of models, files or doors.

Arrays between rooms are numpy; `Sample` and `Features` are frozen dataclasses. What leaves the SDK (`Analysis`
and all inside it) is a frozen pydantic model that round-trips through JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from PIL.Image import Image

SCHEMA_VERSION = "1.0"
"""Version of the `Analysis` JSON schema: the major part changes when a reader could break."""

Label: TypeAlias = Literal["negative", "neutral", "positive"]
EmotionLabel: TypeAlias = Literal["anger", "joy", "optimism", "sadness"]
Mode: TypeAlias = Literal["auto", "fast", "deep"]
ExplainLevel: TypeAlias = Literal["none", "modality", "full"]
Reason: TypeAlias = Literal["low_confidence", "sarcasm", "conflict", "novel", "requested"]
Modality: TypeAlias = Literal["text", "image"]
Task: TypeAlias = Literal[
    "sentiment",
    "text_sentiment",
    "image_sentiment",
    "target_sentiment",
    "text_alone",
    "image_alone",
    "sarcasm",
    "emotion",
]
"""What the fast tier judges. `text_sentiment`/`image_sentiment`: what that side says by itself.
`target_sentiment`: what the words say about the target. `text_alone`/`image_alone`: the guess of the whole post's
sentiment from that side only."""

LABELS: tuple[Label, ...] = ("negative", "neutral", "positive")
EMOTIONS: tuple[EmotionLabel, ...] = ("anger", "joy", "optimism", "sadness")
TASKS: tuple[Task, ...] = get_args(Task)

FloatArray: TypeAlias = NDArray[np.float32]
BoolArray: TypeAlias = NDArray[np.bool_]
IntArray: TypeAlias = NDArray[np.int64]
TaskArrays: TypeAlias = dict[Task, FloatArray]
"""One `[n, classes]` array per task; rows whose modality is missing are NaN."""

ImageSource: TypeAlias = "str | Path | bytes | bytearray | memoryview | BinaryIO | Image | NDArray[Any]"
"""A picture as users hold it: path, encoded bytes, file object, PIL image, numpy array, or `data:` URI."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One post. Users build it raw; `inputs.read_sample` returns it checked, its picture decoded.

    Attributes:
        text: The post's words, any Unicode; `None` or blank when there are none.
        image: The picture (see `ImageSource`); after reading, a PIL image in RGB, or `None`.
        target: The person or thing whose sentiment is asked for (target-level sentiment).
        id: The caller's identifier; returned in `Analysis.id`.
        time: When it was posted, ISO 8601.
        group: A brand, product or campaign to group by.
        label: Gold sentiment of the whole post, where known; `text_label`, `image_label`: of that side alone.
        sarcastic: Gold sarcasm, where known.
        rationale: A written reason for the gold label, where known.
        warnings: What reading had to change or could not judge, for `Analysis.warnings`.
    """

    text: str | None = None
    image: ImageSource | None = None
    target: str | None = None
    id: str | None = None
    time: str | None = None
    group: str | None = None
    label: Label | None = None
    text_label: Label | None = None
    image_label: Label | None = None
    sarcastic: bool | None = None
    rationale: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """What an encoder saw in a batch of `n` posts. Rows of a missing modality are zero.

    Attributes:
        text_features: float32 `[n, d_text]`.
        image_features: float32 `[n, d_image]`.
        has_text, has_image, has_target: bool `[n]`; a target is read as a pair with the text.
        n_tokens: int64 `[n]`, tokens read (0 without text).
        truncated: bool `[n]`, the text was longer than the tower reads.
        unknown_share: float32 `[n]`, share of tokens the tower's vocabulary lacks, in [0, 1].
    """

    text_features: FloatArray
    image_features: FloatArray
    has_text: BoolArray
    has_image: BoolArray
    has_target: BoolArray
    n_tokens: IntArray
    truncated: BoolArray
    unknown_share: FloatArray

    def __len__(self) -> int:
        return len(self.has_text)

    def take(self, rows: Sequence[int] | NDArray[Any] | slice) -> Features:
        """The features of some rows, in the order given."""
        return Features(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def without(self, modality: Modality) -> Features:
        """The same posts with one side hidden, as if it had never been there."""
        none = np.zeros(len(self), dtype=bool)
        if modality == "image":
            return replace(self, image_features=np.zeros_like(self.image_features), has_image=none)
        zeros = np.zeros(len(self), dtype=np.int64)
        return replace(
            self,
            text_features=np.zeros_like(self.text_features),
            has_text=none,
            has_target=none,
            n_tokens=zeros,
            truncated=none,
            unknown_share=zeros.astype(np.float32),
        )

    @staticmethod
    def concatenate(parts: Sequence[Features]) -> Features:
        """Join batches row by row."""
        return Features(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Features)})


class _Result(BaseModel):
    """Base of all that leaves the SDK: frozen, closed to unknown fields, JSON both ways."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Prediction(_Result):
    """A sentiment with its calibrated probabilities; `confidence` is the largest of them."""

    label: Label
    probabilities: dict[Label, float] = Field(description="Calibrated, summing to 1.")
    confidence: float = Field(ge=0, le=1)


class EmotionPrediction(_Result):
    """The strongest of four emotions (TweetEval's) the words express, given that they express one."""

    label: EmotionLabel
    probabilities: dict[EmotionLabel, float] = Field(description="Calibrated, summing to 1.")
    confidence: float = Field(ge=0, le=1)


class RouteDecision(_Result):
    """Whether the fast answer was kept, why not, and who answered in the end."""

    decision: Literal["keep", "defer"]
    answered_by: str = Field(description='"fast", or the id of the reasoner that answered.')
    reasons: tuple[Reason, ...] = ()
    p_error: float | None = Field(default=None, ge=0, le=1, description="Estimated P(the fast label is wrong).")
    threshold: float | None = Field(default=None, description="`p_error` above this defers.")


class Verdict(_Result):
    """What a reasoner answered for one post. Only `rationale` and `cues` are model-written text."""

    label: Label
    probabilities: dict[Label, float] = Field(description="From the logits of the label tokens, summing to 1.")
    sarcasm: float | None = Field(default=None, ge=0, le=1)
    cues: tuple[str, ...] = ()
    rationale: str | None = None
    reasoner: str = Field(description="Id of the model that answered.")
    adapter: str | None = None
    prompt: str | None = Field(default=None, description="Name and hash of the prompt template.")
    tokens: int | None = Field(default=None, ge=0)
    timings: dict[str, float] = Field(default_factory=dict, description="Milliseconds per stage.")


class Explanation(_Result):
    """Evidence computed from the fast tier, and a sentence composed from it. No word here is model-written."""

    text: str = Field(description="Composed from the fields below by fixed rules.")
    label: Label = Field(description="The label that the evidence is about.")
    baseline: float = Field(description="Probability of that label with neither side seen.")
    shares: dict[Modality, float] = Field(
        description="Shapley value of each side; with `baseline` they sum to the label's probability."
    )


class Provenance(_Result):
    """Which artefacts answered, so that an answer can be traced and repeated."""

    package: str = Field(description="Version of hybrid_mmsa.")
    model: str = Field(description="Name of the model or adapter folder.")
    model_hash: str
    encoder: str
    encoder_hash: str


class Analysis(_Result):
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


class RowError(_Result):
    """A row that could not be analysed: where it stood and why. The other rows go on."""

    line: int = Field(ge=1, description="1-based line or row in its file, or position in the stream.")
    id: str | None = None
    field: str | None = None
    error: str


class LoraRef(_Result):
    """A LoRA adapter for a reasoner, by name and folder."""

    name: str
    path: Path


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
