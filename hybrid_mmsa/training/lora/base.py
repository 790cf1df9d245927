"""The model that a LoRA is tuned on or exported for: found on this machine, opened as its folder says."""

from __future__ import annotations

from pathlib import Path

from ...errors import InputError
from ...reasoning import ReasonerConfig, presets
from ...reasoning.models.opening import located
from ...reasoning.models.own import own_config
from ...reasoning.models.store import model_folder

__all__ = ["PATIENCE", "find_base"]

PATIENCE = 600
"""Seconds that a batch may take while adapters are measured: a slow machine must not lose a training."""


def find_base(name: str) -> ReasonerConfig:
    """How a base is opened: as its folder says, without the LoRA that this names.

    What is tuned or exported is measured beside the model as it was published.

    Args:
        name: A pulled preset's, or a model's folder.

    Raises:
        InputError: It is neither, or of a backend without tuning.
        ArtefactError: The preset was not pulled, or files are not as they were pulled.
    """
    folder = model_folder(name) if name in presets() else Path(name)
    if name not in presets() and not (folder / "config.json").is_file():
        known = f"presets are {', '.join(presets())}"
        raise InputError(f"no model {name!r}; {known}; or name a model's folder", field="--base")
    config = own_config(folder) or ReasonerConfig(backend="transformers", model=name)
    if config.backend != "transformers":
        raise InputError(f"{name} is for {config.backend}, which trains nothing: name another", field="--base")
    return located(config.model_copy(update={"lora": None}))
