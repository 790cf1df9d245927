"""What commands share: the console, options, settings, progress, and how answers are shown."""

from __future__ import annotations

__all__: list[str] = []
