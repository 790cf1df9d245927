"""On which device and in which float type towers are trained on this machine. Knows no towers."""

from __future__ import annotations

import statistics
import time
from contextlib import AbstractContextManager, nullcontext
from functools import cache

import torch
from torch.nn import functional

__all__ = ["multiplies_bf16", "training_device", "training_precision"]

BF16_UNITS = ("amx_bf16", "avx512_bf16")
"""What can multiply bf16 several times as fast as float32. Not every CPU with AVX-512's instructions for it does: one
was seen at 87 against 150 GFLOP/s, another at 215 against 98 (`eval/LOG.md`)."""
RACED, TURNS, CLEARLY = (1024, 576, 1536), 7, 1.3
"""Rows and widths of the product that decides, how often it is timed, and how many times faster bf16 must be."""


def training_device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@cache
def multiplies_bf16() -> bool:
    """Whether this CPU multiplies bf16 clearly faster than float32: timed once, where it has instructions for it."""
    capabilities = torch.cpu.get_capabilities()
    if not any(capabilities.get(unit) for unit in BF16_UNITS):
        return False
    return CLEARLY * _product_seconds(torch.bfloat16) < _product_seconds(torch.float32)


def _product_seconds(dtype: torch.dtype) -> float:
    rows, wide, out = RACED
    left, right = torch.ones(rows, wide, dtype=dtype), torch.ones(out, wide, dtype=dtype)
    taken = []
    for _ in range(TURNS):
        begin = time.perf_counter()
        functional.linear(left, right)
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


def training_precision() -> AbstractContextManager[object]:
    """bf16 on a GPU and on a CPU that multiplies it faster; float32 elsewhere."""
    if torch.cuda.is_available():
        return torch.autocast("cuda", dtype=torch.bfloat16)
    if multiplies_bf16():
        return torch.autocast("cpu", dtype=torch.bfloat16)
    return nullcontext()
