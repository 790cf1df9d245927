"""Posts → `Features`: the Encoder protocol and the encoders behind it. Knows nothing of labels."""

from __future__ import annotations

from pathlib import Path

from ..errors import ArtefactError
from .base import Encoder
from .cached import CachedEncoder
from .compact import CompactEncoder

__all__ = ["CachedEncoder", "CompactEncoder", "Encoder", "open_encoder"]


def open_encoder(name: str, root: Path, *, threads: int = 1) -> Encoder:
    """The encoder an adapter names: `compact` is the bundled one, `compact:FOLDER` one of the same layout.

    Args:
        name: What `adapter.json` says.
        root: The adapter's folder; `FOLDER` is relative to it.
        threads: Threads per operator.

    Raises:
        ArtefactError: No encoder of that name.
    """
    kind, _, folder = name.partition(":")
    if kind != "compact":
        raise ArtefactError(f"no encoder {name!r}; known are 'compact' and 'compact:FOLDER'")
    return CompactEncoder(root / folder, threads=threads, name=name) if folder else CompactEncoder(threads=threads)
