"""Are these posts still like those the router was calibrated on? Two-sample tests over arrays; knows no posts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..types import LABELS, Reason
from .calibration_sample import CalibrationSample

__all__ = ["Shift", "comparable", "kolmogorov_smirnov", "same_shares", "shifts"]

LEAST_OF_KIND = 10
"""Posts of a kind that the calibration sample needs, so that others of that kind can be compared with it."""


def kolmogorov_smirnov(first: NDArray[Any], second: NDArray[Any]) -> tuple[float, float]:
    """Largest distance of the two empirical distributions, and its asymptotic p-value (Stephens 1970).

    NaN is left out.
    """
    first, second = np.sort(first[~np.isnan(first)]), np.sort(second[~np.isnan(second)])
    if not len(first) or not len(second):
        return 0.0, 1.0
    both = np.concatenate([first, second])
    shares = [np.searchsorted(values, both, side="right") / len(values) for values in (first, second)]
    distance = float(np.abs(shares[0] - shares[1]).max())
    size = math.sqrt(len(first) * len(second) / len(both))
    x = (size + 0.12 + 0.11 / size) * distance
    # The alternating series converges too slowly near 0, where the p-value is 1.
    p = 1.0 if x < 0.3 else 2 * sum((-1) ** (k - 1) * math.exp(-2 * (k * x) ** 2) for k in range(1, 101))
    return distance, min(1.0, max(0.0, p))


def same_shares(first: NDArray[Any], second: NDArray[Any]) -> float:
    """p-value of Pearson's chi-squared test that two rows of counts `[3]` have the same shares."""
    table = np.stack([first, second]).astype(np.float64)
    table = table[:, table.sum(0) > 0]
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / table.sum()
    statistic = float(((table - expected) ** 2 / expected).sum())
    freedom = table.shape[1] - 1
    # The tail of chi-squared has a closed form for up to two degrees of freedom.
    tails = {0: 1.0, 1: math.erfc(math.sqrt(statistic / 2)), 2: math.exp(-statistic / 2)}
    return tails[freedom]


@dataclass(frozen=True, slots=True)
class Shift:
    """One comparison of new posts with those the router was calibrated on.

    Attributes:
        what: What is compared.
        distance: Largest difference of the two distributions, or of the shares of a label, in [0, 1].
        p_value: How often posts of one kind would differ as much.
    """

    what: str
    distance: float
    p_value: float


def comparable(sample: CalibrationSample, scores: Mapping[Reason, NDArray[Any]]) -> NDArray[np.bool_]:
    """Which new posts are of a kind that the router was calibrated on: words and picture, words alone, picture alone.

    A router that was calibrated on posts with both sides knows nothing of scores from one side: such posts differ from
    its own by what they are, and no test is needed to say so.

    Args:
        sample: What the router was calibrated on.
        scores: Scores of `n` new posts by reason.

    Returns:
        bool `[n]`.
    """
    before = _kinds(sample.conflict, sample.sarcasm)
    known = np.bincount(before, minlength=3) >= LEAST_OF_KIND
    of_kind: NDArray[np.bool_] = known[_kinds(scores["conflict"], scores["sarcasm"])]
    return of_kind


def _kinds(conflict: NDArray[Any], sarcasm: NDArray[Any]) -> NDArray[np.int64]:
    """0 for posts with both sides, 1 for words alone, 2 for pictures alone (and words that no head asks about)."""
    kinds: NDArray[np.int64] = np.where(~np.isnan(conflict), 0, np.where(np.isnan(sarcasm), 2, 1))
    return kinds


def shifts(sample: CalibrationSample, scores: Mapping[Reason, NDArray[Any]], labels: NDArray[Any]) -> list[Shift]:
    """Compare new posts with the calibration sample: each reason's score, how often it is missing, the labels given.

    Args:
        sample: What the router was calibrated on.
        scores: Scores of the new posts by reason, NaN where there is none.
        labels: Class indices of their fast labels; for a few posts alone the p-value of the labels is too small.
    """
    before: dict[Reason, NDArray[Any]] = {
        "low_confidence": sample.p_error,
        "sarcasm": sample.sarcasm,
        "conflict": sample.conflict,
        "novel": sample.novel,
    }
    names: dict[Reason, str] = {"low_confidence": "P(error)", "sarcasm": "P(sarcastic)", "conflict": "P(sides opposed)"}
    comparisons = [
        Shift(names.get(reason, reason), *kolmogorov_smirnov(before[reason], values))
        for reason, values in scores.items()
    ]
    # Scores that are missing cannot shift, so how often they are is compared by itself.
    missing = [np.isnan(side).astype(np.float64) for side in (sample.conflict, scores["conflict"])]
    comparisons.append(Shift("posts of one side", *kolmogorov_smirnov(*missing)))
    counts = [np.bincount(counted, minlength=len(LABELS)) for counted in (sample.label, labels)]
    gap = np.abs(counts[0] / counts[0].sum() - counts[1] / counts[1].sum()).max()
    return [*comparisons, Shift("labels given", float(gap), same_shares(*counts))]
