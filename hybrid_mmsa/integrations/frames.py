"""Data frames of pandas and polars: a row a post, in; a row an answer, out. It imports neither library by itself."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from ..analyzer import Analyzer, default_analyzer
from ..errors import InputError
from ..inputs import Row
from ..types import EMOTIONS, LABELS, Mode, RowError
from ..types.flat import NUMBERS, flat_answer

__all__ = ["analyze_frame", "frame_rows"]

Frame = TypeVar("Frame")

COLUMNS = ("id", "text", "image", "target")
CHOICES: Mapping[str, tuple[str, ...]] = {
    "label": LABELS,
    "text_label": LABELS,
    "image_label": LABELS,
    "emotion": EMOTIONS,
    "decision": ("keep", "defer"),
}
"""Columns of few values, in their order."""
LEFT_OUT = {"rationale", "model", "answered_by"}


def analyze_frame(
    frame: Frame,
    *,
    columns: Mapping[str, str] | None = None,
    analyzer: Analyzer | None = None,
    adapter: str | None = None,
    mode: Mode = "auto",
) -> Frame:
    """The answers to the posts of a data frame: a frame of the same library, row for row, with the same index.

    `label`, `text_label`, `image_label`, `emotion` and `decision` are categories (pandas) or enums (polars),
    probabilities are float64, `needs_review` is boolean, `reasons`, `warnings` and `error` are strings. A row that
    cannot be analysed has nulls, and the cause in `error`; the others go on.

    Put them side by side with `pandas.concat([frame, answers], axis=1)`, or `frame.hstack(answers)` in polars.

    Args:
        frame: A pandas or polars `DataFrame` with at least one of the columns `text` and `image`; `id` and `target`
            are read as well. Pictures are paths, relative to the working directory, bytes, or picture objects.
        columns: What our columns are called in the frame, as in `{"text": "body"}`.
        analyzer: What answers; the default model where none is given.
        adapter: As in `Analyzer.analyze`.
        mode: As in `Analyzer.analyze`.

    Raises:
        InputError: Not a frame, or none of its columns is named `text` or `image`.
    """
    rows = list(frame_rows(frame, columns))
    answers = (analyzer or default_analyzer()).stream(rows, adapter=adapter, mode=mode, explain="none")
    flat: list[dict[str, Any]] = []
    for answer in answers:
        if isinstance(answer, RowError):
            cause = answer.error if answer.field is None else f"{answer.field}: {answer.error}"
            flat.append({"error": cause})
        else:
            flat.append({key: value for key, value in flat_answer(answer).items() if key not in LEFT_OUT})
    values = {name: [row.get(name) for row in flat] for name in _names()}
    answered: Frame = _pandas(values, frame) if _library(frame) == "pandas" else _polars(values)
    return answered


def frame_rows(frame: Any, columns: Mapping[str, str] | None = None) -> Iterator[Row]:
    """The posts of a frame as `Analyzer.stream` takes them; errors as in `analyze_frame`."""
    library = _library(frame)
    named = {ours: (columns or {}).get(ours, ours) for ours in COLUMNS}
    found = {ours: theirs for ours, theirs in named.items() if theirs in frame.columns}
    if missing := [theirs for ours, theirs in named.items() if ours in (columns or {}) and ours not in found]:
        raise InputError(f"the frame has no column {', '.join(map(repr, missing))}", field="columns")
    if not {"text", "image"} & found.keys():
        listed = ", ".join(map(str, frame.columns)) or "none"
        raise InputError(
            f"found the columns {listed}; wanted 'text' or 'image', or columns={{'text': NAME}}", field="columns"
        )
    kept = [frame[theirs] for theirs in found.values()]
    cells = [column.to_list() if library == "polars" else column.tolist() for column in kept]
    return (dict(zip(found, row, strict=True)) for row in zip(*cells, strict=True))


def _names() -> list[str]:
    text = ("reasons", "warnings", "error")
    numbers = [name for name in NUMBERS if name not in LABELS]
    return ["id", "label", *LABELS, *numbers, *list(CHOICES)[1:], "needs_review", *text]


def _library(frame: object) -> str:
    library = type(frame).__module__.partition(".")[0]
    if library not in {"pandas", "polars"} or type(frame).__name__ != "DataFrame":
        hint = "; call .collect() first" if type(frame).__name__ == "LazyFrame" else ""
        raise InputError(f"found a {type(frame).__name__}; wanted a DataFrame of pandas or polars{hint}", field="frame")
    return library


def _pandas(values: Mapping[str, list[Any]], frame: Any) -> Any:
    pandas = importlib.import_module("pandas")
    kinds = dict.fromkeys(values, "string") | dict.fromkeys(NUMBERS, "float64") | {"needs_review": "boolean"}
    kinds |= {name: pandas.CategoricalDtype(choices, ordered=False) for name, choices in CHOICES.items()}
    series = {name: pandas.Series(column, frame.index, kinds[name]) for name, column in values.items()}
    return pandas.DataFrame(series, index=frame.index)


def _polars(values: Mapping[str, list[Any]]) -> Any:
    polars = importlib.import_module("polars")
    kinds = dict.fromkeys(values, polars.String) | dict.fromkeys(NUMBERS, polars.Float64)
    kinds |= {name: polars.Enum(choices) for name, choices in CHOICES.items()} | {"needs_review": polars.Boolean}
    return polars.DataFrame(values, schema={name: kinds[name] for name in values})
