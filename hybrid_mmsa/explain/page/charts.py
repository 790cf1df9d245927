"""Charts of label shares over time and by group. It knows numbers and names, and no page."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from ...metrics import Interval
from ...types import Label
from ..svg import WIDTH, Frame, circle, drawing, line, polygon, polyline, text
from .tally import Part

__all__ = ["group_chart", "time_chart"]

LEFT, RIGHT = 46, 12
HEIGHT, TOP, BOTTOM = 170, 10, 24
TIME = Frame(left=LEFT, top=TOP, width=WIDTH - LEFT - RIGHT, height=HEIGHT - TOP - BOTTOM)
ROW = 36
NAME = 30
"""Letters of a group's name that fit."""
ISOLATE, END = "\u2068", "\u2069"
"""Between them a name may run from right to left without turning what follows."""


def time_chart(label: Label, k: int, parts: Sequence[Part]) -> str:
    """Share of label `k` per period with its 95 % interval as a band; a period without posts leaves a gap."""
    places = [(i + 0.5) / len(parts) for i in range(len(parts))]
    marks = [TIME.line((0, t / 4), (1, t / 4), "grid") for t in range(5)]
    marks += [text(LEFT - 5, TIME.y(t / 4) + 4, f"{25 * t} %", anchor="end") for t in range(0, 5, 2)]
    shares = [(place, part.share(k)) for place, part in zip(places, parts, strict=True)]
    for has_share, run in groupby(shares, key=lambda pair: pair[1] is not None):
        if has_share:
            marks += _run([(place, share) for place, share in run if share is not None])
    for (place, share), part in zip(shares, parts, strict=True):
        if share is not None:
            marks.append(circle(TIME.x(place), TIME.y(share.value), 2.6, "dot", _tip(part, share)))
    marks.append(text(LEFT, HEIGHT - 6, parts[0].name, anchor="start"))
    if len(parts) > 1:
        marks.append(text(WIDTH - RIGHT, HEIGHT - 6, parts[-1].name, anchor="end"))
    return drawing(f"Share of {label} posts over time", HEIGHT, marks, kind=label)


def group_chart(label: Label, k: int, parts: Sequence[Part]) -> str:
    """Share of label `k` in each group with its 95 % interval as a whisker."""
    height = ROW * len(parts) + BOTTOM
    marks = [line(TIME.x(t / 4), 4, TIME.x(t / 4), height - BOTTOM + 4, "grid") for t in range(5)]
    ends = ("middle",) * 4 + ("end",)
    marks += [text(TIME.x(t / 4), height - 6, f"{25 * t} %", anchor=anchor) for t, anchor in enumerate(ends)]
    for row, part in enumerate(parts):
        share, y = part.share(k), ROW * row + 26
        short = part.name if len(part.name) <= NAME else part.name[: NAME - 1] + "…"
        marks.append(text(LEFT, y - 11, f"{ISOLATE}{short}{END} ({part.n:,})", anchor="start"))
        if share is not None:
            marks.append(line(TIME.x(share.low), y, TIME.x(share.high), y, "whisker"))
            marks.append(circle(TIME.x(share.value), y, 4, "dot", _tip(part, share)))
            marks.append(text(LEFT - 5, y + 4, f"{100 * share.value:.0f} %", anchor="end"))
    return drawing(f"Share of {label} posts by group", height, marks, kind=label)


def _run(points: Sequence[tuple[float, Interval]]) -> list[str]:
    """The band and line of periods that follow on each other; a lone one gets a whisker."""
    if len(points) == 1:
        ((place, share),) = points
        return [TIME.line((place, share.low), (place, share.high), "whisker")]
    edge = [(place, share.low) for place, share in points] + [(place, share.high) for place, share in reversed(points)]
    middle = [(place, share.value) for place, share in points]
    return [
        polygon([(TIME.x(place), TIME.y(share)) for place, share in edge], "band"),
        polyline([(TIME.x(place), TIME.y(share)) for place, share in middle], "line"),
    ]


def _tip(part: Part, share: Interval) -> str:
    percent = f"{100 * share.value:.0f} % [{100 * share.low:.0f}, {100 * share.high:.0f}]"
    return f"{part.name}: {percent} of {part.n:,}"
