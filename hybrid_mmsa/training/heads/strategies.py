"""Fits a fusion strategy to what both sides said of posts they were not trained on, and compares the strategies.

The forward pass is `fusion.STRATEGIES`; here are its gradients, and L-BFGS over them (SciPy). Knows no encoders and no
corpora; needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from ... import metrics
from ...fusion import STRATEGIES, Strategy, log_softmax, softmax
from ...fusion.strategies import Sides, attention, gates
from ...types import LABELS, BoolArray, FloatArray, IntArray, Task
from ..posts.labelled import as_targets

__all__ = ["Evidence", "JoiningConfig", "StrategyFigures", "compare_strategies", "cross_fit", "fit_strategy", "joined"]

Array: TypeAlias = NDArray[Any]
Arrays: TypeAlias = Mapping[str, Array]


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Unimodal logits of `n` posts by towers that were not trained on them, each float32 `[n, 3]`, and gold labels.

    Attributes:
        text, image: What each side says by itself (`sentiment` heads).
        text_joint, image_joint: What each side makes of the whole post.
        labels: int64 `[n]`, the whole post's gold label; negative where there is none.
        targets: float64 `[n, 3]`, what to learn of the whole post; the gold label by itself if not given.
        joined: bool `[n]`, whether the picture was put beside words of another post, so that it says nothing of the
            label; none if not given.
    """

    text: FloatArray
    text_joint: FloatArray
    image: FloatArray
    image_joint: FloatArray
    labels: IntArray
    targets: NDArray[np.float64] | None = None
    joined: BoolArray | None = None

    @property
    def is_joined(self) -> BoolArray:
        """Whether the picture was put beside words of another post, bool `[n]`."""
        return np.zeros(len(self.labels), dtype=bool) if self.joined is None else self.joined

    @staticmethod
    def concatenate(parts: Sequence[Evidence]) -> Evidence:
        """Posts of several kinds, one after the other."""
        arrays = {f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Evidence)[:5]}
        targets, joined = ([getattr(p, name) for p in parts] for name in ("soft_labels", "is_joined"))
        return Evidence(**arrays, targets=np.concatenate(targets), joined=np.concatenate(joined))

    @property
    def soft_labels(self) -> NDArray[np.float64]:
        """What to learn of the whole post, float64 `[n, 3]`; see `targets`."""
        return as_targets(self.labels, len(LABELS)) if self.targets is None else self.targets

    def take(self, rows: IntArray) -> Evidence:
        """Some rows, in the order given."""
        sides = (self.text[rows], self.text_joint[rows], self.image[rows], self.image_joint[rows])
        targets = None if self.targets is None else self.targets[rows]
        return Evidence(*sides, self.labels[rows], targets, self.is_joined[rows])

    def sides(self, *, text: bool = True, image: bool = True) -> Sides:
        """The posts with both sides, or with one hidden, in float64."""
        shown: list[BoolArray] = [np.full(len(self.labels), side) for side in (text, image)]
        opinions = [v.astype(np.float64) for v in (self.text, self.text_joint, self.image, self.image_joint)]
        return Sides.of((opinions[0], opinions[1]), (opinions[2], opinions[3]), shown[0], shown[1])


@dataclass(frozen=True, slots=True)
class JoiningConfig:
    """How a strategy is fitted."""

    strategy: Strategy = "gated"
    penalty: float = 0.003
    """L2 towards the start, per post."""
    least_penalty: float = 7.0
    """L2 towards the start over all posts, at the least: what few posts are held by."""
    hidden: float = 0.25
    """Weight of each one-sided copy of the data: modality dropout, in expectation rather than by chance."""
    iterations: int = 200


def fit_strategy(
    evidence: Evidence, config: JoiningConfig | None = None, start: Arrays | None = None
) -> dict[str, FloatArray]:
    """The strategy's arrays, by L-BFGS on the log-loss of whole, text-only and image-only posts.

    Deterministic: hidden sides are weighed, not drawn.

    Args:
        evidence: What the sides said.
        config: The recipe.
        start: Arrays to start from and to be pulled to; the product of experts where there are none.
    """
    config = config or JoiningConfig()
    shapes = STRATEGIES[config.strategy].shapes
    targets = evidence.soft_labels
    begin = _product_of_experts(config.strategy, targets) if start is None else start
    origin = _flat({name: begin[name] for name in shapes})
    views = [
        (evidence.sides(), targets, 1.0),
        (evidence.sides(image=False), targets, config.hidden),
        (evidence.sides(text=False), targets * ~evidence.is_joined[:, None], config.hidden),
    ]
    penalty = max(config.penalty, config.least_penalty / len(evidence.labels))

    def loss(values: Array) -> tuple[float, Array]:
        away = values - origin
        arrays = _named(values, shapes)
        total, slope = penalty * float(away @ away), 2 * penalty * away
        for sides, wanted, weight in views:
            part, gradient = log_loss(config.strategy, arrays, sides, wanted)
            total, slope = total + weight * part, slope + weight * _flat({k: gradient[k] for k in shapes})
        return total, slope

    limits = {"maxiter": config.iterations, "ftol": 1e-12, "gtol": 1e-7}
    fitted = minimize(loss, origin, jac=True, method="L-BFGS-B", options=limits).x
    return {name: value.astype(np.float32) for name, value in _named(fitted, shapes).items()}


def joined(arrays: Arrays, strategy: Strategy, evidence: Evidence) -> dict[Task, FloatArray]:
    """Fused and one-sided logits float32 `[n, 3]`, as tasks."""
    views: dict[Task, Sides] = {
        "sentiment": evidence.sides(),
        "text_alone": evidence.sides(image=False),
        "image_alone": evidence.sides(text=False),
    }
    return {task: STRATEGIES[strategy].fuse(arrays, sides).astype(np.float32) for task, sides in views.items()}


