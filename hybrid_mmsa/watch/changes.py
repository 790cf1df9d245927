"""Has a series of shares changed? A detector whose false alarms are bounded by how it bets. It knows numbers alone.

Each window's share is ranked among the windows before it, once the daily and weekly course that a regression finds is
taken out. Where the windows are exchangeable, these ranks are independent and uniform, whatever the shares'
distribution: overdispersed posts, many or few in a window, a level that nobody knows beforehand (conformal p-values;
Vovk et al. 2021, "Retrain or not retrain: conformal test martingales for change-point detection", arXiv 2102.10439).

A bettor bets on each rank, for a rise and for a fall by half a standard deviation up to three; each window it is given
a small stake w. Its wealth is a Shiryaev-Roberts statistic, R <- (R + w) e with E[e] = 1, and it alarms when R >= 1.
Since E[R] grows by w a window and an alarm takes away at least 1, the expected number of false alarms is at most the
sum of all stakes (Shin, Ramdas and Rinaldo 2024, "E-detectors", arXiv 2203.03532, section 2). So stakes are false
alarms: who shares one stake among many series has that many false alarms in all of them together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["BETS", "MEMORY", "Change", "Series"]

MEMORY = 672
"""Windows that are remembered: four weeks of hours."""
BETS = tuple(sign * size for size in (0.5, 1.0, 1.5, 2.0, 3.0) for sign in (1, -1))
"""Shifts that are bet on, in standard deviations of a window."""
RIDGE = (0.5, 0.5, 0.5, 0.5, 24.0, 24.0)
"""Pull of each wave of the course towards none, in windows: a course that few windows show is not believed."""
_DAY, _WEEK = 86_400.0, 7 * 86_400.0
_NORMAL = NormalDist()
Values: TypeAlias = "Sequence[float] | NDArray[np.float64]"


@dataclass(frozen=True, slots=True)
class Change:
    """What an alarm says.

    Attributes:
        since: Start of the window that the change most likely began with, seconds since 1970.
        before, now: Shares before and since then.
        posts: Posts since then.
    """

    since: float
    before: float
    now: float
    posts: int


@dataclass(slots=True, eq=False)
class Series:
    """One share, window by window.

    Attributes:
        learn: Windows before the first bet.
        rises_only: Bet on rises alone.
        starts: Starts of the remembered windows, seconds since 1970.
        values, sizes: Their shares, and how many posts each is of.
        wealth: R of each bet of `BETS`.
    """

    learn: int
    rises_only: bool = False
    starts: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    sizes: list[float] = field(default_factory=list)
    wealth: list[float] = field(default_factory=lambda: [0.0] * len(BETS))

    @property
    def bets(self) -> bool:
        """Whether it will bet on the next window: known before that is."""
        return len(self.values) >= self.learn

    def add(self, start: float, value: float, size: float, stake: float) -> Change | None:
        """Take in the next window.

        Args:
            start: When it began, seconds since 1970; later than those before.
            value: Its share, in [0, 1].
            size: Of how many posts.
            stake: False alarms that this series may cost with this window, on average.

        Returns:
            The change, where one is alarmed of; then the series begins anew, at its new level.
        """
        betting = self.bets
        self.starts.append(start)
        self.values.append(value)
        self.sizes.append(size)
        if betting:
            self._bet(stake)
            if sum(self.wealth) >= 1:
                return self._alarm()
        if len(self.values) > MEMORY:
            del self.starts[0], self.values[0], self.sizes[0]
        return None

    def _bet(self, stake: float) -> None:
        low, high = rank(residuals(self.starts, self.values, self.sizes))
        z_low, z_high = _quantile(low), _quantile(high)
        bets = [bet for bet in BETS if bet > 0 or not self.rises_only]
        for place, shift in enumerate(BETS):
            if shift in bets:
                # The likelihood ratio of a normal score that is shifted to one that is not, its mean over [low, high]:
                # 1 on average where the rank is uniform.
                won = (_NORMAL.cdf(z_low - shift) - _NORMAL.cdf(z_high - shift)) / (high - low)
                self.wealth[place] = (self.wealth[place] + stake / len(bets)) * won

    def _alarm(self) -> Change:
        values, sizes, starts = np.array(self.values), np.array(self.sizes), np.array(self.starts)
        rising = BETS[int(np.argmax(self.wealth))] > 0
        scores = residuals(starts, values, sizes) * (1 if rising else -1)
        # The likeliest change of the mean of normal scores (Hinkley 1970): the end that strays most for its length.
        ends = np.cumsum(scores[::-1])[::-1] / np.sqrt(np.arange(len(scores), 0, -1))
        since = starts[int(np.argmax(ends))]
        new = starts >= since
        change = Change(
            since=float(since),
            before=float(np.average(values[~new], weights=sizes[~new])) if (~new).any() else math.nan,
            now=float(np.average(values[new], weights=sizes[new])),
            posts=int(sizes[new].sum()),
        )
        keep = int(np.argmax(new))
        for part in (self.starts, self.values, self.sizes):
            del part[:keep]
        self.wealth = [0.0] * len(BETS)
        return change


def rank(scores: NDArray[np.float64]) -> tuple[float, float]:
    """Between which shares of the scores the last one stands, counted from the top.

    A place drawn uniformly between them is uniform in [0, 1] where the scores are exchangeable.

    Args:
        scores: float `[n]`.
    """
    last = scores[-1]
    above, equal = int((scores > last).sum()), int((scores == last).sum())
    return above / len(scores), (above + equal) / len(scores)


def _quantile(share: float) -> float:
    """The normal score that a share of all lies above."""
    return math.inf if share <= 0 else -math.inf if share >= 1 else -_NORMAL.inv_cdf(share)


def residuals(starts: Values, values: Values, sizes: Values) -> NDArray[np.float64]:
    """How far each window is from the daily and weekly course that all show, in standard deviations, float `[n]`.

    Studentised residuals of a weighted ridge regression on two waves of the day and one of the week. A window of n
    posts has variance m (1 - m) (1/n + o), where the overdispersion o is what the residuals show beyond 1/n. All of it
    treats the windows alike, the last one among them, so ranks stay fair.

    Args:
        starts: Seconds since 1970.
        values: Shares.
        sizes: Posts.
    """
    y, noise = np.asarray(values), 1 / np.maximum(np.asarray(sizes), 1)
    x = _course(np.asarray(starts))
    mean = float(np.average(y, weights=1 / noise))
    y, level = y - mean, min(max(mean, 0.005), 0.995)
    scale = level * (1 - level)
    rough = _studentised(x, y, 1 / noise)
    # Moments, with outlying windows cut back: one of them must not make all others look calm.
    beyond = float(np.mean(np.minimum(rough**2 / scale, 9 * noise))) - float(noise.mean())
    variance = noise + max(beyond, 0.0)
    scores = _studentised(x, y, 1 / variance) / np.sqrt(scale * variance)
    rounded: NDArray[np.float64] = scores.round(6)  # what is equal must not be told apart by the last bit
    return rounded


def _course(starts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Columns of the regression `[n, 7]`; those that do not vary, as days within a daily series, are harmless."""
    day, week = 2 * np.pi * starts / _DAY, 2 * np.pi * starts / _WEEK
    waves = [f(angle) for angle in (day, 2 * day, week) for f in (np.cos, np.sin)]
    return np.stack([np.ones_like(starts), *waves], axis=1)


def _studentised(x: NDArray[np.float64], y: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Residuals r / sqrt(1 - h) of a ridge regression, h a row's leverage: of one variance where `1 / weights` are."""
    weights = weights / weights.mean()
    weighted = x * weights[:, None]
    inverse = np.linalg.inv(x.T @ weighted + np.diag([1e-9, *RIDGE]))
    leverage = np.einsum("ij,jk,ik->i", weighted, inverse, x)
    fitted = x @ (inverse @ (weighted.T @ y))
    residual: NDArray[np.float64] = (y - fitted) / np.sqrt(np.maximum(1 - leverage, 1e-3))
    return residual
