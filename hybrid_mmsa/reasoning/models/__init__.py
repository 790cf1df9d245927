"""Which models there are, where they lie, and how they are fetched, checked and opened."""

from __future__ import annotations

__all__: list[str] = []
