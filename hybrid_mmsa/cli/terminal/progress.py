"""How far a long command has come: a bar in a terminal, a line now and then elsewhere. Knows nothing of its work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from time import monotonic
from typing import TypeAlias

from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from .console import notes, say

__all__ = ["Advance", "progress"]

Advance: TypeAlias = Callable[[], None]
"""Called after every item."""

SECONDS_BETWEEN_LINES = 30.0


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f}/s" if task.speed else "")


@contextmanager
def progress(
    name: str, total: Callable[[], int], done: int = 0, status: Callable[[], str] | None = None
) -> Iterator[Advance]:
    """Show progress on standard error while the block runs; the block calls what it is given after every item.

    Args:
        name: What is counted, in the plural.
        total: Counts all items; called once a bar or a line is shown.
        done: Items finished earlier.
        status: What else is to be said at the moment, in a few words.
    """
    console = notes()
    if not console.is_terminal:
        yield _lines(name, total, done, status)
        return
    columns = (TextColumn(name), BarColumn(), MofNCompleteColumn(), _Speed(), TimeRemainingColumn())
    more = () if status is None else (TextColumn("{task.fields[status]}"),)
    with Progress(*columns, *more, console=console, transient=True) as bar:
        task = bar.add_task(name, total=total(), completed=done, status="")

        def advance() -> None:
            bar.update(task, advance=1, status="" if status is None else status())

        yield advance


def _lines(name: str, total: Callable[[], int], done: int, status: Callable[[], str] | None) -> Advance:
    count, began = done, monotonic()
    last, every = began, cache(total)

    def advance() -> None:
        nonlocal count, last
        count += 1
        now = monotonic()
        if now - last <= SECONDS_BETWEEN_LINES:
            return
        last, rate = now, (count - done) / max(now - began, 1e-3)
        left = timedelta(seconds=round(max(every() - count, 0) / rate))
        more = f", {status()}" if status is not None and status() else ""
        say(f"{count:,} of {every():,} {name} done, {rate:,.1f} a second, {left} left{more}")

    return advance
