"""`hybrid-mmsa batch`: a file of posts → a file of answers, one line each. It holds no logic of its own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import Annotated, Any

import typer

from ...analyzer import Analyzer
from ...data import TABLE_SUFFIXES, PostsFile, check_suffix
from ...encoders import CachedEncoder
from ...engines import FailureRate, LocalEngine
from ...errors import InputError
from ...inputs import NumberedRow
from ...reasoning import Account, BudgetedReasoner, open_reasoner
from ...types import Analysis, RowError, Sample
from ..terminal.console import Stopped, Terminated, counted, emit, say, tell_written
from ..terminal.failures import LISTED, say_failures
from ..terminal.journal import Journal, beside, working_files
from ..terminal.options import (
    DETECTED,
    POSTS_HELP,
    AnswerOptions,
    EngineOptions,
    Force,
    ReadingOptions,
    WrittenAsJson,
    check_file,
    with_answer_options,
    with_options,
)
from ..terminal.progress import progress
from ..terminal.whole import whole_file

__all__ = ["batch"]

STANDARD_OUTPUT = "-"
LOCALLY = EngineOptions()


@with_options("reading", DETECTED)
@with_options("running", LOCALLY)
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
    queue: Annotated[
        Path | None,
        typer.Option("--queue", metavar="FILE", help="Also write the answers to review, likeliest mistakes first."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted run, or analyse the rows added since the last.")
    ] = False,
    force: Force = False,
    as_json: WrittenAsJson = False,
    running: EngineOptions = LOCALLY,
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
        hybrid-mmsa batch posts.jsonl -o answers.jsonl --engine ray --workers 8
        cat posts.jsonl | hybrid-mmsa batch - -o - | jq .sentiment.label
    """
    failures = _check_paths(posts, out, errors, queue)
    with _Job(reading.open(posts), options, running) as job:
        if str(out) != STANDARD_OUTPUT:
            journal = Journal(out, failures, job.facts(), resume=resume, force=force)
            _run(job, journal, queue, as_json)
        elif resume or queue is not None or as_json:
            raise InputError("--resume, --queue and --json need a file of answers", field="-o")
        else:
            _stream(job, errors)


@dataclass(slots=True, eq=False)
class _Job:
    """What is to be answered, on what and how; a context manager, in which the engine runs."""

    rows: PostsFile
    options: AnswerOptions
    running: EngineOptions
    analyzer: Analyzer = field(init=False)
    deferred: int = field(init=False, default=0)
    answered: int = field(init=False, default=0)
    _engine: Any = field(init=False)
    _account: Any = field(init=False, default=None)
    _adapter: str | None = field(init=False)
    _failures: FailureRate = field(init=False)
    _open: ExitStack = field(init=False, default_factory=ExitStack)

    def __enter__(self) -> _Job:
        if next(iter(self.rows), None) is None:
            raise InputError(f"{self.rows.source.name} holds no posts", field="posts")
        self._failures = FailureRate(self.running.max_failure_rate)
        with self._open:
            (self._start_on_ray if self.running.engine == "ray" else self._start_here)()
            self._open = self._open.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _start_here(self) -> None:
        reasoner = None
        if self.options.reasoner is not None:
            self._account = Account(self.running.budget())
            reasoner = BudgetedReasoner(open_reasoner(self.options.reasoner), self._account)
        self.analyzer, self._adapter = self.options.open(reasoner, self.running.cache)
        self._engine = LocalEngine(self.analyzer, self.options.call(self._adapter), self.running.workers)

    def _start_on_ray(self) -> None:
        from ...engines.ray_engine import RayEngine, SharedReasoner, cluster

        running = self.running
        self._open.enter_context(cluster(running.workers))
        if self.options.reasoner is not None:
            self._account = SharedReasoner.start(self.options.reasoner, running.budget(), running.reasoners)
        self.analyzer, self._adapter = self.options.open(self._account, running.cache)
        self._engine = RayEngine(self.analyzer, self.options.call(self._adapter), running.workers)

    def facts(self) -> dict[str, object]:
        """What the answers depend on besides the rows."""
        reasoner, options = self.analyzer.reasoner, self.options
        return {
            "model": self.analyzer.adapters[self._adapter or self.analyzer.default].hash,
            "reasoner": None if reasoner is None else reasoner.id,
            "mode": options.mode,
            "explain": options.explain,
            "policy": options.policy,
        }

    def answers(self, rows: Iterable[NumberedRow]) -> Iterator[Analysis | RowError]:
        """The answers to some rows, in their order.

        Raises:
            InputError: More rows fail than may.
        """
        for answer in self._engine.answers(rows):
            self.answered += 1
            self.deferred += isinstance(answer, Analysis) and answer.route.decision == "defer"
            yield answer
            self._failures.count(1, isinstance(answer, RowError))
        self._failures.check()

    def status(self) -> str:
        """In a few words: the share that was deferred, what that has cost, and how many posts were reposts."""
        parts = [f"{self.deferred / max(self.answered, 1):.0%} deferred"]
        if self._account is not None:
            parts.append(f"cost {self._account.spent:,.6g}")
        if isinstance(encoder := self.analyzer.encoder, CachedEncoder) and encoder.hits:
            parts.append(f"{encoder.hits / (encoder.hits + encoder.misses):.0%} seen before")
        return ", ".join(parts)


def _run(job: _Job, journal: Journal, queue: Path | None, as_json: bool) -> None:
    """Answer the remaining rows, choose what is to be reviewed, and say how it went."""
    started, count = monotonic(), 0
    try:
        total = lambda: sum(1 for _ in job.rows)  # noqa: E731
        with journal, progress("posts", total, journal.done, job.status) as advance:
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
    answers = journal.done + count - failed
    files = [journal.out, *([journal.errors] if failed else []), *([] if queue is None else [queue])]
    sentence = f"{counted(answers, 'answer')} in {journal.out} ({rate}; {job.status()})"
    counts = {"posts": answers, "failed": failed}
    if queue is not None:
        counts["to_review"] = _write_queue(journal.out, queue)
        sentence += f", {counted(counts['to_review'], 'answer')} to review in {queue}"
    tell_written(sentence, files, as_json=as_json, **counts)
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


def _write_queue(answers: Path, queue: Path) -> int:
    """Write the answers that need review, by falling P(error); how many. Memory holds only their places."""
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
    return len(places)
