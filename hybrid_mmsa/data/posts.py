"""People's own posts as JSONL, CSV or Parquet, row by row in bounded memory. It knows no models.

The columns are those of a row (`id, text, image, target, time, group, label, text_label, image_label, sarcastic,
rationale`); picture paths are relative to the file. A row that cannot be read is a `RowError`; the others go on.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

from ..errors import InputError
from ..extras import needs
from ..inputs import row_id, sample_from_row
from ..types import RowError, Sample

__all__ = ["read_posts", "read_raw_rows"]

_Parsed: TypeAlias = tuple[int, "Mapping[str, object] | RowError"]


def read_posts(path: Path) -> Iterator[tuple[int, Sample | RowError]]:
    """Stream the posts of a file, chosen by its suffix: `.jsonl`, `.csv` or `.parquet`.

    Yields:
        The 1-based line (of a Parquet file: row) a post begins on, and the raw sample or what is wrong with the row.

    Raises:
        InputError: There is no such file, its suffix is none of the three, or it is no CSV or Parquet file at all.
        MissingExtraError: A Parquet file without the extra `eval`.
    """
    path = Path(path)
    return _samples(read_raw_rows(path), path.parent)


def read_raw_rows(path: Path) -> Iterator[_Parsed]:
    """The same rows as they stand in the file, column names to values; see `read_posts`."""
    readers = {".jsonl": _json_lines, ".ndjson": _json_lines, ".csv": _csv, ".parquet": _parquet}
    if path.suffix.lower() not in readers:
        raise InputError(f"{path} is none of .jsonl, .csv and .parquet", field="file")
    if not path.is_file():
        raise InputError(f"there is no file {path}", field="file")
    return readers[path.suffix.lower()](path)


def _samples(rows: Iterator[_Parsed], root: Path) -> Iterator[tuple[int, Sample | RowError]]:
    for line, row in rows:
        if isinstance(row, RowError):
            yield line, row
            continue
        try:
            yield line, sample_from_row(row, root)
        except InputError as error:
            yield line, RowError(line=line, id=row_id(row), field=error.field, error=error.message)


def _json_lines(path: Path) -> Iterator[_Parsed]:
    with path.open("rb") as lines:
        for line, raw in enumerate(lines, 1):
            if not raw.strip():
                continue
            try:
                row = json.loads(raw.decode("utf-8-sig"))
            except UnicodeDecodeError as error:
                yield line, RowError(line=line, error=f"not UTF-8 (byte {error.start} of the line)")
            except (ValueError, RecursionError) as error:
                yield line, RowError(line=line, error=f"not JSON: {error}")
            else:
                kind = type(row).__name__
                wrong = RowError(line=line, error=f"a JSON object is wanted, not a {kind}")
                yield line, row if isinstance(row, dict) else wrong


def _csv(path: Path) -> Iterator[_Parsed]:
    # Bytes that are not UTF-8 pass as lone surrogates, so that they cost their own row and no other.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            heading = next(reader, [])
        except csv.Error as error:
            raise InputError(f"{path.name} is no CSV file: {error}", field="file") from error
        if not {"text", "image"} & set(heading):
            raise InputError(f"{path.name}: the first line names no column text or image", field="file")
        while True:
            line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield line, RowError(line=line, error=f"not CSV: {error}")
                continue
            if cells:
                yield line, _csv_row(line, heading, cells)


def _csv_row(line: int, heading: list[str], cells: list[str]) -> Mapping[str, object] | RowError:
    if len(cells) != len(heading):
        return RowError(line=line, error=f"{len(cells)} cells where the heading names {len(heading)}")
    if any("\udc80" <= character <= "\udcff" for cell in cells for character in cell):
        return RowError(line=line, error="not UTF-8")
    return dict(zip(heading, cells, strict=True))


def _parquet(path: Path) -> Iterator[_Parsed]:
    with needs("eval", "reading Parquet files"):
        import pyarrow
        import pyarrow.parquet

    line = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as table:
            for batch in table.iter_batches(batch_size=256):
                for row in batch.to_pylist():
                    line += 1
                    yield line, row
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        place = f" after row {line}" if line else ""
        raise InputError(f"{path.name} is no readable Parquet file{place}: {error}", field="file") from error
