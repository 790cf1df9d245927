"""Untrusted posts → checked samples: text made canonical, pictures decoded within limits. Knows nothing of models."""

from __future__ import annotations

from .image import DRAFT_PIXELS, FORMATS, read_image, to_pixels
from .language import looks_foreign
from .limits import DEFAULT_LIMITS, Limits
from .refusal import check_choice
from .rewording import as_sentence, reword
from .rows import (
    NumberedRow,
    Row,
    each_row,
    needing,
    numbered_rows,
    read_label,
    read_row,
    row_id,
    sample_from_row,
    sample_of,
    stars,
)
from .sample import FOREIGN, UNNAMED, read_sample
from .source import is_uri
from .text import normalise, writable
from .times import read_time

__all__ = [
    "DEFAULT_LIMITS",
    "DRAFT_PIXELS",
    "FOREIGN",
    "FORMATS",
    "UNNAMED",
    "Limits",
    "NumberedRow",
    "Row",
    "as_sentence",
    "check_choice",
    "each_row",
    "is_uri",
    "looks_foreign",
    "needing",
    "normalise",
    "numbered_rows",
    "read_image",
    "read_label",
    "read_row",
    "read_sample",
    "read_time",
    "reword",
    "row_id",
    "sample_from_row",
    "sample_of",
    "stars",
    "to_pixels",
    "writable",
]
