"""What a server takes and what that may cost: every setting with its default. Knows nothing of HTTP."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field, fields

from ..errors import InputError

__all__ = ["DEFAULT_SETTINGS", "ServerSettings"]


def _cores() -> int:
    """Cores this process may use, which a container may limit."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """How much a server takes at a time. The defaults are written here and nowhere else.

    Attributes:
        workers: Threads that read and judge posts; one per core.
        batch_posts: Most posts that are judged together.
        batch_tokens: Most tokens of posts that are judged together, a token counted as four characters. Several posts
            go together only while they stay below it; one post may be longer.
        batch_pixels: Most pixels of their pictures, as they were read.
        waiting_posts: Posts that may wait for the fast tier; more are refused with 503.
        waiting_pixels: Pixels of their pictures, three bytes each.
        deferred_posts: Posts that may wait for the reasoner.
        reasoner_workers: Calls of the reasoner at a time.
        reasoner_posts: Most posts in one call.
        deadline_seconds: How long a request may take, unless it asks for less.
        job_seconds: How long a finished job can be fetched.
        jobs: Most jobs that are kept; the oldest finished ones go first.
        request_posts: Most posts of one request.
        body_bytes: Most bytes of one request's body.
        all_bodies_bytes: Most bytes of the bodies of all requests at a time.
        body_seconds: How long a body may take to arrive.
        picture_bytes: Most bytes of a picture that is fetched.
        picture_seconds: How long it may take to arrive.
        fetches: Pictures that are fetched at a time; each is read before the next one is asked for.
        head_seconds: How long the head of a request may take to arrive.
        connections: Most connections at a time.
        posts_per_second: Posts a second that one key, or without keys one address, may send for long.
        posts_at_once: Posts that it may send at once after a pause.
        shutdown_seconds: How long a server that was told to stop works on what it has taken.

    Raises:
        InputError: A setting is not a positive number, or not a whole one where it counts.
    """

    workers: int = field(default_factory=_cores)
    batch_posts: int = 32
    batch_tokens: int = 4096
    batch_pixels: int = 16_000_000
    waiting_posts: int = 256
    waiting_pixels: int = 128_000_000
    deferred_posts: int = 64
    reasoner_workers: int = 1
    reasoner_posts: int = 8
    deadline_seconds: float = 30.0
    job_seconds: float = 600.0
    jobs: int = 1000
    request_posts: int = 64
    body_bytes: int = 32 * 2**20
    all_bodies_bytes: int = 128 * 2**20
    body_seconds: float = 20.0
    picture_bytes: int = 16 * 2**20
    picture_seconds: float = 5.0
    fetches: int = 4
    head_seconds: float = 10.0
    connections: int = 512
    posts_per_second: float = math.inf
    posts_at_once: int = 100
    shutdown_seconds: float = 30.0

    def __post_init__(self) -> None:
        for setting in fields(self):
            value = getattr(self, setting.name)
            kind = int if setting.type == "int" else int | float
            if not isinstance(value, kind) or isinstance(value, bool) or not value > 0:
                wanted = f"a positive {'whole ' if kind is int else ''}number"
                raise InputError(f"found {value!r}; wanted {wanted}", field=setting.name)


DEFAULT_SETTINGS = ServerSettings()
