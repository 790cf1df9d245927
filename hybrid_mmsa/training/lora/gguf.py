"""A LLaVA folder, or a LoRA as PEFT saves it → the GGUF files that llama.cpp runs. Knows no labels and no prompts.

A base becomes two files: the language model, and the picture side (mmproj). Llama text models with CLIP vision and the
two-layer projector are read; for every other family, and for quantised files, llama.cpp's own converter is the tool.

llama.cpp puts CLIP's class token behind the patches, not before them, and drops the first row all the same. So it shows
the language model all patches but the first, and the class token as the last; answers move a little, the file is right.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import gguf
import torch
from transformers import AutoConfig, AutoProcessor, LlavaConfig, LlavaForConditionalGeneration

from ...errors import ArtefactError
from ...reasoning.backends.gguf_lora import GgufType, LanguageModel, close, named, permuted, stored, write_lora
from ...reasoning.backends.transformers.loading import whole_model
from ...reasoning.backends.transformers.onnx_tower import know_onnx_towers

__all__ = ["write_gguf", "write_gguf_lora"]

Weights: TypeAlias = Mapping[str, torch.Tensor]

TEXT, VISION, PROJECTOR = "model.language_model.", "model.vision_tower.", "model.multi_modal_projector."
# llama.cpp numbers the projector's layers by their place in `Sequential(Linear, GELU, Linear)`.
PROJECTOR_NAMES = {"linear_1": "mm.0", "linear_2": "mm.2"}
SECOND_TO_LAST = -2  # the layer llama.cpp reads the picture from when a file names none
# The splits before byte-level merging that llama.cpp knows by name, each known by a piece of its regular expression.
GPT2 = "gpt-2"
SPLITS = {r"\p{N}{1,3}": "llama-bpe", r"\p{L}+|\p{N}|": "qwen2"}
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


def write_gguf(folder: Path, model: Path, mmproj: Path, dtype: GgufType = "float16") -> None:
    """Write a LLaVA as GGUF.

    Args:
        folder: What `save_pretrained` of model and processor wrote.
        model: The language model's file; its chat template is the processor's.
        mmproj: The file of vision tower and projector.
        dtype: Of the matrices; vectors are float32 always.

    Raises:
        ArtefactError: Another kind of model, one that lacks weights, or one with parts that llama.cpp's LLaVA does not
            have.
    """
    know_onnx_towers()
    config = LlavaConfig.from_pretrained(folder)
    _check(config, folder)
    weights = whole_model(LlavaForConditionalGeneration, folder, dtype="auto").state_dict()
    processor = AutoProcessor.from_pretrained(folder)
    _write_text(config, weights, processor, model, dtype)
    _write_vision(config, weights, processor, mmproj, dtype)


def _check(config: Any, folder: Path) -> None:
    text, vision = config.text_config, config.vision_config
    supported = {
        "text model": (text.model_type, "llama"),
        "vision tower": (vision.model_type, "clip_vision_model"),
        "vision_feature_select_strategy": (config.vision_feature_select_strategy, "default"),
        "activation of the text model": (text.hidden_act, "silu"),
        "position scaling": ((text.rope_parameters or {}).get("rope_type", "default"), "default"),
    }
    wrong = [f"{what} {value!r} where {only!r} is read" for what, (value, only) in supported.items() if value != only]
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
        layers = config.vision_feature_layer
        states = vision.num_hidden_layers + 1  # the embeddings are number 0
        layers = [layer % states for layer in ([layers] if isinstance(layers, int) else layers)]
        writer.add_array("clip.vision.feature_layer", layers)
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


def add_vocabulary(writer: gguf.GGUFWriter, processor: Any, size: int) -> None:
    """Write tokens, merges, special tokens and the chat template.

    Args:
        writer: An open file, its header not written yet.
        processor: A transformers processor; its `tokenizer` is a fast one.
        size: Rows of the embedding; rows beyond the tokenizer's get unused tokens.

    Raises:
        ArtefactError: A tokenizer that llama.cpp has no equal of.
    """
    tokenizer = processor.tokenizer
    described = json.loads(tokenizer.backend_tokenizer.to_str())
    model = described["model"]
    if model["type"] != "BPE":
        raise ArtefactError(f"a tokenizer of type {model['type']} cannot be written as GGUF here: BPE is read")
    whole_bytes = bool(model.get("byte_fallback"))  # SentencePiece's kind, Llama 1 and 2
    tokens, types = _tokens(tokenizer, size, whole_bytes)
    writer.add_tokenizer_model("llama" if whole_bytes else "gpt2")
    writer.add_tokenizer_pre("default" if whole_bytes else _split(described["pre_tokenizer"]))
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    if whole_bytes:
        writer.add_token_scores([-float(number) for number in range(size)])  # earlier merges have smaller ids
        writer.add_add_space_prefix(tokenizer.tokenize("a")[0] != "a")
    else:
        writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in model["merges"]])
    for kind in ("bos", "eos", "pad", "unk"):
        number = getattr(tokenizer, f"{kind}_token_id")
        if number is not None:
            getattr(writer, f"add_{kind}_token_id")(number)
    marked = tokenizer("a").input_ids
    writer.add_add_bos_token(marked[0] == tokenizer.bos_token_id)
    writer.add_add_eos_token(marked[-1] == tokenizer.eos_token_id)
    if processor.chat_template is not None:
        writer.add_chat_template(processor.chat_template)


def _tokens(tokenizer: Any, size: int, whole_bytes: bool) -> tuple[list[str], list[gguf.TokenType]]:
    words = {number: word for word, number in tokenizer.get_vocab().items()}
    added = tokenizer.added_tokens_decoder
    tokens, types = [], []
    for number in range(size):
        word = words.get(number, f"[PAD{number}]")
        tokens.append(word)
        if number not in words:
            types.append(gguf.TokenType.UNUSED)
        elif number in added:
            types.append(gguf.TokenType.CONTROL if added[number].special else gguf.TokenType.USER_DEFINED)
        elif whole_bytes and word.startswith("<0x") and len(word) == len("<0x00>"):
            types.append(gguf.TokenType.BYTE)
        else:
            types.append(gguf.TokenType.NORMAL)
    return tokens, types


def _split(described: dict[str, Any] | None) -> str:
    """llama.cpp's name for a byte-level tokenizer's way to split text into words."""
    steps = [] if described is None else described.get("pretokenizers", [described])
    if [step["type"] for step in steps] == ["ByteLevel"] and steps[0]["use_regex"]:
        return GPT2
    patterns = [str(step["pattern"].get("Regex", "")) for step in steps if step["type"] == "Split"]
    names = [name for piece, name in SPLITS.items() if any(piece in pattern for pattern in patterns)]
    if not names:
        raise ArtefactError("the tokenizer splits text in a way that has no name here: use llama.cpp's converter")
    return names[0]


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
    know_onnx_towers()
    text = AutoConfig.from_pretrained(base).get_text_config()
    if text.model_type not in ARCHITECTURES:
        raise ArtefactError(f"{base}: llama.cpp's name of a {text.model_type!r} is not known here")
    shape = (text.num_hidden_layers, text.num_attention_heads, text.num_key_value_heads)
    write_lora(lora, LanguageModel(ARCHITECTURES[text.model_type], *shape), path, dtype)
