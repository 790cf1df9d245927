"""Shares of labels over time and by group as inline SVG. It knows numbers and names; colours are the style sheet's.

Every chart is 360 units wide, so that its letters stay readable on a phone, and carries its name for screen readers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape
from itertools import groupby

from ...metrics import Interval
from ...types import Label
from .tally import Part

__all__ = ["group_chart", "time_chart"]

WIDTH, LEFT, RIGHT = 360, 46, 12
PLOT = WIDTH - LEFT - RIGHT
HEIGHT, TOP, BOTTOM = 170, 10, 24
ROW = 36
NAME = 30
"""Letters of a group's name that fit."""
ISOLATE, END = "\u2068", "\u2069"
"""Between them a name may run from right to left without turning what follows."""


def time_chart(label: Label, k: int, parts: Sequence[Part]) -> str:
    """Share of label `k` per period with its 95 % interval as a band; a period without posts leaves a gap."""
    tall = HEIGHT - TOP - BOTTOM

    def x(i: int) -> float:
        return LEFT + PLOT * (i + 0.5) / len(parts)

    def y(share: float) -> float:
        return TOP + tall * (1 - share)

    marks = [_line(LEFT, WIDTH - RIGHT, y(t / 4), y(t / 4), "grid") for t in range(5)]
    marks += [_text(LEFT - 5, y(t / 4) + 4, f"{25 * t} %", "end") for t in range(0, 5, 2)]
    shares = [(i, part.share(k)) for i, part in enumerate(parts)]
    for known, run in groupby(shares, key=lambda pair: pair[1] is not None):
        if known:
            marks += _run([(x(i), s) for i, s in run if s is not None], y)
    for i, share in shares:
        if share is not None:
            tip = f"<title>{escape(parts[i].name)}: {_told(share)} of {parts[i].n:,}</title>"
            marks.append(f'<circle class="dot" cx="{x(i):.1f}" cy="{y(share.value):.1f}" r="2.6">{tip}</circle>')
    marks.append(_text(LEFT, HEIGHT - 6, parts[0].name, "start"))
    if len(parts) > 1:
        marks.append(_text(WIDTH - RIGHT, HEIGHT - 6, parts[-1].name, "end"))
    return _drawing(f"Share of {label} posts over time", label, HEIGHT, marks)


def group_chart(label: Label, k: int, parts: Sequence[Part]) -> str:
    """Share of label `k` in each group with its 95 % interval as a whisker."""
    height = ROW * len(parts) + BOTTOM

    def x(share: float) -> float:
        return LEFT + PLOT * share

    marks = [_line(x(t / 4), x(t / 4), 4, height - BOTTOM + 4, "grid") for t in range(5)]
    marks += [_text(x(t / 4), height - 6, f"{25 * t} %", "middle" if t < 4 else "end") for t in range(5)]
    for row, part in enumerate(parts):
        share, y = part.share(k), ROW * row + 26
        short = part.name if len(part.name) <= NAME else part.name[: NAME - 1] + "…"
        marks.append(_text(LEFT, y - 11, f"{ISOLATE}{short}{END} ({part.n:,})", "start"))
        if share is not None:
            tip = f"<title>{escape(part.name)}: {_told(share)} of {part.n:,}</title>"
            marks.append(_line(x(share.low), x(share.high), y, y, "whisker"))
            marks.append(f'<circle class="dot" cx="{x(share.value):.1f}" cy="{y}" r="4">{tip}</circle>')
            marks.append(_text(LEFT - 5, y + 4, f"{100 * share.value:.0f} %", "end"))
    return _drawing(f"Share of {label} posts by group", label, height, marks)


def _run(points: Sequence[tuple[float, Interval]], y: Callable[[float], float]) -> list[str]:
    """The band and line of periods that follow on each other; a lone one gets a whisker."""
    if len(points) == 1:
        ((x, share),) = points
        return [_line(x, x, y(share.low), y(share.high), "whisker")]
    edge = [(x, s.low) for x, s in points] + [(x, s.high) for x, s in reversed(points)]
    band = " ".join(f"{x:.1f},{y(share):.1f}" for x, share in edge)
    line = " ".join(f"{x:.1f},{y(s.value):.1f}" for x, s in points)
    return [f'<polygon class="band" points="{band}"/>', f'<polyline class="line" points="{line}"/>']


def _told(share: Interval) -> str:
    return f"{100 * share.value:.0f} % [{100 * share.low:.0f}, {100 * share.high:.0f}]"


def _line(x1: float, x2: float, y1: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _drawing(title: str, label: Label, height: float, marks: Iterable[str]) -> str:
    box = f"0 0 {WIDTH} {height:.0f}"
    return f'<svg class="{label}" viewBox="{box}" role="img" aria-label="{escape(title)}">{"".join(marks)}</svg>'
