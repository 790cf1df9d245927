"""`hybrid-mmsa train text | image | fusion`: doors onto the training room, which needs the extra `train`.

A recipe's settings stand in its config class alone: `--set` reads their names and types from there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import typer

from ..errors import InputError, MissingExtraError

__all__ = ["train_app", "with_settings"]

Config = TypeVar("Config")

train_app = typer.Typer(help="Train the fast tier. A killed run goes on where it stopped. Needs the extra `train`.")

Corpora = Annotated[Path, typer.Option("--data", metavar="FOLDER", help="The folder that holds the corpora.")]
Runs = Annotated[Path, typer.Option("--runs", metavar="FOLDER", help="Where stages, checkpoints and records are kept.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Change a setting of the recipe; a wrong NAME lists them all."),
]


@train_app.command("text")
def train_text(data: Corpora, runs: Runs, settings: Settings = None) -> None:
    """Fine-tune the text tower.

    For example:
        hybrid-mmsa train text --data corpora --runs runs/text --set mvsa.seed=1 --set batch_size=32
    """
    _check_folder(data)
    with _training_room():
        from ..training import text

        text.train_text(data, runs, with_settings(text.TextConfig(), settings or ()))


@train_app.command("image")
def train_image(
    data: Corpora,
    runs: Runs,
    start: Annotated[
        Path, typer.Option("--start", metavar="FILE", help="ImageNet weights of MobileNetV2 to start from.")
    ],
    settings: Settings = None,
) -> None:
    """Fine-tune the image tower.

    For example:
        hybrid-mmsa train image --data corpora --start mobilenet_v2.onnx --runs runs/image
    """
    _check_folder(data)
    if not start.is_file():
        raise InputError(f"there is no file {start}", field="--start")
    with _training_room():
        from ..training import image

        image.train_image(data, start, runs, with_settings(image.ImageConfig(), settings or ()))


@train_app.command("fusion")
def train_fusion(
    data: Corpora,
    text_runs: Annotated[Path, typer.Option("--text-runs", metavar="FOLDER", help="The --runs of `train text`.")],
    image_runs: Annotated[Path, typer.Option("--image-runs", metavar="FOLDER", help="The --runs of `train image`.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="FOLDER", help="The model's folder; its name is the model's.")
    ],
    towers: Annotated[
        Path | None,
        typer.Option("--towers", metavar="FOLDER", help="Where the int8 towers go, if not into the model's folder."),
    ] = None,
    settings: Settings = None,
) -> None:
    """Export the trained towers to int8 and fit head, calibration and router on them.

    What comes out is a model: name its folder to the --model of other commands.

    For example:
        hybrid-mmsa train fusion --data corpora --text-runs runs/text --image-runs runs/image -o my-model
    """
    _check_folder(data)
    for field, runs in (("--text-runs", text_runs), ("--image-runs", image_runs)):
        if not (runs / "oof.json").is_file():
            raise InputError(f"{runs} is no finished run: it has no oof.json", field=field)
    with _training_room():
        from ..training import fusion

        config = with_settings(fusion.FusionConfig(), settings or ())
        fusion.train_fusion(data, text_runs, image_runs, out, towers=towers, config=config)


def with_settings(config: Config, settings: Sequence[str]) -> Config:
    """A recipe with some settings changed, each `name=value` or `part.name=value`.

    Raises:
        InputError: No setting of that name, or a value of another kind.
    """
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise InputError(f"found {setting!r}; wanted NAME=VALUE", field="--set")
        known = dict(_settings(config))
        if name not in known:
            raise InputError(f"no setting {name!r}; known are {', '.join(known)}", field="--set")
        config = _changed(config, name.split("."), _value(name, value, known[name]))
    return config


def _settings(config: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    for field in fields(cast(Any, config)):
        value = getattr(config, field.name)
        if is_dataclass(value):
            yield from _settings(value, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, value


def _changed(config: Any, path: list[str], value: object) -> Any:
    return replace(config, **{path[0]: _changed(getattr(config, path[0]), path[1:], value) if path[1:] else value})


def _value(name: str, written: str, default: object) -> object:
    """The value as its default's kind: a whole number may stand for a float, nothing else for anything else."""
    try:
        value = json.loads(written)
    except ValueError:
        value = written
    if isinstance(default, float) and type(value) is int:
        return float(value)
    if type(value) is not type(default):
        raise InputError(f"{name}: found {written!r}; wanted a value like {default!r}", field="--set")
    return value


def _check_folder(data: Path) -> None:
    if not data.is_dir():
        raise InputError(f"there is no folder {data}", field="--data")


@contextmanager
def _training_room() -> Iterator[None]:
    """Names the extra where a package of the training room is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith(__package__.split(".")[0]):
            raise
        raise MissingExtraError("training", "train") from error
