"""What single segments feel → a smooth curve. It knows times and numbers, and no film.

Kernel regression (Nadaraya 1964; Watson 1964) with a Gaussian kernel: the value at time t is the mean of the segments'
valences v_i, each weighted by its length l_i and its nearness, w_i(t) = l_i exp(-(t - m_i)² / 2h²), m_i its middle:
v(t) = Σ w_i(t) v_i / Σ w_i(t).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..types import FloatArray
from .timeline import Curve, Point, Segment

__all__ = ["BANDWIDTH", "curves", "smooth"]

BANDWIDTH = 5.0
"""h, in seconds: what is further away than twice as much hardly counts."""
SHORTEST = 0.5
"""Seconds that a segment counts for at least."""
LONGEST = 30.0
"""And at most: a monologue is no more sure of its one judgement than that."""
MOST_POINTS = 600
FINEST = 0.5
"""Seconds between two points at least."""


def curves(segments: Sequence[Segment], duration: float) -> tuple[Curve, ...]:
    """The curve of all segments, and one for each role that speaks."""
    roles = sorted({each.role for each in segments if each.role is not None})
    chosen = [(None, list(segments)), *((role, [s for s in segments if s.role == role]) for role in roles)]
    return tuple(Curve(role=role, points=_points(some, duration)) for role, some in chosen if _judged(some))


def smooth(middles: FloatArray, lengths: FloatArray, valences: FloatArray, times: FloatArray) -> FloatArray:
    """The curve's values `[t]` at some times, from segments' middles, lengths and valences, each `[n]` with n > 0."""
    smoothed = np.empty(len(times), np.float32)
    for place, time in enumerate(times):  # one at a time: of many segments all together would take gigabytes
        away = ((time - middles) / BANDWIDTH) ** 2
        # The nearest segment's exponent is taken off: far from all of them the weights would vanish otherwise.
        weights = np.exp(-0.5 * (away - away.min())) * lengths
        smoothed[place] = weights @ valences / weights.sum()
    return smoothed


def _judged(segments: Sequence[Segment]) -> list[tuple[float, float, float]]:
    """Middle, length and valence of each segment that has an answer."""
    return [
        ((s.start + s.end) / 2, min(max(s.end - s.start, SHORTEST), LONGEST), s.valence)
        for s in segments
        if s.valence is not None
    ]


def _points(segments: Sequence[Segment], duration: float) -> tuple[Point, ...]:
    middles, lengths, valences = np.array(_judged(segments), dtype=np.float32).T
    count = int(np.clip(duration / FINEST, 1, MOST_POINTS - 1)) + 1
    times = np.linspace(0, duration, count, dtype=np.float32)
    values = np.clip(smooth(middles, lengths, valences, times), -1, 1)
    return tuple(Point(time=round(float(t), 3), valence=round(float(v), 4)) for t, v in zip(times, values, strict=True))
