"""Small charts as inline SVG. It knows numbers and names; colours and fonts are the page's style sheet's.

Every chart is drawn 360 units wide, so that its letters stay readable on a phone, and carries its name for screen
readers. Systems differ by dash or mark as well as by colour.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from math import ceil, floor

from .result import ClassScores, Curve, Figure

__all__ = ["cascade_chart", "class_chart", "forest_chart", "reliability_chart", "risk_chart", "slug"]

WIDTH = 360
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 24, 40
PLOT = WIDTH - LEFT - RIGHT


def slug(name: str) -> str:
    """A system's name as a style class."""
    return "s-" + "".join(c if c.isalnum() else "-" for c in name.lower())


def reliability_chart(curve: Curve) -> str:
    """Confidence against accuracy; on the diagonal the probabilities can be taken at their word."""
    total = sum(curve.weight) or 1
    marks = [_line(0, 0, 1, 1, "ideal")]
    for x, y, weight in zip(curve.x, curve.y, curve.weight, strict=True):
        marks.append(_line(x, x, x, y, "gap"))
        radius = 2.5 + 9 * (weight / total) ** 0.5
        tip = f"<title>{weight} posts, confidence {x:.2f}, accuracy {y:.2f}</title>"
        marks.append(f'<circle class="s-fused" cx="{_x(x):.1f}" cy="{_y(y):.1f}" r="{radius:.1f}">{tip}</circle>')
    return _square("Reliability diagram", [*_axes("confidence", "accuracy"), *marks])


def risk_chart(curves: Mapping[str, Curve]) -> str:
    """Error rate when only the most confident share of posts is answered, one line a system."""
    top = max((y for curve in curves.values() for y in curve.y), default=1.0)
    top = min(1.0, max(0.2, ceil(top * 5) / 5))
    lines = []
    for name, curve in curves.items():
        points = " ".join(f"{_x(x):.1f},{_y(y / top):.1f}" for x, y in zip(curve.x, curve.y, strict=True))
        lines.append(f'<polyline class="{slug(name)}" points="{points}"><title>{escape(name)}</title></polyline>')
    key = _key(curves, y=14)
    return _square("Risk-coverage curve", [*_axes("coverage", "error rate", top), *lines, *key])


def cascade_chart(curves: Mapping[str, Curve]) -> str:
    """Error rate of the final answers against the share of posts deferred, one line a strategy."""
    top = min(1.0, max(0.1, ceil(10 * max(y for curve in curves.values() for y in curve.y)) / 10))
    marks = []
    for row, (name, curve) in enumerate(curves.items()):
        points = " ".join(f"{_x(x):.1f},{_y(y / top):.1f}" for x, y in zip(curve.x, curve.y, strict=True))
        marks.append(f'<polyline class="{slug(name)}" points="{points}"><title>{escape(name)}</title></polyline>')
        marks += _key([name], y=TOP + PLOT - 14 * (len(curves) - row))
    return _square("Error rate against deferral rate", [*_axes("deferral rate", "error rate", top), *marks])


def class_chart(systems: Mapping[str, Sequence[ClassScores]]) -> str:
    """F1 of each class with its interval, one bar a system."""
    names = list(systems)
    labels = [scores.label for scores in systems[names[0]]]
    step, bar = 18 * len(names) + 16, 12
    marks = []
    for row, label in enumerate(labels):
        y = 44 + row * step
        marks.append(_text(LEFT, y - 6, label, anchor="start", kind="strong"))
        for k, name in enumerate(names):
            f1, top = systems[name][row].f1, y + 18 * k
            width = _x(f1.value) - LEFT
            tip = f"<title>{escape(name)}: {100 * f1.value:.1f}</title>"
            marks.append(
                f'<rect class="{slug(name)}" x="{LEFT}" y="{top}" width="{width:.1f}" height="{bar}">{tip}</rect>'
            )
            low, high, middle = _x(f1.low), _x(f1.high), top + bar / 2
            marks.append(f'<line class="whisker" x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}"/>')
            marks.append(_text(LEFT - 4, top + 10, f"{100 * f1.value:.0f}", anchor="end"))
    return _drawing("F1 per class", 44 + len(labels) * step, [*_key(systems, y=16), *marks])


def forest_chart(rows: Iterable[tuple[str, str, Figure]], metric: str) -> str:
    """A figure of each system with its interval; rows are (name, style class, figure), published ones without width."""
    rows = list(rows)
    low = max(0, floor(10 * min(figure.low for _, _, figure in rows) - 0.4)) / 10
    high = min(10, ceil(10 * max(figure.high for _, _, figure in rows) + 0.1)) / 10
    marks = []
    height = 34 * len(rows) + 40

    def place(value: float) -> float:
        return LEFT + PLOT * (value - low) / (high - low)

    for tick in range(round(low * 10), round(high * 10) + 1):
        x = place(tick / 10)
        marks.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="6" y2="{height - 30}"/>')
        marks.append(_text(x, height - 16, f"{tick * 10}"))
    for k, (name, kind, figure) in enumerate(rows):
        y = 34 * k + 28
        marks.append(_text(4, y - 10, f"{name}  {100 * figure.value:.1f}", anchor="start"))
        left, right = place(figure.low), place(figure.high)
        marks.append(f'<line class="{kind} interval" x1="{left:.1f}" x2="{right:.1f}" y1="{y}" y2="{y}"/>')
        marks.append(f'<circle class="{kind}" cx="{place(figure.value):.1f}" cy="{y}" r="5"/>')
    marks.append(_text(LEFT + PLOT / 2, height - 2, f"{metric}, %"))
    return _drawing(f"{metric} of each system", height + 4, marks)


def _axes(x_name: str, y_name: str, top: float = 1.0) -> list[str]:
    marks = []
    for tick in range(5):
        share = tick / 4
        marks.append(_line(0, share, 1, share, "grid"))
        marks.append(_text(_x(share), _y(0) + 16, f"{share:.2g}"))
        marks.append(_text(LEFT - 5, _y(share) + 4, f"{share * top:.2g}", anchor="end"))
    marks.append(_text(_x(0.5), _y(0) + 34, x_name))
    marks.append(f'<g transform="translate(11 {_y(0.5):.0f}) rotate(-90)">{_text(0, 0, y_name)}</g>')
    return marks


def _key(names: Iterable[str], y: float) -> list[str]:
    """Names of systems beside their line or bar, in one row."""
    marks: list[str] = []
    for k, name in enumerate(names):
        x = LEFT + 4 + k * PLOT / 3
        marks.append(f'<line class="{slug(name)} key" x1="{x:.0f}" x2="{x + 16:.0f}" y1="{y - 4}" y2="{y - 4}"/>')
        marks.append(_text(x + 20, y, name, anchor="start"))
    return marks


def _x(share: float) -> float:
    return LEFT + PLOT * share


def _y(share: float) -> float:
    return TOP + PLOT * (1 - share)


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{_x(x1):.1f}" y1="{_y(y1):.1f}" x2="{_x(x2):.1f}" y2="{_y(y2):.1f}"/>'


def _text(x: float, y: float, words: str, *, anchor: str = "middle", kind: str = "") -> str:
    style = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{style}>{escape(words)}</text>'


def _square(name: str, marks: Iterable[str]) -> str:
    return _drawing(name, TOP + PLOT + BOTTOM, marks)


def _drawing(name: str, height: float, marks: Iterable[str]) -> str:
    label = escape(name, quote=True)
    return f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{label}">{"".join(marks)}</svg>'
