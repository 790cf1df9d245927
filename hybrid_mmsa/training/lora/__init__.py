"""LoRA adapters for reasoners: plan, examples, trainer, checks, measures, report and export. Trains no fast tier."""

from __future__ import annotations

__all__: list[str] = []
