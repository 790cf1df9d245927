"""Rows and their answers → what the page shows of each post. Knows nothing of where rows or answers come from."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

from PIL import Image

from ...inputs import NumberedRow, read_row
from ...types import Analysis, RowError, Sample
from .thumbnail import thumbnail

__all__ = ["AnswerFunction", "Entry", "entries"]

AnswerFunction: TypeAlias = Callable[[Iterable[NumberedRow]], Iterable["Analysis | RowError"]]
"""Answers rows, one each, in their order."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A post, its answer and its picture.

    Attributes:
        line: Where the post stood in its file.
        sample: The post as it was read, without its picture.
        analysis: The answer.
        picture: Its picture as a `data:` URI, see `thumbnail`.
    """

    line: int
    sample: Sample
    analysis: Analysis
    picture: str | None = None


def entries(rows: Iterable[NumberedRow], answer_rows: AnswerFunction) -> Iterator[Entry | RowError]:
    """Read each row once, have it answered, and keep a thumbnail of its picture; memory stays bounded.

    A post without an id is named by its line. A row that cannot be used comes out as its `RowError`.

    Args:
        rows: Raw samples with their lines.
        answer_rows: Answers the read ones; it may run some rows ahead.
    """
    waiting: deque[tuple[int, Sample, str | None] | None] = deque()

    def read() -> Iterator[NumberedRow]:
        for line, raw in rows:
            row = read_row(line, raw)
            if isinstance(row, RowError):
                waiting.append(None)
                yield line, row
                continue
            row = row if row.id is not None else replace(row, id=str(line))
            picture = thumbnail(row.image) if isinstance(row.image, Image.Image) else None
            waiting.append((line, replace(row, image=None), picture))
            yield line, row

    for answer in answer_rows(read()):
        post = waiting.popleft()
        if isinstance(answer, RowError):
            yield answer
        elif post is not None:
            line, sample, picture = post
            yield Entry(line, sample, answer, picture)
