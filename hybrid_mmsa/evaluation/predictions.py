"""The answers of a run as JSON lines, so that a broken-off run goes on where it stopped. It knows no metric.

The first line says what was measured and with which model; the others are answers: ids and numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from pydantic import ValidationError

from ..errors import InputError
from .answers import Answer

__all__ = ["Predictions"]


class Predictions:
    """A file of answers that grows while a run goes on.

    Args:
        path: Where it is; `None` keeps answers in memory only.
        header: What the answers belong to. A file with another header is refused, never overwritten.

    Attributes:
        done: The answers so far, by id.

    Raises:
        InputError: The file belongs to another run.
    """

    def __init__(self, path: Path | None, header: dict[str, Any]) -> None:
        self.path = path
        self.header = header
        self.done: dict[str, Answer] = {}
        self._file = None
        if path is not None:
            if path.is_file() and path.stat().st_size:
                self.done = {answer.id: answer for answer in self._resume(path)}
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = [json.dumps(header, sort_keys=True), *(a.model_dump_json() for a in self.done.values())]
            # Written anew, so that a last line that was cut off is gone.
            path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            self._file = path.open("a", encoding="utf-8")

    def _resume(self, path: Path) -> Iterator[Answer]:
        lines = path.read_text(encoding="utf-8").splitlines()
        try:
            same = json.loads(lines[0]) == json.loads(json.dumps(self.header))
        except ValueError:
            same = False
        if not same:
            raise InputError(f"{path.name} holds the predictions of another run; move it or name another file")
        for line in lines[1:]:
            try:
                yield Answer.model_validate_json(line)
            except ValidationError:
                return  # cut off while it was written: this answer and what follows are made again

    def add(self, answer: Answer) -> None:
        """Keep one answer, on disk at once."""
        self.done[answer.id] = answer
        if self._file is not None:
            self._file.write(answer.model_dump_json() + "\n")
            self._file.flush()

    def __enter__(self) -> Predictions:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()
