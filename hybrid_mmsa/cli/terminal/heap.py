"""Keeps the C library from holding on to what a long run has freed. Knows nothing of what runs.

glibc takes large blocks from the system one by one, and gives them back when they are freed, but only until the first
such block is freed: then it raises the size from which it does so up to 32 MB, and smaller ones stay in its heap, in
fragments (`mallopt(3)`, M_MMAP_THRESHOLD). A film's frames and the activations of towers are such blocks.
"""

from __future__ import annotations

import ctypes
import sys

__all__ = ["give_large_blocks_back"]

M_MMAP_THRESHOLD = -3
LARGE = 1 << 20
"""Bytes."""


def give_large_blocks_back() -> bool:
    """Have blocks of a megabyte or more given back when they are freed, from now on in this process.

    Returns:
        Whether the C library can be told so: glibc alone can.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(M_MMAP_THRESHOLD, LARGE) == 1
