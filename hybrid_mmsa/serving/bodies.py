"""The body of a request, whole: within a size, within a time, and with its client still there. Knows nothing of posts.

A request whose client goes away is cancelled, and what it waits for leaves the queues.
"""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .problems import Problem

__all__ = ["Bodies"]


class Bodies:
    """Reads the body, then lets the layer inside answer, for as long as the client waits.

    Args:
        app: The layer inside.
        most: Bytes of one body.
        most_in_all: Bytes of all bodies that are being answered.
        seconds: How long a body may take to arrive.
    """

    def __init__(self, app: ASGIApp, *, most: int, most_in_all: int, seconds: float) -> None:
        self._app, self._most, self._most_in_all, self._seconds = app, most, most_in_all, seconds
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._check_head(scope)
        body = bytearray()
        try:
            try:
                async with asyncio.timeout(self._seconds):
                    await self._read_into(body, receive)
            except TimeoutError:
                detail = f"wanted the whole body within {self._seconds:g} s"
                raise Problem("body_too_slow", detail) from None
            await self._answer(scope, bytes(body), receive, send)
        finally:
            self._held -= len(body)

    def _check_head(self, scope: Scope) -> None:
        headers = dict(scope["headers"])
        if headers.get(b"content-encoding", b"identity") != b"identity":
            raise Problem("unsupported_media_type", "found a packed body; wanted it as it is")
        length = headers.get(b"content-length", b"0")
        if length.isdigit():
            self._check_size(int(length), int(length))

    def _check_size(self, size: int, more: int) -> None:
        if size > self._most:
            raise Problem("body_too_large", f"wanted at most {self._most:,} bytes")
        if self._held + more > self._most_in_all:
            raise Problem("overloaded", "the bodies of other requests fill the memory", retry_after=1)

    async def _read_into(self, body: bytearray, receive: Receive) -> None:
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            part = message.get("body", b"")
            self._check_size(len(body) + len(part), len(part))
            body += part
            self._held += len(part)
            more = message.get("more_body", False)

    async def _answer(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        """Run the layer inside; cancel it when the client goes away."""
        gone = asyncio.create_task(_disconnected(receive))
        read = complete = False

        async def replay() -> Message:
            nonlocal read
            if not read:
                read = True
                return {"type": "http.request", "body": body, "more_body": False}
            return await asyncio.shield(gone)

        async def send_noted(message: Message) -> None:
            nonlocal complete
            complete = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        async def answer() -> None:
            await self._app(scope, replay, send_noted)

        answering = asyncio.create_task(answer())
        try:
            await asyncio.wait([gone, answering], return_when=asyncio.FIRST_COMPLETED)
            if not complete and not answering.done():
                raise ClientDisconnect
            await answering
        finally:
            for task in (answering, gone):
                task.cancel()
            await asyncio.gather(answering, gone, return_exceptions=True)


async def _disconnected(receive: Receive) -> Message:
    """The client's farewell."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return message
