"""Batches of columns in the kinds that engines use → rows, and columns → a batch of the same kind. It knows no models.

A batch is an Arrow table or record batch, a pandas table, a mapping of columns (numpy arrays, lists), or one column of
structs (of Arrow or Daft). No kind is imported before one is met.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from ..errors import InputError
from ..extras import needs

__all__ = ["Batch", "Values", "arrow_schema", "columns_like", "length", "rows_of", "values_of"]

Batch: TypeAlias = Any
"""Columns together, as an engine holds them."""
Values: TypeAlias = Sequence[Any]
"""One column."""
Kinds: TypeAlias = Mapping[str, "type[str] | type[float] | type[bool]"]
"""What columns hold, where they are not empty."""


def rows_of(batch: Batch) -> list[Mapping[str, object]]:
    """The rows of a batch by their columns.

    Raises:
        InputError: It is no batch.
    """
    if hasattr(batch, "to_pylist"):  # of Arrow, or one column of structs
        return [row if isinstance(row, Mapping) else {} for row in batch.to_pylist()]
    if _is_pandas(batch):
        rows: list[Mapping[str, object]] = batch.to_dict("records")
        return rows
    if not isinstance(batch, Mapping):
        wanted = "an Arrow or pandas table, a mapping of columns, or a column of structs"
        raise InputError(f"found a {type(batch).__name__}; wanted {wanted}", field="batch")
    columns = {name: _listed(values) for name, values in batch.items()}
    if len({len(values) for values in columns.values()}) > 1:
        raise InputError("the columns of the batch are of different lengths", field="batch")
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def length(batch: Batch) -> int:
    """How many rows a batch has, also one without any of our columns."""
    if isinstance(batch, Mapping):
        return len(next(iter(batch.values()), ()))
    return int(getattr(batch, "num_rows", None) or len(batch))


def values_of(batch: Batch, column: str) -> Any:
    """One column of a batch as it is held there; `None` where there is none of that name."""
    if hasattr(batch, "schema"):
        return batch.column(column) if column in batch.schema.names else None
    if _is_pandas(batch) or isinstance(batch, Mapping):
        return batch.get(column)
    rows = rows_of(batch)
    return [row.get(column) for row in rows] if any(column in row for row in rows) else None


def columns_like(batch: Batch, columns: Mapping[str, Any], kinds: Kinds) -> Batch:
    """Columns as a batch of the kind of another.

    Args:
        batch: The kind that is wanted; a column of structs gives an Arrow one.
        columns: Lists of Python values, `None` where there is none; and columns of `batch` itself, as they are.
        kinds: What the lists hold, by column.
    """
    if _is_pandas(batch):
        return type(batch)({name: _for_numpy(name, values, kinds) for name, values in columns.items()})
    if isinstance(batch, Mapping):
        return {name: _for_numpy(name, values, kinds) for name, values in columns.items()}
    with needs("tables", "Arrow batches"):
        import pyarrow

    kind_of = arrow_schema(kinds)
    arrays = {
        name: pyarrow.array(values, kind_of.field(name).type) if isinstance(values, list) and name in kinds else values
        for name, values in columns.items()
    }
    if hasattr(batch, "schema"):
        return type(batch).from_arrays([*map(_one_piece, arrays.values())], names=[*arrays])
    return pyarrow.StructArray.from_arrays([pyarrow.array(a) for a in arrays.values()], names=[*arrays])


def arrow_schema(kinds: Kinds) -> Any:
    """The columns as a `pyarrow.Schema`."""
    with needs("tables", "Arrow batches"):
        import pyarrow

    types = {float: pyarrow.float64(), bool: pyarrow.bool_(), str: pyarrow.string()}
    return pyarrow.schema([(name, types[kind]) for name, kind in kinds.items()])


def _is_pandas(batch: Batch) -> bool:
    return hasattr(batch, "to_dict") and hasattr(batch, "iloc")


def _listed(values: Any) -> list[Any]:
    return values.tolist() if isinstance(values, np.ndarray) else list(values)


def _one_piece(values: Any) -> Any:
    """A record batch takes no chunked column; those of one batch are of one chunk."""
    return values.combine_chunks() if hasattr(values, "combine_chunks") else values


def _for_numpy(name: str, values: Any, kinds: Kinds) -> Any:
    """A list of ours as an array; numbers that are missing are NaN, all else that is missing `None`."""
    if not isinstance(values, list) or name not in kinds:
        return values
    if kinds[name] is float:
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    return np.array([*values, None], dtype=object)[:-1]  # with a `None`, so that it stays an array of objects
