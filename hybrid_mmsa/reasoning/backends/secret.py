"""A server's key, which is shown nowhere: not in messages, `repr`, pickles or logs. Knows no server."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import NoReturn
from urllib.parse import quote

__all__ = ["Secret"]

STRUCK = "***"
SHORTEST = 4
"""A shorter key cannot be told from ordinary words."""


class Secret(logging.Filter):
    """A key that is struck out of texts; a filter that strikes it out of log records.

    Args:
        value: The key; empty where there is none.
    """

    def __init__(self, value: str) -> None:
        super().__init__()
        spellings = (value, quote(value), json.dumps(value)[1:-1]) if len(value) >= SHORTEST else ()
        self._spellings = tuple(dict.fromkeys(spellings))

    def __repr__(self) -> str:
        return f"Secret({STRUCK})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key does not travel: the other process reads it from its own environment")

    def struck(self, text: str) -> str:
        """A text without the key, or the beginning of the key where a text was cut."""
        for spelling in self._spellings:
            for length in range(len(spelling), min(len(spelling), 2 * SHORTEST) - 1, -1):
                text = text.replace(spelling[:length], STRUCK)
        return text

    def filter(self, record: logging.LogRecord) -> bool:
        """Strike the key out of a record; all are logged."""
        try:
            line = record.getMessage()
        except (TypeError, ValueError):  # the logger says so itself
            return True
        if (struck := self.struck(line)) != line:
            record.msg, record.args = struck, ()
        return True

    def watch(self, loggers: Sequence[str]) -> None:
        """Strike the key out of what these loggers say from here on."""
        for name in loggers if self._spellings else ():
            logging.getLogger(name).addFilter(self)

    def unwatch(self, loggers: Sequence[str]) -> None:
        """Leave the loggers alone."""
        for name in loggers:
            logging.getLogger(name).removeFilter(self)
