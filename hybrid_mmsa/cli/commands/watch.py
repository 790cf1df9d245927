"""`hybrid-mmsa watch` and `watch replay`: a stream of posts → alerts. It holds no logic of its own."""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from ...encoders import Encoder
from ...engines import LocalEngine, columns_named, post_of
from ...errors import InputError
from ...explain.page.periods import moment
from ...inputs import NumberedRow, read_row, read_sample
from ...types import Analysis, RowError, Sample
from ...watch import Alert, Observation, Store, Watch, WatchSettings
from ...watch.alerts import Webhook
from ...watch.drift import sketch
from ...watch.page import watch_page
from ...watch.sources import piped, polled, tailed
from ..terminal.console import Stopped, Terminated, counted, emit, say
from ..terminal.failures import LISTED, say_failures
from ..terminal.options import (
    DETECTED,
    POSTS_HELP,
    AnswerOptions,
    MapChoices,
    ReadingOptions,
    RecordedAnswers,
    check_file,
    with_answer_options,
    with_options,
)
from ..terminal.recorded import recorded_answers
from ..terminal.whole import whole_file

__all__ = ["watch_app"]

watch_app = typer.Typer()
CACHE = 2048
"""Posts whose features are remembered: those of a batch, so that their vectors cost nothing more, and reposts."""
CHUNK, COMMIT = 32, 1000
"""Posts that are answered together where so many wait, and after which what was counted is written."""
SECONDS_BETWEEN_PAGES = 10.0


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """How a stream is watched, and who is told: the options of both commands."""

    window: Annotated[int, typer.Option("--window", metavar="SECONDS", min=1, help="Length of a window.")] = 3600
    lateness: Annotated[
        int | None,
        typer.Option(
            "--lateness", metavar="SECONDS", min=0, help="How long a window is waited for; default: a quarter of it."
        ),
    ] = None
    false_alarms: Annotated[
        float,
        typer.Option(
            "--false-alarms", metavar="NUMBER", min=0, help="How many a week to expect at most, in all groups."
        ),
    ] = 0.1
    learn: Annotated[
        int | None,
        typer.Option("--learn", metavar="WINDOWS", help="Windows of a group before it is judged; default: two days."),
    ] = None
    state: Annotated[
        Path | None,
        typer.Option("--state", metavar="FILE", help="SQLite file that remembers the watch; default: none is kept."),
    ] = None
    alerts: Annotated[
        Path | None, typer.Option("--alerts", metavar="FILE", help="Also add the alerts to a file, a line each.")
    ] = None
    webhook: Annotated[
        str | None, typer.Option("--webhook", metavar="URL", help="Also send each alert there, as JSON.")
    ] = None
    page: Annotated[
        Path | None, typer.Option("--page", metavar="FILE", help="Keep a page of shares and alerts current (.html).")
    ] = None

    def settings(self) -> WatchSettings:
        """As the watch takes them."""
        return WatchSettings(
            window=self.window, lateness=self.lateness, false_alarms=self.false_alarms, learn=self.learn
        )


WATCHED = WatchOptions()


