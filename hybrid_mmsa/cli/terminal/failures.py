"""Rows that could not be used, as people read them on standard error. Knows nothing of commands."""

from __future__ import annotations

from collections.abc import Iterable

from ...types import RowError
from .console import say

__all__ = ["LISTED", "say_failures"]

LISTED = 5
"""Failures that a command shows; what it writes has them all."""


def say_failures(failures: Iterable[RowError]) -> None:
    """One line for each row: where it stands, and why it could not be used."""
    for row in failures:
        say(f"line {row.line}: " + (f"{row.field}: " if row.field else "") + row.error)
