"""Rows of a CSV file in any dialect: the delimiter is detected, an open quote costs its own row. It knows no columns.

A quote that is never closed makes the standard reading swallow rows up to the next quote, thousands of lines on. Here
such a record is given up: its first line is an error, and the lines after it are read as rows of their own.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ...errors import InputError
from ...types import RowError
from .encoding import MOST_LINE, is_damaged
from .values import RawRows

__all__ = ["DELIMITERS", "Dialect", "csv_rows", "detect_dialect"]

DELIMITERS: Mapping[str, str] = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
SAMPLE_LINES = 100
SAMPLE_CHARS = 2**15

MOST_LINES = 1000
MOST_CHARS = 2**22
"""What one record may span before its quote counts as open."""
ROW_LIKE = {1: MOST_LINES, 2: 20}
"""Lines inside of a quoted cell that look like rows of their own before the quote counts as open, by the number of
cells a row has: prose seldom has the same three cells five lines in a row, often the same two."""
ROW_LIKE_OTHERWISE = 5


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a CSV file is written.

    Attributes:
        delimiter: What stands between cells.
        escape: What stands before a quote inside a quoted cell, where it is not another quote.
        skipped: Lines before the heading: Excel's `sep=;`.
    """

    delimiter: str = ","
    escape: str | None = None
    skipped: int = 0

    def reader(self, lines: Iterable[str]) -> Iterator[list[str]]:
        """The standard library's reader of this dialect."""
        return csv.reader(lines, delimiter=self.delimiter, escapechar=self.escape, strict=True)


def detect_dialect(lines: Iterator[str], delimiter: str | None = None) -> Dialect:
    """The dialect of a file, from its first lines.

    Args:
        lines: The file's lines; some of them are taken.
        delimiter: What stands between cells, where that is known.
    """
    sample, size = [], 0
    for line in lines:
        sample.append(line)
        size += len(line)
        if len(sample) >= SAMPLE_LINES or size >= SAMPLE_CHARS:
            break
    first = sample[0].strip().strip('"') if sample else ""
    if first.lower().startswith("sep=") and len(first) <= 5:
        return Dialect(delimiter or first[4:] or "\t", None, 1)
    from clevercsv.detect import Detector  # a second to import: only where there is a CSV file to read

    # Its parser takes neither bytes that are no text nor zeros.
    text = "".join(sample)[:SAMPLE_CHARS].encode(errors="replace").decode().replace("\0", " ")
    found = Detector().detect(text, delimiters=[delimiter] if delimiter else [*DELIMITERS])
    if found is None:
        return Dialect(delimiter or ",")
    return Dialect(delimiter or found.delimiter or ",", found.escapechar or None)


def csv_rows(lines: Iterator[str], dialect: Dialect, name: str) -> tuple[list[str], RawRows]:
    """The heading of a CSV file, and its rows.

    Args:
        lines: The file's lines from the first on.
        dialect: How it is written.
        name: The file's, for messages.

    Raises:
        InputError: The first line is no heading, or there is none.
    """
    # The limit is the whole process's: it is only ever raised. What a cell may cost is bounded by its lines.
    csv.field_size_limit(max(csv.field_size_limit(), MOST_LINE))
    for _ in range(dialect.skipped):
        next(lines, None)
    taken = _Lines(lines, dialect)
    records = _records(taken, dialect)
    first = next(records, None)
    if first is None:
        raise InputError(f"{name} is empty: there is no heading", field="file")
    if isinstance(first.cells, str):
        raise InputError(f"{name} is no CSV file: the heading cannot be read: {first.cells}", field="file")
    heading = [cell.strip() for cell in first.cells]
    while heading and not heading[-1]:  # a delimiter at the end of every line
        heading.pop()
    taken.width = len(heading)
    return heading, _rows(records, heading)


