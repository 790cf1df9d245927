"""One llama.cpp context: text and pictures in, logits of the next token out, one LoRA at a time. Knows no labels.

Nothing here is safe to share between threads; whoever holds a context holds its lock.
"""

from __future__ import annotations

import ctypes
import logging
import secrets
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import llama_cpp
import numpy as np
from llama_cpp import llama_cpp as bindings
from llama_cpp import mtmd_cpp

from ...errors import ArtefactError, PostError, ReasonerError
from ...forks import OpenLock
from ...types import FloatArray
from .gguf_lora import lora_file

__all__ = ["GgufContext"]

log = logging.getLogger(__name__)
BATCH = 512
WHOLE = -1  # llama.cpp's "all layers", and "to the end"
LAST = -1  # the last token whose logits were computed
SEQUENCE = 0
AMX = b"AMX_INT8 = 1"
Chunk: TypeAlias = "list[int] | int"
"""A part of a chat: the tokens of words, or llama.cpp's pointer to a picture."""


def _log_line(level: int, text: bytes, _: object) -> None:
    log.debug("%s", text.decode("utf-8", "replace").rstrip())


_loading = OpenLock()
_to_log = llama_cpp.llama_log_callback(_log_line)  # named, so that it lives as long as the library that calls it


class GgufContext:
    """A model in memory with one sequence.

    Args:
        model: The language model, GGUF.
        mmproj: The picture side, GGUF; `None` for a model of words alone.
        context: Most tokens of prompt and answer together.
        threads: CPU threads; llama.cpp's choice if `None`.
        gpu: Put all layers on the GPU where llama.cpp was built for one.

    Attributes:
        llama: The `llama_cpp.Llama`, for its metadata and tokenizer.
        marker: Stands for a picture in a text; drawn anew for every context, so that no post can hold it.

    Raises:
        ArtefactError: A file is missing or not what it should be.
    """

    def __init__(self, model: Path, mmproj: Path | None, *, context: int, threads: int | None, gpu: bool) -> None:
        self.marker = f"<__media_{secrets.token_hex(8)}__>"
        self._deadline: float | None = None
        self._read: list[int] = []  # tokens up to the first picture whose keys and values are in memory
        self._adapters: dict[Path, Any] = {}
        self._adapter: Path | None = None
        for library in (llama_cpp.llama_log_set, mtmd_cpp.mtmd_log_set, mtmd_cpp.mtmd_helper_log_set):
            library(_to_log, ctypes.c_void_p(0))
        self.llama = _load(model, context, threads, gpu)
        self._vision = None if mmproj is None else self._load_vision(mmproj, gpu)
        self._free_vision = weakref.finalize(self, _free, self._vision)
        self._vocabulary = llama_cpp.llama_model_get_vocab(self.llama.model)
        self._memory = llama_cpp.llama_get_memory(self.llama.ctx)
        self._late = llama_cpp.ggml_abort_callback(self._is_late)
        llama_cpp.llama_set_abort_callback(self.llama.ctx, self._late, ctypes.c_void_p(0))

    def close(self) -> None:
        """Free what lies outside of Python's memory."""
        self._free_vision()
        self.llama.close()

    def tokens(self, text: str) -> list[int]:
        """Tokens of a text, none added and none special."""
        return list(self.llama.tokenize(text.encode(), add_bos=False, special=False))

    def piece(self, token: int) -> bytes:
        """What a token stands for, as bytes of UTF-8; nothing for special ones."""
        buffer = ctypes.create_string_buffer(512)
        length = llama_cpp.llama_token_to_piece(self._vocabulary, token, buffer, len(buffer), 0, False)
        return buffer.raw[: max(length, 0)]

    def special_text(self, token: int) -> str:
        """How a special token is spelled in a template; empty where the model has none."""
        return self.llama.detokenize([token], special=True).decode("utf-8", "replace") if token >= 0 else ""

    def ends(self, token: int) -> bool:
        """Whether a token ends the answer."""
        return bool(llama_cpp.llama_vocab_is_eog(self._vocabulary, token))

    @contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """After so many seconds whatever is computed inside stops with a `ReasonerError`."""
        self._deadline = time.monotonic() + seconds
        try:
            yield
        finally:
            self._deadline = None

    def use_adapter(self, path: Path | None) -> None:
        """Answer with this LoRA from now on, or with none; loaded at first use and kept.

        Args:
            path: A GGUF file, or an adapter's folder (see `lora_file`).

        Raises:
            ArtefactError: The file is missing, or its tensors are not this model's.
        """
        if path == self._adapter:
            return
        chosen = [] if path is None else [self._loaded_adapter(path)]
        adapters = (llama_cpp.llama_adapter_lora_p_ctypes * 1)(*chosen)
        if llama_cpp.llama_set_adapters_lora(self.llama.ctx, adapters, len(chosen), (ctypes.c_float * 1)(1.0)):
            raise ArtefactError(f"llama.cpp cannot apply {path}")
        self._adapter = path
        self._forget()

    def prefill(self, text: str, pictures: Sequence[Any], answer: Sequence[int], room: int) -> tuple[FloatArray, int]:
        """Read a chat and the tokens its answer begins with; what it begins with like the one before is not read again.

        Args:
            text: A rendered chat, `marker` where a picture stands.
            pictures: PIL images in RGB, in the order of the markers.
            answer: Tokens put behind it.
            room: Tokens that must be left for writing.

        Returns:
            Logits of the next token, float32 `[vocabulary]`, and the number of tokens read.

        Raises:
            PostError: Too long.
            ReasonerError: Out of time, or llama.cpp failed.
        """
        with self._chunks(text, pictures) as chunks:
            length = sum(map(_length, chunks)) + len(answer)
            if length + room > self.llama.n_ctx():
                raise PostError(
                    f"the post needs {length} tokens and {room} for the answer, "
                    f"the context holds {self.llama.n_ctx()}: raise `context` or lower `image_size`"
                )
            try:
                self._read_chunks(chunks, list(answer))
            except ReasonerError:
                self._forget()
                raise
        return self.logits(), length

    def push(self, token: int) -> FloatArray:
        """Read one more token; logits of the next, float32 `[vocabulary]`."""
        self._decode([token])
        return self.logits()

    def logits(self) -> FloatArray:
        """Logits of the next token, float32 `[vocabulary]`."""
        pointer = llama_cpp.llama_get_logits_ith(self.llama.ctx, LAST)
        return np.ctypeslib.as_array(pointer, shape=(self.llama.n_vocab(),)).copy()

    def _read_chunks(self, chunks: Sequence[Chunk], answer: list[int]) -> None:
        first = chunks[0] if isinstance(chunks[0], list) else []
        words = first + answer if len(chunks) == 1 else first
        self._past = self._kept(words, len(words) - 1 if len(chunks) == 1 else len(words))
        self._decode(words[self._past :])
        self._read = words
        rest = chunks[1:] if first else chunks
        for number, chunk in enumerate(rest, 1):
            if isinstance(chunk, list):
                self._decode(chunk + (answer if number == len(rest) else []))
            else:
                self._decode_picture(chunk)
        if not isinstance(chunks[-1], list):
            self._decode(answer)

    def _kept(self, words: Sequence[int], most: int) -> int:
        """How many tokens of a text, `most` or fewer, were read before and are still in memory; the rest is let go."""
        alike = 0
        while alike < min(most, len(self._read)) and words[alike] == self._read[alike]:
            alike += 1
        self._read = self._read[:alike]
        removed = alike and llama_cpp.llama_memory_seq_rm(self._memory, SEQUENCE, alike, WHOLE)
        # Layers with a sliding window may have dropped the first tokens.
        if not removed or llama_cpp.llama_memory_seq_pos_min(self._memory, SEQUENCE) != 0:
            self._forget()
            return 0
        return alike

    def _decode(self, tokens: list[int]) -> None:
        for start in range(0, len(tokens), BATCH):
            part = tokens[start : start + BATCH]
            buffer = (llama_cpp.llama_token * len(part))(*part)  # the batch points at it, and does not keep it alive
            batch = llama_cpp.llama_batch_get_one(buffer, len(part))
            batch.pos = (llama_cpp.llama_pos * len(part))(*range(self._past, self._past + len(part)))
            self._check(llama_cpp.llama_decode(self.llama.ctx, batch), "read the prompt")
            self._past += len(part)

    def _decode_picture(self, chunk: int) -> None:
        past = llama_cpp.llama_pos(0)
        failed = mtmd_cpp.mtmd_helper_eval_chunk_single(
            self._vision, self.llama.ctx, chunk, self._past, SEQUENCE, BATCH, False, ctypes.byref(past)
        )
        self._check(failed, "read the picture")
        self._past = past.value

    def _check(self, failed: int, what: str) -> None:
        if self._is_late():
            raise ReasonerError(
                "out of time: raise `timeout`, shrink pictures with `image_size` or use a smaller model"
            )
        if failed:
            raise ReasonerError(f"llama.cpp could not {what} (code {failed}): not enough memory, or a damaged file")

    def _is_late(self, _: object = None) -> bool:
        return self._deadline is not None and time.monotonic() > self._deadline

    def _forget(self) -> None:
        llama_cpp.llama_memory_clear(self._memory, True)
        self._read, self._past = [], 0

    @contextmanager
    def _chunks(self, text: str, pictures: Sequence[Any]) -> Iterator[list[Chunk]]:
        """The text cut at its pictures: tokens, and llama.cpp's chunks of pictures, freed on leaving."""
        bos = self.special_text(self.llama.token_bos())  # templates of some models write it themselves
        add_bos = not (bos and text.startswith(bos))
        if self._vision is None:
            yield [list(self.llama.tokenize(text.encode(), add_bos=add_bos, special=True))]
            return
        bitmaps = [_bitmap(picture) for picture in pictures]
        chunks = mtmd_cpp.mtmd_input_chunks_init()
        try:
            encoded = text.encode()
            mtmd_text = mtmd_cpp.mtmd_input_text(encoded, len(encoded), add_bos, True)
            array = (mtmd_cpp.mtmd_bitmap_p_ctypes * len(bitmaps))(*bitmaps)
            failed = mtmd_cpp.mtmd_tokenize(self._vision, chunks, ctypes.byref(mtmd_text), array, len(bitmaps))
            self._check(failed, "cut the post into tokens")
            cut = [mtmd_cpp.mtmd_input_chunks_get(chunks, n) for n in range(mtmd_cpp.mtmd_input_chunks_size(chunks))]
            yield [_text_tokens(chunk) if _is_text(chunk) else chunk for chunk in cut]
        finally:
            mtmd_cpp.mtmd_input_chunks_free(chunks)
            for bitmap in bitmaps:
                mtmd_cpp.mtmd_bitmap_free(bitmap)

    def _load_vision(self, mmproj: Path, gpu: bool) -> Any:
        values = mtmd_cpp.mtmd_context_params_default()
        values.use_gpu = gpu
        values.print_timings = False
        values.warmup = False
        values.n_threads = self.llama.n_threads
        values.media_marker = self.marker.encode()
        loaded = (
            mtmd_cpp.mtmd_init_from_file(str(mmproj).encode(), self.llama.model, values) if mmproj.is_file() else None
        )
        if not loaded or not mtmd_cpp.mtmd_support_vision(loaded):
            raise ArtefactError(f"{mmproj} is no picture side (mmproj) of this model, or cannot be read")
        return loaded

    def _loaded_adapter(self, path: Path) -> Any:
        if path not in self._adapters:
            with lora_file(path, self.llama.metadata) as file:
                encoded = str(file).encode()
                adapter = llama_cpp.llama_adapter_lora_init(self.llama.model, encoded) if file.is_file() else None
            if not adapter:
                raise ArtefactError(f"{path} is no LoRA of this model in GGUF, or cannot be read")
            self._adapters[path] = adapter
        return self._adapters[path]


