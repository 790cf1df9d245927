"""Posts of protocols' parts, some of them drawn: what programs measure on that run no whole evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hybrid_mmsa.data import LoadReport
from hybrid_mmsa.evaluation.protocol import load_protocol
from hybrid_mmsa.types import Sample

__all__ = ["FOLDERS", "drawn_posts"]

FOLDERS: Mapping[str, str | None] = {
    "crossed": None,
    "everyday": None,
    "everyday_sarcasm": None,
    "mvsa_single": "MVSA_Single",
    "twitter2015": "Twitter2015",
    "twitter2017": "Twitter2017",
    "memotion": "Memotion7k",
    "semeval2017": "text",
    "mmsd2": "MMSD2.0",
    "airline": "sentences",
    "arts": "sentences",
    "checklist": "sentences",
    "dynasent": "sentences",
    "mams": "sentences",
    "newsmtsc": "sentences",
    "semeval14_laptops": "sentences",
    "semeval14_restaurants": "sentences",
    "short_reviews": "sentences",
    "sst": "sentences",
}
"""Protocols by name, and where their corpora lie under `--data`; None for what is bundled."""


def drawn_posts(name: str, data: Path, most: int, part: str | None = None) -> list[Sample]:
    """Posts that a protocol measures on, not read yet and in their order.

    Args:
        name: One of `FOLDERS`.
        data: The folder that holds the corpora.
        most: So many are drawn at the most, always the same ones.
        part: Of which part of the corpus; by default the one that the protocol measures on.
    """
    protocol, folder = load_protocol(name), FOLDERS[name]
    records = protocol.records(None if folder is None else data / folder, LoadReport())
    held_out = [r.sample for r in protocol.manifest().apply(records, None) if r.split == (part or protocol.part)]
    order = np.random.default_rng(0).permutation(len(held_out))[:most]
    return [held_out[place] for place in sorted(order)]
