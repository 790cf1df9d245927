"""What decoding one picture may still cost: pixels, memory, processor time. Knows nothing of picture formats.

The decoders of Pillow that work piece by piece ask a file for each piece; `TimedFile` ends them there.
"""

from __future__ import annotations

import io
from time import thread_time

from .limits import Limits
from .refusal import refusal

__all__ = ["Budget", "TimedFile"]


class Budget:
    """The limits of one picture, and the time at which its reading began.

    Time is the processor time of this thread, so that a picture does not fail because a machine is busy.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._until = thread_time() + limits.max_image_seconds

    def check_time(self) -> None:
        """Raise `InputError` when the time is spent."""
        if thread_time() > self._until:
            most = self.limits.max_image_seconds
            raise refusal("image", "a picture that takes too long to decode", f"at most {most:g} s of a processor")

    def check_size(self, width: int, height: int) -> None:
        """Raise `InputError` unless a picture of this size is allowed."""
        if width < 1 or height < 1:
            raise refusal("image", f"a picture of {width} x {height} pixels", "at least one pixel")
        if width * height > self.limits.max_image_pixels:
            found = f"a picture of {width:,} x {height:,} pixels"
            raise refusal("image", found, f"at most {self.limits.max_image_pixels:,} pixels in all")

    def check_memory(self, kind: str, size: float) -> None:
        """Raise `InputError` unless so many bytes may be used.

        Args:
            kind: What kind of picture it is, for the message.
            size: Bytes that decoding it takes.
        """
        most = self.limits.max_image_memory
        if size > most:
            found = f"a picture ({kind}) that takes {size / 1e6:,.0f} MB to decode"
            raise refusal("image", found, f"at most {most / 1e6:,.0f} MB; save it smaller")


class TimedFile(io.BytesIO):
    """Encoded bytes that are handed out while there is time.

    Args:
        content: The bytes.
        budget: Says when the time is spent.
    """

    def __init__(self, content: bytes, budget: Budget) -> None:
        super().__init__(content)
        self.piece: int | None = None
        """The most bytes that a read returns, for decoders that take less than they ask for."""
        self._budget = budget

    def read(self, size: int | None = -1, /) -> bytes:
        """As `BytesIO.read`, but `InputError` when the time is spent."""
        self._budget.check_time()
        if self.piece is not None:
            size = self.piece if size is None or size < 0 else min(size, self.piece)
        return super().read(size)
