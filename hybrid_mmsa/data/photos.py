"""Photos with captions, or with the name of what they show: sets of pictures under one folder. It knows no models.

    photos/<set>/captions.jsonl   {"image": "images/1.jpg", "captions": ["A dog runs.", …]}
    photos/<set>/labels.jsonl     {"image": "images/1.jpg", "label": "golden_retriever"}

Picture paths are relative to the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from .files import picture, read_json_lines
from .records import LoadReport

__all__ = ["PHOTOS", "Photo", "load_photos"]

PHOTOS = "photos"
"""The folder of the sets, under the folder that holds the corpora."""
CAPTIONS, NAMES = "captions.jsonl", "labels.jsonl"


@dataclass(frozen=True, slots=True)
class Photo:
    """One picture, not decoded, and sentences on what it shows.

    Attributes:
        id: Its set and its path in it.
        image: The picture's path.
        captions: One or more.
        named: The caption is made of a class name alone, and other pictures of the set share it.
    """

    id: str
    image: Path
    captions: tuple[str, ...]
    named: bool = False


def load_photos(root: Path, report: LoadReport | None = None) -> Iterator[Photo]:
    """Stream the photos of every set that has words, sets in the order of their names.

    Args:
        root: The folder that holds a folder per set.
        report: Filled while the photos are read; a photo without picture or words is counted and left out.

    Raises:
        InputError: There is no such folder, or no set with words in it.
    """
    files = sorted(path for name in (CAPTIONS, NAMES) for path in Path(root).glob(f"*/{name}"))
    if not files:
        raise InputError(f"{root} holds no captioned photos: wanted <set>/{CAPTIONS} or <set>/{NAMES}", field="--data")
    return _photos(files, LoadReport() if report is None else report)


def _photos(files: list[Path], report: LoadReport) -> Iterator[Photo]:
    names: set[str] = set()
    for file in files:
        for number, row in read_json_lines(file, report):
            where = f"{file.parent.name}/{row.get('image', number)}"
            path = picture(file.parent / str(row.get("image", "")), report, where)
            captions = _captions(row)
            if not captions:
                report.add("missing text", where)
            elif where in names:
                report.add("duplicate id", where)
            elif path is not None:
                names.add(where)
                report.records += 1
                yield Photo(where, path, captions, named=file.name == NAMES)


def _captions(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The sentences of a row, each once; of a class name, one in the words CLIP's authors found to work best."""
    if name := " ".join(str(row.get("label") or "").replace("_", " ").split()):
        return (f"a photo of a {name.lower()}",)
    captions = row.get("captions")
    written = [captions] if isinstance(captions, str) else captions if isinstance(captions, list) else []
    return tuple(dict.fromkeys(c.strip() for c in written if isinstance(c, str) and c.strip()))
