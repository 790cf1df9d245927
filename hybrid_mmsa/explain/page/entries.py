"""Rows and their answers → what the page shows of each post. Knows nothing of where rows or answers come from."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
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
        source: Its picture's path as the rows name it, relative to their folder; None where it is no path in it.
    """

    line: int
    sample: Sample
    analysis: Analysis
    picture: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class _Post:
    """A post that waits for its answer; see `Entry`."""

    line: int
    sample: Sample
    picture: str | None
    source: str | None


def entries(
    rows: Iterable[NumberedRow], answer_rows: AnswerFunction, root: Path | None = None
) -> Iterator[Entry | RowError]:
    """Read each row once, have it answered, and keep a thumbnail of its picture; memory stays bounded.

    A post without an id is named by its line. A row that cannot be used comes out as its `RowError`.

    Args:
        rows: Raw samples with their lines.
        answer_rows: Answers the read ones; it may run some rows ahead.
        root: The folder of the rows, which their pictures are named from.
    """
    waiting: deque[_Post | None] = deque()

    def read() -> Iterator[NumberedRow]:
        for line, raw in rows:
            row = read_row(line, raw)
            if isinstance(row, RowError):
                waiting.append(None)
                yield line, row
                continue
            row = row if row.id is not None else replace(row, id=str(line))
            picture = thumbnail(row.image) if isinstance(row.image, Image.Image) else None
            waiting.append(_Post(line, replace(row, image=None), picture, _source(raw, root)))
            yield line, row

    for answer in answer_rows(read()):
        post = waiting.popleft()
        if isinstance(answer, RowError):
            yield answer
        elif post is not None:
            yield Entry(post.line, post.sample, answer, post.picture, post.source)


def _source(raw: Sample | RowError, root: Path | None) -> str | None:
    """A picture's path below the rows' folder. Nothing else is carried: it would name folders of this machine."""
    path = raw.image if isinstance(raw, Sample) else None
    if not isinstance(path, Path) or root is None or not path.is_relative_to(root):
        return None
    return path.relative_to(root).as_posix()