@watch_app.callback(invoke_without_command=True)
@with_options("watching", WATCHED)
@with_answer_options
def watch(
    context: typer.Context,
    options: AnswerOptions,
    tail: Annotated[
        Path | None, typer.Option("--tail", metavar="FILE", help="Read a file of JSON lines as it grows.")
    ] = None,
    poll: Annotated[
        str | None, typer.Option("--poll", metavar="URL", help="Ask an address for JSON lines, again and again.")
    ] = None,
    every: Annotated[float, typer.Option("--every", metavar="SECONDS", min=0.1, help="Between two questions.")] = 30.0,
    names: MapChoices = None,
    image_root: Annotated[
        Path | None,
        typer.Option("--image-root", metavar="DIR", help="Folder of the pictures; without it none are read."),
    ] = None,
    watching: WatchOptions = WATCHED,
) -> None:
    """Watch posts as they come, and tell where shares or inputs change by more than chance.

    They are JSON lines from standard input, a file or an address. Each has a
    time, and may have a group (a brand, a product) and an id. Shares of
    negative and of deferred posts are kept for each group and window; an alert
    is a line of JSON on standard output, where one has changed, or where posts
    are no longer like the earlier ones. A watch with --state goes on where it
    ended.

    For example:
        tail -F posts.jsonl | hybrid-mmsa watch --state watch.db --page watch.html
        hybrid-mmsa watch --tail posts.jsonl --webhook http://127.0.0.1:9000/alerts
    """
    if context.invoked_subcommand is not None:
        return
    if tail is not None and poll is not None:
        raise InputError("--tail and --poll are two sources: say one of them", field="--poll")
    lines = piped(sys.stdin.buffer)
    if tail is not None:
        lines = tailed(tail)
    elif poll is not None:
        lines = polled(poll, every, say=say)
    mapped = ReadingOptions(map=names, image_root=image_root).reading().columns
    with _Desk(watching, now=time.time) as desk:
        _live(desk, _posts(lines, mapped, image_root), options)


@watch_app.command("replay")
@with_options("reading", DETECTED)
@with_options("watching", WATCHED)
@with_answer_options
def replay(
    options: AnswerOptions,
    posts: Annotated[Path, typer.Argument(metavar="POSTS", help=f"Posts with times: {POSTS_HELP}.")],
    recorded: RecordedAnswers = None,
    watching: WatchOptions = WATCHED,
    reading: ReadingOptions = DETECTED,
) -> None:
    """Show which alerts a watch would have raised over a file of posts.

    For example:
        hybrid-mmsa watch replay last-month.jsonl --page watch.html
    """
    rows = _named(reading.open(posts))
    with _Desk(watching, now=None) as desk:
        if recorded is not None:
            read = ((line, read_row(line, row)) for line, row in rows)  # those that cannot be read have no answer
            desk.take(read, recorded_answers(recorded), lambda _: None)
        else:
            analyzer, adapter = options.open(cache=CACHE)
            engine = LocalEngine(analyzer, options.call(adapter))
            desk.take(rows, engine.answers, partial(_vector, analyzer.encoder))
        desk.watch.finish()
        desk.sum_up()


