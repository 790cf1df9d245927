"""Whether too many rows fail for a run to go on. It knows counts alone."""

from __future__ import annotations

from threading import Lock

from ..errors import InputError
from ..metrics import wilson

__all__ = ["FailureRate"]

LEAST = 20
"""Rows before which nothing is said: the first ones of a file may be odd."""


class FailureRate:
    """Counts rows, and raises when surely more of them fail than may.

    Args:
        most: The share of rows that may fail, in [0, 1]; `None` lets all of them.

    Attributes:
        rows: Rows counted.
        failed: How many of them failed.

    Raises:
        InputError: The share is none.
    """

    def __init__(self, most: float | None = None) -> None:
        if most is not None and not 0 <= most <= 1:
            raise InputError(f"found {most}; wanted a share of the rows, from 0 to 1", field="max_failure_rate")
        self.most = most
        self.rows = self.failed = 0
        self._lock = Lock()

    def count(self, rows: int, failed: int) -> None:
        """Count some more rows.

        Raises:
            InputError: The share of failed rows is above `most`, also at the lower end of Wilson's 95 % interval.
        """
        with self._lock:
            self.rows, self.failed = self.rows + rows, self.failed + failed
            if self.rows >= LEAST and self.most is not None and wilson(self.failed, self.rows).low > self.most:
                raise self.error()

    def check(self) -> None:
        """Raise `InputError` if more of all rows have failed than may: said when all are done."""
        if self.most is not None and self.rows and self.failed / self.rows > self.most:
            raise self.error()

    def error(self) -> InputError:
        """Says how many rows failed, and how many may."""
        return InputError(
            f"{self.failed:,} of {self.rows:,} rows failed, and {self.most:.2%} may; their causes say what is wrong",
            field="max_failure_rate",
        )
