"""Posts → `Features`: the Encoder protocol and the encoders behind it. Knows nothing of labels."""

from __future__ import annotations

from ..errors import ArtefactError
from .base import Encoder
from .compact import CompactEncoder

__all__ = ["CompactEncoder", "Encoder", "open_encoder"]


def open_encoder(name: str, *, threads: int = 1) -> Encoder:
    """The encoder an adapter names.

    Raises:
        ArtefactError: No encoder of that name.
    """
    if name == CompactEncoder.name:
        return CompactEncoder(threads=threads)
    raise ArtefactError(f"no encoder {name!r}; known are {CompactEncoder.name!r}")
