"""Evidence for an answer: modality shares and a sentence composed from them. Never changes how a verdict is reached."""

from __future__ import annotations

from .compose import compose
from .shares import modality_shares

__all__ = ["compose", "modality_shares"]
