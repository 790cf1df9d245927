"""A LoRA as PEFT saves it → the GGUF file that llama.cpp loads beside its base model. Knows no base weights."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import AutoConfig

from ...errors import ArtefactError
from .gguf import GgufType, close, named, permuted, stored

__all__ = ["write_gguf_lora"]

# llama.cpp's name of a text model. Its Llama alone orders the rows of queries and keys in another way.
ARCHITECTURES = {
    "llama": gguf.MODEL_ARCH.LLAMA,
    "mistral": gguf.MODEL_ARCH.LLAMA,
    "qwen2": gguf.MODEL_ARCH.QWEN2,
    "qwen2_vl_text": gguf.MODEL_ARCH.QWEN2VL,
    "qwen2_5_vl_text": gguf.MODEL_ARCH.QWEN2VL,
    "qwen3": gguf.MODEL_ARCH.QWEN3,
    "qwen3_vl_text": gguf.MODEL_ARCH.QWEN3VL,
}
# Settings of PEFT that this file format cannot say, and the values that change nothing.
PLAIN: Mapping[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "use_rslora": (False, None),
    "use_dora": (False, None),
    "bias": ("none", None),
    "alpha_pattern": ({}, None),
    "rank_pattern": ({}, None),
    "modules_to_save": ([], None),
}
KEY = re.compile(r"(?P<owner>.*?)\.?layers\.(?P<layer>\d+)\.(?P<module>[\w.]+)\.lora_(?P<side>[AB])\.weight")


def write_gguf_lora(lora: Path, base: Path, path: Path, dtype: GgufType = "float16") -> None:
    """Write a LoRA as GGUF.

    Args:
        lora: A folder with `adapter_config.json` and `adapter_model.safetensors`.
        base: The folder of the model it was trained on; only its `config.json` is read.
        path: The file to write.
        dtype: Of its matrices.

    Raises:
        ArtefactError: Files are missing or damaged, the adapter is of a kind that llama.cpp does not run, or it reaches
            outside of the language model's layers.
    """
    try:
        settings = json.loads((lora / "adapter_config.json").read_text(encoding="utf-8"))
        weights = load_file(lora / "adapter_model.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise ArtefactError(f"{lora} is no LoRA as PEFT saves it: {error}") from error
    exotic = [f"{name} = {settings[name]!r}" for name in PLAIN if settings.get(name) not in PLAIN[name]]
    if exotic:
        raise ArtefactError(
            f"{lora} cannot be written as GGUF: llama.cpp runs plain LoRA, this has {', '.join(exotic)}"
        )
    text = AutoConfig.from_pretrained(base).get_text_config()
    if text.model_type not in ARCHITECTURES:
        raise ArtefactError(f"{base}: llama.cpp's name of a {text.model_type!r} is not known here")
    architecture = ARCHITECTURES[text.model_type]
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[architecture])
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(settings["lora_alpha"]))
    names = gguf.get_tensor_name_map(architecture, text.num_hidden_layers)
    heads = {"q_proj": text.num_attention_heads, "k_proj": text.num_key_value_heads}
    for key, tensor in weights.items():
        found = _place(key)
        values = tensor.to(torch.float32).numpy()
        count = heads.get(found["module"].split(".")[-1])
        if architecture == gguf.MODEL_ARCH.LLAMA and found["side"] == "B" and count is not None:
            values = permuted(values, count)
        name = named(names, f"model.layers.{found['layer']}.{found['module']}.weight")
        writer.add_tensor(f"{name}.lora_{found['side'].lower()}", stored(values, dtype))
    close(writer)


def _place(key: str) -> re.Match[str]:
    found = KEY.fullmatch(key)
    if found is None or "vision" in found["owner"] or "visual" in found["owner"]:
        raise ArtefactError(f"llama.cpp runs a LoRA on the language model's layers alone; this one has {key}")
    return found
