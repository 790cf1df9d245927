"""Runs the command line as `python -m hybrid_mmsa`. It knows nothing of the commands."""

from __future__ import annotations

from .cli import main

if __name__ == "__main__":
    main()
