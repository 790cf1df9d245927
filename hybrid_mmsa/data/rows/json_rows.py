"""Rows of JSON: one object a line, an array of objects, or an object that holds such an array. It knows no columns.

All are read in bounded memory: an array of any length is parsed as it is read.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Any, BinaryIO, Literal, cast

import ijson

from ...errors import InputError
from ...types import RowError
from .encoding import MOST_LINE, is_damaged
from .values import RawRows

__all__ = ["array_rows", "find_array", "json_lines", "json_shape"]

Shape = Literal["lines", "array", "object"]
NESTED = 2
"""How deep an array of rows may lie inside of objects: `data.children` of a Reddit listing."""
DEEPEST = 500
"""Levels of lists and objects in one another; the place of each value is spelt out, which takes the square of them."""


def json_shape(head: str, *, whole: bool) -> Shape:
    """How the rows stand in a JSON file.

    Args:
        head: Its beginning.
        whole: Whether this is all of it.
    """
    text = head.lstrip("\ufeff \t\r\n")
    if text.startswith("["):
        return "array"
    first, _, rest = text.partition("\n")
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        # A broken first line, or an object over several lines.
        return "object" if first.strip() == "{" or (whole and _is_json(text)) else "lines"
    return "lines" if rest.strip() or not whole else "object"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def json_lines(lines: Iterator[str]) -> RawRows:
    """Rows of a file with one JSON object a line."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(_checked(line).removeprefix("\ufeff"))
        except (ValueError, RecursionError) as error:
            cause = error if isinstance(error, _LineError) else f"not JSON: {error}"
            yield number, RowError(line=number, error=str(cause))
        else:
            kind = type(row).__name__
            wrong = RowError(line=number, error=f"a JSON object is wanted, not a {kind}")
            yield number, row if isinstance(row, dict) else wrong


class _LineError(ValueError):
    """A line that is not worth parsing."""


def _checked(line: str) -> str:
    if len(line) >= MOST_LINE:
        raise _LineError(f"a line of more than {MOST_LINE:,} characters")
    if is_damaged(line):
        raise _LineError("not UTF-8")
    return line


class _Bounded:
    """The bytes of a JSON file as UTF-8, with a bound on what is read for one row."""

    def __init__(self, file: BinaryIO, encoding: str, skipped: int) -> None:
        file.seek(skipped)
        plain = encoding in ("utf-8", "utf-8-sig")
        self._file = file if plain else cast(BinaryIO, codecs.EncodedFile(file, "utf-8", encoding, errors="replace"))
        self.left = 2 * MOST_LINE

    def read(self, size: int = -1) -> bytes:
        """As a file's `read`."""
        if self.left < 0:
            raise InputError(f"a row of more than {MOST_LINE:,} characters", field="file")
        content = self._file.read(size)
        self.left -= len(content)
        return content


def _events(bounded: _Bounded) -> Iterator[tuple[str, str, Any]]:
    """What `ijson.parse` finds, down to `DEEPEST` levels."""

    def shallow() -> Iterator[tuple[str, Any]]:
        depth = 0
        for event, value in ijson.basic_parse(bounded, use_float=True):
            depth += event.startswith("start_") - event.startswith("end_")
            if depth > DEEPEST:
                raise InputError(f"a row nested more than {DEEPEST} levels deep", field="file")
            yield event, value

    return cast(Iterator[tuple[str, str, Any]], ijson.parse(shallow()))


def find_array(file: BinaryIO, encoding: str, skipped: int = 0) -> str | None:
    """Where the rows of a JSON object lie: the `ijson` prefix of its first array of objects, or `None`."""
    try:
        before = ("", "")
        for prefix, event, _ in _events(_Bounded(file, encoding, skipped)):
            if event == "start_map" and before[1] == "start_array" and before[0].count(".") < NESTED:
                return f"{before[0]}.item" if before[0] else "item"
            before = (prefix, event)
    except (ijson.JSONError, UnicodeDecodeError, InputError):
        return None
    return None


def array_rows(file: BinaryIO, encoding: str, prefix: str, skipped: int = 0) -> RawRows:
    """Rows of a JSON array, numbered from 1; where the file breaks off, the last is an error that says so.

    Args:
        file: The file; it is closed in the end.
        encoding: Its encoding.
        prefix: Where the rows lie; see `find_array`. "" if the whole file is one row.
        skipped: Bytes before the JSON.
    """
    number = 0
    with file:
        bounded = _Bounded(file, encoding, skipped)
        try:
            for row in ijson.items(_events(bounded), prefix):
                bounded.left = 2 * MOST_LINE
                number += 1
                kind = type(row).__name__
                wrong = RowError(line=number, error=f"a JSON object is wanted, not a {kind}")
                yield number, row if isinstance(row, dict) else wrong
        except (ijson.JSONError, UnicodeDecodeError, InputError) as error:
            cause = str(error).splitlines()[0] if str(error) else type(error).__name__
            yield (
                number + 1,
                RowError(line=number + 1, error=f"not JSON from here on, the rows after it are lost: {cause}"),
            )
