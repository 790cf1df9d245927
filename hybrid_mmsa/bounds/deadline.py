"""How long the work on some posts may go on. Knows nothing of posts, nor of what the work is.

Work that cannot be broken off is done in groups, each of which is expected to end in time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from time import monotonic
from typing import TypeVar

__all__ = ["ENDLESS", "NO_TIME", "Deadline"]

T = TypeVar("T")
NO_TIME = "no time was left (max_post_seconds)"
"""Why something was not done."""


class Deadline:
    """A moment after which no more work is begun.

    Args:
        seconds: From now on, by the clock on the wall; infinite for no limit.
    """

    def __init__(self, seconds: float = math.inf) -> None:
        self._until = monotonic() + seconds

    @property
    def passed(self) -> bool:
        """Whether the time is spent."""
        return monotonic() >= self._until

    def groups(self, items: Sequence[T]) -> Iterator[Sequence[T]]:
        """The items in their order, some at a time, until the time is spent.

        Without a limit they come all at once. With one, the first comes alone, and a group has at most twice as many as
        the one before and no more than should end in time, by how long that one took: so the work goes on past the
        deadline by one item, or by as much as items differ.
        """
        start, size = 0, len(items) if math.isinf(self._until) else 1
        while start < len(items) and not self.passed:
            group, began = items[start : start + size], monotonic()
            yield group
            start += len(group)
            now = monotonic()
            each = max(now - began, 1e-6) / len(group)
            size = max(1, int(min(2 * size, (self._until - now) / each)))


ENDLESS = Deadline()
"""No limit."""
