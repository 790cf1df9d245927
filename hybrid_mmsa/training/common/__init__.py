"""What every training shares: the loop, batches, device and precision, the loss of several heads, and provenance."""

from __future__ import annotations

__all__: list[str] = []
