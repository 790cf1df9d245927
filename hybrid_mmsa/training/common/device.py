"""On which device and in which float type towers are trained on this machine. Knows no towers."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

__all__ = ["multiplies_bf16", "training_device", "training_precision"]

BF16_UNIT = "amx_bf16"
"""What multiplies bf16 several times as fast as float32; AVX-512's bf16 instructions without it are slower than float32
(87 against 150 GFLOP/s on one core, 2048 × 384 × 1536)."""


def training_device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def multiplies_bf16() -> bool:
    """Whether the CPU has a unit that multiplies bf16 faster than float32."""
    return bool(torch.cpu.get_capabilities().get(BF16_UNIT))


def training_precision() -> AbstractContextManager[object]:
    """bf16 on a GPU and where the CPU multiplies it in hardware; float32 elsewhere, where bf16 is far slower."""
    if torch.cuda.is_available():
        return torch.autocast("cuda", dtype=torch.bfloat16)
    if multiplies_bf16():
        return torch.autocast("cpu", dtype=torch.bfloat16)
    return nullcontext()
