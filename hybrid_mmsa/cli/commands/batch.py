"""`hybrid-mmsa batch`: a file of posts → a file of answers, one line each. It holds no logic of its own."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Annotated

import typer

from ...analyzer import Analyzer
from ...data import TABLE_SUFFIXES, PostsFile, check_suffix
from ...errors import InputError
from ...inputs import NumberedRow
from ...types import Analysis, RowError, Sample
from ..terminal.console import Stopped, Terminated, counted, emit, say
from ..terminal.failures import LISTED, say_failures
from ..terminal.journal import Journal, beside, working_files
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
from ..terminal.whole import whole_file

__all__ = ["answers", "batch"]

STANDARD_OUTPUT = "-"
CHUNK = 32
"""Posts a worker takes at a time: few enough to hold their pictures in memory."""


@with_options("reading", DETECTED)
@with_answer_options
def batch(
    options: AnswerOptions,
    posts: Annotated[Path, typer.Argument(metavar="POSTS", help=f"Posts to analyse: {POSTS_HELP}.")],
    out: Annotated[
        Path,
        typer.Option(
            "-o",
            "--out",
            metavar="FILE",
            help="File for the answers: .jsonl (all of an answer), .csv, .xlsx or .parquet (a row each); - for standard"
            " output.",
        ),
    ],
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
    force: Annotated[bool, typer.Option("--force", help="Replace the answers of an earlier run.")] = False,
    reading: ReadingOptions = DETECTED,
) -> None:
    """Analyse a file of posts.

    The columns are id, text, image and target, or those of a known export;
    --map names others. Picture paths are relative to the file. Posts without
    an id are named by their line. Answers keep the order of the rows.

    A row that cannot be used is written to the errors file, with its line and
    the cause, and the other rows continue; the exit code is then 1. While a run
    lasts, its answers are in FILE.partial; --resume continues it. FILE.journal
    says what the answers were made from, so that no two runs are mixed.

    For example:
        hybrid-mmsa batch reviews.xlsx -o answers.xlsx --map text=Comment
        hybrid-mmsa batch posts.csv -o answers.jsonl --policy budget:0.1 --queue review.jsonl
        cat posts.jsonl | hybrid-mmsa batch - -o - | jq .sentiment.label
    """
    failures = _check_paths(posts, out, errors, queue)
    job = _Job(reading.open(posts), options, workers)
    if str(out) != STANDARD_OUTPUT:
        _run(job, Journal(out, failures, job.facts(), resume=resume, force=force))
        _write_queue(out, queue)
    elif resume or queue is not None:
        raise InputError("--resume and --queue need a file of answers", field="-o")
    else:
        _stream(job, errors)


@dataclass(slots=True, eq=False)
class _Job:
    """What is to be answered, and how."""

    rows: PostsFile
    options: AnswerOptions
    workers: int | None
    analyzer: Analyzer = field(init=False)
    adapter: str | None = field(init=False)

    def __post_init__(self) -> None:
        if next(iter(self.rows), None) is None:
            raise InputError(f"{self.rows.source.name} holds no posts", field="posts")
        self.analyzer, self.adapter = self.options.open()

    def facts(self) -> dict[str, object]:
        """What the answers depend on besides the rows."""
        reasoner, options = self.analyzer.reasoner, self.options
        return {
            "model": self.analyzer.adapters[self.adapter or self.analyzer.default].hash,
            "reasoner": None if reasoner is None else reasoner.id,
            "mode": options.mode,
            "explain": options.explain,
            "policy": options.policy,
        }

    def answers(self, rows: Iterable[NumberedRow]) -> Iterator[Analysis | RowError]:
        """The answers to some rows, in their order."""
        return answers(self.analyzer, rows, self.options, self.adapter, self.workers)


def _run(job: _Job, journal: Journal) -> None:
    """Answer the remaining rows, and say how it went."""
    started, count = monotonic(), 0
    try:
        with journal, progress("posts", lambda: sum(1 for _ in job.rows), journal.done) as advance:
            for answer in job.answers(journal.remaining(_named(job.rows))):
                journal.write(answer)
                count += 1
                advance()
            journal.finish()
    except (KeyboardInterrupt, Terminated) as cause:
        raise Stopped(f"{counted(journal.done + count, 'row')} done; go on with --resume", cause) from None
    seconds = monotonic() - started
    failed = journal.failed + len(journal.failures)
    rate = f"{counted(count, 'row')} in {seconds:.1f} s" + (f", {count / seconds:,.0f} a second" if count else "")
    say(f"{counted(journal.done + count - failed, 'answer')} in {journal.out} ({rate})")
    if failed:
        say(f"{counted(failed, 'row')} failed, listed in {journal.errors}")
        say_failures(journal.failures[:LISTED])
        raise typer.Exit(1)


def _stream(job: _Job, errors: Path | None) -> None:
    """Answers to standard output as they are made; failures to a file, or in words."""
    failed = 0
    with nullcontext() if errors is None else errors.open("w", encoding="utf-8") as file:
        for answer in job.answers(_named(job.rows)):
            if isinstance(answer, Analysis):
                emit(answer.model_dump_json())
                continue
            failed += 1
            if file is not None:
                file.write(answer.model_dump_json() + "\n")
            elif failed <= LISTED:
                say_failures([answer])
    if failed:
        say(f"{counted(failed, 'row')} failed" + ("" if errors is None else f", listed in {errors}"))
        raise typer.Exit(1)


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
        pool.shutdown(wait=False, cancel_futures=True)  # all is done, or nobody waits for it any more


def _named(rows: Iterable[NumberedRow]) -> Iterator[NumberedRow]:
    """Rows without an id get their line as one, so that every answer can be traced to its row."""
    for line, row in rows:
        yield line, replace(row, id=str(line)) if isinstance(row, Sample) and row.id is None else row


def _check_paths(posts: Path, out: Path, errors: Path | None, queue: Path | None) -> Path:
    """Where the failures go, when all paths make sense."""
    if str(out) == STANDARD_OUTPUT:
        check_file(errors, "--errors")
        return out
    for option, path in (("-o", out), ("--errors", errors), ("--queue", queue)):
        check_file(path, option)
    check_suffix(out, "-o")
    if queue is not None and out.suffix.lower() in TABLE_SUFFIXES:
        raise InputError("a queue is chosen from answers in .jsonl", field="--queue")
    failures = errors or beside(out)
    named = [path for path in (posts, out, failures, queue) if path is not None]
    files = [*named, *working_files(out, failures)]
    if len({path.resolve() for path in files}) < len(files):
        raise InputError(
            "posts, answers, errors and queue must be different files, and none of them OUT.partial, OUT.journal, "
            "OUT.table or ERRORS.partial",
            field="-o",
        )
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
        with whole_file(queue) as draft, draft.open("wb") as chosen:
            for _, start in sorted(places):
                lines.seek(start)
                chosen.write(lines.readline())
    say(f"{counted(len(places), 'answer')} to review in {queue}")
