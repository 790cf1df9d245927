"""How good answers are: small pure functions over arrays, and intervals for them. It knows no models, texts or files.

Label metrics read a confusion matrix of counts `[..., classes, classes]` (rows gold, columns predicted), so one call
scores a thousand resamples. Probability metrics read `gold` int `[n]` and `probabilities` float `[n, classes]`.
Selective metrics read `confidence` float `[n]` and `correct` bool `[n]`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import comb, sqrt
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .errors import InputError

__all__ = [
    "Interval",
    "LabelMetric",
    "McNemar",
    "Reliability",
    "accuracy",
    "aurc",
    "bootstrap",
    "bootstrap_labels",
    "brier",
    "calibration_error",
    "class_f1",
    "class_precision",
    "class_recall",
    "confusion",
    "cost",
    "coverage_at_risk",
    "deferral_rate",
    "macro_f1",
    "macro_precision",
    "macro_recall",
    "mcnemar",
    "nll",
    "paired_difference",
    "reliability",
    "risk_coverage",
    "weighted_f1",
    "wilson",
]

Floats: TypeAlias = NDArray[np.float64]
Array: TypeAlias = NDArray[Any]
LabelMetric: TypeAlias = Callable[[Array], Floats]
"""From counts `[..., classes, classes]` to one figure for each leading index."""

BINS = 15
RESAMPLES = 2000
LEVEL = 0.95
Z95 = 1.959964


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and the interval around it: bootstrap percentiles unless said otherwise, 95 % unless asked otherwise."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class McNemar:
    """Posts that only the first, or only the second, system had right; the exact two-sided p-value of that split."""

    first_only: int
    second_only: int
    p_value: float


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """Per confidence bin: posts in it, their mean confidence and accuracy (both NaN where the bin is empty)."""

    count: NDArray[np.int64]
    confidence: Floats
    accuracy: Floats


def confusion(gold: Array, predicted: Array, classes: int) -> NDArray[np.int64]:
    """Counts `[classes, classes]` of gold (rows) against predicted labels (columns), both int `[n]`."""
    _same_length(gold, predicted)
    if min(gold.min(), predicted.min()) < 0 or max(gold.max(), predicted.max()) >= classes:
        raise InputError(f"labels must lie in 0..{classes - 1}")
    return np.bincount(gold * classes + predicted, minlength=classes**2).reshape(classes, classes)


def accuracy(counts: Array) -> Floats:
    """Share of posts with the right label, in [0, 1]."""
    return _ratio(np.trace(counts, axis1=-2, axis2=-1), counts.sum((-2, -1)))


def class_precision(counts: Array) -> Floats:
    """Per class `[..., classes]`: of the posts given this label, the share that has it; 0 where none was given it."""
    return _ratio(np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(-2))


def class_recall(counts: Array) -> Floats:
    """Per class `[..., classes]`: of the posts that have this label, the share given it; 0 where none has it."""
    return _ratio(np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(-1))


def class_f1(counts: Array) -> Floats:
    """Per class `[..., classes]`: the harmonic mean of precision and recall; 0 where both are."""
    return _ratio(2 * np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(-1) + counts.sum(-2))


def macro_precision(counts: Array) -> Floats:
    """Mean of the classes' precisions, each class counting the same; classes that no post has are left out."""
    return _macro(class_precision(counts), counts)


def macro_recall(counts: Array) -> Floats:
    """Mean of the classes' recalls, SemEval-2017's main figure; classes that no post has are left out."""
    return _macro(class_recall(counts), counts)


def macro_f1(counts: Array) -> Floats:
    """Mean of the classes' F1, each class counting the same; classes that no post has are left out."""
    return _macro(class_f1(counts), counts)


def _macro(by_class: Floats, counts: Array) -> Floats:
    """The mean over the classes that some post has; 0 where there is no post."""
    there = counts.sum(-1) > 0
    return _ratio((by_class * there).sum(-1), there.sum(-1))


def weighted_f1(counts: Array) -> Floats:
    """Mean of the classes' F1, each class weighing as many posts as have it (the F1 of the MVSA papers)."""
    return _ratio((class_f1(counts) * counts.sum(-1)).sum(-1), counts.sum((-2, -1)))


def nll(gold: Array, probabilities: Array) -> float:
    """Mean negative log-likelihood in nats; a probability of 0 counts as 1e-12."""
    _same_length(gold, probabilities)
    return float(-np.log(np.clip(probabilities[np.arange(len(gold)), gold], 1e-12, 1.0)).mean())


def brier(gold: Array, probabilities: Array) -> float:
    """Mean squared distance of the probabilities to the one-hot gold label, summed over classes: in [0, 2]."""
    _same_length(gold, probabilities)
    truth = np.eye(probabilities.shape[1])[gold]
    return float(((probabilities - truth) ** 2).sum(1).mean())


def reliability(gold: Array, probabilities: Array, bins: int = BINS) -> Reliability:
    """Confidence against accuracy in `bins` bins of equal width over [0, 1], for a reliability diagram."""
    _same_length(gold, probabilities)
    confidence = probabilities.max(1).astype(np.float64)
    correct = (probabilities.argmax(1) == gold).astype(np.float64)
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        return Reliability(
            count=count,
            confidence=np.bincount(place, confidence, bins) / count,
            accuracy=np.bincount(place, correct, bins) / count,
        )


