"""Drawn captioned photos: one colour over another, and a sentence that names both among other words."""

import json

import numpy as np
import tiny
from PIL import Image

SIDE = 32
COLOURS = {
    "red": (220, 30, 30),
    "sun": (240, 220, 30),
    "sea": (20, 60, 220),
    "city": (20, 20, 20),
    "rain": (130, 220, 240),
    "love": (240, 110, 200),
    "fine": (40, 180, 60),
    "grey": (250, 250, 250),
}
"""Words of the tiny tower's vocabulary, which need not mean anything but must mean the same each time."""


def draw(upper, lower, rng):
    """A picture of `SIDE` pixels a side, with noise everywhere."""
    pixels = np.empty((SIDE, SIDE, 3))
    pixels[:14], pixels[14:] = COLOURS[upper], COLOURS[lower]
    return Image.fromarray(np.clip(pixels + rng.normal(0, 6, pixels.shape), 0, 255).astype(np.uint8))


def tell(upper, lower, rng):
    """A sentence on the picture; the words at its end are nothing but noise, so that no two sentences are twins."""
    return " ".join(["the", upper, "in my", lower, *rng.choice(tiny.WORDS, 2)])


def write_photos(root, n, seed=0, name="drawn"):
    """`root/photos/<name>/captions.jsonl` with `n` pictures beside it."""
    folder = root / "photos" / name
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(n):
        colours = rng.choice(list(COLOURS), 2, replace=False)
        draw(*colours, rng).save(folder / f"{number}.png")
        rows.append({"image": f"{number}.png", "captions": [tell(*colours, rng)]})
    (folder / "captions.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return folder


def write_named(root, counts, seed=0):
    """`root/photos/named/labels.jsonl`: so many pictures of each name, a colour."""
    folder = root / "photos" / "named"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    rows = [{"image": f"{name}{n}.png", "label": name} for name, count in counts.items() for n in range(count)]
    for row in rows:
        draw(row["label"], row["label"], rng).save(folder / row["image"])
    (folder / "labels.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
