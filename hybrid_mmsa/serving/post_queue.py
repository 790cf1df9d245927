"""Posts that wait to be judged, and are judged together: batches counted in posts, tokens and pixels.

There is no pause in which a batch is gathered: a free worker takes what waits, so that a lone post starts at once and
batches grow by themselves when all workers are busy. Knows nothing of HTTP or of what judges.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from PIL import Image

from ..types import Analysis, Sample
from .problems import Problem
from .reading import Options

__all__ = ["BatchLimits", "Judge", "Outcome", "Post", "PostQueue", "QueueMeter"]

CHARACTERS_A_TOKEN = 4
MEMORY = 0.2
"""Weight of the newest batch in the running mean of a post's time."""

Outcome = Analysis | Problem
Judge = Callable[[Sequence[Sample], Options], list[Outcome]]
"""Judges posts in a thread; an outcome for each, in their order. It does not raise for a post."""


@dataclass(frozen=True, slots=True, eq=False)
class Post:
    """A post as it was read, and how it is to be answered."""

    sample: Sample
    options: Options

    @property
    def tokens(self) -> int:
        """How many tokens its words are, roughly."""
        return 1 + len(self.sample.text or "") // CHARACTERS_A_TOKEN

    @property
    def pixels(self) -> int:
        """How many pixels its picture has."""
        image = self.sample.image
        return image.width * image.height if isinstance(image, Image.Image) else 0


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How much is judged together, and how much may wait."""

    posts: int
    tokens: int
    pixels: int
    waiting_posts: int
    waiting_pixels: int


class QueueMeter(Protocol):
    """Is told what a queue does."""

    def waited(self, seconds: float) -> None:
        """A post waited so long for a worker."""

    def batch(self, posts: Sequence[Post], seconds: float) -> None:
        """These posts were judged together in so long."""


@dataclass(slots=True, eq=False)
class _Waiting:
    """A post in the queue; whoever no longer wants its outcome cancels the future."""

    post: Post
    outcome: asyncio.Future[Outcome]
    since: float


class PostQueue:
    """A bounded queue before some workers. It belongs to one event loop.

    Args:
        judge: What judges a batch.
        limits: How much at a time.
        pool: Threads that the judge runs in.
        workers: How many batches are judged at a time.
        meter: Is told what happens.
    """

    def __init__(self, judge: Judge, limits: BatchLimits, *, pool: Executor, workers: int, meter: QueueMeter) -> None:
        self._judge, self._limits, self._pool, self._workers, self._meter = judge, limits, pool, workers, meter
        self._places = 0
        self._waiting: dict[_Waiting, None] = {}
        self._running: dict[asyncio.Future[list[Outcome]], float] = {}
        self._seconds_a_post = 0.0

    def __len__(self) -> int:
        """Posts that have a place: those that wait, and those that are being judged."""
        return self._places

    @property
    def busy_seconds(self) -> float:
        """How long the batch that was begun first has been running; 0 where none is."""
        return time.monotonic() - min(self._running.values()) if self._running else 0.0

    def check_room(self, posts: int = 1) -> None:
        """Raise `overloaded` unless there are so many places, with the seconds after which there may be."""
        if self._places + posts > self._limits.waiting_posts:
            raise self._overloaded(f"{self._places:,} posts are waiting")

    @contextmanager
    def places(self, posts: int) -> Iterator[None]:
        """Take places for posts that are to come, before they are read.

        Raises:
            Problem: `overloaded`, as `check_room` raises it.
        """
        self.check_room(posts)
        self._places += posts
        try:
            yield
        finally:
            self._places -= posts

    async def outcomes(self, posts: Sequence[Post]) -> list[Outcome]:
        """The outcomes of posts that have places, in their order. A cancelled call takes its posts out of the queue.

        Raises:
            Problem: `overloaded`: the pictures that wait have too many pixels.
        """
        pixels = sum(waiting.post.pixels for waiting in self._waiting) + sum(post.pixels for post in posts)
        if self._waiting and pixels > self._limits.waiting_pixels:
            raise self._overloaded("pictures of too many pixels are waiting")
        loop = asyncio.get_running_loop()
        entries = [_Waiting(post, loop.create_future(), time.monotonic()) for post in posts]
        self._waiting.update(dict.fromkeys(entries))
        self._start_batches()
        try:
            return list(await asyncio.gather(*(entry.outcome for entry in entries)))
        finally:
            for entry in entries:
                self._waiting.pop(entry, None)

    async def finished(self) -> None:
        """Wait until no batch is running; posts that wait start as workers become free."""
        while self._running:
            await asyncio.wait(list(self._running))

    def _overloaded(self, what: str) -> Problem:
        wait = self._places * self._seconds_a_post / self._workers
        return Problem("overloaded", f"{what}; try again later", retry_after=wait)

    def _start_batches(self) -> None:
        while self._waiting and len(self._running) < self._workers:
            batch = self._next_batch()
            posts = [entry.post for entry in batch]
            now = time.monotonic()
            for entry in batch:
                self._meter.waited(now - entry.since)
            samples, options = [post.sample for post in posts], posts[0].options
            running = asyncio.get_running_loop().run_in_executor(self._pool, self._judge, samples, options)
            self._running[running] = now
            running.add_done_callback(lambda future, batch=batch: self._finish(future, batch))  # type: ignore[misc]

    def _next_batch(self) -> list[_Waiting]:
        """The post that has waited longest, and those with its options that fit in beside it."""
        batch: list[_Waiting] = []
        tokens = pixels = 0
        for entry in self._waiting:
            post = entry.post
            if batch and post.options != batch[0].post.options:
                continue
            tokens, pixels = tokens + post.tokens, pixels + post.pixels
            if batch and (tokens > self._limits.tokens or pixels > self._limits.pixels):
                break
            batch.append(entry)
            if len(batch) == self._limits.posts:
                break
        for entry in batch:
            del self._waiting[entry]
        return batch

    def _finish(self, future: asyncio.Future[list[Outcome]], batch: Sequence[_Waiting]) -> None:
        seconds = time.monotonic() - self._running.pop(future)
        self._meter.batch([entry.post for entry in batch], seconds)
        self._seconds_a_post += MEMORY * (seconds / len(batch) - self._seconds_a_post)
        error = None if future.cancelled() else future.exception()
        for row, entry in enumerate(batch):
            if entry.outcome.done():
                continue
            if future.cancelled():
                entry.outcome.cancel()
            elif error is not None:
                entry.outcome.set_exception(error)
            else:
                entry.outcome.set_result(future.result()[row])
        self._start_batches()
