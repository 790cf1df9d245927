"""A transport of httpx within a deadline and a size, whatever the server does. Knows nothing of posts or questions.

Connections are kept and used again, each by one request, and so one thread, at a time.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import httpcore2 as httpcore
import httpx2 as httpx

from ...bounds.exchange import Bounds

__all__ = ["MOST_BYTES", "BoundedTransport"]

MOST_BYTES = 16 * 2**20
"""Bytes of an answer, its head included; a completion with 400 tokens and 20 alternatives for each has under 2 MB."""


class _OfThread(threading.local):
    """Until when the requests of this thread may last, and the bounds of the one that is under way."""

    deadline = float("inf")
    bounds = Bounds(float("inf"), MOST_BYTES)


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, of_thread: _OfThread) -> None:
        self._stream, self._of_thread = stream, of_thread

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        bounds = self._of_thread.bounds
        part = self._stream.read(max_bytes, bounds.wait(timeout))
        bounds.count(len(part))
        return part

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._of_thread.bounds.wait(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        encrypted = self._stream.start_tls(ssl_context, server_hostname, self._of_thread.bounds.wait(timeout))
        return _Stream(encrypted, self._of_thread)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    def __init__(self, of_thread: _OfThread) -> None:
        self._sockets, self._of_thread = httpcore.SyncBackend(), of_thread

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        bounds = self._of_thread.bounds
        failure: Exception = httpcore.ConnectError(f"no address was found for {host}")
        for address in bounds.addresses(host, port):
            try:
                wait = bounds.wait(timeout)
                stream = self._sockets.connect_tcp(address, port, wait, local_address, socket_options)
                return _Stream(stream, self._of_thread)
            except httpcore.ConnectError as error:
                failure = error
        raise failure


class BoundedTransport(httpx.BaseTransport):
    """Sends requests and reads answers whole; safe to share between threads. Redirects and proxies are not known to it.

    A request belongs to the block `with transport.until(...)` of its thread. What goes wrong is an error of httpx.
    """

    def __init__(self) -> None:
        self._of_thread = _OfThread()
        context = httpx.create_ssl_context(trust_env=False)
        # Any number of connections: a request that waits for one would lose its time to others'.
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            network_backend=_Backend(self._of_thread),
            max_connections=None,
            max_keepalive_connections=None,
        )

    @contextmanager
    def until(self, deadline: float) -> Iterator[None]:
        """Give the requests of this thread a deadline.

        Args:
            deadline: In the seconds of `time.monotonic`.
        """
        self._of_thread.deadline = deadline
        try:
            yield
        finally:
            self._of_thread.deadline = float("inf")

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; its answer, read whole.

        Raises:
            httpx.TimeoutException: The deadline has passed.
            httpx.TransportError: The server cannot be reached, broke off, or sent too much.
        """
        self._of_thread.bounds = Bounds(self._of_thread.deadline - monotonic(), MOST_BYTES)
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        sent = httpcore.Request(
            request.method, url, headers=request.headers.raw, content=request.read(), extensions=request.extensions
        )
        try:
            answer = self._pool.handle_request(sent)
            try:
                body = b"".join(answer.iter_stream())
            finally:
                answer.close()
        except (httpcore.TimeoutException, TimeoutError) as error:
            raise httpx.ReadTimeout(str(error) or "too slow", request=request) from error
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            raise httpx.ReadError(str(error) or type(error).__name__, request=request) from error
        response = httpx.Response(answer.status, headers=answer.headers, request=request)
        if response.headers.get("content-encoding", "identity") != "identity":
            raise httpx.ReadError("it packs its answers, which may unpack to any size", request=request)
        return httpx.Response(answer.status, headers=answer.headers, content=body, request=request)

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()
