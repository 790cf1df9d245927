"""A reasoner on sentences of test parts: towards one of several targets (MAMS), and sarcastic or not (MMSD2.0).

Words alone are shown. It trains nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from eval.bench.protocol_posts import FOLDERS, drawn_posts
from eval.bench.reasoner.asking import asked
from eval.bench.reasoner.figures import label_accuracy, share_of
from hybrid_mmsa.reasoning import Reasoner
from hybrid_mmsa.types import Sample, Verdict

__all__ = ["irony_accuracy", "on_sentences"]

SENTENCES = ("mams", "mmsd2")
"""Protocols."""
POSTS = 300


def on_sentences(reasoner: Reasoner, data: Path, most: int | None = None) -> dict[str, Any]:
    """Shares of right answers with intervals, of the corpora that are there.

    Args:
        reasoner: Judges.
        data: The folder of all corpora.
        most: So many sentences of each corpus; `POSTS` if `None`.
    """
    found: dict[str, Any] = {}
    for name in SENTENCES:
        if not (data / str(FOLDERS[name])).is_dir():
            continue
        samples = [replace(sample, image=None) for sample in drawn_posts(name, data, most or POSTS)]
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
