"""A language model of words alone and a picture tower → one vision-language model: LLaVA's form. Trains nothing.

Every token of the tower's map goes through a projector of two layers and stands among the words (Liu et al. 2023,
arXiv 2304.08485). The language model stays as it is, so what is asked without a picture is answered as before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

from ...errors import ArtefactError
from ..backends.transformers.loading import whole_model
from ..backends.transformers.onnx_tower import OnnxTower, know_onnx_towers, onnx_tower

__all__ = [
    "Llava",
    "Tower",
    "join",
    "language_alone",
    "open_tower",
    "read_projector",
    "write_projector",
]

_library: Any = transformers  # its classes are annotated only in part
_LOCAL = {"local_files_only": True, "trust_remote_code": False}
PICTURE = "<image>"
"""What the token that stands for a picture is mostly called."""
# Contents that are lists become strings, each picture its token; the language model's own template goes on from there.
_FLAT = """\
{{%- set flat = namespace(messages=[]) -%}}
{{%- for message in messages -%}}
{{%- set flat.text = '' -%}}
{{%- if message['content'] is string -%}}{{%- set flat.text = message['content'] -%}}
{{%- else -%}}{{%- for part in message['content'] -%}}
{{%- if part['type'] == 'image' -%}}{{%- set flat.text = flat.text + '{picture}\\n' -%}}
{{%- else -%}}{{%- set flat.text = flat.text + part['text'] -%}}{{%- endif -%}}
{{%- endfor -%}}{{%- endif -%}}
{{%- set flat.messages = flat.messages + [{{'role': message['role'], 'content': flat.text}}] -%}}
{{%- endfor -%}}
{{%- set messages = flat.messages -%}}
"""


@dataclass(frozen=True, eq=False)
class Tower:
    """A picture tower.

    Attributes:
        model: A vision model of transformers, which gives hidden states.
        processor: Reads pictures for it.
        layer: Which of its hidden states is read.
        own_token: Whether that begins with a token of the whole picture, which is left out.
    """

    model: Any
    processor: Any
    layer: int
    own_token: bool

    @property
    def tokens(self) -> int:
        """Tokens of a picture."""
        return int((self.model.config.image_size // self.model.config.patch_size) ** 2)

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) over its weights."""
        digest = hashlib.sha256()
        for name, value in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def read(self, pictures: list[Any]) -> torch.Tensor:
        """Tokens `[n, tokens, width]` of pictures (PIL)."""
        with torch.inference_mode():
            pixels = self.processor(images=pictures, return_tensors="pt")["pixel_values"]
            states = self.model(pixel_values=pixels, output_hidden_states=True).hidden_states[self.layer]
        found: torch.Tensor = states[:, 1:] if self.own_token else states
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Llava:
    """A model in LLaVA's form, and its processor."""

    model: Any
    processor: Any

    def save(self, folder: Path) -> None:
        """Write the folder that transformers opens."""
        self.model.save_pretrained(folder)
        self.processor.save_pretrained(folder)


def open_tower(path: Path) -> Tower:
    """A picture tower.

    Args:
        path: An ONNX file (see `onnx_tower`), or the folder of a vision model that transformers opens; of a model of
            words and pictures, such as CLIP or LLaVA, its vision side.

    Raises:
        ArtefactError: It is none of these, it lacks weights, or its tokens are no square of parts of the picture.
    """
    if path.suffix == ".onnx":
        return Tower(*onnx_tower(path), layer=-1, own_token=False)
    try:
        know_onnx_towers()
        model = _vision_side(whole_model(_library.AutoModel, path, dtype=torch.float32)).eval()
        processor = _library.AutoImageProcessor.from_pretrained(path, **_LOCAL)
        size = int(model.config.image_size)
    except ArtefactError:
        raise
    except (OSError, ValueError, KeyError, AttributeError) as error:
        cause = str(error).strip().split("\n")[0]
        raise ArtefactError(f"{path} cannot be opened as a picture tower: {cause}") from error
    tower = Tower(model, processor, layer=-1 if isinstance(model, OnnxTower) else -2, own_token=False)
    blank = Image.new("RGB", (size, size))
    over = tower.read([blank]).shape[1] - tower.tokens
    if over not in (0, 1):
        raise ArtefactError(f"{path} gives {tower.tokens + over} tokens for {tower.tokens} parts of a picture")
    return replace(tower, own_token=bool(over))


