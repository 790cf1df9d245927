"""Opens a model's folder: processor, weights, precision, and what is never quantised. Knows no prompt and no adapter.

Vision-language models, and language models that read words alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch
import transformers

from ....errors import ArtefactError, ReasonerError
from ....extras import needs
from .onnx_tower import know_onnx_towers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ...config import ReasonerConfig

__all__ = [
    "Vlm",
    "WordsProcessor",
    "language_name",
    "memory_is_bounded",
    "open_shape",
    "open_vlm",
    "outside",
    "whole_model",
]

_library: Any = transformers  # its classes are annotated only in part
_LOG = logging.getLogger(__name__)
# Nothing is fetched, no code of a model's folder is run, and no pickle is opened.
_LOCAL = {"local_files_only": True, "trust_remote_code": False}


@dataclass(frozen=True, slots=True, eq=False)
class Vlm:
    """An open model, of words and pictures or of words alone.

    Attributes:
        model: The model, in evaluation mode, decoding greedily and without penalties.
        processor: Its processor, padding on the left; of a model of words alone, a `WordsProcessor`.
        language: Name of the language model among the model's modules; all outside of it is the picture's side or
            the output layer.
        context: Most tokens the model reads and writes together.
    """

    model: Any
    processor: Any
    language: str
    context: int

    @property
    def sees(self) -> bool:
        """Whether it reads pictures."""
        return not isinstance(self.processor, WordsProcessor)

    @property
    def picture_token(self) -> int | None:
        """The token that stands for every part of a picture, where the model is a LLaVA; else `None`."""
        return int(self.model.config.image_token_id) if self._is_llava else None

    @property
    def resumes(self) -> bool:
        """Whether it may go on from keys and values of a beginning: places count up by one, through pictures too."""
        return not self.sees or self._is_llava

    @property
    def _is_llava(self) -> bool:
        return isinstance(self.model, _library.LlavaForConditionalGeneration)

    @property
    def tokenizer(self) -> Any:
        """The processor's tokenizer."""
        return self.processor.tokenizer

    def encode(self, text: str) -> list[int]:
        """Tokens of a text, none added."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    @property
    def vocabulary(self) -> int:
        """Width of the logits, which may be larger than the tokenizer's vocabulary."""
        return int(self.model.get_output_embeddings().out_features)


