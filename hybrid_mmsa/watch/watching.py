"""Posts in the order in which they arrive → windows by the time they were posted at → alerts.

A window is closed, and judged, once a post has arrived that is newer than its end by the lateness that is waited for;
what comes for it afterwards is late, counted and left out. It knows no models, files of posts or networks.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..types import Label
from .alerts import Alert, Measure
from .changes import Change, Series
from .drift import separability
from .store import Counts, Store

__all__ = ["ALL", "OTHERS", "Observation", "Watch", "WatchSettings"]

ALL, OTHERS = "*", "(others)"
"""The group of all posts, and of posts whose group came when there were as many as may be."""
WEEK = 7 * 86_400
LEAST_VECTORS = 20
"""Posts of a window that are needed to tell whether they are like earlier ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchSettings:
    """How a stream is watched.

    Attributes:
        window: Seconds of a window.
        lateness: Seconds that a window is waited for after its end; a quarter of the window if None.
        false_alarms: How many a week to expect at most, of all groups and measures together.
        learn: Windows of a group before it is judged; if None, two days of them, and 24 at least.
        most_groups: Groups that are told apart; the posts of later ones are counted together.
        sample: Posts of a window, and of the time before, that are compared to see whether the inputs have changed.

    Raises:
        InputError: A number is out of its range.
    """

    window: int = 3600
    lateness: int | None = None
    false_alarms: float = 0.1
    learn: int | None = None
    most_groups: int = 1000
    sample: int = 200

    def __post_init__(self) -> None:
        for name in ("window", "false_alarms", "most_groups", "sample"):
            if not getattr(self, name) > 0:
                raise InputError(f"found {getattr(self, name)}; wanted a number above 0", field=name)
        if self.learn is not None and self.learn < 10:
            raise InputError(f"found {self.learn}; wanted 10 windows or more", field="learn")

    @property
    def wait(self) -> int:
        """Seconds that a window is waited for."""
        return self.window // 4 if self.lateness is None else self.lateness

    @property
    def warm_up(self) -> int:
        """Windows before the first judgement."""
        return max(24, math.ceil(2 * 86_400 / self.window)) if self.learn is None else self.learn


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What a watch looks at of one answered post.

    Attributes:
        time: When it was posted, seconds since 1970; `None` where that is not known.
        label: The answer.
        group: What it is counted under besides all posts.
        id: By which it is known again.
        deferred: Whether the answer was deferred.
        vector: Computes what it is compared with others by, float `[d]`; called for some posts of a window.
    """

    time: float | None
    label: Label
    group: str | None = None
    id: str | None = None
    deferred: bool = False
    vector: Callable[[], NDArray[np.float32]] | None = None


@dataclass(slots=True, eq=False)
class _Sample:
    """Some posts' vectors, each of those that came with the same probability (Vitter 1985, algorithm R)."""

    most: int
    vectors: list[NDArray[np.float32]] = field(default_factory=list)
    seen: int = 0

    def offer(self, vector: Callable[[], NDArray[np.float32]], chance: random.Random) -> None:
        self.seen += 1
        if len(self.vectors) < self.most:
            self.vectors.append(vector())
        elif (place := chance.randrange(self.seen)) < self.most:
            self.vectors[place] = vector()


