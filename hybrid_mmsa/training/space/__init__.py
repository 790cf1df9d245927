"""One space for words and pictures, fitted on captioned photos. Knows no sentiment."""

from __future__ import annotations

__all__: list[str] = []
