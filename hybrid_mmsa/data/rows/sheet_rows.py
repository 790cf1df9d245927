"""Rows of Parquet files and of Excel workbooks. It knows no columns."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter

from ...errors import InputError
from ...extras import needs
from .values import RawRows

__all__ = ["excel_heading", "excel_rows", "parquet_rows"]

ROWS_AT_ONCE = 256
MOST_UNPACKED = 2**29
"""Bytes of the texts that all sheets of a workbook share: they are held in memory."""

MOST_ROWS = 2**20
"""Rows that a sheet of Excel has at most, empty ones included."""


def parquet_rows(path: Path) -> RawRows:
    """Rows of a Parquet file, numbered from 1.

    Where the file says what its class numbers mean, as `datasets` writes it, the names stand in place of the numbers.
    """
    with needs("tables", "reading Parquet files"):
        import pyarrow
        import pyarrow.parquet

    line = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as table:
            names = _class_names(table.schema_arrow.metadata or {})
            for batch in table.iter_batches(batch_size=ROWS_AT_ONCE):
                for row in batch.to_pylist():
                    line += 1
                    yield line, _named(row, names)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        place = f" after row {line}" if line else ""
        raise InputError(f"{path.name} is no readable Parquet file{place}: {error}", field="file") from error


def _class_names(metadata: Mapping[bytes, bytes]) -> dict[str, Sequence[str]]:
    """The names of class numbers by column, from what `datasets` writes beside a table."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        return {column: kind["names"] for column, kind in features.items() if kind.get("_type") == "ClassLabel"}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _named(row: dict[str, Any], names: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    for column, classes in names.items():
        number = row.get(column)
        if isinstance(number, int) and 0 <= number < len(classes):
            row[column] = classes[number]
    return row


def excel_heading(path: Path, name: str) -> tuple[str, list[str]]:
    """The name and the heading of the first sheet of a workbook that holds anything.

    Args:
        path: Where the workbook is.
        name: What it is called, for messages.

    Raises:
        InputError: It is no workbook, or all of its sheets are empty.
    """
    with _sheet(path, name) as (title, rows):
        heading = ["" if cell is None else str(cell).strip() for cell in next(rows)[1]]
        while heading and not heading[-1]:
            heading.pop()
        return title, heading


def excel_rows(path: Path, name: str, heading: Sequence[str]) -> RawRows:
    """The rows of that sheet, with Excel's numbers.

    Args:
        path: As in `excel_heading`.
        name: As in `excel_heading`.
        heading: The columns.
    """
    with _sheet(path, name) as (_, rows):
        next(rows)
        for number, cells in rows:
            yield number, dict(zip(heading, cells, strict=False))


@contextmanager
def _sheet(path: Path, name: str) -> Iterator[tuple[str, Iterator[tuple[int, Sequence[object]]]]]:
    """The name of the first sheet that holds anything, and its rows that do, numbered."""
    from openpyxl import load_workbook

    with path.open("rb") as file, _damage_named(name):
        with zipfile.ZipFile(file) as parts:
            shared = sum(part.file_size for part in parts.infolist() if "sharedStrings" in part.filename)
        if shared > MOST_UNPACKED:
            raise InputError(f"{name} holds {shared:,} bytes of text; save it as CSV", field="file")
        with catch_warnings():
            simplefilter("ignore")  # of styles and extensions that do not matter to what cells hold
            book = load_workbook(file, read_only=True, data_only=True)
        try:
            for sheet in book.worksheets:
                sheet.reset_dimensions()  # some programs write wrong ones
                if any(True for _ in _filled(sheet)):
                    yield sheet.title, _filled(sheet)
                    return
        finally:
            book.close()
        raise InputError(f"{name} holds nothing but empty sheets", field="file")


def _filled(sheet: Any) -> Iterator[tuple[int, Sequence[object]]]:
    for number, cells in enumerate(sheet.iter_rows(values_only=True), 1):
        if number > MOST_ROWS:
            raise InputError(f"sheet {sheet.title!r} has more than Excel's {MOST_ROWS:,} rows", field="file")
        if any(cell is not None and cell != "" for cell in cells):
            yield number, cells


@contextmanager
def _damage_named(name: str) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # the XML of strangers makes the library raise what it likes
        raise InputError(f"{name} is no readable Excel workbook (.xlsx): {error}", field="file") from error
