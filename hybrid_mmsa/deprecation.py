"""What is going to leave the public interface works for one more minor version, and says so. Knows no features.

    @deprecated("analyze_many", since="0.3", successor="analyze_batch")
    def analyze_many(...): ...

A test holds that nothing deprecated outlives its time (`outlived`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from ._version import __version__

__all__ = ["deprecated", "outlived", "warn_deprecated"]

P = ParamSpec("P")
R = TypeVar("R")


def warn_deprecated(name: str, *, since: str, successor: str, stacklevel: int = 2) -> None:
    """Warn that something is deprecated, at the place that used it.

    Args:
        name: What is deprecated, as users write it: a function, a parameter, a value.
        since: The minor version that deprecated it, such as `"0.3"`; it may be gone in the next.
        successor: What to use instead.
        stacklevel: Frames from here to the user's line, as `warnings.warn` counts them.
    """
    message = f"{name} is deprecated since {since} and goes with {_next(since)}; use {successor}"
    warnings.warn(message, DeprecationWarning, stacklevel=stacklevel + 1)


def deprecated(name: str, *, since: str, successor: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function warn when it is called; see `warn_deprecated`. Its facts stand in `__deprecated__`."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            warn_deprecated(name, since=since, successor=successor)
            return function(*args, **kwargs)

        vars(call)["__deprecated__"] = {"name": name, "since": since, "successor": successor}
        return call

    return decorate


def outlived(since: str, version: str = __version__) -> bool:
    """Whether what was deprecated by a version has had its time: it was there in one minor version more."""
    return _parts(version) >= _parts(_next(since))


def _next(version: str) -> str:
    major, minor = _parts(version)
    return f"{major}.{minor + 1}"


def _parts(version: str) -> tuple[int, int]:
    major, minor = version.split(".")[:2]
    return int(major), int(minor)
