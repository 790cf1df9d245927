"""Where rows come from: a file of any kind, a folder of pictures or standard input. It knows no columns.

What a file is, its content says; its suffix decides only between kinds that begin alike.
"""

from __future__ import annotations

import gzip
import shutil
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast
from weakref import finalize

from ...errors import InputError
from ...inputs import FORMATS
from .csv_rows import DELIMITERS, csv_rows, detect_dialect
from .encoding import detect_encoding, text_lines
from .json_rows import array_rows, find_array, json_lines, json_shape
from .sheet_rows import excel_heading, excel_rows, parquet_rows
from .values import RawRows

__all__ = ["KINDS", "STANDARD_INPUT", "Source", "open_source"]

STANDARD_INPUT = "-"
KINDS = "JSON lines, a JSON array, CSV, TSV, Excel (.xlsx), Parquet, plain lines (.txt) or a folder of pictures"
HEAD = 2**16
PICTURE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".avif"}
)
TEXTS = frozenset({".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".js"})
ELSEWHERE = {
    ".xls": "Excel's old format",
    ".ods": "OpenDocument",
    ".numbers": "Numbers",
    ".pdf": "PDF",
    ".docx": "Word",
}
ASSIGNMENT = b"window."
"""How the files of an X archive begin: JavaScript that assigns an array."""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Rows that can be read, again and again.

    Attributes:
        path: Where it is; of standard input, where it is kept.
        name: For messages.
        kind: What the file is, in words.
        root: The folder that picture paths are relative to.
        heading: The columns, where the file names them once for all rows; else `None`.
        plain: Whether it is written as this package's documentation says, so that there is nothing to tell.
        rows: Reads it from the start.
    """

    path: Path
    name: str
    kind: str
    root: Path
    heading: Sequence[str] | None
    plain: bool
    rows: Callable[[], RawRows]


def open_source(path: Path, *, encoding: str | None = None, delimiter: str | None = None) -> Source:
    """What there is to read at a path, its beginning read and its format recognised.

    Args:
        path: A file, a folder of pictures, or `-` for standard input, which is kept in a temporary file while it is
            read. A file compressed by gzip is read as what it holds.
        encoding: Of a text file; detected by default.
        delimiter: Of a CSV file; detected by default.

    Raises:
        InputError: There is no such file, it is none of `KINDS`, or it is damaged at its beginning.
        MissingExtraError: A Parquet file without the extra `tables`.
    """
    if str(path) == STANDARD_INPUT:
        handle, name = tempfile.mkstemp(prefix="rows-")
        opening = _Opening(Path(name), "standard input", Path.cwd(), encoding, delimiter)
        finalize(opening, Path(name).unlink, missing_ok=True)
        with open(handle, "wb") as kept:  # noqa: PTH123 - a handle and no path
            shutil.copyfileobj(sys.stdin.buffer, kept)
        return opening.source()
    if path.is_dir():
        return _pictures(path)
    if path.suffix.lower() in ELSEWHERE:
        raise InputError(
            f"{path} is {ELSEWHERE[path.suffix.lower()]}, which is not read: save it as .xlsx or .csv", field="file"
        )
    if not path.exists():
        raise InputError(f"there is no file {path}", field="file")
    if not path.is_file():
        raise InputError(f"{path} is a pipe or device; write - and let it be standard input", field="file")
    return _Opening(path, path.name, path.parent, encoding, delimiter).source()


def _pictures(folder: Path) -> Source:
    """The pictures of a folder and of those inside of it, by their paths."""

    def rows() -> RawRows:
        files = (file for file in folder.rglob("*") if file.suffix.lower() in PICTURE_SUFFIXES and file.is_file())
        for number, file in enumerate(sorted(files), 1):
            name = file.relative_to(folder).as_posix()
            yield number, {"id": name, "image": name}

    if next(rows(), None) is None:
        others = Counter(file.suffix.lower() or "no suffix" for file in folder.iterdir() if file.is_file())
        listed = ", ".join(f"{n} {suffix}" for suffix, n in others.most_common(3)) or "nothing"
        raise InputError(
            f"{folder} is a folder without pictures ({', '.join(sorted(FORMATS))}); it holds {listed}", field="file"
        )
    return Source(folder, folder.name, "a folder of pictures", folder, ["id", "image"], True, rows)


class _Unpacked(gzip.GzipFile):
    """The bytes behind gzip; `InputError` where it is damaged, however far it was read.

    Args:
        path: The file.
        name: For messages.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._named = name
        super().__init__(path, "rb")

    def read(self, size: int | None = -1) -> bytes:
        """As of any file."""
        with self._damage_named():
            return super().read(size)

    def read1(self, size: int = -1) -> bytes:
        """As of any file."""
        with self._damage_named():
            return super().read1(size)

    @contextmanager
    def _damage_named(self) -> Iterator[None]:
        try:
            yield
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise InputError(f"{self._named} is a damaged gzip file: {error}", field="file") from error


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class _Opening:
    """A file about to be recognised.

    Attributes:
        path: Where its bytes are.
        name: What it is called.
        root: Of its pictures.
        encoding, delimiter: What the caller says of it.
    """

    path: Path
    name: str
    root: Path
    encoding: str | None
    delimiter: str | None

    def source(self) -> Source:
        with self.path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        try:
            with self.open(packed) as file:
                head = file.read(HEAD)
            suffix = self.path.suffix.lower()
            if head.startswith(b"PAR1") or suffix == ".parquet":
                self._unpacked(packed, "Parquet")
                return self._of("Parquet", None, lambda: parquet_rows(self.path), plain=True)
            if head.startswith(b"PK\x03\x04") or suffix in (".xlsx", ".xlsm"):
                self._unpacked(packed, "Excel")
                sheet, heading = excel_heading(self.path, self.name)
                return self._of(f"Excel, sheet {sheet!r}", heading, lambda: excel_rows(self.path, self.name, heading))
            with self.open(packed) as file:
                encoding = self.encoding or detect_encoding(file)
            return self._text(packed, head, encoding)
        except LookupError as error:
            raise InputError(f"there is no encoding {self.encoding!r}", field="--encoding") from error

    def open(self, packed: bool) -> BinaryIO:
        """The bytes of the file, unpacked."""
        return cast(BinaryIO, _Unpacked(self.path, self.name)) if packed else self.path.open("rb")

    def _unpacked(self, packed: bool, kind: str) -> None:
        if packed:
            raise InputError(f"{self.name}: unpack the {kind} file first (gunzip)", field="file")

    def _text(self, packed: bool, head: bytes, encoding: str) -> Source:
        suffix = Path(self.name.removesuffix(".gz")).suffix.lower()
        written = encoding if encoding not in ("utf-8", "utf-8-sig") else ""
        skipped = head.index(b"=") + 1 if head.startswith(ASSIGNMENT) and b"=" in head else 0
        begin = head[skipped:].decode(encoding, "replace").lstrip("\ufeff \t\r\n")
        if b"\x00" in head and not encoding.startswith(("utf-16", "utf-32", "utf_16")) and suffix not in TEXTS:
            raise InputError(f"{self.name} is not text; wanted {KINDS}", field="file")
        if suffix in (".jsonl", ".ndjson") or (begin.startswith(("{", "[")) and suffix not in (".csv", ".tsv", ".txt")):
            return self._json(packed, encoding, begin, skipped, suffix, whole=len(head) < HEAD)
        if suffix == ".txt":
            return self._of(
                _with("plain lines", written), ["text"], lambda: _plain(text_lines(self.open(packed), encoding))
            )
        delimiter = "\t" if suffix == ".tsv" and self.delimiter is None else self.delimiter
        dialect = detect_dialect(text_lines(self.open(packed), encoding), delimiter)
        heading, _ = csv_rows(text_lines(self.open(packed), encoding), dialect, self.name)
        between = DELIMITERS.get(dialect.delimiter, repr(dialect.delimiter))
        kind = "CSV" if between == "comma" else f"CSV with {between}s" if between != "tab" else "tab-separated"

        def rows() -> RawRows:
            return csv_rows(text_lines(self.open(packed), encoding), dialect, self.name)[1]

        return self._of(_with(kind, written), heading, rows, plain=kind == "CSV" and not written)

    def _json(self, packed: bool, encoding: str, begin: str, skipped: int, suffix: str, *, whole: bool) -> Source:
        written = encoding if encoding not in ("utf-8", "utf-8-sig") else ""
        shape = "lines" if suffix in (".jsonl", ".ndjson") else json_shape(begin, whole=whole)
        if shape == "lines":
            kind = _with("JSON lines", written)
            return self._of(kind, None, lambda: json_lines(text_lines(self.open(packed), encoding)), plain=not written)
        prefix: str | None = "item"
        if shape == "object":
            with self.open(packed) as file:
                prefix = find_array(file, encoding, skipped)
        where = "" if prefix is None else prefix.removesuffix("item").rstrip(".")
        kind = "one JSON object" if prefix is None else "a JSON array" + (f" under {where!r}" if where else "")
        return self._of(
            _with(kind, written), None, lambda: array_rows(self.open(packed), encoding, prefix or "", skipped)
        )

    def _of(
        self, kind: str, heading: Sequence[str] | None, rows: Callable[[], RawRows], *, plain: bool = False
    ) -> Source:
        return Source(self.path, self.name, kind, self.root, heading, plain, rows)


def _with(kind: str, encoding: str) -> str:
    return f"{kind}, {encoding}" if encoding else kind


def _plain(lines: Iterable[str]) -> RawRows:
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield number, {"text": line.rstrip("\r\n")}
