"""A row, as a file, a table or a caller holds it → a `Sample`. Knows nothing of file formats."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from numbers import Integral, Number, Real
from os import PathLike
from os.path import realpath
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, cast, get_args

import numpy as np

from ..errors import HybridError, InputError
from ..foreign import translated
from ..types import ImageSource, Label, RowError, Sample
from .limits import DEFAULT_LIMITS, Limits
from .refusal import refusal, shown
from .sample import read_sample
from .source import is_uri
from .text import writable
from .times import read_time

__all__ = [
    "NumberedRow",
    "Row",
    "each_row",
    "needing",
    "numbered_rows",
    "read_label",
    "read_row",
    "row_id",
    "sample_from_row",
    "sample_of",
    "stars",
]

T = TypeVar("T")
LEFT_OUT = "; it was left out"

_TRUE = frozenset({"true", "yes", "1"})
_FALSE = frozenset({"false", "no", "0"})
_MISSING_KINDS = frozenset({"NAType", "NaTType"})
"""How pandas marks a missing value; it is recognised by name, since it need not be installed."""

Row: TypeAlias = "str | Sample | Mapping[str, object] | tuple[Any, ...]"
"""A post as callers hold it: its text, a sample, or the columns of a row by name (a mapping or a named tuple)."""
NumberedRow: TypeAlias = "tuple[int, Sample | RowError]"
"""A line of a file, and the post that stands there or what is wrong with it."""
_NAMES: Mapping[str, Label] = {name: name for name in get_args(Label)} | {
    "neg": "negative",
    "neu": "neutral",
    "neut": "neutral",
    "pos": "positive",
}
_DEGREES = frozenset({"very", "extremely", "strongly", "somewhat", "slightly", "mostly", "weakly", "highly"})
_WORDS = re.compile(r"[\s_\-]+")
_STARS = re.compile(r"(?P<number>[1-5](\.0)?) ?(-?stars?|/ ?5|out of 5|out of 5 stars)")
# Reviews' stars, the usual reading: the middle is neutral.
_OF_STARS: Mapping[int, Label] = {1: "negative", 2: "negative", 3: "neutral", 4: "positive", 5: "positive"}


def sample_from_row(row: Mapping[str, object], root: Path | None = None) -> Sample:
    """A raw sample from a row with the columns of the contract.

    The columns are `id`, `text`, `image`, `target`, `time`, `group`, `label`, `text_label`, `image_label`,
    `sarcastic` and `rationale`; others are ignored. An absent, None, NaN or blank value is missing. Numbers as `id`
    or `group` become strings; times are read in the ways of `times.read_time`, labels in those of `read_label`,
    `sarcastic` also from true/false, yes/no and 1/0. A `label` may be one to five stars instead: 1 and 2 are negative,
    3 is neutral, 4 and 5 positive.

    What an answer does not need (time, group, labels, rationale, an endless number as id) is left out where it cannot
    be read, with a warning that begins with the column's name.

    Args:
        row: Column name to value. A picture may be `{"bytes": ..., "path": ...}`, as `datasets` writes it.
        root: Folder that picture paths are relative to and may not leave, by `..`, links or as absolute paths:
            whoever wrote the rows need not be who may read all files. None leaves paths as they are.

    Raises:
        InputError: The row is not a mapping, or its text, picture, target or id is not of its kind.
    """
    if not isinstance(row, Mapping):
        raise refusal("row", shown(row), "a mapping of column names to values")
    notes: list[str] = []

    def unless_wrong(read: Callable[[Mapping[str, object], str], T | None], column: str) -> T | None:
        try:
            return read(row, column)
        except InputError as error:
            notes.append(writable(f"{error}{LEFT_OUT}"))
            return None

    return Sample(
        text=_string(row, "text"),
        image=_picture(row, root),
        target=_string(row, "target"),
        id=unless_wrong(_name, "id") if _is_endless(row.get("id")) else _name(row, "id"),
        time=unless_wrong(_time, "time"),
        group=unless_wrong(_name, "group"),
        label=unless_wrong(_label, "label"),
        text_label=unless_wrong(_label, "text_label"),
        image_label=unless_wrong(_label, "image_label"),
        sarcastic=unless_wrong(_truth, "sarcastic"),
        rationale=unless_wrong(_string, "rationale"),
        warnings=tuple(notes),
    )


def needing(column: str, line: int, row: Sample | RowError) -> Sample | RowError:
    """The row; an error where this column was left out of it, for what cannot do without."""
    if isinstance(row, Sample):
        for note in row.warnings:
            if note.startswith(f"{column}: "):
                cause = note.removeprefix(f"{column}: ").removesuffix(LEFT_OUT)
                return RowError(line=line, id=row.id, field=column, error=cause)
    return row


def sample_of(row: Row) -> Sample:
    """A raw sample from a post as callers hold it.

    Args:
        row: A text, a sample, a mapping in the columns of `sample_from_row`, or a named tuple of those columns, such as
            `DataFrame.itertuples` gives.

    Raises:
        InputError: It is none of these, or a column holds something that is not of its kind.
    """
    with translated(lambda cause: InputError(f"the row cannot be read ({cause})", field="row")):
        if isinstance(row, Sample):
            return row
        if isinstance(row, str):
            return Sample(text=row)
        if isinstance(row, tuple) and hasattr(row, "_asdict"):
            return sample_from_row(row._asdict())
        if not isinstance(row, Mapping):
            expected = "a text, a Sample, a mapping of column names to values or a named tuple"
            raise refusal("row", shown(row), expected)
        return sample_from_row(row)


def read_row(line: int, row: Row | RowError, limits: Limits = DEFAULT_LIMITS) -> Sample | RowError:
    """A read sample, or the `RowError` that says why there is none; never an exception for what the row holds.

    Args:
        line: Where the row stood, for its error.
        row: A row as `sample_of` takes it, or the error of whoever read the file.
        limits: How much of it is read.
    """
    try:
        with translated(lambda cause: InputError(f"the row cannot be read ({cause})", field="row")):
            return row if isinstance(row, RowError) else read_sample(sample_of(row), limits)
    except InputError as error:
        return RowError(line=line, id=row_id(row), field=error.field, error=writable(error.message))


def row_id(row: object) -> str | None:
    """The identifier of a row, or as much of it as can be shown: for the `RowError` of a row that fails."""
    identifier: object = None
    try:
        with translated(InputError):
            if isinstance(row, Sample):  # whose own id may be what is wrong with it
                identifier = row.id
            elif isinstance(row, tuple) and hasattr(row, "_asdict"):
                identifier = row._asdict().get("id")
            elif isinstance(row, Mapping):
                identifier = row.get("id")
            return _name({"id": identifier}, "id")
    except HybridError:
        return None if identifier is None else shown(identifier)


def each_row(rows: Iterable[T]) -> Iterator[T]:
    """The rows one by one.

    Raises:
        InputError: It is not an iterable of rows, or is itself one row: a text, bytes, a mapping or a sample.
    """
    with translated(lambda cause: InputError(f"found {type(rows).__name__}, which cannot be iterated ({cause})")):
        if isinstance(rows, str | bytes | Mapping | Sample):
            raise InputError(f"found one {type(rows).__name__}; wanted an iterable of posts, such as a list with it")
        if hasattr(rows, "itertuples"):  # a table of pandas, which iterates over the names of its columns
            raise InputError(f"found a {type(rows).__name__}; wanted its rows, as `itertuples()` gives them")
        return iter(rows)


def numbered_rows(rows: Iterable[object]) -> Iterator[tuple[int, object]]:
    """Every row with its line: the one it is paired with, as `(line, row)`, or else its position from 1 on.

    Raises:
        InputError: As `each_row` raises it, before the first row is read.
    """
    return (_numbered(position, row) for position, row in enumerate(each_row(rows), 1))


def _numbered(position: int, row: object) -> tuple[int, object]:
    with suppress(Exception):  # a caller's own kind of row may raise anything: `read_row` says so in the row's place
        if isinstance(row, tuple) and not hasattr(row, "_asdict") and len(row) == 2 and isinstance(row[0], Integral):
            return max(int(row[0]), 1), row[1]
    return position, row


def _value(row: Mapping[str, object], column: str) -> object | None:
    """What a column holds; None where it is missing."""
    value = row.get(column)
    if isinstance(value, str):
        return value if value.strip() else None
    if type(value).__name__ in _MISSING_KINDS:
        return None
    return None if isinstance(value, float | np.floating) and math.isnan(value) else value


def _string(row: Mapping[str, object], column: str) -> str | None:
    value = _value(row, column)
    if value is None or isinstance(value, str):
        return value
    raise refusal(column, shown(value), "a string")


def _name(row: Mapping[str, object], column: str) -> str | None:
    value = _value(row, column)
    if value is None or isinstance(value, str):
        return value and writable(value)
    if _is_endless(value):
        raise refusal(column, shown(value), "a string or a number with an end")
    if isinstance(value, float | np.floating) and value.is_integer():
        value = int(value)  # a table with gaps keeps whole numbers as floats
    if isinstance(value, Number) and not isinstance(value, bool):
        try:
            return str(value)
        except ValueError as error:  # thousands of digits
            raise refusal(column, "a number too long to print", "a string or a number") from error
    raise refusal(column, shown(value), "a string or a number")


def _time(row: Mapping[str, object], column: str) -> str | None:
    value = _value(row, column)
    return None if value is None else read_time(value)


def _label(row: Mapping[str, object], column: str) -> Label | None:
    value = _value(row, column)
    if value is None:
        return None
    label = read_label(value, stars_too=column == "label")
    if label is not None:
        return label
    if column != "label":
        raise refusal(column, shown(value), "negative, neutral or positive")
    hint = "; labels are not numbered, since corpora do it differently" if isinstance(value, Number) else ""
    raise refusal(column, shown(value), f"negative, neutral or positive, or 1 to 5 stars{hint}")


def read_label(value: object, *, stars_too: bool = True) -> Label | None:
    """A sentiment label in the ways people write one; `None` if it is none.

    Read are the three names in any case, `pos`, `neg` and `neu`, any of these with `very`, `somewhat` and the like
    before it, and, if asked for, one to five stars (see `stars`).
    """
    if isinstance(value, str):
        words = _WORDS.sub(" ", value).strip().lower().split()
        if len(words) == 2 and words[0] in _DEGREES:
            words = words[1:]
        if len(words) == 1 and words[0] in _NAMES:
            return _NAMES[words[0]]
    number = stars(value) if stars_too else None
    return None if number is None else _OF_STARS[number]


def stars(value: object) -> int | None:
    """How many stars of five a label's value gives; `None` where it gives none.

    Read are numbers from 1 to 5, their numerals, `4 stars`, `4/5`, `4 out of 5` and the stars themselves: `★★★★☆`.
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, str | Number):
        return None
    if isinstance(value, str):
        drawn = value.strip().replace("\ufe0f", "")
        if drawn and len(drawn) <= len("★★★★★") and set(drawn) <= set("★⭐☆✩"):
            value = len(drawn.rstrip("☆✩"))
        elif match := _STARS.fullmatch(drawn.lower()):
            value = match["number"]
    try:
        number = float(cast(float, value))
    except (TypeError, ValueError, OverflowError):
        return None
    return int(number) if number in _OF_STARS else None


