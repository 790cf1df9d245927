"""Posts → `Features`: the Encoder protocol and the encoders behind it. Knows nothing of labels."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import ArtefactError
from ..extras import needs
from ..plugins import find_plugin, installed_plugins
from .base import Encoder, MapEncoder, MappedEncoder, PostMap
from .cached import CachedEncoder
from .checked import CheckedEncoder, Encoded, checked_encoder
from .compact import CompactEncoder
from .stored import extract_features

__all__ = [
    "ENCODER_KINDS",
    "CachedEncoder",
    "CheckedEncoder",
    "CompactEncoder",
    "Encoded",
    "Encoder",
    "MapEncoder",
    "MappedEncoder",
    "PostMap",
    "checked_encoder",
    "extract_features",
    "moved_name",
    "open_encoder",
]

ENCODER_KINDS = ("compact", "open_clip", "hf")
"""Kinds of encoders that are built in; no plugin can take their names."""
_LORA = "+lora:"
EXTRAS: Mapping[str, str] = {"open_clip": "clip", "hf": "hf"}
"""Encoders that run in torch, each in its module of the same name, and the extra that brings its library."""


def open_encoder(name: str, root: Path, *, threads: int = 1) -> Encoder:
    """The encoder an adapter names.

    `compact` is the bundled one, `compact:FOLDER` one of the same layout; `open_clip:MODEL` and `hf:TEXT+timm:PICTURE`
    open models of those libraries (see the modules `open_clip` and `hf`), from local files alone. After either of
    these, `+lora:FOLDER` is a LoRA on one or both towers (see `tower_lora`).

    Any other kind is a plugin's (entry-point group `hybrid_mmsa.encoders`, see `plugins`): `KIND` or `KIND:REST` calls
    what the entry point `KIND` refers to as `open(name, root, threads=threads)`, with this function's arguments. It
    returns an `Encoder` whose `name` is the name it was opened by: adapters that are fitted to it name it so.

    Args:
        name: What `adapter.json` says.
        root: The adapter's folder; paths in the name are relative to it.
        threads: Threads per operator of the compact encoder; torch has one setting of its own for all models.

    Raises:
        ArtefactError: No encoder of that name, or its files are not there.
        MissingExtraError: Its library is not installed.
        PluginError: The package that offers it fails, or does not return such an encoder.
    """
    base, lora = _split_lora(name)
    kind, _, folder = base.partition(":")
    if kind == "compact" and lora is None:
        return CompactEncoder(root / folder, threads=threads, name=name) if folder else CompactEncoder(threads=threads)
    if kind not in EXTRAS:
        return _from_plugin(kind, name, root, threads)
    pair = _module(kind, name, EXTRAS[kind]).open_pair(base, root)
    encoder: Encoder = pair if lora is None else _module("tower_lora", name, "hf").with_lora(pair, root / lora, name)
    return encoder


def _from_plugin(kind: str, name: str, root: Path, threads: int) -> Encoder:
    plugin = None if kind in ENCODER_KINDS else find_plugin("encoders", kind)
    if plugin is None:
        known = "'compact', 'compact:FOLDER', 'open_clip:MODEL' and 'hf:TEXT+timm:PICTURE'"
        others = ", ".join(other.name for other in installed_plugins("encoders") if other.name not in ENCODER_KINDS)
        raise ArtefactError(f"no encoder {name!r}; known are {known}" + (f"; plugins offer {others}" if others else ""))
    opener = plugin.load()
    with plugin.border(f"cannot open {name!r}"):
        encoder: Encoder = opener(name, root, threads=threads)
        if not callable(getattr(encoder, "encode", None)) or not isinstance(getattr(encoder, "hash", None), str):
            raise plugin.error(f"returned a {type(encoder).__name__}, which is not an encoder with `hash` and `encode`")
        if encoder.name != name:
            raise plugin.error(f"was opened as {name!r} and calls itself {encoder.name!r}, which no adapter could open")
    return encoder


def _module(file: str, name: str, extra: str) -> Any:
    with needs(extra, f"the encoder {name!r}"):
        return import_module(f".{file}", __package__)


def _split_lora(name: str) -> tuple[str, str | None]:
    """An encoder's name without the LoRA on its towers, and the LoRA's folder: `NAME+lora:FOLDER`."""
    base, plus, folder = name.partition(_LORA)
    return base, folder if plus else None


def moved_name(name: str, root: Path, new_root: Path) -> str:
    """An encoder's name with the paths in it, which are relative to `root`, made relative to `new_root`."""

    def moved(part: re.Match[str]) -> str:
        path = root / part[0]
        return Path(os.path.relpath(path, new_root)).as_posix() if path.exists() else part[0]

    name, lora = _split_lora(name)
    if lora is not None:
        return f"{moved_name(name, root, new_root)}+lora:{Path(os.path.relpath(root / lora, new_root)).as_posix()}"
    kind, colon, rest = name.partition(":")
    if kind != "open_clip":
        return kind + colon + re.sub(r"(?:(?<=timm:)|^(?!timm:))[^#+]+", moved, rest)
    architecture, slash, weights = rest.partition("/")
    if (root / rest).exists():
        return f"{kind}:{Path(os.path.relpath(root / rest, new_root)).as_posix()}"
    return f"{kind}:{architecture}{slash}" + re.sub(".+", moved, weights)