class Watch:
    """Counts posts, closes windows and raises alerts. One thread.

    Args:
        store: Where it is remembered.
        settings: How it is watched.
        notify: Is called with each alert.
        now: Seconds since 1970, for a live stream: posts from more than a window ahead are not believed. `None` for
            posts of any time.

    Raises:
        InputError: The store was begun with other settings.
    """

    def __init__(
        self,
        store: Store,
        settings: WatchSettings,
        notify: Callable[[Alert], object],
        now: Callable[[], float] | None = None,
    ) -> None:
        self.store, self.settings = store, settings
        self._notify, self._now = notify, now
        store.settle({"window": settings.window, "learn": settings.warm_up, "most_groups": settings.most_groups})
        self._newest: float = store.fact("newest") or -math.inf
        self._closed_until: int = store.fact("closed_until") or -(2**62)
        self._open: dict[int, dict[str, Counts]] = {}
        self._tallies: Counter[str] = Counter()
        self._series: dict[tuple[str, Measure], Series] = {}
        for group, measure, state in store.series():
            self._series[group, measure] = Series(**state)  # type: ignore[index]
        for group, start, counts in store.windows(since=self._closed_until):
            self._open.setdefault(start, {})[group] = counts
        self._groups = {group for group in store.groups() if group not in (ALL, OTHERS)}
        self._chance = random.Random(0)
        self._samples: dict[int, _Sample] = {}
        kept = store.fact("reference") or {"vectors": [], "seen": 0, "windows": 0}
        vectors = [np.array(v, np.float32) for v in kept["vectors"]]
        self._reference = _Sample(5 * settings.sample, vectors, kept["seen"])
        self._reference_windows: int = kept["windows"]

    def observe(self, post: Observation) -> None:
        """Count a post, and close the windows that it shows to be over."""
        start = self._start_of(post)
        if start is None:
            return
        self._tallies["posts"] += 1
        groups = self._open.setdefault(start, {})
        for name in (ALL, self._group(post.group)):
            if name is not None:
                counts = groups.setdefault(name, Counts())
                counts.posts += 1
                counts.negative += post.label == "negative"
                counts.positive += post.label == "positive"
                counts.deferred += post.deferred
        if post.vector is not None:
            self._samples.setdefault(start, _Sample(self.settings.sample)).offer(post.vector, self._chance)
        self._close_until(self._newest - self.settings.wait)

    def commit(self) -> None:
        """Let all that was observed stay; a watch that is killed goes on from here."""
        rows = {(group, start): counts for start, groups in self._open.items() for group, counts in groups.items()}
        self.store.keep_windows(rows)
        self.store.count(self._tallies)
        self._tallies.clear()
        if not math.isinf(self._newest):
            self.store.keep_fact("newest", self._newest)
        self.store.commit()

    def finish(self) -> None:
        """Judge what is still open: at the end of a stream that has one."""
        self._close_until(math.inf)
        self.commit()

    def _start_of(self, post: Observation) -> int | None:
        """The window of a post; `None` where it is not counted in any, and then why it is not is counted."""
        if post.time is None:
            self._tallies["without time"] += 1
            return None
        if self._now is not None and post.time > self._now() + self.settings.window:
            self._tallies["from the future"] += 1
            return None
        start = int(post.time // self.settings.window) * self.settings.window
        if start < self._closed_until:
            self._tallies["late"] += 1
            return None
        if post.id is not None and not self.store.is_new(post.id, start):
            self._tallies["duplicate"] += 1
            return None
        if post.time < self._newest:
            self._tallies["out of order"] += 1
        self._newest = max(self._newest, post.time)
        return start

    def _group(self, group: str | None) -> str | None:
        if group is None or group in self._groups:
            return group
        if len(self._groups) < self.settings.most_groups:
            self._groups.add(group)
            return group
        return OTHERS

    def _close_until(self, moment: float) -> None:
        """Judge the windows that ended before a moment, in their order."""
        for start in sorted(s for s in self._open if s + self.settings.window <= moment):
            groups = self._open.pop(start)
            self._judge(start, groups)
            self._closed_until = start + self.settings.window
            self.store.keep_windows({(group, start): counts for group, counts in groups.items()})
            self.store.keep_fact("closed_until", self._closed_until)
            self.store.forget_before(self._closed_until)
            self.commit()

    def _judge(self, start: int, groups: dict[str, Counts]) -> None:
        shares = [(group, "negative", c.negative / c.posts, c.posts) for group, c in groups.items()]
        shares += [(group, "deferred", c.deferred / c.posts, c.posts) for group, c in groups.items()]
        if (auc := self._compare(start)) is not None:
            shares.append((ALL, "inputs", *auc))
        # Known before the window is looked at, as the bound on false alarms wants it.
        betting = sum(series.bets for series in self._series.values())
        stake = self.settings.false_alarms * self.settings.window / WEEK / max(betting, 1)
        changed = []
        for group, measure, value, size in shares:
            key: tuple[str, Measure] = (group, measure)  # type: ignore[assignment]
            series = self._series.setdefault(key, Series(self.settings.warm_up, rises_only=measure == "inputs"))
            if change := series.add(start, value, size, stake):
                self._raise(start, group, measure, change)  # type: ignore[arg-type]
            changed.append((group, measure, asdict(series)))
        self.store.keep_series(changed)

    def _compare(self, start: int) -> tuple[float, int] | None:
        """How well the posts of a window are told from earlier ones, and how many were compared."""
        sample = self._samples.pop(start, None)
        if sample is None or len(sample.vectors) < LEAST_VECTORS:
            return None
        if self._reference_windows < self.settings.warm_up:
            for vector in sample.vectors:
                self._reference.offer(lambda vector=vector: vector, self._chance)  # type: ignore[misc]
            self._reference_windows += 1
            if self._reference_windows == self.settings.warm_up or self._reference_windows % 10 == 0:
                vectors = [[round(float(x), 5) for x in v] for v in self._reference.vectors]
                kept = {"vectors": vectors, "seen": self._reference.seen, "windows": self._reference_windows}
                self.store.keep_fact("reference", kept)
            return None
        return separability(np.stack(self._reference.vectors), np.stack(sample.vectors)), len(sample.vectors)

    def _raise(self, start: int, group: str, measure: Measure, change: Change) -> None:
        advice = None
        if measure == "inputs":
            advice = "label some of these posts and compare: `hybrid-mmsa route check`, `route fit`"
        alert = Alert(
            time=iso(start + self.settings.window),
            group=group,
            measure=measure,
            since=iso(change.since),
            before=round(change.before, 4) if change.before == change.before else 0.0,
            now=round(change.now, 4),
            posts=change.posts,
            false_alarms_per_week=self.settings.false_alarms,
            advice=advice,
        )
        self._tallies["alerts"] += 1
        self.store.keep_alert(alert)
        self._notify(alert)


def iso(seconds: float) -> str:
    """A moment, ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
