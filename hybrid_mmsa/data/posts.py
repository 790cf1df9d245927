"""People's own posts in any file, or in memory: rows → samples, one at a time. It knows no models.

The columns are those of a row (`id, text, image, target, time, group, label, text_label, image_label, sarcastic,
rationale`), under the names that `columns` knows; picture paths are relative to the file, whose folder they may not
leave. A row that cannot be read is a `RowError`; the others go on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image

from ..errors import InputError
from ..foreign import translated
from ..inputs import NumberedRow, Row, each_row, row_id, sample_from_row, sample_of
from ..types import RowError, Sample
from .columns import Columns, Reading, columns_of
from .rows import RawRows, Source, open_source

__all__ = ["PostsFile", "PostsInMemory", "read_posts"]

LOOKED_AT = 200
"""Rows from which it is told what the columns are."""


class PostsFile:
    """The posts of a file, to be iterated again and again.

    Iterating yields each row's line (of a file without lines: its number), and its raw sample or what is wrong with it.

    Attributes:
        source: What the file is.
        columns: Where our columns lie in it.
    """

    def __init__(self, source: Source, reading: Reading) -> None:
        self.source = source
        self._image_root = reading.image_root or source.root
        first = (row for _, row in islice(source.rows(), LOOKED_AT))
        self.columns: Columns = columns_of(
            [row for row in first if not isinstance(row, RowError)], source.heading, reading
        )

    def understood(self, *, labels: bool = True) -> str:
        """One line on how the file is read; empty where it is written as this package's documentation says.

        Args:
            labels: Whether labels matter, so that it is said how they are read.
        """
        parts = [*self.columns.lines(), *(self.columns.label_notes if labels else ())]
        if not parts and self.source.plain:
            return ""
        return f"{self.source.name}: {'; '.join([self.source.kind, *parts])}"

    def raw_rows(self) -> RawRows:
        """The rows in our columns, their values as they stand in the file."""
        for line, row in self.source.rows():
            yield line, row if isinstance(row, RowError) else self.columns.row(row, self.source.root)

    def sha256(self) -> str:
        """Of the file, hex; of a folder of pictures, of their names."""
        digest = hashlib.sha256()
        if self.source.path.is_dir():
            digest.update(repr([row for _, row in self.source.rows()]).encode(errors="surrogateescape"))
            return digest.hexdigest()
        with self.source.path.open("rb") as file:
            while chunk := file.read(2**20):
                digest.update(chunk)
        return digest.hexdigest()

    def __iter__(self) -> Iterator[NumberedRow]:
        for line, row in self.raw_rows():
            if isinstance(row, RowError):
                yield line, row
                continue
            try:
                yield line, sample_from_row(row, self._image_root)
            except InputError as error:
                yield line, RowError(line=line, id=row_id(row), field=error.field, error=error.message)


class PostsInMemory:
    """Posts that a caller holds, to be iterated like those of a file; their lines are their places, from 1 on.

    Args:
        rows: Posts as `Analyzer.stream` takes them: samples, mappings or named tuples in the columns of a row, such as
            `DataFrame.itertuples` gives. Picture paths are relative to the working directory.

    Raises:
        InputError: It is no iterable of posts.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = list(each_row(rows))

    def raw_rows(self) -> RawRows:
        """The rows in our columns, their values as the caller holds them; what is no row is a `RowError`."""
        for line, row in enumerate(self.rows, 1):
            try:
                yield line, _columns_of(row)
            except InputError as error:
                yield line, RowError(line=line, id=None, field=error.field, error=error.message)

    def sha256(self) -> str:
        """Of the posts, hex: of words, labels and pictures; of a picture in a file, of its path."""
        digest = hashlib.sha256()
        for _, row in self:
            if isinstance(row, Sample):
                digest.update(repr((row.id, row.text, row.target, row.label)).encode("utf-8", "surrogatepass"))
                picture = row.image
                if isinstance(picture, Image | np.ndarray):
                    picture = picture.tobytes()
                digest.update(picture if isinstance(picture, bytes) else str(picture).encode(errors="surrogateescape"))
        return digest.hexdigest()

    def __iter__(self) -> Iterator[NumberedRow]:
        for line, row in enumerate(self.rows, 1):
            try:
                yield line, sample_of(row)
            except InputError as error:
                yield line, RowError(line=line, id=row_id(row), field=error.field, error=error.message)


def _columns_of(row: Row) -> Mapping[str, Any]:
    """A row by its columns."""
    with translated(lambda cause: InputError(f"the row cannot be read ({cause})", field="row")):
        if isinstance(row, Mapping):
            return row
        if isinstance(row, Sample):
            return {"id": row.id, "text": row.text, "image": row.image, "label": row.label}
        if isinstance(row, tuple) and hasattr(row, "_asdict"):
            columns: Mapping[str, Any] = row._asdict()
            return columns
        return {"text": sample_of(row).text}


def read_posts(path: Path, reading: Reading | None = None) -> PostsFile:
    """The posts of a file of any kind. Its first rows are read at once.

    It may be CSV in any dialect, JSON lines, a JSON array, Excel, Parquet, plain lines (`.txt`), a folder of pictures,
    or `-` for standard input.

    Args:
        path: Where they are.
        reading: How they are to be read, where that cannot be seen; see `Reading`.

    Raises:
        InputError: There is no such file, it is none of these, or none of its columns is known as text or picture.
        MissingExtraError: A Parquet file without the extra `tables`.
    """
    reading = reading or Reading()
    return PostsFile(open_source(Path(path), encoding=reading.encoding, delimiter=reading.delimiter), reading)
