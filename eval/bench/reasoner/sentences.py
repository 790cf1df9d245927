"""A reasoner on sentences of test parts: towards one of several targets (MAMS), and sarcastic or not (MMSD2.0).

Words alone are shown. It trains nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from eval.bench.reasoner.figures import label_accuracy, share_of
from hybrid_mmsa.data import LoadReport
from hybrid_mmsa.evaluation.protocol import load_protocol
from hybrid_mmsa.inputs import read_sample
from hybrid_mmsa.reasoning import Reasoner
from hybrid_mmsa.types import Sample, Verdict

__all__ = ["irony_accuracy", "on_sentences"]

FOLDERS = {"mams": "sentences", "mmsd2": "MMSD2.0"}
"""Protocols, and where their corpora lie under the data folder."""
POSTS = 300
AT_A_TIME = 30


def on_sentences(reasoner: Reasoner, data: Path, most: int | None = None) -> dict[str, Any]:
    """Shares of right answers with intervals, of the corpora that are there.

    Args:
        reasoner: Judges.
        data: The folder of all corpora.
        most: So many sentences of each corpus; `POSTS` if `None`.
    """
    found: dict[str, Any] = {}
    for name, folder in FOLDERS.items():
        if not (data / folder).is_dir():
            continue
        samples = drawn(name, data / folder, most or POSTS)
        if name == "mams":
            found[name] = label_accuracy([each.label for each in samples], asked(reasoner, samples, rationale=False))
        else:
            found[name] = irony_accuracy(samples, asked(reasoner, samples, rationale=True))
    return found


def irony_accuracy(samples: Sequence[Sample], verdicts: Sequence[Verdict]) -> dict[str, float]:
    """Share of posts that are rightly called sarcastic or not, and the larger class's share; silence is wrong."""
    gold = [bool(sample.sarcastic) for sample in samples]
    said = [None if verdict.sarcasm is None else verdict.sarcasm >= 0.5 for verdict in verdicts]
    most = max(np.mean(gold), 1 - np.mean(gold))
    return share_of([a == b for a, b in zip(gold, said, strict=True)]) | {"majority": float(most)}


def drawn(name: str, folder: Path, most: int) -> list[Sample]:
    """Some sentences of a protocol's part, without pictures."""
    protocol = load_protocol(name)
    records = protocol.manifest().apply(protocol.records(folder, LoadReport()), None)
    held_out = [record.sample for record in records if record.split == protocol.part and record.sample.text]
    places = np.random.default_rng(0).permutation(len(held_out))[:most]
    return [replace(held_out[place], image=None) for place in sorted(places)]


def asked(reasoner: Reasoner, samples: list[Sample], *, rationale: bool) -> list[Verdict]:
    """A verdict on each."""
    found: list[Verdict] = []
    for start in range(0, len(samples), AT_A_TIME):
        some = [read_sample(sample) for sample in samples[start : start + AT_A_TIME]]
        found += reasoner.reason(some, rationale=rationale)
    return found
