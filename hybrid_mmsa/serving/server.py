"""Runs the application on a port: slow clients are dropped, and a signal to stop lets it finish. Knows no posts."""

from __future__ import annotations

import asyncio
import logging
import math
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from .journal import JsonLines
from .settings import ServerSettings

__all__ = ["bound_socket", "run", "server_of"]

HEAD_BYTES = 16 * 2**10
KEEP_ALIVE_SECONDS = 5
WRITE_SECONDS = 30.0


def bound_socket(host: str, port: int) -> socket.socket:
    """A listening socket's beginning, so that a port that is taken is one error before anything is loaded.

    Raises:
        OSError: The address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    sock.set_inheritable(True)
    return sock


def run(app: FastAPI, settings: ServerSettings, sock: socket.socket) -> None:
    """Serve until a signal says stop, then finish what was taken. The log goes to standard error.

    Args:
        app: What `create_app` made.
        settings: Limits of connections, and how long stopping may take.
        sock: Where to listen.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name, level in (("hybrid_mmsa.serving", logging.INFO), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
    server_of(app, settings).run(sockets=[sock])


def server_of(app: FastAPI, settings: ServerSettings) -> uvicorn.Server:
    """The server of an application, to be run; arguments as in `run`."""

    class Configured(_Patient):
        head_seconds = settings.head_seconds

    config = uvicorn.Config(
        app,
        interface="asgi3",
        http=Configured,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=settings.connections,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=math.ceil(settings.shutdown_seconds),
        h11_max_incomplete_event_size=HEAD_BYTES,
    )
    return _Server(config, app)


class _Patient(H11Protocol):
    """HTTP/1.1 whose patience with a client ends: with a head that does not arrive, or an answer that is not taken.

    Servers count such times from one byte to the next, so a client that sends a byte a second holds a connection for
    ever. Here they count from the beginning.
    """

    head_seconds: float

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._timers: dict[str, asyncio.TimerHandle] = {}
        super().connection_made(transport)
        self._begin("head", self.head_seconds, transport.close)

    def handle_events(self) -> None:
        super().handle_events()
        if self.cycle is not None and not self.cycle.response_complete:
            self._end("head")
        else:
            self._begin("head", self.head_seconds, self.transport.close)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._begin("answer", WRITE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._end("answer")

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("head")
        self._end("answer")
        super().connection_lost(exc)

    def _begin(self, what: str, seconds: float, late: Callable[[], None]) -> None:
        if what not in self._timers:
            self._timers[what] = self.loop.call_later(seconds, late)

    def _end(self, what: str) -> None:
        if timer := self._timers.pop(what, None):
            timer.cancel()


class _Server(uvicorn.Server):
    """Tells the application when it is to stop, so that it takes no more and ends its streams of events."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._application = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal to stop."""
        if (answering := getattr(self._application.state, "answering", None)) is not None:
            answering.closing = True
        # uvicorn's own would raise the signal again at the end, as if the server had not stopped in order.
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True
