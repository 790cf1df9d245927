"""`hybrid-mmsa explain page`: a file of posts → a page for analysts. It holds no logic of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from ...engines import LocalEngine
from ...errors import InputError
from ...explain.page import POSTS_SHOWN, Page, entries, render_page
from ..terminal.console import counted, say, tell_written
from ..terminal.failures import LISTED, say_failures
from ..terminal.options import (
    DETECTED,
    POSTS_HELP,
    AnswerOptions,
    ReadingOptions,
    RecordedAnswers,
    Workers,
    WrittenAsJson,
    check_file,
    with_answer_options,
    with_options,
)
from ..terminal.progress import progress
from ..terminal.recorded import recorded_answers
from ..terminal.whole import whole_file

__all__ = ["explain_app"]

explain_app = typer.Typer(help="Show analysts why posts got their answers.", no_args_is_help=True)
T = TypeVar("T")

IN_FULL = AnswerOptions(explain="full")
"""A page shows all evidence unless asked otherwise."""


@explain_app.callback()
def _group() -> None:
    pass


@explain_app.command("page")
@with_options("reading", DETECTED)
@with_answer_options
def page(
    posts: Annotated[Path, typer.Argument(metavar="POSTS", help=f"Posts to show: {POSTS_HELP}.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="The page to write, .html.")],
    recorded: RecordedAnswers = None,
    most: Annotated[
        int, typer.Option("--most", min=1, help="Posts to list, those most likely wrong first; all are counted.")
    ] = POSTS_SHOWN,
    workers: Workers = None,
    as_json: WrittenAsJson = False,
    options: AnswerOptions = IN_FULL,
    reading: ReadingOptions = DETECTED,
) -> None:
    """Write posts, their answers and the evidence as one page that opens offline.

    The page counts all posts, draws trends over their time and by their
    group, and lists them, the likeliest mistakes first, with filters, search,
    CSV export, and labels to correct, which it exports as rows. Words and
    regions cost several times the answer; --explain modality leaves them out.
    The page holds the posts' words and small copies of their pictures: share it
    as you would share the posts.

    For example:
        hybrid-mmsa explain page posts.jsonl -o page.html
        hybrid-mmsa explain page posts.csv -o page.html --answers answers.jsonl
    """
    check_file(out, "-o")
    if out.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"found {out.name}; wanted a name that ends in .html", field="-o")
    if out.resolve() in {source.resolve() for source in (posts, recorded) if source is not None}:
        raise InputError("the page must not replace what it is made from", field="-o")
    if recorded is not None and options != IN_FULL:
        message = "these answers are shown as they are: leave out --mode, --model and all else about how to answer"
        raise InputError(message, field="--answers")
    rows = reading.open(posts)
    if recorded is not None:
        answer_rows = recorded_answers(recorded)
    else:
        analyzer, adapter = options.open()
        answer_rows = LocalEngine(analyzer, options.call(adapter), workers).answers
    with progress("posts", lambda: sum(1 for _ in rows)) as advance:
        report = render_page(
            _counting(entries(rows, answer_rows, rows.source.root), advance), f"{posts.name}: posts and answers", most
        )
    with whole_file(out) as draft:
        draft.write_text(report.html, encoding="utf-8")
    _sum_up(report, out, as_json)


def _counting(items: Iterable[T], advance: Callable[[], None]) -> Iterator[T]:
    for item in items:
        yield item
        advance()


def _sum_up(report: Page, out: Path, as_json: bool) -> None:
    listed = "" if report.listed == report.answered else f", the {report.listed:,} likeliest mistakes listed"
    size = len(report.html.encode()) / 1e6
    sentence = f"{counted(report.answered, 'post')} in {out} ({size:.1f} MB{listed})"
    counts = {"posts": report.answered, "listed": report.listed, "failed": report.failed}
    tell_written(sentence, [out], as_json=as_json, **counts)
    if report.failed:
        say(f"{counted(report.failed, 'row')} failed, listed in the page")
        say_failures(report.failures[:LISTED])
        raise typer.Exit(1)
