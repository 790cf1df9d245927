"""What a process that `fork` made may go on with. Knows nothing of posts.

A fork copies memory but one thread alone: a lock that another thread held stays closed for ever in the child, and a
library's own threads are gone. So our locks open in the child, and what has threads or locks inside is opened again
there, or says that it stayed behind.
"""

from __future__ import annotations

import os
from functools import cache
from threading import Lock
from types import TracebackType
from typing import Protocol
from weakref import WeakSet

from .errors import ReasonerError

__all__ = ["Forked", "Home", "OpenLock", "tell_of_forks"]


class Forked(Protocol):
    """Something that a child of a fork cannot use as it is."""

    def forked(self) -> None:
        """Called in the child, before anything else runs there."""
        ...


_FORKED: WeakSet[Forked] = WeakSet()


def tell_of_forks(value: Forked) -> None:
    """Let a value know when this process was forked, in the child."""
    _register()
    _FORKED.add(value)


@cache
def _register() -> None:
    if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
        os.register_at_fork(after_in_child=_in_child)


def _in_child() -> None:
    for value in tuple(_FORKED):
        value.forked()


class OpenLock:
    """A lock that is open in the child of a fork, whoever held it in the parent.

    For values that are whole at every moment, and for work that the child does not go on with.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        tell_of_forks(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock.locked():  # not in the child of the thread that held it
            self._lock.release()

    def locked(self) -> bool:
        """Whether somebody holds it."""
        return self._lock.locked()

    def forked(self) -> None:
        """Open it."""
        self._lock = Lock()


class Home:
    """The process in which something was opened that no other can use."""

    def __init__(self) -> None:
        self._process = os.getpid()

    def check(self, name: str) -> None:
        """Raise `ReasonerError` in another process.

        Args:
            name: What was opened, for the error.
        """
        if os.getpid() != self._process:
            raise ReasonerError(
                f"{name} was opened before this process was forked, and its threads stayed behind: open it in this "
                "process, or start processes by spawn"
            )
