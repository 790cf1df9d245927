"""The bundled nano: a very small vision-language model, from its tokenizer to its folder."""

from __future__ import annotations

__all__: list[str] = []
