"""Reasoners that run in this process: any open VLM of the transformers library, with LoRA adapters.

It is opened by name and only on demand, since it needs the extra `vlm`. It knows nothing of servers and GGUF files.
"""

from __future__ import annotations

from .reasoner import TransformersReasoner

__all__ = ["TransformersReasoner"]
