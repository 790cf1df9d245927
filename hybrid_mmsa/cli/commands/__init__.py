"""The commands of `hybrid-mmsa`, one file each: arguments in, words and files out."""

from __future__ import annotations

__all__: list[str] = []
