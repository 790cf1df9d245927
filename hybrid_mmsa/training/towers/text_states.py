"""Texts as the trunk of the text tower left them: worked out once, then padded into batches. Knows no corpora."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...encoders.wordpieces import LENGTH_STEP, WordPieces
from ...types import FloatArray, IntArray
from ..common.batches import by_length
from ..posts.rows import TextRow
from .text_tower import TextTower

__all__ = ["TextStates", "read_states"]

BATCH = 64


@dataclass(frozen=True, slots=True, eq=False)
class TextStates:
    """Rows, and for each the trunk's hidden states `[tokens, width]`."""

    rows: Sequence[TextRow]
    hidden: Sequence[Tensor]

    def take(self, rows: IntArray | Sequence[int]) -> TextStates:
        """Some rows, in the order given."""
        return TextStates([self.rows[i] for i in rows], [self.hidden[i] for i in rows])

    def padded(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Hidden states `[n, length, width]` and the mask `[n, length]` of real tokens, on a device."""
        lengths = [len(states) for states in self.hidden]
        # Few different lengths: math libraries compile and cache a kernel per shape.
        longest = -(-max(lengths) // LENGTH_STEP) * LENGTH_STEP
        hidden = torch.zeros(len(lengths), longest, self.hidden[0].shape[1])
        mask = torch.zeros(len(lengths), longest, dtype=torch.long)
        for i, states in enumerate(self.hidden):
            hidden[i, : len(states)], mask[i, : len(states)] = states, 1
        return hidden.to(device), mask.to(device)

    def logits(self, tower: TextTower) -> dict[str, FloatArray]:
        """Logits float32 `[n, classes]` per head of a tower with the trunk that these states come from."""
        tower.eval()
        found: dict[str, FloatArray] = {}
        with torch.inference_mode():
            for rows in by_length([len(states) for states in self.hidden], BATCH):
                hidden, mask = self.take(rows).padded(tower.device)
                for name, values in tower.all_logits(hidden, mask).items():
                    found.setdefault(name, np.zeros((len(self.rows), values.shape[1]), np.float32))[rows] = (
                        values.cpu().numpy()
                    )
        return found

    def scores(self, tower: TextTower) -> dict[str, float]:
        """Accuracy and macro recall of each head that these rows have labels for."""
        scores: dict[str, float] = {}
        for head, values in self.logits(tower).items():
            gold = np.array([row.labels.get("sentiment" if head == "said" else head, -1) for row in self.rows])
            if (known := gold >= 0).any():
                right = values[known].argmax(1) == gold[known]
                recall = [float(right[gold[known] == c].mean()) for c in sorted(set(gold[known]))]
                scores |= {f"{head}/accuracy": float(right.mean()), f"{head}/macro_recall": float(np.mean(recall))}
        return scores


def read_states(tower: TextTower, pieces: WordPieces, rows: Sequence[TextRow]) -> TextStates:
    """The trunk's states of texts, in the rows' order."""
    tower.eval()
    hidden: list[Tensor] = [torch.empty(0)] * len(rows)
    with torch.inference_mode():
        for part in by_length([len(row.text) for row in rows], BATCH):
            batch = pieces.encode([rows[i].text for i in part], [rows[i].target for i in part])
            states, mask = tower.trunk(batch)
            for i, values, length in zip(part, states, mask.sum(1).tolist(), strict=True):
                hidden[i] = values[:length].cpu().clone()
    return TextStates(list(rows), hidden)
