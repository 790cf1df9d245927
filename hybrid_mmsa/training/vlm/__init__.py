"""A language model and a picture tower → a model that sees: pictures, lessons, a projector. Trains nothing else."""

from __future__ import annotations

__all__: list[str] = []
