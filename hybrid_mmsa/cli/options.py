"""The options that several commands share, each written once. Knows nothing of what they do."""

from __future__ import annotations

from typing import Annotated

import typer

from ..types import ExplainLevel, Mode

__all__ = ["AsJson", "Explain", "ModeChoice", "Model"]

Model = Annotated[
    str,
    typer.Option("--model", metavar="NAME_OR_PATH", help="A bundled model's name (see `models list`), or its folder."),
]
ModeChoice = Annotated[
    Mode,
    typer.Option(
        "--mode", help="auto: defer unsure posts to a reasoner, where one is configured; fast: none; deep: all."
    ),
]
Explain = Annotated[
    ExplainLevel,
    typer.Option("--explain", help="How much evidence to compute: none, or per modality; full gives no more yet."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs, instead of text for people.")]
