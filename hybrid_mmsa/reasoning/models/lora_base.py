"""For which model a LoRA was made: one of the bundled reasoner answers with that reasoner only. Reads no weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...types import LoraRef
from ..base import Reasoner
from .own import BUNDLED

__all__ = ["misfit"]

_CONFIG = "adapter_config.json"


def misfit(lora: LoraRef, reasoner: Reasoner) -> str | None:
    """Why a reasoner answers without a LoRA adapter; `None` where nothing is known against it.

    An adapter with heads and a LoRA of the bundled reasoner shall serve those who ask a larger model, too. Whether any
    other LoRA fits is found out when it is put into the model.

    Args:
        lora: The adapter.
        reasoner: One that knows the revision of its weights (`revision`) is held to it, any other to its id.
    """
    base, made_for = _base(lora.path)
    if base != BUNDLED:
        return None
    revision = getattr(reasoner, "revision", None)
    if made_for and revision:
        fits, actual = made_for == revision, f"{reasoner.id} {revision[:12]}"
    else:
        fits, actual = reasoner.id == BUNDLED, reasoner.id
    expected = f"{BUNDLED} {made_for[:12]}" if made_for else BUNDLED
    return None if fits else f"the adapter's LoRA is for {expected}; {actual} answered without it"


def _base(folder: Path) -> tuple[str | None, str | None]:
    """The model that a LoRA's configuration names, and its revision; `None` where it names none or cannot be read."""
    try:
        config: Any = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None, None
    names = ("base_model_name_or_path", "revision")
    base, revision = (config.get(name) if isinstance(config, dict) else None for name in names)
    return base if isinstance(base, str) else None, revision if isinstance(revision, str) else None