class WordsProcessor:
    """What a model of words alone has in place of a VLM's processor: its tokenizer, called as a processor is.

    Args:
        tokenizer: A fast tokenizer, perhaps with a chat template.

    Attributes:
        tokenizer: The same.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    @property
    def chat_template(self) -> Any:
        """The tokenizer's own."""
        return self.tokenizer.chat_template

    def apply_chat_template(self, chats: Sequence[Any], **options: Any) -> Any:
        """A chat, or several, as the tokenizer's template writes them; such templates take contents as strings."""

        def flat(chat: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
            return [{**m, "content": "".join(part["text"] for part in m["content"])} for m in chat]

        one = bool(chats) and isinstance(chats[0], Mapping)
        return self.tokenizer.apply_chat_template(flat(chats) if one else [flat(chat) for chat in chats], **options)

    def __call__(self, *, text: Sequence[str], images: None = None, **options: Any) -> Any:
        """Token ids and mask of the texts."""
        inputs = self.tokenizer(text, **options)
        inputs.pop("token_type_ids", None)
        return inputs

    def save_pretrained(self, folder: Path) -> None:
        """Write the tokenizer."""
        self.tokenizer.save_pretrained(folder)


def open_vlm(config: ReasonerConfig) -> Vlm:
    """Open the model that a configuration names, from this machine only.

    Raises:
        ArtefactError: There is no such model here, it is of another kind, or its weights are not whole.
        ReasonerError: It does not fit into memory.
        MissingExtraError: A package that this model or precision needs is missing.
    """
    return _open(config, _weights)


def open_shape(config: ReasonerConfig) -> Vlm:
    """The same with a model that has its layers and no weights: to count and to plan before the weights are read.

    Raises:
        ArtefactError: There is no such model here, or it is of another kind.
        MissingExtraError: A package that this model needs is missing.
    """
    return _open(config, lambda _, settings: _shape(settings))


def _open(config: ReasonerConfig, weights: Callable[[ReasonerConfig, Any], Any]) -> Vlm:
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    try:
        with memory_is_bounded(), needs("vlm", config.model):
            know_onnx_towers()
            settings = _library.AutoConfig.from_pretrained(config.model, revision=config.revision, **_LOCAL)
            processor = _processor(config, settings)
            model = weights(config, settings)
    except ArtefactError:
        raise
    except (OSError, ValueError, KeyError) as error:
        cause = str(error).strip().split("\n")[0]
        raise ArtefactError(f"{config.model} cannot be opened as a language model: {cause}") from error
    tokenizer = getattr(processor, "tokenizer", None)
    if tokenizer is None or not tokenizer.is_fast or processor.chat_template is None:
        raise ArtefactError(f"{config.model} has no processor with a fast tokenizer and a chat template")
    tokenizer.padding_side = "left"
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    # What a folder says of sampling and penalties would bend the label's logits.
    model.generation_config = _library.GenerationConfig(
        do_sample=False, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    most = getattr(model.config.get_text_config(), "max_position_embeddings", config.context)
    return Vlm(model.eval(), processor, language_name(model), min(config.context, most))


def _processor(config: ReasonerConfig, settings: Any) -> Any:
    if _writes_words_alone(settings):
        words = _library.AutoTokenizer.from_pretrained(config.model, revision=config.revision, **_LOCAL)
        return WordsProcessor(words)
    if settings.model_type == "smolvlm":
        # It is not made without a package (num2words) that spells out how many pictures a film has; posts have no film.
        films: Any = import_module("transformers.models.smolvlm.processing_smolvlm")
        films.num2words = films.num2words or str
    return _library.AutoProcessor.from_pretrained(config.model, revision=config.revision, **_LOCAL)


@contextmanager
def memory_is_bounded() -> Iterator[None]:
    """Translate what libraries raise when memory ends, or a device fails, into `ReasonerError`."""
    try:
        yield
    except ReasonerError:
        raise
    except (MemoryError, RuntimeError) as error:
        cause = str(error).strip().split("\n")[0]
        if isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in cause:
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            raise ReasonerError(f"out of memory: {cause or 'the machine has no more'}") from error
        if "CUDA error" in cause:
            raise ReasonerError(f"the accelerator failed: {cause}") from error
        raise


def _weights(config: ReasonerConfig, settings: Any) -> Any:
    """The weights in the wanted precision on the wanted device."""
    on_cpu = config.device == "cpu" or (config.device == "auto" and not torch.accelerator.is_available())
    # bfloat16 is slower than float32 on most CPUs; on an accelerator the weights stay as they were published.
    dtype: Any = config.dtype if config.dtype != "auto" else ("float32" if on_cpu else "auto")
    model = whole_model(
        _class_of(settings),
        config.model,
        config=settings,
        revision=config.revision,
        dtype=dtype,
        device_map="cpu" if on_cpu else "auto" if config.device == "auto" else {"": config.device},
        quantization_config=_quantisation(config, settings, dtype) if config.quantise else None,
    )
    # Buffers may be views into the weights' file: a counter alone would keep all of it in memory.
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, buffer.clone())
    return model


def whole_model(kind: Any, folder: str | Path, **options: Any) -> Any:
    """A model with every weight that its class has: what a folder lacks would be drawn at random.

    Args:
        kind: A class of transformers with `from_pretrained`.
        folder: On this machine; its weights are read from safetensors, never from a pickle.
        **options: What `from_pretrained` takes beside it.

    Raises:
        ArtefactError: The folder lacks weights.
        OSError: It holds no safetensors of such a model.
        ValueError: It describes another kind of model.
    """
    model, loaded = kind.from_pretrained(folder, use_safetensors=True, output_loading_info=True, **_LOCAL, **options)
    if lacking := sorted(map(str, [*loaded["missing_keys"], *loaded["mismatched_keys"]])):
        raise ArtefactError(f"{folder} lacks weights that its class needs, such as {', '.join(lacking[:3])}")
    return model


def _shape(settings: Any) -> Any:
    """The model without weights."""
    with torch.device("meta"):
        return _class_of(settings).from_config(settings, trust_remote_code=False)


def _writes_words_alone(settings: Any) -> bool:
    """Whether a configuration is of a language model without a picture side."""
    return (
        type(settings) not in _library.AutoModelForImageTextToText._model_mapping
        and type(settings) in _library.AutoModelForCausalLM._model_mapping
    )


def _class_of(settings: Any) -> Any:
    return _library.AutoModelForCausalLM if _writes_words_alone(settings) else _library.AutoModelForImageTextToText


def _quantisation(config: ReasonerConfig, settings: Any, dtype: Any) -> Any:
    """Language model in 4 or 8 bits; vision tower, projector and output layer as they are."""
    import bitsandbytes  # noqa: F401  # its absence is an error here, not in the middle of loading

    shape = _shape(settings)
    linear = [name for name, module in shape.named_modules() if isinstance(module, torch.nn.Linear)]
    kept = outside(linear, language_name(shape))
    _LOG.info("%s in %s; kept as they are: %s", config.model, config.quantise, ", ".join(kept))
    compute = getattr(torch, dtype) if dtype != "auto" else settings.dtype or torch.bfloat16
    return _library.BitsAndBytesConfig(
        load_in_4bit=config.quantise == "4bit",
        load_in_8bit=config.quantise == "8bit",
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
        llm_int8_skip_modules=kept,
    )


def outside(names: Iterable[str], language: str) -> list[str]:
    """The largest parts of a model, by name, that hold modules of `names` and nothing of its language model."""
    beside = f"{language.rpartition('.')[0]}."
    parts = set()
    for name in names:
        if not name.startswith(f"{language}."):
            start = len(beside) if len(beside) > 1 and name.startswith(beside) else 0
            parts.add(name[:start] + name[start:].split(".")[0])
    return sorted(parts)


def language_name(model: Any) -> str:
    """The name of a model's language model among its modules.

    Raises:
        ArtefactError: It has none apart from its picture side.
    """
    decoder = model.get_decoder()
    for name, module in model.named_modules():
        if module is decoder and name:
            return str(name)
    raise ArtefactError(f"a {type(model).__name__} has no language model apart from its picture side")
