"""A file of one's own labelled posts: read, checked whole, twins found, and parted. Knows no models.

Nothing is left out in silence: rows that cannot be used, labels too rare to learn and files of one label are refused
with their lines and counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from ...data import PostsFile, read_posts
from ...data.duplicates import groups, picture_hash, picture_pairs, text_pairs
from ...data.splits import make_folds
from ...errors import InputError
from ...inputs import needing, read_sample, stars
from ...types import LABELS, RowError, Sample

__all__ = ["LabelledFile", "Parts", "part_posts", "read_labelled_file"]

SHOWN = 5
TENTHS = 10
FOLDS = 5


@dataclass(frozen=True, slots=True, eq=False)
class LabelledFile:
    """Labelled posts of a file, each usable.

    Attributes:
        samples: Raw, their pictures not decoded.
        keys: Per post the line its group of near-duplicates begins on.
        sha256: Of the file (hex).
    """

    samples: list[Sample]
    keys: list[str]
    sha256: str

    @property
    def counts(self) -> Counter[str]:
        """Posts by label."""
        return Counter(sample.label for sample in self.samples if sample.label)


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """Row numbers of posts by what they are for, and the fold `[n]` of each; twins stay together.

    Attributes:
        train, calibration, test: int64 row numbers.
        folds: int64 `[n]`, -1 for posts that are not trained on.
    """

    train: NDArray[np.int64]
    calibration: NDArray[np.int64]
    test: NDArray[np.int64]
    folds: NDArray[np.int64]


def read_labelled_file(
    path: Path | PostsFile, *, least: int, advance: Callable[[], None] = lambda: None
) -> LabelledFile:
    """Read a file of posts and check each of them: fields, label, picture.

    Args:
        path: A file as `data.read_posts` takes it, or what that made of it.
        least: Posts that every label which occurs must have.
        advance: Called after every post.

    Raises:
        InputError: Some rows cannot be used, a label is too rare, or there is but one label; the message counts them.
    """
    samples: dict[str, Sample] = {}
    pictures: dict[str, NDArray[np.uint8]] = {}
    wrong: list[str] = []
    rows = path if isinstance(path, PostsFile) else read_posts(path)
    for line, row in rows:
        row = needing("label", line, row)
        try:
            if isinstance(row, RowError):
                raise InputError(row.error, field=row.field)
            if row.label is None:
                raise InputError("a post to train on needs one", field="label")
            read = read_sample(row)
            samples[str(line)] = row
            if isinstance(read.image, Image):
                pictures[str(line)] = picture_hash(read.image)
        except InputError as error:
            wrong.append(f"line {line}: {error}")
        advance()
    if wrong:
        more = f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        shown = "; ".join(wrong[:SHOWN])
        raise InputError(
            f"{len(wrong)} of {len(wrong) + len(samples)} rows cannot be used: {shown}{more}", field="posts"
        )
    texts = {line: sample.text for line, sample in samples.items() if sample.text}
    twins = groups(samples, [*text_pairs(texts), *picture_pairs(pictures)])
    key_of = {line: group[0] for group in twins for line in group}
    sha256 = rows.sha256()
    posts = LabelledFile(list(samples.values()), [key_of[line] for line in samples], sha256)
    _check_counts(posts.counts, least)
    _check_stars(rows, posts.counts)
    return posts


def _check_stars(posts: PostsFile, counts: Counter[str]) -> None:
    """Refuse a file whose labels are all 1, 2 or 3: rather numbers of labels than stars, and read wrongly then."""
    if counts["positive"]:
        return
    numbers = [stars(row.get("label")) for _, row in posts.raw_rows() if not isinstance(row, RowError)]
    if all(number is not None for number in numbers):
        raise InputError(
            "all are numbers from 1 to 3; stars go up to 5, and numbers of labels are not read: write negative, "
            "neutral and positive",
            field="label",
        )


def _check_counts(counts: Counter[str], least: int) -> None:
    listed = ", ".join(f"{counts[label]} {label}" for label in LABELS)
    if len(counts) < 2:
        raise InputError(f"found {listed}; posts of two labels at the least are wanted", field="label")
    if rare := [label for label, n in counts.items() if n < least]:
        hint = "" if least <= 8 else "; --few-shot learns from 8 posts of a label"
        raise InputError(
            f"found {listed}; a label needs {least} posts, and {', '.join(rare)} has fewer{hint}", field="label"
        )


def part_posts(
    posts: LabelledFile, *, calibration: bool, calibration_posts: int = 0, most: int | None = None, seed: int = 0
) -> Parts:
    """Two tenths to test on, two tenths to calibrate on if asked for, the rest to train on; labels evenly spread.

    Args:
        posts: The posts.
        calibration: Whether a part is held out for the router; few posts are worth more in training.
        calibration_posts: Posts the calibration part should have; a third tenth of the posts is given for it, not more.
        most: About how many posts of a large file are held out for each of the two; all others are trained on.
        seed: Draws the parts.
    """
    pieces = TENTHS if most is None else max(TENTHS, 2 * len(posts.samples) // most)
    held_pieces = 3 if calibration_posts > len(posts.samples) * 2 // pieces else 2
    ids = [str(i) for i in range(len(posts.samples))]
    labels = {i: str(sample.label) for i, sample in zip(ids, posts.samples, strict=True)}
    by_key: dict[str, list[str]] = {}
    for i, key in zip(ids, posts.keys, strict=True):
        by_key.setdefault(key, []).append(i)
    piece = _largest_last(_assigned(make_folds(list(by_key.values()), labels, pieces, seed), ids), pieces)
    test = piece < 2
    held = (piece < 2 + held_pieces) & ~test if calibration else np.zeros(len(ids), dtype=bool)
    train = ~test & ~held
    inside = [group for group in by_key.values() if train[int(group[0])]]
    folds = np.full(len(ids), -1, dtype=np.int64)
    folds[train] = _assigned(make_folds(inside, labels, FOLDS, seed), [i for i in ids if train[int(i)]])
    return Parts(np.flatnonzero(train), np.flatnonzero(held), np.flatnonzero(test), folds)


def _largest_last(piece: NDArray[np.int64], pieces: int) -> NDArray[np.int64]:
    """Pieces numbered anew where a chain of near-duplicates fills more than two: it is to be trained on."""
    sizes = np.bincount(piece, minlength=pieces)
    order = np.argsort(sizes > 2 * len(piece) / pieces, kind="stable")
    renamed: NDArray[np.int64] = np.argsort(order, kind="stable")[piece]
    return renamed


def _assigned(fold_of: dict[str, int], ids: Sequence[str]) -> NDArray[np.int64]:
    return np.array([fold_of[i] for i in ids], dtype=np.int64)
