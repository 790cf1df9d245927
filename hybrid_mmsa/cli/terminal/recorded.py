"""The answers of a file that `batch` wrote, beside the posts that they are answers to. It asks no model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import ValidationError

from ...errors import InputError
from ...explain.page import AnswerFunction
from ...inputs import NumberedRow
from ...types import Analysis, RowError

__all__ = ["recorded_answers"]


def recorded_answers(file: Path) -> AnswerFunction:
    """The answers of a file that `batch` wrote: one for each row that can be used, in their order."""
    if not file.is_file():
        raise InputError(f"there is no file {file}", field="--answers")

    def answer_rows(rows: Iterable[NumberedRow]) -> Iterator[Analysis | RowError]:
        with file.open("rb") as lines:
            for line, row in rows:
                if isinstance(row, RowError):
                    yield row
                    continue
                analysis = _analysis(next(lines, b""), file)
                if analysis is None or analysis.id != row.id:
                    instead = "nothing more" if analysis is None else f"an answer to {analysis.id!r}"
                    raise InputError(
                        f"{file} holds {instead} where post {row.id!r} of line {line} is", field="--answers"
                    )
                yield analysis
            if next(lines, b"").strip():
                raise InputError(f"{file} holds more answers than there are posts", field="--answers")

    return answer_rows


def _analysis(raw: bytes, file: Path) -> Analysis | None:
    if not raw.strip():
        return None
    try:
        return Analysis.model_validate_json(raw)
    except ValidationError as error:
        cause = error.errors(include_url=False)[0]["msg"]
        raise InputError(f"{file} holds a line that is no answer: {cause}", field="--answers") from error
