"""The loss of a tower with several heads, of which each row has labels for some. Knows nothing of texts or pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

__all__ = ["multitask_loss"]


def multitask_loss(logits: Mapping[str, Tensor], labels: Sequence[Mapping[str, int]], smoothing: float) -> Tensor:
    """Cross-entropy summed over heads and the rows that have a label for them, per row of the batch.

    Args:
        logits: `[n, classes]` per head.
        labels: Class index per head, for each of the `n` rows.
        smoothing: Label smoothing, in [0, 1).
    """
    terms = []
    for head, values in logits.items():
        known = [i for i, row in enumerate(labels) if head in row]
        if known:
            gold = torch.tensor([labels[i][head] for i in known])
            terms.append(cross_entropy(values[known].float(), gold, reduction="sum", label_smoothing=smoothing))
    return torch.stack(terms).sum() / len(labels)
