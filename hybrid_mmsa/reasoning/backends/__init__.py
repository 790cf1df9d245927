"""What runs a model: transformers, llama.cpp, an OpenAI-compatible server, recorded verdicts."""

from __future__ import annotations

__all__: list[str] = []
