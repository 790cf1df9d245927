"""Asking an analyzer about labelled posts, and keeping its answers as numbers. It knows no corpus and no metric.

A run's answers are kept as JSON lines, so that a broken-off run goes on where it stopped: the first line says what was
measured and with which model; the others are ids and numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from ..data import LineFile
from ..errors import InputError
from ..inputs import NumberedRow
from ..types import LABELS, Analysis, BoolArray, IntArray, Label, Prediction, Provenance, RowError, Sample

__all__ = [
    "AnalysisSource",
    "EvaluatedTask",
    "PredictionRow",
    "PredictionTable",
    "Predictions",
    "collect",
    "gold_index",
    "model_provenance",
    "task_labels",
    "unanswered",
]

EvaluatedTask: TypeAlias = Literal["sentiment", "sarcasm"]
BATCH = 64
PROBE = Sample(text="Which model answers here?")
SARCASM_LABELS = ("not sarcastic", "sarcastic")
FUSED, TEXT_ALONE, IMAGE_ALONE, FAST = "fused", "text alone", "image alone", "fast tier"


class AnalysisSource(Protocol):
    """The part of `Analyzer` that evaluation uses; a model under trial may stand in for it."""

    def stream(self, rows: Iterable[NumberedRow]) -> Iterator[Analysis | RowError]:
        """One answer or error per row, in order."""


class PredictionRow(BaseModel):
    """What was answered for one labelled post: ids and numbers.

    `probabilities` holds one row per system, in the order of the task's labels; a side that is missing has none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    gold: int
    text_gold: int | None = None
    image_gold: int | None = None
    has_text: bool
    has_image: bool
    probabilities: dict[str, tuple[float, ...]] = {}
    deferred: bool = False
    answered_by: str = ""
    ms: float = 0.0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PredictionTable:
    """Answers as arrays over `n` posts.

    `probabilities` per system are float `[n, classes]`, NaN rows where it has none; `allowed`, bool of that shape, says
    which labels count as right: the gold one, and others where a post names several.
    """

    ids: list[str]
    labels: tuple[str, ...]
    gold: IntArray
    sides: NDArray[np.int64]
    probabilities: dict[str, NDArray[np.float64]]
    deferred: BoolArray
    allowed: BoolArray

    @staticmethod
    def of(
        answers: Sequence[PredictionRow],
        task: EvaluatedTask,
        allowed: Mapping[str, Sequence[Label]] = MappingProxyType({}),
    ) -> PredictionTable:
        """Stack answers; `sides` is int `[n, 2]`, the gold labels of text and picture alone, -1 where unknown.

        Args:
            answers: One per post.
            task: Whose labels they are.
            allowed: The labels that count as right, by id, for the posts that name several.
        """
        if not answers:
            raise InputError("no labelled post could be answered, so there is nothing to measure")
        labels = task_labels(task)
        missing = (float("nan"),) * len(labels)
        names = dict.fromkeys(name for answer in answers for name in answer.probabilities)
        rows = {name: [answer.probabilities.get(name, missing) for answer in answers] for name in names}
        unknown = [[-1 if g is None else g for g in (a.text_gold, a.image_gold)] for a in answers]
        gold = np.array([answer.gold for answer in answers], dtype=np.int64)
        right = np.arange(len(labels)) == gold[:, None]
        for row, answer in enumerate(answers):
            right[row] |= [label in allowed.get(answer.id, ()) for label in labels]
        return PredictionTable(
            ids=[answer.id for answer in answers],
            labels=labels,
            gold=gold,
            sides=np.array(unknown, dtype=np.int64),
            probabilities={name: np.array(values, dtype=np.float64) for name, values in rows.items()},
            deferred=np.array([answer.deferred for answer in answers], dtype=bool),
            allowed=right,
        )

    def predicted(self, system: str) -> IntArray:
        """The label a system gave each post, int `[n]`; one that is allowed counts as the gold one."""
        labels = np.nan_to_num(self.probabilities[system]).argmax(1)
        return np.where(self.allowed[np.arange(len(labels)), labels], self.gold, labels)

    def gold_for(self, system: str) -> IntArray:
        """The label each post holds a system to, int `[n]`: the one it gave, where that is allowed."""
        labels = np.nan_to_num(self.probabilities[system]).argmax(1)
        return np.where(self.allowed[np.arange(len(labels)), labels], labels, self.gold)


def model_provenance(analyzer: AnalysisSource) -> Provenance:
    """Which model answers, learned by asking it one harmless post.

    Raises:
        InputError: It cannot answer even that.
    """
    answer = next(iter(analyzer.stream([(1, PROBE)])))
    if isinstance(answer, RowError):
        raise InputError(f"the model cannot answer: {answer.error}", field="model")
    return answer.provenance


