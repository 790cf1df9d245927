"""A few fixed posts that tell whether two ways of running one adapter give the same answers. Knows no file format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...reasoning import Reasoner
from ...types import LABELS, LoraRef, Sample, Verdict

__all__ = ["Trial", "probe_posts"]

WORDS = (
    "What a day!",
    "The screen cracked after two days and nobody answers.",
    "Arrived on Tuesday.",
    "Great, another delay 🙄 #thanks",
)
SIDE = 96
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """What a model answers to the probe posts, without and with an adapter.

    Attributes:
        plain, adapted: The label's logits `[n, 3]`, up to a constant per post.
    """

    plain: Floats
    adapted: Floats

    @classmethod
    def of(cls, reasoner: Reasoner, lora: LoraRef) -> Trial:
        """Ask a model twice."""
        return cls(*(_logits(reasoner.reason(probe_posts(), each)) for each in (None, lora)))

    def lost(self, verdicts: Sequence[Verdict]) -> float:
        """The largest difference of a label's logit, as a share of the most that the adapter changes; 1: all of it."""
        return float(np.abs(_logits(verdicts) - self.adapted).max() / np.abs(self.adapted - self.plain).max())

    def moved(self, verdicts: Sequence[Verdict]) -> float:
        """The largest difference of a probability, over posts of words alone: programs read pictures differently."""
        words = [n for n, post in enumerate(probe_posts()) if post.image is None]
        return float(np.abs(_shares(_logits(verdicts))[words] - _shares(self.adapted)[words]).max())

    def same_labels(self, verdicts: Sequence[Verdict]) -> bool:
        """Whether every label is the adapter's."""
        return bool((_logits(verdicts).argmax(axis=1) == self.adapted.argmax(axis=1)).all())


def probe_posts() -> list[Sample]:
    """The same posts at every call: words alone, a picture alone, and both."""
    ramp = np.tile(np.linspace(0, 255, SIDE, dtype=np.uint8), (SIDE, 1))
    picture = Image.fromarray(np.stack([ramp, ramp.T, ramp[:, ::-1]], axis=2))
    return [
        *(Sample(text=words, id=str(n)) for n, words in enumerate(WORDS)),
        Sample(image=picture, id="picture"),
        *(Sample(text=words, image=picture, id=f"both {n}") for n, words in enumerate(WORDS)),
    ]


def _logits(verdicts: Sequence[Verdict]) -> Floats:
    shares = np.array([[verdict.probabilities[label] for label in LABELS] for verdict in verdicts], dtype=np.float64)
    logs = np.log(np.maximum(shares, 1e-12))
    centred: Floats = logs - logs.mean(axis=1, keepdims=True)
    return centred


def _shares(logits: Floats) -> Floats:
    powers = np.exp(logits)
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares
