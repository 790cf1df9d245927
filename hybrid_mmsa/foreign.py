"""The border to other people's code: whatever an encoder, reasoner, picture object or row raises becomes our error.

Knows nothing of encoders, reasoners or posts. `KeyboardInterrupt` and its like pass through: they are not failures of
the code that was called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .errors import HybridError

__all__ = ["cause", "translated"]

LONGEST_CAUSE = 200


@contextmanager
def translated(error: Callable[[str], HybridError]) -> Iterator[None]:
    """Turn every foreign exception raised inside into one of ours; our own errors pass unchanged.

    Args:
        error: The error for a cause in words, see `cause`.
    """
    try:
        yield
    except HybridError:
        raise
    except Exception as foreign:
        raise error(cause(foreign)) from foreign


def cause(error: BaseException) -> str:
    """An exception in one line: its type and message, cut at 200 characters."""
    try:
        message = " ".join(str(error).split())
    except Exception:  # a foreign exception may fail even at describing itself
        message = ""
    name = type(error).__name__
    return f"{name}: {message[:LONGEST_CAUSE]}" if message else name
