"""Where the lines of a stream come from: a pipe, a file that grows, an address that is asked now and then.

It yields lines as they come, and `None` where there is none for the moment, so that whoever reads can do other things.
It knows nothing of what lines hold.
"""

from __future__ import annotations

import http.client
import os
import selectors
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from ..bounds.exchange import Bounds, exchange, fetched
from ..errors import InputError

__all__ = ["MOST_LINE", "piped", "polled", "tailed"]

MOST_LINE = 4 * 2**20
"""Bytes of a line; of longer ones the rest is dropped, and what is left is no JSON."""
_PIECE = 2**16
POLL_SECONDS, POLL_BYTES = 30.0, 256 * 2**20
"""What one answer of a polled address may take: it is read whole before its lines are."""


def piped(pipe: BinaryIO, idle: float = 1.0) -> Iterator[bytes | None]:
    """The lines of a pipe until it is closed."""
    lines = _Lines()
    with selectors.DefaultSelector() as waiting:
        try:
            waiting.register(pipe, selectors.EVENT_READ)
            waits = True
        except (PermissionError, ValueError, OSError):  # a plain file, which never waits
            waits = False
        while True:
            if waits and not waiting.select(idle):
                yield None
                continue
            piece = os.read(pipe.fileno(), _PIECE)
            if not piece:
                break
            yield from lines.of(piece)
    yield from lines.rest()


def tailed(path: Path, idle: float = 1.0, *, ends: Callable[[], bool] = lambda: False) -> Iterator[bytes | None]:
    """The lines of a file, and those that are written to it later; where it is replaced or emptied, its new ones.

    Args:
        path: The file; it need not be there yet.
        idle: Seconds between two looks at it.
        ends: Whether to stop, asked where there is no line.

    Raises:
        InputError: It is a folder.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; wanted a file of lines", field="--tail")
    lines, place, inode = _Lines(), 0, -1
    while True:
        piece = b""
        if path.exists():
            with path.open("rb") as file:
                found = os.fstat(file.fileno())
                if found.st_ino != inode or found.st_size < place:
                    yield from lines.rest()
                    place, inode = 0, found.st_ino
                file.seek(place)
                piece = file.read(_PIECE)
                place += len(piece)
        if piece:
            yield from lines.of(piece)
        elif ends():
            return
        else:
            yield None
            time.sleep(idle)


def polled(
    url: str, every: float = 30.0, *, say: Callable[[str], None], ends: Callable[[], bool] = lambda: False
) -> Iterator[bytes | None]:
    """The lines that an address answers with, asked again and again; posts that come twice are known by their ids.

    Args:
        url: `http://` or `https://`.
        every: Seconds between two questions.
        say: Is told of an answer that does not come; it is asked again all the same.
        ends: Whether to stop, asked after each answer.

    Raises:
        InputError: It is no such address.
    """
    if not url.startswith(("http://", "https://")):
        raise InputError(f"found {url!r}; wanted an address that begins with http:// or https://", field="--poll")
    while True:
        try:
            with exchange(urllib.request.Request(url), Bounds(POLL_SECONDS, POLL_BYTES)) as answer:
                found = fetched(answer)
        except (OSError, http.client.HTTPException, ValueError) as error:
            say(f"{url} did not answer: {' '.join(str(error).split()) or type(error).__name__}")
        else:
            lines = _Lines()
            yield from lines.of(found)
            yield from lines.rest()
        yield None
        if ends():
            return
        time.sleep(every)


class _Lines:
    """Pieces of bytes → whole lines, none longer than may be."""

    def __init__(self) -> None:
        self._begun = b""

    def of(self, piece: bytes) -> Iterator[bytes]:
        *whole, begun = (self._begun + piece).split(b"\n")
        self._begun = begun[:MOST_LINE]
        yield from (line for line in whole if line.strip())

    def rest(self) -> Iterator[bytes]:
        begun, self._begun = self._begun, b""
        if begun.strip():
            yield begun
