"""Posts → `Features`: the Encoder protocol and the encoders behind it. Knows nothing of labels."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from ..errors import ArtefactError, MissingExtraError
from .base import Encoder, MapEncoder
from .cached import CachedEncoder
from .compact import CompactEncoder
from .stored import extract_features

__all__ = [
    "CachedEncoder",
    "CompactEncoder",
    "Encoder",
    "MapEncoder",
    "extract_features",
    "moved_name",
    "open_encoder",
]

EXTRAS: Mapping[str, str] = {"open_clip": "clip", "hf": "train"}
"""Encoders that run in torch, each in its module of the same name, and the extra that brings its library."""


def open_encoder(name: str, root: Path, *, threads: int = 1) -> Encoder:
    """The encoder an adapter names.

    `compact` is the bundled one, `compact:FOLDER` one of the same layout; `open_clip:MODEL` and `hf:TEXT+timm:PICTURE`
    open models of those libraries (see the modules `open_clip` and `hf`), from local files alone.

    Args:
        name: What `adapter.json` says.
        root: The adapter's folder; paths in the name are relative to it.
        threads: Threads per operator of the compact encoder; torch has one setting of its own for all models.

    Raises:
        ArtefactError: No encoder of that name, or its files are not there.
        MissingExtraError: Its library is not installed.
    """
    kind, _, folder = name.partition(":")
    if kind == "compact":
        return CompactEncoder(root / folder, threads=threads, name=name) if folder else CompactEncoder(threads=threads)
    if kind not in EXTRAS:
        raise ArtefactError(
            f"no encoder {name!r}; known are 'compact', 'compact:FOLDER', 'open_clip:MODEL' and 'hf:TEXT+timm:PICTURE'"
        )
    try:
        module = import_module(f".{kind}", __package__)
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"the encoder {name!r}", EXTRAS[kind]) from error
    encoder: Encoder = module.open_pair(name, root)
    return encoder


def moved_name(name: str, root: Path, new_root: Path) -> str:
    """An encoder's name with the paths in it, which are relative to `root`, made relative to `new_root`."""

    def moved(part: re.Match[str]) -> str:
        path = root / part[0]
        return Path(os.path.relpath(path, new_root)).as_posix() if path.exists() else part[0]

    kind, colon, rest = name.partition(":")
    if kind != "open_clip":
        return kind + colon + re.sub(r"(?:(?<=timm:)|^(?!timm:))[^#+]+", moved, rest)
    architecture, slash, weights = rest.partition("/")
    if (root / rest).exists():
        return f"{kind}:{Path(os.path.relpath(root / rest, new_root)).as_posix()}"
    return f"{kind}:{architecture}{slash}" + re.sub(".+", moved, weights)
