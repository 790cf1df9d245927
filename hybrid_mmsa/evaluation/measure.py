"""Collected answers → everything a result says of them. It asks no model and reads no file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..types import Label
from .answers import FAST, FUSED, EvaluatedTask, PredictionRow, PredictionTable
from .floors import FLOORS
from .result import Comparison, Figure, Latency, Mistake, Subset, SystemScores
from .scoring import compare, deferral, mistakes, score, sides, subset

__all__ = ["Measured", "measure", "today"]

ERRORS_SHOWN = 20


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
    answered = FUSED in stacked.probabilities
    model = {name: p for name, p in stacked.probabilities.items() if name != FAST or set(answered_by) - {"fast"}}
    stacked = replace(stacked, probabilities=model | (floors or {}))
    if not stacked.probabilities:
        raise InputError(f"the model gives no {task}, so there is nothing to measure")
    systems = tuple(
        score(name, "model" if name in model else "floor", stacked, FLOORS.get(name, True))
        for name in stacked.probabilities
    )
    n_image = sum(answer.has_image for answer in answers)
    return Measured(
        labels=stacked.labels,
        n=len(answers),
        n_text=sum(answer.has_text for answer in answers),
        n_image=n_image,
        text_only=n_image == 0,
        answered_by=dict(answered_by) if answered else {},
        deferral_rate=deferral(stacked) if answered else None,
        latency=_latency(answers, seconds) if answered else None,
        systems=systems,
        subsets=_subsets(stacked, leaked, groups),
        synergy=tuple(compare(stacked)) if answered and task == "sentiment" else (),
        mistakes=tuple(mistakes(stacked)) if answered else (),
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
    found = (subset(name, answers, rows, names) for name, rows in parts.items())
    return tuple(part for part in found if part is not None)


def _latency(answers: Sequence[PredictionRow], seconds: float | None) -> Latency:
    times = np.array([answer.ms for answer in answers])
    p50, p95 = np.percentile(times, [50, 95])
    return Latency(p50_ms=float(p50), p95_ms=float(p95), posts_per_second=len(answers) / seconds if seconds else None)
