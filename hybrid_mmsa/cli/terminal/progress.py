"""How far a long command has come: a bar in a terminal, a line now and then elsewhere. Knows nothing of its work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
def progress(name: str, total: Callable[[], int], done: int = 0) -> Iterator[Advance]:
    """Show progress on standard error while the block runs; the block calls what it is given after every item.

    Args:
        name: What is counted, in the plural.
        total: Counts all items; called only where a bar is drawn.
        done: Items finished earlier.
    """
    console = notes()
    if not console.is_terminal:
        yield _lines(name, done)
        return
    columns = (TextColumn(name), BarColumn(), MofNCompleteColumn(), _Speed(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(name, total=total(), completed=done)
        yield lambda: bar.advance(task)


def _lines(name: str, done: int) -> Advance:
    count, last = done, monotonic()

    def advance() -> None:
        nonlocal count, last
        count += 1
        if monotonic() - last > SECONDS_BETWEEN_LINES:
            last = monotonic()
            say(f"{count:,} {name} done")

    return advance
