"""For which model a LoRA was made: one for the bundled reasoner answers with that alone. Reads no weights."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from ..types import LoraRef
from .own import BUNDLED

__all__ = ["NOT_FOR_THIS", "fits"]

NOT_FOR_THIS = f"the adapter's LoRA is for {BUNDLED}; the reasoner answered without it"
_CONFIG = "adapter_config.json"


def fits(lora: LoraRef, reasoner: str) -> bool:
    """Whether a reasoner may answer with a LoRA adapter.

    A bundled adapter that holds heads and a LoRA for `nano` shall serve those who ask a larger model, too. Whether any
    other LoRA fits is found out when it is put into the model.

    Args:
        lora: The adapter.
        reasoner: The reasoner's id.
    """
    return reasoner == BUNDLED or _base(lora.path) != BUNDLED


@cache
def _base(folder: Path) -> str | None:
    """The model that a LoRA's configuration names; `None` where it names none, or cannot be read."""
    try:
        told = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    base = told.get("base_model_name_or_path") if isinstance(told, dict) else None
    return base if isinstance(base, str) else None
