"""A client of a `hybrid-mmsa serve` server: the same questions and the same typed answers as in process.

`Client` waits, `AsyncClient` is awaited; what is sent and what comes back is written once for both. Needs the extra
`client`. Nothing is sent anywhere but to the address that is named; proxies of the environment are not used.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
from PIL import Image
from pydantic import BaseModel, ValidationError

from .errors import InputError, ServerError
from .extras import needs
from .inputs import Row, read_image, sample_of
from .serving import BatchAnswer, Job, Models, ProblemBody
from .types import Analysis, ExplainLevel, ImageSource, Mode, RowError, Sample

if TYPE_CHECKING:
    import httpx2 as httpx

__all__ = ["AsyncClient", "Client"]

Answer = TypeVar("Answer", bound=BaseModel)
SECONDS = 60.0
EVENT = "data: "


@dataclass(frozen=True, slots=True)
class _Call:
    """One request: what is sent, and the type of what comes back."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    query: Mapping[str, str] = field(default_factory=dict)

    def options(self) -> dict[str, Any]:
        """As the HTTP library takes it."""
        return {"json": self.body, "params": self.query} if self.body is not None else {"params": self.query}


def _post(sample: Sample) -> dict[str, str]:
    """A post as the server reads it; fields that are missing are left out."""
    fields = {"text": sample.text, "target": sample.target, "id": sample.id}
    if sample.image is not None:
        fields["image"] = base64.b64encode(_encoded(sample.image)).decode("ascii")
    return {name: value for name, value in fields.items() if value is not None}


def _encoded(image: ImageSource) -> bytes:
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


def _analyze_call(
    sample: Sample, adapter: str | None, mode: Mode, explain: ExplainLevel, *, wait: bool = True
) -> _Call:
    body = {**_post(sample), "mode": mode, "explain": explain}
    if adapter is not None:
        body["adapter"] = adapter
    return _Call("POST", "/v1/analyze", body, {"wait": str(wait).lower()})


def _batch_call(samples: Sequence[Sample], adapter: str | None, mode: Mode, explain: ExplainLevel) -> _Call:
    body: dict[str, Any] = {"posts": [_post(sample) for sample in samples], "mode": mode, "explain": explain}
    if adapter is not None:
        body["adapter"] = adapter
    return _Call("POST", "/v1/analyze/batch", body)


def _read(response: httpx.Response, kind: type[Answer]) -> Answer:
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
    raise _error(problem, response.headers.get("retry-after"))


def _error(problem: ProblemBody, retry_after: str | None) -> InputError | ServerError:
    """A problem as the error that the analyzer would raise; `ServerError` for what only a server refuses."""
    if problem.code in ("unusable_post", "picture_url_refused", "invalid_request"):
        return InputError(problem.detail, field=problem.field)
    seconds = float(retry_after) if retry_after is not None and retry_after.isdigit() else problem.retry_after
    return ServerError(problem.detail, code=problem.code, status=problem.status, retry_after=seconds)


def _rows(answer: BatchAnswer, samples: Sequence[Sample]) -> list[Analysis | RowError]:
    rows: list[Analysis | RowError] = []
    for line, (row, sample) in enumerate(zip(answer.results, samples, strict=True), 1):
        if row.analysis is not None:
            rows.append(row.analysis)
        else:
            error = row.error or ProblemBody(type="", code="", title="", status=0, detail="no answer")
            rows.append(RowError(line=line, id=sample.id, field=error.field, error=error.detail))
    return rows


def _job(headers: Mapping[str, str], analysis: Analysis) -> Job:
    """The job of a post that was deferred; one that is done already where it was not."""
    identifier = headers.get("x-job-id")
    if identifier is None:
        return Job(id="", status="done", analysis=analysis)
    return Job(id=identifier, status="waiting", analysis=analysis)


def _unreachable(error: Exception, address: str) -> ServerError:
    return ServerError(f"{address} cannot be reached ({type(error).__name__}: {error})", code="unreachable", status=0)


