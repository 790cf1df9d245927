"""The second half of the hybrid: reasoners that answer deferred posts. Knows nothing of the fast tier."""

from __future__ import annotations

from .base import Reasoner
from .deferred import ask_about_deferred
from .recorded import RecordedReasoner

__all__ = ["Reasoner", "RecordedReasoner", "ask_about_deferred"]
