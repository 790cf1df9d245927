"""Promises that hold for a finite number of posts: error rates, prediction sets. Pure functions over arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..types import LABELS, Label

__all__ = ["at_most", "conformal_threshold", "level_for_risk", "prediction_set", "testing_order"]

STEPS = 100


def at_most(count: int, n: int, share: float) -> float:
    """P(Binomial(n, share) ≤ count): the exact p-value against "the error rate is above `share`"."""
    if count >= n or share <= 0:
        return 1.0
    if share >= 1:
        return 0.0
    k = np.arange(count + 1)
    logs = np.array([math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) for i in k])
    logs += k * math.log(share) + (n - k) * math.log1p(-share)
    top = logs.max()
    return float(min(1.0, math.exp(top) * np.exp(logs - top).sum()))


def testing_order(scores: NDArray[Any], wrong: NDArray[Any], risk: float, n: int) -> NDArray[np.float64]:
    """Levels to test in turn, rising: from where a test on `n` posts has most power, to where all posts are kept.

    Args:
        scores: Defer scores `[m]` of posts that are not tested on.
        wrong: Whether the fast label is wrong there, bool `[m]`.
        risk: The error rate to be promised.
        n: Number of posts the levels will be tested on.
    """
    ranked = np.sort(scores)
    levels = np.unique(ranked[np.ceil(np.linspace(0, 1, STEPS + 1)[1:] * len(ranked)).astype(int) - 1])
    counts = np.array([(scores <= level).sum() for level in levels])
    errors = np.array([(wrong & (scores <= level)).sum() for level in levels])
    power = (risk - errors / counts) * np.sqrt(counts / len(scores) * n)
    return np.append(levels[int(np.argmax(power)) :], np.inf).astype(np.float64)


def level_for_risk(
    scores: NDArray[Any], wrong: NDArray[Any], order: Sequence[float] | NDArray[Any], risk: float, delta: float
) -> float:
    """The highest level below which posts can be kept with an error rate of at most `risk`; `-inf` if none is proved.

    The levels are tested in their order until one fails. The order does not depend on these posts, so the chance that
    any promise of an error rate is broken is at most `delta` ("Learn then Test", fixed-sequence testing, Angelopoulos
    et al. 2021, arXiv 2110.01052). Given how many posts a level keeps, their errors are binomial, so the test is exact
    for scores that do not depend on these posts. A router's defer scores do a little: two of its thresholds are
    quantiles of the same posts' scores, though never of their errors.

    Args:
        scores: Defer scores `[n]`; a post is kept where its score is not above the level.
        wrong: Whether the fast label is wrong, bool `[n]`.
        order: The levels, rising; see `testing_order`.
        risk: Largest error rate among kept posts.
        delta: How often the promise may fail.
    """
    proved = -math.inf
    for level in order:
        kept = scores <= level
        if at_most(int((wrong & kept).sum()), int(kept.sum()), risk) > delta:
            break
        proved = float(level)
    return proved


def conformal_threshold(probabilities: NDArray[Any], gold: NDArray[Any], alpha: float) -> float:
    """The least probability with which a label enters the prediction set, by split conformal prediction.

    The score of a post is 1 minus the probability of its gold label (LAC, Sadinle, Lei and Wasserman 2019). Its
    ceil((n + 1)(1 - alpha))-th smallest value makes sets that hold the gold label of an exchangeable new post with
    probability of at least 1 - alpha: n + 1 and not n, because the new post is one of them. Too few posts give 0, and
    so all labels.
    """
    n = len(gold)
    rank = math.ceil((n + 1) * (1 - alpha) - 1e-9)  # 1 - alpha is rounded, and may lie above what was meant
    if rank > n:
        return 0.0
    # Ranked as probabilities: 1 - (1 - p) may round above p and leave out the very post that sets the threshold.
    return float(np.sort(probabilities[np.arange(n), gold].astype(np.float64))[n - rank])


def prediction_set(probabilities: NDArray[Any], threshold: float) -> tuple[Label, ...]:
    """The labels of one post with a probability of at least `threshold`; the likeliest is always among them."""
    chosen = (probabilities.astype(np.float64) >= threshold) | (probabilities == probabilities.max())
    return tuple(label for label, inside in zip(LABELS, chosen, strict=True) if inside)
