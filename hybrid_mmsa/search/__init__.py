"""Search among vectors: the nearest of many. It knows nothing of posts."""

from __future__ import annotations

from .neighbours import Neighbours

__all__ = ["Neighbours"]
