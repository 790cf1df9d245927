"""Charts of results. It knows numbers and names of systems, and no page.

Systems differ by dash or mark as well as by colour.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import ceil, floor

from ..explain.svg import WIDTH, Frame, circle, drawing, line, polyline, rectangle, text
from .result import ClassScores, Figure, PointSeries

__all__ = ["cascade_chart", "class_chart", "forest_chart", "reliability_chart", "risk_chart", "slug"]

LEFT, RIGHT, TOP, BOTTOM = 44, 12, 24, 40
PLOT = WIDTH - LEFT - RIGHT
SQUARE = Frame(left=LEFT, top=TOP, width=PLOT, height=PLOT)


def slug(name: str) -> str:
    """A system's name as a style class."""
    return "s-" + "".join(c if c.isalnum() else "-" for c in name.lower())


def reliability_chart(curve: PointSeries) -> str:
    """Confidence against accuracy; on the diagonal the probabilities can be taken at their word."""
    total = sum(curve.weight) or 1
    marks = [SQUARE.line((0, 0), (1, 1), "ideal")]
    for x, y, weight in zip(curve.x, curve.y, curve.weight, strict=True):
        marks.append(SQUARE.line((x, x), (x, y), "gap"))
        radius = 2.5 + 9 * (weight / total) ** 0.5
        tip = f"{weight} posts, confidence {x:.2f}, accuracy {y:.2f}"
        marks.append(circle(SQUARE.x(x), SQUARE.y(y), radius, "s-fused", tip))
    return _square("Reliability diagram", [*_axes("confidence", "accuracy"), *marks])


def risk_chart(curves: Mapping[str, PointSeries]) -> str:
    """Error rate when only the most confident share of posts is answered, one line a system."""
    top = max((y for curve in curves.values() for y in curve.y), default=1.0)
    top = min(1.0, max(0.2, ceil(top * 5) / 5))
    marks = [_curve(name, curve, top) for name, curve in curves.items()]
    return _square("Risk-coverage curve", [*_axes("coverage", "error rate", top), *marks, *_key(curves, y=14)])


def cascade_chart(curves: Mapping[str, PointSeries]) -> str:
    """Error rate of the final answers against the share of posts deferred, one line a strategy."""
    top = min(1.0, max(0.1, ceil(10 * max(y for curve in curves.values() for y in curve.y)) / 10))
    marks = []
    for row, (name, curve) in enumerate(curves.items()):
        marks.append(_curve(name, curve, top))
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
        marks.append(text(LEFT, y - 6, label, anchor="start", kind="strong"))
        for k, name in enumerate(names):
            f1, top = systems[name][row].f1, y + 18 * k
            tip = f"{name}: {100 * f1.value:.1f}"
            marks.append(rectangle(LEFT, top, PLOT * f1.value, bar, slug(name), tip))
            marks.append(line(SQUARE.x(f1.low), top + bar / 2, SQUARE.x(f1.high), top + bar / 2, "whisker"))
            marks.append(text(LEFT - 4, top + 10, f"{100 * f1.value:.0f}", anchor="end"))
    return drawing("F1 per class", 44 + len(labels) * step, [*_key(systems, y=16), *marks])


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
        marks.append(line(x, 6, x, height - 30, "grid"))
        marks.append(text(x, height - 16, f"{tick * 10}"))
    for k, (name, kind, figure) in enumerate(rows):
        y = 34 * k + 28
        marks.append(text(4, y - 10, f"{name}  {100 * figure.value:.1f}", anchor="start"))
        marks.append(line(place(figure.low), y, place(figure.high), y, f"{kind} interval"))
        marks.append(circle(place(figure.value), y, 5, kind))
    marks.append(text(LEFT + PLOT / 2, height - 2, f"{metric}, %"))
    return drawing(f"{metric} of each system", height + 4, marks)


def _curve(name: str, curve: PointSeries, top: float) -> str:
    points = [(SQUARE.x(x), SQUARE.y(y / top)) for x, y in zip(curve.x, curve.y, strict=True)]
    return polyline(points, slug(name), name)


def _axes(x_name: str, y_name: str, top: float = 1.0) -> list[str]:
    marks = []
    for tick in range(5):
        share = tick / 4
        marks.append(SQUARE.line((0, share), (1, share), "grid"))
        marks.append(text(SQUARE.x(share), SQUARE.y(0) + 16, f"{share:.2g}"))
        marks.append(text(LEFT - 5, SQUARE.y(share) + 4, f"{share * top:.2g}", anchor="end"))
    marks.append(text(SQUARE.x(0.5), SQUARE.y(0) + 34, x_name))
    marks.append(f'<g transform="translate(11 {SQUARE.y(0.5):.0f}) rotate(-90)">{text(0, 0, y_name)}</g>')
    return marks


def _key(names: Iterable[str], y: float) -> list[str]:
    """Names of systems beside their line or bar, in one row."""
    marks: list[str] = []
    for k, name in enumerate(names):
        x = LEFT + 4 + k * PLOT / 3
        marks.append(line(x, y - 4, x + 16, y - 4, f"{slug(name)} key"))
        marks.append(text(x + 20, y, name, anchor="start"))
    return marks


def _square(title: str, marks: Iterable[str]) -> str:
    return drawing(title, TOP + PLOT + BOTTOM, marks)
