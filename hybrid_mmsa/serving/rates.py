"""How many posts a second each sender may send: token buckets. Knows nothing of who they are."""

from __future__ import annotations

import math
import time
from collections import OrderedDict

from .problems import Problem

__all__ = ["Rates"]

MOST_SENDERS = 10_000
"""Senders that are remembered; the one that was not heard of for longest is forgotten first."""


class Rates:
    """A bucket for each sender, which fills by so many posts a second.

    Args:
        per_second: What a bucket gains a second; infinity limits nothing.
        at_once: What it holds.
    """

    def __init__(self, per_second: float, at_once: int) -> None:
        self._per_second, self._at_once = per_second, float(at_once)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, sender: str, posts: int) -> None:
        """Take posts from a bucket. More than it ever holds are let through when it is full, and leave it in debt.

        Raises:
            Problem: `rate_limited`, with the seconds after which there are enough.
        """
        if math.isinf(self._per_second):
            return
        now = time.monotonic()
        level, since = self._buckets.pop(sender, (self._at_once, now))
        level = min(self._at_once, level + (now - since) * self._per_second)
        wanted = min(posts, self._at_once)
        self._buckets[sender] = (level - posts if level >= wanted else level), now
        if len(self._buckets) > MOST_SENDERS:
            self._buckets.popitem(last=False)
        if level < wanted:
            detail = f"at most {self._per_second:g} posts a second may be sent for long"
            raise Problem("rate_limited", detail, retry_after=(wanted - level) / self._per_second)
