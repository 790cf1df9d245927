"""`--set NAME=VALUE`: settings of a recipe by their names, which its config class alone holds. Knows no recipe."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Annotated, Any, TypeVar, cast

import typer

from ...errors import InputError

__all__ = ["Settings", "with_settings"]

Config = TypeVar("Config")
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Change a setting of the recipe; a wrong NAME lists them all."),
]


def with_settings(config: Config, settings: Sequence[str]) -> Config:
    """A recipe with some settings changed, each `name=value` or `part.name=value`.

    Raises:
        InputError: No setting of that name, or a value of another kind.
    """
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise InputError(f"found {setting!r}; wanted NAME=VALUE", field="--set")
        defaults = dict(_settings(config))
        if name not in defaults:
            raise InputError(f"no setting {name!r}; known are {', '.join(defaults)}", field="--set")
        config = _changed(config, name.split("."), _value(name, value, defaults[name]))
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


def _value(name: str, text: str, default: object) -> object:
    """The value as its default's kind: a whole number may stand for a float, nothing else for anything else."""
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    if isinstance(default, float) and type(value) is int:
        return float(value)
    if type(value) is not type(default):
        raise InputError(f"{name}: found {text!r}; wanted a value like {default!r}", field="--set")
    return value
