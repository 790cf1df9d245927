"""What a reasoner learns to answer: its targets. Knows no model."""

from __future__ import annotations

__all__: list[str] = []
