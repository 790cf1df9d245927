"""For which weights a LoRA was made: a reasoner of other weights answers without it. Reads no weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...artefacts import LORA_CONFIG
from ...types import LoraRef
from ..base import Reasoner

__all__ = ["misfit"]


def misfit(lora: LoraRef, reasoner: Reasoner) -> str | None:
    """Why a reasoner answers without a LoRA adapter; `None` where nothing is known against it.

    An adapter with heads and a LoRA for one model shall serve those who ask another one, too. It is told by the
    revision of the weights. Where either names none, whether the LoRA fits is found out when it is put into the model.

    Args:
        lora: The adapter.
        reasoner: May know the `revision` of its weights.
    """
    base, made_for = _base(lora.path)
    revision = getattr(reasoner, "revision", None)
    if base is None or made_for is None or revision is None or made_for == revision:
        return None
    return f"the adapter's LoRA is for {base} {made_for[:12]}; {reasoner.id} {str(revision)[:12]} answered without it"


def _base(folder: Path) -> tuple[str | None, str | None]:
    """The model that a LoRA's configuration names, and its revision; `None` where it names none or cannot be read."""
    try:
        config: Any = json.loads((folder / LORA_CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None, None
    names = ("base_model_name_or_path", "revision")
    base, revision = (config.get(name) if isinstance(config, dict) else None for name in names)
    return base if isinstance(base, str) else None, revision if isinstance(revision, str) else None
