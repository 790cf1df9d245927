"""Where in a picture: a heat map's strongest boxes, their names, and the picture with one hidden. Knows no models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageStat

from ..types import Region

__all__ = ["BOX_SHARE", "Box", "grid_boxes", "hide_box", "hide_boxes", "place", "shrunk", "strongest_boxes"]

BOX_SHARE = 0.1
"""Of the picture's area; a box is as wide and high, in shares, as its root."""
PLACES = 7
"""Rows and columns of places where a box may stand."""
APART = 3
"""So many places between two boxes, and they do not overlap."""
MOST_BOXES = 3
"""Of six, those beyond the third were told for one post in a hundred."""
SIDE = 1024
"""Pictures are looked at again at this size at most: more than the towers read, and quick to copy."""


@dataclass(frozen=True, slots=True)
class Box:
    """Edges in shares of the picture's width and height, from its upper left corner."""

    left: float
    top: float
    right: float
    bottom: float


def strongest_boxes(heat: NDArray[Any], most: int = MOST_BOXES) -> list[Box]:
    """Boxes of a tenth of the picture that speak for the label by a heat map `[rows, columns]`, the hottest first.

    None overlaps another. A box counts by its mean heat; there is none where no mean is above 0.
    """
    side = BOX_SHARE**0.5
    starts = np.linspace(0, 1 - side, PLACES)
    down, across = (_overlaps(starts, side, cells) for cells in heat.shape)
    warmth = down @ heat @ across.T
    places: list[tuple[int, int]] = []
    for number in np.argsort(-warmth, axis=None, kind="stable"):
        row, column = divmod(int(number), PLACES)
        if warmth[row, column] <= 0 or len(places) == most:
            break
        if all(max(abs(row - r), abs(column - c)) >= APART for r, c in places):
            places.append((row, column))
    corners = [(float(starts[column]), float(starts[row])) for row, column in places]
    # The sum of a share and its rest may be a hair above 1.
    return [Box(left, top, min(left + side, 1.0), min(top + side, 1.0)) for left, top in corners]


def grid_boxes(rows: int, columns: int) -> list[Box]:
    """The boxes of an even grid, row by row."""
    return [
        Box(left=x / columns, top=y / rows, right=(x + 1) / columns, bottom=(y + 1) / rows)
        for y in range(rows)
        for x in range(columns)
    ]


def place(box: Box | Region) -> str:
    """In which ninth of the picture the middle of a box lies: `the upper left`, `the middle right`, `the centre`."""
    down = _third(box.top + box.bottom, "upper", "lower")
    across = _third(box.left + box.right, "left", "right")
    return "the centre" if down == across else f"the {down} {across}"


def hide_box(picture: Image.Image, box: Box) -> Image.Image:
    """A copy of an RGB picture with a box in the picture's mean colour."""
    return hide_boxes(picture, [box])[0]


def hide_boxes(picture: Image.Image, boxes: Sequence[Box]) -> list[Image.Image]:
    """A copy per box, each with that one box in the picture's mean colour."""
    red, green, blue = (round(value) for value in ImageStat.Stat(picture).mean)
    width, height = picture.size
    copies = []
    for box in boxes:
        edges = (box.left * width, box.top * height, box.right * width, box.bottom * height)
        left, top, right, bottom = map(round, edges)
        hidden = picture.copy()
        hidden.paste((red, green, blue), (left, top, max(right, left + 1), max(bottom, top + 1)))
        copies.append(hidden)
    return copies


def shrunk(picture: Image.Image) -> Image.Image:
    """The picture, or the mean of its squares of as few pixels as bring it to at most `SIDE` pixels a side."""
    factor = -(-max(picture.size) // SIDE)
    return picture if factor == 1 else picture.reduce(factor)


def _third(twice_the_middle: float, first: str, last: str) -> str:
    """The name of the third in which a middle lies."""
    return first if twice_the_middle < 2 / 3 else last if twice_the_middle > 4 / 3 else "middle"


def _overlaps(starts: NDArray[Any], side: float, cells: int) -> NDArray[Any]:
    """How much of each of `cells` equal cells lies under a span of length `side` at each start, `[starts, cells]`."""
    edges = np.arange(cells + 1) / cells
    shared = np.minimum(edges[1:], starts[:, None] + side) - np.maximum(edges[:-1], starts[:, None])
    overlaps: NDArray[Any] = np.clip(shared, 0, None)
    return overlaps
