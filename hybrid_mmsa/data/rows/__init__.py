"""Rows of any file as they stand there: names to values, one row at a time. It knows no samples and no models."""

from .source import Source, open_source
from .values import RawRow, RawRows

__all__ = ["RawRow", "RawRows", "Source", "open_source"]