def calibration_error(gold: Array, probabilities: Array, bins: int = BINS) -> float:
    """Expected calibration error: |accuracy - confidence| per bin of equal width, weighted (Guo et al. 2017)."""
    table = reliability(gold, probabilities, bins)
    return float(np.nansum(np.abs(table.accuracy - table.confidence) * table.count) / len(gold))


def risk_coverage(confidence: Array, correct: Array) -> tuple[Floats, Floats]:
    """Coverage and error rate when only the k most confident posts are answered, for k = 1..n.

    Posts of equal confidence cannot be told apart, so each of them carries their common error rate.
    """
    _same_length(confidence, correct)
    levels, level = np.unique(-confidence, return_inverse=True)
    errors = np.bincount(level, ~correct.astype(bool), len(levels)) / np.bincount(level)
    counts = np.arange(1, len(confidence) + 1)
    return counts / len(confidence), np.cumsum(errors[np.sort(level)]) / counts


def aurc(confidence: Array, correct: Array) -> float:
    """Area under the risk-coverage curve: the mean error rate over all coverages (Geifman and El-Yaniv 2017)."""
    return float(risk_coverage(confidence, correct)[1].mean())


def coverage_at_risk(confidence: Array, correct: Array, risk: float) -> float:
    """The largest share of posts a confidence threshold can answer with an error rate of at most `risk`."""
    coverage, risks = risk_coverage(confidence, correct)
    ordered = -np.sort(-confidence)
    can_cut = np.append(ordered[1:] != ordered[:-1], True)
    allowed = coverage[can_cut & (risks <= risk + 1e-12)]
    return float(allowed[-1]) if len(allowed) else 0.0


def deferral_rate(deferred: Array) -> float:
    """Share of posts handed to the slow tier; `deferred` is bool `[n]`."""
    return float(deferred.mean())


def cost(deferred: Array, fast: float, slow: float) -> float:
    """Mean cost of a post in the caller's unit: every post pays `fast`, a deferred one `slow` as well."""
    return fast + slow * deferral_rate(deferred)


def bootstrap(
    statistic: Callable[..., float],
    *arrays: Array,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """A statistic of arrays `[n, ...]` with its percentile interval over posts drawn with replacement."""
    _same_length(*arrays)
    n, random = len(arrays[0]), np.random.default_rng(seed)
    draws = (random.integers(0, n, n) for _ in range(resamples))
    values = np.array([statistic(*(array[rows] for array in arrays)) for rows in draws])
    return _interval(statistic(*arrays), values, level)


def bootstrap_labels(
    metric: LabelMetric,
    counts: NDArray[np.int64],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """A label metric of one confusion matrix with its percentile interval.

    Drawing n posts with replacement is one multinomial draw over the cells of the matrix, so all resamples are drawn
    and scored at once.
    """
    return _interval(float(metric(counts)), metric(_draw(counts, resamples, seed)), level)


def paired_difference(
    metric: LabelMetric,
    gold: Array,
    first: Array,
    second: Array,
    classes: int,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Metric of `first` minus metric of `second` on the same posts, with its 95 % paired bootstrap interval."""
    _same_length(gold, first, second)
    code = (gold * classes + first) * classes + second
    cube = np.bincount(code, minlength=classes**3).reshape(classes, classes, classes)
    drawn = _draw(cube, resamples, seed)
    value = float(metric(cube.sum(2)) - metric(cube.sum(1)))
    return _interval(value, metric(drawn.sum(3)) - metric(drawn.sum(2)), LEVEL)


def mcnemar(gold: Array, first: Array, second: Array) -> McNemar:
    """McNemar's exact test: are the posts on which exactly one of two systems is right split evenly?"""
    _same_length(gold, first, second)
    right, other = first == gold, second == gold
    a, b = int((right & ~other).sum()), int((other & ~right).sum())
    tail = sum(comb(a + b, k) for k in range(min(a, b) + 1))
    return McNemar(a, b, min(1.0, 2 * tail / 2 ** (a + b)))


def wilson(count: int, n: int) -> Interval:
    """The share `count / n` with Wilson's 95 % score interval (Wilson 1927), good for small `n` and shares near 0."""
    if not 0 <= count <= n or n == 0:
        raise InputError(f"a share needs at least one post and no more than all of them, not {count} of {n}")
    share, spread = count / n, Z95**2 / n
    centre, half = share + spread / 2, sqrt(spread * (share * (1 - share) + spread / 4))
    return Interval(share, max(0.0, (centre - half) / (1 + spread)), min(1.0, (centre + half) / (1 + spread)))


def _draw(counts: NDArray[np.int64], resamples: int, seed: int) -> NDArray[np.int64]:
    """Resampled tables `[resamples, *counts.shape]`, each with the posts of the original."""
    n = int(counts.sum())
    if n == 0:
        raise InputError("a figure needs at least one post")
    draws = np.random.default_rng(seed).multinomial(n, counts.ravel() / n, size=resamples)
    return draws.reshape(resamples, *counts.shape)


def _interval(value: float, values: Array, level: float) -> Interval:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


def _ratio(part: Array, whole: Array) -> Floats:
    """`part / whole`, 0 where `whole` is."""
    return np.divide(part, whole, out=np.zeros(np.shape(whole)), where=np.asarray(whole) != 0)


def _same_length(*arrays: Array) -> None:
    lengths = {len(array) for array in arrays}
    if len(lengths) != 1 or lengths == {0}:
        raise InputError(f"arrays of one length of at least 1 are wanted, not of lengths {sorted(lengths)}")
