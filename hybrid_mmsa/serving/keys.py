"""API keys: made, hashed, and recognised in constant time. Knows nothing of HTTP.

A key is 256 random bits, so one round of SHA-256 is enough to keep it: there is nothing to guess. Kept is a line
`NAME:SHA-256` for each key; the key itself is shown once, when it is made.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from ..errors import InputError

__all__ = ["Keys", "new_key"]

PREFIX = "hm_"
"""Lets a scanner of leaked secrets recognise a key."""
_LINE = re.compile(r"(?P<name>[A-Za-z0-9._-]{1,64}):(?P<digest>[0-9a-f]{64})")


def new_key(name: str) -> tuple[str, str]:
    """A new key, and the line that recognises it.

    Args:
        name: Whose key it is; logs and rates go by it.

    Raises:
        InputError: The name holds something other than letters, digits and `.-_`.
    """
    key = PREFIX + secrets.token_urlsafe(32)
    line = f"{name}:{_digest(key)}"
    if not _LINE.fullmatch(line):
        raise InputError(f"found {name!r}; wanted at most 64 letters, digits and .-_", field="name")
    return key, line


class Keys:
    """The keys that open a server.

    Args:
        digests: SHA-256 (hex) of each key, by its name.
    """

    def __init__(self, digests: Mapping[str, str]) -> None:
        self._digests = {name: bytes.fromhex(digest) for name, digest in digests.items()}

    def __len__(self) -> int:
        return len(self._digests)

    @classmethod
    def read(cls, lines: str, source: str) -> Keys:
        """The keys of a file or an environment variable: `NAME:SHA-256`, one a line; `#` begins a remark.

        Args:
            lines: What stands there.
            source: Where, for errors; what stands there is not shown.

        Raises:
            InputError: A line is of another form, a name comes twice, or there is no key at all.
        """
        digests: dict[str, str] = {}
        for number, line in enumerate(re.split(r"[\n,]", lines), 1):
            line = line.partition("#")[0].strip()
            if not line:
                continue
            parts = _LINE.fullmatch(line)
            if parts is None:
                raise InputError(
                    f"line {number} is no key; wanted NAME:SHA-256, as `hybrid-mmsa new-key NAME` prints it",
                    field=source,
                )
            if parts["name"] in digests:
                raise InputError(f"line {number}: the name {parts['name']!r} comes twice", field=source)
            digests[parts["name"]] = parts["digest"]
        if not digests:
            raise InputError("found no key", field=source)
        return cls(digests)

    @classmethod
    def from_file(cls, path: Path) -> Keys:
        """The keys of a file; errors as in `read`.

        Raises:
            OSError: It cannot be read.
        """
        return cls.read(path.read_text(encoding="utf-8", errors="replace"), str(path))

    def owner(self, key: str) -> str | None:
        """The name of a key; `None` where it is none. Every key is compared whole, whichever it is."""
        digest, owner = bytes.fromhex(_digest(key)), None
        for name, known in self._digests.items():
            if hmac.compare_digest(digest, known):
                owner = name
        return owner


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
