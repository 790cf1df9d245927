"""Bytes of a text file → its lines, in an encoding that is detected, with a bound on each line. It knows no format."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from typing import BinaryIO

from charset_normalizer import from_bytes

__all__ = ["MOST_LINE", "detect_encoding", "is_damaged", "text_lines"]

MOST_LINE = 64 * 2**20
"""Characters a line may have: more than a picture of the default limits takes in base64."""

CHUNK = 2**20
SAMPLE = 2**16
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
WESTERN = "cp1252"
MOSTLY_ASCII = 0.2
"""Western text has fewer bytes above ASCII than this share; too few for statistics of letters to tell its encodings
apart, and cp1252 is the common one."""
ISOLATED = ["cp1251", "koi8_r", "cp1250", "cp1253", "cp1254", "cp1255", "cp1256", "cp932", "gb18030", "cp949", "big5"]


def detect_encoding(file: BinaryIO) -> str:
    """The encoding of a text file: by its byte-order mark, as UTF-8, or by what its other bytes look like.

    The whole file is read once, a chunk at a time; it is left at its start.

    Returns:
        A name of Python's; `utf-8-sig` also for UTF-8 without a mark, where a file is UTF-8 but for single bad lines,
        and for plain ASCII.
    """
    head = file.read(SAMPLE)
    file.seek(0)
    for mark, name in BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return name
    if wide := _without_mark(head):
        return wide
    valid, other = _lines_beyond_ascii(file)
    file.seek(0)
    if not other or len(valid) >= len(other):
        return "utf-8-sig"
    beyond = b"\n".join(other)
    if sum(byte > 0x7F for byte in beyond) < MOSTLY_ASCII * len(beyond):
        return WESTERN
    best = from_bytes(beyond, cp_isolation=[WESTERN, *ISOLATED]).best()
    return WESTERN if best is None else best.encoding


def _without_mark(head: bytes) -> str | None:
    """UTF-16 without a byte-order mark, by where its zero bytes stand."""
    pairs = len(head) // 2
    if not pairs:
        return None
    if head[1::2].count(0) > 0.6 * pairs and head[0::2].count(0) < 0.1 * pairs:
        return "utf-16-le"
    return "utf-16-be" if head[0::2].count(0) > 0.6 * pairs and head[1::2].count(0) < 0.1 * pairs else None


def _lines_beyond_ascii(file: BinaryIO) -> tuple[list[bytes], list[bytes]]:
    """Some lines that are UTF-8 beyond ASCII, and some that are not UTF-8."""
    valid: list[bytes] = []
    other: list[bytes] = []
    rest = b""
    while chunk := file.read(CHUNK):
        whole, _, rest = (rest + chunk).rpartition(b"\n")
        if len(rest) > CHUNK:  # a line without end is cut anywhere: the cut damages one character at most
            whole, rest = rest, b""
        _sort(whole, valid, other)
    _sort(rest, valid, other)
    return valid, other


def _sort(whole: bytes, valid: list[bytes], other: list[bytes]) -> None:
    if whole.isascii() or (_is_utf8(whole) and len(valid) > 100):
        return
    for line in whole.split(b"\n"):
        if not line.isascii():
            chosen = valid if _is_utf8(line) else other
            if len(chosen) <= 1000:
                chosen.append(line[:SAMPLE])


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def text_lines(file: BinaryIO, encoding: str) -> Iterator[str]:
    """The lines of a text file, each with its end; of a line longer than `MOST_LINE`, its beginning.

    Bytes that are not UTF-8 pass as lone surrogates, so that they cost their own row and no other (`is_damaged`); what
    another encoding lacks becomes U+FFFD.
    """
    errors = "surrogateescape" if encoding.startswith("utf-8") else "replace"
    with io.TextIOWrapper(file, encoding=encoding, errors=errors, newline="") as text:
        while line := text.readline(MOST_LINE):
            yield line
            while len(line) == MOST_LINE and not line.endswith(("\n", "\r")):
                line = text.readline(MOST_LINE)


def is_damaged(text: str) -> bool:
    """Whether a text holds bytes that are not of its encoding, which the readers pass on as lone surrogates."""
    return any("\udc80" <= character <= "\udcff" for character in text)
