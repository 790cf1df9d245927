"""Reading the files corpora are made of: folders checked, encodings tried, broken lines counted. It knows no corpus."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..types import LABELS, Label
from .records import LoadReport

__all__ = ["as_label", "picture", "read_csv", "read_json_lines", "read_text", "read_tsv", "require"]

ENCODINGS = ("utf-8", "gb18030", "latin-1")
"""Tried strictly in this order; latin-1 never fails, so it is the last and is counted."""


def require(root: Path, *names: str, corpus: str, home: str) -> None:
    """Raise `InputError` unless `root` holds all of `names`; it says what is missing and where the corpus is had."""
    missing = [name for name in names if not (root / name).exists()]
    if missing:
        raise InputError(f"{root} is not {corpus}: {', '.join(missing)} not found there; it is had from {home}")


def decode(raw: bytes, report: LoadReport, where: str) -> str:
    """Bytes as text in the first of `ENCODINGS` that reads them strictly; any but UTF-8 is counted."""
    for encoding in ENCODINGS[:-1]:
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        if encoding == "gb18030":
            report.add("text read as gb18030", where)
        return text.removeprefix("\ufeff")
    report.add("text read as latin-1", where)
    return raw.decode(ENCODINGS[-1])


def read_text(path: Path, report: LoadReport, where: str) -> str | None:
    """The words in a file of one post, or `None` (counted) when there is no file or nothing but white space."""
    text = decode(path.read_bytes(), report, where).strip() if path.is_file() else ""
    if not text:
        report.add("missing text", where)
    return text or None


def picture(path: Path, report: LoadReport, where: str) -> Path | None:
    """The path if a file is there, else `None`, counted. The picture is not decoded."""
    if path.is_file():
        return path
    report.add("missing picture", where)
    return None


def as_label(value: object) -> Label | None:
    """A sentiment label as corpora write it (any case, quoted, `very_` before it), or `None` if it is not one."""
    name = str(value).strip().strip('"').lower().removeprefix("very_")
    return next((label for label in LABELS if label == name), None)


def _lines(path: Path, report: LoadReport) -> Iterator[tuple[int, str]]:
    """Numbered lines of a text file, the empty ones left out; each line is decoded by itself."""
    with path.open("rb") as lines:
        for number, raw in enumerate(lines, 1):
            line = decode(raw, report, f"{path.name}:{number}").rstrip("\r\n")
            if line.strip():
                yield number, line


def read_tsv(path: Path, report: LoadReport, columns: int) -> Iterator[tuple[int, list[str]]]:
    """Numbered rows of a tab-separated file without quoting. A row with fewer than `columns` cells is counted."""
    for number, line in _lines(path, report):
        cells = line.split("\t")
        if len(cells) < columns:
            report.add("broken line", f"{path.name}:{number}")
        else:
            yield number, cells


def read_csv(path: Path, report: LoadReport, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Numbered rows of a CSV file with a heading. A row that lacks one of `columns` is counted.

    Raises:
        InputError: The heading lacks one of `columns`.
    """
    text = decode(path.read_bytes(), report, path.name)
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if lacking := [name for name in columns if name not in (reader.fieldnames or ())]:
        raise InputError(f"{path.name} has no column {', '.join(lacking)}; it has {', '.join(reader.fieldnames or ())}")
    for row in reader:
        if any(row[name] is None for name in columns):
            report.add("broken line", f"{path.name}:{reader.line_num}")
        else:
            yield reader.line_num, row


def read_json_lines(path: Path, report: LoadReport) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Numbered objects of a file with one JSON object a line; any other line is counted."""
    for number, line in _lines(path, report):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            yield number, row
        else:
            report.add("broken line", f"{path.name}:{number}")
