"""Posts answered by several threads of this process, in their order and in bounded memory.

Rows are read and their pictures decoded ahead of the model, by threads of their own; the model gets many posts at a
time, sorted by the encoder into batches of like length. It knows no files.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from ..analyzer import Analyzer
from ..inputs import NumberedRow, read_row
from ..types import Analysis, ExplainLevel, Mode, RowError, Sample

__all__ = ["Call", "LocalEngine"]

CHUNK = 512
"""Posts of words that a worker takes at a time: sorted by length they hold little padding."""
FIRST = 32
"""Posts that the first group has; each next one has twice as many."""
PICTURES = 32
"""Pictures of them at most: they are held decoded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """How posts are to be answered; see `Analyzer.analyze`."""

    adapter: str | None = None
    mode: Mode = "auto"
    explain: ExplainLevel = "modality"


class LocalEngine:
    """Answers on the cores of this machine.

    Args:
        analyzer: Answers.
        call: How.
        workers: Threads that answer, and as many that read ahead; one per core if None.
    """

    def __init__(self, analyzer: Analyzer, call: Call, workers: int | None = None) -> None:
        self.analyzer, self.call = analyzer, call
        self.workers = workers or os.cpu_count() or 1

    def answers(self, rows: Iterable[NumberedRow]) -> Iterator[Analysis | RowError]:
        """What `Analyzer.stream` answers to the rows, in their order."""
        reading = ThreadPoolExecutor(self.workers, thread_name_prefix="read")
        judging = ThreadPoolExecutor(self.workers, thread_name_prefix="judge")
        waiting: deque[Future[list[Analysis | RowError]]] = deque()
        try:
            for chunk in chunks(rows):
                read = reading.submit(self._read, chunk)
                waiting.append(judging.submit(self._judge, read))
                if len(waiting) > 2 * self.workers:  # as many are judged, and as many read ahead
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:  # all is done, or nobody waits for it any more
            for pool in (reading, judging):
                pool.shutdown(wait=False, cancel_futures=True)

    def _read(self, chunk: list[NumberedRow]) -> list[NumberedRow]:
        limits = self.analyzer.limits
        return [(line, read_row(line, row, limits)) for line, row in chunk]

    def _judge(self, read: Future[list[NumberedRow]]) -> list[Analysis | RowError]:
        call = self.call
        return list(
            self.analyzer.stream(read.result(), adapter=call.adapter, mode=call.mode, explain=call.explain, batch=CHUNK)
        )


def chunks(rows: Iterable[NumberedRow]) -> Iterator[list[NumberedRow]]:
    """Rows in their order, some at a time: as many as are good to sort by length, with few enough pictures.

    The first ones come in smaller groups, so that the first answers come soon and few rows are shared fairly.
    """
    chunk: list[NumberedRow] = []
    most, pictures = FIRST, 0
    for numbered in rows:
        chunk.append(numbered)
        pictures += isinstance(numbered[1], Sample) and numbered[1].image is not None
        if len(chunk) == most or pictures == PICTURES:
            yield chunk
            chunk, pictures, most = [], 0, min(2 * most, CHUNK)
    if chunk:
        yield chunk
