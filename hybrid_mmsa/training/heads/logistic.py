"""Regularised multinomial logistic heads on frozen features, pulled to where they start. Knows no sides, no encoders.

The penalty is on what a head changes, not on what it is: `min Σ log-loss + λ/2 ‖W - W₀‖²`, with features centred and
scaled to rows of mean square length 1, so that one λ means the same for every encoder. Without a start W₀ is 0.

Where labels are skewed and hard to tell apart, the likeliest label is nearly always the commonest one. A bias per label
(`matching_bias`) gives each label as often as it occurs: it costs accuracy and raises the F1 of rare labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from ...fusion import log_softmax
from ...types import FloatArray, IntArray
from ..posts.labelled import as_targets

__all__ = ["Choice", "LinearHead", "choose_head", "fit_heads", "matching_bias"]

ITERATIONS = 200
BIAS_PENALTY = 0.01
"""Next to nothing, but enough that a label which never occurs keeps a finite bias."""
SHARE_ROUNDS = 100
CLOSE = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class LinearHead:
    """Weights `[classes, d]` and bias `[classes]`, float32."""

    weight: FloatArray
    bias: FloatArray

    def logits(self, features: FloatArray) -> FloatArray:
        """Logits float32 `[n, classes]`."""
        result: FloatArray = features @ self.weight.T + self.bias
        return result

    @classmethod
    def of(cls, arrays: Mapping[str, FloatArray], name: str) -> LinearHead:
        """The head that a fusion head names so, such as `"text.joint"`."""
        return cls(arrays[f"{name}.weight"], arrays[f"{name}.bias"])

    def named(self, name: str) -> dict[str, FloatArray]:
        """The arrays as a fusion head names them."""
        return {f"{name}.weight": self.weight, f"{name}.bias": self.bias}


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """A head with the penalty that suited posts it had not seen, and its logits `[n, classes]` for such posts."""

    head: LinearHead
    penalty: float
    held_out: FloatArray


def fit_heads(
    features: FloatArray,
    labels: NDArray[Any],
    classes: int,
    penalties: Sequence[float],
    start: LinearHead | None = None,
) -> list[LinearHead]:
    """One head per penalty, in the order given; each search begins where the one before ended.

    Args:
        features: float32 `[n, d]`.
        labels: int64 `[n]`, or targets `[n, classes]`; see `targets`.
        classes: How many labels there are, seen or not.
        penalties: λ, the strongest first for speed.
        start: The head to be pulled to.
    """
    mean = features.mean(0, dtype=np.float64)
    rows = features - mean
    scale = float(np.sqrt((rows**2).sum(1).mean())) or 1.0
    # With fewer posts than features, weights outside of what the posts span stay 0: the search is in that space alone.
    basis = np.linalg.svd(rows, full_matrices=False)[2] if len(rows) < rows.shape[1] else None
    rows = rows if basis is None else rows @ basis.T
    rows = np.column_stack([rows / scale, np.ones(len(rows))])
    offset = np.zeros((len(rows), classes)) if start is None else start.logits(features).astype(np.float64)
    targets = as_targets(labels, classes)
    values, heads = np.zeros(classes * rows.shape[1]), []
    for penalty in penalties:
        weights = np.full(rows.shape[1], penalty)
        weights[-1] = min(BIAS_PENALTY, penalty)
        values = minimize(
            _loss,
            values,
            args=(rows, targets, offset, weights),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": ITERATIONS},
        ).x
        change = values.reshape(classes, -1)
        weight = (change[:, :-1] if basis is None else change[:, :-1] @ basis) / scale
        bias = change[:, -1] - weight @ mean
        if start is not None:
            weight, bias = weight + start.weight, bias + start.bias
        heads.append(LinearHead(weight.astype(np.float32), bias.astype(np.float32)))
    return heads


def _loss(
    values: NDArray[Any], rows: NDArray[Any], targets: NDArray[Any], offset: NDArray[Any], penalty: NDArray[Any]
) -> tuple[float, NDArray[Any]]:
    change = values.reshape(offset.shape[1], -1)
    logs = log_softmax(rows @ change.T + offset)
    slope = targets.sum(1, keepdims=True) * np.exp(logs) - targets
    loss = float(-(targets * logs).sum() + 0.5 * (penalty * change**2).sum())
    return loss, (slope.T @ rows + penalty * change).ravel()


def choose_head(
    features: FloatArray,
    labels: NDArray[Any],
    folds: IntArray,
    classes: int,
    penalties: Sequence[float],
    start: LinearHead | None = None,
    *,
    caution: float = 0,
) -> Choice:
    """The head whose penalty did best on the folds left out, by log-loss.

    Args:
        features: float32 `[n, d]`.
        labels: int64 `[n]`, or targets `[n, classes]`; see `targets`.
        folds: int `[n]`, two different ones at the least; twins share one.
        classes: How many labels there are.
        penalties: What to choose from.
        start: The head to be pulled to.
        caution: Take the strongest penalty that is no worse than the best by more than this many standard errors.

    Raises:
        ValueError: All posts are of one fold.
    """
    if len(np.unique(folds)) < 2:
        raise ValueError("choosing a penalty needs posts of two folds or more")
    ranked, targets = sorted(penalties, reverse=True), as_targets(labels, classes)
    held_out = np.zeros((len(ranked), len(labels), classes), np.float32)
    for fold in np.unique(folds):
        held = folds == fold
        heads = fit_heads(features[~held], targets[~held], classes, ranked, start)
        held_out[:, held] = [head.logits(features[held]) for head in heads]
    losses = -(log_softmax(held_out.astype(np.float64)) * targets).sum(2)
    best = int(losses.mean(1).argmin())
    worse = losses - losses[best]
    allowed = caution * worse.std(1) / np.sqrt(len(labels))
    chosen = int(np.flatnonzero(worse.mean(1) <= allowed + 1e-12)[0])
    head = fit_heads(features, targets, classes, ranked[: chosen + 1], start)[-1]
    return Choice(head, ranked[chosen], held_out[chosen])


def matching_bias(logits: NDArray[Any], shares: NDArray[Any]) -> FloatArray:
    """A bias per label under which each label is the largest logit in its share of the posts, float32 `[classes]`.

    One label's bias after the other is set to the quantile at which its share is met, until none moves.

    Args:
        logits: `[n, classes]` of posts that the head was not fitted to.
        shares: How often each label is wanted, `[classes]`, summing to 1.

    Raises:
        ValueError: There are no posts, or a wanted share is negative.
    """
    if not len(logits) or (np.asarray(shares) < 0).any():
        raise ValueError("matching shares needs posts, and shares that are not negative")
    bias = np.zeros(logits.shape[1])
    for _ in range(SHARE_ROUNDS):
        before = bias.copy()
        for label, share in enumerate(shares):
            others = np.delete(logits + bias, label, axis=1).max(1)
            bias[label] = np.quantile(others - logits[:, label], share)
        bias -= bias.mean()
        if np.abs(bias - before).max() < CLOSE:
            break
    return bias.astype(np.float32)
