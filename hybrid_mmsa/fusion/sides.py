"""Which head answers a post: its sides and its target decide. Knows nothing of features, logits or models."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..types import BoolArray, Features, Task, TaskArrays

__all__ = ["PresentSides", "answer_from_sides"]

_ABOUT_TARGET: tuple[Task, ...] = ("text_sentiment", "text_alone", "sentiment")
"""What the words say of the target where one is asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class PresentSides:
    """What `n` posts consist of.

    Attributes:
        text, image: bool `[n]`, whether that side is there.
        target: bool `[n]`, whether the sentiment towards a target is asked for and there is a head for it.
    """

    text: BoolArray
    image: BoolArray
    target: BoolArray

    @classmethod
    def of(cls, features: Features, *, answers_targets: bool) -> PresentSides:
        """The sides of encoded posts; without a head for targets no answer is about one."""
        target = features.has_target if answers_targets else np.zeros(len(features), dtype=bool)
        return cls(features.has_text, features.has_image, target)


def answer_from_sides(probabilities: TaskArrays, sides: PresentSides) -> TaskArrays:
    """The same probabilities with the answer of every post filled in from the head that answers it.

    A post with one side gets what that side says, as its `sentiment` and as that side's guess of the whole. Where a
    target is asked for, the words speak of the target, and they alone decide (the picture is not read for targets).

    Args:
        probabilities: Calibrated, per task `[n, classes]`; NaN where a side or head is missing.
        sides: What the posts consist of.

    Returns:
        New arrays; `sentiment` is there for every post that has a side.
    """
    answers = dict(probabilities)
    target = sides.target[:, None]
    for task in _ABOUT_TARGET:
        answers[task] = np.where(target, answers["target_sentiment"], answers[task])
    words_only = (sides.text & ~sides.image)[:, None]
    picture_only = (sides.image & ~sides.text)[:, None]
    answers["sentiment"] = np.where(words_only, answers["text_sentiment"], answers["sentiment"])
    answers["sentiment"] = np.where(picture_only, answers["image_sentiment"], answers["sentiment"])
    answers["text_alone"] = np.where(words_only, answers["sentiment"], answers["text_alone"])
    answers["image_alone"] = np.where(picture_only, answers["sentiment"], answers["image_alone"])
    return answers
