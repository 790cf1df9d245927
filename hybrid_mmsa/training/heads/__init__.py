"""Heads on features that stay as they are: fusion, few-shot heads, and the adapter folders made of them."""

from __future__ import annotations

__all__: list[str] = []
