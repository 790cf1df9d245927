"""`hybrid-mmsa adapter export`: arguments in, a folder for other programs out. It holds no logic of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ...errors import MissingExtraError
from ..terminal.console import say

__all__ = ["export"]

PACKAGES = {"gguf": "train", "llama_cpp": "llama", "peft": "vlm", "torch": "vlm", "transformers": "vlm"}
"""Which extra brings a package that an export may need."""


def export(
    adapter: Annotated[str, typer.Argument(metavar="NAME_OR_PATH", help="The adapter: its folder or bundled name.")],
    form: Annotated[
        Literal["peft", "merged", "gguf"],
        typer.Option(
            "--format",
            help="peft: a LoRA folder for vLLM, SGLang and PEFT; merged: a model with the LoRA in its weights; gguf: an"
            " adapter for llama.cpp.",
        ),
    ],
    base: Annotated[
        str, typer.Option("--base", metavar="MODEL", help="The model it was trained on: preset or folder.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FOLDER", help="What to write; it must not be there.")],
    with_base: Annotated[
        bool,
        typer.Option("--with-base", help="gguf: write the base too (LLaVA), and try the adapter on it in llama.cpp."),
    ] = False,
) -> None:
    """Write an adapter's LoRA for other programs, and check that it answers as before.

    For example:
        hybrid-mmsa adapter export adapters/mine --format merged --base qwen2.5-vl-3b -o mine-merged
        hybrid-mmsa adapter export adapters/mine --format peft --base qwen2.5-vl-3b -o mine-lora
    """
    try:
        from ...training.lora.export import Export, export_lora

        told = export_lora(Export(adapter, base, out, form, with_base))
    except ModuleNotFoundError as error:
        extra = PACKAGES.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        raise MissingExtraError("exporting an adapter", extra) from error
    say(f"wrote {out}")
    for line in told:
        say(line)