def _rows(records: Iterator[_Record], heading: list[str]) -> RawRows:
    for record in records:
        cells = record.cells
        if isinstance(cells, str):
            yield record.line, RowError(line=record.line, error=cells)
        elif any(is_damaged(cell) for cell in cells):
            yield record.line, RowError(line=record.line, error="not UTF-8")
        elif len(cells) < len(heading) or any(cells[len(heading) :]):
            wrong = f"{len(cells)} cells where the heading names {len(heading)}"
            yield record.line, RowError(line=record.line, error=wrong)
        else:
            yield record.line, dict(zip(heading, cells, strict=False))


@dataclass(frozen=True, slots=True)
class _Record:
    """A record: the 1-based line it begins on, and its cells or what is wrong with it."""

    line: int
    cells: list[str] | str


class _OpenQuoteError(Exception):
    """More lines were asked for than one record can have."""


class _Lines:
    """The lines of a file, handed to the standard reader one by one and remembered, so that a record can be given up.

    Attributes:
        width: Cells of a row; 0 until the heading is read.
        taken: The lines of the present record.
        line: The 1-based line that the present record begins on.
    """

    def __init__(self, lines: Iterator[str], dialect: Dialect) -> None:
        self._lines, self._dialect = lines, dialect
        self._waiting: deque[str] = deque()  # lines of a record that was given up, to be read again
        self._row_like = self._chars = 0
        self.width = 0
        self.taken: list[str] = []
        self.line = dialect.skipped + 1

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._waiting.popleft() if self._waiting else next(self._lines)
        self.taken.append(line)
        if len(self.taken) > 1:
            self._chars += len(line)
            self._row_like += self.is_row(line)
            if self._is_open() or len(self.taken) > MOST_LINES or self._chars > MOST_CHARS:
                raise _OpenQuoteError
        return line

    def next_record(self, lines: int) -> None:
        """Go on behind so many lines of the present record."""
        self._waiting.extendleft(reversed(self.taken[lines:]))
        self.line += lines
        self.taken, self._row_like, self._chars = [], 0, 0

    def is_row(self, line: str) -> bool:
        """Whether a line is a row of the right width by itself."""
        try:
            return self.width > 1 and len(next(self._dialect.reader(iter([line])), [])) == self.width
        except csv.Error:
            return False

    def are_rows(self) -> bool:
        """Whether the lines inside of the present record are so many rows of their own that it cannot be one."""
        inner = len(self.taken) - 2
        return inner >= 2 and self._row_like >= inner

    def _is_open(self) -> bool:
        enough = ROW_LIKE.get(self.width, ROW_LIKE_OTHERWISE)
        return self._row_like >= enough and self._row_like >= 0.8 * (len(self.taken) - 1)


def _records(lines: _Lines, dialect: Dialect) -> Iterator[_Record]:
    """The records of a file, blank lines left out."""
    reader = dialect.reader(lines)
    while True:
        try:
            cells = next(reader)
            several = len(lines.taken) > 1
            doubt = several and lines.width and (len(cells) != lines.width or lines.are_rows())
            cause = "an open quote" if doubt else None
        except StopIteration:
            return
        except (csv.Error, _OpenQuoteError) as error:
            cells = []
            cause = (
                f"not CSV: {error}" if len(lines.taken) == 1 and "unexpected end" not in str(error) else "an open quote"
            )
        if cause is None:
            line, used = lines.line, len(lines.taken)
            lines.next_record(used)
            if cells:
                yield _Record(line, cells)
        else:
            yield _given_up(lines, dialect, cause)


def _given_up(lines: _Lines, dialect: Dialect, cause: str) -> _Record:
    """The first line alone, as what can be made of it; the lines after it are read again."""
    line, doubtful = lines.line, len(lines.taken) - 1
    first = lines.taken[0].rstrip("\r\n")
    plain = first.split(dialect.delimiter)
    lines.next_record(1)
    if dialect.delimiter == "\t" and len(plain) == lines.width:  # files of this kind are often written without quoting
        return _Record(line, plain)
    if doubtful:
        last = line + doubtful
        span = (
            f"line {last} was in doubt and is" if doubtful == 1 else f"lines {line + 1} to {last} were in doubt and are"
        )
        cause = f"{cause}: {span} read as " + ("a row of its own" if doubtful == 1 else "rows of their own")
    return _Record(line, cause)
