"""Counts over all posts, kept while they stream by: labels, marks, groups, hours. Knows nothing of HTML."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from ...metrics import Interval, wilson
from ...types import LABELS, Label
from ..compose import STANDS
from .entries import Entry
from .periods import floor, moment, name, span, unit_for
from .record import flags

__all__ = ["Part", "Tally", "Trend"]

MOST_GROUPS = 15
K = TypeVar("K", datetime, str)


@dataclass(frozen=True, slots=True)
class Part:
    """Some posts of a trend: a period's or a group's.

    Attributes:
        name: As people write it.
        counts: Posts per label, in the order of `LABELS`.
    """

    name: str
    counts: tuple[int, ...]

    @property
    def n(self) -> int:
        """Posts."""
        return sum(self.counts)

    def share(self, k: int) -> Interval | None:
        """Share of label `k` with its 95 % Wilson interval; None of no posts."""
        return wilson(self.counts[k], self.n) if self.n else None


@dataclass(frozen=True, slots=True)
class Trend:
    """Parts in order, and how many posts are in none of them.

    Attributes:
        parts: The periods in order of time, or the groups by size.
        unit: `hour`, `day`, `week`, `month` or `year`; `""` of groups.
        left_out: Posts of earlier periods or smaller groups.
        unknown: Posts without a time that can be read, or without a group.
    """

    parts: tuple[Part, ...]
    unit: str
    left_out: int
    unknown: int


@dataclass(slots=True, kw_only=True)
class Tally:
    """What is counted of posts; memory grows with the hours and groups there are, not with the posts."""

    n: int = 0
    labels: Counter[Label] = field(default_factory=Counter)
    marks: Counter[str] = field(default_factory=Counter)
    microseconds: Counter[str] = field(default_factory=Counter)
    hours: Counter[tuple[datetime, Label]] = field(default_factory=Counter)
    groups: Counter[tuple[str, Label]] = field(default_factory=Counter)

    def add(self, entry: Entry) -> None:
        """Count one post."""
        analysis, when = entry.analysis, moment(entry.sample.time)
        label = analysis.sentiment.label
        self.n += 1
        self.labels[label] += 1
        self.marks.update(flags(entry))
        self.marks["deferred"] += analysis.route.decision == "defer"
        self.marks["nobody asked"] += STANDS in (analysis.explanation.text if analysis.explanation else "")
        self.microseconds.update({stage: round(1000 * time) for stage, time in analysis.timings.items()})
        self.marks["asked for review"] += analysis.needs_review is not None
        if when is not None:
            self.hours[floor(when, "hour"), label] += 1
        if entry.sample.group is not None:
            self.groups[entry.sample.group, label] += 1

    def over_time(self) -> Trend:
        """Posts per period, empty periods between full ones included."""
        moments = [when for when, _ in self.hours]
        unit = unit_for(min(moments), max(moments), self.hours.total()) if moments else ""
        starts = span(moments, unit)
        by_period: Counter[tuple[datetime, Label]] = Counter()
        for (when, label), count in self.hours.items():
            by_period[floor(when, unit), label] += count
        parts = tuple(Part(name(start, unit), _counts(by_period, start)) for start in starts)
        timed = self.hours.total()
        return Trend(parts, unit, timed - sum(part.n for part in parts), self.n - timed)

    def over_groups(self) -> Trend:
        """Posts per group, the largest groups first."""
        sizes: Counter[str] = Counter()
        for (group, _), count in self.groups.items():
            sizes[group] += count
        parts = tuple(Part(group, _counts(self.groups, group)) for group, _ in sizes.most_common(MOST_GROUPS))
        return Trend(parts, "", sizes.total() - sum(part.n for part in parts), self.n - sizes.total())


def _counts(counts: Counter[tuple[K, Label]], key: K) -> tuple[int, ...]:
    return tuple(counts[key, label] for label in LABELS)
