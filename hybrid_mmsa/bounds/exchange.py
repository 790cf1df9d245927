"""An exchange with one server within a time and a size, whatever the server does. Knows nothing of what is exchanged.

The timeouts of HTTP clients count from one piece of an answer to the next: a server that sends a byte a second, be it
in the head, keeps a client for ever, and none of them bounds how long a name is looked up. Here the look-up, each read
and each write of a connection count from the beginning of the exchange.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from time import monotonic
from typing import Any

__all__ = ["Bounds", "exchange", "fetched"]

_CHUNK = 1 << 16
_DAY = 86_400.0


class Bounds:
    """What an exchange may still take.

    Args:
        seconds: How long it may take from now on, from the name to the last byte.
        most: Bytes that may come, heads included.
        check: Is told the addresses that a name stands for before any of them is asked; what it raises is passed on.
    """

    def __init__(self, seconds: float, most: int, check: Callable[[Sequence[str]], None] | None = None) -> None:
        self._until = monotonic() + min(seconds, _DAY)  # systems refuse to wait much longer
        self._most = self._left = most
        self._check = check

    def wait(self, most: float | None = None) -> float:
        """Seconds that may be waited now, no more than `most`.

        Raises:
            TimeoutError: None.
        """
        left = self._until - monotonic()
        if left <= 0:
            raise TimeoutError("the deadline of the exchange has passed")
        return left if most is None else min(left, most)

    def count(self, part: int) -> None:
        """Count bytes that came.

        Raises:
            ConnectionAbortedError: They are too many.
        """
        self._left -= part
        if self._left < 0:
            raise ConnectionAbortedError(f"it sent more than {self._most:,} bytes")

    def addresses(self, host: str, port: int) -> list[str]:
        """The addresses of a name, looked up in time.

        Raises:
            OSError: There are none; `TimeoutError` if they are not found in time.
        """
        return list(dict.fromkeys(str(entry[4][0]) for entry in self._looked_up(host, port)))

    def connect(self, address: tuple[str, int], *_: Any) -> socket.socket:
        """A connection to the first address of a name that takes one; as `socket.create_connection` is called.

        Raises:
            OSError: None does.
        """
        failure = OSError(f"no address was found for {address[0]}")
        for family, kind, protocol, _name, place in self._looked_up(*address):
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(self.wait())
                sock.connect(place)
                sock.settimeout(self.wait())  # for what is done with it next, such as TLS
            except OSError as error:
                sock.close()
                failure = error
            else:
                return sock
        raise failure

    def _looked_up(self, host: str, port: int) -> list[Any]:
        """What `socket.getaddrinfo` says, in time and checked.

        The look-up itself cannot be broken off: its thread ends when the system's resolver gives up.
        """
        found: list[Any] = []
        errors: list[OSError] = []

        def look_up() -> None:
            try:
                found.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
            except (OSError, UnicodeError) as error:  # the latter where a part of the name is too long
                errors.append(error if isinstance(error, OSError) else OSError(str(error)))

        thread = threading.Thread(target=look_up, name=f"look up {host}", daemon=True)
        thread.start()
        thread.join(self.wait())
        self.wait()
        if errors:
            raise errors[0]
        if self._check is not None:
            self._check([str(entry[4][0]) for entry in found])
        return found


@contextmanager
def exchange(
    request: urllib.request.Request, bounds: Bounds, *, tls: ssl.SSLContext | None = None, follow: bool = True
) -> Iterator[http.client.HTTPResponse]:
    """Send a request; its answer, to be read within the bounds.

    Args:
        request: To an `http` or `https` address.
        bounds: Of everything together, what is followed included.
        tls: Where certificates stand; the system's by default.
        follow: Whether to go where the server sends one, and through the proxies of the environment, and to raise where
            the status is no success. Otherwise the connection goes to the named host, and the status is the caller's.

    Raises:
        OSError: The server cannot be reached, broke off, sent too much, or (`TimeoutError`) was too slow;
            `urllib.error.HTTPError` for a status that is no success.
        http.client.HTTPException: What it sent is no HTTP.
    """
    opener = urllib.request.OpenerDirector()
    handlers: list[urllib.request.BaseHandler] = [_Handler(bounds, tls)]
    if follow:
        handlers += [
            urllib.request.ProxyHandler(),
            urllib.request.HTTPRedirectHandler(),
            urllib.request.HTTPErrorProcessor(),
            urllib.request.HTTPDefaultErrorHandler(),
        ]
    for handler in handlers:
        opener.add_handler(handler)
    try:
        answer = opener.open(request, timeout=bounds.wait())
    except urllib.error.HTTPError:
        raise
    except urllib.error.URLError as error:
        raise error.reason if isinstance(error.reason, OSError) else error from None
    if answer is None:
        raise OSError(f"no way to ask {request.type} addresses")
    with answer:
        yield answer


def fetched(answer: http.client.HTTPResponse) -> bytes:
    """The whole body of an answer.

    Raises:
        OSError: As `exchange`; `ConnectionError` where the server ended before it was whole.
    """
    body = bytearray()
    while part := answer.read1(_CHUNK):
        body += part
    if answer.length:
        raise ConnectionError("it ended before it was whole")
    return bytes(body)


class _Handler(urllib.request.AbstractHTTPHandler):
    """Opens `http` and `https` addresses over bounded connections."""

    def __init__(self, bounds: Bounds, tls: ssl.SSLContext | None) -> None:
        super().__init__()
        self._bounds, self._tls = bounds, tls

    http_request = https_request = urllib.request.AbstractHTTPHandler.do_request_

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_Plain, bounds=self._bounds), request)

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_Encrypted, bounds=self._bounds, context=self._tls), request)


class _Plain(http.client.HTTPConnection):
    """A connection whose every step counts; a proxy's own answer, which the environment trusts, each for itself."""

    def __init__(self, host: str, *, bounds: Bounds, **options: Any) -> None:
        super().__init__(host, **options)
        self._bounds = bounds
        self._create_connection = bounds.connect  # what the standard library keeps exchangeable

    def connect(self) -> None:
        super().connect()
        self.sock: Any = _Socket(self.sock, self._bounds)


class _Encrypted(_Plain, http.client.HTTPSConnection):
    """The same over TLS, which `super().connect()` begins."""


class _Socket:
    """As much of a socket as `http.client` asks of one."""

    def __init__(self, sock: socket.socket, bounds: Bounds) -> None:
        self._sock, self._bounds = sock, bounds

    def sendall(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            self._sock.settimeout(self._bounds.wait())
            left = left[self._sock.send(left) :]

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Received(self._sock, self._bounds))

    def close(self) -> None:
        self._sock.close()


class _Received(io.RawIOBase):
    """What comes over a socket, which stays open as long as this does."""

    def __init__(self, sock: socket.socket, bounds: Bounds) -> None:
        self._sock, self._bounds = sock, bounds
        self._file = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._bounds.wait())
        count = self._file.readinto(buffer)
        self._bounds.count(count or 0)
        return count

    def close(self) -> None:
        self._file.close()
        super().close()
