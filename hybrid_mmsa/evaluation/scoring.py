"""Predictions → figures with intervals. It knows arrays and metrics; it asks no model and reads no file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .. import metrics
from ..types import BoolArray
from .answers import FAST, FUSED, IMAGE_ALONE, TEXT_ALONE, PredictionTable
from .result import ClassScores, Comparison, Figure, Mistake, PointSeries, Subset, SystemScores

__all__ = ["LABEL_METRICS", "PROBABILITY_METRICS", "compare", "deferral", "mistakes", "score", "sides", "subset"]

Array = NDArray[Any]

LABEL_METRICS: Mapping[str, metrics.LabelMetric] = {
    "accuracy": metrics.accuracy,
    "macro_f1": metrics.macro_f1,
    "weighted_f1": metrics.weighted_f1,
    "macro_precision": metrics.macro_precision,
    "macro_recall": metrics.macro_recall,
}
SARCASTIC_F1 = "sarcastic_f1"
TARGET_RISK = 0.1


def _sure(gold: Array, probabilities: Array) -> tuple[Array, Array]:
    return probabilities.max(1), probabilities.argmax(1) == gold


def _coverage(gold: Array, probabilities: Array) -> float:
    return metrics.coverage_at_risk(*_sure(gold, probabilities), TARGET_RISK)


PROBABILITY_METRICS: Mapping[str, Callable[[Array, Array], float]] = {
    "ece": metrics.calibration_error,
    "brier": metrics.brier,
    "nll": metrics.nll,
    "aurc": lambda gold, probabilities: metrics.aurc(*_sure(gold, probabilities)),
    "coverage_at_10_risk": _coverage,
}
PROBABILITY_RESAMPLES = 500
"""Fewer than for labels: each resample is scored by itself."""
CURVE_POINTS = 60


def score(
    name: str, kind: Literal["model", "floor"], answers: PredictionTable, probabilistic: bool = True
) -> SystemScores:
    """All figures of one system over the posts it answered.

    Args:
        name: A key of `answers.probabilities`.
        kind: Whether it is a model or a floor.
        answers: The posts.
        probabilistic: False for a system that only names labels: calibration and risk are then not measured.
    """
    gold, probabilities = _answered(answers, name)
    counts = metrics.confusion(gold, probabilities.argmax(1), len(answers.labels))
    figures = label_figures(counts, answers.labels)
    if probabilistic:
        for metric, function in PROBABILITY_METRICS.items():
            interval = metrics.bootstrap(function, gold, probabilities, resamples=PROBABILITY_RESAMPLES)
            figures[metric] = _figure(interval)
    return SystemScores(
        name=name,
        kind=kind,
        n=len(gold),
        figures=figures,
        classes=tuple(_class_scores(counts, k, label) for k, label in enumerate(answers.labels)),
        confusion=tuple(tuple(int(c) for c in row) for row in counts),
        reliability=_reliability(gold, probabilities) if probabilistic else None,
        risk_coverage=_risk_coverage(gold, probabilities) if probabilistic else None,
    )


def label_figures(counts: NDArray[np.int64], labels: tuple[str, ...]) -> dict[str, Figure]:
    """The label metrics of one confusion matrix; with two labels also the F1 of the second."""
    chosen = dict(LABEL_METRICS)
    if len(labels) == 2:
        chosen[SARCASTIC_F1] = lambda c: np.asarray(metrics.class_f1(c)[..., 1])
    return {name: _figure(metrics.bootstrap_labels(metric, counts)) for name, metric in chosen.items()}


def subset(name: str, answers: PredictionTable, rows: BoolArray, systems: list[str]) -> Subset | None:
    """Label figures of each system on some of the posts; `None` where there are no such posts."""
    figures = {}
    for system in systems:
        known = rows & np.isfinite(answers.probabilities[system]).all(1)
        if known.any():
            counts = metrics.confusion(answers.gold[known], answers.predicted(system)[known], len(answers.labels))
            figures[system] = label_figures(counts, answers.labels)
    return Subset(name=name, n=int(rows.sum()), figures=figures) if figures else None


def sides(answers: PredictionTable) -> dict[str, BoolArray]:
    """The posts whose gold text and picture labels agree, and those where they differ, where both are known."""
    known = (answers.sides >= 0).all(1)
    same = answers.sides[:, 0] == answers.sides[:, 1]
    return {"text and picture labels agree": known & same, "text and picture labels differ": known & ~same}


def compare(answers: PredictionTable) -> list[Comparison]:
    """Modal synergy: the fused answer against each side alone (and the fast tier), on all posts and by agreement.

    A side is compared on posts that have the other side, too: without it there is nothing to fuse.
    """
    everywhere = {"all posts": np.ones(len(answers.ids), dtype=bool)}
    others = [name for name in (TEXT_ALONE, IMAGE_ALONE, FAST) if name in answers.probabilities]
    two_sided = _known(answers, TEXT_ALONE) & _known(answers, IMAGE_ALONE)
    comparisons = []
    for where, rows in (everywhere | sides(answers)).items():
        for other in others:
            both = rows & _known(answers, other) & _known(answers, FUSED)
            if other != FAST:
                both &= two_sided
            if both.any():
                comparisons.append(_comparison(answers, other, where, both))
    return comparisons


def _known(answers: PredictionTable, system: str) -> BoolArray:
    """Which posts a system has probabilities for, bool `[n]`."""
    if system not in answers.probabilities:
        return np.zeros(len(answers.ids), dtype=bool)
    known: BoolArray = np.isfinite(answers.probabilities[system].sum(axis=1))
    return known


def _comparison(answers: PredictionTable, other: str, where: str, rows: BoolArray) -> Comparison:
    gold, classes = answers.gold[rows], len(answers.labels)
    first, second = answers.predicted(FUSED)[rows], answers.predicted(other)[rows]
    test = metrics.mcnemar(gold, first, second)
    return Comparison(
        first=FUSED,
        second=other,
        subset=where,
        n=int(rows.sum()),
        accuracy=_figure(metrics.paired_difference(metrics.accuracy, gold, first, second, classes)),
        macro_f1=_figure(metrics.paired_difference(metrics.macro_f1, gold, first, second, classes)),
        first_only=test.first_only,
        second_only=test.second_only,
        p_value=test.p_value,
    )


def mistakes(answers: PredictionTable, most: int = 20) -> list[Mistake]:
    """The wrong answers the fused system was surest of, by id."""
    probabilities = answers.probabilities[FUSED]
    confidence, predicted = np.nan_to_num(probabilities).max(1), answers.predicted(FUSED)
    wrong = np.flatnonzero((predicted != answers.gold) & np.isfinite(probabilities).all(1))
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:most]
    return [
        Mistake(
            id=answers.ids[row],
            gold=answers.labels[answers.gold[row]],
            predicted=answers.labels[predicted[row]],
            confidence=float(confidence[row]),
        )
        for row in worst
    ]


def deferral(answers: PredictionTable) -> Figure:
    """Share of posts the router defers."""
    return _figure(metrics.bootstrap(metrics.deferral_rate, answers.deferred, resamples=PROBABILITY_RESAMPLES))


def _answered(answers: PredictionTable, name: str) -> tuple[Array, Array]:
    rows = np.isfinite(answers.probabilities[name]).all(1)
    return answers.gold_for(name)[rows], answers.probabilities[name][rows]


def _class_scores(counts: NDArray[np.int64], k: int, label: str) -> ClassScores:
    def figure(metric: Callable[[Array], Array]) -> Figure:
        return _figure(metrics.bootstrap_labels(lambda c: metric(c)[..., k], counts))

    return ClassScores(
        label=label,
        support=int(counts[k].sum()),
        precision=figure(metrics.class_precision),
        recall=figure(metrics.class_recall),
        f1=figure(metrics.class_f1),
    )


def _reliability(gold: Array, probabilities: Array) -> PointSeries:
    table = metrics.reliability(gold, probabilities)
    full = table.count > 0
    return PointSeries(
        x=tuple(table.confidence[full].tolist()),
        y=tuple(table.accuracy[full].tolist()),
        weight=tuple(table.count[full].tolist()),
    )


def _risk_coverage(gold: Array, probabilities: Array) -> PointSeries:
    coverage, risk = metrics.risk_coverage(*_sure(gold, probabilities))
    points = np.unique(np.linspace(0, len(coverage) - 1, CURVE_POINTS).astype(int))
    return PointSeries(x=tuple(coverage[points].tolist()), y=tuple(risk[points].tolist()))


def _figure(interval: metrics.Interval) -> Figure:
    return Figure(value=interval.value, low=interval.low, high=interval.high)
