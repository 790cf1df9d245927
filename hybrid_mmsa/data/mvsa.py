"""MVSA-Single and MVSA-Multiple in their official layout. It knows no splits: the corpus has none.

`data/N.jpg`, `data/N.txt` in mixed encodings, and `labelResultAll.txt`: `ID<tab>text,image`, once for Single and three
times a row, one per annotator, for Multiple. Opposed pairs are yielded with `label=None` and both side labels set.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..types import Label, Sample
from .files import as_label, picture, read_text, read_tsv, require
from .packed import packed_file, read_packed
from .records import LoadReport, Record, Records, joint_label

__all__ = ["HOME", "load_mvsa_multiple", "load_mvsa_single", "vote"]

HOME = "https://mcrlab.net/research/mvsa-sentiment-analysis-on-multi-view-social-data/"
LABEL_FILE = "labelResultAll.txt"


def load_mvsa_single(root: Path, report: LoadReport) -> Records:
    """Yield MVSA-Single (4,869 pairs when complete) in the order of its label file."""
    require(root, "data", LABEL_FILE, corpus="MVSA-Single", home=HOME)
    return _load(root, report, annotators=1)


def load_mvsa_multiple(root: Path, report: LoadReport) -> Records:
    """Yield MVSA-Multiple (19,600 pairs when complete); each side's label is the vote of three annotators."""
    if packed := packed_file(root, "texts_and_labels.jsonl"):
        return read_packed(packed, report)
    require(root, "data", LABEL_FILE, corpus="MVSA-Multiple", home=HOME)
    return _load(root, report, annotators=3)


def vote(labels: Sequence[Label]) -> Label | None:
    """The label more than half of the annotators chose, or `None` when there is no such label."""
    label, n = Counter(labels).most_common(1)[0]
    return label if 2 * n > len(labels) else None


def _load(root: Path, report: LoadReport, annotators: int) -> Records:
    labelled: set[str] = set()
    for id_, text_votes, image_votes in _votes(root / LABEL_FILE, report, annotators, labelled):
        sides = vote(text_votes), vote(image_votes)
        label = None if None in sides else joint_label(*sides)
        if label is None:
            report.add("no majority label" if None in sides else "opposed labels", id_)
        stem = root / "data" / id_
        yield Record(
            Sample(
                text=read_text(stem.with_name(f"{id_}.txt"), report, id_),
                image=picture(stem.with_name(f"{id_}.jpg"), report, id_),
                id=id_,
                label=label,
                text_label=sides[0],
                image_label=sides[1],
            )
        )
    for path in (root / "data").glob("*.txt"):
        if path.stem not in labelled:
            report.add("no label row", path.stem)


def _votes(
    path: Path, report: LoadReport, annotators: int, labelled: set[str]
) -> Iterator[tuple[str, list[Label], list[Label]]]:
    """Ids with the annotators' text and image labels; every id met, usable or not, goes into `labelled`."""
    for _, cells in read_tsv(path, report, columns=1):
        id_ = cells[0].strip()
        if id_.lower() == "id":
            continue
        labelled.add(id_)
        pairs = [cell.split(",") for cell in cells[1:] if cell.strip()]
        if len(pairs) != annotators or any(len(pair) != 2 for pair in pairs):
            report.add("broken line", id_)
            continue
        text = [as_label(pair[0]) for pair in pairs]
        image = [as_label(pair[1]) for pair in pairs]
        if None in text or None in image:
            report.add("unknown label", id_)
            continue
        yield id_, [x for x in text if x], [x for x in image if x]
