"""nano's shape and start: a LLaVA of MobileNetV2 and a small Llama, its weights in and out. Knows no rows and no words.

The picture side starts as ImageNet's MobileNetV2 and stays so; projector and language model start from chance, the
pieces at what MiniLM's embeddings know of the same characters: a piece is cut into MiniLM's word pieces and starts as
their mean. After Dobler and de Melo 2023, arXiv 2305.14481 (FOCUS), simplified.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors import safe_open
from tokenizers import Tokenizer
from torch import Tensor

from ...reasoning.backends.transformers.patches import PATCH_PIXELS, MobileNetPatchesConfig
from ..towers.image_tower import CENTRE, SCALE, read_start
from ..towers.text_tower import start_folder
from .pieces import END, IMAGE, PAD, SPECIAL

__all__ = [
    "PATCHES",
    "SIDE",
    "NanoShape",
    "make_image_processor",
    "make_model",
    "picture_features",
    "round_as_stored",
    "start_pieces",
]

_library: Any = transformers  # its classes are annotated only in part

SIDE = 160
"""Pixels a picture is squashed to, so that the whole of it is seen."""
PATCHES = (SIDE // PATCH_PIXELS) ** 2
"""Tokens that a picture takes."""
ROOM = 2048
"""Tokens the model reads and writes together; positions are turned, so that more than was trained costs nothing."""
TABLE = "embeddings.word_embeddings.weight"
SPREAD = 0.04
"""Standard deviation of the embeddings that a Llama of this size starts well with."""
_STEM = ("first_conv", "conv_3x3", "reduce_1x1")
_BLOCK = ("expand_1x1", "conv_3x3", "reduce_1x1")


@dataclass(frozen=True, slots=True)
class NanoShape:
    """Sizes of the language model."""

    width: int = 384
    layers: int = 4
    inner: int = 1024
    heads: int = 6
    key_heads: int = 2


def make_model(shape: NanoShape, vocabulary: int, start: Path, seed: int = 0) -> Any:
    """A `LlavaForConditionalGeneration` with the picture side's weights, the rest from chance; the same at every call.

    Args:
        shape: Sizes of the language model.
        vocabulary: Pieces of the tokenizer.
        start: ImageNet's folded MobileNetV2, see `image_tower.read_start`.
        seed: Of the rest.

    Raises:
        InputError: `start` is no such file.
    """
    torch.manual_seed(seed)
    sees = MobileNetPatchesConfig(image_size=SIDE, layer_norm_eps=0.0)  # batch norms are folded: nothing to divide by
    writes = _library.LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_heads,
        max_position_embeddings=ROOM,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=END,
        pad_token_id=PAD,
    )
    config = _library.LlavaConfig(
        vision_config=sees,
        text_config=writes,
        image_token_index=IMAGE,
        image_seq_length=PATCHES,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        tie_word_embeddings=True,
        eos_token_id=END,
        pad_token_id=PAD,
    )
    model = _library.LlavaForConditionalGeneration(config)
    _see(model.model.vision_tower, read_start(start))
    return model.eval()


def make_image_processor() -> Any:
    """Pixels as the picture side reads them: squashed, `(value - 127) / 127.5`."""
    return _library.CLIPImageProcessor(
        size={"height": SIDE, "width": SIDE},
        do_center_crop=False,
        image_mean=[CENTRE / 255] * 3,
        image_std=[SCALE / 255] * 3,
    )


def round_as_stored(part: torch.nn.Module) -> None:
    """Round weights to float16, as a folder holds them, so that a model is trained on what it will see."""
    with torch.no_grad():
        for values in [*part.parameters(), *part.buffers()]:
            if values.is_floating_point():
                values.copy_(values.half())


def picture_features(model: Any, pixels: Tensor) -> Tensor:
    """What the picture side sees.

    Args:
        model: As `make_model` made it.
        pixels: As the processor makes them, `[n, 3, SIDE, SIDE]`.

    Returns:
        float16 `[n, patches, 1280]`, on the device of the model.
    """
    tower = model.model.vision_tower
    with torch.inference_mode():
        seen: Tensor = tower(pixels.to(tower.device)).last_hidden_state
    return seen.half()


def _see(tower: Any, start: Mapping[str, Tensor]) -> None:
    """Put the folded network into the tower, and freeze it.

    A new batch norm (mean 0, variance 1, weight 1) that divides by nothing more leaves the folded bias alone.
    """
    places = [f"conv_stem.{name}" for name in _STEM]
    places += [f"layer.{block}.{name}" for block in range(len(tower.layer)) for name in _BLOCK]
    with torch.no_grad():
        for number, place in enumerate([*places, "conv_1x1"]):
            part = tower.get_submodule(place)
            part.convolution.weight.copy_(start[f"l.{number}.c.weight"])
            part.normalization.bias.copy_(start[f"l.{number}.c.bias"])
    tower.requires_grad_(False)


def start_pieces(model: Any, tokenizer: Any) -> None:
    """Set the embeddings of a new model's pieces, in place; control pieces and single bytes stay as they are.

    Where the model is narrower or wider than MiniLM, the main directions of MiniLM's table are taken, or zeros added.

    Args:
        model: As `make_model` made it; input and output embeddings are tied.
        tokenizer: Its tokenizer.
    """
    folder = start_folder()
    cutter = Tokenizer.from_file(str(folder / "tokenizer.json"))
    cutter.no_padding()
    cutter.no_truncation()
    with safe_open(folder / "model.safetensors", framework="np") as file:
        known = file.get_tensor(TABLE).astype(np.float32)
    table = model.get_input_embeddings().weight
    known = _as_wide(known - known.mean(0), table.shape[1])
    known *= SPREAD / known.std()
    unknown = cutter.token_to_id("[UNK]")
    with torch.no_grad():
        table.normal_(0, SPREAD)
        for number in range(len(SPECIAL), len(tokenizer)):
            ids = cutter.encode(tokenizer.decode([number]), add_special_tokens=False).ids
            if ids and unknown not in ids:
                table[number] = torch.from_numpy(known[ids].mean(0))


def _as_wide(table: np.ndarray[Any, Any], width: int) -> np.ndarray[Any, Any]:
    if width >= table.shape[1]:
        return np.pad(table, ((0, 0), (0, width - table.shape[1])))
    _, directions = np.linalg.eigh(table.T @ table)  # by rising weight
    kept: np.ndarray[Any, Any] = table @ directions[:, -width:]
    return kept
