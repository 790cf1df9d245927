"""Answers → a table: CSV, Excel or Parquet, by the suffix; one row a post, in flat columns. It knows no models."""

from __future__ import annotations

import csv
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from math import isfinite
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from ..errors import InputError
from ..extras import needs
from ..types.flat import ANSWER_COLUMNS, Cell

__all__ = ["TABLE_SUFFIXES", "check_suffix", "write_table"]

LINE_SUFFIXES = (".jsonl", ".ndjson")
TABLE_SUFFIXES = (".csv", ".tsv", ".xlsx", ".parquet")
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a cell begins with that a spreadsheet takes for a formula (OWASP, "CSV injection")."""
NO_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
MOST_CELL, MOST_ROWS = 32_767, 1_048_576
"""Excel's limits: characters of a cell, rows of a sheet."""
ROWS_AT_ONCE = 1000
XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_DOCUMENT = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_KIND = "application/vnd.openxmlformats-officedocument.spreadsheetml"
SHEET = "xl/worksheets/sheet1.xml"
WORKBOOK = {
    "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types"><Default Extension="rels" '
    'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    f'<Override PartName="/xl/workbook.xml" ContentType="{_KIND}.sheet.main+xml"/>'
    f'<Override PartName="/{SHEET}" ContentType="{_KIND}.worksheet+xml"/></Types>',
    "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="rId1" '
    f'Type="{_DOCUMENT}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
    "xl/workbook.xml": f'<workbook xmlns="{MAIN}" xmlns:r="{_DOCUMENT}"><sheets>'
    '<sheet name="answers" sheetId="1" r:id="rId1"/></sheets></workbook>',
    "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="rId1" '
    f'Type="{_DOCUMENT}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
}
"""The parts of a workbook beside its one sheet."""


def check_suffix(path: Path, option: str) -> None:
    """Raise unless a file's suffix says how it is to be written.

    Raises:
        InputError: Another suffix.
        MissingExtraError: A Parquet file without the extra `tables`.
    """
    suffix = path.suffix.lower()
    if suffix not in LINE_SUFFIXES + TABLE_SUFFIXES:
        wanted = ", ".join((LINE_SUFFIXES[0], *TABLE_SUFFIXES))
        raise InputError(f"found {path.name}; wanted a name that ends in one of {wanted}", field=option)
    if suffix == ".parquet":
        with needs("tables", "writing Parquet files"):
            import pyarrow.parquet  # noqa: F401


def write_table(rows: Iterable[Mapping[str, Cell]], path: Path, suffix: str | None = None) -> None:
    """Write rows of equal columns, in bounded memory.

    Texts that a spreadsheet would take for a formula get a `'` before them in CSV, and stay texts in Excel.

    Args:
        rows: The rows; without any, an empty table of no columns is written.
        path: The file; it is replaced.
        suffix: How it is written, where its name does not say so: one of `TABLE_SUFFIXES`.

    Raises:
        InputError: More rows than a sheet of Excel can have.
    """
    rows = iter(rows)
    first = list(islice(rows, 1))
    columns = list(first[0]) if first else []
    write = {".csv": _csv, ".tsv": _csv, ".xlsx": _excel, ".parquet": _parquet}[(suffix or path.suffix).lower()]
    write(chain(first, rows), columns, path, "\t" if (suffix or path.suffix).lower() == ".tsv" else ",")


def _csv(rows: Iterator[Mapping[str, Cell]], columns: list[str], path: Path, delimiter: str) -> None:
    with path.open("w", encoding="utf-8", newline="", errors="replace") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(columns)
        writer.writerows([_as_text(row[column]) for column in columns] for row in rows)


def _as_text(value: Cell) -> Cell:
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA) else value
    return str(value).lower() if isinstance(value, bool) else value


def _excel(rows: Iterator[Mapping[str, Cell]], columns: list[str], path: Path, _: str) -> None:
    """A workbook of one sheet (ECMA-376, part 1, sections 12.3 and 18.3), written straight into its file.

    openpyxl would keep the rows in a temporary file of the system meanwhile, where a kill leaves them to be found.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as book:
        for name, content in WORKBOOK.items():
            book.writestr(name, XML + content)
        with book.open(SHEET, "w", force_zip64=True) as sheet:
            sheet.write(f'{XML}<worksheet xmlns="{MAIN}"><sheetData>'.encode())
            sheet.write(_row(columns))
            for number, row in enumerate(rows, 2):
                if number > MOST_ROWS:
                    cause = f"a sheet of Excel holds {MOST_ROWS:,} rows at most; write .csv or .parquet"
                    raise InputError(cause, field="-o")
                sheet.write(_row(row[column] for column in columns))
            sheet.write(b"</sheetData></worksheet>")


def _row(cells: Iterable[Cell]) -> bytes:
    return f"<row>{''.join(map(_cell, cells))}</row>".encode()


def _cell(value: Cell) -> str:
    if value is None or (isinstance(value, float) and not isfinite(value)):
        return "<c/>"
    if isinstance(value, str):  # as an inline string: never a formula, whatever it begins with
        text = escape(NO_XML.sub("\ufffd", value)[:MOST_CELL]).replace("\r", "&#13;")
        return f'<c t="inlineStr"><is><t xml:space="preserve">{text}</t></is></c>'
    return f'<c t="b"><v>{int(value)}</v></c>' if isinstance(value, bool) else f"<c><v>{value!r}</v></c>"


def _parquet(rows: Iterator[Mapping[str, Cell]], columns: list[str], path: Path, _: str) -> None:
    import pyarrow
    import pyarrow.parquet

    kinds: dict[type, Any] = {float: pyarrow.float64(), bool: pyarrow.bool_(), str: pyarrow.string()}
    schema = pyarrow.schema([(column, kinds[ANSWER_COLUMNS.get(column, str)]) for column in columns])
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        while some := list(islice(rows, ROWS_AT_ONCE)):
            values = {c: [_writable(row[c]) for row in some] for c in columns}
            writer.write_table(pyarrow.table(values, schema=schema))


def _writable(value: Cell) -> Cell:
    return value.encode(errors="replace").decode() if isinstance(value, str) else value
