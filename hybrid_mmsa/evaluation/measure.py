"""Collected predictions → everything a result says of them, with intervals. It asks no model and reads no file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .. import metrics
from ..errors import InputError
from ..types import BoolArray, Label
from .floors import FLOORS
from .predictions import FAST, FUSED, IMAGE_ALONE, TEXT_ALONE, EvaluatedTask, PredictionRow, PredictionTable
from .result import ClassScores, Comparison, Figure, Latency, Mistake, PointSeries, Subset, SystemScores

__all__ = [
    "LABEL_METRICS",
    "PROBABILITY_METRICS",
    "Measured",
    "compare",
    "deferral",
    "measure",
    "mistakes",
    "score",
    "sides",
    "subset",
    "today",
]

ERRORS_SHOWN = 20
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
PROBABILITY_RESAMPLES = 500
"""Fewer than for labels: each resample is scored by itself."""
CURVE_POINTS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The part of a `Result` that is computed from answers; its fields are the result's."""

    labels: tuple[str, ...]
    n: int
    n_text: int
    n_image: int
    text_only: bool
    answered_by: dict[str, int]
    deferral_rate: Figure | None
    latency: Latency | None
    systems: tuple[SystemScores, ...]
    subsets: tuple[Subset, ...]
    synergy: tuple[Comparison, ...]
    mistakes: tuple[Mistake, ...]

    def fields(self) -> dict[str, Any]:
        """The fields of a result, by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def measure(
    answers: Sequence[PredictionRow],
    task: EvaluatedTask,
    floors: dict[str, NDArray[np.float64]] | None = None,
    leaked: frozenset[str] = frozenset(),
    groups: Mapping[str, str] = MappingProxyType({}),
    allowed: Mapping[str, Sequence[Label]] = MappingProxyType({}),
    seconds: float | None = None,
) -> Measured:
    """Score the model's systems and the floors on the same posts.

    Args:
        answers: One per post. A post that no model was asked about has no probabilities.
        task: Whose labels are scored.
        floors: Probabilities of each floor, rows as in `answers`.
        leaked: Posts with a near-duplicate in train; the others make up the clean part.
        groups: What a corpus counts its posts under, by id; each group is scored by itself.
        allowed: The labels that count as right, by id, for the posts that name several.
        seconds: Wall-clock time of answering them all, reading included; `None` where that was not timed.

    Raises:
        InputError: There is no answer, or neither a model nor a floor judges this task.
    """
    stacked = PredictionTable.of(answers, task, allowed)
    answered_by = Counter(answer.answered_by for answer in answers)
    has_model = FUSED in stacked.probabilities
    model = {name: p for name, p in stacked.probabilities.items() if name != FAST or set(answered_by) - {"fast"}}
    stacked = replace(stacked, probabilities=model | (floors or {}))
    if not stacked.probabilities:
        raise InputError(f"the model gives no {task}, so there is nothing to measure")
    systems = tuple(
        score(name, "model" if name in model else "floor", stacked, FLOORS.get(name, True))
        for name in stacked.probabilities
    )
    latency = None
    if has_model:
        p50, p95 = np.percentile([answer.ms for answer in answers], [50, 95])
        rate = len(answers) / seconds if seconds else None
        latency = Latency(p50_ms=float(p50), p95_ms=float(p95), posts_per_second=rate)
    n_image = sum(answer.has_image for answer in answers)
    return Measured(
        labels=stacked.labels,
        n=len(answers),
        n_text=sum(answer.has_text for answer in answers),
        n_image=n_image,
        text_only=n_image == 0,
        answered_by=dict(answered_by) if has_model else {},
        deferral_rate=deferral(stacked) if has_model else None,
        latency=latency,
        systems=systems,
        subsets=_subsets(stacked, leaked, groups),
        synergy=tuple(compare(stacked)) if has_model and task == "sentiment" else (),
        mistakes=tuple(mistakes(stacked)) if has_model else (),
    )


def today() -> str:
    """The date a result is named after, ISO 8601."""
    return date.today().isoformat()


def _subsets(answers: PredictionTable, leaked: frozenset[str], groups: Mapping[str, str]) -> tuple[Subset, ...]:
    clean = np.array([id_ not in leaked for id_ in answers.ids])
    parts = sides(answers)
    if not clean.all():
        parts = {"without near-duplicates of train": clean} | parts
    group = np.array([groups.get(id_, "") for id_ in answers.ids])
    parts |= {name: group == name for name in dict.fromkeys(groups.values())}
    names = list(answers.probabilities)
    scored = (subset(name, answers, rows, names) for name, rows in parts.items())
    return tuple(part for part in scored if part is not None)


def _sure(gold: Array, probabilities: Array) -> tuple[Array, Array]:
    return probabilities.max(1), probabilities.argmax(1) == gold


PROBABILITY_METRICS: Mapping[str, Callable[[Array, Array], float]] = {
    "ece": metrics.calibration_error,
    "brier": metrics.brier,
    "nll": metrics.nll,
    "aurc": lambda gold, probabilities: metrics.aurc(*_sure(gold, probabilities)),
    "coverage_at_10_risk": lambda gold, probabilities: metrics.coverage_at_risk(
        *_sure(gold, probabilities), TARGET_RISK
    ),
}


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
    rows = np.isfinite(answers.probabilities[name]).all(1)
    gold, probabilities = answers.gold_for(name)[rows], answers.probabilities[name][rows]
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
        answered = rows & np.isfinite(answers.probabilities[system]).all(1)
        if answered.any():
            counts = metrics.confusion(answers.gold[answered], answers.predicted(system)[answered], len(answers.labels))
            figures[system] = label_figures(counts, answers.labels)
    return Subset(name=name, n=int(rows.sum()), figures=figures) if figures else None


def sides(answers: PredictionTable) -> dict[str, BoolArray]:
    """The posts whose gold text and picture labels agree, and those where they differ, where both are known."""
    labelled = (answers.sides >= 0).all(1)
    same = answers.sides[:, 0] == answers.sides[:, 1]
    return {"text and picture labels agree": labelled & same, "text and picture labels differ": labelled & ~same}


def compare(answers: PredictionTable) -> list[Comparison]:
    """Modal synergy: the fused answer against each side alone (and the fast tier), on all posts and by agreement.

    A side is compared on posts that have the other side, too: without it there is nothing to fuse.
    """
    everywhere = {"all posts": np.ones(len(answers.ids), dtype=bool)}
    others = [name for name in (TEXT_ALONE, IMAGE_ALONE, FAST) if name in answers.probabilities]
    two_sided = _has_answer(answers, TEXT_ALONE) & _has_answer(answers, IMAGE_ALONE)
    comparisons = []
    for where, rows in (everywhere | sides(answers)).items():
        for other in others:
            both = rows & _has_answer(answers, other) & _has_answer(answers, FUSED)
            if other != FAST:
                both &= two_sided
            if both.any():
                comparisons.append(_comparison(answers, other, where, both))
    return comparisons


def _has_answer(answers: PredictionTable, system: str) -> BoolArray:
    """Which posts a system has probabilities for, bool `[n]`."""
    if system not in answers.probabilities:
        return np.zeros(len(answers.ids), dtype=bool)
    complete: BoolArray = np.isfinite(answers.probabilities[system].sum(axis=1))
    return complete


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
