"""Records of growth → a page of plots that opens offline. It measures nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from hybrid_mmsa.explain.svg import WIDTH, Frame, circle, drawing, polyline, text

__all__ = ["speed_page"]

FRAME = Frame(left=52, top=26, width=WIDTH - 66, height=170)
HEIGHT = 240
STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(20rem,1fr));gap:1rem}
svg{width:100%} svg text{font-size:11px} .grid{stroke:#ddd} .curve{fill:none;stroke:#0a6;stroke-width:2}
.dot{fill:#0a6} .ideal{stroke:#999;stroke-dasharray:4 3} .strong{font-weight:600}
"""


def speed_page(record: Mapping[str, Any]) -> str:
    """For each kind of growth, time and memory over size, both axes in powers of ten.

    Args:
        record: What `growth.py` keeps.
    """
    parts = []
    for values in record["growth"].values():
        sizes = values["sizes"]
        if len(sizes) > 1:
            x = [each["size"] for each in sizes]
            slope = "" if values["exponent"] is None else f", ~ size^{values['exponent']:.2f}"
            parts.append(_plot(f"{values['title']}: seconds{slope}", x, [each["seconds"] for each in sizes]))
            parts.append(_plot(f"{values['title']}: peak MB", x, [each["peak_memory_mb"] for each in sizes]))
    machine = record["machine"]
    facts = f"{record['date']}, {machine['system']}, {machine['cpus']} CPUs, load {machine['load']:.1f}, one thread"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Growth</title>'
        f"<style>{STYLE}</style></head><body><h1>How time and memory grow</h1><p>{escape(facts)}. The dashed line grows"
        f' as the size does.</p><div class="plots">{"".join(parts)}</div></body></html>\n'
    )


def _plot(title: str, x: Sequence[float], y: Sequence[float]) -> str:
    (left, right), (low, high) = _decades(x), _decades(y)

    def place(size: float, value: float) -> tuple[float, float]:
        return (
            FRAME.x((math.log10(size) - left) / (right - left)),
            FRAME.y((math.log10(value) - low) / (high - low)),
        )

    marks = [text(FRAME.left, 16, title, anchor="start", kind="strong")]
    for power in range(low, high + 1):
        share = (power - low) / (high - low)
        marks.append(FRAME.line((0, share), (1, share), "grid"))
        marks.append(text(FRAME.left - 6, FRAME.y(share) + 4, f"{10.0**power:g}", anchor="end"))
    for power in range(left, right + 1):
        share = (power - left) / (right - left)
        marks.append(FRAME.line((share, 0), (share, 1), "grid"))
        marks.append(text(FRAME.x(share), FRAME.top + FRAME.height + 16, f"{10.0**power:g}"))
    marks.append(_as_the_size(left, right, low, high, math.log10(y[-1]) - math.log10(x[-1])))
    marks.append(polyline([place(a, b) for a, b in zip(x, y, strict=True)], "curve"))
    marks += [circle(*place(a, b), 3, "dot", f"{a:g}: {b:.3g}") for a, b in zip(x, y, strict=True)]
    return drawing(title, HEIGHT, marks)


def _as_the_size(left: int, right: int, low: int, high: int, offset: float) -> str:
    """The line of slope 1 through the last point, cut to the frame."""
    start, end = max(left, low - offset), min(right, high - offset)
    ends = [((x - left) / (right - left), (x + offset - low) / (high - low)) for x in (start, end)]
    return FRAME.line(ends[0], ends[1], "ideal") if start < end else ""


def _decades(values: Iterable[float]) -> tuple[int, int]:
    """The powers of ten that hold all values, two at least."""
    logs = [math.log10(value) for value in values]
    low, high = math.floor(min(logs)), math.ceil(max(logs))
    return low, max(high, low + 1)
