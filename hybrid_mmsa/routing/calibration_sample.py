"""The posts a router was calibrated on, as scores: what a budget or a risk is resolved from. Holds no post."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ArtefactError

__all__ = ["CalibrationSample"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CalibrationSample:
    """Scores of `n` posts that chose nothing, and of `m` training posts that order the tests of a risk.

    Attributes:
        p_error: P(error) float64 `[n]`.
        sarcasm, conflict, novel: Scores of the other reasons float64 `[n]`, NaN where a side is missing.
        label: Class index of the fast label, int64 `[n]`.
        wrong: Whether that label is wrong, bool `[n]`.
        order_score: Defer scores float64 `[m]` of training posts, by towers that had not seen them.
        order_wrong: Whether their fast labels are wrong, bool `[m]`.
    """

    p_error: Floats
    sarcasm: Floats
    conflict: Floats
    novel: Floats
    label: NDArray[np.int64]
    wrong: NDArray[np.bool_]
    order_score: Floats
    order_wrong: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.p_error)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays by name, for a file."""
        return {field.name: np.ascontiguousarray(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> CalibrationSample:
        """A sample from its arrays.

        Raises:
            ArtefactError: One is missing, or their lengths differ.
        """
        missing = [field.name for field in fields(cls) if field.name not in arrays]
        if missing:
            raise ArtefactError(f"router: the calibration sample lacks {', '.join(missing)}")
        sample = cls(**{field.name: arrays[field.name] for field in fields(cls)})
        sides = (sample.p_error, sample.sarcasm, sample.conflict, sample.novel, sample.label, sample.wrong)
        if len({a.shape for a in sides}) > 1 or sample.order_score.shape != sample.order_wrong.shape:
            raise ArtefactError("router: the calibration sample's arrays differ in length")
        if not len(sample) or not len(sample.order_score) or np.isnan(sample.p_error).any():
            raise ArtefactError("router: the calibration sample holds no posts, or posts without a P(error)")
        return sample
