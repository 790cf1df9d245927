"""Posts to train on: rows of corpora, files of labelled posts, their targets and pictures. Knows no towers."""

from __future__ import annotations

__all__: list[str] = []
