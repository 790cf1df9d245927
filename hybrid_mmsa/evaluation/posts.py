"""People's own labelled posts → a result: fused, text alone and picture alone. It knows no corpus and no protocol."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ..data import PostsFile, read_posts
from ..errors import InputError
from ..inputs import NumberedRow, needing
from ..types import RowError, Sample
from .measure import ERRORS_SHOWN, Measured, measure, today
from .predictions import AnalysisSource, EvaluatedTask, PredictionRow, collect, gold_index, model_provenance
from .result import Result

__all__ = ["error_line", "evaluate_posts"]


def evaluate_posts(
    posts: Path | PostsFile,
    analyzer: AnalysisSource,
    task: EvaluatedTask = "sentiment",
    progress: Callable[[int], None] | None = None,
) -> Result:
    """Score an analyzer on a file of labelled posts (see `data.read_posts`).

    Rows that cannot be read or answered are counted in `Result.failed` and the first are named; rows without a gold
    label are left out and counted in the notes.

    Args:
        posts: The file, or what `data.read_posts` made of it.
        analyzer: Who answers.
        task: `"sentiment"` (column `label`) or `"sarcasm"` (column `sarcastic`).
        progress: Called with the number of rows so far.

    Raises:
        InputError: The file cannot be read at all, or none of its rows has a label and an answer.
    """
    rows = posts if isinstance(posts, PostsFile) else read_posts(posts)
    column = "label" if task == "sentiment" else "sarcastic"
    model, unlabelled = model_provenance(analyzer), 0

    def labelled() -> Iterator[NumberedRow]:
        nonlocal unlabelled
        for line, row in rows:
            row = needing(column, line, row)
            if isinstance(row, Sample) and gold_index(row, task) is None:
                unlabelled += 1
            else:
                yield line, row

    answers: list[PredictionRow] = []
    failures: list[RowError] = []
    start = time.perf_counter()
    for count, answer in enumerate(collect(analyzer, labelled(), task), 1):
        if isinstance(answer, RowError):
            failures.append(answer)
        else:
            answers.append(answer)
        if progress is not None:
            progress(count)
    if not answers:
        cause = f"; the first row that failed, {error_line(failures[0])}" if failures else ""
        raise InputError(f"no row of {rows.source.name} has a {column!r} and could be answered{cause}", field=column)
    measured = measure(answers, task, seconds=time.perf_counter() - start)
    return Result(
        protocol="posts",
        title=rows.source.name,
        date=today(),
        task=task,
        metric="macro_f1",
        failed=len(failures),
        errors=tuple(error_line(error) for error in failures[:ERRORS_SHOWN]),
        model=model,
        notes=_notes(measured, unlabelled),
        **measured.fields(),
    )


def _notes(measured: Measured, unlabelled: int) -> tuple[str, ...]:
    notes = [f"{unlabelled:,} rows without a gold label were left out"] if unlabelled else []
    classes = measured.systems[0].classes if measured.systems else ()
    if absent := [scores.label for scores in classes if not scores.support]:
        it = "it" if len(absent) == 1 else "them"
        notes.append(f"no post is {' or '.join(absent)}: macro figures leave {it} out")
    return tuple(notes)


def error_line(error: RowError) -> str:
    """One failed row in words: its line, its id, and the cause."""
    name = f"line {error.line}" + (f" ({error.id})" if error.id else "")
    return f"{name}: {error.field}: {error.error}" if error.field else f"{name}: {error.error}"
