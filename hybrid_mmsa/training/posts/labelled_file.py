"""A file of one's own labelled posts: read, checked whole, twins found, and parted. Knows no models.

Nothing is left out in silence: rows that cannot be used, labels too rare to learn and files of one label are refused
with their lines and counts.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from ...data import PostsFile, PostsInMemory, Split, read_posts
from ...data.duplicates import groups, picture_hash, picture_pairs, text_key, text_pairs
from ...data.splits import make_folds
from ...errors import InputError
from ...inputs import needing, read_sample, stars
from ...types import LABELS, Label, RowError, Sample

__all__ = [
    "Contradiction",
    "LabelledFile",
    "Parts",
    "crossed_folds",
    "crossed_parts",
    "part_posts",
    "quarters",
    "read_labelled_file",
]

SHOWN = 5
SPLITS: Mapping[str, Split] = {
    "train": "train",
    "training": "train",
    "dev": "dev",
    "val": "dev",
    "valid": "dev",
    "validation": "dev",
    "test": "test",
    "testing": "test",
    "held-out": "test",
}
TENTHS = 10
FOLDS = 5
QUARTERS = 4
MOST_CONTRADICTIONS = 0.5
"""Share of posts that contradict others from which a file is refused: its labels are not those of its posts."""
DIGEST_BYTES = 4


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Posts of the same words, target and picture with different labels.

    Attributes:
        lines: Where they stand in the file.
        labels: The label of each.
    """

    lines: tuple[int, ...]
    labels: tuple[Label, ...]

    def __str__(self) -> str:
        shown = [f"{line} ({label})" for line, label in zip(self.lines, self.labels, strict=True)][:SHOWN]
        return f"lines {', '.join(shown)}" + (", …" if len(self.lines) > SHOWN else "")


@dataclass(frozen=True, slots=True, eq=False)
class LabelledFile:
    """Labelled posts of a file, each usable.

    Attributes:
        samples: Raw, their pictures not decoded.
        lines: Per post the line it stands on.
        keys: Per post the line its group of near-duplicates begins on.
        sha256: Of the file (hex).
        splits: Per post the part that the file's own column `split` names, if any.
        digests: Per post the beginning of a hash of its words and picture (hex), by which another file's posts are
            recognised; two posts share one by chance once in four billion pairs.
        contradictions: Posts that contradict one another, by the lines where they stand.
        doubted: bool `[n]`, posts that a model's doubts chose, as a column `chosen` says (`doubt`): on them that model
            looks worse than it is.
    """

    samples: list[Sample]
    lines: list[int]
    keys: list[str]
    sha256: str
    splits: list[Split | None]
    digests: list[str]
    contradictions: list[Contradiction]
    doubted: NDArray[np.bool_]

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
    path: Path | PostsFile | PostsInMemory, *, least: int, advance: Callable[[], None] = lambda: None
) -> LabelledFile:
    """Read a file of posts and check each of them: fields, label, picture.

    Args:
        path: A file as `data.read_posts` takes it, what that made of it, or posts in memory.
        least: Posts that every label which occurs must have.
        advance: Called after every post.

    Raises:
        InputError: Some rows cannot be used, a label is too rare, there is but one label, or half of the posts
            contradict others; the message counts them.
    """
    samples: dict[str, Sample] = {}
    pictures: dict[str, NDArray[np.uint8]] = {}
    wrong: list[str] = []
    rows = read_posts(path) if isinstance(path, Path) else path
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
    twins = groups(samples, _twins(samples, pictures))
    key_of = {line: group[0] for group in twins for line in group}
    split, chosen = _words_of(rows, ("split", "chosen"))
    posts = LabelledFile(
        list(samples.values()),
        [int(line) for line in samples],
        [key_of[line] for line in samples],
        rows.sha256(),
        [SPLITS.get(split.get(line, "")) for line in samples],
        [_digest(sample, pictures.get(line)) for line, sample in samples.items()],
        _contradictions(samples, pictures),
        np.array([chosen.get(line) == "doubt" for line in samples], dtype=bool),
    )
    _check_contradictions(posts)
    _check_counts(posts.counts, least)
    _check_stars(rows, posts.counts)
    return posts


def _twins(samples: Mapping[str, Sample], pictures: Mapping[str, NDArray[np.uint8]]) -> Iterator[tuple[str, str]]:
    """Pairs of posts that are near-duplicates: of the same words and, where both have one, the same picture.

    A picture alone makes no twins of posts with words: shops show one picture beside many reviews.
    """
    texts = {line: sample.text for line, sample in samples.items() if sample.text and text_key(sample.text)}
    yield from picture_pairs({line: picture for line, picture in pictures.items() if line not in texts})
    for group in groups(texts, text_pairs(texts)):
        shown = {line: pictures[line] for line in group if line in pictures}
        by_bytes: dict[bytes, str] = {}  # nearly flat pictures too, of which `picture_pairs` says nothing
        yield from ((by_bytes.setdefault(picture.tobytes(), line), line) for line, picture in shown.items())
        yield from picture_pairs(shown)
        yield from ((group[0], line) for line in group if line not in shown)


