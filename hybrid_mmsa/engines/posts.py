"""A row of a stream or an engine → a raw sample, or what is wrong with it. It knows no models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..data import Columns
from ..errors import HybridError, InputError
from ..foreign import cause
from ..inputs import is_uri, row_id, sample_from_row
from ..types import RowError, Sample

__all__ = ["columns_named", "post_of"]


def columns_named(names: Mapping[str, str]) -> Columns:
    """Where our columns lie, by the names that a user gives; see `data.Reading.columns`."""
    return Columns({ours: tuple(part.strip() for part in theirs.split("+")) for ours, theirs in names.items()}, {})


def post_of(
    line: int, row: Mapping[str, object], columns: Columns, image_root: Path | None = None
) -> Sample | RowError:
    """A raw sample, or the error of a row that cannot be used; never an exception for what the row holds.

    Args:
        line: Where it stands, for its error.
        row: Its columns.
        columns: Where ours lie in it.
        image_root: The folder that picture paths start from and may not leave; without one, paths are refused, since
            whoever wrote the rows need not be who may read files.
    """
    try:
        sample = sample_from_row(columns.row(row, image_root or Path()), image_root)
        if image_root is None and _is_path(sample.image):
            raise InputError(
                "found a path; wanted the picture's bytes, or a folder that paths start from", field="image"
            )
        return sample
    except InputError as error:
        return RowError(line=line, id=row_id(row), field=error.field, error=error.message)
    except HybridError:
        raise
    except Exception as error:  # an engine's own kind of value may raise anything
        return RowError(line=line, id=None, error=f"the row cannot be read ({cause(error)})")


def _is_path(image: object) -> bool:
    return isinstance(image, Path) or (isinstance(image, str) and not is_uri(image))
