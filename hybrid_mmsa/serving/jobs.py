"""Deferred posts that nobody waits for: each is a job to fetch, follow or cancel. Knows nothing of HTTP."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from ..types import Analysis
from .problems import Problem
from .schemas import Job

__all__ = ["Jobs"]


@dataclass(slots=True, eq=False)
class _Kept:
    owner: str
    work: asyncio.Task[Analysis]
    ended: float = field(default=float("inf"))


class Jobs:
    """The jobs of a server, in memory: they end with it.

    Args:
        seconds: How long a finished job can be fetched.
        most: How many are kept; the oldest finished ones go first.
    """

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds, self._most = seconds, most
        self._kept: dict[str, _Kept] = {}

    def start(self, owner: str, work: Coroutine[Any, Any, Analysis], ended: Callable[[], None]) -> str:
        """Begin a job; its identifier, which cannot be guessed.

        Args:
            owner: Who may ask for it.
            work: What makes its answer.
            ended: Called when it has ended, however it did.
        """
        self._forget()
        identifier = secrets.token_urlsafe(16)
        kept = self._kept[identifier] = _Kept(owner, asyncio.create_task(work))

        def note(_: asyncio.Task[Analysis]) -> None:
            kept.ended = time.monotonic()
            ended()

        kept.work.add_done_callback(note)
        return identifier

    def get(self, identifier: str, owner: str) -> Job:
        """How a job stands.

        Raises:
            Problem: `not_found`: there is none, no longer, or it is another owner's.
        """
        work = self._find(identifier, owner).work
        if not work.done():
            return Job(id=identifier, status="waiting")
        if work.cancelled():
            return Job(id=identifier, status="cancelled")
        error = work.exception()
        if isinstance(error, Problem):
            return Job(id=identifier, status="failed", error=error.body())
        if error is not None:
            return Job(id=identifier, status="failed", error=Problem("internal_error", "the job failed").body())
        return Job(id=identifier, status="done", analysis=work.result())

    async def wait(self, identifier: str, owner: str, seconds: float) -> Job:
        """How a job stands when it has ended, or after so many seconds; errors as in `get`."""
        await asyncio.wait([self._find(identifier, owner).work], timeout=seconds)
        return self.get(identifier, owner)

    async def cancel(self, identifier: str, owner: str) -> Job:
        """Take a job out of the queue, or leave its verdict unread; one that has ended stays as it is."""
        work = self._find(identifier, owner).work
        work.cancel()
        await asyncio.wait([work])
        return self.get(identifier, owner)

    async def finished(self) -> None:
        """Wait until none is going on."""
        while going := [kept.work for kept in self._kept.values() if not kept.work.done()]:
            await asyncio.wait(going)

    def cancel_all(self) -> None:
        """Cancel those that are going on."""
        for kept in self._kept.values():
            kept.work.cancel()

    def _find(self, identifier: str, owner: str) -> _Kept:
        self._forget()
        kept = self._kept.get(identifier)
        if kept is None or kept.owner != owner:
            raise Problem("not_found", "there is no such job of yours, or it ended too long ago")
        return kept

    def _forget(self) -> None:
        oldest = time.monotonic() - self._seconds
        over = len(self._kept) - self._most
        for identifier, kept in list(self._kept.items()):
            if kept.ended < oldest or (over > 0 and kept.work.done()):
                del self._kept[identifier]
                over -= 1
