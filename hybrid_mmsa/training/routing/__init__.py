"""Fits the router and the pooling with verdicts on held-out posts. Knows no towers and trains no heads."""

from __future__ import annotations

__all__: list[str] = []
