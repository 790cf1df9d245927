"""How much memory a process holds, and has held at the most. Knows nothing of what held it, imports next to nothing."""

from __future__ import annotations

import os
import re
import resource
import sys
from pathlib import Path

__all__ = ["peak_memory_mb", "resident_mb"]


def peak_memory_mb() -> float:
    """Peak resident memory in MB (10⁶ bytes).

    On Linux it is `VmHWM`, which belongs to the process's own memory. `ru_maxrss` outlives `exec` there: a child begins
    with the peak of the process that started it (https://man7.org/linux/man-pages/man2/getrusage.2.html), so that what
    a large program starts would never count as small.
    """
    if sys.platform == "linux":
        found = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
        if found is None:
            sys.exit("/proc/self/status does not tell VmHWM: peak memory cannot be measured here")
        return int(found[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # bytes on macOS


def resident_mb(pid: int | None = None) -> float:
    """What a process holds at the moment, in MB (10⁶ bytes), on Linux; 0 where it has ended.

    Args:
        pid: The process; this one if not given.
    """
    try:
        pages = int(Path(f"/proc/{pid or 'self'}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