def task_labels(task: EvaluatedTask) -> tuple[str, ...]:
    """The labels of a task in the order of its probabilities."""
    return LABELS if task == "sentiment" else SARCASM_LABELS


def gold_index(sample: Sample, task: EvaluatedTask) -> int | None:
    """The gold label of a post as an index into `task_labels`, or `None` if it has none."""
    if task == "sarcasm":
        return None if sample.sarcastic is None else int(sample.sarcastic)
    return None if sample.label is None else LABELS.index(sample.label)


def collect(
    analyzer: AnalysisSource, rows: Iterable[NumberedRow], task: EvaluatedTask = "sentiment"
) -> Iterator[PredictionRow | RowError]:
    """Answer labelled posts, each encoded once. A row that fails is a `RowError` in its place.

    Args:
        analyzer: Who answers.
        rows: Line numbers with raw samples that carry a gold label for the task, or errors to pass on.
        task: Which gold label is asked for.
    """
    rows = iter(rows)
    while batch := list(islice(rows, BATCH)):
        for (_, row), answer in zip(batch, analyzer.stream(batch), strict=True):
            if isinstance(row, RowError):
                yield row
            elif isinstance(answer, RowError):
                yield answer
            else:
                yield _prediction_row(row, answer, task)


def unanswered(sample: Sample, task: EvaluatedTask) -> PredictionRow:
    """The place of a labelled post that no model was asked about: floors are scored on it.

    Raises:
        InputError: The post has no gold label for the task.
    """
    gold = gold_index(sample, task)
    if gold is None:
        raise InputError(f"post {sample.id!r} has no gold {task} label", field="label")
    return PredictionRow(
        id=sample.id or "",
        gold=gold,
        text_gold=None if sample.text_label is None else LABELS.index(sample.text_label),
        image_gold=None if sample.image_label is None else LABELS.index(sample.image_label),
        has_text=sample.text is not None,
        has_image=sample.image is not None,
    )


def _prediction_row(sample: Sample, analysis: Analysis, task: EvaluatedTask) -> PredictionRow:
    values = {
        "has_text": analysis.text_alone is not None,
        "has_image": analysis.image_alone is not None,
        "probabilities": _probabilities(analysis, task),
        "deferred": analysis.route.decision == "defer",
        "answered_by": analysis.route.answered_by,
        "ms": round(analysis.timings.get("total", sum(analysis.timings.values())), 3),
    }
    return unanswered(sample, task).model_copy(update=values)


def _probabilities(analysis: Analysis, task: EvaluatedTask) -> dict[str, tuple[float, ...]]:
    """Each system's probabilities for one post."""
    if task == "sarcasm":
        p = analysis.sarcasm
        return {} if p is None else {FUSED: (1.0 - p, p)}
    systems: dict[str, Prediction | None] = {
        FUSED: analysis.sentiment,
        TEXT_ALONE: analysis.text_alone,
        IMAGE_ALONE: analysis.image_alone,
        FAST: analysis.fast,
    }
    return {
        name: tuple(judgement.probabilities[label] for label in LABELS)
        for name, judgement in systems.items()
        if judgement is not None
    }


class Predictions:
    """A file of answers that grows while a run goes on.

    Args:
        path: Where it is; `None` keeps answers in memory only.
        header: What the answers belong to. A file with another header is refused, never overwritten.

    Attributes:
        rows: The answers so far, by id.

    Raises:
        InputError: The file belongs to another run, or is not one of answers.
    """

    def __init__(self, path: Path | None, header: dict[str, Any]) -> None:
        self._file = None if path is None else LineFile(path)
        self._header = json.dumps(header, sort_keys=True)
        self._begun = path is not None and path.is_file() and path.stat().st_size > 0
        earlier = self._earlier(self._file) if self._file is not None and self._begun else []
        self.rows: dict[str, PredictionRow] = {answer.id: answer for answer in earlier}

    def _earlier(self, file: LineFile) -> list[PredictionRow]:
        """The answers of the run that is gone on from."""
        try:
            header, *answers = file.lines()
            if json.loads(header) == json.loads(self._header):
                return [PredictionRow.model_validate_json(line) for line in answers]
        except ValueError as error:  # no whole line, or one that is not what this class wrote
            raise InputError(f"{file.path.name} is not a file of predictions; move it or name another file") from error
        raise InputError(f"{file.path.name} holds the predictions of another run; move it or name another file")

    def add(self, answer: PredictionRow) -> None:
        """Keep one answer, on disk at once."""
        self.rows[answer.id] = answer
        if self._file is not None:
            self._file.append(answer.model_dump_json())

    def __enter__(self) -> Predictions:
        if self._file is not None:
            self._file.path.parent.mkdir(parents=True, exist_ok=True)
            self._file.__enter__()
            if not self._begun:
                self._file.append(self._header)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is not None:
            self._file.__exit__(kind, error, at)
