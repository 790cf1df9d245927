"""A LoRA as PEFT saves it → the GGUF file that llama.cpp loads beside a model. Knows no labels and needs no torch."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import gguf
import numpy as np
import safetensors
from numpy.typing import NDArray
from safetensors import SafetensorError

from ...artefacts import LORA_CONFIG, LORA_WEIGHTS, LoraFile, read_artefact
from ...errors import ArtefactError

__all__ = ["GgufType", "LanguageModel", "close", "lora_file", "named", "permuted", "stored", "write_lora"]

GgufType: TypeAlias = Literal["float32", "float16"]
Floats: TypeAlias = NDArray[np.float32]

# Settings of PEFT that this file format cannot say, and the values that change nothing.
PLAIN: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "peft_type": ("LORA",),
        "use_rslora": (False, None),
        "use_dora": (False, None),
        "bias": ("none", None),
        "alpha_pattern": ({}, None),
        "rank_pattern": ({}, None),
        "modules_to_save": ([], None),
    }
)
KEY = re.compile(r"(?P<owner>.*?)\.?layers\.(?P<layer>\d+)\.(?P<module>[\w.]+)\.lora_(?P<side>[AB])\.weight")
_deserialize: Any = safetensors.deserialize  # not annotated
PLAIN_TYPES: Mapping[str, type[np.floating[Any]]] = MappingProxyType({"F32": np.float32, "F16": np.float16})


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """What decides where a LoRA's tensors belong in a model.

    Attributes:
        architecture: llama.cpp's name of it, such as `llama`.
        layers: How many.
        heads, key_heads: Of a layer's queries, and of its keys and values.
    """

    architecture: gguf.MODEL_ARCH
    layers: int
    heads: int
    key_heads: int

    @classmethod
    def of(cls, metadata: Mapping[str, str]) -> LanguageModel:
        """From what a GGUF file says of itself.

        Raises:
            ArtefactError: It does not say it.
        """
        name = metadata.get("general.architecture", "")
        known = {value: key for key, value in gguf.MODEL_ARCH_NAMES.items()}
        try:
            heads = metadata[f"{name}.attention.head_count"]
            key_heads = metadata.get(f"{name}.attention.head_count_kv", heads)
            return cls(known[name], int(metadata[f"{name}.block_count"]), int(heads), int(key_heads))
        except (KeyError, ValueError) as error:
            raise ArtefactError(f"a GGUF model of kind {name!r} does not say where a LoRA belongs: {error}") from error


@contextmanager
def lora_file(lora: Path, metadata: Mapping[str, str]) -> Iterator[Path]:
    """An adapter as a GGUF file: the path itself, the one such file in its folder, or one made of its PEFT files.

    Args:
        lora: A GGUF file, or a folder.
        metadata: Of the GGUF model that it is for.

    Raises:
        ArtefactError: The folder holds neither, or what it holds cannot be written as GGUF.
    """
    files = [lora] if lora.suffix == ".gguf" else sorted(lora.glob("*.gguf"))
    if len(files) == 1:
        yield files[0]
        return
    if files or not (lora / LORA_WEIGHTS).is_file():
        raise ArtefactError(
            f"{lora} holds {len(files)} GGUF files and no {LORA_WEIGHTS}: llama.cpp needs one of either"
        )
    with tempfile.TemporaryDirectory(prefix="hybrid_mmsa_") as folder:  # llama.cpp holds the weights once it read them
        made = Path(folder) / "lora.gguf"
        write_lora(lora, LanguageModel.of(metadata), made)
        yield made


def write_lora(lora: Path, model: LanguageModel, path: Path, dtype: GgufType = "float16") -> None:
    """Write a LoRA as GGUF.

    Args:
        lora: A folder with `adapter_config.json` and `adapter_model.safetensors`.
        model: The model it was trained on.
        path: The file to write.
        dtype: Of its matrices.

    Raises:
        ArtefactError: Files are missing or damaged, the adapter is of a kind that llama.cpp does not run, or it reaches
            outside of the language model's layers.
    """
    settings, weights = _read(lora)
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[model.architecture])
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(settings["lora_alpha"]))
    names = gguf.get_tensor_name_map(model.architecture, model.layers)
    heads = {"q_proj": model.heads, "k_proj": model.key_heads}
    for key, values in weights.items():
        match = _layer_key(key)
        count = heads.get(match["module"].split(".")[-1])
        if model.architecture == gguf.MODEL_ARCH.LLAMA and match["side"] == "B" and count is not None:
            values = permuted(values, count)
        name = named(names, f"model.layers.{match['layer']}.{match['module']}.weight")
        writer.add_tensor(f"{name}.lora_{match['side'].lower()}", stored(values, dtype))
    close(writer)


def _read(lora: Path) -> tuple[dict[str, Any], dict[str, Floats]]:
    try:
        settings = json.loads((lora / LORA_CONFIG).read_text(encoding="utf-8"))
        tensors = _deserialize((lora / LORA_WEIGHTS).read_bytes())
        weights = {name: _floats(tensor) for name, tensor in tensors}
    except (OSError, ValueError, SafetensorError) as error:
        raise ArtefactError(f"{lora} is no LoRA as PEFT saves it: {error}") from error
    exotic = [f"{name} = {settings[name]!r}" for name in PLAIN if settings.get(name) not in PLAIN[name]]
    if exotic:
        raise ArtefactError(
            f"{lora} cannot be written as GGUF: llama.cpp runs plain LoRA, this has {', '.join(exotic)}"
        )
    read_artefact(lora / LORA_CONFIG, LoraFile)
    return settings, weights


def _floats(tensor: Mapping[str, Any]) -> Floats:
    """A tensor of safetensors as float32; numpy has no bfloat16, which is the upper half of one."""
    kind, data = tensor["dtype"], tensor["data"]
    if kind == "BF16":
        values = (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    elif kind in PLAIN_TYPES:
        values = np.frombuffer(data, PLAIN_TYPES[kind]).astype(np.float32)
    else:
        raise ValueError(f"weights of type {kind}")
    return np.asarray(values, np.float32).reshape(tensor["shape"])


def _layer_key(key: str) -> re.Match[str]:
    match = KEY.fullmatch(key)
    if match is None or "vision" in match["owner"] or "visual" in match["owner"]:
        raise ArtefactError(f"llama.cpp runs a LoRA on the language model's layers alone; this one has {key}")
    return match


def permuted(values: Floats, heads: int) -> Floats:
    """Rows of a Llama's query or key projection in GGUF's order: rotary pairs side by side, not half a head apart."""
    pairs = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(values.shape))


def stored(values: Floats, dtype: GgufType) -> NDArray[np.float32 | np.float16]:
    """Values as they stand in a file: vectors in float32, matrices in `dtype`."""
    return np.ascontiguousarray(values, dtype=np.float32 if values.ndim == 1 else np.dtype(dtype))


def named(names: gguf.TensorNameMap, name: str) -> str:
    """llama.cpp's name of a tensor.

    Raises:
        ArtefactError: It has none.
    """
    find: Callable[..., str | None] = names.get_name
    gguf_name = find(name, try_suffixes=(".weight", ".bias"))
    if gguf_name is None:
        raise ArtefactError(f"llama.cpp has no place for the tensor {name}")
    return gguf_name


def close(writer: gguf.GGUFWriter) -> None:
    """Write out what was added."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
