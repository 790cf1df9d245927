"""The answers of a run as JSON lines, so that a broken-off run goes on where it stopped. It knows no metric.

The first line says what was measured and with which model; the others are answers: ids and numbers.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any

from ..data import LineFile
from ..errors import InputError
from .answers import PredictionRow

__all__ = ["Predictions"]


class Predictions:
    """A file of answers that grows while a run goes on.

    Args:
        path: Where it is; `None` keeps answers in memory only.
        header: What the answers belong to. A file with another header is refused, never overwritten.

    Attributes:
        done: The answers so far, by id.

    Raises:
        InputError: The file belongs to another run, or is not one of answers.
    """

    def __init__(self, path: Path | None, header: dict[str, Any]) -> None:
        self._file = None if path is None else LineFile(path)
        self._header = json.dumps(header, sort_keys=True)
        self._begun = path is not None and path.is_file() and path.stat().st_size > 0
        earlier = self._earlier(self._file) if self._file is not None and self._begun else []
        self.done: dict[str, PredictionRow] = {answer.id: answer for answer in earlier}

    def _earlier(self, file: LineFile) -> list[PredictionRow]:
        """The answers of the run that is gone on from."""
        try:
            header, *answers = file.lines()
            if json.loads(header) == json.loads(self._header):
                return [PredictionRow.model_validate_json(line) for line in answers]
        except ValueError as error:  # no whole line, or one that is not what this class wrote
            raise InputError(f"{file.path.name} is not a file of predictions; move it or name another file") from error
        raise InputError(f"{file.path.name} holds the predictions of another run; move it or name another file")

    def add(self, answer: PredictionRow) -> None:
        """Keep one answer, on disk at once."""
        self.done[answer.id] = answer
        if self._file is not None:
            self._file.append(answer.model_dump_json())

    def __enter__(self) -> Predictions:
        if self._file is not None:
            self._file.path.parent.mkdir(parents=True, exist_ok=True)
            self._file.__enter__()
            if not self._begun:
                self._file.append(self._header)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is not None:
            self._file.__exit__(kind, error, at)
