"""`hybrid-mmsa train nano`: a very small vision-language model of one's own. It holds no logic of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...errors import InputError
from ...extras import needs
from ..terminal.console import PROGRAM, say
from ..terminal.settings import with_settings
from .train import Corpora, Runs, Settings, check_folder

__all__ = ["train_nano"]


def train_nano(
    data: Corpora,
    runs: Runs,
    start: Annotated[
        Path, typer.Option("--start", metavar="FILE", help="ImageNet weights of MobileNetV2, for the picture side.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FOLDER", help="Folder for the model.")],
    settings: Settings = None,
) -> None:
    """Train a very small vision-language model from random weights: a reasoner of 25 MB.

    It learns to write on the corpora's texts, then to judge posts and to say
    why. On a GPU that takes minutes, on two CPU cores some hours; it runs on
    a GPU by itself where there is one. Name the folder to --reasoner.

    For example:
        hybrid-mmsa train nano --data corpora --start mobilenet_v2.onnx --runs runs/nano -o my-nano
    """
    check_folder(data)
    if not start.is_file():
        raise InputError(f"there is no file {start}", field="--start")
    with needs("train", "training"):
        from ...training.nano import train as nano

        nano.train_nano(data, start, runs, out, with_settings(nano.NanoConfig(), settings or ()))
    say(f'{out} is a reasoner: {PROGRAM} analyze --reasoner {out} --mode deep "What a day!"')
