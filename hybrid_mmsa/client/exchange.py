"""What clients send and what comes back, written once for both: posts as JSON, problems as errors."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from PIL import Image
from pydantic import BaseModel, ValidationError

from ..errors import InputError, ServerError
from ..inputs import read_image
from ..serving import BatchAnswer, Job, ProblemBody
from ..types import Analysis, ExplainLevel, ImageSource, Mode, RowError, Sample

if TYPE_CHECKING:
    import httpx2 as httpx

__all__ = [
    "EVENT",
    "SECONDS",
    "Call",
    "analyze_call",
    "batch_call",
    "check_time",
    "job_of",
    "read",
    "result_of",
    "rows_of",
    "unreachable",
]

Answer = TypeVar("Answer", bound=BaseModel)
SECONDS = 60.0
EVENT = "data: "


@dataclass(frozen=True, slots=True)
class Call:
    """One request."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    query: Mapping[str, str] = field(default_factory=dict)

    def options(self) -> dict[str, Any]:
        """As the HTTP library takes it."""
        return {"json": self.body, "params": self.query} if self.body is not None else {"params": self.query}


def post_of(sample: Sample) -> dict[str, str]:
    """A post as the server reads it; fields that are missing are left out."""
    fields = {"text": sample.text, "target": sample.target, "id": sample.id}
    if sample.image is not None:
        fields["image"] = base64.b64encode(encoded(sample.image)).decode("ascii")
    return {name: value for name, value in fields.items() if value is not None}


def encoded(image: ImageSource) -> bytes:
    """A picture's encoded bytes: those of its file as they are, and what is in memory as PNG.

    Raises:
        InputError: It cannot be read.
    """
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if isinstance(image, Path) and image.is_file():
        return image.read_bytes()
    if isinstance(image, str) and not image.startswith("data:") and Path(image).is_file():
        return Path(image).read_bytes()
    if isinstance(image, Image.Image | np.ndarray) or callable(getattr(image, "read", None)) or isinstance(image, str):
        buffer = io.BytesIO()
        read_image(image).save(buffer, "PNG")
        return buffer.getvalue()
    raise InputError(f"found a {type(image).__name__}; wanted a path, bytes, a file or a picture", field="image")


def analyze_call(sample: Sample, adapter: str | None, mode: Mode, explain: ExplainLevel, *, wait: bool = True) -> Call:
    """The request for one post; without `wait`, a deferred one becomes a job."""
    body = {**post_of(sample), "mode": mode, "explain": explain}
    if adapter is not None:
        body["adapter"] = adapter
    return Call("POST", "/v1/analyze", body, {"wait": str(wait).lower()})


def batch_call(samples: Sequence[Sample], adapter: str | None, mode: Mode, explain: ExplainLevel) -> Call:
    """The request for posts."""
    body: dict[str, Any] = {"posts": [post_of(sample) for sample in samples], "mode": mode, "explain": explain}
    if adapter is not None:
        body["adapter"] = adapter
    return Call("POST", "/v1/analyze/batch", body)


def read(response: httpx.Response, kind: type[Answer]) -> Answer:
    """The answer of a server, or the error that its problem is here."""
    if response.is_success:
        try:
            return kind.model_validate_json(response.content)
        except ValidationError as error:
            raise ServerError(
                f"the server's answer is no {kind.__name__}; is this a hybrid-mmsa server?",
                code="unknown",
                status=response.status_code,
            ) from error
    try:
        problem = ProblemBody.model_validate_json(response.content)
    except ValidationError:
        problem = None
    if problem is None:
        message = f"the server answered {response.status_code}"
        raise ServerError(message, code="unknown", status=response.status_code)
    raise error_of(problem, response.headers.get("retry-after"))


def error_of(problem: ProblemBody, retry_after: str | None) -> InputError | ServerError:
    """A problem as the error that the analyzer would raise; `ServerError` for what only a server refuses."""
    if problem.code in ("unusable_post", "picture_url_refused", "invalid_request"):
        return InputError(problem.detail, field=problem.field)
    seconds = float(retry_after) if retry_after is not None and retry_after.isdecimal() else problem.retry_after
    return ServerError(problem.detail, code=problem.code, status=problem.status, retry_after=seconds)


def rows_of(answer: BatchAnswer, samples: Sequence[Sample]) -> list[Analysis | RowError]:
    """The answers in the order of the posts, a `RowError` for each that failed."""
    rows: list[Analysis | RowError] = []
    for line, (row, sample) in enumerate(zip(answer.results, samples, strict=True), 1):
        if row.analysis is not None:
            rows.append(row.analysis)
        else:
            error = row.error or ProblemBody(type="", code="", title="", status=0, detail="no answer")
            rows.append(RowError(line=line, id=sample.id, field=error.field, error=error.detail))
    return rows


def job_of(headers: Mapping[str, str], analysis: Analysis) -> Job:
    """The job of a post that was deferred; one that is done already where it was not."""
    identifier = headers.get("x-job-id")
    if identifier is None:
        return Job(id="", status="done", analysis=analysis)
    return Job(id=identifier, status="waiting", analysis=analysis)


def unreachable(error: Exception, address: str) -> ServerError:
    """The error for a server that sends nothing."""
    return ServerError(f"{address} cannot be reached ({type(error).__name__}: {error})", code="unreachable", status=0)


def check_time(until: float) -> None:
    """Raise `ServerError` once the clock of `time.monotonic` is past `until`."""
    if monotonic() > until:
        raise ServerError("the job did not end in time", code="deadline_exceeded", status=0)


def result_of(job: Job) -> Analysis:
    """The answer of a job that has ended."""
    if job.status == "done" and job.analysis is not None:
        return job.analysis
    if job.error is not None:
        raise error_of(job.error, None)
    raise ServerError(f"the job is {job.status}", code="not_found", status=404)
