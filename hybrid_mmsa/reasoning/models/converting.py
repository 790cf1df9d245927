"""A GGUF file → the folder that transformers opens: float16 weights, tokenizer, configuration. Fetches nothing."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

import torch
import transformers

from ...errors import ArtefactError
from .llava import join, open_tower, read_projector

__all__ = ["convert", "convert_to_see"]

_library: Any = transformers  # its classes are annotated only in part


def convert(file: Path, folder: Path) -> None:
    """Write what transformers opens of a GGUF file.

    Args:
        file: The file.
        folder: Where to write; it may be the file's own.

    Raises:
        ArtefactError: It cannot be read, or is of a kind that transformers does not read.
    """
    try:
        with _quietly():
            _write_plain(file, folder)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise ArtefactError(f"{file} cannot be converted: {str(error).splitlines()[0]}") from error


def convert_to_see(file: Path, folder: Path, tower: Path, projector: Path) -> None:
    """The same with a picture tower.

    Args:
        file: The file.
        folder: Where to write.
        tower: See `open_tower`.
        projector: Through which the language model sees by it.

    Raises:
        ArtefactError: The file, the tower or the projector cannot be read, or they do not fit one another.
    """
    words = folder.with_name(f"{folder.name}.words")
    shutil.rmtree(words, ignore_errors=True)
    convert(file, words)
    eyes = open_tower(tower)
    with _quietly():
        llava = join(words, eyes)
        read_projector(llava, eyes, projector)
        llava.save(folder)
    shutil.rmtree(words)


@contextmanager
def _quietly() -> Iterator[None]:
    """Without remarks and bars; what goes wrong is raised."""
    remarks = _library.utils.logging
    verbosity, bars = remarks.get_verbosity(), remarks.is_progress_bar_enabled()
    remarks.set_verbosity_error()
    remarks.disable_progress_bar()
    try:
        with redirect_stderr(io.StringIO()):  # one bar is drawn whatever it is told
            yield
    finally:
        remarks.set_verbosity(verbosity)
        if bars:
            remarks.enable_progress_bar()


def _write_plain(file: Path, folder: Path) -> None:
    """Read a GGUF file and write its model as one that was never quantised."""
    here: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True}
    tokenizer = _library.AutoTokenizer.from_pretrained(file.parent, **here)
    read = _library.AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **here)
    # A model read from GGUF counts as quantised, and such a one is not saved: its weights go into a plain one.
    settings = read.config
    del settings.quantization_config
    settings._name_or_path = ""
    model = type(read)(settings)
    model.load_state_dict(read.state_dict())
    model.tie_weights()
    model.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
