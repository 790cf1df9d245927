"""What hints that a fast answer is wrong: one number per post and signal. Knows nothing of models or thresholds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..types import Features, FloatArray, TaskArrays
from .novelty import Novelty

__all__ = ["SIGNALS", "Floats", "conflict", "mockery", "opposition", "signal_matrix"]

Floats: TypeAlias = NDArray[np.float64]
Signal: TypeAlias = Callable[[TaskArrays, Features, "Novelty | None"], NDArray[Any]]
CERTAIN = 1e-6
"""Probabilities nearer to 0 or 1 than this count as this near."""


def conflict(probabilities: TaskArrays) -> FloatArray:
    """Total variation distance `[n]` of what the two sides say, in [0, 1]; NaN where one is missing."""
    distance: FloatArray = 0.5 * np.abs(probabilities["text_sentiment"] - probabilities["image_sentiment"]).sum(1)
    return distance


def opposition(probabilities: TaskArrays) -> FloatArray:
    """P(one side is positive and the other negative) `[n]`, the sides taken as independent; NaN where one is missing.

    Such a post has no label that both sides would sign; corpora drop it (MultiSentiNet, Xu and Mao, CIKM 2017).
    """
    text, image = probabilities["text_sentiment"], probabilities["image_sentiment"]
    chance: FloatArray = text[:, 0] * image[:, 2] + text[:, 2] * image[:, 0]
    return chance


def mockery(probabilities: TaskArrays) -> FloatArray:
    """P(sarcastic) `[n]`, of words beside a picture at most what the two sides differ by; NaN without words.

    What a picture shows is what gives its words away (Schifanella et al. 2016, arXiv 1608.02289): where both sides say
    the same, they are hardly meant the other way round.
    """
    at_most = np.nan_to_num(conflict(probabilities), nan=1.0)
    score: FloatArray = np.minimum(probabilities["sarcasm"][:, 1], at_most)
    return score


def _doubt(p: TaskArrays, features: Features, novelty: Novelty | None) -> NDArray[Any]:
    """Log-odds of another label than the likeliest: weight 1 and bias 0 take the calibrated probability at its word."""
    top = np.clip(p["sentiment"].max(1).astype(np.float64), CERTAIN, 1 - CERTAIN)
    odds: NDArray[Any] = np.log1p(-top) - np.log(top)
    return odds


def _narrowness(p: TaskArrays, features: Features, novelty: Novelty | None) -> NDArray[Any]:
    """1 minus the margin between the two likeliest labels."""
    ordered = np.sort(p["sentiment"], axis=1)
    return 1 - (ordered[:, -1] - ordered[:, -2])


def _entropy(p: TaskArrays, features: Features, novelty: Novelty | None) -> NDArray[Any]:
    """Shannon entropy as a share of its maximum."""
    values = np.clip(p["sentiment"], 1e-9, 1)
    share: NDArray[Any] = -(values * np.log(values)).sum(1) / np.log(values.shape[1])
    return share


def _conflict(p: TaskArrays, features: Features, novelty: Novelty | None) -> NDArray[Any]:
    return np.nan_to_num(conflict(p), nan=0.0)


def _opposition(p: TaskArrays, features: Features, novelty: Novelty | None) -> NDArray[Any]:
    return np.nan_to_num(opposition(p), nan=0.0)


def _sarcasm(p: TaskArrays, features: Features, novelty: Novelty | None) -> NDArray[Any]:
    return np.nan_to_num(p["sarcasm"][:, 1], nan=0.0)


def _no_text(p: TaskArrays, features: Features, novelty: Novelty | None) -> NDArray[Any]:
    return 1.0 - features.has_text


def _no_image(p: TaskArrays, features: Features, novelty: Novelty | None) -> NDArray[Any]:
    return 1.0 - features.has_image


def _shortness(p: TaskArrays, features: Features, novelty: Novelty | None) -> NDArray[Any]:
    """1 for one token or none, falling with the length of the text."""
    shortness: NDArray[Any] = 1 / np.maximum(features.n_tokens, 1) * features.has_text
    return shortness


def _unknown(p: TaskArrays, features: Features, novelty: Novelty | None) -> NDArray[Any]:
    return features.unknown_share


def _novelty(p: TaskArrays, features: Features, novelty: Novelty | None) -> NDArray[Any]:
    if novelty is None:
        raise ValueError("the signal 'novelty' needs the summary of the training features")
    return novelty.score(features)


SIGNALS: Mapping[str, Signal] = MappingProxyType(
    {
        "doubt": _doubt,
        "narrowness": _narrowness,
        "entropy": _entropy,
        "conflict": _conflict,
        "opposition": _opposition,
        "sarcasm": _sarcasm,
        "no_text": _no_text,
        "no_image": _no_image,
        "shortness": _shortness,
        "unknown": _unknown,
        "novelty": _novelty,
    }
)
"""Each is larger where an error is likelier, and 0 where a side it needs is missing; all but `doubt` in [0, 1]."""


def signal_matrix(
    names: Sequence[str], probabilities: TaskArrays, features: Features, novelty: Novelty | None = None
) -> Floats:
    """Signals float64 `[n, len(names)]`, in the order of `names`."""
    columns = [SIGNALS[name](probabilities, features, novelty) for name in names]
    return np.stack(columns, axis=1).astype(np.float64)
