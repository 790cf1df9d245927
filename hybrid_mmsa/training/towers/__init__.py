"""The text and the image tower: fine-tuning, distillation and export to int8 ONNX. Knows no fusion."""

from __future__ import annotations

__all__: list[str] = []