def _vision_side(model: Any) -> Any:
    """The part of a model that its vision configuration describes: the model itself where it has no other side."""
    sees = getattr(model.config, "vision_config", model.config)
    # Each family calls the part by another name, and all that the part is made of has the same configuration.
    parts = (part for part in model.modules() if type(getattr(part, "config", None)) is type(sees))
    if (part := next(parts, None)) is None:
        raise ValueError(f"a {type(model).__name__} has no part that is a {type(sees).__name__}'s")
    return part


def join(language: Path, tower: Tower) -> Llava:
    """A language model's folder and a tower as one model, in the language model's precision; the projector is random.

    The picture's token is `<image>` where the tokenizer has it, else a special one that the chat template does without.

    Raises:
        ArtefactError: It is no language model with a chat template, it lacks weights, or its tokenizer has no token to
            spare.
    """
    try:
        words = whole_model(_library.AutoModelForCausalLM, language, dtype="auto")
        tokenizer = _library.AutoTokenizer.from_pretrained(language, **_LOCAL)
    except ArtefactError:
        raise
    except (OSError, ValueError, KeyError) as error:
        cause = str(error).strip().split("\n")[0]
        raise ArtefactError(f"{language} cannot be opened as a language model: {cause}") from error
    if not tokenizer.chat_template:
        raise ArtefactError(f"{language} has no chat template")
    picture = _picture_token(tokenizer, language)
    strategy = "default" if tower.own_token else "full"
    settings = _library.LlavaConfig(
        vision_config=tower.model.config,
        text_config=words.config,
        image_token_index=tokenizer.convert_tokens_to_ids(picture),
        image_seq_length=tower.tokens,
        vision_feature_select_strategy=strategy,
        vision_feature_layer=tower.layer,
        tie_word_embeddings=words.config.tie_word_embeddings,
        dtype=words.dtype,
    )
    with torch.device("meta"):
        model = _library.LlavaForConditionalGeneration(settings)
    model.model.language_model = words.base_model
    model.lm_head = words.get_output_embeddings()
    model.model.vision_tower = tower.model
    model.model.multi_modal_projector = LlavaMultiModalProjector(settings).to(words.dtype)
    model.generation_config = words.generation_config
    processor = _library.LlavaProcessor(
        tower.processor,
        tokenizer,
        patch_size=tower.model.config.patch_size,
        vision_feature_select_strategy=strategy,
        num_additional_image_tokens=int(tower.own_token),
        chat_template=_FLAT.format(picture=picture) + tokenizer.chat_template,
        image_token=picture,
    )
    return Llava(model.eval(), processor)


def language_alone(model: Any) -> Any:
    """The language model of one that sees, as transformers opens it by itself; both share their weights."""
    with torch.device("meta"):
        words = _library.AutoModelForCausalLM.from_config(model.config.get_text_config(), trust_remote_code=False)
    setattr(words, words.base_model_prefix, model.get_decoder())
    words.set_output_embeddings(model.get_output_embeddings())
    return words.eval()


def _picture_token(tokenizer: Any, language: Path) -> str:
    if PICTURE in tokenizer.get_vocab():
        return PICTURE
    known = {tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token, tokenizer.unk_token}
    special = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
    spare = [token for token in special if token not in known and token not in tokenizer.chat_template]
    if not spare:
        raise ArtefactError(f"the tokenizer of {language} has no {PICTURE} and no special token to spare")
    return spare[-1]


def read_projector(llava: Llava, tower: Tower, file: Path) -> None:
    """Give a model the projector in a file.

    Raises:
        ArtefactError: The file is no projector of the model's sizes, or it was made for another tower.
    """
    try:
        with safe_open(file, "pt") as opened:
            made_for = (opened.metadata() or {}).get("tower")
        llava.model.model.multi_modal_projector.load_state_dict(load_file(file))
    except (OSError, SafetensorError, RuntimeError) as error:
        cause = " ".join(str(error).split())
        raise ArtefactError(f"{file} is no projector of this language model and tower: {cause}") from error
    if made_for not in (None, tower.hash):
        raise ArtefactError(f"{file} was made for another picture tower ({made_for[:12]}) than {tower.hash[:12]}")


def write_projector(weights: Mapping[str, torch.Tensor], tower: Tower, file: Path) -> None:
    """Keep a projector's weights in half precision, and which tower it was made for."""
    halves = {name: value.detach().half().contiguous() for name, value in weights.items()}
    save_file(halves, file, metadata={"tower": tower.hash})
