"""A picture as a caller holds it → its encoded bytes. Knows nothing of picture formats.

Paths, open files, `data:` URIs and bytes are read within a size limit. Nothing is ever fetched.
"""

from __future__ import annotations

import base64
import os
import re
import stat
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from ..errors import InputError
from ..foreign import translated
from .budget import Budget
from .refusal import refusal, shown

__all__ = ["WANTED", "is_uri", "read_bytes"]

WANTED = "a path, bytes, an open binary file, a PIL image, a numpy array or a base64 data: URI"

# Two letters or more before the colon: one is a Windows drive.
_URI = re.compile(r"data:|[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_CHUNK = 1 << 20
_UNQUOTED = 1 << 16  # characters of a URI at a time: each "%" in them becomes an object
_SPACE = b" \t\n\r\v\f"


def is_uri(source: str) -> bool:
    """Whether a string is a URI of any scheme, rather than a path."""
    return _URI.match(source) is not None


def read_bytes(source: object, budget: Budget) -> bytes:
    """The encoded bytes behind a path, bytes-like object, open binary file or `data:` URI.

    A file object that can seek is read from its start and left where it stood.

    Args:
        source: What the caller holds.
        budget: Says how many bytes are read at most, and how long unpacking them may take.

    Raises:
        InputError: The source cannot be read, is not a regular file, is empty, is too large, or is the address of
            something elsewhere.
    """
    limit = budget.limits.max_image_bytes
    kind = type(source).__name__
    # A caller's own file or path class may raise anything.
    with translated(lambda cause: refusal("image", f"an object of type {kind} that cannot be read ({cause})", WANTED)):
        content = _content(source, limit, budget)
    if len(content) > limit:
        raise _too_large(f"more than {limit:,} bytes", limit)
    if not content:
        raise refusal("image", "no bytes at all", "an encoded picture")
    return content


def _content(source: object, limit: int, budget: Budget) -> bytes:
    if isinstance(source, bytes | bytearray | memoryview):
        size = len(source) if not isinstance(source, memoryview) else source.nbytes
        if size > limit:
            raise _too_large(f"{size:,} bytes", limit)
        return bytes(source)
    if isinstance(source, str) and is_uri(source):
        return _from_data_uri(source, limit, budget)
    if isinstance(source, str | os.PathLike):
        return _from_path(source, limit)
    if callable(getattr(source, "read", None)):
        return _from_file(source, limit)
    raise refusal("image", shown(source), WANTED)


def _from_path(source: str | os.PathLike[Any], limit: int) -> bytes:
    name = os.fsdecode(source)
    if not name.strip():
        raise refusal("image", "a blank path", WANTED)
    try:
        path = Path(name)
        status = path.stat()
        # Opening a pipe or a device could wait for ever, or act on it; so could a file that claims to be empty and is
        # not, such as those of the kernel.
        regular = stat.S_ISREG(status.st_mode)
        if regular and status.st_size <= limit:
            if not status.st_size:
                return b""
            with path.open("rb") as file:
                return file.read(limit + 1)
    except FileNotFoundError as error:
        raise refusal("image", f"no file {shown(name)}", WANTED) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise refusal("image", f"a path that cannot be read, {shown(name)} ({reason})", WANTED) from error
    if regular:
        raise _too_large(f"a file of {status.st_size:,} bytes, {shown(name)}", limit)
    kind = "a directory" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
    raise refusal("image", f"{kind}, {shown(name)}", "a picture file")


def _from_file(file: Any, limit: int) -> bytes:
    try:
        position = file.tell()
        file.seek(0)
    except (AttributeError, OSError, ValueError):
        position = None  # a pipe or a socket: read on from where it stands
    content = _drained(file, limit)
    if position is not None:
        file.seek(position)
    return content


def _drained(file: Any, limit: int) -> bytes:
    """Read to the end or just past `limit`; a raw stream may hand over less than it was asked for."""
    parts: list[bytes] = []
    size = 0
    while size <= limit:
        part = file.read(min(_CHUNK, limit + 1 - size))
        if not part:
            break
        if not isinstance(part, bytes):
            raise refusal("image", f"a file that reads as {type(part).__name__}", "a file opened in binary mode ('rb')")
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def _from_data_uri(source: str, limit: int, budget: Budget) -> bytes:
    head, comma, body = source.partition(",")
    if head[:5].lower() != "data:":
        raise refusal("image", f"an address, {shown(source)}", f"{WANTED}; nothing is ever fetched")
    if not comma:
        raise refusal("image", f"a data: URI without a comma, {shown(source)}", "data:image/...;base64,...")
    # The longest way to write a byte is "%2B": three characters.
    if len(body) > 3 * limit:
        raise _too_large(f"a data: URI of {len(source):,} characters", limit)
    try:
        content = _unquoted(body, budget)
        if not head.rstrip().lower().endswith(";base64"):
            return content
        digits = content.translate(None, _SPACE).rstrip(b"=")
        return base64.b64decode(digits + b"=" * (-len(digits) % 4), validate=True)
    except InputError:
        raise
    except ValueError as error:  # no base64, or characters that no URI holds
        raise refusal("image", f"a malformed data: URI ({error})", "data:image/...;base64,...") from error


def _unquoted(body: str, budget: Budget) -> bytes:
    """The bytes of a URI's characters, those behind `%` included."""
    if "%" not in body:
        return body.encode()
    parts: list[bytes] = []
    start = 0
    while start < len(body):
        end = start + _UNQUOTED
        cut = body.rfind("%", end - 2, end)  # not through the middle of a "%2B"
        end = cut if cut > start and end < len(body) else end
        parts.append(unquote_to_bytes(body[start:end]))
        start = end
        budget.check_time()
    return b"".join(parts)


def _too_large(value: str, limit: int) -> InputError:
    return refusal("image", value, f"at most {limit:,} bytes")
