"""HTTP to one server within a deadline and a size, whatever the server does. Knows nothing of posts or of what is sent.

The timeouts of HTTP clients count from one piece of an answer to the next: a server that sends a byte a second keeps a
client for ever. Here every read and write of a connection counts from the request's beginning.
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

__all__ = ["MOST_BYTES", "BoundedTransport"]

MOST_BYTES = 16 * 2**20
"""Bytes of an answer, its head included; a completion with 400 tokens and 20 alternatives for each has under 2 MB."""


class _Bounds(threading.local):
    """What the request of this thread may still take: a connection serves one request, and so one thread, at a time."""

    until = float("inf")
    left = MOST_BYTES

    def wait(self, timeout: float | None) -> float:
        """Seconds that may be waited now."""
        left = self.until - monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the deadline of the request has passed")
        return left if timeout is None else min(left, timeout)


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, bounds: _Bounds) -> None:
        self._stream, self._bounds = stream, bounds

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        part = self._stream.read(max_bytes, self._bounds.wait(timeout))
        self._bounds.left -= len(part)
        if self._bounds.left < 0:
            raise httpcore.ReadError(f"it sent more than {MOST_BYTES:,} bytes")
        return part

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._bounds.wait(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        encrypted = self._stream.start_tls(ssl_context, server_hostname, self._bounds.wait(timeout))
        return _Stream(encrypted, self._bounds)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    def __init__(self, bounds: _Bounds) -> None:
        self._sockets, self._bounds = httpcore.SyncBackend(), bounds

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        wait = self._bounds.wait(timeout)
        stream = self._sockets.connect_tcp(host, port, wait, local_address, socket_options)
        return _Stream(stream, self._bounds)


class BoundedTransport(httpx.BaseTransport):
    """Sends requests and reads answers whole; safe to share between threads. Redirects and proxies are not known to it.

    A request belongs to the block `with transport.until(...)` of its thread. What goes wrong is an error of httpx.
    """

    def __init__(self) -> None:
        self._bounds = _Bounds()
        context = httpx.create_ssl_context(trust_env=False)
        self._pool = httpcore.ConnectionPool(ssl_context=context, network_backend=_Backend(self._bounds))

    @contextmanager
    def until(self, deadline: float) -> Iterator[None]:
        """Give the requests of this thread a deadline.

        Args:
            deadline: In the seconds of `time.monotonic`.
        """
        self._bounds.until = deadline
        try:
            yield
        finally:
            self._bounds.until = float("inf")

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; its answer, read whole.

        Raises:
            httpx.TimeoutException: The deadline has passed.
            httpx.TransportError: The server cannot be reached, broke off, or sent too much.
        """
        self._bounds.left = MOST_BYTES
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
        except httpcore.TimeoutException as error:
            raise httpx.ReadTimeout(str(error) or "too slow", request=request) from error
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise httpx.ReadError(str(error) or type(error).__name__, request=request) from error
        response = httpx.Response(answer.status, headers=answer.headers, request=request)
        if response.headers.get("content-encoding", "identity") != "identity":
            raise httpx.ReadError("it packs its answers, which may unpack to any size", request=request)
        return httpx.Response(answer.status, headers=answer.headers, content=body, request=request)

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()
