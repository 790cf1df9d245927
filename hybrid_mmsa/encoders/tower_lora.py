"""LoRA on the towers of a pair (extra `hf`): put into a tower to be trained, written, and read and merged.

Knows nothing of labels. All linear layers of a tower are targets. Attention that packs its projections into one matrix
(`nn.MultiheadAttention`, as in open_clip's own towers) is not: PEFT would merge and unmerge it around every call, which
moves the base weights a little each time; there, the layers after attention carry the change.

    <folder>/text/adapter_config.json, adapter_model.safetensors   as PEFT writes them
    <folder>/image/…
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from ..artefacts import LORA_CONFIG, LORA_WEIGHTS, LoraFile, read_artefact
from ..errors import ArtefactError, InputError
from ..types import Modality
from .pair import Tower, TowerPair

__all__ = ["add_lora", "read_lora", "with_lora", "write_lora"]

SIDES: tuple[Modality, ...] = ("text", "image")


def add_lora(tower: Tower, side: Modality, *, rank: int, seed: int) -> Any:
    """Put a LoRA that changes nothing yet into a tower, in place; its weights alone can be trained.

    Args:
        tower: The tower.
        side: Its name, for errors.
        rank: Of each change; scaled by 2, the usual.
        seed: Of the beginning.

    Returns:
        The `PeftModel`; its `unload()` takes the LoRA out again, `merge_and_unload()` makes it part of the tower.

    Raises:
        InputError: The tower has no linear layers (a ResNet, say).
    """
    names = _linear_layers(tower.module)
    if not names:
        raise InputError(f"the {side} tower has no linear layers that LoRA could change", field="--lora")
    torch.manual_seed(seed)
    return _put_in(tower.module, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names))


def _put_in(module: nn.Module, config: LoraConfig) -> Any:
    with warnings.catch_warnings():  # PEFT asks transformers' models for a property under its deprecated name
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        warnings.filterwarnings("error", "target_parameters", RuntimeWarning)  # of those that are not there
        return PeftModel(module, config)


def _linear_layers(module: nn.Module) -> list[str]:
    packed = [name for name, part in module.named_modules() if isinstance(part, nn.MultiheadAttention)]
    return [
        name
        for name, part in module.named_modules()
        if isinstance(part, nn.Linear) and not any(name.startswith(f"{outer}.") for outer in packed)
    ]


def write_lora(model: Any, folder: Path) -> None:
    """Write the LoRA of a `PeftModel` as PEFT's two files."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = get_peft_model_state_dict(model, save_embedding_layers=False)
    save_file({name: value.detach().contiguous() for name, value in weights.items()}, folder / LORA_WEIGHTS)
    model.peft_config["default"].save_pretrained(str(folder))


def with_lora(pair: TowerPair, folder: Path, name: str) -> TowerPair:
    """The pair with the LoRAs in a folder merged into its towers, in place, under a hash of its own.

    Raises:
        ArtefactError: There is none, or one cannot be read, does not fit, changes nothing or leaves no numbers.
    """
    found = [side for side in SIDES if (folder / side).is_dir()]
    if not found:
        raise ArtefactError(f"{folder} holds no LoRA for a tower: wanted {folder / 'text'} or {folder / 'image'}")
    digest = hashlib.sha256(pair.hash.encode())
    for side in found:
        read_lora(pair.towers[side], folder / side)
        digest.update(side.encode() + _digest(folder / side))
    return replace(pair, name=name, hash=digest.hexdigest())


def read_lora(tower: Tower, folder: Path) -> None:
    """Merge one LoRA into its tower, in place; errors as in `with_lora`."""
    config, weights = _read(folder)
    with torch.inference_mode():
        before = tower.features([tower.example]).clone()
    try:
        model = _put_in(tower.module, config)
        wanted = get_peft_model_state_dict(model, save_embedding_layers=False)
        _refuse_others(folder, wanted, weights)
        set_peft_model_state_dict(model, weights)
    except (AttributeError, KeyError, RuntimeError, RuntimeWarning, TypeError, ValueError) as error:
        raise ArtefactError(f"the LoRA in {folder} does not fit its tower: {str(error).splitlines()[0]}") from error
    model.merge_and_unload()
    tower.module.requires_grad_(False)
    with torch.inference_mode():
        after = tower.features([tower.example])
    if not torch.isfinite(after).all():
        raise ArtefactError(f"the LoRA in {folder} makes the tower's features no numbers")
    if torch.equal(before, after):
        raise ArtefactError(f"the LoRA in {folder} changes nothing: the tower's features are the same without it")


def _read(folder: Path) -> tuple[LoraConfig, dict[str, torch.Tensor]]:
    try:
        facts = json.loads((folder / LORA_CONFIG).read_text(encoding="utf-8"))
        if facts.get("peft_type") != "LORA" or facts.get("bias", "none") != "none":
            raise ArtefactError(f"{folder} holds no plain LoRA: {facts.get('peft_type')}, bias {facts.get('bias')!r}")
        read_artefact(folder / LORA_CONFIG, LoraFile)
        config = LoraConfig.from_pretrained(str(folder))
        weights = load_file(folder / LORA_WEIGHTS)
    except ArtefactError:
        raise
    except (AttributeError, OSError, TypeError, ValueError, RecursionError, SafetensorError) as error:
        raise ArtefactError(f"the LoRA in {folder} cannot be read: {str(error).splitlines()[0]}") from error
    config.init_lora_weights = True  # every weight comes from the file; other beginnings change the tower itself
    config.inference_mode = True
    return config, weights


def _refuse_others(folder: Path, wanted: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor]) -> None:
    missing, unexpected = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    if missing or unexpected:
        causes = [
            f"{n} keys are {what}, such as {keys[0]}"
            for keys, what in ((missing, "missing"), (unexpected, "unexpected"))
            if (n := len(keys))
        ]
        raise ArtefactError(f"the LoRA in {folder} does not fit its tower: {'; '.join(causes)}")
    for name, value in wanted.items():
        if value.shape != found[name].shape:
            shapes = f"{tuple(found[name].shape)}, wanted {tuple(value.shape)}"
            raise ArtefactError(f"the LoRA in {folder} does not fit its tower: {name} has shape {shapes}")


def _digest(folder: Path) -> bytes:
    return b"".join(hashlib.sha256((folder / name).read_bytes()).digest() for name in (LORA_CONFIG, LORA_WEIGHTS))
