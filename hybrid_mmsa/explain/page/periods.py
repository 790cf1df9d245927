"""Times as posts carry them → moments, and moments → periods of a length that fits them. Knows nothing of posts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

__all__ = ["MOST_PERIODS", "floor", "moment", "name", "span", "unit_for"]

MOST_PERIODS = 60
"""Periods a chart can show; of longer spans the latest stay."""

LEAST_POSTS = 10
"""Posts that an hour or a day holds on the average, where a chart shows it."""
_YEARS = range(1900, 2200)
_UNITS = (("hour", 3600), ("day", 86_400), ("week", 7 * 86_400), ("month", 30 * 86_400), ("year", 365 * 86_400))


def moment(time: str | None) -> datetime | None:
    """A time in ISO 8601 as UTC; one without a zone counts as UTC. None where it cannot be read."""
    try:
        read = datetime.fromisoformat((time or "").strip())
        read = read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return read if read.year in _YEARS else None


def unit_for(first: datetime, last: datetime, posts: int) -> str:
    """The finest unit in which a chart can show the whole span, weeks at the finest where posts are few.

    Args:
        first: The earliest moment.
        last: The latest.
        posts: How many posts there are: an hour, and a day, must hold `LEAST_POSTS` of them on the average.
    """
    seconds = (last - first).total_seconds()
    fine = [
        unit
        for unit, length in _UNITS
        if seconds / length < MOST_PERIODS - 1
        and (unit not in ("hour", "day") or posts >= LEAST_POSTS * max(seconds / length, 1))
    ]
    return fine[0] if fine else "year"


def floor(when: datetime, unit: str) -> datetime:
    """When the period began that a moment lies in; weeks begin on Monday."""
    if unit == "hour":
        return when.replace(minute=0, second=0, microsecond=0)
    day = when.replace(hour=0, minute=0, second=0, microsecond=0)
    if unit == "week":
        return day - timedelta(days=day.weekday())
    return {"day": day, "month": day.replace(day=1), "year": day.replace(month=1, day=1)}[unit]


def span(moments: Iterable[datetime], unit: str) -> list[datetime]:
    """Every period from the first moment's to the last one's, empty ones too; the latest `MOST_PERIODS` of them."""
    starts = {floor(when, unit) for when in moments}
    return list(_steps(min(starts), max(starts), unit))[-MOST_PERIODS:] if starts else []


def name(start: datetime, unit: str) -> str:
    """A period as people write it."""
    return start.strftime({"hour": "%Y-%m-%d %H:00", "month": "%Y-%m", "year": "%Y"}.get(unit, "%Y-%m-%d"))


def _steps(start: datetime, last: datetime, unit: str) -> Iterator[datetime]:
    longer = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(days=7)}
    while start <= last:
        yield start
        # Longer by a few days than any month or year: the floor of that is the next one.
        start = floor(start + longer.get(unit, timedelta(days=32 if unit == "month" else 367)), unit)