def cross_fit(
    evidence: Evidence, folds: IntArray, config: JoiningConfig | None = None, start: Arrays | None = None
) -> dict[Task, FloatArray]:
    """Fused and one-sided logits of each post by a head fitted without its fold; `folds` is `[n]`."""
    config = config or JoiningConfig()
    shape = (len(evidence.labels), len(LABELS))
    tasks: tuple[Task, ...] = ("sentiment", "text_alone", "image_alone")
    out: dict[Task, FloatArray] = {task: np.zeros(shape, np.float32) for task in tasks}
    for fold in np.unique(folds):
        held, others = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        arrays = fit_strategy(evidence.take(others), config, start)
        for task, logits in joined(arrays, config.strategy, evidence.take(held)).items():
            out[task][held] = logits
    return out


def log_loss(strategy: Strategy, arrays: Arrays, sides: Sides, labels: Array) -> tuple[float, dict[str, Array]]:
    """Mean log-loss of a strategy's logits, and its gradient by every array; `labels` `[n]`, or targets `[n, 3]`."""
    targets = as_targets(labels, len(LABELS))
    logs = log_softmax(STRATEGIES[strategy].fuse(arrays, sides))
    slope = targets.sum(1, keepdims=True) * np.exp(logs) - targets
    return float(-(targets * logs).sum()) / len(targets), _GRADIENTS[strategy](arrays, sides, slope / len(targets))


def _gated(arrays: Arrays, sides: Sides, slope: Array) -> dict[str, Array]:
    weights = gates(arrays, sides)
    logits = (sides.text @ arrays["fusion.text"].T, sides.image @ arrays["fusion.image"].T)
    opened = np.column_stack([(slope * side).sum(1) for side in logits]) * weights * (1 - weights / 2)
    return {
        "fusion.text": (weights[:, :1] * slope).T @ sides.text,
        "fusion.image": (weights[:, 1:] * slope).T @ sides.image,
        "fusion.gate": opened.T @ sides.both,
        "fusion.gate_bias": opened.sum(0),
        "fusion.pair": slope.T @ sides.pair,
        "fusion.bias": slope.sum(0),
    }


def _attention(arrays: Arrays, sides: Sides, slope: Array) -> dict[str, Array]:
    weights = attention(arrays, sides)
    values = sides.opinions @ arrays["fusion.value"].transpose(0, 2, 1)
    pull = (slope * values).sum(2).T
    mean = (weights * pull).sum(1, keepdims=True) / np.maximum(weights.sum(1, keepdims=True), 1)
    scores = weights * (pull - mean)
    return {
        "fusion.query": scores.T @ sides.both,
        "fusion.query_bias": scores.sum(0),
        "fusion.value": (weights.T[:, :, None] * slope).transpose(0, 2, 1) @ sides.opinions,
        "fusion.bias": slope.sum(0),
    }


def _early(_arrays: Arrays, sides: Sides, slope: Array) -> dict[str, Array]:
    return {
        "fusion.all": slope.T @ sides.both,
        "fusion.absent": slope.T @ sides.absent,
        "fusion.bias": slope.sum(0),
    }


def _late(_arrays: Arrays, sides: Sides, slope: Array) -> dict[str, Array]:
    return {"fusion.weights": (slope * sides.opinions).sum((1, 2)), "fusion.bias": slope.sum(0)}


_GRADIENTS: Mapping[Strategy, Callable[[Arrays, Sides, Array], dict[str, Array]]] = {
    "early": _early,
    "late": _late,
    "attention": _attention,
    "gated": _gated,
}


def _product_of_experts(strategy: Strategy, targets: Array) -> dict[str, Array]:
    """Each side's `joint` opinion at a weight of 0.7, no gate or query, and the prior counted once instead of twice."""
    start = {name: np.zeros(shape) for name, shape in STRATEGIES[strategy].shapes.items()}
    pick = 0.7 * np.eye(len(LABELS))
    if strategy == "gated":
        start["fusion.text"][:, 3:] = start["fusion.image"][:, 3:] = pick
    elif strategy == "attention":
        start["fusion.value"][1] = start["fusion.value"][3] = pick
    elif strategy == "early":
        start["fusion.all"][:, 3:6] = start["fusion.all"][:, 9:] = pick
    else:
        start["fusion.weights"][:] = (0, 0.7, 0, 0.7)
    # One post of each label more keeps a label that is not there possible.
    share = (targets.sum(0) + 1) / (targets.sum() + len(LABELS))
    start["fusion.bias"] = -0.4 * np.log(share)
    return start


def _flat(arrays: Arrays) -> Array:
    return np.concatenate([np.asarray(value, dtype=np.float64).ravel() for value in arrays.values()])


def _named(values: Array, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes.values()])
    parts = np.split(values, ends[:-1])
    return {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


@dataclass(frozen=True, slots=True)
class StrategyFigures:
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
) -> list[StrategyFigures]:
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
        logits = cross_fit(evidence, folds, config)
        labels = logits["sentiment"].argmax(1)
        counts = metrics.confusion(gold, labels, len(LABELS))
        rows.append(
            StrategyFigures(
                strategy,
                float(metrics.accuracy(counts)),
                float(metrics.weighted_f1(counts)),
                float(metrics.nll(gold, softmax(logits["sentiment"].astype(np.float64)))),
                float((logits["text_alone"].argmax(1) == gold).mean()),
                float((logits["image_alone"].argmax(1) == gold).mean()),
                metrics.paired_difference(metrics.accuracy, gold, labels, better, len(LABELS)),
            )
        )
    return rows
