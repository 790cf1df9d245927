"""Models in ONNX, opened as this package wants them: for encoders, senses and reasoners. Knows nothing of posts."""

from __future__ import annotations

from .session import Session, open_session
from .weights import Shown

__all__ = ["Session", "Shown", "open_session"]
