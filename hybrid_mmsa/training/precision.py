"""On which device and in which float type towers are trained on this machine. Knows no towers."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

__all__ = ["training_device", "training_precision"]

BF16_UNITS = ("amx_bf16", "avx512_bf16")


def training_device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def training_precision() -> AbstractContextManager[object]:
    """bf16 on a GPU and where the CPU multiplies it in hardware; float32 elsewhere, where bf16 is far slower."""
    if torch.cuda.is_available():
        return torch.autocast("cuda", dtype=torch.bfloat16)
    can = torch.cpu.get_capabilities()
    if any(can.get(unit) for unit in BF16_UNITS):
        return torch.autocast("cpu", dtype=torch.bfloat16)
    return nullcontext()
