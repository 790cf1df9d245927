"""A protocol, a corpus on disk and an analyzer → a result. It knows no metric and draws nothing.

Floors are fitted on the part the protocol names and scored on the same posts as the model, in the same run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..data import LoadReport, Record, SplitManifest
from ..errors import InputError
from ..types import Provenance, RowError, Sample
from .floors import floor_probabilities, needs_eval_extra, out_of_fold_probabilities
from .measure import ERRORS_SHOWN, measure, today
from .posts import error_line
from .predictions import (
    AnalysisSource,
    PredictionRow,
    Predictions,
    collect,
    gold_index,
    model_provenance,
    task_labels,
    unanswered,
)
from .protocol import Protocol, published_figures
from .result import Result

__all__ = ["Models", "run_protocol"]

OUT_OF_FOLD = "out_of_fold"
Models = Callable[[int | None], AnalysisSource]
"""Gives the analyzer for a fold; for `None` where there are no folds."""


@dataclass(slots=True, kw_only=True)
class _Gathered:
    """What a run has gathered so far. `seconds` is `None` once answers of an earlier run were taken over."""

    answers: list[PredictionRow] = field(default_factory=list)
    failures: list[RowError] = field(default_factory=list)
    floors: list[dict[str, NDArray[np.float64]]] = field(default_factory=list)
    fitted: list[int] = field(default_factory=list)
    model: Provenance | None = None
    seconds: float | None = 0.0


def run_protocol(
    protocol: Protocol,
    root: Path | None,
    models: Models | None,
    predictions: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Result:
    """Measure a model, and the floors beside it, by a protocol.

    Args:
        protocol: What is measured.
        root: The corpus's folder in its official layout; a bundled corpus needs none.
        models: Gives the analyzer; with none only the floors are measured.
        predictions: File the answers go to; if it is there from a run that broke off, that run goes on.
        progress: Called with the posts answered so far and their number.

    Raises:
        InputError: The folder is not the corpus, the split names none of its posts, or the predictions are of
            another run.
        MissingExtraError: scikit-learn or vaderSentiment is not installed.
        ArtefactError: The split manifest is not the one the protocol was written for.
    """
    needs_eval_extra()
    manifest, report, gathered = protocol.manifest(), LoadReport(), _Gathered()
    records = protocol.records(root, report)
    folds: Sequence[int | None] = range(manifest.folds) if manifest.folds else [None]
    parts = [list(manifest.apply(records, fold)) for fold in folds]
    total = sum(record.split == protocol.part for part in parts for record in part)

    def advance(posts: int) -> None:
        if progress is not None:
            progress(posts, total)

    with ExitStack() as stack:
        store: Predictions | None = None
        for fold, part in zip(folds, parts, strict=True):
            fit = [record.sample for record in part if record.split == protocol.floors]
            held_out = [record.sample for record in part if record.split == protocol.part]
            if not held_out or not (fit or protocol.floors == OUT_OF_FOLD):
                where = root or protocol.corpus
                raise InputError(f"{where} holds no posts of the split {manifest.name}: not all of {protocol.corpus}?")
            if models is not None:
                analyzer = models(fold)
                store = store or stack.enter_context(_open(predictions, protocol, manifest, analyzer, gathered))
                _ask(analyzer, held_out, protocol, store, gathered, advance)
            _gather(fit, held_out, protocol, store, gathered)
    return _result(protocol, manifest, report, gathered, records)


def _open(
    path: Path | None, protocol: Protocol, manifest: SplitManifest, analyzer: AnalysisSource, gathered: _Gathered
) -> Predictions:
    """The file this run's answers are kept in, headed by what they are answers to."""
    gathered.model = model_provenance(analyzer)
    header = {"protocol": protocol.name, "split": manifest.sha256, "part": protocol.part, "task": protocol.task}
    return Predictions(path, header | {"model": gathered.model.model_dump()})


def _ask(
    analyzer: AnalysisSource,
    held_out: Sequence[Sample],
    protocol: Protocol,
    store: Predictions,
    gathered: _Gathered,
    advance: Callable[[int], None],
) -> None:
    """Answer the posts that are not answered yet."""
    remaining = [(line, sample) for line, sample in enumerate(held_out, 1) if sample.id not in store.rows]
    if len(remaining) < len(held_out):
        gathered.seconds = None
    start = time.perf_counter()
    for answer in collect(analyzer, remaining, protocol.task):
        if isinstance(answer, RowError):
            gathered.failures.append(answer)
        else:
            store.add(answer)
        advance(len(store.rows) + len(gathered.failures))
    if gathered.seconds is not None:
        gathered.seconds += time.perf_counter() - start


def _gather(
    fit: Sequence[Sample], held_out: Sequence[Sample], protocol: Protocol, store: Predictions | None, into: _Gathered
) -> None:
    """Add one fold's answers, and the floors' on the same posts."""
    measured = [sample for sample in held_out if store is None or sample.id in store.rows]
    if not measured:
        raise InputError(f"no post could be answered; the first failed at {error_line(into.failures[0])}")
    into.fitted.append(len(fit))
    into.answers += [unanswered(s, protocol.task) if store is None else store.rows[str(s.id)] for s in measured]
    classes = len(task_labels(protocol.task))
    if protocol.floors == OUT_OF_FOLD:
        into.floors.append(out_of_fold_probabilities(measured, _gold(measured, protocol), classes))
    else:
        into.floors.append(floor_probabilities(fit, _gold(fit, protocol), measured, classes))


def _gold(samples: Sequence[Sample], protocol: Protocol) -> list[int]:
    """Gold labels of posts that all have one, as the protocol's records do."""
    return [index for index in (gold_index(sample, protocol.task) for sample in samples) if index is not None]


def _result(
    protocol: Protocol, manifest: SplitManifest, report: LoadReport, gathered: _Gathered, records: Sequence[Record]
) -> Result:
    floors = {name: np.concatenate([part[name] for part in gathered.floors]) for name in gathered.floors[0]}
    measured = measure(
        gathered.answers,
        protocol.task,
        floors,
        manifest.leaked,
        groups={str(record.sample.id): record.group for record in records if record.group},
        allowed={str(record.sample.id): record.allowed for record in records if record.allowed},
        seconds=gathered.seconds,
    )
    measured_ids = {answer.id for answer in gathered.answers}
    notes = [*protocol.notes, f"split: {manifest.source}"]
    for kind, ids in manifest.near_duplicates.items():
        notes.append(f"{len(measured_ids & set(ids)):,} of the posts measured have a near-duplicate in train by {kind}")
    if protocol.floors == OUT_OF_FOLD:
        notes.append("floors are fitted out of fold on the posts measured: there is no other part")
    notes += report.lines()
    return Result(
        protocol=protocol.name,
        title=protocol.title,
        date=today(),
        corpus=protocol.corpus,
        task=protocol.task,
        metric=protocol.metric,
        cleaning=protocol.cleaning,
        split=manifest.name,
        split_sha256=manifest.sha256,
        part=f"{manifest.folds} folds" if manifest.folds else protocol.part,
        n_train=None if protocol.floors == OUT_OF_FOLD else round(sum(gathered.fitted) / len(gathered.fitted)),
        failed=len(gathered.failures),
        errors=tuple(error_line(error) for error in gathered.failures[:ERRORS_SHOWN]),
        notes=tuple(notes),
        model=gathered.model,
        published=published_figures(protocol.name),
        **measured.fields(),
    )
