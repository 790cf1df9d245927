"""`hybrid-mmsa batch`: a file of posts → a file of answers, one line each. It holds no logic of its own."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Annotated

import typer

from ...analyzer import Analyzer
from ...errors import InputError
from ...inputs import NumberedRow
from ...types import Analysis, RowError, Sample
from ..terminal.console import Stopped, counted, say
from ..terminal.failures import LISTED, say_failures
from ..terminal.journal import Journal, beside
from ..terminal.options import (
    DETECTED,
    POSTS_HELP,
    AnswerOptions,
    ReadingOptions,
    check_file,
    with_answer_options,
    with_options,
)
from ..terminal.progress import progress

__all__ = ["answers", "batch"]

CHUNK = 32
"""Posts a worker takes at a time: few enough to hold their pictures in memory."""


@with_options("reading", DETECTED)
@with_answer_options
def batch(
    options: AnswerOptions,
    posts: Annotated[Path, typer.Argument(metavar="POSTS", help=f"Posts to analyse: {POSTS_HELP}.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="File for the answers, one JSON a line.")],
    errors: Annotated[
        Path | None,
        typer.Option(
            "--errors", metavar="FILE", help="File for failed rows, with line and cause; default: OUT.errors.jsonl."
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Threads that analyse posts side by side; default: one per core."),
    ] = None,
    queue: Annotated[
        Path | None,
        typer.Option("--queue", metavar="FILE", help="Also write the answers to review, likeliest mistakes first."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted run, or analyse the rows added since the last.")
    ] = False,
    reading: ReadingOptions = DETECTED,
) -> None:
    """Analyse a file of posts.

    The columns are id, text, image and target, or those of a known export;
    --map names others. Picture paths are relative to the file. Posts without
    an id are named by their line. Answers keep the order of the rows.

    A row that cannot be used is written to the errors file, with its line and
    the cause, and the other rows continue; the exit code is then 1.

    While a run lasts, its answers are in FILE.partial. An interrupted run
    continues with --resume; failed rows stay failed.

    For example:
        hybrid-mmsa batch posts.jsonl -o answers.jsonl
        hybrid-mmsa batch posts.csv -o answers.jsonl --resume
        hybrid-mmsa batch posts.csv -o answers.jsonl --policy budget:0.1 --queue review.jsonl
    """
    failures = _check_paths(posts, out, errors, queue)
    rows = reading.open(posts)
    journal = Journal(out, failures, resume=resume)
    analyzer, adapter = options.open()
    journal.done.check_model(analyzer.adapters[adapter or analyzer.default].hash)
    started = monotonic()
    count = 0
    try:
        with journal, progress("posts", lambda: sum(1 for _ in rows), len(journal.done)) as advance:
            remaining = journal.done.remaining(_named(rows))
            for answer in answers(analyzer, remaining, options, adapter, workers):
                journal.write(answer)
                count += 1
                advance()
            journal.finish()
    except KeyboardInterrupt:
        done = counted(len(journal.done) + count, "row")
        raise Stopped(f"{done} done; go on with --resume") from None
    _write_queue(out, queue)
    _sum_up(journal, count, monotonic() - started)


def answers(
    analyzer: Analyzer, rows: Iterable[NumberedRow], options: AnswerOptions, adapter: str | None, workers: int | None
) -> Iterator[Analysis | RowError]:
    """What `Analyzer.stream` answers to the rows, in their order, computed on several threads in bounded memory.

    Args:
        analyzer: What `options` opened.
        rows: Posts with their lines.
        options: Mode and evidence.
        adapter: The adapter that answers, where it is not the model's own.
        workers: Threads; one per core if None.
    """

    def work(chunk: list[NumberedRow]) -> list[Analysis | RowError]:
        return list(analyzer.stream(chunk, adapter=adapter, mode=options.mode, explain=options.explain))

    workers = workers or os.cpu_count() or 1
    rows = iter(rows)
    waiting: deque[Future[list[Analysis | RowError]]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        while chunk := list(islice(rows, CHUNK)):
            waiting.append(pool.submit(work, chunk))
            if len(waiting) > workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _named(rows: Iterable[NumberedRow]) -> Iterator[NumberedRow]:
    """Rows without an id get their line as one, so that every answer can be traced to its row."""
    for line, row in rows:
        yield line, replace(row, id=str(line)) if isinstance(row, Sample) and row.id is None else row


def _check_paths(posts: Path, out: Path, errors: Path | None, queue: Path | None) -> Path:
    """Where the failures go, when all paths make sense."""
    for option, path in (("-o", out), ("--errors", errors), ("--queue", queue)):
        check_file(path, option)
    failures = errors or beside(out)
    files = [path for path in (posts, out, failures, queue) if path is not None]
    if len({path.resolve() for path in files}) < len(files):
        raise InputError("posts, answers, errors and queue must be different files", field="-o")
    return failures


def _write_queue(answers: Path, queue: Path | None) -> None:
    """Write the answers that need review, by falling P(error), where that is wanted; memory holds only their places."""
    if queue is None:
        return
    places: list[tuple[float, int]] = []
    with answers.open("rb") as lines:
        place = 0
        for line in lines:
            answer = json.loads(line)
            if answer["needs_review"]:
                places.append((-(answer["route"]["p_error"] or 0.0), place))
            place += len(line)
        with queue.open("wb") as chosen:
            for _, start in sorted(places):
                lines.seek(start)
                chosen.write(lines.readline())
    say(f"{counted(len(places), 'answer')} to review in {queue}")


def _sum_up(journal: Journal, count: int, seconds: float) -> None:
    failed = len(journal.done.failed) + len(journal.failures)
    total = len(journal.done) + count
    rate = f"{counted(count, 'row')} in {seconds:.1f} s" + (f", {count / seconds:,.0f} a second" if count else "")
    say(f"{counted(total - failed, 'answer')} in {journal.out} ({rate})")
    if not failed:
        return
    say(f"{counted(failed, 'row')} failed, listed in {journal.errors}")
    say_failures(journal.failures[:LISTED])
    raise typer.Exit(1)
