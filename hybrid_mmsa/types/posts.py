"""What goes in: a post as users hold it, and what an encoder saw in it. Knows nothing of answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .words import BoolArray, FloatArray, ImageSource, IntArray, Label, Modality


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Sample:
    """One post. Users build it raw; `inputs.read_sample` returns it checked, its picture decoded.

    Attributes:
        text: The post's words, any Unicode; `None` or blank when there are none.
        image: The picture (see `ImageSource`); after reading, a PIL image in RGB, or `None`.
        target: The person or thing whose sentiment is asked for (target-level sentiment).
        id: The caller's identifier; returned in `Analysis.id`.
        time: When it was posted, ISO 8601.
        group: A brand, product or campaign to group by.
        label: Gold sentiment of the whole post, where known; `text_label`, `image_label`: of that side alone.
        sarcastic: Gold sarcasm, where known.
        rationale: A written reason for the gold label, where known.
        warnings: What reading had to change or could not judge, for `Analysis.warnings`.
    """

    text: str | None = None
    image: ImageSource | None = None
    target: str | None = None
    id: str | None = None
    time: str | None = None
    group: str | None = None
    label: Label | None = None
    text_label: Label | None = None
    image_label: Label | None = None
    sarcastic: bool | None = None
    rationale: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Features:
    """What an encoder saw in a batch of `n` posts. Rows of a missing modality are zero.

    Attributes:
        text_features: float32 `[n, d_text]`.
        image_features: float32 `[n, d_image]`.
        has_text, has_image, has_target: bool `[n]`; a target is read as a pair with the text.
        n_tokens: int64 `[n]`, tokens read (0 without text).
        truncated: bool `[n]`, the text was longer than the tower reads.
        unknown_share: float32 `[n]`, share of tokens the tower's vocabulary lacks, in [0, 1].
    """

    text_features: FloatArray
    image_features: FloatArray
    has_text: BoolArray
    has_image: BoolArray
    has_target: BoolArray
    n_tokens: IntArray
    truncated: BoolArray
    unknown_share: FloatArray

    def __len__(self) -> int:
        return len(self.has_text)

    def take(self, rows: Sequence[int] | NDArray[Any] | slice) -> Features:
        """The features of some rows, in the order given."""
        return Features(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def without(self, modality: Modality) -> Features:
        """The same posts with one side hidden, as if it had never been there."""
        none = np.zeros(len(self), dtype=bool)
        if modality == "image":
            return replace(self, image_features=np.zeros_like(self.image_features), has_image=none)
        zeros = np.zeros(len(self), dtype=np.int64)
        return replace(
            self,
            text_features=np.zeros_like(self.text_features),
            has_text=none,
            has_target=none,
            n_tokens=zeros,
            truncated=none,
            unknown_share=zeros.astype(np.float32),
        )

    @staticmethod
    def concatenate(parts: Sequence[Features]) -> Features:
        """Join batches row by row."""
        return Features(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Features)})