@dataclass(slots=True, eq=False)
class _Desk:
    """Where a watch stands: its state, its page, and who is told; a context manager."""

    options: WatchOptions
    now: Callable[[], float] | None
    watch: Watch = field(init=False)
    store: Store = field(init=False)
    failures: list[RowError] = field(default_factory=list)
    failed: int = 0
    _open: ExitStack = field(default_factory=ExitStack)
    _drawn: float = 0.0

    def __enter__(self) -> _Desk:
        options = self.options
        for path, option in ((options.state, "--state"), (options.alerts, "--alerts"), (options.page, "--page")):
            check_file(path, option)
        webhook = None if options.webhook is None else Webhook(options.webhook)
        self.store = self._open.enter_context(Store(options.state))
        log = None if options.alerts is None else self._open.enter_context(options.alerts.open("a", encoding="utf-8"))

        def notify(alert: Alert) -> None:
            emit(alert.model_dump_json())
            say(alert.text)
            if log is not None:
                log.write(alert.model_dump_json() + "\n")
                log.flush()
            if webhook is not None and (trouble := webhook(alert)):
                say(trouble)

        self.watch = Watch(self.store, options.settings(), notify, self.now)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def take(
        self,
        rows: Iterable[NumberedRow],
        answers: Callable[[Iterable[NumberedRow]], Iterable[Analysis | RowError]],
        vector: Callable[[Sample], Callable[[], NDArray[np.float32]] | None],
    ) -> None:
        """Let posts be answered and observed."""
        asked: deque[Sample | RowError] = deque()

        def remembered() -> Iterator[NumberedRow]:
            for line, row in rows:
                asked.append(row)
                yield line, row

        for number, answer in enumerate(answers(remembered()), 1):
            post = asked.popleft()  # answers keep the order of their posts
            if isinstance(answer, RowError) or isinstance(post, RowError):
                self.fail(answer)
            else:
                self.observe(post, answer, vector)
            if number % COMMIT == 0:
                self.keep()
        self.keep()

    def observe(
        self,
        post: Sample,
        answer: Analysis,
        vector: Callable[[Sample], Callable[[], NDArray[np.float32]] | None],
    ) -> None:
        """One answered post."""
        when = moment(post.time)
        self.watch.observe(
            Observation(
                time=None if when is None else when.timestamp(),
                label=answer.sentiment.label,
                group=post.group,
                id=post.id,
                deferred=answer.route.decision == "defer",
                vector=vector(post),
            )
        )

    def fail(self, row: RowError | Analysis) -> None:
        """Count a row that cannot be used."""
        self.failed += 1
        if self.failed <= LISTED and isinstance(row, RowError):
            say_failures([row])

    def keep(self) -> None:
        """Let all that was observed stay, and draw the page now and then."""
        self.watch.commit()
        if self.options.page is not None and time.monotonic() - self._drawn > SECONDS_BETWEEN_PAGES:
            self.draw()

    def draw(self) -> None:
        """Write the page."""
        if self.options.page is not None and self.store.groups():
            with whole_file(self.options.page) as draft:
                draft.write_text(watch_page(self.store), encoding="utf-8")
            self._drawn = time.monotonic()

    def sum_up(self) -> None:
        """Say what was counted, and draw the page a last time."""
        self.draw()
        tallies = self.store.tallies()
        say(", ".join(f"{number:,} {name}" for name, number in tallies.items()) or "no posts")
        if self.failed:
            say(f"{counted(self.failed, 'row')} failed")
            raise typer.Exit(1)


def _live(desk: _Desk, posts: Iterator[NumberedRow | None], options: AnswerOptions) -> None:
    """Answer posts as they come, some together where many wait, and observe them."""
    analyzer, adapter = options.open(cache=CACHE)
    vector = partial(_vector, analyzer.encoder)

    def flush(waiting: list[NumberedRow]) -> None:
        answers = partial(analyzer.stream, adapter=adapter, mode=options.mode, explain="none")
        desk.take(waiting, answers, vector)
        waiting.clear()

    waiting: list[NumberedRow] = []
    try:
        for post in posts:
            if post is not None:
                waiting.append(post)
            if len(waiting) >= CHUNK or (post is None and waiting):
                flush(waiting)
        flush(waiting)
    except (KeyboardInterrupt, Terminated) as cause:
        desk.watch.commit()
        raise Stopped(
            "what was counted is kept" if desk.options.state else "nothing is kept without --state", cause
        ) from None
    desk.sum_up()


def _posts(
    lines: Iterable[bytes | None], names: Mapping[str, str], image_root: Path | None
) -> Iterator[NumberedRow | None]:
    """Lines as posts; a post without an id has none, and cannot be known again."""
    columns, numbers = columns_named(names), count(1)
    for line in lines:
        if line is None:
            yield None
            continue
        number = next(numbers)
        try:
            row: Any = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError(f"a {type(row).__name__}")
        except ValueError as error:
            yield number, RowError(line=number, error=f"found no JSON object ({error})"[:300])
            continue
        yield number, post_of(number, row, columns, image_root)


def _named(rows: Iterable[NumberedRow]) -> Iterator[NumberedRow]:
    for line, row in rows:
        yield line, replace(row, id=f"line {line}") if isinstance(row, Sample) and row.id is None else row


def _vector(encoder: Encoder, post: Sample) -> Callable[[], NDArray[np.float32]]:
    return lambda: sketch(encoder.encode([read_sample(post)]))[0]
