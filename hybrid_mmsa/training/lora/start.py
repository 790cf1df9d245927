"""The LoRA that a recipe goes on from: found, and checked against the model. Trains nothing."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from ...adapters import LORA
from ...artefacts import LORA_CONFIG, LORA_WEIGHTS
from ...bundled import bundled_path
from ...errors import InputError
from ...reasoning.backends.transformers.adapters import BEFORE, as_in
from ...reasoning.backends.transformers.loading import Vlm
from .checks import language_linears
from .recipe import TuningRecipe

__all__ = ["bundled_lora", "find_lora", "read_start"]


def find_lora(name: str) -> Path:
    """The folder of a LoRA: itself or an adapter's, by its path or a bundled adapter's name.

    Raises:
        InputError: There is no LoRA of that name.
    """
    for place in (Path(name), Path(name) / LORA, bundled_path("adapters") / name / LORA):
        if (place / LORA_WEIGHTS).is_file() and (place / LORA_CONFIG).is_file():
            return place
    raise InputError(f"found {name!r}; wanted a folder with a LoRA, or a bundled adapter with one", field="start")


def bundled_lora(name: str) -> str | None:
    """The bundled adapter that `find_lora` finds a LoRA in; `None` where it is another's.

    Raises:
        InputError: There is no LoRA of that name.
    """
    adapter = find_lora(name).resolve().parent
    return adapter.name if adapter.parent == bundled_path("adapters").resolve() else None


def read_start(recipe: TuningRecipe, vlm: Vlm) -> dict[str, torch.Tensor]:
    """The weights to begin at, by PEFT's names in the model; none where the recipe names no LoRA.

    Args:
        recipe: Says which, and of what shape.
        vlm: The model that is tuned, without adapters; its layers are enough.

    Raises:
        InputError: There is no LoRA of that name, or it is of another shape or scale.
    """
    if not recipe.start:
        return {}
    folder = find_lora(recipe.start)
    file = folder / LORA_WEIGHTS
    found = as_in(vlm.model, vlm.language, load_file(file))
    if _shapes(recipe, vlm) != {name: tuple(value.shape) for name, value in found.items()}:
        raise InputError(f"{file} has other layers than the recipe's LoRA, or another rank", field="start")
    made = json.loads((folder / LORA_CONFIG).read_text(encoding="utf-8"))
    alpha, by_root = made.get("lora_alpha"), bool(made.get("use_rslora"))
    if by_root or alpha != recipe.alpha:
        scale = f"alpha {alpha}" + (" over the root of its rank" if by_root else "")
        raise InputError(
            f"{folder} was made with {scale}, and the recipe says alpha {recipe.alpha}: its effect would be another",
            field="start",
        )
    return {name: value.float() for name, value in found.items()}


def _shapes(recipe: TuningRecipe, vlm: Vlm) -> dict[str, tuple[int, int]]:
    """The shape of each weight of the recipe's LoRA."""
    shapes = {}
    for name in language_linears(vlm):
        linear = vlm.model.get_submodule(name)
        shapes[f"{BEFORE}{name}.lora_A.weight"] = (recipe.rank, int(linear.in_features))
        shapes[f"{BEFORE}{name}.lora_B.weight"] = (int(linear.out_features), recipe.rank)
    return shapes
