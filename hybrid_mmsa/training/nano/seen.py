"""Pictures → the things an ImageNet classifier surely sees in them, by name. Knows no posts and no labels.

The classifier's outputs carry no names. ImageNet orders its classes by their WordNet ids, so a set of photos with those
ids names them; where the set lacks a few classes, what the classifier sees in the photos says which.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ...data import PHOTOS
from ...encoders.onnx_session import open_session
from ...errors import InputError
from ...fusion import softmax
from ...inputs import DRAFT_PIXELS, read_image, to_pixels
from ...types import FloatArray

__all__ = ["CLASS_PHOTOS", "class_names", "seen_things"]

CLASS_PHOTOS = "imagenet_sample"
"""The set of photos, one a class, whose `labels.jsonl` gives `image`, `wnid` and `label`."""
LEAST = 0.6
"""Probability from which on a thing is surely seen."""
CLASSES = 1000
MOST_MISSING = 20
LEAST_RIGHT = 0.5
"""Share of the class photos that the classifier must name as their set does."""
_SIDE, _CENTRE, _SCALE = 224, 127.0, 127.5
_BATCH = 32


def seen_things(
    data: Path,
    start: Path,
    pictures: Sequence[Path],
    *,
    least: float = LEAST,
    kept: Path | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> dict[str, tuple[str, ...]]:
    """What is surely seen in each picture, by its path; nothing for most of them.

    Args:
        data: Folder holding `photos/`, whose `CLASS_PHOTOS` name the classes.
        start: The classifier (`.onnx`): `image` float32 `[n, 3, 224, 224]` → `logits` `[n, 1001]`, the first of which
            stands for the background.
        pictures: Their paths; those that cannot be read are left out of the answer.
        least: Probability from which on a thing is seen.
        kept: A JSON file of earlier answers, which is read and written; paths in it are relative to `data`.
        advance: Told how many more pictures were looked at.

    Raises:
        InputError: The class photos are not there, or the classifier does not see in them what they are named.
        ArtefactError: The classifier cannot be opened.
    """
    found: dict[str, tuple[str, ...]] = {}
    if kept is not None and kept.is_file():
        found = {path: tuple(names) for path, names in json.loads(kept.read_text(encoding="utf-8")).items()}
    keys = {path: _key(path, data) for path in pictures}
    new = [path for path, key in keys.items() if key not in found]
    if new:
        classify = _Classifier(start)
        names = class_names(data, classify)
        for path, row in classify(new, advance):
            told = (names[place] for place in np.flatnonzero(row >= least))
            found[keys[path]] = tuple(dict.fromkeys(name for name in told if name))
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(found) + "\n", encoding="utf-8")
    return {str(path): found[key] for path, key in keys.items() if key in found}


def class_names(data: Path, classify: _Classifier) -> list[str]:
    """The name of each of the classifier's `CLASSES` classes, empty where no photo names it.

    Args:
        data: Folder holding `photos/`.
        classify: Looks at the class photos.

    Raises:
        InputError: They are not there, too few, or not what the classifier sees.
    """
    folder = data / PHOTOS / CLASS_PHOTOS
    file = folder / "labels.jsonl"
    if not file.is_file():
        raise InputError(f"{file} is not there: it names what the classifier sees", field="data")
    rows = {row["wnid"]: row for row in map(json.loads, file.read_text(encoding="utf-8").splitlines())}
    ordered = [rows[wnid] for wnid in sorted(rows)]
    if not CLASSES - MOST_MISSING <= len(ordered) <= CLASSES:
        raise InputError(f"{file} names {len(ordered)} classes; wanted {CLASSES}, or few less", field="data")
    looked = dict(classify([folder / row["image"] for row in ordered]))
    if len(looked) < len(ordered):
        raise InputError(f"{len(ordered) - len(looked)} photos of {folder} cannot be read", field="data")
    seen = np.stack([*looked.values()])
    places = _in_order(np.log(np.maximum(seen, 1e-6)))
    right = float((seen.argmax(1) == places).mean())
    if right < LEAST_RIGHT:
        raise InputError(
            f"the classifier names {right:.0%} of {folder} as that does; its order is another", field="start"
        )
    names = [""] * CLASSES
    for place, row in zip(places, ordered, strict=True):
        names[place] = " ".join(str(row["label"]).replace("_", " ").lower().split())
    return names


def _key(path: Path, data: Path) -> str:
    """The path within the data folder, so that answers serve wherever that folder stands."""
    return path.relative_to(data).as_posix() if path.is_relative_to(data) else str(path)


class _Classifier:
    """The classifier as a function.

    Args:
        path: The `.onnx` file.
    """

    def __init__(self, path: Path) -> None:
        self._session = open_session(path, os.cpu_count() or 1)

    def __call__(
        self, pictures: Sequence[Path], advance: Callable[[int], None] = lambda _: None
    ) -> Iterator[tuple[Path, FloatArray]]:
        """Probabilities float32 `[CLASSES]` of each picture that can be read."""
        with ThreadPoolExecutor() as pool:  # decoding lets other threads run
            for first in range(0, len(pictures), _BATCH):
                part = pictures[first : first + _BATCH]
                read = [(path, x) for path, x in zip(part, pool.map(_pixels, part), strict=True) if x is not None]
                if read:
                    pixels = np.stack([x for _, x in read])
                    (logits,) = self._session.run(["logits"], {"image": pixels})
                    yield from zip([path for path, _ in read], softmax(logits)[:, 1:], strict=True)
                advance(len(part))


def _pixels(path: Path) -> FloatArray | None:
    """float32 `[3, side, side]` as the classifier reads it, or `None` where the picture cannot be read."""
    try:
        pixels = to_pixels(read_image(path, draft=DRAFT_PIXELS), _SIDE)
    except InputError:
        return None
    read: FloatArray = ((pixels.astype(np.float32) - _CENTRE) / _SCALE).transpose(2, 0, 1)
    return read


def _in_order(scores: FloatArray) -> list[int]:
    """The rising columns, one a row, with the highest sum of scores `[rows, columns]`."""
    rows, columns = scores.shape
    shifts = columns - rows + 1
    best = np.zeros((rows, shifts))
    came = np.zeros((rows, shifts), dtype=int)
    for row in range(rows):
        here = scores[row, row : row + shifts]
        if row:
            for shift in range(shifts):
                came[row, shift] = int(best[row - 1, : shift + 1].argmax())
            best[row] = here + best[row - 1, came[row]]
        else:
            best[row] = here
    shift = int(best[-1].argmax())
    found = []
    for row in reversed(range(rows)):
        found.append(row + shift)
        shift = int(came[row, shift])
    return found[::-1]
