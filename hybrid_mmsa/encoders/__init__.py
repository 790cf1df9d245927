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
from .base import Encoder, MapEncoder
from .cached import CachedEncoder
from .compact import CompactEncoder
from .pair import split_lora as _split_lora
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

EXTRAS: Mapping[str, str] = {"open_clip": "clip", "hf": "hf"}
"""Encoders that run in torch, each in its module of the same name, and the extra that brings its library."""


def open_encoder(name: str, root: Path, *, threads: int = 1) -> Encoder:
    """The encoder an adapter names.

    `compact` is the bundled one, `compact:FOLDER` one of the same layout; `open_clip:MODEL` and `hf:TEXT+timm:PICTURE`
    open models of those libraries (see the modules `open_clip` and `hf`), from local files alone. After either of
    these, `+lora:FOLDER` is a LoRA on one or both towers (see `tower_lora`).

    Args:
        name: What `adapter.json` says.
        root: The adapter's folder; paths in the name are relative to it.
        threads: Threads per operator of the compact encoder; torch has one setting of its own for all models.

    Raises:
        ArtefactError: No encoder of that name, or its files are not there.
        MissingExtraError: Its library is not installed.
    """
    base, lora = _split_lora(name)
    kind, _, folder = base.partition(":")
    if kind == "compact" and lora is None:
        return CompactEncoder(root / folder, threads=threads, name=name) if folder else CompactEncoder(threads=threads)
    if kind not in EXTRAS:
        raise ArtefactError(
            f"no encoder {name!r}; known are 'compact', 'compact:FOLDER', 'open_clip:MODEL' and 'hf:TEXT+timm:PICTURE'"
        )
    pair = _module(kind, name, EXTRAS[kind]).open_pair(base, root)
    encoder: Encoder = pair if lora is None else _module("tower_lora", name, "hf").with_lora(pair, root / lora, name)
    return encoder


def _module(file: str, name: str, extra: str) -> Any:
    with needs(extra, f"the encoder {name!r}"):
        return import_module(f".{file}", __package__)


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
