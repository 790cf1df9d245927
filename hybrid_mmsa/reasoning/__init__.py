"""The second half of the hybrid: reasoners that answer deferred posts. Knows nothing of the fast tier."""

from __future__ import annotations

from .backends.recorded import RecordedReasoner
from .base import Reasoner, check_reasoner, unseen_by
from .budget import Account, Budget, BudgetedReasoner
from .config import ReasonerConfig
from .deferred import Verdicts, ask_about_deferred
from .models.opening import load_lora, open_reasoner
from .models.presets import Preset, presets
from .prompt.prompts import Prompt, load_prompt

__all__ = [
    "Account",
    "Budget",
    "BudgetedReasoner",
    "Preset",
    "Prompt",
    "Reasoner",
    "ReasonerConfig",
    "RecordedReasoner",
    "Verdicts",
    "ask_about_deferred",
    "check_reasoner",
    "load_lora",
    "load_prompt",
    "open_reasoner",
    "presets",
    "unseen_by",
]
