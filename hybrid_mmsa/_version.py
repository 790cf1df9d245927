"""The package's version, in the one place it is written. Knows nothing else."""

from __future__ import annotations

__version__ = "0.2.0"
