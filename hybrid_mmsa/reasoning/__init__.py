"""The second half of the hybrid: reasoners that answer deferred posts. Knows nothing of the fast tier."""

from __future__ import annotations

from .backends.recorded import RecordedReasoner
from .base import Reasoner
from .config import ReasonerConfig
from .deferred import ask_about_deferred
from .models.opening import open_reasoner
from .models.presets import Preset, presets
from .prompt.prompts import Prompt, load_prompt

__all__ = [
    "Preset",
    "Prompt",
    "Reasoner",
    "ReasonerConfig",
    "RecordedReasoner",
    "ask_about_deferred",
    "load_prompt",
    "open_reasoner",
    "presets",
]
