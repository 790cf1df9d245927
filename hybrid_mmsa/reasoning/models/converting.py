"""A GGUF file → the folder that transformers opens: float16 weights, tokenizer, configuration. Fetches nothing."""

from __future__ import annotations

import io
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import torch
import transformers

from ...errors import ArtefactError

__all__ = ["convert"]

_library: Any = transformers  # its classes are annotated only in part


def convert(folder: Path, file: str) -> None:
    """Write what transformers opens beside a GGUF file.

    Args:
        folder: Where the file lies.
        file: Its name.

    Raises:
        ArtefactError: It cannot be read, or is of a kind that transformers does not read.
    """
    remarks = _library.utils.logging
    verbosity, bars = remarks.get_verbosity(), remarks.is_progress_bar_enabled()
    remarks.set_verbosity_error()
    remarks.disable_progress_bar()
    try:
        with redirect_stderr(io.StringIO()):  # one bar is drawn whatever it is told; what goes wrong is raised
            _write_plain(folder, file)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise ArtefactError(f"{folder / file} cannot be converted: {str(error).splitlines()[0]}") from error
    finally:
        remarks.set_verbosity(verbosity)
        if bars:
            remarks.enable_progress_bar()


def _write_plain(folder: Path, file: str) -> None:
    """Read a GGUF file and write its model as one that was never quantised."""
    tokenizer = _library.AutoTokenizer.from_pretrained(folder, gguf_file=file, local_files_only=True)
    read = _library.AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=file, dtype=torch.float32, local_files_only=True
    )
    # A model read from GGUF counts as quantised, and such a one is not saved: its weights go into a plain one.
    settings = read.config
    del settings.quantization_config
    settings._name_or_path = ""
    model = type(read)(settings)
    model.load_state_dict(read.state_dict())
    model.tie_weights()
    model.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
