"""The small VLM of the tests for benchmark programs: trained first where no folder is named. It measures nothing.

Importing this also makes the tests' modules of drawn posts and small models importable.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import torch

from eval.bench.keeping import ROOT, program

__all__ = ["small_vlm", "vlm_program"]

sys.path.insert(0, str(ROOT / "tests"))


def vlm_program(description: str | None, name: str) -> argparse.ArgumentParser:
    """A parser as `program` makes it, with the option `--model`."""
    parser = program(description, name)
    parser.add_argument("--model", type=Path, help="folder of a small VLM that was trained before")
    return parser


@contextmanager
def small_vlm(model: Path | None) -> Iterator[tuple[Path, Path]]:
    """The VLM's folder, and an empty one to work in, which is removed afterwards. Torch computes in one thread."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        yield (model or import_module("tiny_vlm").trained_vlm(Path(folder) / "vlm")).resolve(), Path(folder)
