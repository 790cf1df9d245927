"""A LLaVA folder → the two GGUF files that llama.cpp runs: the language model, and the picture side (mmproj).

Knows no labels, no prompts and no adapters. Reads Llama text models with CLIP vision and the two-layer projector; for
every other family, and for quantised files, llama.cpp's own converter is the tool.

llama.cpp puts CLIP's class token behind the patches, not before them, and drops the first row all the same. So it shows
the language model all patches but the first, and the class token as the last; answers move a little, the file is right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import gguf
import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoProcessor, LlavaConfig, LlavaForConditionalGeneration

from ...errors import ArtefactError
from .gguf_vocab import add_vocabulary

__all__ = ["GgufType", "close", "named", "permuted", "stored", "write_gguf"]

GgufType: TypeAlias = Literal["float32", "float16"]
Weights: TypeAlias = Mapping[str, torch.Tensor]

TEXT, VISION, PROJECTOR = "model.language_model.", "model.vision_tower.", "model.multi_modal_projector."
# llama.cpp numbers the projector's layers by their place in `Sequential(Linear, GELU, Linear)`.
PROJECTOR_NAMES = {"linear_1": "mm.0", "linear_2": "mm.2"}
SECOND_TO_LAST = -2  # the layer llama.cpp reads the picture from when a file names none


def write_gguf(folder: Path, model: Path, mmproj: Path, dtype: GgufType = "float16") -> None:
    """Write a LLaVA as GGUF.

    Args:
        folder: What `save_pretrained` of model and processor wrote.
        model: The language model's file; its chat template is the processor's.
        mmproj: The file of vision tower and projector.
        dtype: Of the matrices; vectors are float32 always.

    Raises:
        ArtefactError: Another kind of model, or one with parts that llama.cpp's LLaVA does not have.
    """
    config = LlavaConfig.from_pretrained(folder)
    _check(config, folder)
    weights = LlavaForConditionalGeneration.from_pretrained(folder, dtype="auto").state_dict()
    processor = AutoProcessor.from_pretrained(folder)  # type: ignore[no-untyped-call]
    _write_text(config, weights, processor, model, dtype)
    _write_vision(config, weights, processor, mmproj, dtype)


def _check(config: Any, folder: Path) -> None:
    text, vision = config.text_config, config.vision_config
    found = {
        "text model": (text.model_type, "llama"),
        "vision tower": (vision.model_type, "clip_vision_model"),
        "vision_feature_select_strategy": (config.vision_feature_select_strategy, "default"),
        "activation of the text model": (text.hidden_act, "silu"),
        "position scaling": ((text.rope_parameters or {}).get("rope_type", "default"), "default"),
    }
    wrong = [f"{what} {value!r} where {wanted!r} is read" for what, (value, wanted) in found.items() if value != wanted]
    if wrong:
        raise ArtefactError(f"{folder} cannot be written as GGUF here: {'; '.join(wrong)}. Use llama.cpp's converter")


def _write_text(config: Any, weights: Weights, processor: Any, path: Path, dtype: GgufType) -> None:
    text = config.text_config
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH.LLAMA])
    writer.add_name(path.stem)
    writer.add_context_length(text.max_position_embeddings)
    writer.add_embedding_length(text.hidden_size)
    writer.add_block_count(text.num_hidden_layers)
    writer.add_feed_forward_length(text.intermediate_size)
    writer.add_head_count(text.num_attention_heads)
    writer.add_head_count_kv(text.num_key_value_heads)
    writer.add_key_length(text.head_dim)
    writer.add_value_length(text.head_dim)
    writer.add_rope_dimension_count(text.head_dim)
    writer.add_rope_freq_base((text.rope_parameters or {}).get("rope_theta", 10000.0))
    writer.add_layer_norm_rms_eps(text.rms_norm_eps)
    writer.add_vocab_size(text.vocab_size)
    add_vocabulary(writer, processor, text.vocab_size)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, text.num_hidden_layers)
    heads = {"q_proj": text.num_attention_heads, "k_proj": text.num_key_value_heads}
    for name, tensor in weights.items():
        if name.startswith((TEXT, "lm_head.")) and not (name.startswith("lm_head.") and text.tie_word_embeddings):
            values = tensor.float().numpy()
            count = next((n for module, n in heads.items() if f".{module}." in name), None)
            values = values if count is None else permuted(values, count)
            writer.add_tensor(named(names, name.replace(TEXT, "model.")), stored(values, dtype))
    close(writer)


def _write_vision(config: Any, weights: Weights, processor: Any, path: Path, dtype: GgufType) -> None:
    vision, pictures = config.vision_config, processor.image_processor
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH.MMPROJ])
    writer.add_type(gguf.GGUFType.MMPROJ)
    writer.add_name(path.stem)
    writer.add_clip_has_vision_encoder(True)
    writer.add_clip_projector_type("mlp")
    writer.add_vision_projection_dim(config.text_config.hidden_size)
    writer.add_vision_image_size(vision.image_size)
    writer.add_vision_patch_size(vision.patch_size)
    writer.add_vision_embedding_length(vision.hidden_size)
    writer.add_vision_feed_forward_length(vision.intermediate_size)
    writer.add_vision_block_count(vision.num_hidden_layers)
    writer.add_vision_head_count(vision.num_attention_heads)
    writer.add_vision_attention_layernorm_eps(vision.layer_norm_eps)
    writer.add_vision_image_mean(pictures.image_mean)
    writer.add_vision_image_std(pictures.image_std)
    writer.add_vision_use_gelu(vision.hidden_act == "gelu")  # neither flag means CLIP's quick GELU
    writer.add_vision_use_silu(vision.hidden_act == "silu")
    if config.vision_feature_layer != SECOND_TO_LAST:
        writer.add_array("clip.vision.feature_layer", _feature_layers(config))
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.MMPROJ, vision.num_hidden_layers)
    for name, tensor in weights.items():
        values = tensor.float().numpy()
        if name.startswith(PROJECTOR):
            module, kind = name.removeprefix(PROJECTOR).split(".")
            writer.add_tensor(f"{PROJECTOR_NAMES[module]}.{kind}", stored(values, dtype))
        elif name.startswith(VISION) and ".post_layernorm." not in name:  # LLaVA reads a layer's output, not its norm
            tail = name.removeprefix(VISION).removeprefix("vision_model.")
            writer.add_tensor(named(names, f"vision_tower.vision_model.{tail}"), stored(values, dtype))
    close(writer)


def _feature_layers(config: Any) -> list[int]:
    layers = config.vision_feature_layer
    counted = config.vision_config.num_hidden_layers + 1  # of hidden states: the embeddings are number 0
    return [layer % counted for layer in ([layers] if isinstance(layers, int) else layers)]


def permuted(values: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Rows of a Llama's query or key projection in GGUF's order: rotary pairs side by side, not half a head apart."""
    pairs = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(values.shape))


def stored(values: NDArray[np.float32], dtype: GgufType) -> NDArray[np.float32 | np.float16]:
    """Values as they stand in a file: vectors in float32, matrices in `dtype`."""
    return np.ascontiguousarray(values, dtype=np.float32 if values.ndim == 1 else np.dtype(dtype))


def named(names: gguf.TensorNameMap, name: str) -> str:
    """llama.cpp's name of a tensor.

    Raises:
        ArtefactError: It has none.
    """
    find: Callable[..., str | None] = names.get_name
    found = find(name, try_suffixes=(".weight", ".bias"))
    if found is None:
        raise ArtefactError(f"llama.cpp has no place for the tensor {name}")
    return found


def close(writer: gguf.GGUFWriter) -> None:
    """Write out what was added."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
