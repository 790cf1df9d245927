"""The fusion strategies side by side, each judged on posts its fit left out. Knows no towers and no corpora."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ... import metrics
from ...fusion import STRATEGIES, Strategy, softmax
from ...types import LABELS, IntArray
from .strategies import Evidence, JoiningConfig, cross_fit

__all__ = ["Compared", "compare_strategies"]


@dataclass(frozen=True, slots=True)
class Compared:
    """One strategy's held-out figures; text and image alone are the same head with the other side hidden."""

    strategy: Strategy
    accuracy: float
    weighted_f1: float
    log_loss: float
    text_alone: float
    image_alone: float
    gain: metrics.Interval
    """Accuracy minus that of the better single opinion on the whole post, paired."""


def compare_strategies(
    evidence: Evidence, folds: IntArray, configs: Mapping[Strategy, JoiningConfig] | None = None
) -> list[Compared]:
    """Cross-fit every strategy on the same folds `[n]`.

    Args:
        evidence: What both sides said of posts their towers had not seen.
        folds: Twins share one.
        configs: Recipes; the default one for a strategy that is not named.
    """
    gold, rows = evidence.labels, []
    alone = [side.argmax(1) for side in (evidence.text_joint, evidence.image_joint)]
    better = max(alone, key=lambda labels: float((labels == gold).mean()))
    for strategy in STRATEGIES:
        config = replace((configs or {}).get(strategy, JoiningConfig()), strategy=strategy)
        found = cross_fit(evidence, folds, config)
        labels = found["sentiment"].argmax(1)
        counts = metrics.confusion(gold, labels, len(LABELS))
        rows.append(
            Compared(
                strategy,
                float(metrics.accuracy(counts)),
                float(metrics.weighted_f1(counts)),
                float(metrics.nll(gold, softmax(found["sentiment"].astype(np.float64)))),
                float((found["text_alone"].argmax(1) == gold).mean()),
                float((found["image_alone"].argmax(1) == gold).mean()),
                metrics.paired_difference(metrics.accuracy, gold, labels, better, len(LABELS)),
            )
        )
    return rows
