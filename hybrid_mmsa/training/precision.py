"""In which float type towers are trained on this machine. Knows no towers."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

__all__ = ["training_precision"]

BF16_UNITS = ("amx_bf16", "avx512_bf16")


def training_precision() -> AbstractContextManager[object]:
    """bf16 where the CPU multiplies it in hardware, at twice the speed; float32 elsewhere, where bf16 is far slower."""
    can = torch.cpu.get_capabilities()
    if any(can.get(unit) for unit in BF16_UNITS):
        return torch.autocast("cpu", dtype=torch.bfloat16)
    return nullcontext()