def _truth(row: Mapping[str, object], column: str) -> bool | None:
    value = _value(row, column)
    if value is None:
        return None
    if isinstance(value, bool | np.bool_):
        return bool(value)
    word = str(int(value == 1)) if isinstance(value, Real) and value in (0, 1) else value
    if isinstance(word, str) and word.strip().lower() in _TRUE | _FALSE:
        return word.strip().lower() in _TRUE
    raise refusal(column, shown(value), "true or false")


def _is_endless(value: object) -> bool:
    return isinstance(value, float | np.floating) and math.isinf(value)


def _picture(row: Mapping[str, object], root: Path | None) -> ImageSource | None:
    value = _value(row, "image")
    if isinstance(value, Mapping) and {"bytes", "path"} & set(value):  # as `datasets` writes a picture
        value = value.get("bytes") or value.get("path")
    if root is not None and isinstance(value, str | PathLike) and not (isinstance(value, str) and is_uri(value)):
        return _inside(root, value)
    return cast("ImageSource | None", value)  # `read_image` checks what it is


def _inside(root: Path, value: str | PathLike[str]) -> Path:
    """A path below a folder; the error says the same of all others, so that it does not tell which files exist."""
    path = root / value
    with translated(lambda _: refusal("image", f"a path that cannot be read, {shown(str(value))}", "a file's path")):
        if Path(realpath(path)).is_relative_to(realpath(root)):
            return path
    raise refusal("image", "a path that leaves the folder of the posts", "one inside it, or --image-root FOLDER")