class _Connection:
    """What both clients are opened with."""

    def __init__(self, address: str, *, key: str | None = None, timeout: float = SECONDS) -> None:
        with needs("client", "the client"):
            import httpx2

        self._httpx = httpx2
        self._address = address.rstrip("/")
        self._options: dict[str, Any] = {
            "base_url": self._address,
            "headers": {} if key is None else {"Authorization": f"Bearer {key}"},
            "timeout": timeout,
            "trust_env": False,
            "follow_redirects": False,
        }


class Client(_Connection):
    """Asks a server and waits; safe to share between threads. A context manager that closes its connections.

    Args:
        address: Where the server is, such as `http://127.0.0.1:8000`.
        key: A key that opens it.
        timeout: Seconds that one request may take.

    Raises:
        MissingExtraError: The packages of the extra `client` are not installed.
    """

    def __init__(self, address: str, *, key: str | None = None, timeout: float = SECONDS) -> None:
        super().__init__(address, key=key, timeout=timeout)
        self._http = self._httpx.Client(**self._options)

    def analyze(
        self,
        text: str | None = None,
        image: ImageSource | None = None,
        *,
        target: str | None = None,
        adapter: str | None = None,
        mode: Mode = "auto",
        explain: ExplainLevel = "modality",
    ) -> Analysis:
        """As `Analyzer.analyze`, on the server.

        Raises:
            InputError: The post or an option cannot be used.
            ServerError: The server refused or failed, or cannot be reached; its `code` says which.
        """
        sample = Sample(text=text, image=image, target=target)
        return _read(self._send(_analyze_call(sample, adapter, mode, explain)), Analysis)

    def analyze_batch(
        self,
        samples: Iterable[Row],
        *,
        adapter: str | None = None,
        mode: Mode = "auto",
        explain: ExplainLevel = "modality",
    ) -> list[Analysis | RowError]:
        """Answers in the order of the posts; one that fails is a `RowError` in its place. Errors as in `analyze`."""
        posts = [sample_of(row) for row in samples]
        return _rows(_read(self._send(_batch_call(posts, adapter, mode, explain)), BatchAnswer), posts)

    def submit(
        self,
        text: str | None = None,
        image: ImageSource | None = None,
        *,
        target: str | None = None,
        adapter: str | None = None,
        mode: Mode = "auto",
        explain: ExplainLevel = "modality",
    ) -> Job:
        """The fast answer now, in a job that is `done`, or `waiting` for the reasoner; errors as in `analyze`."""
        sample = Sample(text=text, image=image, target=target)
        response = self._send(_analyze_call(sample, adapter, mode, explain, wait=False))
        return _job(response.headers, _read(response, Analysis))

    def job(self, job: Job) -> Job:
        """How a job stands now."""
        return _read(self._send(_Call("GET", f"/v1/jobs/{job.id}")), Job) if job.id else job

    def result(self, job: Job, *, timeout: float = SECONDS) -> Analysis:
        """Wait for a job's answer.

        Raises:
            ServerError: The job failed, was cancelled, or did not end in time.
        """
        if job.status != "waiting":
            return _result(job)
        until = monotonic() + timeout
        try:
            with self._http.stream("GET", f"/v1/jobs/{job.id}/events", timeout=timeout) as response:
                if not response.is_success:
                    response.read()
                    _read(response, Job)
                for line in response.iter_lines():
                    if line.startswith(EVENT):
                        return _result(Job.model_validate_json(line.removeprefix(EVENT)))
                    _check_time(until)
        except self._httpx.HTTPError as error:
            raise _unreachable(error, self._address) from error
        return _result(self.job(job))

    def cancel(self, job: Job) -> Job:
        """Cancel a job; one that has ended stays as it is."""
        return _read(self._send(_Call("DELETE", f"/v1/jobs/{job.id}")), Job) if job.id else job

    def models(self) -> Models:
        """The adapters that may be named, and the reasoner."""
        return _read(self._send(_Call("GET", "/v1/models")), Models)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, call: _Call) -> httpx.Response:
        try:
            response: httpx.Response = self._http.request(call.method, call.path, **call.options())
        except self._httpx.HTTPError as error:
            raise _unreachable(error, self._address) from error
        return response


