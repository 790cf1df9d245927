"""Why: the evidence behind an answer, as values. Knows nothing of how it is computed."""

from __future__ import annotations

from pydantic import Field

from .frozen import FrozenMapping, FrozenModel
from .words import Label, Modality, Source

__all__ = ["Change", "Explanation", "Region", "WordEffect"]


class WordEffect(FrozenModel):
    """A word (an emoji or hashtag too), or neighbours in a long text, and what hiding it does to a probability."""

    word: str
    start: int = Field(ge=0, description="First character in the text as it was read.")
    end: int = Field(ge=0, description="One past its last character.")
    effect: float = Field(description="By how much hiding it lowers the probability; below 0 it speaks against.")
    estimated: bool = Field(
        default=False, description="The effect was estimated from one reading; else the text was read without the word."
    )


class Region(FrozenModel):
    """A box of the picture, in shares of its width and height, and what hiding it does to the label's probability."""

    left: float = Field(ge=0, le=1)
    top: float = Field(ge=0, le=1)
    right: float = Field(ge=0, le=1)
    bottom: float = Field(ge=0, le=1)
    effect: float = Field(description="By how much hiding it lowers the probability; below 0 it speaks against.")


class Change(FrozenModel):
    """A word or region without which the answer would be another one."""

    side: Modality
    what: str = Field(description="The word, or where in the picture the region is.")
    label: Label = Field(description="The answer without it.")


class Explanation(FrozenModel):
    """Evidence computed from the fast tier, and a sentence composed from it. No word here is model-written."""

    text: str = Field(description="Composed from the fields below by fixed rules.")
    label: Label = Field(description="The label that the evidence is about.")
    baseline: float = Field(description="Probability of that label before either side is read.")
    shares: FrozenMapping[Source, float] = Field(
        description="Shapley value of each side, and of words in the picture where they count; with `baseline` they "
        "sum to the label's probability."
    )
    runner_up: Label = Field(description="The label that came second.")
    agree: bool | None = Field(
        default=None, description="Whether words and picture say the same, where both are there."
    )
    words: tuple[WordEffect, ...] | None = Field(default=None, description="In reading order. With `explain='full'`.")
    sarcasm_words: tuple[WordEffect, ...] | None = Field(
        default=None,
        description="Words that raise P(sarcastic) most, with `explain='full'` where it is high.",
    )
    heat_map: tuple[tuple[float, ...], ...] | None = Field(
        default=None, description="Rows of cells of the picture: how much each speaks for the label, in log-odds."
    )
    regions: tuple[Region, ...] | None = Field(default=None, description="Strongest first. With `explain='full'`.")
    changes: tuple[Change, ...] | None = Field(default=None, description="What would change the answer.")
