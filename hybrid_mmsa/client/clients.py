"""The two clients: one waits, one is awaited. What they send and read is in `exchange`."""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ..extras import needs
from ..inputs import Row, sample_of
from ..serving import BatchAnswer, Job, Models
from ..types import Analysis, ExplainLevel, ImageSource, Mode, RowError, Sample
from .exchange import (
    EVENT,
    SECONDS,
    Call,
    analyze_call,
    batch_call,
    check_time,
    job_of,
    read,
    result_of,
    rows_of,
    unreachable,
)

if TYPE_CHECKING:
    import httpx2 as httpx

__all__ = ["AsyncClient", "Client"]


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
        return read(self._send(analyze_call(sample, adapter, mode, explain)), Analysis)

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
        return rows_of(read(self._send(batch_call(posts, adapter, mode, explain)), BatchAnswer), posts)

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
        response = self._send(analyze_call(sample, adapter, mode, explain, wait=False))
        return job_of(response.headers, read(response, Analysis))

    def job(self, job: Job) -> Job:
        """How a job stands now."""
        return read(self._send(Call("GET", f"/v1/jobs/{job.id}")), Job) if job.id else job

    def result(self, job: Job, *, timeout: float = SECONDS) -> Analysis:
        """Wait for a job's answer.

        Raises:
            ServerError: The job failed, was cancelled, or did not end in time.
        """
        if job.status != "waiting":
            return result_of(job)
        until = monotonic() + timeout
        try:
            with self._http.stream("GET", f"/v1/jobs/{job.id}/events", timeout=timeout) as response:
                if not response.is_success:
                    response.read()
                    read(response, Job)
                for line in response.iter_lines():
                    if line.startswith(EVENT):
                        return result_of(Job.model_validate_json(line.removeprefix(EVENT)))
                    check_time(until)
        except self._httpx.HTTPError as error:
            raise unreachable(error, self._address) from error
        return result_of(self.job(job))

    def cancel(self, job: Job) -> Job:
        """Cancel a job; one that has ended stays as it is."""
        return read(self._send(Call("DELETE", f"/v1/jobs/{job.id}")), Job) if job.id else job

    def models(self) -> Models:
        """The adapters that may be named, and the reasoner."""
        return read(self._send(Call("GET", "/v1/models")), Models)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, call: Call) -> httpx.Response:
        try:
            response: httpx.Response = self._http.request(call.method, call.path, **call.options())
        except self._httpx.HTTPError as error:
            raise unreachable(error, self._address) from error
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
        return read(await self._send(analyze_call(sample, adapter, mode, explain)), Analysis)

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
        return rows_of(read(await self._send(batch_call(posts, adapter, mode, explain)), BatchAnswer), posts)

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
        response = await self._send(analyze_call(sample, adapter, mode, explain, wait=False))
        return job_of(response.headers, read(response, Analysis))

    async def job(self, job: Job) -> Job:
        """See `Client.job`."""
        return read(await self._send(Call("GET", f"/v1/jobs/{job.id}")), Job) if job.id else job

    async def result(self, job: Job, *, timeout: float = SECONDS) -> Analysis:
        """See `Client.result`."""
        if job.status != "waiting":
            return result_of(job)
        until = monotonic() + timeout
        try:
            async with self._http.stream("GET", f"/v1/jobs/{job.id}/events", timeout=timeout) as response:
                if not response.is_success:
                    await response.aread()
                    read(response, Job)
                async for line in response.aiter_lines():
                    if line.startswith(EVENT):
                        return result_of(Job.model_validate_json(line.removeprefix(EVENT)))
                    check_time(until)
        except self._httpx.HTTPError as error:
            raise unreachable(error, self._address) from error
        return result_of(await self.job(job))

    async def cancel(self, job: Job) -> Job:
        """See `Client.cancel`."""
        return read(await self._send(Call("DELETE", f"/v1/jobs/{job.id}")), Job) if job.id else job

    async def models(self) -> Models:
        """See `Client.models`."""
        return read(await self._send(Call("GET", "/v1/models")), Models)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _send(self, call: Call) -> httpx.Response:
        try:
            response: httpx.Response = await self._http.request(call.method, call.path, **call.options())
        except self._httpx.HTTPError as error:
            raise unreachable(error, self._address) from error
        return response