def _load(model: Path, context: int, threads: int | None, gpu: bool) -> Any:
    if not model.is_file():
        raise ArtefactError(f"{model} is no GGUF file")
    try:
        with _plain_weights():
            return llama_cpp.Llama(
                str(model),
                n_ctx=context,
                n_batch=BATCH,
                n_gpu_layers=WHOLE if gpu else 0,
                n_threads=threads,
                n_threads_batch=threads,
                verbose=False,
            )
    except (RuntimeError, ValueError) as error:
        raise ArtefactError(f"llama.cpp cannot load {model}: {error}") from error


@contextmanager
def _plain_weights() -> Iterator[None]:
    """Where llama.cpp would lay quantised weights out for AMX, have it leave them as they are.

    Its AMX code ends the process with a segmentation fault at the first batch on some machines (llama.cpp issue 20824).
    The binding has no setting for it, so its default parameters are changed while a model is loaded.
    """
    if AMX not in llama_cpp.llama_print_system_info():
        yield
        return
    with _loading:
        original = bindings.llama_model_default_params

        def without_layouts() -> Any:
            values = original()
            values.use_extra_bufts = False
            return values

        bindings.llama_model_default_params = without_layouts
        try:
            yield
        finally:
            bindings.llama_model_default_params = original


def _free(vision: Any) -> None:
    if vision is not None:
        mtmd_cpp.mtmd_free(vision)


def _is_text(chunk: int) -> bool:
    return bool(mtmd_cpp.mtmd_input_chunk_get_type(chunk) == mtmd_cpp.MTMD_INPUT_CHUNK_TYPE_TEXT)


def _length(chunk: Chunk) -> int:
    """How many tokens a part of a chat takes."""
    return len(chunk) if isinstance(chunk, list) else int(mtmd_cpp.mtmd_input_chunk_get_n_tokens(chunk))


def _text_tokens(chunk: int) -> list[int]:
    length = ctypes.c_size_t()
    tokens = mtmd_cpp.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(length))
    return tokens[: length.value] if tokens else []


def _bitmap(picture: Any) -> Any:
    pixels = picture.convert("RGB").tobytes()
    buffer = (ctypes.c_uint8 * len(pixels)).from_buffer_copy(pixels)
    return mtmd_cpp.mtmd_bitmap_init(picture.width, picture.height, buffer)
