"""Making the towers, the head and what is fitted on them. Needs the extra `train`; imports no torch by itself."""

from __future__ import annotations

__all__: list[str] = []
