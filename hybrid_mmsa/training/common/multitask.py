"""The loss of a tower with several heads, of which each row has labels for some. Knows nothing of texts or pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

__all__ = ["multitask_loss", "taught_loss"]


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
            gold = torch.tensor([labels[i][head] for i in known], device=values.device)
            terms.append(cross_entropy(values[known].float(), gold, reduction="sum", label_smoothing=smoothing))
    return torch.stack(terms).sum() / len(labels)


def taught_loss(
    logits: Mapping[str, Tensor],
    gold: Mapping[str, Tensor],
    taught: Mapping[str, Tensor],
    *,
    share: float,
    beside: float,
    smoothing: float,
) -> Tensor:
    """Cross-entropy to gold labels and to what teachers say, summed over heads, per row of the batch.

    Hinton et al. 2015, arXiv 1503.02531, at temperature 1.

    Args:
        logits: `[n, classes]` per head.
        gold: int64 `[n]` per head, -1 where a row has no label.
        taught: Teachers' probabilities `[n, classes]` per head, all zero where they are not asked.
        share: What the teachers count, in [0, 1], where there is a label too; the label counts the rest.
        beside: What they count where there is none.
        smoothing: Of the gold labels, in [0, 1).
    """
    total = torch.zeros((), device=next(iter(logits.values())).device)
    for head, values in logits.items():
        known = (gold[head] >= 0).float()
        labels = gold[head].clamp(min=0)
        hard = cross_entropy(values.float(), labels, reduction="none", label_smoothing=smoothing)
        soft = -(taught[head] * values.float().log_softmax(1)).sum(1)
        total = total + (known * ((1 - share) * hard + share * soft) + (1 - known) * beside * soft).sum()
    return total / len(next(iter(logits.values())))
