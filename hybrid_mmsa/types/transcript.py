"""Who said what, and when: the values of a transcript. Knows nothing of files, voices or models."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import Field, model_validator

from .frozen import FrozenModel

__all__ = ["Role", "SpokenWord", "Utterance"]

Role: TypeAlias = Literal["agent", "customer"]
"""Which side of a call a speaker is on."""


class SpokenWord(FrozenModel):
    """A word and when it is said, in seconds from the beginning of the recording."""

    text: str
    start: float = Field(ge=0, allow_inf_nan=False)
    end: float = Field(ge=0, allow_inf_nan=False)


class Utterance(FrozenModel):
    """What one speaker says without a break, and when, in seconds from the beginning of the recording."""

    start: float = Field(ge=0, allow_inf_nan=False)
    end: float = Field(ge=0, allow_inf_nan=False)
    text: str
    speaker: str | None = None
    role: Role | None = None
    words: tuple[SpokenWord, ...] = Field(default=(), description="Empty where their times are not known.")

    @model_validator(mode="after")
    def _ends_after_its_start(self) -> Utterance:
        if self.end < self.start:
            raise ValueError(f"it ends at {self.end:g} s, before it starts ({self.start:g} s)")
        return self

    @property
    def middle(self) -> float:
        """The moment halfway through it."""
        return (self.start + self.end) / 2