def _digest(sample: Sample, picture: NDArray[np.uint8] | None) -> str:
    words = text_key(sample.text or "") or " ".join((sample.text or "").split())
    parts = (words.encode("utf-8", "surrogatepass"), b"" if picture is None else picture.tobytes())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[: 2 * DIGEST_BYTES]


def _contradictions(samples: Mapping[str, Sample], pictures: Mapping[str, NDArray[np.uint8]]) -> list[Contradiction]:
    """Posts that agree in all but their labels; case and spaces apart."""
    alike: dict[tuple[object, ...], dict[str, Label]] = defaultdict(dict)
    for line, sample in samples.items():
        if sample.label is not None:
            words = " ".join((sample.text or "").casefold().split())
            picture = pictures[line].tobytes() if line in pictures else None
            alike[words, (sample.target or "").casefold(), picture][line] = sample.label
    return [
        Contradiction(tuple(map(int, labels)), tuple(labels.values()))
        for labels in alike.values()
        if len(set(labels.values())) > 1
    ]


def _check_contradictions(posts: LabelledFile) -> None:
    count = sum(len(each.lines) for each in posts.contradictions)
    if count > MOST_CONTRADICTIONS * len(posts.samples):
        shown = "; ".join(map(str, posts.contradictions[:SHOWN]))
        raise InputError(
            f"{count} of {len(posts.samples)} posts contradict one another: the same words and picture with different "
            f"labels, as on {shown}; name the column of the labels, or remove them",
            field="label",
        )


def _words_of(rows: PostsFile | PostsInMemory, columns: Sequence[str]) -> list[dict[str, str]]:
    """What each of some columns of the file says in lower case, by line; the file is read once."""
    words: list[dict[str, str]] = [{} for _ in columns]
    for line, row in rows.raw_rows():
        if not isinstance(row, RowError):
            for column, by_line in zip(columns, words, strict=True):
                by_line[str(line)] = str(row.get(column) or "").strip().lower()
    return words


def _check_stars(posts: PostsFile | PostsInMemory, counts: Counter[str]) -> None:
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
        raise InputError(f"found {listed}; a label needs {least} posts, and {', '.join(rare)} has fewer", field="label")


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
    if "test" in posts.splits:
        return _own_parts(posts, calibration=calibration, seed=seed)
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


def _own_parts(posts: LabelledFile, *, calibration: bool, seed: int) -> Parts:
    """The parts that the file names: posts of no named part are trained on, those of `dev` are for the router."""
    split = np.array([name or "train" for name in posts.splits])
    test = split == "test"
    held = (split == "dev") & calibration
    train = ~test & ~held
    folds = np.full(len(split), -1, dtype=np.int64)
    folds[train] = crossed_folds(posts, np.flatnonzero(train), seed)
    return Parts(np.flatnonzero(train), np.flatnonzero(held), np.flatnonzero(test), folds)


def crossed_parts(posts: LabelledFile, seed: int = 0) -> Parts:
    """All posts to train on, and all to test on, each by heads that were fitted to the other folds."""
    every = np.arange(len(posts.samples))
    return Parts(every, every[:0], every, crossed_folds(posts, every, seed))


def crossed_folds(posts: LabelledFile, rows: NDArray[np.int64], seed: int = 0) -> NDArray[np.int64]:
    """A fold for each of some posts; twins share one, and labels are evenly spread."""
    return _spread(posts, rows, FOLDS, seed)


def quarters(posts: LabelledFile, rows: NDArray[np.int64], seed: int = 0) -> NDArray[np.int64]:
    """A quarter, 0 to 3, for each of some posts; twins share one, and labels are evenly spread."""
    return _spread(posts, rows, QUARTERS, seed + 1)  # another draw than that of the folds


def _spread(posts: LabelledFile, rows: NDArray[np.int64], pieces: int, seed: int) -> NDArray[np.int64]:
    by_key: dict[str, list[str]] = {}
    for row in rows:
        by_key.setdefault(posts.keys[row], []).append(str(row))
    labels = {str(row): str(posts.samples[row].label) for row in rows}
    return _assigned(make_folds(list(by_key.values()), labels, pieces, seed), [str(row) for row in rows])


def _largest_last(piece: NDArray[np.int64], pieces: int) -> NDArray[np.int64]:
    """Pieces numbered anew where a chain of near-duplicates fills more than two: it is to be trained on."""
    sizes = np.bincount(piece, minlength=pieces)
    order = np.argsort(sizes > 2 * len(piece) / pieces, kind="stable")
    renamed: NDArray[np.int64] = np.argsort(order, kind="stable")[piece]
    return renamed


def _assigned(fold_of: dict[str, int], ids: Sequence[str]) -> NDArray[np.int64]:
    return np.array([fold_of[i] for i in ids], dtype=np.int64)
