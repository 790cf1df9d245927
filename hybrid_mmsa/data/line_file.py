"""A file that grows line by line while a long run goes on, and loses no whole line if the run is killed.

It knows nothing of what the lines hold.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Self

__all__ = ["LineFile"]


class LineFile:
    """A file of lines to append to; a context manager. A last line that a kill cut off does not count, and is removed.

    Args:
        path: Where it is; its folder must exist. Nothing is opened or changed before the context is entered.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO | None = None

    def lines(self) -> Iterator[bytes]:
        """The whole lines on disk, in order, each with its end; none where there is no file."""
        if self.path.exists():
            with self.path.open("rb") as file:
                yield from (line for line in file if line.endswith(b"\n"))

    def __enter__(self) -> Self:
        whole = sum(len(line) for line in self.lines())
        self._file = self.path.open("ab")
        self._file.truncate(whole)
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def append(self, line: str) -> None:
        """Write a line; it survives the end of this process from here on.

        Args:
            line: Without its end.
        """
        self._opened.write(line.encode() + b"\n")
        self._opened.flush()

    def close(self) -> None:
        """Close the file once all of it is on the disk, whatever happens to the machine: before it is renamed."""
        os.fsync(self._opened.fileno())
        self._opened.close()

    @property
    def _opened(self) -> BinaryIO:
        if self._file is None:
            raise ValueError(f"{self.path} is not open: enter its context first")
        return self._file
