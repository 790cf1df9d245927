"""Everyday posts that nobody would dispute, written for this package and bundled with it. It knows no model.

`everyday.jsonl` is packed as `packed` says; `kind` is the group, and `image` names one of the bundled sample pictures.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from .files import require
from .packed import read_packed
from .records import LoadReport, Records

__all__ = ["EVERYDAY", "EVERYDAY_HOME", "load_crossed", "load_everyday"]

EVERYDAY = ("eval", "everyday")
"""Where the posts are bundled."""
EVERYDAY_HOME = "the folder eval/everyday of this project"
PICTURES = Path(__file__).resolve().parents[1] / "samples"
CROSSED = "crossed"
_FILE = "everyday.jsonl"


def load_everyday(root: Path, report: LoadReport) -> Records:
    """Yield the everyday posts; all are test."""
    require(root, _FILE, corpus="the everyday posts", home=EVERYDAY_HOME)
    for record in read_packed(root / _FILE, report, group="kind", pictures=PICTURES):
        yield replace(record, split="test")


def load_crossed(root: Path, report: LoadReport) -> Records:
    """Yield the plain texts of kind `crossed`, each beside every bundled sample picture.

    The words keep their label whatever the picture shows; ids are `text-picture`, the group is the label.
    """
    pictures = sorted(PICTURES.glob("*.jpg"))
    for record in load_everyday(root, report):
        if record.group == CROSSED:
            for path in pictures:
                sample = replace(record.sample, id=f"{record.sample.id}-{path.stem}", image=path)
                yield replace(record, sample=sample, group=record.sample.label)
