"""How much of an untrusted post is read. Knows nothing of how it is read."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ..errors import InputError

__all__ = ["DEFAULT_LIMITS", "Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one post may cost at most. The defaults are written here and nowhere else.

    Attributes:
        max_image_bytes: Encoded size of a picture; larger ones are refused unread.
        max_image_pixels: Width times height of a picture; larger ones are refused before they are decoded.
        max_text_chars: Characters of a text or target that are read; the rest is cut, with a warning.

    Raises:
        InputError: A limit is not a positive whole number.
    """

    max_image_bytes: int = 20 * 2**20
    max_image_pixels: int = 64_000_000
    max_text_chars: int = 100_000

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InputError(f"found {value!r}; wanted a positive whole number", field=field.name)


DEFAULT_LIMITS = Limits()
