"""What the fast tier says of rows: soft labels that nano learns from beside those that people gave. Knows no tokens.

A label names one of three; how sure one can be of it teaches more, the more so the fewer steps there are (Hinton et al.
2015, arXiv 1503.02531). The fast tier speaks of training posts alone. What it makes of them is what its adapter learnt
from its own corpora, so their terms hold for a nano that learns from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...encoders import Encoder
from ...errors import InputError
from ...inputs import read_sample
from ...model import open_model
from ...types import LABELS, Features, FloatArray, Sample, Task
from ..common.loop import progress
from .rows import NanoRow

__all__ = ["OPINIONS", "opinions"]

OPINIONS: tuple[Task, ...] = ("sentiment", "text_sentiment", "image_sentiment")
"""What is asked of each row: the label, what the words say, what the picture says."""
UNASKED = frozenset({"memotion"})
"""Of memes the fast tier knows less than their labels say."""
CHUNK = 64
"""Pictures in memory at once."""


def opinions(rows: Sequence[NanoRow], folder: Path) -> FloatArray:
    """Calibrated probabilities of the labels, float32 `[n, 3, 3]`, see `OPINIONS`; zero where there is no opinion.

    Args:
        rows: What is learnt from.
        folder: The fast tier's adapter.

    Raises:
        ArtefactError: It is damaged, or was fitted to another encoder.
    """
    model = open_model(folder)
    asked = np.array([n for n, row in enumerate(rows) if row.corpus not in UNASKED and _judged(row.sample)], np.int64)
    found = np.zeros((len(rows), len(OPINIONS), len(LABELS)), np.float32)
    if len(asked):
        seen = _features(model.encoder, [rows[n].sample for n in asked])
        said = model.adapter.posteriors(seen)
        found[asked] = np.nan_to_num(np.stack([said[task] for task in OPINIONS], axis=1))
    return found


def _judged(sample: Sample) -> bool:
    """Whether there is a label to learn."""
    return any(label is not None for label in (sample.label, sample.text_label, sample.image_label))


def _features(encoder: Encoder, samples: Sequence[Sample]) -> Features:
    """Features of posts, each of their sides read once; a picture that cannot be read is not there."""
    words = {(s.text, s.target): Sample(text=s.text, target=s.target) for s in samples if s.text}
    pictures = {s.image: Sample(image=s.image) for s in samples if s.image is not None}
    sides: dict[Any, Features] = {}
    for name, kind in (("texts", words), ("pictures", pictures)):
        asked = [*kind.items()]
        parts = [asked[start : start + CHUNK] for start in range(0, len(asked), CHUNK)]
        for _, part in progress(parts, 0, f"opinions on {name}"):
            if read := dict(_read(part)):
                features = encoder.encode([*read.values()])
                sides |= {key: features.take([place]) for place, key in enumerate(read)}
    nothing = encoder.encode([Sample(text="-")]).without("text")
    told = Features.concatenate([sides.get((s.text, s.target), nothing) for s in samples])
    shown = Features.concatenate([sides.get(s.image, nothing) for s in samples])
    return replace(told, image_features=shown.image_features, has_image=shown.has_image)


def _read(part: Sequence[tuple[Any, Sample]]) -> Iterator[tuple[Any, Sample]]:
    for key, sample in part:
        try:
            yield key, read_sample(sample)
        except InputError:
            continue
