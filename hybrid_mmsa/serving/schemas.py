"""What travels between a server and its clients besides `Analysis`: pydantic types, with examples for the document.

Knows nothing of how a post is answered.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from ..types import Analysis, ExplainLevel, FrozenModel, Mode
from .problems import ProblemBody

__all__ = [
    "AnalyzeBody",
    "BatchAnswer",
    "BatchBody",
    "BatchRow",
    "Job",
    "JobStatus",
    "ModelCard",
    "Models",
    "PostBody",
    "Version",
]

JobStatus: TypeAlias = Literal["waiting", "done", "failed", "cancelled"]


class OptionsBody(BaseModel):
    """How posts are to be answered."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    adapter: str | None = Field(
        default=None, max_length=200, description="Name of an adapter, see `/v1/models`; the default without one."
    )
    mode: Mode = Field(default="auto", description="auto: by the policy; fast: never defer; deep: ask the reasoner.")
    explain: ExplainLevel = Field(default="modality", description="full: words and regions too, about 100 ms a post.")


class PostBody(BaseModel):
    """A post of words, a picture or both."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str | None = Field(default=None, description="The post's words.")
    image: str | None = Field(
        default=None,
        description="The picture, encoded (JPEG, PNG, WebP …) and in base64, or a data: URI; or its address, where the "
        "server fetches from that host.",
    )
    target: str | None = Field(
        default=None, description="Ask for the sentiment towards this person or thing, named in the text."
    )
    id: str | None = Field(default=None, max_length=200, description="Returned in the answer.")


class AnalyzeBody(PostBody, OptionsBody):
    """One post, and how it is to be answered."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [
                {"text": "Best day of the year, thank you all!"},
                {"text": "Great show, awful sound", "target": "sound", "explain": "full"},
            ]
        },
    )


class BatchBody(OptionsBody):
    """Posts, and how all of them are to be answered. A post that cannot be read fails for itself."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [{"posts": [{"id": "1", "text": "I love this"}, {"id": "2", "text": "I hate this"}]}]
        },
    )

    # Each row is read as a `PostBody` for itself, so that one that is none does not fail the others.
    posts: list[Any] = Field(min_length=1, json_schema_extra={"items": {"$ref": "#/components/schemas/PostBody"}})


class BatchRow(FrozenModel):
    """What became of one post of a batch: an answer, or a problem."""

    analysis: Analysis | None = None
    job: str | None = Field(default=None, description="With `wait=false`: the job that asks the reasoner.")
    error: ProblemBody | None = None


class BatchAnswer(FrozenModel):
    """The rows in the order of the posts."""

    results: tuple[BatchRow, ...]


class Job(FrozenModel):
    """A deferred post that the reasoner is asked about."""

    id: str
    status: JobStatus
    analysis: Analysis | None = Field(default=None, description="When it is done: the answer with the verdict.")
    error: ProblemBody | None = Field(default=None, description="When it failed: why.")


class ModelCard(FrozenModel):
    """An adapter that may be named in a request."""

    name: str
    default: bool
    hash: str | None = Field(default=None, description="Of its fitted parts; null until it is loaded.")
    encoder: str | None = None


class Models(FrozenModel):
    """What can answer."""

    models: tuple[ModelCard, ...]
    reasoner: str | None = Field(default=None, description="Id of the reasoner that deferred posts are asked of.")


class Version(FrozenModel):
    """Which program answers."""

    version: str
    schema_version: str = Field(description="Of `Analysis`.")
