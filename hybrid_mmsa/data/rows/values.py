"""What the readers of all formats yield. It knows no format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from ...types import RowError

__all__ = ["RawRow", "RawRows"]

RawRow: TypeAlias = "tuple[int, Mapping[str, object] | RowError]"
"""The 1-based line (of a format without lines: the row) and the row's columns, or what is wrong with it."""
RawRows: TypeAlias = Iterator[RawRow]
