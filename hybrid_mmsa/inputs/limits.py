"""How much of an untrusted post is read, and what that may cost. Knows nothing of how it is read."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from ..errors import InputError

__all__ = ["DEFAULT_LIMITS", "Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one post may cost at most. The defaults are written here and nowhere else.

    Attributes:
        max_image_bytes: Encoded size of a picture; larger ones are refused unread.
        max_image_pixels: Width times height of a picture; larger ones are refused before they are decoded.
        max_image_memory: Bytes of memory that decoding a picture may take; one that would take more is refused before
            it is decoded. JPEG and PNG pictures are shrunk as they are read and stay far below it.
        max_image_seconds: Processor time of this thread that decoding a picture may take.
        max_text_chars: Characters of a text or target that are read; the rest is cut, with a warning.
        max_post_seconds: Seconds, by the clock on the wall, that a post may take once it is read; posts that are
            answered together (32 in `analyze_batch`, and in `stream` unless it is told otherwise) have so many each,
            in common. When they are spent, no more work is begun: evidence is left out and the reasoner not asked,
            with a warning, and a post that is not encoded yet is an `EncoderError`. Infinite by default.

    Raises:
        InputError: A limit is not a positive number, or not a whole one where pixels, bytes or characters are counted.
    """

    max_image_bytes: int = 20 * 2**20
    max_image_pixels: int = 128_000_000
    max_image_memory: int = 300_000_000
    max_image_seconds: float = 2.0
    max_text_chars: int = 100_000
    max_post_seconds: float = math.inf

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            whole = field.type == "int"
            kind = int if whole else int | float
            endless = value == math.inf and field.name == "max_post_seconds"
            if not isinstance(value, kind) or isinstance(value, bool) or not (0 < value < math.inf or endless):
                wanted = f"a positive {'whole ' if whole else ''}number"
                raise InputError(f"found {value!r}; wanted {wanted}", field=field.name)


DEFAULT_LIMITS = Limits()
