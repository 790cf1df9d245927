"""The marks that charts are drawn with, as inline SVG. It knows numbers and names, and no chart.

Drawings are 360 units wide, so that their letters stay readable on a phone, and carry their titles for screen readers.
Colours, widths and fonts are the page's style sheet's, which knows marks by their kind (their class).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

__all__ = ["WIDTH", "Frame", "circle", "drawing", "line", "polygon", "polyline", "rectangle", "text"]

WIDTH = 360


@dataclass(frozen=True, slots=True)
class Frame:
    """The area of a drawing that values in [0, 1] are shown in, in the drawing's units; (0, 0) is its lower left."""

    left: float
    top: float
    width: float
    height: float

    def x(self, share: float) -> float:
        """Where a value stands from left to right."""
        return self.left + self.width * share

    def y(self, share: float) -> float:
        """Where a value stands from bottom to top."""
        return self.top + self.height * (1 - share)

    def line(self, start: tuple[float, float], end: tuple[float, float], kind: str) -> str:
        """A line from one pair of values to another."""
        (x1, y1), (x2, y2) = start, end
        return line(self.x(x1), self.y(y1), self.x(x2), self.y(y2), kind)


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """A straight line."""
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def circle(x: float, y: float, radius: float, kind: str, tip: str = "") -> str:
    """A dot, and what is shown while one points at it."""
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}">{_title(tip)}</circle>'


def rectangle(x: float, y: float, width: float, height: float, kind: str, tip: str = "") -> str:
    """A bar, and what is shown while one points at it."""
    size = f'width="{width:.1f}" height="{height:.1f}"'
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" {size}>{_title(tip)}</rect>'


def polyline(points: Iterable[tuple[float, float]], kind: str, tip: str = "") -> str:
    """A line through points, and what is shown while one points at it."""
    return f'<polyline class="{kind}" points="{_points(points)}">{_title(tip)}</polyline>'


def polygon(points: Iterable[tuple[float, float]], kind: str) -> str:
    """An area between points."""
    return f'<polygon class="{kind}" points="{_points(points)}"/>'


def text(x: float, y: float, words: str, *, anchor: str = "middle", kind: str = "") -> str:
    """Words at a place; `anchor` is `start`, `middle` or `end`."""
    style = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{style}>{escape(words)}</text>'


def drawing(title: str, height: float, marks: Iterable[str], *, kind: str = "") -> str:
    """Marks as one drawing.

    Args:
        title: What it shows, for screen readers.
        height: In its units.
        marks: In the order in which they are drawn.
        kind: Its style class.
    """
    style = f' class="{kind}"' if kind else ""
    box = f'viewBox="0 0 {WIDTH} {height:.0f}"'
    return f'<svg{style} {box} role="img" aria-label="{escape(title)}">{"".join(marks)}</svg>'


def _points(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _title(tip: str) -> str:
    return f"<title>{escape(tip)}</title>" if tip else ""
