"""Gives the system back what a long run has freed. Knows nothing of what runs.

glibc keeps freed blocks of up to 32 MB in its heap (`mallopt(3)`, M_MMAP_THRESHOLD). Where blocks differ in size from
batch to batch, fewer and fewer of them fit into what was freed, and the heap grows: 21 GB of a run that needs 4. Taking
each large block from the system instead (as `cli.terminal.heap` does) costs a fault for every page of it, which made a
step three times as long; giving the free pages back now and then (`malloc_trim(3)`) costs next to nothing.
"""

from __future__ import annotations

import ctypes
import sys

__all__ = ["give_back_freed"]


def give_back_freed() -> bool:
    """Give the system the pages of this process's heap that nothing stands on.

    Returns:
        Whether there were any; glibc alone can be told.
    """
    if not sys.platform.startswith("linux"):
        return False
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim is not None and trim(0) == 1
