"""The question as a model reads it, and its answer as a verdict. Knows no model."""

from __future__ import annotations

__all__: list[str] = []
