"""What towers say of training posts they never saw: gathered fold by fold, kept beside a run. Knows no towers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from ...types import FloatArray, IntArray

__all__ = ["OutOfFold"]

LOGITS, POSTS = "oof.safetensors", "oof.json"


@dataclass(frozen=True, slots=True, eq=False)
class OutOfFold:
    """Logits of posts, each from the tower that was trained without the post's fold.

    Attributes:
        ids: The posts' ids, `n` of them.
        folds: int64 `[n]`.
        logits: float32 `[n, classes]` per head.
    """

    ids: Sequence[str]
    folds: IntArray
    logits: dict[str, FloatArray] = field(default_factory=dict)

    def put(self, rows: IntArray, logits: Mapping[str, FloatArray]) -> None:
        """Note what a tower says of some rows, `[len(rows), classes]` per head."""
        for head, values in logits.items():
            empty = np.zeros((len(self.ids), values.shape[1]), np.float32)
            self.logits.setdefault(head, empty)[rows] = values

    def save(self, runs: Path) -> None:
        """Write `oof.safetensors` and `oof.json`, the sign that a run is finished."""
        save_file(self.logits, runs / LOGITS)
        posts = {"ids": list(self.ids), "folds": self.folds.tolist()}
        (runs / POSTS).write_text(json.dumps(posts) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, runs: Path) -> OutOfFold:
        """Read what `save` wrote."""
        posts = json.loads((runs / POSTS).read_text(encoding="utf-8"))
        return cls(posts["ids"], np.array(posts["folds"], dtype=np.int64), load_file(runs / LOGITS))

    def of(self, ids: Sequence[str]) -> dict[str, FloatArray]:
        """The logits of some of the posts, in the order asked for."""
        places = {id_: row for row, id_ in enumerate(self.ids)}
        rows = [places[id_] for id_ in ids]
        return {head: values[rows] for head, values in self.logits.items()}