class AsyncClient(_Connection):
    """`Client` for an event loop: the same methods, awaited. An asynchronous context manager.

    Args:
        address: Where the server is, such as `http://127.0.0.1:8000`.
        key: A key that opens it.
        timeout: Seconds that one request may take.

    Raises:
        MissingExtraError: The packages of the extra `client` are not installed.
    """

    def __init__(self, address: str, *, key: str | None = None, timeout: float = SECONDS) -> None:
        super().__init__(address, key=key, timeout=timeout)
        self._http = self._httpx.AsyncClient(**self._options)

    async def analyze(
        self,
        text: str | None = None,
        image: ImageSource | None = None,
        *,
        target: str | None = None,
        adapter: str | None = None,
        mode: Mode = "auto",
        explain: ExplainLevel = "modality",
    ) -> Analysis:
        """See `Client.analyze`. Cancelling it takes the post out of the server's queues."""
        sample = Sample(text=text, image=image, target=target)
        return _read(await self._send(_analyze_call(sample, adapter, mode, explain)), Analysis)

    async def analyze_batch(
        self,
        samples: Iterable[Row],
        *,
        adapter: str | None = None,
        mode: Mode = "auto",
        explain: ExplainLevel = "modality",
    ) -> list[Analysis | RowError]:
        """See `Client.analyze_batch`."""
        posts = [sample_of(row) for row in samples]
        return _rows(_read(await self._send(_batch_call(posts, adapter, mode, explain)), BatchAnswer), posts)

    async def submit(
        self,
        text: str | None = None,
        image: ImageSource | None = None,
        *,
        target: str | None = None,
        adapter: str | None = None,
        mode: Mode = "auto",
        explain: ExplainLevel = "modality",
    ) -> Job:
        """See `Client.submit`."""
        sample = Sample(text=text, image=image, target=target)
        response = await self._send(_analyze_call(sample, adapter, mode, explain, wait=False))
        return _job(response.headers, _read(response, Analysis))

    async def job(self, job: Job) -> Job:
        """See `Client.job`."""
        return _read(await self._send(_Call("GET", f"/v1/jobs/{job.id}")), Job) if job.id else job

    async def result(self, job: Job, *, timeout: float = SECONDS) -> Analysis:
        """See `Client.result`."""
        if job.status != "waiting":
            return _result(job)
        until = monotonic() + timeout
        try:
            async with self._http.stream("GET", f"/v1/jobs/{job.id}/events", timeout=timeout) as response:
                if not response.is_success:
                    await response.aread()
                    _read(response, Job)
                async for line in response.aiter_lines():
                    if line.startswith(EVENT):
                        return _result(Job.model_validate_json(line.removeprefix(EVENT)))
                    _check_time(until)
        except self._httpx.HTTPError as error:
            raise _unreachable(error, self._address) from error
        return _result(await self.job(job))

    async def cancel(self, job: Job) -> Job:
        """See `Client.cancel`."""
        return _read(await self._send(_Call("DELETE", f"/v1/jobs/{job.id}")), Job) if job.id else job

    async def models(self) -> Models:
        """See `Client.models`."""
        return _read(await self._send(_Call("GET", "/v1/models")), Models)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _send(self, call: _Call) -> httpx.Response:
        try:
            response: httpx.Response = await self._http.request(call.method, call.path, **call.options())
        except self._httpx.HTTPError as error:
            raise _unreachable(error, self._address) from error
        return response


def _check_time(until: float) -> None:
    if monotonic() > until:
        raise ServerError("the job did not end in time", code="deadline_exceeded", status=0)


def _result(job: Job) -> Analysis:
    """The answer of a job that has ended."""
    if job.status == "done" and job.analysis is not None:
        return job.analysis
    if job.error is not None:
        raise _error(job.error, None)
    raise ServerError(f"the job is {job.status}", code="not_found", status=404)
